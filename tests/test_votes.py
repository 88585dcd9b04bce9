"""Votes in the log: all are stored, the last counts; the views of votes; blind turns after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.core.blind import is_blind
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnLog
from kimi_ui.core.vote import ALL_BAD, CHOICES, LANE, NONE, TIE, Vote
from kimi_ui.engine import Engine
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.votes import vote_op
from kimi_ui.log.writer import LogWriter
from kimi_ui.stats.sample import Filters
from kimi_ui.stats.statistics import wilson
from kimi_ui.stats.votes import LaneVotes, PairVotes, Votes, sentence, votes
from kimi_ui.turns import Turns
from kimi_ui.ui.stats_html import voted
from tests.support.scripted import ScriptedProvider, ScriptedRoster, thinker
from tests.support.waiting import until

ALL = ("a", "b", "c")


class Setting:
    """An engine with three lanes over a real log."""

    def __init__(self, place: Place) -> None:
        self.writer = LogWriter(place)
        self.writer.start()
        self.reader = LogReader(place)
        lanes = [ScriptedProvider(LaneSpec(lane, lane.upper(), "openai"), [thinker()]) for lane in ALL]
        self.engine = Engine(ScriptedRoster(*lanes), Turns(self.writer, self.reader))
        self.engine.start()

    def turn(self, **options: Any) -> TurnLog:
        turn = self.engine.send("?", **options)
        until(lambda: turn.closed)
        return turn

    def vote(self, turn: TurnLog, choice: str, lane: str = "", **fields: Any) -> Vote:
        vote = Vote(choice, lane, **{"field": ALL, "voted_at_utc": "2026-11-21T12:00:00+00:00"} | fields)
        self.writer.write([vote_op(turn.turn_id, vote)]).result()
        return vote

    def rows(self, view: str) -> list[tuple[Any, ...]]:
        return sorted(self.reader.rows(f"SELECT * FROM {view}"), key=str)

    def close(self) -> None:
        self.engine.close()
        self.writer.close()


@pytest.fixture
def setting(place: Place) -> Iterator[Setting]:
    with closing(Setting(place)) as setting:
        yield setting


def test_every_vote_is_stored_and_the_last_counts(setting: Setting) -> None:
    turn = setting.turn()
    blind = setting.vote(turn, LANE, "b", blind=True, speed_visible=False)
    assert (found := setting.reader.turn(turn.turn_id))
    assert found.vote == blind
    changed = setting.vote(turn, TIE, field=("a", "b"))
    assert (found := setting.reader.turn(turn.turn_id))
    assert found.vote == changed
    assert len(setting.rows("votes")) == 2
    assert setting.rows("lane_votes") == [("a", 0, 1, 1, 0, 1, 0, 0), ("b", 0, 1, 1, 0, 1, 0, 0)]


def test_a_withdrawn_vote_does_not_count(setting: Setting) -> None:
    turn = setting.turn()
    setting.vote(turn, LANE, "a")
    setting.vote(turn, NONE, field=())
    assert setting.rows("lane_votes") == []
    assert (found := setting.reader.turn(turn.turn_id))
    assert found.vote
    assert found.vote.choice == NONE


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("field", [("a", "b"), ALL])
def test_the_view_and_python_agree_on_what_a_vote_says_of_a_lane(
    setting: Setting, choice: str, field: tuple[str, ...]
) -> None:
    vote = setting.vote(setting.turn(), choice, "b" if choice == LANE else "", field=field)
    outcomes = {lane: vote.outcome(lane) for lane in ALL}
    rows = setting.reader.rows("SELECT lane, outcome FROM vote_outcomes")
    assert dict(rows) == {lane: outcome for lane, outcome in outcomes.items() if outcome}


def test_only_lanes_that_could_be_voted_for_are_counted(setting: Setting) -> None:
    said: list[tuple[str, str, dict[str, Any]]] = [
        (LANE, "a", {}),
        (LANE, "a", {"field": ("a", "b")}),  # c had failed, so the vote does not concern it
        (LANE, "b", {}),
        (TIE, "", {}),
        (ALL_BAD, "", {}),
        (LANE, "c", {"blind": True, "speed_visible": False}),
    ]
    for choice, lane, fields in said:
        setting.vote(setting.turn(), choice, lane, **fields)
    # lane, blind, speed_visible, n_votes, wins, ties, losses, all_bad
    assert setting.rows("lane_votes WHERE blind = 0") == [
        ("a", 0, 1, 5, 2, 1, 1, 1),
        ("b", 0, 1, 5, 1, 1, 2, 1),
        ("c", 0, 1, 4, 0, 1, 2, 1),
    ]
    assert setting.rows("lane_votes WHERE lane = 'c' AND blind = 1") == [("c", 1, 0, 1, 1, 0, 0, 0)]
    # lane, other, blind, speed_visible, n_votes, wins, ties, losses
    assert setting.rows("vote_pairs WHERE blind = 0 AND lane = 'a'") == [
        ("a", "b", 0, 1, 4, 2, 1, 1),
        ("a", "c", 0, 1, 2, 1, 1, 0),
    ]
    # The vote for b says nothing about a against c.
    assert setting.rows("vote_pairs WHERE blind = 0 AND lane = 'c'") == [
        ("c", "a", 0, 1, 2, 0, 1, 1),
        ("c", "b", 0, 1, 2, 0, 1, 1),
    ]


def test_statistics_agree_with_the_views(setting: Setting) -> None:
    assert votes(setting.reader) == Votes(0, [], [])
    said: list[tuple[str, str, dict[str, Any]]] = [
        (LANE, "a", {}),
        (LANE, "a", {"field": ("a", "b")}),
        (LANE, "b", {}),
        (TIE, "", {}),
        (ALL_BAD, "", {}),
        (NONE, "", {"field": ()}),
        *[(LANE, "c", {"blind": True, "speed_visible": False})] * 3,
    ]
    for choice, lane, fields in said:
        setting.vote(setting.turn(), choice, lane, **fields)
    setting.writer.flush().result()
    found = votes(setting.reader)
    assert found.n_turns == 8
    assert {(one.lane, int(one.blind), one.n, one.wins, one.ties, one.losses, one.all_bad) for one in found.lanes} == {
        (row[0], row[1], *row[3:]) for row in setting.rows("lane_votes")
    }
    rows = {(row[0], row[1], row[2]): row[5:] for row in setting.rows("vote_pairs")}
    for pair in found.pairs:
        assert rows[pair.lane, pair.other, int(pair.blind)] == (pair.wins, pair.ties, pair.losses)
    assert [(pair.lane, pair.other) for pair in found.pairs if not pair.blind] == [("a", "b"), ("a", "c"), ("b", "c")]
    best = next(one for one in found.lanes if one.blind and one.lane == "c")
    assert (best.name, best.share, best.interval) == ("C", 1.0, wilson(3, 3))
    assert [sentence(pair) for pair in found.pairs if not pair.blind] == [
        "A over B in 2 of 3 votes (67 %, 21 % to 94 %); 1 tie: not enough to tell.",
        "A over C in 1 of 1 votes (100 %, 21 % to 100 %); 1 tie: not enough to tell.",
        "B over C in 1 of 1 votes (100 %, 21 % to 100 %); 1 tie: not enough to tell.",
    ]
    nobody = votes(setting.reader, Filters(owner="somebody else"))
    assert nobody == Votes(0, [], [])


def test_a_preference_is_stated_only_where_the_votes_show_one() -> None:
    def said(wins: int, losses: int, ties: int = 0) -> str:
        decided = wins + losses
        share = wins / decided if decided else None
        interval = wilson(wins, decided) if decided else None
        return sentence(PairVotes("a", "b", "A", "B", True, wins, losses, ties, share, interval))

    assert said(2, 18) == "B over A in 18 of 20 votes (90 %, 70 % to 97 %)."
    assert said(11, 9) == "A over B in 11 of 20 votes (55 %, 34 % to 74 %): not enough to tell."
    assert said(0, 0, 2) == "A and B: no vote for either of them; 2 ties."


def test_the_votes_section_of_the_stats_tab_escapes_names() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    lane = LaneVotes("a", hostile, True, 4, 3, 0, 1, 0, 0.75, wilson(3, 4))
    other = LaneVotes("b", "B", True, 4, 1, 0, 3, 0, 0.25, wilson(1, 4))
    pair = PairVotes("a", "b", hostile, "B", True, 3, 1, 0, 0.75, wilson(3, 4))
    shown = voted(Votes(4, [lane, other], [pair]), ["b", "a"])
    assert "<img" not in shown
    assert shown.count("&lt;img") == 2
    assert "var(--kimi-lane-1)" in shown
    assert "4 turns" in shown
    assert "75 %" in shown
    assert "With names" not in shown
    assert voted(Votes(0, [], []), ["a"]) == ""


def test_a_lane_named_tie_is_not_mistaken_for_a_tie(setting: Setting) -> None:
    setting.vote(setting.turn(), LANE, "tie", field=("tie", "a"))
    assert [(row[0], *row[4:6]) for row in setting.rows("lane_votes")] == [("a", 0, 0), ("tie", 1, 0)]


def test_votes_are_deleted_with_their_turn(setting: Setting, tmp_path: Path) -> None:
    turn = setting.turn()
    setting.vote(turn, TIE)
    setting.vote(TurnLog("missing", "c", 0, "", ()), TIE)  # stored in the file of rejected rows, not in the log
    setting.engine.close()
    setting.writer.close()
    copy = tmp_path / "copy.sqlite3"
    setting.reader.copy(copy, owner="somebody else")
    assert LogReader(copy).rows("SELECT * FROM votes") == []
    assert len(setting.rows("votes")) == 1


def test_a_stored_blind_turn_stays_blind_until_its_vote(setting: Setting) -> None:
    assert setting.turn().slots == ()
    turn = setting.turn(blind=True)
    assert sorted(turn.slots) == list(ALL)
    found = setting.reader.turn(turn.turn_id)
    assert found is not None
    assert found.slots == turn.slots
    assert is_blind(found)
    setting.vote(turn, NONE, field=())
    found = setting.reader.turn(turn.turn_id)
    assert found is not None
    assert found.slots == turn.slots
    assert not is_blind(found)


def test_each_blind_turn_draws_its_own_order(setting: Setting) -> None:
    assert len({setting.turn(blind=True).slots for _ in range(40)}) > 1
