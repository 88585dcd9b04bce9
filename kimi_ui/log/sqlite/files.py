"""The log's files on disk: their paths, their locks, and renaming one that cannot be read.

Beside ``log.sqlite3`` there are: ``log.sqlite3.lock`` (held around every write, so that two processes never write or
checkpoint at once, which can corrupt a WAL database before SQLite 3.51.3), ``log.sqlite3.<boot>.alive`` (held by a
process while it lives, so that no other process closes its open turns), and the others of ``ProcessFiles``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ..process_files import START_WAIT_S, ProcessFiles
from ..store import LogError

LOCK_WAIT_S = 1.0  # for another process's write
OTHER_PLACE = "Choose another place with --db."
Identity = tuple[tuple[int, int] | None, tuple[int, int] | None]  # device and inode: of the database, of its -wal
UNREADABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_unreadable(error: sqlite3.Error) -> bool:
    """True if the file is damaged or no SQLite database, as against busy, full or forbidden."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in UNREADABLE


def check_place(path: Path) -> None:
    """Raise ``LogError`` if ``path`` is not a regular file: a device must not even be opened."""
    if path.is_dir():
        raise LogError(f"The log {path} is a directory.", OTHER_PLACE)
    if path.exists() and not path.is_file():
        raise LogError(f"The log {path} is not a file.", OTHER_PLACE)


class LogFiles(ProcessFiles):
    """The files of one log, for the process ``boot_id``."""

    def __init__(self, path: Path, boot_id: str) -> None:
        super().__init__(path, boot_id)
        self.write_lock = FileLock(self.beside("lock"))

    @property
    def wal(self) -> Path:
        """SQLite's write-ahead log."""
        return self.path.parent / f"{self.path.name}-wal"

    @property
    def was_locked(self) -> bool:
        """True if this program has locked the file before."""
        return self.beside("lock").exists()

    def prepare(self) -> None:
        """Make the directory and the file, readable by this user alone. Raises ``LogError``."""
        check_place(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self.path.chmod(0o600)
            self.write_lock.acquire(timeout=START_WAIT_S)
        except Timeout:
            raise LogError(f"Another process keeps the log {self.path} locked.", "End it, or choose --db.") from None
        except OSError as error:
            message = f"The log {self.path} cannot be written ({error.strerror})."
            raise LogError(message, OTHER_PLACE) from error
        self.write_lock.release()

    def identity(self) -> Identity:
        """The file at the path and its write-ahead log, as device and inode; None where there is none."""
        return _identity(self.path), _identity(self.wal)

    def part(self, known: Identity) -> None:
        """Rename the write-ahead log of ``known`` if its database is gone, so that no other database replays it."""
        if known[1] is not None and known[1] == _identity(self.wal):
            self.set_aside("replaced", ("-wal", "-shm"))

    def set_aside(self, why: str, suffixes: Iterable[str] = ("-wal", "-shm", "")) -> Path:
        """Rename the database and what belongs to it to ``….<why>-<utc>``; nothing is deleted. Returns the new path."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        target = self.beside(f"{why}-{stamp}")
        for suffix in suffixes:
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(target.with_name(target.name + suffix))
        return target


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
