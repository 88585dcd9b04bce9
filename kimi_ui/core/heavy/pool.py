"""The answers of a heavy run in a turn's fold: for the log, the page, exports, and for aggregating them again."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..attempt import AttemptFold
from ..events import Tally
from ..turn import TurnFold
from .answers import Result, read
from .attribution import attribute
from .candidates import FAILED, Candidate, left_out
from .clusters import Clusters, Equal, cluster
from .fence import received
from .timing import timing
from .verdict import Verdict


class Answers(NamedTuple):
    """``usable``: by trajectory number. ``left_out``: why each of the others is not used, by trajectory number."""

    usable: tuple[Candidate, ...]
    left_out: dict[int, str]


def answers_of(fold: TurnFold, attempt_id: str) -> Answers:
    """The answers of a heavy attempt's trajectories, of each the last try."""
    last = {
        (fold.attempts[child].k_index or 0) + 1: fold.folds[child]
        for child in fold.children.get(attempt_id, [])
        if fold.attempts[child].role == "trajectory"
    }
    reasons = {number: reason_of(one) for number, one in sorted(last.items())}
    usable = tuple(Candidate(number, last[number].answer) for number, reason in reasons.items() if not reason)
    return Answers(usable, {number: reason for number, reason in reasons.items() if reason})


def reason_of(fold: AttemptFold) -> str:
    """Why a trajectory that has ended is not used; empty if it is. One that has not ended counts as failed."""
    if fold.status == "open":
        return FAILED
    return left_out(fold.status, fold.answer, fold.flags, fold.end.reason if fold.end else "")


def source_of(fold: TurnFold, attempt_id: str) -> str:
    """The attempt whose trajectories the answer of ``attempt_id`` is made of: itself, or the one it aggregated
    again."""
    tally = fold.folds[attempt_id].tally
    return tally.answers_of if tally and tally.answers_of in fold.folds else attempt_id


def equal_of(tally: Tally | None) -> Equal | None:
    """What the run's computer algebra found equal."""
    pairs = {frozenset(pair) for pair in tally.equal} if tally else set()
    return (lambda one, other: frozenset((one, other)) in pairs) if pairs else None


def clusters_of(fold: TurnFold, attempt_id: str, prompt: str) -> tuple[Clusters, dict[int, Result | None]]:
    """The clusters of a run's usable answers, and the result of each. Takes CPU for long answers."""
    usable = answers_of(fold, source_of(fold, attempt_id)).usable
    results = {one.number: read(one.answer, prompt) for one in usable}
    return cluster(results, equal_of(fold.folds[attempt_id].tally)), results


def report(fold: TurnFold, attempt_id: str, prompt: str) -> dict[str, Any]:
    """What a heavy run did, JSON-ready: the facts of ``heavy_metrics``, its clusters, and which trajectories each part
    of the final answer matches. Members are trajectory numbers from 1; None is not known."""
    one = fold.folds[attempt_id]
    tally = one.tally or Tally("", "", fold.lanes[fold.attempts[attempt_id].lane].info.width)
    clusters, _ = clusters_of(fold, attempt_id, prompt)
    usable = answers_of(fold, source_of(fold, attempt_id)).usable
    parts = attribute(one.answer, {item.number: item.answer for item in received(usable)}) if one.answer else []
    return {
        "strategy": tally.strategy or None,
        "preset": tally.preset or None,
        "width": tally.width,
        "launched": tally.launched,
        "usable": tally.usable,
        "failed": tally.failed,
        "left_out": dict(tally.left_out),
        "answers_of": tally.answers_of or None,
        "n_clusters": tally.n_clusters,
        "agreement": tally.agreement,
        "effective_answers": tally.effective_answers,
        "similarity": tally.similarity,
        "stopped_at": tally.stopped_at,
        "stop_risk": tally.stop_risk,
        "verdict": tally.verdict,
        "overruled": Verdict(tally.verdict).overruled,
        "first_trajectory_token_ms": None if one.first_token_ns is None else one.first_token_ns / 1e6,
        "first_answer_token_ms": None if one.first_answer_ns is None else one.first_answer_ns / 1e6,
        **timing(fold, attempt_id)._asdict(),
        "clusters": [
            {"label": item.label, "type": item.type, "members": list(item.members)} for item in clusters.clusters
        ],
        "unread": list(clusters.unread),
        "attribution": [{"text": part.text, "kind": part.kind, "members": list(part.members)} for part in parts],
    }
