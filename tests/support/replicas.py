"""Replicas in this process: the chat's routes over HTTP, each on its own engine and connection to the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from kimi_ui.bus.bus import Bus
from kimi_ui.chat.services import ChatServices
from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning, Usage
from kimi_ui.core.lane import LaneSpec
from kimi_ui.log.places import Place
from kimi_ui.web.composer import ComposerRoutes
from kimi_ui.web.health import HealthRoutes
from kimi_ui.web.page_state import PageState
from kimi_ui.web.prompt_queue import QueueRoutes
from kimi_ui.web.replicas import Replicas
from kimi_ui.web.turn_commands import TurnCommandRoutes
from kimi_ui.web.turns import TurnRoutes
from kimi_ui.web.visitor import OnePerson, VisibleTurns

from .browser import listening
from .engine_run import Run, started
from .scripted import ScriptedProvider, ScriptedRoster

DRAWN: list[Any] = [Phase(CONNECTED), Reasoning("Let me \ud83d"), Reasoning("\ude00 think.")]


@dataclass
class Replica:
    run: Run
    bus: Bus
    http: httpx.Client
    kimi: ScriptedProvider

    @property
    def address(self) -> str:
        return self.http.base_url.netloc.decode()

    def say(self, *steps: Any) -> None:
        self.kimi.scripts = [[*DRAWN, *steps, Answer("It is 42."), Finish("stop"), Usage(input_tokens=1)]]

    def send(self, text: str = "Why?", **more: Any) -> httpx.Response:
        return self.http.post("/kimi/turns", json={"text": text, **more})

    def events(self, turn_id: str, after: int = 0) -> Iterator[tuple[str, Any]]:
        """The turn's stream: each event's name and data."""
        with self.http.stream("GET", f"/kimi/turns/{turn_id}/events?after={after}") as response:
            name = "message"
            for line in response.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, orjson.loads(line.removeprefix("data: "))
                    name = "message"

    def text(self, turn_id: str) -> str:
        """The answer as the turn's stream shows it to its end."""
        frames = [data for name, data in self.events(turn_id) if name == "message"]
        return "".join(block for frame in frames for block in frame["lanes"].get("kimi", {}).get("blocks", []))


def app(run: Run, roster: Any, bus: Bus) -> Starlette:
    """The chat's routes without Gradio's page, a stream in the place of one of its sessions, and ``/seen``: who sent a
    request to which address, as the app sees it."""
    chat, visible = ChatServices(run.engine, run.turns), VisibleTurns(run.turns)
    state = PageState(run.turns, roster, chat, run.engine.pulls, notice=lambda: bus.problem)
    turns = TurnRoutes(run.turns, roster, state, visible, chat.estimates)
    bus.moved_in, bus.changed = chat.forget, turns.streams.look

    async def join(request: Request) -> Response:
        return PlainTextResponse(f"{bus.me} {(await request.json())['session_hash']}")

    async def call(request: Request) -> Response:
        return PlainTextResponse(bus.me)

    async def seen(request: Request) -> Response:
        client = request.client
        return PlainTextResponse(f"{client.host if client else None} {request.url}")

    async def session(request: Request) -> Response:
        async def words() -> AsyncIterator[str]:
            for word in (bus.me, request.query_params["session_hash"], request.headers["host"]):
                yield f"{word} "
                await asyncio.sleep(0)

        return StreamingResponse(words())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        bus.answer_on(asyncio.get_running_loop())
        yield
        await asyncio.to_thread(run.engine.close)

    made = Starlette(
        routes=[
            *turns.routes(),
            *TurnCommandRoutes(run.engine, run.turns, chat, state, visible).routes(),
            *QueueRoutes(run.turns, chat, state, visible).routes(),
            *ComposerRoutes(chat, roster, visible).routes(),
            *HealthRoutes(run.engine, run.turns, bus).routes(),
            Route("/seen", seen),
            Route("/gradio_api/queue/join", join, methods=["POST"]),
            Route("/gradio_api/queue/data", session),
            Route("/gradio_api/call/{rest:path}", call, methods=["GET", "POST"]),
        ],
        middleware=[Middleware(OnePerson), Middleware(Replicas, bus=bus, turns=run.turns)],
        lifespan=lifespan,
    )
    made.state.streams = turns.streams
    return made


@contextmanager
def replica(log: Place, url: str) -> Iterator[Replica]:
    kimi = ScriptedProvider(LaneSpec("kimi", "Kimi K2", "openai", model="m"), [[]])
    roster = ScriptedRoster(kimi)
    with started(roster, log) as run:
        bus = Bus(url, run.turns, stop=run.engine.stop, is_draining=lambda: run.engine.draining)
        bus.start()
        try:
            with (
                listening(app(run, roster, bus)) as address,
                httpx.Client(base_url=address, trust_env=False, timeout=60) as http,
            ):
                yield Replica(run, bus, http, kimi)
        finally:
            bus.close()
