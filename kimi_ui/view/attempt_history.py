"""An earlier attempt of a lane, as the page shows it when the user goes back to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core.events import End
from ..core.heavy.pool import source_of
from ..core.turn import TurnLog
from .frames import TurnView


def attempt_part(turn: TurnLog, lane: str, number: int) -> dict[str, Any] | None:
    """The lane's ``number``-th attempt (from 1) as a frame's part of that lane; None if there is none.

    The part covers this attempt and its children only (or those whose answers it aggregated again), without the
    announcement of a retry.
    """
    fold = turn.fold()
    attempts = fold.lanes[lane].attempts if lane in fold.lanes else []
    if not 1 <= number <= len(attempts):
        return None
    attempt_id = attempts[number - 1]
    source = source_of(fold, attempt_id)
    family = {attempt_id, source, *fold.children.get(attempt_id, ()), *fold.children.get(source, ())}
    only = replace(turn, entries=[_last(entry) for entry in list(turn.entries) if entry.attempt_id in family])
    view = TurnView(only)
    view.catch_up()
    frame = view.frame(None)
    part: dict[str, Any] = frame["lanes"][lane] if frame else {}
    return part


def _last(entry: Any) -> Any:
    if isinstance(entry.event, End) and entry.event.retry_in_s is not None:
        return entry._replace(event=replace(entry.event, retry_in_s=None))
    return entry
