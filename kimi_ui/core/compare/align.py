"""Which units of two answers are the same or versions of one another, in the same order or moved.

Two models rarely write the same sentence, and one model changes its order. So equal units are paired first: the
heaviest chain that has the same order in both answers stays in place, equal units that are left over have moved.
Then, between those in place, units that share enough words become pairs, and at last units anywhere else that share
most of theirs. Candidates come from indices, so the work is linear in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .answer import LINE, ROW, Unit

VERSION = 0.45  # units in the same place with at least this likeness are versions of one another …
MOVED_VERSION = 0.7  # … and elsewhere with this one
SAME_FIRST_CELL = 0.6  # rows that begin with the same cell are at least this alike
RARE = 8  # a unit that an answer has more often is paired only beside another pair, such as a lone brace
MIN_MOVED, MIN_MOVED_LINE = 8, 14  # letters and digits; a shorter unit can be in two places by chance
WORD_CANDIDATES = 40  # a word in more units than this does not help to pair them
UNIT_CANDIDATES = 6


class Match(NamedTuple):
    """Unit ``left`` of one answer and ``right`` of the other, by their indices. ``same``: their keys are equal."""

    left: int
    right: int
    same: bool
    moved: bool


def align(a: Sequence[Unit], b: Sequence[Unit]) -> list[Match]:
    """The pairs, by the left unit's place; each unit is in at most one. Those not moved ascend on both sides."""
    found = _Pairs(a, b)
    found.equal_in_place()
    found.equal_elsewhere()
    found.versions_in_place()
    found.versions_elsewhere()
    return found.matches()


def likeness(x: Unit, y: Unit) -> float:
    """0 to 1: Dice coefficient of the words, half of it with all numbers equal: a changed number makes a version."""
    if x.group != y.group or not x.words or not y.words:
        return 0.0
    score = (_dice(x.words, y.words) + _dice(x.unnumbered, y.unnumbered)) / 2
    if x.group == ROW and x.cells and y.cells and x.cells[0] and x.cells[0] == y.cells[0]:
        return max(score, SAME_FIRST_CELL)
    return score


def _dice(x: frozenset[str], y: frozenset[str]) -> float:
    return 2 * len(x & y) / (len(x) + len(y))


@dataclass
class _Link:
    """A pair in a chain of pairs, with the link before it."""

    left: int
    right: int
    before: int


class _Pairs:
    def __init__(self, a: Sequence[Unit], b: Sequence[Unit]) -> None:
        self.a, self.b = a, b
        self.of_left: dict[int, int] = {}  # all pairs
        self.of_right: dict[int, int] = {}
        self.in_place: list[tuple[int, int]] = []  # ascending

    def matches(self) -> list[Match]:
        fixed = set(self.in_place)
        return [Match(i, j, _same(self.a[i], self.b[j]), (i, j) not in fixed) for i, j in sorted(self.of_left.items())]

    def equal_in_place(self) -> None:
        """The heaviest chain of equal units, then those beside its links, however short or frequent."""
        places: dict[tuple[str, str], list[int]] = {}
        start, stop = self._equal_ends()
        for j in range(start, len(self.b) - stop):
            places.setdefault((self.b[j].group, self.b[j].key), []).append(j)
        often = _often(self.a)
        candidates: list[list[tuple[int, float]]] = [[] for _ in self.a]
        for i in range(start, len(self.a) - stop):
            unit = self.a[i]
            found = places.get((unit.group, unit.key), [])
            if unit.size > 1 and (unit.group, unit.key) not in often and len(found) <= RARE:
                candidates[i] = [(j, float(unit.size)) for j in found]
        self._place(_heaviest_chain(candidates, len(self.b)))
        self._extend()

    def _equal_ends(self) -> tuple[int, int]:
        """How many units at the beginning and end are equal; they become pairs at once."""
        a, b = self.a, self.b
        shorter = min(len(a), len(b))
        start = 0
        while start < shorter and _same(a[start], b[start]):
            start += 1
        stop = 0
        while stop < shorter - start and _same(a[-1 - stop], b[-1 - stop]):
            stop += 1
        self._place([(i, i) for i in range(start)])
        self._place([(len(a) - k, len(b) - k) for k in range(stop, 0, -1)])
        return start, stop

    def _extend(self) -> None:
        pairs = []
        for lefts, rights in self._gaps():
            n = min(len(lefts), len(rights))
            k = 0
            while k < n and _same(self.a[lefts[k]], self.b[rights[k]]):
                pairs.append((lefts[k], rights[k]))
                k += 1
            m = 1
            while m <= n - k and _same(self.a[lefts[-m]], self.b[rights[-m]]):
                pairs.append((lefts[-m], rights[-m]))
                m += 1
        self._place(pairs)

    def equal_elsewhere(self) -> None:
        """Equal units that are not in place, in their order, if they are long enough to be no chance."""
        left = self._places_of([i for i in range(len(self.a)) if i not in self.of_left], self.a)
        right = self._places_of([j for j in range(len(self.b)) if j not in self.of_right], self.b)
        for key, lefts in left.items():
            for i, j in zip(lefts, right.get(key, []), strict=False):
                self._pair(i, j)

    def _places_of(self, indices: Sequence[int], units: Sequence[Unit]) -> dict[tuple[str, str], list[int]]:
        places: dict[tuple[str, str], list[int]] = {}
        for i in indices:
            unit = units[i]
            if unit.size >= (MIN_MOVED_LINE if unit.kind == LINE else MIN_MOVED):
                places.setdefault((unit.group, unit.key), []).append(i)
        return places

    def versions_in_place(self) -> None:
        """In each gap between units in place, the chain of versions with the most in common."""
        pairs = []
        for lefts, rights in self._gaps():
            candidates = _likely(self.a, lefts, self.b, rights, VERSION)
            where = {j: k for k, j in enumerate(rights)}
            weighed = [
                [
                    (where[j], score * (len(self.a[i].words) + len(self.b[j].words)))
                    for j, score in candidates.get(i, [])
                ]
                for i in lefts
            ]
            pairs += [(lefts[x], rights[y]) for x, y in _heaviest_chain(weighed, len(rights))]
        self._place(pairs)

    def versions_elsewhere(self) -> None:
        lefts = [i for i, unit in enumerate(self.a) if i not in self.of_left and unit.size >= MIN_MOVED]
        rights = [j for j, unit in enumerate(self.b) if j not in self.of_right and unit.size >= MIN_MOVED]
        found = [
            (score * self.a[i].size, i, j)
            for i, several in _likely(self.a, lefts, self.b, rights, MOVED_VERSION).items()
            for j, score in several
            if self.a[i].kind != LINE
        ]
        for _, i, j in sorted(found, key=lambda one: (-one[0], one[1], one[2])):
            if i not in self.of_left and j not in self.of_right:
                self._pair(i, j)

    def _gaps(self) -> Iterator[tuple[list[int], list[int]]]:
        """The units without a pair between two pairs in place, of each answer."""
        i = j = 0
        for next_i, next_j in [*self.in_place, (len(self.a), len(self.b))]:
            lefts = [k for k in range(i, next_i) if k not in self.of_left]
            rights = [k for k in range(j, next_j) if k not in self.of_right]
            if lefts and rights:
                yield lefts, rights
            i, j = next_i + 1, next_j + 1

    def _place(self, pairs: Sequence[tuple[int, int]]) -> None:
        for i, j in pairs:
            self._pair(i, j)
        self.in_place = sorted([*self.in_place, *pairs])

    def _pair(self, i: int, j: int) -> None:
        self.of_left[i] = j
        self.of_right[j] = i


def _same(x: Unit, y: Unit) -> bool:
    return x.key == y.key and x.group == y.group


def _often(units: Sequence[Unit]) -> set[tuple[str, str]]:
    counts: dict[tuple[str, str], int] = {}
    for unit in units:
        counts[unit.group, unit.key] = counts.get((unit.group, unit.key), 0) + 1
    return {key for key, n in counts.items() if n > RARE}


def _likely(
    a: Sequence[Unit], lefts: Sequence[int], b: Sequence[Unit], rights: Sequence[int], at_least: float
) -> Mapping[int, list[tuple[int, float]]]:
    """For each left unit the right ones most like it, as ``(index, likeness)``, found by the rarer words they share."""
    by_word: dict[str, list[int]] = {}
    for j in rights:
        for word in (*b[j].words, _form(b[j])):
            by_word.setdefault(word, []).append(j)
    found: dict[int, list[tuple[int, float]]] = {}
    for i in lefts:
        shared: dict[int, int] = {}
        for word in (*a[i].words, _form(a[i])):
            places = by_word.get(word, ())
            if len(places) <= WORD_CANDIDATES:
                for j in places:
                    shared[j] = shared.get(j, 0) + 1
        likely = sorted(shared, key=lambda j: (-shared[j], j))[: 2 * UNIT_CANDIDATES]
        scored = [(j, score) for j in likely if (score := likeness(a[i], b[j])) >= at_least]
        if scored:
            found[i] = sorted(scored, key=lambda one: -one[1])[:UNIT_CANDIDATES]
    return found


def _form(unit: Unit) -> str:
    """One word for all units that differ in their numbers only."""
    return "\0".join(sorted(unit.unnumbered))


def _heaviest_chain(candidates: Sequence[Sequence[tuple[int, float]]], n_right: int) -> list[tuple[int, int]]:
    """Index pairs, ascending on both sides, with the largest sum of weights.

    ``candidates[i]``: the right indices that left index ``i`` can be paired with, and the weight of each pair. A
    Fenwick tree over the right indices finds the best chain before each pair.
    """
    best: list[tuple[float, int]] = [(0.0, -1)] * (n_right + 1)
    links: list[_Link] = []
    for i, several in enumerate(candidates):
        added = [(_best_before(best, j), j, weight) for j, weight in several]
        for (before, link), j, weight in added:  # after the search, so that a unit is in one pair only
            links.append(_Link(i, j, link))
            _raise_best(best, j, (before + weight, len(links) - 1))
    _, at = _best_before(best, n_right)
    pairs = []
    while at >= 0:
        pairs.append((links[at].left, links[at].right))
        at = links[at].before
    return pairs[::-1]


def _best_before(tree: Sequence[tuple[float, int]], j: int) -> tuple[float, int]:
    best = (0.0, -1)
    while j > 0:
        best = max(best, tree[j])
        j -= j & -j
    return best


def _raise_best(tree: list[tuple[float, int]], j: int, value: tuple[float, int]) -> None:
    j += 1
    while j < len(tree):
        tree[j] = max(tree[j], value)
        j += j & -j
