"""Inert Markdown for exports: images and HTML are shown as source in any viewer, code stays unchanged.

A viewer fetches images when it opens a file, and many viewers run HTML. So outside code ``<`` before a tag becomes
``&lt;`` and ``![`` becomes ``!\\[``. Text counts as code only if CommonMark, with and without the usual extensions,
reads it as code; within a paragraph, only code spans on one line count. In doubt (table cells, deeply nested blocks)
nothing counts as code.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .maths import math_plugin

_DIALECTS = [MarkdownIt("commonmark", {"html": False}) for _ in range(3)]
_DIALECTS[1].enable(["table", "strikethrough"])
math_plugin(_DIALECTS[2].enable(["table", "strikethrough"]))
for _dialect in _DIALECTS:
    _dialect.disable("inline")  # blocks only

_RUN = re.compile(r"`+")
_ACTIVE = re.compile(r"<(?=[A-Za-z/!?])|!(?=\[)")
_INERT = {"<": "&lt;", "!": "!\\"}


def inert(markdown: str) -> str:
    """The text with images and HTML escaped, otherwise unchanged line by line."""
    lines = markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(_blocks(lines))


def closed(markdown: str) -> str:
    """The text with its last code block closed, if it ends inside one, so that appended text does not become code.

    A block inside a list or quotation ends with the list or quotation.
    """
    tokens = _DIALECTS[0].parse(markdown)
    if not tokens or tokens[-1].type != "fence" or not tokens[-1].map:
        return markdown
    first, end = tokens[-1].map
    markup = tokens[-1].markup
    last = markdown.splitlines()[end - 1].strip() if end - 1 > first else ""
    is_closed = last.startswith(markup) and not last.strip(markup[0])
    return markdown if is_closed else markdown.rstrip("\n") + f"\n{markup}"


def _blocks(lines: list[str]) -> Iterator[str]:
    """Yield each run of lines of one kind, made inert by the rule for its kind."""
    kinds = _kinds(lines)
    start = 0
    for end in range(1, len(lines) + 1):
        if end < len(lines) and kinds[end] == kinds[start]:
            continue
        text = "\n".join(lines[start:end])
        kind = kinds[start].name
        yield text if kind == "code" else _paragraph(text) if kind == "inline" else _text(text)
        start = end


class _Kind(NamedTuple):
    """The block a line belongs to: ``name`` is code, inline (a paragraph, heading …) or empty (unknown); its lines."""

    name: str = ""
    first: int = 0
    last: int = 0


def _kinds(lines: list[str]) -> list[_Kind]:
    """The kind of each line; unknown if the dialects disagree."""
    text = "\n".join(lines)
    found = [_kinds_in(dialect.parse(text), len(lines)) for dialect in _DIALECTS]
    return [kinds[0] if len(set(kinds)) == 1 else _Kind() for kinds in zip(*found, strict=True)]


def _kinds_in(tokens: Sequence[Token], n_lines: int) -> list[_Kind]:
    kinds = [_Kind()] * n_lines
    tables = []
    for token in tokens:
        if not token.map:
            continue
        first, last = token.map[0], min(token.map[1], n_lines)
        if token.type == "table_open":
            tables.append((first, last))
        elif token.type in ("inline", "fence", "code_block"):
            kinds[first:last] = [_Kind("inline" if token.type == "inline" else "code", first, last)] * (last - first)
    for first, last in tables:
        kinds[first:last] = [_Kind()] * (last - first)
    return kinds


def _paragraph(text: str) -> str:
    """Make a paragraph inert except for code spans: a run of backticks up to the next run of the same length."""
    closers: dict[int, list[int]] = {}
    for closer in _RUN.finditer(text):
        closers.setdefault(len(closer[0]), []).append(closer.start())
    done: list[str] = []
    position = plain_from = 0
    while run := _RUN.search(text, position):
        if _is_escaped(text, run.start()):
            position = run.start() + 1  # only the first backtick is escaped; the others may still open a span
            continue
        position = run.end()
        same = closers.get(len(run[0]), [])
        place = bisect_left(same, position)
        if place < len(same):
            position = same[place] + len(run[0])
            code = text[run.start() : position]
            if "\n" not in code:  # a line of a longer span could begin an HTML block
                done += [_text(text[plain_from : run.start()]), code]
                plain_from = position
    return "".join([*done, _text(text[plain_from:])])


def _is_escaped(text: str, at: int) -> bool:
    first = at
    while first and text[first - 1] == "\\":
        first -= 1
    return (at - first) % 2 == 1


def _text(text: str) -> str:
    return _ACTIVE.sub(lambda match: _INERT[match[0]], text)
