"""The database for reading.

A snapshot is a transaction that sees one state of the log. Its connection comes from those that this process keeps
open, at most ``MOST``. (psycopg's own pool hides why a server cannot be reached, and waits its whole time-out for it.)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg

from ...core.database_url import DatabaseUrl
from ..sqlite.connection import Statements as SqliteStatements
from ..sqlite.connection import connect_to_read
from ..sqlite.hand_out import hand_out
from ..store import LogUnreadable, Rows
from . import schema
from .connection import Connection, Statements, connect, sentence

MOST = 16
BUSY_S = 30.0  # wait for one of them

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_EMPTY = Path()  # where there is no file; read as an empty log


class Source:
    """Reads the log at ``url`` (see ``store.Source``)."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        self._connections = connections_to(url)
        self._has_log = False  # whether it was seen

    @contextmanager
    def snapshot(self) -> Iterator[Rows]:
        with self._connection() as connection:
            self._has_log = self._has_log or schema.exists(connection)
            if self._has_log:
                yield Statements(connection)
                return
        empty = connect_to_read(_EMPTY)
        try:
            yield SqliteStatements(empty)
        finally:
            empty.close()

    def exists(self) -> bool:
        with self._connection() as connection:
            return schema.exists(connection)

    def is_log(self) -> bool:
        with self._connection() as connection:
            return not schema.is_foreign(connection)

    def is_older(self) -> bool:
        with self._connection() as connection:
            return schema.is_older(connection)

    def copy(self, target: Path, owner: str | None) -> None:
        with self.snapshot() as log:
            hand_out(log, target, owner)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self._connections.one() as connection:
                yield connection
        except (psycopg.Error, TimeoutError) as error:
            message = f"The log {self._url} cannot be read ({sentence(error)})."
            raise LogUnreadable(message, "Try again; if it stays so, see whether the database runs.") from error


class Connections:
    """The connections of this process for reading, each in use by one thread at a time."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        self._idle: deque[Connection] = deque()
        self._free = threading.BoundedSemaphore(MOST)

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """A connection in a transaction that reads one state. Raises ``psycopg.Error``, ``TimeoutError``."""
        if not self._free.acquire(timeout=BUSY_S):
            raise TimeoutError(f"{MOST} other readers are busy")
        try:
            connection = self._begun()
            try:
                yield connection
            except psycopg.Error:  # which may be the connection's own, like a plan made before an upgrade of the views
                connection.close()
                raise
            finally:
                self._put_back(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close those that are not in use."""
        while connection := self._taken():
            connection.close()

    def _taken(self) -> Connection | None:
        """One that was idle; None if all are in use, or another thread took the last one meanwhile."""
        with suppress(IndexError):
            return self._idle.pop()
        return None

    def _begun(self) -> Connection:
        while connection := self._taken():
            try:
                connection.execute(_BEGIN)
                return connection
            except psycopg.Error:  # the server was restarted meanwhile
                connection.close()
        connection = connect(self._url)
        try:
            connection.execute(_BEGIN)
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_back(self, connection: Connection) -> None:
        try:
            connection.execute("ROLLBACK")  # raises if it was closed
            self._idle.append(connection)
        except psycopg.Error:
            connection.close()


@cache
def connections_to(url: DatabaseUrl) -> Connections:
    """Those of this process to that database, whoever reads."""
    return Connections(url)
