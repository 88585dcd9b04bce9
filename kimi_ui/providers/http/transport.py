"""What the HTTP libraries under both clients leave undone, added around each request.

Both transports connect through ``network``. ``OpenAITransport`` does two things more. A pooled connection that the
server closed while it lay idle is replaced once, without the caller seeing a failure (not a byte of an answer had come;
the response's ``reconnected`` extension says so). And the body of an error is cut at ``MOST_ERROR_BODY``, because the
openai client reads such bodies whole.

Here too is told that a request leaves (``leaving``): what the libraries do before, milliseconds of it, is not the
model's latency; connecting is. And what the environment says of proxies and certificates is read here, so that a
mistake in it is told in a sentence.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import httpcore
import httpcore2
import httpx
import httpx2

from ...core.events import Failure
from ...core.loopback import is_loopback
from ..base import ProviderError
from .network import Network

MOST_ERROR_BODY = 64 * 1024  # bytes


# When a request leaves: as it connects, or, on a connection that is there, just before its body is written. Not at its
# headers: between these and the body the loop does other work.
FIRST_ACTS = ("connection.connect_tcp.started", "http11.send_request_body.started")
LAST_ACT = "http11.send_request_body.complete"
MAKING_S = 0.03  # a request that is not out by then, its server far away, holds up no other

_Request = TypeVar("_Request", httpx.Request, httpx2.Request)
_Response = TypeVar("_Response")


class _Departure:
    """One request on its way out, for which the gate is closed."""

    def __init__(self, sent: Callable[[], None] | None, gate: asyncio.Lock) -> None:
        self._sent = sent
        self._gate: asyncio.Lock | None = gate
        self._timer = asyncio.get_running_loop().call_later(MAKING_S, self.open_gate)

    def saw(self, act: str) -> None:
        if act in FIRST_ACTS and self._sent:
            self._sent()
        elif act == LAST_ACT:
            self.open_gate()

    def open_gate(self) -> None:
        self._timer.cancel()
        if self._gate:
            self._gate.release()
            self._gate = None


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
_departure: ContextVar[_Departure | None] = ContextVar("departure", default=None)


@asynccontextmanager
async def leaving(sent: Callable[[], None] | None) -> AsyncIterator[None]:
    """``sent`` is called as each request made inside leaves, perhaps twice: as it connects and as it is written.

    A loop makes up one request at a time: else one that was told to leave would wait, half written, while the
    libraries work on the others (with three lanes and a browser on two cores, up to 50 ms that seemed the model's).
    """
    gate = _gates.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    await gate.acquire()
    departure = _Departure(sent, gate)
    token = _departure.set(departure)
    try:
        yield
    finally:
        _departure.reset(token)
        departure.open_gate()


def proxy_for(url: str) -> str | None:
    """The proxy the environment names for this URL; none for this machine's own addresses.

    Raises ``ProviderError`` for one that is not reached by HTTP, or is no address.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or is_loopback(host) or host == "0.0.0.0" or proxy_bypass(host):  # 0.0.0.0, called, is this machine
        return None
    proxies = getproxies()
    kind = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(kind)
    if not proxy:
        return None
    if "://" not in proxy:  # a form curl takes
        proxy = f"http://{proxy}"
    if not _is_http(proxy):
        name = _as_set(f"{kind}_proxy")
        raise ProviderError(  # without its value, which may hold a password
            Failure(
                "connect",
                f"{name} names no proxy that can be used here.",
                f"Write it like http://host:port (SOCKS is not spoken), or add {host} to no_proxy; then start again.",
            )
        )
    return proxy


def _is_http(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in ("http", "https") and parts.port != 0 and bool(httpx.URL(proxy).host)
    except (ValueError, httpx.InvalidURL):
        return False


def _as_set(name: str) -> str:
    """The variable's name in the case it has in the environment."""
    return next((found for found in os.environ if found.lower() == name), name)


def certificates_for(url: str, trusted: Callable[[], ssl.SSLContext]) -> ssl.SSLContext | bool:
    """``verify`` for this URL: what the library's own ``trusted`` makes of the environment, False without TLS.

    Raises ``ProviderError`` where ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` cannot be read.
    """
    if not url.lower().startswith("https:"):
        return False
    try:
        return trusted()
    except OSError as error:  # ssl.SSLError too
        name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "The system")
        problem = f"{name} names no certificates that can be read ({error.strerror or error})."
        remedy = "Set it to a file of certificates in PEM form, or remove it; then start again."
        raise ProviderError(Failure("tls", problem, remedy)) from None


class _Watched:
    """One request, watched through the ``trace`` extension of both libraries."""

    def __init__(self) -> None:
        self.connected = False  # it got a connection of its own

    async def send(self, send: Callable[[_Request], Awaitable[_Response]], request: _Request) -> _Response:
        request.extensions = {**request.extensions, "trace": self._trace}
        return await send(request)

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        self.connected = self.connected or event == FIRST_ACTS[0]
        if departure := _departure.get():
            departure.saw(event)


class OllamaTransport(httpx.AsyncHTTPTransport):
    """HTTP/1.1 for the ollama client."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pool._network_backend = Network(httpcore)  # noqa: SLF001 - as above

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await _Watched().send(super().handle_async_request, request)


class _CutShort(httpx2.AsyncByteStream):
    """At most ``MOST_ERROR_BODY`` bytes of a stream."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_ERROR_BODY
        async for data in self._stream:
            yield data[:left]
            left -= len(data)
            if left <= 0:
                break

    async def aclose(self) -> None:
        await self._stream.aclose()


class OpenAITransport(httpx2.AsyncHTTPTransport):
    """HTTP/1.1 for the openai client."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pool._network_backend = Network(httpcore2)  # noqa: SLF001 - its constructor takes one, but httpx hands none on

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        watched = _Watched()
        send = super().handle_async_request
        try:
            response = await watched.send(send, request)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            if watched.connected:
                raise
            response = await _Watched().send(send, request)
            response.extensions["reconnected"] = True
        if not response.is_success:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _CutShort(response.stream)
        return response
