"""Two runs compared: lane by lane, case by case where both had the same cases, otherwise share against share. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..stats.statistics import CONFIDENCE, Difference, Interval, paired_difference
from .results import Run, Sample
from .statistics import Apart, Share, holm, paired, unpaired
from .suite import CATEGORIES
from .summary import FORMAT, Head, LaneSummary, Summary, plain, summarise
from .summary.accuracy import as_planned, verdicts
from .summary.figures import per_case, total_s
from .summary.words import at_least, category_name, counted, duration, money, percent

SAME, CHANGED, GONE, NEW = "same", "changed", "only in the first run", "only in the second run"


class Change(NamedTuple):
    """Of one lane's right answers, in all cases (``category`` None) or in one. Second run minus first; ``n`` pairs, 0
    if the cases are not the same."""

    category: str | None
    before: Share
    after: Share
    n: int
    difference: float | None
    interval: Interval | None
    could_have_shown: float | None
    p: float | None
    shown: bool


class LaneChange(NamedTuple):
    """``configuration``: same | changed | only in the first run | only in the second run; ``seconds``: the total time,
    case by case where the cases are the same."""

    lane: str
    label: str
    configuration: str
    before: LaneSummary | None
    after: LaneSummary | None
    changes: tuple[Change, ...]
    seconds: Difference


@dataclass(frozen=True, slots=True)
class Comparison:
    """``is_paired``: both runs have the same suite version and seed. ``is_planned``: both ended as planned."""

    first: Head
    second: Head
    is_paired: bool
    is_planned: bool
    lanes: tuple[LaneChange, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **plain(self)}

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        yield (
            f"First: run {self.first.id} of {self.first.started_at_utc[:10]}. Second: run {self.second.id} of "
            f"{self.second.started_at_utc[:10]}."
        )
        yield self.basis
        for one in self.lanes:
            yield ""
            yield from _lane_lines(one)

    @property
    def basis(self) -> str:
        """What the comparison rests on, in a sentence or two."""
        if self.is_paired:
            both = f"suite version {self.first.suite_version} and seed {self.first.seed}"
            basis = f"Both have {both}: compared case by case."
        else:
            basis = (
                f"Suite version {self.first.suite_version} and seed {self.first.seed} against version "
                f"{self.second.suite_version} and seed {self.second.seed}: the cases are not the same, so only shares "
                "are compared, and only larger differences can be shown."
            )
        if self.is_planned:
            return basis
        return f"{basis} Not both runs ended as planned, so a difference needs stronger evidence to be called shown."


def compare(first: Run, second: Run) -> Comparison:
    """The lanes are matched by id, in the order of the second run, then those that are gone."""
    is_paired = (first.suite_version, first.seed) == (second.suite_version, second.seed)
    is_planned = as_planned(first) and as_planned(second)
    summaries = (summarise(first), summarise(second))
    ids = list(dict.fromkeys([*(lane.id for lane in second.lanes), *(lane.id for lane in first.lanes)]))
    found = [_lane(id, first, second, summaries, is_paired, is_planned) for id in ids]
    return Comparison(summaries[0].run, summaries[1].run, is_paired, is_planned, tuple(_corrected(found)))


def _lane(
    id: str, first: Run, second: Run, summaries: tuple[Summary, Summary], is_paired: bool, is_planned: bool
) -> LaneChange:
    before, after = (next((one for one in each.lanes if one.lane.id == id), None) for each in summaries)
    either = after or before
    assert either is not None
    label = either.lane.label
    if before is None or after is None:
        return LaneChange(id, label, NEW if before is None else GONE, before, after, (), Difference(0, None, None))
    both = [[one for one in run.samples if one.lane == id] for run in (first, second)]
    categories = [one for one in CATEGORIES if one in before.by_category and one in after.by_category]
    changes = [
        _change(category, both, before, after, is_paired, is_planned)
        for category in [None, *(categories if len(categories) > 1 else [])]
    ]
    seconds = Difference(0, None, None)
    if is_paired:
        times = [per_case(samples, total_s) for samples in both]
        shared = sorted(times[0].keys() & times[1].keys())
        seconds = paired_difference(*(np.array([one[case] for case in shared], dtype=np.float64) for one in times))
    same = before.lane.config_sha == after.lane.config_sha
    return LaneChange(id, label, SAME if same else CHANGED, before, after, tuple(changes), seconds)


def _change(
    category: str | None,
    both: Sequence[Sequence[Sample]],
    before: LaneSummary,
    after: LaneSummary,
    is_paired: bool,
    is_planned: bool,
) -> Change:
    shares = [(one.overall if category is None else one.by_category[category]).graded for one in (before, after)]
    if not is_paired:
        apart = unpaired(*shares)
        if apart is None:
            return Change(category, shares[0], shares[1], 0, None, None, None, None, False)
        return Change(category, shares[0], shares[1], 0, *apart, None, _may_show(apart, is_planned))
    of_category = [[one for one in samples if category in (None, one.category)] for samples in both]
    template = {one.case: one.template for samples in of_category for one in samples}
    earlier, later = map(verdicts, of_category)
    found = paired(earlier, later, template, planned=is_planned)
    return Change(
        *(category, shares[0], shares[1], found.n, found.difference, found.interval),
        *(found.could_have_shown, found.p, found.shown),
    )


def _may_show(found: Apart, is_planned: bool) -> bool:
    """There is no e-process for different cases, so a run that ended otherwise than planned shows nothing."""
    return is_planned and found.shown


def _corrected(lanes: Sequence[LaneChange]) -> Iterator[LaneChange]:
    """p-values corrected among the lanes over all cases, and among the categories of all lanes."""
    for_all: dict[str, float] = {}
    by_category: dict[str, float] = {}
    for one in lanes:
        for change in one.changes:
            if change.p is not None:
                family = for_all if change.category is None else by_category
                family[f"{one.lane}/{change.category}"] = change.p
    p = {**holm(for_all), **holm(by_category)}
    for one in lanes:
        changes = []
        for change in one.changes:
            corrected = p.get(f"{one.lane}/{change.category}")
            still = change.shown and (corrected is None or corrected <= 1 - CONFIDENCE)
            changes.append(change._replace(p=corrected, shown=still))
        yield one._replace(changes=tuple(changes))


def _lane_lines(one: LaneChange) -> Iterator[str]:
    if one.before is None or one.after is None:
        yield f"{one.label}: {one.configuration}."
        return
    note = "" if one.configuration == SAME else ": its configuration has changed, so a difference may come from that"
    yield f"{one.label}{note}"
    for change in one.changes:
        name = "all cases" if change.category is None else category_name(change.category)
        yield f"  {name:17} {percent(change.before.value)} → {percent(change.after.value)} right; {_said(change)}"
    yield f"  {'whole answer':17} {_times(one)}"
    costs = " → ".join(money(lane.figures.cost_usd) for lane in (one.before, one.after))
    yield f"  {'cost of an answer':17} {costs}"


def _said(change: Change) -> str:
    if change.difference is None or change.interval is None or change.could_have_shown is None:
        return "nothing to compare"
    low, high = (f"{100 * end:+.0f}".replace("-", "−") for end in change.interval)
    basis = counted(change.n, "common case") if change.n else f"{change.before.n} and {change.after.n} other cases"
    difference = f"{100 * change.difference:+.0f}".replace("-", "−")
    verdict = "a difference is shown" if change.shown else "no difference shown"
    return (
        f"{verdict}: {difference} points ({low} to {high}) on {basis}, which could have shown ≥ "
        f"{at_least(change.could_have_shown)}"
    )


def _times(one: LaneChange) -> str:
    assert one.before is not None
    assert one.after is not None
    values = [lane.figures.total_s.value for lane in (one.before, one.after)]
    said = " → ".join("unknown" if value is None else duration(value) for value in values)
    if one.seconds.value is None or one.seconds.interval is None:
        return f"{said} (medians; not compared case by case)"
    low, high = one.seconds.interval
    verdict = "a difference is shown" if one.seconds.shown else "no difference shown"
    limits = f"{low:+.1f} to {high:+.1f}".replace("-", "−")
    difference = f"{one.seconds.value:+.1f} s".replace("-", "−")
    return f"{said}; {verdict}: {difference} ({limits}) on {counted(one.seconds.n, 'common case')}"
