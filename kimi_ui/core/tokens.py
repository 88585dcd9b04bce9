"""Counting an attempt's tokens as its text arrives, for streams whose server reports no count and as a check on those
that do.

What counts a text comes in as a ``TokenCounter`` (``kimi_ui.tokenizers`` loads them): this module opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .events import Answer, Event, Reasoning, Relabel

CHARS_PER_TOKEN = 4


class TokenCounter(Protocol):
    """Counts the tokens of a text; ``source`` says how: ``tokenizer`` or ``chars``."""

    @property
    def source(self) -> str: ...

    def count(self, text: str) -> int: ...


CounterFor = Callable[[str], TokenCounter]
"""Gives the counter of a vocabulary file, by its path; of the shipped vocabulary for an empty one."""


class LiveCount:
    """Tokens of a text that arrives in pieces, at a cost per piece that does not grow with the text.

    Text is settled up to a place no token reaches across (a single space before a word); only the rest is encoded
    again. Text without such a place for ``_FORCED_CHARS`` is settled anyway, which may count a token too many there.
    """

    _SETTLE_CHARS = 512
    _FORCED_CHARS = 4096
    _BOUNDARY = re.compile(r"(?<=\S) (?=[^\W\d_])")

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._settled = 0
        self._tail = ""
        self._tail_tokens: int | None = 0

    def feed(self, text: str) -> None:
        self._tail += text
        self._tail_tokens = None
        if len(self._tail) < self._SETTLE_CHARS:
            return
        cut = 0
        for match in self._BOUNDARY.finditer(self._tail):
            cut = match.start()
        if not cut and len(self._tail) >= self._FORCED_CHARS:
            cut = len(self._tail)
        if cut:
            self._settled += self._counter.count(self._tail[:cut])
            self._tail = self._tail[cut:]

    @property
    def tokens(self) -> int:
        if self._tail_tokens is None:
            self._tail_tokens = self._counter.count(self._tail)
        return self._settled + self._tail_tokens


class LocalCount(NamedTuple):
    """An attempt's text counted on this machine. ``source`` is ``tokenizer`` or ``chars``."""

    reasoning_tokens: int
    answer_tokens: int
    source: str

    @property
    def output_tokens(self) -> int:
        return self.reasoning_tokens + self.answer_tokens


class AttemptCount:
    """The local count of one attempt while it streams: feed it the attempt's events."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._reasoning = LiveCount(counter)
        self._answer = LiveCount(counter)
        self._relabelled = 0
        self._has_text = False

    def apply(self, event: Event) -> None:
        match event:
            case Reasoning(text):
                self._reasoning.feed(text)
                self._has_text |= bool(text)
            case Answer(text):
                self._answer.feed(text)
                self._has_text |= bool(text)
            case Relabel():
                self._relabelled += self._answer.tokens
                self._answer = LiveCount(self._counter)

    @property
    def local(self) -> LocalCount | None:
        """The count so far; None while there is no text."""
        if not self._has_text:
            return None
        return LocalCount(self._reasoning.tokens + self._relabelled, self._answer.tokens, self._counter.source)


def count_text(counter: TokenCounter, reasoning: str, answer: str) -> LocalCount | None:
    """The count of a whole attempt; None without text."""
    if not reasoning and not answer:
        return None
    return LocalCount(counter.count(reasoning), counter.count(answer), counter.source)
