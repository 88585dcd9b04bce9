"""What a run shows, and what it could have shown. Pure; the same verdicts always give the same figures: the one thing
that is drawn at random, the bootstrap, starts from a fixed seed.

What counts as right or not is the caller's choice: truncated, unparsed and refused answers are no scores here. Cases of
one template resemble each other, so intervals over cases are widened to the variation between templates.

Sources: Wilson 1927; Newcombe 1998 (paired differences, method 10; independent ones, method 10 of its companion);
McNemar 1947, exact; Miller 2024, "Adding error bars to evals" (clusters); Ramdas et al. 2023 (e-processes); Connor 1987
(power of paired proportions).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from ..stats.statistics import CONFIDENCE, Z_95, Interval, wilson

Case = TypeVar("Case", bound=Hashable)  # its id
Z_POWER = 0.8416212335729143  # standard normal quantile of a power of 0.8
STOP_AT = 20.0  # an e-process at 20 rejects at 5 %, whenever one looks
RESAMPLES = 2000
FEWEST_CLUSTERS = 6  # below, a bootstrap over clusters says nothing


class Share(NamedTuple):
    """A share of right answers over ``n`` cases. ``value`` and ``interval`` are None for n = 0: not known, not 0.

    ``design_effect``: by how much clusters widen the variance (1: not at all).
    """

    n: int
    value: float | None
    interval: Interval | None
    design_effect: float = 1.0


def share(scores: Mapping[Case, Sequence[float]], cluster_of: Mapping[Case, Hashable] | None = None) -> Share:
    """The share of right answers. ``scores``: per case one score 0..1 per epoch; a case without any does not count.

    Epochs are averaged per case before anything else. The interval is Wilson's with n divided by the design effect.
    """
    means = {case: sum(epochs) / len(epochs) for case, epochs in scores.items() if len(epochs)}
    n = len(means)
    if not n:
        return Share(0, None, None)
    mean = math.fsum(means.values()) / n
    effect = design_effect(means, cluster_of) if cluster_of is not None else 1.0
    return Share(n, mean, wilson(mean * n / effect, n / effect), effect)


def design_effect(means: Mapping[Case, float], cluster_of: Mapping[Case, Hashable]) -> float:
    """Variance of the mean with clusters divided by that without; at least 1, so clusters never narrow an interval."""
    n = len(means)
    if n < 2:
        return 1.0
    centre = math.fsum(means.values()) / n
    residuals: dict[Hashable, list[float]] = defaultdict(list)
    for case, value in means.items():
        residuals[cluster_of[case]].append(value - centre)
    plain = math.fsum((value - centre) ** 2 for value in means.values())
    clusters = len(residuals)
    if plain == 0 or clusters < 2:
        return 1.0
    between = math.fsum(math.fsum(values) ** 2 for values in residuals.values()) * clusters / (clusters - 1)
    return max(1.0, between / (plain * n / (n - 1)))


class Paired(NamedTuple):
    """Two lanes on the same cases, second minus first.

    ``b``: cases only the first has right; ``c``: only the second; ``both``, ``neither``. ``difference`` in -1..1, its
    ``interval``, widened by the ``design_effect`` of clusters, and the exact ``p``; None without pairs.
    ``could_have_shown``: the smallest true difference that these n pairs show four times in five.
    """

    n: int
    both: int
    b: int
    c: int
    neither: int
    difference: float | None
    interval: Interval | None
    p: float | None
    could_have_shown: float | None
    design_effect: float = 1.0

    @property
    def shown(self) -> bool:
        """The test rejects equality, the interval excludes 0, and the difference is not below what could be shown."""
        if self.p is None or self.interval is None or self.difference is None or self.could_have_shown is None:
            return False
        separated = self.p <= 1 - CONFIDENCE and not self.interval.low <= 0 <= self.interval.high
        return separated and abs(self.difference) >= self.could_have_shown


def paired(
    first: Mapping[Case, bool],
    second: Mapping[Case, bool],
    cluster_of: Mapping[Case, Hashable] | None = None,
    *,
    planned: bool = True,
) -> Paired:
    """Compare two lanes on the cases that both have, by id and never by position.

    ``planned`` False: the run ended otherwise than planned, so ``p`` is 1/``e_value``, which is valid at every look.
    """
    shared = first.keys() & second.keys()
    count = Counter((first[case], second[case]) for case in shared)
    both, b, c, neither = count[True, True], count[True, False], count[False, True], count[False, False]
    n = len(shared)
    if not n:
        return Paired(0, 0, 0, 0, 0, None, None, None, None)
    differences = {case: float(second[case]) - float(first[case]) for case in shared}
    effect = design_effect(differences, cluster_of) if cluster_of is not None else 1.0
    difference = (c - b) / n
    interval = _widened(newcombe(both, b, c, neither), difference, math.sqrt(effect))
    p = mcnemar(b, c) if planned else min(1.0, 1 / e_value(b, c))
    least = could_have_shown(n / effect, (b + c) / n)
    return Paired(n, both, b, c, neither, difference, interval, p, least, effect)


def _widened(interval: Interval, centre: float, factor: float) -> Interval:
    low, high = (centre + factor * (end - centre) for end in interval)
    return Interval(max(-1.0, low), min(1.0, high))


def mcnemar(b: int, c: int) -> float:
    """The exact two-sided p-value of b against c discordant pairs."""
    n = b + c
    tail = sum(math.comb(n, k) for k in range(min(b, c) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def newcombe(both: int, b: int, c: int, neither: int) -> Interval:
    """95 % interval of the paired difference, second minus first (Newcombe's method 10: Wilson limits and φ)."""
    n = both + b + c + neither
    p1, p2 = (both + b) / n, (both + c) / n
    low1, high1 = wilson(both + b, n)
    low2, high2 = wilson(both + c, n)
    product = (both + b) * (c + neither) * (both + c) * (b + neither)
    cross = both * neither - b * c
    if product == 0:
        phi = 0.0
    elif cross > n / 2:
        phi = (cross - n / 2) / math.sqrt(product)
    else:
        phi = 0.0 if cross >= 0 else cross / math.sqrt(product)
    below = (p2 - low2) ** 2 - 2 * phi * (p2 - low2) * (high1 - p1) + (high1 - p1) ** 2
    above = (high2 - p2) ** 2 - 2 * phi * (high2 - p2) * (p1 - low1) + (p1 - low1) ** 2
    d = p2 - p1
    return Interval(max(-1.0, d - math.sqrt(max(0.0, below))), min(1.0, d + math.sqrt(max(0.0, above))))


def could_have_shown(n: float, discordant: float) -> float:
    """The smallest difference that McNemar's test shows with power 0.8 at 5 %, for n pairs of which this share differ.

    With few discordant pairs seen, their share is taken as at least what one pair in n would be, and the difference
    cannot be larger than it, so it grows with it. At most 1.
    """
    psi = max(discordant, 1 / n)

    def enough(step: int) -> bool:
        d = step / 1000
        spread = max(psi, d)
        return n * d * d >= (Z_95 * math.sqrt(spread) + Z_POWER * math.sqrt(max(0.0, spread - d * d))) ** 2

    return min(1000, 1 + bisect_left(range(1, 1001), True, key=enough)) / 1000


class Apart(NamedTuple):
    """The difference of two shares of different cases, second minus first, as in ``Paired``."""

    difference: float
    interval: Interval
    could_have_shown: float

    @property
    def shown(self) -> bool:
        separated = not self.interval.low <= 0 <= self.interval.high
        return separated and abs(self.difference) >= self.could_have_shown


def whole_points(value: float) -> int:
    """What could have been shown as percentage points, rounded up so that nothing is promised."""
    return math.ceil(round(100 * value, 6))


def unpaired(first: Share, second: Share) -> Apart | None:
    """Compare shares whose cases are not the same; Newcombe's interval. None if one has no cases."""
    if first.value is None or second.value is None or first.interval is None or second.interval is None:
        return None
    difference = second.value - first.value
    below = math.hypot(second.value - second.interval.low, first.interval.high - first.value)
    above = math.hypot(second.interval.high - second.value, first.value - first.interval.low)
    n1, n2 = first.n / first.design_effect, second.n / second.design_effect
    pooled = (n1 * first.value + n2 * second.value) / (n1 + n2)
    least = (Z_95 + Z_POWER) * math.sqrt(max(pooled * (1 - pooled), 1 / (n1 + n2)) * (1 / n1 + 1 / n2))
    return Apart(difference, Interval(difference - below, difference + above), min(1.0, least))


def by_chance(pairs: Paired) -> float | None:
    """How often a difference would be shown if, in each case, the two lanes' names were swapped at random.

    Exact, over all ways to swap. A test that holds its level gives at most 0.05; None without pairs.
    """
    n, discordant = pairs.n, pairs.b + pairs.c
    if not n:
        return None
    found = 0.0
    for b in range(discordant + 1):
        c = discordant - b
        swapped = Paired(
            *(n, pairs.both, b, c, pairs.neither, (c - b) / n),
            *(newcombe(pairs.both, b, c, pairs.neither), mcnemar(b, c), pairs.could_have_shown),
        )
        if swapped.shown:
            found += math.comb(discordant, b) / 2**discordant
    return found


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for the number of comparisons (Holm 1979), by name."""
    found: dict[str, float] = {}
    least = 0.0
    for at, (name, p) in enumerate(sorted(p_values.items(), key=lambda one: one[1])):
        least = max(least, min(1.0, (len(p_values) - at) * p))
        found[name] = least
    return found


def e_value(b: int, c: int) -> float:
    """Evidence against equality from discordant pairs, valid at every look: 2^(b+c) · B(b+1, c+1), uniform mixture."""
    log = (b + c) * math.log(2) + math.lgamma(b + 1) + math.lgamma(c + 1) - math.lgamma(b + c + 2)
    return math.exp(min(log, 700.0))


def flips(scores: Mapping[Case, Sequence[bool]]) -> float | None:
    """The share of cases with two epochs or more whose verdict is not the same in all: the noise of one lane."""
    repeated = [epochs for epochs in scores.values() if len(epochs) > 1]
    return sum(len(set(epochs)) > 1 for epochs in repeated) / len(repeated) if repeated else None


class Ratio(NamedTuple):
    """A sum divided by another over ``n`` answers, such as seconds spent over right answers.

    ``value`` None with a known ``interval``: the divisor is 0, and the interval says what was spent in vain, with no
    upper limit (``inf``). Both None: no data.
    """

    n: int
    value: float | None
    interval: Interval | None


def ratio(parts: Mapping[Case, tuple[float, float]], n: int) -> Ratio:
    """``parts``: per cluster the dividend and the divisor. The interval is the percentile bootstrap over clusters."""
    if not n:
        return Ratio(0, None, None)
    table = np.array([parts[cluster] for cluster in sorted(parts, key=repr)], dtype=np.float64)
    spent, gained = (float(one) for one in table.sum(axis=0))
    if not gained:
        return Ratio(n, None, Interval(spent, math.inf))
    clusters = len(table)
    if clusters < FEWEST_CLUSTERS:
        return Ratio(n, spent / gained, None)
    drawn = np.random.default_rng(1).multinomial(clusters, np.full(clusters, 1 / clusters), RESAMPLES) @ table
    quotients = np.full(RESAMPLES, math.inf)
    np.divide(drawn[:, 0], drawn[:, 1], out=quotients, where=drawn[:, 1] > 0)
    quotients.sort()
    cut = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Ratio(n, spent / gained, Interval(float(quotients[cut]), float(quotients[-cut - 1])))


class Point(NamedTuple):
    """A lane in the plane of quality and price; ``cost`` may be seconds or dollars, None where it is not known."""

    name: str
    quality: float | None
    cost: float | None


def pareto(points: Iterable[Point]) -> list[str]:
    """The lanes that no other one beats in both quality and cost. One with an unknown figure is on no edge."""
    known = [(p.name, p.quality, p.cost) for p in points if p.quality is not None and p.cost is not None]
    return [
        name
        for name, quality, cost in known
        if not any(q >= quality and c <= cost and (q > quality or c < cost) for _, q, c in known)
    ]


class Heavy(NamedTuple):
    """Shares over n answers with trajectories: any right (oracle), heavy's own answer right; over ``n_voted`` of them,
    those whose results can be counted, the majority right.

    ``selection_loss``: oracle − heavy: found and not chosen. ``gained``: heavy right where the majority is not;
    ``lost``: the other way.
    """

    n: int
    oracle: float | None
    hybrid: float | None
    selection_loss: float | None
    n_voted: int
    majority: float | None
    gained: int
    lost: int


class Run(NamedTuple):
    """One heavy answer: the verdict of each usable trajectory, of what most of them say, and of heavy's own answer.

    ``majority`` is False where no answer is the most frequent one, since a vote finds nothing there; None where answers
    are texts or programs, which no vote can count.
    """

    right: Sequence[bool]
    majority: bool | None
    hybrid: bool


def heavy(runs: Sequence[Run]) -> Heavy:
    """Oracle, majority and hybrid over the runs that have a usable trajectory."""
    usable = [run for run in runs if len(run.right)]
    n = len(usable)
    if not n:
        return Heavy(0, None, None, None, 0, None, 0, 0)
    oracle = sum(any(run.right) for run in usable)
    hybrid = sum(run.hybrid for run in usable)
    voted = [(run.majority, run.hybrid) for run in usable if run.majority is not None]
    majority = sum(right for right, _ in voted) / len(voted) if voted else None
    gained = sum(chosen and not right for right, chosen in voted)
    lost = sum(right and not chosen for right, chosen in voted)
    return Heavy(n, oracle / n, hybrid / n, (oracle - hybrid) / n, len(voted), majority, gained, lost)


SUPPORTED, SUGGESTIVE, UNKNOWN = "supported", "suggestive", "unknown"
LEAST_CASES = 20  # below, accuracy advice is unknown


class Leaf(NamedTuple):
    """A leaf of the decision tree: ``lanes`` to take for a ``priority``; several where no difference is shown, the one
    that is ahead first.

    ``state``: supported (each other lane is worse), suggestive (ahead, not shown), unknown (too few cases).
    ``missing``: lanes whose figure is not known.
    """

    priority: str
    state: str
    lanes: tuple[str, ...]
    reason: str
    missing: tuple[str, ...] = ()


def accuracy_leaf(
    priority: str,
    results: Mapping[str, Mapping[Case, bool]],
    cluster_of: Mapping[Case, Hashable] | None = None,
    *,
    planned: bool = True,
) -> Leaf:
    """The leaf for accuracy over the cases that all lanes have; p-values are corrected over the comparisons made."""
    shared = set.intersection(*(set(cases) for cases in results.values())) if results else set()
    n = len(shared)
    if len(results) < 2 or n < LEAST_CASES:
        return Leaf(priority, UNKNOWN, (), f"{n} of the {LEAST_CASES} cases that all lanes must have.")
    scores = {lane: {case: cases[case] for case in shared} for lane, cases in results.items()}
    right = {lane: sum(cases.values()) for lane, cases in scores.items()}
    best = max(right, key=lambda lane: (right[lane], lane))
    against = {lane: paired(scores[lane], scores[best], cluster_of, planned=planned) for lane in scores if lane != best}
    corrected = holm({lane: one.p for lane, one in against.items() if one.p is not None})
    tied = [lane for lane, one in against.items() if not one.shown or corrected[lane] > 1 - CONFIDENCE]
    least = max(one.could_have_shown or 1.0 for one in against.values())
    could = f"these {n} cases could have shown {whole_points(least)} points or more"
    if not tied:
        return Leaf(priority, SUPPORTED, (best,), f"Better than each other lane; {could}.")
    lanes = (best, *sorted(tied))
    if all(right[lane] == right[best] for lane in tied):
        return Leaf(priority, UNKNOWN, lanes, f"As many right each; {could}.")
    return Leaf(priority, SUGGESTIVE, lanes, f"The first is ahead, but no difference is shown; {could}.")


def cost_leaf(priority: str, costs: Mapping[str, Interval | None]) -> Leaf:
    """The leaf for time or money, lower is better, from each lane's interval of the median; None: not known."""
    known = {lane: interval for lane, interval in costs.items() if interval is not None}
    missing = tuple(lane for lane in costs if lane not in known)
    if len(known) < 2:
        return Leaf(priority, UNKNOWN, (), "Fewer than two lanes have figures.", missing)
    best = min(known, key=lambda lane: (known[lane].high, lane))
    near = sorted(lane for lane, interval in known.items() if lane != best and interval.low <= known[best].high)
    if not near and not missing:
        return Leaf(priority, SUPPORTED, (best,), "Its interval is below every other one.")
    reason = "Not told apart: their intervals overlap." if near else "The lowest that is known."
    return Leaf(priority, SUGGESTIVE, (best, *near), reason, missing)
