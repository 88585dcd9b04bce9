"""Access to turns, in memory and in the log. Memory is newer than the log; only this module knows both.

    chat · web · ui · cli   ── get, conversation, history, live … ──►  Turns  ──►  LogReader, LogWriter
    engine                  ── open, reopen, close (KeepsTurns)   ──►

A running or recent turn is the ``TurnLog`` that the engine appends to; an older turn is read from the log into the same
class, so callers need not distinguish them.

The engine uses this class through the protocol ``engine.KeepsTurns``, and this module does not know the engine. A
process that does not run a turn may keep a mirror of its ``entries`` here (``mirror``), which all readers use as any
other turn: that is how several server processes work together (``kimi_ui.bus``, through ``SharesTurns``).

Any thread may call these methods. Methods that read the log may block for some ms, so an event loop calls them on a
thread, or uses ``find``. The state of a turn is ``TurnLog.fold()``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Protocol

from .core.attempt import Attempt, AttemptFold
from .core.branches import Fork
from .core.events import Entry, Opened
from .core.owner import may_change
from .core.pull import Pull
from .core.turn import AttemptHead, Exchange, Pick, TurnLog, stretches
from .log.adoption import missing_ops
from .log.pulls import pull_op, stored_pulls
from .log.reader import LogReader
from .log.reloads import unloaded_pairs
from .log.store import LogError
from .log.writer import LogWriter

log = logging.getLogger(__name__)

LOOK_S = 3.0  # longest wait for a turn that another process may run
RECENT_TURNS = 32  # closed turns kept in memory, so that a page that reconnects at once needs no database


class SharesTurns(Protocol):
    """What publishes this process's turns to others and mirrors theirs here."""

    def publish(self, turn: TurnLog) -> None:
        """Publish the turn's entries as they come, until it is closed. Returns at once."""

    def look(self, turn_id: str) -> Future[None]:
        """Resolves when the turn is mirrored with all its entries so far, if another process runs it."""


class Turns:
    """All turns of one log. ``writer`` and ``reader`` are public for rows that belong to no turn."""

    def __init__(self, writer: LogWriter, reader: LogReader) -> None:
        self.writer = writer
        self.reader = reader
        self._turns: dict[str, TurnLog] = {}  # in the order of their first opening
        self._open: dict[str, int] = {}  # running turns: the number of their entries when they began to run
        self._elsewhere: dict[str, str] = {}  # mirrored turns: the process that runs each
        self._bus: SharesTurns | None = None
        self._listeners: list[Callable[[TurnLog, int], None]] = []
        self._mirror_listeners: list[Callable[[TurnLog, int], None]] = []
        self._lock = threading.Lock()  # guards a turn's ``closed``; the engine's loop takes it too, so hold it briefly

    # Reading

    def get(self, turn_id: str) -> TurnLog | None:
        """The turn; None if there is none."""
        if looking := self._look(turn_id):
            with suppress(TimeoutError):
                looking.result(LOOK_S)
        return self._turns.get(turn_id) or self.reader.turn(turn_id)

    async def find(self, turn_id: str, pick: Pick | None = None, *, with_entries: bool = True) -> TurnLog | None:
        """``get`` for an event loop: reads memory directly and the log on a thread.

        What is not picked (see ``LogReader.turn``), or without entries, may be left out: it is there in memory.
        """
        if looking := self._look(turn_id):
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(looking), LOOK_S)
        read = partial(self.reader.turn, turn_id, pick, with_entries=with_entries)
        return self._turns.get(turn_id) or await asyncio.to_thread(read)

    def _look(self, turn_id: str) -> Future[None] | None:
        """Look whether another process runs the turn, unless this one does."""
        if self._bus is None or turn_id in self._open:
            return None
        return self._bus.look(turn_id)

    def texts(self, turn: TurnLog, attempt_id: str) -> tuple[str, str] | None:
        """The reasoning and the answer of an attempt of this turn that has ended; None if there is none."""
        if turn.turn_id not in self._turns:
            return self.reader.texts(turn.turn_id, attempt_id)
        fold = AttemptFold()
        for entry in list(turn.entries):
            if entry.attempt_id == attempt_id:
                fold = AttemptFold() if isinstance(entry.event, Opened) else fold
                fold.apply(entry.t_ns, entry.event)
        return (fold.reasoning, fold.answer) if fold.end else None

    def heads(self, turn: TurnLog) -> list[AttemptHead]:
        """The turn's attempts: by its entries or, if it was read without them, from the log without their texts."""
        return turn.fold().heads() if turn.entries else self.reader.heads(turn.turn_id)

    def answers(self, turn: TurnLog, attempt_ids: Iterable[str]) -> dict[str, str]:
        """The answers of these attempts of the turn, by id; from where ``heads`` takes them."""
        if not turn.entries:
            return self.reader.answers(attempt_ids)
        folds = turn.fold().folds
        return {id: folds[id].answer for id in attempt_ids}

    def live(self, owner: str | None = None, kind: str | None = None) -> list[TurnLog]:
        """Running turns, oldest first; only those that are ``owner``'s and of ``kind`` if given. Reads only memory."""
        return [
            turn
            for turn in list(self._turns.values())
            if not turn.closed
            and (owner is None or may_change(turn.owner, owner))
            and (kind is None or turn.kind == kind)
        ]

    @property
    def n_running(self) -> int:
        """The running turns of this process; ``live`` has those of others too."""
        return len(self._open)

    def runs_elsewhere(self, turn_id: str) -> str:
        """The process that runs a mirrored turn; empty for any other turn."""
        return self._elsewhere.get(turn_id, "")

    def recent(self, conversation_id: str) -> list[TurnLog]:
        """The conversation's turns in memory, in order, including those that a fork shares with its origin."""
        turns = [turn for id, before in self._lineage(conversation_id) for turn in self._own(id) if turn.seq < before]
        return sorted(turns, key=lambda turn: turn.seq)

    def conversation(self, conversation_id: str, with_entries: bool = True) -> list[TurnLog]:
        """All turns of a conversation in order, including those that a fork shares with its origin.

        ``with_entries`` False: turns from the log have no entries.
        """
        turns: dict[int, TurnLog] = {}
        for id, before in reversed(self._lineage(conversation_id)):
            turns |= {turn.seq: turn for turn in self.reader.conversation(id, with_entries) if turn.seq < before}
        turns |= {turn.seq: turn for turn in self.recent(conversation_id)}
        return [turns[seq] for seq in sorted(turns)]

    def owner_of(self, conversation_id: str) -> str | None:
        """The conversation's owner; None if there is no such conversation, or if it was deleted."""
        for turn in self.recent(conversation_id):
            return turn.owner
        return self.reader.owner_of(conversation_id)

    def is_deleted(self, conversation_id: str) -> bool:
        """Whether the conversation was deleted with all branches, which could still show its turns."""
        if self.owner_of(conversation_id) is not None:
            return False
        return all(fork.deleted for fork in self.reader.forks(conversation_id))

    def kind_of(self, conversation_id: str) -> str | None:
        """What the conversation's turns are: chat or bench; None if there is no such conversation."""
        for turn in self.recent(conversation_id):
            return turn.kind
        return self.reader.kind_of(conversation_id)

    def forks(self, conversation_id: str) -> list[Fork]:
        """The conversation, the ones it was forked from and their other forks, oldest first; then forks in memory."""
        known = {fork.conversation_id: fork for fork in self.reader.forks(conversation_id)}
        for turn in list(self._turns.values()):
            known.setdefault(turn.conversation_id, Fork(turn.conversation_id, turn.forked_from, turn.forked_at))
        return list(known.values())

    def next_seq(self, conversation_id: str) -> int:
        """The number of the conversation's next turn."""
        seqs = [turn.seq for turn in self.recent(conversation_id)]
        return max([*seqs, *self.reader.turn_seqs(conversation_id)], default=-1) + 1

    def history(self, conversation_id: str, lane: str, before_seq: float = math.inf, basis: str = "") -> list[Exchange]:
        """The prompts and answers of the conversation before turn ``before_seq`` that this turn's request of the lane
        begins with, without unanswered turns: the lane's own or, before a turn that has a ``basis``, that lane's.
        ``basis``: of turn ``before_seq``. The reasoning of another lane is left out.
        """
        bases: dict[int, str] = {}
        for id, before in reversed(self._lineage(conversation_id)):
            bases |= {seq: one for seq, one in self.reader.bases(id).items() if seq < before}
        bases |= {turn.seq: turn.basis for turn in self.recent(conversation_id) if turn.basis}
        parts = stretches(lane, before_seq, bases, basis)
        own = {whose: self.said(conversation_id, whose) for whose in {part.lane for part in parts}}
        history: list[Exchange] = []
        for whose, start, end in reversed(parts):
            said = [one for one in own[whose] if start <= one.seq < end]
            history += said if whose == lane else [one._replace(reasoning="") for one in said]
        return history

    def said(self, conversation_id: str, lane: str) -> list[Exchange]:
        """The lane's own prompts and answers in the conversation, in order, without unanswered turns."""
        exchanges: dict[int, Exchange] = {}
        for id, before in reversed(self._lineage(conversation_id)):
            exchanges |= {one.seq: one for one in self.reader.history(id, lane) if one.seq < before}
        for turn in self.recent(conversation_id):
            newest = turn.fold().newest(lane)
            if newest and newest.answer:
                exchanges[turn.seq] = Exchange(turn.seq, turn.prompt, newest.answer, newest.reasoning, turn.images)
        return [exchanges[seq] for seq in sorted(exchanges)]

    def image(self, sha256: str) -> bytes | None:
        """The bytes of an image that a turn or a queued prompt names; None if they are lost."""
        held = (one.data for turn in list(self._turns.values()) for one in turn.images if one.sha256 == sha256)
        return next(filter(None, held), None) or self.reader.image(sha256)

    def _own(self, conversation_id: str) -> list[TurnLog]:
        """The turns in memory that were sent in this conversation, without those of its origin."""
        return [turn for turn in list(self._turns.values()) if turn.conversation_id == conversation_id]

    def _lineage(self, conversation_id: str) -> list[tuple[str, float]]:
        """The conversation and its origins, as ``(id, limit)``: turns of ``id`` before number ``limit`` belong to it.

        Reads only memory, which also has forks that could not be written to the log; the log adds older origins.
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
        """Keep a new turn; the log writes its entries as they come. The future resolves when its row is durable."""
        stored = self.writer.open_turn(turn)
        self.reopen(turn)
        return stored

    def reopen(self, turn: TurnLog) -> None:
        """Keep a turn that is running again; the log writes its further entries as they come."""
        with self._lock:
            self._open.setdefault(turn.turn_id, len(turn.entries))
            self._keep(turn)

    def open_attempt(self, attempt: Attempt) -> Future[None]:
        """Write an attempt's row. The future resolves when it is durable; then the request may be sent."""
        return self.writer.open_attempt(attempt)

    def close(self, turn: TurnLog) -> None:
        """Mark the turn as closed. The newest ``RECENT_TURNS`` closed turns stay in memory."""
        with self._lock:
            since = self._open.pop(turn.turn_id, len(turn.entries))
            turn.close()
            closed = [one.turn_id for one in self._turns.values() if one.closed]
            for turn_id in closed[:-RECENT_TURNS]:
                del self._turns[turn_id]

        for listener in list(self._listeners):
            listener(turn, since)

    def listen(self, closed: Callable[[TurnLog, int], None], mirrors_too: bool = False) -> Callable[[], None]:
        """Call ``closed`` with each turn that is closed, on the engine's loop, until the returned function is called.
        It must return at once. It also gets the number of entries that the turn had before it ran: not 0 after a
        retry. ``mirrors_too``: also with turns that other processes ran, on the bus's loop."""
        self._listeners.append(closed)
        if mirrors_too:
            self._mirror_listeners.append(closed)

        def unlisten() -> None:
            self._listeners.remove(closed)
            if mirrors_too:
                self._mirror_listeners.remove(closed)

        return unlisten

    def add(self, turn: TurnLog, entry: Entry) -> None:
        """Append a user's change to an ended attempt, such as a promotion. Reopens a closed turn for that moment."""
        with self._lock:
            self._keep(turn)
            turn.append(entry)
            if turn.turn_id not in self._open:
                turn.close()

    def forget(self, conversation_id: str) -> None:
        """Drop a deleted conversation's closed turns from memory."""
        self._drop_closed(lambda turn: turn.conversation_id == conversation_id)

    def forget_of(self, owner: str | None) -> None:
        """Drop the closed turns that the owner may change from memory, since another process may have changed them;
        None: all of them."""
        self._drop_closed(lambda turn: owner is None or may_change(turn.owner, owner))

    def _drop_closed(self, which: Callable[[TurnLog], bool]) -> None:
        with self._lock:
            for turn in [turn for turn in self._turns.values() if turn.closed and which(turn)]:
                del self._turns[turn.turn_id]

    # Turns of other processes

    def share(self, bus: SharesTurns) -> None:
        """Publish this process's turns on the bus from now on, and look there for those of others."""
        self._bus = bus

    def mirror(self, turn: TurnLog, process: str) -> None:
        """Keep a turn that another process runs, in place of what is known of it. The caller appends its entries."""
        with self._lock:
            if turn.turn_id not in self._open:
                self._turns[turn.turn_id] = turn
                self._elsewhere[turn.turn_id] = process

    def end_mirror(self, turn: TurnLog, is_stored: bool) -> None:
        """Close a mirrored turn. If it is stored, it is read from the log from now on."""
        with self._lock:
            turn.close()
            if self._turns.get(turn.turn_id) is turn and self._elsewhere.pop(turn.turn_id, "") and is_stored:
                del self._turns[turn.turn_id]
        for listener in list(self._mirror_listeners):
            listener(turn, 0)

    def complete(self, turn: TurnLog) -> bool:
        """Write what a dead process has not written of a turn that was mirrored here. False if it cannot be written
        now; it is when the log works again. Blocks."""
        try:
            ops = missing_ops(self.reader, turn, self.writer.boot_id)
            self.writer.write(ops).result()
        except (LogError, RuntimeError):
            log.exception("the end of turn %s could not be written", turn.turn_id)
            return False
        return not self.writer.problem

    def keep_pull(self, pull: Pull) -> None:
        """Write a pull's newest state."""
        self.writer.write([pull_op(pull)])

    def stored_pulls(self) -> list[Pull]:
        """The newest state of each pull in the log."""
        return stored_pulls(self.reader)

    def unloaded_pairs(self) -> set[tuple[str, str]]:
        """Models that were unloaded to load another; none if the log cannot be read."""
        try:
            return unloaded_pairs(self.reader)
        except LogError:
            return set()

    def _keep(self, turn: TurnLog) -> None:
        turn.closed = False
        self._turns[turn.turn_id] = turn
        self._elsewhere.pop(turn.turn_id, None)
        self.writer.follow(turn)
        if self._bus is not None:
            self._bus.publish(turn)
