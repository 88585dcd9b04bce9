"""What a process keeps on this machine beside its log, whatever the store: the rows that it could not write.

Beside ``log`` there are: ``log.<boot>.alive`` (locked by a process while it lives), ``log.<boot>.spill.jsonl`` (rows
that the process could not write), ``log.rejected.jsonl`` (rows that the database refused permanently).
"""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

START_WAIT_S = 30.0  # for another process's migration


class ProcessFiles:
    """The files beside ``path``, for the process ``boot_id``."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self.path = Path(os.path.realpath(path))  # so that all processes share one lock, whichever link they opened
        self.boot_id = boot_id
        self._alive = FileLock(self.beside(f"{boot_id}.alive"))
        self.spill = self.beside(f"{boot_id}.spill.jsonl")
        self.rejected = self.beside("rejected.jsonl")

    def beside(self, suffix: str) -> Path:
        return self.path.parent / f"{self.path.name}.{suffix}"

    def live(self) -> None:
        """Hold this process's ``.alive`` file; call it again if the file may have been removed."""
        self._alive.release(force=True)
        self._alive.acquire(timeout=START_WAIT_S)

    def leave(self) -> None:
        self._alive.release()
        self.beside(f"{self.boot_id}.alive").unlink(missing_ok=True)

    def is_running(self, boot_id: str) -> bool:
        """True if the process of this machine that wrote as ``boot_id`` is still running."""
        if boot_id == self.boot_id:
            return True
        path = self.beside(f"{boot_id}.alive")
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

    def abandoned_spills(self) -> list[Path]:
        """Spill files of processes that are gone, oldest first; this process's own is not among them."""
        found = [
            path
            for path in self.path.parent.glob(f"{self.path.name}.*.spill.jsonl")
            if not self.is_running(path.name.removesuffix(".spill.jsonl").rpartition(".")[2])
        ]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)
