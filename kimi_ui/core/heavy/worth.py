"""Whether heavy paid and why, where a checker or a person's vote says which answers are right.

    axes(plain_right=False, trajectories_right=[True, False, True], final_right=True)
    # Axes(gain="helped", reason="kept it")

Two axes, both to be printed: heavy against the same model's single answer, and the final answer against what was among
the trajectories. Without a judgement there are only the words of ``verdict``, which says nothing about who is right.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Gain(StrEnum):
    """Heavy's final answer against the same model's single answer to the same prompt."""

    NOTHING_TO_GAIN = "nothing to gain"  # both are right
    HELPED = "helped"  # only heavy's is right
    HURT = "hurt"  # only the single one is right
    DID_NOT_HELP = "did not help"  # neither is right


class Reason(StrEnum):
    """What was among the trajectories, and what the aggregation made of it."""

    KEPT = "kept it"  # a trajectory is right, and so is the final answer
    LOST = "aggregator lost it"  # a trajectory is right, the final answer is not
    BEYOND = "beyond the pool"  # the final answer is right, no trajectory is
    NONE_RIGHT = "no right answer among them"  # neither is right


class Axes(NamedTuple):
    """``gain`` is None without a judged single answer, ``reason`` without a judged trajectory."""

    gain: Gain | None
    reason: Reason | None


def axes(plain_right: bool | None, trajectories_right: Sequence[bool], final_right: bool) -> Axes:
    """Both axes of one prompt.

    ``plain_right``: whether the plain lane's answer of the same model is right; None if there is none or it was not
    judged. ``trajectories_right``: of each trajectory whose answer was judged, in any order; leave out those without a
    usable answer, which the aggregation did not read. ``final_right``: of heavy's final answer. An answer that was cut
    off or states no result counts as not right, or the prompt is left out altogether: the caller says which.
    """
    gain = None if plain_right is None else _GAIN[plain_right, final_right]
    return Axes(gain, _REASON[any(trajectories_right), final_right] if trajectories_right else None)


_GAIN = {
    (True, True): Gain.NOTHING_TO_GAIN,
    (False, True): Gain.HELPED,
    (True, False): Gain.HURT,
    (False, False): Gain.DID_NOT_HELP,
}
_REASON = {
    (True, True): Reason.KEPT,
    (True, False): Reason.LOST,
    (False, True): Reason.BEYOND,
    (False, False): Reason.NONE_RIGHT,
}
