"""Local token counts of an attempt while it streams, for servers that report no usage and to check those that do.

The caller passes in a ``TokenCounter``; ``kimi_ui.tokenizers`` loads them from files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .events import Answer, Event, Reasoning, Relabel

CHARS_PER_TOKEN = 4


class TokenCounter(Protocol):
    """Counts the tokens of a text. ``source`` names the method: ``tokenizer`` or ``chars``."""

    @property
    def source(self) -> str: ...

    def count(self, text: str) -> int: ...


CounterFor = Callable[[str], TokenCounter]
"""Returns the counter for a vocabulary file's path; for an empty path, that of the shipped vocabulary."""


class LiveCount:
    """Counts the tokens of a growing text; the cost per piece does not depend on the length of the text.

    No token spans a single space before a word, so the text up to the last such place is counted once and only the rest
    is encoded again. If there is no such place within ``_FORCED_CHARS``, the text is cut anyway, which may count one
    token too many.
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
    """Tokens of an attempt, counted on this machine. ``source`` is ``tokenizer`` or ``chars``."""

    reasoning_tokens: int
    answer_tokens: int
    source: str

    @property
    def output_tokens(self) -> int:
        return self.reasoning_tokens + self.answer_tokens


class AttemptCount:
    """The local count of one attempt while it streams: ``apply`` takes its events in order."""

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
