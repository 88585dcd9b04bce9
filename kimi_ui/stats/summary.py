"""A sample in numbers and sentences: per series, paired by prompt, and the excluded attempts.

Every number has its n and, if possible, its interval. Comparisons are paired by prompt (two lanes of one turn), because
prompts differ more than lanes do. Sentences claim only what the data show.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..core.bounds import BOUNDED, WIDE_PCT, Bound, unit_of
from .sample import REASONS, Sample, Series
from .statistics import Difference, Median, enough_for, known, median, paired_difference, percentile


class Metric(NamedTuple):
    """A measured quantity: its column, display name, unit, and the divisor for that unit."""

    column: str
    name: str
    unit: str
    scale: float
    higher: str  # what "more of it" means in a sentence


METRICS = (
    Metric("ttft_ms", "First token", "s", 1000, "later"),
    Metric("ttfo_ms", "First answer word", "s", 1000, "later"),
    Metric("e2e_ms", "Total time", "s", 1000, "slower"),
    Metric("decode_tps", "Decode speed", "tok/s", 1, "faster"),
    Metric("cost_usd", "Cost", "$", 1, "dearer"),
)
BY_COLUMN = {metric.column: metric for metric in METRICS}
TIMED = tuple(metric for metric in METRICS if metric.column in BOUNDED)


class Line(NamedTuple):
    """One metric of one series. ``p95``/``p99`` None: ``n`` is not enough for them.

    ``bound``: the median error bound of the values; None if the metric has none or it is not known.
    """

    metric: Metric
    estimate: Median
    p95: float | None
    p99: float | None
    bound: Bound | None = None


class Comparison(NamedTuple):
    """One metric of two series on the prompts both answered, second minus first."""

    metric: Metric
    first: str
    second: str
    difference: Difference

    @property
    def sentence(self) -> str:
        """The comparison in words, e.g. ``Heavy is +12.4 s [9.8, 15.1] slower than Kimi on 41 prompts.``"""
        n, value, interval = self.difference
        prompts = "1 prompt" if n == 1 else f"{n:,} prompts"
        if value is None:
            return f"{self.second} and {self.first} have no prompt in common."
        amount = signed(value, self.metric)
        if interval is None:
            return f"{self.second} − {self.first}: {amount} on {prompts}, not enough for an interval (6 are)."
        limits = f"[{bare(interval.low, self.metric)}, {bare(interval.high, self.metric)}]"
        if not self.difference.shown:
            return f"{self.second} − {self.first}: {amount} {limits} on {prompts}; no difference shown."
        return f"{self.second} is {amount} {limits} against {self.first} on {prompts}: {self.verdict}."

    @property
    def verdict(self) -> str:
        lower = {"later": "earlier", "slower": "faster", "faster": "slower", "dearer": "cheaper"}
        value = self.difference.value or 0.0
        return self.metric.higher if value > 0 else lower[self.metric.higher]


class Split(NamedTuple):
    """Mean ms per part of a series' finished attempts, over ``n`` of them.

    ``wait`` is from the response headers (or the load's end) to the first token, a queue at the server included. A part
    that the server does not report separately (``connect``, ``load``) is 0 and included in the next one.
    """

    name: str
    n: int
    connect: float
    load: float
    wait: float
    think: float
    answer: float


def lines(series: Series) -> list[Line]:
    """Every metric of a series."""
    return [
        Line(
            metric,
            median(series.numbers[metric.column]),
            percentile(series.numbers[metric.column], 0.95),
            percentile(series.numbers[metric.column], 0.99),
            _bound(series, metric.column),
        )
        for metric in METRICS
    ]


def _bound(series: Series, column: str) -> Bound | None:
    """The median bound of a series' values, in the metric's unit and in %."""
    if column not in series.errors:
        return None
    values, errors = series.numbers[column], series.errors[column]
    there = ~np.isnan(values) & ~np.isnan(errors) & (values > 0)
    if not there.any():
        return None
    values, errors = values[there], errors[there]
    percents = errors if column == "decode_tps" else 100 * errors / values
    return Bound(float(np.median(values * percents / 100)), float(np.median(percents)), unit_of(column))


def comparisons(sample: Sample, metric: Metric) -> list[Comparison]:
    """All pairs of series of different lanes that share a prompt."""
    found = []
    for first, second in sample.pairs():
        a, b = _paired(first, second, metric.column)
        difference = paired_difference(a, b)
        if difference.n:
            found.append(Comparison(metric, first.name, second.name, difference))
    return found


def not_compared(sample: Sample, metric: Metric) -> str:
    """Why a metric has no comparison: which series lack which values."""
    unknown = [series for series in sample.series if not len(known(series.numbers[metric.column]))]
    if len(unknown) == len(sample.series):
        said = f"No {metric.name.lower()} is known here, so there is nothing to draw."
    else:
        said = f"No prompt has a known {metric.name.lower()} from two of these lanes."
    why = "; ".join(f"{series.name} has {_why_unknown(series, metric)}" for series in unknown)
    return f"{said} {why}." if why else said


def _why_unknown(series: Series, metric: Metric) -> str:
    """The reason why no attempt of a series has a value of the metric."""
    if not series.n:
        return "no attempt that counts"
    if metric.column == "cost_usd":
        return "no price" if series.n_unpriced else "no known cost"
    if metric.column == "decode_tps" and series.is_heavy:
        return "no decode speed of its own"
    if metric.column in ("e2e_ms", "decode_tps") and series.n == series.n_censored:
        return "no finished attempt"
    return "no answer long enough for a speed" if metric.column == "decode_tps" else "no text"


def _paired(first: Series, second: Series, column: str) -> tuple[Any, Any]:
    """The two series' values on the turns both have. A turn counts once per series: its newest attempt."""
    (turns_a, at_a), (turns_b, at_b) = _newest(first), _newest(second)
    _, in_a, in_b = np.intersect1d(turns_a, turns_b, assume_unique=True, return_indices=True)
    return first.numbers[column][at_a[in_a]], second.numbers[column][at_b[in_b]]


def _newest(series: Series) -> tuple[Any, Any]:
    """The series' turns, each once, and the row of its newest attempt."""
    turns, from_end = np.unique(series.turns[::-1], return_index=True)
    return turns, len(series.turns) - 1 - from_end


def splits(sample: Sample) -> list[Split]:
    """The time split of every series that has finished attempts."""
    found = []
    for series in sample.series:
        numbers = series.numbers
        e2e, ttft, ttfo = numbers["e2e_ms"], numbers["first_ms"], numbers["ttfo_ms"]
        whole = ~np.isnan(e2e) & ~np.isnan(ttft)
        if not whole.any():
            continue
        first = ttft[whole]
        answered = np.where(np.isnan(ttfo[whole]), e2e[whole], ttfo[whole])
        connect = np.minimum(np.nan_to_num(numbers["connect_ms"][whole]), first)
        load = np.minimum(np.nan_to_num(numbers["cold_load_ms"][whole]), first - connect)
        parts = (connect, load, first - connect - load, answered - first, e2e[whole] - answered)
        found.append(Split(series.name, int(whole.sum()), *(float(part.mean()) for part in parts)))
    return found


def left_out(sample: Sample) -> str:
    """What the figures leave out, in sentences; empty if nothing."""
    parts = [
        f"{sample.excluded[reason]:,} {words}" for reason, (_, words) in REASONS.items() if sample.excluded[reason]
    ]
    wide = [
        f"{metric.name.lower()} of {sample.wide[metric.column]:,}" for metric in TIMED if sample.wide[metric.column]
    ]
    said = [f"Left out: {', '.join(parts)}."] if parts else []
    if wide:
        said.append(f"Left out for an error bound above {WIDE_PCT:g} %: {', '.join(wide)}.")
    return " ".join(said)


def outweighed(sample: Sample) -> str:
    """A warning where more is left out than stays, or where nothing would stay; empty if neither."""
    said = []
    for series in sample.series:
        n_held = series.held.total()
        if series.takes_held:
            said.append(f"{series.name} has only attempts {_of(series)}: they are included.")
        elif n_held > series.n - n_held:
            said.append(f"{series.name}: {n_held:,} of {series.n:,} attempts are left out.")
        names = {metric.column: metric.name.lower() for metric in TIMED}
        if more := [name for column, name in names.items() if series.wide[column] > _n_known(series, column)]:
            said.append(f"{series.name}: most values are left out ({', '.join(more)}).")
        if taken := [name for column, name in names.items() if column in series.takes_wide]:
            said.append(f"{series.name} has only wide error bounds ({', '.join(taken)}): they are included.")
    return " ".join(said)


def _n_known(series: Series, column: str) -> int:
    return len(known(series.numbers[column]))


def _of(series: Series) -> str:
    """What sets the held attempts of a series apart."""
    return " or ".join(REASONS[reason][1] for reason in REASONS if series.held[reason])


def figures(line: Line) -> list[str]:
    """A cell of the table: the median, its interval, and its high percentiles, or n where it is too small for them."""
    n, value, interval = line.estimate
    if value is None:
        return ["–"]
    found = [about(bare(value, line.metric), line.bound)]
    if interval:
        found.append(f"[{bare(interval.low, line.metric)}, {bare(interval.high, line.metric)}]")
    if line.metric in TIMED:
        known_ones = {"p95": line.p95, "p99": line.p99}
        tails = [f"{name} {bare(tail, line.metric)}" for name, tail in known_ones.items() if tail is not None]
        found.append(" · ".join(tails) or f"n = {n:,}")
    elif not interval:
        found.append(f"n = {n:,}")
    return found


def about(figure: str, bound: Bound | None) -> str:
    """The figure, with ~ if its bound is wide."""
    return f"~{figure}" if bound and bound.is_rough else figure


def bound_words(line: Line) -> str:
    """The bound in words, e.g. ``each ±0.3 ms``; empty if it is not known."""
    if line.bound is None or line.estimate.value is None:
        return ""
    return f"{'each ' if line.estimate.n > 1 else ''}{line.bound}"


def percentiles_from(sample: Sample) -> str:
    """From how many values on the high percentiles are shown, in one sentence; empty if all of them are shown."""
    timed = (line for series in sample.series for line in lines(series) if line.metric in TIMED and line.estimate.n)
    if all(line.p99 is not None for line in timed):
        return ""
    return f"p95 needs {enough_for(0.95)} values, p99 {enough_for(0.99)}."


def counted(series: Series) -> list[str]:
    """How many attempts, and how many of them did not end well, by status."""
    others = sorted((item for item in series.statuses.items() if item[0] != "ok"), key=lambda item: -item[1])
    return [f"{series.n:,}", *(f"{n:,} {status}" for status, n in others)]


def served_by(series: Series) -> str:
    """The model behind the series' name; empty if the name says it."""
    if series.key.stand_in_for:
        return f"stands in for {series.key.stand_in_for}"
    return "" if series.key.model in series.name else series.key.model


def total(series: Series) -> list[str]:
    """The cost of all attempts of a series, and how many are estimated or unknown."""
    notes = [f"{series.n_estimated:,} estimated"] if series.n_estimated else []
    if series.n_unpriced:
        notes.append(f"{series.n_unpriced:,} without a price")
        if not series.usd:
            return ["–", *notes]
    return [f"{'~' if series.n_estimated else ''}{amount(series.usd, METRICS[-1])}", *notes]


def bare(value: float, metric: Metric) -> str:
    """A number in the metric's unit, without the unit, with two or three significant digits."""
    size = abs(value / metric.scale)
    if size == 0:
        return "0"
    if metric.unit == "$":
        digits = 6 if size < 0.001 else 4 if size < 0.1 else 2
    else:
        digits = 3 if size < 0.1 else 2 if size < 1 else 1 if size < 100 else 0
    return f"{'−' if value < 0 else ''}{size:,.{digits}f}"


def amount(value: float, metric: Metric) -> str:
    """A number with its unit."""
    text = bare(value, metric)
    return f"${text}" if metric.unit == "$" else f"{text} {metric.unit}"


def signed(value: float, metric: Metric) -> str:
    """A difference with its sign and unit."""
    return ("+" if value >= 0 else "−") + amount(abs(value), metric)


def as_dict(sample: Sample) -> dict[str, Any]:
    """The whole summary as plain values, for ``--json`` and the API. Times in ms, rates in tokens/s, cost in USD."""
    return {
        "n_attempts": sample.n,
        "excluded": dict(sample.excluded),
        "wide": dict(sample.wide),
        "series": [_series_dict(series) for series in sample.series],
        "paired": [
            {
                "metric": metric.column,
                "first": comparison.first,
                "second": comparison.second,
                **_estimate_dict(comparison.difference),
                "shown": comparison.difference.shown,
                "sentence": comparison.sentence,
            }
            for metric in METRICS
            for comparison in comparisons(sample, metric)
        ],
    }


def _series_dict(series: Series) -> dict[str, Any]:
    return {
        **series.key._asdict(),
        "name": series.name,
        "n": series.n,
        "n_censored": series.n_censored,
        "statuses": dict(series.statuses),
        "total_cost_usd": series.usd,
        "n_unpriced": series.n_unpriced,
        "n_estimated": series.n_estimated,
        **{
            line.metric.column: _estimate_dict(line.estimate)
            | {"p95": line.p95, "p99": line.p99, "error": line.bound and line.bound.error}
            for line in lines(series)
        },
    }


def _estimate_dict(estimate: Median | Difference) -> dict[str, Any]:
    low, high = estimate.interval or (None, None)
    return {"n": estimate.n, "median": estimate.value, "low": low, "high": high}
