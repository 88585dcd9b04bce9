"""Which token counts of an attempt are trusted, and what they cost.

Server counts take precedence. They are checked for consistency and against a local count of the text, because gateways
have sent zeros, negative numbers, 1e12, and four fifths of an answer as "reasoning". The same rules exist as SQL in
``log/views.sql`` (view ``attempt_counts``). Counts are tokens; prices are USD per million tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from .events import Usage
from .tokens import CHARS_PER_TOKEN, LocalCount

SOURCES = ("usage", "server", "tokenizer", "chars")  # of counts, best first
SERVER_SOURCES = SOURCES[:2]
COST_SOURCES = ("price", "reported", "usage", "estimate")  # best first; ``price``: both prices are 0

CONTRADICTION = 10  # a server count and a local count that differ by more than this factor …
CONTRADICTION_TOKENS = 40  # … and by more than this many tokens contradict each other
MAX_COUNT = 10**9  # larger counts are invalid
ABSURD_INPUT_TOKENS = 1000  # a chat template adds tokens, but never ten times the text plus this many


class Counts(NamedTuple):
    """The trusted token counts of one attempt, their source, and the problems of the server's counts."""

    input_tokens: int | None
    input_source: str | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    token_source: str | None
    reasoning_source: str | None
    token_discrepancy: float | None
    problems: tuple[str, ...]


def reported(count: int | None) -> int | None:
    """The server's count, or None if it is invalid; gateways that do not count send 0."""
    return count if count is not None and 0 < count <= MAX_COUNT else None


def believed_counts(usage: Usage, local: LocalCount | None, input_chars: int | None, has_text: bool) -> Counts:
    """Choose the server's counts or else the local ones; a missing reasoning count is apportioned.

    ``problems`` name the contradictions within the server's counts or with the text; such counts are not used.
    """
    problems: list[str] = []
    reported_counts = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens)
    if any(count is not None and not 0 <= count <= MAX_COUNT for count in reported_counts):
        problems.append("usage_absurd")

    output, source = reported(usage.output_tokens), usage.source
    reasoning: int | None = usage.reasoning_tokens
    if reasoning is not None and (reasoning < 0 or output is None or reasoning > output):
        if reasoning > 0 and output is not None:
            problems.append("usage_reasoning")
        reasoning = None
    if reasoning == 0 and local is not None and local.reasoning_tokens:
        reasoning = None  # the server reported 0 for visible reasoning: it does not count reasoning separately
    discrepancy = None
    if local is not None and output is not None:
        seen = local.output_tokens
        # Reasoning that the provider counts but hides cannot be in the local count.
        visible = output - (reasoning or 0) if local.reasoning_tokens == 0 else output
        if 2 * visible < seen and visible < output:
            problems.append("usage_reasoning")  # the server counted the answer as reasoning
            visible, reasoning = output, None
        far = abs(visible - seen) > CONTRADICTION_TOKENS
        if far and (visible > CONTRADICTION * seen or seen > CONTRADICTION * visible):
            problems.append("usage_output")
            output = reasoning = None
        elif seen:
            discrepancy = visible / seen - 1
    if output is None and local is not None:
        output, source, reasoning = local.output_tokens, local.source, None
    reasoning_source = None
    if output is None:
        reasoning = None
    elif reasoning is not None:
        reasoning_source = "usage"
    elif local is not None and local.output_tokens:
        reasoning = int(output * local.reasoning_tokens / local.output_tokens + 0.5)
        reasoning_source = "apportioned"

    estimate = -(-input_chars // CHARS_PER_TOKEN) if input_chars is not None else None
    input_tokens, input_source = reported(usage.input_tokens), usage.source
    if (
        input_tokens is not None
        and estimate is not None
        and input_tokens > CONTRADICTION * estimate + ABSURD_INPUT_TOKENS
    ):
        problems.append("usage_input")
        input_tokens = None
    cached = usage.cached_input_tokens if input_tokens is not None else None
    if cached is not None and input_tokens is not None and not 0 <= cached <= input_tokens:
        if cached > 0:
            problems.append("usage_cached")
        cached = None
    if input_tokens is None and has_text:
        input_tokens, input_source = estimate, "chars"
    return Counts(
        input_tokens=input_tokens,
        input_source=input_source if input_tokens is not None else None,
        cached_input_tokens=cached,
        output_tokens=output,
        reasoning_tokens=reasoning,
        token_source=source if output is not None else None,
        reasoning_source=reasoning_source,
        token_discrepancy=discrepancy,
        problems=tuple(problems),
    )


class Cost(NamedTuple):
    """USD of one attempt. ``source`` is one of ``COST_SOURCES``; both are None if the price or a count is unknown."""

    usd: float | None
    source: str | None


def cost_of(price: tuple[float, float | None, float, str] | None, usage: Usage, counts: Counts) -> Cost:
    """The cost that the gateway reported, otherwise counts times the dated price (USD per million tokens)."""
    if usage.cost_usd is not None and usage.cost_usd >= 0:
        return Cost(usage.cost_usd, "reported")
    if price is None:
        return Cost(None, None)
    per_input, per_cached, per_output, _ = price
    if per_input == 0 and per_output == 0:
        return Cost(0.0, "price")
    if counts.input_tokens is None or counts.output_tokens is None:
        return Cost(None, None)
    cached = counts.cached_input_tokens or 0
    usd = (
        (counts.input_tokens - cached) * per_input
        + cached * (per_input if per_cached is None else per_cached)
        + counts.output_tokens * per_output
    ) / 1e6
    counted = counts.token_source in SERVER_SOURCES and counts.input_source in SERVER_SOURCES
    return Cost(usd, "usage" if counted else "estimate")
