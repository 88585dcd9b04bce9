"""A model server for tests: OpenAI-compatible and Ollama on one port, in its own thread, on raw asyncio.

    with Upstream() as upstream:
        AsyncOpenAI(base_url=upstream.base_url, api_key="x")   # …/v1
        ollama.AsyncClient(host=upstream.ollama_url)

``upstream.ollama`` has the habits of a real Ollama (``tests/support/ollama_server.py``).

The model's name selects the behaviour:
- ``m-RATE-REASONING-ANSWER[-VARIANT…]``, e.g. ``m-100-3000-1500``: tokens/s, reasoning tokens, answer tokens, at
  absolute times; every tenth token is the wall-clock millisecond it was sent at (``@1795294921283@``); usage at the
  end. Variants: ``think-tags`` (reasoning inside ``<think>`` in the content), ``reasoning`` and ``details`` (other
  names of the field), ``no-usage``, ``stampsMS`` (the first token after MS ms; the first and last of reasoning and
  answer the monotonic ns at which the request was read and at which the token was sent, ``8123:9456``).
- ``scenario-NAME``: a fault of ``tests.support.scenarios``.
- a name given to ``.script(name, pieces_or_behaviour)`` or ``.alias(name, other)``. Any other is a 404.

``.requests`` are the requests so far, ``.closed`` those that the client closed before the answer was complete.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import trustme

from .arrival import ArrivalSocket
from .ollama_server import ROUTES as OLLAMA_ROUTES
from .ollama_server import Model, OllamaServer
from .paced import openai_body, plan_of
from .scenarios import SCENARIOS
from .wire import SSE, Behaviour, Close, Piece, Request, Reset, Stream, plain, stream_of, streamed

LISTED = ("m-100-3000-1500", "m-100-3000-1501", "m-100-3000-1502", "m-100-30000-500", "m-50-1000-500")


class BadRequest(Exception):
    """The bytes received are not HTTP."""


class Upstream:
    """The server. All attributes may be read from any thread; ``start``/``stop`` or ``with`` run it.

    ``key``: when set, the only bearer token accepted on ``/v1``. ``models``: what is listed and installed.
    ``tls``: speak TLS; each handshake first takes ``connect_s``, as with a server far away.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None, connect_s: float = 0.0) -> None:
        self.requests: list[Request] = []
        self.ollama = OllamaServer(list(LISTED))
        self.key = ""
        self.facts: dict[str, dict[str, Any]] = {}  # what the list of /v1 says of a model beside its id
        self._port, self._tls, self._connect_s = port, tls, connect_s
        self._scripts: dict[str, Behaviour] = {}
        self._aliases: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._transports: set[asyncio.WriteTransport] = set()

    # -- for tests

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def ollama_url(self) -> str:
        return self.origin

    @property
    def models(self) -> list[str]:
        return self.ollama.installed

    @models.setter
    def models(self, names: list[str]) -> None:
        self.ollama.installed = names

    @property
    def closed(self) -> list[Request]:
        """Requests whose socket the client closed before the answer was complete."""
        return [request for request in self.requests if request.closed_t is not None]

    def script(self, model: str, body: Sequence[Piece] | Behaviour) -> None:
        """Answer this model with the given body pieces (bytes; a number waits) or with a behaviour of raw bytes."""
        self._scripts[model] = body if callable(body) else streamed(body)

    def alias(self, model: str, behaves_as: str, **properties: Any) -> None:
        """Let an ordinary model id, e.g. ``qwen3-coder:30b``, behave as another name and be listed as installed.

        For Ollama it is in memory, and ``properties`` are those of ``ollama_server.Model``.
        """
        self._aliases[model] = behaves_as
        self.models.append(model)
        if plan := plan_of(behaves_as):
            self.ollama.add(model, Model(plan, **properties))
        self.ollama.warm(model)

    def start(self) -> Upstream:
        ready: threading.Event = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="upstream", daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread:
            self._thread.join()

    def __enter__(self) -> Upstream:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- the server

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        listening = ArrivalSocket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self._port))
        far = self._tls is not None and self._connect_s > 0
        factory, tls = (lambda: _Far(self._greet), None) if far else (self._protocol, self._tls)
        goodbye_s = 0.5 if tls else None  # a client that does not answer the end of TLS is not waited for
        serving = self._loop.create_server(
            factory, sock=listening, ssl=tls, backlog=256, ssl_shutdown_timeout=goodbye_s
        )
        server = self._loop.run_until_complete(serving)
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._hang_up(server))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _hang_up(self, server: asyncio.Server) -> None:
        """Close every socket, also one that was just accepted, or one with unread bytes."""
        # server.close() would lose a socket that was accepted but has no transport yet: wait a moment for it.
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())
        await asyncio.sleep(0.01)
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        while self._transports:
            for transport in self._transports:
                transport.abort()
            await asyncio.sleep(0.01)

    def _greet(self, transport: asyncio.Transport) -> None:
        self._transports.add(transport)
        task = self._loop.create_task(self._shake_hands(transport))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        """Serve a connection whose bytes have waited for ``connect_s``."""
        try:
            await asyncio.sleep(self._connect_s)
            protocol = self._protocol()
            assert self._tls
            secure = await self._loop.start_tls(transport, protocol, self._tls, server_side=True)
            assert secure
            protocol.connection_made(secure)
        except OSError:  # the client has disconnected
            transport.abort()
        finally:
            self._transports.discard(transport)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return _Protocol(self._transports, self._serve, self._loop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            nth = 0
            while (request := await _read_request(reader)) is not None:
                request.nth = nth = nth + 1
                request.t = writer.get_extra_info("socket")._sock.arrived_t
                self.requests.append(request)
                if not await self._answer(request, reader, writer):
                    break
        except (Close, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except BadRequest:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except Reset:
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send the answer while watching for the client's end of file. True: the connection may serve another."""
        assert isinstance(reader, _Reader)
        hung_up = asyncio.ensure_future(reader.ended.wait())
        sending = asyncio.ensure_future(_send(self._route(request), writer))
        try:
            await asyncio.wait({hung_up, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                request.closed_t = time.monotonic()
                return False
            if isinstance(error := sending.exception(), OSError):
                request.closed_t = time.monotonic()
            if error is not None:
                raise error
            return request.headers.get("connection", "").lower() != "close"
        finally:
            for task in (hung_up, sending):
                task.cancel()
            await asyncio.gather(hung_up, sending, return_exceptions=True)

    def _route(self, request: Request) -> Stream:
        if behaviour := self._scripts.get(f"{request.method} {request.path}"):
            return behaviour(request)
        if request.is_ollama:
            return self._ollama(request)
        handler = _ROUTES.get((request.method, request.path))
        if handler is None:
            return plain(404, "404 page not found", content_type="text/plain")(request)
        if (
            request.path.startswith("/v1/")
            and self.key
            and request.headers.get("authorization") != f"Bearer {self.key}"
        ):
            error = {
                "message": "Incorrect API key provided.",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            }
            return plain(401, {"error": error})(request)
        return handler(self, request)

    def _ollama(self, request: Request) -> Stream:
        """Ollama's answer, unless the model's name says otherwise."""
        if request.path.startswith("/api/blobs/"):
            return self.ollama.blob(request)
        answer = OLLAMA_ROUTES.get((request.method, request.path))
        if answer is None:
            return plain(404, "404 page not found", content_type="text/plain")(request)
        if request.path == "/api/pull" and (script := self._scripts.get(f"pull {request.model}")):
            return script(request)
        if self.ollama.model(request.model) is None and (behaviour := self._behaviour(request.model)):
            if request.path == "/api/chat":
                return behaviour(request)
            if request.path == "/api/show":
                return plain(200, {"details": {"family": "test"}, "capabilities": ["completion"]})(request)
        return answer(self.ollama, request)

    def _behaviour(self, model: str) -> Behaviour | None:
        if script := self._scripts.get(model):
            return script
        if model.startswith("scenario-"):
            return SCENARIOS.get(model.removeprefix("scenario-"))
        if plan := plan_of(self._aliases.get(model, model)):
            return lambda request: stream_of(openai_body(request, plan), SSE)
        if model in self._aliases:
            return self._behaviour(self._aliases[model])
        if installed := self.ollama.model(model):
            return lambda request: stream_of(openai_body(request, installed.plan), SSE)
        return None

    def _missing(self, request: Request) -> Stream:
        error = {"message": f"The model `{request.model}` does not exist", "code": "model_not_found"}
        return plain(404, {"error": error})(request)

    # -- chat

    def _chat(self, request: Request) -> Stream:
        behaviour = self._behaviour(request.model)
        return behaviour(request) if behaviour else self._missing(request)

    # -- everything else

    def _list(self, request: Request) -> Stream:
        data = [{"id": model, "object": "model", **self.facts.get(model, {})} for model in self.models]
        return plain(200, {"object": "list", "data": data})(request)


_ROUTES: dict[tuple[str, str], Callable[[Upstream, Request], Stream]] = {
    ("POST", "/v1/chat/completions"): Upstream._chat,
    ("GET", "/v1/models"): Upstream._list,
}


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of this connection; None when the client is done with it."""
    try:
        first_byte = await reader.readexactly(1)
        if first_byte == b"\x16":  # a TLS handshake on a plain port
            raise BadRequest
        raw = (first_byte + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = raw.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
    }
    data = await reader.readexactly(int(headers.get("content-length", 0)))
    body = data if headers.get("content-type") == "application/octet-stream" else orjson.loads(data) if data else None
    return Request(method, path.partition("?")[0], headers, body, time.monotonic())


async def _send(stream: Stream, writer: asyncio.StreamWriter) -> None:
    async with contextlib.aclosing(stream):  # type: ignore[type-var]
        async for data in stream:
            writer.write(data)
            await writer.drain()


class _Reader(asyncio.StreamReader):
    """A reader that reports when the client has closed its side, without reading."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=limit, loop=loop)
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.ended.set()


class _Far(asyncio.Protocol):
    """Reads nothing; passes the new connection on."""

    def __init__(self, greet: Callable[[asyncio.Transport], None]) -> None:
        self._greet = greet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self._greet(transport)


class _Protocol(asyncio.StreamReaderProtocol):
    """Keeps the set of transports that are open."""

    def __init__(
        self,
        open_transports: set[asyncio.WriteTransport],
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(_Reader(limit=1 << 20, loop=loop), serve, loop=loop)
        self._open = open_transports
        self._mine: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._mine = transport
        self._open.add(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._mine is None:  # lost while shaking hands
            return
        self._open.discard(self._mine)
        super().connection_lost(exc)


def server_context(authority: Path) -> ssl.SSLContext:
    """TLS for 127.0.0.1; the certificate to trust is written to ``authority``."""
    made = trustme.CA()
    made.cert_pem.write_to_path(authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert("127.0.0.1").configure_cert(context)
    return context


def main() -> None:
    parser = argparse.ArgumentParser(description="A local model server with exact pacing, for trying things out.")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--ca", type=Path, help="speak TLS, and write the authority's certificate here")
    parser.add_argument("--connect-s", type=float, default=0.0, help="with TLS: seconds before each handshake")
    options = parser.parse_args()
    tls = server_context(options.ca) if options.ca else None
    with Upstream(options.port, tls, options.connect_s) as upstream:
        print(f"OpenAI-compatible: {upstream.base_url}   Ollama: {upstream.ollama_url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
