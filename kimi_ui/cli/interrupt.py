"""Ctrl-C and SIGTERM for long-running commands."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

INTERRUPTED = 130  # exit code


@dataclass
class Interrupt:
    """``noted``: the process received SIGINT or SIGTERM, so the command must end. ``then`` is called in the handler,
    for a command that waits for something else; it may only do what a signal handler may."""

    noted: bool = False
    then: Callable[[], None] | None = None


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Set ``noted`` at the first SIGINT or SIGTERM, for the command to poll; a second one raises ``KeyboardInterrupt``.

    Python prints and drops a ``KeyboardInterrupt`` raised while a destructor or a callback runs, so a command that only
    relies on the exception can miss a Ctrl-C. Must be used on the main thread.
    """
    interrupt = Interrupt()

    def note(*_: Any) -> None:
        if interrupt.noted:
            raise KeyboardInterrupt
        interrupt.noted = True
        if interrupt.then:
            interrupt.then()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
