"""How a heavy run spent its time: the drafts, the gap, the aggregation. README.md defines the numbers.

``log/views.sql`` has the same as SQL (``heavy_metrics``); a test keeps the two equal. Pure.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

from ..metrics import FINISHED
from ..turn import TurnFold


class Timing(NamedTuple):
    """The columns of ``heavy_metrics`` about time; None is not known. ``k`` counts from 0."""

    k_total: int = 0
    k_ok: int = 0
    drafts_ms: float | None = None
    gap_ms: float | None = None
    slowest_k: int | None = None
    slowest_e2e_ms: float | None = None
    straggler_ms: float | None = None
    aggregator_e2e_ms: float | None = None
    parallel_efficiency: float | None = None


def timing(fold: TurnFold, attempt_id: str) -> Timing:
    """Of a heavy attempt by its children. Drafts are the trajectories with a whole answer (status ``ok``)."""
    run, sent_ns = fold.folds[attempt_id], fold.attempts[attempt_id].sent_ns
    children = [(fold.attempts[child], fold.folds[child]) for child in fold.children.get(attempt_id, ())]
    ks = {one.k_index for one, _ in children if one.role == "trajectory"}
    drafts = [
        (child.last_token_ns, one.k_index or 0, one.sent_ns - sent_ns + child.last_token_ns)
        for one, child in children
        if one.role == "trajectory" and child.status == "ok" and child.last_token_ns is not None
    ]
    aggregators = [
        child.last_token_ns
        for one, child in children
        if one.role == "aggregator" and child.status in ("ok", "length") and child.last_token_ns is not None
    ]
    aggregator_ns = aggregators[0] if aggregators else None
    aggregator_ms = None if aggregator_ns is None else aggregator_ns / 1e6
    if not drafts:
        return Timing(len(ks), aggregator_e2e_ms=aggregator_ms)
    took_ns = [took for took, _, _ in drafts]
    slowest_ns = max(took_ns)
    drafts_ns = max(ended for _, _, ended in drafts)
    run_ns = run.last_token_ns if run.status in FINISHED else None
    gap_ns = None if run_ns is None or aggregator_ns is None else run_ns - drafts_ns - aggregator_ns
    return Timing(
        k_total=len(ks),
        k_ok=len(drafts),
        drafts_ms=drafts_ns / 1e6,
        gap_ms=None if gap_ns is None else gap_ns / 1e6,
        slowest_k=min(k for took, k, _ in drafts if took == slowest_ns),
        slowest_e2e_ms=slowest_ns / 1e6,
        straggler_ms=(slowest_ns - statistics.median(took_ns)) / 1e6,
        aggregator_e2e_ms=aggregator_ms,
        parallel_efficiency=statistics.fmean(took_ns) / slowest_ns if slowest_ns else None,
    )
