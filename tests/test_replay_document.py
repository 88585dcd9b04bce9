"""The replay document: the frames of the live page at their times, optionally without any reasoning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kimi_ui.core.events import Answer, End, Event, Finish, Phase, Reasoning, Relabel
from kimi_ui.core.turn import TurnLog
from kimi_ui.view.frames import TurnView
from kimi_ui.view.replay import replay_document
from tests.support.turns import attempt, ended, tokens, turn

HIDDEN = "hiddenthought"
LATE = "calledreasoninglater"


def two_lanes() -> TurnLog:
    thinking = tokens(200, start_ms=100, gap_ms=40, kind=Reasoning, word="hm ")
    answering = tokens(200, start_ms=8200, gap_ms=40, word="word\n\n")
    return turn(
        (attempt("a"), ended([*thinking, *answering])),
        (attempt("b", sent_ms=3), ended(tokens(50, start_ms=500, gap_ms=20, word="**x** "))),
    )


def heavy() -> TurnLog:
    whole = attempt("h", role="heavy")
    one = attempt("h", sent_ms=1, role="trajectory", parent_id=whole.attempt_id, k_index=0)
    two = attempt("h", sent_ms=2, role="trajectory", parent_id=whole.attempt_id, k_index=1)
    return turn(
        (whole, ended([(900, Answer("both"))])),
        (one, ended([(10, Answer(LATE)), (20, Relabel()), (30, Reasoning(HIDDEN)), (40, Answer("first"))])),
        (two, ended([(10, Reasoning(HIDDEN)), (15, Answer("second"))])),
    )


def relabelled_then_retried() -> TurnLog:
    """A lane whose first attempt failed in its answer, and whose second relabelled its first text as reasoning."""
    first: list[tuple[float, Event]] = [(10, Answer("kept of the first")), (20, End("incomplete"))]
    beginning = tokens(400, start_ms=10, gap_ms=30, word=LATE + " ")
    rest: list[tuple[float, Event]] = [(13_000, Relabel()), (13_010, Reasoning(HIDDEN)), (13_020, Answer("the answer"))]
    return turn((attempt("a"), first), (attempt("a", sent_ms=100, attempt_no=2), ended([*beginning, *rest])))


def frames(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [item["frame"] for item in document["frames"]]


def sum_of(frames: list[dict[str, Any]], lane: str) -> dict[str, Any]:
    """The sum of frames, for the parts that this test adds."""
    sums: dict[str, Any] = {"reasoning": "", "stamps": {}, "phase": "", "metrics": {}}
    for part in (frame["lanes"].get(lane, {}) for frame in frames):
        if "attempt" in part:
            sums = {"reasoning": "", "stamps": {}, "phase": "", "metrics": {}}
        sums["reasoning"] += part.get("reasoning", "")
        sums["stamps"] |= part.get("stamps", {})
        sums["phase"] = part.get("phase", sums["phase"])
        sums["metrics"] = part.get("metrics", sums["metrics"])
    return sums


@pytest.mark.parametrize("make", [two_lanes, heavy, relabelled_then_retried])
def test_the_frames_add_up_to_the_reopened_turn(make: Any) -> None:
    log = make()
    document = replay_document(log)
    view = TurnView(log)
    view.catch_up()
    stored = view.frame(None)
    assert stored is not None
    for info in log.lanes:
        assert sum_of(frames(document), info.id) == sum_of([stored], info.id)
    fold = log.fold()
    for lane, answer in document["answers"].items():
        assert answer == fold.folds[fold.current(lane) or ""].answer


def test_each_mark_is_at_its_own_time() -> None:
    document = replay_document(two_lanes())
    marks = {(mark["lane"], mark["kind"]): mark["t_ms"] for mark in document["marks"]}
    assert marks == {
        ("a", "first_token"): 100, ("a", "first_answer"): 8200, ("a", "end"): 16161,
        ("b", "first_token"): 503, ("b", "first_answer"): 503, ("b", "end"): 1484,
    }  # fmt: skip
    shown = next(item for item in document["frames"] if {"blocks", "tail"} & item["frame"]["lanes"].get("a", {}).keys())
    assert shown["t_ms"] == 8200
    assert document["duration_ms"] == 16161


def test_each_snapshot_equals_the_frames_before_it() -> None:
    document = replay_document(two_lanes())
    assert document["wholes"]
    for whole in document["wholes"]:
        before = frames(document)[: whole["after"]]
        for lane in ("a", "b"):
            one, other = sum_of([whole["frame"]], lane), sum_of(before, lane)
            assert {**one, "metrics": 0} == {**other, "metrics": 0}  # metrics are sent at most five times a second
        assert whole["t_ms"] == document["frames"][whole["after"] - 1]["t_ms"]


def test_the_progress_of_a_step_is_kept_for_each_moment() -> None:
    loading: list[tuple[float, Event]] = [(ms, Phase("trajectories", done=ms // 1000, total=3)) for ms in (1000, 2000)]
    document = replay_document(turn((attempt("a"), ended([*loading, (3000, Answer("x"))]))))
    steps = [step for frame in frames(document) for step in frame["lanes"].get("a", {}).get("steps", ())]
    assert [step["done"] for step in steps if step.get("total") == 3] == [1, 2, 2]  # start, progress, end


@pytest.mark.parametrize("make", [two_lanes, heavy, relabelled_then_retried])
def test_leaving_out_the_reasoning_removes_all_of_its_text(make: Any) -> None:
    log = make()
    document = replay_document(log, reasoning=False)
    text = json.dumps(document)
    assert HIDDEN not in text
    assert LATE not in text
    assert "hm hm" not in text
    whole = replay_document(log)
    assert [item["t_ms"] for item in document["frames"]] == [item["t_ms"] for item in whole["frames"]]
    assert document["answers"] == whole["answers"]
    for info in log.lanes:
        without_reasoning, with_reasoning = sum_of(frames(document), info.id), sum_of(frames(whole), info.id)
        assert {**without_reasoning, "reasoning": ""} == {**with_reasoning, "reasoning": ""}


def test_the_answer_of_an_earlier_attempt_is_kept_without_reasoning() -> None:
    document = replay_document(relabelled_then_retried(), reasoning=False)
    assert "kept of the first" in json.dumps(document)
    assert "the answer" in json.dumps(document)


def test_a_turn_without_entries() -> None:
    empty = turn((attempt("a"), [(5, Finish("stop")), (6, End("no_answer"))]))
    empty.entries.clear()
    document = replay_document(empty)
    assert (document["wholes"], document["marks"], document["duration_ms"]) == ([], [], 0.0)
    assert [frame["lanes"]["a"]["phase"] for frame in frames(document)] == ["interrupted"]
