"""Who is looking: a random cookie per browser. Turns and conversations belong to the owner derived from it.

The log keeps a hash of the cookie, so whoever reads the log cannot pose as the visitor. The cookie is only handed out
in answer to a request the page itself makes: it is ``SameSite=Strict``, so a visit that comes in over a link from
elsewhere does not carry it, and answering that visit with a new one would cost the visitor everything of theirs.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "kimi_owner"
_YEAR_S = 365 * 24 * 3600
_MIN_CHARS, _MAX_CHARS = 32, 128


def owner_of(cookies: Mapping[str, str]) -> str:
    """The owner a request's cookies stand for; empty without a cookie (a program that calls the API)."""
    value = cookies.get(COOKIE, "")
    if not _MIN_CHARS <= len(value) <= _MAX_CHARS:
        return ""
    return hashlib.sha256(value.encode()).hexdigest()[:32]


def may_read(turn_owner: str, owner: str) -> bool:
    """Turns without an owner were sent from the terminal or by a program: their unguessable id is the key."""
    return turn_owner in ("", owner)


def give_cookie(request: Request, response: Response) -> None:
    """Hand the browser its cookie if it has none."""
    if not owner_of(request.cookies):
        response.set_cookie(
            COOKIE,
            secrets.token_urlsafe(32),
            max_age=_YEAR_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
