"""A worker of a run that several processes share: a runner that claims cases on the bus instead of having them all.

What a worker claims is a case in all its lanes, so that the lanes of a case are compared under the same conditions: the
same machine, the same hour. It has at most ``AHEAD`` cases in hand, and claims another when a server has nothing to do.

    bus ── claims' thread: renew, take, done ──►  inbox of ``Runner.run``'s thread ──► engine, grader ──► log

That a case counts once does not depend on the bus. The ids of its items' turns follow from the plan, so a second worker
makes further attempts in the same turns, and ``bench_verdicts`` has one outcome for each item.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from .. import __version__
from ..bus.claims import BEAT_S, LEAD_S, BusAway, Claim, Claims
from ..bus.wire import Redis
from ..core.turn import TurnLog
from ..engine import Engine
from ..log.store import LogError
from ..turns import Turns
from . import records, sandbox, suite
from .plan import AHEAD, Item, busy_with
from .records import INTERRUPTED, LOST, RUNNING, STOPPED, NoSuchRun
from .runner import Progress, Runner
from .start import CODE, CannotRun, Planned, plan_warm_ups, stored_plan
from .suite import Case
from .work import Work

log = logging.getLogger(__name__)

LEFT = "left"  # how a worker ends that takes no more cases and finishes what it has sent
OVER = "The run is over."
AS_THE_RUN = "give this worker the lanes file and the keys of the run"


def terms(cases: Iterable[Case]) -> str:
    """What all workers of a run must have in common, as a text: the version of Kimi UI and the texts of its cases."""
    texts = [[case.id, case.grader, case.prompt, case.turns, case.reference] for case in cases]
    sha = hashlib.sha256(json.dumps([suite.VERSION, sorted(texts)]).encode()).hexdigest()[:16]
    return json.dumps({"app_version": __version__, "suite": sha})


def used(planned: Planned) -> list[Case]:
    """The cases of a run's plan."""
    return [planned.cases[case_id] for case_id in sorted({item.case_id for item in planned.items})]


def join(engine: Engine, turns: Turns, redis: Redis, run_id: str, agreed: str, *, unsandboxed: bool = False) -> Worker:
    """A worker for a run that is led elsewhere. ``agreed``: the run's terms on the bus.

    Raises ``CannotRun`` if this process cannot do the run's cases as the others do.
    """
    theirs, ours = json.loads(agreed), json.loads(terms(()))
    if theirs["app_version"] != ours["app_version"]:
        raise CannotRun(
            f"The run {run_id} is led by Kimi UI {theirs['app_version']} and this is {ours['app_version']}: install the"
            " same version everywhere."
        )
    try:
        planned = stored_plan(engine, turns, run_id, AS_THE_RUN)
    except NoSuchRun:
        raise CannotRun(
            f"The run {run_id} is not in the log {turns.writer.place}: all workers of a run share one log, a PostgreSQL"
            " database or, on one machine, the same SQLite file; name it with --db or KIMI_UI_DB."
        ) from None
    cases = used(planned)
    if json.loads(terms(cases)) != theirs:
        raise CannotRun(f"The suite here has other cases than that of the run {run_id}: install the same Kimi UI.")
    if any(case.grader in CODE for case in cases) and (box := sandbox.choose(unsandboxed)).backend is None:
        raise CannotRun(f"The run {run_id} has cases that need a sandbox. {box.sentence}")
    return working(engine, turns, redis, planned)


def working(engine: Engine, turns: Turns, redis: Redis, planned: Planned) -> Worker:
    """A worker of a run with this plan."""
    return Worker(engine, turns, planned, plan_warm_ups(turns, planned, planned.items), redis)


def by_case(items: Iterable[Item]) -> list[list[Item]]:
    """The plan's items by case and epoch, in its order: what is claimed together."""
    found: dict[tuple[int, str], list[Item]] = {}
    for item in items:
        found.setdefault((item.epoch, item.case_id), []).append(item)
    return list(found.values())


class Worker(Runner):
    """Works on a run until it is over, or until it is told to leave. How it ended is ``why``; the run's state is its
    leader's."""

    def __init__(self, engine: Engine, turns: Turns, planned: Planned, warming: Sequence[Item], redis: Redis) -> None:
        super().__init__(engine, turns, planned, warming)
        self._claims = Claims(redis, planned.head.id, self.me)
        self._plan = by_case(planned.items)
        self._case_of = {item.position: case for case, items in enumerate(self._plan) for item in items}
        self._waiting, self._unfit, self._n_done = list(warming), [], 0
        self._abreast = len(planned.items)  # other workers have the cases between ours
        self._hand: dict[int, set[int]] = {}  # claimed cases, with the positions of items that have no result
        self._is_claiming = False
        self._leave_by = math.inf
        # Of the claims' thread
        self._wants = threading.Event()  # to claim a case
        self._errands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._has_left = threading.Event()
        self._led_at = time.monotonic()
        self._is_away = False

    @property
    def is_over(self) -> bool:
        """Whether it ended because the run did."""
        return self.why == OVER

    @property
    def why(self) -> str:
        return self._ending[1] if self._ending else ""

    def leave(self, reason: str, within_s: float = math.inf) -> None:
        """Claim and send nothing more, finish what is sent, and give the rest back; ``run`` returns then. What has not
        ended after ``within_s`` is stopped. May be called by any thread and signal handler."""
        self._leave_by = min(self._leave_by, time.monotonic() + within_s)
        self._inbox.put(partial(self._end, LEFT, reason))

    # In the thread of ``run``

    def _serve(self, report: Callable[[Progress], None]) -> None:
        attending = threading.Thread(target=self._attend, name="bench-claims", daemon=True)
        attending.start()
        try:
            super()._serve(report)
        finally:
            self._has_left.set()
            self._wake.set()
            attending.join()

    @property
    def _goes_on(self) -> bool:
        return not self._ending or super()._goes_on

    def _fill(self) -> None:
        super()._fill()
        if self._has_room and not self._is_claiming:
            self._is_claiming = True
            self._wants.set()
            self._wake.set()

    @property
    def _has_room(self) -> bool:
        """Whether a server has nothing to do, and there may be another case in hand."""
        due = [*self._waiting, *(work.item for work in self._running.values())]
        if len(self._hand) >= AHEAD or any(item.warm_up for item in due):
            return False
        busy = busy_with(due, self._servers)
        return any(busy[server] < self._at_a_time for lane in self._lanes for server in self._servers[lane])

    def _take_up(self, claim: Claim) -> None:
        """Wait to send what is left of a case."""
        self._is_claiming = False
        case, is_again = claim
        if case in self._hand:  # the bus had lost the claim, and it was offered again
            return
        items = self._plan[case]
        positions = [item.position for item in items]
        with self._turns.reader.snapshot() as rows:
            finished = records.finished(rows, self.head.id, positions)
            sent = records.sent(rows, self.head.id, positions)
            at_it = {boot_id for position, _, _, boot_id in records.under_way(rows, self.head.id) if position in sent}
        if not is_again and (others := at_it - {self.me}):  # the bus had lost theirs
            self._later(partial(self._claims.pass_to, case, min(others)))
            return
        if any(self._case_of.get(work.item.position) == case for work in self._running.values()):
            self._later(partial(self._claims.give_back, case))  # our own requests have not ended since we lost it
            return
        left = [item for item in items if item.turn_id and item.position not in finished]
        self._hand[case] = {item.position for item in left}
        for item in left:
            tries = sent.get(item.position)
            if not tries:
                self._waiting.append(item)
                continue
            work = Work.stored(self._turns, item, self._cases[item.case_id], tries)
            if work.has_ended:
                self._conclude(work)
            else:
                self._begun[item.position] = work
                self._waiting.append(item)
        self._waiting.sort(key=lambda item: item.position)
        if not left:
            self._finish(case)

    def _send(self, work: Work) -> bool:
        """False also if another worker has the case: it may have sent the next message of this conversation."""
        return not self._has_lost(work) and super()._send(work)

    def _has_lost(self, work: Work) -> bool:
        """Ask the bus whether another worker has the case, since this one was not heard of; if so, it is given up.
        False while the bus is away. Any thread may call it."""
        case = self._case_of.get(work.item.position)
        with suppress(BusAway):
            if case is not None and self._claims.renew([case]):
                self._inbox.put(partial(self._lose, case))
                return True
        return False

    def _closed(self, turn: TurnLog) -> None:
        work = self._running.get(turn.turn_id)
        if work is None or work.item.warm_up:
            super()._closed(turn)
        elif self._case_of[work.item.position] not in self._hand:  # it is another's now
            del self._running[turn.turn_id]
        else:
            was_stopped = work.newest is None or work.newest.status in LOST
            super()._closed(turn)
            if was_stopped:
                self._end(STOPPED, f"The request for {work.case.id} was stopped; the case is given back.")

    def _counts(self, work: Work) -> bool:
        """False also if another worker has the case or has done it."""
        if not super()._counts(work) or self._has_lost(work):
            return False
        with self._turns.reader.snapshot() as rows:
            return not records.finished(rows, self.head.id, [work.item.position])

    def _graded(self, work: Work) -> None:
        case = self._case_of.get(work.item.position)
        if case is not None and case not in self._hand:
            self._n_grading -= 1
            return
        super()._graded(work)
        if case is not None:
            self._hand[case].discard(work.item.position)
            if not self._hand[case]:
                self._finish(case)

    def _finish(self, case: int) -> None:
        del self._hand[case]
        self._later(partial(self._claims.done, case))

    def _lose(self, case: int) -> None:
        """Another worker has the case, since the claim was not renewed in time."""
        if self._hand.pop(case, None) is None:
            return
        log.warning("Another worker has taken over %s, since this one was not heard of.", self._plan[case][0].case_id)
        self._waiting = [item for item in self._waiting if self._case_of.get(item.position) != case]
        for turn_id, work in self._running.items():
            if self._case_of.get(work.item.position) == case:
                self._engine.stop(turn_id)

    def _later(self, errand: Callable[[], None]) -> None:
        """Have the claims' thread do it. If the bus is away, it is not done: the claim is another's after a while, who
        finds in the log what is left."""
        self._errands.put(errand)
        self._wake.set()

    def _close(self) -> None:
        """The run's state is recorded by its leader."""

    # In the claims' thread

    def _attend(self) -> None:
        """Renew the claims and take others, until the worker has left; then give back what it has."""
        while not self._has_left.is_set():
            try:
                self._beat()
            except BusAway as error:
                self._led_at = time.monotonic()
                if not self._is_away:
                    self._is_away = True
                    log.warning(
                        "The bus cannot be reached (%s): this worker finishes the cases it has, and claims others once "
                        "it is back.",
                        error,
                    )
            except Exception:
                log.exception("claiming cases had an internal error")
            self._wake.wait(BEAT_S)
            self._wake.clear()
        with suppress(BusAway, RuntimeError):  # RuntimeError: the log is closed
            self._turns.writer.flush().result()  # so that who gets a case knows that nothing of it is under way here
            self._run_errands()
            for case in self._hand:
                self._claims.give_back(case)

    def _beat(self) -> None:
        if time.monotonic() > self._leave_by:
            self.stop(self.why)
        self._run_errands()
        for case in self._claims.renew(list(self._hand)):
            self._inbox.put(partial(self._lose, case))
        is_led = self._claims.is_led()
        if self._is_away:
            self._is_away = False
            log.warning("The bus is back.")
        if not is_led:
            self._unled()
            return
        self._led_at = time.monotonic()
        if self._wants.is_set() and (claim := self._claims.take()):
            self._wants.clear()
            self._inbox.put(partial(self._take_up, claim))

    def _run_errands(self) -> None:
        while not self._errands.empty():
            self._errands.get()()

    def _unled(self) -> None:
        """Leave a run that is over, at once, or whose leader has not been there for a while."""
        try:
            with self._turns.reader.snapshot() as rows:
                state = records.head(rows, self.head.id).state
        except LogError:
            return
        if state not in (RUNNING, INTERRUPTED):
            self.stop(OVER)
        elif time.monotonic() - self._led_at > LEAD_S:
            self.leave(
                f"The process that led the run {self.head.id} is gone; `python -m kimi_ui bench --resume "
                f"{self.head.id}` goes on with it."
            )
