"""A TCP socket that knows when the bytes it returns arrived, and how long the other side was waited for.

On Linux the kernel stamps bytes as it takes them in (``SO_TIMESTAMPNS``), so an event loop that runs late does not make
the model seem late. Bytes that wait together are handed over with the stamp of the last of them. So several events of
one read have one stamp, which is exact for the last; each of the others came after the socket had been empty
(``after_ns``). Elsewhere the stamp is that of the read.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MOST_READ = 64 * 1024  # bytes; asyncio wants room for four times as many, which is a large allocation for each token
STAMP_OPTION = 35 if sys.platform == "linux" and sys.maxsize > 2**32 else None  # SO_TIMESTAMPNS, unnamed in ``socket``
_STAMP = struct.Struct("qq")  # seconds and ns of the wall clock
_STAMP_ROOM = 64  # bytes of ancillary data: a header and the stamp
_TCP_INFO_SIZE = 72  # bytes of ``struct tcp_info`` up to ``tcpi_rtt``, which is the last four: microseconds
CLOCK_STEP_NS = 20_000  # measurements of the clocks' difference that differ by more, beyond their error, show a step


def _request_stamps(connection: socket.socket) -> None:
    if STAMP_OPTION:
        with suppress(OSError):  # a kernel that only imitates Linux
            connection.setsockopt(socket.SOL_SOCKET, STAMP_OPTION, 1)


@cache
def _keep_stamping() -> None:
    """Leave an unused socket open that wants stamps, for as long as the process lives.

    Linux begins to stamp in the background once a socket wants it, and ends with the last: without this one the first
    bytes of a lone connection could be too early for a stamp.
    """
    if STAMP_OPTION:
        unused = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        _request_stamps(unused)
        unused.detach()


class ArrivalSocket(socket.socket):
    """A TCP socket that knows when the newest bytes it returned arrived.

    ``arrived_ns`` is on the clock of ``time.perf_counter_ns``. The kernel stamps by the wall clock; the difference of
    the two is measured at every read, and a stamp is dropped for the read's own time where it has moved since
    (``clock_stepped`` is set then). ``after_ns``: the bytes came after that; 0 where the stamp is not the kernel's.
    ``began_ns``: when it began to connect. ``waited_ns``: how long since then the other side was waited for.
    """

    # Every read uses them, and in the dictionary of a ``socket.socket`` the interpreter would have to look for each.
    __slots__ = (
        "_active_ns",
        "_blur_ns",
        "_empty_ns",
        "_wall_ns",
        "after_ns",
        "arrived_ns",
        "began_ns",
        "clock_stepped",
        "waited_ns",
    )

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.arrived_ns = 0
        self.after_ns = 0
        self.clock_stepped = False
        self.began_ns = self._active_ns = self._empty_ns = time.perf_counter_ns()
        self.waited_ns = 0
        self._wall_ns, self._blur_ns = 0, sys.maxsize  # wall clock minus perf_counter, and how well it is known
        self._look(time.perf_counter_ns())
        _keep_stamping()
        _request_stamps(self)

    def connected(self, is_near: bool) -> None:
        """Note that it is connected. The kernel measured how long that took, where it is not to this machine itself.

        Where the kernel has no such measure, it begins now.
        """
        self._active_ns = time.perf_counter_ns()
        if is_near:
            return
        if STAMP_OPTION:
            with suppress(OSError):
                info = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
                self.waited_ns = int.from_bytes(info[-4:], sys.byteorder) * 1000
        else:
            self.began_ns = self._active_ns

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        count = super().send(data, flags)
        self._active_ns = time.perf_counter_ns()
        return count

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        asked_ns = time.perf_counter_ns()
        size = min(size, MOST_READ)
        if not STAMP_OPTION:
            data = super().recv(size, flags)
            self._take((), asked_ns, False)
            return data
        data, extras, _, _ = self.recvmsg(size, _STAMP_ROOM, flags)
        self._take(extras, asked_ns, len(data) < size)
        return data

    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> int:
        asked_ns = time.perf_counter_ns()
        if not STAMP_OPTION:
            count = super().recv_into(buffer, size, flags)
            self._take((), asked_ns, False)
            return count
        room = memoryview(buffer)[: size or None]
        count, extras, _, _ = self.recvmsg_into([room], _STAMP_ROOM, flags)
        self._take(extras, asked_ns, count < room.nbytes)
        return count

    def _take(self, extras: Sequence[tuple[int, int, bytes]], asked_ns: int, is_empty: bool) -> None:
        """Set ``arrived_ns`` and ``after_ns`` from the ancillary data of a read that was asked for at ``asked_ns``.

        ``is_empty``: there was no more to read.
        """
        now_ns = time.perf_counter_ns()
        is_steady = self._look(now_ns)
        at_ns, after_ns = now_ns, 0
        for level, kind, value in extras:
            if is_steady and level == socket.SOL_SOCKET and kind == STAMP_OPTION and len(value) == _STAMP.size:
                seconds, ns = _STAMP.unpack(value)
                at_ns = min(seconds * 1_000_000_000 + ns - self._wall_ns, now_ns)
                after_ns = self._empty_ns
        self.arrived_ns = max(at_ns, self.arrived_ns)
        self.after_ns = min(after_ns, self.arrived_ns)
        self.waited_ns += max(0, self.arrived_ns - self._active_ns)
        self._active_ns = now_ns
        self._empty_ns = asked_ns if is_empty else self.arrived_ns

    def _look(self, before_ns: int) -> bool:
        """Measure the difference of the clocks; False where the wall clock was set since the last time."""
        wall_ns = time.time_ns()
        blur_ns = time.perf_counter_ns() - before_ns
        difference_ns = wall_ns - before_ns - blur_ns // 2
        has_moved = abs(difference_ns - self._wall_ns) > CLOCK_STEP_NS + blur_ns + self._blur_ns
        if has_moved or blur_ns < self._blur_ns:
            self._wall_ns, self._blur_ns = difference_ns, blur_ns
        self.clock_stepped = self.clock_stepped or has_moved
        return not has_moved
