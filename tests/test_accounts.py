"""Accounts: who may sign in, what a session opens, and that nobody reads anything of another person."""

from __future__ import annotations

import asyncio
import io
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from kimi_ui import users_file
from kimi_ui.cli.main import main
from kimi_ui.config import Auth, ConfigError, read_settings
from kimi_ui.core.owner import ADMIN
from kimi_ui.users_file import UsersFile
from kimi_ui.web.accounts import Proxied
from kimi_ui.web.login import COOKIE
from kimi_ui.web.passwords import DEVICE
from kimi_ui.web.visitor import person_of, visitor_of
from tests.support.chat_site import ChatSite, open_site, spoken
from tests.support.waiting import until

PASSWORDS = {"ada": "correct horse 1", "bob": "battery staple 2"}


class Team:
    """The app with two people: Ada is an admin, Bob a member."""

    def __init__(self, site: ChatSite, file: UsersFile) -> None:
        self.site = site
        self.file = file
        self.ada = self.sign_in("ada")
        self.bob = self.sign_in("bob")

    def visit(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.site.url, headers=headers, trust_env=False, timeout=60)

    def sign_in(self, name: str) -> httpx.Client:
        """A browser of this person."""
        client = self.visit()
        assert sign_in(client, name, PASSWORDS[name]).status_code == 303
        return client

    def owner(self, name: str) -> str:
        return self.file.user(name).person.owner

    def forget_tries(self) -> None:
        self.site.writer.change(lambda log: log.execute("DELETE FROM sign_in_tries") or set()).result()


def sign_in(client: httpx.Client, name: str, password: str, **more: str) -> httpx.Response:
    return client.post("/kimi/login", data={"name": name, "password": password, **more})


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("accounts")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(users_file, "HASHER", PasswordHasher(time_cost=1, memory_cost=64))  # in a hundredth of the time
    file = UsersFile(folder / "users.toml")
    file.add("ada", PASSWORDS["ada"], ADMIN)
    file.add("bob", PASSWORDS["bob"])
    with open_site(folder, auth=Auth(users=file.path)) as site:
        made = Team(site, file)
        yield made
        made.ada.close()
        made.bob.close()
    monkeypatch.undo()


def sent(client: httpx.Client, site: ChatSite, text: str) -> dict[str, Any]:
    """Send a prompt and wait for its end; the conversation and its last turn."""
    answer = client.post("/kimi/turns", json={"text": text}).json()
    turn_id = answer["turns"][0]["turn_id"]
    until(lambda: site.turns.get(turn_id).closed)
    return {"conversation": answer["conversation"], "turn": turn_id}


def listed(client: httpx.Client) -> set[str]:
    return {one["id"] for one in client.get("/kimi/conversations").json()["conversations"]}


# -- signing in


def test_nothing_is_served_but_to_a_person(team: Team) -> None:
    with team.visit() as nobody:
        for path in ("/config", "/kimi/state", "/kimi/conversations", "/metrics", "/kimi/logout"):
            answer = nobody.get(path)
            assert (answer.status_code, answer.json()["code"]) == (401, "signed_out"), path
        visit = nobody.get("/?x=1", headers={"Accept": "text/html"})
        assert (visit.status_code, visit.headers["location"]) == (303, "/kimi/login?next=%2F%3Fx%3D1")
        assert nobody.get("/healthz").status_code == 200
        assert (team.ada.get("/metrics").status_code, team.bob.get("/metrics").status_code) == (200, 403)
        page = nobody.get("/kimi/login").text
        assert 'autocomplete="username"' in page
        assert 'autocomplete="current-password"' in page
        assert nobody.get("/config", headers={"Cookie": f"{COOKIE}=made-up"}).status_code == 401


def test_a_session_is_a_strict_cookie_and_leads_to_what_was_wanted(team: Team) -> None:
    with team.visit() as client:
        answer = sign_in(client, "ADA", PASSWORDS["ada"], next="/?x=1")
        assert answer.headers["location"] == "/?x=1"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.get("/kimi/conversations").json()["person"] == "ada"
        assert client.get("/kimi/login").status_code == 303
        assert sign_in(client, "bob", PASSWORDS["bob"], next="//evil.example").headers["location"] == "/"
        assert client.get("/kimi/conversations").json()["person"] == "bob"
        with team.visit(Cookie=cookie.split(";")[0]) as left_behind:
            assert left_behind.get("/config").status_code == 401
        refused = client.post("/kimi/login", data={"name": "ada"}, headers={"Origin": "https://evil.example"})
        assert refused.status_code == 403


def test_wrong_names_and_passwords_get_one_answer_until_they_must_wait(team: Team) -> None:
    with team.visit() as client:
        answers = [sign_in(client, name, "guess") for name in ("eve<b>", "bob", "bob", "bob", "bob", "bob")]
        assert {answer.status_code for answer in answers} == {401}
        assert all("The name or the password is wrong." in answer.text for answer in answers)
        assert "<b>" not in answers[0].text
        assert "guess" not in "".join(answer.text for answer in answers)
        waiting = sign_in(client, "bob", PASSWORDS["bob"])
        assert waiting.status_code == 429
        assert 0 < int(waiting.headers["retry-after"]) <= 61
        assert sign_in(client, "ada", PASSWORDS["ada"]).status_code == 303
    team.site.writer.flush().result()
    tries = team.site.reader.rows("SELECT count(*) FROM sign_in_tries")[0][0]
    assert tries == 6 * 3  # in the log, so that other servers count them too
    team.forget_tries()


def test_strangers_tries_do_not_keep_a_person_out_of_a_browser_of_theirs(team: Team) -> None:
    def tried(address: str, password: str, device: str = "", name: str = "fay") -> httpx.Response:
        with team.visit(**{"X-Forwarded-For": address, "Cookie": f"{DEVICE}={device}"}) as client:
            return sign_in(client, name, password)

    right = "a third password"
    team.file.add("fay", right)
    signed_in = tried("203.0.113.9", right)
    cookie = signed_in.headers.get_list("set-cookie")[1]
    assert "HttpOnly; Max-Age=31536000; Path=/; SameSite=strict" in cookie
    device = cookie.removeprefix(f"{DEVICE}=").split(";")[0]
    for k in range(4):
        assert [tried(f"203.0.113.{k}", "guess").status_code for _ in range(6)] == [401] * 5 + [429]
    assert tried("203.0.113.9", right).status_code == 429  # that is 20 tries for the name
    for other in (team.bob.cookies[DEVICE], f"{device}0", "x.y", "."):
        assert tried("203.0.113.9", right, other).status_code == 429, other
    for address in ("203.0.113.0", "203.0.113.9"):
        answer = tried(address, right, device)
        assert answer.status_code == 303
        assert device in answer.headers["set-cookie"]
    assert tried("203.0.113.0", PASSWORDS["bob"], device, "bob").status_code == 303
    assert [tried("203.0.113.10", "guess", device).status_code for _ in range(6)] == [401] * 5 + [429]  # it was stolen
    team.file.set_password("fay", "a fourth password")
    assert tried("203.0.113.9", "a fourth password", device).status_code == 429
    team.file.remove("fay")
    team.forget_tries()


def test_a_person_signs_out_here_or_everywhere(team: Team) -> None:
    here, there = team.sign_in("ada"), team.sign_in("ada")
    with closing(here), closing(there):
        assert "ada" in here.get("/kimi/logout").text
        assert here.post("/kimi/logout").status_code == 303
        assert here.get("/config").status_code == 401
        assert there.get("/config").status_code == 200
        assert there.post("/kimi/logout", data={"everywhere": "yes"}).status_code == 303
        assert there.get("/config").status_code == 401
        assert team.ada.get("/config").status_code == 401
        assert team.bob.get("/config").status_code == 200
    team.ada.close()
    team.ada = team.sign_in("ada")


def test_the_users_command_ends_sessions_at_once(team: Team, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def users(*arguments: str, stdin: str = "") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        return main(["users", *arguments, "--file", str(team.file.path)])

    assert users("add", "cid", stdin="first secret\n") == 0
    with team.visit() as cid:
        assert sign_in(cid, "cid", "first secret").status_code == 303
        assert cid.post("/kimi/lanes", json={}).status_code == 403
        assert users("role", "cid", "admin") == 0
        assert cid.post("/kimi/lanes", json={}).status_code == 400  # allowed, but there is no change in it
        assert users("passwd", "cid", stdin="second secret\n") == 0
        assert cid.get("/config").status_code == 401
        assert sign_in(cid, "cid", "first secret").status_code == 401
        assert sign_in(cid, "cid", "second secret").status_code == 303
        assert users("list") == 0
        assert users("remove", "cid") == 0
        assert cid.get("/config").status_code == 401
    said = capsys.readouterr()
    assert "cid  admin" in said.out
    assert "secret" not in said.out + said.err
    for wrong, stdin, words in (
        (("add", "ada"), "another one\n", "There is a user ada already"),
        (("add", "x y"), "another one\n", "is not a name"),
        (("add", "dee"), "short\n", "8 to 1,000 characters"),
        (("passwd", "cid"), "another one\n", "There is no user cid; the users are: ada, bob."),
    ):
        assert users(*wrong, stdin=stdin) == 2
        assert words in capsys.readouterr().err
    assert [user.name for user in team.file.users()] == ["ada", "bob"]
    assert stat.S_IMODE(team.file.path.stat().st_mode) == 0o600


# -- what belongs to a person


def test_everything_of_a_person_follows_them_to_every_browser(team: Team) -> None:
    sent_here = sent(team.ada, team.site, "Ada's plan")
    team.ada.put("/kimi/budget", json={"day_usd": 5})
    team.ada.put(f"/kimi/settings?c={sent_here['conversation']}", json={"system": "Be brief.", "lanes": {}})
    team.ada.post(f"/kimi/turns/{sent_here['turn']}/vote", json={"choice": "tie"})
    with closing(team.sign_in("ada")) as elsewhere:
        assert sent_here["conversation"] in listed(elsewhere)
        state = elsewhere.get("/kimi/state", params={"turn": sent_here["turn"]}).json()
        assert state["turns"][0]["vote"]["choice"] == "tie"
        assert elsewhere.get("/kimi/budget").json()["day_usd"] == 5
        settings = elsewhere.get(f"/kimi/settings?c={sent_here['conversation']}").json()["settings"]
        assert settings["system"] == "Be brief."
        assert "kimi_owner" not in elsewhere.cookies
    assert sent_here["conversation"] not in listed(team.bob)
    assert team.bob.get("/kimi/budget").json()["day_usd"] is None


# -- a proxy that says who it is


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"KIMI_UI_AUTH": "ldap:x"}, "users:PATH"),
        ({"KIMI_UI_AUTH": "users:"}, "users:PATH"),
        ({"KIMI_UI_AUTH": "proxy:"}, "proxy:HEADER"),
        ({"KIMI_UI_AUTH": "proxy:X-User"}, "so name the proxy: KIMI_UI_PROXY=ADDRESS"),
        ({"KIMI_UI_AUTH": "proxy:X-User", "KIMI_UI_PROXY": "proxy.example"}, "give it addresses like"),
        ({"KIMI_UI_AUTH": "proxy:X-User", "KIMI_UI_PROXY": "10.0.0.5, 0.0.0.0/0"}, "every address there is"),
        ({"KIMI_UI_AUTH": "users:u.toml", "KIMI_UI_PASSWORD": "x"}, "both set"),
    ],
)
def test_a_setting_that_would_let_others_in_is_refused_at_the_start(env: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_settings(env=env)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (None, 0o600, "There is no users file"),
        ("# nobody\n", 0o600, "has no users; add the first"),
        ('[[user]]\nname = "ada"\n', 0o600, "User 1"),
        ("x", 0o600, "is not TOML"),
        ("# nobody\n", 0o640, "chmod 600"),
    ],
)
def test_a_users_file_with_which_nobody_can_sign_in_is_refused_at_the_start(
    text: str | None, mode: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = tmp_path / "users.toml"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    monkeypatch.setenv("KIMI_UI_AUTH", f"users:{path}")
    assert main(["serve", "--no-browser", "--port", "0", "--db", str(tmp_path / "log.sqlite3")]) == 2
    assert words in capsys.readouterr().err


def asked(auth: Auth, peer: str, path: str = "/kimi/state", **headers: str) -> tuple[int, Any]:
    """The status of a request from this peer; what the app behind was told: owner, name, role and client address."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        person = person_of(Request(scope))
        seen.append((*(person or ()), visitor_of(Request(scope)), scope["client"][0]))
        await PlainTextResponse("")(scope, receive, send)

    transport = httpx.ASGITransport(Proxied(app, auth, open=["/healthz"]), client=(peer, 1))

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()})

    return asyncio.run(get()).status_code, seen[0] if seen else None


def test_only_the_proxys_header_says_who_it_is() -> None:
    auth = read_settings(
        env={"KIMI_UI_AUTH": "proxy:X-User", "KIMI_UI_PROXY": "10.0.0.5,10.1.0.0/16", "KIMI_UI_ADMINS": "Ada"}
    ).auth
    assert auth
    status, ada = asked(auth, "10.0.0.5", X_User="ada", X_Forwarded_For="203.0.113.7")
    assert (status, ada[1:3], ada[-1]) == (200, ("ada", ADMIN), "203.0.113.7")
    assert ada[3] == f"person:{ada[0]}"
    _, bob = asked(auth, "::ffff:10.1.2.3", X_User="bob")
    assert bob[1:3] == ("bob", "member")
    assert bob[0] != ada[0] == asked(auth, "10.1.2.3", X_User="Ada")[1][0]
    assert asked(auth, "10.0.0.6", X_User="ada") == (403, None)
    assert asked(auth, "127.0.0.1", X_User="ada", X_Forwarded_For="10.0.0.5") == (403, None)
    for named in ({}, {"X_User": ""}, {"X_User": "a" * 201}, {"X_User": "a\tb"}):
        assert asked(auth, "10.0.0.5", **named) == (401, None)
    assert asked(auth, "192.0.2.1", "/healthz")[0] == 200


def test_what_a_program_sends_for_a_person_is_theirs(team: Team) -> None:
    call = "/gradio_api/call/compare"
    event_id = team.bob.post(call, json={"data": ["Why?", ["qwen"]]}).json()["event_id"]
    assert "event: complete" in team.bob.get(f"{call}/{event_id}").text
    newest = team.site.reader.turns(team.owner("bob"))[0]
    assert newest.prompt == "Why?"
    assert newest.conversation_id in listed(team.bob)
    assert newest.conversation_id not in listed(team.ada)


def test_the_share_links_of_a_person_who_was_removed_show_nothing(team: Team) -> None:
    team.file.add("gil", PASSWORDS["ada"])
    with team.visit() as gil, team.visit() as guest:
        assert sign_in(gil, "gil", PASSWORDS["ada"]).status_code == 303
        wanted = {"conversation": sent(gil, team.site, "Gil's plan")["conversation"], "days": 7}
        path = gil.post("/kimi/shares", json=wanted).json()["path"]
        assert guest.get(path).status_code == 200
        team.file.remove("gil")
        assert guest.get(path).status_code == 404


def test_nothing_more_is_sent_for_a_person_who_was_removed(team: Team) -> None:
    team.file.add("dee", PASSWORDS["ada"])
    owner, gate = team.owner("dee"), threading.Event()
    team.site.say([gate, *spoken()])
    with team.visit() as dee:
        assert sign_in(dee, "dee", PASSWORDS["ada"]).status_code == 303
        first = dee.post("/kimi/turns", json={"text": "First"}).json()
        again = {"text": "Second", "conversation": first["conversation"], "queue": True}
        assert dee.post("/kimi/turns", json=again).status_code == 202
        run = {"lanes": ["kimi"], "size": "chosen", "categories": ["reasoning"]}
        assert dee.post("/kimi/benchmark/runs", json=run).status_code == 201
        until(lambda: len(team.site.turns.live()) == 2)  # its warm-up waits too
        team.file.remove("dee")
        gate.set()
        query = """
            SELECT q.state, q.reason, b.state, b.state_reason FROM queued_prompts q, benchmarks b
            WHERE q.owner = :owner AND b.owner = :owner
        """
        why = "Whoever began this cannot sign in any more, so nothing more is sent for them."
        until(lambda: team.site.reader.rows(query, owner=owner) == [("held", why, "stopped", why)])
        assert dee.get("/kimi/state").status_code == 401
        team.file.add("dee", PASSWORDS["ada"])
        assert sign_in(dee, "dee", PASSWORDS["ada"]).status_code == 303  # somebody else
        assert listed(dee) == set()
    _warm_up, first = team.site.reader.turns(owner)
    assert first.prompt == "First"
    team.site.settle()
