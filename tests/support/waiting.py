"""Waiting for what a thread, a process or the page does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kimi_ui.core.turn import TurnFold, TurnLog

T = TypeVar("T")


def until(condition: Callable[[], T | None]) -> T:
    """Wait until it holds, and give what it came to; a test that waits in vain fails a little before pytest ends it."""
    deadline = time.monotonic() + 200
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return value


def ended(turn: TurnLog) -> TurnFold:
    """What a turn came to, once it has ended."""
    until(lambda: turn.closed)
    return turn.fold()
