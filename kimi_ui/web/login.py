"""The optional password: if it is set, nothing is served without it.

A browser gets a form and, for the right password, a random session cookie (HttpOnly, SameSite=Strict) known only to
this process. A program sends ``Authorization: Bearer PASSWORD``. Wrong tries are limited per address. Pure ASGI.

A link on another site does not send a strict cookie, so such a visit gets a page that loads the same URL again from
this site. ``GET /kimi/logout`` is a page with a log-out button.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Collection
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..view.jinja import render
from .sub_path import PREFIX

COOKIE = "kimi_session"
LOGGED_IN = "kimi_logged_in"  # set in the scope of authorised requests, so that the page shows a log-out link
LOGIN, LOGOUT = "/kimi/login", "/kimi/logout"
SESSION_S = 30 * 24 * 3600
MAX_TRIES, TRIES_S = 5, 60.0  # wrong tries of one address within this time
MAX_FORM_BYTES = 10_000

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser posts the form with "Origin: null"
    "Cache-Control": "no-store",
}


class Login:
    """ASGI middleware that requires ``password``, except for the paths that are ``open`` (``is_open``). ``now`` is a
    monotonic clock in seconds."""

    def __init__(
        self,
        app: ASGIApp,
        password: str,
        open: Collection[str] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._password = password
        self._open = frozenset(open)
        self._now = now
        self._sessions: dict[str, float] = {}  # hash of the cookie -> expiry time
        self._wrong: dict[str, list[float]] = {}  # address -> times of its wrong passwords

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"], self._open):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if scope["path"] == LOGIN:
            response = await self._log_in(request)
        elif self._is_in(request):
            if scope["path"] != LOGOUT:
                await self._app({**scope, LOGGED_IN: True}, receive, send)
                return
            response = self._log_out(request)
        elif scope["method"] == "GET" and "text/html" in request.headers.get("accept", ""):
            response = send_to_form(request)
        else:
            response = JSONResponse({"detail": f"A password is needed: log in at {LOGIN}."}, 401)
        await response(scope, receive, send)

    def _is_in(self, request: Request) -> bool:
        ends = self._sessions.get(_hashed(request.cookies.get(COOKIE, "")))
        if ends is not None and ends > self._now():
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._right(given, address_of(request))

    def _log_out(self, request: Request) -> Response:
        if request.method != "POST":
            return page(request, action=LOGOUT, next="", message="")
        self._sessions.pop(_hashed(request.cookies.get(COOKIE, "")), None)
        response = RedirectResponse(LOGIN, 303)
        response.delete_cookie(COOKIE)
        return response

    async def _log_in(self, request: Request) -> Response:
        wanted = own_path(request.query_params.get("next", "/"))
        if request.method != "POST":
            return RedirectResponse(wanted, 303) if self._is_in(request) else _form(request, "", wanted)
        if self._seconds_to_wait(address_of(request)):
            return _form(
                request, f"Too many wrong tries. Wait {self._seconds_to_wait(address_of(request))} s.", wanted, 429
            )
        form = await form_of(request)
        if form is None:
            return _form(request, "That is too long for a password.", wanted, 413)
        wanted = own_path(form.get("next", "/"))
        if not self._right(form.get("password", ""), address_of(request)):
            return _form(request, "That is not the password.", wanted, 401)
        token = secrets.token_urlsafe(32)
        now = self._now()
        self._sessions = {key: ends for key, ends in self._sessions.items() if ends > now}
        self._sessions[_hashed(token)] = now + SESSION_S
        response = RedirectResponse(wanted, 303)
        give_session(request, response, token, SESSION_S)
        return response

    def _right(self, given: str, address: str) -> bool:
        """Compare in constant time and count wrong tries. False for any password while the address must wait."""
        if self._seconds_to_wait(address):
            return False
        if hmac.compare_digest(_hashed(given), _hashed(self._password)):
            self._wrong.pop(address, None)
            return True
        self._wrong.setdefault(address, []).append(self._now())
        return False

    def _seconds_to_wait(self, address: str) -> int:
        now = self._now()
        self._wrong = {
            key: recent for key, tries in self._wrong.items() if (recent := [t for t in tries if t > now - TRIES_S])
        }
        tries = self._wrong.get(address, [])
        return 0 if len(tries) < MAX_TRIES else int(tries[-MAX_TRIES] + TRIES_S - now) + 1


def is_open(path: str, open: Collection[str]) -> bool:
    """Whether a path needs no password: it is one of ``open``, or below one that ends with a slash."""
    return path in open or any(path.startswith(one) for one in open if one.endswith("/"))


def own_path(path: str) -> str:
    """The path if it is certainly a path of this server, otherwise ``/``."""
    return path if re.fullmatch(r"/(?!/)[!#-;=?-\[\]_a-z~]{0,500}", path) else "/"


def send_to_form(request: Request) -> Response:
    """Leads a visitor who has to log in to the form, and from there to what they wanted."""
    wanted = own_path(f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path)
    if request.headers.get("sec-fetch-site") == "cross-site":
        return HTMLResponse(render("again", next=prefix_of(request) + wanted), headers=PAGE_HEADERS)
    return RedirectResponse(LOGIN if wanted == "/" else f"{LOGIN}?next={quote(wanted, safe='')}", 303)


async def form_of(request: Request) -> dict[str, str] | None:
    """The posted form; None if it is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            return None
    return {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}


def give_session(request: Request, response: Response, token: str, lasts_s: float) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, max_age=int(lasts_s), httponly=True, samesite="strict", secure=secure)


def page(request: Request, status: int = 200, **values: object) -> HTMLResponse:
    """The page of ``login.html.jinja``; for people with accounts ``names`` is true and ``person`` the name of one."""
    values = {"names": False, "person": "", **values}
    return HTMLResponse(render("login", root=prefix_of(request), **values), status, PAGE_HEADERS)


def prefix_of(request: Request) -> str:
    return str(request.scope.get(PREFIX, ""))


def address_of(request: Request) -> str:
    """The client address for counting tries; for IPv6 the /64 network, since one client controls all of it."""
    host = request.client.host if request.client else ""
    return str(ipaddress.ip_network(f"{host}/64", strict=False)) if ":" in host and "%" not in host else host


def _form(request: Request, message: str, wanted: str, status: int = 200) -> HTMLResponse:
    return page(request, status, action=LOGIN, next=wanted, message=message)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
