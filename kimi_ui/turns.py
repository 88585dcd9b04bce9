"""Turns: in memory over the log. The one place that knows both, and that memory is newer than the log.

    chat · web · ui · cli   ── get, conversation, history, live … ──►  Turns  ──►  LogReader, LogWriter
    engine                  ── open, reopen, close (KeepsTurns)   ──►

A turn that runs or ended lately is here as the very ``TurnLog`` that the engine appends to; an older one is read back
from the log into the same class. Who wants a turn asks here and cannot tell the difference.

The engine knows this class only as the protocol ``engine.KeepsTurns``, and nothing here knows the engine: turns can be
kept where none runs. That is the seam for several server processes: a process that does not run a turn keeps a mirror
of its ``entries`` here, and every reader (streams, exports, history, estimates) works on it as it is.

Any thread may call these methods. Those that look beyond memory read the log and may block for some ms, so an event
loop calls them on a thread, or ``find``. What a turn has come to is ``TurnLog.fold()``.
"""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import Future

from .core.attempt import Attempt
from .core.branches import Fork
from .core.events import Entry
from .core.turn import Exchange, TurnLog
from .log.reader import LogReader
from .log.writer import LogWriter

RECENT_TURNS = 32  # closed turns kept in memory, so that a page that comes back at once needs no database


class Turns:
    """All turns of one log. ``writer`` and ``reader`` are the log's, for rows that are no turn's."""

    def __init__(self, writer: LogWriter, reader: LogReader) -> None:
        self.writer = writer
        self.reader = reader
        self._turns: dict[str, TurnLog] = {}  # in the order they were opened first
        self._open: set[str] = set()
        self._lock = threading.Lock()  # over a turn's ``closed``; the engine's loop takes it, so only for a moment

    # Reading

    def get(self, turn_id: str) -> TurnLog | None:
        """The turn; None if there is none."""
        return self._turns.get(turn_id) or self.reader.turn(turn_id)

    async def find(self, turn_id: str) -> TurnLog | None:
        """``get`` for an event loop: at once from memory, from the log on a thread."""
        return self._turns.get(turn_id) or await asyncio.to_thread(self.reader.turn, turn_id)

    def live(self, owner: str | None = None) -> list[TurnLog]:
        """Turns that are running, oldest first; of one owner where given. Reads memory alone."""
        return [turn for turn in list(self._turns.values()) if not turn.closed and owner in (None, turn.owner)]

    def recent(self, conversation_id: str) -> list[TurnLog]:
        """The conversation's turns that are in memory, in order, those a fork shares with its origin included."""
        turns = [turn for id, before in self._lineage(conversation_id) for turn in self._own(id) if turn.seq < before]
        return sorted(turns, key=lambda turn: turn.seq)

    def conversation(self, conversation_id: str, with_entries: bool = True) -> list[TurnLog]:
        """All turns of a conversation in order, the turns a fork shares with its origin first.

        ``with_entries`` False: turns that are read from the log come without what the lanes answered.
        """
        turns: dict[int, TurnLog] = {}
        for id, before in reversed(self._lineage(conversation_id)):
            turns |= {turn.seq: turn for turn in self.reader.conversation(id, with_entries) if turn.seq < before}
        turns |= {turn.seq: turn for turn in self.recent(conversation_id)}
        return [turns[seq] for seq in sorted(turns)]

    def owner_of(self, conversation_id: str) -> str | None:
        """The conversation's owner; None if there is no such conversation."""
        for turn in self.recent(conversation_id):
            return turn.owner
        return self.reader.owner_of(conversation_id)

    def forks(self, conversation_id: str) -> list[Fork]:
        """The conversation, those it was edited out of, and their other edits, oldest first; then those in memory."""
        known = {fork.conversation_id: fork for fork in self.reader.forks(conversation_id)}
        for turn in list(self._turns.values()):
            known.setdefault(turn.conversation_id, Fork(turn.conversation_id, turn.forked_from, turn.forked_at))
        return list(known.values())

    def next_seq(self, conversation_id: str) -> int:
        """The number of the conversation's next turn."""
        seqs = [turn.seq for turn in self.recent(conversation_id)]
        return max([*seqs, *self.reader.turn_seqs(conversation_id)], default=-1) + 1

    def history(self, conversation_id: str, lane: str, before_seq: float = math.inf) -> list[Exchange]:
        """What the lane was asked and answered in the conversation's turns before that number, answered ones only."""
        exchanges: dict[int, Exchange] = {}
        for id, before in reversed(self._lineage(conversation_id)):
            exchanges |= {one.seq: one for one in self.reader.history(id, lane) if one.seq < before}
        for turn in self.recent(conversation_id):
            newest = turn.fold().newest(lane)
            if newest and newest.answer:
                exchanges[turn.seq] = Exchange(turn.seq, turn.prompt, newest.answer, newest.reasoning)
        return [exchanges[seq] for seq in sorted(exchanges) if seq < before_seq]

    def _own(self, conversation_id: str) -> list[TurnLog]:
        """The turns in memory that were sent in the conversation itself."""
        return [turn for turn in list(self._turns.values()) if turn.conversation_id == conversation_id]

    def _lineage(self, conversation_id: str) -> list[tuple[str, float]]:
        """The conversation and those it was forked from: ``(id, its turns before this number belong to it)``.

        As memory knows them: the log does not while it cannot be written, and knows the rest of them otherwise.
        """
        lineage: list[tuple[str, float]] = []
        before = math.inf
        while conversation_id and conversation_id not in dict(lineage):
            lineage.append((conversation_id, before))
            fork = next((turn for turn in self._own(conversation_id) if turn.forked_from and turn.seq < before), None)
            conversation_id, before = (fork.forked_from, min(before, fork.forked_at)) if fork else ("", 0)
        return lineage

    # Writing

    def open(self, turn: TurnLog) -> Future[None]:
        """Keep a new turn and have the log write its entries as they come. Resolves when its row is durable."""
        stored = self.writer.open_turn(turn)
        self.reopen(turn)
        return stored

    def reopen(self, turn: TurnLog) -> None:
        """Keep a turn that is running again and have the log write its further entries as they come."""
        with self._lock:
            self._open.add(turn.turn_id)
            self._keep(turn)

    def open_attempt(self, attempt: Attempt) -> Future[None]:
        """Write an attempt's row. Resolves when it is durable: then the request may be sent."""
        return self.writer.open_attempt(attempt)

    def close(self, turn: TurnLog) -> None:
        """The turn runs no more. Of the closed turns the newest ones stay in memory."""
        with self._lock:
            self._open.discard(turn.turn_id)
            turn.closed = True
            closed = [one.turn_id for one in self._turns.values() if one.closed]
            for turn_id in closed[:-RECENT_TURNS]:
                del self._turns[turn_id]

    def add(self, turn: TurnLog, entry: Entry) -> None:
        """Append what a person has made of an attempt that had ended. A closed turn is open for that moment."""
        with self._lock:
            self._keep(turn)
            turn.append(entry)
            turn.closed = turn.turn_id not in self._open

    def forget(self, conversation_id: str) -> None:
        """Drop a deleted conversation's closed turns from memory."""
        with self._lock:
            for turn in [turn for turn in self._turns.values() if turn.conversation_id == conversation_id]:
                if turn.closed:
                    del self._turns[turn.turn_id]

    def _keep(self, turn: TurnLog) -> None:
        turn.closed = False
        self._turns[turn.turn_id] = turn
        self.writer.follow(turn)
