"""Words of two texts: how many there are, which are the same, and where two versions of a text differ."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from .lcs import common_pairs

# A word, a single character of scripts written without spaces, white space, or one other character.
SPACELESS = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
TOKEN = re.compile(rf"[{SPACELESS}]|[^\W{SPACELESS}]+|\s+|[^\w\s]")
_CJK = rf"{SPACELESS}\u3000-\u303f"
_PIECE = re.compile(rf"\d+(?:[.,]\d+)*|{TOKEN.pattern}")  # a number is one piece, so it changes as a whole

_CHANCE = 3  # letters: less than this between two changes is taken to be part of them

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2039\u203a\u2032\u00b4", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff"),  # invisible: soft hyphens, joiners
        "\u2026": "...",
        "\u00d7": "x",
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width forms
    }
)
_BESIDE_CJK = re.compile(rf"(?<=[{_CJK}])\s+|\s+(?=[{_CJK}])")


class Range(NamedTuple):
    """Part of a text, in characters."""

    start: int
    end: int


class Changes(NamedTuple):
    """Where two texts differ, and how many of their words are the same, in the same order."""

    left: list[Range]
    right: list[Range]
    n_common: int


def count_words(text: str) -> int:
    """Number of words; in scripts written without spaces every character counts as one."""
    return sum(map(is_word, TOKEN.findall(text)))


def is_word(token: str) -> bool:
    return token[0].isalnum() or token[0] == "_"


def folded(text: str) -> str:
    """The text without differences that are typographic only: quotation marks, dashes, ellipses, full-width forms,
    white space (beside CJK characters, whether there is any), and how accents are composed."""
    if text.isascii():
        return " ".join(text.split())
    plain = " ".join(unicodedata.normalize("NFC", text).translate(_SIGNS).split())
    return _BESIDE_CJK.sub("", plain)


def changes(left: str, right: str, *, code: bool) -> Changes:
    """Where two versions of a text differ, word by word. White space counts in code only."""
    a, b = _pieces(left, code), _pieces(right, code)
    pairs = common_pairs([piece.key for piece in a], [piece.key for piece in b])
    kept = _without_chance(a, b, pairs)
    n_common = sum(is_word(a[i].key) for i, _ in pairs)
    return Changes(_between(a, [i for i, _ in kept]), _between(b, [j for _, j in kept]), n_common)


class _Piece(NamedTuple):
    start: int
    end: int
    key: str


def _pieces(text: str, code: bool) -> list[_Piece]:
    found = [(match.start(), match.end(), match[0]) for match in _PIECE.finditer(text)]
    if code:
        return [_Piece(*one) for one in found]
    return [_Piece(start, end, folded(token) or token) for start, end, token in found if not token.isspace()]


def _without_chance(
    a: Sequence[_Piece], b: Sequence[_Piece], pairs: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The pairs without short stretches between two changes, such as a comma or "of", which agree by chance."""
    kept: list[tuple[int, int]] = []
    run: list[tuple[int, int]] = []
    for i, j in [*pairs, (len(a), len(b))]:
        if run and (i, j) != (run[-1][0] + 1, run[-1][1] + 1):
            kept += [] if _is_chance(a, run) else run
            run = []
        run.append((i, j))
    if run and run[-1] == (len(a), len(b)):  # the stretch at the end
        run.pop()
    return kept + run


def _is_chance(a: Sequence[_Piece], run: Sequence[tuple[int, int]]) -> bool:
    """Whether a stretch in the middle of both texts is too short to mean anything."""
    if run[0] == (0, 0):
        return False
    letters = sum(map(str.isalnum, "".join(a[i].key for i, _ in run)))
    return letters < _CHANCE and not any(a[i].key[0].isdigit() for i, _ in run)


def _between(pieces: Sequence[_Piece], kept: Sequence[int]) -> list[Range]:
    """The ranges of the pieces that are not kept."""
    ranges: list[Range] = []
    before = -1
    for at in [*kept, len(pieces)]:
        if at > before + 1:
            ranges.append(Range(pieces[before + 1].start, pieces[at - 1].end))
        before = at
    return ranges
