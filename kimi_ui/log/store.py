"""What keeps the log: the contract between the log's code and a database, and how the database may fail.

``sqlite.Store`` and ``sqlite.Source`` are the ones there are. All other modules here speak SQL that PostgreSQL shares,
with ``:name`` parameters, and know neither connections nor cursors, so a second pair can stand beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .records import Op


class LogError(Exception):
    """The log cannot be used. ``message`` says why in one sentence, ``remedy`` what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.message = message
        self.remedy = remedy


class LogUnusable(LogError):
    """The file there is damaged, is not a log, or was written by a newer version."""


class LogUnreadable(LogError):
    """The log is locked or damaged and cannot be read."""


class CannotWrite(Exception):
    """The store takes no writes at present (busy, full, gone, damaged). Nothing was written; it can be tried again."""


class LogReplaced(CannotWrite):
    """The log that was opened has been removed or replaced: nobody would read what is written to it."""


class Rows(Protocol):
    """One state of the log, to be read: later queries see what the first one saw.

    A list among ``values`` is spread: ``lane IN :lanes`` takes any number of lanes.
    """

    def rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """The query's rows, read as they are taken."""
        ...

    def records(self, sql: str, **values: Any) -> Iterator[dict[str, Any]]:
        """The same, each row by the names of its columns."""
        ...

    def columns(self, name: str) -> list[str]:
        """The columns of a table or view."""
        ...


class Transaction(Rows, Protocol):
    """A change of the log, kept whole or not at all."""

    def execute(self, sql: str, **values: Any) -> None: ...


class Store(Protocol):
    """The writing side, used by one thread. ``notice``: a sentence about the log for the person, else empty.

    ``was_replaced``: a new log was begun since this one was opened. ``spill``: where rows go while none can be written.
    """

    notice: str
    was_replaced: bool
    spill: Path

    def open(self) -> None:
        """Open it, bring it up to date, and complete what dead processes left. Raises ``LogError``."""
        ...

    def close(self) -> None: ...

    def reconnect(self) -> None:
        """Try again after a failure; begins a new log where the old one has gone. Raises ``CannotWrite``."""
        ...

    def write(self, ops: Iterable[Op]) -> None:
        """All of it, durable on return; rows refused for what they hold are set aside. Raises ``CannotWrite``."""
        ...

    def change(self, work: Callable[[Transaction], set[str]]) -> set[str]:
        """``work`` in one transaction, durable on return; returns the ids of what it deleted, as ``work`` does.

        Raises ``CannotWrite``, and what ``work`` raises: then nothing has changed.
        """
        ...

    def erase_step(self) -> bool:
        """Overwrite some of what was deleted; True when nothing of it is left. Raises ``CannotWrite``."""
        ...


class Source(Protocol):
    """The reading side. Any thread may call it."""

    def snapshot(self) -> AbstractContextManager[Rows]:
        """One state of the log; an empty one where there is no log. Raises ``LogUnreadable``, also while it is read."""
        ...

    def is_log(self) -> bool:
        """Whether what is there is a log, or may become one. Raises ``LogError``."""
        ...

    def is_older(self) -> bool:
        """Whether it must be brought up to date before it can be read. Raises ``LogUnreadable``."""
        ...

    def copy(self, target: Path, owner: str | None) -> None:
        """A copy as one SQLite file, of one owner's conversations where given. ``target`` must not exist."""
        ...


def spread(sql: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement with a parameter for each item of a list; an empty list becomes ``(NULL)``: nothing is in that."""
    single: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, list | tuple | set | frozenset):
            single[name] = value
            continue
        items = {f"{name}_{i}": item for i, item in enumerate(value)}
        sql = re.sub(rf":{name}\b", f"({', '.join(f':{item}' for item in items) or 'NULL'})", sql)
        single |= items
    return sql, single
