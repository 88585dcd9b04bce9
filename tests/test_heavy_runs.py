"""A heavy run's course: waves, stop rule, budget, concurrency, capacity, strategies, aggregating again, and the log."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.events import WAITING_FOR_CAPACITY, Answer, Failure, Finish, Phase, Reasoning, Tally
from kimi_ui.core.heavy.pool import answers_of, report
from kimi_ui.core.lane import LaneChoice, LaneSpec
from kimi_ui.core.steps import Steps
from kimi_ui.core.turn import TurnFold, TurnLog
from kimi_ui.engine import NoAnswers
from kimi_ui.providers.base import ChatRequest, ProviderError
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from tests.support.engine_run import Run, started
from tests.support.scripted import ScriptedProvider, ScriptedRoster, thinker
from tests.support.waiting import ended, until

SAYS_42, SAYS_41 = thinker("", "The answer is 42."), thinker("", "So the answer is 41.")


def lanes(*scripts: Any, **keys: Any) -> tuple[ScriptedProvider, HeavyProvider]:
    """A heavy lane over a scripted model: ``scripts`` in the order of the requests."""
    model = ScriptedProvider(LaneSpec("kimi", "Kimi", "openai", model="k2"), scripts)
    return model, HeavyProvider(HeavyLane("heavy", "Heavy", of="kimi", **keys), model)


def run(*scripts: Any, retries: int = 0, kind: str = "chat", **keys: Any) -> tuple[TurnFold, TurnLog, ScriptedProvider]:
    model, provider = lanes(*scripts, **keys)
    with started(ScriptedRoster(provider), max_retries=retries) as engine:
        turn = engine.engine.send("What is 6 × 7?", kind=kind)
        return ended(turn), turn, model


def parent(fold: TurnFold) -> AttemptFold:
    return fold.folds[fold.current("heavy") or ""]


def tally(fold: TurnFold) -> Tally:
    found = parent(fold).tally
    assert found is not None
    return found


def roles(fold: TurnFold) -> list[str]:
    return [fold.attempts[child].role for child in fold.children.get(fold.current("heavy") or "", [])]


def test_thrifty_stops_after_three_answers_that_agree() -> None:
    fold, _, model = run(SAYS_42)
    assert len(model.requests) == 3
    assert parent(fold).answer == "The answer is 42."
    found = tally(fold)
    assert (found.preset, found.launched, found.usable, found.failed) == ("thrifty", 3, 3, 0)
    assert (found.stopped_at, found.agreement, found.effective_answers, found.verdict) == ("3-0", 1.0, 1.0, "followed")
    assert found.stop_risk == pytest.approx(0.0238, abs=1e-4)


def test_thrifty_widens_to_five_and_eight_while_the_answers_differ() -> None:
    fold, _, _ = run(SAYS_42, SAYS_41, SAYS_42, SAYS_42, SAYS_42, SAYS_41)
    assert roles(fold) == ["trajectory"] * 5 + ["aggregator"]  # 2-1, then 4-1
    assert tally(fold).stopped_at == "4-1"
    fold, _, _ = run(SAYS_42, SAYS_41, SAYS_42, SAYS_42, SAYS_41, SAYS_41, SAYS_42, SAYS_42, thinker("", "42"))
    assert roles(fold) == ["trajectory"] * 8 + ["aggregator"]  # 3-2 after five
    assert tally(fold).stopped_at is None
    assert tally(fold).stop_risk is None


def test_full_and_a_benchmark_send_all() -> None:
    for fold, _, model in (run(SAYS_42, preset="full"), run(SAYS_42, kind="bench")):
        assert len(model.requests) == 8
        assert (tally(fold).preset, tally(fold).stopped_at) == ("full", None)


def test_fast_sends_all_and_cancels_the_rest_when_decided() -> None:
    all_are_sent = threading.Event()
    slow = [Reasoning("hm"), 60]

    def last(_: ChatRequest) -> Any:
        yield Reasoning("hm")
        all_are_sent.set()
        yield 60

    first = [[all_are_sent, *SAYS_42]] * 3
    fold, _, model = run(*first, *[slow] * 4, last, preset="fast")
    assert len(model.requests) == 8
    assert tally(fold).stopped_at == "3-0"
    late = [fold.folds[one.attempt_id] for one in fold.attempts.values() if (one.k_index or 0) > 2]
    assert {(one.status, one.end.reason, one.reasoning) for one in late} == {("stopped", "decided", "hm")}
    assert (tally(fold).failed, tally(fold).left_out["8"]) == (0, "stopped")


def test_open_text_has_no_stop_rule() -> None:
    essay = "A long and winding tale about rivers, hills and the people who live between them, by {}."
    scripts = [thinker("", essay.format(name)) for name in ("Ann", "Ben", "Cem", "Dora", "Eli", "Fay", "Gus", "Hal")]
    fold, _, model = run(*scripts, thinker("", "The tale."))
    assert len(model.requests) == 9
    assert (tally(fold).stopped_at, tally(fold).verdict) == (None, "unknown")
    assert tally(fold).similarity == pytest.approx(tally(fold).similarity)
    assert 0.5 < (tally(fold).similarity or 0) < 1


@pytest.mark.slow
def test_at_the_budget_the_answers_so_far_are_aggregated() -> None:
    fold, _, _ = run(SAYS_42, SAYS_41, [Reasoning("slow"), 60], thinker("", "42"), width=3, quorum=3, budget_s=3)
    assert parent(fold).flags["budget"] == "2/3"
    assert "below_quorum" not in parent(fold).flags
    assert parent(fold).answer == "42"


def test_concurrency_limits_the_running_trajectories() -> None:
    running = most = 0
    two_run = threading.Event()  # starts are up to 40 ms apart, so the first one waits for the second

    def script(_: ChatRequest) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            two_run.set()
        yield two_run
        yield 0.02
        yield Answer("The answer is 42.")
        yield Finish("stop")
        running -= 1

    _, _, model = run(script, preset="full", concurrency=2)
    assert (len(model.requests), most) == (8, 2)


def test_waiting_for_a_server_at_capacity_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_ui.engine.attempts.Tries._retry_s", lambda self, run: _soon(run))
    no_room = [ProviderError(Failure("rate_limit", "Too many requests."), retryable=True)]
    fold, turn, _model = run(no_room, no_room, SAYS_42, SAYS_42, retries=2, preset="full", width=3, quorum=3)
    waits = [entry.event for entry in turn.entries if isinstance(entry.event, Phase)]
    waits = [phase for phase in waits if phase.name == WAITING_FOR_CAPACITY]
    assert waits[0].total == 3
    assert max(phase.done or 0 for phase in waits) in (1, 2)
    assert waits[-1].done == 0
    assert (tally(fold).usable, tally(fold).failed, parent(fold).status) == (3, 0, "ok")
    steps = Steps()
    for entry in turn.entries:
        if entry.attempt_id == fold.current("heavy"):
            steps.apply(entry.t_ns, entry.event)
    assert "Waiting for capacity" in [step.label for step in steps.take()]


def _soon(run: Any) -> float | None:
    return 0.05 if run.failure_retryable and run.attempt.attempt_no < 3 else None


def test_the_width_shrinks_if_the_server_stays_at_capacity() -> None:
    no_room = [ProviderError(Failure("capacity", "No room."))]
    fold, _, _ = run(no_room, SAYS_42, SAYS_42, preset="full", width=3, quorum=3)
    assert parent(fold).flags["width_shrunk"] == "2/3"
    assert (parent(fold).status, tally(fold).failed, tally(fold).left_out) == ("ok", 1, {"1": "failed"})


def test_empty_answers_are_left_out_of_the_aggregation_and_named() -> None:
    nothing = [":", "Sure, here is the solution:", "Thought process:"]
    cut = [Answer("The answer is 4"), Finish("length")]
    scripts = [thinker("", text) for text in nothing]
    fold, _, model = run(*scripts, cut, SAYS_42, SAYS_41, thinker("", "42"), preset="full", width=6, quorum=2)
    assert tally(fold).left_out == {"1": "empty", "2": "preamble only", "3": "preamble only", "4": "truncated"}
    sent = model.requests[-1].messages[-1].content
    assert not any(text in sent for text in (*nothing[1:], "The answer is 4\n"))
    assert sent.count("begins]]") == 2


def test_pick_shows_the_chosen_answer_as_it_is() -> None:
    def chooses_41(request: ChatRequest) -> Any:
        text = request.messages[-1].content
        place = next(n for n in (1, 2, 3) if "41" in text.split("begins]]\n")[n].split("\n[[")[0])
        return [Answer(f"It checks out.\n\n**BEST CANDIDATE: {place}**"), Finish("stop")]

    fold, _, _ = run(SAYS_42, SAYS_41, SAYS_42, chooses_41, width=3, strategy="pick")
    assert parent(fold).answer == "So the answer is 41."
    assert parent(fold).flags["picked"] == "2"
    assert "It checks out." in parent(fold).reasoning
    assert (tally(fold).verdict, report(fold, fold.current("heavy") or "", "?")["overruled"]) == ("minority", 1)


@pytest.mark.parametrize("text", ["The first.", "BEST CANDIDATE: 9", "BEST CANDIDATE: 1\nBEST CANDIDATE: 2", "best 1"])
def test_an_unreadable_choice_falls_back_visibly(text: str) -> None:
    fold, _, _ = run(SAYS_41, SAYS_42, SAYS_42, thinker("", text), width=3, strategy="pick")
    assert "42" in parent(fold).answer
    assert "could not be read" in parent(fold).flags["pick_unreadable"]


def test_majority_sends_no_request_and_says_if_there_is_no_majority() -> None:
    fold, _, model = run(SAYS_41, SAYS_42, SAYS_42, width=3, strategy="majority")
    assert (len(model.requests), parent(fold).answer, tally(fold).verdict) == (3, "The answer is 42.", "followed")
    fold, _, model = run(SAYS_41, SAYS_42, width=2, strategy="majority")
    assert len(model.requests) == 2
    assert "no result has more answers" in parent(fold).flags["no_majority"]


def test_unanimous_answers_are_aggregated_if_the_lane_is_configured_so() -> None:
    fold, _, _ = run(SAYS_42, SAYS_42, SAYS_42, thinker("", "42"), width=3, skip_unanimous=False)
    assert roles(fold)[-1] == "aggregator"
    assert "unanimous" not in parent(fold).flags


def test_a_turns_own_options_override_the_lanes() -> None:
    _model, provider = lanes(SAYS_42)
    with started(ScriptedRoster(provider), max_retries=0) as engine:
        choice = LaneChoice(heavy={"width": 4, "preset": "full", "strategy": "majority"})
        fold = ended(engine.engine.send("?", choices={"heavy": choice}))
    assert (tally(fold).width, tally(fold).launched, tally(fold).strategy) == (4, 4, "majority")


def test_a_retry_keeps_the_options_of_its_turn() -> None:
    scripts = [SAYS_42, SAYS_42, thinker("", "42")]
    model, provider = lanes(*scripts, *scripts, width=4)
    chosen = {"width": 2, "quorum": 1, "skip_unanimous": False, "prompt": "synthesize-brief"}
    with started(ScriptedRoster(provider), max_retries=0) as run:
        turn = run.engine.send("?", choices={"heavy": LaneChoice(heavy=chosen)})
        ended(turn)
        run.engine.retry(turn.turn_id, "heavy")
        fold = ended(turn)
        run.writer.flush().result()
        stored = run.reader.turn(turn.turn_id)
    assert roles(fold) == ["trajectory"] * 2 + ["aggregator"]
    assert (tally(fold).width, len(model.requests)) == (2, 6)
    brief = "All of them may be wrong; agreement is evidence, not proof."
    assert [brief in model.requests[at].messages[-1].content for at in (2, 5)] == [True, True]
    assert stored is not None
    assert (stored.lanes[0].heavy, stored.lanes[0].width) == (chosen, 2)


def test_a_lanes_prompt_is_for_the_lanes_own_strategy() -> None:
    _, _, model = run(SAYS_42, SAYS_41, thinker("", "BEST CANDIDATE: 1"), width=2, prompt="synthesize-brief")
    assert "All of them may be wrong; agreement" in model.requests[-1].messages[-1].content
    _, provider = lanes(SAYS_42, SAYS_41, thinker("", "BEST CANDIDATE: 1"), width=2, prompt="synthesize-brief")
    with started(ScriptedRoster(provider), max_retries=0) as engine:
        fold = ended(engine.engine.send("?", choices={"heavy": LaneChoice(heavy={"strategy": "pick"})}))
    assert "picked" in parent(fold).flags
    fold, _, _ = run(SAYS_42, SAYS_41, width=2, prompt="pick")
    assert parent(fold).failure is not None


def test_sampling_parameters_are_sent_only_from_the_lanes_file() -> None:
    _, _, model = run(SAYS_42, SAYS_41, SAYS_42, thinker("", "42"), width=3)
    assert [request.params for request in model.requests] == [{}] * 4
    assert len({request.messages for request in model.requests[:3]}) == 1


def test_a_users_own_prompt_replaces_the_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "own.md"
    own.write_text("Compare these.\n\n{candidates}\n\nNow answer in one word.", encoding="utf-8")
    _, _, model = run(SAYS_42, SAYS_41, thinker("", "42"), width=2, prompt=str(own))
    sent = model.requests[-1].messages[-1].content
    assert "Compare these." in sent
    assert sent.endswith("Now answer in one word.")
    fold, _, _ = run(SAYS_42, width=2, prompt=str(tmp_path / "none.md"))
    failure = parent(fold).failure
    assert failure is not None
    assert "cannot be read" in failure.message
    assert "synthesize" in failure.remedy


class TestAggregatingAgain:
    def test_aggregating_again_is_a_further_attempt_with_at_most_one_request(self) -> None:
        scripts = [SAYS_42, SAYS_41, SAYS_42, thinker("", "It is 43."), thinker("", "BEST CANDIDATE: 1")]
        model, provider = lanes(*scripts, width=3)
        with started(ScriptedRoster(provider), max_retries=0) as engine:
            turn = engine.engine.send("What is 6 × 7?")
            first = ended(turn).current("heavy")
            assert tally(turn.fold()).verdict == "own"
            for strategy, n_requests in (("majority", 4), ("pick", 5)):
                engine.engine.aggregate(turn.turn_id, "heavy", strategy)
                fold = ended(turn)
                assert len(model.requests) == n_requests
                assert (tally(fold).strategy, tally(fold).answers_of, tally(fold).launched) == (strategy, first, 0)
                assert (tally(fold).usable, parent(fold).status) == (3, "ok")
        assert [fold.attempts[one].attempt_no for one in fold.lanes["heavy"].attempts] == [1, 2, 3]
        assert fold.folds[first or ""].answer == "It is 43."
        assert parent(fold).answer in ("The answer is 42.", "So the answer is 41.")

    def test_aggregating_again_needs_answers_and_a_known_strategy(self) -> None:
        _, provider = lanes([ProviderError(Failure("upstream", "Broke."))], width=2)
        with started(ScriptedRoster(provider), max_retries=0) as engine:
            turn = engine.engine.send("?")
            ended(turn)
            with pytest.raises(NoAnswers, match="retry"):
                engine.engine.aggregate(turn.turn_id, "heavy", "majority")
            with pytest.raises(ValueError, match="strategy must be one of"):
                engine.engine.aggregate(turn.turn_id, "heavy", "best")


def logged(run: Run, view: str) -> list[dict[str, Any]]:
    with run.reader.snapshot() as log:
        return list(log.records(f"SELECT * FROM {view}"))


def test_log_and_fold_of_a_heavy_run_agree() -> None:
    """``heavy_metrics`` in SQL, and ``core.heavy.pool.report`` of the turn as it is read back."""
    _model, provider = lanes(SAYS_42, SAYS_41, SAYS_42, SAYS_42, thinker("", "It is 42."), preset="full", width=4)
    with started(ScriptedRoster(provider), max_retries=0) as run:
        turn = run.engine.send("What is 6 × 7?")
        ended(turn)
        run.engine.aggregate(turn.turn_id, "heavy", "majority")
        ended(turn)
        until(lambda: len(logged(run, "heavy_runs")) == 2)
        found = {row["attempt_id"]: row for row in logged(run, "heavy_metrics")}
        stored = run.reader.turn(turn.turn_id)
        assert stored is not None
        fold = stored.fold()
    assert len(found) == 2
    for attempt_id, row in found.items():
        told = report(fold, attempt_id, turn.prompt)
        same = {name: told[name] for name in row if name in told}
        assert {name: row[name] for name in same} == pytest.approx(same)
        assert (told["n_clusters"], told["agreement"]) == (2, 0.75)
        assert told["clusters"] == [
            {"label": "42", "type": "number", "members": [1, 3, 4]},
            {"label": "41", "type": "number", "members": [2]},
        ]
        assert [part["kind"] for part in told["attribution"]] == ["none"]  # too short to be attributed
    first, again = (found[one] for one in fold.lanes["heavy"].attempts)
    assert (first["launched"], again["launched"], again["answers_of"]) == (4, 0, first["attempt_id"])
    assert (first["overruled"], first["verdict"]) == (0, "followed")
    assert first["first_trajectory_token_ms"] <= first["first_answer_token_ms"]
    assert answers_of(fold, first["attempt_id"]).left_out == {}


def test_a_run_stopped_before_anything_was_sent_keeps_its_plan() -> None:
    model, provider = lanes([threading.Event()], width=2, preset="full", strategy="pick")
    with started(ScriptedRoster(provider), max_retries=0) as run:
        turn = run.engine.send("?")
        until(lambda: len(model.requests) == 2)
        run.engine.stop(turn.turn_id)
        fold = ended(turn)
        until(lambda: len(logged(run, "heavy_runs")) == 1)
        (row,) = logged(run, "heavy_metrics")
    assert parent(fold).status == "stopped"
    assert (row["strategy"], row["preset"], row["width"], row["launched"]) == ("pick", "full", 2, 0)


def test_a_run_stopped_by_the_user_keeps_what_is_known() -> None:
    _, provider = lanes(SAYS_42, [Reasoning("hm"), 60], width=2, preset="full")
    with started(ScriptedRoster(provider), max_retries=0) as run:
        turn = run.engine.send("?")
        until(lambda: any(isinstance(entry.event, Answer) for entry in list(turn.entries)))
        until(lambda: any(isinstance(entry.event, Reasoning) for entry in list(turn.entries)))
        until(lambda: any(isinstance(entry.event, Tally) for entry in list(turn.entries)))
        run.engine.stop(turn.turn_id)
        fold = ended(turn)
        until(lambda: len(logged(run, "heavy_runs")) == 1)
        (row,) = logged(run, "heavy_metrics")
    assert parent(fold).status == "stopped"
    assert (row["strategy"], row["preset"], row["verdict"], row["overruled"]) == ("synthesize", "full", "unknown", None)
    assert row["agreement"] is None
