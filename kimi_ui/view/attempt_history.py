"""An earlier attempt of a lane, as the page shows it when the user goes back to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core.events import End
from ..core.turn import Pick, TurnLog, picked
from .frames import TurnView


def attempt_part(turn: TurnLog, lane: str, number: int, *, later: bool = False) -> dict[str, Any] | None:
    """The lane's ``number``-th attempt (from 1) as a frame's part of that lane; None if there is none. ``later`` as for
    ``TurnView``.

    The part covers this attempt and its children only (or those whose answers it aggregated again), without the
    announcement of a retry.
    """
    entries = list(turn.entries)
    family = picked(entries, Pick(lane, number)) if number > 0 else ()
    if not family:
        return None
    only = replace(turn, entries=[_last(entry) for entry in entries if entry.attempt_id in family])
    view = TurnView(only, later=later)
    view.catch_up()
    frame = view.frame(None)
    part: dict[str, Any] = frame["lanes"][lane] if frame else {}
    return part


def _last(entry: Any) -> Any:
    if isinstance(entry.event, End) and entry.event.retry_in_s is not None:
        return entry._replace(event=replace(entry.event, retry_in_s=None))
    return entry
