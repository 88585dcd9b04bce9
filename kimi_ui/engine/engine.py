"""The engine: a thread with its own asyncio loop that sends turns, stops them and retries lanes.

It is a thread of its own because reading the upstream in the loop that renders made tokens/s up to 58 % wrong with
3 streams; a reader thread kept it within 0.1 %. Public methods may be called from any thread and return at once.

The engine appends to ``TurnLog``s and knows nothing of pages, SQL and stored turns. What it needs to know of other
turns, and where a turn's rows go, is ``KeepsTurns``; ``kimi_ui.turns.Turns`` is the one that keeps them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ..core.attempt import Attempt
from ..core.lane import LaneChoice, LaneSpec
from ..core.turn import Exchange, LaneInfo, TurnLog
from ..providers.base import ChatRequest, Message, Provider
from .attempts import AttemptRun, Context, Job, Tries, sample_lag

log = logging.getLogger(__name__)


class EngineClosed(RuntimeError):
    """The app is shutting down; nothing more can be sent. The message of each of these is a sentence for the person."""


class UnknownLane(ValueError):
    """A lane id that is not configured, or not part of the turn."""


class UnknownTurn(ValueError):
    """A turn or conversation that is not here, or not this owner's."""


class LaneBusy(ValueError):
    """The lane is still streaming."""


class HasLanes(Protocol):
    """What the engine needs of the roster: the lanes as configured, and what serves each."""

    @property
    def specs(self) -> tuple[LaneSpec, ...]:
        """The lanes in the page's order."""

    def provider(self, lane: str) -> Provider:
        """What serves the lane. ``KeyError`` if there never was such a lane."""

    def refresh(self) -> None:
        """Take up what has changed in the configuration."""

    async def close_retired(self) -> None:
        """Close providers that have been replaced, while nothing runs."""

    async def aclose(self) -> None:
        """Close every provider."""


class KeepsTurns(Protocol):
    """What the engine needs of whoever keeps the turns. Methods without a future may read the log, so they may block;
    ``close`` alone is called on the engine's loop and must not."""

    def get(self, turn_id: str) -> TurnLog | None:
        """The turn, always as the same object while it is running."""

    def owner_of(self, conversation_id: str) -> str | None:
        """The conversation's owner; None if there is no such conversation."""

    def next_seq(self, conversation_id: str) -> int:
        """The number of the conversation's next turn."""

    def history(self, conversation_id: str, lane: str, before_seq: float) -> Iterable[Exchange]:
        """The lane's earlier answered turns, in order."""

    def open(self, turn: TurnLog) -> concurrent.futures.Future[None]:
        """A new turn is running from now on. The future resolves when its row is durable."""

    def reopen(self, turn: TurnLog) -> None:
        """A lane of an earlier turn is answered again from now on."""

    def close(self, turn: TurnLog) -> None:
        """No lane of the turn is running any more."""

    def open_attempt(self, attempt: Attempt) -> concurrent.futures.Future[None]:
        """Write the attempt's row. The future resolves when it is durable."""


@dataclass(eq=False)
class PendingLane:
    """A lane of a turn from the moment somebody wants it answered until its last try has ended.

    ``provider`` stays the same whatever the lanes file says later. ``first_no`` is the number of the first try,
    ``asked_ns`` when the person asked (ns since the turn's start), ``params`` are the request's own parameters.
    ``tries`` is what runs; before it exists the turn's row is written and the history read, and a stop that comes
    then is kept for it.
    """

    provider: Provider
    first_no: int
    asked_ns: int
    params: Mapping[str, Any]
    tries: Tries | None = None
    stop_reason: str = ""

    def run(self, tries: Tries) -> None:
        self.tries = tries
        if self.stop_reason:
            tries.stop(self.stop_reason)

    def stop(self, reason: str) -> None:
        """A second call changes nothing."""
        if not self.stop_reason:
            self.stop_reason = reason
            if self.tries:
                self.tries.stop(reason)


class Engine:
    """Sends turns to the roster's lanes, stops them, retries their lanes."""

    def __init__(
        self,
        roster: HasLanes,
        turns: KeepsTurns,
        *,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        wall_ns: Callable[[], int] = time.time_ns,
        max_retries: int = 2,
    ) -> None:
        self._roster = roster
        self._turns = turns
        self._clock_ns = clock_ns
        self._wall_ns = wall_ns
        self._max_retries = max_retries
        self._running: dict[str, dict[str, PendingLane]] = {}  # by turn id and lane id
        self._deciding = threading.Lock()  # callers decide one by one: a turn's number, whether a lane is free
        self._lock = threading.Lock()  # over `_running` and a turn's end; the loop takes it too, so only for a moment
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: set[AttemptRun] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="engine", daemon=True)
        self._shutdown_expected = False
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

    def start(self) -> None:
        self._thread.start()

    def expect_shutdown(self) -> None:
        """The process is about to end: what is stopped from now on is recorded as interrupted, not as stopped.

        Open requests are cut before ``close`` is called, and stop the turns they were waiting for.
        """
        self._shutdown_expected = True

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
        kind: str = "chat",
        params: Mapping[str, Any] | None = None,
        choices: Mapping[str, LaneChoice] | None = None,
        blind: bool = False,
    ) -> TurnLog:
        """Send ``prompt`` to the lanes (all, if None) and return the turn's log, which fills by itself.

        Without ``conversation_id`` a conversation begins. ``fork_at``: begin a new one that shares the turns before
        that number with ``conversation_id`` and has this prompt next; the old one stays as it is. ``kind`` is chat or
        bench. ``params`` go to every lane's request, and over them what ``choices`` says of a lane. ``blind``: readers
        are told of it through ``core.blind``, the lanes in an order drawn here, until there is a vote. Raises
        ``UnknownLane``, ``UnknownTurn`` (not the owner's conversation), ``EngineClosed``.
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
        if conversation_id and self._turns.owner_of(conversation_id) != owner:
            raise UnknownTurn("This conversation is not here: begin a new one.")
        forked_from = conversation_id if conversation_id and fork_at is not None else ""
        if forked_from or not conversation_id:
            conversation_id = uuid.uuid4().hex
        own = {lane: choices.get(lane, LaneChoice()) for lane in chosen}
        pending = {
            lane: PendingLane(self._roster.provider(lane), 1, 0, {**params, **own[lane].params}) for lane in chosen
        }
        with self._deciding:
            turn = TurnLog(
                turn_id=uuid.uuid4().hex,
                conversation_id=conversation_id,
                seq=(fork_at or 0) if forked_from else self._turns.next_seq(conversation_id),
                prompt=prompt,
                forked_from=forked_from,
                forked_at=(fork_at or 0) if forked_from else 0,
                lanes=tuple(LaneInfo.from_spec(pending[lane].provider.spec, specs, own[lane]) for lane in chosen),
                owner=owner,
                system=system,
                kind=kind,
                started_at_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
                t0_ns=t0_ns,
                slots=tuple(random.SystemRandom().sample(chosen, len(chosen))) if blind else (),
            )
            with self._lock:
                self._running[turn.turn_id] = dict(pending)
                stored = self._turns.open(turn)
        self._loop.call_soon_threadsafe(self._start, self._run_turn(turn, pending, stored))
        return turn

    def retry(self, turn_id: str, lane: str, *, owner: str = "") -> TurnLog:
        """Ask one lane of a turn again: a further attempt in the same turn, whose log opens again for it.

        Raises ``UnknownTurn``, ``UnknownLane``, ``LaneBusy`` and ``EngineClosed``.
        """
        now_ns = self._clock_ns()
        self._check_open()
        with self._deciding:
            turn = self._turns.get(turn_id)
            if turn is None or turn.owner != owner:
                raise UnknownTurn("This turn is not here any more.")
            if lane not in {info.id for info in turn.lanes} or lane not in {spec.id for spec in self.specs}:
                raise UnknownLane(f"This turn has no lane {lane} that is still configured.")
            due = self._running.get(turn_id, {}).get(lane)
            fold = turn.fold()
            last = fold.attempts.get(fold.current(lane) or "")
            if last is None or not fold.lane_ended(lane) or (due and due.first_no > last.attempt_no):
                raise LaneBusy("This lane is still streaming: stop it first.")
            if not turn.t0_ns:  # read back from the log: its clock starts where the wall clock says
                age_s = (datetime.now(UTC) - datetime.fromisoformat(turn.started_at_utc)).total_seconds()
                turn.t0_ns = now_ns - int(max(0.0, age_s) * 1e9)
            provider = self._roster.provider(lane)
            pending = PendingLane(provider, last.attempt_no + 1, now_ns - turn.t0_ns, dict(last.params))
            with self._lock:
                self._running.setdefault(turn_id, {})[lane] = pending
                self._turns.reopen(turn)
        self._loop.call_soon_threadsafe(self._start, self._run_lanes(turn, {lane: pending}))
        return turn

    def stop(self, turn_id: str, lane: str | None = None) -> None:
        """Stop one lane of a turn, or all. Unknown or ended ones are left as they are."""

        def stop() -> None:
            for name, pending in list(self._running.get(turn_id, {}).items()):
                if lane in (None, name):
                    pending.stop("shutdown" if self._shutdown_expected else "user")

        if not self._closing:
            self._loop.call_soon_threadsafe(stop)

    def _check_open(self) -> None:
        if self._closing:
            raise EngineClosed("Kimi UI is shutting down: start it again to send.")

    # What follows runs on the engine's loop.

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        sampler = self._loop.create_task(sample_lag(self._clock_ns, self._in_flight))
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

    async def _run_turn(
        self, turn: TurnLog, pending: Mapping[str, PendingLane], stored: concurrent.futures.Future[None]
    ) -> None:
        await self._durable(stored)
        await self._run_lanes(turn, pending)

    async def _run_lanes(self, turn: TurnLog, pending: Mapping[str, PendingLane]) -> None:
        infos = [info for info in turn.lanes if info.id in pending]
        await asyncio.gather(*(self._run_lane(turn, info, pending[info.id]) for info in infos))
        await self._close_if_done(turn)

    async def _run_lane(self, turn: TurnLog, info: LaneInfo, pending: PendingLane) -> None:
        """Run one lane to its end; whatever breaks in here stays in this lane."""
        lane = info.id
        try:
            provider = pending.provider
            request = ChatRequest(await self._messages(turn, info, provider.spec), pending.params, info.chosen_model)
            context = Context(
                turn,
                self._open_attempt,
                self._clock_ns,
                self._wall_ns,
                self._in_flight,
                self._max_retries,
                random.Random(),
            )
            role = "heavy" if provider.spec.of else "single"
            job = Job(lane, provider, request, role, first_no=pending.first_no, asked_ns=pending.asked_ns)
            if self._closing:
                pending.stop("shutdown")
            tries = Tries(job, context)
            pending.run(tries)
            await tries.wait()
        except Exception:
            log.exception("lane %s of turn %s broke", lane, turn.turn_id)
        finally:
            with self._lock:
                if self._running.get(turn.turn_id, {}).get(lane) is pending:  # else asked again since its last try
                    del self._running[turn.turn_id][lane]

    async def _close_if_done(self, turn: TurnLog) -> None:
        with self._lock:
            if self._running.get(turn.turn_id):
                return
            self._running.pop(turn.turn_id, None)
            self._turns.close(turn)
        if not self._running:
            await self._roster.close_retired()

    async def _open_attempt(self, attempt: Attempt) -> None:
        """The row exists before the request leaves."""
        await self._durable(self._turns.open_attempt(attempt))

    async def _durable(self, future: concurrent.futures.Future[None]) -> None:
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
            earlier = await asyncio.to_thread(self._turns.history, turn.conversation_id, info.id, turn.seq)
            for _, prompt, answer, reasoning in earlier:
                messages.append(Message("user", prompt))
                apart = info.send_reasoning and reasoning != answer  # else it was promoted to be the answer
                messages.append(Message("assistant", answer, reasoning if apart else ""))
        messages.append(Message("user", turn.prompt))
        return tuple(messages)

    async def _shut_down(self, grace_s: float) -> None:
        for lanes in list(self._running.values()):
            for pending in list(lanes.values()):
                pending.stop("shutdown")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        await self._roster.aclose()
