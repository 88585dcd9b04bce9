"""LogWriter: the only thread that writes the log.

Rows of turns and attempts are written before a request is sent (``open_turn``, ``open_attempt``: durable when the
future resolves). ``follow`` registers a turn once; the thread then appends its entries at most half a second apart, so
that a killed process loses no more than that. When an attempt ends, one update completes its row.

A database that cannot be written stops nothing: the rows go to a spill file (fsynced; next to the database or, if that
is on a server, in the user's data directory) and are written when the database works again, at the latest at the next
start. ``problem`` is the sentence for the page until then. If the log is removed or replaced, a new one is created, and
running turns are written to it from their beginning. A stream never waits for this thread longer than for one open row.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from .. import utc
from ..core.attempt import Attempt, AttemptFold
from ..core.events import End, Entry, Opened, Promoted, TextRun, in_runs
from ..core.turn import TurnLog
from ..tokenizers import counter
from .conversations import (
    delete_conversation,
    erase_conversations,
    erase_deleted_before,
    mark_conversations,
    rename_conversation,
)
from .places import Place, store_at
from .records import Op, attempt_op, events_op, final_ops, promote_op, sent_op, turn_ops
from .spill import append_ops, replay
from .store import BEAT_S, CannotWrite, LogError, LogReplaced, Store, Transaction

log = logging.getLogger(__name__)

CHECKPOINT_S = 0.5
ERASE_PAUSE_S = 0.02  # between steps of overwriting deleted text, so that pending writes come first
ERASE_AT_END_S = 2.0  # limit while closing; the next start does the rest
LOOK_S = 0.1  # while turns run: interval of looking for ended attempts, whose rows are completed at once
RETRY_S = 2.0  # first pause between tries to write to a database that failed; each further one is half as long again
MOST_RETRY_S = 15.0  # the longest such pause
CLOSED = "the log is closed"
SLICE_ENTRIES = 2000  # entries per transaction, a limit so that the engine gets the GIL in between


@dataclass
class _Followed:
    """A followed turn: how far it is written, how far it was searched for ends, the folds of open attempts."""

    turn: TurnLog
    index: int
    seen: int = 0
    folds: dict[str, AttemptFold] = field(default_factory=dict)
    tokenizers: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[Op]:
        return turn_ops(self.turn)

    def restart(self) -> None:
        """Write the turn again from its beginning."""
        self.index = self.seen = 0
        self.folds.clear()
        self.tokenizers.clear()


@dataclass
class _Job:
    """A write to do now. Without ops: all followed entries so far; ``change``: a change other than new rows."""

    future: Future[None]
    ops: list[Op] = field(default_factory=list)
    checkpoint: bool = False
    stop: bool = False
    change: Callable[[Transaction], set[str]] | None = None  # returns the deleted ids
    turn: TurnLog | None = None  # whose rows the ops are


class LogWriter:
    """Writes the log at ``place``. Only ``start`` raises ``LogError`` for a failing database.

    ``replaces_unusable`` False: a damaged or newer log is not replaced, and ``start`` raises ``LogUnusable``.
    """

    def __init__(self, place: Place, replaces_unusable: bool = True) -> None:
        self.place = place
        self.boot_id = uuid.uuid4().hex[:16]
        self._store: Store = store_at(place, self.boot_id, replaces_unusable)
        self._jobs: queue.SimpleQueue[_Job | _Followed] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._opened: Future[None] = Future()
        self._in_hand: list[_Job] = []
        self._gate = threading.Lock()  # guards ``_closed``; a job queued after it would wait forever
        self._closed = False
        self._followed: dict[str, _Followed] = {}
        self._failing = ""  # why the database cannot be written, or empty
        self._unspilled: list[Op] = []  # ops that neither the database nor the spill file accepted
        self._logged_problem = ""  # the problem last logged to the terminal
        self.n_spilled = 0  # rows that the database did not take when they were due
        self.n_unwritten = 0  # those of them that it has not taken since: in the spill file or in memory
        self._retry_at = 0.0
        self._retry_s = RETRY_S
        self._beat_at = 0.0
        self._deleted_ids: set[str] = set()  # ids of deleted conversations and turns, whose rows are no longer written
        self._erase_at = 0.0  # time of the next step of overwriting deleted text; the first is at the start

    @property
    def problem(self) -> str:
        """A sentence for the page about a problem of the log, else empty."""
        if not self._failing:
            return self._store.notice
        kept = "in memory only" if self._unspilled else f"in {self._store.spill.name}"
        return f"The log cannot be written ({self._failing}). Nothing is lost: turns are kept {kept} until it can."

    @property
    def n_queued(self) -> int:
        """Writes that wait for the thread."""
        return self._jobs.qsize()

    @property
    def n_refused(self) -> int:
        """Rows that the database will never take, kept in a file beside it."""
        return self._store.n_refused

    def start(self) -> None:
        """Open the log, migrate it, and complete the rows of dead processes. Raises ``LogError``."""
        self._thread.start()
        self._opened.result()

    def close(self) -> None:
        """Write everything so far, then end the thread. Further calls fail; closing twice is harmless."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        if self._thread.is_alive():
            self._jobs.put(_Job(Future(), checkpoint=True, stop=True))
            self._thread.join()

    def open_turn(self, turn: TurnLog) -> Future[None]:
        """The turn's row, its conversation's and its images'. The future resolves when they are durable.

        Until then the turn may get another ``seq``, if a process elsewhere took this one.
        """
        return self._submit(_Job(Future(), turn_ops(turn), turn=turn))

    def open_attempt(self, attempt: Attempt) -> Future[None]:
        """The attempt's row, ``open``. The future resolves when it is durable; then the request may be sent."""
        return self._submit(_Job(Future(), [self._attempt_op(attempt)]))

    def follow(self, turn: TurnLog) -> None:
        """Write the turn's entries as they come, until it is closed. Its row must exist."""
        followed = _Followed(turn, len(turn.entries))
        if self._store.was_replaced:
            self._submit(_Job(Future(), followed.rows))  # they may have been lost with the file
        self._jobs.put(followed)

    def write(self, ops: Iterable[Op]) -> Future[None]:
        """Write rows that belong to no running turn; resolves when they are durable."""
        return self._submit(_Job(Future(), list(ops)))

    def change(self, change: Callable[[Transaction], set[str]]) -> Future[None]:
        """Make a change in one transaction. The future raises what ``change`` raises, or ``LogError``."""
        return self._submit(_Job(Future(), change=change))

    def rename_conversation(self, conversation_id: str, owner: str, title: str) -> Future[None]:
        """Set the title. The future raises ``ConversationGone``, or ``LogError`` while the log cannot be written."""
        return self.change(partial(rename_conversation, conversation_id=conversation_id, owner=owner, title=title))

    def delete_conversation(self, conversation_id: str, owner: str) -> Future[None]:
        """Delete a conversation with its turns, which must not be running.

        When the future resolves, none of it can be read; the store then overwrites its bytes. The future raises as
        ``rename_conversation`` does.
        """

        return self._change_after_checkpoint(partial(delete_conversation, conversation_id=conversation_id, owner=owner))

    def mark_conversations(self, conversation_ids: Sequence[str], owner: str, mark: str, on: bool) -> Future[None]:
        """Pin, archive or delete conversations, or take that back; raises as ``rename_conversation`` does."""
        at_utc = utc.now_text() if on else None
        return self._change_after_checkpoint(
            partial(mark_conversations, conversation_ids=conversation_ids, owner=owner, mark=mark, at_utc=at_utc)
        )

    def erase_conversations(self, conversation_ids: Sequence[str], owner: str) -> Future[None]:
        """``delete_conversation`` for those of the conversations that are marked as deleted."""
        change = partial(erase_conversations, conversation_ids=conversation_ids, owner=owner)
        return self._change_after_checkpoint(change)

    def erase_deleted_before(self, utc: str) -> Future[None]:
        """``delete_conversation`` for all conversations, whosoever, that were marked as deleted before that time."""
        return self._change_after_checkpoint(partial(erase_deleted_before, utc=utc))

    def _change_after_checkpoint(self, change: Callable[[Transaction], set[str]]) -> Future[None]:
        return self._submit(_Job(Future(), checkpoint=True, change=change))

    def flush(self) -> Future[None]:
        """Write all entries so far; resolves when they are durable."""
        return self._submit(_Job(Future(), checkpoint=True))

    def _submit(self, job: _Job) -> Future[None]:
        job.future.set_running_or_notify_cancel()  # cannot be cancelled from here on
        with self._gate:
            if not self._closed:
                self._jobs.put(job)
                return job.future
        job.future.set_exception(RuntimeError(CLOSED))
        return job.future

    def _attempt_op(self, attempt: Attempt) -> Op:
        op = attempt_op(attempt, self.boot_id)
        if not attempt.started_at_utc:  # exact when it is sent; until then the time of writing
            op.row["started_at_utc"] = utc.now_text()
        return op

    # All methods below run on the writer's thread.

    def _run(self) -> None:
        try:
            self._store.open()
            counter()  # load the vocabulary now, since later it would delay streams
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        try:
            self._serve()
        finally:
            with self._gate:
                self._closed = True
            for job in [*self._in_hand, *self._take_jobs(0)]:  # no caller may wait for a dead thread
                if not job.future.done():
                    job.future.set_exception(RuntimeError(CLOSED))
            self._store.close()

    def _serve(self) -> None:
        """Process jobs as they come and follow turns in between, until ``close``."""
        due = time.monotonic() + CHECKPOINT_S
        while True:
            wait_s = max(0.0, min(due, self._erase_at) - time.monotonic())
            jobs = self._in_hand = self._take_jobs(min(wait_s, LOOK_S) if self._followed else wait_s)
            checkpoint = time.monotonic() >= due or any(job.checkpoint for job in jobs)
            if stopping := any(job.stop for job in jobs):
                self._retry_at = 0.0  # a last try to write what the database refused
            try:
                if ops := [op for job in jobs for op in job.ops]:
                    self._write(ops)  # first, because a request waits for it
                if checkpoint:
                    self._checkpoint(self._followed.values())
                    due = time.monotonic() + CHECKPOINT_S
                elif ended := self._ended():
                    self._checkpoint(ended)
            except Exception:
                log.exception("the log writer had an internal error")
                due = time.monotonic() + CHECKPOINT_S
            for job in jobs:
                self._finish(job)
            if time.monotonic() >= self._beat_at and not self._failing:
                self._beat()
            if time.monotonic() >= self._erase_at:
                self._erase()
            if stopping:
                until = time.monotonic() + ERASE_AT_END_S
                while self._erase_at < until:
                    time.sleep(max(0.0, self._erase_at - time.monotonic()))
                    self._erase()
                return

    def _finish(self, job: _Job) -> None:
        """Make a job's change and resolve its future."""
        if job.turn is not None:
            job.turn.seq = next(op.row["seq"] for op in job.ops if op.table == "turns")
        if job.change is None:
            job.future.set_result(None)
            return
        try:
            if self._failing:
                raise LogError(f"The log cannot be written ({self._failing}).", "Try again once it can.")
            if deleted := self._store.change(job.change):
                self._deleted_ids |= deleted
                self._erase_at = 0.0
        except CannotWrite as error:
            if isinstance(error, LogReplaced):
                self._write([])  # which begins a new log
            else:
                self._fail(error)
                self._tell()
            job.future.set_exception(LogError(f"The log cannot be written ({error}).", "Try again once it can."))
        except Exception as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(None)

    def _erase(self) -> None:
        """Do one step of overwriting deleted text and set ``_erase_at``."""
        try:
            done = self._store.erase_step()
            self._erase_at = math.inf if done else time.monotonic() + ERASE_PAUSE_S
        except CannotWrite:
            self._erase_at = time.monotonic() + RETRY_S

    def _beat(self) -> None:
        """Say that this process runs."""
        self._beat_at = time.monotonic() + BEAT_S
        try:
            self._store.beat()
        except LogReplaced:
            self._write([])  # which begins a new log
        except CannotWrite as error:
            self._fail(error)
            self._tell()

    def _take_jobs(self, wait_s: float) -> list[_Job]:
        """All queued jobs; waits up to ``wait_s`` for the first. Registers turns to follow."""
        jobs: list[_Job] = []
        try:
            item = self._jobs.get(timeout=wait_s)
            while True:
                if isinstance(item, _Job):
                    jobs.append(item)
                else:
                    self._followed.setdefault(item.turn.turn_id, item)
                item = self._jobs.get_nowait()
        except queue.Empty:
            return jobs

    def _ended(self) -> list[_Followed]:
        """The followed turns of which an attempt has ended since the last call."""
        ended: list[_Followed] = []
        for followed in self._followed.values():
            new = followed.turn.entries[max(followed.seen, followed.index) :]
            followed.seen = max(followed.seen, followed.index) + len(new)
            if End in [type(entry.event) for entry in new]:
                ended.append(followed)
        return ended

    def _checkpoint(self, turns: Iterable[_Followed]) -> None:
        """Write the new entries of these followed turns; drop turns that are closed and completely written.

        As many turns as come to ``SLICE_ENTRIES`` entries share a transaction, since its fixed cost is that of 60
        tokens. What arrives meanwhile is left to the next checkpoint.
        """
        if self._failing and time.monotonic() >= self._retry_at:
            self._recover()
        ends: list[tuple[_Followed, int]] = []
        closed: list[_Followed] = []
        for followed in list(turns):
            turn = followed.turn
            if not self._deleted_ids.isdisjoint((turn.turn_id, turn.conversation_id)):
                del self._followed[turn.turn_id]
                continue
            if turn.closed:  # read before the entries: none is appended after it is set
                closed.append(followed)
            ends.append((followed, len(turn.entries)))
        while ops := self._new_ops(ends):
            self._write(ops)
        for followed in closed:
            if followed.index == len(followed.turn.entries):
                del self._followed[followed.turn.turn_id]

    def _new_ops(self, ends: Sequence[tuple[_Followed, int]]) -> list[Op]:
        """The ops for the next slice of these turns' entries, each up to an index; empty if all are written."""
        room, ops = SLICE_ENTRIES, list[Op]()
        for followed, end in ends:
            if (n := min(end - followed.index, room)) > 0:
                room -= n
                ops += self._ops_of(followed, n)
        return ops

    def _ops_of(self, followed: _Followed, n: int) -> list[Op]:
        """The ops for the next ``n`` entries of a turn."""
        turn, start = followed.turn, followed.index
        followed.index += n
        segments: dict[tuple[str, str], tuple[int, list[Entry]]] = {}
        for i, entry in enumerate(turn.entries[start : start + n], start):
            key = (entry.lane, entry.attempt_id)
            segment = segments.get(key)
            if segment is None:
                segment = segments[key] = (i, [])
            segment[1].append(entry)
        rows: list[Op] = []
        events: list[Op] = []
        finals: list[Op] = []
        for (lane, attempt_id), (seq, entries) in segments.items():
            if items := [(entry.t_ns, entry.event) for entry in entries if type(entry.event) is not Opened]:
                events.append(events_op(turn.turn_id, lane, attempt_id or None, seq, items))
            if attempt_id:
                self._fold(followed, attempt_id, entries, rows, finals)
        return [*rows, *events, *finals]

    def _fold(
        self, followed: _Followed, attempt_id: str, entries: Iterable[Entry], rows: list[Op], finals: list[Op]
    ) -> None:
        """Apply entries to their attempt. Adds its row, and the final update after ``End``, or a promotion."""
        fold = followed.folds.get(attempt_id)
        for one in in_runs(entries):
            if isinstance(one, TextRun):
                if fold is not None:
                    fold.extend(one)
                continue
            event = one.event
            if isinstance(event, Opened):
                attempt = Attempt(**event.identity)
                fold = followed.folds[attempt_id] = AttemptFold()
                followed.tokenizers[attempt_id] = attempt.tokenizer
                rows += [self._attempt_op(attempt), sent_op(attempt)]
            elif isinstance(event, Promoted):
                finals.append(promote_op(attempt_id))
            elif fold is not None:
                fold.apply(one.t_ns, event)
                if isinstance(event, End):
                    del followed.folds[attempt_id]
                    finals += final_ops(attempt_id, fold, followed.tokenizers.pop(attempt_id))
                    fold = None

    def _write(self, ops: list[Op]) -> None:
        """Write ops to the database, else to the spill file, else keep them in memory."""
        if self._deleted_ids:
            ops = [op for op in ops if not self._is_deleted(op)]
        if not self._failing:
            try:
                self._store.write(ops)
                return
            except LogReplaced as error:
                self._fail(error)
                ops = [*self._begin_again(), *(op for op in ops if op.table != "events")]
                if self._recover():
                    return self._write(ops)
            except CannotWrite as error:
                self._fail(error)
        self.n_spilled += len(ops)
        self.n_unwritten += len(ops)
        try:
            append_ops(self._store.spill, [*self._unspilled, *ops])
            self._unspilled = []
        except OSError:
            self._unspilled += ops
        self._tell()

    def _tell(self) -> None:
        """Say in the terminal, once, why the log cannot be written."""
        if self.problem != self._logged_problem:
            self._logged_problem = self.problem
            log.warning("%s", self._logged_problem)

    def _is_deleted(self, op: Op) -> bool:
        """True for a row of a conversation that was deleted meanwhile."""
        ids = [op.row[name] for name in ("turn_id", "prompt_id") if name in op.row]
        if op.row.get("conversation_id") in self._deleted_ids:
            self._deleted_ids.update(ids)
        return not self._deleted_ids.isdisjoint((*ids, op.row.get("conversation_id")))

    def _fail(self, error: Exception) -> None:
        self._failing = str(error) or type(error).__name__
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(1.5 * self._retry_s, MOST_RETRY_S)

    def _recover(self) -> bool:
        """Try the database again; if it works, write what it missed. True if it works."""
        try:
            self._store.reconnect()
            if self._store.spill.exists():
                replay(self._store.spill, self._store.write)
            if self._unspilled:
                self._store.write(self._unspilled)
        except (CannotWrite, OSError) as error:
            self._fail(error)
            return False
        self._unspilled = []
        self.n_unwritten = 0
        self._retry_s = RETRY_S
        self._failing = self._logged_problem = ""
        log.warning("%s", f"The log can be written again. {self._store.notice}".rstrip())
        return True

    def _begin_again(self) -> list[Op]:
        """The rows of all running turns, to write them again from their beginning after the file was lost."""
        for followed in self._followed.values():
            followed.restart()
        rows = [op for followed in self._followed.values() for op in followed.rows]
        return [op for op in rows if not self._is_deleted(op)]
