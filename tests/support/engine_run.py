"""The whole way a turn goes, from a provider on the wire to the row in SQLite, for tests of what may happen to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.turn import TurnLog
from kimi_ui.engine import Engine
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter
from kimi_ui.providers.base import Provider

from .scripted import ScriptedRoster
from .waiting import ended, until


@dataclass
class Run:
    """A running engine with a real log."""

    engine: Engine
    writer: LogWriter
    reader: LogReader

    def folds(self, turn: TurnLog) -> dict[str, AttemptFold]:
        """Each lane's newest attempt once the turn has ended."""
        fold = ended(turn)
        return {lane: fold.folds[fold.current(lane) or ""] for lane in fold.lanes}

    def rows(self, turn: TurnLog) -> dict[str, list[dict[str, Any]]]:
        """The rows of ``attempt_metrics`` by lane, in order of attempts, once all are final."""
        fold = ended(turn)
        until(lambda: not self._open_rows(turn))
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in self.reader.attempt_metrics(fold.attempts):
            rows.setdefault(row["lane"], []).append(row)
        return rows

    def _open_rows(self, turn: TurnLog) -> int:
        query = "select count(*) from attempts where turn_id = ? and status = 'open'"
        with self.reader.connect() as db:
            return int(db.execute(query, [turn.turn_id]).fetchone()[0])


@contextmanager
def running(path: Path, *providers: Provider, **options: Any) -> Iterator[Run]:
    """An engine with these lanes and a log at ``path``; everything is closed at the end."""
    roster = ScriptedRoster(*providers)
    writer = LogWriter(path)
    writer.start()
    engine = Engine(roster, writer, LogReader(path), **options)  # type: ignore[arg-type]
    engine.start()
    try:
        yield Run(engine, writer, LogReader(path))
    finally:
        asyncio.run_coroutine_threadsafe(roster.aclose(), engine.loop).result(10)
        engine.close()
        writer.close()
