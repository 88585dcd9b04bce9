"""A pull: a model that a lane's server fetches. How far it is, how fast, and how it ended, as one value.

Pure: times are passed in. ``Pull`` is the state that the page, the log and ``doctor`` show.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

RUNNING = "running"
DONE = "done"
CANCELLED = "cancelled"  # by a person
INTERRUPTED = "interrupted"  # the app ended
FAILED = "failed"

SPEED_WINDOW_S = 10.0
SPEED_AFTER_S = 1.0  # less than that says nothing
SILENT_S = 15.0  # a running pull is written to the log every second; after this long its process is gone


class PullKey(NamedTuple):
    """A model at a server (``LaneSpec.server``: its address; of several, all of them)."""

    server: str
    model: str


@dataclass(frozen=True)
class Pull:
    """``completed`` of ``total`` bytes are there, None: not known. ``bytes_per_s``: over the last ``SPEED_WINDOW_S``
    seconds, None: not known. ``status``: the server's own word for what it does. ``problem``, ``remedy``, ``command``:
    why it failed and what to do. ``updated_at_utc``: ISO 8601.
    """

    server: str
    model: str
    state: str = RUNNING
    status: str = ""
    completed: int | None = None
    total: int | None = None
    bytes_per_s: float | None = None
    problem: str = ""
    remedy: str = ""
    command: str = ""
    detail: str = ""
    updated_at_utc: str = ""

    @property
    def key(self) -> PullKey:
        return PullKey(self.server, self.model)

    @property
    def left_s(self) -> float | None:
        """Seconds until the bytes of the layers known so far are there, at the present speed."""
        if self.state != RUNNING or not self.bytes_per_s or self.completed is None or self.total is None:
            return None
        return max(0, self.total - self.completed) / self.bytes_per_s

    @property
    def words(self) -> str:
        """The pull in one line, for a terminal."""
        kept = f" at {self.figures}" if self.figures else ""
        match self.state:
            case "running":
                return f"Pulling {self.model}: {self.figures or self.status}."
            case "done":
                return f"{self.model} was pulled."
            case "failed":
                return f"The pull of {self.model} failed{kept}. {self.problem} {self.remedy}".rstrip()
            case _:
                how = "was cancelled" if self.state == CANCELLED else "was interrupted"
                return f"The pull of {self.model} {how}{kept}; it can be continued."

    @property
    def figures(self) -> str:
        """How far it is, in words: "4.2 GB of 18.6 GB · 22 % · 41.0 MB/s · 5 min 51 s left"; what is not known is left
        out."""
        if self.completed is None or not self.total:
            return ""
        parts = [f"{_bytes(self.completed)} of {_bytes(self.total)}", f"{100 * self.completed // self.total} %"]
        if self.state == RUNNING and self.bytes_per_s is not None:
            parts.append(f"{_bytes(self.bytes_per_s)}/s")
        if self.left_s is not None and self.completed < self.total:
            parts.append(f"{_duration(self.left_s)} left")
        return " · ".join(parts)


class Speed:
    """Bytes a second of one pull over the last ``SPEED_WINDOW_S`` seconds. Feed it each figure with its time in ns.

    When ``total`` changes, a layer has joined of which a part may have been there before: measuring begins again.
    """

    def __init__(self) -> None:
        self._total: int | None = None
        self._points: deque[tuple[int, int]] = deque()

    def feed(self, at_ns: int, completed: int, total: int) -> None:
        if total != self._total:
            self._total = total
            self._points.clear()
        self._points.append((at_ns, completed))
        while len(self._points) > 2 and self._points[1][0] <= at_ns - SPEED_WINDOW_S * 1e9:
            self._points.popleft()

    def at(self, now_ns: int) -> float | None:
        """Bytes a second; falls while nothing arrives. None before ``SPEED_AFTER_S``."""
        if not self._points:
            return None
        since_ns, before = self._points[0]
        seconds = (now_ns - since_ns) / 1e9
        return (self._points[-1][1] - before) / seconds if seconds >= SPEED_AFTER_S else None


def _bytes(n: float) -> str:
    """Decimal units with one digit, as in assets/base/format.js."""
    units = ("B", "kB", "MB", "GB", "TB")
    place = 0
    while n >= 1000 and place < len(units) - 1:
        n, place = n / 1000, place + 1
    return f"{n:.1f} {units[place]}" if place else f"{n:.0f} B"


def _duration(seconds: float) -> str:
    """Two units: "48 s", "5 min 51 s", "1 h 02 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
