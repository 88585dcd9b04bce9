"""Share links: read-only pages of a conversation, or of one turn, for whoever has the link, also without a password.

``/share/TOKEN`` answers with the HTML export, made from the log at the time of the request. All that shows nothing
(unknown, revoked, over, deleted, no turn that may be shown) has the same answer, so that it says nothing about what
there was. Turns that are running, and blind ones whose vote is still to come, are left out, with a sentence.

Only the owner of a conversation makes, lists and revokes its links. Those of a person with an account show nothing once
the person may not sign in any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from ..core.blind import is_blind
from ..core.owner import PERSON
from ..core.title import title_of
from ..core.turn import TurnLog
from ..log.conversations import ConversationGone, head_of
from ..log.shares import ShareLink, ShareLog
from ..turns import Turns
from ..view.export_page import page_of
from ..view.jinja import render
from .respond import Json, json_of, refusal
from .visitor import VisibleTurns, visitor_of

SHARE = "/share/"
DAYS = (1, 7, 30)
MADE_AT_ONCE = 2  # pages: anybody may request them, and a long conversation takes seconds
BLIND = "This turn is blind: vote first, or show its names. Then it can be shared."
RUNNING = "This is still running. Wait for it, or stop it; then it can be shared."
NOT_YOURS = "This conversation cannot be shared: it was deleted, or it is not yours."

_HEADERS = {"X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


class ShareRoutes:
    """The routes over the turns of one log. ``may_act``: whether an owner may still use the app."""

    def __init__(
        self, turns: Turns, visible: VisibleTurns, may_act: Callable[[str], bool] = lambda owner: True
    ) -> None:
        self._turns = turns
        self._visible = visible
        self._may_act = may_act
        self._links = ShareLog(turns.writer, turns.reader)
        self._making = asyncio.Semaphore(MADE_AT_ONCE)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/kimi/shares", self.listed),
            Route("/kimi/shares", self.make, methods=["POST"]),
            Route("/kimi/shares/{link_id}", self.revoke, methods=["DELETE"]),
            # All below it, by any method, so that no other route is open without a password.
            Mount(SHARE.rstrip("/"), routes=[Route("/{token:path}", self.shown)]),
        ]

    async def listed(self, request: Request) -> Response:
        """The links to the conversation ``conversation`` of the query and to its turns, newest first."""
        conversation_id = request.query_params.get("conversation", "")
        await self._visible.check_own(conversation_id, visitor_of(request))
        links = await asyncio.to_thread(self._links.of_conversation, conversation_id)
        turns = await asyncio.to_thread(self._turns.conversation, conversation_id, False)
        numbers = {turn.turn_id: turn.seq + 1 for turn in turns}
        return Json({"links": [_described(link, numbers) for link in links]})

    async def make(self, request: Request) -> Response:
        """Body: ``{conversation, turn, reasoning, days}``; ``turn`` empty: the whole conversation, ``days`` one of
        ``DAYS``. The answer's ``path`` is the only copy of the link."""
        body, owner = await json_of(request), visitor_of(request)
        conversation_id, turn_id = str(body.get("conversation") or ""), str(body.get("turn") or "")
        if body.get("days") not in DAYS:
            return refusal(f"A link ends after one of: {', '.join(map(str, DAYS))} days.", 422)
        try:
            await self._visible.check_own(conversation_id, owner)
            turns = await self._visible.conversation(conversation_id, owner, with_entries=False)
            chosen = [turn for turn in turns if turn_id in ("", turn.turn_id)]
            if not chosen:
                raise HTTPException(404)
            if any(map(is_blind, chosen)):
                return refusal(BLIND, 409)
            if not all(turn.closed for turn in chosen):
                return refusal(RUNNING, 409)
            reasoning = body.get("reasoning") is True
            link, token = await asyncio.to_thread(self._links.make, conversation_id, turn_id, reasoning, body["days"])
        except (HTTPException, ConversationGone):
            return refusal(NOT_YOURS, 404)
        numbers = {turn.turn_id: turn.seq + 1 for turn in chosen}
        return Json({**_described(link, numbers), "path": SHARE + token}, 201)

    async def revoke(self, request: Request) -> Response:
        link = await asyncio.to_thread(self._links.of_id, request.path_params["link_id"])
        if link is None:
            raise HTTPException(404)
        await self._visible.check_own(link.conversation_id, visitor_of(request))
        await asyncio.to_thread(self._links.revoke, link.link_id)
        return Json({})

    async def shown(self, request: Request) -> Response:
        link = await asyncio.to_thread(self._links.of_token, request.path_params["token"])
        page = None
        if link is not None:
            async with self._making:
                page = await asyncio.to_thread(self._page, link)
        if page is None:
            return HTMLResponse(render("share_gone"), 404, _HEADERS)
        return HTMLResponse(page.encode(errors="replace"), headers=_HEADERS)

    def _page(self, link: ShareLink) -> str | None:
        """What the link shows now; None if that is nothing. Blocks, so call it on a thread."""
        owner = self._turns.owner_of(link.conversation_id)
        if owner is None or (owner.startswith(PERSON) and not self._may_act(owner)):
            return None
        turns = [
            turn
            for turn in self._turns.conversation(link.conversation_id, with_entries=not link.turn_id)
            if link.turn_id in ("", turn.turn_id)
        ]
        if link.turn_id:
            turns = [whole for turn in turns if (whole := self._turns.get(turn.turn_id))]
        shown = [turn for turn in turns if turn.closed and not is_blind(turn)]
        if not shown:
            return None
        note = _note(link, n_left_out=len(turns) - len(shown))
        return page_of(shown, self._title(link, shown), reasoning=link.reasoning, note=note)

    def _title(self, link: ShareLink, turns: list[TurnLog]) -> str:
        head = None if link.turn_id else head_of(self._turns.reader, link.conversation_id)
        return head.title if head else title_of(turns[0].prompt, turns[0].images)


def _note(link: ShareLink, n_left_out: int) -> str:
    ends = datetime.fromisoformat(link.ends_at_utc).strftime("%Y-%m-%d %H:%M UTC")
    note = f"Shared from Kimi UI{'' if link.reasoning else ' without the reasoning'}. The link ends on {ends}."
    if n_left_out:
        turns = "1 turn is" if n_left_out == 1 else f"{n_left_out} turns are"
        note += f" {turns} left out: still running, or blind and without a vote."
    return note


def _described(link: ShareLink, numbers: dict[str, int]) -> dict[str, Any]:
    """``turn_number``: of a turn, from 1; null for the conversation, or if the turn is not there any more."""
    return {
        "id": link.link_id,
        "turn": link.turn_id,
        "turn_number": numbers.get(link.turn_id),
        "reasoning": link.reasoning,
        "made_at_utc": link.made_at_utc,
        "ends_at_utc": link.ends_at_utc,
    }
