"""The play time of a turn: when a replay shows each of its entries. Pure: no clock, no I/O.

Play time starts at the user's click and runs like the turn's own time, except that a wait in which nothing ran (a lane
was retried the next day) is cut to ``IDLE_NS``. Entries close together form one ``Moment``, but never across an event
that changes more than text: a first token, a phase and an end are shown at their own times. The page's frames and the
terminal both use these moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .events import Answer, End, Entry, Opened, Reasoning, Relabel
from .turn import TurnLog

MOMENT_NS = 100_000_000
IDLE_NS = 500_000_000


class Moment(NamedTuple):
    """At ``play_ns`` the entries before number ``until`` are shown; ``turn_ns`` is the turn's own time then."""

    play_ns: int
    turn_ns: int
    until: int


def moments(turn: TurnLog, every_ns: int = MOMENT_NS) -> list[Moment]:
    """The moments of a turn that has ended, in order; flowing text is shown at most ``every_ns`` late.

    Empty for a turn without entries.
    """
    found: list[Moment] = []
    first_ns: int | None = None  # play time of the first entry without a moment
    last = Moment(0, 0, 0)
    for number, (play_ns, turn_ns, changes) in enumerate(_stamped(turn), start=1):
        if first_ns is not None and play_ns - first_ns > every_ns:
            found.append(last)
            first_ns = None
        last = Moment(play_ns, turn_ns, number)
        if changes:
            found.append(last)
            first_ns = None
        elif first_ns is None:
            first_ns = play_ns
    return found if first_ns is None else [*found, last]


def _stamped(turn: TurnLog) -> Iterator[tuple[int, int, bool]]:
    """Each entry's play time, its turn time, and whether it changes more than text that is already flowing."""
    activity = _Activity(turn)
    turn_ns = cut_ns = 0
    for entry in turn.entries:
        was_ns, idle = turn_ns, activity.idle
        changes = activity.apply(entry)
        turn_ns = max(turn_ns, entry.t_ns + activity.sent_ns.get(entry.attempt_id, 0))
        if idle:
            cut_ns += max(0, turn_ns - was_ns - IDLE_NS)
        yield turn_ns - cut_ns, turn_ns, changes


class _Activity:
    """What runs in a turn, entry by entry."""

    def __init__(self, turn: TurnLog) -> None:
        self.sent_ns: dict[str, int] = {}
        self._open: set[str] = set()
        self._expected = {info.id for info in turn.lanes}  # lanes whose next attempt has not started
        self._flowing: set[tuple[str, type]] = set()  # attempt and the kind of text that it is writing

    @property
    def idle(self) -> bool:
        """True if nothing runs and no retry is announced."""
        return not self._open and not self._expected

    def apply(self, entry: Entry) -> bool:
        """Process an entry; False if it only continues a flowing text."""
        match entry.event:
            case _ if not entry.attempt_id:
                self._expected.add(entry.lane)
            case Opened(identity):
                self.sent_ns[entry.attempt_id] = int(identity.get("sent_ns") or 0)
                self._open.add(entry.attempt_id)
                self._expected.discard(entry.lane)
            case End(retry_in_s=retry_in_s):
                self._open.discard(entry.attempt_id)
                (self._expected.discard if retry_in_s is None else self._expected.add)(entry.lane)
            case Reasoning() | Answer():
                text = (entry.attempt_id, type(entry.event))
                if text in self._flowing:
                    return False
                self._flowing.add(text)
            case Relabel():
                self._flowing.discard((entry.attempt_id, Answer))
        return True
