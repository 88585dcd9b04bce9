"""Token counts in every dialect of an OpenAI-style usage object, and llama.cpp's timings → ``Usage``.

Pure. A count that cannot be true (negative, not a whole number, beyond all measure) becomes None and is named in
``suspect``; a zero that only means "not counted" becomes None too. Nothing is estimated here.

Where each number lies: OpenAI and most others ``completion_tokens_details.reasoning_tokens`` and
``prompt_tokens_details.cached_tokens``; SGLang top-level ``reasoning_tokens``; Moonshot top-level ``cached_tokens``;
DeepSeek ``prompt_cache_hit_tokens``; OpenRouter ``cost`` in USD; llama.cpp ``timings`` with durations in ms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from ..core.events import Usage

MOST_TOKENS = 100_000_000  # no context is near; larger is a fault of the counter


class Counted(NamedTuple):
    """``suspect`` names the fields that could not be true, empty when all is well."""

    usage: Usage
    suspect: str


class _Fields:
    """Reads counts and remembers which were impossible."""

    def __init__(self) -> None:
        self.suspect: list[str] = []

    def count(self, value: Any, name: str) -> int | None:
        if value is None:
            return None
        if isinstance(value, str) and value.strip().isdigit():
            value = int(value.strip()[:20])
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
            self.suspect.append(name)
            return None
        return value

    def duration_ns(self, value: Any, name: str, unit_ns: float) -> int | None:
        if value is None or value == 0:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value * unit_ns < 1e15:
            self.suspect.append(name)
            return None
        return round(value * unit_ns)

    def within(self, part: int | None, whole: int | None, name: str) -> int | None:
        """``part`` if it fits into ``whole``."""
        if part is not None and whole is not None and part > whole:
            self.suspect.append(name)
            return None
        return part


def read_usage(usage: dict[str, Any], timings: dict[str, Any] | None = None) -> Counted:
    """The counts of a usage object; durations from ``timings`` beside it."""
    fields = _Fields()
    prompt_details, details = _dict(usage.get("prompt_tokens_details")), _dict(usage.get("completion_tokens_details"))
    prompt = fields.count(usage.get("prompt_tokens"), "prompt_tokens") or None
    output = fields.count(usage.get("completion_tokens"), "completion_tokens") or None
    cached = _first(
        prompt_details.get("cached_tokens"), usage.get("cached_tokens"), usage.get("prompt_cache_hit_tokens")
    )
    reasoning = _first(details.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    counted = Usage(
        input_tokens=prompt,
        cached_input_tokens=fields.within(fields.count(cached, "cached_tokens"), prompt, "cached_tokens"),
        output_tokens=output,
        reasoning_tokens=fields.within(fields.count(reasoning, "reasoning_tokens"), output, "reasoning_tokens"),
        cost_usd=_cost(usage),
        raw={**usage, "timings": timings} if timings else usage,
    )
    if timings:
        _durations(counted, timings, fields)
    return Counted(counted, ", ".join(fields.suspect))


def read_timings(timings: dict[str, Any]) -> Counted:
    """Counts and durations of a llama.cpp ``timings`` object alone, where no usage came."""
    fields = _Fields()
    cached = fields.count(timings.get("cache_n"), "cache_n")
    prompt = fields.count(timings.get("prompt_n"), "prompt_n")
    counted = Usage(
        input_tokens=None if prompt is None else (prompt + (cached or 0)) or None,
        cached_input_tokens=cached,
        output_tokens=fields.count(timings.get("predicted_n"), "predicted_n") or None,
        source="server",
        raw=timings,
    )
    _durations(counted, timings, fields)
    return Counted(counted, ", ".join(fields.suspect))


def merged(old: Usage | None, new: Usage) -> Usage:
    """A later report over an earlier one: what it does not know stays as it was, a part larger than its whole goes."""
    known = {name: getattr(new, name) for name in _NUMBERS if getattr(new, name) is not None}
    if old is None or not known:
        return old or new
    source = old.source if new.output_tokens is None else new.source
    both = replace(old, **known, source=source, raw={**old.raw, **new.raw})
    fields = _Fields()
    both.cached_input_tokens = fields.within(both.cached_input_tokens, both.input_tokens, "")
    both.reasoning_tokens = fields.within(both.reasoning_tokens, both.output_tokens, "")
    return both


_NUMBERS = [name for name in Usage.__dataclass_fields__ if name not in ("source", "raw")]


def _durations(usage: Usage, timings: dict[str, Any], fields: _Fields) -> None:
    usage.prompt_ns = fields.duration_ns(timings.get("prompt_ms"), "prompt_ms", 1e6)
    usage.eval_ns = fields.duration_ns(timings.get("predicted_ms"), "predicted_ms", 1e6)


def read_counters(line: dict[str, Any]) -> Counted:
    """Ollama's counters out of the last line of a stream (durations in ns; a field that would be 0 is absent).

    Faster than a million tokens a second means durations in another unit: they are dropped.
    """
    fields = _Fields()
    usage = Usage(
        input_tokens=fields.count(line.get("prompt_eval_count"), "prompt_eval_count") or None,
        output_tokens=fields.count(line.get("eval_count"), "eval_count") or None,
        source="server",
        load_ns=fields.duration_ns(line.get("load_duration"), "load_duration", 1),
        prompt_ns=fields.duration_ns(line.get("prompt_eval_duration"), "prompt_eval_duration", 1),
        eval_ns=fields.duration_ns(line.get("eval_duration"), "eval_duration", 1),
        raw={name: line[name] for name in _COUNTERS if name in line},
    )
    if usage.eval_ns and usage.output_tokens and usage.output_tokens > 1 and usage.eval_ns < usage.output_tokens * 1000:
        fields.suspect.append("eval_duration")
        usage.eval_ns = None
    return Counted(usage, ", ".join(fields.suspect))


_COUNTERS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


def implausible(usage: Usage, reasoning_chars: int, answer_chars: int) -> str:
    """Why a reported output count does not fit the text that came, ten times off or more; empty when it does.

    A token is about four characters of English and seldom under one; reasoning that a server counts but does not
    show is left out.
    """
    tokens = usage.output_tokens
    if tokens is None:
        return ""
    if not reasoning_chars:
        tokens -= usage.reasoning_tokens or 0
    chars = reasoning_chars + answer_chars
    if tokens * 40 + 200 < chars:
        return f"{tokens} tokens for {chars} characters"
    if tokens > 2.5 * chars + 50:
        return f"{tokens} tokens for {chars} characters"
    return ""


def _cost(usage: dict[str, Any]) -> float | None:
    """OpenRouter's cost in USD; with a key of one's own at the upstream, its fee and the upstream's bill."""
    cost = usage.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < 1e6:
        return None
    if usage.get("is_byok") is True:
        upstream = _dict(usage.get("cost_details")).get("upstream_inference_cost")
        if isinstance(upstream, int | float) and upstream >= 0:
            cost += upstream
    return float(cost)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
