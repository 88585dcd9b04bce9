"""What a prompt will cost, before it is sent: prompt tokens now, output tokens as this lane's have been.

Tokens are counted on this machine and therefore "about". The length of an answer nobody knows: it is taken to be the
median of the lane's recent attempts with that model, and where there are none the cost is of the prompt alone, a
floor. USD by the lane's dated price per million tokens; None where the price is not known. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .lane import Price


class Typical(NamedTuple):
    """Median tokens of a model's recent attempts in the log; ``n`` says of how many."""

    output_tokens: int
    answer_tokens: int
    n: int


class Estimate(NamedTuple):
    """One lane's next turn. ``prompt_tokens`` is one request's, ``requests`` how many there will be.

    ``usd`` None: no price. ``is_floor``: the output is not in it.
    """

    prompt_tokens: int
    requests: int
    usd: float | None
    is_floor: bool


def estimate(prompt_tokens: int, price: Price | None, typical: Typical | None, width: int = 0) -> Estimate:
    """``width`` trajectories and one aggregation, which reads the prompt and every answer; 0: one request."""
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
    """All lanes together: ``usd`` of those with a price, None if none has one; ``unpriced`` lanes are not in it."""

    usd: float | None
    is_floor: bool
    unpriced: int


def total(estimates: Iterable[Estimate]) -> Total:
    return together(Total(lane.usd, lane.is_floor, int(lane.usd is None)) for lane in estimates)


def together(totals: Iterable[Total]) -> Total:
    """Several totals as one."""
    parts = list(totals)
    priced = [one.usd for one in parts if one.usd is not None]
    return Total(
        sum(priced) if priced else None, any(one.is_floor for one in parts), sum(one.unpriced for one in parts)
    )
