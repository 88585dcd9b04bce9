"""Sessions of people who signed in, and failed sign-ins, in the log: a restart knows them, and so does every server
that shares the log.

Only hashes of tokens are stored. Rows are only added, so a session that was signed out cannot come back, in whatever
order rows are written; those of sessions that are over are removed with the next sign-in, old tries with the next try.
What this process has written itself holds at once, also while the log cannot be written.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from .. import utc
from ..core.owner import Person
from .reader import LogReader
from .records import op_of
from .store import LogUnreadable, Transaction
from .writer import LogWriter

LASTS = timedelta(days=30)
READ_AGAIN = timedelta(seconds=2)  # until another server's sign-out is noticed
REMEMBERED = 2000  # sessions in memory
WINDOW = timedelta(seconds=60)  # within which failed sign-ins count

log = logging.getLogger(__name__)

_SESSIONS = "SELECT token_hash, person_id, name, role, credential, ends_at_utc FROM sessions"


class Session(NamedTuple):
    """A session that is not over. ``credential``: see ``SessionLog.begin``."""

    token_hash: str
    person: Person
    credential: str
    ends_at_utc: str


class _Known(NamedTuple):
    session: Session
    read_at: datetime  # from the log


def hashed(token: str) -> str:
    """What the log keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class SessionLog:
    """Sessions by token. All methods may block, so an event loop calls them on a thread. ``now``: the UTC time."""

    def __init__(self, writer: LogWriter, reader: LogReader, now: Callable[[], datetime] = utc.now) -> None:
        self._writer = writer
        self._reader = reader
        self._now = now
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._out: OrderedDict[str, None] = OrderedDict()  # hashes of tokens that were signed out here
        self._lock = threading.Lock()  # guards both

    def begin(self, person: Person, credential: str = "", lasts: timedelta = LASTS) -> str:
        """Begin a session and return its token, which is the only copy.

        ``credential`` names what the person signed in with; whoever reads the session compares it with what holds now.
        """
        token, now = secrets.token_urlsafe(32), self._now()
        session = Session(hashed(token), person, credential, utc.text(now + lasts))
        with self._lock:
            self._remember(session, now)
        row = {
            "token_hash": session.token_hash,
            "person_id": person.id,
            "name": person.name,
            "role": person.role,
            "credential": credential,
            "started_at_utc": utc.text(now),
            "ends_at_utc": session.ends_at_utc,
        }
        self._writer.write([op_of("sessions", row)]).result()
        self._writer.change(_forget_sessions(utc.text(now)))
        return token

    def find(self, token: str) -> Session | None:
        """The token's session; None if there is none or it is over.

        Another server's sign-out takes ``READ_AGAIN``. Raises ``LogUnreadable`` for a session that is not in memory.
        """
        token_hash, now = hashed(token), self._now()
        with self._lock:
            known = None if token_hash in self._out else self._known.get(token_hash)
            if token_hash in self._out or (known and known.session.ends_at_utc <= utc.text(now)):
                return None
        if known and now - known.read_at < READ_AGAIN:
            return known.session
        try:
            session, is_out = self._read(token_hash)
        except LogUnreadable:
            if known is None:
                raise
            return known.session
        if is_out:
            self._forget([token_hash])
            return None
        session = session or (known.session if known else None)  # its row may wait beside the log
        if session is None or session.ends_at_utc <= utc.text(now):
            return None
        with self._lock:
            if token_hash in self._out:  # meanwhile
                return None
            self._remember(session, now)
        return session

    def end(self, session: Session) -> None:
        """Sign out: the session is over at once here, and durably on return."""
        self._end([session])

    def end_all(self, person_id: str) -> None:
        """Sign a person out everywhere. Raises ``LogUnreadable`` if only this server's sessions could be ended."""
        with self._lock:
            mine = [known.session for known in self._known.values() if known.session.person.id == person_id]
        self._end(mine)
        query = f"{_SESSIONS} WHERE person_id = :person_id AND ends_at_utc > :now"
        self._end([_session(row) for row in self._reader.rows(query, person_id=person_id, now=utc.text(self._now()))])

    def _end(self, sessions: Sequence[Session]) -> None:
        if not sessions:
            return
        at_utc = utc.text(self._now())
        self._forget([session.token_hash for session in sessions])
        rows = [
            {"token_hash": session.token_hash, "at_utc": at_utc, "ends_at_utc": session.ends_at_utc}
            for session in sessions
        ]
        self._writer.write([op_of("signed_out", row) for row in rows]).result()

    def _forget(self, token_hashes: Sequence[str]) -> None:
        with self._lock:
            for token_hash in token_hashes:
                self._known.pop(token_hash, None)
                self._out[token_hash] = None
            while len(self._out) > REMEMBERED:
                self._out.popitem(last=False)

    def _remember(self, session: Session, now: datetime) -> None:
        self._known[session.token_hash] = _Known(session, now)
        self._known.move_to_end(session.token_hash)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _read(self, token_hash: str) -> tuple[Session | None, bool]:
        """The session of the log, and whether it was signed out."""
        with self._reader.snapshot() as rows:
            found = rows.rows(f"{_SESSIONS} WHERE token_hash = :token_hash", token_hash=token_hash)
            session = next(map(_session, found), None)
            out = next(rows.rows("SELECT at_utc FROM signed_out WHERE token_hash = :id", id=token_hash), None)
        return session, out is not None


def _session(row: tuple[str, ...]) -> Session:
    token_hash, person_id, name, role, credential, ends_at_utc = row
    return Session(token_hash, Person(person_id, name, role), credential, ends_at_utc)


def _forget_sessions(now_utc: str) -> Callable[[Transaction], set[str]]:
    """Removes sessions that are over at ``now_utc``."""

    def change(log: Transaction) -> set[str]:
        log.execute("DELETE FROM sessions WHERE ends_at_utc <= :now", now=now_utc)
        log.execute("DELETE FROM signed_out WHERE ends_at_utc <= :now", now=now_utc)
        return set()

    return change


def _forget_tries(until_utc: str) -> Callable[[Transaction], set[str]]:
    """Removes tries up to that time, which no limit counts any more."""

    def change(log: Transaction) -> set[str]:
        log.execute("DELETE FROM sign_in_tries WHERE at_utc <= :until", until=until_utc)
        return set()

    return change


class SignInTries:
    """Limits of failed sign-ins, within ``WINDOW``.

    A try counts from its beginning, so that many at once cannot pass, until it is forgiven. ``now``: the UTC time.
    """

    def __init__(self, writer: LogWriter, reader: LogReader, now: Callable[[], datetime] = utc.now) -> None:
        self._writer = writer
        self._reader = reader
        self._now = now
        self._mine: dict[str, dict[str, str]] = {}  # by subject: this process's tries with their times
        self._lock = threading.Lock()

    def begin(self, limits: dict[str, int], *, counts: bool = True) -> tuple[str, int]:
        """Count a try against each subject of ``limits``, which may have so many: its id, and 0. If one has no more,
        nothing is counted: an empty id, and the seconds to wait. ``counts`` False: the try will succeed, so it is not
        counted, but it waits like others. May block."""
        subjects = {hashed(subject): most for subject, most in limits.items()}
        shared = self._shared(list(subjects))
        now, try_id = self._now(), uuid.uuid4().hex
        begins = utc.text(now - WINDOW)
        with self._lock:
            self._mine = {
                subject: recent
                for subject, tries in self._mine.items()
                if (recent := {id: at for id, at in tries.items() if at > begins})
            }
            for subject, most in subjects.items():
                tries = {**shared.get(subject, {}), **self._mine.get(subject, {})}
                times = sorted(at for at in tries.values() if at > begins)
                if len(times) >= most:
                    free_at = datetime.fromisoformat(times[-most]) + WINDOW
                    return "", max(1, int((free_at - now).total_seconds()) + 1)
            if not counts:
                return try_id, 0
            for subject in subjects:
                self._mine.setdefault(subject, {})[try_id] = utc.text(now)
        rows = [{"try_id": try_id, "subject": subject, "at_utc": utc.text(now)} for subject in subjects]
        self._writer.write([op_of("sign_in_tries", row) for row in rows])
        self._writer.change(_forget_tries(begins))  # here, so that wrong tries alone cannot make the log grow
        return try_id, 0

    def forgive(self, try_id: str, subject: str) -> None:
        """The try succeeded: it does not count, nor do the failed ones of ``subject``."""
        subject = hashed(subject)
        with self._lock:
            self._mine.pop(subject, None)
            for tries in self._mine.values():
                tries.pop(try_id, None)

        def change(log: Transaction) -> set[str]:
            statement = "DELETE FROM sign_in_tries WHERE try_id = :try_id OR subject = :subject"
            log.execute(statement, try_id=try_id, subject=subject)
            return set()

        self._writer.change(change)

    def _shared(self, subjects: list[str]) -> dict[str, dict[str, str]]:
        """The tries in the log; none if it cannot be read, and then each server counts its own."""
        try:
            query = "SELECT subject, try_id, at_utc FROM sign_in_tries WHERE subject IN :subjects"
            rows = self._reader.rows(query, subjects=subjects)
        except LogUnreadable as error:
            log.warning("%s", error)
            return {}
        found: dict[str, dict[str, str]] = {}
        for subject, try_id, at_utc in rows:
            found.setdefault(subject, {})[try_id] = at_utc
        return found
