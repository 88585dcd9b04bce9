"""Blind turns: the same turn without anything that identifies a lane, until the vote.

A blind turn's log is written like any other; a page sees it through ``BlindView``. Lanes become the slots A, B, C … in
a random order that is kept on the server (``TurnLog.slots``). Names, models, ids, reasoning, steps, trajectories,
notes, the reasons of failures and all stamps are withheld: whether a lane reasons, or how it fails, would identify it.

Pace identifies a lane too (a local model answers immediately, heavy a minute after the others). Therefore no answer
text is shown before the last lane has ended; then all answers appear at once, with equal stamps. Showing text at the
pace of the slowest lane would not do: when the slowest ends, the others would speed up. Until then a reader sees only
how many lanes are ready. After a vote, or when the reader reveals the turn without one, it is shown as it is.

Pure: no clock, no I/O; the engine draws the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase

from .attempt import Attempt, AttemptFold
from .events import CONNECTED, Answer, End, Entry, Failure, Finish, Flag, Opened, Phase
from .turn import LaneInfo, TurnFold, TurnLog

READY = "blind_ready"  # flag: how many lanes have ended
CUT = "blind_cut"  # flag: the answer was cut off
NO_ANSWER = Failure("blind", "This lane gave no answer.", "Vote, or open the turn, to see why.")


def is_blind(turn: TurnLog) -> bool:
    """True while the turn may only be shown through ``BlindView``."""
    return bool(turn.slots) and turn.vote is None


def slot_names(turn: TurnLog) -> dict[str, str]:
    """Maps slots to lane ids, in display order; empty for a turn that was never blind."""
    return {slot_name(i): lane for i, lane in enumerate(turn.slots)}


def slot_name(place: int) -> str:
    """A … Z, then A1 … Z1 and so on."""
    rounds, letter = divmod(place, len(ascii_uppercase))
    return f"{ascii_uppercase[letter]}{rounds or ''}"


def visible(turn: TurnLog) -> TurnLog:
    """The turn as it may be shown now: itself or its ``BlindView``. A snapshot: it does not follow the turn."""
    return BlindView(turn).shown if is_blind(turn) else turn


class BlindView:
    """What may be shown of a blind turn: ``shown`` is a turn log of its own, which ``refresh`` brings up to date.

    Its entries are a function of the source's entries, so that a reader who reconnects finds the same ones again.
    """

    def __init__(self, turn: TurnLog) -> None:
        self._source = turn
        self._slots = slot_names(turn)
        self._fold = TurnFold.of(turn)
        self._consumed = 0
        self._ended: set[str] = set()
        self.shown = TurnLog(
            turn_id=turn.turn_id,
            conversation_id=turn.conversation_id,
            seq=turn.seq,
            prompt=turn.prompt,
            lanes=tuple(LaneInfo(id=slot, label=slot, provider="", model="") for slot in self._slots),
            owner=turn.owner,
            kind=turn.kind,
            started_at_utc=turn.started_at_utc,
            t0_ns=turn.t0_ns,
            slots=tuple(self._slots),
            images=turn.images,
            basis=turn.basis,
            entries=[
                Entry(slot, f"{slot}0", 0, event)
                for slot in self._slots
                for event in (self._opened(slot, 0), Phase(CONNECTED))
            ],
        )
        self._report_ready()
        self.refresh()

    def refresh(self) -> None:
        """Process the source's new entries: more lanes are ready, or all are, and then their answers appear."""
        if self.shown.closed:
            return
        closed = self._source.closed  # read before the entries: none is appended after it was set
        for entry in self._source.entries[self._consumed :]:
            self._consumed += 1
            self._fold.apply(entry)
            if isinstance(entry.event, End) and entry.lane not in self._ended and self._fold.lane_ended(entry.lane):
                self._ended.add(entry.lane)
                self._report_ready()
        if closed:
            end_ns = max((self._end_ns(lane) for lane in self._slots.values()), default=0)
            for slot, lane in self._slots.items():
                events = [self._opened(slot, 1), *self._answer(lane)]
                self.shown.entries += [Entry(slot, f"{slot}1", end_ns, event) for event in events]
            self.shown.closed = True

    def _report_ready(self) -> None:
        ready = Flag(READY, f"{len(self._ended)} of {len(self._slots)}")
        self.shown.entries += [Entry(slot, f"{slot}0", 0, ready) for slot in self._slots]

    def _opened(self, slot: str, attempt_no: int) -> Opened:
        attempt = Attempt(
            attempt_id=f"{slot}{attempt_no}", turn_id=self._source.turn_id, lane=slot, label=slot, attempt_no=1
        )
        return Opened(attempt.as_dict())

    def _fold_of(self, lane: str) -> AttemptFold:
        return self._fold.folds.get(self._fold.current(lane) or "", AttemptFold())

    def _end_ns(self, lane: str) -> int:
        attempt = self._fold.attempts.get(self._fold.current(lane) or "")
        return (attempt.sent_ns if attempt else 0) + (self._fold_of(lane).end_ns or 0)

    def _answer(self, lane: str) -> Iterator[Answer | Flag | Failure | Finish | End]:
        fold = self._fold_of(lane)
        if not fold.answer.strip():
            yield NO_ANSWER
            yield End("no_answer")
            return
        yield Answer(fold.answer)
        if fold.status != "ok":
            yield Flag(CUT)
        yield Finish("stop")
        yield End("ok")
