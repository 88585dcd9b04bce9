"""Routes that read turns: the page's state, a turn's stream and frames, its texts, the comparison of its answers.

Turns of other visitors answer 404 (see ``visitor``). The commands of a turn are in ``turn_commands``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..chat.estimates import Estimates
from ..core.attachments import split
from ..core.blind import is_blind
from ..core.markdown import render
from ..core.markdown.safe import clean_text
from ..core.turn import NEWEST, Pick, TurnLog
from ..turns import Turns
from ..view.attempt_history import attempt_part
from ..view.comparison import Source, comparison_part, places_of, sources_of
from ..view.frames import TurnView
from ..view.heavy_worth import expectation, worth_of
from .feed import now_ns
from .page_state import PageState
from .respond import Json, image_file, plain_text
from .stream import TurnStreams
from .visitor import VisibleTurns, give_cookie, visitor_of

if TYPE_CHECKING:
    from ..providers.roster import Roster


class TurnRoutes:
    """Routes that read turns and the roster's lanes."""

    def __init__(
        self, turns: Turns, roster: Roster, state: PageState, visible: VisibleTurns, estimates: Estimates
    ) -> None:
        self._turns = turns
        self._estimates = estimates
        self._roster = roster
        self._state = state
        self._visible = visible
        self.streams = TurnStreams(state.notice)

    def routes(self) -> list[BaseRoute]:
        turn = "/kimi/turns/{turn_id}"
        lane = f"{turn}/lanes/{{lane}}"
        return [
            Route("/kimi/state", self.state),
            Route("/kimi/notice", self.notice),
            Route(f"{turn}/events", self.events),
            Route(f"{turn}/frame", self.frame),
            Route(f"{turn}/prompt", self.prompt),
            Route(f"{turn}/attachments/{{place:int}}", self.attachment),
            Route(f"{turn}/images/{{place:int}}", self.image),
            Route(f"{turn}/answers", self.answers),
            Route(f"{turn}/diff", self.diff),
            Route(f"{turn}/worth", self.worth),
            Route(f"{lane}/answer", self.answer),
            Route(f"{lane}/attempts/{{number:int}}", self.attempt),
            Route(f"{turn}/attempts/{{attempt_id}}/reasoning", self.reasoning),
            Route(f"{turn}/attempts/{{attempt_id}}/rendered", self.rendered),
        ]

    async def state(self, request: Request) -> Response:
        """The page's state: the requested turn or conversation, otherwise the visitor's running turn.

        With ``new`` in the query it has no turn, only the current lanes, for a new conversation.
        """
        owner = visitor_of(request)
        await asyncio.to_thread(self._roster.refresh)
        turns: list[TurnLog] = []
        if turn_id := request.query_params.get("turn"):
            shown = await self._visible.found(turn_id, owner, with_entries=False)
            turns = await self._visible.conversation(shown.conversation_id, owner, with_entries=False) if shown else []
        elif conversation := request.query_params.get("c"):
            turns = await self._visible.conversation(conversation, owner, with_entries=False)
        elif "new" not in request.query_params and owner and (live := self._turns.live(owner, "chat")):
            turns = await self._visible.conversation(live[-1].conversation_id, owner, with_entries=False)
        response = Json(await run_in_threadpool(self._state.of, turns, request))
        give_cookie(request, response)
        return response

    async def notice(self, request: Request) -> Response:
        """``{notice}`` as in the page's state: a page that shows one asks whether it is still true."""
        return Json({"notice": self._state.notice()})

    async def events(self, request: Request) -> Response:
        return self.streams.response(request, await self._visible.own_turn(request, NEWEST))

    async def frame(self, request: Request) -> Response:
        """The whole turn as one frame, for turns that have ended; without long texts, which ``reasoning`` and
        ``rendered`` have."""
        turn = await self._visible.turn_of(request, NEWEST)

        def whole() -> dict[str, Any] | None:
            view = TurnView(turn, later=True)
            view.catch_up()
            return view.frame(now_ns(turn))

        return Json(await run_in_threadpool(whole))

    async def answer(self, request: Request) -> Response:
        """A lane's answer as the model wrote it, of attempt number ``attempt`` or of the newest."""
        turn = await self._turn_of_answers(request)
        heads = await asyncio.to_thread(self._turns.heads, turn)
        lane, number = request.path_params["lane"], request.query_params.get("attempt", "")
        tries = [head.attempt_id for head in heads if head.lane == lane and not head.parent_id]
        is_numbered = number.isdecimal() and len(number) < 6 and not is_blind(turn)
        place = int(number) if is_numbered else len(tries)
        if not 1 <= place <= len(tries):
            raise HTTPException(404)
        chosen = tries[place - 1]
        answers = await asyncio.to_thread(self._turns.answers, turn, [chosen])
        return plain_text(answers.get(chosen, ""))

    async def prompt(self, request: Request) -> Response:
        """The whole prompt as it was sent, attachments included."""
        return plain_text((await self._visible.own_turn(request, with_entries=False)).prompt)

    async def attachment(self, request: Request) -> Response:
        """The text of one attachment of a sent prompt."""
        turn = await self._visible.own_turn(request, with_entries=False)
        attachments = split(turn.prompt).attachments
        place = request.path_params["place"]
        if place >= len(attachments):
            raise HTTPException(404)
        return plain_text(attachments[place].text)

    async def image(self, request: Request) -> Response:
        """An image of a sent prompt."""
        turn = await self._visible.own_turn(request, with_entries=False)
        for image in turn.images[request.path_params["place"] :][:1]:
            data = await asyncio.to_thread(self._turns.image, image.sha256)
            if data is not None:
                return image_file(data, image.media_type)
        raise HTTPException(404)

    async def attempt(self, request: Request) -> Response:
        """One of a lane's attempts by its number from 1, as a frame's part of the lane; without long texts."""
        lane, number = request.path_params["lane"], request.path_params["number"]
        turn = await self._visible.turn_of(request, Pick(lane, number))
        part = await asyncio.to_thread(partial(attempt_part, turn, lane, number, later=True))
        if part is None:
            raise HTTPException(404)
        return Json(part)

    async def reasoning(self, request: Request) -> Response:
        """The reasoning of an attempt that has ended, as the page shows it."""
        reasoning, _ = await self._texts(request)
        return Json(clean_text(reasoning))

    async def rendered(self, request: Request) -> Response:
        """The answer of an attempt that has ended, as HTML."""
        _, answer = await self._texts(request)
        return Json(await asyncio.to_thread(render, answer))

    async def _texts(self, request: Request) -> tuple[str, str]:
        """The reasoning and answer of the attempt named by the path; 404 if there is none, or while it is blind."""
        turn = await self._visible.own_turn(request, with_entries=False)
        texts = None
        if not is_blind(turn):
            texts = await asyncio.to_thread(self._turns.texts, turn, request.path_params["attempt_id"])
        if texts is None:
            raise HTTPException(404)
        return texts

    async def answers(self, request: Request) -> Response:
        """The answers that can be compared so far, of lanes, trajectories and earlier attempts."""
        turn = await self._turn_of_answers(request)
        return Json(await asyncio.to_thread(lambda: [source.part() for source in self._sources(turn)]))

    async def diff(self, request: Request) -> Response:
        """``?left=…&right=…``, two ids from ``answers``, side by side."""
        turn = await self._turn_of_answers(request)
        chosen = [request.query_params.get(side, "") for side in ("left", "right")]
        found = {source.id: source for source in await asyncio.to_thread(self._sources, turn, chosen)}
        try:
            left, right = (found[id] for id in chosen)
        except KeyError:
            raise HTTPException(404) from None
        return Json(await asyncio.to_thread(comparison_part, left, right))

    async def _turn_of_answers(self, request: Request) -> TurnLog:
        """The turn of the path: from the log without entries, but as a ``BlindView`` while it is blind."""
        turn = await self._visible.own_turn(request, with_entries=False)
        return await self._visible.turn_of(request, NEWEST) if is_blind(turn) else turn

    def _sources(self, turn: TurnLog, ids: Sequence[str] | None = None) -> list[Source]:
        """The answers that can be compared, or those with these ids. Only these are read from the log."""
        places = places_of(turn.lanes, self._turns.heads(turn))
        places = [place for place in places if ids is None or place.id in ids]
        return sources_of(places, self._turns.answers(turn, [place.attempt_id for place in places]))

    async def worth(self, request: Request) -> Response:
        """Heavy lanes beside the single answer of the same model, in words, and beside what the log before made one
        expect; see ``view.heavy_worth``. Empty for a turn that is not here: a page also shows examples, and turns that
        another tab has just deleted."""
        try:
            turn = await self._visible.turn_of(request, NEWEST)
        except HTTPException:
            return Json([])

        def compared() -> list[dict[str, Any]]:
            found = []
            for one in worth_of(turn):
                expected = self._estimates.expected(turn, one.lane, one.preset)
                sentence = expectation(expected, one.took) if expected else ""
                found.append({**one._asdict(), "judged": [*one.judged, *filter(None, [sentence])]})
            return found

        return Json(await asyncio.to_thread(compared))
