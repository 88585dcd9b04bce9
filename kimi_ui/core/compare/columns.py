"""The columns of two tables: a column is known by its header, so that added and reordered ones are recognised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Columns(NamedTuple):
    """Places of columns from 0: those in both tables, as pairs, and those in one only."""

    both: list[tuple[int, int]]
    left: list[int]
    right: list[int]

    def within(self, n_left: int, n_right: int) -> Columns:
        """The columns that two rows with so many cells have."""
        return Columns(
            [(x, y) for x, y in self.both if x < n_left and y < n_right],
            [x for x in self.left if x < n_left],
            [y for y in self.right if y < n_right],
        )


def columns(left: Sequence[str], right: Sequence[str]) -> Columns:
    """The columns of tables with these headers. By their places if fewer than half of the smaller table's headers are
    in both tables."""
    places: dict[str, list[int]] = {}
    for y, header in enumerate(right):
        places.setdefault(header, []).append(y)
    both = [(x, places[header].pop(0)) for x, header in enumerate(left) if places.get(header)]
    if 2 * len(both) < min(len(left), len(right)):
        shared = min(len(left), len(right))
        both = [(x, x) for x in range(shared)]
    lefts, rights = {x for x, _ in both}, {y for _, y in both}
    return Columns(
        both, [x for x in range(len(left)) if x not in lefts], [y for y in range(len(right)) if y not in rights]
    )
