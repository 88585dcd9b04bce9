"""What a run sends, in which order, and whether it may be sent. Pure: no clock, no log, no network."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..core.lane import LaneSpec, Price
from . import suite
from .suite import Case

QUICK, FULL, CHOSEN = "quick", "full", "chosen"
EPOCHS = {QUICK: 1, FULL: 3, CHOSEN: 1}
AHEAD = 4  # cases by which a lane may be ahead of the slowest one, so that all lanes run at the same time of day
LEAST_ANSWER = 1024  # tokens of context that an answer needs beside its prompt, if the lane does not limit it to fewer


class PlanError(ValueError):
    """What was asked for cannot be run. The text is one sentence with the remedy."""


class Item(NamedTuple):
    """A planned item: a case in a lane in an epoch (from 1). A row of ``benchmark_items``.

    ``position``: its place in the order of sending. ``warm_up``: 0 if it counts, else the number of the start of the
    run that warms a model up with it. ``turn_id``: of its turn, of several the first, fixed before it is sent; None if
    it is never sent, for the reason in ``not_sent``.
    """

    position: int
    case_id: str
    category: str
    template: str
    lane: str
    epoch: int
    warm_up: int
    turn_id: str | None
    not_sent: str | None


class Chosen(NamedTuple):
    """The cases of a run. ``size``: quick | full | chosen."""

    size: str
    cases: tuple[Case, ...]


def choose(seed: int, size: str = "", categories: Collection[str] = (), ids: Collection[str] = ()) -> Chosen:
    """The cases of a run: quick's 20 or all, of these categories, or these cases alone. Raises ``PlanError``.

    Without a size: all of the named categories or cases, or quick if none is named.
    """
    if unknown := sorted(set(categories) - set(suite.CATEGORIES)):
        raise PlanError(f"There is no category {unknown[0]}; choose among {', '.join(suite.CATEGORIES)}.")
    cases = suite.cases(seed)
    if unknown := sorted(set(ids) - {case.id for case in cases}):
        raise PlanError(f"There is no case {unknown[0]}; `python -m kimi_ui bench list` shows them.")
    picked = bool(categories or ids)
    if size == QUICK or not (size or picked):
        cases = [case for case in cases if case.id in suite.QUICK]
    cases = [case for case in cases if (not categories or case.category in categories) and (not ids or case.id in ids)]
    if not cases:
        raise PlanError("No case is left; name other cases or categories, or use --full.")
    return Chosen(CHOSEN if picked else size or QUICK, tuple(cases))


def plan(
    cases: Sequence[Case],
    lanes: Sequence[str],
    epochs: int,
    order_seed: int,
    new_id: Callable[[], str],
    unfit: Mapping[tuple[str, str], str],
    first: int = 0,
) -> list[Item]:
    """Every case in every lane, once an epoch, from position ``first`` on.

    The cases are shuffled again in each epoch, and so are the lanes at each case: they alternate case by case, so that
    an hour in which a server is slow hits all of them. ``new_id`` makes the id of a turn; ``unfit``: why a case is not
    sent to a lane, by both.
    """
    rng = random.Random(f"order/{order_seed}")
    items: list[Item] = []
    for epoch in range(1, epochs + 1):
        for case in rng.sample(cases, len(cases)):
            for lane in rng.sample(lanes, len(lanes)):
                why = unfit.get((case.id, lane))
                turn_id = None if why else new_id()
                place = (first + len(items), case.id, case.category, case.template)
                items.append(Item(*place, lane, epoch, 0, turn_id, why))
    return items


def warm_ups(
    items: Iterable[Item],
    cases: Mapping[str, Case],
    specs: Mapping[str, LaneSpec],
    new_id: Callable[[], str],
) -> list[Item]:
    """One request for each server and model of the items that are still to be sent, with the shortest of their prompts.

    Heavy's model is warmed up through its plain lane. Where in the run it is sent is not known here: ``position`` and
    ``warm_up`` count from 0 and are 1.
    """
    shortest: dict[tuple[str, str], tuple[int, Item, str]] = {}
    for item in items:
        if item.turn_id is None:
            continue
        plain = specs[specs[item.lane].of or item.lane]
        size = len(cases[item.case_id].prompt)
        for server in servers_of(plain, specs):
            known = shortest.setdefault((server, plain.model), (size, item, plain.id))
            if size < known[0]:
                shortest[server, plain.model] = (size, item, plain.id)
    return [
        Item(at, item.case_id, item.category, item.template, lane, 1, 1, new_id(), None)
        for at, (_, item, lane) in enumerate(shortest.values())
    ]


def servers_of(spec: LaneSpec, specs: Mapping[str, LaneSpec]) -> tuple[str, ...]:
    """The servers that a lane's requests go to; lanes with the same one take turns, so that none slows another down."""
    inner = specs.get(spec.of, spec)
    return inner.servers or (inner.via,)


def unfit(tokens: int, spec: LaneSpec, inner: LaneSpec) -> str:
    """Why a prompt of about so many tokens does not fit the lane's context, with both numbers; empty if it does.

    ``inner``: the lane that heavy is made of, or the lane itself.
    """
    context = inner.context_tokens
    if context is None:
        return ""
    room = min(LEAST_ANSWER, inner.most_output or LEAST_ANSWER)
    if tokens + room <= context:
        return ""
    return (
        f"The prompt has about {tokens:,} tokens and an answer needs {room:,}; the context of {spec.label} has "
        f"{context:,}."
    )


def worst_usd(prompt_tokens: int, spec: LaneSpec, inner: LaneSpec) -> float:
    """The most that a request can cost, in USD: its prompt and as much output as the lane allows, at its price.

    Heavy: every trajectory, and an aggregation that reads all of them. Retries are not in it: they come before any
    text. Raises ``PlanError`` where the most is not known.
    """
    price = inner.price
    if price is None:
        raise PlanError(
            f"The price of {spec.label} is not known, so a budget cannot limit it; give the lane a price in the lanes "
            "file, or leave the lane or the budget out."
        )
    if price.input == 0 and price.output == 0:
        return 0.0
    most = inner.most_output
    if most is None:
        raise PlanError(
            f"{spec.label} has no limit on its output, so the most it can cost is not known; set max_tokens in its "
            "params in the lanes file, or leave the budget out."
        )
    one = _usd(prompt_tokens, most, price)
    if not spec.of:
        return one
    return spec.width * one + _usd(prompt_tokens + spec.width * most, most, price)


def _usd(input_tokens: int, output_tokens: int, price: Price) -> float:
    return (input_tokens * price.input + output_tokens * price.output) / 1e6


def busy_with(items: Iterable[Item], servers: Mapping[str, Sequence[str]]) -> Counter[str]:
    """How many of the items each server has; one takes up the least busy of its lane's ``servers``."""
    busy: Counter[str] = Counter()
    for item in items:
        busy[least_busy(servers[item.lane], busy)] += 1
    return busy


def least_busy(servers: Sequence[str], busy: Counter[str]) -> str:
    return min(servers, key=busy.__getitem__)


def sendable(
    waiting: Sequence[Item],
    running: Sequence[Item],
    servers: Mapping[str, Sequence[str]],
    n_lanes: int,
    at_a_time: int = 1,
) -> Iterator[Item]:
    """The items that may be sent now, in planned order. ``servers``: see ``busy_with``.

    Of each server at most ``at_a_time`` items run, and nothing is sent that is ``AHEAD`` cases beyond the first item
    without a result. Warm-ups come first and alone.
    """
    busy = busy_with(running, servers)
    warming = [item for item in waiting if item.warm_up]
    if warming or any(item.warm_up for item in running):
        limit, candidates = 1, warming
    else:
        first = min((item.position for item in (*running, *waiting[:1])), default=0)
        limit = at_a_time
        candidates = [item for item in waiting[: AHEAD * n_lanes] if item.position < first + AHEAD * n_lanes]
    for item in candidates:
        server = least_busy(servers[item.lane], busy)
        if busy[server] < limit:
            busy[server] += 1
            yield item
