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
        with self._connection() as connection:
            connection.execute("PRAGMA query_only = OFF")  # VACUUM INTO writes the copy, never the log
            connection.execute("VACUUM INTO ?", (str(target),))
        keep_only(target, owner)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect_to_read(self._path)) as connection:
                yield connection
        except sqlite3.Error as error:
            remedy = "Try again; if it is damaged, keep it and choose another with --db."
            raise LogUnreadable(f"The log {self._path} cannot be read ({error}).", remedy) from error


def keep_only(copy: Path, owner: str | None) -> None:
    """Leave in a copy of a log what is to be handed out: nothing of this server, and of one owner if given."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = ON")
        for table in ("sessions", "signed_out", "sign_in_tries", "share_links"):  # of this server, not of the log
            db.execute(f"DELETE FROM {table}")
        if owner is not None:
            db.execute("PRAGMA foreign_keys = ON")
            for table in ("conversations", "budgets", "spent_deleted", "benchmarks"):
                db.execute(f"DELETE FROM {table} WHERE owner <> ?", (owner,))
            db.execute("INSERT INTO search (search) VALUES ('rebuild')")  # or the others' words stay in the index
            db.execute("VACUUM")
