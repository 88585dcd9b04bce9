"""The app's queue before a model server: a wait is shown and logged as waiting, never as model time."""

from __future__ import annotations

import threading
from itertools import pairwise

from kimi_ui.core.admission import Line
from kimi_ui.core.attempt import live_phase
from kimi_ui.core.events import QUEUED, Answer, Finish, Opened, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnFold, TurnLog
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.view.frames import TurnView

from .support.engine_run import started
from .support.scripted import SENT, ScriptedProvider, ScriptedRoster
from .support.waiting import ended, until

SERIAL = Line("http://ollama", "m", 1)
DONE = [Reasoning("Hm."), Answer("42."), Finish("stop")]


def lane(name: str, *script: object, line: Line | None = SERIAL) -> ScriptedProvider:
    spec = LaneSpec(id=name, label=name.upper(), provider="scripted", model="m")
    return ScriptedProvider(spec, [[SENT, *script]], queue=line)


def phase_of(turn: TurnLog, name: str) -> str:
    fold = turn.fold()
    newest = fold.newest(name)
    return live_phase(newest) if newest else "none"


def test_a_waiting_lane_is_queued_and_its_wait_is_not_part_of_its_times() -> None:
    go = threading.Event()
    first, second = lane("a", go, *DONE), lane("b", *DONE)
    with started(ScriptedRoster(first, second)) as run:
        ahead = run.engine.send("Why?", lanes=["a"])
        until(lambda: bool(first.requests))
        turn = run.engine.send("Why?", lanes=["b"])
        until(lambda: phase_of(turn, "b") == "queued")
        waiting = turn.fold().newest("b")
        assert waiting is not None
        assert waiting.phase == Phase(QUEUED, "A", total=1)
        assert second.requests == []
        assert phase_of(ahead, "a") != "queued"
        shown = TurnView(turn)
        shown.catch_up()
        frame = shown.frame(0)
        assert frame
        assert frame["lanes"]["b"]["phase"] == "queued"
        assert [step["label"] for step in frame["lanes"]["b"]["steps"]] == ["Queued behind one request: A"]
        go.set()
        (a,), (b,) = run.rows(ahead)["a"], run.rows(turn)["b"]
        assert (a["queue_ms"], a["status"], b["status"]) == (0, "ok", "ok")
        assert 0 < b["queue_ms"] <= b["user_latency_ms"] - b["ended_ms"]
        attempt = turn.fold().attempts[b["attempt_id"]]
        joined = next(entry.event.identity for entry in turn.entries if isinstance(entry.event, Opened))
        assert attempt.queue_ns
        assert attempt.sent_ns - joined["sent_ns"] >= attempt.queue_ns
        assert joined["queue_ns"] is None

        shown.catch_up()
        frame = shown.frame(0)
        assert frame
        assert frame["lanes"]["b"]["sent"] == {
            "sent_ms": attempt.sent_ns / 1e6,
            "queue_ms": attempt.queue_ns / 1e6,
        }
        step = frame["lanes"]["b"]["steps"][0]
        assert step["t_ms"] < 0
        assert step["until_ms"] == 0
        assert "attempt" not in frame["lanes"]["b"]

        stored = run.reader.turn(turn.turn_id)
        assert stored is not None
        assert [(type(e.event), e.t_ns) for e in stored.entries] == [(type(e.event), e.t_ns) for e in turn.entries]
        assert TurnFold.of(stored).apply_all(stored.entries).attempts == turn.fold().attempts


def test_without_a_queue_there_is_no_queue_time() -> None:
    with started(ScriptedRoster(lane("a", *DONE, line=None))) as run:
        ((row,),) = run.rows(run.engine.send("Why?")).values()
        assert row["queue_ms"] is None


def test_a_queued_lane_can_be_stopped_and_the_next_one_is_sent() -> None:
    go = threading.Event()
    first, second, third = lane("a", go, *DONE), lane("b", *DONE), lane("c", *DONE)
    with started(ScriptedRoster(first, second, third)) as run:
        run.engine.send("Why?", lanes=["a"])
        until(lambda: bool(first.requests))
        turn = run.engine.send("Why?", lanes=["b", "c"])
        until(lambda: phase_of(turn, "c") == "queued" and phase_of(turn, "b") == "queued")
        run.engine.stop(turn.turn_id, "b")
        until(lambda: phase_of(turn, "b") == "stopped")
        until(lambda: (fold := turn.fold().newest("c")) is not None and fold.phase == Phase(QUEUED, "A", total=1))
        go.set()
        rows = run.rows(turn)
        assert (rows["b"][0]["status"], second.requests) == ("stopped", [])
        assert rows["b"][0]["queue_ms"] > 0
        assert rows["b"][0]["ttft_ms"] is None
        assert rows["c"][0]["status"] == "ok"


def test_plain_lanes_overtake_heavy_and_heavys_clock_starts_with_its_first_request() -> None:
    go = threading.Event()
    first, of, qwen = lane("a", go, *DONE), lane("kimi", *DONE), lane("qwen", *DONE)
    of.scripts = [[SENT, Answer(f"{n}."), Finish("stop")] for n in range(4)]
    heavy = HeavyProvider(HeavyLane(id="heavy", label="HEAVY", of="kimi", width=3, quorum=3), of)
    with started(ScriptedRoster(first, heavy, of, qwen)) as run:
        run.engine.send("Why?", lanes=["a"])
        until(lambda: bool(first.requests))
        turn = run.engine.send("Why?", lanes=["heavy"])
        until(lambda: [fold.phase and fold.phase.name for fold in turn.fold().folds.values()] == [QUEUED] * 4)
        heavy_waits = turn.fold().newest("heavy")
        assert heavy_waits is not None
        assert heavy_waits.phase == Phase(QUEUED, "A", total=1)
        late = run.engine.send("Why?", lanes=["qwen"])
        until(lambda: phase_of(late, "qwen") == "queued")
        go.set()
        fold, plain = ended(turn), ended(late)
        run.rows(turn)
        rows = {row["attempt_id"]: row for row in run.reader.attempt_metrics(fold.attempts)}

    parent = fold.attempts[fold.current("heavy") or ""]
    children = sorted((one for one in fold.attempts.values() if one.parent_id), key=lambda one: one.sent_ns)
    assert [child.role for child in children] == ["trajectory"] * 3 + ["aggregator"]
    assert set(fold.children[parent.attempt_id]) == {child.attempt_id for child in children}
    assert 0 <= children[0].sent_ns - parent.sent_ns < 1e9
    assert rows[parent.attempt_id]["queue_ms"] > 0
    for before, after in pairwise(children):  # one at a time
        assert before.sent_ns + (fold.folds[before.attempt_id].last_token_ns or 0) <= after.sent_ns
    (ask,) = plain.attempts.values()
    assert late.t0_ns + ask.sent_ns <= turn.t0_ns + children[0].sent_ns
