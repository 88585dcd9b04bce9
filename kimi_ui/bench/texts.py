"""What was sent and answered for a sample, read from the log like any other turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..core.attempt import AttemptFold
from ..core.turn import TurnLog
from ..log.reader import LogReader
from .results import Sample
from .suite.case import MULTI_TURN


class Exchange(NamedTuple):
    """A prompt and what came back."""

    prompt: str
    reasoning: str
    answer: str


class Texts(NamedTuple):
    """``exchanges``: one, or one a turn of a conversation; empty if nothing was sent. ``trajectories``: heavy's, by
    attempt id. ``finish_reason`` and ``max_tokens`` are those of the last request, None if not known."""

    exchanges: tuple[Exchange, ...] = ()
    trajectories: Mapping[str, Exchange] = {}
    system: str = ""
    finish_reason: str | None = None
    max_tokens: int | None = None

    @property
    def last(self) -> Exchange | None:
        return self.exchanges[-1] if self.exchanges else None


def texts_of(reader: LogReader, sample: Sample) -> Texts:
    """The texts of a sample. Raises ``LogUnreadable``."""
    turn = reader.turn(sample.turn_id) if sample.turn_id else None
    if turn is None:
        return Texts()
    turns = reader.conversation(turn.conversation_id) if sample.category == MULTI_TURN else [turn]
    exchanges = tuple(_exchange(one.prompt, _graded(one, sample)[1]) for one in turns)
    attempt_id, graded = _graded(turns[-1], sample)
    fold = turns[-1].fold()
    attempt = fold.attempts.get(attempt_id)
    limit = attempt.params.get("max_tokens") if attempt else None
    return Texts(
        exchanges,
        {
            one.attempt_id: _exchange(turns[-1].prompt, fold.folds[one.attempt_id])
            for one in sample.trajectories
            if one.attempt_id in fold.folds
        },
        turn.system,
        graded.finish_reason,
        limit if isinstance(limit, int) else None,
    )


def _graded(turn: TurnLog, sample: Sample) -> tuple[str, AttemptFold]:
    """The attempt that the verdict is on; of a conversation's earlier turns the newest one."""
    fold = turn.fold()
    attempt_id = sample.attempt_id if sample.attempt_id in fold.folds else fold.current(sample.lane)
    return attempt_id or "", fold.folds.get(attempt_id or "", AttemptFold())


def _exchange(prompt: str, fold: AttemptFold) -> Exchange:
    return Exchange(prompt, fold.reasoning, fold.answer)
