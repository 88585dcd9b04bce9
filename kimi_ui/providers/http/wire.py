"""From bytes to what a stream is made of: lines, server-sent events, lines of JSON. All in bounded memory.

Lines are split on bytes, never on decoded text: splitting on Unicode line breaks tears JSON that holds a raw U+0085 or
U+2028. Pure: bytes in, values out; what the values mean is the bodies' concern.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import orjson

from ...core.events import new_tuple

MAX_LINE = 8 * 1024 * 1024  # bytes; far more than a real chunk has, so that an endless line cannot fill the memory
BOM = b"\xef\xbb\xbf"
_LINE_COST = 64  # bytes that a line of data takes in memory beside its text
_LINE_ENDS = re.compile(rb"[\r\n]{4,}")  # a line's end and at least one blank line; further blank lines mean nothing


class Lines:
    """Cuts a byte stream into lines. ``carriage_return``: CR and CRLF end a line too (event streams).

    ``overflowed`` is set when a line grew past ``max_line`` bytes; nothing comes out after that.
    """

    def __init__(self, carriage_return: bool, max_line: int = MAX_LINE) -> None:
        self.overflowed = False
        self._carriage_return = carriage_return
        self._max_line = max_line
        self._skip_line_feed = False  # the last byte was a CR: an LF next belongs to it
        self._partial: list[bytes] = []
        self._partial_size = 0

    @property
    def is_empty(self) -> bool:
        """Nothing waits for its line's end, and no line feed for the carriage return before it."""
        return not (self._partial or self._skip_line_feed or self.overflowed)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines these bytes complete, without their ends."""
        if not data or self.overflowed:
            return []
        if self._carriage_return:
            if self._skip_line_feed and data.startswith(b"\n"):
                data = data[1:]
            if b"\r" in data:
                self._skip_line_feed = data.endswith(b"\r")
                data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            else:
                self._skip_line_feed = False
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._partial:
            self._partial.append(lines[0])
            lines[0] = b"".join(self._partial)
            self._partial, self._partial_size = [], 0
        if rest:
            self._partial.append(rest)
            self._partial_size += len(rest)
        if self._partial_size > self._max_line or (lines and max(map(len, lines)) > self._max_line):
            self.overflowed = True
            self._partial = []
            return [line for line in lines if len(line) <= self._max_line]
        return lines

    def finish(self) -> bytes:
        """What stood after the last line end."""
        rest, self._partial = b"".join(self._partial), []
        return rest


# -- server-sent events


class ServerEvent(NamedTuple):
    """One dispatched event. ``event`` is ``message`` unless the stream named it."""

    data: bytes
    event: str = "message"


class RawLine(NamedTuple):
    """A line that is no field of the format, as it came."""

    line: bytes


class ServerEvents:
    """Decodes an event stream by the rules of the WHATWG format, with four differences.

    An event that the end of the stream cuts off before its blank line is delivered (gateways drop it, and with it the
    finish and the usage). A line of an unknown field is reported, because gateways write raw errors into the stream.
    Where no blank line separates two events, a line of data that begins a new JSON object behind a whole one begins a
    new event: within one document ``}`` and ``{`` never follow each other. From then on a line that is a whole object
    is delivered at once. Field values stay bytes: JSON is parsed from bytes, whose parser judges invalid UTF-8.
    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

    ``last_id`` and ``retry_ms`` are the stream's last ``id:`` and ``retry:``.

    ``overflowed``: a line or an event grew past ``max_line`` bytes; the stream is not to be read any further.
    ``unseparated``: events came without a blank line between them.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self.overflowed = False
        self._lines = Lines(carriage_return=True, max_line=max_line)
        self.max_line = max_line
        self._first = True
        self._is_between = False  # nothing is open
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self._next_event = ""  # a name that came behind the data
        self.unseparated = False

    def feed(self, data: bytes) -> list[ServerEvent | RawLine]:
        """The events these bytes complete. Never raises."""
        if (
            self._is_between
            and data.startswith(b"data: ")
            and data.find(b"\n") == len(data) - 2
            and data.endswith(b"\n")
            and b"\r" not in data
            and len(data) + _LINE_COST <= self.max_line
        ):  # one whole event with one line of data, and no event is open: the usual token
            return [new_tuple(ServerEvent, (data[6:-2], "message"))]
        out: list[ServerEvent | RawLine] = []
        if b"\n\n\n\n" in data or b"\r\n\r\n\r" in data:  # millions of blank lines must not cost a loop each
            data = _LINE_ENDS.sub(b"\n\n", data)
        for line in self._lines.feed(data):
            self._line(line, out)
        self.overflowed = self.overflowed or self._lines.overflowed
        self._is_between = self._lines.is_empty and not (self._data or self._event or self._first)
        return out

    def finish(self) -> list[ServerEvent | RawLine]:
        """What the end of the stream left open: the last line and the event it belongs to."""
        out: list[ServerEvent | RawLine] = []
        if rest := self._lines.finish():
            self._line(rest, out)
        self._dispatch(out)
        return out

    def _line(self, line: bytes, out: list[ServerEvent | RawLine]) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(BOM)
        if line.startswith(b"data:"):
            self._add(line[6:] if line.startswith(b"data: ") else line[5:], out)
        elif not line:
            self._dispatch(out)
        elif not line.startswith(b":"):
            self._field(line, out)

    def _add(self, value: bytes, out: list[ServerEvent | RawLine]) -> None:
        if self._data and self._data[-1].rstrip().endswith(b"}") and value.lstrip().startswith((b"{", b"[DONE]")):
            self.unseparated = True
            name, self._next_event = self._next_event, ""
            self._dispatch(out)
            self._event = name
        self._size += len(value) + _LINE_COST
        if self._size > self.max_line:
            self.overflowed = True
        else:
            self._data.append(value)
        if self.unseparated and not self._data[1:] and value.startswith((b"{", b"[DONE]")) and value[-1:] in b"}]":
            self._dispatch(out)

    def _field(self, line: bytes, out: list[ServerEvent | RawLine]) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value, out)
        elif name == b"event" and self._data:
            self._next_event = value.decode("utf-8", "replace")
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self.last_id = value.decode("utf-8", "replace")
        elif name == b"retry":
            if value.isdigit():
                self.retry_ms = int(value[:12])
        else:
            if line.startswith(b"{"):  # an error written in the middle of an event; what the event holds came first
                self._dispatch(out)
            out.append(RawLine(line))

    def _dispatch(self, out: list[ServerEvent | RawLine]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            out.append(ServerEvent(data, self._next_event or self._event or "message"))
            self._data = []
        self._size, self._event, self._next_event = 0, "", ""


# -- JSON


class Parsed(NamedTuple):
    """``value`` is meaningless unless ``ok``. ``repaired``: invalid UTF-8 became U+FFFD.

    ``surrogates``: strings may hold halves of surrogate pairs (JSON escapes allow it, UTF-8 and SQLite do not).
    """

    value: Any
    ok: bool = True
    repaired: bool = False
    surrogates: bool = False


def loads(data: bytes) -> Parsed:
    """Parse one JSON document, whatever the bytes are. The fast parser first; json for what it alone accepts."""
    try:
        return new_tuple(Parsed, (orjson.loads(data), True, False, False))
    except orjson.JSONDecodeError:
        pass
    try:
        text, repaired = data.decode("utf-8"), False
    except UnicodeDecodeError:
        text, repaired = data.decode("utf-8", "replace"), True
    try:
        return Parsed(json.loads(text), repaired=repaired, surrogates="\\ud" in text.lower())
    except (ValueError, RecursionError):
        return Parsed(None, ok=False)


_BETWEEN = re.compile(r"(?:\s|\\[nr]|data:|\[DONE\]|\x1e)*")
_decode = json.JSONDecoder().raw_decode


def objects_of(data: bytes) -> list[dict[str, Any]]:
    """The JSON objects in bytes that are no single document: with nothing, blanks, line ends (also escaped ones) or
    ``data:`` before and between them. Empty where anything else is there."""
    text, place, found = data.decode("utf-8", "replace"), 0, list[dict[str, Any]]()
    while (place := _end(_BETWEEN.match(text, place))) < len(text):
        try:
            value, place = _decode(text, place)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        found.append(value)
    return found


def _end(match: re.Match[str] | None) -> int:
    assert match is not None
    return match.end()


class JsonLines:
    """Decodes NDJSON: the non-blank lines, as bytes; only LF ends a line. ``overflowed``: as for ``Lines``."""

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
