"""Several replicas behind one address: who carries out a request.

Any replica serves any page, stream and export. What a process keeps of a visitor (drafts, uploads, queued prompts, the
lock of the budget, the numbers of a conversation's turns) is in one replica at a time, the visitor's home: the first
that got a request of theirs, until an hour after the last one, or until it ends. A request that needs it, and each that
changes something, is carried out there; what is done to a running turn, by the replica that runs it. A session of
Gradio (the controls of the Stats tab, the named endpoints) begins at home and goes on where it began. The
others pass such requests on over the bus and wait for the answer for a bounded time. If the home has died, what only
reads is asked of the next one. Programs without a visitor have one home together, so that one lock guards their budget.

While the bus is away each replica carries out what it gets, except what concerns a turn of another one.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..bus.inbox import Asker, NoAnswer
from ..bus.wire import Command, Piece
from ..core.owner import Person
from ..turns import LOOK_S, Turns
from .respond import refusal
from .visitor import as_visitor, person_of, visitor_of

if TYPE_CHECKING:
    from ..bus.bus import Bus

AT_HOME = re.compile(
    r"""
    GET\ /kimi/(state|settings|budget|spent|blind|images|benchmark(/progress)?|attachments/.*)
    | GET\ /kimi/conversations/[^/]+/queue
    | POST\ /kimi/(turns(/.*)?|estimate|attachments|benchmark/.*|conversations/.+)
    | PUT\ /kimi/(budget|settings|conversations/.*)
    | DELETE\ /kimi/(attachments|conversations)/.*
    """,
    re.VERBOSE,
)
OF_A_TURN = re.compile(r"POST /kimi/turns/([^/]+)/.*")
OF_A_CALL = re.compile(r"(GET|POST) /gradio_api/call/.+")  # a named endpoint by two requests, which name no session
OF_A_SESSION = re.compile(r"(POST /gradio_api/(queue/join|cancel|reset)|GET /gradio_api/queue/data)/?")
NOT_PASSED_ON = ("cookie", "authorization")  # the visitor is sent beside the headers

ALONE = (
    "This turn runs in another server process, which cannot be reached now. It goes on and is stored. Try again once "
    "the line above the answers is gone."
)
NO_ANSWER = (
    "The server process that keeps your conversations did not answer. Look whether it was done before you try again."
)


class Replicas:
    """ASGI middleware, inside all that finds out who the visitor is."""

    def __init__(self, app: ASGIApp, bus: Bus, turns: Turns) -> None:
        self._app = app
        self._bus = bus
        self._turns = turns
        bus.answer_with(self._carry_out)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        call, visitor = f"{request.method} {path}", visitor_of(request)
        is_at_home = bool((visitor and AT_HOME.fullmatch(call)) or OF_A_CALL.fullmatch(call))
        if is_at_home:
            replica = await self._runs(call) or await self._bus.home(visitor)
        elif OF_A_SESSION.fullmatch(call) and (session := await _session(request)):
            replica, receive = await self._bus.place_of(session, visitor), _again(await request.body(), receive)
        else:
            replica = self._bus.me
        if replica == self._bus.me:
            await self._here(scope, receive, send)
        elif self._bus.is_away:
            await refusal(ALONE, 503, code="bus_away")(scope, receive, send)
        elif not await self._elsewhere(replica, request, visitor, send):
            if is_at_home and request.method == "GET":  # if its home has died, it has another by now
                replica = await self._bus.home(visitor)
                if replica == self._bus.me:
                    return await self._here(scope, receive, send)
                if await self._elsewhere(replica, request, visitor, send):
                    return
            await refusal(NO_ANSWER, 503, code="no_answer")(scope, receive, send)

    async def _runs(self, call: str) -> str:
        """The other replica that runs the turn which the call concerns; empty if there is none."""
        found = OF_A_TURN.fullmatch(call)
        if found is None:
            return ""
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(self._bus.look(found[1])), LOOK_S)
        return self._turns.runs_elsewhere(found[1])

    def _runs_here(self, call: str) -> bool:
        """Whether the call concerns a turn that this replica runs."""
        found = OF_A_TURN.fullmatch(call)
        if found is None or self._turns.runs_elsewhere(found[1]):
            return False
        return any(turn.turn_id == found[1] for turn in self._turns.live())

    async def _elsewhere(self, replica: str, request: Request, visitor: str, send: Send) -> bool:
        """Pass the request on, and its answer back. False if none came."""
        scope = request.scope
        headers = [(name, value) for name, value in request.headers.items() if name not in NOT_PASSED_ON]
        query, root_path = scope["query_string"].decode("latin-1"), scope.get("root_path", "")
        person, body = tuple(person_of(request) or ()), await request.body()
        command = Command(request.method, scope["path"], root_path, query, visitor, person, headers, body)
        answering = asyncio.create_task(self._pass_back(replica, command, send))
        gone = asyncio.ensure_future(request.receive())  # after its body: that the visitor has gone
        try:
            await asyncio.wait([answering, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            answering.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)
        return answering.cancelled() or answering.result()

    async def _pass_back(self, replica: str, command: Command, send: Send) -> bool:
        has_begun = False
        try:
            async with aclosing(self._bus.ask(replica, command)) as pieces:
                async for piece in pieces:
                    if not has_begun:
                        has_begun = True
                        head = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in piece.headers]
                        await send({"type": "http.response.start", "status": piece.status, "headers": head})
                    await send({"type": "http.response.body", "body": piece.body, "more_body": not piece.is_last})
        except NoAnswer:
            pass
        return has_begun

    async def _here(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out a request; it is answered when the other replicas can find what it has begun."""
        if scope["method"] == "GET":
            return await self._app(scope, receive, send)

        async def announced(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._bus.announced()
            await send(message)

        await self._app(scope, receive, announced)

    async def _carry_out(self, command: Command, asker: Asker) -> None:
        """Another replica's request, as if the visitor had sent it here."""
        person = Person(*command.person) if command.person else None
        sent: Scope = {
            "type": "http",
            "http_version": "1.1",
            "method": command.method,
            "scheme": "http",
            "path": command.path,
            "raw_path": command.path.encode(),
            "root_path": command.root_path,
            "query_string": command.query.encode("latin-1"),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in command.headers],
            "client": None,
            "server": None,
        }
        started: Any = None

        async def receive() -> Message:
            await asker.gone()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = message
            else:
                head = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in started["headers"]]
                is_last = not message.get("more_body", False)
                await asker.give(Piece(started["status"], head, is_last, message.get("body", b"")))

        scope, whole = as_visitor(sent, command.visitor, person), _again(command.body, receive)
        call = f"{command.method} {command.path.removeprefix(command.root_path)}"
        if AT_HOME.fullmatch(call) and not self._runs_here(call):
            home = await self._bus.home(command.visitor)
            if home != self._bus.me:  # this one has begun to drain, which the other did not know yet
                if not await self._elsewhere(home, Request(scope, whole), command.visitor, send):
                    await refusal(NO_ANSWER, 503, code="no_answer")(scope, receive, send)
                return
        await self._here(scope, whole, send)


async def _session(request: Request) -> str:
    """The session of Gradio that a request belongs to; empty if it names none."""
    if request.method == "GET":
        return request.query_params.get("session_hash", "")
    try:
        value = orjson.loads(await request.body())
    except ValueError:
        return ""
    return str(value.get("session_hash") or "") if isinstance(value, dict) else ""


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` of a request whose body has been read: it begins with that."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def first() -> Message:
        return messages.pop() if messages else await receive()

    return first
