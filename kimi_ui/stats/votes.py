"""Votes as statistics: how often a lane was called the best, and lane against lane, each with Wilson's interval.

Blind votes and open ones are kept apart: a name or a pace one knows sways the verdict. Only what was said is counted
(see the views ``vote_outcomes`` and ``vote_pairs``): a vote for one lane says nothing of two others between themselves.
"""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import NamedTuple

from ..log.reader import LogReader
from .sample import Filters, told_apart
from .statistics import Interval, wilson


class LaneVotes(NamedTuple):
    """A lane over the votes it took part in. ``share``: voted best, of all of them, ties and all-bad included."""

    lane: str
    name: str
    blind: bool
    n: int
    wins: int
    ties: int
    losses: int
    all_bad: int
    share: float
    interval: Interval


class PairVotes(NamedTuple):
    """One lane against another. ``share``: of the votes that name one of the two; None (with ``interval``) for none."""

    lane: str
    other: str
    name: str
    other_name: str
    blind: bool
    wins: int
    losses: int
    ties: int
    share: float | None
    interval: Interval | None

    @property
    def shown(self) -> bool:
        """The interval excludes one half, so the votes show a preference."""
        return self.interval is not None and not self.interval.low <= 0.5 <= self.interval.high


class Votes(NamedTuple):
    """``n_turns`` turns with a vote; lanes and pairs, blind ones first, in the order of their labels."""

    n_turns: int
    lanes: list[LaneVotes]
    pairs: list[PairVotes]


def votes(reader: LogReader, filters: Filters | None = None) -> Votes:
    """The votes on the turns that fit. Raises ``LogUnreadable``."""
    chosen, values = (filters or Filters()).chosen()
    query = f"""
        SELECT turn_id, lane, blind, outcome FROM vote_outcomes
        WHERE turn_id IN (SELECT turn_id FROM ({chosen}))
    """
    newest = "SELECT lane, label, max(rowid) FROM measured GROUP BY lane"
    outcomes: dict[str, dict[str, str]] = {}
    blind: dict[str, bool] = {}
    with reader.connect() as db:
        for turn_id, lane, is_blind, outcome in db.execute(query, values):
            outcomes.setdefault(turn_id, {})[lane] = outcome
            blind[turn_id] = bool(is_blind)
        if not outcomes:
            return Votes(0, [], [])
        labels = told_apart({lane: label for lane, label, _ in db.execute(newest)}, str)
    by_lane: Counter[tuple[bool, str, str]] = Counter()
    by_pair: Counter[tuple[bool, str, str, str]] = Counter()
    for turn_id, lanes in outcomes.items():
        by_lane.update((blind[turn_id], lane, outcome) for lane, outcome in lanes.items())
        for lane, other in permutations(lanes, 2):
            said = {lanes[lane], lanes[other]}
            if "win" in said or said == {"tie"}:
                by_pair[blind[turn_id], lane, other, lanes[lane]] += 1
    sides = sorted({key[:2] for key in by_lane}, key=lambda side: (not side[0], labels.get(side[1], side[1])))
    found = [_lane(by_lane, is_blind, lane, labels.get(lane, lane)) for is_blind, lane in sides]
    pairs = [
        _pair(by_pair, is_blind, lane, other, labels)
        for i, (is_blind, lane) in enumerate(sides)
        for same_kind, other in sides[i + 1 :]
        if same_kind == is_blind
    ]
    return Votes(len(outcomes), found, [pair for pair in pairs if pair.wins + pair.losses + pair.ties])


def _lane(counts: Counter[tuple[bool, str, str]], blind: bool, lane: str, name: str) -> LaneVotes:
    wins, ties, losses, bad = (counts[blind, lane, outcome] for outcome in ("win", "tie", "loss", "all_bad"))
    n = wins + ties + losses + bad
    return LaneVotes(lane, name, blind, n, wins, ties, losses, bad, wins / n, wilson(wins, n))


def _pair(
    counts: Counter[tuple[bool, str, str, str]], blind: bool, lane: str, other: str, labels: dict[str, str]
) -> PairVotes:
    wins, losses, ties = (counts[blind, lane, other, outcome] for outcome in ("win", "loss", "tie"))
    decided = wins + losses
    interval = wilson(wins, decided) if decided else None
    names = labels.get(lane, lane), labels.get(other, other)
    return PairVotes(lane, other, *names, blind, wins, losses, ties, wins / decided if decided else None, interval)


def sentence(pair: PairVotes) -> str:
    """What the votes say of two lanes, with how much they can say."""
    ties = f"; {pair.ties} {'tie' if pair.ties == 1 else 'ties'}" if pair.ties else ""
    if pair.share is None or pair.interval is None:
        return f"{pair.name} and {pair.other_name}: no vote for either of them{ties}."
    better, worse, wins = (pair.name, pair.other_name, pair.wins)
    low, high = pair.interval
    if pair.losses > pair.wins:
        better, worse, wins, low, high = pair.other_name, pair.name, pair.losses, 1 - high, 1 - low
    verdict = "" if pair.shown else ": not enough to tell"
    return (
        f"{better} over {worse} in {wins} of {pair.wins + pair.losses} votes "
        f"({percent(wins / (pair.wins + pair.losses))}, {percent(low)} to {percent(high)}){ties}{verdict}."
    )


def percent(share: float) -> str:
    return f"{round(100 * share)} %"
