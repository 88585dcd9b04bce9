"""Markdown as units of comparison: sentences of prose, lines of fenced code.

Joining the units gives the text back, character for character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# CommonMark 0.31 §4.5: at most three spaces, then three or more of ` or ~; an info string of ` fences has no `.
FENCE = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)")

# The start of a line that begins a block (list item, heading, quote, table row, rule or formula); the line before it
# ends a unit. A plain line after a plain line continues its sentence.
BLOCK_START = re.compile(r"\s*(?:[-*+•]\s|\d{1,9}[.)]\s|#{1,6}\s|>|\||\$\$|\\\[|\\begin\{|(?:[-*_]\s*){3,}$)")

SENTENCE_END = re.compile(
    r"(?:[.!?…]+[\"'”’)\]*_`]*\s+(?=[^\s\w]*[\w$\\])"  # Latin: punctuation, closing marks, then a space
    r"|[。！？]+[”’」』）]*)"  # CJK: no space follows
)
# Text after which a dot does not end a sentence: a common abbreviation, an initial, the number of a list item.
ABBREVIATION = re.compile(
    r"(?:^|[\s(\[*_])(?:(?i:e\.g|i\.e|etc|vs|cf|approx|resp|dr|mr|mrs|ms|prof|st|fig|eqs?|sec|ch|no|vol|pp?|al)|[A-Z])$"
    r"|^\s*\d{1,9}$"
)
LOOK_BACK = 12  # characters before a dot that are searched for an abbreviation
MAX_CHARS = 1_000  # longer units (no full stop, minified code) are cut to keep the word diff cheap


class TextUnit(NamedTuple):
    """A piece of the text with the white space after it. Units with equal ``key`` and ``code`` are equal."""

    text: str
    code: bool
    key: str


def units(text: str) -> list[TextUnit]:
    """The text's units in order; ``"".join(unit.text …)`` is the text.

    The key of prose has its white space folded; the key of code is the line without trailing white space, since
    indentation matters. Fence lines are code.
    """
    return [
        TextUnit(piece, code, piece.rstrip() if code else " ".join(piece.split()))
        for block, code in blocks(text)
        for whole in (block.splitlines(keepends=True) if code else _sentences(block))
        for piece in bounded(whole)
    ]


def blocks(text: str) -> Iterator[tuple[str, bool]]:
    """Yield ``(text, is_code)`` for each stretch of prose and each fenced block with its fence lines, in order."""
    pending: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        match = FENCE.match(line.rstrip("\r\n"))
        if not fence and match:
            if pending:
                yield "".join(pending), False
            pending, fence = [line], match["fence"]
        elif fence and match and match["fence"].startswith(fence) and not match["info"].strip():
            yield "".join([*pending, line]), True
            pending, fence = [], ""
        else:
            pending.append(line)
    if pending:
        yield "".join(pending), bool(fence)


def _sentences(prose: str) -> Iterator[str]:
    lines: list[str] = []
    for line in prose.splitlines(keepends=True):
        if lines and line.strip() and (not lines[-1].strip() or _block_line(lines[-1]) or BLOCK_START.match(line)):
            yield from sentences("".join(lines))
            lines = []
        lines.append(line)
    yield from sentences("".join(lines))


def _block_line(line: str) -> bool:
    """Whether the line is a heading or table row, which ends with the line; a list item or quote may continue."""
    return line.lstrip().startswith(("#", "|"))


def sentences(paragraph: str) -> Iterator[str]:
    """The sentences of a paragraph, each with the white space after it."""
    start = 0
    for end in SENTENCE_END.finditer(paragraph):
        before = paragraph[max(start, end.start() - LOOK_BACK) : end.start()]
        if not before.strip() or (paragraph[end.start()] == "." and ABBREVIATION.search(before)):
            continue
        yield paragraph[start : end.end()]
        start = end.end()
    if start < len(paragraph):
        yield paragraph[start:]


def bounded(piece: str) -> Iterator[str]:
    """Split the piece into parts of at most ``MAX_CHARS``, after white space where possible."""
    start = 0
    while len(piece) - start > MAX_CHARS:
        space = max(piece.rfind(" ", start, start + MAX_CHARS), piece.rfind("\n", start, start + MAX_CHARS))
        end = space + 1 if space > start else start + MAX_CHARS
        yield piece[start:end]
        start = end
    yield piece[start:]
