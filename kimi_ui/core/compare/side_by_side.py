"""Two rendered answers side by side, in rows, with their differences marked.

    found = side_by_side(left, right, "Kimi K2", "Qwen3")
    found.rows                  # HTML of both sides, row by row; together they are both answers, nothing is left out
    found.in_common             # share of words in matching units, 0..1

``align`` decides what matches. What is in the same place in both answers shares a row. How lists are numbered, what is
emphasised and typographic signs make no difference. Where less than ``UNLIKE`` of the words match, marking the
differences would mark everything: then the answers are beside one another as they are, and what both contain is marked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from ..markdown.marks import Mark, marked, text_of
from ..markdown.parse import render_tokens
from .align import Match, align
from .answer import FORMULA, LINE, ROW, ParsedAnswer, Span, Unit
from .columns import Columns, columns
from .words import Changes, changes, count_words

UNLIKE = 0.2
COLUMN = "column"

_SIDES = ("left", "right")
_TAGS = ("del", "ins")
_CODE = ("fence", "code_block")


class Row(NamedTuple):
    """HTML of what is side by side. ``kind``: same | changed (it matches in parts) | apart (nothing of it matches) |
    left | right (there is nothing beside it)."""

    kind: str
    left: str
    right: str


@dataclass
class SideBySide:
    """``counts``: how many units by ``(what, kind)``; what: changed | moved | left | right, of unlike answers both.
    ``n_marks``: marks are numbered from 1 to this (class ``md-dN``). ``in_common`` is None if neither has a word."""

    rows: list[Row] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    n_marks: int = 0
    in_common: float | None = None

    @property
    def unlike(self) -> bool:
        return self.in_common is not None and self.in_common < UNLIKE


def side_by_side(left: str, right: str, left_name: str, right_name: str) -> SideBySide:
    """Compare two answers that ``clean_text`` has cleaned."""
    return _Comparison(ParsedAnswer.of(left), ParsedAnswer.of(right), (left_name, right_name)).result()


class _Comparison:
    def __init__(self, left: ParsedAnswer, right: ParsedAnswer, names: tuple[str, str]) -> None:
        self.sides = (left, right)
        self.names = names
        self.matches = align(left.units, right.units)
        self.in_place = [match for match in self.matches if not match.moved]
        moved = [match for match in self.matches if match.moved]
        self.moved = ({match.left: match for match in moved}, {match.right: match for match in moved})
        self.columns = dict(self._tables())
        self.changes = {match: self._changes(match) for match in self.matches if not match.same}
        self.numbers: dict[Match, int] = {}  # of moved units, which are marked on each side at its place
        self.marks: tuple[dict[int, list[Mark]], dict[int, list[Mark]]] = ({}, {})  # by the index of their token
        self.found = SideBySide()

    def result(self) -> SideBySide:
        found, (left, right) = self.found, self.sides
        n_words = sum(count_words(unit.text) for side in self.sides for unit in side.units)
        if n_words:
            found.in_common = 2 * sum(map(self._n_common, self.matches)) / n_words
        if found.unlike:
            self._mark_what_both_have()
            found.rows = [self._row("apart", range(len(left.pieces)), range(len(right.pieces)))]
        else:
            found.rows = [self._marked_row(*pieces) for pieces in self._grouped()]
        return found

    # -- what differs in a match

    def _units(self, match: Match) -> tuple[Unit, Unit]:
        return self.sides[0].units[match.left], self.sides[1].units[match.right]

    def _n_common(self, match: Match) -> int:
        if match.same:
            return count_words(self._units(match)[0].text)
        return sum(one.n_common for one in self.changes[match])

    def _changes(self, match: Match) -> list[Changes]:
        """Where the two units differ: of rows in each column that both have, in order."""
        a, b = self._units(match)
        if a.kind != ROW:
            return [changes(a.text, b.text, code=a.kind in (LINE, FORMULA))]
        lefts, rights = (
            [text_of(self.sides[side].tokens[span.token]) for span in self._cells(match, side)] for side in (0, 1)
        )
        return [changes(left, right, code=False) for left, right in zip(lefts, rights, strict=True)]

    def _tables(self) -> Iterator[tuple[tuple[int, int], Columns]]:
        """The columns of each two tables that have rows in common, by the tables' numbers."""
        lefts, rights = (
            {unit.table.number: unit.cells for unit in side.units if unit.table and unit.table.header}
            for side in self.sides
        )
        for match in self.matches:
            a, b = (unit.table for unit in self._units(match))
            if a and b and a.number in lefts and b.number in rights:
                yield (a.number, b.number), columns(lefts[a.number], rights[b.number])

    def _columns_of(self, a: Unit, b: Unit) -> Columns:
        found = self.columns.get((a.table.number, b.table.number)) if a.table and b.table else None
        return (found or columns((), ())).within(len(a.spans), len(b.spans))

    # -- rows

    def _grouped(self) -> Iterator[tuple[range, range]]:
        """The pieces of each side that share a row: those linked by units in place, and those between them."""
        left, right = self.sides
        links: list[tuple[int, int, int, int]] = []  # first and last piece of each side
        for match in self.in_place:
            a, b = self._units(match)
            if links and (a.piece <= links[-1][1] or b.piece <= links[-1][3]):
                first, last, other_first, other_last = links.pop()
                links.append((first, max(last, a.piece), other_first, max(other_last, b.piece)))
            else:
                links.append((a.piece, a.piece, b.piece, b.piece))
        x = y = 0
        for first, last, other_first, other_last in links:
            if first > x or other_first > y:
                yield range(x, first), range(y, other_first)
            x, y = last + 1, other_last + 1
            yield range(first, x), range(other_first, y)
        if x < len(left.pieces) or y < len(right.pieces):
            yield range(x, len(left.pieces)), range(y, len(right.pieces))

    def _marked_row(self, left: range, right: range) -> Row:
        """The row of these pieces, after marking what differs in them."""
        linked = self._mark_differences(left, right)
        if not any(self._is_marked(side, pieces) for side, pieces in enumerate((left, right))):
            kind = "same"
        elif not left or not right:
            kind = "left" if left else "right"
        else:
            kind = "changed" if linked else "apart"
        return self._row(kind, left, right)

    def _row(self, kind: str, left: range, right: range) -> Row:
        blank = self._blank_lines(left, right) if kind == "changed" else ({}, {})
        return Row(kind, self._html(0, left, blank[0]), self._html(1, right, blank[1]))

    def _html(self, side: int, pieces: range, blank: dict[int, int]) -> str:
        answer, marks = self.sides[side], self.marks[side]
        html = []
        for number in pieces:
            piece = answer.pieces[number]
            tokens = []
            for at in range(piece.start, piece.end):
                token = answer.tokens[at]
                is_marked = at in marks or (blank and token.type in _CODE)
                tokens += marked(token, marks.get(at, []), blank) if is_marked else [token]
            if piece.opening and piece.closing:
                tokens = [piece.opening, *tokens, piece.closing]
            html.append(render_tokens(tokens, answer.env))
        return "".join(html)

    def _blank_lines(self, left: range, right: range) -> tuple[dict[int, int], dict[int, int]]:
        """Blank lines that bring equal lines of two code blocks beside one another: how many before which line."""
        blank: tuple[dict[int, int], dict[int, int]] = ({}, {})
        if len(left) != 1 or len(right) != 1:
            return blank
        a, b = (
            side.tokens[side.pieces[pieces[0]].start] for side, pieces in zip(self.sides, (left, right), strict=True)
        )
        if a.type not in _CODE or b.type not in _CODE:
            return blank
        starts = _line_starts(a.content), _line_starts(b.content)
        shift = 0  # blank lines so far on the left, minus those on the right
        for match in self.in_place:
            one, other = self._units(match)
            if one.piece != left[0] or other.piece != right[0]:
                continue
            x, y = bisect_left(starts[0], one.spans[0].start), bisect_left(starts[1], other.spans[0].start)
            missing = y - x - shift
            if missing > 0:
                blank[0][x] = missing
            elif missing < 0:
                blank[1][y] = -missing
            shift += missing
        return blank

    # -- marks

    def _is_marked(self, side: int, pieces: range) -> bool:
        of = self.sides[side].pieces
        return any(at in self.marks[side] for number in pieces for at in range(of[number].start, of[number].end))

    def _next_number(self) -> int:
        self.found.n_marks += 1
        return self.found.n_marks

    def _mark_what_both_have(self) -> None:
        for match in self.matches:
            number = self._next_number()
            for side, unit in enumerate(self._units(match)):
                self._mark(side, unit, "mark", f"md-both md-d{number}", f"also in {self.names[1 - side]}: ")
            self.found.counts["both", self._units(match)[0].kind] += 1

    def _mark_differences(self, left: range, right: range) -> bool:
        """Mark what differs in these pieces; returns whether any match is in place.

        Units of one answer only that no match separates have one number.
        """
        i, end_i = self._unit_range(0, left)
        j, end_j = self._unit_range(1, right)
        start = bisect_left(self.in_place, (i,))
        linked = False
        for match in self.in_place[start : bisect_left(self.in_place, (end_i,))]:
            self._mark_lone(range(i, match.left), range(j, match.right))
            self._mark_match(match)
            i, j, linked = match.left + 1, match.right + 1, True
        self._mark_lone(range(i, end_i), range(j, end_j))
        return linked

    def _unit_range(self, side: int, pieces: range) -> tuple[int, int]:
        def first(piece: int) -> int:
            return bisect_left(self.sides[side].units, piece, key=lambda unit: unit.piece)

        return first(pieces.start), first(pieces.stop)

    def _mark_lone(self, left: range, right: range) -> None:
        """Mark units between two matches: they are in one answer only, or have moved."""
        number = 0
        for side, places in enumerate((left, right)):
            for place in places:
                unit = self.sides[side].units[place]
                if match := self.moved[side].get(place):
                    self._mark_moved(side, match)
                    continue
                number = number or self._next_number()
                say = f"only in {self.names[side]}: "
                self._mark(side, unit, _TAGS[side], f"md-only md-d{number}", say)
                self.found.counts[_SIDES[side], unit.kind] += 1

    def _mark_moved(self, side: int, match: Match) -> None:
        unit = self._units(match)[side]
        if match not in self.numbers:
            self.numbers[match] = self._next_number()
            self.found.counts["moved", unit.kind] += 1
        say = f"elsewhere in {self.names[1 - side]}: "
        self._mark(side, unit, "span", f"md-moved md-d{self.numbers[match]}", say)
        self._mark_words(side, match)

    def _mark_match(self, match: Match) -> None:
        a, b = self._units(match)
        if a.kind == ROW and not match.same:
            self._mark_columns(a, b)
        changed = [bool(one.left or one.right) for one in self.changes.get(match, ())]
        if not any(changed):
            return
        number = self._next_number()
        self.found.counts["changed", a.kind] += 1
        for side in (0, 1):
            say = "changed: "
            for span, differs in zip(self._cells(match, side), changed, strict=True):
                if differs:
                    self._add(side, span.token, Mark(span.start, span.end, "span", f"md-changed md-d{number}", say))
                    say = ""
            self._mark_words(side, match)

    def _mark_columns(self, a: Unit, b: Unit) -> None:
        """Mark the cells of columns that one table only has. The header says so; it is one difference."""
        found = self._columns_of(a, b)
        for side, (unit, places) in enumerate(((a, found.left), (b, found.right))):
            for place in places:
                token = unit.spans[place].token
                self._add(side, token - 1, Mark(0, 0, "", "md-column"))
                if unit.table and unit.table.header:
                    say = f"column only in {self.names[side]}: "
                    classes = f"md-only md-d{self._next_number()}"
                    self._add(side, token, Mark(0, unit.spans[place].end, _TAGS[side], classes, say))
                    self.found.counts[_SIDES[side], COLUMN] += 1

    def _cells(self, match: Match, side: int) -> list[Span]:
        """The stretches that ``changes`` compares: of a row its cells in the columns of both, otherwise the unit."""
        unit = self._units(match)[side]
        if unit.kind != ROW:
            return list(unit.spans)
        return [unit.spans[pair[side]] for pair in self._columns_of(*self._units(match)).both]

    def _mark_words(self, side: int, match: Match) -> None:
        if self._units(match)[side].kind == FORMULA:
            return  # it is drawn as a whole
        for span, one in zip(self._cells(match, side), self.changes.get(match, ()), strict=False):
            for start, end in (one.left, one.right)[side]:
                self._add(side, span.token, Mark(span.start + start, span.start + end, _TAGS[side], "md-word"))

    def _mark(self, side: int, unit: Unit, tag: str, classes: str, say: str) -> None:
        """Mark a whole unit; of a row each cell."""
        for span in unit.spans:
            self._add(side, span.token, Mark(span.start, span.end, tag, classes, say))
            say = ""

    def _add(self, side: int, token: int, mark: Mark) -> None:
        self.marks[side].setdefault(token, []).append(mark)


def _line_starts(code: str) -> list[int]:
    return list(accumulate((len(line) + 1 for line in code.split("\n")), initial=0))
