"""A real Redis (or Valkey) server on a socket in a temporary folder, without persistence."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError

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
        until(self._answers)

    def _answers(self) -> bool:
        """False also while its socket is there and nobody listens yet."""
        with Redis.from_url(self.url) as client, suppress(ConnectionError):
            return bool(client.ping())
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)
