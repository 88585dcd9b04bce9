"""When those events of an attempt arrived that its metrics begin and end with, and how exactly that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..core.events import Bounds, new_tuple
from ..providers.base import UNSTAMPED, Arrival

_MARKS = ("first_token", "first_answer", "last_token")


class Mark(NamedTuple):
    """An event that a metric begins or ends with: its stamp, and when that arrived which it was made of."""

    t_ns: int
    arrival: Arrival

    def early_ns(self, sent_ns: int) -> int | None:
        """How much earlier than its stamp the event may have arrived; never before the request was sent."""
        at_ns, after_ns, is_exact = self.arrival
        return self.t_ns - max(0, (at_ns if is_exact else after_ns) - sent_ns) if after_ns else None


@dataclass(slots=True)
class Arrivals:
    """The marks of one attempt, None before the event. ``newest``: when that arrived which its next events are made of.

    ``sent_late_ns``: see ``Bounds``.
    """

    newest: Arrival = UNSTAMPED
    first_token: Mark | None = None
    first_answer: Mark | None = None
    last_token: Mark | None = None
    sent_late_ns: int | None = None

    def arrived(self, at_ns: int, after_ns: int = 0, is_last: bool = True) -> None:
        """See ``Host.arrived``."""
        if at_ns == self.newest.at_ns:
            for name in _MARKS:
                mark: Mark | None = getattr(self, name)
                if mark and mark.arrival.at_ns == at_ns:
                    setattr(self, name, mark._replace(arrival=mark.arrival._replace(is_last=False)))
        self.newest = new_tuple(Arrival, (at_ns, after_ns, is_last))

    def bounds(self, sent_ns: int) -> Bounds:
        """Of an attempt that was sent then, by ``time.perf_counter_ns``."""
        marks = (self.first_token, self.first_answer, self.last_token)
        return Bounds(self.sent_late_ns, *(mark and mark.early_ns(sent_ns) for mark in marks))
