"""How far a measured time or rate may be from the truth, and what follows from that: the one place that decides.

A stamp is late by no more than the raw facts of ``events.Bounds`` say; where the kernel did not stamp, and in logs from
before there were such facts, by no more than the loop's worst lateness (``loop_lag_ms``). The bounds are columns of
``attempt_metrics``, in SQL too (``log/views.sql``):

- ``ttft_err_ms``, ``ttfo_err_ms``, ``e2e_err_ms``: the truth is within ± this of the time;
- ``tpot_err_pct``: the same in % of the value;
- ``decode_err_pct``: the same in % of the true rate, which is what the bound of a time span is for its inverse.

None: not known, as the value is not or its stamps' lateness is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .attempt import AttemptFold

RESOLUTION_NS = 100_000  # remaining error of two clocks, system calls and the kernel's delay before its stamp
ROUGH_PCT = 2.0  # a value with a wider bound is shown with ~
WIDE_PCT, WIDE_MS = 5.0, 2.0  # a value whose bound exceeds both is left out of distributions

# The values that have a bound, each with the bound's column and the time that the column is about, if it is in ms.
BOUNDED = {
    "ttft_ms": ("ttft_err_ms", "ttft_ms"),
    "ttfo_ms": ("ttfo_err_ms", "ttfo_ms"),
    "e2e_ms": ("e2e_err_ms", "e2e_ms"),
    "tpot_ms": ("tpot_err_pct", ""),
    "decode_tps": ("decode_err_pct", ""),
    "e2e_tps": ("e2e_err_ms", "e2e_ms"),
    "effective_tps": ("e2e_err_ms", "e2e_ms"),
    "aggregate_tps": ("e2e_err_ms", "e2e_ms"),
}


class Bound(NamedTuple):
    """A value's error bound in the value's own unit (``ms`` or ``tok/s``), and in % of the value."""

    error: float
    percent: float
    unit: str

    @property
    def is_rough(self) -> bool:
        return self.percent > ROUGH_PCT

    def __str__(self) -> str:
        """As shown, e.g. ``±0.3 ms``."""
        digits = 0 if self.error >= 10 else 1 if self.error >= 1 else 2
        return f"±{max(self.error, 0.01):,.{digits}f} {self.unit}"


def bound_of(column: str, values: Mapping[str, Any]) -> Bound | None:
    """The bound of a column of ``attempt_metrics``, from a row of it; None if it has none or it is not known."""
    if column not in BOUNDED:
        return None
    value = values.get(column)
    error_column, time_column = BOUNDED[column]
    error = values.get(error_column)
    if value is None or error is None or not value:
        return None
    percent = 100 * error / values[time_column] if time_column else error
    return Bound(value * percent / 100, percent, unit_of(column))


def shown_bounds(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The known bounds of a row of ``attempt_metrics`` by column, as the page shows them."""
    known = {column: bound_of(column, values) for column in BOUNDED if values.get(column)}
    return {column: {"words": str(bound), "rough": bound.is_rough} for column, bound in known.items() if bound}


def unit_of(column: str) -> str:
    return "tok/s" if column.endswith("_tps") else "ms"


def is_wide(column: str, value: Any, error: Any) -> Any:
    """Whether a value's bound, in the unit of its column of bounds, leaves it out; also of arrays. NaN is not wide."""
    if not BOUNDED[column][1]:
        return error > WIDE_PCT  # of a time of at least 200 ms
    return (error > WIDE_MS) & (100 * error > WIDE_PCT * value)


def early_ns(known_ns: int | None, lag_ms: float | None) -> float | None:
    """How much earlier than its stamp an event may have come."""
    return known_ns if known_ns is not None else None if lag_ms is None else lag_ms * 1e6


def time_error_ms(fold: AttemptFold, known_ns: int | None, lag_ms: float | None) -> float | None:
    """The bound of a time from sending to an event."""
    late_ns = early_ns(known_ns, lag_ms)
    return None if late_ns is None else (late_ns + (fold.sent_late_ns or 0) + RESOLUTION_NS) / 1e6


def span_error_pct(fold: AttemptFold, span_ns: int, lag_ms: float | None) -> float | None:
    """The bound of the time from the first to the last token, in % of it: either may have come earlier than stamped."""
    first_ns, last_ns = early_ns(fold.first_token_early_ns, lag_ms), early_ns(fold.last_token_early_ns, lag_ms)
    if first_ns is None or last_ns is None:
        return None
    return 100 * (max(first_ns, last_ns) + RESOLUTION_NS) / span_ns
