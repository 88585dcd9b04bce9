"""Server-sent events from bytes, by the rules of the WHATWG event stream format, with three differences.

An event that the end of the stream cuts off before its blank line is delivered (gateways drop it, and with it the
finish and the usage). A line of an unknown field is not only ignored but reported, because gateways write raw errors
into the stream. Field values stay bytes: JSON is parsed from bytes, and invalid UTF-8 is the parser's to judge.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .lines import MAX_LINE, Lines

BOM = b"\xef\xbb\xbf"
_LINE_COST = 64  # bytes that a line of data takes in memory beside its text
_LINE_ENDS = re.compile(rb"[\r\n]{4,}")  # at least one line's end and a blank line; how many more means nothing


class ServerEvent(NamedTuple):
    """One dispatched event. ``event`` is ``message`` unless the stream named it."""

    data: bytes
    event: str = "message"


class RawLine(NamedTuple):
    """A line that is no field of the format, as it came."""

    line: bytes


class EventStream:
    """The decoder. ``last_id`` and ``retry_ms`` are the stream's last ``id:`` and ``retry:``.

    ``overflowed``: a line or an event grew past ``max_line`` bytes; the stream is not to be read any further.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self.overflowed = False
        self._lines = Lines(carriage_return=True, max_line=max_line)
        self.max_line = max_line
        self._first = True
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""

    def feed(self, data: bytes) -> list[ServerEvent | RawLine]:
        """The events these bytes complete. Never raises."""
        out: list[ServerEvent | RawLine] = []
        if b"\n\n\n\n" in data or b"\r\n\r\n\r" in data:  # millions of blank lines must not cost a loop each
            data = _LINE_ENDS.sub(b"\n\n", data)
        for line in self._lines.feed(data):
            self._line(line, out)
        self.overflowed = self.overflowed or self._lines.overflowed
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
            self._add(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line:
            self._dispatch(out)
        elif not line.startswith(b":"):
            self._field(line, out)

    def _add(self, value: bytes) -> None:
        self._size += len(value) + _LINE_COST
        if self._size > self.max_line:
            self.overflowed = True
        else:
            self._data.append(value)

    def _field(self, line: bytes, out: list[ServerEvent | RawLine]) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self.last_id = value.decode("utf-8", "replace")
        elif name == b"retry":
            if value.isdigit():
                self.retry_ms = int(value[:12])
        else:
            if line.startswith(b"{"):  # an error written over an unfinished event: that event came first
                self._dispatch(out)
            out.append(RawLine(line))

    def _dispatch(self, out: list[ServerEvent | RawLine]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            out.append(ServerEvent(data, self._event or "message"))
            self._data = []
        self._size, self._event = 0, ""
