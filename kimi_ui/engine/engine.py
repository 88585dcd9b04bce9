"""The engine owns turns, not the page: a thread with its own asyncio loop reads every upstream.

Why a thread of its own: reading the upstream in the loop that renders made tokens/s up to 58 % wrong with 3 streams;
a reader thread kept it within 0.1 % (design §2). Public methods may be called from any thread and return at once.
The engine knows nothing of pages and of SQL: it appends to ``TurnLog``s and asks the log for a row before a request
leaves.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..core.attempt import Attempt
from ..core.lane import LaneSpec
from ..core.turn import LaneInfo, TurnFold, TurnLog
from ..providers.base import ChatRequest, Message
from .attempts import AttemptRun, Context, Job, Tries

if TYPE_CHECKING:
    from ..log.reader import LogReader
    from ..log.writer import LogWriter
    from ..providers.roster import Roster

log = logging.getLogger(__name__)

RECENT_TURNS = 32  # closed turns kept in memory, so that a page that comes back at once needs no database
LAG_SAMPLE_S = 0.02


class EngineClosed(RuntimeError):
    """The app is shutting down; nothing more can be sent."""


class UnknownLane(ValueError):
    """A lane id that is not configured."""


class Engine:
    """Sends turns, stops them, hands out their logs.

    ``log`` None: nothing is stored. ``reader`` None: conversations are known only while they are in memory.
    """

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
        self._tries: dict[str, dict[str, Tries]] = {}  # turn id -> lane id -> running tries; the loop's own
        self._turn_tasks: set[asyncio.Task[None]] = set()
        self._running: set[AttemptRun] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="engine", daemon=True)
        self._closing = False

    @property
    def specs(self) -> tuple[LaneSpec, ...]:
        """The lanes as configured now."""
        return self._roster.specs

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The engine's loop, for provider work that is not a turn (checks, pulls)."""
        return self._loop

    def start(self) -> None:
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
        owner: str = "",
        system: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> TurnLog:
        """Send ``prompt`` to the lanes (all, if None) and return the turn's log, which fills by itself.

        ``params`` go to every lane's request. Raises ``UnknownLane`` and ``EngineClosed``.
        """
        t0_ns = self._clock_ns()
        if self._closing:
            raise EngineClosed("Kimi UI is shutting down: start it again to send.")
        specs = {spec.id: spec for spec in self._roster.specs}
        chosen = list(specs) if lanes is None else list(lanes)
        unknown = [lane for lane in chosen if lane not in specs]
        if unknown or not chosen:
            raise UnknownLane(f"No lane named {', '.join(unknown) or '(none)'}: there are {', '.join(specs)}.")
        conversation_id = conversation_id or uuid.uuid4().hex
        turn = TurnLog(
            turn_id=uuid.uuid4().hex,
            conversation_id=conversation_id,
            seq=self._next_seq(conversation_id),
            prompt=prompt,
            lanes=tuple(lane_info(specs[lane], specs) for lane in chosen),
            owner=owner,
            system=system,
            started_at_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
            t0_ns=t0_ns,
        )
        self._turns[turn.turn_id] = turn
        request_params = dict(params or {})
        self._loop.call_soon_threadsafe(self._start_turn, turn, request_params)
        return turn

    def stop(self, turn_id: str, lane: str | None = None) -> None:
        """Stop one lane of a turn, or all. Unknown or ended ones are left as they are."""

        def stop() -> None:
            for name, tries in self._tries.get(turn_id, {}).items():
                if lane in (None, name):
                    tries.stop("user")

        if not self._closing:
            self._loop.call_soon_threadsafe(stop)

    def turn(self, turn_id: str) -> TurnLog | None:
        """A turn that runs or ended lately; older ones are the log reader's."""
        return self._turns.get(turn_id)

    def live_turns(self, owner: str | None = None) -> list[TurnLog]:
        """Turns still running, oldest first; of one owner where given."""
        return [turn for turn in list(self._turns.values()) if not turn.closed and owner in (None, turn.owner)]

    def recent_turns(self, conversation_id: str) -> list[TurnLog]:
        """Turns of a conversation that are in memory, in order."""
        turns = [turn for turn in list(self._turns.values()) if turn.conversation_id == conversation_id]
        return sorted(turns, key=lambda turn: turn.seq)

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

    def _start_turn(self, turn: TurnLog, params: dict[str, Any]) -> None:
        task = self._loop.create_task(self._run_turn(turn, params))
        self._turn_tasks.add(task)
        task.add_done_callback(self._turn_tasks.discard)

    async def _run_turn(self, turn: TurnLog, params: dict[str, Any]) -> None:
        try:
            if self._log:
                await self._stored(self._log.open_turn(turn))
                self._log.follow(turn)
            context = Context(
                turn=turn,
                store=self,
                clock_ns=self._clock_ns,
                wall_ns=self._wall_ns,
                running=self._running,
                max_retries=self._max_retries,
                rng=random.Random(),
            )
            tries = self._tries[turn.turn_id] = {}
            for info in turn.lanes:
                provider = self._roster.provider(info.id)
                request = ChatRequest(await self._messages(turn, info.id, provider.spec), params)
                role = "heavy" if provider.spec.provider == "heavy" else "single"
                tries[info.id] = Tries(Job(info.id, provider, request, role), context)
            if self._closing:
                for lane_tries in tries.values():
                    lane_tries.stop("shutdown")
            await asyncio.gather(*(lane_tries.wait() for lane_tries in tries.values()))
        except Exception:
            log.exception("turn %s broke", turn.turn_id)
        finally:
            self._tries.pop(turn.turn_id, None)
            turn.closed = True
            self._forget_old_turns()

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

    async def _messages(self, turn: TurnLog, lane: str, spec: LaneSpec) -> tuple[Message, ...]:
        """The lane's own history, then this prompt. A turn without an answer in this lane is left out whole."""
        system = turn.system or spec.system
        messages = [Message("system", system)] if system else []
        if turn.seq:
            for prompt, answer, reasoning in await asyncio.to_thread(self._history, turn, lane):
                messages.append(Message("user", prompt))
                messages.append(Message("assistant", answer, reasoning if spec.send_reasoning else ""))
        messages.append(Message("user", turn.prompt))
        return tuple(messages)

    def _history(self, turn: TurnLog, lane: str) -> list[tuple[str, str, str]]:
        """Earlier turns of the conversation as ``(prompt, answer, reasoning)``; memory is newer than the log."""
        by_seq: dict[int, tuple[str, str, str]] = {}
        if self._reader:
            rows = self._reader.history(turn.conversation_id, lane)
            by_seq = {row.seq: (row.prompt, row.answer, row.reasoning) for row in rows}
        for earlier in self.recent_turns(turn.conversation_id):
            if lane not in {info.id for info in earlier.lanes}:
                continue
            fold = TurnFold.of(earlier).apply_all(list(earlier.entries))
            attempt_id = fold.current(lane)
            if attempt_id and fold.folds[attempt_id].answer:
                by_seq[earlier.seq] = (earlier.prompt, fold.folds[attempt_id].answer, fold.folds[attempt_id].reasoning)
        return [by_seq[seq] for seq in sorted(by_seq) if seq < turn.seq]

    async def _sample_lag(self) -> None:
        """How late this loop runs, told to every attempt in flight: a late loop stamps late."""
        due_ns = self._clock_ns()
        while True:
            await asyncio.sleep(LAG_SAMPLE_S)
            now_ns = self._clock_ns()
            lag_ns = now_ns - due_ns - int(LAG_SAMPLE_S * 1e9)
            due_ns = now_ns
            for run in self._running:
                run.loop_lag_ns = max(run.loop_lag_ns, lag_ns)

    def _forget_old_turns(self) -> None:
        closed = [turn_id for turn_id, turn in self._turns.items() if turn.closed]
        for turn_id in closed[:-RECENT_TURNS]:
            del self._turns[turn_id]

    async def _shut_down(self, grace_s: float) -> None:
        for lanes in self._tries.values():
            for tries in lanes.values():
                tries.stop("shutdown")
        if self._turn_tasks:
            await asyncio.wait(self._turn_tasks, timeout=grace_s)
        await self._roster.aclose()


def lane_info(spec: LaneSpec, specs: Mapping[str, LaneSpec]) -> LaneInfo:
    """The lane's header as of now; a heavy lane shows the model it is made of."""
    inner = specs.get(spec.of, spec)
    return LaneInfo(
        id=spec.id,
        label=spec.label,
        provider=spec.provider,
        model=spec.model or inner.model,
        stand_in_for=spec.stand_in_for or inner.stand_in_for,
        how_to_get_real=spec.how_to_get_real or inner.how_to_get_real,
        of=spec.of,
        width=spec.width if spec.provider == "heavy" else 0,
    )
