"""When bytes arrived, by the kernel's stamp: a server that reads late must not make its requests seem late."""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Any

TIMESTAMPS_NS = (
    35 if sys.platform == "linux" and sys.maxsize > 2**32 else None
)  # SO_TIMESTAMPNS; without it, the time of reading


class ArrivalSocket(socket.socket):
    """A socket that knows when the newest bytes it returned arrived (``arrived_t``, seconds of ``time.monotonic``)."""

    arrived_t = 0.0

    def accept(self) -> tuple[ArrivalSocket, Any]:
        connection, address = super().accept()
        stamped = ArrivalSocket(fileno=connection.detach())
        if TIMESTAMPS_NS:
            stamped.setsockopt(socket.SOL_SOCKET, TIMESTAMPS_NS, 1)
        return stamped, address

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data, extras, _, _ = self.recvmsg(size, 64, flags)
        self._note(extras)
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        count, extras, _, _ = self.recvmsg_into([memoryview(buffer)[: size or None]], 64, flags)
        self._note(extras)
        return count

    def _note(self, extras: list[Any]) -> None:
        self.arrived_t = now = time.monotonic()
        for level, kind, value in extras:
            if (level, kind) == (socket.SOL_SOCKET, TIMESTAMPS_NS):
                seconds, ns = struct.unpack("qq", value)
                self.arrived_t = min(now, seconds + ns / 1e9 - _wall_minus_monotonic())


def _wall_minus_monotonic() -> float:
    """The difference of the clocks, read so close together that no other process came between."""
    while True:
        before, wall, after = time.monotonic(), time.time(), time.monotonic()
        if after - before < 2e-5:
            return wall - (before + after) / 2
