"""Who is looking, a random cookie per browser, and what they may see: turns and conversations of the owner it names.

The log keeps a hash of the cookie, so whoever reads the log cannot pose as the visitor. The cookie is only handed out
in answer to a request the page itself makes: it is ``SameSite=Strict``, so a visit that comes in over a link from
elsewhere does not carry it, and answering that visit with a new one would cost the visitor everything of theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..core.blind import told
from ..core.turn import TurnLog
from ..turns import Turns

COOKIE = "kimi_owner"
_YEAR_S = 365 * 24 * 3600
_MIN_CHARS, _MAX_CHARS = 32, 128


class HasCookies(Protocol):
    """A request: Starlette's or Gradio's."""

    @property
    def cookies(self) -> Any: ...


def visitor_of(request: HasCookies) -> str:
    """The owner a request comes from; empty without a cookie (a program that calls the API)."""
    return owner_of(request.cookies)


def owner_of(cookies: Mapping[str, str]) -> str:
    """The owner these cookies name; empty if they name none."""
    value = cookies.get(COOKIE, "")
    if not _MIN_CHARS <= len(value) <= _MAX_CHARS:
        return ""
    return hashlib.sha256(value.encode()).hexdigest()[:32]


def may_read(turn_owner: str, owner: str) -> bool:
    """Turns without an owner were sent from the terminal or by a program: their unguessable id is the key."""
    return turn_owner in ("", owner)


def give_cookie(request: Request, response: Response) -> None:
    """Hand the browser its cookie if it has none."""
    if not visitor_of(request):
        response.set_cookie(
            COOKIE,
            secrets.token_urlsafe(32),
            max_age=_YEAR_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )


class VisibleTurns:
    """What a visitor may see of the turns. What is not theirs is not there: 404."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def turn_of(self, request: Request) -> TurnLog:
        """The visitor's turn the path names, as it may be told; 404 if it is not there."""
        return await asyncio.to_thread(told, await self.own_turn(request))

    async def own_turn(self, request: Request) -> TurnLog:
        """The same as it is, also while it is blind: for what stays on this side."""
        turn = await self.found(request.path_params["turn_id"], visitor_of(request))
        if turn is None:
            raise HTTPException(404)
        return turn

    async def found(self, turn_id: str, owner: str) -> TurnLog | None:
        """The turn, running or stored; None if it is not there or not for this visitor to read."""
        turn = await self._turns.find(turn_id)
        return turn if turn is not None and may_read(turn.owner, owner) else None

    async def conversation(self, conversation_id: str, owner: str, with_entries: bool = True) -> list[TurnLog]:
        """The conversation's turns in order, those this visitor may read."""
        turns = await asyncio.to_thread(self._turns.conversation, conversation_id, with_entries)
        return [turn for turn in turns if may_read(turn.owner, owner)]

    async def own(self, request: Request) -> tuple[str, str]:
        """The conversation the path names, and the visitor whose it is; 404 if it is not theirs."""
        conversation_id, owner = request.path_params["conversation_id"], visitor_of(request)
        if not owner or await asyncio.to_thread(self._turns.owner_of, conversation_id) != owner:
            raise HTTPException(404)
        return conversation_id, owner

    async def asked_for(self, conversation_id: str, owner: str) -> str:
        """The id, if the conversation is this visitor's; 404 if it is another's or not there.

        Nobody's conversation (sent from the terminal) is read-only: a prompt sent from it begins a new one, so the
        answer is the empty id, as for a conversation that has not begun.
        """
        if not conversation_id:
            return ""
        whose = await asyncio.to_thread(self._turns.owner_of, conversation_id)
        if whose not in ("", owner):
            raise HTTPException(404)
        return conversation_id if whose == owner else ""
