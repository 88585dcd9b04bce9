"""The expected cost of a prompt before it is sent: its own tokens plus the usual output of each lane.

Tokens are counted locally and therefore approximate. The expected length of an answer is the median of the lane's
recent attempts with that model; without such attempts the cost covers the prompt only and is a lower bound (floor).
USD by the lane's dated price per million tokens; None if the price is unknown. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # its module loads pydantic, for which no command line should wait
    from .lane import Price


class Typical(NamedTuple):
    """Median tokens of a model's ``n`` recent attempts in the log."""

    output_tokens: int
    answer_tokens: int
    n: int


class Estimate(NamedTuple):
    """One lane's next turn: ``requests`` requests of ``prompt_tokens`` each.

    ``usd`` is None without a price. ``is_floor``: ``usd`` does not include the output.
    """

    prompt_tokens: int
    requests: int
    usd: float | None
    is_floor: bool


def estimate(prompt_tokens: int, price: Price | None, typical: Typical | None, width: int = 0) -> Estimate:
    """Estimate ``width`` trajectories and one aggregation that reads the prompt and all answers; 0: one request."""
    requests = width + 1 if width else 1
    if price is None:
        return Estimate(prompt_tokens, requests, None, False)
    input_tokens = requests * prompt_tokens
    output_tokens = 0
    if typical:
        input_tokens += width * typical.answer_tokens
        output_tokens = requests * typical.output_tokens
    usd = (input_tokens * price.input + output_tokens * price.output) / 1e6
    is_free = price.input == 0 and price.output == 0
    return Estimate(prompt_tokens, requests, usd, typical is None and not is_free)


class Total(NamedTuple):
    """All lanes together: ``usd`` of the lanes with a price, or None; it omits ``unpriced`` lanes."""

    usd: float | None
    is_floor: bool
    unpriced: int


def total(estimates: Iterable[Estimate]) -> Total:
    return together(Total(lane.usd, lane.is_floor, int(lane.usd is None)) for lane in estimates)


def together(totals: Iterable[Total]) -> Total:
    """Add up several totals."""
    parts = list(totals)
    priced = [one.usd for one in parts if one.usd is not None]
    return Total(
        sum(priced) if priced else None, any(one.is_floor for one in parts), sum(one.unpriced for one in parts)
    )
