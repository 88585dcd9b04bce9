"""What an Ollama request waits for: shown as waiting, logged as waiting, never as the model's time.

Kinds, and the rule of each:
- *A queue at the server* is ``queue_ms``, beside the load, and no part of the warm time to the first token.
- *A load* is shown only while the model is not in memory with the context that is asked for.
- *A wait hidden in load_duration* is split by what the app knows; what cannot be split is ``load_or_wait_ms``.
- *Counters of a server before 0.30* give no prefill speed for a prompt of more than one batch.
- The parts add up to the measured total.
"""

from __future__ import annotations

from typing import Any

import pytest

from kimi_ui.core.admission import Line, Rank, Request
from kimi_ui.core.events import LOADING_MODEL, QUEUED, Answer, Phase, Usage
from kimi_ui.core.turn import TurnLog
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.providers.ollama.waiting import Waits, version_of
from kimi_ui.view.frames import TurnView
from tests.support.engine_run import running
from tests.support.ollama_server import after_030, before_030
from tests.support.one_lane import came
from tests.support.telling import A, finish, tell
from tests.support.upstream import Upstream
from tests.support.waiting import until

MS = 1_000_000
NEW, OLD = (0, 33, 1), (0, 12, 6)
OURS, OTHER = ("b:latest", 8192), ("a:latest", 4096)
SERVER = "http://ollama"


def counters(*, load: int, prompt: int, evaluated: int, queue: int = 0, tokens: int = 20) -> Usage:
    """Ollama's counters of one answer, in ms."""
    parts = {"load_duration": load, "prompt_eval_duration": prompt, "eval_duration": evaluated}
    raw = {name: ms * MS for name, ms in parts.items()} | {"total_duration": (load + prompt + evaluated + queue) * MS}
    return Usage(
        input_tokens=tokens,
        output_tokens=10,
        source="server",
        load_ns=load * MS,
        prompt_ns=prompt * MS,
        eval_ns=evaluated * MS,
        raw=raw,
    )


def request(model: str, ended_ms: int | None = None) -> Request:
    ended_ns = None if ended_ms is None else ended_ms * MS
    return Request(Line(SERVER, model), Rank.TRAJECTORY, "Kimi K2 heavy", sent_ns=0, ended_ns=ended_ns)


def waits(first_ms: int, before: set[Any] | None, seen: dict[int, set[Any]], **known: Any) -> Waits:
    looks = [(at * MS, frozenset(models)) for at, models in seen.items()]
    made = {"version": NEW, "sent_ns": 0, "first_ns": first_ms * MS, "seen": looks, **known}
    return Waits(frozenset({OURS}), "b", None if before is None else frozenset(before), **made)


def split(of: Waits, usage: Usage) -> tuple[int | None, ...]:
    """Queue, load, load or wait, prompt; in ms."""
    got = of.split(usage)
    return tuple(
        None if ns is None else ns // MS for ns in (got.queue_ns, got.load_ns, got.load_or_wait_ns, got.prompt_ns)
    )


SPLITS: dict[str, tuple[Waits, Usage, tuple[int | None, ...]]] = {
    "oc-queue": (
        waits(3100, {OURS}, {}),
        counters(load=0, prompt=100, evaluated=200, queue=3000),
        (3000, 0, None, 100),
    ),
    "no queue": (waits(103, {OURS}, {}), counters(load=1, prompt=100, evaluated=200, queue=3), (0, 1, None, 100)),
    "a cold load alone": (waits(900, set(), {}), counters(load=800, prompt=100, evaluated=9), (0, 800, None, 100)),
    "a load and a queue": (
        waits(1900, set(), {}),
        counters(load=800, prompt=100, evaluated=9, queue=1000),
        (1000, 800, None, 100),
    ),
    "a queue longer than our own stamps": (
        waits(600, {OURS}, {}),
        counters(load=0, prompt=100, evaluated=9, queue=900),
        (500, 0, None, 100),
    ),
    "hidden: another model until its request ended": (
        waits(2700, {OTHER}, {1000: {OTHER}, 2000: set(), 2500: {OURS}}, beside=[request("a:latest", 1900)]),
        counters(load=2590, prompt=90, evaluated=9),
        (1900, 690, None, 90),
    ),
    "hidden: the same model with another context": (
        waits(
            1900, {("b:latest", 4096)}, {500: {("b:latest", 4096)}, 1300: {OURS}}, beside=[request("b:latest", 1200)]
        ),
        counters(load=1730, prompt=90, evaluated=9),
        (1200, 530, None, 90),
    ),
    "hidden: another program's request": (
        waits(4700, {OTHER}, {3800: {OTHER}, 4000: set(), 4600: {OURS}}),
        counters(load=4500, prompt=90, evaluated=9),
        (3800, 700, None, 90),
    ),
    "hidden: a load that came before": (
        waits(1300, set(), {400: set(), 500: {OTHER}, 1200: {OTHER, OURS}}, beside=[request("a:latest")]),
        counters(load=1100, prompt=90, evaluated=9),
        (400, 700, None, 90),
    ),
    "hidden: a load that was refused at once": (
        waits(
            2400,
            {OTHER},
            {100: set(), 1200: set(), 1400: set(), 2300: {OURS}},
            beside=[request("b:latest", 1300), request("a:latest")],
        ),
        counters(load=2300, prompt=90, evaluated=9),
        (1300, 1000, None, 90),
    ),
    "loaded beside another": (
        waits(700, {OTHER}, {300: {OTHER}, 650: {OTHER, OURS}}, beside=[request("a:latest")]),
        counters(load=600, prompt=90, evaluated=9),
        (0, 600, None, 90),
    ),
    "in memory all the time": (
        waits(700, {OURS, OTHER}, {300: {OURS, OTHER}, 600: {OURS, OTHER}}),
        counters(load=600, prompt=90, evaluated=9),
        (600, 0, None, 90),
    ),
    "unloaded and loaded between two looks": (
        waits(9000, {OTHER}, {1000: {OTHER}, 8000: {OURS}}),
        counters(load=7900, prompt=90, evaluated=9),
        (0, None, 7900, 90),
    ),
    "a server that does not say what is loaded": (
        waits(900, None, {}),
        counters(load=800, prompt=90, evaluated=9),
        (0, None, 800, 90),
    ),
    "nothing seen, and others at work": (
        waits(900, set(), {}, beside=[request("a:latest")]),
        counters(load=800, prompt=90, evaluated=9),
        (0, None, 800, 90),
    ),
    "before 0.30, a long prompt": (
        waits(37_100, {OURS}, {}, version=OLD),
        counters(load=10, prompt=20_000, evaluated=9, queue=17_000, tokens=1010),
        (None, 10, None, None),
    ),
    "before 0.30, one batch": (
        waits(3100, {OURS}, {}, version=OLD),
        counters(load=0, prompt=100, evaluated=9, queue=3000, tokens=512),
        (3000, 0, None, 100),
    ),
    "before 0.30, a long prompt behind our own request": (
        waits(9000, {OURS}, {}, version=OLD, beside=[request("b:latest", 4000)]),
        counters(load=0, prompt=1000, evaluated=9, queue=8000, tokens=3011),
        (4000, 0, None, None),
    ),
    "no version, a long prompt": (
        waits(9000, {OURS}, {}, version=None),
        counters(load=0, prompt=1000, evaluated=9, queue=8000, tokens=3011),
        (None, 0, None, None),
    ),
    "a prompt's time that the wait cannot hold": (
        waits(500, {OURS}, {}),
        counters(load=0, prompt=2000, evaluated=9),
        (None, 0, None, None),
    ),
}


@pytest.mark.parametrize("name", SPLITS)
def test_the_wait_is_split_into_known_parts(name: str) -> None:
    of, usage, parts = SPLITS[name]
    assert split(of, usage) == parts
    known = sum(part or 0 for part in parts)
    assert known <= of.first_ns // MS + 20, "no part is longer than what was measured"
    if parts[3] is not None and not name.endswith("our own stamps"):
        assert abs(known - usage.raw["total_duration"] // MS + (usage.eval_ns or 0) // MS) <= 4, "they add up"


@pytest.mark.parametrize(
    ("text", "version"),
    [("0.12.6", OLD), ("0.30.0-rc1", (0, 30, 0)), ("v1.2", (1, 2, 0)), ("0.0.0", None), ("dev", None), ("", None)],
)
def test_comparing_server_versions(text: str, version: tuple[int, ...] | None) -> None:
    assert version_of(text) == version


# -- phases


@pytest.mark.parametrize(
    ("of", "phase"),
    [
        pytest.param(waits(0, {("b:latest", 4096)}, {}), LOADING_MODEL, id="oc-reload"),
        pytest.param(waits(0, set(), {}), LOADING_MODEL, id="cold"),
        pytest.param(waits(0, {OURS}, {}), None, id="in memory"),
        pytest.param(waits(0, {("b:latest", None)}, {}), None, id="in memory, and its context is not said"),
        pytest.param(waits(0, None, {}), None, id="not known"),
        pytest.param(waits(0, {OTHER}, {}, beside=[request("a:latest")]), QUEUED, id="behind our own"),
        pytest.param(waits(0, {OTHER}, {}, beside=[request("a:latest", 50)]), LOADING_MODEL, id="those have ended"),
        pytest.param(waits(0, {OTHER}, {80: {OURS}}, beside=[request("a:latest")]), None, id="loaded beside them"),
        pytest.param(waits(0, {OURS}, {}, beside=[request("b:latest")]), QUEUED, id="behind our own of this model"),
        pytest.param(waits(0, {OURS}, {}, beside=[request("b:latest")], parallel=4), None, id="with slots to spare"),
    ],
)
def test_the_phase_names_what_it_waits_for(of: Waits, phase: str | None) -> None:
    got = of.phase(600 * MS)
    assert (got.name if got else None) == phase
    if phase == QUEUED:
        assert got == Phase(QUEUED, "Kimi K2 heavy", total=1)


def phases(turn: TurnLog, lane: str) -> list[str]:
    return [entry.event.name for entry in turn.entries if entry.lane == lane and isinstance(entry.event, Phase)]


def ollama(upstream: Upstream, lane: str, model: str, **fields: Any) -> Ollama:
    return Ollama(OllamaLane(lane, lane.upper(), model=model, base_url=upstream.origin, num_ctx=4096, **fields))


def test_queue_time_is_not_part_of_the_models_time(upstream: Upstream) -> None:
    """oc-queue, from the wire to the row."""
    script = tell(
        0.5,  # longer than the server counts, so a late stamp of ours does not bound the queue
        A("yes"),
        finish(
            total_duration=301 * MS,
            prompt_eval_count=9,
            prompt_eval_duration=10 * MS,
            eval_count=1,
            eval_duration=MS,
        ),
    )
    got = came(upstream, script, ollama=True)
    row = got.rows[-1]
    assert row["status"] == "ok"
    assert row["queue_ms"] == 290
    assert row["ttft_ms"] >= 500


@pytest.mark.slow
@pytest.mark.parametrize(
    "habits", [after_030(load_s=1.5, room=1), before_030(load_s=1.5, room=1)], ids=["0.33", "0.12.6"]
)
def test_a_lane_behind_another_model_is_queued_and_then_loading(upstream: Upstream, habits: Any) -> None:
    upstream.ollama.habits = habits
    for name in ("a:1b", "b:1b"):
        upstream.alias(name, "m-500-0-20")
    upstream.ollama.unload_all()
    upstream.ollama.warm("a:1b", 4096)
    release = upstream.ollama.hold("a:1b")
    first, second = ollama(upstream, "first", "a:1b"), ollama(upstream, "second", "b:1b")
    with running(None, first, second) as run:
        ahead = run.engine.send("hi", lanes=["first"])
        until(lambda: any(isinstance(entry.event, Answer) for entry in ahead.entries))
        turn = run.engine.send("hi", lanes=["second"])
        until(lambda: QUEUED in phases(turn, "second"))
        view = TurnView(turn)
        view.catch_up()
        frame = view.frame(0)
        assert frame
        assert frame["lanes"]["second"]["phase"] == "queued"
        assert "Queued behind one request: FIRST" in [step["label"] for step in frame["lanes"]["second"]["steps"]]
        assert LOADING_MODEL not in phases(turn, "second")
        release.set()
        row = run.rows(turn)["second"][-1]
        of_first = run.rows(ahead)["first"][-1]
    assert row["status"] == "ok"
    names = phases(turn, "second")
    assert names.index(LOADING_MODEL) > names.index(QUEUED)
    assert row["load_or_wait_ms"] is None
    late_ms = of_first["ended_ms"] - of_first["e2e_ms"]  # we saw the end that much later than the server began to load
    assert 1_400 - late_ms <= row["cold_load_ms"] <= row["ttft_ms"] - row["server_queue_ms"]
    parts = row["server_queue_ms"] + row["cold_load_ms"] + row["ttft_warm_ms"]
    assert parts == pytest.approx(row["ttft_ms"])


def test_a_model_with_another_context_is_loading(upstream: Upstream) -> None:
    """oc-reload, from the wire to the row."""
    upstream.alias("a:1b", "m-500-0-5")
    upstream.ollama.warm("a:1b", 8192)
    upstream.ollama.habits.load_s = 0.2
    with running(None, ollama(upstream, "a", "a:1b")) as run:
        turn = run.engine.send("hi")
        row = run.rows(turn)["a"][-1]
    assert phases(turn, "a")[0] == LOADING_MODEL
    assert row["cold_load_ms"] >= 200
    assert row["queue_ms"] == 0


def test_a_cloud_model_is_never_loading(upstream: Upstream) -> None:
    """oc-cloud: by its name, and by what the server says of it."""
    upstream.ollama.habits.signed_in = True
    for name in ("kimi-k2.6:cloud", "gpt-oss:120b-cloud", "remote:1t"):
        upstream.alias(name, "m-500-0-5", remote=True)
    upstream.ollama.unload_all()
    lanes = {"a": "kimi-k2.6:cloud", "b": "gpt-oss:120b-cloud", "c": "remote:1t"}
    with running(None, *(ollama(upstream, lane, model) for lane, model in lanes.items())) as run:
        turn = run.engine.send("hi")
        folds = run.folds(turn)
    for lane in lanes:
        assert folds[lane].status == "ok"
        assert LOADING_MODEL not in phases(turn, lane)
    for request in upstream.requests:
        assert request.path != "/api/chat" or "num_ctx" not in request.body["options"]
