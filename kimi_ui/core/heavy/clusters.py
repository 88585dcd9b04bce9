"""Answers that state the same result, counted: clusters, agreement, effective answers, and similarity of open text.

Agreement is not correctness: answers may agree on a mistake. The page says "agreement", never "confidence".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from string import ascii_uppercase

from ..compare.words import TOKEN
from .answers import EXPRESSION, NUMBER_TYPE, Result

TOLERANCE = Fraction(1, 1_000_000)  # relative: 0.333333 and 1/3 are the same number
ALIKE = 0.6  # open texts with at least this similarity (pair by pair) are one cluster
SHINGLE = 3  # words
MAX_WORDS = 20_000

Equal = Callable[[str, str], bool]
"""Whether two expression keys were found equal by a computer algebra (see ``undecided``)."""


@dataclass(frozen=True)
class Cluster:
    """Answers with the same result.

    ``members`` are 1-based trajectory numbers, ascending. ``letter`` is A for the largest cluster, then B, C …;
    ``label`` is the result as its first member writes it.
    """

    letter: str
    label: str
    type: str
    members: tuple[int, ...]


@dataclass(frozen=True)
class Clusters:
    """All usable answers of a heavy run, by result.

    ``clusters``: largest first; of equal sizes, the one with the lowest member first, which decides nothing (see
    ``plurality``). ``unread``: usable answers whose result could not be read while others state one; they are in no
    cluster. ``open_text``: no answer states a result, so the clusters are of similar texts (``ALIKE``) and only
    ``similarity`` is a measurement.
    """

    clusters: tuple[Cluster, ...] = ()
    unread: tuple[int, ...] = ()
    open_text: bool = False
    similarity: float | None = None
    n_usable: int = 0
    by_member: Mapping[int, Cluster] = field(default_factory=dict, compare=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the clusters, in their order."""
        return tuple(len(cluster.members) for cluster in self.clusters)

    @property
    def n_stated(self) -> int:
        """How many answers state a result; 0 for open text."""
        return 0 if self.open_text else sum(self.sizes)

    @property
    def agreement(self) -> float | None:
        """Share of the usable answers that are in the largest cluster, 0..1; None without answers."""
        return self.sizes[0] / self.n_usable if self.sizes and self.n_usable else None

    @property
    def effective(self) -> float | None:
        """Effective answers: 1/Σp², p the share of each cluster. 1.0: all the same; n: all different, equally often.

        The inverse Simpson index (Hill number of order 2). None without clusters.
        """
        n = sum(self.sizes)
        return n * n / sum(size * size for size in self.sizes) if n else None

    @property
    def plurality(self) -> Cluster | None:
        """The one largest cluster; None if two are the largest, or for open text."""
        if self.open_text or not self.clusters or (len(self.sizes) > 1 and self.sizes[0] == self.sizes[1]):
            return None
        return self.clusters[0]

    @property
    def unanimous(self) -> bool:
        """All usable answers (two or more) state the same result, or are the same text word for word."""
        return self.n_usable > 1 and self.sizes == (self.n_usable,) and (not self.open_text or self.similarity == 1.0)


def cluster(results: Mapping[int, Result | None], equal: Equal | None = None) -> Clusters:
    """The clusters of the usable answers: ``results`` by 1-based trajectory number, None for an empty answer.

    Results of different types are never in one cluster. ``equal`` adds what a computer algebra found.
    """
    read = {number: result for number, result in sorted(results.items()) if result is not None}
    stated = {number: result for number, result in read.items() if result.stated}
    if stated:
        groups = [group for kind in _types(stated) for group in _same(kind, equal)]
        unread = tuple(sorted(set(results) - set(stated)))
        similarity = None
    else:
        groups, similarity = _similar(read)
        unread = tuple(sorted(set(results) - set(read)))
    groups.sort(key=lambda members: (-len(members), members))
    clusters = tuple(
        Cluster(letter_of(place), read[members[0]].label, read[members[0]].type, tuple(members))
        for place, members in enumerate(groups)
    )
    by_member = {member: one for one in clusters for member in one.members}
    return Clusters(clusters, unread, bool(read) and not stated, similarity, len(results), by_member)


def letter_of(place: int) -> str:
    """A to Z by place, then A1 …: a colour is never the only sign of a cluster."""
    return ascii_uppercase[place % 26] + (str(place // 26) if place >= 26 else "")


def undecided(results: Mapping[int, Result | None]) -> list[tuple[str, str, str, str]]:
    """Pairs of expressions that the cheap rules found different, for a computer algebra: the two keys, the two texts.

    Only expressions are in doubt, and only their labels that are not cut off can be read.
    """
    texts = {r.key: r.label for r in results.values() if r and r.stated and r.type == EXPRESSION and "…" not in r.label}
    return [(a, b, texts[a], texts[b]) for a, b in combinations(sorted(texts), 2)]


def similarity(texts: Sequence[str]) -> float | None:
    """Mean pairwise similarity of texts: the Jaccard index of their sets of ``SHINGLE`` words, 0..1; None below two.

    Compare it only among answers of about the same length: longer ones share more by chance.
    """
    sets = [shingles(text) for text in texts]
    pairs = [_jaccard(a, b) for a, b in combinations(sets, 2)]
    return sum(pairs) / len(pairs) if pairs else None


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """The text's runs of ``SHINGLE`` words; the words themselves if it has fewer."""
    words = [word.casefold() for word in TOKEN.findall(text) if re.match(r"\w", word)][:MAX_WORDS]
    width = min(SHINGLE, len(words)) or 1
    return frozenset(tuple(words[at : at + width]) for at in range(len(words) - width + 1))


def _types(stated: Mapping[int, Result]) -> Iterator[dict[int, Result]]:
    for kind in {result.type for result in stated.values()}:
        yield {number: result for number, result in stated.items() if result.type == kind}


def _same(results: Mapping[int, Result], equal: Equal | None) -> list[list[int]]:
    """Groups of one type by equal results."""
    kind = next(iter(results.values())).type
    if kind == NUMBER_TYPE:
        return [group for near in _near(results) for group in _by_unit(near, results)]
    groups: list[list[int]] = []
    for number, result in results.items():
        for group in groups:
            if all(_equal(result, results[member], equal) for member in group):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _equal(one: Result, other: Result, equal: Equal | None) -> bool:
    if one.key == other.key:
        return True
    return equal is not None and one.type == EXPRESSION and (equal(one.key, other.key) or equal(other.key, one.key))


def _near(results: Mapping[int, Result]) -> Iterator[list[int]]:
    """Groups of numbers whose smallest and largest are within the tolerance."""
    group: list[int] = []
    for number in sorted(results, key=lambda n: (results[n].number or Fraction(0), n)):
        value = results[number].number or Fraction(0)
        if group:
            least = results[group[0]].number or Fraction(0)
            if value - least > TOLERANCE * max(abs(value), abs(least)):
                yield sorted(group)
                group = []
        group.append(number)
    if group:
        yield sorted(group)


def _by_unit(members: Sequence[int], results: Mapping[int, Result]) -> Iterator[list[int]]:
    """Equal numbers apart by unit; those without a unit are with the commonest one."""
    by_unit: dict[str, list[int]] = {}
    for member in members:
        by_unit.setdefault(results[member].unit, []).append(member)
    bare = by_unit.pop("", [])
    if not by_unit:
        yield bare
        return
    commonest = max(by_unit, key=lambda unit: (len(by_unit[unit]), unit))
    for unit, group in by_unit.items():
        yield sorted(group + bare) if unit == commonest else group


def _similar(read: Mapping[int, Result]) -> tuple[list[list[int]], float | None]:
    """Groups of open texts by complete linkage: every pair in a group is alike, so no chain of small steps joins two
    different texts. And the mean pairwise similarity."""
    sets = {number: shingles(result.key) for number, result in read.items()}
    likeness = {
        frozenset(pair): 1.0 if read[pair[0]].key == read[pair[1]].key else _jaccard(sets[pair[0]], sets[pair[1]])
        for pair in combinations(read, 2)
    }
    groups = [[number] for number in read]
    while True:
        joins = [(min(likeness[frozenset((i, j))] for i in a for j in b), a, b) for a, b in combinations(groups, 2)]
        best = max(joins, key=lambda join: (join[0], [-m for m in join[1]]), default=None)
        if best is None or best[0] < ALIKE:
            break
        groups.remove(best[2])
        best[1].extend(best[2])
        best[1].sort()
    mean = sum(likeness.values()) / len(likeness) if likeness else None
    return groups, mean


def _jaccard(a: Collection[tuple[str, ...]], b: Collection[tuple[str, ...]]) -> float:
    a, b = frozenset(a), frozenset(b)
    return len(a & b) / len(a | b) if a | b else 1.0
