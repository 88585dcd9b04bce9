"""A run that several processes share: a real Redis, workers that join, leave, hang and die, a bus that is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from kimi_ui import __version__
from kimi_ui.bench import lead, records, suite, worker
from kimi_ui.bench.lead import Lead
from kimi_ui.bench.plan import AHEAD, Chosen
from kimi_ui.bench.start import CannotRun, Wanted
from kimi_ui.bench.worker import Worker, join
from kimi_ui.bus import claims
from kimi_ui.bus.claims import Claim, Claims, Offers, connected, led_runs
from kimi_ui.bus.wire import cases_of
from kimi_ui.cli import main
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.providers.roster import Roster
from kimi_ui.web.benchmark import BenchmarkRoutes
from tests.support.bench_model import IDS, cases, knowing, lanes
from tests.support.bus_server import BusServer
from tests.support.engine_run import Run, running
from tests.support.killed_runs import found_in
from tests.support.scripted import ScriptedProvider
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import Request, Stream, streamed


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[BusServer]:
    server = BusServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(bus: BusServer) -> Iterator[Any]:
    with connected(bus.url) as client:
        yield client


def test_claims_are_in_order_renewed_and_passed_on(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offers, one, two = Offers(redis, "r", "terms"), Claims(redis, "r", "one"), Claims(redis, "r", "two")
    assert (one.take(), one.is_led(), led_runs(redis)) == (None, False, {})
    assert not offers.renew()  # nothing is offered yet
    offers.offer([0, 1, 2, 3])
    assert (one.is_led(), led_runs(redis), offers.renew()) == (True, {"r": "terms"}, True)
    assert (one.take(), two.take(), one.take()) == (Claim(0, False), Claim(1, False), Claim(2, False))
    one.done(0)
    assert one.renew([0, 2]) == set()
    one.give_back(2)
    assert (two.take(), two.take(), two.take()) == (Claim(2, True), Claim(3, False), None)
    one.give_back(2)  # too late
    assert (one.renew([2]), two.renew([2])) == ({2}, set())
    two.pass_to(3, "one")
    assert (two.renew([3]), one.renew([3])) == ({3}, set())
    monkeypatch.setattr(claims, "LEASE_S", 0.02)
    assert until(lambda: one.take()).is_again  # of what ``two`` has not renewed
    redis.flushall()  # as a server that was started again
    one.give_back(3)
    assert (one.renew([3]), one.take(), offers.renew()) == (set(), None, False)
    monkeypatch.undo()
    offers.offer([3])
    assert (one.renew([3]), two.take(), one.renew([3])) == (set(), Claim(3, False), {3})
    two.done(3)
    offers.withdraw()
    assert (led_runs(redis), two.renew([3]), two.take()) == ({}, set(), None)
    two.give_back(3)


def test_what_a_worker_is_at_is_offered_as_its_own(redis: Any) -> None:
    offers, one, two = Offers(redis, "r", "terms"), Claims(redis, "r", "one"), Claims(redis, "r", "two")
    offers.offer([1, 2, 3, 5, 6], {1: "one", 3: "one", 6: "one"})
    assert (two.take(), two.take(), two.take()) == (Claim(2, False), Claim(5, False), None)
    assert (one.renew([1, 3, 6]), two.renew([1, 3, 6])) == (set(), {1, 3, 6})
    one.done(3)
    one.give_back(1)
    assert (two.take(), two.take()) == (Claim(1, True), None)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "SOCKET_S", 60.0)  # a pause of the bus is not its end
    monkeypatch.setattr(worker, "BEAT_S", 0.05)
    monkeypatch.setattr(lead, "LOOK_S", 0.05)


class Process:
    """A process with an engine, the log and the bus. Its lane ``good`` answers a case once ``gate`` is set."""

    def __init__(self, run: Run, url: str, redis: Any, good: ScriptedProvider, gate: threading.Event) -> None:
        self.run, self.url, self.redis, self.good, self.gate = run, url, redis, good, gate
        self.me = run.writer.boot_id
        self.worker: Worker | None = None

    @property
    def is_held(self) -> bool:
        return len(self.good.requests) > 1  # the first one is the warm-up

    def join(self) -> Worker:
        run_id = records.find(self.run.reader, "last")
        self.worker = join(self.run.engine, self.run.turns, self.redis, run_id, worker.terms(cases()))
        return self.worker


Start = Callable[[], Process]


@pytest.fixture
def start(place: Place, bus: BusServer, quick: None) -> Iterator[Start]:
    with ExitStack() as stack:

        def started() -> Process:
            gate, script = threading.Event(), knowing(cases())
            good, poor, _ = lanes(cases(), ("jugs-1",))
            assert isinstance(good, ScriptedProvider)
            good.scripts = [script, lambda request: [gate, *script(request)]]
            run = stack.enter_context(running(place, good, poor))
            stack.callback(gate.set)
            return Process(run, bus.url, stack.enter_context(connected(bus.url)), good, gate)

        yield started


class Crew:
    """Runs leaders and workers in threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor()
        self._runs: list[Lead | Worker] = []

    def run(self, runs: Lead | Worker, told: list[Any] | None = None) -> Future[records.Head]:
        self._runs.append(runs)
        return self._pool.submit(runs.run, on_sample=[].append if told is None else told.append)

    def close(self) -> None:
        for runs in self._runs:
            runs.stop()
        self._pool.shutdown()


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.close()


def led_by(process: Process, epochs: int, works: bool = True) -> Lead:
    wanted = Wanted(Chosen("chosen", cases()), suite.SEED, ("good", "poor"), epochs, order_seed=3)
    return lead.begin(process.run.engine, process.run.turns, process.url, wanted, works=works)


def n_done(process: Process) -> int:
    return len(process.run.reader.rows("SELECT 1 FROM bench_verdicts WHERE outcome <> 'not-run'"))


def in_hand(process: Process) -> Counter[str]:
    """How many claims each process has."""
    stream = cases_of(records.find(process.run.reader, "last"))
    found = process.redis.xinfo_consumers(stream, claims.GROUP)
    return Counter({one["name"].decode(): one["pending"] for one in found})


def sent_by(process: Process, *, again: bool = False) -> Counter[str]:
    """How many items each process sent; each of them once, or ``again``: the most that one was sent."""
    query = """
        SELECT i.position, a.boot_id FROM benchmark_items i JOIN turns t ON t.turn_id = i.turn_id
        JOIN attempts a ON a.turn_id = t.turn_id WHERE i.warm_up = 0
    """
    found = process.run.reader.rows(query)
    assert again or len(found) == len({position for position, _ in found})
    return Counter(boot_id for _, boot_id in found)


def check(process: Process, told: list[Any], epochs: int) -> None:
    """The run has exactly its plan's results, each once."""
    found = records.load(process.run.reader, records.find(process.run.reader, "last"))
    keys = Counter((one.case, one.lane, one.epoch) for one in found.samples)
    assert keys == Counter(
        (case.id, lane, n + 1) for case in cases() for lane in ("good", "poor") for n in range(epochs)
    )
    assert sorted(told, key=repr) == sorted(found.samples, key=repr)
    wrong = {(one.case, one.lane) for one in found.samples if one.outcome != "right"}
    assert wrong == {("jugs-1", "poor")}
    assert all(one.e2e_ms is not None for one in found.samples)
    assert (
        process.run.reader.rows("SELECT attempt_id FROM benchmark_verdicts GROUP BY attempt_id HAVING count(*) > 1")
        == []
    )
    messages = """
        SELECT 1 FROM turns WHERE kind = 'bench' GROUP BY conversation_id, prompt HAVING count(*) > 1
    """
    assert process.run.reader.rows(messages) == []


def test_a_worker_joins_late_and_all_is_done_once(start: Start, bus: BusServer, crew: Crew) -> None:
    first, second = start(), start()
    told: list[Any] = []
    going = led_by(first, epochs=2)
    ending = crew.run(going, told)
    until(lambda: n_done(first) == AHEAD)  # all of ``poor`` that the first worker may have in hand
    late = second.join()
    second.gate.set()
    leaving = crew.run(late)
    until(lambda: n_done(first) == AHEAD + 2 * AHEAD)
    bus.stop()  # what is in hand needs no bus
    first.gate.set()
    assert (ending.result().state, going.progress.done) == ("done", 16)
    bus.start()
    leaving.result()
    assert late.is_over
    assert sent_by(first).keys() == {first.me, second.me}
    assert sent_by(first)[second.me] >= 2 * AHEAD
    check(first, told, epochs=2)
    workers = first.run.reader.rows("SELECT boot_id, at_a_time FROM benchmark_workers ORDER BY joined_at_utc")
    assert workers == [(first.me, 1), (second.me, 1)]
    warmed = first.run.reader.rows("SELECT warm_up, count(*) FROM benchmark_items GROUP BY warm_up ORDER BY warm_up")
    assert warmed == [(0, 16), (1, 2), (2, 2)]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_the_bus_is_lost_with_all_it_held_and_nothing_is_done_twice(
    start: Start, bus: BusServer, crew: Crew, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = start(), start()
    told: list[Any] = []
    ending = crew.run(led_by(first, epochs=3), told)
    until(lambda: led_runs(first.redis))
    late = crew.run(second.join())
    until(lambda: n_done(first) == 2 * AHEAD)
    until(lambda: first.is_held and second.is_held)
    bus.stop()
    until(lambda: caplog.text.count("this worker finishes the cases it has") == 2)
    first.gate.set()
    until(lambda: n_done(first) == 3 * AHEAD)  # its own, and no more
    bus.start()
    until(lambda: n_done(first) > 3 * AHEAD and not in_hand(first)[first.me])  # the second one has the rest, and waits
    until(lambda: caplog.text.count("The bus is back.") == 2)
    second.gate.set()
    assert ending.result().state == "done"
    late.result()
    sent_by(first)
    check(first, told, epochs=3)


def test_a_worker_that_hangs_loses_its_cases_and_its_late_answer_does_not_count(
    start: Start, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = start(), start()
    told: list[Any] = []
    ending = crew.run(led_by(first, epochs=1, works=False), told)
    until(lambda: led_runs(first.redis))
    hung = second.join()
    late = crew.run(hung)
    until(lambda: n_done(first) == AHEAD and second.is_held)
    beat, awake = hung._beat, threading.Event()
    monkeypatch.setattr(hung, "_beat", lambda: awake.is_set() and beat())
    with monkeypatch.context() as patch:
        patch.setattr(claims, "LEASE_S", 0.5)
        rest = crew.run(first.join())
        until(lambda: first.is_held and in_hand(first)[first.me] == AHEAD)
    second.gate.set()
    until(lambda: not hung.progress.running)
    awake.set()
    first.gate.set()
    assert ending.result().state == "done"
    rest.result()
    late.result()
    assert sent_by(first, again=True) == {first.me: AHEAD, second.me: AHEAD + 1}  # it sent nothing more
    check(first, told, epochs=1)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_worker_that_leaves_gives_its_cases_back_at_once(start: Start, crew: Crew) -> None:
    first, second = start(), start()
    told: list[Any] = []
    ending = crew.run(led_by(first, epochs=1, works=False), told)
    until(lambda: led_runs(first.redis))
    leaving = second.join()
    left = crew.run(leaving)
    until(lambda: n_done(first) == AHEAD and second.is_held)
    leaving.leave("Asked.", within_s=60)
    until(lambda: leaving.why)
    second.gate.set()  # what it has sent ends; the rest is given back
    left.result()
    assert (leaving.why, n_done(first)) == ("Asked.", AHEAD + 1)
    first.gate.set()
    crew.run(first.join()).result()
    assert ending.result().state == "done"
    sent_by(first)
    check(first, told, epochs=1)
    assert led_runs(first.redis) == {}


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_run_of_the_page_is_shared_stopped_and_shared_again(
    start: Start, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "QUICK", IDS)
    first, second = start(), start()
    routes = BenchmarkRoutes(first.run.engine, first.run.turns, cast(Roster, None), bus_url=lambda: first.url).routes()
    page = TestClient(Starlette(routes=routes))

    def state() -> str:
        return str(first.run.reader.rows("SELECT state FROM benchmarks")[0][0])

    wanted = {"lanes": ["good", "poor"], "size": "quick", "categories": [], "epochs": None, "budget_usd": None}
    run_id = page.post("/kimi/benchmark/runs", json=wanted).json()["run"]
    until(lambda: first.is_held)
    late = crew.run(second.join())
    page.post("/kimi/benchmark/stop")
    late.result()
    assert second.worker is not None
    assert second.worker.is_over
    until(lambda: page.get("/kimi/benchmark/progress").json() == {"running": None})
    assert state() == "stopped"
    first.gate.set()
    assert page.post(f"/kimi/benchmark/runs/{run_id}/resume").status_code == 201
    until(lambda: state() == "done")
    check(first, list(records.load(first.run.reader, run_id).samples), epochs=1)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_worker_that_differs_leaves_the_run_to_others(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start()
    going = led_by(first, epochs=1)
    run, redis, run_id = first.run, first.redis, going.head.id
    agreed = worker.terms(cases())
    for theirs, words in (
        (agreed.replace(__version__, "9.9"), "led by Kimi UI 9.9"),
        (worker.terms(cases("jugs-1")), "has other cases"),
    ):
        with pytest.raises(CannotRun, match=words):
            join(run.engine, run.turns, redis, run_id, theirs)
    good, poor, _ = lanes(cases())
    with (
        running(tmp_path / "other.sqlite3", good, poor) as other,
        pytest.raises(CannotRun, match=r"other\.sqlite3: all"),
    ):
        join(other.engine, other.turns, redis, run_id, agreed)
    del vars(run.engine._roster)["_providers"]["poor"]
    with pytest.raises(CannotRun, match="poor of this run is not configured here: give this worker the lanes file"):
        join(run.engine, run.turns, redis, run_id, agreed)


COMMAND = """
import sys
from kimi_ui.bus import claims
claims.LEASE_S = 1.0  # so that a death is noticed sooner
from kimi_ui.cli import main
sys.exit(main(["bench", *sys.argv[1:]]))
"""
SAYS = [b'data: {"choices":[{"delta":{"content":"Answer: 7"},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"]


@pytest.mark.slow
def test_the_command_over_processes_one_of_which_is_killed(
    tmp_path: Path,
    bus: BusServer,
    upstream: Upstream,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, held = threading.Event(), list[Request]()

    async def held_back(request: Request) -> Stream:
        if len(upstream.requests) > 2:  # after the warm-ups
            held.append(request)
            while not gate.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(0.005)
        async for data in streamed(SAYS)(request):
            yield data

    for name in ("m-a", "m-b"):
        upstream.script(name, held_back)
    lane = f'[[lane]]\nid = "{{0}}"\nprovider = "openai"\nmodel = "m-{{0}}"\nbase_url = "{upstream.base_url}"\n'
    (tmp_path / "lanes.toml").write_text(lane.format("a") + lane.format("b"))
    where = ["--lanes", str(tmp_path / "lanes.toml"), "--db", str(tmp_path / "log.sqlite3")]
    monkeypatch.setenv("KIMI_UI_BUS", bus.url)
    monkeypatch.setattr(claims, "LEASE_S", 1.0)
    chosen = [f"--case={case}" for case in ("jugs-1", "congruences-1", "keywords-1")]

    def work(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", COMMAND, "work", *arguments, *where]
        return stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))

    def kill_one() -> tuple[str, subprocess.Popen[str], subprocess.Popen[str]]:
        with connected(bus.url) as redis:
            (run_id,) = until(lambda: led_runs(redis))
        killed = work(run_id)
        until(lambda: held)
        killed.kill()
        killed.wait()
        gate.set()
        return run_id, killed, work()

    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        killing = pool.submit(kill_one)
        assert main(["bench", *chosen, "--no-work", "--json", *where]) == 0
        run_id, killed, other = killing.result()
        other.terminate()
        told, _ = other.communicate()
    assert (other.returncode, killed.returncode) == (0, -signal.SIGKILL)
    *samples, end = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (end["state"], end["done"], end["planned"]) == ("done", 6, 6)
    assert len({(one["case"], one["lane"]) for one in samples}) == len(samples) == 6
    assert f"This worker did 6 items of run {run_id}. " in told
    reader = LogReader(tmp_path / "log.sqlite3")
    statuses = reader.rows("SELECT status, count(*) FROM attempts GROUP BY status ORDER BY status")
    assert statuses == [("interrupted", 1), ("ok", 2 + 2 + 6)]
    assert found_in(tmp_path / "log.sqlite3")[:3] == (6, 0, 0)

    for arguments, setting, words in (
        (["work"], "", "set KIMI_UI_BUS to its address"),
        (["work", run_id], bus.url, f"Nobody leads the run {run_id} now"),
        (["--no-work", *chosen], "", "--no-work leaves the work to others"),
        (["work"], f"unix://{tmp_path}/none.sock", "The bus of KIMI_UI_BUS cannot be reached"),
    ):
        monkeypatch.setenv("KIMI_UI_BUS", setting)
        assert main(["bench", *arguments, *where]) == 2
        assert words in capsys.readouterr().err
