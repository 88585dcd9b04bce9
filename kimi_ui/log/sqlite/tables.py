"""The tables of a log as SQLite describes them, of which PostgreSQL has the same."""

from __future__ import annotations

from contextlib import closing
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from .connection import connect_to_read

DERIVED = ("measured", "search")


class Table(NamedTuple):
    """A table of the log. ``key``: its primary key, empty if it has none; ``parent``: a column that refers to the table
    itself, whose rows without it come first."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    parent: str


def tables() -> list[Table]:
    """The tables that hold facts, each after those that it refers to."""
    with closing(connect_to_read(Path())) as empty:
        found: dict[str, Table] = {}
        needs: dict[str, set[str]] = {}
        for (name,) in empty.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name.startswith(("sqlite_", "_", *DERIVED)):
                continue
            columns = empty.execute(f"PRAGMA table_info({name})").fetchall()
            keys = sorted((column[5], column[1]) for column in columns if column[5])
            foreign = empty.execute(f"PRAGMA foreign_key_list({name})").fetchall()
            parent = next((column for _, _, other, column, *_ in foreign if other == name), "")
            found[name] = Table(name, tuple(column[1] for column in columns), tuple(key for _, key in keys), parent)
            needs[name] = {other for _, _, other, *_ in foreign} - {name}
    return [found[name] for name in TopologicalSorter(needs).static_order()]
