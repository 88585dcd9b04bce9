"""How long and how much an attempt may take, and what the person reads when it took more."""

from __future__ import annotations

from ..core.events import Failure
from ..core.lane import Limits

MAX_EVENTS = 300_000  # more than the tokens of a 262k context; an endless stream must not fill the memory

# Stop reasons that are limits, and what the person reads. Other reasons: ``user``, ``quorum``, ``shutdown``.
LIMIT_FAILURES = {
    "timeout_first_token": (
        "No token came within {s:g} s.",
        "The model may be busy or still loading: try again,",
    ),
    "timeout_idle": ("The stream went silent for {s:g} s.", "What came so far is kept: try again,"),
    "timeout_total": ("The answer was not finished after {s:g} s.", "What came so far is kept: ask for less,"),
}
LIMIT_FIELDS = {
    "timeout_first_token": "first_token_s",
    "timeout_idle": "idle_s",
    "timeout_total": "total_s",
}

ENDLESS = Failure(
    "too_large",
    f"The stream was cut after {MAX_EVENTS:,} pieces: it would not end.",
    "Ask for less, or set max_tokens in the lanes file.",
)


def limit_failure(reason: str, limits: Limits) -> Failure:
    """The failure of an attempt that was stopped for ``reason``, a key of ``LIMIT_FAILURES``."""
    message, remedy = LIMIT_FAILURES[reason]
    name = LIMIT_FIELDS[reason]
    return Failure(reason, message.format(s=getattr(limits, name)), f"{remedy} or raise {name} in the lanes file.")
