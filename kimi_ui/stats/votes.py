"""Vote statistics: how often a lane was voted best, and lane against lane, each with Wilson's interval.

Blind and open votes are counted separately, because known names and speeds influence the verdict. The views
``vote_outcomes`` and ``pair_outcomes`` define the meaning of a vote: a vote for one lane does not rank two others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..log.reader import LogReader
from .sample import Filters, lane_labels
from .statistics import Interval, wilson

Counts = dict[tuple[Any, ...], int]  # by blind, lane (other lane) and outcome


class LaneVotes(NamedTuple):
    """A lane's votes. ``share``: how often it was voted best, of all its votes, including ties and all-bad."""

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
    """One lane against another. ``share``: wins among the votes for one of the two; None without such votes."""

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
        """True if the interval excludes one half, so that the votes show a preference."""
        return self.interval is not None and not self.interval.low <= 0.5 <= self.interval.high


class Votes(NamedTuple):
    """``n_turns`` turns with a vote; lanes and pairs, blind ones first, ordered by label."""

    n_turns: int
    lanes: list[LaneVotes]
    pairs: list[PairVotes]


def votes(reader: LogReader, filters: Filters | None = None) -> Votes:
    """The votes on matching turns. Raises ``LogUnreadable``."""
    chosen, values = (filters or Filters()).chosen()
    of_them = f"WHERE turn_id IN (SELECT turn_id FROM ({chosen}) AS chosen)"
    per_lane = f"SELECT blind, lane, outcome, count(*) FROM vote_outcomes {of_them} GROUP BY blind, lane, outcome"
    per_pair = f"""
        SELECT blind, lane, other, outcome, count(*) FROM pair_outcomes {of_them} GROUP BY blind, lane, other, outcome
    """
    with reader.snapshot() as log:
        ((n_turns,),) = log.rows(f"SELECT count(DISTINCT turn_id) FROM vote_outcomes {of_them}", **values)
        if not n_turns:
            return Votes(0, [], [])
        by_lane = {(bool(blind), *key): n for blind, *key, n in log.rows(per_lane, **values)}
        by_pair = {(bool(blind), *key): n for blind, *key, n in log.rows(per_pair, **values)}
        labels = lane_labels(log)
    sides = sorted({key[:2] for key in by_lane}, key=lambda side: (not side[0], labels.get(side[1], side[1])))
    found = [_lane(by_lane, is_blind, lane, labels.get(lane, lane)) for is_blind, lane in sides]
    pairs = [
        _pair(by_pair, is_blind, lane, other, labels)
        for i, (is_blind, lane) in enumerate(sides)
        for same_kind, other in sides[i + 1 :]
        if same_kind == is_blind
    ]
    return Votes(n_turns, found, [pair for pair in pairs if pair.wins + pair.losses + pair.ties])


def _lane(counts: Counts, blind: bool, lane: str, name: str) -> LaneVotes:
    wins, ties, losses, bad = (counts.get((blind, lane, outcome), 0) for outcome in ("win", "tie", "loss", "all_bad"))
    n = wins + ties + losses + bad
    return LaneVotes(lane, name, blind, n, wins, ties, losses, bad, wins / n, wilson(wins, n))


def _pair(counts: Counts, blind: bool, lane: str, other: str, labels: dict[str, str]) -> PairVotes:
    wins, losses, ties = (counts.get((blind, lane, other, outcome), 0) for outcome in ("win", "loss", "tie"))
    decided = wins + losses
    interval = wilson(wins, decided) if decided else None
    names = labels.get(lane, lane), labels.get(other, other)
    return PairVotes(lane, other, *names, blind, wins, losses, ties, wins / decided if decided else None, interval)


def sentence(pair: PairVotes) -> str:
    """The votes on two lanes in one sentence, with the interval."""
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
