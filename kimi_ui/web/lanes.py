"""Routes of lanes: each lane's server and why, whether it answers, how to get the real model, what is being pulled.

Checks use their own connections on the server's loop, never those of a turn. The page learns whether a key's variable
is set, never its value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from ..config import default_lanes_path
from ..core.owner import may_change
from ..engine.pulls import Pulls, Question, missing
from ..lanes_file import write_lanes
from ..providers import presets
from .respond import Json
from .visitor import VisibleTurns, visitor_of

if TYPE_CHECKING:
    from ..providers.roster import Roster
    from ..turns import Turns

CHECK_WAIT_S = 30.0


class LaneRoutes:
    """The routes. ``pulls`` fetches missing models."""

    def __init__(self, roster: Roster, pulls: Pulls, turns: Turns, visible: VisibleTurns) -> None:
        self._roster = roster
        self._pulls = pulls
        self._turns = turns
        self._visible = visible
        self._checking: dict[str, asyncio.Task[dict[str, Any]]] = {}

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/kimi/lanes", self.lanes),
            Route("/kimi/lanes-file", self.lanes_file),
            Route("/kimi/lanes/{lane}/check", self.check, methods=["POST"]),
            Route("/kimi/pulls", self.pulls),
            Route("/kimi/lanes/{lane}/pull", self.pull, methods=["POST"]),
            Route("/kimi/lanes/{lane}/pull", self.cancel_pull, methods=["DELETE"]),
        ]

    async def lanes(self, request: Request) -> Response:
        """Every lane's current server, and the sources of real models."""
        await run_in_threadpool(self._roster.refresh)
        return Json(
            {
                "lanes": [self._described(index) for index in range(len(self._roster.specs))],
                "sources": sources(self._roster.environment, self._roster.ollama.running),
                "problem": self._roster.problem,
                "lanes_path": _shown(self._roster.lanes_path) if self._roster.lanes_path else "",
                "default_lanes_path": _shown(default_lanes_path()),
                "env_path": _shown(Path.cwd() / ".env"),
            }
        )

    async def lanes_file(self, request: Request) -> Response:
        """The current lanes as text of a lanes file; query ``lane`` and ``model``: with another model in that lane."""
        lane, model = (request.query_params.get(name, "") for name in ("lane", "model"))
        specs = [spec.with_model(model) if spec.id == lane else spec for spec in self._roster.specs]
        return PlainTextResponse(write_lanes(specs), headers={"Cache-Control": "no-store"})

    async def check(self, request: Request) -> Response:
        """Check whether a lane answers; query ``probe=1``: by one tiny request. One check per lane at a time."""
        lane = request.path_params["lane"]
        if lane not in {spec.id for spec in self._roster.specs}:
            raise HTTPException(404)
        running = self._checking.get(lane)
        if running is None or running.done():
            running = asyncio.create_task(self._checked(lane, request.query_params.get("probe") == "1"))
            self._checking[lane] = running
        return Json(await asyncio.shield(running))

    async def pulls(self, request: Request) -> Response:
        """All pulls, each with the lanes of its server."""
        return Json({"pulls": await run_in_threadpool(self._told, visitor_of(request))})

    async def pull(self, request: Request) -> Response:
        """Pull the lane's model; query ``turn``: the model that the lane lacked in that turn, and ask it again then.

        Answers like ``pulls``.
        """
        lane, model, question = request.path_params["lane"], "", None
        if turn_id := request.query_params.get("turn", ""):
            owner = visitor_of(request)
            turn = await self._visible.found(turn_id, owner)
            key = missing(turn, lane) if turn else None
            if turn is None or key is None:
                raise HTTPException(404)
            model = key.model
            question = Question(turn_id, lane, owner) if may_change(turn.owner, owner) else None
        if await run_in_threadpool(self._pulls.start, lane, model, question) is None:
            raise HTTPException(404)
        return await self.pulls(request)

    async def cancel_pull(self, request: Request) -> Response:
        """Stop pulling the lane's model, or that of the query's ``model``. Answers like ``pulls``, at once."""
        key = self._pulls.offer(request.path_params["lane"], request.query_params.get("model", ""))
        if key is None:
            raise HTTPException(404)
        self._pulls.cancel(key)
        return await self.pulls(request)

    def _told(self, owner: str) -> list[dict[str, Any]]:
        """For the page: the server is given as its lanes, since its address may hold a password. ``asks``: the
        visitor's turns in which a lane asks again when the pull is done."""
        servers = {spec.id: offer.server for spec in self._roster.specs if (offer := self._pulls.offer(spec.id))}
        return [
            {
                **{name: value for name, value in asdict(pull).items() if name != "server"},
                "lanes": [lane for lane, server in servers.items() if server == pull.server],
                "figures": pull.figures,
                "asks": [asked.turn_id for asked in self._pulls.waiting(pull.key) if may_change(asked.owner, owner)],
            }
            for pull in self._pulls.states()
        ]

    async def _checked(self, lane: str, probe: bool) -> dict[str, Any]:
        try:
            async with asyncio.timeout(CHECK_WAIT_S):
                unloaded = await asyncio.to_thread(self._turns.unloaded_pairs)
                return asdict(await self._roster.check(lane, probe, unloaded))
        except TimeoutError:
            problem = f"There was no answer within {CHECK_WAIT_S:g} s."
            return {"ok": False, "problem": problem, "remedy": "Try again later.", "command": ""}

    def _described(self, index: int) -> dict[str, Any]:
        spec = self._roster.specs[index]
        offer = self._pulls.offer(spec.id)
        return asdict(self._roster.serving(spec.id)) | {
            "index": index,
            "provider": spec.provider,
            "stand_in_for": spec.stand_in_for,
            "has_models": spec.lists_models,
            "of": spec.of,
            "can_pull": offer.model if offer else "",
        }


def _shown(path: Path) -> str:
    """A path with ``~`` for the home directory."""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except ValueError:
        return str(path)


def sources(env: Mapping[str, str], ollama_running: bool | None) -> list[dict[str, Any]]:
    """The sources of the shipped lanes' real models, each with the line that enables it and whether it is set."""
    gateways = [
        {
            "name": gateway.name,
            "gives": f"{presets.KIMI_NAME} ({gateway.model})",
            "price": asdict(gateway.price),
            "line": gateway.line_to_set,
            "is_set": bool(env.get(gateway.key_name, "").strip()),
        }
        for gateway in presets.GATEWAYS
    ]
    ollama = {
        "name": "Ollama",
        "gives": f"{presets.QWEN_NAME} ({presets.QWEN_MODEL}), on this machine",
        "price": {"input": 0.0, "output": 0.0, "cached_input": None, "as_of": ""},
        "line": f"ollama pull {presets.QWEN_MODEL}",
        "is_set": bool(ollama_running),
    }
    return [*gateways, ollama]
