"""The numbers of an attempt, as functions of its raw stamps and counts.

The same definitions exist as SQL in ``log/views.sql``; a test checks that both (and a third computation from the
stored events) are equal to 1e-9. Every name is a column of the view ``attempt_metrics``. Units are in the names:
``_ms`` is milliseconds, ``_tps`` tokens per second; flags are 0 or 1. None means unknown, never 0.

Rules that decide what is None:
- A rate needs a time span of at least 200 ms and at least 40 tokens.
- Decode rate and TPOT need more than one text event and no burst: text that was held back upstream and released at once
  says nothing about the model's speed.
- An attempt that was cut off (stopped, timeout, error, incomplete, interrupted) keeps its first-token times, which are
  real. Its totals and rates would describe the cut, so they are None (censored).
- Times and rates have error bounds (``bounds``); lateness makes them wide, but makes nothing None.
- Server counts take precedence over local ones unless they contradict themselves or the text; ``suspect`` reports that,
  and a clock that jumped.
- Heavy's tokens and cost are the sums over its child attempts, failed ones included. Its decode rate is None: speed is
  a property of one stream, and the aggregator's own row has it.

Independent of SQL, clocks and pages.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import sub
from typing import Any

from .attempt import Attempt, AttemptFold
from .bounds import span_error_pct, time_error_ms
from .counts import COST_SOURCES, SERVER_SOURCES, SOURCES, Cost, Counts, believed_counts, cost_of, reported
from .tokens import LocalCount
from .turn import TurnFold

MIN_SPAN_NS = 200_000_000
MIN_TOKENS = 40
COLD_LOAD_NS = 500_000_000  # a model load longer than this makes the attempt a cold start
FIRST_EVENT_TOKENS = 3  # a first event with at least this many tokens is excluded from the decode rate
BURST_MIN_CHARS = 160  # about 40 tokens: shorter texts have no rate anyway

FINISHED = ("ok", "length", "no_answer")
CENSORED = ("incomplete", "stopped", "timeout", "error", "interrupted")


@dataclass  # not frozen: that would take a quarter of the time of ``measure``
class Metrics:
    """One row of ``attempt_metrics`` without its identity. README.md in this folder has the definitions."""

    connect_ms: float | None = None
    ttfc_ms: float | None = None
    ttft_ms: float | None = None
    ttft_warm_ms: float | None = None
    ttfo_ms: float | None = None
    thinking_ms: float | None = None
    e2e_ms: float | None = None
    ended_ms: float | None = None
    user_latency_ms: float | None = None
    queue_ms: float | None = None
    server_queue_ms: float | None = None
    cold_load_ms: float | None = None
    load_or_wait_ms: float | None = None
    tpot_ms: float | None = None
    ntpot_ms: float | None = None
    decode_tps: float | None = None
    answer_decode_tps: float | None = None
    e2e_tps: float | None = None
    effective_tps: float | None = None
    aggregate_tps: float | None = None
    server_decode_tps: float | None = None
    prefill_tps: float | None = None
    n_chunks: int | None = None
    tokens_per_chunk: float | None = None
    coalesced: int | None = None
    burst: int | None = None
    max_stall_ms: float | None = None
    n_stalls: int | None = None
    p99_icl_ms: float | None = None
    input_tokens: int | None = None
    input_source: str | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    answer_tokens: int | None = None
    token_source: str | None = None
    reasoning_source: str | None = None
    reasoning_share: float | None = None
    token_discrepancy: float | None = None
    token_amplification: float | None = None
    cost_usd: float | None = None
    cost_source: str | None = None
    cold_start: int | None = None
    loop_lag_ms: float | None = None
    ttft_err_ms: float | None = None
    ttfo_err_ms: float | None = None
    e2e_err_ms: float | None = None
    tpot_err_pct: float | None = None
    decode_err_pct: float | None = None
    suspect: int = 0
    suspect_reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def is_burst(text_ns: array[int], text_sum: array[int], start: int = 0) -> bool:
    """True if more than half of the text arrived within less than 5 % of the time from first to last text event.

    Text is measured in characters, because a proxy that holds back reasoning may release it as one event. Short texts
    are never a burst. ``start``: the first event that counts. More than half of a text always contains its middle, so
    only what arrived near that is looked at, and the time hardly grows with the number of events.
    """
    if len(text_ns) - start < 2:
        return False
    before = text_sum[start - 1] if start else 0
    total = text_sum[-1] - before
    window_ns = text_ns[-1] - text_ns[start]
    if total < BURST_MIN_CHARS or not window_ns:
        return False
    most_ns = (window_ns - 1) // 20  # the longest time that is less than 5 % of the window
    middle = bisect_right(text_sum, before + total // 2, start)
    near = bisect_left(text_ns, text_ns[middle] - most_ns, start, middle)
    until = bisect_right(text_ns, text_ns[middle] + most_ns, middle)
    for i in range(near, middle + 1):
        rest = text_sum[i - 1] if i else 0
        if 2 * (text_sum[until - 1] - rest) <= total:
            return False  # nor do the later ones have enough behind them
        end = bisect_right(text_sum, rest + total // 2, middle, until)
        if text_ns[end] - text_ns[i] <= most_ns:
            return True
    return False


def burst_flags(fold: AttemptFold) -> tuple[bool, bool]:
    """``is_burst`` of the whole text, and of the answer alone."""
    whole = is_burst(fold.text_ns, fold.text_sum)
    if fold.first_answer_ns is None or not len(fold.text_ns):
        return whole, False
    start = bisect_left(fold.text_ns, fold.first_answer_ns)
    return whole, whole if start == 0 else is_burst(fold.text_ns, fold.text_sum, start)


def p99_gap_ns(fold: AttemptFold) -> int | None:
    """The 99th percentile (nearest rank) of the gaps between text events; None for fewer than 100 gaps."""
    gaps = sorted(map(sub, fold.text_ns[1:], fold.text_ns))
    return gaps[-(-len(gaps) * 99 // 100) - 1] if len(gaps) >= 100 else None


def loop_lag_ms(fold: AttemptFold) -> float | None:
    """The engine loop's worst delay during the attempt, in ms, from the attempt's flag."""
    try:
        return float(fold.flags["loop_lag_ms"])
    except (KeyError, ValueError):
        return None


def _ms(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e6


def _rate(tokens: float | None, span_ns: int | None, counted: int | None = None) -> float | None:
    """Tokens per second; None under 200 ms or 40 tokens. ``counted`` replaces ``tokens`` in that check."""
    enough = tokens if counted is None else counted
    if tokens is None or enough is None or span_ns is None or span_ns < MIN_SPAN_NS or enough < MIN_TOKENS:
        return None
    return tokens * 1e9 / span_ns


def measure(
    attempt: Attempt,
    fold: AttemptFold,
    local: LocalCount | None = None,
    children: Sequence[tuple[Attempt, Metrics]] = (),
    normal_output_tokens: int | None = None,
) -> Metrics:
    """All metrics of an attempt. An open attempt has the metrics so far; its totals are None.

    ``local`` is the local count of its text. For heavy: ``children`` with their own metrics, and
    ``normal_output_tokens``, the output of the plain lane with the same model in the same turn.
    """
    heavy = attempt.role == "heavy"
    finished = fold.status in FINISHED
    rated = fold.status not in CENSORED and not heavy
    streamed = "non_streaming" not in fold.flags
    has_text = fold.n_chunks > 0
    counts = believed_counts(fold.usage, local, attempt.input_chars, has_text)
    cost = cost_of(attempt.price, fold.usage, counts)
    answer_tokens = (
        counts.output_tokens - counts.reasoning_tokens
        if counts.output_tokens is not None and counts.reasoning_tokens is not None
        else None
    )
    lag_ms = loop_lag_ms(fold)
    reasons = ["clock_jump"] if "clock_jump" in fold.flags else []
    cold = None if fold.usage.load_ns is None else int(fold.usage.load_ns > COLD_LOAD_NS)
    if heavy:
        counts, cost, answer_tokens = _sums(children, local)
        known = [metrics.cold_start for _, metrics in children if metrics.cold_start is not None]
        cold = max(known) if known else None
        reasons += ["child"] if any(metrics.suspect for _, metrics in children) else []
    else:
        reasons += counts.problems

    burst, answer_burst = burst_flags(fold)
    output = counts.output_tokens
    span_ns = _between(fold.first_token_ns, fold.last_token_ns)
    e2e_ns = fold.last_token_ns if finished else None
    rest = _after_first_event(fold, output)
    paced = rated and fold.n_chunks > 1 and not burst and rest is not None and bool(span_ns)
    first_ns = fold.first_token_ns if streamed else None
    first_answer_ns = fold.first_answer_ns if streamed else None
    load_ns = None if heavy else fold.usage.load_ns
    queue_ns = None if heavy else fold.usage.queue_ns
    unsplit_ns = None if heavy else fold.usage.load_or_wait_ns
    wait_ns = _sum(queue_ns, unsplit_ns)
    prompt_ns = fold.usage.prompt_ns
    if prompt_ns is None and "prompt_time_unknown" not in fold.flags:
        prompt_ns = first_ns
    uncached = (
        counts.input_tokens - (counts.cached_input_tokens or 0)
        if counts.input_tokens is not None and counts.input_source in SERVER_SOURCES and not heavy
        else None
    )
    tpot_ms = span_ns / 1e6 / rest if paced and span_ns and rest else None
    decode_tps = _rate(rest, span_ns, output) if paced else None
    span_err_pct = span_error_pct(fold, span_ns, lag_ms) if span_ns else None
    return Metrics(
        connect_ms=_ms(fold.headers_ns),
        ttfc_ms=_ms(fold.first_chunk_ns) if streamed else None,
        ttft_ms=_ms(first_ns),
        ttft_warm_ms=_ms(_between(_sum(load_ns, wait_ns), first_ns)) if load_ns is not None or unsplit_ns else None,
        ttfo_ms=_ms(first_answer_ns),
        thinking_ms=_ms(_thinking_ns(fold, rated or finished)) if streamed else None,
        e2e_ms=_ms(e2e_ns),
        ended_ms=_ms(fold.end_ns),
        user_latency_ms=(
            _ms(attempt.sent_ns - attempt.asked_ns + fold.end_ns)
            if finished and attempt.parent_id is None and fold.end_ns is not None
            else None
        ),
        queue_ms=_ms(_sum(attempt.queue_ns, queue_ns)),
        server_queue_ms=_ms(queue_ns),
        cold_load_ms=_ms(load_ns),
        load_or_wait_ms=_ms(unsplit_ns),
        tpot_ms=tpot_ms,
        ntpot_ms=e2e_ns / 1e6 / output if e2e_ns is not None and output and not heavy else None,
        decode_tps=decode_tps,
        answer_decode_tps=(
            _rate(answer_tokens - 1, _between(fold.first_answer_ns, fold.last_token_ns), answer_tokens)
            if rated and not answer_burst and answer_tokens is not None
            else None
        ),
        e2e_tps=None if heavy else _rate(output, e2e_ns),
        effective_tps=_rate(answer_tokens, e2e_ns),
        aggregate_tps=_rate(output, e2e_ns) if heavy else None,
        server_decode_tps=None if heavy else _rate(reported(fold.usage.output_tokens), fold.usage.eval_ns),
        prefill_tps=_rate(uncached, prompt_ns),
        n_chunks=fold.n_chunks if has_text else None,
        tokens_per_chunk=output / fold.n_chunks if output is not None and has_text and not heavy else None,
        coalesced=int(fold.n_chunks == 1 and output > 1) if output is not None and has_text and not heavy else None,
        burst=int(burst) if has_text else None,
        max_stall_ms=_ms(fold.max_gap_ns),
        n_stalls=fold.n_stalls if has_text else None,
        p99_icl_ms=_ms(p99_gap_ns(fold)) if fold.end is not None else None,  # sorting is too slow for every frame
        input_tokens=counts.input_tokens,
        input_source=counts.input_source,
        cached_input_tokens=counts.cached_input_tokens,
        output_tokens=output,
        reasoning_tokens=counts.reasoning_tokens,
        answer_tokens=answer_tokens,
        token_source=counts.token_source,
        reasoning_source=counts.reasoning_source,
        reasoning_share=counts.reasoning_tokens / output if counts.reasoning_tokens is not None and output else None,
        token_discrepancy=counts.token_discrepancy,
        token_amplification=output / normal_output_tokens if heavy and output and normal_output_tokens else None,
        cost_usd=cost.usd,
        cost_source=cost.source,
        cold_start=cold,
        loop_lag_ms=lag_ms,
        ttft_err_ms=time_error_ms(fold, fold.first_token_early_ns, lag_ms) if first_ns is not None else None,
        ttfo_err_ms=time_error_ms(fold, fold.first_answer_early_ns, lag_ms) if first_answer_ns is not None else None,
        e2e_err_ms=time_error_ms(fold, fold.last_token_early_ns, lag_ms) if e2e_ns is not None else None,
        tpot_err_pct=span_err_pct if tpot_ms is not None else None,
        decode_err_pct=span_err_pct if decode_tps is not None else None,
        suspect=int(bool(reasons)),
        suspect_reason=" ".join(reasons) or None,
    )


def _sum(*parts_ns: int | None) -> int | None:
    """The sum of the known parts; None if none is known."""
    known = [part for part in parts_ns if part is not None]
    return sum(known) if known else None


def _between(start_ns: int | None, end_ns: int | None) -> int | None:
    return None if start_ns is None or end_ns is None else end_ns - start_ns


def _thinking_ns(fold: AttemptFold, whole: bool) -> int | None:
    """First reasoning to first answer token, or to the last token of a finished attempt without an answer.

    None if reasoning arrived only after the answer had started.
    """
    if fold.first_answer_ns is not None:
        thinking_ns = _between(fold.first_reasoning_ns, fold.first_answer_ns)
        return None if thinking_ns is None or thinking_ns < 0 else thinking_ns
    return _between(fold.first_reasoning_ns, fold.last_token_ns) if whole else None


def _after_first_event(fold: AttemptFold, output_tokens: int | None) -> float | None:
    """Tokens after the first text event: the numerator of the decode rate; N − 1 if that event held one token.

    A first event with several tokens (a coalescing proxy) is excluded in proportion to its characters, but every later
    event counts for at least one token. One long first word is still one token.
    """
    if output_tokens is None or output_tokens < 2 or not fold.n_chunks:
        return None
    share = min(output_tokens * fold.text_sum[0] / fold.text_sum[-1], output_tokens - fold.n_chunks + 1)
    rest = output_tokens - share if share >= FIRST_EVENT_TOKENS else output_tokens - 1.0
    return rest if rest > 0 else None


def _sums(children: Sequence[tuple[Attempt, Metrics]], local: LocalCount | None) -> tuple[Counts, Cost, int | None]:
    """Heavy's counts, cost and answer tokens: sums over all children; None if one is unknown for a child with text."""
    metrics = [child for _, child in children]

    def total(name: str) -> Any:
        if any(child.n_chunks is not None and getattr(child, name) is None for child in metrics):
            return None
        known = [getattr(child, name) for child in metrics if getattr(child, name) is not None]
        return sum(known) if known else None

    def worst(name: str, order: Sequence[str]) -> str | None:
        used = [getattr(child, name) for child in metrics if getattr(child, name) is not None]
        return max(used, key=order.index) if used else None

    cached = [child.cached_input_tokens for child in metrics if child.cached_input_tokens is not None]
    output, cost = total("output_tokens"), total("cost_usd")
    aggregated = [child.answer_tokens for attempt, child in children if attempt.role == "aggregator"]
    answer_tokens = next((tokens for tokens in reversed(aggregated) if tokens is not None), None)
    if answer_tokens is None and local is not None:
        answer_tokens = local.answer_tokens
    input_tokens = total("input_tokens")
    counts = Counts(
        input_tokens=input_tokens,
        input_source=worst("input_source", SOURCES) if input_tokens is not None else None,
        cached_input_tokens=sum(cached) if cached else None,
        output_tokens=output,
        reasoning_tokens=total("reasoning_tokens"),
        token_source=worst("token_source", SOURCES) if output is not None else None,
        reasoning_source=None,
        token_discrepancy=None,
        problems=(),
    )
    return counts, Cost(cost, worst("cost_source", COST_SOURCES) if cost is not None else None), answer_tokens


def measure_turn(fold: TurnFold, local: Mapping[str, LocalCount | None]) -> dict[str, Metrics]:
    """The metrics of every attempt of a turn by attempt id, heavy's over its children. ``local``: counts by attempt."""
    measured: dict[str, Metrics] = {}
    for attempt_id, attempt in fold.attempts.items():
        if attempt.role != "heavy":
            measured[attempt_id] = measure(attempt, fold.folds[attempt_id], local.get(attempt_id))
    for attempt_id, attempt in fold.attempts.items():
        if attempt.role == "heavy":
            of = fold.lanes[attempt.lane].info.of
            normal = fold.current(of) if of in fold.lanes else None
            measured[attempt_id] = measure(
                attempt,
                fold.folds[attempt_id],
                local.get(attempt_id),
                [(fold.attempts[child], measured[child]) for child in fold.children.get(attempt_id, [])],
                measured[normal].output_tokens if normal in measured else None,
            )
    return measured
