"""The diff of two answers: by sentence in prose, by line in code, by word inside a changed pair.

    diff = compare(left, right)
    diff.segments       # in order; joining all left (right) texts gives the left (right) answer
    diff.in_common      # share of words found in both, in the same order, 0..1

Two models rarely write the same sentence. So equal units are aligned first (longest common subsequence), and the units
between them are paired by shared words. The time is bounded: 0.2 s for two texts of 20,000 words.
Texts are raw Markdown and must be shown as text, never as HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .lcs import common_pairs
from .units import Unit, units

PAIR_LIKENESS = 0.4  # two sentences with at least this Dice coefficient of words are versions of one another
WORD_CANDIDATES = 40  # a word in more units of a gap than this does not help to pair them
UNIT_CANDIDATES = 6
LONE_DRIFT = 2  # units

# A word, a single character of scripts written without spaces, white space, or one other character.
SPACELESS = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
TOKEN = re.compile(rf"[{SPACELESS}]|[^\W{SPACELESS}]+|\s+|[^\w\s]")


class Word(NamedTuple):
    """A stretch of text in a changed pair. ``kind``: same (in both), left or right."""

    kind: str
    text: str


@dataclass(frozen=True)
class Segment:
    """Neighbouring units of one kind.

    ``kind``: same (equal except for white space) | changed (versions of one another; ``words`` holds their word diff) |
    left | right (only there). ``left`` and ``right`` are the texts of each side, empty if there is none.
    """

    kind: str
    left: str
    right: str
    code: bool
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Diff:
    """``n_left_words``/``n_right_words`` count words; ``in_common`` is None if neither text has a word.

    ``aligned`` is False if the texts were too long to compare; each side is then one segment.
    """

    segments: tuple[Segment, ...]
    n_left_words: int
    n_right_words: int
    in_common: float | None
    identical: bool
    aligned: bool = True


def compare(left: str, right: str) -> Diff:
    """Compare two Markdown texts."""
    a, b = units(left), units(right)
    pairs = common_pairs([(unit.code, unit.key) for unit in a], [(unit.code, unit.key) for unit in b])
    if pairs is not None:
        segments = tuple(_segments(_rows(a, b, _solid(a, pairs))))
    else:
        segments = Segment("left", left, "", False), Segment("right", "", right, False)
    n_left, n_right = count_words(left), count_words(right)
    common = sum(_common_words(segment) for segment in segments)
    return Diff(
        segments,
        n_left,
        n_right,
        in_common=2 * common / (n_left + n_right) if n_left + n_right else None,
        identical=left.strip() == right.strip(),
        aligned=pairs is not None,
    )


def changed_words(left: str, right: str) -> tuple[Word, ...]:
    """The word diff of two texts; same + left joined is ``left``, same + right joined is ``right``."""
    a, b = TOKEN.findall(left), TOKEN.findall(right)
    pairs = common_pairs(a, b) or []
    marks: list[Word] = []
    i = j = 0
    for next_i, next_j in [*pairs, (len(a), len(b))]:
        marks += [Word("left", token) for token in a[i:next_i]]
        marks += [Word("right", token) for token in b[j:next_j]]
        if next_i < len(a):
            marks.append(Word("same", a[next_i]))
        i, j = next_i + 1, next_j + 1
    return _quiet(_joined(marks))


def count_words(text: str) -> int:
    """Number of words; in scripts written without spaces every character counts as one."""
    return sum(_is_word(token) for token in TOKEN.findall(text))


class _Row(NamedTuple):
    kind: str
    left: Unit | None
    right: Unit | None


def _solid(a: Sequence[Unit], pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Drop chance matches: a lone brace, rule or empty line at very different positions on the two sides."""
    known = set(pairs)
    solid: list[tuple[int, int]] = []
    for i, j in pairs:
        before_i, before_j = solid[-1] if solid else (-1, -1)
        has_words = sum(map(str.isalnum, a[i].key)) > 1
        in_company = (i - 1, j - 1) in known or (i + 1, j + 1) in known
        if has_words or in_company or abs((i - before_i) - (j - before_j)) <= LONE_DRIFT:
            solid.append((i, j))
    return solid


def _rows(a: Sequence[Unit], b: Sequence[Unit], pairs: list[tuple[int, int]]) -> Iterator[_Row]:
    i = j = 0
    for next_i, next_j in [*pairs, (len(a), len(b))]:
        yield from _gap(a[i:next_i], b[j:next_j])
        if next_i < len(a):
            yield _Row("same", a[next_i], b[next_j])
        i, j = next_i + 1, next_j + 1


def _gap(a: Sequence[Unit], b: Sequence[Unit]) -> Iterator[_Row]:
    """Rows for the units between two equal ones: versions become pairs, in order; others are rows of one side."""
    i = j = 0
    for next_i, next_j in [*_versions(a, b), (len(a), len(b))]:
        yield from (_Row("left", unit, None) for unit in a[i:next_i])
        yield from (_Row("right", None, unit) for unit in b[j:next_j])
        if next_i < len(a):
            left, right = a[next_i], b[next_j]
            yield _Row("same" if left.key == right.key else "changed", left, right)
        i, j = next_i + 1, next_j + 1


def _versions(a: Sequence[Unit], b: Sequence[Unit]) -> list[tuple[int, int]]:
    """Index pairs of similar units, ascending on both sides, that maximise the sum of similarity × length.

    Candidates come from an index of words that occur in few units, so the work is linear in the text. A Fenwick tree
    over the right side finds the best chain of candidates.
    """
    if not a or not b:
        return []
    left, right = [_bag(unit) for unit in a], [_bag(unit) for unit in b]
    by_word: dict[str, list[int]] = {}
    for j, bag in enumerate(right):
        for word in bag:
            by_word.setdefault(word, []).append(j)

    best: list[tuple[float, int]] = [(0.0, -1)] * (len(b) + 1)  # Fenwick tree: the best chain that ends before column j
    chain: list[tuple[int, int, int]] = []  # (i, j, previous link)
    for i, bag in enumerate(left):
        found: list[tuple[float, int, int]] = []
        for j, likeness in _candidates(a[i], bag, b, right, by_word):
            before, link = _best_before(best, j)
            found.append((before + likeness * (len(bag) + len(right[j])), j, link))
        for weight, j, link in found:  # after the search, so that each unit is in at most one pair
            chain.append((i, j, link))
            _raise_best(best, j, (weight, len(chain) - 1))
    _, link = _best_before(best, len(b))
    pairs = []
    while link >= 0:
        i, j, link = chain[link]
        pairs.append((i, j))
    return pairs[::-1]


def _candidates(
    unit: Unit, bag: set[str], others: Sequence[Unit], bags: Sequence[set[str]], by_word: dict[str, list[int]]
) -> list[tuple[int, float]]:
    """The units most similar to this one, as ``(index, similarity)``."""
    shared: dict[int, int] = {}
    for word in bag:
        places = by_word.get(word, ())
        if len(places) <= WORD_CANDIDATES:
            for j in places:
                shared[j] = shared.get(j, 0) + 1
    likely = sorted(shared, key=lambda j: (-shared[j], j))[: 2 * UNIT_CANDIDATES]
    scored = [(j, 2 * len(bag & bags[j]) / (len(bag) + len(bags[j]))) for j in likely if others[j].code == unit.code]
    good = [(j, likeness) for j, likeness in scored if likeness >= PAIR_LIKENESS]
    return sorted(good, key=lambda one: -one[1])[:UNIT_CANDIDATES]


def _best_before(tree: list[tuple[float, int]], j: int) -> tuple[float, int]:
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


def _bag(unit: Unit) -> set[str]:
    """The unit's words, in code also its operators; empty for a unit without words, like a lone brace."""
    tokens = TOKEN.findall(unit.key)
    if not any(map(_is_word, tokens)):
        return set()
    return {token.casefold() for token in tokens if _is_word(token) or (unit.code and not token.isspace())}


def _is_word(token: str) -> bool:
    return token[0].isalnum() or token[0] == "_"


def _segments(rows: Iterable[_Row]) -> Iterator[Segment]:
    """Join neighbouring rows of one kind into segments; prose and code stay apart, and so does each changed pair."""
    run: list[_Row] = []
    for row in rows:
        if run and (row.kind == "changed" or (row.kind, _is_code(row)) != (run[-1].kind, _is_code(run[-1]))):
            yield _segment(run)
            run = []
        run.append(row)
    if run:
        yield _segment(run)


def _segment(rows: Sequence[_Row]) -> Segment:
    kind = rows[0].kind
    left = "".join(row.left.text for row in rows if row.left)
    right = "".join(row.right.text for row in rows if row.right)
    return Segment(kind, left, right, _is_code(rows[0]), changed_words(left, right) if kind == "changed" else ())


def _is_code(row: _Row) -> bool:
    unit = row.left or row.right
    return unit is not None and unit.code


def _joined(marks: Sequence[Word]) -> list[Word]:
    """Join neighbours of one kind; within a change, left comes before right."""
    joined: list[Word] = []
    change: dict[str, list[str]] = {"left": [], "right": []}

    def flush() -> None:
        for kind, texts in change.items():
            if texts:
                joined.append(Word(kind, "".join(texts)))
                texts.clear()

    for kind, text in marks:
        if kind != "same":
            change[kind].append(text)
            continue
        flush()
        if joined and joined[-1].kind == "same":
            joined[-1] = Word("same", joined[-1].text + text)
        else:
            joined.append(Word("same", text))
    flush()
    return joined


def _quiet(marks: Sequence[Word]) -> tuple[Word, ...]:
    """Make a lone space or comma between two changes part of them, so that marks do not alternate word by word."""
    spread: list[Word] = []
    for at, mark in enumerate(marks):
        between = 0 < at < len(marks) - 1
        if mark.kind == "same" and between and not any(map(str.isalnum, mark.text)):
            spread += [Word("left", mark.text), Word("right", mark.text)]
        else:
            spread.append(mark)
    return tuple(_joined(spread))


def _common_words(segment: Segment) -> int:
    if segment.kind == "same":
        return count_words(segment.left)
    return sum(count_words(word.text) for word in segment.words if word.kind == "same")
