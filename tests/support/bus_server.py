"""A real Redis (or Valkey) server on a socket in a temporary folder, without persistence."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from redis import Redis

from .waiting import until

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server") or "redis-server"


class BusServer:
    """``stop`` and ``start``: what it held is gone then."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "bus.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        options = ("--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen([PROGRAM, *options], stdout=subprocess.DEVNULL, cwd=self._socket.parent)
        with Redis.from_url(self.url) as client:
            until(lambda: self._socket.exists() and client.ping())

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)
