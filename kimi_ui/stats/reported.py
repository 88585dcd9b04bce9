"""Published figures of the same comparison, shown next to the measured ones but never mixed with them.

From "Deep Analysis: Kimi K2 Heavy Mode vs Normal vs Qwen3-Coder:30B" (16 November 2025): means over 5 prompts, without
intervals. It does not say how tokens per second were counted; they fit tokens / total time, not the decode speed. Its
costs are guesses.
"""

from __future__ import annotations

from typing import NamedTuple


class Reported(NamedTuple):
    """One model's published figures."""

    name: str
    lanes: tuple[str, ...]  # ids of the shipped lanes it is about
    latency_s: float
    tokens_per_s: float
    n_right: int
    n: int
    cost: str  # as it is printed there


REPORTED = (
    Reported("Kimi K2", ("kimi",), 22.66, 82.8, 4, 5, "~$0.02–0.05"),
    Reported("Kimi K2 heavy", ("kimi-heavy",), 28.22, 92.2, 4, 5, "~$0.10–0.25"),
    Reported("Qwen3-Coder:30B", ("qwen",), 6.21, 117.7, 4, 5, "$0 (local)"),
)


def reported_value(reported: Reported, metric: str) -> float | None:
    """The published figure that is closest to this metric, in its unit; None if there is none."""
    return {"e2e_ms": reported.latency_s * 1000, "decode_tps": reported.tokens_per_s}.get(metric)
