"""What an answer takes: times, speed, tokens and money per lane, and what a right answer takes, failed tries included.

Times are those of the answers that were graded (one path, ``attempt_metrics``). Medians are over cases, of each case's
median over its epochs; sums are over answers, and their intervals come from a bootstrap over templates.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...stats.statistics import Difference, Floats, Median, median, paired_difference
from ..results import RunLane, Sample
from ..statistics import Point, Ratio, pareto, ratio
from .accuracy import ENDPOINT, UNSENT, Accuracy, is_right, kind

Value = Callable[[Sample], float | None]


class Figures(NamedTuple):
    """Of one lane. ``ttft_s``, ``ttfo_s``, ``total_s`` (seconds) and ``decode_tps`` are medians over cases.

    ``cost_usd``: mean per answer. ``time_to_correct_s``, ``cost_per_correct_usd``: all that was spent, divided by the
    number of right answers. Tokens are sums over the answers that report them; None: none does.
    """

    ttft_s: Median
    ttfo_s: Median
    total_s: Median
    decode_tps: Median
    cost_usd: Ratio
    time_to_correct_s: Ratio
    cost_per_correct_usd: Ratio
    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None


class Spent(NamedTuple):
    """The second lane beside the first on the cases of both: the median difference of total times in s, and medians of
    the cases' ratios of time, output tokens and cost."""

    first: str
    second: str
    seconds: Difference
    times: Median
    tokens: Median
    cost: Median


class Edge(NamedTuple):
    """The lanes in the plane of accuracy and of what an answer takes: ``axis`` is seconds or dollars. ``best``: those
    that no other lane beats in both (Pareto)."""

    axis: str
    points: tuple[Point, ...]
    best: tuple[str, ...]


def seconds(value: float | None) -> float | None:
    return None if value is None else value / 1000


def figures(lane: RunLane, samples: Sequence[Sample]) -> Figures:
    timed = [one for one in samples if kind(one) not in UNSENT and kind(one) != ENDPOINT]
    sent = [one for one in samples if kind(one) not in UNSENT]
    cost = cost_of(lane)
    return Figures(
        ttft_s=_median(timed, _ttft_s),
        ttfo_s=_median(timed, _ttfo_s),
        total_s=_median(timed, total_s),
        decode_tps=_median(timed, _decode_tps),
        cost_usd=_spent(sent, cost, lambda _: 1.0),
        time_to_correct_s=_spent(sent, total_s, lambda one: float(is_right(one))),
        cost_per_correct_usd=_spent(sent, cost, lambda one: float(is_right(one))),
        input_tokens=_sum(one.input_tokens for one in sent),
        output_tokens=_sum(one.output_tokens for one in sent),
        reasoning_tokens=_sum(one.reasoning_tokens for one in sent),
    )


def _ttft_s(sample: Sample) -> float | None:
    return seconds(sample.ttft_ms)


def _ttfo_s(sample: Sample) -> float | None:
    return seconds(sample.ttfo_ms)


def total_s(sample: Sample) -> float | None:
    return seconds(sample.e2e_ms)


def _decode_tps(sample: Sample) -> float | None:
    return sample.decode_tps


def cost_of(lane: RunLane) -> Value:
    """A sample's cost in dollars. Without a price it is not known, whatever the log says; free is a price of 0."""
    return lambda sample: sample.cost_usd if lane.priced else None


def per_case(samples: Iterable[Sample], value: Value) -> dict[str, float]:
    """Each case's median over its epochs; cases without a known value are left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        if (known := value(sample)) is not None:
            found[sample.case].append(known)
    return {case: float(np.median(values)) for case, values in found.items()}


def _median(samples: Iterable[Sample], value: Value) -> Median:
    return median(np.array(list(per_case(samples, value).values()), dtype=np.float64))


def _spent(samples: Iterable[Sample], spent: Value, gained: Callable[[Sample], float]) -> Ratio:
    """Only answers whose expense is known count, above the line and below it."""
    parts: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        if (known := spent(sample)) is not None:
            parts[sample.template].append((known, gained(sample)))
    sums = {
        template: (math.fsum(a for a, _ in ones), math.fsum(b for _, b in ones)) for template, ones in parts.items()
    }
    return ratio(sums, sum(map(len, parts.values())))


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def beside(lanes: Mapping[str, RunLane], by_lane: Mapping[str, Sequence[Sample]], first: str, second: str) -> Spent:
    """What the second lane takes beside the first, on the cases where both are known."""
    times, tokens, cost = (
        _together([per_case(by_lane[lane], value_of(lane)) for lane in (first, second)])
        for value_of in (
            lambda _: total_s,
            lambda _: lambda one: one.output_tokens,
            lambda lane: cost_of(lanes[lane]),
        )
    )
    return Spent(first, second, paired_difference(*times), *(median(_quotients(*two)) for two in (times, tokens, cost)))


def _together(values: Sequence[Mapping[str, float]]) -> list[Floats]:
    shared = sorted(values[0].keys() & values[1].keys())
    return [np.array([one[case] for case in shared], dtype=np.float64) for one in values]


def _quotients(first: Floats, second: Floats) -> Floats:
    """Where the first is 0 there is no quotient."""
    found = np.full(len(first), np.nan)
    np.divide(second, first, out=found, where=first > 0)
    return found


def edges(lanes: Iterable[tuple[str, Accuracy, Figures]]) -> tuple[Edge, Edge]:
    """Accuracy against total time, and against the cost of an answer."""
    found = list(lanes)
    planes = []
    for axis, costs in (
        ("seconds", [figures.total_s.value for _, _, figures in found]),
        ("usd", [figures.cost_usd.value for _, _, figures in found]),
    ):
        points = tuple(
            Point(lane, accuracy.graded.value, cost) for (lane, accuracy, _), cost in zip(found, costs, strict=True)
        )
        planes.append(Edge(axis, points, tuple(pareto(points))))
    return planes[0], planes[1]
