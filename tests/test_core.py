"""Events, attempt fold and turn fold: the values that everything else is based on."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core import events as ev
from kimi_ui.core.attempt import STATUSES, Attempt, AttemptFold, live_phase
from kimi_ui.core.events import (
    Answer,
    Bounds,
    Carried,
    End,
    Entry,
    Event,
    Failure,
    Finish,
    Flag,
    Meta,
    Opened,
    Phase,
    Promoted,
    Reasoning,
    Relabel,
    Tally,
    Usage,
    decode,
    encode,
)
from kimi_ui.core.turn import LaneInfo, TurnLog

MS = 1_000_000
text = st.text(max_size=20)
number = st.none() | st.integers(0, 1 << 40)
EVENTS: dict[type, st.SearchStrategy[Any]] = {
    Reasoning: st.builds(Reasoning, text),
    Answer: st.builds(Answer, text),
    Relabel: st.builds(Relabel),
    Usage: st.builds(Usage, number, number, number, number, st.none() | st.floats(0, 9), raw=st.just({"a": [1]})),
    Phase: st.builds(Phase, text, text, number, number),
    Meta: st.builds(Meta, st.none() | text, st.none() | text, st.none() | text),
    Flag: st.builds(Flag, text, text),
    Bounds: st.builds(Bounds, number, number, number, number),
    Tally: st.builds(
        Tally, text, text, st.integers(0, 32), stop_risk=st.none() | st.floats(0, 1), order=st.just([2, 1])
    ),
    Finish: st.builds(Finish, text),
    Failure: st.builds(Failure, st.sampled_from(ev.ERROR_KINDS), text, text, text, text, number),
    Opened: st.builds(Opened, st.just(Attempt("a", "t", "l", "L").as_dict())),
    End: st.builds(End, st.sampled_from(STATUSES), text, st.none() | st.floats(0, 9)),
    Promoted: st.builds(Promoted),
    Carried: st.builds(Carried, text),
}
events = st.one_of(*EVENTS.values())


def test_every_event_class_is_stored_and_tested() -> None:
    assert set(EVENTS) == set(get_args(Event))


@given(st.integers(0, 1 << 50), events)
def test_events_survive_a_round_trip_through_json(t_ns: int, event: Event) -> None:
    assert decode(orjson.loads(orjson.dumps(encode(t_ns, event)))) == (t_ns, event)


def test_an_unknown_code_is_an_error_not_a_guess() -> None:
    with pytest.raises(KeyError):
        decode([0, "?", "x"])


def fold(*items: tuple[float, Event]) -> AttemptFold:
    result = AttemptFold()
    for t_ms, event in items:
        result.apply(int(t_ms * MS), event)
    return result


def test_stamps_of_an_answer_with_reasoning() -> None:
    f = fold(
        (5, Phase(ev.CONNECTED)),
        (7, Phase(ev.FIRST_CHUNK)),
        (10, Reasoning("a")),
        (30, Reasoning("b")),
        (50, Answer("c")),
        (1250, Answer("d")),
        (1260, Finish("stop")),
        (1270, End("ok")),
    )
    assert (f.headers_ns, f.first_chunk_ns, f.first_token_ns) == (5 * MS, 7 * MS, 10 * MS)
    assert (f.first_reasoning_ns, f.last_reasoning_ns, f.first_answer_ns) == (10 * MS, 30 * MS, 50 * MS)
    assert (f.last_token_ns, f.end_ns, f.thinking_ns) == (1250 * MS, 1270 * MS, 40 * MS)
    assert (f.n_chunks, f.max_gap_ns, f.n_stalls) == (4, 1200 * MS, 1)
    assert (f.reasoning, f.answer, f.status) == ("ab", "cd", "ok")


def test_empty_text_is_not_a_token() -> None:
    f = fold((1, Reasoning("")), (2, Answer("")), (3, Answer("x")))
    assert f.first_token_ns == 3 * MS
    assert f.first_reasoning_ns is None
    assert f.n_chunks == 1


def test_relabel_moves_the_answer_so_far_into_the_reasoning() -> None:
    f = fold((1, Answer("so I think")), (4, Answer(" more")), (5, Relabel()), (9, Answer("yes")))
    assert (f.reasoning, f.answer) == ("so I think more", "yes")
    assert (f.first_reasoning_ns, f.last_reasoning_ns, f.first_answer_ns) == (1 * MS, 4 * MS, 9 * MS)
    assert fold((1, Relabel()), (2, Answer("x"))).first_reasoning_ns is None


def test_usage_overwrites_and_never_sums() -> None:
    f = fold((1, Usage(10, None, 5, raw={"a": 1})), (2, Usage(None, 3, 9)), (3, Usage()))
    assert (f.usage.input_tokens, f.usage.cached_input_tokens, f.usage.output_tokens) == (10, 3, 9)
    assert f.usage.reasoning_tokens is None
    assert f.usage.raw == {"a": 1}


def test_the_first_finish_counts_and_events_after_the_end_are_ignored() -> None:
    f = fold((1, Finish("")), (2, Finish("stop")), (3, Finish("length")), (4, End("ok")), (5, Answer("late")))
    assert f.finish_reason == "stop"
    assert f.answer == ""
    assert f.end_ns == 4 * MS


@pytest.mark.parametrize(
    ("items", "phase"),
    [
        ([], "connecting"),
        ([(1, Phase(ev.CONNECTED))], "waiting"),
        ([(1, Reasoning("x"))], "thinking"),
        ([(1, Phase(ev.FIRST_TRAJECTORY_TOKEN))], "thinking"),
        ([(1, Reasoning("x")), (2, Answer("y"))], "answering"),
        ([(1, Answer("y")), (2, Relabel())], "thinking"),
        ([(1, End("ok"))], "done"),
        ([(1, End("no_answer"))], "no_answer"),
    ],
)
def test_phase_of_a_running_attempt(items: list[tuple[float, Event]], phase: str) -> None:
    assert live_phase(fold(*items)) == phase


def opened(attempt_id: str, lane: str = "a", parent: str | None = None, no: int = 1) -> Entry:
    return Entry(
        lane, attempt_id, 0, Opened(Attempt(attempt_id, "t", lane, "L", parent_id=parent, attempt_no=no).as_dict())
    )


def test_a_turn_folds_into_lanes_attempts_and_children() -> None:
    turn = TurnLog("t", "c", 0, "?", (LaneInfo("a", "A", "heavy", "m"), LaneInfo("b", "B", "openai", "m")))
    for entry in (
        Entry("b", "", 3, Phase(ev.PREPARING, "Fetching", 1, 2)),
        opened("1"),
        opened("2", parent="1"),
        Entry("a", "2", 5, Answer("x")),
        Entry("a", "1", 9, End("error", retry_in_s=1.0)),
    ):
        turn.append(entry)
    f = turn.fold()
    assert f.children == {"1": ["2"]}
    assert f.folds["2"].answer == "x"
    assert f.lanes["b"].preparing
    assert f.current("b") is None
    assert not f.lane_ended("b")
    assert f.current("a") == "1"
    assert not f.lane_ended("a")  # a retry is announced
    f.apply_all([opened("3", no=2), Entry("a", "3", 9, End("ok")), opened("4", lane="b")])
    assert f.lane_ended("a")
    assert f.lanes["a"].attempts == ["1", "3"]
    assert f.lanes["b"].preparing is None


def test_an_attempts_identity_survives_a_round_trip_through_json() -> None:
    attempt = Attempt("1", "t", "a", "A", params={"x": 1}, price=(1.0, None, 2.0, "2026-01-01"))
    (_, event) = decode(orjson.loads(orjson.dumps(encode(0, Opened(attempt.as_dict())))))
    assert isinstance(event, Opened)
    assert {f.name for f in fields(Attempt)} == set(event.identity)
