"""Sessions and limits of failed sign-ins in the log: shared by servers, revocable, and without a token in any row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlite_utils

from kimi_ui.core.owner import ADMIN, Person
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.sessions import LASTS, READ_AGAIN, WINDOW, SessionLog, SignInTries
from kimi_ui.log.store import LogUnreadable
from kimi_ui.log.writer import LogWriter

ADA = Person("a1", "Ada", ADMIN)
BOB = Person("b2", "Bob")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def server(place: Place, clock: Clock) -> Iterator[tuple[SessionLog, SignInTries, LogWriter]]:
    """One of the servers that share the log at ``place``."""
    writer = LogWriter(place)
    writer.start()
    try:
        reader = LogReader(place)
        yield SessionLog(writer, reader, clock), SignInTries(writer, reader, clock), writer
    finally:
        writer.close()


def test_a_session_is_known_to_other_servers_and_after_a_restart(place: Place) -> None:
    clock = Clock()
    with server(place, clock) as (sessions, _, _), server(place, clock) as (others, _, _):
        token = sessions.begin(ADA, "key 1")
        for known in (sessions, others):
            found = known.find(token)
            assert found
            assert (found.person, found.credential) == (ADA, "key 1")
        assert sessions.find("made up") is None
    with server(place, clock) as (sessions, _, _):
        assert sessions.find(token)
        clock.now += LASTS
        assert sessions.find(token) is None
        sessions.begin(BOB)
    assert LogReader(place).rows("SELECT name FROM sessions") == [("Bob",)]  # those that are over are gone
    assert not isinstance(place, Path) or token.encode() not in place.read_bytes()


def test_signing_out_ends_a_session_on_every_server(place: Place) -> None:
    clock = Clock()
    with server(place, clock) as (sessions, _, _), server(place, clock) as (others, _, _):
        here, there, bobs = sessions.begin(ADA), others.begin(ADA), sessions.begin(BOB)
        found = others.find(here)
        assert found
        sessions.end(found)
        assert sessions.find(here) is None
        clock.now += READ_AGAIN
        assert others.find(here) is None
        assert sessions.find(there)
        sessions.end_all(ADA.id)
        assert sessions.find(there) is None
        clock.now += READ_AGAIN
        assert others.find(there) is None
        assert sessions.find(bobs)
    with server(place, clock) as (sessions, _, _):
        assert sessions.find(here) is None
        assert sessions.find(there) is None


def test_a_session_outlasts_a_log_that_cannot_be_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with server(place, clock) as (sessions, tries, _):
        token = sessions.begin(ADA)
        clock.now += READ_AGAIN

        def broken(self: LogReader) -> None:
            raise LogUnreadable("The log is locked.", "Wait.")

        monkeypatch.setattr(LogReader, "snapshot", broken)
        assert sessions.find(token)
        with pytest.raises(LogUnreadable):
            sessions.find("made up")
        assert tries.begin({"ada": 1})[0]
        assert tries.begin({"ada": 1}) == ("", 61)  # each server counts its own then


def test_servers_share_the_limits_of_failed_sign_ins(place: Place) -> None:
    clock = Clock()
    limits = {"ada from here": 2, "here": 3}
    with server(place, clock) as (_, one, writer), server(place, clock) as (_, other, others):
        assert one.begin(limits)[0]
        writer.flush().result()
        clock.now += timedelta(seconds=10)
        again, wait_s = other.begin(limits)
        assert again
        assert wait_s == 0
        others.flush().result()
        assert one.begin(limits) == ("", 51)
        other.forgive(again, "ada from here")  # it was the right password
        others.flush().result()
        assert one.begin({"here": 1}) == ("", 51)  # others' failures from there still count
        assert other.begin(limits)[0]
        others.flush().result()  # or its rows come after the old ones have gone
        clock.now += WINDOW
        assert one.begin({"here": 1})[0]
        writer.flush().result()
    assert LogReader(place).rows("SELECT count(*) FROM sign_in_tries") == [(1,)]  # old ones go without a sign-in


def test_a_copy_of_the_log_has_no_sessions(place: Place, tmp_path: Path) -> None:
    clock = Clock()
    with server(place, clock) as (sessions, tries, writer):
        sessions.end_all(ADA.id)
        sessions.begin(ADA)
        tries.begin({"ada": 5})
        writer.flush().result()
        LogReader(place).copy(tmp_path / "copy.sqlite3")
    with closing(sqlite_utils.Database(tmp_path / "copy.sqlite3")) as db:
        assert [db[name].count for name in ("sessions", "signed_out", "sign_in_tries")] == [0, 0, 0]
    assert b"Ada" not in (tmp_path / "copy.sqlite3").read_bytes()
