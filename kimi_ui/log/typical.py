"""How long a model's answers have been, from the log: the basis of the estimate before sending."""

from __future__ import annotations

import statistics

from ..core.estimate import Typical
from .reader import LogReader

RECENT = 21  # attempts looked at
FEWEST = 3  # with fewer, nothing is said


def typical(reader: LogReader, model: str) -> Typical | None:
    """Median tokens of the model's recent whole answers; None with too few of them.

    Heavy's trajectories count like single answers: the same request to the same model. Some ms at most: the newest
    attempts are looked at first, and only those few rows are measured.
    """
    query = """
        SELECT attempt_id FROM attempts
        WHERE request_model = ? AND role IN ('single', 'trajectory') AND status IN ('ok', 'length')
        ORDER BY started_at_utc DESC LIMIT ?
    """
    with reader.connect() as db:
        ids = [row["attempt_id"] for row in db.execute(query, (model, RECENT))]
    rows = [row for row in reader.attempt_metrics(ids) if row["output_tokens"] is not None]
    if len(rows) < FEWEST:
        return None
    output = [row["output_tokens"] for row in rows]
    answer = [row["answer_tokens"] if row["answer_tokens"] is not None else row["output_tokens"] for row in rows]
    return Typical(round(statistics.median(output)), round(statistics.median(answer)), len(rows))
