"""Several replicas over one log and one bus: a real Redis, two apps over HTTP, a process that is killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from redis import Redis

from kimi_ui.bus import bus as bus_module
from kimi_ui.bus.bus import GONE_S, LEASE_S, Bus, BusError
from kimi_ui.bus.publisher import Publisher
from kimi_ui.bus.wire import REPLICA, UP, Header, home_of, inbox_of, owner_of, pack_entries, unpack_entries
from kimi_ui.core.events import CONNECTED, Answer, End, Entry, Finish, Opened, Phase, Reasoning, Usage
from kimi_ui.core.owner import LOCAL
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.core.vote import Vote
from kimi_ui.log.places import Place
from kimi_ui.log.records import exact_json
from kimi_ui.log.store import LogError
from tests.support.bus_server import BusServer
from tests.support.nginx import Nginx
from tests.support.postgres import Cluster
from tests.support.replicas import DRAWN, Replica, replica
from tests.support.waiting import ended, until


@pytest.fixture(autouse=True, scope="module")
def unhurried() -> Iterator[None]:
    """A busy machine may stop a process for seconds, which must not count as the death of a replica or of the bus."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LEASE_S", "GONE_S", "SOCKET_S", "START_S", "FETCH_S"):
            patch.setattr(bus_module, name, 60.0)
        for name in ("bus.inbox.ANSWER_S", "bus.publisher.FLUSH_S", "turns.LOOK_S", "web.replicas.LOOK_S"):
            patch.setattr(f"kimi_ui.{name}", 60.0)
        patch.setattr(bus_module, "SETTLE_S", 0.0)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusServer]:
    server = BusServer(tmp_path_factory.mktemp("bus"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An SQLite file, then a database in PostgreSQL."""
    if request.param == "sqlite":
        yield tmp_path_factory.mktemp("log") / "log.sqlite3"
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))  # where rows are spilled
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.new_log()
        yield url
        cluster.drop(url)


@pytest.fixture(scope="module")
def both(server: BusServer, log: Place) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas over one log. The first is the visitor's home."""
    with replica(log, server.url) as home, replica(log, server.url) as other:
        home.http.get("/kimi/state")
        yield home, other


def test_a_header_and_entries_come_back_as_they_were() -> None:
    info = LaneInfo("a", "A", "openai", "m")
    vote = Vote("lane", "a", ("a",))
    turn = TurnLog("t", "c", 3, "Why?", (info,), owner="me", t0_ns=5, slots=("a",), vote=vote, forked_from="d")
    mirror = Header.read(Header.of(turn, "replica", "run").pack()).mirror()
    assert mirror.t0_ns
    mirror.t0_ns = turn.t0_ns
    assert mirror == turn

    identity = {"attempt_id": "x", "turn_id": "t", "lane": "a", "label": "A"}
    events = [Opened(identity), *DRAWN, Usage(raw={"n": 2**70}), End("error", retry_in_s=0.5)]
    entries = [Entry("a", "", 0, Phase("preparing")), *(Entry("a", "x", i, event) for i, event in enumerate(events))]
    assert unpack_entries(pack_entries(entries)) == entries
    with pytest.raises(ValueError, match="cannot be read"):
        unpack_entries(b"of another version")


def test_an_invalid_address_is_refused_without_quoting_it(both: tuple[Replica, Replica]) -> None:
    with pytest.raises(BusError, match="make it like") as refused:
        Bus("redis://me:pass#word@host", both[0].run.turns)
    assert "pass" not in str(refused.value)


def test_a_turn_of_one_is_watched_and_stopped_at_the_other(both: tuple[Replica, Replica]) -> None:
    home, other = both
    hold = threading.Event()
    home.say(hold)
    sent = other.send()  # passed on
    assert sent.status_code == 201
    turn_id = sent.json()["turns"][0]["turn_id"]
    turn, mirror = home.run.turns.get(turn_id), other.run.turns.get(turn_id)
    assert turn is not None
    assert mirror is not None
    assert other.run.turns.runs_elsewhere(turn_id) == home.bus.me
    assert not home.run.turns.runs_elsewhere(turn_id)
    until(lambda: len(mirror.entries) == len(turn.entries) > len(DRAWN))
    assert abs(mirror.t0_ns - turn.t0_ns) < 60e9  # one machine: the same clock

    shown = other.events(turn_id)
    name, first = next(shown)
    assert (name, first["turn"]["turn_id"]) == ("message", turn_id)
    assert other.http.post(f"/kimi/turns/{turn_id}/stop").status_code == 202
    assert [name for name, _ in shown][-1] == "end"
    assert ended(turn).newest("kimi").status == "stopped"
    assert mirror.entries == turn.entries
    assert other.run.turns.get(turn_id).fold().newest("kimi").reasoning == "".join(step.text for step in DRAWN[1:])

    home.say()
    again = other.http.post(f"/kimi/turns/{turn_id}/lanes/kimi/retry")  # of a turn that the other has read from the log
    assert again.status_code == 202
    assert "It is 42." in other.text(turn_id)
    assert "It is 42." in home.text(turn_id)
    vote = other.http.post(f"/kimi/turns/{turn_id}/vote", json={"choice": "lane", "lane": "kimi"})
    assert vote.json()["vote"]["lane"] == "kimi"
    assert other.run.turns.get(turn_id).vote == home.run.turns.get(turn_id).vote


def test_what_a_process_keeps_of_a_visitor_is_the_same_at_both(both: tuple[Replica, Replica]) -> None:
    home, other = both
    hold = threading.Event()
    home.say(hold)
    attached = other.http.post("/kimi/attachments?name=a.txt", content=b"It is blue.").json()
    settings = {"system": "Be brief.", "lanes": {}}
    assert other.http.put("/kimi/settings", json=settings).status_code == 200
    first = home.send(attachments=[attached["id"]]).json()
    assert "It is blue." in home.run.turns.get(first["turns"][0]["turn_id"]).prompt
    assert home.run.turns.get(first["turns"][0]["turn_id"]).system == "Be brief."

    conversation = first["conversation"]
    queued = other.send("And then?", conversation=conversation, queue=True)
    assert (queued.status_code, len(queued.json()["queue"])) == (202, 1)
    assert home.http.get(f"/kimi/conversations/{conversation}/queue").json() == other.http.get(
        f"/kimi/conversations/{conversation}/queue"
    ).json() | {"newest": first["turns"][0]["turn_id"]}
    refused = other.send("Now!", conversation=conversation)
    assert (refused.status_code, refused.json()["code"]) == (409, "busy")
    hold.set()
    until(lambda: len(home.run.turns.conversation(conversation)) == 2 and not home.run.turns.n_running)
    assert [turn.seq for turn in other.run.turns.conversation(conversation)] == [0, 1]


def test_a_session_of_gradio_begins_at_home_and_goes_on_where_it_began(
    both: tuple[Replica, Replica], server: BusServer
) -> None:
    home, other = both
    joined = other.http.post("/gradio_api/queue/join", json={"session_hash": "s1"})
    assert joined.text == f"{home.bus.me} s1"
    with Redis.from_url(server.url) as redis:
        redis.set(home_of("session:s2"), other.bus.me)  # it began before the visitor moved
    for session, began in (("s1", home), ("s2", other)):
        words = f"{began.bus.me} {session}"
        for one in both:
            assert one.http.post("/gradio_api/queue/join", json={"session_hash": session}).text == words
            assert one.http.get(f"/gradio_api/queue/data?session_hash={session}").text == f"{words} {one.address} "


def test_the_two_requests_of_a_named_endpoint_are_carried_out_by_one_replica(both: tuple[Replica, Replica]) -> None:
    home, other = both
    assert other.http.post("/gradio_api/call/compare", json={"data": ["Why?"]}).text == home.bus.me
    assert other.http.get("/gradio_api/call/compare/event").text == home.bus.me


async def test_no_request_is_carried_out_before_its_new_home_has_forgotten_what_it_knew(
    both: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, other = both
    begun, go_on, done = threading.Event(), threading.Event(), []

    def moved_in(visitor: str | None) -> None:
        begun.set()
        go_on.wait()
        done.append(visitor)
        raise LogError("The log cannot be read.", "")

    async def request() -> None:
        assert await other.bus.home("ada") == other.bus.me
        done.append("carried out")

    monkeypatch.setattr(other.bus, "moved_in", moved_in)
    given_up = asyncio.create_task(request())
    await asyncio.to_thread(begun.wait)
    given_up.cancel()
    requests = [asyncio.create_task(request()) for _ in range(2)]
    for _ in range(20):
        await other.bus.place_of("a session", LOCAL)  # so often that the bus would have answered for them too
    go_on.set()
    await asyncio.gather(*requests)
    assert done == ["ada", "carried out", "carried out"]


def test_a_command_of_another_version_is_answered_and_harms_no_other(
    both: tuple[Replica, Replica], server: BusServer, caplog: pytest.LogCaptureFixture
) -> None:
    home, other = both
    with Redis.from_url(server.url) as redis:
        redis.xadd(inbox_of(home.bus.me), {"command": exact_json(["id", other.bus.me, "GET"]), "body": b""})
    assert other.http.get("/kimi/budget").status_code == 200
    until(lambda: "a command of another replica failed" in caplog.text)
    assert "internal error" not in caplog.text


def test_a_page_can_be_opened_while_its_home_is_dying(
    both: tuple[Replica, Replica], server: BusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimi_ui.bus.inbox.LOOK_S", 0.1)
    _, other = both
    with Redis.from_url(server.url) as redis:
        for method, path, status in (("GET", "/kimi/state", 200), ("POST", "/kimi/estimate", 503)):
            dying = f"dying-{method}"
            redis.set(REPLICA + dying, UP)
            redis.set(home_of("local"), dying)
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(other.http.request, method, path, json={"text": "Why?"})
                until(partial(redis.xlen, inbox_of(dying)))
                redis.delete(REPLICA + dying)
                assert answer.result().status_code == status


def test_a_killed_replicas_turn_is_interrupted_with_all_that_it_published(
    both: tuple[Replica, Replica], server: BusServer, log: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LEASE_S + GONE_S < 8
    monkeypatch.setattr(bus_module, "GONE_S", 0.0)
    _, other = both
    command = [sys.executable, "-m", "tests.support.one_replica", getattr(log, "secret", str(log)), server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        turn_id = child.stdout.readline().strip()
        mirror, dead = other.run.turns.get(turn_id), REPLICA + other.run.turns.runs_elsewhere(turn_id)
        child.kill()
    with Redis.from_url(server.url) as redis:
        assert redis.pttl(dead) > 0
        redis.delete(dead)
    shown = list(other.events(turn_id))  # until the turn has ended
    reasoning = "".join(data["lanes"].get("kimi", {}).get("reasoning", "") for _, data in shown[:-1])
    whole = "".join(f"word{i} " for i in range(200))
    assert (shown[-1][0], reasoning) == ("end", whole)
    stored = other.run.reader.turn(turn_id).fold().newest("kimi")
    assert (stored.status, stored.reasoning, mirror.fold().newest("kimi").status) == (
        "interrupted",
        whole,
        "interrupted",
    )
    current = other.run.reader.turn(turn_id).fold().current("kimi") or ""
    assert other.run.reader.texts(turn_id, current) == (whole, "")


def test_a_turn_is_published_again_if_the_bus_lost_it_and_stopped_if_another_took_it(
    both: tuple[Replica, Replica], server: BusServer
) -> None:
    home, other = both
    home.say(threading.Event())
    turn_id = home.send().json()["turns"][0]["turn_id"]
    turn = home.run.turns.get(turn_id)
    assert turn is not None
    with Redis.from_url(server.url) as redis:
        redis.flushall()
        until(lambda: redis.get(owner_of(turn_id)))
        mirror = other.run.turns.get(turn_id)
        until(lambda: mirror.entries == turn.entries)
        until(lambda: redis.set(owner_of(turn_id), "another") and turn.closed)
    assert turn.fold().newest("kimi").status == "stopped"


async def test_what_the_server_loses_in_the_middle_of_a_round_is_published_again() -> None:
    commands: list[str] = []

    class Server:
        """Loses the turn while it takes the second round's commands."""

        def pipeline(self, transaction: bool) -> Server:
            commands.clear()
            return self

        def __getattr__(self, command: str) -> Callable[..., None]:
            return lambda *_, **__: commands.append(command)

        def __len__(self) -> int:
            return len(commands)

        async def execute(self) -> None:
            if commands == ["xadd"]:
                publisher.lost("t")

    async def stored() -> bool:
        return True

    publisher = Publisher("me", asyncio.get_running_loop(), stored)
    turn = TurnLog("t", "c", 0, "Why?", ())
    publisher._follow(turn)
    begun = ["delete", "hset", "set", "xadd", "xadd", "expire"]
    for sent in (begun, ["xadd"], begun, []):
        if len(turn.entries) < 2:
            turn.append(Entry("a", "x", 0, Reasoning("a")))
        await publisher._round(Server())
        assert commands == sent


def test_without_the_bus_each_goes_on_alone_and_then_nothing_is_lost(
    both: tuple[Replica, Replica], server: BusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "SETTLE_S", 60.0)  # who is back first does not end what the others run
    home, other = both
    hold, more = threading.Event(), threading.Event()
    home.say(hold, Reasoning("More."), more)
    turn_id = home.send().json()["turns"][0]["turn_id"]
    turn, mirror = home.run.turns.get(turn_id), other.run.turns.get(turn_id)
    until(lambda: len(mirror.entries) == len(turn.entries) > len(DRAWN))
    shown = other.events(turn_id)
    next(shown)

    server.stop()
    assert "lost each other" in next(data for name, data in shown if name == "notice")
    state = other.http.get("/readyz")
    assert (state.status_code, state.json()["degraded"][0]["code"]) == (200, "bus_away")
    hold.set()
    until(lambda: turn.entries[-1].event == Reasoning("More."))
    refused = other.http.post(f"/kimi/turns/{turn_id}/stop")
    assert (refused.status_code, refused.json()["code"]) == (503, "bus_away")
    other.say()
    alone = other.send("Alone?").json()["turns"][0]["turn_id"]
    lonely = other.run.turns.get(alone)
    assert lonely is not None
    assert ended(lonely).newest("kimi").answer == "It is 42."

    def moved_in(visitor: str | None) -> None:
        raise LogError("The log cannot be read.", "")  # which is no reason to stay away

    monkeypatch.setattr(other.bus, "moved_in", moved_in)
    server.start()
    assert next(data for name, data in shown if name == "notice") == ""
    more.set()
    assert [name for name, _ in shown][-1] == "end"
    assert mirror.entries == turn.entries
    assert other.http.get("/readyz").json()["degraded"] == []
    assert home.http.get("/kimi/notice").json() == {"notice": ""}


def test_a_replica_that_drains_passes_its_visitors_on(
    both: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = both
    until(lambda: not home.bus.is_away and not other.bus.is_away)
    other.say()
    home.http.get("/kimi/state")
    home.run.engine.drain()
    passed_on_twice = other.send()  # it does not know yet that the home drains
    assert passed_on_twice.status_code == 201
    sent = home.send()
    assert sent.status_code == 201
    turn_id = sent.json()["turns"][0]["turn_id"]
    assert other.run.turns.get(turn_id).turn_id == turn_id
    assert "It is 42." in home.text(turn_id)

    asked: list[str] = []
    for one in both:
        monkeypatch.setattr(one.bus, "ask", lambda *command, ask=one.bus.ask: asked.append(command[0]) or ask(*command))
    other.run.engine.drain()
    assert home.send().status_code == 503, "none takes prompts"
    assert asked in ([], [other.bus.me], [other.bus.me, home.bus.me]), "nor are they passed back and forth"


WORDS = [f"word{i} " for i in range(120)]


class Page:
    """What a page has of a turn's reasoning, which it reads behind a proxy over one connection after the other."""

    def __init__(self, http: httpx.Client, turn_id: str) -> None:
        self._http, self._path = http, f"/kimi/turns/{turn_id}/events"
        self._position = 0
        self.reasoning = ""
        self.served_by: list[str] = []
        self.has_ended = False

    def read(self) -> None:
        """Read the next frame, or the turn's end, over a new connection, which goes on where the last one stopped."""
        with self._http.stream("GET", self._path, headers={"Last-Event-ID": str(self._position)}) as response:
            self.served_by.append(response.headers["x-replica"])
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                if line == "event: end":
                    self.has_ended = True
                    return
                if name == "id":
                    position = int(value or 0)
                elif name == "data":
                    self._take(orjson.loads(value), position)
                    if position:  # 0: from the log, so the end comes next
                        return

    def _take(self, frame: dict[str, Any], position: int) -> None:
        part = frame["lanes"].get("kimi", {})
        if "turn" not in frame:  # else all is sent again, since a mirror had less than this page
            assert position >= self._position
        if "turn" in frame or "attempt" in part:
            self.reasoning = ""
        self._position = position
        self.reasoning += part.get("reasoning", "")
        assert "".join(WORDS).startswith(self.reasoning)


def test_behind_nginx_any_replica_serves_any_request(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    server, log = BusServer(tmp_path), cluster.new_log()
    held = {n: threading.Event() for n in (40, 80, 120)}  # words, so that the page reads three times however late it is
    with ExitStack() as stack:
        stack.callback(cluster.drop, log)
        stack.callback(server.stop)
        server.start()
        runs = [stack.enter_context(ExitStack()) for _ in range(3)]
        three = {one.address: one for one in (run.enter_context(replica(log, server.url)) for run in runs)}
        nginx = Nginx(tmp_path, list(three))
        stack.callback(nginx.stop)
        nginx.start()
        http = stack.enter_context(httpx.Client(base_url=nginx.url, trust_env=False, timeout=60))
        for one in three.values():
            words = [(Reasoning(word), held.get(n, 0.01)) for n, word in enumerate(WORDS, start=1)]
            one.kimi.scripts = [
                [Phase(CONNECTED), *(step for pair in words for step in pair)],
                [*map(Reasoning, WORDS), Answer("42"), Finish("stop")],
            ]

        home = http.get("/kimi/state").headers["x-replica"]
        sent = http.post("/kimi/turns", json={"text": "Why?"})
        assert (sent.status_code, sent.headers["x-replica"] != home) == (201, True)
        turn_id = sent.json()["turns"][0]["turn_id"]
        turn = three[home].run.turns.get(turn_id)
        page = Page(http, turn_id)
        for n in held:
            while page.reasoning != "".join(WORDS[:n]):
                page.read()
            if n < len(WORDS):
                held[n].set()
        assert set(page.served_by) == set(three)
        assert not turn.closed

        for verb, body, status in (
            ("stop", {}, 202),
            ("lanes/kimi/retry", {}, 202),
            ("vote", {"choice": "lane", "lane": "kimi"}, 200),
        ):
            until(lambda: http.get("/seen").headers["x-replica"] == home)  # the next request goes to another
            asked = http.post(f"/kimi/turns/{turn_id}/{verb}", json=body)
            assert (asked.status_code, asked.headers["x-replica"] != home) == (status, True)
            until(lambda: turn.closed)
            while not page.has_ended:
                page.read()
            assert page.reasoning == "".join(WORDS)
            page = Page(http, turn_id)
        assert [attempt.end.status for attempt in turn.fold().folds.values()] == ["stopped", "ok"]
        assert turn.vote.lane == "kimi"
        assert {address for address, one in three.items() if one.kimi.requests} == {home}

        refused = http.post("/kimi/attachments?name=a.bin", content=bytes(2_000_000))  # twice nginx's own limit
        assert (refused.status_code, "error" in refused.json()) == (422, True)
        claims = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/elsewhere"}
        assert http.get("/seen", headers=claims).text == f"127.0.0.1 {nginx.url}/seen"

        runs[list(three).index(home)].close()
        answers = [http.get("/kimi/state") for _ in three]
        answers.append(http.post("/kimi/turns", json={"text": "And now?"}))
        assert [one.status_code for one in answers] == [200, 200, 200, 201]
        assert not any(one.headers["x-replica"].endswith(home) for one in answers)
