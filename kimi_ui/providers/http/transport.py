"""The HTTP stack under both clients: httpx over httpcore's connections, which connect through ``network``.

It does six things that ``httpx.AsyncHTTPTransport`` does not:

- It takes the proxy and the certificates from the environment and reports a mistake there in a sentence (``proxies``).
- It tells the ``Host`` when a request is sent.
- It replaces, once, a kept connection that the server closed while it was idle. The caller sees no failure: no byte of
  an answer had come, and the response's extension ``reconnected`` says so.
- It ends the body of an error at ``MOST_ERROR_BODY``, because both clients read such bodies whole.
- It parses the chunks of a stream with llhttp (``Chunks``). httpcore uses h11, whose Python takes as long for one chunk
  as a token takes for the rest of its way to the log.
- It keeps its own connections (``Connections``). httpcore's pool looks at all of them whenever a request begins or
  ends, and at all again for each idle one. With a hundred connections to a lane's server that was a seventh of the CPU
  time that an attempt took besides its tokens.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import httpcore
import httptools
import httpx

from ..base import Host
from .arrival_socket import MOST_READ
from .network import Network, Stream, Taker
from .proxies import certificates, proxy_at, proxy_for

MOST_ERROR_BODY = 64 * 1024  # bytes
_CONNECTING = "connection.connect_tcp.started"  # an event of httpcore's ``trace`` extension, like the next
_CONNECTED = "connection.connect_tcp.complete"
_WRITING = "http11.send_request_body.started"
_WRITTEN = "http11.send_request_body.complete"
_HTTPCORE_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_NO_CHUNK = b"0\r\n\r\n"
_CUT = "peer closed connection without sending complete message body (incomplete chunked read)"  # h11's words
CHUNKS = "kimi_ui.chunks"  # an extension of the response

# -- when a request is sent

_host: ContextVar[Host | None] = ContextVar("host", default=None)


@contextmanager
def sending_for(host: Host) -> Iterator[None]:
    """``host.sent`` and ``host.written`` are called for the requests made inside.

    Sent is a request as it connects, and again directly before its body is written. Connecting is part of the wait for
    an answer, as far as the network takes the time; building the request is not. From the headers to the end of the
    body the event loop runs nothing else, so no request waits half written for others that are sent at the same time.
    """
    token = _host.set(host)
    try:
        yield
    finally:
        _host.reset(token)


class _Watch:
    """Follows one request through httpcore's ``trace`` extension."""

    def __init__(self) -> None:
        self.connected = False  # it has a connection of its own
        self._host = _host.get()
        self._stream: Stream | None = None  # that connection
        self._began_ns = 0

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        self.connected = self.connected or event == _CONNECTING
        if not self._host:
            return
        if event in (_CONNECTING, _WRITING):
            self._host.sent()
            self._began_ns = time.perf_counter_ns()
        elif event == _CONNECTED:
            self._stream = info["return_value"]
        elif event == _WRITTEN:
            self._host.written(self._stream.late_ns if self._stream else time.perf_counter_ns() - self._began_ns)


# -- the transport


class Connections:
    """Connections to one server, each for one request at a time: idle ones are kept for later requests.

    ``pool`` makes them. ``most_idle``: how many are kept; None: all of them, until they expire.
    """

    def __init__(self, pool: httpcore.AsyncConnectionPool, most_idle: int | None) -> None:
        self._make = pool.create_connection
        self._most_idle = sys.maxsize if most_idle is None else most_idle
        self._idle: deque[httpcore.AsyncConnectionInterface] = deque()  # in the order in which they became idle
        self._busy: set[httpcore.AsyncConnectionInterface] = set()

    async def send(self, request: httpcore.Request) -> httpcore.Response:
        """The response, which gives its connection back when it is closed. Raises httpcore's exceptions."""
        connection = None
        while self._idle and connection is None:
            newest = self._idle.pop()
            if newest.has_expired():
                await newest.aclose()
            else:
                connection = newest
        if connection is None:
            connection = self._make(request.url.origin)
        self._busy.add(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._left(connection)
            raise
        assert isinstance(response.stream, AsyncIterable)
        body = _OfConnection(response.stream, response.aclose, partial(self._left, connection))
        return httpcore.Response(
            response.status, headers=response.headers, content=body, extensions=response.extensions
        )

    async def _left(self, connection: httpcore.AsyncConnectionInterface) -> None:
        """Keep the connection, if it can be used again, and close those that are not kept any longer."""
        if connection not in self._busy:
            return
        self._busy.remove(connection)
        if connection.is_available():
            self._idle.append(connection)
        elif not connection.is_closed():
            await connection.aclose()
        while self._idle and (len(self._idle) > self._most_idle or self._idle[0].has_expired()):
            await self._idle.popleft().aclose()

    async def aclose(self) -> None:
        """Close all connections, also those in use."""
        connections = [*self._idle, *self._busy]
        self._idle.clear()
        self._busy.clear()
        for connection in connections:
            await connection.aclose()


class _OfConnection:
    """A response's body; ``left`` is called when it is closed."""

    def __init__(
        self, stream: AsyncIterable[bytes], close: Callable[[], Awaitable[None]], left: Callable[[], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._close = close
        self._left = left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            yield data

    async def aclose(self) -> None:
        try:
            await self._close()
        finally:
            await self._left()


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 to the server at ``base_url``, through the proxy and by the certificates the environment names for it.

    Raises ``ProviderError`` where the environment names unusable ones, ``httpx.InvalidURL`` for a bad ``base_url``.
    """

    def __init__(self, base_url: str, limits: httpx.Limits) -> None:
        url, proxy = httpx.URL(base_url), proxy_for(base_url)
        pool = httpcore.AsyncConnectionPool(
            ssl_context=certificates() if url.scheme == "https" else None,
            proxy=proxy_at(proxy) if proxy else None,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=Network(),
        )
        self._connections = Connections(pool, limits.max_keepalive_connections)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        watch = _Watch()
        try:
            return await self._send(request, watch)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if watch.connected:
                raise
        response = await self._send(request, _Watch())
        response.extensions["reconnected"] = True
        return response

    async def _send(self, request: httpx.Request, watch: _Watch) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = request.url
        with _httpx_errors():
            response = await self._connections.send(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={**request.extensions, "trace": watch},
                )
            )
        is_error = not 200 <= response.status < 300
        stream = response.extensions["network_stream"]
        assert isinstance(stream, Stream)
        stream.body_begins()
        body: httpx.AsyncByteStream
        if not is_error and _is_chunked(response):
            body = response.extensions[CHUNKS] = Chunks(response, stream)
        else:
            body = _Body(response, MOST_ERROR_BODY if is_error else sys.maxsize)
        return httpx.Response(response.status, headers=response.headers, stream=body, extensions=response.extensions)

    async def aclose(self) -> None:
        await self._connections.aclose()


class _Body(httpx.AsyncByteStream):
    """At most ``most`` bytes of a response's body."""

    def __init__(self, response: httpcore.Response, most: int) -> None:
        assert isinstance(response.stream, AsyncIterable)
        self._stream = response.stream
        self._close = response.aclose
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        with _httpx_errors():
            async for data in self._stream:
                yield data[:left]
                left -= len(data)
                if left <= 0:
                    return

    async def aclose(self) -> None:
        await self._close()


def _is_chunked(response: httpcore.Response) -> bool:
    codings = [value for name, value in response.headers if name.lower() == b"transfer-encoding"]
    return [coding.strip().lower() for coding in codings] == [b"chunked"]


class Chunks(httpx.AsyncByteStream):
    """The body of a response in chunks, read from the connection itself: what each read brought, in one piece.

    It is the response's extension ``CHUNKS`` too, since the clients wrap its stream. httpcore gets a body without a
    chunk at the end, so that the connection can be used again.
    """

    def __init__(self, response: httpcore.Response, stream: Stream) -> None:
        self._response = response
        self._stream = stream
        self._found: list[bytes] = []
        self.on_body = self._found.append  # called by the parser; each token would call a method in Python
        self._is_whole = self._has_more = False
        self._error: httptools.HttpParserError | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(_HEAD)

    def on_message_begin(self) -> None:
        """Called by the parser, like the next method."""
        self._has_more = self._is_whole  # bytes behind the end

    def on_message_complete(self) -> None:
        self._is_whole = True

    async def hand_over(self, take: Taker) -> None:
        """Call ``take`` for each piece, as it comes, until that is False; the rest, or the end, is to be iterated.

        Raises what ``take`` raises. See ``Stream.hand_over``.
        """

        def took(data: bytes, arrival: tuple[int, int]) -> bool:
            piece = self._unchunked(data)
            return (not piece or take(piece, arrival)) and not (self._is_whole or self._error)

        await self._stream.hand_over(took)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = self._stream.read
        with _httpx_errors():
            while not (self._is_whole or self._error):
                data = await read(MOST_READ)
                if piece := self._unchunked(data):
                    yield piece
                if not data:
                    break
            if self._is_whole and not (self._error or self._has_more):
                self._stream.unread(_NO_CHUNK)
                assert isinstance(self._response.stream, AsyncIterable)
                async for _ in self._response.stream:
                    pass
            elif not self._is_whole:
                raise httpx.RemoteProtocolError(str(self._error) if self._error else _CUT)

    def _unchunked(self, data: bytes) -> bytes:
        """What a read has brought of the body; notes its end, or an error behind it."""
        found = self._found
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as wrong:
            self._error = wrong
        piece = found[0] if len(found) == 1 else b"".join(found)
        found.clear()
        return piece

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise httpcore's exceptions as httpx's, which have the same names."""
    try:
        yield
    except _HTTPCORE_ERRORS as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
