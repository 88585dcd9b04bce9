"""Connections to the log's file, and the statements of the log run on one."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .schema import migrate
from .search import Documents

BUSY_S = 2.0  # a reader's wait for a writer


class Statements:
    """A connection as ``store.Transaction``. Rows are plain tuples: 100,000 are read in half the time of named ones."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.documents = Documents()

    def rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        return self._connection.execute(*_spread(sql, values))

    def records(self, sql: str, **values: Any) -> Iterator[dict[str, Any]]:
        cursor = self._connection.execute(*_spread(sql, values))
        names = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def columns(self, name: str) -> list[str]:
        return [column[0] for column in self._connection.execute(f"SELECT * FROM {name} LIMIT 0").description]

    def execute(self, sql: str, **values: Any) -> None:
        self._connection.execute(*_spread(sql, values))


def connect_to_write(path: Path, wait_s: float) -> sqlite3.Connection:
    """A connection that writes durably: a committed row survives a power cut on a disk that honours fsync."""
    connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; to an empty log in memory where there is none."""
    if path.is_file() and path.stat().st_size:
        real = path.resolve()
        uri = f"file:{quote(str(real))}?mode=ro"
        if not os.access(real.parent, os.W_OK) and not real.with_name(f"{real.name}-wal").exists():
            uri += "&immutable=1"  # an archived log: SQLite could not put its -shm beside it, nor anybody write
        return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _spread(sql: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement with a parameter for each item of a list; an empty list becomes ``(NULL)``, matching nothing."""
    single: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, list | tuple | set | frozenset):
            single[name] = value
            continue
        items = {f"{name}_{i}": item for i, item in enumerate(value)}
        sql = re.sub(rf":{name}\b", f"({', '.join(f':{item}' for item in items) or 'NULL'})", sql)
        single |= items
    return sql, single
