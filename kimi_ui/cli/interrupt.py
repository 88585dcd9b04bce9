"""Ctrl-C and SIGTERM for commands that run for a while."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

INTERRUPTED = 130  # exit code


@dataclass
class Interrupt:
    """``noted``: a SIGINT or SIGTERM has come, so the command must end."""

    noted: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Note the first SIGINT or SIGTERM for the command to look at; a later one raises ``KeyboardInterrupt``.

    Python prints and drops a ``KeyboardInterrupt`` that is raised while a destructor or a callback runs, so a command
    that relies on the exception alone can miss a Ctrl-C. Only for the main thread.
    """
    interrupt = Interrupt()

    def note(*_: Any) -> None:
        if interrupt.noted:
            raise KeyboardInterrupt
        interrupt.noted = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
