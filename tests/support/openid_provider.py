"""A local OpenID provider (OpenID Connect Core 1.0, Discovery 1.0) with keys of its own. It lets everybody in at once.

``sign`` makes its ID tokens and may be replaced. ``said`` are its claims about the person, ``userinfo`` those that only
its userinfo endpoint has. ``refusal`` is the error that it leads back with. ``app_over`` is an app whose people sign in
there.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from kimi_ui.config import Auth, OpenIdProvider
from kimi_ui.turns import Turns
from kimi_ui.web.accounts import require_sign_in
from kimi_ui.web.guard import Guard, known_hosts
from kimi_ui.web.sub_path import SubPath
from kimi_ui.web.visitor import person_of

from .browser import listening

CLIENT_ID = "kimi-ui"
CLIENT_SECRET = "canary-client-3b77c0"


class Provider:
    """The provider at ``issuer``. ``asked`` are the queries of the authorization requests so far, ``traded`` the codes
    that came back for a token."""

    def __init__(self) -> None:
        self.issuer = ""
        self.keys: list[Key] = [RSAKey.generate_key(2048), ECKey.generate_key("P-256")]
        self.asked: list[dict[str, str]] = []
        self.traded: list[str] = []
        self.reset()

    def reset(self) -> None:
        self.said: dict[str, Any] = {"sub": "24400320", "email": "ada@example.org", "email_verified": True}
        self.userinfo: dict[str, Any] = {}
        self.refusal = ""
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self._codes: dict[str, dict[str, str]] = {}

    def signed(self, claims: dict[str, Any], algorithm: str = "RS256", key: Key | None = None) -> str:
        key = key or next(one for one in self.keys if one.key_type == ("RSA" if algorithm == "RS256" else "EC"))
        return jwt.encode({"alg": algorithm, "kid": key.ensure_kid() or key.kid}, claims, key, algorithms=[algorithm])

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self._metadata),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
            Route("/jwks", self._jwks),
            Route("/userinfo", self._userinfo),
        ]

    async def _metadata(self, request: Request) -> Response:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        ends |= {"userinfo_endpoint": "userinfo"}
        stated = {
            "issuer": self.issuer,
            **{name: f"{self.issuer}/{path}" for name, path in ends.items()},
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "none", "HS256"],
        }
        return JSONResponse(stated)

    async def _authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        self.asked.append(query)
        assert (query["response_type"], query["client_id"]) == ("code", CLIENT_ID)
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        back = {"error": self.refusal} if self.refusal else {"code": code}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(back | {'state': query['state']})}", 303)

    async def _token(self, request: Request) -> Response:
        async with request.form() as form:
            sent = {name: str(value) for name, value in form.items()}
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return JSONResponse({"error": "invalid_client", "error_description": f"not {CLIENT_SECRET}"}, 401)
        self.traded.append(sent["code"])
        query = self._codes.pop(sent["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent["code_verifier"].encode()).digest()).decode()
        if (
            query is None
            or sent["redirect_uri"] != query["redirect_uri"]
            or challenge.rstrip("=") != query["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "nonce": query["nonce"], "iat": now, "exp": now + 300}
        token = self.sign(claims | self.said)
        return JSONResponse({"access_token": "at-1", "token_type": "Bearer", "expires_in": 300, "id_token": token})

    async def _jwks(self, request: Request) -> Response:
        return JSONResponse(KeySet(self.keys).as_dict())

    async def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer at-1"
        return JSONResponse({"sub": self.said["sub"]} | self.userinfo)


def client_of(at: Provider, **more: Any) -> OpenIdProvider:
    return OpenIdProvider(at.issuer, CLIENT_ID, CLIENT_SECRET, **more)


def app_over(turns: Turns, settings: OpenIdProvider) -> Starlette:
    """An app that says who a request is from."""

    async def who(request: Request) -> Response:
        person = person_of(request)
        assert person
        return HTMLResponse(f"<p id=who>{person.id} {person.role} {person.name}</p><a href=/kimi/logout>Sign out</a>")

    app = Starlette(routes=[Route("/{rest:path}", who)])
    require_sign_in(app, turns, (), auth=Auth(openid=settings))
    app.add_middleware(Guard, hosts=known_hosts("127.0.0.1", ["chat.example"]))
    app.add_middleware(SubPath)
    app.state.streams = SimpleNamespace()  # for ``listening``
    return app


@contextmanager
def provider() -> Iterator[Provider]:
    made = Provider()
    app = Starlette(routes=made.routes())
    app.state.streams = SimpleNamespace()
    with listening(app) as url:
        made.issuer = url.replace("127.0.0.1", "localhost")  # to a browser another site than the app's
        yield made
