"""How late the engine's loop was, by the attempts of a time: whether its process had more to do than it can."""

from __future__ import annotations

from typing import NamedTuple

from .reader import LogReader

LATE_MS = 100.0  # a loop that is later than this is noticed on the page


class Lateness(NamedTuple):
    """Of ``n`` attempts, the loop was later than ``LATE_MS`` in ``n_late``; at most by ``worst_ms``, at that time."""

    n: int
    n_late: int
    worst_ms: float
    worst_at_utc: str


def lateness(reader: LogReader, since_utc: str) -> Lateness:
    """Of the attempts that were sent since then. Raises ``LogError``."""
    counted = """
        SELECT count(*), count(CASE WHEN loop_lag_ms > :late THEN 1 END)
        FROM attempts WHERE started_at_utc >= :since AND loop_lag_ms IS NOT NULL
    """
    latest = """
        SELECT loop_lag_ms, started_at_utc FROM attempts
        WHERE started_at_utc >= :since AND loop_lag_ms IS NOT NULL ORDER BY loop_lag_ms DESC LIMIT 1
    """
    ((n, n_late),) = reader.rows(counted, late=LATE_MS, since=since_utc)
    worst_ms, worst_at_utc = next(iter(reader.rows(latest, since=since_utc)), (0.0, ""))
    return Lateness(n, n_late, worst_ms, worst_at_utc)
