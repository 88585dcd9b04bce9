"""Token counts of long texts that are asked for again and again: attachments, a conversation's history.

Counting 100,000 tokens takes about 0.1 s; here each text is counted once per vocabulary. What is kept is a digest and
a number, never the text. Thread-safe.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from ..tokenizers import counter

KEPT = 10_000
ALWAYS_COUNT_CHARS = 200  # a text this short is counted faster than it is looked up


class TokenCounts:
    """``count(text)`` with a memory."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, text: str, vocabulary: str = "") -> int:
        """Tokens of ``text`` by the vocabulary file of that path, or by the shipped one."""
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
