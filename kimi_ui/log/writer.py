"""LogWriter: the one thread that writes the log.

The engine asks for a row before a request leaves (``open_turn``, ``open_attempt``: durable when the future resolves)
and hands over each turn once (``follow``); the thread then tails the turn's entries by itself and appends them at most
half a second apart, so that a killed process loses no more than that. When an attempt ends, one update completes it.

A database that cannot be written stops nothing: what should have been written goes to a spill file beside it (fsynced)
and is written when the database takes writes again, at the latest at the next start. ``problem`` is the sentence for
the page while that is so. If the file is removed or replaced meanwhile, a new one is begun there, and the turns that
run are written to it from their beginning. Streaming never waits for this thread longer than for one open row.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ..core.attempt import Attempt, AttemptFold
from ..core.events import End, Entry, Event, Opened, Promoted
from ..core.turn import TurnLog
from ..tokenizers import counter
from .conversations import delete_conversation, rename_conversation
from .records import Op, attempt_op, conversation_op, events_op, final_op, promote_op, sent_op, turn_op
from .spill import append_ops, replay
from .sqlite.store import Store as SqliteStore
from .store import CannotWrite, LogError, LogReplaced, Store, Transaction

log = logging.getLogger(__name__)

CHECKPOINT_S = 0.5
ERASE_PAUSE_S = 0.02  # between steps of overwriting deleted text: whatever waits is written first
ERASE_AT_END_S = 2.0  # of closing; what is left then is done at the next start
LOOK_S = 0.1  # while turns run: how often to see whether an attempt has ended, whose row is then completed at once
RETRY_S = 2.0  # between tries to write to a database that failed
CLOSED = "the log is closed"
SLICE_ENTRIES = 2000  # entries encoded per transaction: bounded work, and the engine gets the interpreter in between


@dataclass
class _Followed:
    """A turn being tailed: how far, how far it was looked through for ends, and the folds of its open attempts."""

    turn: TurnLog
    index: int
    seen: int = 0
    folds: dict[str, AttemptFold] = field(default_factory=dict)
    tokenizers: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[Op]:
        return [conversation_op(self.turn), turn_op(self.turn)]

    def restart(self) -> None:
        """Write it from its beginning."""
        self.index = self.seen = 0
        self.folds.clear()
        self.tokenizers.clear()


@dataclass
class _Job:
    """Something to write now. Without ops: everything followed so far; ``change``: what is not a row to add."""

    future: Future[None]
    ops: list[Op] = field(default_factory=list)
    checkpoint: bool = False
    stop: bool = False
    change: Callable[[Transaction], set[str]] | None = None  # returns the ids of what it deleted


class LogWriter:
    """Writes the log at ``path``. ``start`` raises ``LogError``; nothing else raises for a database that fails.

    ``begins_anew`` False: a damaged or newer log is left where it is, and ``start`` raises ``LogUnusable``.
    """

    def __init__(self, path: str | Path, begins_anew: bool = True) -> None:
        self.path = Path(path)
        self.boot_id = uuid.uuid4().hex[:16]
        self._store: Store = SqliteStore(self.path, self.boot_id, begins_anew)
        self._jobs: queue.SimpleQueue[_Job | _Followed] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._opened: Future[None] = Future()
        self._in_hand: list[_Job] = []
        self._gate = threading.Lock()  # over ``_closed``: what is put after it would wait for ever
        self._closed = False
        self._followed: dict[str, _Followed] = {}
        self._failing = ""  # why the database cannot be written; empty while it can
        self._unspilled: list[Op] = []  # what neither the database nor the spill file took
        self._told = ""  # the problem that the terminal has been told of
        self._retry_at = 0.0
        self._gone: set[str] = set()  # ids of deleted conversations and their turns: nothing is written to them again
        self._erase_at = 0.0  # when the next step of overwriting deleted text is due; one looks at the start, too

    @property
    def problem(self) -> str:
        """One sentence for the page if the log is not as it should be, else empty."""
        if not self._failing:
            return self._store.notice
        kept = "in memory only" if self._unspilled else f"in {self._store.spill.name}"
        return f"The log cannot be written ({self._failing}). Nothing is lost: turns are kept {kept} until it can."

    def start(self) -> None:
        """Open the log: migrate it, take up what earlier processes left. Raises ``LogError``."""
        self._thread.start()
        self._opened.result()

    def close(self) -> None:
        """Write everything that has happened, then end. Further calls fail; closing twice is harmless."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        if self._thread.is_alive():
            self._jobs.put(_Job(Future(), checkpoint=True, stop=True))
            self._thread.join()

    def open_turn(self, turn: TurnLog) -> Future[None]:
        """The turn's row (and its conversation's). The future resolves when it is durable."""
        return self._submit(_Job(Future(), [conversation_op(turn), turn_op(turn)]))

    def open_attempt(self, attempt: Attempt) -> Future[None]:
        """The attempt's row, ``open``. The future resolves when it is durable; then the request may leave."""
        return self._submit(_Job(Future(), [self._attempt_op(attempt)]))

    def follow(self, turn: TurnLog) -> None:
        """Write the turn's entries from here on as they come, until it is closed. Its row must be open."""
        followed = _Followed(turn, len(turn.entries))
        if self._store.was_replaced:
            self._submit(_Job(Future(), followed.rows))  # they may have gone with the file
        self._jobs.put(followed)

    def write(self, ops: Iterable[Op]) -> Future[None]:
        """Rows that belong to no turn in flight; resolves when they are durable."""
        return self._submit(_Job(Future(), list(ops)))

    def rename_conversation(self, conversation_id: str, owner: str, title: str) -> Future[None]:
        """Another title. The future raises ``ConversationGone``, or ``LogError`` while the log cannot be written."""
        change = partial(rename_conversation, conversation_id=conversation_id, owner=owner, title=title)
        return self._submit(_Job(Future(), change=change))

    def delete_conversation(self, conversation_id: str, owner: str) -> Future[None]:
        """Delete its turns and all that belongs to them; its running turns must have been stopped.

        When the future resolves nothing of it can be read; the store overwrites its bytes in the moments after.
        The future raises as ``rename_conversation`` does.
        """

        change = partial(delete_conversation, conversation_id=conversation_id, owner=owner)
        return self._submit(_Job(Future(), checkpoint=True, change=change))

    def flush(self) -> Future[None]:
        """Write everything that has happened so far; resolves when it is durable."""
        return self._submit(_Job(Future(), checkpoint=True))

    def _submit(self, job: _Job) -> Future[None]:
        job.future.set_running_or_notify_cancel()  # from here on it is written, whether somebody waits or not
        with self._gate:
            if not self._closed:
                self._jobs.put(job)
                return job.future
        job.future.set_exception(RuntimeError(CLOSED))
        return job.future

    def _attempt_op(self, attempt: Attempt) -> Op:
        op = attempt_op(attempt, self.boot_id)
        if not attempt.started_at_utc:  # known exactly once it is sent; until then the time of writing
            op.row["started_at_utc"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        return op

    # What follows runs on the writer's thread.

    def _run(self) -> None:
        try:
            self._store.open()
            counter()  # load the vocabulary now: later it would hold up streams
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        try:
            self._serve()
        finally:
            with self._gate:
                self._closed = True
            for job in [*self._in_hand, *self._take_jobs(0)]:  # whatever ended this thread: nobody waits for it
                if not job.future.done():
                    job.future.set_exception(RuntimeError(CLOSED))
            self._store.close()

    def _serve(self) -> None:
        """Take jobs as they come, and follow turns in between, until told to stop."""
        due = time.monotonic() + CHECKPOINT_S
        while True:
            wait_s = max(0.0, min(due, self._erase_at) - time.monotonic())
            jobs = self._in_hand = self._take_jobs(min(wait_s, LOOK_S) if self._followed else wait_s)
            checkpoint = time.monotonic() >= due or any(job.checkpoint for job in jobs) or self._has_ended()
            if stopping := any(job.stop for job in jobs):
                self._retry_at = 0.0  # a last try to write what the database did not take
            try:
                if ops := [op for job in jobs for op in job.ops]:
                    self._write(ops)  # first: a request waits for it
                if checkpoint:
                    self._checkpoint()
                    due = time.monotonic() + CHECKPOINT_S
            except Exception:
                log.exception("the log writer failed inside")
                due = time.monotonic() + CHECKPOINT_S
            for job in jobs:
                self._finish(job)
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
        if job.change is None:
            job.future.set_result(None)
            return
        try:
            if self._failing:
                raise LogError(f"The log cannot be written ({self._failing}).", "Try again once it can.")
            if deleted := self._store.change(job.change):
                self._gone |= deleted
                self._erase_at = 0.0
        except CannotWrite as error:
            if not isinstance(error, LogReplaced):  # the next write looks after that
                self._fail(error)
            job.future.set_exception(LogError(f"The log cannot be written ({error}).", "Try again once it can."))
        except Exception as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(None)

    def _erase(self) -> None:
        """One step of overwriting deleted text; ``_erase_at`` says when to take the next."""
        try:
            done = self._store.erase_step()
            self._erase_at = math.inf if done else time.monotonic() + ERASE_PAUSE_S
        except CannotWrite:
            self._erase_at = time.monotonic() + RETRY_S

    def _take_jobs(self, wait_s: float) -> list[_Job]:
        """All jobs that wait, at least one unless ``wait_s`` passes first. Turns to follow are taken note of."""
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

    def _has_ended(self) -> bool:
        """True if an attempt of a followed turn has ended since this was last asked."""
        ended = False
        for followed in self._followed.values():
            new = followed.turn.entries[max(followed.seen, followed.index) :]
            followed.seen = max(followed.seen, followed.index) + len(new)
            ended |= any(isinstance(entry.event, End) for entry in new)
        return ended

    def _checkpoint(self) -> None:
        """Write the new entries of every followed turn; let go of turns that are closed and drained."""
        if self._failing and time.monotonic() >= self._retry_at:
            self._recover()
        for followed in list(self._followed.values()):
            if self._gone and not self._gone.isdisjoint((followed.turn.turn_id, followed.turn.conversation_id)):
                del self._followed[followed.turn.turn_id]
                continue
            closed = followed.turn.closed  # before looking at the entries: after it nothing is appended
            while ops := self._new_ops(followed):
                self._write(ops)
            if closed and followed.index == len(followed.turn.entries):
                del self._followed[followed.turn.turn_id]

    def _new_ops(self, followed: _Followed) -> list[Op]:
        """What the next slice of a turn's entries amounts to; empty when there is nothing new."""
        turn, start = followed.turn, followed.index
        entries = turn.entries[start : start + SLICE_ENTRIES]
        followed.index += len(entries)
        rows: list[Op] = []
        finals: list[Op] = []
        segments: dict[tuple[str, str | None], tuple[int, list[tuple[int, Event]]]] = {}
        for i, entry in enumerate(entries, start):
            if isinstance(entry.event, Opened):
                rows += self._opened_ops(followed, entry.event)
                continue
            _, items = segments.setdefault((entry.lane, entry.attempt_id or None), (i, []))
            items.append((entry.t_ns, entry.event))
            if entry.attempt_id:
                finals += self._fold(followed, entry)
        events = [events_op(turn.turn_id, lane, id, seq, items) for (lane, id), (seq, items) in segments.items()]
        return [*rows, *events, *finals]

    def _opened_ops(self, followed: _Followed, event: Opened) -> list[Op]:
        attempt = Attempt(**event.identity)
        followed.folds[attempt.attempt_id] = AttemptFold()
        followed.tokenizers[attempt.attempt_id] = attempt.tokenizer
        return [self._attempt_op(attempt), sent_op(attempt)]

    def _fold(self, followed: _Followed, entry: Entry) -> list[Op]:
        """Apply an entry to its attempt; the final update if it was the last, or what a person made of it then."""
        if isinstance(entry.event, Promoted):
            return [promote_op(entry.attempt_id)]
        fold = followed.folds.get(entry.attempt_id)
        if fold is None:
            return []
        fold.apply(entry.t_ns, entry.event)
        if not isinstance(entry.event, End):
            return []
        del followed.folds[entry.attempt_id]
        return [final_op(entry.attempt_id, fold, followed.tokenizers.pop(entry.attempt_id))]

    def _write(self, ops: list[Op]) -> None:
        """To the database, else to the spill file, else keep them here."""
        if self._gone:
            ops = [op for op in ops if not self._is_gone(op)]
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
        try:
            append_ops(self._store.spill, [*self._unspilled, *ops])
            self._unspilled = []
        except OSError:
            self._unspilled += ops
        if self.problem != self._told:
            self._told = self.problem
            log.warning("%s", self._told)

    def _is_gone(self, op: Op) -> bool:
        """True for a row of a conversation that was deleted meanwhile."""
        if op.row.get("conversation_id") in self._gone and "turn_id" in op.row:
            self._gone.add(op.row["turn_id"])
        return not self._gone.isdisjoint((op.row.get("turn_id"), op.row.get("conversation_id")))

    def _fail(self, error: Exception) -> None:
        self._failing = str(error) or type(error).__name__
        self._retry_at = time.monotonic() + RETRY_S

    def _recover(self) -> bool:
        """Try the database again; if it takes writes, give it what it missed. True if it does."""
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
        self._failing = self._told = ""
        log.warning("%s", f"The log can be written again. {self._store.notice}".rstrip())
        return True

    def _begin_again(self) -> list[Op]:
        """The rows of what runs, whose events are written from their beginning from here on: the file has gone."""
        for followed in self._followed.values():
            followed.restart()
        rows = [op for followed in self._followed.values() for op in followed.rows]
        return [op for op in rows if not self._is_gone(op)]
