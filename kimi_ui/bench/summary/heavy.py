"""Heavy explained: what its trajectories had, what the vote and the aggregation made of it, and what the single answer
of the same model had. The two axes are those of ``core.heavy.worth``: was it worth it, and why.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...core.heavy.worth import Gain, Reason, axes
from ..graders import CLOSED
from ..results import RunLane, Sample
from ..statistics import LEAST_CASES, SUGGESTIVE, SUPPORTED, UNKNOWN, Heavy, Run, Share, heavy, share
from .accuracy import GRADED, is_right, kind

NOT_SUPPORTED = "not supported"


class Explanation(NamedTuple):
    """A possible reason why heavy is not better. ``share`` of the cases ``among`` which it can hold.

    ``state``: supported (holds in most of them), not supported (in a minority), suggestive (not certain), unknown
    (fewer than 20 cases).
    """

    name: str
    claim: str
    among: str
    share: Share
    state: str


class Explained(NamedTuple):
    """Of one heavy lane. ``width``: most trajectories that one answer had. ``totals`` over graded answers; ``oracle``,
    ``majority``, ``hybrid`` as shares with intervals, ``single`` of the lane ``of`` on the same cases.

    ``worth`` and ``reasons`` count answers: the first where the single answer is graded too (``n_beside``).
    """

    lane: str
    of: str | None
    width: int
    totals: Heavy
    oracle: Share
    majority: Share
    hybrid: Share
    single: Share
    n_beside: int
    worth: dict[str, int]
    reasons: dict[str, int]
    explanations: tuple[Explanation, ...]


class _One(NamedTuple):
    """One heavy answer that is graded and has a trajectory that is. ``single``: None if that is not graded.

    ``majority`` and ``alike`` (all say the same) are None for texts and programs, which cannot be counted.
    """

    case: str
    right: tuple[bool, ...]
    majority: bool | None
    hybrid: bool
    single: bool | None
    alike: bool | None


def explained(lane: RunLane, by_lane: Mapping[str, Sequence[Sample]]) -> Explained | None:
    """None for a lane that is not heavy, or without a graded answer whose trajectories are known."""
    if lane.of is None:
        return None
    single = {(one.case, one.epoch): is_right(one) for one in by_lane.get(lane.of, ()) if kind(one) in GRADED}
    graded = [one for one in by_lane[lane.id] if kind(one) in GRADED and one.trajectories]
    ones = [found for one in graded if (found := _one(one, single.get((one.case, one.epoch)))) is not None]
    if not ones:
        return None
    template = {one.case: one.template for one in graded}
    compared = [one for one in ones if one.single is not None]

    def shares(values: Sequence[tuple[str, bool]]) -> Share:
        scores: dict[str, list[float]] = defaultdict(list)
        for case, value in values:
            scores[case].append(float(value))
        return share(scores, template)

    wrong = [one for one in ones if not one.hybrid]
    several = [one for one in ones if len(one.right) > 1 and one.alike is not None]
    claims = (
        (
            "nothing_to_gain",
            "The cases are too easy for it: the single answer is right, and so is heavy's.",
            "all cases",
            shares([(one.case, bool(one.single) and one.hybrid) for one in compared]),
        ),
        (
            "no_diversity",
            "The trajectories all come to the same result, so there is nothing to choose.",
            "cases with a closed answer",
            shares([(one.case, bool(one.alike)) for one in several]),
        ),
        (
            "aggregation_adds_nothing",
            "The aggregation is right exactly where a plain vote of the trajectories is.",
            "cases with a closed answer",
            shares([(one.case, one.hybrid == one.majority) for one in several]),
        ),
        (
            "no_right_answer",
            "No trajectory has the right answer, so no choice could have found it.",
            "cases that heavy has wrong",
            shares([(one.case, not any(one.right)) for one in wrong]),
        ),
        (
            "lost",
            "A trajectory has the right answer, and the aggregation loses it.",
            "cases that heavy has wrong",
            shares([(one.case, any(one.right)) for one in wrong]),
        ),
    )
    judged = [axes(one.single, one.right, one.hybrid) for one in ones]
    gains, reasons = Counter(one.gain for one in judged), Counter(one.reason for one in judged)
    return Explained(
        lane.id,
        lane.of,
        max(len(one.trajectories) for one in graded),
        heavy([Run(one.right, one.majority, one.hybrid) for one in ones]),
        shares([(one.case, any(one.right)) for one in ones]),
        shares([(one.case, one.majority) for one in ones if one.majority is not None]),
        shares([(one.case, one.hybrid) for one in ones]),
        shares([(one.case, bool(one.single)) for one in compared]),
        len(compared),
        {gain.value: gains[gain] for gain in Gain},
        {reason.value: reasons[reason] for reason in Reason},
        tuple(Explanation(*claim, _state(claim[-1])) for claim in claims),
    )


def _one(sample: Sample, single: bool | None) -> _One | None:
    usable = [one for one in sample.trajectories if one.outcome in GRADED]
    if not usable:
        return None
    right = tuple(one.outcome == "right" for one in usable)
    if sample.grader not in CLOSED:
        return _One(sample.case, right, None, is_right(sample), single, None)
    of_majority = [one for one in usable if sample.majority is not None and one.extracted == sample.majority]
    majority = any(one.outcome == "right" for one in of_majority)
    alike = all(right) or len({one.extracted for one in usable}) == 1
    return _One(sample.case, right, majority, is_right(sample), single, alike)


def _state(found: Share) -> str:
    if found.n < LEAST_CASES or found.interval is None:
        return UNKNOWN
    if found.interval.low > 0.5:
        return SUPPORTED
    return NOT_SUPPORTED if found.interval.high < 0.5 else SUGGESTIVE
