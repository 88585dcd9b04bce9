"""Frames: everything once, in order, the same whether watched from the start, joined late or resumed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_ui.core.attempt import Attempt
from kimi_ui.core.events import (
    AGGREGATING,
    CONNECTED,
    PREPARING,
    TRAJECTORIES,
    Answer,
    End,
    Entry,
    Event,
    Failure,
    Finish,
    Flag,
    Opened,
    Phase,
    Reasoning,
    Relabel,
    Usage,
)
from kimi_ui.core.markdown import render
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.view.attempt_view import SLICE_CHARS
from kimi_ui.view.frames import TurnView, dumps
from tests.support.shown import Shown

MS = 1_000_000


def turn_of(*entries: Entry, lanes: tuple[str, ...] = ("a",)) -> TurnLog:
    infos = tuple(LaneInfo(id, id.upper(), "openai", f"model-{id}") for id in lanes)
    return TurnLog("t", "c", 0, "Why?", infos, t0_ns=1, entries=list(entries))


def opened(id: str = "x", lane: str = "a", sent_ms: float = 0, **fields: Any) -> Entry:
    attempt = Attempt(
        id, "t", lane, lane.upper(), sent_ns=int(sent_ms * MS), provider="openai", request_model="m", **fields
    )
    return Entry(lane, id, 0, Opened(attempt.as_dict()))


def at(ms: float, event: Event, id: str = "x", lane: str = "a") -> Entry:
    return Entry(lane, id, int(ms * MS), event)


def whole() -> list[Entry]:
    return [
        opened(),
        at(10, Phase(CONNECTED)),
        at(100, Reasoning("Let me ")),
        at(200, Reasoning("think.\n")),
        at(500, Answer("**Yes**")),
        at(600, Answer(", it is.\n\nSecond")),
        at(700, Answer(" block.")),
        at(710, Finish("stop")),
        at(720, Usage(input_tokens=5, output_tokens=60, reasoning_tokens=40)),
        at(730, End("ok")),
    ]


def watched(turn: TurnLog, cuts: list[int]) -> Shown:
    """The page after frames taken at these numbers of entries."""
    view, shown = TurnView(turn), Shown()
    for n in [*cuts, len(turn.entries)]:
        view.apply(turn.entries[view.consumed : n])
        shown.take(view.frame(None))
    return shown


def at_once(turn: TurnLog, **how: bool) -> tuple[Shown, list[dict[str, Any]]]:
    """The page that opens the turn as it is, and the frames that it gets."""
    view, shown, frames = TurnView(turn, **how), Shown(), list[dict[str, Any]]()
    view.catch_up()
    while not frames or not view.complete:
        frame = view.frame(None)
        assert frame
        frames.append(frame)
        shown.take(frame)
    return shown, frames


def test_the_first_frame_names_the_turn_and_later_ones_hold_only_what_is_new() -> None:
    turn = turn_of(*whole())
    view = TurnView(turn)
    view.apply(turn.entries[:3])
    first = view.frame(150 * MS)
    assert first
    assert first["turn"]["prompt"] == "Why?"
    assert first["now_ms"] == 150
    assert first["lanes"]["a"]["reasoning"] == "Let me "
    assert first["lanes"]["a"]["phase"] == "thinking"
    assert view.frame(151 * MS) is None
    view.apply(turn.entries[3:4])
    second = view.frame(10_000 * MS)
    assert second
    assert "turn" not in second
    assert second["lanes"]["a"]["reasoning"] == "think.\n"
    assert "phase" not in second["lanes"]["a"]


def test_an_untouched_turn_still_gets_a_first_frame() -> None:
    frame = TurnView(turn_of()).frame(0)
    assert frame
    assert frame["lanes"] == {"a": {"phase": "connecting"}}


def test_a_lane_that_was_never_sent_is_interrupted_once_its_turn_is_over() -> None:
    turn = turn_of(Entry("a", "", 5 * MS, Phase(PREPARING, "Fetching weights", 10, 98)))
    view, shown = TurnView(turn), Shown()
    view.catch_up(0)
    shown.take(view.frame(0))
    turn.close()
    shown.take(view.frame(0))
    assert shown.lanes["a"]["phase"] == "connecting", "there are entries that the view has not read"
    view.catch_up()
    shown.take(view.frame(None))
    stored, _ = at_once(turn)
    for lane in (shown.lanes["a"], stored.lanes["a"]):
        assert (lane["phase"], lane.get("preparing")) == ("interrupted", None)
        assert lane["failure"]["message"] == "Kimi UI was closed before this was sent to the model."
    turn.closed = False  # another lane is retried
    again = view.frame(0)
    assert again
    assert "phase" not in again["lanes"]["a"]
    view.apply([opened()])
    shown.take(view.frame(0))
    assert (shown.lanes["a"]["phase"], shown.lanes["a"]["attempt"]["attempt_id"]) == ("connecting", "x")


def test_the_last_frame_of_an_attempt_completes_its_figures() -> None:
    lane = watched(turn_of(*whole()), []).lanes["a"]
    assert lane["phase"] == "done"
    assert lane["reasoning"] == "Let me think.\n"
    assert lane["blocks"] + lane["tail"] == render("**Yes**, it is.\n\nSecond block.")
    assert lane["stamps"] == {
        "first_token_ms": 100,
        "first_reasoning_ms": 100,
        "first_answer_ms": 500,
        "last_token_ms": 700,
        "end_ms": 730,
    }
    assert lane["metrics"]["output_tokens"] == 60
    assert lane["metrics"]["token_source"] == "usage"
    assert lane["metrics"]["ttft_ms"] == 100
    assert lane["metrics"]["ttfo_ms"] == 500
    assert [(step["kind"], step["label"], step["t_ms"]) for step in lane["steps"].values()] == [
        ("system", "Connected", 10),
        ("system", "Thinking", 100),
        ("system", "Writing the answer", 500),
        ("system", "Finished", 730),
    ]
    assert "failure" not in lane


@given(st.lists(st.integers(0, 10), max_size=8).map(sorted))
def test_frames_add_up_to_the_same_whenever_they_are_taken(cuts: list[int]) -> None:
    turn = turn_of(*whole())
    assert watched(turn, cuts).lanes == watched(turn, []).lanes


@given(st.integers(1, 10))
def test_a_page_that_reconnects_gets_the_rest(after: int) -> None:
    turn = turn_of(*whole())
    shown = Shown()
    before = TurnView(turn)
    before.apply(turn.entries[:after])
    shown.take(before.frame(None))
    again = TurnView(turn)
    again.resume(after)
    assert again.consumed == after
    again.catch_up()
    frame = again.frame(None)
    assert frame is None or "turn" not in frame
    assert shown.take(frame).lanes == watched(turn, []).lanes


def test_a_page_that_reconnects_gets_no_part_of_a_long_answer_twice() -> None:
    long = "\n\n".join(f"Paragraph {n}." for n in range(SLICE_CHARS // 5))
    turn = turn_of(opened(), at(500, Answer(long)), at(600, Finish("stop")), at(700, End("ok")))
    view = TurnView(turn, later=True, slices=True)
    view.resume(len(turn.entries))
    view.catch_up()
    assert view.complete
    assert view.frame(None) is None


def test_a_page_that_reconnects_to_a_silent_stream_gets_no_frame() -> None:
    turn = turn_of(*whole()[:7])
    view = TurnView(turn)
    view.resume(7)
    view.catch_up()
    assert view.frame(None) is None
    turn.entries.append(at(800, Answer(" More.")))
    view.catch_up()
    frame = view.frame(None)
    assert frame
    assert frame["lanes"]["a"]["clear_answer"]
    assert frame["lanes"]["a"]["tail"] == render("Second block. More.")


@pytest.mark.parametrize("after", [0, 99, -1])
def test_an_invalid_resume_position_gets_everything(after: int) -> None:
    view = TurnView(turn_of(*whole()))
    view.resume(after)
    view.catch_up()
    frame = view.frame(None)
    assert frame
    assert frame["turn"]["turn_id"] == "t"


@settings(max_examples=30)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200), st.lists(st.integers(1, 7), min_size=1))
def test_text_is_complete_however_it_was_cut(text: str, sizes: list[int]) -> None:
    pieces: list[str] = []
    rest = text
    while rest:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(rest[:size])
        rest = rest[size:]
    turn = turn_of(
        opened(),
        *(at(i, Reasoning(piece)) for i, piece in enumerate(pieces)),
        at(999, Finish("stop")),
        at(1000, End("ok")),
    )
    once = watched(turn, []).lanes["a"]["reasoning"]
    assert watched(turn, list(range(len(turn.entries)))).lanes["a"]["reasoning"] == once


def test_a_relabel_moves_the_answer_into_the_reasoning() -> None:
    turn = turn_of(
        opened(),
        at(1, Answer("thinking aloud")),
        at(2, Relabel()),
        at(3, Answer("Real.")),
        at(4, Finish("stop")),
        at(5, End("ok")),
    )
    for cuts in ([], [2], [2, 3]):
        lane = watched(turn, cuts).lanes["a"]
        assert lane["reasoning"] == "thinking aloud"
        assert lane["blocks"] + lane["tail"] == render("Real.")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["words ", "😀 so. ", "\r\n", "\r", "\x1b[31m", "\u202eevil\u202c ", "a\u2028b"])),
    st.lists(st.integers(1, 9), min_size=1),
    st.booleans(),
)
def test_the_position_of_a_topic_is_where_the_page_shows_it(
    between: list[str], sizes: list[int], relabelled: bool
) -> None:
    """The page counts UTF-16 units of the cleaned text that it shows, whatever pieces it arrives in."""
    labels = ["Let me begin 😀 here", "Wait, what is next", "Let me end it all"]
    text = "\r\n".join(f"{''.join(between)}\r\n{label}." for label in labels)
    events, rest = [opened()], text
    while rest:
        size = sizes[len(events) % len(sizes)]
        event = (Answer if relabelled else Reasoning)(rest[:size])
        events, rest = [*events, at(3000 * len(events), event)], rest[size:]
    ms = 3000 * len(events)
    turn = turn_of(*events, *([at(ms, Relabel())] if relabelled else []), at(ms, Answer("42")), at(ms, End("ok")))
    lane = watched(turn, list(range(0, len(events), 4))).lanes["a"]
    shown = lane["reasoning"].encode("utf-16-le")
    topics = [step for step in lane["steps"].values() if step["label"] in labels]
    assert topics
    for step in topics:
        assert shown[2 * step["at"] :].decode("utf-16-le").startswith(step["label"])


def test_a_new_attempt_replaces_the_one_before() -> None:
    failure = Failure("capacity", "Full.", "Wait.")
    turn = turn_of(
        opened(),
        at(50, failure),
        at(60, End("error", "", 2.0)),
        opened("y", sent_ms=2060, attempt_no=2),
        at(10, Answer("Here."), "y"),
        at(20, Finish("stop"), "y"),
        at(30, End("ok"), "y"),
    )
    view, shown = TurnView(turn), Shown()
    view.apply(turn.entries[:3])
    shown.take(view.frame(None))
    lane = shown.lanes["a"]
    assert lane["phase"] == "waiting"
    assert "failure" not in lane
    assert lane["retry"]["at_ms"] == 2060
    assert lane["retry"]["attempt_no"] == 2
    assert lane["retry"]["failure"]["message"] == "Full."
    view.catch_up()
    lane = shown.take(view.frame(None)).lanes["a"]
    assert lane["attempt"]["attempt_no"] == 2
    assert lane["attempt"]["sent_ms"] == 2060
    assert lane["phase"] == "done"
    assert "retry" not in lane
    assert lane["blocks"] == render("Here.")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("length", "length limit"),
        ("no_answer", "without writing an answer"),
        ("incomplete", "without saying that it was finished"),
        ("interrupted", "closed while this was being written"),
    ],
)
def test_an_incomplete_end_is_explained_even_without_a_failure(status: str, words: str) -> None:
    lane = watched(turn_of(opened(), at(1, Answer("ha")), at(2, End(status))), []).lanes["a"]
    assert words in lane["failure"]["message"]
    assert lane["failure"]["remedy"]
    assert lane["phase"] == status


def test_a_stop_is_not_a_failure() -> None:
    lane = watched(turn_of(opened(), at(1, Answer("ha")), at(2, End("stopped", "user"))), []).lanes["a"]
    assert lane["phase"] == "stopped"
    assert "failure" not in lane
    assert "ha" in lane["blocks"]


def test_preparing_shows_its_progress_until_the_attempt_begins() -> None:
    turn = turn_of(Entry("a", "", 5 * MS, Phase(PREPARING, "Fetching weights", 10, 98)))
    view, shown = TurnView(turn), Shown()
    view.catch_up()
    lane = shown.take(view.frame(6 * MS)).lanes["a"]
    assert lane["preparing"] == {"label": "Fetching weights", "done": 10, "total": 98}
    assert lane["phase"] == "connecting"
    turn.entries.append(opened())
    view.catch_up()
    assert "preparing" not in shown.take(view.frame(7 * MS)).lanes["a"]


def test_text_goes_to_its_own_lane() -> None:
    turn = turn_of(
        opened("x", "a"),
        opened("y", "b"),
        at(1, Reasoning("A"), "x", "a"),
        at(2, Reasoning("B"), "y", "b"),
        lanes=("a", "b"),
    )
    lanes = watched(turn, [1, 2, 3]).lanes
    assert lanes["a"]["reasoning"] == "A"
    assert lanes["b"]["reasoning"] == "B"


def test_heavy_shows_its_trajectories_and_what_became_of_them() -> None:
    turn = turn_of(
        opened("h", role="heavy"),
        opened("t0", role="trajectory", parent_id="h", k_index=0),
        opened("t1", role="trajectory", parent_id="h", k_index=1),
        at(1, Reasoning("hm"), "t0"),
        at(2, Answer("*one*"), "t0"),
        at(3, Finish("stop"), "t0"),
        at(4, End("ok"), "t0"),
        at(4, Phase(TRAJECTORIES, done=1, total=2), "h"),
        at(5, Failure("upstream", "It broke."), "t1"),
        at(6, End("error"), "t1"),
        at(7, Phase(TRAJECTORIES, done=2, total=2), "h"),
        at(8, Flag("below_quorum", "1/2"), "h"),
        at(9, Phase(AGGREGATING, done=1, total=2), "h"),
        opened("g", role="aggregator", parent_id="h"),
        at(1, Answer("the whole"), "g"),
        at(12, Answer("the whole"), "h"),
        at(13, Finish("stop"), "h"),
        at(14, End("ok"), "h"),
    )
    lane = watched(turn, [4, 5, 9]).lanes["a"]
    first, second = lane["trajectories"]["0"], lane["trajectories"]["1"]
    assert first == {"reasoning": "hm", "text": "*one*", "answer": render("*one*"), "phase": "done", "tokens": 4}
    assert second["phase"] == "error"
    assert second["failure"]["message"] == "It broke."
    assert lane["blocks"] == render("the whole")
    assert lane["reasoning"] == ""
    assert lane["notes"] == ["Only 1 of 2 trajectories gave an answer that can be used, fewer than this lane's quorum."]
    labels = {step["label"]: (step["done"], step["total"]) for step in lane["steps"].values() if step.get("total")}
    assert labels == {"Trajectories done": (2, 2), "Hybridizing": (1, 2)}
    assert lane["metrics"]["output_tokens"] == 6  # of all children: "hm", "*one*" and the aggregator's answer


def test_metrics_are_rate_limited_but_always_sent_at_the_end() -> None:
    turn = turn_of(opened(), at(100, Reasoning("one")))
    view = TurnView(turn)
    view.catch_up()
    first = view.frame(100 * MS)
    assert first
    assert first["lanes"]["a"]["metrics"]["ttft_ms"] == 100
    turn.entries.append(at(130, Reasoning(" two")))
    view.catch_up()
    second = view.frame(133 * MS)
    assert second
    assert "metrics" not in second["lanes"]["a"]
    assert view.frame(200 * MS) is None
    late = view.frame(400 * MS)  # no new events, but the last figures were not sent yet
    assert late
    assert late["lanes"]["a"]["metrics"]["output_tokens"] == 2
    turn.entries += [at(410, Finish("stop")), at(411, End("no_answer"))]
    view.catch_up()
    last = view.frame(412 * MS)
    assert last
    assert last["lanes"]["a"]["metrics"]["e2e_ms"] == 130


MANY_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from([" words", "", "# Head\n", "Wait, let me check it.\n\n", "Step 2: go on.\n", "**b**\n\n"]),
        st.sampled_from([Reasoning, Reasoning, Answer, Answer, Answer, Relabel, Phase, Usage, End]),
        st.sampled_from([3, 40, 900, 2_600]),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(MANY_EVENTS)
def test_a_page_that_opens_a_long_log_shows_what_one_shows_that_followed_it(
    events: list[tuple[str, str, Any, int]],
) -> None:
    turn = turn_with(events)
    assert at_once(turn)[0].lanes == watched(turn, []).lanes


@settings(max_examples=150, deadline=None)
@given(MANY_EVENTS, st.lists(st.integers(0, 60), max_size=6).map(sorted), st.integers(0, 60), st.integers(0, 60))
def test_a_page_that_joins_another_shows_what_that_one_shows(
    events: list[tuple[str, str, Any, int]], cuts: list[int], at_n: int, had: int
) -> None:
    """It has the first ``had`` entries from an earlier stream, or nothing, and joins when ``at_n`` are there.

    The race is left out: a page keeps the points it was sent, and which ones these are depends on when frames are taken
    (the first text of an answer has one, also if the server says later that it was reasoning).
    """
    turn = turn_with(events)
    at_n = min(at_n, len(turn.entries))
    had = min(had, at_n)
    view, shown = TurnView(turn), Shown()
    for n in (n for n in cuts if n <= at_n):
        view.catch_up(n)
        shown.take(view.frame(None))
    view.catch_up(at_n)
    shown.take(view.frame(None))
    late = Shown()
    if had:
        earlier = TurnView(turn)
        earlier.catch_up(had)
        late.take(earlier.frame(None))
    own = TurnView(turn)
    own.resume(had)
    own.catch_up(at_n)
    own.show_as(view)
    late.take(own.frame(None))
    assert without_race(late) == without_race(shown)
    for n in (*(n for n in cuts if n > at_n), len(turn.entries)):
        view.catch_up(n)
        frame = view.frame(None)
        assert without_race(late.take(frame)) == without_race(shown.take(frame))


def without_race(page: Shown) -> dict[str, dict[str, Any]]:
    return {
        lane: {name: value for name, value in shown.items() if name != "race"} for lane, shown in page.lanes.items()
    }


def test_a_page_that_joins_beside_a_long_ended_answer_gets_a_growing_one_once() -> None:
    long = [at(1, Answer(f"Paragraph {i} of a long answer.\n\n")) for i in range(600)]
    growing = at(3, Answer("One.\n\nTwo.\n\nThree"), "z", "b")
    turn = turn_of(opened(), opened("z", "b"), *long, at(2, End("ok")), growing, lanes=("a", "b"))
    pages = [(TurnView(turn, later=True, slices=True), Shown()) for _ in range(2)]
    for view, _ in pages:
        view.catch_up()
    for joined, (view, shown) in zip((None, pages[0][0]), pages, strict=True):
        if joined:
            view.show_as(joined)
        shown.take(view.frame(None))
        assert not view.complete
        while not view.complete:
            shown.take(view.frame(None))
    assert pages[1][1].lanes == pages[0][1].lanes
    assert pages[1][1].lanes["b"]["blocks"] == "<p>One.</p>\n<p>Two.</p>\n"


def turn_with(events: list[tuple[str, str, Any, int]]) -> TurnLog:
    """``y`` replaces ``x`` in one lane as soon as it has an event; ``z`` is in another."""
    made = {
        Relabel: lambda _: Relabel(),
        Phase: lambda _: Phase(CONNECTED),
        Usage: lambda _: Usage(output_tokens=9),
        End: lambda _: End("ok"),
    }
    lane, now, turn = {"x": "a", "y": "a", "z": "b"}, 0, turn_of(lanes=("a", "b"))
    for id, text, kind, ms in events:
        if id == "x" and any(entry.attempt_id == "y" for entry in turn.entries):
            id = "y"
        if not any(entry.attempt_id == id for entry in turn.entries):
            turn.entries.append(opened(id, lane[id], attempt_no=2 if id == "y" else 1))
        now += ms
        turn.entries.append(at(now, made.get(kind, kind)(text), id, lane[id]))
    return turn


def test_long_texts_of_an_ended_attempt_wait_until_they_are_requested() -> None:
    reasoning = "Let me look 😀.\n" + "and on it goes " * 600
    answer = "".join(f"Paragraph {i} of a long answer, with words.\n\n" for i in range(1_000))
    ended: list[Event] = [Reasoning(reasoning), Answer(answer), Finish("stop"), End("ok")]
    turn = turn_of(opened(), *(at(i, event) for i, event in enumerate(ended)))
    shown, frames = at_once(turn, later=True, slices=True)
    parts = [frame["lanes"]["a"] for frame in frames]
    assert parts[0]["later"] == {"chars": len(reasoning.encode("utf-16-le")) // 2}
    assert parts[0]["phase"] == "done"
    assert [part["more"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert max(len(dumps(frame)) for frame in frames) < len(answer) / 2
    assert shown.lanes["a"]["blocks"] == render(answer)
    assert shown.lanes["a"]["reasoning"] == ""
    running = turn_of(*turn.entries[:-2])
    assert at_once(running, later=True, slices=True)[0].lanes["a"]["reasoning"] == reasoning


def test_a_long_trajectory_that_has_ended_is_sent_without_its_texts() -> None:
    turn = turn_of(
        opened("h", role="heavy"),
        opened("t0", role="trajectory", parent_id="h", k_index=0),
        at(1, Reasoning("word " * 2_000), "t0"),
        at(2, Answer("It is *one*"), "t0"),
        at(4, End("ok"), "t0"),
    )
    (frame,) = at_once(turn, later=True)[1]
    row = frame["lanes"]["a"]["trajectories"]["0"]
    assert row["later"]["chars"] == 10_000
    assert row["later"]["recent"].endswith("word \nIt is *one*")
    assert row["later"]["answered"]
    assert not {"reasoning", "text", "answer"} & set(row)


def test_text_with_lone_surrogates_can_be_sent() -> None:
    turn = turn_of(opened(), at(1, Reasoning("\ud83d")), at(2, Answer("\udc00")), at(3, End("stopped")))
    turn.prompt = "half \ud83d"
    view = TurnView(turn)
    view.catch_up()
    frame = orjson.loads(dumps(view.frame(None)).replace(b"\\ud83d", b"?"))
    assert frame["lanes"]["a"]["reasoning"] == "\ufffd"


def test_a_token_costs_the_same_in_a_long_text_as_in_a_short_one() -> None:
    """Frames of a long trace hold only the new text, so their size does not grow."""
    turn = turn_of(opened())
    view = TurnView(turn)
    sizes = []
    for i in range(3000):
        turn.entries.append(
            at(i, Reasoning(f"word{i % 10} ") if i < 2000 else Answer("same " * 2 + "\n\n" * (i % 30 == 0)))
        )
        view.catch_up()
        sizes.append(len(dumps(view.frame(i * MS))))
    assert sum(sizes[1000:1500]) < 1.3 * sum(sizes[500:1000])
    assert sum(sizes[2500:3000]) < 1.3 * sum(sizes[2000:2500])
