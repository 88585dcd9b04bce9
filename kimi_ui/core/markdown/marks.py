"""Marks in a rendered answer: elements around stretches of its text, added to the tokens before they are rendered.

So the allow-list stays the last step. Classes: ``md-only`` (this answer only), ``md-changed`` around a unit and
``md-word`` around what differs in it, ``md-moved``, ``md-both`` (of unlike answers: in both), ``md-column`` (cells of a
column of one table only). ``md-dN`` numbers the differences, ``md-first`` is on the first element of a unit, and
``md-say`` in it holds what a screen reader says before the unit.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from itertools import pairwise

from markdown_it.token import Token

_ATOMIC = "code_inline", "math_inline", "image", "footnote_ref"
_TAG_OR_TEXT = re.compile(r"<[^>]*>|[^<]+")


@dataclass(frozen=True)
class Mark:
    """A stretch of a token's text, in characters, inside an element ``tag``. ``say``: what is said before it."""

    start: int
    end: int
    tag: str
    classes: str
    say: str = ""


def marked(token: Token, marks: Sequence[Mark], blank: Mapping[int, int] | None = None) -> list[Token]:
    """The token with its marks: a run of text, code, a display formula, or the beginning of a row or cell.

    ``blank``: of code, how many blank lines to show before which line, so that it lines up with another version.
    """
    ordered = sorted(marks, key=lambda mark: (mark.start, -mark.end))
    if token.type == "inline":
        return [token.copy(children=list(_marked_children(token, ordered)))]
    if token.type in ("fence", "code_block"):

        def mark(html: str) -> str:
            return with_blank_lines(marked_html(html, ordered), blank or {})

        return [token.copy(meta={**token.meta, "mark": mark})]
    if token.type == "math_block":
        opened = [one for mark in ordered for one in _opened(mark, True, "div")]
        return [*opened, token, *(_closed("div") for _ in ordered)]
    classes = [str(token.attrs.get("class", "")), *(mark.classes for mark in ordered)]
    return [token.copy(attrs={**token.attrs, "class": " ".join(filter(None, classes))})]


class _Cover:
    """The marks that cover a place, for places that ascend."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._waiting = list(reversed(marks))
        self._open: list[Mark] = []
        self._begun: set[Mark] = set()

    def at(self, start: int, end: int) -> list[tuple[Mark, bool]]:
        """The marks that cover part of a stretch, outermost first, and whether each of them begins with it."""
        while self._waiting and self._waiting[-1].start < end:
            self._open.append(self._waiting.pop())
        self._open = [mark for mark in self._open if mark.end > start]
        found = [(mark, mark not in self._begun) for mark in self._open]
        self._begun.update(self._open)
        return found


def _stretches(start: int, text: str, cuts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The stretches of a text that no mark begins or ends in. ``cuts``: where marks do, ascending."""
    end = start + len(text)
    yield from pairwise([start, *cuts[bisect_right(cuts, start) : bisect_left(cuts, end)], end])


def _cuts(marks: Sequence[Mark]) -> list[int]:
    return sorted({place for mark in marks for place in (mark.start, mark.end)})


def _marked_children(token: Token, marks: Sequence[Mark]) -> Iterator[Token]:
    cover = _Cover(marks)
    cuts = _cuts(marks)
    start = 0
    for child, text in leaves(token):
        end_of_child = start + len(text)
        whole = _stretches(start, text, cuts) if child.type == "text" and text else [(start, end_of_child)]
        for begin, end in whole:
            covering = cover.at(begin, end) if end > begin else []
            for mark, first in covering:
                yield from _opened(mark, first)
            yield child.copy(content=text[begin - start : end - start]) if child.type == "text" else child
            for mark, _ in reversed(covering):
                yield _closed(mark.tag)
        start = end_of_child


def _opened(mark: Mark, first: bool, tag: str = "") -> Iterator[Token]:
    begins = first and mark.say
    yield Token(
        "mark_open", tag or mark.tag, 1, attrs={"class": f"{mark.classes} md-first" if begins else mark.classes}
    )
    if begins:
        yield Token("mark_open", "span", 1, attrs={"class": "md-say"})
        yield Token("text", "", 0, content=mark.say)
        yield _closed("span")


def _closed(tag: str) -> Token:
    return Token("mark_close", tag, -1)


def marked_html(html: str, marks: Sequence[Mark]) -> str:
    """HTML of code, with no elements but spans, with marks on stretches of its text."""
    cover = _Cover(marks)
    cuts = _cuts(marks)
    done: list[str] = []
    start = 0
    for part in _TAG_OR_TEXT.findall(html):
        if part.startswith("<"):
            done.append(part)
            continue
        text = unescape(part)
        for begin, end in _stretches(start, text, cuts):
            covering = cover.at(begin, end)
            for mark, first in covering:
                begins = first and mark.say
                done.append(f'<{mark.tag} class="{mark.classes}{" md-first" if begins else ""}">')
                done += [f'<span class="md-say">{escape(mark.say)}</span>'] if begins else []
            done.append(escape(text[begin - start : end - start]))
            done += [f"</{mark.tag}>" for mark, _ in reversed(covering)]
        start += len(text)
    return "".join(done)


def with_blank_lines(html: str, blank: Mapping[int, int]) -> str:
    """HTML of code with blank lines inserted before the lines of these numbers."""
    if not blank:
        return html
    lines = html.split("\n")
    return "\n".join(
        "".join('<span class="md-blank">\n</span>' for _ in range(blank.get(number, 0))) + line
        for number, line in enumerate(lines)
    )


def leaves(token: Token) -> Iterator[tuple[Token, str]]:
    """The children of a run of text, each with its text, empty for the beginning and end of an element."""
    for child in token.children or []:
        if child.type in ("softbreak", "hardbreak"):
            yield child, "\n"
        elif child.nesting == 0:
            yield child, child.content
        else:
            yield child, ""


def is_atomic(token: Token) -> bool:
    """Whether a part of a run of text is marked as a whole."""
    return token.type in _ATOMIC


def text_of(token: Token) -> str:
    """The text of a run of text."""
    return "".join(text for _, text in leaves(token))
