"""Heavy through the engine: fan-out, aggregation, quorum, survivors, failures, stop. Trajectories are real attempts."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.events import FIRST_TRAJECTORY_TOKEN, TRAJECTORIES, Answer, Failure, Finish, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnFold
from kimi_ui.engine import Engine
from kimi_ui.providers.base import ChatRequest, Message, ProviderError
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider, trajectories
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster, thinker
from tests.support.waiting import ended, until


class Run:
    """A heavy lane over a scripted model: ``scripts`` are the trajectories' in order, then the aggregator's."""

    def __init__(self, *scripts: Any, quorum: int | None = None) -> None:
        width = len(scripts) - 1
        self.model = ScriptedProvider(LaneSpec("kimi", "Kimi", "openai", model="k2"), scripts)
        spec = HeavyLane("heavy", "Heavy", "heavy", of="kimi", width=width, quorum=quorum or width)
        self.provider = HeavyProvider(spec, self.model, random.Random(1))

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        with started(ScriptedRoster(self.provider), max_retries=0) as run:
            yield run.engine

    def fold(self) -> TurnFold:
        with self.engine() as engine:
            self.turn = engine.send("the question")
            return ended(self.turn)


def parent(fold: TurnFold) -> AttemptFold:
    return fold.folds[fold.current("heavy") or ""]


def children(fold: TurnFold) -> list[tuple[str, int | None, str]]:
    ids = fold.children.get(fold.current("heavy") or "", [])
    return [(fold.attempts[i].role, fold.attempts[i].k_index, fold.folds[i].status) for i in ids]


def test_three_trajectories_are_aggregated_by_the_same_model() -> None:
    run = Run(thinker("a", "one"), thinker("b", "two"), thinker("c", "three"), thinker("weigh", "the best"))
    fold = run.fold()
    assert children(fold) == [("trajectory", k, "ok") for k in range(3)] + [("aggregator", None, "ok")]
    assert (parent(fold).status, parent(fold).answer, parent(fold).reasoning) == ("ok", "the best", "weigh")
    assert [r.messages for r in run.model.requests[:3]] == [(Message("user", "the question"),)] * 3
    prompt = run.model.requests[3].messages[-1].content
    assert prompt.startswith("the question")
    assert all(f"\n{answer}\n" in prompt for answer in ("one", "two", "three"))
    assert "\na\n" not in prompt  # reasoning is not shown to the aggregator


def test_the_parent_ends_after_its_children_and_has_the_first_token_of_a_trajectory() -> None:
    run = Run([Reasoning("hm"), 0.05, Answer("one"), Finish("stop")], thinker("", "two"), thinker("", "best"))
    fold = run.fold()
    told = [entry.event.name for entry in run.turn.entries if isinstance(entry.event, Phase)]
    assert told.index(FIRST_TRAJECTORY_TOKEN) < told.index(TRAJECTORIES) < told.index("aggregating")
    top = parent(fold)
    assert top.first_token_ns
    assert top.first_answer_ns
    assert top.first_token_ns < top.first_answer_ns
    offset = {i: fold.attempts[i].sent_ns for i in fold.attempts}
    ends = [offset[i] + (fold.folds[i].end_ns or 0) for i in fold.children[fold.current("heavy") or ""]]
    assert max(ends) <= offset[fold.current("heavy") or ""] + (top.end_ns or 0)


def test_equal_answers_need_no_aggregator() -> None:
    fold = Run(thinker("", "It is 42."), thinker("", " it  is 42"), thinker("", "never asked")).fold()
    assert [role for role, _, _ in children(fold)] == ["trajectory"] * 2
    assert parent(fold).answer in ("It is 42.", " it  is 42")
    assert parent(fold).flags["unanimous"] == "2/2"


def test_a_single_complete_trajectory_is_the_answer_and_flagged() -> None:
    dead = [ProviderError(Failure("upstream", "Broke."))]
    fold = Run(dead, thinker("", "alone"), dead, thinker("", "never asked"), quorum=2).fold()
    assert parent(fold).status == "ok"
    assert parent(fold).answer == "alone"
    assert parent(fold).flags["below_quorum"] == "1/3"
    assert "single_survivor" in parent(fold).flags


def test_cut_off_trajectories_are_not_candidates() -> None:
    cut, empty = [Answer("half an")], [Reasoning("only thought"), Finish("stop")]
    run = Run(cut, thinker("", "x"), empty, thinker("", "y"), thinker("", "best"))
    fold = run.fold()
    assert [status for _, _, status in children(fold)] == ["incomplete", "ok", "no_answer", "ok", "ok"]
    assert "half an" not in run.model.requests[-1].messages[-1].content
    assert parent(fold).answer == "best"


def test_without_a_complete_trajectory_the_commonest_cause_is_named() -> None:
    money = [ProviderError(Failure("billing", "No money.", "Top up."))]
    fold = Run(money, [ProviderError(Failure("upstream", "Broke."))], money, thinker()).fold()
    failure = parent(fold).failure
    assert parent(fold).status == "error"
    assert failure is not None
    assert failure.kind == "no_survivor"
    assert "No money." in failure.message
    assert failure.remedy == "Top up."


def test_if_the_aggregator_fails_the_most_agreed_trajectory_is_shown() -> None:
    odd, near, nearer = thinker("", "zebra"), thinker("", "the cat sat"), thinker("", "the cat sat down")
    fold = Run(odd, near, nearer, [ProviderError(Failure("upstream", "Broke."))]).fold()
    assert parent(fold).status == "ok"
    assert parent(fold).answer in ("the cat sat", "the cat sat down")
    assert "Broke." in parent(fold).flags["aggregator_failed"]


def test_an_answer_cut_off_in_the_aggregation_is_kept_as_incomplete() -> None:
    fold = Run(thinker("", "x"), thinker("", "y"), [Answer("the be")]).fold()
    assert (parent(fold).status, parent(fold).answer) == ("incomplete", "the be")


@pytest.mark.parametrize("finish", ["insufficient_system_resource", "stop", "content_filter"])
def test_an_aggregator_that_fails_in_its_answer_fails_the_lane_with_its_failure(finish: str) -> None:
    busy = Failure("capacity", "No room.", "Wait.")
    fold = Run(thinker("", "x"), thinker("", "y"), [Answer("the be"), Finish(finish), ProviderError(busy)]).fold()
    assert (parent(fold).status, parent(fold).answer, parent(fold).failure) == ("error", "the be", busy)


def test_stragglers_are_stopped_once_the_quorum_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectories, "STRAGGLER_MIN_S", 1.0)
    has_begun = threading.Event()

    def slow(_: ChatRequest) -> Iterator[Any]:
        yield Reasoning("slow")
        has_begun.set()
        yield 60

    quick = [[Reasoning("hm"), has_begun, Answer(text), Finish("stop")] for text in ("x", "y")]
    fold = Run(*quick, slow, thinker("", "best"), quorum=2).fold()
    assert children(fold)[2] == ("trajectory", 2, "stopped")
    assert parent(fold).answer == "best"
    straggler = fold.folds[fold.children[fold.current("heavy") or ""][2]]
    assert straggler.end is not None
    assert straggler.end.reason == "quorum"
    assert straggler.reasoning == "slow"


@pytest.mark.parametrize("when", ["trajectories", "aggregator"])
def test_stop_ends_every_child(when: str) -> None:
    slow = [Answer("x"), 60]
    scripts = [slow, slow, slow] if when == "trajectories" else [thinker("", "x"), thinker("", "y"), slow]
    run = Run(*scripts)
    with run.engine() as engine:
        turn = engine.send("?")
        n_answers = 2 if when == "trajectories" else 3
        until(lambda: sum(isinstance(entry.event, Answer) for entry in list(turn.entries)) >= n_answers)
        engine.stop(turn.turn_id, "heavy")
        fold = ended(turn)
    assert parent(fold).status == "stopped"
    assert "open" not in {f.status for f in fold.folds.values()}
    assert run.model.closed == len(run.model.requests)
