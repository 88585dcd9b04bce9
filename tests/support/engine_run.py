"""A turn's whole path, from a provider's stream to the row in SQLite, for tests of its outcomes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.turn import TurnLog
from kimi_ui.engine import Engine
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter
from kimi_ui.providers.base import Provider
from kimi_ui.turns import Turns

from .scripted import ScriptedRoster
from .waiting import ended, until


@dataclass
class Run:
    """A running engine over a real log."""

    engine: Engine
    turns: Turns

    @property
    def writer(self) -> LogWriter:
        return self.turns.writer

    @property
    def reader(self) -> LogReader:
        return self.turns.reader

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
        query = "select attempt_id from attempts where turn_id = :turn_id and status = 'open'"
        return len(self.reader.rows(query, turn_id=turn.turn_id))


@contextmanager
def turns_at(path: Place | None = None) -> Iterator[Turns]:
    """Turns over the log at ``path``, or over a temporary one."""
    with ExitStack() as stack:
        path = path or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log.sqlite3"
        writer = LogWriter(path)
        writer.start()
        stack.callback(writer.close)
        yield Turns(writer, LogReader(path))


@contextmanager
def started(roster: Any, path: Place | None = None, **options: Any) -> Iterator[Run]:
    """A running engine with these lanes and a log as in ``turns_at``; ``options`` are the engine's."""
    with turns_at(path) as turns:
        engine = Engine(roster, turns, **options)
        engine.start()
        try:
            yield Run(engine, turns)
        finally:
            engine.close()


@contextmanager
def running(path: Place | None, *providers: Provider, **options: Any) -> Iterator[Run]:
    """``started`` with these providers' lanes; the providers are closed at the end."""
    roster = ScriptedRoster(*providers)
    with started(roster, path, **options) as run:
        try:
            yield run
        finally:
            asyncio.run_coroutine_threadsafe(roster.aclose(), run.engine.loop).result(10)
