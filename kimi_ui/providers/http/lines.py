"""Bytes in, lines out, in bounded memory: the ground both stream formats stand on.

Lines are split on bytes, never on decoded text: splitting on Unicode line breaks tears JSON that holds a raw U+0085 or
U+2028. It knows nothing of what the lines mean.
"""

from __future__ import annotations

MAX_LINE = 8 * 1024 * 1024  # bytes; no honest chunk comes near, and a line without end must not fill the memory


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
