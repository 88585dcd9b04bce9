"""With accounts nobody reads or changes anything of another person, by whatever route: each route of the app is asked
with the ids of another person's things and with ids of nothing, and must answer alike.

A new route fails here until it is in one of the two tables.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from starlette.routing import Route

from kimi_ui import users_file
from kimi_ui.config import Auth
from kimi_ui.core.events import CONNECTED, Phase, Reasoning
from kimi_ui.core.owner import ADMIN
from kimi_ui.log.records import Op
from kimi_ui.users_file import UsersFile
from kimi_ui.web import accounts
from tests.support.browser import made
from tests.support.chat_site import ChatSite, open_site, spoken
from tests.support.engine_run import Run
from tests.support.image_files import picture
from tests.support.waiting import until

SECRET = "mirabelle"
PASSWORD = "correct horse 1"
N_ATTEMPTS = 6  # of a turn: of each lane, and heavy's three trajectories
OF_SOMEBODY = ("turn_id", "conversation_id", "prompt_id", "key", "run", "attempt_id", "link_id")
OF_NOBODY = {"lane": "kimi", "number": "1", "place": "0", "k": "0", "form": "csv", "name": "x"}

Asked = dict[tuple[str, str], tuple[dict[str, str], Any]]

WITH_IDS: Asked = {
    ("GET", "/kimi/state"): ({"c": "{conversation_id}", "turn": "{turn_id}"}, None),
    ("POST", "/kimi/turns"): ({}, {"text": "More?", "conversation": "{conversation_id}", "queue": True}),
    ("GET", "/kimi/turns/{turn_id}/diff"): ({"left": "kimi", "right": "qwen"}, None),
    ("POST", "/kimi/turns/{turn_id}/vote"): ({}, {"choice": "tie"}),
    ("POST", "/kimi/turns/{turn_id}/lanes/{lane}/aggregate"): ({}, {"strategy": "majority"}),
    ("POST", "/kimi/conversations/marks"): ({}, {"ids": ["{conversation_id}"], "mark": "deleted", "on": True}),
    ("POST", "/kimi/conversations/erase"): ({}, {"ids": ["{conversation_id}"]}),
    ("GET", "/kimi/conversations/export"): ({"ids": "{conversation_id}"}, None),
    ("GET", "/kimi/shares"): ({"conversation": "{conversation_id}"}, None),
    ("POST", "/kimi/shares"): ({}, {"conversation": "{conversation_id}", "turn": "{turn_id}", "days": 1}),
    ("GET", "/kimi/versions"): ({"c": "{conversation_id}"}, None),
    ("PUT", "/kimi/conversations/{conversation_id}/title"): ({}, {"title": "Mine"}),
    ("POST", "/kimi/conversations/{conversation_id}/queue/{prompt_id}/send"): ({}, {"lanes": []}),
    ("GET", "/kimi/images"): ({"c": "{conversation_id}"}, None),
    ("POST", "/kimi/estimate"): ({}, {"conversation": "{conversation_id}", "attachments": ["{key}"], "text": "x"}),
    ("GET", "/kimi/spent"): ({"c": "{conversation_id}"}, None),
    ("GET", "/kimi/settings"): ({"c": "{conversation_id}"}, None),
    ("PUT", "/kimi/settings"): ({"c": "{conversation_id}"}, {"system": "Mine.", "lanes": {}}),
    ("GET", "/kimi/advice"): ({"c": "{conversation_id}"}, None),
    ("POST", "/kimi/lanes/{lane}/pull"): ({"turn": "{turn_id}"}, None),
    ("GET", "/kimi/stats/attempts.csv"): ({"conversation": "{conversation_id}"}, None),
    ("GET", "/kimi/stats/attempts.jsonl"): ({"conversation": "{conversation_id}"}, None),
    ("POST", "/kimi/benchmark/runs/{run}/ballot"): ({}, {"id": "x", "choice": "tie"}),
    ("GET", "/kimi/benchmark/compare"): ({"a": "{run}", "b": "{run}"}, None),
}
"""Where an id is in the query or the body. A route with the id of something of somebody in its path is asked anyway."""

OF_ADMINS = {("GET", "/kimi/stats/attempts.csv"), ("GET", "/kimi/stats/attempts.jsonl")}
"""An admin has the figures of everybody's attempts, without any text."""

WITHOUT_IDS = {
    *(("POST", path) for path in ("/kimi/conversations", "/kimi/attachments", "/kimi/lanes", "/kimi/lanes/models")),
    *(("GET", path) for path in ("/kimi/conversations", "/kimi/search", "/kimi/blind", "/kimi/budget", "/metrics")),
    *(("GET", path) for path in ("/kimi/examples", "/kimi/examples/{name}", "/kimi/lanes", "/kimi/lanes-file")),
    *(("GET", path) for path in ("/kimi/pulls", "/kimi/lanes/{lane}/models", "/kimi/stats/log.sqlite3")),
    *(("GET", path) for path in ("/kimi/benchmark", "/kimi/benchmark/progress", "/healthz", "/readyz")),
    ("GET", "/kimi/notice"),
    *(("GET", path) for path in ("/kimi/page/{name}", "/kimi/fonts/math.ttf")),
    *(("POST", f"/kimi/benchmark/{name}") for name in ("estimate", "runs", "stop")),
    *((method, "/kimi/lanes/{lane}/pull") for method in ("POST", "DELETE")),
    ("POST", "/kimi/lanes/{lane}/check"),
    ("PUT", "/kimi/budget"),
}
"""Routes that answer with what belongs to the visitor or to all."""


class Team:
    """Ada, who has one of everything; the member Bob and the admin Cid, who must read none of it."""

    def __init__(self, site: ChatSite, file: UsersFile) -> None:
        self.site = site
        self.ada = self.sign_in("ada")
        self.bob = self.sign_in("bob")
        self.cid = self.sign_in("cid")
        self.ids = self._of_ada(file.user("ada").person.owner)

    def sign_in(self, name: str) -> httpx.Client:
        client = httpx.Client(base_url=self.site.url, trust_env=False, timeout=60)
        assert client.post("/kimi/login", data={"name": name, "password": PASSWORD}).status_code == 303
        return client

    def _of_ada(self, owner: str) -> dict[str, str]:
        self.site.say(spoken(answer=f"It is a {SECRET}."), spoken(answer=f"It is a {SECRET}."))
        prompt = {"text": f"Plant a {SECRET}?", "attachments": [self.text(), self.image()]}
        first = self.ada.post("/kimi/turns", json=prompt).json()
        conversation, turn_id = first["conversation"], first["turns"][0]["turn_id"]
        until(lambda: self.site.turns.get(turn_id).closed)
        held = [Phase(CONNECTED), Reasoning("Let me think."), threading.Event()]
        self.site.say(held, held)
        again = {"text": "And then?", "conversation": conversation}
        self.running = self.ada.post("/kimi/turns", json=again).json()["turns"][0]["turn_id"]
        more = {**again, "text": SECRET, "queue": True, "attachments": [self.image()]}
        queued = self.ada.post("/kimi/turns", json=more).json()["queue"][0]["id"]
        until(lambda: len(self.site.turns.get(self.running).fold().attempts) == N_ATTEMPTS)  # none comes later
        run: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "owner": owner,
            "boot_id": "x",
            "state": "stopped",
            "state_reason": "",
        }
        run |= {"started_at_utc": "2026-11-30T00:00:00.000+00:00", "size": "quick", "suite_version": 1, "seed": 1}
        self.site.writer.write([Op("benchmarks", {**run, "epochs": 1, "order_seed": 1, "app_version": "x"})]).result()
        attempt = self.site.turns.get(turn_id).fold().current("kimi")
        link = self.ada.post("/kimi/shares", json={"conversation": conversation, "turn": turn_id, "days": 1}).json()
        values = (turn_id, conversation, queued, self.image(), str(run["id"]), attempt, link["id"])
        return dict(zip(OF_SOMEBODY, values, strict=True))

    def text(self) -> str:
        answer = self.ada.post("/kimi/attachments", params={"name": "a.txt"}, content=f"about the {SECRET}".encode())
        return str(answer.json()["id"])

    def image(self) -> str:
        answer = self.ada.post("/kimi/attachments", params={"name": "a.png"}, content=picture())
        return str(answer.json()["id"])

    def of_ada(self) -> list[Any]:
        """What others must not change."""
        queries = (
            "SELECT title, deleted_at_utc, archived_at_utc FROM conversations WHERE owner = :owner",
            "SELECT turn_id, kind FROM turns WHERE owner = :owner ORDER BY turn_id",
            "SELECT choice FROM votes",
            "SELECT settings FROM conversation_settings",
            "SELECT prompt_id, state FROM queued_prompts ORDER BY prompt_id",
            "SELECT state FROM benchmarks",
            "SELECT count(*) FROM attempts",
            "SELECT link_id FROM share_links",
        )
        self.site.writer.flush().result()
        owner = self.site.turns.get(self.ids["turn_id"]).owner
        return [self.site.reader.rows(query, **({"owner": owner} if ":owner" in query else {})) for query in queries]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("nobody_else")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(users_file, "HASHER", PasswordHasher(time_cost=1, memory_cost=64))  # in a hundredth of the time
        file = UsersFile(folder / "users.toml")
        file.add("ada", PASSWORD)
        file.add("bob", PASSWORD)
        file.add("cid", PASSWORD, ADMIN)
        with open_site(folder, auth=Auth(users=file.path)) as site:
            made = Team(site, file)
            with closing(made.ada), closing(made.bob), closing(made.cid):
                yield made
                site.settle()


@pytest.fixture(scope="module")
def routes(team: Team) -> set[tuple[str, str]]:
    """Our own routes, as the app has them: method and path."""
    app = made(Run(team.site.engine, team.site.turns), team.site.engine._roster)
    found = {(method, one.path) for one in app.routes if type(one) is Route for method in one.methods or ()}
    return {(method, path.replace(":int}", "}")) for method, path in found if method != "HEAD"}


def has_id(path: str) -> bool:
    return any(f"{{{name}}}" in path for name in OF_SOMEBODY)


def filled(value: Any, ids: dict[str, str]) -> Any:
    """The ids in place of their names."""
    if isinstance(value, str):
        for name, id in {**OF_NOBODY, **ids}.items():
            value = value.replace(f"{{{name}}}", id)
        return value
    if isinstance(value, dict):
        return {name: filled(one, ids) for name, one in value.items()}
    return [filled(one, ids) for one in value] if isinstance(value, list) else value


def ask(client: httpx.Client, route: tuple[str, str], ids: dict[str, str]) -> tuple[int, str]:
    """The status and the text of the answer, in which all ids are alike."""
    method, path = route
    query, body = WITH_IDS.get(route, ({}, {} if method in ("POST", "PUT") else None))
    url, params = filled(path, ids), filled(query, ids)
    with client.stream(method, url, params=params, json=filled(body, ids) if body is not None else None) as answer:
        text = "" if "event-stream" in answer.headers["content-type"] else answer.read().decode(errors="replace")
    for id in ids.values():
        text = text.replace(id, "ID")
    return answer.status_code, text


def test_each_route_of_the_app_is_in_a_table(routes: set[tuple[str, str]]) -> None:
    asked = {route for route in routes if has_id(route[1])} | set(WITH_IDS)
    assert routes - asked - WITHOUT_IDS == set(), "say whether these take an id of somebody's"
    assert (WITHOUT_IDS | set(WITH_IDS)) - routes == set(), "these are no routes any more"
    assert not [path for _, path in WITHOUT_IDS if has_id(path)]


def test_another_persons_things_do_not_exist(team: Team, routes: set[tuple[str, str]]) -> None:
    nothing = {name: uuid.uuid4().hex for name in team.ids}
    before = team.of_ada()
    alike: list[str] = []
    differ: list[str] = []
    for route in sorted({route for route in routes if has_id(route[1])} | set(WITH_IDS)):
        for other in (team.bob, team.cid):
            hers, none = ask(other, route, team.ids), ask(other, route, nothing)
            assert hers == none or (other is team.cid and route in OF_ADMINS), route
            assert SECRET not in hers[1], route
        if route[0] == "GET":
            (alike if ask(team.ada, route, team.ids) == none else differ).append(route[1])
    assert alike == [], "the test asks these with ids that mean nothing even to their owner"
    assert len(differ) > 25
    assert team.of_ada() == before
    assert not team.site.turns.get(team.running).closed
    assert team.bob.post(f"/kimi/turns/{team.running}/stop").status_code == 404


def test_lists_searches_and_downloads_have_only_ones_own(team: Team) -> None:
    for path in sorted(path for method, path in WITHOUT_IDS if method == "GET" and path != "/kimi/lanes"):
        for other in (team.bob, team.cid):
            answer = other.get(filled(path, {}), params={"q": SECRET})
            assert SECRET.encode() not in answer.content, path
            assert team.ids["conversation_id"].encode() not in answer.content, path
    assert team.ids["conversation_id"] in team.ada.get("/kimi/search", params={"q": SECRET}).text
    assert team.ids["turn_id"] not in team.bob.get("/kimi/stats/attempts.csv").text
    everybody = team.cid.get("/kimi/stats/attempts.csv").text
    assert team.ids["turn_id"] in everybody  # an admin has all figures …
    assert SECRET not in everybody  # … and no text
    assert SECRET in team.ada.get("/kimi/stats/attempts.csv").text


def test_an_answer_is_followed_no_longer_than_its_session_lasts(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "LOOK_S", 0.05)
    with (
        closing(team.sign_in("ada")) as page,
        httpx.Client(base_url=team.site.url, cookies=dict(page.cookies), trust_env=False, timeout=60) as button,
        page.stream("GET", f"/kimi/turns/{team.running}/events") as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "retry: 500"
        assert button.post("/kimi/logout").status_code == 303
        assert "event: end" not in list(lines)
    assert not team.site.turns.get(team.running).closed


def called(client: httpx.Client, endpoint: str, *data: Any) -> str:
    """What a named endpoint of Gradio answers."""
    event_id = client.post(f"/gradio_api/call/{endpoint}", json={"data": list(data)}).json()["event_id"]
    return client.get(f"/gradio_api/call/{endpoint}/{event_id}").text


def test_named_endpoints_answer_for_the_person(team: Team) -> None:
    public = {
        one["api_name"] for one in team.bob.get("/config").json()["dependencies"] if one["api_visibility"] == "public"
    }
    assert public == {"compare", "turn", "stats"}, "say below what a new endpoint answers about another person"
    assert SECRET in called(team.ada, "turn", team.ids["turn_id"])
    hers, none = (called(team.bob, "turn", id) for id in (team.ids["turn_id"], uuid.uuid4().hex))
    assert hers == none
    assert "event: error" in hers
    counted = {person: called(person, "stats", [], [], 0) for person in (team.ada, team.bob, team.cid)}
    assert counted[team.bob] != counted[team.ada] == counted[team.cid]
    assert SECRET not in counted[team.cid]
