"""The writing connection: opens and upgrades the log, closes what dead processes left open, then writes batches of ops.

One thread uses it. Turns in memory and threads are the concern of ``LogWriter``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import Timeout
from sqlite_utils import Database

from ..process_files import START_WAIT_S
from ..records import NEXT_SEQ, Op
from ..spill import append_ops, replay
from ..store import CannotWrite, LogError, LogReplaced, LogUnusable, Transaction
from ..sweep import sweep
from .connection import Statements, connect_to_write
from .erase import erase_step, mark_deleted
from .files import LOCK_WAIT_S, OTHER_PLACE, Identity, LogFiles, check_place, is_unreadable
from .migrations import SET
from .schema import migrate, rebuild, unknown_migrations

Result = TypeVar("Result")

FAILURES = (sqlite3.Error, Timeout, OSError)  # the database cannot be written at present
REPLACED = "The log's file was removed or replaced while Kimi UI was running: its contents are not in the new one."
# The database will never accept this row, whatever its state.
REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, ValueError)


@contextmanager
def _cannot_write() -> Iterator[None]:
    """Turn errors of SQLite, a lock or the disk into ``CannotWrite``."""
    try:
        yield
    except FAILURES as error:
        raise CannotWrite(str(error) or type(error).__name__) from error


class Store:
    """The log's file for writing (see ``store.Store``), by the process ``boot_id``.

    ``replaces_unusable``: whether a log that cannot be used may be renamed and a new one started.
    """

    def __init__(self, path: Path, boot_id: str, replaces_unusable: bool = True) -> None:
        self.notice = ""
        self.n_refused = 0
        self.was_replaced = False
        self._files = LogFiles(path, boot_id)
        self.spill = self._files.spill
        self._replaces_unusable = replaces_unusable
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity = (None, None)  # of the files behind the connection

    def open(self) -> None:
        """Open and migrate the log, write the spilled rows of dead processes, close their open attempts.

        A database that is damaged or of a newer version is renamed and a new one started, if that is allowed; otherwise
        this raises ``LogUnusable``, as it does for another program's file. Raises ``LogError``.
        """
        files = self._files
        check_place(files.path)
        if _is_foreign(files):
            raise LogUnusable(f"{files.path} is not a Kimi UI log.", OTHER_PLACE)
        files.prepare()
        files.live()
        try:
            trouble, word = self._try_open()
            if trouble and not self._replaces_unusable:
                raise LogUnusable(f"The log {files.path} {trouble}.", "Check --db.")
            if trouble:
                if files.others_running():
                    raise LogError(
                        f"The log {files.path} {trouble}, and another process uses it.", "End that one first."
                    )
                aside = files.set_aside(word)
                self.notice = f"The log {trouble}: it was kept as {aside.name} and a new one was created."
                files.prepare()
                trouble, _ = self._try_open()
            if trouble:
                raise LogError(f"The log {files.path} {trouble}.", OTHER_PLACE)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._disconnect()
        self._files.leave()

    def beat(self) -> None:
        """Nothing: the lock on the ``.alive`` file says it."""

    def reconnect(self) -> None:
        """Open what is at the path now, after the file was removed or replaced; starts a new log if there is none."""
        with _cannot_write():
            self._reconnect()

    def _reconnect(self) -> None:
        files = self._files
        self._disconnect()
        if files.identity()[0] == self._identity[0]:
            self._connect().execute("SELECT 1 FROM sqlite_master")  # which makes a write-ahead log
            self._identity = files.identity()
            return
        files.part(self._identity)
        if _is_foreign(files):
            raise CannotWrite(f"{files.path} is not a Kimi UI log")
        try:
            files.prepare()
            files.live()
        except LogError as error:
            raise CannotWrite(error.message) from error
        if newer := self._connect_and_migrate():
            raise CannotWrite(f"it {newer}")
        self.notice, self.was_replaced = REPLACED, True

    def write(self, ops: Iterable[Op]) -> None:
        """All ops in one transaction; rows that the database refuses go to the rejected file instead."""
        refused: list[Op] = []

        def insert(connection: sqlite3.Connection) -> None:
            for op in ops:
                try:
                    _write(connection, op)
                except REFUSED:
                    refused.append(op)

        with _cannot_write():
            self._in_transaction(insert)
            if refused:
                append_ops(self._files.rejected, refused)
                self.n_refused += len(refused)
                self.notice = f"The log refused {len(refused)} rows; they are kept in {self._files.rejected.name}."

    def change(self, work: Callable[[Transaction], set[str]]) -> set[str]:
        def changed(connection: sqlite3.Connection) -> set[str]:
            if deleted := work(Statements(connection)):
                mark_deleted(connection)
            return deleted

        with _cannot_write():
            return self._in_transaction(changed)

    def rebuild(self) -> None:
        with _cannot_write():
            self._in_transaction(rebuild)

    def erase_step(self) -> bool:
        with _cannot_write():
            connection = self._connected()
            with self._files.write_lock.acquire(timeout=LOCK_WAIT_S, poll_interval=0.01):
                return erase_step(connection)

    def _in_transaction(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """``work`` in one transaction, durable on return; what it raises undoes it. Raises one of ``FAILURES``."""
        connection = self._connected()
        with self._files.write_lock.acquire(timeout=LOCK_WAIT_S, poll_interval=0.01):
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    def _try_open(self) -> tuple[str, str]:
        """Open the file; returns ``(problem, word for its new name)``, both empty without a problem."""
        files = self._files
        try:
            if newer := self._connect_and_migrate():
                return newer, "newer"
            for spill in files.abandoned_spills():
                replay(spill, self.write)
            assert self._connection is not None
            sweep(self, Statements(self._connection), files.is_running)
            files.others_running()  # clears away what dead processes left
        except (CannotWrite, *FAILURES) as error:
            self._disconnect()
            cause = error.__cause__ if isinstance(error, CannotWrite) else error
            if isinstance(cause, sqlite3.Error) and is_unreadable(cause):
                return "was damaged", "corrupt"
            raise LogError(f"The log {files.path} cannot be opened ({error}).", "Choose another with --db.") from error
        return "", ""

    def _connect_and_migrate(self) -> str:
        """Connect and upgrade. Returns a sentence, without connecting, if a newer version wrote the file.

        Raises one of ``FAILURES``.
        """
        connection = self._connect()
        with self._files.write_lock.acquire(timeout=START_WAIT_S):
            if newer := unknown_migrations(Database(connection)):
                self._disconnect()  # before the file gets another name
                return f"was written by a newer Kimi UI ({', '.join(newer)})"
            migrate(connection)
        self._identity = self._files.identity()
        return ""

    def _connect(self) -> sqlite3.Connection:
        self._disconnect()
        self._connection = connect_to_write(self._files.path, LOCK_WAIT_S)
        return self._connection

    def _connected(self) -> sqlite3.Connection:
        """The connection, if it is still to the log's file. Raises ``CannotWrite``, ``LogReplaced``."""
        if self._connection is None:
            raise CannotWrite("no connection")
        if self._files.identity()[0] != self._identity[0]:
            raise LogReplaced("its file was removed or replaced")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _write(connection: sqlite3.Connection, op: Op) -> None:
    """Write a row, with the conversation's next number for a turn whose own another process took."""
    try:
        connection.execute(op.sql, op.row)
    except sqlite3.IntegrityError as error:
        if "turns.conversation_id, turns.seq" not in str(error):
            raise
        (op.row["seq"],) = connection.execute(NEXT_SEQ, op.row).fetchone()
        connection.execute(op.sql, op.row)


def _is_foreign(files: LogFiles) -> bool:
    """True if the file belongs to another program: a database without our tables, or not a database.

    An unreadable file with our lock file beside it counts as a damaged log.
    """
    if not files.path.is_file() or not files.path.stat().st_size:
        return False
    try:
        mode = "mode=ro" if files.wal.exists() else "mode=ro&immutable=1"  # else SQLite would put a -wal beside it
        with closing(sqlite3.connect(f"{files.path.as_uri()}?{mode}", uri=True, timeout=LOCK_WAIT_S)) as db:
            names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            if "_sqlite_migrations" not in names:
                return bool(names)
            sets = {name for (name,) in db.execute("SELECT migration_set FROM _sqlite_migrations")}
            return bool(sets) and SET not in sets
    except sqlite3.Error as error:
        return is_unreadable(error) and not files.was_locked
