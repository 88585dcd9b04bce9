"""The server: runs one ASGI app on uvicorn until SIGTERM or Ctrl-C.

SIGTERM first drains the app (``Drain``), so that running answers may end; a second one, or Ctrl-C, ends it at once.

uvicorn takes its loop and its HTTP parser in C, uvloop and httptools; where there is no uvloop (Windows) it takes
asyncio's. The engine's own loop is asyncio's everywhere, because uvloop would read its sockets without their stamps.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

log = logging.getLogger(__name__)

STOP_GRACE_S = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class PortInUse(OSError):
    """The address and port cannot be bound, mostly because another process uses them."""


@dataclass(frozen=True)
class Drain:
    """How the app is drained: ``begin`` refuses new work and may be called by a signal's handler, ``n_running`` counts
    the work that has not ended, ``at_most_s`` is the deadline."""

    begin: Callable[[], None]
    n_running: Callable[[], int]
    at_most_s: float


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind a socket, so that a port in use is reported before the start-up, which takes seconds. Until ``serve`` it
    refuses connections, so that a proxy turns to another server meanwhile."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except socket.gaierror as error:
            raise PortInUse(f"{host} is not an address of this machine ({error.strerror}); correct --host.") from error
        except OSError as error:
            raise _in_use(host, port, error) from error
        listener.setblocking(False)
        yield listener


def serve(
    app: ASGIApp,
    listener: socket.socket,
    *,
    on_ready: Callable[[str], Any] = lambda url: None,
    on_exit: Callable[[], Any] = lambda: None,
    drain: Drain | None = None,
    has_own_logs: bool = True,
    sees_peers: bool = False,
) -> None:
    """Serve ``app`` on a socket of ``listening`` until SIGTERM or Ctrl-C, then return.

    ``on_ready(url)`` is called when the server answers requests; ``on_exit()`` when it begins to stop, before it waits
    for open responses, so that it can end endless ones. Without ``drain`` SIGTERM ends it at once. ``has_own_logs``
    False: uvicorn's records go to the root logger's handlers. ``sees_peers``: the app gets the address that a request
    really comes from, not the one that a proxy names. Raises ``PortInUse``.
    """
    config = uvicorn.Config(
        app,
        http="httptools",
        log_config=uvicorn.config.LOGGING_CONFIG if has_own_logs else None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=int(STOP_GRACE_S),
        server_header=False,
        proxy_headers=not sees_peers,
        ws="none",
    )
    host, port = listener.getsockname()[:2]
    try:
        listener.listen(2048)
    except OSError as error:  # another process, which was bound too, listens already
        raise _in_use(host, port, error) from error
    _Server(config, lambda: on_ready(_url(host, port)), on_exit, drain).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn that reports when it is ready and when it begins to stop, drains first, and returns after that."""

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], Any], on_exit: Callable[[], Any], drain: Drain | None
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_exit = on_exit
        self._drain = drain
        self._drained_by_s: float | None = None  # the deadline, monotonic; None: not draining
        self._drain_is_logged = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's method raises the signal again afterwards, which would end the process. This one does not."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        if sig == signal.SIGTERM and self._drain and self._drained_by_s is None and not self.should_exit:
            self._drained_by_s = time.monotonic() + self._drain.at_most_s
            self._drain.begin()
            return
        self._on_exit()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second; the server stops once it returns True."""
        if self._drain and self._drained_by_s is not None and not self.should_exit:
            n_running = self._drain.n_running()
            if not n_running or time.monotonic() >= self._drained_by_s:
                self._on_exit()
                self.should_exit = True
            elif not self._drain_is_logged:
                self._drain_is_logged = True
                log.warning(
                    "Shutting down: no new prompts are taken, and running turns (%d) may go on for at most %g s. "
                    "A second SIGTERM ends them at once.",
                    n_running,
                    self._drain.at_most_s,
                )
        return await super().on_tick(counter)


def _in_use(host: str, port: int, error: OSError) -> PortInUse:
    return PortInUse(
        f"Port {port} on {host} cannot be used ({error.strerror}): stop what runs there, or give another with --port."
    )


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"
