"""Leads a run that several processes share: offers its cases on the bus, follows its results in the log, and ends it.

    Lead ── cases that are left ──►  bus  ◄── claims ── Workers (one of them here)
    Lead ◄──────────────── results ── log ◄── attempts, verdicts ──┘

It looks like a ``Runner`` from outside. What is done is known from the log alone, so a run that lost its leader, its
bus or a worker goes on from there.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from .. import utc
from ..bus.bus import BusError
from ..bus.claims import BusAway, Offers, connected, reach
from ..engine import Engine
from ..log.store import LogError
from ..turns import Turns
from . import records
from .early_stop import EarlyStop
from .plan import Item
from .records import DECIDED, DONE, STOPPED, Head
from .results import Sample
from .runner import ALL_SHOWN, EXPLORATORY, Progress
from .start import CannotRun, Planned, Wanted, take_over, write_plan
from .worker import Worker, by_case, terms, used, working

log = logging.getLogger(__name__)

LOOK_S = 0.5


def begin(engine: Engine, turns: Turns, url: str, wanted: Wanted, *, works: bool = True) -> Lead:
    """A new run that is shared over the bus at ``url``. Raises ``PlanError``, ``CannotRun``."""
    _check(url)
    return Lead(engine, turns, url, write_plan(engine, turns, wanted), set(), works)


def resume(engine: Engine, turns: Turns, url: str, run_id: str, *, works: bool = True) -> Lead:
    """Share what is left of a run. Raises what ``start.take_over`` raises."""
    _check(url)
    planned = take_over(engine, turns, run_id)
    with turns.reader.snapshot() as rows:
        return Lead(engine, turns, url, planned, records.finished(rows, run_id), works)


def _check(url: str) -> None:
    """Raises ``CannotRun`` without a bus at ``url``."""
    try:
        with connected(url) as redis:
            reach(redis)
    except BusAway as error:
        raise CannotRun(
            f"The bus cannot be reached ({error}): start it, or unset KIMI_UI_BUS to run the benchmark in one process."
        ) from None
    except BusError as error:
        raise CannotRun(str(error)) from None


class Lead:
    """A run from its plan to its end. ``finished``: positions of items that have a result already. ``works``: this
    process is also a worker of it. ``stop`` may be called from any thread and signal handler."""

    def __init__(
        self, engine: Engine, turns: Turns, url: str, planned: Planned, finished: set[int], works: bool
    ) -> None:
        self.head = planned.head
        self._engine = engine
        self._turns = turns
        self._url = url
        self._planned = planned
        self._plan = by_case(planned.items)
        self._finished = finished
        self._works = works
        self._is_away = False
        self._under_way: tuple[tuple[str, str], ...] = ()
        self._spent_usd: float | None = None
        self._n_unpriced = 0
        self._n_before: int | None = None  # results at the first look
        self._began_s = 0.0
        self._early: EarlyStop | None = None
        self._on_sample: Callable[[Sample], None] = lambda _: None
        self._ending: tuple[str, str] | None = None
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def stop(self, reason: str = EXPLORATORY) -> None:
        """End the run: nothing more is sent, and what is running is stopped, everywhere. ``run`` returns soon."""
        self._inbox.put(partial(self._end, STOPPED, reason))

    @property
    def progress(self) -> Progress:
        """Of all workers. The time left is by the pace since this process leads the run."""
        done, planned = len(self._finished), len(self._planned.items)
        new = done - (done if self._n_before is None else self._n_before)
        left_s = (time.monotonic() - self._began_s) * (planned - done) / new if new else None
        return Progress(done, planned, self._under_way, self._spent_usd, self._n_unpriced, left_s)

    def run(
        self,
        report: Callable[[Progress], None] = lambda _: None,
        on_sample: Callable[[Sample], None] = lambda _: None,
        *,
        at_a_time: int = 1,
        unsandboxed: bool = False,
        stop_early: bool = False,
    ) -> Head:
        """Lead until the plan is done or something ends the run; return how it ended.

        ``at_a_time`` and ``unsandboxed`` concern the worker in this process; the rest is as in ``Runner.run``.
        """
        self._on_sample = on_sample
        if stop_early:
            lanes = (item.lane for item in self._planned.items)
            with self._turns.reader.snapshot() as rows:
                self._early = EarlyStop(lanes, records.samples(rows, self.head.id, sorted(self._finished)))
        with connected(self._url) as redis:
            offers = Offers(redis, self.head.id, terms(used(self._planned)))
            worker = working(self._engine, self._turns, redis, self._planned) if self._works else None
            work = partial(self._work, worker, at_a_time, unsandboxed)
            thread = threading.Thread(target=work, name="bench-worker", daemon=True)
            thread.start()
            try:
                self._keep(offers, anew=True)
                while True:
                    self._look()
                    report(self.progress)
                    if self._ending:
                        break
                    self._wait()
                    self._keep(offers)
            except BaseException:
                self._end(STOPPED, EXPLORATORY)
                raise
            finally:
                if worker:
                    worker.stop()
                    thread.join()
                self._close(offers)
                report(self.progress)
        return self.head

    def _wait(self) -> None:
        with suppress(queue.Empty):
            self._inbox.get(timeout=LOOK_S)()

    def _look(self) -> None:
        """Take what is new in the log. While that cannot be read, nothing is."""
        try:
            with self._turns.reader.snapshot() as rows:
                self._under_way = tuple((case, lane) for _, case, lane, _ in records.under_way(rows, self.head.id))
                new = records.finished(rows, self.head.id) - self._finished
                samples = records.samples(rows, self.head.id, sorted(new))
                costs = records.costs(rows, self.head.id) if new or self._n_before is None else None
        except LogError:
            return
        self._finished |= new
        if costs is not None:
            known = [cost.usd for cost in costs if cost.usd is not None]
            self._spent_usd = sum(known) if known else None
            self._n_unpriced = sum(cost.usd is None and cost.wrote for cost in costs)
        if self._n_before is None:
            self._n_before, self._began_s = len(self._finished), time.monotonic()
        for sample in samples:
            self._on_sample(sample)
            if self._early:
                self._early.add(sample)
        if len(self._finished) == len(self._planned.items):
            self._end(DONE, "")
        elif self._early and self._early.is_decided:
            self._end(DECIDED, ALL_SHOWN)

    def _keep(self, offers: Offers, anew: bool = False) -> None:
        """Go on leading; offer what is left if the bus has lost it, or ``anew``."""
        try:
            if not offers.renew() or anew:
                left = [case for case, items in enumerate(self._plan) if self._is_left(items)]
                offers.offer(left, self._at_it())
        except BusAway as error:
            if not (self._is_away or self._works):  # otherwise the worker says so
                log.warning("The bus cannot be reached (%s): workers finish the cases they have, and wait.", error)
            self._is_away = True
            return
        if self._is_away and not self._works:
            log.warning("The bus is back.")
        self._is_away = False

    def _at_it(self) -> dict[int, str]:
        """Who is at a case, as far as the log can be read."""
        case_of = {item.position: case for case, items in enumerate(self._plan) for item in items}
        with suppress(LogError), self._turns.reader.snapshot() as rows:
            under_way = records.under_way(rows, self.head.id)
            return {case_of[position]: boot_id for position, _, _, boot_id in under_way if position in case_of}
        return {}

    def _is_left(self, items: Iterable[Item]) -> bool:
        return any(item.turn_id and item.position not in self._finished for item in items)

    def _work(self, worker: Worker | None, at_a_time: int, unsandboxed: bool) -> None:
        """In a thread: be a worker. What ends it ends the run."""
        if worker is None:
            return
        try:
            worker.run(at_a_time=at_a_time, unsandboxed=unsandboxed)
        except Exception as error:
            if not isinstance(error, CannotRun | LogError):
                log.exception("the worker of run %s had an internal error", self.head.id)
            self.stop(str(error))
        else:
            self.stop(worker.why)

    def _end(self, state: str, reason: str) -> None:
        self._ending = self._ending or (state, reason)

    def _close(self, offers: Offers) -> None:
        """Record how the run ended, then tell the workers that it has."""
        self._look()
        whole = len(self._finished) == len(self._planned.items)
        state, reason = (DONE, "") if whole else self._ending or (STOPPED, EXPLORATORY)
        self.head = replace(self.head, state=state, state_reason=reason, ended_at_utc=utc.now_text())
        self._turns.writer.write([records.head_op(self.head)]).result()
        with suppress(BusAway):
            offers.withdraw()
