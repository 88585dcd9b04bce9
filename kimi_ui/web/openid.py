"""Signing in at an OpenID provider: the authorization code flow with PKCE of OpenID Connect Core 1.0, by Authlib.

``GET /kimi/login`` is a page with a link to ``START``. That leads to the provider, which leads back to ``CALLBACK``
with a code, and for this it gives the server an ID token. Its signature, issuer, audience, times and nonce are
verified. What the second half must know of the first (state, nonce, verifier) is in a signed cookie: any replica can
answer it, and in no other browser. The cookie is not strict, since another site leads back.

A person is who has this ``sub`` of this issuer; nothing else is promised to stay theirs (Core §5.7). The name is only
shown. Without a configured claim it is the e-mail address, else ``preferred_username``, else ``sub``. An address that
the provider does not say it has verified may be somebody else's: it is no name, and makes nobody an admin.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.starlette_client import OAuthError, StarletteOAuth2App
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..config import ConfigError, OpenIdProvider
from ..core.owner import ADMIN, MEMBER, Person
from ..log.sessions import Session
from ..providers.base import ProviderError
from ..providers.http.proxies import certificates
from .login import LOGIN, MAX_NAME_CHARS, SignedIn, SignIn, derived, own_path, page, prefix_of, set_cookie

START, CALLBACK = f"{LOGIN}/start", f"{LOGIN}/callback"
PENDING = "kimi_sign_in"  # the cookie of a sign-in that has begun
PENDING_LASTS = timedelta(minutes=10)
SESSION_LASTS = timedelta(hours=12)  # by then a person removed at the provider is signed out, and a new role counts
METADATA_S = 600  # until the provider's metadata and keys are read again
TIMEOUT_S = 10
LEEWAY_S = 60  # between the provider's clock and ours

SIGNED_BY = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
"""Algorithms of ID tokens: by a private key, so neither ``none`` nor a shared secret, whatever the provider offers."""

STALE = (
    "This sign-in took too long, was used before, or began in another browser or at another address of this page. "
    "Sign in again."
)
DENIED = "{} did not let you in. Sign in again, or ask whoever runs it for access."
AWAY = "{} does not answer. Try again in a minute."
UNUSABLE = "The answer of {} cannot be used: the terminal of this server says why. Tell whoever runs this server."

_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ODD = (httpx2.InvalidURL, ValueError, TypeError, KeyError, AttributeError)  # what Authlib raises for an odd answer

log = logging.getLogger(__name__)


class _Failed(Exception):
    """A sign-in that did not succeed: a sentence for the person, with the provider's name at ``{}``, and the status.
    ``why`` is for the terminal."""

    def __init__(self, sentence: str, status: int, why: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.why = why


class _NotBegunHere(_Failed):
    """What led back here is not the sign-in that has begun in this browser, if one has, and does not end that: it may
    be an older one, in another tab, or another site's attempt to disturb."""

    def __init__(self) -> None:
        super().__init__(STALE, 400)


class _Pending(NamedTuple):
    """A sign-in that has begun."""

    state: str
    nonce: str
    code_verifier: str
    redirect_uri: str
    next: str


class OpenId(SignIn):
    """Signs in at one provider. Raises ``ConfigError`` where the system's certificates cannot be read."""

    def __init__(self, settings: OpenIdProvider) -> None:
        self._settings = settings
        self._name = urlsplit(settings.issuer).netloc
        client = f"{settings.issuer} {settings.client_id}"
        self._key = OctKey.import_key(derived(settings.client_secret, f"sign-in {client}"))  # the same in all replicas
        self._credential = sha256(f"{client} {settings.admins}".encode()).hexdigest()[:32]
        self._client: StarletteOAuth2App | None = None
        self._read_at_s = 0.0
        try:
            self._certificates = certificates()
        except ProviderError as error:
            raise ConfigError(f"{error.failure.message} {error.failure.remedy}") from None

    def still(self, session: Session) -> Person | None:
        return session.person if session.credential == self._credential else None

    def is_https(self, request: Request) -> bool:
        return self._settings.public_url.startswith("https:") or super().is_https(request)

    async def answer(self, request: Request) -> SignedIn | Response:
        wanted = own_path(request.query_params.get("next", "/"))
        path = request.scope["path"] if request.method == "GET" else LOGIN
        try:
            if path == START:
                return await self._begin(request, wanted)
            if path == CALLBACK:
                return await self._finish(request)
        except _Failed as failed:
            if failed.why:
                why = failed.why.replace(self._settings.client_secret, "…")
                log.warning("Somebody could not sign in at %s: %r", self._name, why)
            response = self._page(request, wanted, str(failed).format(self._name), failed.status)
            if path == CALLBACK and not isinstance(failed, _NotBegunHere):
                response.delete_cookie(PENDING)
            return response
        return self._page(request, wanted)

    def _page(self, request: Request, wanted: str, message: str = "", status: int = 200) -> Response:
        return page(request, status, action=START, next=wanted, message=message, provider=self._name)

    async def _begin(self, request: Request, wanted: str) -> Response:
        client = await self._ready()
        public_url = self._settings.public_url or f"{request.url.scheme}://{request.url.netloc}{prefix_of(request)}"
        redirect_uri = public_url + CALLBACK
        begun = await client.create_authorization_url(redirect_uri)
        pending = _Pending(begun["state"], begun["nonce"], begun["code_verifier"], redirect_uri, wanted)
        claims = {**pending._asdict(), "exp": int(time.time()) + int(PENDING_LASTS.total_seconds())}
        response = RedirectResponse(begun["url"], 303)
        value = jwt.encode({"alg": "HS256"}, claims, self._key)
        set_cookie(response, PENDING, value, PENDING_LASTS, secure=self.is_https(request), samesite="lax")
        return response

    async def _finish(self, request: Request) -> SignedIn:
        pending, query = self._pending(request), request.query_params
        if pending is None or pending.state != query.get("state"):
            raise _NotBegunHere
        if error := query.get("error", ""):
            raise _failure(OAuthError(error))
        claims = await self._claims(pending, query.get("code", ""))
        person = Person(self._id(claims["sub"]), self._shown_name(claims), self._role(claims))
        return SignedIn(person, self._credential, own_path(pending.next), SESSION_LASTS, (PENDING, ""))

    def _pending(self, request: Request) -> _Pending | None:
        """The sign-in that began in this browser, unless it is too old."""
        try:
            claims = jwt.decode(request.cookies.get(PENDING, ""), self._key, algorithms=["HS256"]).claims
            jwt.JWTClaimsRegistry(exp={"essential": True}).validate(claims)
            return _Pending(**{name: str(claims[name]) for name in _Pending._fields})
        except (JoseError, ValueError, KeyError):
            return None

    async def _ready(self) -> StarletteOAuth2App:
        """Authlib's client, which has read what the provider says of itself (OpenID Connect Discovery 1.0)."""
        now_s = time.monotonic()
        if self._client is not None and now_s - self._read_at_s < METADATA_S:
            return self._client
        issuer = self._settings.issuer
        client = StarletteOAuth2App(
            None,
            client_id=self._settings.client_id,
            client_secret=self._settings.client_secret,
            server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": self._settings.scope,
                "code_challenge_method": "S256",
                "timeout": TIMEOUT_S,
                "verify": self._certificates,
            },
        )
        try:
            metadata = await client.load_server_metadata()
        except (httpx2.HTTPError, *_ODD) as error:
            raise _failure(error) from None
        if metadata.get("issuer") != issuer:
            stated = metadata.get("issuer")
            raise _Failed(UNUSABLE, 502, f"it states the issuer {stated}, so make KIMI_UI_AUTH oidc:{stated}")
        if missing := [name for name in _ENDPOINTS if not isinstance(metadata.get(name), str)]:
            raise _Failed(UNUSABLE, 502, f"its metadata have no {missing[0]}")
        offered = metadata.get("id_token_signing_alg_values_supported")
        usable = [name for name in offered if name in SIGNED_BY] if isinstance(offered, list) else []
        metadata["id_token_signing_alg_values_supported"] = usable or ["RS256"]  # which each provider must support
        methods = metadata.get("token_endpoint_auth_methods_supported")
        if isinstance(methods, list) and "client_secret_basic" not in methods:
            client.client_kwargs["token_endpoint_auth_method"] = "client_secret_post"
        self._client, self._read_at_s = client, now_s
        return client

    async def _claims(self, pending: _Pending, code: str) -> dict[str, Any]:
        """What the provider says about the person, verified."""
        client = await self._ready()
        must = {"iss": self._settings.issuer, "aud": self._settings.client_id}
        options = {name: {"essential": True, "value": value} for name, value in must.items()}
        try:
            token = await client.fetch_access_token(
                pending.redirect_uri, code=code, code_verifier=pending.code_verifier
            )
            claims: dict[str, Any] = await client.parse_id_token(token, pending.nonce, options, leeway=LEEWAY_S)
            if not claims or not claims["sub"]:
                raise ValueError("there is no ID token, or it names nobody")
            if self._lacks(claims) and client.server_metadata.get("userinfo_endpoint"):
                more = await client.userinfo(token=token)
                if more.get("sub") != claims["sub"]:  # Core §5.3.2
                    raise ValueError("the userinfo is another person's")
                claims = {**more, **claims}
        except (OAuthError, JoseError, httpx2.HTTPError, *_ODD) as error:
            raise _failure(error) from None
        return claims

    def _lacks(self, claims: Mapping[str, Any]) -> bool:
        """Whether something that is needed may stand in the userinfo only."""
        admins = self._settings.admins
        return self._shown_name(claims) == claims["sub"] or bool(admins and _vouched(claims, admins[0]) is None)

    def _id(self, subject: str) -> str:
        return sha256(f"openid {self._settings.issuer} {subject}".encode()).hexdigest()[:32]

    def _shown_name(self, claims: Mapping[str, Any]) -> str:
        for name in [self._settings.name] if self._settings.name else ["email", "preferred_username"]:
            value = _vouched(claims, name)
            if isinstance(value, str) and value.strip() and value.isprintable():
                return value.strip()[:MAX_NAME_CHARS]
        return str(claims["sub"])[:MAX_NAME_CHARS]

    def _role(self, claims: Mapping[str, Any]) -> str:
        claim, wanted = self._settings.admins or ("", "")
        value = _vouched(claims, claim)
        return ADMIN if wanted and wanted in (value if isinstance(value, list) else [value]) else MEMBER


def _vouched(claims: Mapping[str, Any], name: str) -> Any:
    """The claim; None if there is none, or if it is an e-mail address that the provider has not verified."""
    return None if name == "email" and claims.get("email_verified") is not True else claims.get(name)


def _failure(error: Exception) -> _Failed:
    """What an error of Authlib, of the provider's (RFC 6749 §4.1.2.1 and §5.2) or of HTTP means."""
    code = error.error if isinstance(error, OAuthError) else ""
    status = error.response.status_code if isinstance(error, httpx2.HTTPStatusError) else 0
    why = f"{type(error).__name__}: {error}"
    if code == "access_denied":
        return _Failed(DENIED, 403)
    if code == "invalid_grant":
        return _Failed(STALE, 400, why)
    if isinstance(error, httpx2.TransportError) or status >= 500 or code in ("server_error", "temporarily_unavailable"):
        return _Failed(AWAY, 503, why)
    hint = "; check KIMI_UI_OIDC_CLIENT_ID and KIMI_UI_OIDC_CLIENT_SECRET" if code == "invalid_client" else ""
    return _Failed(UNUSABLE, 502, why + hint)
