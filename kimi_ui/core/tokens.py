"""Local token counts of an attempt while it streams, for servers that report no usage and to check those that do.

The caller passes in a ``TokenCounter``; ``kimi_ui.tokenizers`` loads them from files.
"""

from __future__ import annotations

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
    """Counts the tokens of a growing text when they are wanted; then it encodes what is new, and little before it.

    No token spans a single space before a word, so the text up to the last such place is counted once and only the rest
    is encoded again. If there is no such place within ``_FORCED_CHARS``, the text is cut anyway, which may count one
    token too many.
    """

    _FORCED_CHARS = 4096

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._settled = 0
        self._new: list[str] = []
        self._tail = ""
        self._tail_tokens = 0

    def feed(self, text: str) -> None:
        self._new.append(text)

    @property
    def tokens(self) -> int:
        if self._new:
            self._count()
        return self._settled + self._tail_tokens

    def _count(self) -> None:
        text = self._tail + "".join(self._new)
        self._new.clear()
        cut = _last_boundary(text) or (len(text) if len(text) >= self._FORCED_CHARS else 0)
        self._settled += self._counter.count(text[:cut])
        self._tail = text[cut:]
        self._tail_tokens = self._counter.count(self._tail)


def _last_boundary(text: str) -> int:
    """The last single space with a letter behind it and no white space before it; 0 if there is none."""
    at = len(text) - 1
    while (at := text.rfind(" ", 1, at)) > 0:
        if text[at + 1].isalpha() and not text[at - 1].isspace():
            return at
    return 0


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
        if isinstance(event, Reasoning | Answer):
            self.add(event.text, isinstance(event, Answer))
        elif isinstance(event, Relabel):
            self._relabelled += self._answer.tokens
            self._answer = LiveCount(self._counter)

    def add(self, text: str, is_answer: bool) -> None:
        """Text of the answer, or of the reasoning."""
        if text:
            self._has_text = True
            (self._answer if is_answer else self._reasoning).feed(text)

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
