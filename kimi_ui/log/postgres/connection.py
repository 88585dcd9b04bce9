"""Connections to the database, and the statements of the log run on one.

Statements come in the subset of SQL that SQLite shares, and values in its types: a boolean is 0 or 1, and a sum of
integers is an integer. PostgreSQL's text holds no NUL character; U+FFFD replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import make_conninfo

from ...core.database_url import DatabaseUrl
from .search import Documents

Connection = psycopg.Connection[tuple[Any, ...]]

UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, OSError)
"""The server is not there, or cannot do anything at present."""

LAZY_ROWS = 200

_OPTIONS: dict[str, str | int | None] = {
    "application_name": "Kimi UI",
    "connect_timeout": 5,
    "keepalives_idle": 10,  # seconds; a server that is gone without a word is noticed within half a minute
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}
# Compiling the views takes minutes. A row is durable when COMMIT returns, whatever the server's own setting.
_SETTINGS = "SET jit = off; SET synchronous_commit = on; SET client_encoding = 'UTF8'"
_NAME = re.compile(r"'(?:[^']|'')*'|--[^\n]*|::|%|\bIN\s+:([A-Za-z_]\w*)|:([A-Za-z_]\w*)")
_EXPENSIVE = re.compile(rb"\w_metrics\b")  # views; planning them takes 100 ms or more, running them for a turn a few


class Statements:
    """A connection as ``store.Transaction``. It keeps the plans of the metrics' views, once made."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.documents = Documents(self.lazily)

    def lazily(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query of which only the first are likely to be read."""
        with self._connection.cursor("lazily") as cursor:
            cursor.itersize = LAZY_ROWS
            yield from cursor.execute(translated(sql), storable(values))

    def rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        return iter(self._run(sql, values))

    def records(self, sql: str, **values: Any) -> Iterator[dict[str, Any]]:
        cursor = self._run(sql, values)
        names = [column.name for column in cursor.description or ()]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def columns(self, name: str) -> list[str]:
        return [column.name for column in self._run(f"SELECT * FROM {name} LIMIT 0", {}).description or ()]

    def execute(self, sql: str, **values: Any) -> None:
        self._run(sql, values)

    def _run(self, sql: str, values: dict[str, Any]) -> psycopg.Cursor[tuple[Any, ...]]:
        statement = translated(sql)
        expensive = _EXPENSIVE.search(statement) is not None
        if expensive:
            self._connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        return self._connection.execute(statement, storable(values), prepare=expensive or None)


def connect(url: DatabaseUrl) -> Connection:
    """A connection in which each statement is a transaction, unless one was begun. Raises one of ``UNREACHABLE``."""
    try:
        info = make_conninfo(url.secret, **_OPTIONS)
    except psycopg.ProgrammingError:  # its text may hold a part of the password
        raise psycopg.OperationalError("the URL has a part that libpq cannot read") from None
    connection = psycopg.connect(info, autocommit=True)
    try:
        connection.adapters.register_loader("numeric", _Number)
        connection.adapters.register_loader("bool", _Boolean)
        connection.execute(_SETTINGS)
    except BaseException:
        connection.close()
        raise
    return connection


def sentence(error: BaseException) -> str:
    """What the error says, on one line and without hints."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@lru_cache(maxsize=1000)
def translated(sql: str) -> bytes:
    """The statement with psycopg's parameters for ``:name``; a list is an array, so that its length is no matter."""

    def one(found: re.Match[str]) -> str:
        if found[1]:
            return f"= ANY (%({found[1]})s)"
        return f"%({found[2]})s" if found[2] else found[0].replace("%", "%%")

    return _NAME.sub(one, sql).encode()


def storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that PostgreSQL accepts where SQLite accepts these."""
    return {name: _storable(value) for name, value in values.items()}


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, tuple | set | frozenset | list):
        return [_storable(item) for item in value]
    return int(value) if isinstance(value, bool) else value


class _Number(Loader):
    """``numeric``, which sums of integers and quotients of constants are: an integer stays one."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return int(text) if text.lstrip(b"-").isdigit() else float(text)


class _Boolean(Loader):
    def load(self, data: Buffer) -> int:
        return int(bytes(data) == b"t")
