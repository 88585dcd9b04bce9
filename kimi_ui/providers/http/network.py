# ruff: noqa: ASYNC109  (httpcore hands in the timeouts)
"""TCP and TLS for httpcore, on asyncio's own transports: the one place where bytes are read from a model's server.

httpcore's own backend reads through three layers of time limits and guards and turns reading on and off around every
chunk: more than half of what a chunk cost, at 500 a second (``tests/benchmarks/parse_cost.py``). A lane's stream has
its limits in the engine, so here a chunk is taken as it comes. Also, a connection that is given up while it is being
made is closed; httpcore leaves that to the garbage collector.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

MOST_WAITING = 1024 * 1024  # bytes received and not yet read; more stays with the sender
ADDRESS_DELAY_S = 0.25  # the next address of a name is tried beside one that has not answered by then (RFC 8305)


class _Wire(asyncio.Protocol):
    """One connection's bytes, kept until they are read: also those that came before it was reset."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.ended = False
        self._error: Exception | None = None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._is_paused = False
        self._came: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
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
        if self._came and not self._came.done():
            self._came.set_result(None)

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
            self._came = asyncio.get_running_loop().create_future()
            try:
                await self._came
            finally:
                self._came = None
        data = self._pieces.popleft()
        if len(data) > most:
            self._pieces.appendleft(data[most:])
            data = data[:most]
        self._size -= len(data)
        if self._is_paused and self._size <= MOST_WAITING // 2:
            self._is_paused = False
            self.transport.resume_reading()
        return data

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
        loop = asyncio.get_running_loop()
        local = (local_address, 0) if local_address else None
        with _httpcore_errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                try:
                    _, wire = await loop.create_connection(
                        _Wire, host, port, local_addr=local, happy_eyeballs_delay=ADDRESS_DELAY_S
                    )
                except (ValueError, IndexError) as error:  # no name for IDNA; a port for no address at all
                    raise socket.gaierror(socket.EAI_NONAME, f"{type(error).__name__}: {error}") from None
                except OSError as error:
                    if f"[Errno {errno.ECONNREFUSED}]" in str(error):  # several addresses' failures are text alone
                        raise ConnectionRefusedError(errno.ECONNREFUSED, str(error)) from None
                    raise
        for option in socket_options or ():
            wire.transport.get_extra_info("socket").setsockopt(*option)
        return Stream(wire)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> Stream:
        raise NotImplementedError  # no lane has one

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
