"""The page's own routes under ``/kimi/``: what to show, a turn's frames, stopping a lane, pulling a model.

Every turn is checked against its owner (see ``owner``); whatever is not the visitor's is not there: 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ..assets import ASSETS
from ..chat.pulls import Pulls
from ..chat.token_counts import TokenCounts
from ..core.attachments import split
from ..core.blind import told
from ..core.lane import LaneSpec
from ..core.turn import TurnFold, TurnLog
from ..engine import Engine
from ..engine.lane_info import lane_info
from ..view.frames import TurnView, describe_turn, dumps
from .owner import give_cookie, may_read, owner_of
from .stream import TurnStreams, now_ns

if TYPE_CHECKING:
    from ..log.reader import LogReader
    from ..providers.roster import Roster, Serving


class Json(Response):
    media_type = "application/json"

    def __init__(self, value: Any, status_code: int = 200) -> None:
        super().__init__(dumps(value), status_code, {"Cache-Control": "no-store"})


class PageRoutes:
    """The routes over one engine and log. ``reader`` None: only what is in memory can be shown."""

    def __init__(self, engine: Engine, reader: LogReader | None, roster: Roster) -> None:
        self._engine = engine
        self._reader = reader
        self._roster = roster
        self.streams = TurnStreams()
        self.pulls = Pulls(roster)
        self.counts = TokenCounts()

    def routes(self) -> list[BaseRoute]:
        turn = "/kimi/turns/{turn_id}"
        return [
            Route("/kimi/state", self.state),
            Route(f"{turn}/events", self.events),
            Route(f"{turn}/frame", self.frame),
            Route(f"{turn}/lanes/{{lane}}/answer", self.answer),
            Route(f"{turn}/lanes/{{lane}}/stop", self.stop, methods=["POST"]),
            Route("/kimi/lanes/{lane}/pull", self.pull, methods=["GET", "POST"]),
            Mount("/kimi/assets", StaticFiles(directory=ASSETS)),
        ]

    async def state(self, request: Request) -> Response:
        """What the page is to show: the turn or conversation asked for, else the visitor's running turn.

        With ``new`` in the query no turn: the lanes as they are now, for a conversation that begins.
        """
        owner = owner_of(request.cookies)
        await asyncio.to_thread(self._roster.refresh)
        turns: list[TurnLog] = []
        if turn_id := request.query_params.get("turn"):
            shown = await self.found(turn_id, owner)
            turns = await self.conversation(shown.conversation_id, owner, with_entries=False) if shown else []
        elif conversation := request.query_params.get("c"):
            turns = await self.conversation(conversation, owner, with_entries=False)
        elif "new" not in request.query_params and owner and (live := self._engine.live_turns(owner)):
            turns = await self.conversation(live[-1].conversation_id, owner, with_entries=False)
        response = Json(
            {
                "lanes": self._lanes(),
                "conversation": turns[-1].conversation_id if turns else None,
                "turns": await run_in_threadpool(lambda: [self._described(turn) for turn in turns]),
                "notice": self._engine.log.problem if self._engine.log else "",
            }
        )
        give_cookie(request, response)
        return response

    async def events(self, request: Request) -> Response:
        return self.streams.response(request, await self.own_turn(request))

    async def frame(self, request: Request) -> Response:
        """Everything of a turn so far as one frame, for turns that are over."""
        turn = await self.turn_of(request)

        def whole() -> dict[str, Any] | None:
            view = TurnView(turn)
            view.catch_up()
            return view.frame(now_ns(turn))

        return Json(await run_in_threadpool(whole))

    async def answer(self, request: Request) -> Response:
        """A lane's answer as the model wrote it, without its reasoning: of attempt ``attempt``, or the newest."""
        turn = await self.turn_of(request)
        lane = request.path_params["lane"]
        fold = TurnFold.of(turn).apply_all(list(turn.entries))
        attempts = fold.lanes[lane].attempts if lane in fold.lanes else []
        number = request.query_params.get("attempt", "")
        place = int(number) if number.isdecimal() and len(number) < 6 else len(attempts)
        if not 1 <= place <= len(attempts):
            raise HTTPException(404)
        attempt_id = attempts[place - 1]
        return PlainTextResponse(fold.folds[attempt_id].answer.encode(errors="replace"))

    async def stop(self, request: Request) -> Response:
        turn = await self.turn_of(request)
        self._engine.stop(turn.turn_id, request.path_params["lane"])
        return Json({"stopping": True}, 202)

    async def pull(self, request: Request) -> Response:
        """POST begins to fetch the lane's model, GET tells how far it is."""
        spec = next((spec for spec in self._engine.specs if spec.id == request.path_params["lane"]), None)
        pull = None
        if spec is not None:
            pull = self.pulls.start(spec) if request.method == "POST" else self.pulls.state(spec.id)
        if pull is None:
            raise HTTPException(404)
        return Json(asdict(pull))

    def _described(self, turn: TurnLog) -> dict[str, Any]:
        """A turn and, where its prompt has attachments, their tokens. Counts long texts: for a thread."""
        described = describe_turn(told(turn))
        for shown, attachment in zip(described["attachments"], split(turn.prompt).attachments, strict=True):
            shown["tokens"] = self.counts.count(attachment.text)
        return described

    def _lanes(self) -> list[dict[str, Any]]:
        specs = {spec.id: spec for spec in self._engine.specs}
        servings = {serving.lane: serving for serving in self._roster.servings}
        lanes = []
        for spec in specs.values():
            offer = self.pulls.offer(spec) if spec.stand_in_for else None
            lanes.append(
                _describe_lane(spec, specs, servings.get(spec.id)) | {"can_pull": offer.model if offer else ""}
            )
        return lanes

    async def turn_of(self, request: Request) -> TurnLog:
        """The visitor's turn the path names, as it may be told; 404 if it is not there."""
        return await asyncio.to_thread(told, await self.own_turn(request))

    async def own_turn(self, request: Request) -> TurnLog:
        """The same as it is, also while it is blind: for what stays on this side."""
        turn = await self.found(request.path_params["turn_id"], owner_of(request.cookies))
        if turn is None:
            raise HTTPException(404)
        return turn

    async def found(self, turn_id: str, owner: str) -> TurnLog | None:
        """The turn, running or stored; None if it is not there or not for this visitor to read."""
        turn = self._engine.turn(turn_id)
        if turn is None and self._reader is not None:
            turn = await asyncio.to_thread(self._reader.turn, turn_id)
        return turn if turn is not None and may_read(turn.owner, owner) else None

    async def conversation(self, conversation_id: str, owner: str, with_entries: bool = True) -> list[TurnLog]:
        """The conversation's turns in order; memory is newer than the log."""
        turns: dict[int, TurnLog] = {}
        if self._reader is not None:
            stored = await asyncio.to_thread(self._reader.conversation, conversation_id, with_entries)
            turns = {turn.seq: turn for turn in stored}
        turns |= {turn.seq: turn for turn in self._engine.recent_turns(conversation_id)}
        return [turns[seq] for seq in sorted(turns) if may_read(turns[seq].owner, owner)]


def _describe_lane(spec: LaneSpec, specs: Mapping[str, LaneSpec], serving: Serving | None) -> dict[str, Any]:
    """A configured lane as the page shows it at rest. ``served_by`` and ``why``: what serves it, if known."""
    inner = specs.get(spec.of, spec)
    host = urlsplit(spec.base_url or inner.base_url).hostname
    price = spec.price or inner.price
    return {
        **asdict(lane_info(spec, specs)),
        "served_by": serving.via if serving else " · ".join(part for part in (inner.provider, host) if part),
        "why": " ".join(part for part in (serving.why, serving.why_not_better) if part) if serving else "",
        "why_not": serving.why_not_better if serving else "",
        "price": asdict(price) if price else None,
    }
