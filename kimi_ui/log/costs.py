"""What answers have cost, on a day and in conversations, and how long a model's answers are (the basis of estimates).

Top-level answers only, heavy's with all its children. Read from ``measured``, so it takes no longer in a big log: a day
of 4,000 attempts among 100,000 takes 3 ms, by the view itself 25. An answer counts on the day its request left, in UTC.
What a deleted conversation had cost was spent all the same: of that the sum of each day is kept, and nothing else.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from datetime import date, timedelta

from ..core.budget import Spent
from ..core.estimate import Typical
from .reader import LogReader
from .store import Transaction

RECENT = 21  # answers of a model that its typical lengths are taken from
FEWEST = 3  # with fewer, nothing is said

_SUMS = """
    coalesce(sum(m.cost_usd), 0.0), count(*) FILTER (WHERE m.cost_usd IS NULL AND m.output_tokens IS NOT NULL),
    count(*) FILTER (WHERE m.cost_source = 'estimate')
"""  # as in ``Spent``; an attempt that wrote nothing and has no price cost nothing anybody knows of


def spent_on_day(reader: LogReader, owner: str, day_utc: str) -> Spent:
    """What the owner's answers of a day (``2026-11-21``) have cost, those deleted since included."""
    query = f"""
        SELECT {_SUMS} FROM measured m
        WHERE m.owner = :owner AND m.started_at_utc >= :day AND m.started_at_utc < :next_day
        UNION ALL
        SELECT usd, n_unknown, n_estimated FROM spent_deleted WHERE owner = :owner AND day_utc = :day
    """
    next_day = (date.fromisoformat(day_utc) + timedelta(days=1)).isoformat()
    usd, unknown, estimated = zip(*reader.rows(query, owner=owner, day=day_utc, next_day=next_day), strict=True)
    return Spent(sum(usd), sum(unknown), sum(estimated))


def spent_on(reader: LogReader, conversations: Iterable[str]) -> Spent:
    """What all answers of these conversations together have cost."""
    query = f"""
        SELECT {_SUMS} FROM turns t JOIN measured m ON m.turn_id = t.turn_id WHERE t.conversation_id IN :conversations
    """
    (row,) = reader.rows(query, conversations=list(conversations))
    return Spent(*row)


def keep_what_was_spent(log: Transaction, conversation_id: str) -> None:
    """Before a conversation is deleted: keep what it cost, by owner and day."""
    statement = f"""
        INSERT INTO spent_deleted (owner, day_utc, usd, n_unknown, n_estimated)
        SELECT m.owner, substr(m.started_at_utc, 1, 10) AS day, {_SUMS}
        FROM turns t JOIN measured m ON m.turn_id = t.turn_id
        WHERE t.conversation_id = :id GROUP BY m.owner, day
        HAVING count(*) FILTER (WHERE m.cost_usd > 0 OR m.cost_usd IS NULL AND m.output_tokens IS NOT NULL) > 0
    """
    log.execute(statement, id=conversation_id)


def typical(reader: LogReader, model: str) -> Typical | None:
    """Median tokens of the model's recent whole answers; None with too few of them.

    Heavy's trajectories count like single answers: they are the same request to the same model.
    """
    query = """
        SELECT attempt_id FROM attempts
        WHERE request_model = :model AND role IN ('single', 'trajectory') AND status IN ('ok', 'length')
        ORDER BY started_at_utc DESC, attempt_id DESC LIMIT :recent
    """
    ids = [attempt_id for (attempt_id,) in reader.rows(query, model=model, recent=RECENT)]
    rows = [row for row in reader.attempt_metrics(ids) if row["output_tokens"] is not None]
    if len(rows) < FEWEST:
        return None
    output = [row["output_tokens"] for row in rows]
    answer = [row["answer_tokens"] if row["answer_tokens"] is not None else row["output_tokens"] for row in rows]
    return Typical(round(statistics.median(output)), round(statistics.median(answer)), len(rows))
