"""The expected cost of a prompt before it is sent: its own tokens plus the usual output of each lane.

Tokens are counted locally and therefore approximate. The expected length of an answer is the median of the lane's
recent attempts with that model; without such attempts the cost covers the prompt only and is a lower bound (floor).
USD by the lane's dated price per million tokens; None if the price is unknown. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

    ``usd`` is None without a price. ``is_floor``: ``usd`` does not include the output, or not the images.
    ``has_images``: the request also has images, which ``prompt_tokens`` leaves out.
    """

    prompt_tokens: int
    requests: int
    usd: float | None
    is_floor: bool
    has_images: bool = False


def estimate(
    prompt_tokens: int, price: Price | None, typical: Typical | None, width: int = 0, has_images: bool = False
) -> Estimate:
    """Estimate ``width`` trajectories and one aggregation that reads the prompt and all answers; 0: one request.

    How many tokens an image has, no provider says before its usage does: ``has_images`` makes the cost a lower bound.
    """
    requests = width + 1 if width else 1
    if price is None:
        return Estimate(prompt_tokens, requests, None, False, has_images)
    input_tokens = requests * prompt_tokens
    output_tokens = 0
    if typical:
        input_tokens += width * typical.answer_tokens
        output_tokens = requests * typical.output_tokens
    usd = (input_tokens * price.input + output_tokens * price.output) / 1e6
    is_free = price.input == 0 and price.output == 0
    return Estimate(prompt_tokens, requests, usd, (typical is None or has_images) and not is_free, has_images)


PRESETS = ("full", "thrifty", "fast")
FIRST_WAVE = 3  # trajectories with which thrifty begins; they may be enough


class Runs(NamedTuple):
    """Medians of a heavy lane's ``n`` recent runs with one preset and width."""

    launched: float
    seconds: float
    n: int


class PresetEstimate(NamedTuple):
    """Heavy's next run with one preset, from … to; None is unknown. ``seconds``: the median of ``n`` runs in the log.

    full sends all trajectories and one aggregation. thrifty sends a first wave, which may be enough if it agrees, and
    at most all. fast sends all and stops some, which saves an unknown part of their output.
    """

    preset: str
    requests: tuple[int, int]
    tokens: tuple[int, int] | None
    usd: tuple[float, float] | None
    seconds: float | None
    n: int


def by_preset(
    prompt_tokens: int, price: Price | None, typical: Typical | None, width: int, runs: Mapping[str, Runs]
) -> list[PresetEstimate]:
    """The estimate of ``width`` trajectories with each preset; ``runs`` by preset, as the log has them."""
    found = []
    for preset in PRESETS:
        usual = runs.get(preset)
        least = width
        if preset == "thrifty":
            least = min(width, FIRST_WAVE) if usual is None else round(usual.launched)
        most = width if usual is None or preset != "thrifty" else least
        # A first wave that agrees needs no aggregation; every other run has one.
        low = least if preset == "thrifty" and usual is None else least + 1
        ends = [(low, least), (most + 1, most)]
        costs = [_run(*end, prompt_tokens, price, typical) for end in ends] if typical else []
        tokens = (costs[0][0], costs[1][0]) if costs else None
        usd = (costs[0][1], costs[1][1]) if costs and price is not None else None
        time, n = (usual.seconds, usual.n) if usual else (None, 0)
        found.append(PresetEstimate(preset, (low, most + 1), tokens, usd, time, n))
    return found


def _run(
    requests: int, trajectories: int, prompt_tokens: int, price: Price | None, typical: Typical
) -> tuple[int, float]:
    """Output tokens and USD of a run. A request beyond the trajectories is the aggregation: it reads their answers."""
    read = trajectories * typical.answer_tokens if requests > trajectories else 0
    output = requests * typical.output_tokens
    usd = ((requests * prompt_tokens + read) * price.input + output * price.output) / 1e6 if price else 0.0
    return output, usd


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
