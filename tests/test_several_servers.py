"""A lane on several servers: which one gets an attempt, where that is shown, and what is asked of all of them."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kimi_ui.cli.main import main
from kimi_ui.core.admission import Line
from kimi_ui.core.events import QUEUED, Answer, Opened, Phase
from kimi_ui.core.lane import LaneSpec, host_of
from kimi_ui.core.portable import export_turns, import_turns
from kimi_ui.core.pull import PullKey
from kimi_ui.core.turn import TurnLog
from kimi_ui.engine.queues import Place, Queues
from kimi_ui.log.reader import LogReader
from kimi_ui.providers import registry
from kimi_ui.providers.base import ChatRequest, Parts, Provider, ProviderError
from kimi_ui.providers.heavy import HeavyLane
from kimi_ui.providers.ollama.provider import OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAILane
from kimi_ui.tokenizers import counter
from kimi_ui.view.export_markdown import markdown_of
from kimi_ui.view.frames import TurnView
from tests.support.engine_run import running
from tests.support.log import store, writing
from tests.support.ollama_server import after_030
from tests.support.paced import Plan, openai_body
from tests.support.scripted import ScriptedProvider
from tests.support.turns import attempt, ended, turn
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import SSE, Behaviour, Request, Stream, plain, stream_of

NOWHERE = "http://127.0.0.1:9/v1"  # the discard port, where nothing answers


@pytest.fixture
def other() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


def openai_lane(*urls: str) -> Provider:
    return registry.make(OpenAILane(id="a", label="A", model="m", base_url=urls), Parts())


def ollama_lane(*servers: Upstream, model: str) -> Provider:
    urls = tuple(server.ollama_url for server in servers)
    return registry.make(OllamaLane(id="q", label="Q", model=model, base_url=urls, parallel=2), Parts())


def held(go: threading.Event) -> Behaviour:
    """An answer that begins once ``go`` is set."""

    async def behave(request: Request) -> Stream:
        await asyncio.to_thread(go.wait)
        async for data in stream_of(openai_body(request, Plan(1000, 0, 3, "")), SSE):
            yield data

    return behave


def queued_behind(phase: Phase | None) -> int | None:
    return phase.total if phase and phase.name == QUEUED else None


def chats(server: Upstream) -> int:
    return [request.path for request in server.requests].count("/api/chat")


def test_each_attempt_goes_to_the_least_busy_server_which_stands_in_log_page_and_exports(
    upstream: Upstream, other: Upstream
) -> None:
    go = threading.Event()
    for server in (upstream, other):
        server.script("m", held(go))
    with running(None, openai_lane(upstream.base_url, other.base_url)) as run:
        turns: list[TurnLog] = []
        for _ in range(3):
            turns.append(run.engine.send("Why?"))
            until(lambda: len(upstream.requests) + len(other.requests) == len(turns))
        go.set()
        rows = [row for turn in turns for row in run.rows(turn)["a"]]
        assert [row["server"] for row in rows] == [upstream.base_url, other.base_url, upstream.base_url]
        assert {row["status"] for row in rows} == {"ok"}
        (idle,) = run.rows(run.engine.send("Why?"))["a"]
        assert idle["server"] == upstream.base_url, "equally busy: the file's order"

        host = host_of(other.base_url)
        stored = run.reader.turn(turns[1].turn_id)
        assert stored
        shown = TurnView(stored)
        shown.catch_up()
        assert (shown.frame(0) or {})["lanes"]["a"]["attempt"]["host"] == host
        assert f"at {host}*" in markdown_of([stored], "T")
        (imported,) = import_turns(export_turns([stored], "T", counter))
        (opened,) = [entry.event.identity for entry in imported.entries if isinstance(entry.event, Opened)]
        assert opened["base_url"] == other.base_url


def test_a_retry_goes_to_the_next_server_and_one_that_cannot_be_reached_is_left_out(
    upstream: Upstream, other: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random.Random, "uniform", lambda *_: 0.01)
    upstream.script("m", plain(429, {"error": {"message": "slow down"}}, "Retry-After: 50"))
    other.script("m", held(go := threading.Event()))
    go.set()
    with running(None, openai_lane(NOWHERE, upstream.base_url, other.base_url)) as run:
        turn = run.engine.send("Why?")
        first = run.rows(turn)["a"]
        assert [row["server"] for row in first] == [NOWHERE, upstream.base_url, other.base_url]
        assert [row["error_type"] for row in first] == ["connect", "rate_limit", None]
        ends = [fold.end for fold in turn.fold().folds.values() if fold.end]
        assert [end.retry_in_s for end in ends] == [0.01, 0.02, None], "one server's Retry-After is not another's"
        second = run.rows(run.engine.send("Why?"))["a"]
        assert [row["server"] for row in second] == [upstream.base_url, other.base_url]
    with running(None, openai_lane(NOWHERE, "http://127.0.0.1:9/v2"), max_retries=1) as run:
        failed = run.rows(run.engine.send("Why?"))["a"]
        assert [row["status"] for row in failed] == ["error", "error"]


def test_heavys_trajectories_go_to_the_server_that_has_room_first(upstream: Upstream, other: Upstream) -> None:
    for server in (upstream, other):
        server.ollama.habits = after_030(slots=2)
        server.alias("m:1b", "m-1000-0-5")
    slow, fast = upstream.ollama.hold("m:1b"), other.ollama.hold("m:1b")
    of = ollama_lane(upstream, other, model="m:1b")
    spec = HeavyLane(id="heavy", label="H", of="q", width=8, quorum=8, strategy="majority", preset="full")
    with running(None, registry.make(spec, Parts(of=of)), of) as run:
        turn = run.engine.send("What is 6 times 7?", lanes=["heavy"])
        until(lambda: (chats(upstream), chats(other)) == (2, 2))
        until(lambda: [n for fold in turn.fold().folds.values() if (n := queued_behind(fold.phase))] == [2, 3, 4, 5])
        fast.set()
        until(lambda: chats(other) == 6)
        assert chats(upstream) == 2
        slow.set()
        rows = run.rows(turn)["heavy"]
        sent = Counter(row["server"] for row in rows if row["role"] == "trajectory")
        assert sent == {upstream.ollama_url: 2, other.ollama_url: 6}
        assert [row["server"] for row in rows if row["role"] == "heavy"] == [None]
        assert {row["status"] for row in rows} == {"ok"}


async def test_a_request_that_waits_at_several_servers_is_sent_once_and_leaves_all_of_them() -> None:
    def server(name: str) -> Provider:
        spec = LaneSpec(id="a", provider="scripted", model="m", base_url=name)
        return ScriptedProvider(spec, [[]], queue=Line(name, "m", 1))

    one, two, told = server("http://one"), server("http://two"), list[Phase]()
    queues, chat = Queues(lambda: 0), ChatRequest(())

    def place(*servers: Provider) -> asyncio.Task[Place]:
        return asyncio.create_task(queues.place(servers, chat, "single", "A", told.append))

    first, second = await place(one, two), await place(one, two)
    assert [place.server for place in (first, second)] == [one, two]
    assert told == []
    gone, waiting = place(one, two), place(two, one)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert told == [Phase(QUEUED, "A", total=1), Phase(QUEUED, "2 of A", total=2), Phase(QUEUED, "A", total=1)]
    first.end()
    third = await waiting
    assert third.server is one
    second.end()
    fourth = await place(one, two)
    assert fourth.server is two, "the third one waits there no more"
    third.end()
    fourth.end()
    fourth.end()
    last = await place(one, two)
    assert last.server is one

    stopped, following = place(one), place(one)
    await asyncio.sleep(0)
    stopped.cancel()
    last.end()  # in the same moment
    last = await following
    assert stopped.cancelled()

    lost, waiting = await place(one, two), place(one, two)
    await asyncio.sleep(0)
    assert lost.server is two
    assert queues.goes_elsewhere((one, two), ["http://one"])
    lost.unreached()
    lost.end()
    await asyncio.sleep(0)
    assert not waiting.done(), "it waits no more at the server that cannot be reached"
    assert not queues.goes_elsewhere((one, two), ["http://one"])
    last.end()
    assert (await waiting).server is one


def test_all_servers_are_asked_and_the_one_without_the_model_pulls_it(
    upstream: Upstream, other: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.alias("m:1b", "m-1000-0-5")
    other.models = ["else:1b"]
    upstream.models += ["else:1b"]
    path = tmp_path / "lanes.toml"
    urls = f'["{upstream.ollama_url}", "{other.ollama_url}"]'
    path.write_text(f'[[lane]]\nid = "q"\nprovider = "ollama"\nmodel = "m:1b"\nbase_url = {urls}\n')
    assert main(["doctor", "--lanes", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"  ✓ {upstream.ollama_url}: reachable · model there") for line in lines)
    (bad,) = [line for line in lines if line.startswith(f"  ✗ {other.ollama_url}: reachable · model not there")]
    assert "m:1b is not pulled on this Ollama. Pull it once. ollama pull m:1b" in bad

    lane = ollama_lane(upstream, other, model="m:1b")
    found = asyncio.run(lane.check())
    words = f"1 of 2 servers would not answer. {other.ollama_url}: m:1b is not pulled on this Ollama."
    assert (found.ok, found.reachable, found.model_present, found.problem) == (False, True, False, words)
    assert asyncio.run(lane.models()) == ["else:1b"], "what may be sent to any of them"
    with running(tmp_path / "log.sqlite3", lane) as run:
        other.ollama.pulling.held_at = 400
        pull = run.engine.pulls.start("q")
        assert pull
        assert pull.key == PullKey(f"{upstream.ollama_url} {other.ollama_url}", "m:1b")
        until(lambda: run.engine.pulls.states()[0].completed == 400)
        turn = run.engine.send("Why?")  # to the first server, which has it
        assert run.rows(turn)["q"][0]["status"] == "ok"
        other.ollama.pulling.held_at = None
        until(lambda: run.engine.pulls.states()[0].state == "done")
    assert "/api/pull" not in [request.path for request in upstream.requests]
    assert asyncio.run(lane.check()).ok


async def test_a_server_that_does_not_answer_hides_no_models(upstream: Upstream) -> None:
    upstream.models = ["m"]
    assert await openai_lane(NOWHERE, upstream.base_url).models() == ["m"]
    with pytest.raises(ProviderError, match="refused the connection"):
        await openai_lane(NOWHERE, "http://127.0.0.1:9/v2").models()


def test_an_address_with_credentials_is_no_figure(tmp_path: Path) -> None:
    shown, secret = attempt("a", base_url="http://h:1/v1"), attempt("b", base_url="http://me:canary@h:1/v1")
    with writing(tmp_path / "log.sqlite3") as writer:
        store(writer, turn((shown, ended([(1, Answer("x"))])), (secret, ended([(1, Answer("x"))]))))
    rows = LogReader(tmp_path / "log.sqlite3").attempt_metrics([shown.attempt_id, secret.attempt_id])
    assert {row["lane"]: row["server"] for row in rows} == {"a": "http://h:1/v1", "b": None}
