"""The cost of answers, per day and per conversation, and the typical length of a model's answers (for estimates).

Only top-level answers; heavy's include all children. Reading ``measured`` keeps this fast in a big log: a day of 4,000
attempts among 100,000 takes 3 ms, with the view itself 25 ms. An answer counts on the UTC day its request was sent. Of
deleted conversations only the cost per day is kept.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from datetime import date, timedelta

from ..core.budget import Spent
from ..core.estimate import Runs, Typical
from .reader import LogReader
from .store import Transaction, owned

RECENT = 21  # number of a model's newest answers that determine its typical lengths
FEWEST = 3  # with fewer answers there is no typical length

_SUMS = """
    coalesce(sum(m.cost_usd), 0.0), count(*) FILTER (WHERE m.cost_usd IS NULL AND m.output_tokens IS NOT NULL),
    count(*) FILTER (WHERE m.cost_source = 'estimate')
"""  # the fields of ``Spent``; attempts with neither output nor a price count as zero


def spent_on_day(reader: LogReader, owner: str, day_utc: str) -> Spent:
    """The cost of the owner's answers on a day (``2026-11-21``), including deleted ones."""
    query = f"""
        SELECT {_SUMS} FROM measured m
        WHERE {owned(owner, "m.owner")} AND m.started_at_utc >= :day AND m.started_at_utc < :next_day
        UNION ALL
        SELECT usd, n_unknown, n_estimated FROM spent_deleted WHERE {owned(owner)} AND day_utc = :day
    """
    next_day = (date.fromisoformat(day_utc) + timedelta(days=1)).isoformat()
    usd, unknown, estimated = zip(*reader.rows(query, owner=owner, day=day_utc, next_day=next_day), strict=True)
    return Spent(sum(usd), sum(unknown), sum(estimated))


def spent_on(reader: LogReader, conversations: Iterable[str]) -> Spent:
    """The total cost of all answers in these conversations."""
    query = f"""
        SELECT {_SUMS} FROM turns t JOIN measured m ON m.turn_id = t.turn_id WHERE t.conversation_id IN :conversations
    """
    (row,) = reader.rows(query, conversations=list(conversations))
    return Spent(*row)


def keep_spent_sums(log: Transaction, conversation_id: str) -> None:
    """Store a conversation's cost by owner and day, before it is deleted."""
    statement = f"""
        INSERT INTO spent_deleted (owner, day_utc, usd, n_unknown, n_estimated)
        SELECT m.owner, substr(m.started_at_utc, 1, 10) AS day, {_SUMS}
        FROM turns t JOIN measured m ON m.turn_id = t.turn_id
        WHERE t.conversation_id = :id GROUP BY m.owner, day
        HAVING count(*) FILTER (WHERE m.cost_usd > 0 OR m.cost_usd IS NULL AND m.output_tokens IS NOT NULL) > 0
    """
    log.execute(statement, id=conversation_id)


def typical(reader: LogReader, model: str, before_utc: str = "9999") -> Typical | None:
    """Median tokens of the model's recent complete answers sent before that time; None if there are too few.

    Heavy's trajectories count like single answers: they are the same request to the same model.
    """
    query = """
        SELECT attempt_id FROM attempts
        WHERE request_model = :model AND role IN ('single', 'trajectory') AND status IN ('ok', 'length')
              AND started_at_utc < :before
        ORDER BY started_at_utc DESC, attempt_id DESC LIMIT :recent
    """
    ids = [attempt_id for (attempt_id,) in reader.rows(query, model=model, before=before_utc, recent=RECENT)]
    rows = [row for row in reader.attempt_metrics(ids) if row["output_tokens"] is not None]
    if len(rows) < FEWEST:
        return None
    output = [row["output_tokens"] for row in rows]
    answer = [row["answer_tokens"] if row["answer_tokens"] is not None else row["output_tokens"] for row in rows]
    return Typical(round(statistics.median(output)), round(statistics.median(answer)), len(rows))


def heavy_runs(reader: LogReader, lane: str, width: int, before_utc: str = "9999") -> dict[str, Runs]:
    """Medians of the heavy lane's recent whole runs of that width before that time, by preset; one with too few is left
    out."""
    query = """
        SELECT preset, launched, e2e_ms FROM heavy_metrics
        WHERE lane = :lane AND width = :width AND status = 'ok' AND launched > 0 AND e2e_ms IS NOT NULL
        AND attempt_id IN (SELECT attempt_id FROM attempts
                           WHERE lane = :lane AND role = 'heavy' AND started_at_utc < :before
                           ORDER BY started_at_utc DESC LIMIT :recent)
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for preset, launched, e2e_ms in reader.rows(query, lane=lane, width=width, before=before_utc, recent=RECENT):
        found.setdefault(preset, []).append((launched, e2e_ms / 1000))
    return {
        preset: Runs(statistics.median(n for n, _ in runs), statistics.median(s for _, s in runs), len(runs))
        for preset, runs in found.items()
        if len(runs) >= FEWEST
    }
