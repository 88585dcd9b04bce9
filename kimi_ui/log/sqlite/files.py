"""The log's files on disk: their paths, their locks, and renaming one that cannot be read.

Beside ``log.sqlite3`` there are: ``log.sqlite3.lock`` (held around every write, so that two processes never write or
checkpoint at once, which can corrupt a WAL database before SQLite 3.51.3), ``log.sqlite3.<boot>.alive`` (held by a
process while it lives, so that no other process closes its open turns), ``log.sqlite3.<boot>.spill.jsonl`` (rows that
the process could not write), ``log.sqlite3.rejected.jsonl`` (rows that the database refused permanently).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ..store import LogError

LOCK_WAIT_S = 1.0  # for another process's write
START_WAIT_S = 30.0  # for another process's migration
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


class LogFiles:
    """The files of one log, for the process ``boot_id``."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self.path = Path(os.path.realpath(path))  # by whatever link it is opened, all processes meet at one lock
        self.boot_id = boot_id
        self.write_lock = FileLock(self._beside("lock"))
        self._alive = FileLock(self._beside(f"{boot_id}.alive"))
        self.spill = self._beside(f"{boot_id}.spill.jsonl")
        self.rejected = self._beside("rejected.jsonl")

    def _beside(self, suffix: str) -> Path:
        return self.path.parent / f"{self.path.name}.{suffix}"

    @property
    def wal(self) -> Path:
        """SQLite's write-ahead log."""
        return self.path.parent / f"{self.path.name}-wal"

    @property
    def was_locked(self) -> bool:
        """True if this program has locked the file before."""
        return self._beside("lock").exists()

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

    def live(self) -> None:
        """Hold this process's ``.alive`` file; call it again if the file may have been removed."""
        self._alive.release(force=True)
        self._alive.acquire(timeout=START_WAIT_S)

    def leave(self) -> None:
        self._alive.release()
        self._beside(f"{self.boot_id}.alive").unlink(missing_ok=True)

    def is_running(self, boot_id: str) -> bool:
        """True if the process that wrote as ``boot_id`` is still running."""
        if boot_id == self.boot_id:
            return True
        path = self._beside(f"{boot_id}.alive")
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        path.unlink(missing_ok=True)
        return False

    def others_running(self) -> bool:
        """True if another process has this log open. Removes the ``.alive`` files of dead processes."""
        names = [path.name for path in self.path.parent.glob(f"{self.path.name}.*.alive")]
        boots = {name.removesuffix(".alive").rpartition(".")[2] for name in names} - {self.boot_id}
        running = {boot_id for boot_id in boots if self.is_running(boot_id)}
        return bool(running)

    def set_aside(self, why: str, suffixes: Iterable[str] = ("-wal", "-shm", "")) -> Path:
        """Rename the database and what belongs to it to ``….<why>-<utc>``; nothing is deleted. Returns the new path."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        target = self._beside(f"{why}-{stamp}")
        for suffix in suffixes:
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(target.with_name(target.name + suffix))
        return target

    def abandoned_spills(self) -> list[Path]:
        """Spill files of processes that are gone, oldest first; this process's own is not among them."""
        found = [
            path
            for path in self.path.parent.glob(f"{self.path.name}.*.spill.jsonl")
            if not self.is_running(path.name.removesuffix(".spill.jsonl").rpartition(".")[2])
        ]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
