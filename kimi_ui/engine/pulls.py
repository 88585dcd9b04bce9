"""Pulls: models that a lane's server fetches, one pull per server and model, on the engine's loop.

A pull belongs to the engine, not to a page: it goes on when the page is reloaded or closed, every page sees the same
one, and its state is written to the log each second, for ``doctor`` and for the next start. A pull that was cancelled
or broke off goes on from what the server has kept. When it is done, lanes whose question failed because the model was
missing ask it again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from .. import utc
from ..core.events import Failure, Phase
from ..core.pull import CANCELLED, DONE, FAILED, INTERRUPTED, RUNNING, Pull, PullKey, Speed
from ..core.turn import TurnLog
from ..providers.base import Provider, ProviderError

log = logging.getLogger(__name__)

TICK_S = 1.0  # between writes of a running pull
MISSING = "model_missing"  # the kind of failure that a pull remedies


class HasPullers(Protocol):
    """The roster as pulls use it."""

    def puller(self, lane: str) -> Provider | None:
        """The provider that can fetch what the lane lacks; None if none can."""

    def look_again(self) -> None:
        """Find out which models there are now. Blocks for a moment."""


class KeepsPulls(Protocol):
    """The log as pulls use it."""

    def keep_pull(self, pull: Pull) -> None:
        """Write the pull's newest state."""

    def stored_pulls(self) -> list[Pull]:
        """The newest state of each pull in the log. Reads the log, so it may block."""


class Question(NamedTuple):
    """A lane's question that failed because its model was missing."""

    turn_id: str
    lane: str
    owner: str


class _Run:
    """A running pull: the task that fetches, the one that waits for its end, and why it was cancelled."""

    def __init__(self) -> None:
        self.fetching: asyncio.Task[None] | None = None
        self.following: asyncio.Task[None] | None = None
        self.cancelled_as = ""

    def fetch(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.fetching = asyncio.create_task(work)
        if self.cancelled_as:
            self.fetching.cancel()
        return self.fetching

    def cancel(self, state: str) -> None:
        self.cancelled_as = self.cancelled_as or state
        if self.fetching:
            self.fetching.cancel()


class Pulls:
    """All pulls of this process. Public methods may be called from any thread and return at once, except ``states``.

    ``ask`` sends a question again. ``clock_ns`` is monotonic.
    """

    def __init__(
        self,
        roster: HasPullers,
        keeps: KeepsPulls,
        ask: Callable[[Question], None],
        loop: asyncio.AbstractEventLoop,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._roster = roster
        self._keeps = keeps
        self._ask = ask
        self._loop = loop
        self._clock_ns = clock_ns
        self._lock = threading.Lock()  # guards the dicts below; hold it briefly
        self._states: dict[PullKey, Pull] = {}
        self._runs: dict[PullKey, _Run] = {}
        self._questions: dict[PullKey, dict[tuple[str, str], Question]] = {}  # by owner and lane: the newest counts
        self._has_read = False

    def offer(self, lane: str, model: str = "") -> PullKey | None:
        """What would be pulled for this lane: its own model, or ``model`` from its server. None if it cannot pull."""
        provider = self._roster.puller(lane)
        return PullKey(provider.spec.server, model or provider.spec.model) if provider else None

    def start(self, lane: str, model: str = "", question: Question | None = None) -> Pull | None:
        """Pull for this lane unless that is running, and ask ``question`` when it is done. None if it cannot pull."""
        provider = self._roster.puller(lane)
        if provider is None:
            return None
        key = PullKey(provider.spec.server, model or provider.spec.model)
        self.states()
        with self._lock:
            if question:
                self._questions.setdefault(key, {})[question.owner, question.lane] = question
            if key in self._runs:
                return self._states[key]
            before = self._states.get(key)
            known = (before.completed, before.total) if before and before.state != DONE else (None, None)
            pull = self._states[key] = Pull(*key, RUNNING, "asking the server", *known, updated_at_utc=utc.now_text())
            run = self._runs[key] = _Run()
        self._loop.call_soon_threadsafe(self._begin, run, provider, key)
        return pull

    def cancel(self, key: PullKey) -> None:
        """Stop a pull; the server keeps the part it has. One that is not running is ignored."""
        with self._lock:
            run = self._runs.get(key)
        if run:
            self._loop.call_soon_threadsafe(run.cancel, CANCELLED)

    def states(self) -> list[Pull]:
        """All pulls, also of earlier processes. The first call reads the log."""
        if not self._has_read:
            stored = self._keeps.stored_pulls()
            with self._lock:
                self._has_read = True
                for pull in stored:
                    self._states.setdefault(pull.key, pull)
        return list(self._states.values())

    def waiting(self, key: PullKey) -> Sequence[Question]:
        """The prompts that are retried when this pull is done."""
        with self._lock:
            return tuple(self._questions.get(key, {}).values())

    # All methods below run on the engine's loop.

    def lane_ended(self, turn: TurnLog, lane: str, failure: Failure | None) -> None:
        """Remember the question if it failed because the model is missing; forget the lane's question before it."""
        if turn.kind != "chat":
            return
        with self._lock:
            for questions in self._questions.values():
                questions.pop((turn.owner, lane), None)
            if failure and failure.kind == MISSING and (key := self._remedy(turn, lane)):
                self._questions.setdefault(key, {})[turn.owner, lane] = Question(turn.turn_id, lane, turn.owner)

    def _remedy(self, turn: TurnLog, lane: str) -> PullKey | None:
        """The pull that would fetch what the lane lacked: of a lane on several servers, all of these fetch it."""
        key = missing(turn, lane)
        offered = self.offer(lane, key.model) if key else None
        return offered if key and offered and key.server in offered.server.split() else key

    async def close(self) -> None:
        """Stop all pulls because the app ends."""
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.cancel(INTERRUPTED)
        await asyncio.gather(*(run.following for run in runs if run.following))

    def _begin(self, run: _Run, provider: Provider, key: PullKey) -> None:
        run.following = self._loop.create_task(self._follow(run, provider, key))

    async def _follow(self, run: _Run, provider: Provider, key: PullKey) -> None:
        """Fetch, and say how that ended."""
        speed = Speed()
        fetching = run.fetch(self._fetch(provider, key, speed))
        ticking = asyncio.create_task(self._tick(key, speed))
        await asyncio.wait([fetching])
        ticking.cancel()
        state, failure = _outcome(run, fetching)
        with self._lock:
            del self._runs[key]
            questions = list(self._questions.pop(key, {}).values()) if state == DONE else []
        for question in questions:
            self._ask(question)
        ended = replace(
            self._states[key],
            state=state,
            bytes_per_s=None,
            problem=failure.message,
            remedy=failure.remedy,
            command=failure.command,
            detail=failure.detail,
        )
        self._put(ended, write=True)

    async def _fetch(self, provider: Provider, key: PullKey, speed: Speed) -> None:
        async with aclosing(provider.pull(key.model)) as phases:
            async for phase in phases:
                self._progressed(key, phase, speed)
        await asyncio.to_thread(self._roster.look_again)

    def _progressed(self, key: PullKey, phase: Phase, speed: Speed) -> None:
        now_ns, pull = self._clock_ns(), self._states[key]
        if phase.done is not None and phase.total is not None:
            speed.feed(now_ns, phase.done, phase.total)
            pull = replace(pull, completed=phase.done, total=phase.total)
        self._put(replace(pull, status=phase.detail, bytes_per_s=speed.at(now_ns)))

    async def _tick(self, key: PullKey, speed: Speed) -> None:
        """Write the state each second, also while nothing arrives, so that readers know that it goes on."""
        while True:
            self._put(replace(self._states[key], bytes_per_s=speed.at(self._clock_ns())), write=True)
            await asyncio.sleep(TICK_S)

    def _put(self, pull: Pull, write: bool = False) -> None:
        pull = replace(pull, updated_at_utc=utc.now_text())
        self._states[pull.key] = pull
        if write:
            self._keeps.keep_pull(pull)


def missing(turn: TurnLog, lane: str) -> PullKey | None:
    """The model for whose absence the lane's newest attempt failed; None if it did not fail for that."""
    fold = turn.fold()
    attempt, newest = fold.attempts.get(fold.current(lane) or "" if lane in fold.lanes else ""), fold.newest(lane)
    if attempt is None or newest is None or newest.failure is None or newest.failure.kind != MISSING:
        return None
    return PullKey(attempt.base_url, attempt.request_model)


def _outcome(run: _Run, fetching: asyncio.Task[None]) -> tuple[str, Failure]:
    """The state that a pull ended in, and what went wrong, empty if nothing did."""
    if fetching.cancelled():
        return run.cancelled_as or INTERRUPTED, Failure("", "")
    match fetching.exception():
        case None:
            return DONE, Failure("", "")
        case ProviderError() as error:
            return FAILED, error.failure
        case error:
            log.error("a pull failed", exc_info=error)
            return FAILED, Failure("internal", "The pull failed inside Kimi UI.", "Try again.")
