"""When a replay shows each entry of a turn: play time, moments, shortened waits."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.attempt import Attempt
from kimi_ui.core.events import Answer, End, Entry, Event, Finish, Opened, Phase, Reasoning, Relabel
from kimi_ui.core.replay import IDLE_NS, MOMENT_NS, moments
from kimi_ui.core.turn import LaneInfo, TurnLog

MS = 1_000_000
HOUR_NS = 3_600_000_000_000


def turn_of(*lanes: str) -> TurnLog:
    return TurnLog("t", "c", 0, "Why?", tuple(LaneInfo(lane, lane, "scripted", "m") for lane in lanes))


def opened(turn: TurnLog, lane: str, attempt_id: str, sent_ms: int) -> None:
    identity = Attempt(attempt_id, "t", lane, lane, sent_ns=sent_ms * MS).as_dict()
    turn.append(Entry(lane, attempt_id, 0, Opened(identity)))


def add(turn: TurnLog, lane: str, attempt_id: str, t_ms: int, event: Event) -> None:
    turn.append(Entry(lane, attempt_id, t_ms * MS, event))


def shown_ms(turn: TurnLog) -> list[int]:
    """Play time in ms at which each entry is on screen."""
    times: list[int] = []
    for moment in moments(turn):
        times += [moment.play_ns // MS] * (moment.until - len(times))
    return times


def test_text_is_grouped_into_moments_and_each_change_of_state_has_its_own() -> None:
    turn = turn_of("a")
    opened(turn, "a", "1", 5)
    add(turn, "a", "1", 40, Reasoning("Hm"))
    for t_ms in (50, 90, 120, 160):
        add(turn, "a", "1", t_ms, Reasoning("m"))
    add(turn, "a", "1", 171, Answer("42"))
    add(turn, "a", "1", 180, Answer("."))
    add(turn, "a", "1", 190, Finish("stop"))
    add(turn, "a", "1", 191, End("ok"))
    assert shown_ms(turn) == [5, 45, 125, 125, 125, 176, 176, 195, 195, 196]


def test_a_relabelled_answer_has_a_first_token_again() -> None:
    turn = turn_of("a")
    opened(turn, "a", "1", 0)
    for t_ms, event in (
        (10, Answer("so ")),
        (20, Answer("far")),
        (30, Relabel()),
        (40, Answer("42")),
        (50, Answer(".")),
    ):
        add(turn, "a", "1", t_ms, event)
    assert shown_ms(turn) == [0, 10, 30, 30, 40, 50]


def test_the_wait_before_a_late_retry_is_shortened() -> None:
    turn = turn_of("a", "b")
    for lane in ("a", "b"):
        opened(turn, lane, lane, 0)
        add(turn, lane, lane, 1000, End("ok"))
    opened(turn, "a", "again", 24 * 3_600_000)
    add(turn, "a", "again", 700, Answer("42"))
    found = moments(turn)
    assert [moment.turn_ns for moment in found[-2:]] == [24 * HOUR_NS, 24 * HOUR_NS + 700 * MS]
    assert [moment.play_ns for moment in found[-2:]] == [1000 * MS + IDLE_NS, 1700 * MS + IDLE_NS]


def test_an_announced_wait_and_preparing_are_not_shortened() -> None:
    turn = turn_of("a", "b")
    opened(turn, "a", "1", 0)
    add(turn, "a", "1", 10, End("error", retry_in_s=4.0))
    opened(turn, "a", "2", 4010)
    add(turn, "a", "2", 5, End("ok"))
    turn.append(Entry("b", "", 20_000 * MS, Phase("preparing")))  # lane b has not been sent yet: nothing is idle
    opened(turn, "b", "3", 60_000)
    add(turn, "b", "3", 5, End("ok"))
    turn.append(Entry("b", "", 61_000 * MS, Phase("preparing")))
    opened(turn, "b", "4", 90_000)
    assert shown_ms(turn) == [0, 10, 4010, 4015, 20_000, 60_000, 60_005, 60_505, 89_505]


def test_a_turn_without_entries_has_no_moments() -> None:
    assert moments(turn_of("a")) == []


@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from("rae")), max_size=60))
def test_every_entry_is_shown_once_in_order_and_never_later_than_a_moment(steps: list[tuple[int, str]]) -> None:
    turn = turn_of("a")
    opened(turn, "a", "1", 0)
    events: dict[str, Event] = {"r": Reasoning("x"), "a": Answer("y"), "e": Phase("connected")}
    t_ms = 0
    for gap_ms, kind in steps:
        t_ms += gap_ms
        add(turn, "a", "1", t_ms, events[kind])
    found = moments(turn)
    assert found[-1].until == len(turn.entries)
    assert all(a.play_ns <= b.play_ns and a.until < b.until for a, b in pairwise(found))
    for entry, shown in zip(turn.entries, shown_ms(turn), strict=True):
        assert entry.t_ns / MS <= shown <= (entry.t_ns + MOMENT_NS) / MS
