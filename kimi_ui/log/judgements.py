"""What models as judges said of pairs of a benchmark's answers, in the log: one row per request of a judge."""

from __future__ import annotations

from typing import NamedTuple

from .records import Op
from .store import Rows


class Judgement(NamedTuple):
    """``choice``: first | second | tie, of the two answers in the order in which the judge read them; None: what it
    said names none. ``turn_id`` is the judge's own turn, ``model`` that of its lane, ``version`` of its prompt."""

    turn_id: str
    run_id: str
    judge: str
    model: str
    first_turn_id: str
    second_turn_id: str
    choice: str | None
    version: int
    judged_at_utc: str


def judgement_op(judgement: Judgement) -> Op:
    return Op("benchmark_judgements", judgement._asdict())


def judgements_of_run(log: Rows, run_id: str) -> list[Judgement]:
    """The judgements on a run's answers, oldest first."""
    query = f"""
        SELECT {", ".join(Judgement._fields)} FROM benchmark_judgements
        WHERE run_id = :run_id ORDER BY judged_at_utc, turn_id
    """
    return [Judgement(*row) for row in log.rows(query, run_id=run_id)]
