"""The engine with scripted providers: statuses, limits, retries, stops, isolation of lanes, history."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from kimi_ui.core.events import (
    PREPARING,
    Answer,
    End,
    Failure,
    Finish,
    Opened,
    Phase,
    Reasoning,
    Relabel,
)
from kimi_ui.core.lane import LaneSpec, Limits, Price
from kimi_ui.core.turn import TurnFold, TurnLog
from kimi_ui.engine import Engine, EngineClosed, LaneBusy, UnknownLane, UnknownTurn, attempts
from kimi_ui.engine.loop_lag import LoopLag
from kimi_ui.providers.base import ChatRequest, Message, ProviderError
from tests.support.engine_run import started
from tests.support.scripted import SENT, ScriptedProvider, ScriptedRoster, thinker
from tests.support.waiting import ended, until


def lane(*scripts: Any, id: str = "a", **fields: Any) -> ScriptedProvider:
    return ScriptedProvider(LaneSpec(id, id.upper(), "openai", model=f"model-{id}", **fields), scripts)


@contextmanager
def running(*providers: Any, **options: Any) -> Iterator[Engine]:
    with started(ScriptedRoster(*providers), **options) as run:
        yield run.engine


def lane_ended(turn: TurnLog, lane_id: str) -> bool:
    return turn.fold().lane_ended(lane_id)


def last(fold: TurnFold, lane_id: str = "a") -> Any:
    return fold.folds[fold.current(lane_id) or ""]


def test_a_whole_answer_is_ok_and_every_event_is_stamped_in_order() -> None:
    with running(lane(thinker("hm", "yes"))) as engine:
        turn = engine.send("?")
        fold = ended(turn)
    attempt = last(fold)
    assert (attempt.status, attempt.reasoning, attempt.answer, attempt.finish_reason) == ("ok", "hm", "yes", "stop")
    stamps = [entry.t_ns for entry in turn.entries if entry.attempt_id]
    assert stamps == sorted(stamps)
    assert stamps[0] == 0
    assert isinstance(turn.entries[0].event, Opened)
    assert isinstance(turn.entries[-1].event, End)
    assert 0 < attempt.first_token_ns <= attempt.first_answer_ns <= attempt.last_token_ns <= attempt.end_ns


def test_stamps_count_from_when_the_request_was_sent() -> None:
    now_ms = 1000

    def script(_: ChatRequest) -> Iterator[Any]:
        nonlocal now_ms
        now_ms += 7  # preparing the request takes 7 ms
        yield SENT
        now_ms += 100
        yield Answer("yes")
        yield SENT  # only the first counts
        yield Finish("stop")

    with running(lane(script), clock_ns=lambda: now_ms * 1_000_000) as engine:
        fold = ended(engine.send("?"))
    sent = fold.attempts[fold.current("a") or ""].sent_ns
    assert (sent, last(fold).first_token_ns) == (7_000_000, 100_000_000)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ([Answer("half")], "incomplete"),
        ([Answer("long"), Finish("length")], "length"),
        ([Reasoning("all of it"), Finish("stop")], "no_answer"),
        ([Finish("stop")], "no_answer"),
        ([Answer("  \n"), Finish("stop")], "no_answer"),
        ([Answer("x"), Finish("content_filter")], "error"),
        ([Answer("x"), ProviderError(Failure("upstream", "The model broke."))], "error"),
        ([Answer("x"), ProviderError(Failure("network", "Cut off."))], "incomplete"),
        ([ProviderError(Failure("network", "Refused."))], "error"),
        ([Answer("x"), RuntimeError("bug")], "error"),
        ([Answer("was thought"), Relabel(), Answer("y"), Finish("stop")], "ok"),
        ([], "incomplete"),
    ],
)
def test_every_end_has_its_status_and_keeps_its_text(script: list[Any], status: str) -> None:
    with running(lane(script)) as engine:
        attempt = last(ended(engine.send("?")))
    assert attempt.status == status
    told = "".join(step.text for step in script if isinstance(step, Answer | Reasoning))
    assert attempt.reasoning + attempt.answer == told


def test_an_unknown_exception_is_named_without_its_text() -> None:
    with running(lane([RuntimeError("secret sk-123")])) as engine:
        failure = last(ended(engine.send("?"))).failure
    assert failure.kind == "internal"
    assert "RuntimeError" in failure.message
    assert "sk-123" not in failure.message


@pytest.mark.parametrize(
    ("script", "limits", "kind"),
    [
        ([5], Limits(first_token_s=0.05), "timeout_first_token"),
        ([Phase("connected"), 5], Limits(first_token_s=0.05), "timeout_first_token"),
        ([Answer("x"), 5], Limits(idle_s=0.05), "timeout_idle"),
        ([Answer("x"), *[0.01, Answer("y")] * 400], Limits(total_s=0.1), "timeout_total"),
    ],
)
def test_limits_end_the_attempt_as_timeout(script: list[Any], limits: Limits, kind: str) -> None:
    provider = lane(script, limits=limits)
    with running(provider) as engine:
        attempt = last(ended(engine.send("?")))
        assert attempt.status == "timeout"
        assert attempt.failure.kind == kind
        assert provider.closed == 1
        assert attempt.failure.remedy


@pytest.mark.parametrize("limits", [Limits(idle_s=0.3), Limits(total_s=0.3)])
def test_a_limit_after_the_finish_changes_nothing_about_the_answer(limits: Limits) -> None:
    provider = lane([Answer("x"), Finish("stop"), 5], limits=limits)
    with running(provider) as engine:
        attempt = last(ended(engine.send("?")))
    assert (attempt.status, attempt.failure, provider.closed) == ("ok", None, 1)


@pytest.mark.parametrize(("event", "status"), [(Answer("x"), "ok"), (Phase("reading_prompt"), "timeout")])
def test_only_text_extends_the_idle_limit(event: Any, status: str) -> None:
    now_ms = 0

    def script(request: ChatRequest) -> Iterator[Any]:
        nonlocal now_ms
        yield Answer("x")
        for _ in range(4):
            now_ms += 40  # the clock moves only here, so a busy machine adds no silence
            yield event
            yield 0.1  # in which the limit's timer looks at the clock
        yield Finish("stop")

    with running(lane(script, limits=Limits(idle_s=0.05)), clock_ns=lambda: now_ms * 1_000_000) as engine:
        assert last(ended(engine.send("?"))).status == status


def test_stopping_one_lane_leaves_the_other() -> None:
    go = threading.Event()
    a = lane([Answer("x"), 30])
    b = lane([Answer("x"), go, Answer("y"), Finish("stop")], id="b")
    with running(a, b) as engine:
        turn = engine.send("?")
        until(lambda: sum(isinstance(entry.event, Answer) for entry in list(turn.entries)) == 2)
        engine.stop(turn.turn_id, "a")
        engine.stop("no such turn")
        until(lambda: lane_ended(turn, "a"))
        go.set()
        fold = ended(turn)
    assert (last(fold).status, last(fold).answer, last(fold).end.reason) == ("stopped", "x", "user")
    assert (last(fold, "b").status, last(fold, "b").answer) == ("ok", "xy")


def test_a_stop_before_the_turn_is_in_the_log_keeps_the_request_from_being_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = lane(thinker()), lane(thinker(), id="b")
    row: Future[None] = Future()
    with started(ScriptedRoster(a, b)) as run:
        write = run.writer.open_turn
        monkeypatch.setattr(run.writer, "open_turn", lambda turn: (write(turn), row)[1])
        turn = run.engine.send("?")
        run.engine.stop(turn.turn_id, "a")
        row.set_result(None)
        fold = ended(turn)
    assert (last(fold).status, last(fold, "b").status) == ("stopped", "ok")
    assert (len(a.requests), len(b.requests)) == (0, 1)


def test_stopping_the_turn_stops_all_its_lanes() -> None:
    with running(lane([30]), lane([Answer("x"), 30], id="b")) as engine:
        turn = engine.send("?")
        until(lambda: any(isinstance(entry.event, Answer) for entry in list(turn.entries)))
        engine.stop(turn.turn_id)
        fold = ended(turn)
    assert {last(fold, name).status for name in "ab"} == {"stopped"}


def test_a_failing_lane_and_a_slow_one_do_not_touch_the_others() -> None:
    go = threading.Event()
    slow, broken, fast = lane([go, *thinker()]), lane([ValueError("x")], id="b"), lane(thinker(), id="c")
    with running(slow, broken, fast) as engine:
        turn = engine.send("?")
        until(lambda: lane_ended(turn, "b") and lane_ended(turn, "c"))
        go.set()
        fold = ended(turn)
    assert [last(fold, name).status for name in "abc"] == ["ok", "error", "ok"]


def busy(retry_after_s: float | None = 0.01) -> ProviderError:
    return ProviderError(Failure("capacity", "All busy.", "Wait."), retryable=True, retry_after_s=retry_after_s)


def test_a_retry_is_a_new_attempt_announced_by_the_failed_one() -> None:
    with running(lane([busy()], [busy(0.02)], thinker())) as engine:
        fold = ended(engine.send("?"))
    folds = [fold.folds[attempt_id] for attempt_id in fold.lanes["a"].attempts]
    assert [f.status for f in folds] == ["error", "error", "ok"]
    assert [f.end.retry_in_s for f in folds if f.end] == [0.01, 0.02, None]
    assert [fold.attempts[attempt_id].attempt_no for attempt_id in fold.lanes["a"].attempts] == [1, 2, 3]


def test_retries_stop_at_the_limit_and_never_follow_text_or_a_final_failure() -> None:
    tired, talked = lane([busy()]), lane([Answer("x"), busy()], id="b")
    billing = lane([ProviderError(Failure("billing", "No money."))], id="c")
    with running(tired, talked, billing) as engine:
        fold = ended(engine.send("?"))
    assert [len(fold.lanes[name].attempts) for name in "abc"] == [3, 1, 1]


def test_a_retry_after_of_0_uses_our_own_back_off() -> None:
    """A Retry-After of 0, or of a date in the past."""
    with running(lane([busy(0.0)])) as engine:
        turn = engine.send("?")
        until(lambda: any(isinstance(entry.event, End) for entry in list(turn.entries)))
        engine.stop(turn.turn_id)
        fold = ended(turn)
    end = fold.folds[fold.lanes["a"].attempts[0]].end
    assert end
    assert end.retry_in_s
    assert end.retry_in_s > 0.5


def test_stop_during_the_wait_for_a_retry_ends_the_lane_as_stopped() -> None:
    provider = lane([busy(60)])
    with running(provider) as engine:
        turn = engine.send("?")
        until(lambda: any(isinstance(entry.event, End) for entry in list(turn.entries)))
        engine.stop(turn.turn_id, "a")
        fold = ended(turn)
    assert [fold.folds[attempt_id].status for attempt_id in fold.lanes["a"].attempts] == ["error", "stopped"]
    assert len(provider.requests) == 1


def test_preparation_comes_before_the_attempt_and_a_failed_one_is_an_attempt() -> None:
    ready, broken = lane(thinker()), lane(thinker(), id="b")
    ready.prepare_steps = [Phase(PREPARING, "Fetching", 1, 2), 0.01]
    broken.prepare_steps = [ProviderError(Failure("network", "No network.", "Connect."))]
    with running(ready, broken) as engine:
        turn = engine.send("?")
        fold = ended(turn)
    first = next(entry for entry in turn.entries if entry.lane == "a")
    assert first.attempt_id == ""
    assert first.event == Phase(PREPARING, "Fetching", 1, 2)
    assert last(fold).status == "ok"
    assert (last(fold, "b").status, last(fold, "b").failure.message) == ("error", "No network.")
    assert broken.requests == []


def test_stop_during_preparation() -> None:
    provider = lane(thinker())
    provider.prepare_steps = [Phase(PREPARING), 60]
    with running(provider) as engine:
        turn = engine.send("?")
        until(lambda: bool(turn.entries))
        engine.stop(turn.turn_id)
        assert last(ended(turn)).status == "stopped"


def test_closing_the_engine_interrupts_what_runs_and_refuses_more() -> None:
    provider = lane([Answer("x"), 60])
    with running(provider) as engine:
        turn = engine.send("?")
        until(lambda: any(isinstance(entry.event, Answer) for entry in list(turn.entries)))
        engine.close()
        engine.close()
        fold = ended(turn)
        assert (last(fold).status, last(fold).answer, last(fold).end.reason) == ("interrupted", "x", "shutdown")
        assert provider.closed == 1
        with pytest.raises(EngineClosed):
            engine.send("?")


def test_a_stop_while_the_process_ends_counts_as_interrupted() -> None:
    with running(lane([Answer("x"), 60])) as engine:
        turn = engine.send("?")
        until(lambda: any(isinstance(entry.event, Answer) for entry in list(turn.entries)))
        engine.expect_shutdown()
        engine.stop(turn.turn_id)
        fold = ended(turn)
    assert (last(fold).status, last(fold).end.reason) == ("interrupted", "shutdown")


def test_two_turns_stream_at_once_and_a_turn_can_name_its_lanes() -> None:
    go = threading.Event()
    a, b = lane([go, *thinker()]), lane(thinker(), id="b")
    with started(ScriptedRoster(a, b)) as run:
        engine = run.engine
        one, two = engine.send("1", owner="x"), engine.send("2", lanes=["b"], owner="y")
        assert [turn.prompt for turn in run.turns.live("x")] == ["1"]
        assert last(ended(two), "b").status == "ok"
        assert not one.closed
        assert [info.id for info in two.lanes] == ["b"]
        go.set()
        assert last(ended(one)).status == "ok"
        assert run.turns.get(one.turn_id) is one
        assert run.turns.live() == []
        for wrong in (["z"], []):
            with pytest.raises(UnknownLane):
                engine.send("?", lanes=wrong)


def test_each_lane_has_its_own_history_without_reasoning() -> None:
    a = lane(thinker("r1", "a1"), [ProviderError(Failure("auth", "No."))], thinker("r3", "a3"))
    b = lane(thinker("s1", "b1"), id="b", send_reasoning=True, system="Be brief.")
    with running(a, b) as engine:
        first = engine.send("q1")
        ended(first)
        for prompt in ("q2", "q3"):
            ended(engine.send(prompt, conversation_id=first.conversation_id))
    assert a.requests[2].messages == (Message("user", "q1"), Message("assistant", "a1"), Message("user", "q3"))
    assert b.requests[1].messages == (
        Message("system", "Be brief."),
        Message("user", "q1"),
        Message("assistant", "b1", "s1"),
        Message("user", "q2"),
    )


def test_the_kind_of_a_turn_is_in_the_log() -> None:
    with started(ScriptedRoster(lane(thinker()))) as run:
        turns = [run.engine.send("?"), run.engine.send("?", kind="bench")]
        run.writer.flush().result()
        stored = [run.reader.turn(turn.turn_id) for turn in turns]
    assert [turn and turn.kind for turn in stored] == ["chat", "bench"]


def test_identity_carries_model_price_and_the_parameters_of_the_request() -> None:
    provider = lane(thinker(), price=Price(1.0, 2.0, 0.5, "2026-01-01"), params={"max_tokens": 5}, stand_in_for="K2")
    with running(provider) as engine:
        fold = ended(engine.send("?", params={"temperature": 1}))
    attempt = fold.attempts[fold.current("a") or ""]
    assert attempt.price == (1.0, 0.5, 2.0, "2026-01-01")
    assert attempt.stand_in_for == "K2"
    assert attempt.params == {"max_tokens": 5, "temperature": 1}
    assert attempt.sent_ns > 0
    assert attempt.started_at_utc


def test_the_worst_lateness_is_that_of_an_attempts_own_time() -> None:
    samples, lag = [3, 9, 9, -1, 4, 2, 5, 0, 1, 1], LoopLag()
    for n, sample in enumerate(samples):
        assert [lag.since(at) for at in range(n + 1)] == [max([0, *samples[at:n]]) for at in range(n + 1)]
        assert lag.n_samples == n
        lag.add(sample)


def test_a_clock_that_jumps_is_flagged_and_changes_no_stamp() -> None:
    walls = iter([0, 3_600_000_000_000])
    with running(lane(thinker()), wall_ns=lambda: next(walls)) as engine:
        attempt = last(ended(engine.send("?")))
    assert "clock_jump" in attempt.flags
    assert attempt.end_ns < 60_000_000_000


def test_one_lane_can_be_retried_in_the_same_turn() -> None:
    a, b = lane([Answer("bad"), Finish("stop")], thinker("", "good")), lane(thinker(), id="b")
    with running(a, b) as engine:
        turn = engine.send("?", owner="me")
        ended(turn)
        assert engine.retry(turn.turn_id, "a", owner="me") is turn
        fold = ended(turn)
        first, second = fold.lanes["a"].attempts
        assert [fold.folds[i].answer for i in (first, second)] == ["bad", "good"]
        again = fold.attempts[second]
        assert again.attempt_no == 2
        assert 0 < again.asked_ns <= again.sent_ns
        assert len(fold.lanes["b"].attempts) == 1
        with pytest.raises(UnknownLane):
            engine.retry(turn.turn_id, "z", owner="me")
        for turn_id, owner in ((turn.turn_id, "you"), ("nothing", "me")):
            with pytest.raises(UnknownTurn):
                engine.retry(turn_id, "a", owner=owner)


def test_a_lane_is_busy_as_soon_as_its_retry_is_requested() -> None:
    go = threading.Event()
    with running(lane(thinker("", "one"), [go, *thinker("", "two")])) as engine:
        turn = engine.send("?")
        ended(turn)
        engine.retry(turn.turn_id, "a")
        with pytest.raises(LaneBusy):
            engine.retry(turn.turn_id, "a")
        go.set()
        assert [attempt.attempt_no for attempt in ended(turn).attempts.values()] == [1, 2]


def test_prompts_sent_at_once_get_consecutive_turn_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with started(ScriptedRoster(lane(*[thinker()] * 7))) as run, ThreadPoolExecutor() as callers:
        first = run.engine.send("0")
        seqs = run.reader.turn_seqs
        slow = threading.Event()  # never set: waiting on it delays the log's answer
        monkeypatch.setattr(run.reader, "turn_seqs", lambda conversation: (slow.wait(0.01), seqs(conversation))[1])
        send = partial(run.engine.send, conversation_id=first.conversation_id)
        turns = [first, *callers.map(send, "123456")]
        for turn in turns:
            ended(turn)
    assert sorted(turn.seq for turn in turns) == [0, 1, 2, 3, 4, 5, 6]


def test_a_streaming_lane_cannot_be_retried_but_a_finished_one_beside_it_can() -> None:
    slow, fast = lane([Answer("x"), 60]), lane(thinker(), id="b")
    with running(slow, fast) as engine:
        turn = engine.send("?")
        until(lambda: lane_ended(turn, "b"))
        with pytest.raises(LaneBusy):
            engine.retry(turn.turn_id, "a")
        engine.retry(turn.turn_id, "b")
        until(lambda: sum(entry.lane == "b" and isinstance(entry.event, End) for entry in list(turn.entries)) == 2)
        assert not turn.closed
        engine.stop(turn.turn_id)
        assert last(ended(turn)).status == "stopped"


def test_an_edited_prompt_forks_the_conversation_and_the_old_branch_stays() -> None:
    provider = lane(*(thinker("", f"a{k}") for k in range(5)))
    with started(ScriptedRoster(provider)) as run:
        engine = run.engine
        first = engine.send("q0")
        ended(first)
        for prompt in ("q1", "q2"):
            ended(engine.send(prompt, conversation_id=first.conversation_id))
        fork = engine.send("q1 edited", conversation_id=first.conversation_id, fork_at=1)
        ended(fork)
        then = engine.send("and?", conversation_id=fork.conversation_id)
        ended(then)
        assert (fork.forked_from, fork.forked_at, fork.seq, then.seq) == (first.conversation_id, 1, 1, 2)
        assert [turn.prompt for turn in run.turns.conversation(fork.conversation_id)] == ["q0", "q1 edited", "and?"]
        assert [turn.prompt for turn in run.turns.conversation(first.conversation_id)] == ["q0", "q1", "q2"]
    said = [message.content for message in provider.requests[4].messages]
    assert said == ["q0", "a0", "q1 edited", "a3", "and?"]


def test_only_the_owner_can_continue_a_conversation() -> None:
    with running(lane(thinker())) as engine:
        turn = engine.send("?", owner="me")
        for conversation_id in (turn.conversation_id, "made up"):
            with pytest.raises(UnknownTurn):
                engine.send("?", conversation_id=conversation_id, owner="you")


def test_an_endless_stream_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_EVENTS", 10)
    with running(lane([Reasoning("x")] * 100), lane([Phase("reading_prompt")] * 100, id="b")) as engine:
        fold = ended(engine.send("?"))
    assert [last(fold, id).failure.kind for id in "ab"] == ["too_large", "too_large"]
    assert last(fold).status == "error"
    assert len(last(fold).reasoning) == 11
