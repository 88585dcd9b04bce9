"""The plan of a run: writes it to the log, reads it back, and makes this process the one that runs it.

The plan is in the log before the first request. Warm-ups are added to it at each start.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from .. import __version__, utc
from ..core.context import prompt_size
from ..core.lane import LaneSpec
from ..engine import Engine
from ..tokenizers import counter
from ..turns import Turns
from . import records, suite
from .plan import EPOCHS, Chosen, Item, PlanError, plan, unfit, warm_ups, worst_usd
from .records import DONE, RUNNING, Head
from .results import RunLane
from .suite import Case

CODE = ("code", "sql")  # graders that run what a model wrote
CHANGE_BACK = "change it back, or start a new run"
NO_LOG = (
    "A benchmark needs its log, or it could not go on after an interruption, and the log cannot be written: free "
    "disk space, or choose another file with --db."
)


class CannotRun(Exception):
    """The run cannot be started or continued. The text is a sentence with the remedy."""


class Wanted(NamedTuple):
    """What a person asks for. ``epochs`` None: as many as the size has; ``order_seed`` None: a random one."""

    chosen: Chosen
    seed: int
    lanes: tuple[str, ...]
    epochs: int | None = None
    budget_usd: float | None = None
    order_seed: int | None = None
    owner: str = ""


class Planned(NamedTuple):
    """A run whose plan is in the log, without warm-ups. ``specs``: all lanes by id, as they are now."""

    head: Head
    specs: Mapping[str, LaneSpec]
    cases: Mapping[str, Case]
    items: Sequence[Item]


def write_plan(engine: Engine, turns: Turns, wanted: Wanted) -> Planned:
    """Write the plan of a new run. Raises ``PlanError``, ``CannotRun``."""
    specs = {spec.id: spec for spec in engine.specs}
    lanes = [_spec_of(specs, lane) for lane in dict.fromkeys(wanted.lanes)]
    head = Head(
        id=uuid.uuid4().hex[:12],
        owner=wanted.owner,
        boot_id=turns.writer.boot_id,
        started_at_utc=utc.now_text(),
        ended_at_utc=None,
        state=RUNNING,
        state_reason="",
        size=wanted.chosen.size,
        suite_version=suite.VERSION,
        seed=wanted.seed,
        epochs=wanted.epochs or EPOCHS[wanted.chosen.size],
        order_seed=random.SystemRandom().getrandbits(32) if wanted.order_seed is None else wanted.order_seed,
        budget_usd=wanted.budget_usd,
        app_version=__version__,
    )
    _check_budget(head, lanes, specs)
    cases = {case.id: case for case in wanted.chosen.cases}
    names = [spec.id for spec in lanes]
    items = plan(list(cases.values()), names, head.epochs, head.order_seed, _new_id, _unfit(cases, lanes, specs))
    ops = [records.head_op(head)]
    ops += [records.lane_op(head.id, at, spec, specs) for at, spec in enumerate(lanes)]
    ops += [records.item_op(head.id, item) for item in items]
    turns.writer.write(ops).result()
    with turns.reader.snapshot() as rows:
        if len(records.items(rows, head.id)) != len(items):
            raise CannotRun(NO_LOG)
    return Planned(head, specs, cases, items)


def stored_plan(engine: Engine, turns: Turns, run_id: str, remedy: str = CHANGE_BACK) -> Planned:
    """The plan of a run in the log. Raises ``CannotRun`` (it is done, or the suite or a lane is another; ``remedy`` is
    for a lane) and ``records.NoSuchRun``."""
    specs = {spec.id: spec for spec in engine.specs}
    with turns.reader.snapshot() as rows:
        head, lanes, items = records.head(rows, run_id), records.lanes(rows, run_id), records.items(rows, run_id)
    if head.state == DONE:
        raise CannotRun(f"The run {run_id} is done; start a new one without --resume.")
    if head.suite_version != suite.VERSION:
        raise CannotRun(
            f"The run {run_id} has version {head.suite_version} of the suite and this Kimi UI has version "
            f"{suite.VERSION}, so its cases are not the same: start a new run."
        )
    _check_lanes(lanes, specs, remedy)
    cases = {case.id: case for case in suite.cases(head.seed)}
    return Planned(head, specs, cases, [item for item in items if not item.warm_up])


def take_over(engine: Engine, turns: Turns, run_id: str, budget_usd: float | None = None) -> Planned:
    """Make this process the one that runs a run. ``budget_usd`` None: the run's own.

    Raises what ``stored_plan`` raises, ``PlanError`` and ``records.RunIsRunning``.
    """
    planned = stored_plan(engine, turns, run_id)
    head, specs = planned.head, planned.specs
    head = replace(head, budget_usd=head.budget_usd if budget_usd is None else budget_usd)
    _check_budget(head, [specs[lane] for lane in {item.lane for item in planned.items}], specs)
    boot_id = turns.writer.boot_id
    turns.writer.change(partial(records.claim, run_id=run_id, boot_id=boot_id, budget_usd=head.budget_usd)).result()
    return planned._replace(head=replace(head, state=RUNNING, state_reason="", ended_at_utc=None, boot_id=boot_id))


def plan_warm_ups(turns: Turns, planned: Planned, to_send: Iterable[Item]) -> list[Item]:
    """Write the requests that warm up each model of these items."""
    items = warm_ups(to_send, planned.cases, planned.specs, _new_id)
    ids, run_id = {item.turn_id for item in items}, planned.head.id
    turns.writer.change(partial(records.add_warm_ups, run_id=run_id, items=items)).result()
    with turns.reader.snapshot() as rows:
        return [item for item in records.items(rows, run_id) if item.turn_id in ids]


def without_code(chosen: Chosen) -> Chosen:
    """The cases without those whose grader runs code, for a machine without a sandbox. Raises ``PlanError``."""
    cases = tuple(case for case in chosen.cases if case.grader not in CODE)
    if not cases:
        raise PlanError("All of these cases need a sandbox; `python -m kimi_ui bench sandbox` says what is missing.")
    return chosen._replace(cases=cases)


def _spec_of(specs: Mapping[str, LaneSpec], lane: str) -> LaneSpec:
    if lane not in specs:
        raise PlanError(f"There is no lane {lane}; choose among {', '.join(specs)}.")
    return specs[lane]


def _check_lanes(lanes: Iterable[RunLane], specs: Mapping[str, LaneSpec], remedy: str) -> None:
    """Raises ``CannotRun`` for a lane that is gone or configured otherwise: its results could not be put together."""
    for lane in lanes:
        spec = specs.get(lane.id)
        if spec is None:
            raise CannotRun(f"The lane {lane.id} of this run is not configured here: {remedy}.")
        if records.config_sha(spec, specs) != lane.config_sha:
            raise CannotRun(
                f"The lane {lane.label} is not configured as it was when this run began, so its answers would be those "
                f"of another: {remedy}."
            )


def _check_budget(head: Head, lanes: Iterable[LaneSpec], specs: Mapping[str, LaneSpec]) -> None:
    """Raises ``PlanError`` if the run has a budget and the most that a lane can cost is not known."""
    for spec in lanes if head.budget_usd is not None else ():
        worst_usd(0, spec, specs.get(spec.of, spec))


def _unfit(
    cases: Mapping[str, Case], lanes: Iterable[LaneSpec], specs: Mapping[str, LaneSpec]
) -> dict[tuple[str, str], str]:
    """Why which case does not fit which lane. Of a conversation all messages count, but not the answers."""
    found = {}
    for spec in lanes:
        inner = specs.get(spec.of, spec)
        if inner.context_tokens is None:
            continue
        for case in cases.values():
            if why := unfit(
                sum(tokens_of(text, inner.tokenizer) for text in case.turns or (case.prompt,)), spec, inner
            ):
                found[case.id, spec.id] = why
    return found


@lru_cache(maxsize=2048)  # of a suite's prompts; answers come once each
def tokens_of(text: str, tokenizer: str) -> int:
    """About how many tokens a text has."""
    return prompt_size(text, counter(tokenizer)).estimate


def _new_id() -> str:
    return uuid.uuid4().hex
