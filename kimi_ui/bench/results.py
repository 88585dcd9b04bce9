"""What a run of the benchmark found, as values. Pure: ``records`` reads them from the log, ``summary`` adds them up.

NULL in the log is None here: not known, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .graders import CLOSED

Outcome = Literal[
    "right",
    "wrong",
    "unparsed",
    "truncated",
    "time_limit",
    "refused-by-sandbox",
    "endpoint",
    "context",
    "not-run",
]
"""The graders' verdicts, and: ``endpoint`` (the server failed, so there is no answer to judge), ``context`` (the prompt
does not fit the lane's context), ``not-run`` (the run ended before, or the trajectory was stopped)."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One of heavy's answers, judged like heavy's own. ``number`` is 1-based."""

    number: int
    outcome: Outcome
    extracted: str | None
    attempt_id: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of the plan: a case, in one lane, in one epoch (1-based), and what came of it.

    ``attempt_id``: the attempt that was judged; ``turn_id``: its turn. Of a multi-turn case that is the last turn, and
    so are ``ttft_ms``, ``ttfo_ms``, ``tpot_ms`` and ``decode_tps``; ``e2e_ms``, ``cost_usd`` and the tokens are the
    sums over its turns, None if one of them is not known. The figures are those of ``attempt_metrics``.
    ``grader_version`` is empty where nothing was graded; ``backend`` and ``level`` are the sandbox's, None where no
    code ran.

    ``trajectories``: heavy's, empty for a multi-turn case, whose unit is the conversation. ``majority``: the extracted
    answer of the largest group of them; None without a majority, and for answers that are texts or programs, which
    cannot be compared by what was extracted.
    """

    case: str
    category: str
    template: str
    lane: str
    epoch: int
    outcome: Outcome
    extracted: str | None
    reason: str
    grader: str
    grader_version: str
    backend: str | None
    level: str | None
    turn_id: str | None
    attempt_id: str | None
    started_at_utc: str | None
    ttft_ms: float | None
    ttfo_ms: float | None
    e2e_ms: float | None
    tpot_ms: float | None
    decode_tps: float | None
    cost_usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    token_source: str | None
    trajectories: tuple[Trajectory, ...] = ()
    majority: str | None = None


@dataclass(frozen=True, slots=True)
class RunLane:
    """A lane as it was when the run began. ``of``: of heavy, the plain lane's id. ``stand_in``: the embedded model
    answered in place of the one the lane is named after. ``priced``: its price is known; 0 is a price."""

    id: str
    label: str
    model: str
    provider: str
    config_sha: str
    priced: bool
    of: str | None
    stand_in: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A run with the samples of its whole plan, in the order they were planned; warm-ups are not among them.

    ``state``: running | done | stopped (by a person) | budget | decided (an honest early stop) | interrupted (its
    process died). ``size``: quick | full | chosen.
    """

    id: str
    started_at_utc: str
    state: str
    state_reason: str
    size: str
    ended_at_utc: str | None
    suite_version: int
    seed: int
    epochs: int
    budget_usd: float | None
    lanes: tuple[RunLane, ...]
    samples: tuple[Sample, ...]


def majority(trajectories: Sequence[Trajectory], grader: str) -> str | None:
    """The answer that more trajectories gave than any other; None if no group is the largest.

    Right answers are equal to each other, however they are written; others are compared as text.
    """
    if grader not in CLOSED:
        return None
    groups: dict[str, list[str]] = {}
    for one in trajectories:
        if one.extracted is not None and one.outcome in ("right", "wrong"):
            key = "" if one.outcome == "right" else f"={' '.join(one.extracted.casefold().split())}"
            groups.setdefault(key, []).append(one.extracted)
    ranked = sorted(groups.values(), key=len, reverse=True)
    if not ranked or (len(ranked) > 1 and len(ranked[0]) == len(ranked[1])):
        return None
    return ranked[0][0]
