"""Which of two answers is better, by a person's blind votes and by a model as the judge. Beside the verdicts, never
part of them, and never in a headline: a preference is not a verdict, and a judge is a model with tastes of its own.

A pair is two lanes' whole answers to one open-ended case in one epoch. A judge reads each pair in both orders; where
the orders disagree the pair is a tie, which removes its preference for a place. What it says is shown with its
agreement with the votes on the same pairs, and is "not calibrated" below ``LEAST_LABELS`` of them. From there on its
score of each pair of lanes is corrected by the votes (prediction-powered inference, arXiv 2301.09633), which is right
for any judge if the votes are on a random part of the pairs: ``bench vote`` shows them in random order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import mean, variance
from typing import Any, NamedTuple

from .. import utc
from ..core.vote import ALL_BAD, LOSS, WIN, Vote
from ..log.judgements import Judgement, judgements_of_run
from ..log.reader import LogReader
from ..log.records import Op
from ..log.votes import PairVote, vote_op, votes_of_run
from ..stats.statistics import Z_95, Interval, wilson
from .results import Run, RunLane, Sample
from .suite.case import CREATIVE

LEAST_LABELS = 15
WHOLE = ("right", "wrong", "unparsed")  # outcomes of answers that came to their end
FIRST, SECOND, TIE = "first", "second", "tie"
SCORES = {FIRST: 1.0, TIE: 0.5, SECOND: 0.0}  # of the first lane
BETTER = {WIN: FIRST, LOSS: SECOND, TIE: TIE, ALL_BAD: TIE}  # by the vote's outcome for the first lane


class Pair(NamedTuple):
    """Two answers to compare, in the order of the run's lanes."""

    first: Sample
    second: Sample

    @property
    def turns(self) -> tuple[str, str]:
        return self.first.turn_id or "", self.second.turn_id or ""


def pairs_of(run: Run, categories: Sequence[str] = (CREATIVE,)) -> list[Pair]:
    """All pairs of whole answers in these categories, case by case."""
    places = {lane.id: place for place, lane in enumerate(run.lanes)}
    answers: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in run.samples:
        if sample.category in categories and sample.outcome in WHOLE and sample.turn_id:
            answers[sample.case, sample.epoch].append(sample)
    return [
        Pair(*pair)
        for found in answers.values()
        for pair in combinations(sorted(found, key=lambda sample: places[sample.lane]), 2)
    ]


def without_vote(reader: LogReader, run: Run) -> list[Pair]:
    """The run's pairs on which nobody has voted. Raises ``LogUnreadable``."""
    with reader.snapshot() as log:
        voted = {(one.turn_id, one.other_turn_id) for one in votes_of_run(log, run.id)}
    return [pair for pair in pairs_of(run) if pair.turns not in voted]


def blind_vote(pair: Pair, choice: str, lane: str) -> Op:
    """A person's vote on a pair, given now and without knowing the lanes, as a row; see ``core.vote``."""
    lanes = tuple(sample.lane for sample in pair)
    first, second = pair.turns
    return vote_op(
        first, Vote(choice, lane, lanes, blind=True, speed_visible=False, voted_at_utc=utc.now_text()), second
    )


@dataclass(frozen=True, slots=True)
class Preference:
    """Two lanes over ``n`` pairs: how often the first was better, the second, neither (``ties``, of which
    ``both_bad``).

    ``share``: the first lane's part of the pairs that were decided, with Wilson's interval; None without any.
    """

    lane: str
    other: str
    n: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    share: float | None
    interval: Interval | None

    @property
    def shown(self) -> bool:
        """The interval excludes one half."""
        return self.interval is not None and not self.interval.low <= 0.5 <= self.interval.high


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge's preference between two lanes. ``disagreements``: ties because the orders disagreed; ``unreadable``:
    pairs that are left out, because one of the two judgements names no candidate. ``corrected``: the first lane's mean
    score
    (win 1, tie ½) corrected by the votes, with its 95 % interval; None below ``LEAST_LABELS`` votes on these lanes.
    """

    preference: Preference
    disagreements: int
    unreadable: int
    corrected: float | None
    corrected_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Judge:
    """A model as the judge. ``labels``: pairs with both its judgement and a vote; it agrees with ``agreements``."""

    lane: str
    model: str
    judged: tuple[Judged, ...]
    labels: int
    agreements: int

    @property
    def calibrated(self) -> bool:
        return self.labels >= LEAST_LABELS

    @property
    def agreement(self) -> str:
        """Its agreement with the votes in one sentence."""
        if not self.labels:
            return "Not calibrated: no pair has both a vote and its judgement."
        interval = wilson(self.agreements, self.labels)
        seen = (
            f"agrees with {self.agreements} of {self.labels} votes "
            f"({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"
        )
        if self.calibrated:
            return f"It {seen}."
        return f"Not calibrated: it {seen}, and {LEAST_LABELS} are needed."


@dataclass(frozen=True, slots=True)
class Preferences:
    """``pairs``: how many there are to vote on, ``voted``: how many have a vote."""

    pairs: int
    voted: int
    votes: tuple[Preference, ...]
    judges: tuple[Judge, ...]

    def sentences(self, lanes: Iterable[RunLane]) -> list[str]:
        """Votes first, then each judge with its agreement; empty without any. ``lanes``: the run's."""
        labels = {lane.id: lane.label for lane in lanes}
        found = [f"Votes: {_sentence(one, labels)}" for one in self.votes]
        for judge in self.judges:
            name = labels.get(judge.lane, judge.lane)
            found.append(f"{name} ({judge.model}) as the judge. {judge.agreement}")
            for one in judge.judged:
                said = _sentence(one.preference, labels)
                apart = f" Of the ties, {one.disagreements} because the two orders disagreed."
                unread = f" Left out, because it cannot be read: {one.unreadable}." if one.unreadable else ""
                found.append(f"{name} as the judge: {said}{apart if one.disagreements else ''}{unread}")
                if one.corrected is not None and one.corrected_interval is not None:
                    low, high = one.corrected_interval
                    found.append(
                        f"Corrected by the votes, {labels[one.preference.lane]} scores {100 * one.corrected:.0f} % "
                        f"({100 * low:.0f} to {100 * high:.0f}) against {labels[one.preference.other]}; 50 % is equal."
                    )
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for judge, shown in zip(self.judges, found["judges"], strict=True):
            shown |= {"calibrated": judge.calibrated, "agreement": judge.agreement}
        return found


def _sentence(one: Preference, labels: Mapping[str, str]) -> str:
    """A preference in one sentence, with its interval."""
    name, other = labels[one.lane], labels[one.other]
    ties = f"{one.ties} {'tie' if one.ties == 1 else 'ties'}"
    bad = f", {one.both_bad} of them with neither good" if one.both_bad else ""
    if one.share is None or one.interval is None:
        return f"{name} against {other}: none decided, {ties}{bad}."
    low, high = one.interval
    enough = "" if one.shown else ": no difference shown"
    return (
        f"{name} over {other} in {one.wins} of {one.wins + one.losses} decided "
        f"({100 * low:.0f} to {100 * high:.0f} %), {ties}{bad}{enough}."
    )


def preferences(run: Run, votes: Iterable[PairVote], judgements: Iterable[Judgement]) -> Preferences:
    """What votes and judges say of the run's pairs; of others they are ignored."""
    pairs = {pair.turns: pair for pair in pairs_of(run)}
    outcomes = {
        turns: outcome
        for one in votes
        if (turns := (one.turn_id, one.other_turn_id)) in pairs
        and one.vote.blind
        and (outcome := one.vote.outcome(pairs[turns].first.lane))
    }
    labels = {turns: BETTER[outcome] for turns, outcome in outcomes.items()}
    bad = {turns for turns, outcome in outcomes.items() if outcome == ALL_BAD}
    said: dict[tuple[str, str], dict[tuple[str, str], str | None]] = defaultdict(dict)
    for one in judgements:
        said[one.judge, one.model][one.first_turn_id, one.second_turn_id] = one.choice
    judges = tuple(_judge(*judge, choices, pairs, labels) for judge, choices in sorted(said.items()))
    return Preferences(len(pairs), len(labels), tuple(_by_lanes(labels, pairs, bad)), judges)


def read_preferences(reader: LogReader, run: Run) -> Preferences:
    """The run's preferences from the log. Raises ``LogUnreadable``."""
    with reader.snapshot() as log:
        return preferences(run, votes_of_run(log, run.id), judgements_of_run(log, run.id))


def _judge(
    lane: str,
    model: str,
    choices: Mapping[tuple[str, str], str | None],
    pairs: Mapping[tuple[str, str], Pair],
    labels: Mapping[tuple[str, str], str],
) -> Judge:
    outcomes: dict[tuple[str, str], str] = {}
    disagreements, unreadable = set(), set()
    for turns in pairs:
        if turns not in choices or turns[::-1] not in choices:
            continue  # one order is still missing
        one, other = choices[turns], choices[turns[::-1]]
        if one is None or other is None:
            unreadable.add(turns)
            continue
        outcomes[turns] = together(one, other)
        if outcomes[turns] == TIE and (one, other) != (TIE, TIE):
            disagreements.add(turns)
    by_lanes = _grouped({**dict.fromkeys(unreadable, TIE), **outcomes}, pairs)
    judged = []
    for group in by_lanes.values():
        readable = {turns: outcomes[turns] for turns in group if turns in outcomes}
        preference = _preference(pairs[next(iter(group))], readable, set())
        counts = (len(disagreements & group.keys()), len(unreadable & group.keys()))
        judged.append(Judged(preference, *counts, *_corrected(readable, labels)))
    both = outcomes.keys() & labels.keys()
    return Judge(lane, model, tuple(judged), len(both), sum(outcomes[turns] == labels[turns] for turns in both))


def together(forward: str, backward: str) -> str:
    """The judgement on a pair from both orders: of the first lane's answer as the first, and as the second."""
    turned = {FIRST: SECOND, SECOND: FIRST}.get(backward, TIE)
    return forward if forward == turned else TIE


def _by_lanes(
    outcomes: Mapping[tuple[str, str], str], pairs: Mapping[tuple[str, str], Pair], bad: set[tuple[str, str]]
) -> Iterable[Preference]:
    for group in _grouped(outcomes, pairs).values():
        yield _preference(pairs[next(iter(group))], group, bad)


def _grouped(
    outcomes: Mapping[tuple[str, str], str], pairs: Mapping[tuple[str, str], Pair]
) -> dict[tuple[str, str], dict[tuple[str, str], str]]:
    groups: dict[tuple[str, str], dict[tuple[str, str], str]] = defaultdict(dict)
    for turns, pair in pairs.items():
        if turns in outcomes:
            groups[pair.first.lane, pair.second.lane][turns] = outcomes[turns]
    return groups


def _preference(pair: Pair, outcomes: Mapping[tuple[str, str], str], bad: set[tuple[str, str]]) -> Preference:
    found = list(outcomes.values())
    wins, losses, ties = found.count(FIRST), found.count(SECOND), found.count(TIE)
    decided = wins + losses
    interval = wilson(wins, decided) if decided else None
    share = wins / decided if decided else None
    counts = (len(found), wins, losses, ties, len(bad & outcomes.keys()))
    return Preference(pair.first.lane, pair.second.lane, *counts, share, interval)


def _corrected(
    outcomes: Mapping[tuple[str, str], str], labels: Mapping[tuple[str, str], str]
) -> tuple[float | None, Interval | None]:
    """The judge's mean score on all pairs, plus the mean of vote − judge on those with a vote."""
    both = outcomes.keys() & labels.keys()
    if len(both) < LEAST_LABELS:
        return None, None
    all_scores = [SCORES[outcome] for outcome in outcomes.values()]
    errors = [SCORES[labels[turns]] - SCORES[outcomes[turns]] for turns in both]
    value = mean(all_scores) + mean(errors)
    half = Z_95 * math.sqrt(variance(all_scores) / len(all_scores) + variance(errors) / len(errors))
    return min(1.0, max(0.0, value)), Interval(max(0.0, value - half), min(1.0, value + half))
