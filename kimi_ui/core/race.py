"""The race: how an attempt's text grew over time, thinned so that a page can draw all lanes on one time axis.

A ``RaceLine`` follows one attempt and returns what is new: points ``(t_ms, chars)`` of cumulative text, which are only
appended, and the moments that a waterfall chart needs. Points are in characters: the page scales them by the lane's
token counts, which the provider may correct at the end, so that the curve always ends at the displayed number. The
attempt's first answer stamp separates reasoning from answer.

Points are at least ``STEP_MS`` and 1 % of the elapsed time apart, which is one or two pixels of the axis: about 100
points for the first 20 s, and 100 for each further factor of e; 30,000 tokens in 5 minutes give about 370. A longer
wait keeps both of its ends, so that it is drawn as a stall. Pure: no clock.
"""

from __future__ import annotations

from typing import Any

from .attempt import AttemptFold
from .events import AGGREGATING, Event, Phase

STEP_MS = 200.0
STEP_SHARE = 0.01


class RaceLine:
    """The part of an attempt's line that one reader has. ``t_ms`` counts from the moment the attempt was sent."""

    def __init__(self) -> None:
        self._seen = 0  # text events looked at
        self._sent: tuple[float, int] | None = None  # the newest point sent
        self._near_ns = 0.0  # events before this time are less than a step after that point; nearly all are
        self._moments: dict[str, float] = {}
        self._moments_due = True
        self._aggregating_ns: int | None = None

    def apply(self, t_ns: int, event: Event) -> None:
        """Process an event that is not text."""
        self._moments_due = True
        if isinstance(event, Phase) and event.name == AGGREGATING and self._aggregating_ns is None:
            self._aggregating_ns = t_ns

    def take(self, fold: AttemptFold) -> dict[str, Any]:
        """What is new: ``points`` as a flat list ``[t_ms, chars, …]`` and newly known moments; empty if nothing is.

        Moments: ``connect_ms`` (response headers), ``server_queue_ms``, ``load_ms``, ``load_or_wait_ms`` and
        ``prompt_ms`` (durations at the server), ``aggregating_ms`` (heavy: the aggregator was sent).
        """
        part: dict[str, Any] = {}
        if self._may_have_points(fold) and (points := self._points(fold)):
            part["points"] = points
        if not self._moments_due:
            return part
        self._moments_due = False
        known = {
            "connect_ms": fold.headers_ns,
            "server_queue_ms": fold.usage.queue_ns,
            "load_or_wait_ms": fold.usage.load_or_wait_ns,
            "load_ms": fold.usage.load_ns,
            "prompt_ms": fold.usage.prompt_ns,
            "aggregating_ms": self._aggregating_ns,
        }
        for name, ns in known.items():
            if ns is not None and self._moments.get(name) != ns / 1e6:
                part[name] = self._moments[name] = ns / 1e6
        return part

    def _may_have_points(self, fold: AttemptFold) -> bool:
        """False if all new events are near the newest point, as most are; then they can be looked at later."""
        if fold.end is not None or self._seen == len(fold.text_ns):
            return fold.end is not None
        return fold.text_ns[-1] >= self._near_ns or (fold.first_answer_ns or 0) >= fold.text_ns[self._seen]

    def _points(self, fold: AttemptFold) -> list[float]:
        points: list[float] = []
        times, first_answer_ns = fold.text_ns, fold.first_answer_ns
        for i in range(self._seen, len(times)):
            t_ns = times[i]
            if t_ns >= self._near_ns or t_ns == first_answer_ns:
                point = _point(fold, i)
                t_ms = point[0]
                step_ms = max(STEP_MS, STEP_SHARE * t_ms)
                last = _point(fold, i - 1) if i else (t_ms, 0)
                if not i or t_ns == first_answer_ns or t_ms - last[0] >= step_ms:
                    self._send(last, points)
                if self._sent is None or t_ms - self._sent[0] >= step_ms:
                    self._send(point, points)
        self._seen = len(times)
        if fold.end is not None and times:
            self._send(_point(fold, -1), points)
        return points

    def _send(self, point: tuple[float, int], points: list[float]) -> None:
        if point != self._sent:
            points += point
            self._sent = point
            self._near_ns = (point[0] + max(STEP_MS, STEP_SHARE * point[0]) - 0.1) * 1e6


def _point(fold: AttemptFold, i: int) -> tuple[float, int]:
    """The point of a text event."""
    return round(fold.text_ns[i] / 1e6, 1), fold.text_sum[i]
