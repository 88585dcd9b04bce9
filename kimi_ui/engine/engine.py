"""The engine: a thread with its own asyncio loop that sends turns, stops them and retries lanes.

With the upstream read in the loop that renders, tokens/s was up to 58 % wrong with 3 streams; with a reader thread it
was within 0.1 %. Public methods may be called from any thread and return at once.

The engine appends to ``TurnLog``s and does not know pages, SQL or stored turns. It looks up other turns and stores rows
through the protocol ``KeepsTurns``, which ``kimi_ui.turns.Turns`` implements.
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

from .. import utc
from ..core.attempt import Attempt
from ..core.heavy.options import read_options
from ..core.heavy.pool import answers_of, source_of
from ..core.images import Image, in_place_of
from ..core.lane import LaneChoice, LaneSpec
from ..core.owner import may_change
from ..core.turn import Exchange, LaneInfo, TurnFold, TurnLog
from ..providers.base import PLAIN, ChatRequest, HeavyChoice, Message, Provider
from .attempts import Tries
from .jobs import Context, Continued, Job
from .loop_lag import LoopLag
from .pulls import HasPullers, KeepsPulls, Pulls, Question
from .queues import Queues

log = logging.getLogger(__name__)


class EngineClosed(RuntimeError):
    """The app is shutting down and sends nothing more. Like the classes below, it has a message for the user."""


class EngineDraining(EngineClosed):
    """The app is about to end: running turns may end by themselves, new ones are refused."""


class ShutOut(EngineClosed):
    """Nothing more is sent for this owner."""


class UnknownLane(ValueError):
    """A lane id that is not configured, or not part of the turn."""


class UnknownTurn(ValueError):
    """A turn or conversation that does not exist or belongs to another owner."""


class LaneBusy(ValueError):
    """The lane is still streaming."""


class NotCut(ValueError):
    """The lane's newest answer was not cut, or has no text to go on with."""


class NoAnswers(ValueError):
    """The lane has no answers of trajectories that could be aggregated again."""


Again = tuple[HeavyChoice, Continued | None]
"""What a further attempt of a lane is: heavy's options, and the cut answer to go on with, if any."""


class HasLanes(HasPullers, Protocol):
    """The roster as the engine uses it: the configured lanes and the provider of each."""

    @property
    def specs(self) -> tuple[LaneSpec, ...]:
        """The lanes in the page's order."""

    def provider(self, lane: str) -> Provider:
        """The lane's provider. ``KeyError`` if there never was such a lane."""

    def refresh(self) -> None:
        """Apply changes of the lanes file."""

    async def close_retired(self) -> None:
        """Close replaced providers. Called while no turn is running."""

    async def aclose(self) -> None:
        """Close every provider."""


class KeepsTurns(KeepsPulls, Protocol):
    """The store of turns as the engine uses it. Methods that return no future may block on the log, except ``close``,
    which is called on the engine's loop."""

    def get(self, turn_id: str) -> TurnLog | None:
        """The turn; the same object on every call while it is running."""

    def owner_of(self, conversation_id: str) -> str | None:
        """The conversation's owner; None if there is no such conversation."""

    def next_seq(self, conversation_id: str) -> int:
        """The number of the conversation's next turn."""

    def history(self, conversation_id: str, lane: str, before_seq: float, basis: str) -> Iterable[Exchange]:
        """The earlier answered turns that the lane's request in turn ``before_seq`` begins with, in order; ``basis``:
        of that turn."""

    def image(self, sha256: str) -> bytes | None:
        """The bytes of an image that some turn names; None if they are lost."""

    def open(self, turn: TurnLog) -> concurrent.futures.Future[None]:
        """Register a new, running turn. The future resolves when its row is durable."""

    def reopen(self, turn: TurnLog) -> None:
        """Register an earlier turn as running again, for a retry of a lane."""

    def close(self, turn: TurnLog) -> None:
        """Register that no lane of the turn is running any more."""

    def open_attempt(self, attempt: Attempt) -> concurrent.futures.Future[None]:
        """Write the attempt's row. The future resolves when it is durable."""


@dataclass(eq=False)
class PendingLane:
    """A lane of a turn, from the user's click until its last attempt has ended.

    ``provider`` is fixed at the click, even if the lanes file changes. ``first_no`` is the number of the first attempt,
    ``asked_ns`` the time of the click (ns since the turn's start), ``params`` are the request's parameters, ``heavy``
    the options of a heavy lane, ``continues`` the cut answer to go on with. ``tries`` is None until the turn's row is
    written and the history read; a stop before that applies as soon as it exists.
    """

    provider: Provider
    first_no: int
    asked_ns: int
    params: Mapping[str, Any]
    heavy: HeavyChoice
    continues: Continued | None = None
    tries: Tries | None = None
    stop_reason: str = ""

    def run(self, tries: Tries) -> None:
        self.tries = tries
        if self.stop_reason:
            tries.stop(self.stop_reason)

    def stop(self, reason: str, trajectory: int | None = None) -> None:
        """Stop the lane, or only this trajectory of it. A second call has no effect."""
        if trajectory is not None:
            if self.tries:
                self.tries.stop_child(trajectory, reason)
        elif not self.stop_reason:
            self.stop_reason = reason
            if self.tries:
                self.tries.stop(reason)


class Engine:
    """Sends turns to the roster's lanes, stops them, retries their lanes.

    ``may_send`` may be replaced: whether anything may still be sent for an owner.
    """

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
        self._deciding = threading.Lock()  # serialises callers that pick a turn's number or check a lane
        self._lock = threading.Lock()  # guards `_running` and a turn's end; the loop takes it too, so hold it briefly
        self._tasks: set[asyncio.Task[None]] = set()
        self._lag = LoopLag()
        self._queues = Queues(clock_ns)
        self._loop = asyncio.new_event_loop()
        self.pulls = Pulls(roster, turns, self._ask_again, self._loop, clock_ns)
        self._thread = threading.Thread(target=self._run_loop, name="engine", daemon=True)
        self._shutdown_expected = False
        self._closing = False
        self.draining = False
        self.may_send: Callable[[str], bool] = lambda owner: True

    @property
    def specs(self) -> tuple[LaneSpec, ...]:
        """The configured lanes, after applying changes of the lanes file."""
        self._roster.refresh()
        return self._roster.specs

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The engine's loop, for provider work that is not a turn."""
        return self._loop

    def start(self) -> None:
        self._thread.start()

    def drain(self) -> None:
        """Refuse turns and retries from now on; running ones go on. A signal's handler may call this."""
        self.draining = True

    def expect_shutdown(self) -> None:
        """Record stops from now on as interrupted, because the process is about to end.

        The server cuts open HTTP requests before ``close`` is called, and that stops the turns they wait for.
        """
        self._shutdown_expected = True

    def close(self, grace_s: float = 2.0) -> None:
        """End running attempts as ``interrupted``, close the providers and stop the thread. The log stays open."""
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
        turn_id: str = "",
        images: Sequence[Image] = (),
        basis: str = "",
    ) -> TurnLog:
        """Send ``prompt`` to the lanes (None: all) and return the turn's log at once; the engine fills it.

        Without ``conversation_id`` a new conversation begins. ``fork_at``: begin a new conversation that shares the
        turns before that number with ``conversation_id`` and continues with this prompt. ``kind`` is chat or bench.
        ``params`` apply to every lane's request; ``choices`` override them per lane. ``blind``: until the vote, the
        turn is shown through ``core.blind``, with the lanes in random order. ``turn_id``: a new id that the caller has
        made, so that it knows the turn before it is sent. ``images``: attached to the prompt. ``basis``: see
        ``TurnLog``. Raises ``UnknownLane``, ``UnknownTurn`` (not a conversation of this owner) and ``EngineClosed``.
        """
        t0_ns = self._clock_ns()
        self.check_open(owner)
        prompt, system = (text.encode(errors="replace").decode() for text in (prompt, system))  # no lone surrogates
        choices, params = choices or {}, params or {}
        specs = {spec.id: spec for spec in self.specs}
        chosen = list(specs) if lanes is None else list(lanes)
        unknown = [lane for lane in chosen if lane not in specs]
        if unknown or not chosen:
            raise UnknownLane(f"No lane named {', '.join(unknown) or '(none)'}: there are {', '.join(specs)}.")
        whose = self._turns.owner_of(conversation_id) if conversation_id else owner
        if whose is None or not may_change(whose, owner):
            raise UnknownTurn("This conversation is not here: begin a new one.")
        forked_from = conversation_id if conversation_id and fork_at is not None else ""
        is_new = not conversation_id
        if forked_from or not conversation_id:
            conversation_id = uuid.uuid4().hex
        own = {lane: choices.get(lane, LaneChoice()) for lane in chosen}
        pending = {
            lane: PendingLane(
                self._roster.provider(lane), 1, 0, {**params, **own[lane].params}, HeavyChoice(own[lane].heavy, kind)
            )
            for lane in chosen
        }
        with self._deciding:
            turn = TurnLog(
                turn_id=turn_id or uuid.uuid4().hex,
                conversation_id=conversation_id,
                seq=(fork_at or 0) if forked_from else 0 if is_new else self._turns.next_seq(conversation_id),
                prompt=prompt,
                forked_from=forked_from,
                forked_at=(fork_at or 0) if forked_from else 0,
                lanes=tuple(LaneInfo.from_spec(pending[lane].provider.spec, specs, own[lane]) for lane in chosen),
                owner=owner,
                system=system,
                kind=kind,
                started_at_utc=utc.now_text(),
                t0_ns=t0_ns,
                images=tuple(images),
                basis=basis,
                slots=tuple(random.SystemRandom().sample(chosen, len(chosen))) if blind else (),
            )
            with self._lock:
                self._running[turn.turn_id] = dict(pending)
                stored = self._turns.open(turn)
        self._loop.call_soon_threadsafe(self._start, self._run_turn(turn, pending, stored))
        return turn

    def retry(self, turn_id: str, lane: str, *, owner: str = "", params: Mapping[str, Any] | None = None) -> TurnLog:
        """Retry one lane of a turn: make a further attempt in the same turn, whose log is reopened.

        ``params`` override those of the attempt before. A lane whose process died before its first attempt has it now.
        Heavy runs again as it was planned in this turn.

        Raises ``UnknownTurn``, ``UnknownLane``, ``LaneBusy`` and ``EngineClosed``.
        """

        def same(turn: TurnLog, fold: TurnFold, current: str) -> Again:
            tally = fold.folds[source_of(fold, current)].tally if current else None
            ran = {name: getattr(tally, name) for name in ("strategy", "preset", "width") if tally}
            return HeavyChoice({**ran, **fold.lanes[lane].info.heavy}, turn.kind), None

        return self._again(turn_id, lane, owner, same, params)

    def aggregate(self, turn_id: str, lane: str, strategy: str, *, owner: str = "") -> TurnLog:
        """Aggregate the answers of a lane's last heavy run again, by another strategy: a further attempt in the same
        turn with one request at most.

        Raises ``NoAnswers``, ``OptionError``, and what ``retry`` raises.
        """
        options = read_options({"strategy": strategy})

        def stored(turn: TurnLog, fold: TurnFold, current: str) -> Again:
            source = source_of(fold, current) if current else ""
            answers = answers_of(fold, source)
            if not answers.usable:
                raise NoAnswers("This lane has no trajectories' answers to aggregate: retry it.")
            tally = fold.folds[source].tally
            again = {"width": tally.width, "preset": tally.preset, **options} if tally else options
            return HeavyChoice(again, turn.kind, source, answers.usable, tuple(answers.left_out.items())), None

        return self._again(turn_id, lane, owner, stored)

    def go_on(self, turn_id: str, lane: str, *, owner: str = "") -> TurnLog:
        """Ask a lane to go on with its answer where that was cut: a further attempt in the same turn, in a heavy lane
        too with a single request. Its answer begins with the text so far; its figures are its own.

        Raises ``NotCut``, and what ``retry`` raises.
        """
        return self._again(turn_id, lane, owner, lambda _, fold, current: (PLAIN, _cut(fold, current)))

    def _again(
        self,
        turn_id: str,
        lane: str,
        owner: str,
        choose: Callable[[TurnLog, TurnFold, str], Again],
        params: Mapping[str, Any] | None = None,
    ) -> TurnLog:
        """A further attempt of one lane of a turn; ``choose`` gets the id of the one before, if any."""
        now_ns = self._clock_ns()
        self.check_open(owner)
        with self._deciding:
            turn = self._turns.get(turn_id)
            if turn is None or not may_change(turn.owner, owner):
                raise UnknownTurn("This turn is no longer here.")
            if lane not in {info.id for info in turn.lanes} or lane not in {spec.id for spec in self.specs}:
                raise UnknownLane(f"This turn has no lane {lane} that is still configured.")
            due = self._running.get(turn_id, {}).get(lane)
            fold = turn.fold()
            last = fold.attempts.get(fold.current(lane) or "")
            if (due and (last is None or due.first_no > last.attempt_no)) or (last and not fold.lane_ended(lane)):
                raise LaneBusy("This lane is still streaming: stop it first.")
            heavy, cut = choose(turn, fold, last.attempt_id if last else "")
            if not turn.t0_ns:  # from the log: derive its start from the wall clock
                age_s = (datetime.now(UTC) - datetime.fromisoformat(turn.started_at_utc)).total_seconds()
                turn.t0_ns = now_ns - int(max(0.0, age_s) * 1e9)
            provider = self._roster.provider(lane)
            if cut and provider.spec.of:
                provider = self._roster.provider(provider.spec.of)
            merged = {**(last.params if last else {}), **(params or {})}
            pending = PendingLane(provider, last.attempt_no + 1 if last else 1, now_ns - turn.t0_ns, merged, heavy, cut)
            with self._lock:
                self._running.setdefault(turn_id, {})[lane] = pending
                self._turns.reopen(turn)
        self._loop.call_soon_threadsafe(self._start, self._run_lanes(turn, {lane: pending}))
        return turn

    def running_lanes(self, turn_id: str) -> frozenset[str]:
        """The turn's lanes that have not ended, each from the user's click on."""
        with self._lock:
            return frozenset(self._running.get(turn_id, ()))

    def stop(self, turn_id: str, lane: str | None = None, trajectory: int | None = None) -> None:
        """Stop one lane of a turn, or all, or only one trajectory (by its ``k_index``). Unknown and ended ones are
        ignored."""

        def stop() -> None:
            for name, pending in list(self._running.get(turn_id, {}).items()):
                if lane in (None, name):
                    pending.stop("shutdown" if self._shutdown_expected else "user", trajectory)

        if not self._closing:
            self._loop.call_soon_threadsafe(stop)

    def check_open(self, owner: str) -> None:
        """Raises ``EngineClosed`` where nothing more is sent, at all or for this owner (``ShutOut``)."""
        if self._closing or self._shutdown_expected:
            raise EngineClosed("Kimi UI is shutting down: start it again to send.")
        if self.draining:
            raise EngineDraining("Kimi UI is shutting down and takes no new prompts: send it again once it is back.")
        if not self.may_send(owner):
            raise ShutOut("Whoever began this cannot sign in any more, so nothing more is sent for them.")

    # All methods below run on the engine's loop.

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        sampler = self._loop.create_task(self._lag.sample(self._clock_ns))
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
        """Run one lane to its end. An exception affects only this lane."""
        lane = info.id
        try:
            provider = pending.provider
            messages, cut = await self._messages(turn, info, provider.spec), pending.continues
            if cut:
                messages = (*messages, Message("assistant", cut.answer))
            request = ChatRequest(messages, pending.params, info.chosen_model, pending.heavy, continues=cut is not None)
            context = Context(
                turn,
                self._open_attempt,
                self._clock_ns,
                self._wall_ns,
                self._lag,
                self._queues,
                self._max_retries,
                random.Random(),
            )
            role = "heavy" if provider.spec.of else "single"
            job = Job(
                lane, provider, request, role, first_no=pending.first_no, asked_ns=pending.asked_ns, continues=cut
            )
            if self._closing:
                pending.stop("shutdown")
            tries = Tries(job, context)
            pending.run(tries)
            await tries.wait()
        except Exception:
            log.exception("lane %s of turn %s: internal error", lane, turn.turn_id)
        finally:
            self.pulls.lane_ended(turn, lane, pending.tries.fold.failure if pending.tries else None)
            with self._lock:
                if self._running.get(turn.turn_id, {}).get(lane) is pending:  # otherwise the user has retried the lane
                    del self._running[turn.turn_id][lane]

    def _ask_again(self, question: Question) -> None:
        """Retry a lane whose model is there now; not if its turn is gone or has been retried meanwhile."""
        try:
            self.retry(question.turn_id, question.lane, owner=question.owner)
        except (UnknownTurn, UnknownLane, LaneBusy, EngineClosed) as error:
            log.info("lane %s does not ask again: %s", question.lane, error)

    async def _close_if_done(self, turn: TurnLog) -> None:
        with self._lock:
            if self._running.get(turn.turn_id):
                return
            self._running.pop(turn.turn_id, None)
            self._turns.close(turn)
        if not self._running:
            await self._roster.close_retired()

    async def _open_attempt(self, attempt: Attempt) -> None:
        """Wait until the attempt's row is durable; the request is sent after that."""
        await self._durable(self._turns.open_attempt(attempt))

    async def _durable(self, future: concurrent.futures.Future[None]) -> None:
        """Wait for a write. A failing log must not stop a stream: the writer keeps the rows and warns on the page."""
        try:
            await asyncio.wrap_future(future)
        except Exception:
            log.exception("a row could not be written to the log")

    async def _messages(self, turn: TurnLog, info: LaneInfo, spec: LaneSpec) -> tuple[Message, ...]:
        """The lane's history and this prompt. Turns without an answer in this lane are omitted."""
        system = turn.system or spec.system
        messages = [Message("system", system)] if system else []
        if turn.seq:
            earlier = await asyncio.to_thread(self._turns.history, turn.conversation_id, info.id, turn.seq, turn.basis)
            for _, prompt, answer, reasoning, images in earlier:
                messages.append(await self._asked(prompt, images))
                is_separate = info.send_reasoning and reasoning != answer  # equal if it was promoted to be the answer
                messages.append(Message("assistant", answer, reasoning if is_separate else ""))
        messages.append(await self._asked(turn.prompt, turn.images))
        return tuple(messages)

    async def _asked(self, prompt: str, images: Sequence[Image]) -> Message:
        """A prompt with the bytes of its images."""
        lost = [image for image in images if not image.data]
        found = {image: await asyncio.to_thread(self._turns.image, image.sha256) for image in lost}
        whole = tuple(image if image.data else image._replace(data=found[image] or b"") for image in images)
        if gone := [image for image in whole if not image.data]:
            prompt = in_place_of(gone, prompt, "it is no longer there")
        return Message("user", prompt, images=tuple(image for image in whole if image.data))

    async def _shut_down(self, grace_s: float) -> None:
        await self.pulls.close()
        for lanes in list(self._running.values()):
            for pending in list(lanes.values()):
                pending.stop("shutdown")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        await self._roster.aclose()


def _cut(fold: TurnFold, attempt_id: str) -> Continued:
    """The answer of a lane's newest attempt, which was cut; the id is empty if there is none. Raises ``NotCut``."""
    if not attempt_id or not fold.folds[attempt_id].can_continue:
        raise NotCut("This answer was not cut, so there is nothing to continue. Retry it, or ask for more.")
    return Continued(attempt_id, fold.folds[attempt_id].answer)
