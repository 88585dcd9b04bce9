"""Copying a log to another place, whatever the stores, and comparing two logs table by table.

A copy that was cut short goes on when it is begun again: rows that are there and equal are left alone. What can be
derived (views, ``measured``, the full-text index) is made again. PostgreSQL's text holds no NUL, so that NUL and its
replacement U+FFFD count as equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from .sqlite.tables import Table, tables
from .store import Rows, Transaction

BATCH = 200  # rows; one may hold an image
Change = Callable[[Callable[[Transaction], set[str]]], object]

Row = tuple[Any, ...]
Read = Callable[..., Iterable[Row]]


class Sum(NamedTuple):
    """How many rows a table has, and a checksum of them in which their order is no matter."""

    n: int
    checksum: int


class TableCopied(NamedTuple):
    name: str
    n_written: int
    n_equal: int


def strangers(source: Rows, target: Rows) -> int:
    """How many conversations the target has that the source has not: they are of another log."""
    query = "SELECT conversation_id FROM conversations"
    return len({id for (id,) in target.rows(query)} - {id for (id,) in source.rows(query)})


def copy_tables(
    source: Rows, target: Read, change: Change, chosen: Mapping[str, str] | None = None, **values: Any
) -> Iterator[TableCopied]:
    """Copy what the target lacks or has otherwise, a batch a transaction.

    ``target``: runs a query there (``Rows.rows``), and sees what ``change`` has written. ``chosen``: only these tables,
    and of each the rows with that condition, which ``values`` are the parameters of.

    Raises what ``change`` raises; what was written until then stays.
    """
    for table in tables():
        if chosen is not None and table.name not in chosen:
            continue
        written = equal = 0
        for rows, new in _batches(source, target, table, chosen[table.name] if chosen else "TRUE", values):
            if new is not None:
                change(lambda log, table=table, new=new: _write(log, table, new))  # type: ignore[misc]
            written, equal = written + len(new or ()), equal + len(rows) - len(new or ())
        yield TableCopied(table.name, written, equal)


def sums(log: Rows) -> dict[str, Sum]:
    """The count and the checksum of each table."""
    found: dict[str, Sum] = {}
    for table in tables():
        digests = [_digest(row) for row in log.rows(f"SELECT {', '.join(table.columns)} FROM {table.name}")]
        found[table.name] = Sum(len(digests), sum(digests) % 2**64)
    return found


def canonical(row: Row) -> Row:
    return tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row)


def _digest(row: Row) -> int:
    return int.from_bytes(blake2b(repr(canonical(row)).encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _key(table: Table, row: Row) -> Row:
    return tuple(row[table.columns.index(name)] for name in table.key)


def _batches(
    source: Rows, target: Read, table: Table, chosen: str, values: Mapping[str, Any]
) -> Iterator[tuple[list[Row], list[Row] | None]]:
    """The source's rows that meet the condition ``chosen``, and those of them that are to be written; None: the target
    has them all.

    A table without a key is one batch, which is written as a whole or not at all.
    """
    select = f"SELECT {', '.join(table.columns)} FROM {table.name}"
    if not table.key:
        rows = list(source.rows(f"{select} WHERE {chosen}", **values))
        same = sorted(map(_digest, rows)) == sorted(map(_digest, target(select)))
        yield rows, None if same else rows
        return
    names = ", ".join(table.key)
    first = ", ".join(f":from_{name}" for name in table.key)
    last = ", ".join(f":to_{name}" for name in table.key)
    for condition in (f"{table.parent} IS NULL", f"{table.parent} IS NOT NULL") if table.parent else ("TRUE",):
        after, begun = f"WHERE {condition}", dict[str, Any]()
        while True:
            query = f"{select} {after} AND {chosen} ORDER BY {names} LIMIT :batch"
            rows = list(source.rows(query, batch=BATCH, **begun, **values))
            if not rows:
                break
            end = list(zip(table.key, _key(table, rows[-1]), strict=True))
            to = {f"to_{name}": value for name, value in end}
            there = target(f"{select} {after} AND ({names}) <= ({last})", **begun, **to)
            here = {_key(table, row): canonical(row) for row in there}
            yield rows, [row for row in rows if here.get(_key(table, row)) != canonical(row)] or None
            begun = {f"from_{name}": value for name, value in end}
            after = f"WHERE {condition} AND ({names}) > ({first})"


def _write(log: Transaction, table: Table, rows: list[Row]) -> set[str]:
    values = ", ".join(f":{name}" for name in table.columns)
    statement = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({values})"
    if table.key:
        changes = ", ".join(f"{name} = excluded.{name}" for name in table.columns)
        statement += f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {changes}"
    else:
        log.execute(f"DELETE FROM {table.name}")
    for row in rows:
        log.execute(statement, **dict(zip(table.columns, row, strict=True)))
    return set()
