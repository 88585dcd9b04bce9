"""Which answers the aggregation may read, and why the others are left out.

A judge can be won by nothing at all: a bare ":" or "Thought process:" as a candidate gains approval from strong models
(arXiv 2507.08794). So empty, truncated and preamble-only answers never reach an aggregation.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from .answers import read

FAILED, STOPPED, EMPTY, TRUNCATED, PREAMBLE, REFUSED = (
    "failed",
    "stopped",
    "empty",
    "truncated",
    "preamble only",
    "refused",
)
REASONS = (FAILED, STOPPED, EMPTY, TRUNCATED, PREAMBLE, REFUSED)

MAX_PREAMBLE = 160  # characters

_OPENING = re.compile(
    r"(?:sure|certainly|of course|okay|ok|absolutely|great question|let me|let's|i will|i'll|here is|here's|here are|"
    r"thought process|thinking|reasoning|solution|answer|final answer|response|analysis|好的|当然)\b",
    re.IGNORECASE,
)


class Candidate(NamedTuple):
    """A trajectory's usable answer; ``number`` counts from 1."""

    number: int
    answer: str

    @property
    def name(self) -> str:
        """The trajectory's name wherever it is shown."""
        return f"T{self.number}"


def left_out(status: str, answer: str, flags: Collection[str] = (), end_reason: str = "") -> str:
    """Why the aggregation does not read an answer, one of ``REASONS``; empty if it does.

    ``status`` and ``flags`` are those of the ended attempt, ``end_reason`` the reason of its end.
    """
    if status == "stopped" or (status == "interrupted" and end_reason):
        return STOPPED
    if status in ("length", "incomplete"):
        return TRUNCATED
    if status == "no_answer":
        return EMPTY
    if status != "ok":
        return FAILED
    if not re.search(r"\w", answer):
        return EMPTY
    if "refusal" in flags:
        return REFUSED
    return PREAMBLE if is_preamble(answer) else ""


def is_preamble(answer: str) -> bool:
    """Whether the text only announces an answer: "Sure, here is the solution:" or "Thought process:"."""
    text = answer.strip().strip("*_#` ")
    if len(text) > MAX_PREAMBLE or "\n" in text or not text.endswith((":", "：", "...", "…")):
        return False
    result = read(text)
    return bool(_OPENING.match(text)) or (text.endswith((":", "：")) and not (result and result.stated))
