"""Signing in at an OpenID provider: a real one on this machine, several servers over one log, and attacks."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from http.cookiejar import CookieJar
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from kimi_ui.config import ConfigError, OpenIdProvider, read_settings
from kimi_ui.core.owner import ADMIN, MEMBER
from kimi_ui.web.login import COOKIE
from kimi_ui.web.openid import PENDING
from tests.support.engine_run import turns_at
from tests.support.openid_provider import CLIENT_ID, CLIENT_SECRET, Provider, app_over, client_of, provider

SITE = "http://chat.example"


@pytest.fixture(scope="module")
def at() -> Iterator[Provider]:
    with provider() as running:
        yield running


@pytest.fixture(autouse=True)
def as_usual(at: Provider) -> None:
    at.reset()


class Visitor:
    """A browser; ``server`` says which of the servers behind the address answers."""

    def __init__(self, servers: list[httpx.AsyncClient], provider: httpx.AsyncClient) -> None:
        self._servers = servers
        self._provider = provider
        self.cookies = servers[0].cookies

    async def get(self, path: str, server: int = 0, **more: Any) -> httpx.Response:
        return await self._servers[server].get(path, **more)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self._servers[0].post(path, **more)

    async def led_back(self, wanted: str = "/", server: int = 0, prefix: str = "") -> str:
        """Begin, and let the provider lead back: the path with which it does."""
        headers = {"X-Forwarded-Prefix": prefix}
        begun = await self.get(f"/kimi/login/start?next={quote(wanted, safe='')}", server, headers=headers)
        assert begun.status_code == 303, begun.text
        back = (await self._provider.get(begun.headers["location"])).headers["location"]
        return f"{urlsplit(back).path}?{urlsplit(back).query}"

    async def sign_in(self, server: int = 0) -> httpx.Response:
        return await self.get(await self.led_back(), server)

    async def who(self) -> tuple[str, ...]:
        """The id, role and name of who is signed in."""
        text = (await self.get("/")).text
        return tuple(text.removeprefix("<p id=who>").partition("</p>")[0].split(" ", 2))


@asynccontextmanager
async def visiting(place: Path, *settings: OpenIdProvider, visitors: int = 1) -> AsyncIterator[list[Visitor]]:
    """``visitors`` of as many servers as there are ``settings``, all over the log at ``place``."""
    async with AsyncExitStack() as stack:
        turns = [stack.enter_context(turns_at(place)) for _ in settings]
        apps = [app_over(*pair) for pair in zip(turns, settings, strict=True)]
        outside = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        made = []
        for _ in range(visitors):
            jar = CookieJar()
            clients = [
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=SITE, cookies=jar) for app in apps
            ]
            made.append(Visitor([await stack.enter_async_context(client) for client in clients], outside))
        yield made


def is_refused(answer: httpx.Response, words: str, status: int) -> bool:
    """Whether it is the page to sign in, with these words and the link, and without a session."""
    assert words in answer.text, answer.text
    assert 'href="/kimi/login/start?next=' in answer.text
    assert COOKIE not in answer.headers.get("set-cookie", "")
    return answer.status_code == status


async def test_whichever_server_the_provider_leads_back_to_signs_in(
    at: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = client_of(at)
    async with visiting(tmp_path / "log.sqlite3", settings, settings) as (ada,):
        page = (await ada.get("/kimi/login?next=/%3Fx=1")).text
        assert f'href="/kimi/login/start?next=/%3Fx%3D1" autofocus>Sign in with {urlsplit(at.issuer).netloc}<' in page
        path = await ada.led_back("/?x=1")
        asked = at.asked[-1]
        assert asked["redirect_uri"] == f"{SITE}/kimi/login/callback"
        assert asked["scope"] == "openid email profile"
        assert len({asked["state"], asked["nonce"], asked["code_challenge"], ""}) == 4
        answer = await ada.get(path, server=1)
        assert (answer.status_code, answer.headers["location"]) == (303, "/?x=1")
        session = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(COOKIE))
        assert "HttpOnly; Max-Age=43200; Path=/; SameSite=strict" in session
        assert PENDING not in ada.cookies
        id, *who = await ada.who()  # of the other server
        assert (len(id), who) == (32, [MEMBER, "ada@example.org"])
        assert (await ada.post("/kimi/logout", data={"everywhere": "yes"})).headers["location"] == "/kimi/login"
        assert (await ada.get("/config")).status_code == 401
    assert CLIENT_SECRET not in page + repr(settings) + caplog.text + path + str(answer.headers)


async def test_the_name_is_what_the_provider_vouches_for_and_a_claim_makes_an_admin(
    at: Provider, tmp_path: Path
) -> None:
    settings = client_of(at, admins=("groups", "kimi"), scope="openid groups")
    named, by_email = replace(settings, name="nick"), replace(settings, admins=("email", "a@b.c"))
    ids = set()
    async with visiting(tmp_path / "log.sqlite3", settings, named, by_email) as (ada,):
        for said, userinfo, server, expected in (
            ({"email": "a@b.c", "email_verified": True, "groups": ["x", "kimi"]}, {}, 0, (ADMIN, "a@b.c")),
            ({"email": "a@b.c", "preferred_username": "ada"}, {}, 0, (MEMBER, "ada")),
            ({"email": "a@b.c", "email_verified": "true", "groups": "kimi"}, {}, 0, (ADMIN, "24")),
            ({}, {"preferred_username": "ada b", "groups": ["kimi"]}, 0, (ADMIN, "ada b")),
            ({"groups": ["kimi2"], "nick": "A\u202eda"}, {"groups": ["kimi"], "nick": "Ada"}, 1, (MEMBER, "24")),
            ({"nick": "Ada", "email": "a@b.c", "email_verified": True, "groups": None}, {}, 1, (MEMBER, "Ada")),
            ({"email": "a@b.c"}, {"email": "a@b.c"}, 2, (MEMBER, "24")),
            ({}, {"email": "a@b.c", "email_verified": True}, 2, (ADMIN, "a@b.c")),
        ):
            at.said, at.userinfo = {"sub": "24", **said}, userinfo
            assert (await ada.sign_in(server)).status_code == 303, said
            found = (await ada.get("/", server)).text.split("</p>")[0].removeprefix("<p id=who>").split(" ", 2)
            assert tuple(found[1:]) == expected, said
            ids.add(found[0])
            ada.cookies.clear()
        assert len(ids) == 1
        at.said = {"sub": "25", "preferred_username": "ada"}
        await ada.sign_in()
        assert (await ada.who())[0] not in ids
        assert at.asked[-1]["scope"] == "openid groups"


async def test_a_forged_token_signs_nobody_in(at: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stranger = RSAKey.generate_key(2048)

    def forged(algorithm: str, key: bytes = b"") -> Any:
        """Signs as the library refuses to."""

        def sign(claims: dict[str, Any]) -> str:
            head = {"alg": algorithm, "kid": at.keys[0].kid}
            text = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims))
            signature = urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=") if key else b""
            return (text + b"." + signature).decode()

        return sign

    def without(name: str) -> Any:
        return lambda claims: at.signed({key: value for key, value in claims.items() if key != name})

    now = int(time.time())
    attacks = {
        "nonce": lambda claims: at.signed({**claims, "nonce": "another"}),
        "no nonce": without("nonce"),
        "audience": lambda claims: at.signed({**claims, "aud": "another"}),
        "audience with azp": lambda claims: at.signed({**claims, "aud": ["another"], "azp": CLIENT_ID}),
        "no audience": without("aud"),
        "issuer": lambda claims: at.signed({**claims, "iss": "https://evil.example"}),
        "expired": lambda claims: at.signed({**claims, "exp": now - 120}),
        "no end": without("exp"),
        "from the future": lambda claims: at.signed({**claims, "iat": now + 3600, "exp": now + 7200}),
        "nobody": without("sub"),
        "alg none": forged("none"),
        "by the client secret": forged("HS256", CLIENT_SECRET.encode()),
        "by the public key": forged("HS256", at.keys[0].as_pem(private=False)),
        "by another key": lambda claims: at.signed(claims, key=stranger),
        "by another key of this name": lambda claims: jwt.encode(
            {"alg": "RS256", "kid": at.keys[0].kid}, claims, stranger
        ),
        "no token": lambda claims: "",
    }
    async with visiting(tmp_path / "log.sqlite3", client_of(at)) as (ada,):
        for name, sign in attacks.items():
            at.sign = sign
            caplog.clear()
            assert is_refused(await ada.sign_in(), "cannot be used", 502), name
            assert "Somebody could not sign in" in caplog.text, name
            assert (await ada.get("/config")).status_code == 401, name
        at.sign = lambda claims: at.signed(claims, "ES256")
        assert (await ada.sign_in()).status_code == 303
    assert CLIENT_SECRET not in caplog.text


async def test_a_sign_in_ends_where_it_began_once_and_in_time(
    at: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with visiting(tmp_path / "log.sqlite3", client_of(at), visitors=2) as (ada, eve):
        path = await ada.led_back()
        pending = ada.cookies[PENDING]
        assert (await ada.get(path)).status_code == 303
        ada.cookies.clear()
        assert is_refused(await ada.get(path), "Sign in again", 400)
        ada.cookies.set(PENDING, pending, "chat.example")
        assert is_refused(await ada.get(path), "Sign in again", 400)  # the provider's code is used up

        eves = await eve.led_back()  # Eve makes Ada's browser finish hers, so that Ada is signed in as Eve
        assert is_refused(await ada.get(eves), "in another browser", 400)
        path = await ada.led_back()
        assert is_refused(await ada.get(eves), "in another browser", 400)
        assert (await ada.get(path)).status_code == 303, "what did not begin here does not end what did"
        ada.cookies.clear()
        eves_code = parse_qs(urlsplit(eves).query)["code"][0]
        assert eves_code not in at.traded
        await ada.led_back()  # or puts her code beside Ada's state
        mixed = {"code": eves_code, "state": at.asked[-1]["state"]}
        assert is_refused(await ada.get("/kimi/login/callback", params=mixed), "Sign in again", 400)
        forged = {"state": "s", "nonce": "n", "code_verifier": "v", "redirect_uri": SITE, "next": "/", "exp": 9e9}
        ada.cookies.set(PENDING, jwt.encode({"alg": "HS256"}, forged, OctKey.generate_key()), "chat.example")
        assert is_refused(await ada.get("/kimi/login/callback?state=s&code=c"), "Sign in again", 400)
        ada.cookies.clear()

        for wanted in ("//evil.example", "https://evil.example", "/\\evil.example", "x"):
            assert (await ada.get(await ada.led_back(wanted))).headers["location"] == "/", wanted
            ada.cookies.clear()
        late = SimpleNamespace(time=lambda: time.time() - 601, monotonic=time.monotonic)
        monkeypatch.setattr("kimi_ui.web.openid.time", late)
        assert is_refused(await ada.sign_in(), "took too long", 400)


async def test_what_goes_wrong_is_a_sentence_with_a_remedy(
    at: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = client_of(at)
    away = replace(settings, issuer="http://127.0.0.1:9")
    slash = replace(settings, issuer=f"{at.issuer}/")
    wrong = replace(settings, client_secret="another-secret")
    async with visiting(tmp_path / "log.sqlite3", settings, away, slash, wrong) as (ada,):
        for server, words, status, logged in (
            (1, "127.0.0.1:9 does not answer. Try again in a minute.", 503, "ConnectError"),
            (2, "the terminal of this server says why", 502, f"make KIMI_UI_AUTH oidc:{at.issuer}"),
        ):
            assert is_refused(await ada.get("/kimi/login/start?next=/", server), words, status)
            assert logged in caplog.text
        assert is_refused(await ada.get(await ada.led_back(server=3), 3), "the terminal of this server says why", 502)
        assert "check KIMI_UI_OIDC_CLIENT_ID and KIMI_UI_OIDC_CLIENT_SECRET" in caplog.text
        assert "another-secret" not in caplog.text
        at.refusal = "access_denied"
        assert is_refused(await ada.sign_in(), "did not let you in. Sign in again, or ask whoever runs it", 403)
        at.refusal = "temporarily_unavailable"
        assert is_refused(await ada.sign_in(), "does not answer", 503)
        at.reset()
        assert (await ada.sign_in()).status_code == 303


async def test_the_provider_leads_back_to_the_public_address(at: Provider, tmp_path: Path) -> None:
    public = client_of(at, public_url="https://kimi.example.org/chat")
    async with visiting(tmp_path / "log.sqlite3", client_of(at)) as (ada,):
        await ada.led_back(prefix="/ui")
        assert at.asked[-1]["redirect_uri"] == f"{SITE}/ui/kimi/login/callback"
        assert (await ada.get("/kimi/login", headers={"Host": "evil.example"})).status_code == 400
    async with visiting(tmp_path / "log.sqlite3", public) as (ada,):
        path = await ada.led_back()
        assert at.asked[-1]["redirect_uri"] == "https://kimi.example.org/chat/kimi/login/callback"
        (pending,) = ada.cookies.jar
        sent = {"Cookie": f"{PENDING}={pending.value}"}  # over HTTP, by a proxy that does not say HTTPS
        answer = await ada.get(path.removeprefix("/chat"), headers=sent)
        assert answer.headers.get_list("set-cookie")[0].endswith("SameSite=strict; Secure")
        assert pending.secure


ENV = {
    "KIMI_UI_AUTH": "oidc:https://id.example.org/realms/x",
    "KIMI_UI_OIDC_CLIENT_ID": "kimi",
    "KIMI_UI_OIDC_CLIENT_SECRET": CLIENT_SECRET,
}


def test_settings_of_the_provider() -> None:
    more = {
        "KIMI_UI_OIDC_ADMINS": "groups = kimi=1",
        "KIMI_UI_OIDC_SCOPE": "email  groups",
        "KIMI_UI_OIDC_NAME": "nick",
    }
    settings = read_settings(env=ENV | more | {"KIMI_UI_PUBLIC_URL": "http://kimi.lan/chat/"})
    assert settings.auth
    assert settings.auth.openid == OpenIdProvider(
        "https://id.example.org/realms/x",
        "kimi",
        CLIENT_SECRET,
        scope="openid email groups",
        name="nick",
        admins=("groups", "kimi=1"),
        public_url="http://kimi.lan/chat",
    )
    assert CLIENT_SECRET not in repr(settings)
    for wrong, words in (
        ({"KIMI_UI_AUTH": "oidc:http://id.example.org"}, "https address"),
        ({"KIMI_UI_AUTH": "oidc:https://me:pass@id.example.org"}, "https address"),
        ({"KIMI_UI_AUTH": "oidc:id.example.org"}, "https address"),
        ({"KIMI_UI_OIDC_CLIENT_ID": " "}, "needs KIMI_UI_OIDC_CLIENT_ID"),
        ({"KIMI_UI_OIDC_CLIENT_SECRET": ""}, "needs KIMI_UI_OIDC_CLIENT_SECRET"),
        ({"KIMI_UI_OIDC_ADMINS": "kimi"}, "give it the claim and the value"),
        ({"KIMI_UI_PUBLIC_URL": "kimi.example.org"}, "give it the address of this page"),
        ({"KIMI_UI_PASSWORD": "x"}, "both set"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_settings(env=ENV | wrong)
