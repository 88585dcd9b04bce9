"""The log's file for reading.

Each snapshot opens the database read-only and closes it again, so a reader holds nothing between calls, never blocks
the writer, and works while the file is being replaced.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..store import LogUnreadable
from .connection import Statements, connect_to_read
from .files import check_place
from .hand_out import OF_THE_SERVER, hand_out
from .schema import is_older


class Source:
    """Reads the log at ``path`` (see ``store.Source``)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        return self._path.exists()

    @contextmanager
    def snapshot(self) -> Iterator[Statements]:
        with self._connection() as connection:
            connection.execute("BEGIN")
            yield Statements(connection)

    def is_log(self) -> bool:
        check_place(self._path)
        if not self._path.exists() or not self._path.stat().st_size:
            return True
        with self._connection() as connection:
            query = "SELECT count(*) FROM sqlite_master WHERE name IN ('turns', 'attempts', 'attempt_metrics')"
            return int(connection.execute(query).fetchone()[0]) == 3

    def is_older(self) -> bool:
        with self._connection() as connection:
            return is_older(connection)

    def copy(self, target: Path, owner: str | None) -> None:
        if owner is not None:
            with self.snapshot() as log:
                hand_out(log, target, owner)
            return
        with self._connection() as connection:  # whole, with what the user made in it, and faster than row by row
            connection.execute("PRAGMA query_only = OFF")  # VACUUM INTO writes the copy, never the log
            connection.execute("VACUUM INTO ?", (str(target),))
        with closing(sqlite3.connect(target, isolation_level=None)) as db:
            db.execute("PRAGMA secure_delete = ON")
            for table in OF_THE_SERVER:
                db.execute(f"DELETE FROM {table}")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect_to_read(self._path)) as connection:
                yield connection
        except sqlite3.Error as error:
            remedy = "Try again; if it is damaged, keep it and choose another with --db."
            raise LogUnreadable(f"The log {self._path} cannot be read ({error}).", remedy) from error
