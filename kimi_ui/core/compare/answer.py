"""An answer for comparison: Markdown parsed into pieces, which the page lays out in rows, and units, which are matched.

A piece is a block (paragraph, heading, table, code block, formula …) or an item of a list. A unit is a sentence, a list
item of one sentence, a heading, a table row, a line of code or a display formula, in the words that the page shows: how
a list is marked or a word is emphasised makes no difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

from markdown_it.token import Token

from ..markdown.marks import is_atomic, leaves, text_of
from ..markdown.parse import parse
from .units import bounded, sentences
from .words import SPACELESS, TOKEN, folded, is_word

# The number of a section, step or item at the start of its text: a new number is not a difference.
_NUMBER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})(?:[.)]\s+|、\s*)(?=\S)")
_SPACELESS_RUN = re.compile(rf"[{SPACELESS}]+")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")

LINE, ROW, FORMULA = "line", "row", "formula"  # kinds that match only their own


class Span(NamedTuple):
    """A stretch of a token's text: ``token`` is an index into the answer's tokens."""

    token: int
    start: int
    end: int


class Table(NamedTuple):
    """Where a row belongs: ``number`` counts the answer's tables; ``header``: it names the columns."""

    number: int
    header: bool


@dataclass(frozen=True)
class Unit:
    """Units of one ``group`` with equal ``key`` are the same. ``cells``: the keys of a row's cells."""

    kind: str  # sentence | item | heading | row | line | formula
    text: str
    key: str
    piece: int
    spans: tuple[Span, ...]
    cells: tuple[str, ...] = ()
    table: Table | None = None

    @property
    def group(self) -> str:
        return self.kind if self.kind in (LINE, ROW, FORMULA) else "prose"

    @cached_property
    def words(self) -> frozenset[str]:
        """What likeness is measured by: words, pairs of neighbours in scripts without spaces, operators in code."""
        return frozenset(_words(self.key, self.kind in (LINE, FORMULA)))

    @cached_property
    def unnumbered(self) -> frozenset[str]:
        """``words`` with all numbers alike."""
        return frozenset(_words(_DIGITS.sub("0", self.key), self.kind in (LINE, FORMULA)))

    @cached_property
    def size(self) -> int:
        """Letters and digits; a character of a script without spaces counts as two."""
        n_spaceless = sum(map(len, _SPACELESS_RUN.findall(self.key)))
        return sum(map(str.isalnum, self.key)) + n_spaceless


def _words(key: str, code: bool) -> Iterator[str]:
    tokens = TOKEN.findall(key)
    if not any(map(is_word, tokens)):
        return
    for token in tokens:
        if is_word(token) or (code and not token.isspace()):
            yield token.casefold()
    for run in _SPACELESS_RUN.findall(key):
        yield from (run[i : i + 2] for i in range(len(run) - 1))


class Piece(NamedTuple):
    """Tokens from ``start`` to before ``end``; ``opening`` and ``closing`` are those of the list of an item."""

    start: int
    end: int
    opening: Token | None = None
    closing: Token | None = None


@dataclass
class ParsedAnswer:
    """``env`` is what rendering needs (``core.markdown.parse``)."""

    tokens: list[Token]
    env: dict[str, Any]
    pieces: list[Piece] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> ParsedAnswer:
        """Parse a text that ``clean_text`` has cleaned."""
        env: dict[str, Any] = {}
        answer = cls(parse(text, env), env)
        answer.pieces = list(_pieces(answer.tokens))
        for number, piece in enumerate(answer.pieces):
            answer.units += _units(answer.tokens, piece, number)
        return answer


def _pieces(tokens: Sequence[Token]) -> Iterator[Piece]:
    levels = list(accumulate(token.nesting for token in tokens))
    start = 0
    for end, level in enumerate(levels, 1):
        if level:
            continue
        if tokens[start].type in ("bullet_list_open", "ordered_list_open"):
            yield from _items(tokens, levels, start, end)
        else:
            yield Piece(start, end)
        start = end


def _items(tokens: Sequence[Token], levels: Sequence[int], start: int, end: int) -> Iterator[Piece]:
    """The items of the list between two indices, each as a list of its own that keeps its number."""
    opening, closing = tokens[start], tokens[end - 1]
    first = int(opening.attrs.get("start", 1))
    at = start + 1
    for place in range(at, end - 1):
        if levels[place] == 1:
            numbered = {"start": first} if opening.tag == "ol" else {}
            yield Piece(at, place + 1, opening.copy(attrs={**opening.attrs, **numbered}), closing)
            at, first = place + 1, first + 1


def _units(tokens: Sequence[Token], piece: Piece, number: int) -> Iterator[Unit]:
    inside = ""  # the type of the element that a run of text belongs to
    table, header = -1, False
    cells: list[Span] = []
    texts: list[str] = []
    for at in range(piece.start, piece.end):
        token = tokens[at]
        if token.type == "inline":
            if inside == "cell":
                cells.append(Span(at, 0, len(text_of(token))))
                texts.append(text_of(token))
            else:
                yield from _prose(token, at, number, inside)
                inside = "" if inside == "item" else inside
        elif token.type == "table_open":
            table = at
        elif token.type in ("th_open", "td_open"):
            inside = "cell"
        elif token.type == "tr_open":
            cells, texts, header = [], [], tokens[at - 1].type == "thead_open"
        elif token.type == "tr_close":
            keys = tuple(map(folded, texts))
            yield Unit(ROW, " ".join(texts), "\t".join(keys), number, tuple(cells), keys, Table(table, header))
        elif token.type == "heading_open":
            inside = "heading"
        elif token.type == "list_item_open":
            inside = "item"
        elif token.type in ("heading_close", "list_item_close", "table_close"):
            inside = ""
        elif token.type in ("fence", "code_block"):
            yield from _lines(token, at, number)
        elif token.type == "math_block":
            key = " ".join(token.content.split())
            yield Unit(FORMULA, token.content, key, number, (Span(at, 0, len(token.content)),))


def _prose(token: Token, at: int, number: int, inside: str) -> Iterator[Unit]:
    """The sentences of a run of text. Code and formulas in it end no sentence."""
    text = text_of(token)
    masked = "".join("x" * len(leaf) if is_atomic(child) else leaf for child, leaf in leaves(token))
    whole = [text] if inside == "heading" else [part for one in sentences(masked) for part in bounded(one)]
    start = 0
    for part in whole:
        end = start + len(part)
        shown = text[start:end].strip()
        if shown:
            first = text.index(shown[0], start)
            key = folded(shown if start else _NUMBER.sub("", shown, count=1) or shown)
            kind = inside if inside == "heading" or (inside and len(whole) == 1) else "sentence"
            yield Unit(kind, shown, key or shown, number, (Span(at, first, first + len(shown)),))
        start = end


def _lines(token: Token, at: int, number: int) -> Iterator[Unit]:
    """The lines of code that are not blank. Indentation matters, white space at their ends does not."""
    start = 0
    for line in token.content.split("\n"):
        if key := line.rstrip():
            yield Unit(LINE, key, key, number, (Span(at, start, start + len(key)),))
        start += len(line) + 1
