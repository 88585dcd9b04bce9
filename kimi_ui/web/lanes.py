"""Routes of lanes: each lane's server and why, whether it answers, how to get the real model, what is being pulled; and
changes of the lanes file.

Checks use their own connections on the server's loop, never those of a turn. The page learns whether a key's variable
is set, never its value. Lanes may be changed by the machine's user; with accounts by an admin; where a password lets
several people in, only if ``KIMI_UI_EDIT_LANES`` says so, because a lane can send any variable of the environment to
any server.
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

from ..chat.lanes import FileChanged, LaneChanges
from ..config import ConfigError
from ..core.lane import LaneSpec
from ..core.owner import may_change
from ..core.turn import NEWEST
from ..engine.pulls import Pulls, Question, missing
from ..lanes_file import LaneMistake, write_lanes
from ..lanes_form import fields_of, shown, written
from ..providers import presets, registry
from ..providers.base import LaneGone, ProviderError
from .respond import Json, json_of, refusal
from .visitor import HasState, VisibleTurns, person_of, visitor_of

if TYPE_CHECKING:
    from ..providers.roster import Roster, Serving
    from ..turns import Turns

CHECK_WAIT_S = 30.0
LIST_WAIT_S = 20.0
NOT_HERE = (
    "Several people may use this page, so lanes are changed by whoever runs it: in the lanes file, or here if it is "
    "started with KIMI_UI_EDIT_LANES=1."
)
NOT_YOU = "Lanes are changed by an admin: ask one to do it, or to make you an admin too."


class LaneRoutes:
    """The routes. ``pulls`` fetches missing models; ``private``: several people use the app."""

    def __init__(
        self, roster: Roster, pulls: Pulls, turns: Turns, visible: VisibleTurns, private: bool = False
    ) -> None:
        self._roster = roster
        self._changes = LaneChanges(roster)
        self._private = private
        self._pulls = pulls
        self._turns = turns
        self._visible = visible
        self._checking: dict[str, tuple[object, asyncio.Task[dict[str, Any]]]] = {}  # by lane, with what is checked

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/kimi/lanes", self.lanes),
            Route("/kimi/lanes", self.change, methods=["POST"]),
            Route("/kimi/lanes/models", self.models_of_form, methods=["POST"]),
            Route("/kimi/lanes-file", self.lanes_file),
            Route("/kimi/lanes/{lane}/check", self.check, methods=["POST"]),
            Route("/kimi/pulls", self.pulls),
            Route("/kimi/lanes/{lane}/pull", self.pull, methods=["POST"]),
            Route("/kimi/lanes/{lane}/pull", self.cancel_pull, methods=["DELETE"]),
        ]

    async def lanes(self, request: Request) -> Response:
        """Every lane's current server, the sources of real models, and what can be changed (``_editing``)."""
        return Json(await run_in_threadpool(self._state, self._why_not(request)))

    async def change(self, request: Request) -> Response:
        """Change the lanes file; body ``{version, changes}`` (``lanes_edit``), or ``{version, undo: true}``.

        Answers like ``lanes``. A refusal has a code: ``not_allowed``, ``changed`` (the file has another version) or
        ``mistake``, then with the ``lane`` and the ``key``, where they are known.
        """
        if why_not := self._why_not(request):
            return refusal(why_not, 403, code="not_allowed")
        body = await json_of(request)
        version, changes = body.get("version"), body.get("changes", [])
        if not (isinstance(version, str) and isinstance(changes, list) and all(isinstance(x, dict) for x in changes)):
            raise HTTPException(400)
        try:
            if body.get("undo"):
                await run_in_threadpool(self._changes.undo, version)
            else:
                await run_in_threadpool(self._changes.change, version, changes)
        except FileChanged as error:
            return refusal(str(error), 409, code="changed")
        except LaneMistake as error:
            return refusal(str(error), 422, code="mistake", lane=error.lane, key=error.key, problem=error.problem)
        except ConfigError as error:
            return refusal(str(error), 422, code="mistake")
        return await self.lanes(request)

    async def models_of_form(self, request: Request) -> Response:
        """The models that the provider of a lane in a form lists; body ``{values}`` as in a change."""
        if why_not := self._why_not(request):
            return refusal(why_not, 403, code="not_allowed")
        values = (await json_of(request)).get("values")
        if not isinstance(values, dict):
            raise HTTPException(400)
        try:
            spec = self._changes.lane_of(values)
            async with asyncio.timeout(LIST_WAIT_S):
                return Json({"models": await self._roster.models_for(spec)})
        except LaneMistake as error:
            return refusal(error.problem, 422, code="mistake", key=error.key)
        except ConfigError as error:
            return refusal(str(error), 422, code="mistake")
        except ProviderError as error:
            return refusal(f"{error.failure.message} {error.failure.remedy}".strip(), 502)
        except TimeoutError:
            return refusal("The provider did not send its list of models in time. Try again.", 504)

    def _why_not(self, request: HasState) -> str:
        return why_not(request, self._roster, self._private)

    def _state(self, why_not: str) -> dict[str, Any]:
        self._roster.refresh()
        return {
            "lanes": [self._described(index, *served) for index, served in enumerate(self._roster.served_specs)],
            "sources": sources(self._roster.environment, self._roster.ollama.running),
            "problem": self._roster.problem,
            "lanes_path": _shown(self._roster.lanes_path) if self._roster.lanes_path else "",
            "default_lanes_path": _shown(self._roster.lanes_target),
            "env_path": _shown(Path.cwd() / ".env"),
            "editing": {"not_here": why_not} if why_not else self._editing(),
        }

    def _editing(self) -> dict[str, Any]:
        """What the page needs to change lanes: ``not_here`` is the reason why it cannot, else empty, and then there are
        the file's ``version``, its ``sets``, the set in ``use``, each lane's keys as ``values``, the lanes that are not
        in use (``others``), and the ``fields`` of each provider's lanes."""
        try:
            text = self._changes.read()
            file = self._changes.file(text)
        except ConfigError as error:
            return {"not_here": f"{error} Until then lanes cannot be changed on this page."}
        used = {spec.id for spec in file.in_use}
        return {
            "not_here": "",
            "version": text.version,
            "can_undo": self._changes.can_undo(text.version),
            "sets": [{"name": name, "lanes": lanes} for name, lanes in file.sets.items()],
            "use": file.use,
            "values": {lane: shown(table) for lane, table in self._changes.tables(text, file).items()},
            "others": [{"lane": spec.id, "label": spec.label} for spec in file.lanes if spec.id not in used],
            "fields": {
                name: [field._asdict() for field in fields_of(cls)] for name, cls in registry.lane_classes().items()
            },
        }

    async def lanes_file(self, request: Request) -> Response:
        """The current lanes as text of a lanes file; query ``lane`` and ``model``: with another model in that lane."""
        lane, model = (request.query_params.get(name, "") for name in ("lane", "model"))
        specs = [spec.with_model(model) if spec.id == lane else spec for spec in self._roster.specs]
        return PlainTextResponse(write_lanes(specs), headers={"Cache-Control": "no-store"})

    async def check(self, request: Request) -> Response:
        """Check whether a lane answers; query ``probe=1``: by one tiny request. Who asks for the same check while it
        runs gets its result."""
        lane, probe = request.path_params["lane"], request.query_params.get("probe") == "1"
        if lane not in {spec.id for spec in self._roster.specs}:
            raise HTTPException(404)
        what = (self._roster.specs, probe)
        checked, running = self._checking.get(lane, (None, None))
        if running is None or running.done() or checked != what:
            running = asyncio.create_task(self._checked(lane, probe))
            self._checking[lane] = (what, running)
        return Json(await asyncio.shield(running))

    async def pulls(self, request: Request) -> Response:
        """All pulls, each with the lanes of its server."""
        return Json({"pulls": await run_in_threadpool(self._described_pulls, visitor_of(request))})

    async def pull(self, request: Request) -> Response:
        """Pull the lane's model; query ``turn``: the model that the lane lacked in that turn, and ask it again then.

        Answers like ``pulls``.
        """
        lane, model, question = request.path_params["lane"], "", None
        if turn_id := request.query_params.get("turn", ""):
            owner = visitor_of(request)
            turn = await self._visible.found(turn_id, owner, NEWEST)
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

    def _described_pulls(self, owner: str) -> list[dict[str, Any]]:
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
        except LaneGone:
            return {"ok": False, "problem": "This lane was removed.", "remedy": "Look again.", "command": ""}

    def _described(self, index: int, spec: LaneSpec, serving: Serving) -> dict[str, Any]:
        offer = self._pulls.offer(spec.id)
        return asdict(serving) | {
            "index": index,
            "provider": spec.provider,
            "stand_in_for": spec.stand_in_for,
            "has_models": spec.lists_models,
            "of": spec.of,
            "can_pull": offer.model if offer else "",
            "thinking": thinking(spec),
        }


def why_not(request: HasState, roster: Roster, private: bool) -> str:
    """The reason why this visitor may not change lanes; empty if they may. ``private``: several people use the app."""
    if person := person_of(request):
        return "" if person.is_admin else NOT_YOU
    return "" if not private or roster.settings.may_edit_lanes else NOT_HERE


def why_fixed(spec: LaneSpec, specs: Mapping[str, LaneSpec]) -> str:
    """Why nobody can choose the lane's model or whether it thinks, with the remedy; empty if they can."""
    if spec.of in specs:
        return f"The model is that of the lane {specs[spec.of].label}; choose it there."
    if spec.stand_in_for:
        return f"A stand-in has nothing to choose. To get {spec.stand_in_for}: {spec.how_to_get_real}"
    if not spec.lists_models and not spec.thinking_choices:
        return "The lane's provider has nothing to choose; edit the lane in the Lanes tab."
    return ""


def thinking(spec: LaneSpec) -> list[dict[str, Any]]:
    """The choices of the lane's switch for thinking: label, the lane's keys as ``lanes_form`` writes them, and whether
    it is the lane's own. A stand-in has none."""
    return [
        {
            "label": label,
            "values": {key: "" if value is None else written(value) for key, value in keys.items()},
            "is_chosen": all(
                getattr(spec, key) == ({} if value is None and getattr(spec, key) == {} else value)
                for key, value in keys.items()
            ),
        }
        for label, keys in (() if spec.stand_in_for else spec.thinking_choices)
    ]


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
