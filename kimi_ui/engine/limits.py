"""The time limits of an attempt: which one ends it next, and the failure that says so."""

from __future__ import annotations

from ..core.attempt import AttemptFold
from ..core.events import Failure
from ..core.lane import Limits

# Stop reasons that are limits: the field of ``Limits``, the message and the start of the remedy. Other stop reasons are
# ``user``, ``quorum``, ``parent`` and ``shutdown``.
LIMIT_FAILURES = {
    "timeout_first_token": (
        "first_token_s",
        "No token came within {s:g} s.",
        "The model may be busy or still loading: try again,",
    ),
    "timeout_idle": ("idle_s", "The stream went silent for {s:g} s.", "The text so far is kept: try again,"),
    "timeout_total": (
        "total_s",
        "The answer was not finished after {s:g} s.",
        "The text so far is kept: ask for less,",
    ),
}


def limit_failure(reason: str, limits: Limits) -> Failure:
    """The failure of an attempt that was stopped for ``reason``, a key of ``LIMIT_FAILURES``."""
    name, message, remedy = LIMIT_FAILURES[reason]
    return Failure(reason, message.format(s=getattr(limits, name)), f"{remedy} or raise {name} in the lanes file.")


def next_limit(fold: AttemptFold, limits: Limits) -> tuple[float, str]:
    """The next limit of a running attempt: its time in seconds since sending, and its stop reason."""
    total = (limits.total_s, "timeout_total")
    if fold.first_token_ns is None:
        return min((limits.first_token_s, "timeout_first_token"), total)
    last_ns = fold.last_token_ns if fold.last_token_ns is not None else fold.first_token_ns
    return min((last_ns / 1e9 + limits.idle_s, "timeout_idle"), total)
