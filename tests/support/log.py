"""Writing made-up turns to a real log, as the engine does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kimi_ui.core.turn import TurnLog
from kimi_ui.log.writer import LogWriter


@contextmanager
def writing(path: Path) -> Iterator[LogWriter]:
    """A writer that is closed at the end, whatever happens."""
    writer = LogWriter(path)
    writer.start()
    try:
        yield writer
    finally:
        writer.close()


def store(writer: LogWriter, *turns: TurnLog) -> None:
    """Write whole turns: the rows first, then the entries as if they had come since."""
    for turn in turns:
        entries, turn.entries = turn.entries, []
        writer.open_turn(turn)
        writer.follow(turn)
        turn.entries = entries
    writer.flush().result(10)
