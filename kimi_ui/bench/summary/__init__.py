"""A run in figures and sentences. Pure: ``summarise(run)`` folds the samples, in whatever order they come.

``as_dict`` gives plain values with stable keys for JSON: an interval is ``{"low", "high"}``, a limit that does not
exist is null, and so is whatever is not known.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple

from ..graders.golden import RATES, Rates
from ..results import Run, RunLane, Sample
from ..suite import CATEGORIES
from .accuracy import NOT_RUN, Accuracy, Flips, Noise, Pair, accuracy, flips_of, kind, noise, pairs
from .figures import Edge, Figures, Spent, beside, edges, figures
from .grid import Row, grid
from .heavy import Explained, explained
from .tree import Branch, tree
from .words import Line, verdict_lines

FORMAT = 1  # of ``as_dict``: changes when a key changes its meaning


class Head(NamedTuple):
    """The run itself. ``n_planned``: answers; ``n_reached`` of them were sent, or could not be."""

    id: str
    started_at_utc: str
    ended_at_utc: str | None
    state: str
    state_reason: str
    size: str
    suite_version: int
    seed: int
    epochs: int
    budget_usd: float | None
    n_cases: int
    n_planned: int
    n_reached: int


class LaneSummary(NamedTuple):
    """``sandboxes``: how many answers each sandbox judged, as (backend, level, n)."""

    lane: RunLane
    overall: Accuracy
    by_category: dict[str, Accuracy]
    figures: Figures
    flips: Flips
    sandboxes: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """``pairs`` over all cases first, then by category; ``spent`` has one for each pair of lanes. ``golden``: the
    graders' own error rates."""

    run: Head
    lanes: tuple[LaneSummary, ...]
    categories: tuple[str, ...]
    pairs: tuple[Pair, ...]
    spent: tuple[Spent, ...]
    noise: tuple[Noise, ...]
    edges: tuple[Edge, ...]
    heavy: tuple[Explained, ...]
    tree: tuple[Branch, ...]
    grid: tuple[Row, ...]
    golden: Rates
    verdicts: tuple[Line, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The whole summary for JSON. Times in s, those of samples in ms; money in USD; shares and differences 0..1."""
        return {"format": FORMAT, **plain(self)}


def summarise(run: Run) -> Summary:
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in run.samples:
        found[sample.lane].append(sample)
    by_lane = {lane.id: found[lane.id] for lane in run.lanes}
    present = {sample.category for sample in run.samples}
    categories = [*(one for one in CATEGORIES if one in present), *sorted(present - set(CATEGORIES))]
    lanes = [_lane(lane, by_lane[lane.id], categories) for lane in run.lanes]
    compared = pairs(run, by_lane, categories)
    lane_of = {lane.id: lane for lane in run.lanes}
    summary = Summary(
        run=_head(run),
        lanes=tuple(lanes),
        categories=tuple(categories),
        pairs=tuple(compared),
        spent=tuple(beside(lane_of, by_lane, one.first, one.second) for one in compared if one.category is None),
        noise=tuple(noise(run, by_lane)),
        edges=edges((one.lane.id, one.overall, one.figures) for one in lanes),
        heavy=tuple(one for lane in run.lanes if (one := explained(lane, by_lane)) is not None),
        tree=tree(run, by_lane, categories, {one.lane.id: one.figures for one in lanes}, compared),
        grid=grid(run.samples, [lane.id for lane in run.lanes], categories),
        golden=RATES,
    )
    return _with_lines(summary)


def _with_lines(summary: Summary) -> Summary:
    values = {field.name: getattr(summary, field.name) for field in fields(summary)}
    return Summary(**{**values, "verdicts": verdict_lines(summary)})


def _head(run: Run) -> Head:
    reached = [sample for sample in run.samples if kind(sample) != NOT_RUN]
    return Head(
        *(run.id, run.started_at_utc, run.ended_at_utc, run.state, run.state_reason, run.size),
        *(run.suite_version, run.seed, run.epochs, run.budget_usd),
        len({sample.case for sample in run.samples}),
        len(run.samples),
        len(reached),
    )


def _lane(lane: RunLane, samples: Sequence[Sample], categories: Sequence[str]) -> LaneSummary:
    boxes = Counter((one.backend, one.level or "") for one in samples if one.backend is not None)
    return LaneSummary(
        lane,
        accuracy(samples),
        {category: accuracy(one for one in samples if one.category == category) for category in categories},
        figures(lane, samples),
        flips_of(samples),
        tuple(sorted((backend, level, n) for (backend, level), n in boxes.items())),
    )


def plain(value: Any) -> Any:
    """Dataclasses and named tuples as dicts, other sequences as lists, ``inf`` and NaN as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = ["FORMAT", "Head", "LaneSummary", "Summary", "plain", "summarise"]
