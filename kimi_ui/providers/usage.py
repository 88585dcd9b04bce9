"""Token counts in every dialect of an OpenAI-style usage object, and llama.cpp's timings → ``Usage``.

Pure. A count that cannot be true (negative, fractional, far too large) becomes None and is named in ``suspect``; a zero
that only means "not counted" becomes None too. Nothing is estimated here.

Where each number is: OpenAI and most others ``completion_tokens_details.reasoning_tokens`` and
``prompt_tokens_details.cached_tokens``; SGLang top-level ``reasoning_tokens``; Moonshot top-level ``cached_tokens``;
DeepSeek ``prompt_cache_hit_tokens``; the Responses API and Anthropic ``input_tokens`` and ``output_tokens``, the latter
with ``cache_read_input_tokens``; OpenRouter ``cost`` in USD; llama.cpp ``timings`` with durations in ms.

In a ``Usage`` the output includes the reasoning and the input what was cached. Some servers count them apart, and their
total shows it: total = prompt + completion + reasoning (xAI, Gemini). The counts are added where the total, the
reported part or the text that came agree on it (``Counted.reading``, ``explained``), and not otherwise. Anthropic sends
no total and counts what was cached apart: more ``cache_read_input_tokens`` than input can only be beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..core.events import Usage

LEAST_REST = 10  # tokens by which a total may exceed its parts without a word
MOST_TOKENS = 100_000_000  # no context is near; larger is a fault of the counter


class Counted(NamedTuple):
    """``suspect`` names the fields that could not be true, empty when all is well.

    ``reading`` is the flag that says which part the server counts apart: ``reasoning_apart``, ``cached_apart`` or "".
    """

    usage: Usage
    suspect: str
    reading: str = ""


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
    fields, reading = _Fields(), ""
    in_details = _dict(_first(usage.get("prompt_tokens_details"), usage.get("input_tokens_details")))
    out_details = _dict(_first(usage.get("completion_tokens_details"), usage.get("output_tokens_details")))
    input_ = fields.count(_first(usage.get("prompt_tokens"), usage.get("input_tokens")), "prompt_tokens") or None
    output = (
        fields.count(_first(usage.get("completion_tokens"), usage.get("output_tokens")), "completion_tokens") or None
    )
    cached = fields.count(
        _first(
            in_details.get("cached_tokens"),
            usage.get("cached_tokens"),
            usage.get("prompt_cache_hit_tokens"),
            usage.get("cache_read_input_tokens"),
        ),
        "cached_tokens",
    )
    reasoning = fields.count(
        _first(out_details.get("reasoning_tokens"), usage.get("reasoning_tokens")), "reasoning_tokens"
    )
    written = usage.get("cache_creation_input_tokens")
    written = written if type(written) is int and written > 0 else 0
    if (rest := unexplained(usage, input_, output)) and input_ and output:
        if reasoning and abs(reasoning - rest) <= max(4, rest // 50):
            output, reading = output + rest, "reasoning_apart"
        elif cached and rest in (cached, cached + written):
            input_, reading = input_ + rest, "cached_apart"
    elif cached and cached == usage.get("cache_read_input_tokens") and cached > (input_ or 0):
        input_, reading = (input_ or 0) + cached + written, "cached_apart"
    counted = Usage(
        input_tokens=input_,
        cached_input_tokens=fields.within(cached, input_, "cached_tokens"),
        output_tokens=output,
        reasoning_tokens=fields.within(reasoning, output, "reasoning_tokens"),
        cost_usd=_cost(usage),
        raw={**usage, "timings": timings} if timings else usage,
    )
    if timings:
        _durations(counted, timings, fields)
    return Counted(counted, ", ".join(fields.suspect), reading)


def unexplained(usage: Mapping[str, Any], input_: int | None, output: int | None) -> int:
    """By how many tokens the total of a usage object exceeds input and output, 0 if it does not or has none."""
    total = usage.get("total_tokens")
    if (
        isinstance(total, bool)
        or not isinstance(total, int)
        or not 0 < total <= MOST_TOKENS
        or not input_
        or not output
    ):
        return 0
    return max(0, total - input_ - output)


def explained(usage: Usage, reasoning_chars: int, answer_chars: int) -> bool:
    """Whether the reasoning that came is what the total holds beside prompt and completion.

    So if the rest fits the reasoning and the completion fits the answer, each with a credible number of characters to a
    token and not too far from each other. False where the server counts reasoning, and for a rest of a few tokens.
    """
    rest, output = unexplained(usage.raw, usage.input_tokens, usage.output_tokens), usage.output_tokens
    if rest < LEAST_REST or not output or usage.reasoning_tokens or not reasoning_chars:
        return False
    of_rest, of_output = reasoning_chars / rest, answer_chars / output
    if not 0.5 <= of_rest <= 12:
        return False
    return output < LEAST_REST or (0.3 <= of_output <= 12 and of_output / 5 <= of_rest <= of_output * 5)


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
