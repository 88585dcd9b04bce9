"""The engine owns turns, not the page: a thread with its own asyncio loop reads every upstream.

Why a thread of its own: reading the upstream in the loop that renders made tokens/s up to 58 % wrong with 3 streams;
a reader thread kept it within 0.1 % (design §2). Public methods may be called from any thread and return at once.
It knows nothing of pages and SQL: it appends to ``TurnLog``s and asks the log for a row before a request leaves.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..core.attempt import Attempt
from ..core.branches import Fork
from ..core.events import Entry
from ..core.lane import LaneChoice, LaneSpec
from ..core.turn import LaneInfo, TurnFold, TurnLog
from ..providers.base import ChatRequest, Message
from .attempts import AttemptRun, Context, Job, Tries
from .errors import EngineClosed, LaneBusy, UnknownLane, UnknownTurn
from .lane_info import lane_info
from .pending_lane import Asked

if TYPE_CHECKING:
    from ..log.reader import LogReader
    from ..log.writer import LogWriter
    from ..providers.roster import Roster

log = logging.getLogger(__name__)

RECENT_TURNS = 32  # closed turns kept in memory, so that a page that comes back at once needs no database
LAG_SAMPLE_S = 0.02
SWITCH_S = 0.0005  # the thread that stamps gets the interpreter after this, not after Python's 5 ms; for the process


class Engine:
    """Sends turns, stops them, hands out their logs.

    ``log`` None: nothing is stored. ``reader`` None: conversations are known only while they are in memory.
    ``leaving``: the process has been told to end; whatever is stopped from then on is interrupted, not stopped.
    """

    leaving = False

    def __init__(
        self,
        roster: Roster,
        log: LogWriter | None = None,
        reader: LogReader | None = None,
        *,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        wall_ns: Callable[[], int] = time.time_ns,
        max_retries: int = 2,
    ) -> None:
        self._roster = roster
        self._log = log
        self._reader = reader
        self._clock_ns = clock_ns
        self._wall_ns = wall_ns
        self._max_retries = max_retries
        self._turns: dict[str, TurnLog] = {}
        self._running: dict[str, dict[str, Asked]] = {}  # turn id -> lane id -> what is to be answered
        self._asking = threading.Lock()  # callers decide one by one: a turn's number, whether a lane is free
        self._lock = threading.Lock()  # over `_running` and a turn's end; the loop takes it too, so only for a moment
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: set[AttemptRun] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="engine", daemon=True)
        self._closing = False

    @property
    def specs(self) -> tuple[LaneSpec, ...]:
        """The lanes as configured now: a lanes file changed a moment ago is taken up first."""
        self._roster.refresh()
        return self._roster.specs

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The engine's loop, for provider work that is not a turn (checks, pulls)."""
        return self._loop

    @property
    def log(self) -> LogWriter | None:
        """Where rows that are no turn's are written."""
        return self._log

    def start(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()

    def close(self, grace_s: float = 2.0) -> None:
        """End every running attempt as ``interrupted``, wait for the closes, stop the thread. The log stays open."""
        if self._closing:
            return
        self._closing = True
        if not self._thread.is_alive():
            self._loop.close()
            return
        try:
            asyncio.run_coroutine_threadsafe(self._shut_down(grace_s), self._loop).result(grace_s + 2)
        except concurrent.futures.TimeoutError:
            log.warning("a provider did not close within %.1f s", grace_s + 2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)

    def send(
        self,
        prompt: str,
        *,
        lanes: Sequence[str] | None = None,
        conversation_id: str | None = None,
        fork_at: int | None = None,
        owner: str = "",
        system: str = "",
        params: Mapping[str, Any] | None = None,
        choices: Mapping[str, LaneChoice] | None = None,
        blind: bool = False,
    ) -> TurnLog:
        """Send ``prompt`` to the lanes (all, if None) and return the turn's log, which fills by itself.

        Without ``conversation_id`` a conversation begins. ``fork_at``: begin a new one that shares the turns before
        that number with ``conversation_id`` and has this prompt next; the old one stays as it is. ``params`` go to
        every lane's request, and over them what ``choices`` says of a lane. ``blind``: readers are told of it through
        ``core.blind``, the lanes in an order drawn here, until there is a vote. Raises ``UnknownLane``,
        ``UnknownTurn`` (not the owner's conversation), ``EngineClosed``.
        """
        t0_ns = self._clock_ns()
        self._check_open()
        prompt, system = (text.encode(errors="replace").decode() for text in (prompt, system))  # no lone surrogates
        choices, params = choices or {}, params or {}
        specs = {spec.id: spec for spec in self.specs}
        chosen = list(specs) if lanes is None else list(lanes)
        unknown = [lane for lane in chosen if lane not in specs]
        if unknown or not chosen:
            raise UnknownLane(f"No lane named {', '.join(unknown) or '(none)'}: there are {', '.join(specs)}.")
        if conversation_id and self.owner_of(conversation_id) != owner:
            raise UnknownTurn("This conversation is not here: begin a new one.")
        forked_from = conversation_id if conversation_id and fork_at is not None else ""
        if forked_from or not conversation_id:
            conversation_id = uuid.uuid4().hex
        own = {lane: choices.get(lane, LaneChoice()) for lane in chosen}
        asked = {lane: Asked(self._roster.provider(lane), 1, 0, {**params, **own[lane].params}) for lane in chosen}
        with self._asking:
            turn = TurnLog(
                turn_id=uuid.uuid4().hex,
                conversation_id=conversation_id,
                seq=(fork_at or 0) if forked_from else self._next_seq(conversation_id),
                prompt=prompt,
                forked_from=forked_from,
                forked_at=(fork_at or 0) if forked_from else 0,
                lanes=tuple(lane_info(asked[lane].provider.spec, specs, own[lane]) for lane in chosen),
                owner=owner,
                system=system,
                started_at_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
                t0_ns=t0_ns,
                slots=tuple(random.SystemRandom().sample(chosen, len(chosen))) if blind else (),
            )
            self._register(turn, asked)
        self._loop.call_soon_threadsafe(self._start, self._run_turn(turn, asked))
        return turn

    def retry(self, turn_id: str, lane: str, *, owner: str = "") -> TurnLog:
        """Ask one lane of a turn again: a further attempt in the same turn, whose log opens again for it.

        Raises ``UnknownTurn``, ``UnknownLane``, ``LaneBusy`` and ``EngineClosed``.
        """
        now_ns = self._clock_ns()
        self._check_open()
        with self._asking:
            turn = self._turns.get(turn_id) or (self._reader.turn(turn_id) if self._reader else None)
            if turn is None or turn.owner != owner:
                raise UnknownTurn("This turn is not here any more.")
            if lane not in {info.id for info in turn.lanes} or lane not in {spec.id for spec in self.specs}:
                raise UnknownLane(f"This turn has no lane {lane} that is still configured.")
            due = self._running.get(turn_id, {}).get(lane)
            fold = TurnFold.of(turn).apply_all(list(turn.entries))
            last = fold.attempts.get(fold.current(lane) or "")
            if last is None or not fold.lane_ended(lane) or (due and due.first_no > last.attempt_no):
                raise LaneBusy("This lane is still streaming: stop it first.")
            if not turn.t0_ns:  # read back from the log: its clock starts where the wall clock says
                age_s = (datetime.now(UTC) - datetime.fromisoformat(turn.started_at_utc)).total_seconds()
                turn.t0_ns = now_ns - int(max(0.0, age_s) * 1e9)
            asked = Asked(self._roster.provider(lane), last.attempt_no + 1, now_ns - turn.t0_ns, dict(last.params))
            self._register(turn, {lane: asked})
        self._loop.call_soon_threadsafe(self._start, self._run_again(turn, lane, asked))
        return turn

    def stop(self, turn_id: str, lane: str | None = None) -> None:
        """Stop one lane of a turn, or all. Unknown or ended ones are left as they are."""

        def stop() -> None:
            for name, asked in list(self._running.get(turn_id, {}).items()):
                if lane in (None, name):
                    asked.stop("shutdown" if self.leaving else "user")

        if not self._closing:
            self._loop.call_soon_threadsafe(stop)

    def add(self, turn: TurnLog, entry: Entry) -> None:
        """Append what a person has made of an attempt that had ended. Raises ``EngineClosed``."""
        self._check_open()
        with self._lock:  # the turn must not close before it is followed
            turn.closed = False
            self._turns[turn.turn_id] = turn
            if self._log:
                self._log.follow(turn)
            turn.append(entry)
            turn.closed = not self._running.get(turn.turn_id)

    def turn(self, turn_id: str) -> TurnLog | None:
        """A turn that runs or ended lately; older ones are the log reader's."""
        return self._turns.get(turn_id)

    def live_turns(self, owner: str | None = None) -> list[TurnLog]:
        """Turns still running, oldest first; of one owner where given."""
        return [turn for turn in list(self._turns.values()) if not turn.closed and owner in (None, turn.owner)]

    def recent_turns(self, conversation_id: str) -> list[TurnLog]:
        """Turns of a conversation that are in memory, in order; a fork's shared turns included."""
        in_memory = list(self._turns.values())
        turns: list[TurnLog] = []
        before: float = math.inf
        while conversation_id:
            own = [turn for turn in in_memory if turn.conversation_id == conversation_id and turn.seq < before]
            turns += own
            fork = next((turn for turn in own if turn.forked_from), None)
            conversation_id, before = (fork.forked_from, fork.forked_at) if fork else ("", 0)
        return sorted(turns, key=lambda turn: turn.seq)

    def forget(self, conversation_id: str) -> None:
        """Drop a conversation's ended turns from memory: it was deleted."""
        for turn in list(self._turns.values()):
            if turn.closed and turn.conversation_id == conversation_id:
                self._turns.pop(turn.turn_id, None)

    def owner_of(self, conversation_id: str) -> str | None:
        """The conversation's owner; None if there is no such conversation."""
        for turn in self.recent_turns(conversation_id):
            return turn.owner
        return self._reader.owner_of(conversation_id) if self._reader else None

    def forks(self, conversation_id: str) -> list[Fork]:
        """The conversation, those it was edited out of, and their other edits, oldest first. Reads the log."""
        known = {fork.conversation_id: fork for fork in (self._reader.forks(conversation_id) if self._reader else ())}
        for turn in list(self._turns.values()):
            known.setdefault(turn.conversation_id, Fork(turn.conversation_id, turn.forked_from, turn.forked_at))
        return list(known.values())

    def history(self, conversation_id: str, lane: str, before_seq: float = math.inf) -> list[tuple[str, str, str]]:
        """The lane's turns of a conversation before that number as ``(prompt, answer, reasoning)``, answered ones only.

        Memory is newer than the log. Reads the log, so it may block for some ms.
        """
        rows = self._reader.history(conversation_id, lane) if self._reader else ()
        by_seq = {row.seq: (row.prompt, row.answer, row.reasoning) for row in rows}
        for earlier in self.recent_turns(conversation_id):
            newest = TurnFold.of(earlier).apply_all(list(earlier.entries)).newest(lane)
            if newest and newest.answer:
                by_seq[earlier.seq] = (earlier.prompt, newest.answer, newest.reasoning)
        return [by_seq[seq] for seq in sorted(by_seq) if seq < before_seq]

    def _check_open(self) -> None:
        if self._closing:
            raise EngineClosed("Kimi UI is shutting down: start it again to send.")

    def _register(self, turn: TurnLog, asked: Mapping[str, Asked]) -> None:
        """The turn runs from now on, so a stop finds it, and a lane asked twice is busy."""
        with self._lock:
            self._running.setdefault(turn.turn_id, {}).update(asked)
            turn.closed = False
            self._turns[turn.turn_id] = turn

    def _next_seq(self, conversation_id: str) -> int:
        seqs = [turn.seq for turn in self.recent_turns(conversation_id)]
        if self._reader:
            seqs += self._reader.turn_seqs(conversation_id)
        return max(seqs, default=-1) + 1

    # What follows runs on the engine's loop.

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        sampler = self._loop.create_task(self._sample_lag())
        try:
            self._loop.run_forever()
        finally:
            sampler.cancel()
            self._loop.run_until_complete(asyncio.gather(sampler, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_turn(self, turn: TurnLog, asked: Mapping[str, Asked]) -> None:
        if self._log:
            await self._stored(self._log.open_turn(turn))
            self._log.follow(turn)
        await asyncio.gather(*(self._run_lane(turn, info, asked[info.id]) for info in turn.lanes))
        await self._close_if_done(turn)

    async def _run_again(self, turn: TurnLog, lane: str, asked: Asked) -> None:
        if self._log:
            self._log.follow(turn)
        info = next(info for info in turn.lanes if info.id == lane)
        await self._run_lane(turn, info, asked)
        await self._close_if_done(turn)

    async def _run_lane(self, turn: TurnLog, info: LaneInfo, asked: Asked) -> None:
        """Run one lane to its end; whatever breaks in here stays in this lane."""
        lane = info.id
        try:
            provider = asked.provider
            request = ChatRequest(await self._messages(turn, info, provider.spec), asked.params, info.chosen_model)
            context = Context(
                turn, self, self._clock_ns, self._wall_ns, self._in_flight, self._max_retries, random.Random()
            )
            role = "heavy" if provider.spec.of else "single"
            job = Job(lane, provider, request, role, first_no=asked.first_no, asked_ns=asked.asked_ns)
            if self._closing:
                asked.stop("shutdown")
            tries = Tries(job, context)
            asked.run(tries)
            await tries.wait()
        except Exception:
            log.exception("lane %s of turn %s broke", lane, turn.turn_id)
        finally:
            with self._lock:
                if self._running.get(turn.turn_id, {}).get(lane) is asked:  # else asked again since its last try ended
                    del self._running[turn.turn_id][lane]

    async def _close_if_done(self, turn: TurnLog) -> None:
        with self._lock:
            if self._running.get(turn.turn_id):
                return
            self._running.pop(turn.turn_id, None)
            turn.closed = True
        closed = [turn_id for turn_id, one in list(self._turns.items()) if one.closed]
        for turn_id in closed[:-RECENT_TURNS]:
            self._turns.pop(turn_id, None)
        if not self._running:
            await self._roster.close_retired()

    async def open_attempt(self, attempt: Attempt) -> None:
        """The row exists before the request leaves."""
        if self._log:
            await self._stored(self._log.open_attempt(attempt))

    async def _stored(self, future: concurrent.futures.Future[None]) -> None:
        """A log that fails must not stop a stream: the writer keeps what it could not write and tells the page."""
        try:
            await asyncio.wrap_future(future)
        except Exception:
            log.exception("the log did not take a row")

    async def _messages(self, turn: TurnLog, info: LaneInfo, spec: LaneSpec) -> tuple[Message, ...]:
        """The lane's own history, then this prompt. A turn without an answer in this lane is left out whole."""
        system = turn.system or spec.system
        messages = [Message("system", system)] if system else []
        if turn.seq:
            earlier = await asyncio.to_thread(self.history, turn.conversation_id, info.id, turn.seq)
            for prompt, answer, reasoning in earlier:
                messages.append(Message("user", prompt))
                apart = info.send_reasoning and reasoning != answer  # else it was promoted to be the answer
                messages.append(Message("assistant", answer, reasoning if apart else ""))
        messages.append(Message("user", turn.prompt))
        return tuple(messages)

    async def _sample_lag(self) -> None:
        """How late this loop runs, told to every attempt in flight: a late loop stamps late."""
        due_ns = self._clock_ns()
        while True:
            await asyncio.sleep(LAG_SAMPLE_S)
            now_ns = self._clock_ns()
            lag_ns = now_ns - due_ns - int(LAG_SAMPLE_S * 1e9)
            due_ns = now_ns
            for run in self._in_flight:
                run.loop_lag_ns = max(run.loop_lag_ns, lag_ns)

    async def _shut_down(self, grace_s: float) -> None:
        for lanes in list(self._running.values()):
            for asked in list(lanes.values()):
                asked.stop("shutdown")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        await self._roster.aclose()
