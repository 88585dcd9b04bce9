"""All cases with their samples, those first on which the lanes disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..results import Sample
from .accuracy import NOT_RUN, RIGHT, WRONG, is_right, kind

MARKS = {RIGHT: "●", WRONG: "○", NOT_RUN: "·"}
NO_VERDICT = "–"


class Row(NamedTuple):
    """A case. ``cells``: each lane's samples by epoch. ``spread``: largest minus smallest share of right answers among
    the lanes, 0..1; ``flipped``: lanes whose epochs differ."""

    case: str
    category: str
    template: str
    spread: float
    flipped: int
    cells: dict[str, tuple[Sample, ...]]


def grid(samples: Sequence[Sample], lanes: Sequence[str], categories: Sequence[str]) -> tuple[Row, ...]:
    """Sorted by spread, then by flips, then as in the suite."""
    cases: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        cases[sample.case].append(sample)
    place = {category: i for i, category in enumerate(categories)}
    rows = [_row(case, found, lanes) for case, found in cases.items()]
    return tuple(sorted(rows, key=lambda row: (-row.spread, -row.flipped, place[row.category], _natural(row.case))))


def _row(case: str, samples: Sequence[Sample], lanes: Sequence[str]) -> Row:
    cells: Mapping[str, tuple[Sample, ...]] = {
        lane: tuple(sorted((one for one in samples if one.lane == lane), key=lambda one: one.epoch)) for lane in lanes
    }
    reached = [[is_right(one) for one in cell if kind(one) != NOT_RUN] for cell in cells.values()]
    shares = [sum(right) / len(right) for right in reached if right]
    return Row(
        case,
        samples[0].category,
        samples[0].template,
        max(shares) - min(shares) if shares else 0.0,
        sum(len(set(right)) > 1 for right in reached),
        dict(cells),
    )


def _natural(case: str) -> tuple[str, int]:
    name, _, number = case.rpartition("-")
    return (name, int(number)) if number.isdecimal() else (case, 0)


def mark(sample: Sample) -> str:
    """● right, ○ wrong, – no verdict, · not run."""
    return MARKS.get(kind(sample), NO_VERDICT)
