"""The guard: middleware for every request and response, outside our routes and Gradio's.

Gradio does not check the Host header, echoes CORS to a page that uses DNS rebinding, accepts cross-site uploads, and
has routes that fetch foreign URLs. The guard is pure ASGI, so that event streams pass unbuffered.

- Host must be a known name of this server; writes must come from our own origin; cross-site reads only by navigation.
- Gradio's routes that this page does not use are closed; request bodies are limited.
- Responses lose all CORS headers and get a Content-Security-Policy. Gradio needs ``unsafe-inline`` and ``unsafe-eval``,
  so the policy keeps data from leaving but does not stop scripts; escaping does that (``core.markdown``). Documents
  other than the page itself, such as a downloaded file, get no permissions. DNS prefetch is off, because a lookup would
  disclose the names in links before a click.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.loopback import is_loopback

MAX_BODY_BYTES = 4_000_000  # the longest prompt (3 million characters) and its overhead
LARGER_BODIES = {"/kimi/attachments": 40_000_000, "/kimi/conversations": 110_000_000}
"""Routes that take a file: an attachment, an export to import. Each has a lower limit of its own, and words for it."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

# Gradio's routes that the page does not use: they fetch foreign addresses, accept files, run programs, report on
# visitors, watch the source, log in, or bypass the queue. tests/test_borrowed.py finds routes added by a newer Gradio.
CLOSED = (
    "/gradio_api/api/",
    "/gradio_api/component_server",
    "/gradio_api/custom_component",
    "/gradio_api/deep_link",
    "/gradio_api/dev/",
    "/gradio_api/file=//",
    "/gradio_api/file=http",
    "/gradio_api/monitoring",
    "/gradio_api/process_recording",
    "/gradio_api/proxy=",
    "/gradio_api/run-history",
    "/gradio_api/run/",
    "/gradio_api/runs",
    "/gradio_api/stream/",
    "/gradio_api/token",
    "/gradio_api/undo-vibe",
    "/gradio_api/upload",
    "/gradio_api/vibe",
    "/file=http",
    "/login",
    "/logout",
    "/monitoring",
    "/proxy=",
    "/pwa_icon",
    "/upload",
)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-src 'none'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

NO_RIGHTS = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
NOT_THE_PAGE = ("/kimi/", "/gradio_api/")
DOCUMENTS = ("text/html", "image/svg+xml", "application/xhtml+xml", "application/xml", "text/xml")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
}


class Hosts(NamedTuple):
    """The host names this server accepts. ``any_address``: also every IP literal (DNS rebinding needs a name)."""

    names: frozenset[str]
    any_address: bool

    def allow(self, host: str) -> bool:
        name = host_name(host)
        return bool(name) and (name in self.names or (self.any_address and is_address(name)))


def known_hosts(bound: str, extra: Iterable[str] = ()) -> Hosts:
    """The host names of a server bound to the address ``bound``, and the configured ``extra`` names.

    A loopback server accepts ``localhost`` and its address. A reachable server accepts any IP literal and the machine's
    name; the name of a proxy in front of it must be configured.
    """
    names = {bound.strip("[]").lower(), *(name.strip().lower() for name in extra if name.strip())}
    loopback = is_loopback(bound)
    names |= {"localhost", "127.0.0.1"} if loopback else {"localhost", socket.gethostname().lower()}
    return Hosts(frozenset(names), not loopback)


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case; empty if invalid."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name.lower() if bracket and (not port or port[1:].isdigit()) else ""
    name, _, port = host.partition(":")
    return name.lower() if not port or port.isdigit() else ""


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware. ``hosts`` comes from ``known_hosts``."""

    def __init__(self, app: ASGIApp, hosts: Hosts, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # WebSockets are not served
            return
        send = with_headers(scope, send)
        most = LARGER_BODIES.get(scope["path"], self._max_body_bytes)
        refusal = self._refusal(scope, most)
        if refusal is None:
            body = _CountedBody(receive, send, most)
            try:
                await self._app(scope, body.receive, body.send)
            except BodyTooLarge:
                pass
            if not body.too_large or body.answered:
                return
            refusal = too_large(most)
        await refusal(scope, receive, send)

    def _refusal(self, scope: Scope, most: int) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._hosts.allow(host):
            return PlainTextResponse(
                "This server does not answer to that name. If it should, add the name to KIMI_UI_HOSTS.\n", 400
            )
        if not same_origin(scope, headers, host):
            return PlainTextResponse("Requests from other sites are refused.\n", 403)
        if is_closed(scope["path"]):
            return PlainTextResponse("This route is closed.\n", 403)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > most:
            return too_large(most)
        return None


def same_origin(scope: Scope, headers: Headers, host: str) -> bool:
    """True for our own pages and programs (no Origin, no Sec-Fetch-Site), and for reads by navigation from any site."""
    site = headers.get("sec-fetch-site", "none")
    if scope["method"] in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate":
        return True
    if site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def is_closed(path: str) -> bool:
    """True for the closed routes of Gradio, in any spelling of the path."""
    plain = "/" + "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", ".")).lower()
    return any(plain.startswith(prefix) or path.lower().startswith(prefix) for prefix in CLOSED)


def with_headers(scope: Scope, send: Send) -> Send:
    """``send`` with our headers added to every response."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            put_headers(scope["path"], MutableHeaders(scope=message))
        await send(message)

    return guarded


def put_headers(path: str, headers: MutableHeaders) -> None:
    """Remove CORS headers, add ours, and forbid caching unless the response allows it."""
    for name in [name for name in headers if name.lower().startswith("access-control-")]:
        del headers[name]
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if path.startswith(NOT_THE_PAGE) and kind in DOCUMENTS:
        headers.setdefault("Content-Security-Policy", NO_RIGHTS)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if not path.startswith(("/assets/", "/static/")):
        headers.setdefault("Cache-Control", "no-store")


async def broken(request: Request, error: Exception) -> Response:
    """The response to an internal error, with our headers. The traceback is in the terminal."""
    response = PlainTextResponse("Kimi UI itself failed here; its terminal says more.\n", 500)
    put_headers(request.url.path, response.headers)
    return response


def too_large(limit_bytes: int) -> PlainTextResponse:
    return PlainTextResponse(f"The request is too large: at most {limit_bytes / 1e6:g} MB are accepted.\n", 413)


class BodyTooLarge(Exception):
    """The request body exceeds the limit."""


class _CountedBody:
    """Counts the bytes of a request body, regardless of its Content-Length.

    If the body is too large, the app's own response (a 500) is suppressed.
    """

    def __init__(self, receive: Receive, send: Send, limit_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._bytes_left = limit_bytes
        self.too_large = False
        self.answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_left -= len(message.get("body", b""))
            if self._bytes_left < 0:
                self.too_large = True
                raise BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        if not self.too_large or self.answered:
            self.answered = True
            await self._send(message)
