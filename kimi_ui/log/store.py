"""The contract between the log's code and its database, and the errors of that database.

``sqlite`` and ``postgres`` each have a ``Store`` and a ``Source`` that implement it (``places`` chooses). All other
modules here use SQL that both share, with ``:name`` parameters, and neither connections nor cursors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..core.owner import LOCAL

if TYPE_CHECKING:
    from .documents import Documents
    from .records import Op

BEAT_S = 2.0


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
    """The store accepts no writes at present (busy, full, gone, damaged). Nothing was written; a retry is possible."""


class LogReplaced(CannotWrite):
    """The opened log was removed or replaced; nothing written to it would ever be read."""


class Rows(Protocol):
    """A consistent snapshot of the log: later queries see the same state as the first.

    A list among ``values`` becomes several parameters: ``lane IN :lanes`` takes any number of lanes.
    """

    @property
    def documents(self) -> Documents:
        """The full-text index."""
        ...

    def rows(self, sql: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """The query's rows, read lazily."""
        ...

    def records(self, sql: str, **values: Any) -> Iterator[dict[str, Any]]:
        """The same, each row by the names of its columns."""
        ...

    def columns(self, name: str) -> list[str]:
        """The columns of a table or view."""
        ...


class Transaction(Rows, Protocol):
    """A change of the log: all of it or nothing."""

    def execute(self, sql: str, **values: Any) -> None: ...


class Store(Protocol):
    """The writing side, used by one thread. ``notice``: a sentence about the log for the user, or empty.

    ``was_replaced``: a new log was started since this one was opened. ``spill``: where rows go while writing fails.
    ``n_refused``: rows that will never be accepted, since it was opened.
    """

    notice: str
    n_refused: int
    was_replaced: bool
    spill: Path

    def open(self) -> None:
        """Open and upgrade the log, and complete the work of dead processes. Raises ``LogError``."""
        ...

    def close(self) -> None: ...

    def beat(self) -> None:
        """Say that this process still runs; called every ``BEAT_S`` seconds. Raises ``CannotWrite``."""
        ...

    def reconnect(self) -> None:
        """Retry after a failure; starts a new log if the old one is gone. Raises ``CannotWrite``."""
        ...

    def write(self, ops: Iterable[Op]) -> None:
        """Write all ops, durable on return; rows with refused values go to a file. Raises ``CannotWrite``.

        Where several processes write, a turn whose ``seq`` another one took gets the next, and its op's row says so.
        """
        ...

    def change(self, work: Callable[[Transaction], set[str]]) -> set[str]:
        """Run ``work`` in one transaction, durable on return; returns the deleted ids that ``work`` returns.

        Raises ``CannotWrite`` and the errors of ``work``; then nothing has changed.
        """
        ...

    def rebuild(self) -> None:
        """Rebuild what is derived from the tables and kept, after ``copying``. Raises ``CannotWrite``."""
        ...

    def erase_step(self) -> bool:
        """Overwrite some deleted bytes; True when none are left. Raises ``CannotWrite``."""
        ...


class Source(Protocol):
    """The reading side. Any thread may call it."""

    def exists(self) -> bool:
        """Whether there is a log. Raises ``LogUnreadable``."""
        ...

    def snapshot(self) -> AbstractContextManager[Rows]:
        """A snapshot of the log, empty if there is none. Raises ``LogUnreadable``, also during reading."""
        ...

    def is_log(self) -> bool:
        """Whether the place holds a log or may become one. Raises ``LogError``."""
        ...

    def is_older(self) -> bool:
        """Whether the log must be upgraded before it can be read. Raises ``LogUnreadable``."""
        ...

    def copy(self, target: Path, owner: str | None) -> None:
        """Write a copy as one SQLite file; only what is one owner's, if given. ``target`` must not exist.

        Nothing of another owner is ever written there, and in the end nothing of this server (sign-ins, share links).
        """
        ...


def owned(owner: str, column: str = "owner") -> str:
    """The condition that a row is ``owner``'s; ``:owner`` is its parameter."""
    return "TRUE" if owner == LOCAL else f"{column} = :owner"
