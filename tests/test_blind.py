"""Blind turns: nothing that is sent before the vote may depend on which lane is which, or on its pace."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.attempt import Attempt
from kimi_ui.core.blind import BlindView, is_blind, slot_name, slot_names
from kimi_ui.core.events import Answer, End, Entry, Event, Failure, Finish, Opened, Phase, Reasoning, Usage, encode
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.core.vote import ALL_BAD, LANE, NONE, TIE, Vote

MS = 1_000_000
LANES = ("kimi", "kimi-heavy", "qwen")
SECRETS = ("kimi", "qwen", "Kimi", "Qwen", "moonshot", "ollama", "thinking hard", "ECONNREFUSED", "K2.6")


def blind_turn(slots: tuple[str, ...] = ("qwen", "kimi", "kimi-heavy")) -> TurnLog:
    lanes = tuple(LaneInfo(id=lane, label=lane.title(), provider="ollama", model=f"moonshot/{lane}") for lane in LANES)
    return TurnLog("t" * 32, "c" * 32, 0, "Which is best?", lanes, t0_ns=1, slots=slots)


def add(turn: TurnLog, lane: str, t_ms: int, *events: Event, attempt: str = "", parent: str | None = None) -> None:
    attempt = attempt or f"{lane}-attempt"
    if not any(entry.attempt_id == attempt for entry in turn.entries):
        identity = Attempt(attempt, turn.turn_id, lane, lane, parent_id=parent, request_model="K2.6", sent_ns=5 * MS)
        turn.append(Entry(lane, attempt, 0, Opened(identity.as_dict())))
    for event in events:
        turn.append(Entry(lane, attempt, t_ms * MS, event))


def payload(view: BlindView) -> bytes:
    return orjson.dumps([view.shown.lanes, [(*entry[:2], encode(*entry[2:])) for entry in view.shown.entries]])


def answers(view: BlindView) -> dict[str, str]:
    fold = view.shown.fold()
    return {info.id: fold.folds[fold.current(info.id) or ""].answer for info in view.shown.lanes}


def test_no_answer_text_is_sent_before_the_last_lane_has_ended() -> None:
    turn = blind_turn()
    view = BlindView(turn)
    add(turn, "qwen", 3, Answer("Qwen says 1."), Finish("stop"), End("ok"))
    view.refresh()
    add(turn, "kimi", 9, Reasoning("thinking hard"), Answer("Kimi"))
    view.refresh()
    assert b"1 of 3" in payload(view)
    assert b"says" not in payload(view)
    assert not view.shown.closed
    add(turn, "kimi", 12, Answer(" says 2."), Finish("stop"), End("ok"))
    add(turn, "kimi-heavy", 20, Answer("Heavy says 3."), Finish("stop"), End("ok"))
    view.refresh()
    assert b"3 of 3" in payload(view)
    assert not view.shown.closed
    turn.closed = True
    view.refresh()
    assert view.shown.closed
    assert answers(view) == {"A": "Qwen says 1.", "B": "Kimi says 2.", "C": "Heavy says 3."}


def test_names_ids_reasoning_and_failures_are_not_sent() -> None:
    turn = blind_turn()
    add(turn, "qwen", 1, Failure("connect", "ollama: ECONNREFUSED", detail="qwen"), End("error"))
    add(turn, "kimi", 2, Reasoning("thinking hard"), Usage(output_tokens=9, raw={"model": "K2.6"}), Answer("two"))
    add(turn, "kimi", 7, Finish("length"), End("length"))
    add(turn, "kimi-heavy", 3, Phase("connected"))
    add(turn, "kimi-heavy", 4, Answer("draft"), Finish("stop"), End("ok"), attempt="child", parent="kimi-heavy-attempt")
    add(turn, "kimi-heavy", 5, Answer("three"), Finish("stop"), End("ok"))
    turn.append(Entry("qwen", "", 0, Phase("preparing", detail="Fetching Qwen")))
    turn.closed = True
    view = BlindView(turn)
    text = payload(view).decode()
    assert [secret for secret in SECRETS if secret in text] == []
    assert "draft" not in text
    fold = view.shown.fold()
    assert answers(view) == {"A": "", "B": "two", "C": "three"}
    assert {name: fold.folds[name].status for name in ("A1", "B1", "C1")} == {"A1": "no_answer", "B1": "ok", "C1": "ok"}
    assert "blind_cut" in fold.folds["B1"].flags


def test_a_lane_with_a_retry_ahead_has_not_ended() -> None:
    turn = blind_turn()
    view = BlindView(turn)
    add(turn, "kimi", 1, Failure("capacity", "full"), End("error", retry_in_s=1.0), attempt="first")
    view.refresh()
    assert b"1 of 3" not in payload(view)
    add(turn, "kimi", 2, Answer("two"), Finish("stop"), End("ok"), attempt="second")
    view.refresh()
    assert b"1 of 3" in payload(view)


@given(
    st.permutations(LANES),
    st.lists(st.tuples(st.sampled_from(LANES), st.integers(1, 10_000), st.booleans()), max_size=12),
    st.integers(1, 5),
)
def test_what_is_sent_does_not_depend_on_pace(order: list[str], steps: list[tuple[str, int, bool]], every: int) -> None:
    """Whatever each lane does and however fast: stamps and counts are the same for all lanes at each moment."""
    turn = blind_turn(tuple(order))
    view = BlindView(turn)
    for i, (lane, t_ms, thinks) in enumerate(steps):
        add(turn, lane, t_ms, Reasoning("hm") if thinks else Answer("x" * (i + 1)))
        if i % every == 0:
            view.refresh()
    assert (
        view.shown.entries == BlindView(blind_turn(tuple(order))).shown.entries
    )  # nothing is shown, not even that it began
    for i, lane in enumerate(LANES):
        add(turn, lane, 20_000 + i * 1000, Answer("end"), Finish("stop"), End("ok"))
        view.refresh()
    turn.closed = True
    view.refresh()
    fold = view.shown.fold()
    per_slot = [
        (
            [(e.t_ns, type(e.event)) for e in view.shown.entries if e.lane == slot],
            fold.folds[f"{slot}1"].first_token_ns,
        )
        for slot in "ABC"
    ]
    assert per_slot[0] == per_slot[1] == per_slot[2]
    assert view.shown.entries == BlindView(turn).shown.entries  # a reader who joins late gets the same entries


def test_a_vote_reveals_the_lanes() -> None:
    turn = blind_turn()
    assert is_blind(turn)
    assert is_blind(BlindView(turn).shown)
    turn.vote = Vote(NONE)
    assert not is_blind(turn)
    assert not is_blind(TurnLog("t", "c", 0, "", ()))
    assert slot_names(turn) == {"A": "qwen", "B": "kimi", "C": "kimi-heavy"}
    assert [slot_name(i) for i in (0, 25, 26, 52)] == ["A", "Z", "A1", "A2"]


def test_invalid_votes_are_refused() -> None:
    Vote(LANE, "tie", field=("tie", "kimi"))
    Vote(TIE, field=("kimi",))
    for choice, lane, field in [("best", "", ()), (LANE, "", ("a",)), (TIE, "a", ("a",)), (LANE, "b", ("a",))]:
        with pytest.raises(ValueError, match=r"."):
            Vote(choice, lane, field)
    with pytest.raises(ValueError, match="no answer"):
        Vote(ALL_BAD)
