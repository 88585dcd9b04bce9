"""A budget in US dollars, and the question to the user before a turn would exceed it.

A turn exceeds a limit if the amount spent, the expected cost of running lanes and the expected cost of the turn add up
to more than the limit. A turn that costs nothing exceeds no limit; a turn of unknown cost exceeds only a limit that the
other amounts exceed already. The question names everything that the sum omits (answers and lanes without a price,
output of unknown length). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .estimate import Total

MAX_USD = 1_000_000
_ROUNDING_USD = 1e-9  # float sums that are equal on paper must not count as "more"


class BudgetError(ValueError):
    """The budget is invalid. The text is one sentence for the user, with the remedy."""


class Budget(NamedTuple):
    """One user's limits in USD: per day (UTC) and per conversation. None: no limit."""

    day_usd: float | None = None
    conversation_usd: float | None = None


class Spent(NamedTuple):
    """USD of some answers: includes ``n_estimated`` estimates, omits ``n_unknown`` answers without a price."""

    usd: float = 0.0
    n_unknown: int = 0
    n_estimated: int = 0


class Limit(NamedTuple):
    """One limit that a turn may exceed. ``on``: its subject, as in "with it *today* comes to"; ``whose``: "your".

    ``running``: the expected cost of lanes that are still running; it is not in ``spent``.
    """

    on: str
    whose: str
    usd: float
    spent: Spent
    running: Total


def read_usd(value: Any) -> float | None:
    """Parse a budget's amount from a page or the environment; None if it is empty. Raises ``BudgetError``."""
    if value is None or value == "":
        return None
    try:
        usd = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        usd = math.nan
    if not 0 <= usd <= MAX_USD:
        raise BudgetError(f"A budget is an amount in US dollars from 0 to {MAX_USD:,}, like 2.50; empty means none.")
    return usd


def read_budget(value: Mapping[str, Any]) -> Budget:
    """Parse a budget from JSON values. Raises ``BudgetError``."""
    return Budget(read_usd(value.get("day_usd")), read_usd(value.get("conversation_usd")))


def question(turn: Total, limits: Iterable[Limit], what: str = "turn") -> str:
    """The question before sending; empty if the turn exceeds no limit. ``what``: the word for it, turn or retry."""
    passed = [limit for limit in limits if _is_passed(turn, limit)]
    if not passed:
        return ""
    if turn.usd is None:
        begins = f"The cost of this {what} is not known; without it"
    elif turn.is_floor:
        begins = f"This {what} is at least {dollars(turn.usd)}, however long its answers get; with it"
    else:
        begins = f"This {what} is about {dollars(turn.usd)}; with it"
    first, *more = passed
    sums = [f"{first.on} comes {_sum(turn, first)}", *(f"{limit.on} {_sum(turn, limit)}" for limit in more)]
    return " ".join([f"{begins} {' and '.join(sums)}.", *_left_out(turn, passed)])


def dollars(usd: float) -> str:
    """An amount to the cent, with more digits where a cent is too coarse."""
    if 0 < usd < 0.000001:
        return "<$0.000001"
    places = 2 if usd == 0 or usd >= 0.01 else 4 if usd >= 0.0001 else 6
    return f"${usd:,.{places}f}"


def _sum_usd(turn: Total, limit: Limit) -> float:
    return limit.spent.usd + (limit.running.usd or 0.0) + (turn.usd or 0.0)


def _is_passed(turn: Total, limit: Limit) -> bool:
    may_cost = turn.usd is None or turn.usd > 0 or turn.unpriced > 0
    return may_cost and _sum_usd(turn, limit) > limit.usd + _ROUNDING_USD


def _sum(turn: Total, limit: Limit) -> str:
    total, budget = dollars(_sum_usd(turn, limit)), dollars(limit.usd)
    about = "at least " if turn.is_floor or limit.running.is_floor else "just over " if total == budget else ""
    return f"to {about}{total} of {limit.whose} {budget} budget"


def _left_out(turn: Total, limits: Sequence[Limit]) -> list[str]:
    """A sentence for each part that the sums omit, and for each part in them that is not paid yet."""
    sentences = []
    running = max((limit.running.usd or 0.0 for limit in limits), default=0.0)
    if running:
        sentences.append(f"About {dollars(running)} of that is still running.")
    unpriced = turn.unpriced + max((limit.running.unpriced for limit in limits), default=0)
    if unpriced and turn.usd is not None:
        sentences.append(f"{_counted(unpriced, 'lane')} no price and {_are(unpriced)} not in it.")
    unknown = max((limit.spent.n_unknown for limit in limits), default=0)
    if unknown:
        sentences.append(f"{_counted(unknown, 'answer')} no price and {_are(unknown)} not in it.")
    return sentences


def _counted(n: int, noun: str) -> str:
    return f"One {noun} has" if n == 1 else f"{n} {noun}s have"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"
