"""Opens what commands need: the log only, or log, roster, turns and engine, which are closed in reverse order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from .. import utc
from ..bus import NO_REDIS
from ..config import Settings, read_environment
from ..engine import Engine
from ..log.reader import LogReader
from ..log.store import LogError, LogUnusable
from ..log.writer import LogWriter
from ..process import stamp_promptly
from ..providers.roster import Roster
from ..turns import Turns
from .common import CommandError

if TYPE_CHECKING:
    from ..bus.bus import Bus
    from ..bus.wire import Redis

UNDO_WITHIN = timedelta(days=1)
"""For how long a deleted conversation waits for a page to offer Undo, before it is erased without."""


class OpenApp(NamedTuple):
    """The objects a command needs to send turns."""

    settings: Settings
    roster: Roster
    turns: Turns
    engine: Engine


@contextmanager
def session(settings: Settings) -> Iterator[OpenApp]:
    """A running engine with its log. On exit, running attempts are ended and all entries are written.

    Raises ``ConfigError``, and ``CommandError`` for a log that cannot be used.
    """
    stamp_promptly()
    roster = Roster(settings, read_environment)
    writer = _started_writer(settings)
    try:
        writer.erase_deleted_before(utc.text(utc.now() - UNDO_WITHIN))
        turns = Turns(writer, LogReader(settings.db))
        engine = Engine(roster, turns)
        engine.start()
        try:
            yield OpenApp(settings, roster, turns, engine)
        finally:
            engine.close()
    finally:
        writer.close()


@contextmanager
def on_bus(opened: OpenApp) -> Iterator[Bus | None]:
    """The bus of ``KIMI_UI_BUS``, which replicas share; None without it. Raises ``CommandError``."""
    if not opened.settings.bus_url:
        yield None
        return
    try:
        from ..bus.bus import Bus, BusError
    except ImportError:
        raise CommandError(NO_REDIS) from None
    engine = opened.engine
    try:
        bus = Bus(opened.settings.bus_url, opened.turns, stop=engine.stop, is_draining=lambda: engine.draining)
    except BusError as error:
        raise CommandError(str(error)) from None
    bus.start()
    try:
        yield bus
    finally:
        engine.close()  # first, so that the ends of its turns are published
        bus.close()


@contextmanager
def reached_bus(url: str) -> Iterator[Redis]:
    """A client of the bus at ``url``, which answers. Raises ``CommandError``."""
    try:
        from ..bus.bus import BusError
        from ..bus.claims import BusAway, connected, reach
    except ImportError:
        raise CommandError(NO_REDIS) from None
    try:
        with connected(url) as redis:
            reach(redis)
            yield redis
    except BusAway as error:
        raise CommandError(f"The bus of KIMI_UI_BUS cannot be reached ({error}): start it.") from None
    except BusError as error:
        raise CommandError(str(error)) from None


def log_reader(settings: Settings, must_exist: bool = False) -> LogReader:
    """The log for reading, migrated first if it is writable. Raises ``CommandError``, ``LogError``.

    What is not a log is never changed: it may be the user's own, given by a mistyped name. ``must_exist``: it is an
    error if there is no log; otherwise it reads as an empty one.
    """
    reader = LogReader(settings.db)
    if not reader.exists():
        if must_exist:
            raise CommandError(f"There is no log at {settings.db}; check --db.")
        return reader
    if not reader.is_log():
        raise CommandError(f"{settings.db} is not a Kimi UI log. Check --db.")
    writer = LogWriter(settings.db, replaces_unusable=False)
    try:
        writer.start()
        writer.close()
    except LogUnusable as error:
        raise CommandError(str(error)) from None
    except LogError:  # an archived or foreign log is read without migration
        if reader.is_older():
            trouble = "was written by an older Kimi UI and cannot be upgraded in place"
            raise CommandError(f"{settings.db} {trouble}. Copy it to a writable folder.") from None
    return reader


def _started_writer(settings: Settings) -> LogWriter:
    writer = LogWriter(settings.db)
    try:
        writer.start()
    except LogError as error:
        raise CommandError(str(error)) from None
    return writer
