"""The decision tree, drawn from the data: a branch per priority, and leaves that may say unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...stats.statistics import Interval
from ..results import Run, Sample
from ..statistics import SUGGESTIVE, SUPPORTED, UNKNOWN, Leaf, accuracy_leaf, cost_leaf, whole_points
from .accuracy import Pair, as_planned, verdicts
from .figures import Figures


class Branch(NamedTuple):
    """A priority and its leaves."""

    question: str
    leaves: tuple[Leaf, ...]


def tree(
    run: Run,
    by_lane: Mapping[str, Sequence[Sample]],
    categories: Sequence[str],
    figures: Mapping[str, Figures],
    pairs: Sequence[Pair],
) -> tuple[Branch, ...]:
    """Lanes without a sample are not in it. Of a lane that is there twice, both places are compared like any others."""
    lanes = [lane for lane in run.lanes if by_lane[lane.id]]
    template = {sample.case: sample.template for sample in run.samples}

    def accuracy(name: str, category: str | None) -> Leaf:
        of_lanes = {
            lane.id: verdicts(one for one in by_lane[lane.id] if category in (None, one.category)) for lane in lanes
        }
        return accuracy_leaf(name, of_lanes, template, planned=as_planned(run))

    def least(name: str, values: Mapping[str, Interval | None]) -> Leaf:
        return cost_leaf(name, values)

    by_category = tuple(accuracy(category, category) for category in categories) if len(categories) > 1 else ()
    branches = [
        Branch("Most right answers", (accuracy("all cases", None), *by_category)),
        Branch(
            "Least waiting",
            (
                least("first token", {lane.id: figures[lane.id].ttft_s.interval for lane in lanes}),
                least("first word of the answer", {lane.id: figures[lane.id].ttfo_s.interval for lane in lanes}),
                least("whole answer", {lane.id: figures[lane.id].total_s.interval for lane in lanes}),
                least("a right answer", {lane.id: figures[lane.id].time_to_correct_s.interval for lane in lanes}),
            ),
        ),
        Branch(
            "Least money",
            (
                least("an answer", {lane.id: figures[lane.id].cost_usd.interval for lane in lanes}),
                least("a right answer", {lane.id: figures[lane.id].cost_per_correct_usd.interval for lane in lanes}),
            ),
        ),
    ]
    heavy = tuple(
        _heavy_leaf(pair, lane.id)
        for lane in lanes
        for pair in pairs
        if lane.of is not None and pair.category is None and {pair.first, pair.second} == {lane.id, lane.of}
    )
    return tuple([*branches, Branch("Heavy instead of its model's single answer", heavy)] if heavy else branches)


def _heavy_leaf(pair: Pair, heavy: str) -> Leaf:
    """Whether heavy's answers are right more often than the single ones; the cost is another branch's."""
    found = pair.graded
    name = "all cases"
    if found.difference is None or found.could_have_shown is None:
        return Leaf(name, UNKNOWN, (), "No case has a verdict for both.")
    could = f"these {found.n} cases could have shown {whole_points(found.could_have_shown)} points or more"
    if not pair.shown:
        return Leaf(name, UNKNOWN, (), f"No difference shown; {could}.")
    better = pair.second if found.difference > 0 else pair.first
    state = SUPPORTED if found.n >= 20 else SUGGESTIVE
    return Leaf(name, state, (better,), f"{'Heavy' if better == heavy else 'The single answer'} is right more often.")
