# ruff: noqa: ASYNC109  (httpcore hands in the timeouts)
"""TCP and TLS for httpcore, on asyncio's own transports: the one place where bytes are read from a model's server.

**When bytes arrived.** ``Stream.arrival`` has it, by the kernel's stamps (``arrival_socket``).

**When a request was sent.** ``Stream.late_ns`` says how much of the time from connecting to now was this process's own:
not the kernel's handshake (``TCP_INFO``), nor any wait from a send to the arrival of what answered it.

**Cost.** httpcore's own backend reads through three layers of time limits and guards and turns reading on and off
around every chunk: more than half of what a chunk cost, at 500 a second (``tests/benchmarks/parse_cost.py``). A lane's
stream has its limits in the engine, so here a chunk is taken as it comes. Also, a connection that is given up while it
is being made is closed; httpcore leaves that to the garbage collector.

**Heads.** Until a response's head is complete, a read ends where the head ends. So httpcore has read nothing of the
body then, and the body can be read by somebody else (``transport``).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import aiohappyeyeballs
import httpcore

from ...core.loopback import is_loopback
from .arrival_socket import ArrivalSocket

MOST_WAITING = 1024 * 1024  # bytes received and not yet read; more stays with the sender
ADDRESS_DELAY_S = 0.25  # after this long without an answer the name's next address is tried too (RFC 8305)
_HEAD_END = re.compile(rb"\n\r?\n")  # as h11 finds it

Taker = Callable[[bytes, tuple[int, int]], bool]  # of a read's bytes and its ``Stream.arrival``; False: no more


class _Wire(asyncio.Protocol):
    """One connection's bytes, kept until they are read: also those that came before it was reset."""

    def __init__(self, connection: ArrivalSocket) -> None:
        self.transport: asyncio.Transport
        self.connection = connection
        self.ended = False
        self.arrival = (0, 0)  # when the newest bytes that were read arrived, and after what
        self._error: Exception | None = None
        self._pieces: deque[tuple[bytes, tuple[int, int]]] = deque()  # with their arrival
        self._size = 0
        self._is_paused = False
        self._readable: asyncio.Future[None] | None = None
        self._take: Taker | None = None  # see ``hand_over``
        self._writable = asyncio.Event()
        self._writable.set()
        self.in_head = False  # of a response
        self._head_tail = b""  # the last bytes read of it, with which its end may begin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has its methods, but not its class

    def data_received(self, data: bytes) -> None:
        # A loop that does not read by the socket's own methods (Windows) leaves no stamp.
        connection = self.connection
        arrival = (connection.arrived_ns or time.perf_counter_ns(), connection.after_ns)
        if self._take is not None and self._readable is not None and not self._readable.done():
            self.arrival = arrival
            try:
                if not self._take(data, arrival):
                    self._readable.set_result(None)
            except Exception as error:
                self._readable.set_exception(error)
            return
        self._pieces.append((data, arrival))
        self._size += len(data)
        if self._size > MOST_WAITING and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.ended = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended, self._error = True, error
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake(self) -> None:
        if self._readable and not self._readable.done():
            self._readable.set_result(None)

    @property
    def is_readable(self) -> bool:
        return bool(self._pieces) or self.ended or self.transport.is_closing()

    async def read(self, most: int) -> bytes:
        """The bytes that are there, at most ``most``; waits for some. Empty at the end; raises how it was lost."""
        while not self._pieces:
            if self._error:
                raise self._error
            if self.ended:
                return b""
            self._readable = asyncio.get_running_loop().create_future()
            try:
                await self._readable
            finally:
                self._readable = None
        data, self.arrival = self._pieces.popleft()
        if self.in_head:
            most = self._until_head_ends(data[:most])
        if len(data) > most:
            self._pieces.appendleft((data[most:], self.arrival))
            data = data[:most]
        self._size -= len(data)
        if self._is_paused and self._size <= MOST_WAITING // 2:
            self._is_paused = False
            self.transport.resume_reading()
        return data

    async def hand_over(self, take: Taker) -> None:
        """Call ``take`` for each read, as it comes, until that is False or the connection has ended.

        Raises what ``take`` raises.
        """
        while self._pieces:
            if not take(await self.read(MOST_WAITING), self.arrival):
                return
        if self.ended:
            return
        self._take = take
        self._readable = asyncio.get_running_loop().create_future()
        try:
            await self._readable
        finally:
            self._take = self._readable = None

    def unread(self, data: bytes) -> None:
        """The next read begins with these bytes."""
        self._pieces.appendleft((data, self.arrival))
        self._size += len(data)

    def _until_head_ends(self, data: bytes) -> int:
        """How many of these bytes belong to the head that is being read."""
        seen = self._head_tail + data
        end = _HEAD_END.search(seen)
        size = end.end() - len(self._head_tail) if end else len(data)
        self._head_tail = b"" if end else seen[-2:]
        return size

    async def write(self, data: bytes) -> None:
        """Returns when the socket has taken most of it. Raises how the connection was lost."""
        if self._error:
            raise self._error
        self.transport.write(data)
        await self._writable.wait()
        if self._error:
            raise self._error


@contextmanager
def _httpcore_errors(timeout: type[Exception], other: type[Exception]) -> Iterator[None]:
    """Raise asyncio's exceptions as httpcore's."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(error) from error
    except OSError as error:  # ssl.SSLError too
        raise other(error) from error


class Stream(httpcore.AsyncNetworkStream):
    """One connection."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    @property
    def arrival(self) -> tuple[int, int]:
        """When the newest bytes that were read arrived (the last of them), and a moment after which all of them came.

        By ``time.perf_counter_ns``. The first is 0 before any read, the second where the kernel did not stamp.
        """
        return self._wire.arrival

    @property
    def late_ns(self) -> int:
        """How much of the time since the connection began was this process's own."""
        connection = self._wire.connection
        return max(0, time.perf_counter_ns() - connection.began_ns - connection.waited_ns)

    @property
    def clock_stepped(self) -> bool:
        """Whether the wall clock was set while the connection was open; then a stamp may be that of a read."""
        return self._wire.connection.clock_stepped

    def body_begins(self) -> None:
        """The head of a response has been read, and a body follows; until the next write reads take what there is."""
        self._wire.in_head = False

    def unread(self, data: bytes) -> None:
        """The next read begins with these bytes."""
        self._wire.unread(data)

    async def hand_over(self, take: Taker) -> None:
        """Call ``take`` for each read until it returns False or there is no more; then ``read`` goes on.

        It is called where the event loop reads: no task is woken up for it, which would cost more than most of what
        is done with a token. What ``take`` raises is raised here.
        """
        await self._wire.hand_over(take)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if timeout is None:  # a stream's chunk: a limit here would be a quarter of its cost
            try:
                return await self._wire.read(max_bytes)
            except OSError as error:
                raise httpcore.ReadError(error) from error
        with _httpcore_errors(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                return await self._wire.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._wire.in_head = True
        with _httpcore_errors(httpcore.WriteTimeout, httpcore.WriteError):
            async with asyncio.timeout(timeout):
                await self._wire.write(buffer)

    async def aclose(self) -> None:
        self._wire.transport.abort()
        await asyncio.sleep(0)  # by then asyncio has closed the socket

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Stream:
        wire = self._wire
        try:
            with _httpcore_errors(httpcore.ConnectTimeout, httpcore.ConnectError):
                async with asyncio.timeout(timeout):
                    secure = await asyncio.get_running_loop().start_tls(
                        wire.transport, wire, ssl_context, server_hostname=server_hostname
                    )
        except BaseException:
            await self.aclose()
            raise
        assert secure
        wire.transport = secure
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._wire.is_readable
        name = {"client_addr": "sockname", "server_addr": "peername"}.get(info, info)
        return self._wire.transport.get_extra_info(name)


class Network(httpcore.AsyncNetworkBackend):
    """Makes connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        assert local_address is None, "no lane has one"
        with _httpcore_errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                connection = await _connected(host, port)
                try:
                    for option in socket_options or ():
                        connection.setsockopt(*option)
                    connection.connected(is_loopback(host))
                    loop = asyncio.get_running_loop()
                    _, wire = await loop.create_connection(lambda: _Wire(connection), sock=connection)
                except BaseException:
                    connection.close()
                    raise
        return Stream(wire)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> Stream:
        raise NotImplementedError  # no lane has one

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _connected(host: str, port: int) -> ArrivalSocket:
    """A connection to the first address of ``host`` that answers. Raises ``OSError`` (``socket.gaierror`` is one).

    It begins once the addresses are known, or, where several are tried, with its own try.
    """
    try:
        began_ns = time.perf_counter_ns()
        addresses = await _addresses(host, port)
        if not is_loopback(host):  # looking up a name is the network's
            began_ns = time.perf_counter_ns()
        connection = await aiohappyeyeballs.start_connection(
            addresses,
            happy_eyeballs_delay=ADDRESS_DELAY_S,
            socket_factory=lambda address: ArrivalSocket(*address[:3]),
        )
    except (ValueError, OverflowError) as error:  # no name for IDNA; a port that none can be
        raise socket.gaierror(socket.EAI_NONAME, f"{type(error).__name__}: {error}") from None
    except OSError as error:
        if f"[Errno {errno.ECONNREFUSED}]" in str(error):  # failures of several addresses that differ are text alone
            raise ConnectionRefusedError(errno.ECONNREFUSED, str(error)) from None
        raise
    assert isinstance(connection, ArrivalSocket)
    if len(addresses) == 1:
        connection.began_ns = began_ns
    return connection


async def _addresses(host: str, port: int) -> list[Any]:
    """What ``getaddrinfo`` says. An address as such needs no thread: it is not looked up."""
    if not 0 < port < 65536:  # glibc would take it modulo 65536
        raise socket.gaierror(socket.EAI_NONAME, f"no port {port}")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
