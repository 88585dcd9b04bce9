"""Heavy's trajectories: when each is started, and when no more are waited for.

The plan says how many in which waves. They end early for one of four reasons, each also the stop reason of those that
are still running: ``decided`` (the stop rule), ``quorum`` (enough answers, and the others had their grace), ``budget``
(the time is over and an answer is in hand). What was stopped keeps its text. A server without room narrows the fan
instead of failing it: fewer are started at a time, and what still fails is left out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from ...core.events import (
    FIRST_TRAJECTORY_TOKEN,
    TRAJECTORIES,
    WAITING_FOR_CAPACITY,
    Answer,
    End,
    Event,
    Failure,
    Flag,
    Phase,
    Reasoning,
)
from ...core.heavy.answers import Result, read
from ...core.heavy.candidates import STOPPED, Candidate
from ...core.heavy.clusters import Clusters, cluster, undecided
from ...core.heavy.options import Plan
from ...core.heavy.pool import reason_of
from ...core.heavy.stopping import decided, score
from ..base import UNSTAMPED, Arrival, Child
from .algebra import EqualPairs

STRAGGLER_SHARE = 0.5  # after the quorum, the others get this share of the time so far, at least …
STRAGGLER_MIN_S = 5.0
JITTER_S = 0.04  # the longest pause between two starts, so that a server does not get all at the same moment
CAPACITY = ("rate_limit", "capacity")  # kinds of failure


class Pool:
    """The answers of a run, read and grouped. ``left_out``: why the others are not used, by trajectory number."""

    def __init__(self, question: str, algebra: EqualPairs) -> None:
        self._question = question
        self._algebra = algebra
        self.candidates: list[Candidate] = []
        self.results: dict[int, Result | None] = {}
        self.left_out: dict[int, str] = {}
        self.clusters = Clusters()

    @property
    def equal(self) -> list[list[str]]:
        """Pairs of expressions that the computer algebra found equal."""
        return self._algebra.pairs

    @property
    def n_failed(self) -> int:
        """Trajectories that ended without a usable answer and were not stopped."""
        return sum(reason != STOPPED for reason in self.left_out.values())

    def equals(self, one: str, other: str) -> bool:
        """Whether the computer algebra found two expression keys equal."""
        return self._algebra.equal(one, other)

    async def take(self, children: Iterable[Child]) -> None:
        """Read the answers of trajectories that have ended, and group all again. Takes CPU, so it is done on a
        thread."""
        for child in children:
            number = (child.k_index or 0) + 1
            if reason := reason_of(child.fold):
                self.left_out[number] = reason
            else:
                self.add(Candidate(number, child.fold.answer))
        await self.group()

    def add(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)
        self.candidates.sort()

    async def group(self) -> None:
        """Read what is new and cluster all."""
        await asyncio.to_thread(self._read)
        pairs = undecided(self.results)
        if pairs:
            await self._algebra.compare(pairs)
        self.clusters = await asyncio.to_thread(cluster, self.results, self._algebra.equal)

    def _read(self) -> None:
        for candidate in self.candidates:
            if candidate.number not in self.results:
                self.results[candidate.number] = read(candidate.answer, self._question)


class Trajectories:
    """Starts trajectories by ``plan`` and waits for them. ``start(k)`` starts number k, from 0.

    ``stopped_at`` and ``stop_risk`` are set if the stop rule ended the run, e.g. ``4-1`` and 0.0238.
    """

    def __init__(self, plan: Plan, start: Callable[[int], Child], pool: Pool, rng: random.Random) -> None:
        self._plan = plan
        self._start = start
        self._pool = pool
        self._rng = rng
        self.children: list[Child] = []
        self.stopped_at = ""
        self.stop_risk: float | None = None
        self._ended: set[int] = set()
        self._no_room: set[int] = set()  # wait for a retry after a failure for want of capacity
        self._at_a_time = plan.concurrency
        self._wave = 0
        self._written = False
        self._changed = asyncio.Event()
        self._watching: list[asyncio.Task[None]] = []
        self._next_start = self._started = self._grace_until = self._wave_until = 0.0
        self._jitter_s = JITTER_S
        self._stop_reason = ""

    async def begin(self, sent: Coroutine[Any, Any, None], together: bool) -> None:
        """Start the first ones; return once ``sent`` has, as soon as a request is sent. ``together``: the whole wave at
        one moment, as requests queue in the app."""
        loop = asyncio.get_running_loop()
        self._started = self._next_start = loop.time()
        self._jitter_s = 0.0 if together else JITTER_S
        sending = asyncio.create_task(sent)
        try:
            while not sending.done():
                self._launch(loop.time())
                await asyncio.wait([sending], timeout=self._wait_s(loop.time()))
        finally:
            sending.cancel()

    async def events(self) -> AsyncIterator[Event]:
        """Yield the progress until all that were started have ended and no more are needed."""
        loop = asyncio.get_running_loop()
        reported: tuple[int, int, int] = (0, 0, 0)
        reported_first = False
        n_taken = 0
        while True:
            self._changed.clear()
            while len(self._ended) > n_taken:  # another may end while these are read
                n_taken = len(self._ended)
                await self._take()
            self._judge(loop.time())
            self._launch(loop.time())
            if not reported_first and self._written:
                reported_first = True
                yield Phase(FIRST_TRAJECTORY_TOKEN)
            now_at = (len(self._ended), len(self.children), len(self._no_room))
            if now_at[2] != reported[2]:
                yield Phase(WAITING_FOR_CAPACITY, done=now_at[2], total=self._plan.width)
            if now_at[0] != reported[0]:
                yield Phase(TRAJECTORIES, done=now_at[0], total=now_at[1])
            reported = now_at
            if len(self._ended) == len(self.children) == n_taken and not self._wants_more():
                return
            if self._changed.is_set():
                continue
            try:
                await asyncio.wait_for(self._changed.wait(), self._wait_s(loop.time()))
            except TimeoutError:
                pass

    @property
    def first_token(self) -> Arrival:
        """When the first token of any trajectory arrived."""
        return min((child.first_token for child in self.children if child.first_token), default=UNSTAMPED)

    async def close(self) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    def facts(self) -> Iterable[Event]:
        """Flags about how the run ended."""
        if self._stop_reason == "budget":
            yield Flag("budget", f"{len(self._pool.candidates)}/{self._plan.width}")
        shrunk = sum(
            child.fold.failure is not None and child.fold.failure.kind in CAPACITY and child.fold.status != "ok"
            for child in self.children
        )
        if shrunk:
            yield Flag("width_shrunk", f"{self._plan.width - shrunk}/{self._plan.width}")
        if not self._stop_reason and len(self._pool.candidates) < self._plan.quorum:
            yield Flag("below_quorum", f"{len(self._pool.candidates)}/{self._plan.width}")

    async def _take(self) -> None:
        done = [child for child in self.children if (child.k_index or 0) in self._ended]
        known = {*self._pool.results, *self._pool.left_out}
        await self._pool.take(child for child in done if (child.k_index or 0) + 1 not in known)

    def _judge(self, now: float) -> None:
        """Decide whether to stop, and whether the next wave is due."""
        if self._stop_reason:
            return
        plan, pool = self._plan, self._pool
        n_usable = len(pool.candidates)
        out = plan.width - len(self._ended)
        if plan.stops and out and not pool.clusters.open_text:
            risk = decided(pool.clusters.sizes, out)
            if risk is not None:
                self.stopped_at, self.stop_risk = score(pool.clusters.sizes), risk
                self._stop("decided")
                return
        if plan.budget_s is not None and now >= self._started + plan.budget_s and n_usable and out:
            self._stop("budget")
            return
        if n_usable >= plan.quorum and out:
            if not self._grace_until:
                self._grace_until = now + max(STRAGGLER_MIN_S, STRAGGLER_SHARE * (now - self._started))
            elif now >= self._grace_until:
                self._stop("quorum")
            return
        self._next_wave(now)

    def _next_wave(self, now: float) -> None:
        """Open the next wave once this one has ended, or most of it and the others had their grace."""
        target = self._plan.waves[self._wave]
        if target == self._plan.width or len(self.children) < target:
            return
        if len(self._ended) >= target or (self._wave_until and now >= self._wave_until):
            self._wave += 1
            self._wave_until = 0.0
        elif not self._wave_until and len(self._ended) >= target * 3 // 4:
            self._wave_until = now + max(STRAGGLER_MIN_S, STRAGGLER_SHARE * (now - self._started))

    def _stop(self, reason: str) -> None:
        self._stop_reason = reason
        for child in self.children:
            child.stop(reason)

    def _wants_more(self) -> bool:
        """Whether a further trajectory is due, now or as soon as there is room."""
        return not self._stop_reason and len(self.children) < self._plan.waves[self._wave]

    def _launch(self, now: float) -> None:
        while self._wants_more() and self._has_room() and now >= self._next_start:
            self._add()
            self._next_start = now + self._rng.uniform(0, self._jitter_s)

    def _has_room(self) -> bool:
        return len(self.children) - len(self._ended) < min(self._plan.concurrency, self._at_a_time)

    def _wait_s(self, now: float) -> float | None:
        due = [until for until in (self._grace_until, self._wave_until) if until and not self._stop_reason]
        if self._wants_more() and self._has_room():
            due.append(self._next_start)
        if self._plan.budget_s is not None and not self._stop_reason and self._pool.candidates:
            due.append(self._started + self._plan.budget_s)
        return max(0.0, min(due) - now) if due else None

    def _add(self) -> None:
        child = self._start(len(self.children))
        self.children.append(child)
        self._watching.append(asyncio.create_task(self._watch(child)))

    async def _watch(self, child: Child) -> None:
        k = child.k_index or 0
        no_room = False
        async for _, event in child.events():
            match event:
                case Reasoning() | Answer():
                    if self._written and k not in self._no_room:
                        continue
                    self._written = True
                    self._no_room.discard(k)
                case Failure(kind):
                    no_room = kind in CAPACITY
                case End(retry_in_s=retry):
                    if no_room and retry is not None:
                        self._no_room.add(k)
                        running = len(self.children) - len(self._ended) - len(self._no_room)
                        self._at_a_time = max(1, running)
                    elif retry is None:
                        self._at_a_time += 1
                    no_room = False
                case _:
                    continue
            self._changed.set()
        await child.wait()
        self._no_room.discard(k)
        self._ended.add(k)
        self._changed.set()
