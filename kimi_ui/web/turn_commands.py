"""Routes of a turn's commands: send, stop, retry, edit, vote and promote (make a lane's reasoning its answer).

While a turn is blind, requests name its lanes by slot (see ``core.blind``), and the server maps slots to lanes. A
refused command is answered with ``{"error": sentence}`` and, if the page can act on it, a ``code``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .. import utc
from ..chat.prompt_queue import NotQueued, QueueFull
from ..chat.prompts import Busy, LanesBusy, NothingToSend, Prompt
from ..chat.services import ChatServices
from ..chat.spending import OverBudget
from ..core.attachments import AttachmentError, pages_of, split
from ..core.blind import is_blind, slot_names
from ..core.heavy.options import OptionError
from ..core.images import Image
from ..core.owner import may_change
from ..core.turn import TurnLog, promotion
from ..core.vote import NONE, Vote
from ..engine import (
    Engine,
    EngineClosed,
    EngineDraining,
    LaneBusy,
    NoAnswers,
    NotCut,
    ShutOut,
    UnknownLane,
    UnknownTurn,
)
from ..log.queued_prompts import QueuedPrompt
from ..log.votes import vote_op
from ..turns import Turns
from ..view.frames import TurnView, describe_turn
from .feed import now_ns
from .page_state import PageState
from .respond import Json, json_of, refusal
from .visitor import VisibleTurns, visitor_of

NOT_YOURS = "This turn was sent by the command line or a program, so you can only read it. Send its prompt as your own."
BENCHMARKED = "This turn is part of a benchmark, whose answers stay as they are. Send the prompt from the chat instead."
GONE = "This turn is no longer here."


REFUSALS: dict[type[Exception], tuple[int, str]] = {
    NothingToSend: (422, "nothing_to_send"),
    AttachmentError: (422, "attachment"),
    OverBudget: (409, "over_budget"),
    Busy: (409, "busy"),
    LanesBusy: (409, "busy"),
    QueueFull: (409, "queue_full"),
    NotQueued: (404, "not_queued"),
    LaneBusy: (409, "busy"),
    UnknownLane: (409, "unknown_lane"),
    UnknownTurn: (404, "unknown_turn"),
    NoAnswers: (409, "no_answers"),
    NotCut: (409, "not_cut"),
    OptionError: (422, "option"),
    EngineClosed: (503, "closing"),
    EngineDraining: (503, "draining"),
    ShutOut: (401, "signed_out"),
}
"""Status and code of the response for each reason not to send a prompt or a retry."""
REFUSED = tuple(REFUSALS)


class TurnCommandRoutes:
    """The commands of one engine and its turns."""

    def __init__(
        self, engine: Engine, turns: Turns, chat: ChatServices, state: PageState, visible: VisibleTurns
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._chat = chat
        self._state = state
        self._visible = visible

    def routes(self) -> list[BaseRoute]:
        turn = "/kimi/turns/{turn_id}"
        lane = f"{turn}/lanes/{{lane}}"
        return [
            Route("/kimi/turns", self.send, methods=["POST"]),
            Route(f"{turn}/stop", self.stop, methods=["POST"]),
            Route(f"{turn}/edit", self.edit, methods=["POST"]),
            Route(f"{turn}/vote", self.vote, methods=["POST"]),
            Route(f"{lane}/stop", self.stop, methods=["POST"]),
            Route(f"{lane}/trajectories/{{k:int}}/stop", self.stop, methods=["POST"]),
            Route(f"{lane}/retry", self.retry, methods=["POST"]),
            Route(f"{lane}/continue", self.go_on, methods=["POST"]),
            Route(f"{lane}/aggregate", self.aggregate, methods=["POST"]),
            Route(f"{lane}/promote", self.promote, methods=["POST"]),
        ]

    async def send(self, request: Request) -> Response:
        """Send a prompt; body: see ``chat.prompts.Prompt``. Answers like ``/kimi/state``, with the new turn only; or if
        it was queued, with 202 and the conversation's ``queue`` only.

        A prompt that would exceed a budget is refused with the code ``over_budget``; if the user confirms, the page
        repeats the request with ``over_budget``.
        """
        prompt = Prompt.read(await json_of(request))
        try:
            sent = await run_in_threadpool(self._chat.queue.send, prompt, visitor_of(request))
        except REFUSED as error:
            return refused(error)
        if isinstance(sent, QueuedPrompt):
            queue = await run_in_threadpool(self._state.queue, sent.conversation_id)
            return Json({"conversation": sent.conversation_id, "queue": queue}, 202)
        return Json(await run_in_threadpool(self._state.of, [sent], request), 201)

    async def stop(self, request: Request) -> Response:
        """Stop all lanes of a turn, or the lane or the trajectory named by the path. To stop all holds what is queued
        behind them."""
        turn = await self._visible.own_turn(request, with_entries=False)
        if not request.path_params.get("lane"):
            await run_in_threadpool(self._chat.queue.hold, turn.conversation_id)
        self._engine.stop(turn.turn_id, request.path_params.get("lane"), request.path_params.get("k"))
        return Json({"stopping": True}, 202)

    async def retry(self, request: Request) -> Response:
        """Send the prompt to a lane again; ``offered=yes`` in the query: with the parameters that its failure offers.

        A retry that would exceed a budget is refused with the code ``over_budget``; if the user confirms, the page
        repeats the request with ``over_budget=yes``.
        """
        as_offered = request.query_params.get("offered") == "yes"
        return await self._again(request, partial(self._chat.prompts.retry, as_offered=as_offered))

    async def go_on(self, request: Request) -> Response:
        """Ask a lane to go on with its answer, which was cut. Budgets: as ``retry``."""
        return await self._again(request, self._chat.prompts.go_on)

    async def aggregate(self, request: Request) -> Response:
        """Aggregate a heavy lane's answers again; body ``{strategy}``. Budgets: as ``retry``."""
        strategy = str((await json_of(request)).get("strategy") or "")
        return await self._again(request, partial(self._chat.prompts.aggregate, strategy=strategy))

    async def _again(self, request: Request, send: Callable[[TurnLog, str, str, bool], None]) -> Response:
        """A further attempt of one lane; ``send`` takes the turn, the lane, the visitor, and whether a budget may be
        exceeded."""
        owner = visitor_of(request)
        turn = await self._visible.found(request.path_params["turn_id"], owner)
        if turn is None:
            return refusal(GONE, 404)
        if not may_change(turn.owner, owner):
            return refusal(NOT_YOURS, 409)
        if turn.kind != "chat":
            return refusal(BENCHMARKED, 409)
        confirmed = request.query_params.get("over_budget") == "yes"
        try:
            await run_in_threadpool(send, turn, request.path_params["lane"], owner, confirmed)
        except REFUSED as error:
            return refused(error)
        return Json({}, 202)

    async def edit(self, request: Request) -> Response:
        """Return a sent prompt for editing: its text, and its attachments as new uploads (as ``/kimi/attachments``
        answers)."""
        turn = await self._visible.turn_of(request)
        found = await run_in_threadpool(editable, self._chat, turn.prompt, visitor_of(request), turn.images)
        return Json({**found, "seq": turn.seq, "basis": turn.basis})

    async def vote(self, request: Request) -> Response:
        """Body ``{choice, lane}``, see ``core.vote``. Answers with the turn as it may be shown from now on.

        ``choice`` none withdraws a vote; it reveals a blind turn without one.
        """
        body = await json_of(request)
        turn = await self._visible.own_turn(request, with_entries=False)
        blind = is_blind(turn)
        choice, lane = str(body.get("choice") or ""), str(body.get("lane") or "")
        if blind and choice != NONE and not turn.closed:
            return refusal("The answers are not shown yet: vote once they are.", 409)
        try:
            vote = Vote(
                choice=choice,
                lane=slot_names(turn).get(lane, "") if blind else lane,
                field=await asyncio.to_thread(self._answered, turn) if choice != NONE else (),
                blind=blind,
                speed_visible=not blind,
                voted_at_utc=utc.now_text(),
            )
        except ValueError as error:
            return refusal(str(error), 422)
        await asyncio.wrap_future(self._turns.writer.write([vote_op(turn.turn_id, vote)]))
        turn.vote = vote
        return Json(describe_turn(turn))

    def _answered(self, turn: TurnLog) -> tuple[str, ...]:
        """The lanes that have an answer so far, their newest attempt's."""
        newest = {head.lane: head.attempt_id for head in self._turns.heads(turn) if not head.parent_id}
        answers = self._turns.answers(turn, newest.values())
        return tuple(info.id for info in turn.lanes if answers.get(newest.get(info.id, ""), "").strip())

    async def promote(self, request: Request) -> Response:
        """Make the lane's reasoning its answer (see ``core.events.Promoted``). Answers with the lane's changes, as a
        frame's part."""
        turn = await self._visible.own_turn(request)
        lane, n_known = request.path_params["lane"], len(turn.entries)
        entry = None if is_blind(turn) else await asyncio.to_thread(promotion, turn, lane)
        if entry is None:
            return refusal("There is no reasoning here that could be shown as the answer. Reload the page.", 409)
        self._turns.add(turn, entry)

        def news() -> dict[str, Any]:
            view = TurnView(turn)
            view.resume(n_known)
            view.catch_up()
            frame = view.frame(now_ns(turn))
            part: dict[str, Any] = frame["lanes"][lane] if frame else {}
            return part

        return Json(await asyncio.to_thread(news))


def editable(chat: ChatServices, prompt: str, owner: str, images: Sequence[Image] = ()) -> dict[str, Any]:
    """A whole prompt for the composer, as JSON: its ``text``, and its ``attachments`` as new uploads."""
    parts = split(prompt)
    attachments = [chat.upload(owner, one, pages_of(one)) for one in parts.attachments]
    attachments += [chat.upload(owner, one, one.size_words) for one in images]
    return {"text": parts.text, "attachments": attachments}


def refused(error: Exception) -> Response:
    """The response for one of ``REFUSALS``."""
    status, code = REFUSALS[type(error)]
    return refusal(str(error), status, code=code)
