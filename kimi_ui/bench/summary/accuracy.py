"""How often each lane is right, by category; failures of other kinds kept apart; lanes compared on the same cases.

An answer is *graded* if it is right or wrong. What was cut, could not be read, met a limit or never came is neither,
and is counted by its kind. Accuracy is over graded answers; *delivered* is over all that were reached, where only right
counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from ...stats.statistics import CONFIDENCE
from ..results import Outcome, Run, RunLane, Sample
from ..statistics import Paired, Share, by_chance, flips, holm, paired, share

RIGHT, WRONG, CUT, UNREADABLE, LIMIT, ENDPOINT, CONTEXT, NOT_RUN = (
    *("right", "wrong", "cut", "unreadable", "limit", "endpoint", "context", "not_run"),
)
KINDS: Mapping[Outcome, str] = {
    "right": RIGHT,
    "wrong": WRONG,
    "truncated": CUT,
    "unparsed": UNREADABLE,
    "time_limit": LIMIT,
    "refused-by-sandbox": LIMIT,
    "endpoint": ENDPOINT,
    "context": CONTEXT,
    "not-run": NOT_RUN,
}
"""What an outcome is counted as."""
FAILURES = {
    CUT: "cut at the token limit",
    UNREADABLE: "without a readable result",
    LIMIT: "stopped by the sandbox or its time limit",
    ENDPOINT: "failed at the server",
    CONTEXT: "not sent, since the prompt does not fit the lane's context",
}
"""Kinds that are neither right nor wrong, in words."""
GRADED = frozenset({RIGHT, WRONG})
UNSENT = frozenset({CONTEXT, NOT_RUN})


class Accuracy(NamedTuple):
    """``n``: answers planned and reached; ``counts`` by kind (``KINDS``), every kind present. ``graded`` and
    ``delivered``: shares of right ones over cases, epochs averaged first."""

    n: int
    counts: dict[str, int]
    graded: Share
    delivered: Share


class Flips(NamedTuple):
    """``n`` cases with two graded epochs or more; ``share`` of them have not the same verdict in all. None: no n."""

    n: int
    share: float | None


class Pair(NamedTuple):
    """Two lanes on the same cases; ``category`` None: all. ``graded`` is the comparison, ``delivered`` beside it.

    ``p_corrected``: for the number of comparisons (Holm). ``shown``: a difference is shown, after that correction.
    ``by_chance``: how often one would be shown with the lanes' names swapped at random in each case.
    """

    first: str
    second: str
    category: str | None
    graded: Paired
    delivered: Paired
    p_corrected: float | None
    shown: bool
    by_chance: float | None


class Noise(NamedTuple):
    """The same lane twice, with the same configuration: on ``changed`` of ``n`` cases its two verdicts differ."""

    first: str
    second: str
    n: int
    changed: int
    share: Share


def kind(sample: Sample) -> str:
    return KINDS[sample.outcome]


def is_right(sample: Sample) -> bool:
    return sample.outcome == "right"


def accuracy(samples: Iterable[Sample]) -> Accuracy:
    """Of one lane, in all categories or in one."""
    counts = Counter(dict.fromkeys(KINDS.values(), 0))
    graded: dict[str, list[float]] = defaultdict(list)
    delivered: dict[str, list[float]] = defaultdict(list)
    template = {}
    for sample in samples:
        counts[kind(sample)] += 1
        template[sample.case] = sample.template
        if kind(sample) in GRADED:
            graded[sample.case].append(float(is_right(sample)))
        if kind(sample) != NOT_RUN:
            delivered[sample.case].append(float(is_right(sample)))
    n = sum(counts.values()) - counts[NOT_RUN]
    return Accuracy(n, dict(counts), share(graded, template), share(delivered, template))


def verdicts(samples: Iterable[Sample], *, delivered: bool = False) -> dict[str, bool]:
    """Per case: whether more than half of its graded epochs are right; ``delivered``: of all that were sent."""
    epochs: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        if kind(sample) in GRADED or (delivered and kind(sample) != NOT_RUN):
            epochs[sample.case].append(is_right(sample))
    return {case: 2 * sum(right) > len(right) for case, right in epochs.items()}


def flips_of(samples: Iterable[Sample]) -> Flips:
    epochs: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        if kind(sample) in GRADED:
            epochs[sample.case].append(is_right(sample))
    return Flips(sum(len(one) > 1 for one in epochs.values()), flips(epochs))


def twins(lanes: Sequence[RunLane]) -> list[tuple[RunLane, RunLane]]:
    """Lanes of the same configuration: what differs between them is noise."""
    return [(a, b) for a, b in combinations(lanes, 2) if a.config_sha == b.config_sha]


def pairs(run: Run, by_lane: Mapping[str, Sequence[Sample]], categories: Sequence[str]) -> list[Pair]:
    """Every two lanes of different configurations, over all cases and then by category.

    The correction for several comparisons is made among those over all cases, and among those by category.
    """
    same = {(a.id, b.id) for a, b in twins(run.lanes)}
    two = [(a.id, b.id) for a, b in combinations(run.lanes, 2) if (a.id, b.id) not in same]
    found = []
    for family in ([None], categories):
        raw = [_pair(run, by_lane, a, b, category) for category in family for a, b in two]
        known = {str(place): one.graded.p for place, one in enumerate(raw) if one.graded.p is not None}
        corrected = holm(known)
        for place, one in enumerate(raw):
            p = corrected.get(str(place))
            shown = one.graded.shown and p is not None and p <= 1 - CONFIDENCE
            found.append(one._replace(p_corrected=p, shown=shown))
    return found


def _pair(run: Run, by_lane: Mapping[str, Sequence[Sample]], first: str, second: str, category: str | None) -> Pair:
    of_both = [[each for each in by_lane[lane] if category in (None, each.category)] for lane in (first, second)]
    template = {each.case: each.template for samples in of_both for each in samples}
    one, other = of_both
    planned = as_planned(run)
    graded = paired(verdicts(one), verdicts(other), template, planned=planned)
    delivered = paired(verdicts(one, delivered=True), verdicts(other, delivered=True), template, planned=planned)
    return Pair(first, second, category, graded, delivered, None, False, by_chance(graded))


def as_planned(run: Run) -> bool:
    """Whether a fixed number of cases was decided before and reached; otherwise only an e-process is valid."""
    return run.state == "done"


def noise(run: Run, by_lane: Mapping[str, Sequence[Sample]]) -> list[Noise]:
    found = []
    for a, b in twins(run.lanes):
        one, other = verdicts(by_lane[a.id]), verdicts(by_lane[b.id])
        changed = {case: [float(one[case] != other[case])] for case in one.keys() & other.keys()}
        template = {sample.case: sample.template for sample in by_lane[a.id]}
        n_changed = sum(bool(each[0]) for each in changed.values())
        found.append(Noise(a.id, b.id, len(changed), n_changed, share(changed, template)))
    return found
