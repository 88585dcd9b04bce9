"""The writing connection: opens and upgrades the log, ends what dead processes left open, then writes batches of ops.

One thread uses it. A process says in a row of ``processes`` that it runs; if it has not done so for ``SILENT_S``, any
other process may end what it left open. Rows that cannot be written go to a file in the user's data directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from filelock import Timeout
from psycopg import errors

from ...config import default_db_path
from ...core.database_url import DatabaseUrl
from ..process_files import ProcessFiles
from ..records import NEXT_SEQ, Op
from ..spill import append_ops, replay
from ..store import CannotWrite, LogError, LogReplaced, LogUnusable, Transaction
from ..sweep import sweep
from .connection import UNREACHABLE, Connection, Statements, connect, sentence, storable, translated
from .migrations import unknown
from .schema import exists, is_foreign, migrate, rebuild
from .search import index

Result = TypeVar("Result")

SILENT_S = 10  # a process that has not said for so long that it runs is taken for dead
SWEEP = 0x6B696D6A  # advisory lock of whoever ends what dead processes left open
REPLACED = "The log's tables were removed while Kimi UI was running: their contents are not in the new ones."
GONE = "its tables were removed"
OTHER_PLACE = "Check --db and KIMI_UI_DB."
# The database will never accept this row, whatever its state.
REFUSED = (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError, ValueError)
LOCK_WAIT = "1s"  # for another's write, or an upgrade by another process; then rows are spilled
TRIES = 3  # of a transaction that collided with another process's

_BEAT = """
    INSERT INTO processes (boot_id, seen_at) VALUES (%s, clock_timestamp())
    ON CONFLICT (boot_id) DO UPDATE SET seen_at = excluded.seen_at
"""
_IS_RUNNING = """
    SELECT 1 FROM processes WHERE boot_id = %s AND seen_at > clock_timestamp() - make_interval(secs => %s)
"""


class Store:
    """The log at ``url`` for writing (see ``store.Store``), by the process ``boot_id``."""

    def __init__(self, url: DatabaseUrl, boot_id: str) -> None:
        self.notice = ""
        self.n_refused = 0
        self.was_replaced = False
        self._url = url
        self._boot_id = boot_id
        self._files = ProcessFiles(default_db_path().with_name(_file_name(url)), boot_id)
        self.spill = self._files.spill
        self._connection: Connection | None = None

    def open(self) -> None:
        """Open and migrate the log, write the spilled rows of this machine's dead processes, end their open attempts.

        Raises ``LogError``; ``LogUnusable`` for another program's database and for a newer version's.
        """
        try:
            self._files.path.parent.mkdir(parents=True, exist_ok=True)
            self._files.live()
            self._connect_and_migrate()
            self.beat()
            self._connected().execute("DELETE FROM processes WHERE seen_at < clock_timestamp() - interval '1 day'")
            for spill in self._files.abandoned_spills():
                replay(spill, self.write)
            self._files.others_running()  # clears away what dead processes left
        except BaseException as error:
            self.close()
            if isinstance(error, (CannotWrite, *UNREACHABLE)):
                message = f"The log {self._url} cannot be opened ({sentence(error)})."
                raise LogError(message, "Start the database, or check --db and KIMI_UI_DB.") from error
            if isinstance(error, Timeout):
                raise LogError(f"{self._files.path.parent} cannot be locked.", "End the other process.") from error
            raise

    def close(self) -> None:
        if self._connection is not None:
            with _quietly():
                self._connection.execute("DELETE FROM processes WHERE boot_id = %s", (self._boot_id,))
        self._disconnect()
        self._files.leave()

    def beat(self) -> None:
        """Say that this process runs, and end what others left open that do not."""
        with self._writing():
            connection = self._connected()
            connection.execute(_BEAT, (self._boot_id,))
            if connection.execute("SELECT pg_try_advisory_lock(%s)", (SWEEP,)).fetchone() != (1,):
                return  # another process does it
            try:
                sweep(self, Statements(connection), self._is_running)
            finally:
                with _quietly():
                    connection.execute("SELECT pg_advisory_unlock(%s)", (SWEEP,))

    def reconnect(self) -> None:
        with self._writing():
            self._disconnect()
            try:
                if self._connect_and_migrate():
                    self.notice, self.was_replaced = REPLACED, True
            except LogError as error:
                raise CannotWrite(error.message) from error
            self.beat()

    def write(self, ops: Iterable[Op]) -> None:
        """All ops in one transaction; rows that the database refuses go to the rejected file instead."""
        batch = list(ops)
        refused: list[Op] = []

        def insert(connection: Connection) -> None:
            if not batch and not exists(connection):
                raise LogReplaced(GONE)
            with connection.pipeline():
                for op in batch:
                    _write(connection, op)

        def insert_each(connection: Connection) -> None:
            refused.clear()
            for op in batch:
                try:
                    _write_alone(connection, op)
                except errors.InsufficientPrivilege:
                    raise
                except REFUSED:
                    if not exists(connection):
                        raise LogReplaced(GONE) from None
                    refused.append(op)

        with self._writing():
            try:
                self._in_transaction(insert)
            except errors.InsufficientPrivilege:
                raise
            except REFUSED:
                self._in_transaction(insert_each)
            if refused:
                append_ops(self._files.rejected, refused)
                self.n_refused += len(refused)
                self.notice = f"The log refused {len(refused)} rows; they are kept in {self._files.rejected.name}."

    def change(self, work: Callable[[Transaction], set[str]]) -> set[str]:
        with self._writing():
            try:
                return self._in_transaction(lambda connection: work(Statements(connection)))
            except psycopg.IntegrityError as error:
                raise CannotWrite(sentence(error)) from error

    def rebuild(self) -> None:
        with self._writing():
            self._in_transaction(rebuild)

    def erase_step(self) -> bool:
        """True: the server gives the space of deleted rows to others in its own time (VACUUM)."""
        return True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn errors of the server, the network or the disk into ``CannotWrite``."""
        try:
            yield
        except errors.UndefinedTable as error:
            if exists(self._connected()):
                raise
            raise LogReplaced(GONE) from error
        except (*UNREACHABLE, errors.InsufficientPrivilege) as error:
            raise CannotWrite(sentence(error)) from error

    def _in_transaction(self, work: Callable[[Connection], Result]) -> Result:
        """``work`` in one transaction, durable on return; what it raises undoes it."""
        connection = self._connected()
        for _ in range(TRIES - 1):
            try:
                with connection.transaction():
                    return work(connection)
            except (errors.DeadlockDetected, errors.SerializationFailure):
                continue
        with connection.transaction():
            return work(connection)

    def _is_running(self, boot_id: str) -> bool:
        if boot_id == self._boot_id:
            return True
        return self._connected().execute(_IS_RUNNING, (boot_id, SILENT_S)).fetchone() is not None

    def _connect_and_migrate(self) -> bool:
        """True if there was no log yet."""
        connection = self._connection = connect(self._url)
        try:
            if is_foreign(connection):
                raise LogUnusable(f"The database {self._url} holds tables of another program.", OTHER_PLACE)
            if newer := unknown(connection):
                message = f"The log {self._url} was written by a newer Kimi UI ({', '.join(newer)})."
                raise LogUnusable(message, "Update this one, or choose another with --db.")
            is_new = not exists(connection)
            migrate(connection)
            connection.execute(f"SET lock_timeout = '{LOCK_WAIT}'".encode())
            return is_new
        except errors.InsufficientPrivilege as error:
            message = f"The log {self._url} cannot be set up ({sentence(error)})."
            remedy = "Give the user a schema of its own: CREATE SCHEMA AUTHORIZATION followed by the user's name."
            raise LogError(message, remedy) from error
        except errors.DependentObjectsStillExist as error:
            message = f"The log {self._url} cannot be upgraded: {sentence(error)}."
            raise LogError(message, f"Drop what depends on it first. {error.diag.message_detail or ''}") from error

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            raise CannotWrite("no connection")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _write(connection: Connection, op: Op) -> None:
    connection.execute(translated(op.sql), storable(op.row))
    index(connection, op)


def _write_alone(connection: Connection, op: Op) -> None:
    """``_write``, with the conversation's next number for a turn whose own another process took."""
    while True:
        try:
            with connection.transaction():
                return _write(connection, op)
        except errors.UniqueViolation as error:
            if error.diag.constraint_name != "turns_by_conversation":
                raise
        (op.row["seq"],) = connection.execute(translated(NEXT_SEQ), op.row).fetchone() or (0,)


@contextmanager
def _quietly() -> Iterator[None]:
    """Ignore that the server is away: it learns of it, or has no need to."""
    try:
        yield
    except psycopg.Error:
        pass


def _file_name(url: DatabaseUrl) -> str:
    """The name of what this machine keeps beside the log, by the place without its password."""
    return f"postgres-{hashlib.sha256(str(url).encode()).hexdigest()[:12]}"
