"""Accounts: nothing is served but to whoever has signed in, and ``visitor_of`` says to whom.

``Accounts`` keeps people signed in. A way to sign in (``SignIn``) answers the requests to ``/kimi/login`` and yields a
person; the session, its cookie (HttpOnly, SameSite=Strict) and its end are the same for all of them, also for the one
password. ``Proxied`` has no sessions: a proxy in front says with each request who it is.

Sessions and failed sign-ins are in the log (``log.sessions``), so that every server that shares it knows them. A
session that is over ends at once where it was ended, and within seconds elsewhere and in the middle of an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ..config import Auth, ConfigError
from ..core.owner import ADMIN, MEMBER, Person
from ..log.sessions import Session, SessionLog, SignInTries
from ..log.store import LogError
from ..turns import Turns
from ..users_file import UsersFile, key
from .login import (
    COOKIE,
    KEPT,
    LOGGED_IN,
    LOGIN,
    LOGOUT,
    MAX_NAME_CHARS,
    SignIn,
    form_of,
    is_open,
    own_path,
    page,
    send_to_form,
    set_cookie,
)
from .passwords import OnePassword, Users
from .respond import refusal
from .visitor import sent_by

LOOK_S = 5.0  # a response that lasts longer ends when its session does
NOT_THE_PROXY = "This page is served through its proxy only; open the proxy's address."
NOBODY = "The proxy did not say who you are. Sign in there, then reload the page."
NOT_NOW = "Nobody can be signed in at present; the terminal of the server says why. Try again in a minute."

log = logging.getLogger(__name__)


def require_sign_in(
    app: Starlette, turns: Turns, open: Collection[str], *, password: str = "", auth: Auth | None = None
) -> None:
    """Add the middleware for this way to sign in: by ``auth`` or, if it is None, with the ``password``."""
    if auth and auth.header:
        app.add_middleware(Proxied, auth=auth, open=open)
        return
    tries = SignInTries(turns.writer, turns.reader)
    sign_in: SignIn
    if auth and auth.openid:
        from .openid import OpenId

        sign_in = OpenId(auth.openid)
    elif auth and auth.users:
        sign_in = Users(UsersFile(auth.users), tries)
    else:
        sign_in = OnePassword(password, tries)
    app.add_middleware(Accounts, sign_in=sign_in, sessions=SessionLog(turns.writer, turns.reader), open=open)


def may_act(auth: Auth | None) -> Callable[[str], bool]:
    """Says of an owner whether they may still use the app, for what it does for them while they are away (see
    ``Engine``). Only a users file answers that."""
    if auth is None or auth.users is None:
        return lambda owner: True
    users = UsersFile(auth.users)

    def is_in_file(owner: str) -> bool:
        try:
            return any(user.person.owner == owner for user in users.users())
        except ConfigError as error:
            log.error("%s", error)
            return False

    return is_in_file


class Accounts:
    """ASGI middleware that requires a session, except for the paths that are ``open``."""

    def __init__(self, app: ASGIApp, sign_in: SignIn, sessions: SessionLog, open: Collection[str] = ()) -> None:
        self._app = app
        self._sign_in = sign_in
        self._sessions = sessions
        self._open = frozenset(open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"], self._open):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        token = request.cookies.get(COOKIE, "")
        try:
            found = await asyncio.to_thread(self._found, token)
            response = await self._answer(request, found)
            person = found[1] if found else None
            if response is None and person is None:
                person = await asyncio.to_thread(self._sign_in.program, request)
        except (ConfigError, LogError) as error:
            log.error("%s", error)
            found, person, response = None, None, _refusal(request, NOT_NOW, 503)
        if response is not None or person is None:
            await (response or self._send_to_sign_in(request))(scope, receive, send)
            return
        scope = {**(sent_by(scope, person) if person.id else scope), LOGGED_IN: True}
        if found and scope["path"].startswith("/kimi/"):  # Gradio's streams rely on uvicorn's own ``receive``
            await _Watched(receive, send, lambda: self._found(token) is not None).run(self._app, scope)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, request: Request, found: tuple[Session, Person] | None) -> Response | None:
        """The response to a request to sign in or out; None for all others."""
        path = request.scope["path"]
        if path == LOGIN or path.startswith(f"{LOGIN}/"):
            return await self._signed_in(request, found)
        return await self._signed_out(request, *found) if found and path == LOGOUT else None

    def _found(self, token: str) -> tuple[Session, Person] | None:
        """The token's session and its person as they are now."""
        session = self._sessions.find(token) if token else None
        person = self._sign_in.still(session) if session else None
        return (session, person) if session and person else None

    async def _signed_in(self, request: Request, found: tuple[Session, Person] | None) -> Response:
        if found and request.method != "POST":
            return RedirectResponse(own_path(request.query_params.get("next", "/")), 303)
        answer = await self._sign_in.answer(request)
        if isinstance(answer, Response):
            return answer
        if found:
            await asyncio.to_thread(self._sessions.end, found[0])
        token = await asyncio.to_thread(self._sessions.begin, answer.person, answer.credential, answer.lasts)
        response = RedirectResponse(answer.next, 303)
        secure = self._sign_in.is_https(request)
        set_cookie(response, COOKIE, token, answer.lasts, secure=secure)
        name, value = answer.cookie or ("", "")
        if value:
            set_cookie(response, name, value, KEPT, secure=secure)
        elif name:
            response.delete_cookie(name)
        return response

    async def _signed_out(self, request: Request, session: Session, person: Person) -> Response:
        if request.method != "POST":
            return page(request, action=LOGOUT, next="", message="", names=bool(person.id), person=person.name)
        form = await form_of(request) or {}
        await asyncio.to_thread(self._sessions.end, session)
        if form.get("everywhere") and person.id:
            await asyncio.to_thread(self._sessions.end_all, person.id)
        response = RedirectResponse(LOGIN, 303)
        response.delete_cookie(COOKIE)
        return response

    def _send_to_sign_in(self, request: Request) -> Response:
        return send_to_form(request) if _is_visit(request) else refusal(self._sign_in.needed, 401, code="signed_out")


class _Watched:
    """A request whose sender disconnects, so far as the app can see, when ``may_stay`` is no longer true."""

    def __init__(self, receive: Receive, send: Send, may_stay: Callable[[], bool]) -> None:
        self._receive = receive
        self._send = send
        self._may_stay = may_stay
        self._is_over = False
        self._has_more = False  # the response has begun and not ended

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self._received, self._sent)
        if self._is_over and self._has_more:
            await self._send({"type": "http.response.body", "body": b""})

    async def _sent(self, message: Message) -> None:
        self._has_more = message["type"] == "http.response.start" or bool(message.get("more_body"))
        await self._send(message)

    async def _received(self) -> Message:
        coming = asyncio.ensure_future(self._receive())
        try:
            while not (await asyncio.wait({coming}, timeout=LOOK_S))[0]:
                if not await asyncio.to_thread(self._still):
                    self._is_over = True
                    return {"type": "http.disconnect"}
            return coming.result()
        finally:
            coming.cancel()

    def _still(self) -> bool:
        try:
            return self._may_stay()
        except (ConfigError, LogError):
            return True  # it was true a moment ago, and an answer is not cut off for that


class Proxied:
    """ASGI middleware that believes a proxy: ``auth.header`` names the person, ``auth.proxies`` are those who may.

    Requests of all others are refused, except for the paths that are ``open``. It must see the peer's own address, so
    uvicorn must not replace it by that of ``X-Forwarded-For``; this does so behind the check.
    """

    def __init__(self, app: ASGIApp, auth: Auth, open: Collection[str] = ()) -> None:
        self._app = app
        self._forwarded = ProxyHeadersMiddleware(app, [str(network) for network in auth.proxies])  # type: ignore[arg-type]
        self._header = auth.header
        self._proxies = auth.proxies
        self._admins = {key(name) for name in auth.admins}
        self._open = frozenset(open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"], self._open):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if not is_one_of(request.client.host if request.client else "", self._proxies):
            await _refusal(request, NOT_THE_PROXY, 403)(scope, receive, send)
        elif (person := self._person(request.headers.getlist(self._header))) is None:
            await _refusal(request, NOBODY, 401)(scope, receive, send)
        else:
            await self._forwarded(sent_by(scope, person), receive, send)  # type: ignore[arg-type]

    def _person(self, named: list[str]) -> Person | None:
        """The person that the header names; None unless it is there once and names one."""
        if len(named) != 1 or not (name := _text(named[0])) or len(name) > MAX_NAME_CHARS or not name.isprintable():
            return None
        role = ADMIN if key(name) in self._admins else MEMBER
        return Person(sha256(f"proxy {key(name)}".encode()).hexdigest()[:32], name, role)


def is_one_of(host: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether the address is in one of the networks; an IPv4 address may be written as an IPv6 one."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _text(value: str) -> str:
    """A header's value: UTF-8 if it is that, else Latin-1 as HTTP has it."""
    try:
        return value.encode("latin-1").decode().strip()
    except UnicodeError:
        return value.strip()


def _refusal(request: Request, sentence: str, status: int) -> Response:
    return PlainTextResponse(f"{sentence}\n", status) if _is_visit(request) else refusal(sentence, status)


def _is_visit(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")
