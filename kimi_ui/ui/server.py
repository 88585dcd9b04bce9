"""The server: our own routes, then Gradio mounted at ``/``, in one ASGI app on uvicorn.

Settings that matter here and why: analytics off before Gradio is imported (it would ask its servers for its newest
version), run history off (it keeps prompts in the browser in clear), API docs, monitoring and direct calls past the
queue off. Every response passes ``guard``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI

from ..config import hidden_from_clients
from ..engine import Engine
from ..tokenizers import counter
from ..view.lane_colours import accent_css
from ..web.chat_routes import ChatRoutes
from ..web.compare_routes import CompareRoutes
from ..web.conversations import HistoryRoutes
from ..web.guard import Guard, Hosts, broken, known_hosts
from ..web.lanes import LanesRoutes
from ..web.login import Login
from ..web.routes import PageRoutes
from .environment import harden_environment

if TYPE_CHECKING:
    from ..log.reader import LogReader
    from ..providers.roster import Roster

STOP_GRACE_S = 1.0
STYLES = (
    *("kimi", "lane", "chat", "race", "compare", "markdown", "highlight"),
    *("lanes_tab", "stats", "sidebar", "replay", "targets"),
)


class PortInUse(OSError):
    """That address and port cannot be listened on; mostly somebody else does already."""


def create_app(
    engine: Engine,
    reader: LogReader | None,
    roster: Roster,
    *,
    hosts: Hosts | None = None,
    password: str = "",
    budget_usd: float | None = None,
) -> FastAPI:
    """The whole ASGI app. ``hosts``: the names it answers to (loopback's, if None); ``password``: asked of everybody;
    ``budget_usd``: see ``Settings``.

    Made inside an event loop: outside of one Gradio opens one for every lock and forgets it.
    """

    async def make() -> FastAPI:
        app = _create(engine, reader, roster, bool(password), budget_usd)
        if password:
            app.add_middleware(Login, password=password)
        app.add_middleware(Guard, hosts=hosts or known_hosts("127.0.0.1"))  # added last: outermost
        app.add_exception_handler(Exception, broken)  # which is answered outside of it
        return app

    return asyncio.run(make())


def _create(
    engine: Engine, reader: LogReader | None, roster: Roster, private: bool, budget_usd: float | None
) -> FastAPI:
    """Gradio is imported here, not before: it takes seconds. ``private``: statistics are of one's own turns only."""
    harden_environment()
    with hidden_from_clients():
        import gradio as gr

    from ..web.stats import StatsRoutes
    from . import app as page
    from .theme import theme

    pages = PageRoutes(engine, reader, roster)
    chat = ChatRoutes(engine, reader, roster, pages, budget_usd)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # 0.15 s, which the first token should not wait for
        threading.Thread(target=counter, name="vocabulary", daemon=True).start()
        yield
        await pages.pulls.close()
        await asyncio.to_thread(engine.close)

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.streams, app.state.engine = pages.streams, engine
    app.router.routes.extend(CompareRoutes(engine, pages).routes())
    app.router.routes.extend(HistoryRoutes(engine, reader, pages).routes())
    app.router.routes.extend([*chat.routes(), *LanesRoutes(roster, pages.pulls).routes(), *pages.routes()])
    if reader is not None:
        app.router.routes.extend(StatsRoutes(reader, private).routes())
    head = f"<style>{accent_css()}</style>" + "".join(
        f'<link rel="stylesheet" href="/kimi/assets/{name}.css">' for name in STYLES
    )
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        page.build(engine, reader, roster, chat, private),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size="1mb",
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=theme(),
        head=head,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    return mounted


def serve(
    engine: Engine,
    reader: LogReader | None,
    roster: Roster,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    password: str = "",
    more_hosts: Sequence[str] = (),
    budget_usd: float | None = None,
    on_ready: Callable[[str], Any] = lambda url: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then end every stream and close the engine, which ends what runs as interrupted.

    ``password`` is asked of everybody; ``more_hosts`` are names this server also goes by (a proxy's).
    ``on_ready(url)`` is called once requests are answered. ``port`` 0 takes a free one. Raises ``PortInUse`` before
    anything is started.
    """
    with _listening(host, port) as listener:
        app = create_app(
            engine, reader, roster, hosts=known_hosts(host, more_hosts), password=password, budget_usd=budget_usd
        )
        url = _url(host, listener.getsockname()[1])
        config = uvicorn.Config(
            app,
            loop="asyncio",  # the loop all of this is tested and measured with, whatever else is installed
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=int(STOP_GRACE_S),
            server_header=False,
            ws="none",
        )
        _Server(config, app, lambda: on_ready(url)).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn that tells when it is ready, ends our streams when it is told to stop, and then simply returns."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, on_ready: Callable[[], Any]) -> None:
        super().__init__(config)
        self._app = app
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._app.state.streams.closing = True
        self._app.state.engine.leaving = True  # requests end before the engine is closed, and stop what they asked for
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # else it would raise the signal again and end the process before its caller


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket, so that a taken port is known before seconds of start-up."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except socket.gaierror as error:
            raise PortInUse(f"{host} is not an address of this machine ({error.strerror}); correct --host.") from error
        except OSError as error:
            raise PortInUse(
                f"Port {port} on {host} cannot be used ({error.strerror}): "
                "stop what runs there, or give another with --port."
            ) from error
        listener.setblocking(False)
        yield listener


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"
