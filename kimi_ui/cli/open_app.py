"""What commands work on: the log alone, or roster, turns and engine, opened in the right order, closed in reverse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ..config import Settings, read_environment
from ..engine import Engine
from ..log.reader import LogReader
from ..log.store import LogError, LogUnusable
from ..log.writer import LogWriter
from ..process import stamp_promptly
from ..providers.roster import Roster
from ..turns import Turns
from .common import CommandError


class Session(NamedTuple):
    """Everything a command needs to send turns."""

    settings: Settings
    roster: Roster
    turns: Turns
    engine: Engine


@contextmanager
def session(settings: Settings) -> Iterator[Session]:
    """A running engine with its log. On the way out attempts still running are ended and everything is written.

    Raises ``ConfigError``, and ``CommandError`` for a log that cannot be used.
    """
    stamp_promptly()
    roster = Roster(settings, read_environment)
    writer = _started_writer(settings)
    try:
        turns = Turns(writer, LogReader(settings.db))
        engine = Engine(roster, turns)
        engine.start()
        try:
            yield Session(settings, roster, turns, engine)
        finally:
            engine.close()
    finally:
        writer.close()


def log_reader(settings: Settings) -> LogReader:
    """The log for reading, brought up to date first where it can be written. Raises ``CommandError``, ``LogError``.

    Reading leaves alone what is no log: it may be a file of the person's own whose name was mistyped.
    """
    reader = LogReader(settings.db)
    if not settings.db.exists():
        return reader
    if not reader.is_log():
        raise CommandError(f"{settings.db} is no log of Kimi UI. Check --db.")
    writer = LogWriter(settings.db, begins_anew=False)
    try:
        writer.start()
        writer.close()
    except LogUnusable as error:
        raise CommandError(str(error)) from None
    except LogError:  # an archived or foreign log is read as it is
        if reader.is_older():
            trouble = "was written by an older Kimi UI and cannot be brought up to date where it lies"
            raise CommandError(f"{settings.db} {trouble}. Copy it to a folder that can be written.") from None
    return reader


def _started_writer(settings: Settings) -> LogWriter:
    writer = LogWriter(settings.db)
    try:
        writer.start()
    except LogError as error:
        raise CommandError(str(error)) from None
    return writer
