"""Statistics, each with its confidence interval and sample size. Uses NumPy only and knows nothing of lanes.

Medians and medians of paired differences have an order-statistic interval, proportions Wilson's interval. A high
percentile is given only if the sample contains a 95 % upper bound for it. Nothing is random: the same data give the
same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
Z_95 = 1.959963984540054  # standard normal quantile of 0.975


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Median(NamedTuple):
    """A median and its interval, over ``n`` values. ``value`` None: no values; ``interval`` None: fewer than 6."""

    n: int
    value: float | None
    interval: Interval | None


class Difference(NamedTuple):
    """The median of paired differences (second minus first) over ``n`` pairs; ``interval`` None below 6 pairs.

    ``shown``: the interval excludes 0, so the data show a difference.
    """

    n: int
    value: float | None
    interval: Interval | None

    @property
    def shown(self) -> bool:
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high


def known(values: Floats) -> Floats:
    """The values that are known (not NaN), sorted."""
    return np.sort(values[~np.isnan(values)])


def median(values: Floats) -> Median:
    """The median of the known values with its distribution-free interval."""
    ordered = known(values)
    if not len(ordered):
        return Median(0, None, None)
    return Median(len(ordered), float(np.median(ordered)), median_interval(ordered))


def median_interval(ordered: Floats) -> Interval | None:
    """Order-statistic interval of the median of sorted values: x(k) … x(n+1−k), with k the largest rank for which
    P(Bin(n, ½) < k) ≤ 2.5 %. Below n = 6 no such interval reaches 95 %."""
    n = len(ordered)
    k = _median_rank(n)
    return None if k == 0 else Interval(float(ordered[k - 1]), float(ordered[n - k]))


def _median_rank(n: int) -> int:
    """The rank k of ``median_interval``; 0 if there is none."""
    if n > 1000:  # the normal approximation is within one rank, taken on the wide side
        return math.floor((n - Z_95 * math.sqrt(n)) / 2)
    below = 0.0
    probability = 0.5**n
    k = 0
    while below + probability <= (1 - CONFIDENCE) / 2:
        below += probability
        probability *= (n - k) / (k + 1)
        k += 1
    return k


def enough_for(p: float) -> int:
    """The smallest n whose sample contains a 95 % upper bound for the p-quantile: p**n ≤ 5 % (p95: 59, p99: 299)."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(p))


def percentile(values: Floats, p: float) -> float | None:
    """The p-quantile (nearest rank) of the known values; None with fewer than ``enough_for(p)`` of them."""
    ordered = known(values)
    n = len(ordered)
    return None if n < enough_for(p) else float(ordered[math.ceil(p * n) - 1])


def wilson(successes: float, n: float) -> Interval:
    """Wilson's score interval of a proportion; ``n`` need not be whole. Raises ``ValueError`` for n = 0."""
    if n <= 0:
        raise ValueError("a proportion of nothing has no interval")
    share, z2 = successes / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(low, high)


def paired_difference(first: Floats, second: Floats) -> Difference:
    """The median of ``second − first`` over pairs where both are known, with its order-statistic interval.

    Its coverage is never below the nominal one; a percentile bootstrap covered 87 % at 7 pairs.
    """
    return Difference(*median(second - first))


def ecdf(values: Floats, points: int = 200) -> list[tuple[float, float]]:
    """The share of known values at or below x, as ``(x, share)`` steps; thinned to about ``points`` by quantile."""
    ordered = known(values)
    n = len(ordered)
    if n <= points:
        ranks: Sequence[int] = range(n)
    else:
        ranks = np.unique(np.linspace(0, n - 1, points).round().astype(int)).tolist()
    return [(float(ordered[rank]), (rank + 1) / n) for rank in ranks]
