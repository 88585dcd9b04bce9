"""Visitors, and the turns and conversations that they may see.

Without a password every visitor is the machine's user (``OnePerson``). With one, a visitor is a browser, which has a
random cookie. With accounts a visitor is a person (``web.accounts``). ``visitor_of`` says which it is.

The log keeps a hash of the cookie, so that a reader of the log cannot impersonate the visitor. The cookie is
``SameSite=Strict``, so a visit through a link on another site does not send it. A new cookie in the response would then
replace the visitor's own, so the cookie is only set in responses to requests that the page itself makes.
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
from starlette.types import ASGIApp, Receive, Scope, Send

from ..core.blind import visible
from ..core.owner import LOCAL, Person, may_change, may_read
from ..core.turn import Pick, TurnLog
from ..turns import Turns

COOKIE = "kimi_owner"
_VISITOR = "kimi_visitor"  # in a request's state: the owner, set by ``as_visitor``
_PERSON = "kimi_person"  # and the person with an account, if it is one
_YEAR_S = 365 * 24 * 3600
_MIN_CHARS, _MAX_CHARS = 32, 128


class HasState(Protocol):
    """A request: Starlette's or Gradio's."""

    @property
    def cookies(self) -> Any: ...

    @property
    def state(self) -> Any: ...


class OnePerson:
    """ASGI middleware for an app without a password: every request is sent by the machine's user."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(as_visitor(scope, LOCAL) if scope["type"] == "http" else scope, receive, send)


def as_visitor(scope: Scope, visitor: str, person: Person | None = None) -> Scope:
    """The scope of a request that this visitor sends, who may be a person with an account."""
    return {**scope, "state": {**scope.get("state", {}), _VISITOR: visitor, _PERSON: person}}


def sent_by(scope: Scope, person: Person) -> Scope:
    """The scope of a request that this person sends."""
    return as_visitor(scope, person.owner, person)


def person_of(request: HasState) -> Person | None:
    """The person with an account that sent a request; None where there are no accounts."""
    found: Person | None = getattr(request.state, _PERSON, None)
    return found


def visitor_of(request: HasState) -> str:
    """The owner that sent a request; empty for a browser or program without a cookie where there is a password."""
    return getattr(request.state, _VISITOR, "") or owner_of(request.cookies)


def scope_of(request: HasState, private: bool) -> str | None:
    """Whose figures the visitor may see; None: everybody's. ``private``: several people use this app."""
    person = person_of(request)
    return None if not private or (person and person.is_admin) else visitor_of(request)


def owner_of(cookies: Mapping[str, str]) -> str:
    """The owner for these cookies; empty without a valid cookie."""
    value = cookies.get(COOKIE, "")
    if not _MIN_CHARS <= len(value) <= _MAX_CHARS:
        return ""
    return hashlib.sha256(value.encode()).hexdigest()[:32]


def give_cookie(request: Request, response: Response) -> None:
    """Set the browser's cookie if it needs one and has none."""
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
    """The turns that a visitor may see. Others answer 404."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def turn_of(self, request: Request, pick: Pick | None = None) -> TurnLog:
        """The visitor's turn named by the path, as a ``BlindView`` while it is blind; 404 if there is none."""
        return await asyncio.to_thread(visible, await self.own_turn(request, pick))

    async def own_turn(self, request: Request, pick: Pick | None = None, *, with_entries: bool = True) -> TurnLog:
        """The same turn without the ``BlindView``, for use on the server only. The options as for ``Turns.find``."""
        found = await self.found(request.path_params["turn_id"], visitor_of(request), pick, with_entries=with_entries)
        if found is None:
            raise HTTPException(404)
        return found

    async def found(
        self, turn_id: str, owner: str, pick: Pick | None = None, *, with_entries: bool = True
    ) -> TurnLog | None:
        """The turn, running or stored; None if it does not exist or this visitor may not read it."""
        turn = await self._turns.find(turn_id, pick, with_entries=with_entries)
        if turn is None or not may_read(turn.owner, owner):
            return None
        if turn.closed and await asyncio.to_thread(self._turns.is_deleted, turn.conversation_id):
            return None
        return turn

    async def conversation(self, conversation_id: str, owner: str, with_entries: bool = True) -> list[TurnLog]:
        """The conversation's turns that this visitor may read, in order; none of a deleted conversation."""
        if await asyncio.to_thread(self._turns.owner_of, conversation_id) is None:
            return []
        turns = await asyncio.to_thread(self._turns.conversation, conversation_id, with_entries)
        return [turn for turn in turns if may_read(turn.owner, owner)]

    async def own(self, request: Request) -> tuple[str, str]:
        """The conversation named by the path, and its visitor; 404 if it is not the visitor's."""
        conversation_id, owner = request.path_params["conversation_id"], visitor_of(request)
        await self.check_own(conversation_id, owner)
        return conversation_id, owner

    async def check_own(self, conversation_id: str, owner: str) -> None:
        """404 if the conversation is not this visitor's."""
        whose = await asyncio.to_thread(self._turns.owner_of, conversation_id)
        if not owner or whose is None or not may_change(whose, owner):
            raise HTTPException(404)

    async def requested_conversation(self, conversation_id: str, owner: str) -> str:
        """The id, if the conversation is this visitor's; 404 if it is another's or does not exist.

        To a browser with its own turns, a conversation of a program is read-only: a prompt sent from it begins a new
        one, so the result is the empty id, as for a conversation that has not begun.
        """
        if not conversation_id:
            return ""
        whose = await asyncio.to_thread(self._turns.owner_of, conversation_id)
        if whose is None or not may_read(whose, owner):
            raise HTTPException(404)
        return conversation_id if may_change(whose, owner) else ""
