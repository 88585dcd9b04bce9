"""Runs the benchmark over the engine: sends the plan, grades the answers, and can go on after any kind of death.

Every item is a turn of kind ``bench`` in the same log as chat, sent, stamped and measured like any other. The plan is
in the log before the first request, and each item names its turn before that is sent. So the log alone says what is
left to do: an item with a verdict is done; one whose attempt has ended is graded without a request; one whose attempt
was cut off is sent again, as a further attempt of the same turn; one without a turn was never sent.

``Runner.run`` sends and waits in the caller's thread; answers are graded in another one, so the engine never waits.
"""

from __future__ import annotations

import logging
import platform
import queue
import statistics
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from .. import utc
from ..core.budget import dollars
from ..core.turn import TurnLog
from ..engine import Engine, EngineClosed, LaneBusy, UnknownLane, UnknownTurn
from ..log.store import Rows
from ..turns import Turns
from . import records
from .early_stop import EarlyStop
from .plan import Item, sendable, servers_of, worst_usd
from .records import BUDGET, DECIDED, DONE, LOST, STOPPED, Head
from .results import Sample
from .start import (
    NO_LOG,
    CannotRun,
    Planned,
    Wanted,
    plan_warm_ups,
    take_over,
    tokens_of,
    write_plan,
)
from .work import ANSWERED, Work, verdicts

log = logging.getLogger(__name__)

KIND = "bench"
STOP_WAIT_S = 5.0  # for the end of what is running, after a stop
ALL_SHOWN = "Every difference between the lanes is shown, by a test that holds at every look."
EXPLORATORY = "exploratory: a person stopped it"


class Progress(NamedTuple):
    """Where a run is. ``running``: case and lane of each request. ``left_s``: by the median time of each lane's items;
    None while a lane has none.

    ``spent_usd``: the known cost so far, of all tries and warm-ups, None if none is known; ``n_unpriced`` answers have
    no known cost.
    """

    done: int
    planned: int
    running: tuple[tuple[str, str], ...]
    spent_usd: float | None
    n_unpriced: int
    left_s: float | None


class Ledger:
    """The money of a run, in USD, by turn. What was sent and has no known cost counts as the most it can have cost."""

    def __init__(self, budget_usd: float | None) -> None:
        self.budget_usd = budget_usd
        self.spent_usd: float | None = None
        self.n_unpriced = 0
        self._at_most: dict[str, float] = {}

    def allows(self, worst_usd: float) -> bool:
        used = (self.spent_usd or 0.0) + sum(self._at_most.values())
        return self.budget_usd is None or used + worst_usd <= self.budget_usd + 1e-9

    def sent(self, turn_id: str, worst_usd: float) -> None:
        self._at_most[turn_id] = worst_usd

    def costs(self, turn_id: str, usd: float | None) -> None:
        """What the turn's newest attempt cost; None: not known."""
        if usd is None:
            self.n_unpriced += 1
        else:
            self.spent_usd = (self.spent_usd or 0.0) + usd
            self._at_most.pop(turn_id, None)


def begin(engine: Engine, turns: Turns, wanted: Wanted) -> Runner:
    """A new run in this process. Raises ``PlanError``, ``CannotRun``."""
    planned = write_plan(engine, turns, wanted)
    return Runner(engine, turns, planned, plan_warm_ups(turns, planned, planned.items))


def resume(engine: Engine, turns: Turns, run_id: str, budget_usd: float | None = None) -> Runner:
    """Go on with a run in this process: what is left of its plan. Raises what ``take_over`` raises."""
    planned = take_over(engine, turns, run_id, budget_usd)
    with turns.reader.snapshot() as rows:  # after the claim, so that nobody else changes it
        finished, sent, costs = records.finished(rows, run_id), records.sent(rows, run_id), records.costs(rows, run_id)
        items = records.items(rows, run_id)
    left = [item for item in planned.items if item.position not in finished]
    begun = [
        Work.stored(turns, item, planned.cases[item.case_id], sent[item.position])
        for item in left
        if item.position in sent
    ]
    ended = {work.item.position for work in begun if work.has_ended}
    warming = plan_warm_ups(turns, planned, [item for item in left if item.position not in ended])
    runner = Runner(engine, turns, planned, warming)
    runner.continue_from(finished, begun, ended, costs, {item.position: item for item in items})
    return runner


class Runner:
    """One run of the benchmark, from its plan to its end. ``stop`` may be called from any thread and signal handler.

    All of its items wait here from the beginning; ``worker.Worker`` claims them, of a run that several processes share.
    """

    def __init__(self, engine: Engine, turns: Turns, planned: Planned, warming: Sequence[Item]) -> None:
        self.head, self._specs, self._cases, items = planned
        self._engine = engine
        self._turns = turns
        self.me = turns.writer.boot_id
        self._servers = {lane: servers_of(spec, self._specs) for lane, spec in self._specs.items()}
        self._lanes = list(dict.fromkeys(item.lane for item in items))
        self._abreast = len(self._lanes)  # items of a case
        self._planned = len(items)
        self._waiting = [*warming, *(item for item in items if item.turn_id)]
        self._unfit = [item.position for item in items if not item.turn_id]  # reported at the start
        self._n_done = len(self._unfit)
        self._ledger = Ledger(self.head.budget_usd)
        self._begun: dict[int, Work] = {}
        self._ungraded: list[Work] = []
        self._running: dict[str, Work] = {}  # by the id of the turn
        self._n_grading = 0
        self._took_s: dict[str, list[float]] = {}
        self._ending: tuple[str, str] | None = None
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()  # what happened, for ``run``'s thread
        self._at_a_time = 1
        self._unsandboxed = False
        self._on_sample: Callable[[Sample], None] = _ignore
        self._early: EarlyStop | None = None

    def continue_from(
        self,
        finished: Collection[int],
        begun: Iterable[Work],
        ended: Collection[int],
        costs: Iterable[records.Cost],
        items: Mapping[int, Item],
    ) -> None:
        """Take up what an earlier process did: leave out the items with a result, and count what was sent.

        ``begun``: the items with a turn and no result, of which those at ``ended`` only need their verdict. ``items``:
        all that earlier processes planned, warm-ups included.
        """
        works = {work.item.position: work for work in begun}
        self._ungraded = [works[position] for position in sorted(ended)]
        self._begun = {position: work for position, work in works.items() if position not in ended}
        gone = {*finished, *ended}
        self._waiting = [item for item in self._waiting if item.warm_up or item.position not in gone]
        self._unfit = []
        self._n_done = len(finished)
        for cost in costs:
            if cost.usd is not None or cost.wrote:
                self._ledger.costs(cost.attempt_id, cost.usd)
            if cost.usd is None and cost.may_be_billed:
                item = items[cost.position]
                self._ledger.sent(cost.attempt_id, self._worst_usd(Work(item, self._cases[item.case_id])))

    def stop(self, reason: str = EXPLORATORY) -> None:
        """Send nothing more and stop what is running; ``run`` returns soon."""
        self._inbox.put(partial(self._end, STOPPED, reason))

    def run(
        self,
        report: Callable[[Progress], None] = lambda _: None,
        on_sample: Callable[[Sample], None] = lambda _: None,
        *,
        at_a_time: int = 1,
        unsandboxed: bool = False,
        stop_early: bool = False,
    ) -> Head:
        """Send, grade and record until the plan is done or something ends the run; return how it ended.

        ``at_a_time``: items at a time of each server. ``stop_early``: end as soon as every difference between the lanes
        is shown (``EarlyStop``). ``report`` and ``on_sample`` are called in this thread.
        """
        self._at_a_time, self._unsandboxed = at_a_time, unsandboxed
        self._turns.writer.write([records.worker_op(self.head.id, self.me, platform.node(), at_a_time)])
        self._on_sample = on_sample
        if stop_early:
            with self._turns.reader.snapshot() as rows:
                self._early = EarlyStop(self._lanes, records.samples(rows, self.head.id))
        unlisten = self._turns.listen(lambda turn, _: self._inbox.put(partial(self._closed, turn)))
        with ThreadPoolExecutor(1, "bench-grader") as self._grader:
            try:
                self._tell_unfit()
                for work in self._ungraded:
                    self._conclude(work)
                self._fill()
                self._serve(report)
            except CannotRun as error:
                self._end(STOPPED, str(error))
                raise
            except BaseException:
                self._end(STOPPED, EXPLORATORY)
                raise
            finally:
                unlisten()
                self._close()
        return self.head

    # In the thread of ``run``.

    def _tell_unfit(self) -> None:
        """The samples of the items that do not fit their lane's context, at the start of a new run."""
        if self._unfit:
            with self._turns.reader.snapshot() as rows:
                for sample in records.samples(rows, self.head.id, self._unfit):
                    self._on_sample(sample)

    def _serve(self, report: Callable[[Progress], None]) -> None:
        """Handle what happens until nothing is running and nothing is left to send."""
        report(self.progress)
        stop_by = None
        while self._goes_on:
            if self._ending and self._ending[0] == STOPPED and stop_by is None:
                stop_by = time.monotonic() + STOP_WAIT_S
            try:
                happened = self._inbox.get(timeout=None if stop_by is None else max(0.0, stop_by - time.monotonic()))
            except queue.Empty:
                log.warning("%d requests did not end after the stop", len(self._running))
                return
            happened()
            if not self._ending:
                self._fill()
            report(self.progress)

    @property
    def _goes_on(self) -> bool:
        return bool(self._running or self._n_grading)

    @property
    def progress(self) -> Progress:
        running = tuple((work.case.id, work.item.lane) for work in self._running.values())
        ledger = self._ledger
        return Progress(self._n_done, self._planned, running, ledger.spent_usd, ledger.n_unpriced, self._left_s())

    def _left_s(self) -> float | None:
        """The longest of the servers' remaining times: items that have no result yet, by the median of their lane."""
        left = [*self._waiting, *(work.item for work in self._running.values())]
        by_server: dict[str, float] = {}
        for lane, n_items in Counter(item.lane for item in left if not item.warm_up).items():
            if lane not in self._took_s:
                return None
            lane_s = n_items * statistics.median(self._took_s[lane]) / self._at_a_time
            for server in self._servers[lane]:
                by_server[server] = by_server.get(server, 0.0) + lane_s / len(self._servers[lane])
        return max(by_server.values(), default=0.0)

    def _fill(self) -> None:
        """Send what may be sent now."""
        running = [work.item for work in self._running.values()]
        for item in list(sendable(self._waiting, running, self._servers, self._abreast, self._at_a_time)):
            work = self._begun.get(item.position) or Work(item, self._cases[item.case_id])
            if not self._send(work):
                return
            self._waiting.remove(item)

    def _send(self, work: Work) -> bool:
        """Send the item's next message, or the last one again if its attempt was cut off. False: not sent, because the
        run ends, or because the budget may allow it once it is known what others cost."""
        item, message = work.item, work.messages[len(work.turns) - work.is_lost]
        if not self._is_unchanged(item.lane):
            return False
        worst_usd = self._worst_usd(work)
        if not self._ledger.allows(worst_usd):
            if not (self._running or self._n_grading):
                self._end(BUDGET, f"The next request could cost {dollars(worst_usd)}, more than the budget has left.")
            return False
        try:
            if work.is_lost:
                work.turns[-1] = self._engine.retry(work.turns[-1].turn_id, item.lane, owner=self.head.owner)
            elif work.turns:
                conversation_id = work.turns[0].conversation_id
                work.turns.append(self._new_turn(message, work, conversation_id))
            else:
                work.turns.append(self._new_turn(message, work))
        except (EngineClosed, LaneBusy, UnknownLane, UnknownTurn) as error:
            self._end(STOPPED, str(error))
            return False
        self._ledger.sent(work.turns[-1].turn_id, worst_usd)
        work.is_lost = False
        work.began_s = work.began_s or time.monotonic()
        self._running[work.turns[-1].turn_id] = work
        return True

    def _new_turn(self, message: str, work: Work, conversation_id: str | None = None) -> TurnLog:
        lanes, turn_id = [work.item.lane], work.next_turn_id
        return self._engine.send(
            message, lanes=lanes, owner=self.head.owner, kind=KIND, turn_id=turn_id, conversation_id=conversation_id
        )

    def _is_unchanged(self, lane: str) -> bool:
        """Whether the lane is served as it was when the run began; otherwise the run ends."""
        now = {spec.id: spec for spec in self._engine.specs}
        before = self._specs[lane]
        if all(now.get(one) == self._specs[one] for one in filter(None, (lane, before.of))):
            return True
        is_whole = lane in now and now[lane].of in ("", *now)
        if is_whole and records.config_sha(now[lane], now) == records.config_sha(before, self._specs):
            return True  # a label, a price or what it stands in for
        self._end(
            STOPPED,
            f"The lane {before.label} was changed while the run went on: change it back and resume, or start a new "
            "run.",
        )
        return False

    def _worst_usd(self, work: Work) -> float:
        """The most that the item's next send can cost; 0 without a budget, which is all it is for."""
        if self.head.budget_usd is None:
            return 0.0
        spec = self._specs[work.item.lane]
        before = [fold for turn in work.turns if (fold := turn.fold().newest(work.item.lane))]
        texts = [*work.messages[: len(work.turns) + (not work.is_lost)], *(fold.answer for fold in before)]
        tokens = sum(tokens_of(text, spec.tokenizer) for text in texts)
        return worst_usd(tokens, spec, self._specs.get(spec.of, spec))

    def _closed(self, turn: TurnLog) -> None:
        """A turn of the app has ended; if it is the run's, go on with its item."""
        work = self._running.pop(turn.turn_id, None)
        if work is None:
            return
        newest = work.newest
        if newest is None or newest.status in LOST:
            return  # it has no result, and is sent again when the run is resumed
        if work.item.warm_up and newest.status not in ANSWERED:
            label = self._specs[work.item.lane].label
            why = f"{newest.failure.message} {newest.failure.remedy}" if newest.failure else "Its answer broke off."
            self._end(STOPPED, f"{label} does not answer: {why}")
        elif work.goes_on and not work.item.warm_up:
            self._turns.writer.flush().result()  # or a kill could lose this turn's end and keep the next turn
            if self.head.budget_usd is not None:
                with self._turns.reader.snapshot() as rows:
                    self._settle(rows, work)
            if self._ending or not self._send(work):
                self._begun[work.item.position] = work
                self._waiting.insert(0, work.item)
        else:
            if not work.item.warm_up:
                self._took_s.setdefault(work.item.lane, []).append(time.monotonic() - work.began_s)
            self._conclude(work)

    def _conclude(self, work: Work) -> None:
        """Judge a whole item in the grader's thread, then come back to ``_graded``."""
        self._n_grading += 1

        def judged() -> None:
            try:
                ops = verdicts(work, self._unsandboxed) if self._counts(work) else []
                self._turns.writer.flush().result()  # the attempt's own end before its verdict
                self._turns.writer.write(ops).result()
            except Exception as error:
                log.exception("grading %s failed", work.case.id)
                self._inbox.put(partial(self._not_graded, work, error))
            else:
                self._inbox.put(partial(self._graded, work))

        self._grader.submit(judged)

    def _counts(self, work: Work) -> bool:
        """Whether the item is to have a verdict. In the grader's thread."""
        return not work.item.warm_up

    def _graded(self, work: Work) -> None:
        self._n_grading -= 1
        item = work.item
        with self._turns.reader.snapshot() as rows:
            if item.warm_up or len(work.turns) > 1:
                self._settle(rows, work)
            if item.warm_up:
                return
            (sample,) = records.samples(rows, self.head.id, [item.position])
        if sample.outcome == "not-run":
            raise CannotRun(NO_LOG)
        if not work.n_settled:
            self._ledger.costs(work.turns[0].turn_id, sample.cost_usd)
        self._n_done += 1
        self._on_sample(sample)
        if self._early:
            self._early.add(sample)
            if self._early.is_decided:
                self._end(DECIDED, ALL_SHOWN)

    def _settle(self, rows: Rows, work: Work) -> None:
        """Take what the item's turns cost from the log, those whose cost was not taken yet."""
        new = work.turns[work.n_settled :]
        work.n_settled = len(work.turns)
        ids = {turn.turn_id: turn.fold().current(work.item.lane) or "" for turn in new}
        figures = records.figures(rows, list(ids.values()))
        for turn_id, attempt_id in ids.items():
            self._ledger.costs(turn_id, figures.get(attempt_id, {}).get("cost_usd"))

    def _not_graded(self, work: Work, error: Exception) -> None:
        self._n_grading -= 1
        what = f"Grading {work.case.id} failed inside Kimi UI ({type(error).__name__})"
        self._end(STOPPED, f"{what}; resume the run to grade it again.")

    def _end(self, state: str, reason: str) -> None:
        """End the run. What is running goes on to its end, except after a stop."""
        if self._ending is None or (state == STOPPED and self._ending[0] != STOPPED):
            self._ending = (state, reason)
        if state == STOPPED:
            for turn_id in self._running:
                self._engine.stop(turn_id)

    def _close(self) -> None:
        """Record how the run ended."""
        whole = self._n_done == self._planned
        state, reason = (DONE, "") if whole else self._ending or (STOPPED, EXPLORATORY)
        self.head = replace(self.head, state=state, state_reason=reason, ended_at_utc=utc.now_text())
        self._turns.writer.write([records.head_op(self.head)]).result()


def _ignore(_: Sample) -> None: ...
