"""Wait for a thread, a process or the page."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kimi_ui.core.turn import TurnFold, TurnLog

T = TypeVar("T")


def until(condition: Callable[[], T | None]) -> T:
    """Wait until the condition is true and return its value; fails a little before pytest's own time limit."""
    deadline = time.monotonic() + 200
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return value


def ended(turn: TurnLog) -> TurnFold:
    """The fold of a turn, once it has ended."""
    until(lambda: turn.closed)
    return turn.fold()
