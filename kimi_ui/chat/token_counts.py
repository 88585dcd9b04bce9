"""A cache of token counts for long texts that are needed repeatedly: attachments, a conversation's history.

Counting 100,000 tokens takes about 0.1 s. The cache counts each text once per vocabulary and keeps a digest and a
number, never the text. Thread-safe.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from ..tokenizers import counter

KEPT = 10_000
ALWAYS_COUNT_CHARS = 200  # shorter texts are counted faster than looked up


class TokenCounts:
    """Cached token counts."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, text: str, vocabulary: str = "") -> int:
        """Tokens of ``text`` with the vocabulary file at that path; if empty, with the shipped vocabulary."""
        if len(text) < ALWAYS_COUNT_CHARS:
            return counter(vocabulary).count(text)
        data = text.encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(data, digest_size=16, key=vocabulary.encode()[:64]).digest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        n_tokens = counter(vocabulary).count(text)
        with self._lock:
            self._known[key] = n_tokens
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return n_tokens
