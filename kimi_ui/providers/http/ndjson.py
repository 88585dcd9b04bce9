"""JSON values from bytes: one document, or one to a line (NDJSON), whatever the bytes are.

``loads`` never raises: what it had to mend or could not read, it says. Lines end at LF only; blank ones are skipped.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

from .lines import MAX_LINE, Lines

BOM = b"\xef\xbb\xbf"


class Parsed(NamedTuple):
    """``value`` is meaningless unless ``ok``. ``mended``: invalid UTF-8 became U+FFFD.

    ``surrogates``: strings may hold halves of surrogate pairs (JSON escapes allow it, UTF-8 and SQLite do not).
    """

    value: Any
    ok: bool = True
    mended: bool = False
    surrogates: bool = False


def loads(data: bytes) -> Parsed:
    """Parse one JSON document. The fast parser first; the standard one for what only it accepts."""
    try:
        return Parsed(orjson.loads(data))
    except orjson.JSONDecodeError:
        pass
    try:
        text, mended = data.decode("utf-8"), False
    except UnicodeDecodeError:
        text, mended = data.decode("utf-8", "replace"), True
    try:
        return Parsed(json.loads(text), mended=mended, surrogates="\\ud" in text.lower())
    except (ValueError, RecursionError):
        return Parsed(None, ok=False)


class JsonLines:
    """NDJSON decoder: the non-blank lines, as bytes. ``overflowed``: a line grew past ``max_line`` bytes."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._lines = Lines(carriage_return=False, max_line=max_line)
        self._first = True

    @property
    def overflowed(self) -> bool:
        return self._lines.overflowed

    def feed(self, data: bytes) -> list[bytes]:
        """The lines these bytes complete. Never raises."""
        return [line for line in map(self._clean, filter(None, self._lines.feed(data))) if line]

    def finish(self) -> list[bytes]:
        """The last line, if the stream ended without a line feed."""
        rest = self._clean(self._lines.finish())
        return [rest] if rest else []

    def _clean(self, line: bytes) -> bytes:
        if self._first and line:
            self._first = False
            line = line.removeprefix(BOM)
        return line.strip()
