"""What all ways to sign in share: the interface ``SignIn``, the form, the page to sign out, and the cookies.

A link on another site does not send a strict cookie, so such a visit gets a page that loads the same URL again from
this site. ``GET /kimi/logout`` is a page with a log-out button.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from datetime import timedelta
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ..core.owner import Person
from ..log.sessions import LASTS, Session
from ..view.jinja import render
from .sub_path import PREFIX

COOKIE = "kimi_session"
LOGGED_IN = "kimi_logged_in"  # set in the scope of authorised requests, so that the page shows a log-out link
LOGIN, LOGOUT = "/kimi/login", "/kimi/logout"
KEPT = timedelta(days=365)
MAX_FORM_BYTES = 10_000
MAX_NAME_CHARS = 200
SIGNED_OUT = "You are signed out. Reload the page to sign in."

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser posts the form with "Origin: null"
    "Cache-Control": "no-store",
}


class SignedIn(NamedTuple):
    """Who has just signed in, with what (see ``SessionLog.begin``), the path of this server to go on to, for how long,
    and another cookie by name and value: to keep for ``KEPT``, or to remove if the value is empty."""

    person: Person
    credential: str = ""
    next: str = "/"
    lasts: timedelta = LASTS
    cookie: tuple[str, str] | None = None


class SignIn(ABC):
    """A way to sign in. Raises ``ConfigError`` or ``LogError`` where nobody can sign in at present."""

    needed = SIGNED_OUT  # the sentence for a request that needs a session

    @abstractmethod
    async def answer(self, request: Request) -> SignedIn | Response:
        """A request to ``LOGIN`` or below it; of a person who is signed in only a POST."""

    @abstractmethod
    def still(self, session: Session) -> Person | None:
        """The session's person as they are now; None if they may no longer use it. May block."""

    def is_https(self, request: Request) -> bool:
        """Whether the browser sent the request over HTTPS, perhaps to a proxy."""
        return request.url.scheme == "https"

    def program(self, request: Request) -> Person | None:
        """Who sends a request without a session, by what else it carries; None: nobody. May block."""
        return None


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


def set_cookie(
    response: Response,
    name: str,
    value: str,
    lasts: timedelta,
    *,
    secure: bool,
    samesite: Literal["strict", "lax"] = "strict",
) -> None:
    """Set a cookie that scripts do not see. A strict one is not sent with a visit from another site, a ``secure`` one
    only over HTTPS."""
    lasts_s = int(lasts.total_seconds())
    response.set_cookie(name, value, max_age=lasts_s, httponly=True, samesite=samesite, secure=secure)


def page(request: Request, status: int = 200, **values: object) -> HTMLResponse:
    """The page of ``login.html.jinja``; for people with accounts ``names`` is true and ``person`` the name of one, or
    ``provider`` says where they sign in."""
    values = {"names": False, "person": "", "provider": "", **values}
    return HTMLResponse(render("login", root=prefix_of(request), **values), status, PAGE_HEADERS)


def prefix_of(request: Request) -> str:
    return str(request.scope.get(PREFIX, ""))


def address_of(request: Request) -> str:
    """The client address for counting tries; for IPv6 the /64 network, since one client controls all of it."""
    host = request.client.host if request.client else ""
    return str(ipaddress.ip_network(f"{host}/64", strict=False)) if ":" in host and "%" not in host else host


def derived(secret: str, purpose: str) -> bytes:
    """32 bytes made from a secret, the same for the same purpose. Slow (0.05 s), since a person may have chosen the
    secret: whoever sees what is made from the bytes should not be able to try words fast."""
    return hashlib.scrypt(secret.encode(), salt=purpose.encode(), n=2**14, r=8, p=1, dklen=32)
