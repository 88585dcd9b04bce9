"""The app: our own routes and Gradio mounted at ``/``, as one ASGI app.

Gradio's analytics, run history, API docs, monitoring and direct calls that bypass the queue are off (reasons in
``environment`` and ``web.guard``). Every response passes ``web.guard``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import FastAPI

from ..chat.services import ChatServices
from ..config import Auth, hidden_from_clients
from ..engine import Engine
from ..log.store import LogError
from ..turns import Turns
from ..web.accounts import may_act, require_sign_in
from ..web.advice import AdviceRoutes
from ..web.ballots import BallotRoutes
from ..web.benchmark import BenchmarkRoutes
from ..web.composer import ComposerRoutes
from ..web.conversations import ConversationRoutes
from ..web.exporter import METRICS, Exporter
from ..web.guard import Guard, Hosts, broken, known_hosts
from ..web.health import HEALTHZ, READYZ, HealthRoutes
from ..web.lanes import LaneRoutes
from ..web.page_files import PageFiles, Preload
from ..web.page_state import PageState
from ..web.prompt_queue import QueueRoutes
from ..web.replicas import Replicas
from ..web.respond import log_refusal
from ..web.shares import SHARE, ShareRoutes
from ..web.spans import Spans
from ..web.stats import StatsRoutes
from ..web.sub_path import Rooted, SubPath
from ..web.turn_commands import TurnCommandRoutes
from ..web.turns import TurnRoutes
from ..web.visitor import OnePerson, VisibleTurns
from .environment import harden_environment

if TYPE_CHECKING:
    from ..bus.bus import Bus
    from ..providers.roster import Roster


def create_app(
    engine: Engine,
    turns: Turns,
    roster: Roster,
    *,
    hosts: Hosts | None = None,
    password: str = "",
    auth: Auth | None = None,
    metrics_token: str = "",
    spans: Spans | None = None,
    one_person: bool = False,
    budget_usd: float | None = None,
    root_path: str = "",
    bus: Bus | None = None,
) -> FastAPI:
    """The whole ASGI app. ``hosts``: the accepted host names (None: loopback's); ``password``: required if not empty;
    ``one_person``: every visitor is the machine's user (see ``core.owner``); ``auth``, ``metrics_token``,
    ``budget_usd`` and ``root_path``: see ``Settings``; ``spans``: see ``web.exporter``; ``bus``: of the other replicas.

    Built inside an event loop, because without one Gradio opens a loop for every lock and never closes it.
    """

    async def make() -> FastAPI:
        private = bool(password or auth)
        engine.may_send = may_act(auth)
        app = _create(engine, turns, roster, private, budget_usd, metrics_token, spans, bus)
        open_paths = (HEALTHZ, READYZ, SHARE, *([METRICS] if metrics_token else []))
        if private:
            require_sign_in(app, turns, open_paths, password=password, auth=auth)
        if one_person:
            app.add_middleware(OnePerson)
        app.add_middleware(Guard, hosts=hosts or known_hosts("127.0.0.1"))
        app.add_middleware(SubPath, root_path=root_path)  # added last, so it is the outermost
        app.add_exception_handler(Exception, broken)  # handled outside ``SubPath``
        return app

    return asyncio.run(make())


def _create(
    engine: Engine,
    turns: Turns,
    roster: Roster,
    private: bool,
    budget_usd: float | None,
    metrics_token: str,
    spans: Spans | None,
    bus: Bus | None,
) -> FastAPI:
    """Imports Gradio, which takes seconds. ``private``: several people use the app."""
    harden_environment()
    with hidden_from_clients():
        import gradio as gr

    from . import app as page
    from .gradio_chunks import chunks_of
    from .theme import theme

    chat = ChatServices(engine, turns, budget_usd)
    visible = VisibleTurns(turns)
    files = PageFiles()

    def notice() -> str:
        return " ".join(filter(None, [turns.writer.problem, bus.problem if bus else ""]))

    state = PageState(turns, roster, chat, engine.pulls, private, notice)
    benchmark = BenchmarkRoutes(engine, turns, roster, private, lambda: bus.url if bus and not bus.is_away else "")
    turn_routes = TurnRoutes(turns, roster, state, visible, chat.estimates)
    exporter = Exporter(engine, turns, turn_routes.streams, metrics_token, spans)

    if bus is not None:
        bus.moved_in, bus.changed = chat.forget, turn_routes.streams.look

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if bus is not None:
            bus.answer_on(asyncio.get_running_loop())
        yield
        await asyncio.to_thread(engine.close)
        await asyncio.to_thread(benchmark.close)
        await asyncio.to_thread(exporter.close)

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_exception_handler(LogError, log_refusal)
    app.state.streams = turn_routes.streams
    app.router.routes += [
        *turn_routes.routes(),
        *TurnCommandRoutes(engine, turns, chat, state, visible).routes(),
        *ConversationRoutes(engine, turns, chat.queue, visible).routes(),
        *ShareRoutes(turns, visible, engine.may_send).routes(),
        *QueueRoutes(turns, chat, state, visible).routes(),
        *ComposerRoutes(chat, roster, visible).routes(),
        *AdviceRoutes(turns.reader, roster, chat, visible, private).routes(),
        *LaneRoutes(roster, engine.pulls, turns, visible, private).routes(),
        *StatsRoutes(turns.reader, private).routes(),
        *BallotRoutes(turns, private).routes(),
        *benchmark.routes(),
        *HealthRoutes(engine, turns, bus).routes(),
        *exporter.routes(),
        *files.routes(),
    ]
    blocks = page.build(engine, turns, roster, chat, files, private)
    if bus is not None:
        app.add_middleware(Replicas, bus=bus, turns=turns)
    app.add_middleware(Rooted)
    app.add_middleware(Preload, urls=[*(f"/assets/{name}" for name in chunks_of(blocks)), *files.urls])
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        blocks,
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
        head=files.head,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    return mounted
