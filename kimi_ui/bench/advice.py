"""Which lane to take for a prompt's category: from finished runs of the lanes as they are configured now, or nothing.

A lane is recommended only if the paired comparison separates it from every other lane on the asked priority, with the
p-values corrected for the number of comparisons. Otherwise no difference is shown, and the faster or cheaper lane is
named. Pure.

Accuracy needs ``LEAST_CASES`` cases per lane. A time is measured with every request, so ``LEAST_TIMES`` cases are
enough where they separate. Results older than ``MAX_DAYS`` days, and of a lane whose configuration has changed since,
do not count, nor do runs that a person or a budget stopped. A run that its e-process ended early was looked at before
its end, so its p-values come from the e-process (``planned`` of ``statistics.paired``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date, datetime
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ..stats.statistics import CONFIDENCE, Difference, Interval, paired_difference
from ..stats.statistics import median as estimate
from .prompt_category import OTHER
from .results import Run, RunLane, Sample
from .statistics import LEAST_CASES, holm, mcnemar, paired, share

ACCURACY, FIRST_TOKEN, TOTAL_TIME, ZERO_COST = "accuracy", "first_token", "total_time", "zero_cost"
PRIORITIES = {ACCURACY: "right answers", FIRST_TOKEN: "first token", TOTAL_TIME: "total time", ZERO_COST: "no cost"}
CATEGORIES = {
    "reasoning": "reasoning",
    "coding": "coding",
    "math": "math",
    "creative": "creative",
    "long_context": "long context",
    "multi_turn": "conversation",
    OTHER: "other",
}

LEAST_TIMES = 6  # below, no interval of a median reaches 95 %
MAX_DAYS = 90
FINISHED = ("done", "decided")
# What a person gets: an answer that was cut, cannot be read or does not fit the lane is not right. What a server or the
# sandbox refused says nothing of the lane.
_SCORES = dict.fromkeys(("wrong", "unparsed", "truncated", "time_limit", "context"), 0.0) | {"right": 1.0}
_COMPLETE = ("right", "wrong", "unparsed", "time_limit")  # answers that ended by themselves, so their total time counts

Key = Hashable  # suite version, seed and case: the same task


class Lane(NamedTuple):
    """A lane as it is used now. ``config_sha`` empty: the conversation's settings change it."""

    id: str
    label: str
    config_sha: str


class Figure(NamedTuple):
    """A lane's own figure on the priority: a share 0..1, or ms; ``interval`` None: too few values for one."""

    lane: str
    label: str
    n: int
    value: float | None
    interval: Interval | None
    unit: str


class Advice(NamedTuple):
    """``state``: recommended | no_difference | silent. ``lane``: the one to switch to; empty: none.

    ``short`` is for the chip, ``sentence`` the whole statement with n, dates and interval; ``pairs`` each comparison;
    ``not_compared`` what is missing, and why.
    """

    category: str
    priority: str
    state: str
    lane: str
    short: str
    sentence: str
    figures: tuple[Figure, ...] = ()
    pairs: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without what the caller knows."""
        return {**self._asdict(), "figures": [figure._asdict() for figure in self.figures]}


class _Evidence(NamedTuple):
    """A lane's samples of one category, by task."""

    lane: Lane
    samples: Mapping[Key, Sequence[Sample]]
    days: frozenset[str]
    decided: bool  # one of the runs was stopped by its e-process

    def each(self, value: Callable[[Sample], float | None]) -> dict[Key, float]:
        """The median over the epochs of each task that has a value."""
        found = {key: [v for one in samples if (v := value(one)) is not None] for key, samples in self.samples.items()}
        return {key: median(values) for key, values in found.items() if values}

    @property
    def scores(self) -> dict[Key, Sequence[float]]:
        """1 for right and 0 otherwise, per task and epoch; without what the server or the sandbox refused."""
        found = {
            key: [_SCORES[one.outcome] for one in samples if one.outcome in _SCORES]
            for key, samples in self.samples.items()
        }
        return {key: scores for key, scores in found.items() if scores}

    @property
    def right(self) -> dict[Key, bool]:
        """Whether more than half of a task's epochs are right."""
        return {key: sum(scores) > len(scores) / 2 for key, scores in self.scores.items()}

    @property
    def templates(self) -> dict[Key, str]:
        return {key: samples[0].template for key, samples in self.samples.items()}

    @property
    def accuracy(self) -> Figure:
        found = share(self.scores, self.templates)
        return Figure(self.lane.id, self.lane.label, found.n, found.value, found.interval, "share")


class _Pair(NamedTuple):
    """The best lane against another one: ``value`` and ``interval`` of the other minus the best."""

    other: Lane
    n: int
    p: float | None
    value: float | None
    interval: Interval | None
    shown: bool
    least: float | None = None  # accuracy: the smallest difference that could have been shown


def advise(runs: Iterable[Run], lanes: Sequence[Lane], category: str, priority: str, today: date) -> Advice:
    """The advice for one category and priority, from ``runs`` in any order."""
    if category == OTHER:
        return _silent(category, priority, "The benchmark has no cases like this, so nothing is known.")
    found, missing = _collect(runs, lanes, category, today)
    if not found:
        return _silent(category, priority, f"No result for {CATEGORIES[category]} that still holds.", missing)
    make = {ACCURACY: _accuracy, ZERO_COST: _zero_cost}.get(priority)
    if make is not None:
        return make(found, category, missing)
    return _time(found, category, priority, missing)


def table(runs: Sequence[Run], lanes: Sequence[Lane], today: date) -> dict[str, dict[str, Advice]]:
    """All advice by category and priority; empty if there is none for any category."""
    made = {
        category: {priority: advise(runs, lanes, category, priority, today) for priority in PRIORITIES}
        for category in CATEGORIES
    }
    return made if any(one.state != "silent" for advice in made.values() for one in advice.values()) else {}


# -- evidence


def _collect(
    runs: Iterable[Run], lanes: Sequence[Lane], category: str, today: date
) -> tuple[list[_Evidence], list[str]]:
    """Each lane's samples that count, and a sentence for each lane without any."""
    finished = sorted((run for run in runs if run.state in FINISHED), key=lambda run: run.started_at_utc)
    found, missing = [], []
    for lane in lanes:
        measured = [(run, made) for run in finished for made in run.lanes if made.id == lane.id]
        same = [run for run, made in measured if made.config_sha == lane.config_sha]
        recent = [run for run in same if (today - _day(run)).days <= MAX_DAYS]
        samples: dict[Key, list[Sample]] = defaultdict(list)
        days = set()
        for run in recent:
            for sample in run.samples:
                if sample.lane == lane.id and sample.category == category and sample.outcome != "not-run":
                    samples[run.suite_version, run.seed, sample.case].append(sample)
                    days.add(_day(run).isoformat())
        if samples:
            found.append(_Evidence(lane, samples, frozenset(days), any(run.state == "decided" for run in recent)))
        else:
            missing.append(_why(lane, measured, same, recent, category))
    return found, missing


def _why(
    lane: Lane, measured: Sequence[tuple[Run, RunLane]], same: Sequence[Run], recent: Sequence[Run], category: str
) -> str:
    if not measured:
        return f"{lane.label}: in no finished run."
    if not lane.config_sha:
        return f"{lane.label}: set differently in this conversation."
    if not same:
        return f"{lane.label}: configured differently since {_words(_day(measured[-1][0]))}."
    if not recent:
        return f"{lane.label}: last measured on {_words(_day(same[-1]))}, more than {MAX_DAYS} days ago."
    return f"{lane.label}: no case of {CATEGORIES[category]} in its runs."


# -- by priority


def _accuracy(found: Sequence[_Evidence], category: str, missing: list[str]) -> Advice:
    usable, few = [], []
    for one in found:
        n = len(one.scores)
        if n >= LEAST_CASES:
            usable.append(one)
        else:
            few.append(f"{one.lane.label}: {n} cases, and {LEAST_CASES} are needed.")
    missing = [*missing, *few, _LIMITS]
    figures = tuple(one.accuracy for one in usable)
    if len(usable) < 2:
        reason = f"Fewer than two lanes have {LEAST_CASES} cases of {CATEGORIES[category]}."
        return _silent(category, ACCURACY, reason, missing, figures)
    best = max(usable, key=lambda one: (one.accuracy.value or 0.0, one.lane.id))
    pairs = _corrected([_paired(best, other) for other in usable if other is not best])
    if min(pair.n for pair in pairs) < LEAST_CASES:
        reason = f"Fewer than {LEAST_CASES} cases of {CATEGORIES[category]} were given to both lanes."
        return _silent(category, ACCURACY, reason, missing, figures)
    sentences = tuple(_points(best.lane, pair) for pair in pairs)
    basis = _basis(min(pair.n for pair in pairs), usable)
    rest = (figures, sentences, tuple(missing))
    if all(pair.shown for pair in pairs):
        sentence = f"{best.lane.label} is right more often in {CATEGORIES[category]} than {_others(pairs)} ({basis})."
        short = f"{best.lane.label}: more often right"
        return Advice(category, ACCURACY, "recommended", best.lane.id, short, sentence, *rest)
    tied = [best, *(one for one in usable for pair in pairs if pair.other == one.lane and not pair.shown)]
    names = _and([one.lane.label for one in tied])
    least = max(pair.least or 1.0 for pair in pairs if not pair.shown)
    could = f"{100 * least:.0f} points or more could have been"
    shown = f"No difference in right answers is shown between {names} ({basis}; {could})."
    lane, instead = _instead(tied)
    return Advice(category, ACCURACY, "no_difference", lane, "no difference shown", f"{shown} {instead}", *rest)


def _paired(best: _Evidence, other: _Evidence) -> _Pair:
    planned = not (best.decided or other.decided)
    made = paired(best.right, other.right, {**best.templates, **other.templates}, planned=planned)
    return _Pair(other.lane, made.n, made.p, made.difference, made.interval, made.shown, made.could_have_shown)


def _time(found: Sequence[_Evidence], category: str, priority: str, missing: list[str]) -> Advice:
    value = _VALUES[priority]
    times = {one.lane.id: one.each(value) for one in found}
    usable = [one for one in found if len(times[one.lane.id]) >= LEAST_TIMES]
    few = [
        f"{one.lane.label}: {len(times[one.lane.id])} measured, and {LEAST_TIMES} are needed."
        for one in found
        if one not in usable
    ]
    missing = [*missing, *few]
    figures = tuple(_time_figure(one.lane, list(times[one.lane.id].values())) for one in usable)
    if len(usable) < 2:
        reason = f"Fewer than two lanes have {LEAST_TIMES} measured times in {CATEGORIES[category]}."
        return _silent(category, priority, reason, missing, figures)
    best, pairs = _fastest(usable, times)
    if min(pair.n for pair in pairs) < LEAST_TIMES:
        reason = f"Fewer than {LEAST_TIMES} cases of {CATEGORIES[category]} were measured on both lanes."
        return _silent(category, priority, reason, missing, figures)
    n, what = min(pair.n for pair in pairs), PRIORITIES[priority]
    basis = _basis(n, usable)
    early = f" {_EARLY}" if n < LEAST_CASES else ""
    missing.append("Right answers: this is about time alone.")
    rest = (figures, tuple(_seconds_less(best.lane, pair) for pair in pairs), tuple(missing))
    if all(pair.shown for pair in pairs):
        sentence = f"{best.lane.label} has the shortest {what} in {CATEGORIES[category]} ({basis}).{early}"
        short = f"{best.lane.label}: {'first token sooner' if priority == FIRST_TOKEN else 'faster'}"
        return Advice(category, priority, "recommended", best.lane.id, short, sentence, *rest)
    tied = [best.lane, *(pair.other for pair in pairs if not pair.shown)]
    sentence = f"No difference in {what} is shown between {_and([lane.label for lane in tied])} ({basis}).{early}"
    return Advice(category, priority, "no_difference", "", "no difference shown", sentence, *rest)


def _fastest(found: Sequence[_Evidence], times: Mapping[str, Mapping[Key, float]]) -> tuple[_Evidence, list[_Pair]]:
    best = min(found, key=lambda one: (median(times[one.lane.id].values()), one.lane.id))
    pairs = [_time_pair(times[best.lane.id], times[one.lane.id], one.lane) for one in found if one is not best]
    return best, _corrected(pairs)


def _time_pair(best: Mapping[Key, float], other: Mapping[Key, float], lane: Lane) -> _Pair:
    """The median of the differences; p is the sign test's, which that median's interval inverts."""
    shared = list(best.keys() & other.keys())
    made: Difference = paired_difference(
        np.array([best[key] for key in shared], float), np.array([other[key] for key in shared], float)
    )
    slower = sum(other[key] > best[key] for key in shared)
    faster = sum(other[key] < best[key] for key in shared)
    is_lower = made.shown and made.value is not None and made.value > 0
    return _Pair(lane, made.n, mcnemar(slower, faster), made.value, made.interval, is_lower)


def _zero_cost(found: Sequence[_Evidence], category: str, missing: list[str]) -> Advice:
    costs = {one.lane.id: [sample.cost_usd for samples in one.samples.values() for sample in samples] for one in found}
    free = [one for one in found if all(cost == 0 for cost in costs[one.lane.id])]
    unknown = [
        f"{one.lane.label}: its cost is not known."
        for one in found
        if one not in free and all(cost is None for cost in costs[one.lane.id])
    ]
    missing = [*missing, *unknown]
    if not free:
        return _silent(category, ZERO_COST, "No lane that was measured is known to cost nothing.", missing)
    if len(free) > 1:
        made = _accuracy(free, category, missing)
        if made.state == "silent":
            names = _and([one.lane.label for one in free])
            return made._replace(priority=ZERO_COST, sentence=f"{names} cost nothing. {made.sentence}")
        return made._replace(priority=ZERO_COST, sentence=f"Of the lanes that cost nothing: {made.sentence}")
    (only,) = free
    accuracy = only.accuracy
    n = sum(len(samples) for samples in only.samples.values())
    sentence = f"Only {only.lane.label} is known to cost nothing ({n} answers, {_days(only.days)})."
    pairs = []
    if accuracy.n >= LEAST_CASES:
        for other in found:
            if other is not only and len(other.scores) >= LEAST_CASES:
                pairs.append(_points(only.lane, _paired(only, other)))
    else:
        missing.append(f"Right answers: {accuracy.n} cases, and {LEAST_CASES} are needed. {_EARLY_COST}")
    short = f"{only.lane.label}: costs nothing"
    rest = ((accuracy,), tuple(pairs), tuple(missing))
    return Advice(category, ZERO_COST, "recommended", only.lane.id, short, sentence, *rest)


def _instead(tied: Sequence[_Evidence]) -> tuple[str, str]:
    """Which of the tied lanes to take, as its id and a sentence: the faster one, else the cheaper one, else any."""
    times = {one.lane.id: one.each(_VALUES[TOTAL_TIME]) for one in tied}
    if all(len(times[one.lane.id]) >= LEAST_TIMES for one in tied):
        best, pairs = _fastest(tied, times)
        if pairs and all(pair.shown for pair in pairs):
            return best.lane.id, f"Take the faster one, {best.lane.label}: {_seconds_less(best.lane, pairs[0])}"
    costs = {one.lane.id: one.each(lambda sample: sample.cost_usd) for one in tied}
    if all(len(costs[one.lane.id]) >= LEAST_TIMES for one in tied):
        best, pairs = _fastest(tied, costs)
        if pairs and all(pair.shown for pair in pairs):
            low, high = median(costs[best.lane.id].values()), median(costs[pairs[0].other.id].values())
            return best.lane.id, f"Take the cheaper one, {best.lane.label}: ${low:.2g} against ${high:.2g} an answer."
    return "", "Take the faster or the cheaper one; neither is shown to be."


def _first_token(sample: Sample) -> float | None:
    return sample.ttft_ms


def _total_time(sample: Sample) -> float | None:
    return sample.e2e_ms if sample.outcome in _COMPLETE else None


_VALUES: dict[str, Callable[[Sample], float | None]] = {FIRST_TOKEN: _first_token, TOTAL_TIME: _total_time}


def _corrected(pairs: list[_Pair]) -> list[_Pair]:
    """The pairs, shown only if their p-value stays below 5 % after Holm's correction."""
    p_values = holm({pair.other.id: pair.p for pair in pairs if pair.p is not None})
    return [pair._replace(shown=pair.shown and p_values.get(pair.other.id, 1.0) <= 1 - CONFIDENCE) for pair in pairs]


# -- words

_LIMITS = (
    "How well a text reads: only what can be checked counts as right. An answer that was cut, unreadable or too late "
    "counts as not right; a request that its server refused does not count."
)
_EARLY = f"Times show with fewer than the {LEAST_CASES} cases that right answers need."
_EARLY_COST = "What a lane costs is known with fewer."


def _silent(
    category: str, priority: str, reason: str, missing: Sequence[str] = (), figures: tuple[Figure, ...] = ()
) -> Advice:
    return Advice(category, priority, "silent", "", "", reason, figures, (), tuple(missing))


def _points(best: Lane, pair: _Pair) -> str:
    """Kimi against Qwen: +23 points (+8 to +38), 30 cases."""
    if pair.value is None or pair.interval is None:
        return f"{best.label} and {pair.other.label}: no case in common."
    low, high = -pair.interval.high, -pair.interval.low
    verdict = "" if pair.shown else ", no difference shown"
    return (
        f"{best.label} against {pair.other.label}: {-100 * pair.value:+.0f} points "
        f"({100 * low:+.0f} to {100 * high:+.0f}), {pair.n} cases{verdict}."
    )


def _seconds_less(best: Lane, pair: _Pair) -> str:
    if pair.value is None:
        return f"{best.label} and {pair.other.label}: no case in common."
    span = f" ({_s(pair.interval.low)} to {_s(pair.interval.high)} s)" if pair.interval else ""
    verdict = "" if pair.shown else ", no difference shown"
    return f"{_s(pair.value)} s less than {pair.other.label}{span}, {pair.n} cases{verdict}."


def _time_figure(lane: Lane, values: Sequence[float]) -> Figure:
    found = estimate(np.array(values, float))
    return Figure(lane.id, lane.label, found.n, found.value, found.interval, "ms")


def _basis(n: int, found: Sequence[_Evidence]) -> str:
    return f"{n} cases, {_days(frozenset().union(*(one.days for one in found)))}"


def _days(days: Iterable[str]) -> str:
    ordered = [_words(date.fromisoformat(day)) for day in sorted(days)]
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _day(run: Run) -> date:
    return datetime.fromisoformat(run.started_at_utc).date()


def _words(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _s(ms: float) -> str:
    return f"{ms / 1000:.1f}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _others(pairs: Sequence[_Pair]) -> str:
    return _and([pair.other.label for pair in pairs])
