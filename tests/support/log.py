"""Write made-up turns to a real log, as the engine does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kimi_ui.core.turn import TurnLog
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter


@contextmanager
def writing(place: Place) -> Iterator[LogWriter]:
    """A writer that is always closed at the end."""
    writer = LogWriter(place)
    writer.start()
    try:
        yield writer
    finally:
        writer.close()


def store(writer: LogWriter, *turns: TurnLog, wait_s: float = 10) -> None:
    """Write whole turns: first the rows, then the entries as if they had arrived since."""
    for turn in turns:
        entries, turn.entries = turn.entries, []
        writer.open_turn(turn)
        writer.follow(turn)
        turn.entries = entries
    writer.flush().result(wait_s)


def rows(place: Place, query: str, **values: Any) -> list[dict[str, Any]]:
    """The rows of a query, by the names of their columns."""
    with LogReader(place).snapshot() as log:
        return list(log.records(query, **values))
