"""Metrics of an attempt, on a virtual clock: definitions, unknown values, rejected counts, heavy's sums."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.attempt import Attempt, AttemptFold
from kimi_ui.core.bounds import bound_of
from kimi_ui.core.events import (
    CONNECTED,
    FIRST_CHUNK,
    FIRST_TRAJECTORY_TOKEN,
    Answer,
    Bounds,
    End,
    Failure,
    Finish,
    Flag,
    Phase,
    Reasoning,
    Usage,
)
from kimi_ui.core.heavy.timing import timing
from kimi_ui.core.metrics import BURST_MIN_CHARS, Metrics, is_burst, measure, measure_turn
from kimi_ui.core.tokens import LocalCount, count_text
from kimi_ui.core.turn import LaneInfo, TurnFold
from kimi_ui.tokenizers import counter
from tests.support.turns import MS, Timed, attempt, ended, tokens, turn


def fold_of(events: list[Timed]) -> AttemptFold:
    fold = AttemptFold()
    for at_ms, event in events:
        fold.apply(round(at_ms * MS), event)
    return fold


def metrics(events: list[Timed], **identity: Any) -> Metrics:
    fold = fold_of(events)
    return measure(attempt(**identity), fold, count_text(counter(), fold.reasoning, fold.answer))


def thought(n_reasoning: int = 30, n_answer: int = 50, *, ttft_ms: float = 100, gap_ms: float = 10) -> list[Timed]:
    """Reasoning, then an answer, at one pace, with the server's usage."""
    n = n_reasoning + n_answer
    return [
        *tokens(n_reasoning, start_ms=ttft_ms, gap_ms=gap_ms, kind=Reasoning),
        *tokens(n_answer, start_ms=ttft_ms + n_reasoning * gap_ms, gap_ms=gap_ms),
        (ttft_ms + n * gap_ms, Usage(input_tokens=12, output_tokens=n, reasoning_tokens=n_reasoning)),
    ]


def test_every_metric_of_a_complete_answer() -> None:
    m = metrics([(20, Phase(CONNECTED)), (30, Phase(FIRST_CHUNK)), *ended(thought())])
    assert (m.connect_ms, m.ttfc_ms, m.ttft_ms, m.ttfo_ms, m.thinking_ms) == (20, 30, 100, 400, 300)
    assert (m.e2e_ms, m.ended_ms) == (890, 901)
    assert m.tpot_ms == pytest.approx(790 / 79, rel=1e-12)
    assert m.decode_tps == pytest.approx(100, rel=1e-12)
    assert m.answer_decode_tps == pytest.approx(49 / 0.49, rel=1e-12)
    assert m.e2e_tps == pytest.approx(80 / 0.89, rel=1e-12)
    assert m.effective_tps == pytest.approx(50 / 0.89, rel=1e-12)
    assert m.ntpot_ms == pytest.approx(890 / 80, rel=1e-12)
    assert (m.output_tokens, m.reasoning_tokens, m.answer_tokens, m.input_tokens) == (80, 30, 50, 12)
    assert (m.token_source, m.reasoning_source, m.input_source) == ("usage", "usage", "usage")
    assert m.reasoning_share == 30 / 80
    assert (m.n_chunks, m.tokens_per_chunk, m.coalesced, m.burst) == (80, 1, 0, 0)
    assert (m.max_stall_ms, m.n_stalls, m.p99_icl_ms) == (10, 0, None)
    assert (m.suspect, m.suspect_reason, m.cold_start, m.cost_usd) == (0, None, None, None)


def test_ttft_and_pace_are_independent() -> None:
    base = metrics(ended(thought()))
    late = metrics(ended(thought(ttft_ms=600)))
    slow = metrics(ended(thought(gap_ms=20)))
    assert late.ttft_ms == base.ttft_ms + 500
    assert late.tpot_ms == pytest.approx(base.tpot_ms, rel=1e-12)
    assert slow.tpot_ms == pytest.approx(2 * base.tpot_ms, rel=1e-12)
    assert slow.ttft_ms == base.ttft_ms


@pytest.mark.parametrize("per_event", [4, 16])
def test_coalesced_events_do_not_change_the_pace(per_event: int) -> None:
    """500 tokens every 10 ms that a proxy sends in lumps: the first lump's tokens were made before the first stamp."""
    events = [(100 + (end - 1) * 10.0, Answer(" word" * per_event)) for end in range(per_event, 501, per_event)]
    n = per_event * len(events)
    m = metrics(ended([*events, (6000, Usage(output_tokens=n))]))
    assert m.output_tokens == n
    assert m.n_chunks == len(events)
    assert m.tpot_ms == pytest.approx(10, rel=0.005)
    assert m.decode_tps == pytest.approx(100, rel=0.005)
    assert m.tokens_per_chunk == per_event
    assert m.coalesced == 0


def test_a_long_first_word_is_one_token_if_every_event_holds_one_token() -> None:
    words = [(100 + k * 10.0, Answer(" word" if k else " counterrevolutionaries")) for k in range(100)]
    m = metrics(ended([*words, (2000, Usage(output_tokens=100))]))
    assert m.tpot_ms == pytest.approx(10, rel=1e-12)


def test_all_tokens_in_one_event_have_no_pace() -> None:
    m = metrics(ended([(500, Answer(" word" * 200)), (501, Usage(output_tokens=200))]))
    assert (m.coalesced, m.tpot_ms, m.decode_tps, m.answer_decode_tps) == (1, None, None, None)
    assert m.e2e_tps == pytest.approx(400)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], {"output_tokens": None, "ttft_ms": None, "e2e_ms": None, "n_chunks": None, "burst": None}),
        ([(50, Answer("x"))], {"output_tokens": 1, "ttft_ms": 50, "e2e_ms": 50, "tpot_ms": None, "coalesced": 0}),
        ([(50, Answer("x")), (90, Answer(" y"))], {"output_tokens": 2, "tpot_ms": 40, "decode_tps": None}),
        ([(5, Reasoning("")), (7, Answer("")), (50, Answer("x"))], {"ttft_ms": 50, "ttfo_ms": 50, "n_chunks": 1}),
    ],
)
def test_metrics_of_no_one_or_two_tokens(events: list[Timed], expected: dict[str, Any]) -> None:
    got = metrics(ended(events))
    assert {name: getattr(got, name) for name in expected} == expected
    assert got.suspect == 0


def test_role_only_and_usage_only_chunks_do_not_move_the_first_token() -> None:
    noisy: list[Timed] = [(3, Phase(FIRST_CHUNK)), (4, Usage(input_tokens=1)), *thought()]
    plain, with_noise = metrics(ended(thought())), metrics(ended(noisy))
    assert with_noise.ttft_ms == plain.ttft_ms
    assert with_noise.tpot_ms == plain.tpot_ms
    assert with_noise.ttfc_ms == 3


@pytest.mark.parametrize(
    ("n", "gap_ms", "has_rate"), [(40, 10, True), (39, 10, False), (40, 5, False), (41, 5, True), (400, 0.4, False)]
)
def test_a_rate_needs_200_ms_and_40_tokens(n: int, gap_ms: float, has_rate: bool) -> None:
    m = metrics(ended([*tokens(n, start_ms=5000, gap_ms=gap_ms), (9000, Usage(output_tokens=n))]))
    assert (m.decode_tps is not None) == has_rate
    assert m.tpot_ms is not None


@pytest.mark.parametrize("status", ["stopped", "timeout", "error", "incomplete", "interrupted"])
def test_a_cut_off_attempt_has_first_token_times_but_no_totals_or_rates(status: str) -> None:
    m = metrics(ended(thought(), status))
    assert (m.ttft_ms, m.ttfo_ms, m.thinking_ms, m.ended_ms) == (100, 400, 300, 901)
    assert (m.output_tokens, m.n_chunks) == (80, 80)
    for name in ("e2e_ms", "user_latency_ms", "tpot_ms", "ntpot_ms", "decode_tps", "answer_decode_tps", "e2e_tps"):
        assert getattr(m, name) is None, name
    assert m.effective_tps is None


def test_thinking_time_is_unknown_if_the_reasoning_was_cut_off() -> None:
    only = tokens(50, start_ms=100, gap_ms=10, kind=Reasoning)
    assert metrics(ended(only, "stopped")).thinking_ms is None
    assert metrics(ended(only, "no_answer")).thinking_ms == 490
    assert metrics(ended(only, "length")).thinking_ms == 490


def test_an_answer_cut_by_length_keeps_its_numbers() -> None:
    m = metrics(ended(thought(), "length"))
    assert m.e2e_ms == 890
    assert m.decode_tps == pytest.approx(100)


def test_reasoning_after_the_answer_is_not_thinking_time() -> None:
    late = [*tokens(50, start_ms=100, gap_ms=10), *tokens(5, start_ms=700, gap_ms=10, kind=Reasoning)]
    m = metrics(ended(late))
    assert (m.ttft_ms, m.ttfo_ms, m.thinking_ms) == (100, 100, None)


def test_a_response_that_was_not_streamed_has_no_first_token_time() -> None:
    m = metrics(ended([(0, Flag("non_streaming")), (800, Reasoning("hm")), (800, Answer("yes " * 60))]))
    assert (m.ttfc_ms, m.ttft_ms, m.ttfo_ms, m.thinking_ms, m.tpot_ms) == (None, None, None, None, None)
    assert m.e2e_ms == 800


def test_reasoning_held_back_and_released_at_once_is_a_burst() -> None:
    flushed = [(5000 + i * 0.1, Reasoning(" word")) for i in range(200)]
    m = metrics(ended([*flushed, *tokens(60, start_ms=5030, gap_ms=20)]))
    assert m.burst == 1
    assert m.decode_tps is None
    assert m.tpot_ms is None
    assert m.answer_decode_tps == pytest.approx(50), "the answer came at its own pace"
    as_one = metrics(ended([(5000, Reasoning(" word" * 200)), *tokens(60, start_ms=5030, gap_ms=20)]))
    assert as_one.burst == 1
    assert as_one.decode_tps is None


def test_a_steady_stream_is_not_a_burst_and_short_texts_are_not_judged() -> None:
    steady = fold_of(thought(300, 300))
    assert not is_burst(steady.text_ns, steady.text_sum)
    short = fold_of([(1, Answer("a" * 90)), (500, Answer("b" * 10))])
    assert not is_burst(short.text_ns, short.text_sum)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 5, 40]), st.sampled_from([1, 3, 60])), max_size=25), st.integers(0, 5))
def test_a_burst_is_any_twentieth_of_the_time_that_holds_more_than_half_of_the_text(
    events: list[tuple[int, int]], start: int
) -> None:
    fold, at_ms = AttemptFold(), 0
    for gap_ms, chars in events:
        at_ms += gap_ms
        fold.apply(at_ms, Reasoning("x" * chars))
    times, lengths = list(fold.text_ns)[start:], [chars for _, chars in events][start:]
    windows = ((i, j) for j in range(len(times)) for i in range(j + 1))
    found = any(
        2 * sum(lengths[i : j + 1]) > sum(lengths) and 20 * (times[j] - times[i]) < times[-1] - times[0]
        for i, j in windows
    )
    is_judged = len(times) >= 2 and sum(lengths) >= BURST_MIN_CHARS
    assert is_burst(fold.text_ns, fold.text_sum, start) == (found and is_judged)


def test_stalls_are_counted() -> None:
    events = [*tokens(60, start_ms=0, gap_ms=10), *tokens(60, start_ms=2000, gap_ms=10)]
    m = metrics(ended(events))
    assert m.max_stall_ms == 1410
    assert m.n_stalls == 1
    assert m.p99_icl_ms == 10


def test_metrics_of_a_running_attempt_are_those_so_far() -> None:
    m = metrics(thought()[:-1])
    assert (m.ttft_ms, m.ttfo_ms, m.e2e_ms, m.ended_ms) == (100, 400, None, None)
    assert m.decode_tps == pytest.approx(100)
    assert m.output_tokens == 80
    assert m.token_source == "tokenizer"


def test_user_latency_includes_automatic_retries_and_a_manual_retry_starts_again() -> None:
    m = metrics(ended(thought()), sent_ms=5000)
    assert m.user_latency_ms == 5901
    assert m.e2e_ms == 890
    again = metrics(ended(thought()), sent_ms=60_050, asked_ns=60_000 * MS)
    assert again.user_latency_ms == 951
    assert metrics(ended(thought()), parent_id="p").user_latency_ms is None


def test_a_cold_load_is_recognised() -> None:
    load = Usage(output_tokens=80, load_ns=8_000 * MS, prompt_ns=900 * MS, eval_ns=800 * MS, input_tokens=90)
    m = metrics(ended([*thought(ttft_ms=9000)[:-1], (9999, load)]))
    assert (m.cold_load_ms, m.ttft_ms, m.ttft_warm_ms, m.cold_start) == (8000, 9000, 1000, 1)
    assert m.server_decode_tps == pytest.approx(100)
    assert m.prefill_tps == pytest.approx(100)
    warm = metrics(ended([*thought()[:-1], (999, Usage(output_tokens=80, load_ns=5 * MS))]))
    assert (warm.cold_start, warm.ttft_warm_ms) == (0, 95)


@pytest.mark.parametrize(
    ("usage", "output", "source", "reasoning", "reasoning_source", "reason"),
    [
        (Usage(), 80, "tokenizer", 30, "apportioned", None),
        (Usage(output_tokens=0), 80, "tokenizer", 30, "apportioned", None),
        (Usage(output_tokens=160), 160, "usage", 60, "apportioned", None),
        (Usage(output_tokens=82, reasoning_tokens=31), 82, "usage", 31, "usage", None),
        (Usage(output_tokens=82, reasoning_tokens=0), 82, "usage", 31, "apportioned", None),
        (Usage(output_tokens=82, source="server"), 82, "server", 31, "apportioned", None),
        (Usage(output_tokens=80, reasoning_tokens=90), 80, "usage", 30, "apportioned", "usage_reasoning"),
        (Usage(output_tokens=-5), 80, "tokenizer", 30, "apportioned", "usage_absurd"),
        (Usage(output_tokens=10**12), 80, "tokenizer", 30, "apportioned", "usage_absurd"),
        (Usage(output_tokens=10**6), 80, "tokenizer", 30, "apportioned", "usage_output"),
        (Usage(output_tokens=5), 80, "tokenizer", 30, "apportioned", "usage_output"),
    ],
)
def test_the_choice_between_server_and_local_counts(
    usage: Usage, output: int, source: str, reasoning: int, reasoning_source: str, reason: str | None
) -> None:
    m = metrics(ended([*thought()[:-1], (950, usage)]))
    assert (m.output_tokens, m.token_source) == (output, source)
    assert (m.reasoning_tokens, m.reasoning_source) == (reasoning, reasoning_source)
    assert (m.suspect_reason, m.suspect) == (reason, int(reason is not None))


def test_hidden_reasoning_tokens_are_accepted_but_an_answer_counted_as_reasoning_is_not() -> None:
    answer = tokens(50, start_ms=100, gap_ms=10)
    hidden = metrics(ended([*answer, (950, Usage(output_tokens=1050, reasoning_tokens=1000))]))
    assert (hidden.reasoning_tokens, hidden.answer_tokens, hidden.suspect) == (1000, 50, 0)
    assert hidden.token_discrepancy == 0
    wrong = metrics(ended([*answer, (950, Usage(output_tokens=50, reasoning_tokens=40))]))
    assert (wrong.reasoning_tokens, wrong.answer_tokens, wrong.suspect_reason) == (0, 50, "usage_reasoning")


def test_counts_of_the_input() -> None:
    asked = Usage(input_tokens=100, cached_input_tokens=60)
    m = metrics(ended([*thought()[:-1], (950, asked)]), input_chars=400)
    assert (m.input_tokens, m.cached_input_tokens, m.input_source) == (100, 60, "usage")
    estimate = metrics(ended(thought()[:-1]), input_chars=401)
    assert (estimate.input_tokens, estimate.input_source) == (101, "chars")
    absurd = metrics(ended([*thought()[:-1], (950, Usage(input_tokens=10**9))]), input_chars=400)
    assert (absurd.input_tokens, absurd.suspect_reason) == (100, "usage_input")
    cached = metrics(ended([*thought()[:-1], (950, Usage(input_tokens=10, cached_input_tokens=60))]))
    assert (cached.cached_input_tokens, cached.suspect_reason) == (None, "usage_cached")
    assert metrics(ended([], "error"), input_chars=400).input_tokens is None, "nothing says it was ever read"


def test_the_discrepancy_between_server_and_local_count_is_kept() -> None:
    assert metrics(ended([*thought()[:-1], (950, Usage(output_tokens=96))])).token_discrepancy == pytest.approx(0.2)


def errors(m: Metrics) -> tuple[float | None, ...]:
    return m.ttft_err_ms, m.ttfo_err_ms, m.e2e_err_ms, m.tpot_err_pct, m.decode_err_pct


def test_bounds_with_stamps_of_the_kernel() -> None:
    m = metrics(ended([*thought(), (950, Bounds(400_000, 1_000_000, 0, 7_800_000)), (951, Flag("loop_lag_ms", "90"))]))
    span_ms = 790
    assert errors(m) == pytest.approx((1.5, 0.5, 8.3, 100 * 7.9 / span_ms, 100 * 7.9 / span_ms), rel=1e-12)


def test_without_stamps_of_the_kernel_the_bound_is_the_lateness_of_the_loop() -> None:
    m = metrics(ended([*thought(), (950, Bounds(300_000, None, None, 0)), (951, Flag("loop_lag_ms", "20.4"))]))
    assert errors(m) == pytest.approx((20.8, 20.8, 0.4, 100 * 20.5 / 790, 100 * 20.5 / 790), rel=1e-12)


@pytest.mark.parametrize("lag", ["31.5", "x", None])
def test_bounds_of_an_older_log(lag: str | None) -> None:
    m = metrics(ended([*thought(), *([(950.0, Flag("loop_lag_ms", lag))] if lag else [])]))
    assert (m.suspect, m.suspect_reason) == (0, None), "a late loop contradicts nothing"
    if lag == "31.5":
        assert errors(m) == pytest.approx((31.6, 31.6, 31.6, 4.0, 4.0), rel=1e-12)
    else:
        assert errors(m) == (None,) * 5


def test_an_unknown_value_has_no_bound() -> None:
    bounds = (950.0, Bounds(0, 0, 0, 0))
    stopped = metrics(ended([*thought(), bounds], "stopped"))
    assert (stopped.ttft_err_ms, *errors(stopped)[2:]) == (0.1, None, None, None)
    assert metrics(ended([bounds], "error")).ttft_err_ms is None
    assert metrics(ended([(10, Answer("one")), (300, Answer("two")), bounds])).decode_err_pct is None


@pytest.mark.parametrize(("error", "percent", "is_rough"), [(2.0, 2.0, False), (2.1, 2.1, True)])
def test_a_bound_in_both_units(error: float, percent: float, is_rough: bool) -> None:
    times = {"ttft_ms": 100.0, "ttft_err_ms": error, "e2e_ms": 100.0, "e2e_err_ms": error, "aggregate_tps": 50.0}
    rate = {"decode_tps": 80.0, "decode_err_pct": percent}
    for column, expected in (("ttft_ms", error), ("aggregate_tps", error / 2), ("decode_tps", 0.8 * error)):
        bound = bound_of(column, times | rate)
        assert bound is not None
        assert bound[:2] == pytest.approx((expected, percent))
        assert bound.is_rough == is_rough


def test_values_without_a_bound() -> None:
    assert bound_of("cost_usd", {"cost_usd": 1.0}) is None
    assert bound_of("ttft_ms", {"ttft_ms": 5.0, "ttft_err_ms": None}) is None
    assert bound_of("ttft_ms", {"ttft_ms": None, "ttft_err_ms": None}) is None


def test_all_reasons_for_being_suspect_are_named() -> None:
    m = metrics(ended([*thought(), (950, Flag("clock_jump", "3600 s")), (951, Usage(output_tokens=-1))]))
    assert m.suspect_reason == "clock_jump usage_absurd"


PRICE = (0.6, 0.15, 2.5, "2026-07-01")


@pytest.mark.parametrize(
    ("price", "usage", "usd", "source"),
    [
        (PRICE, Usage(input_tokens=1000, output_tokens=80), (1000 * 0.6 + 80 * 2.5) / 1e6, "usage"),
        (
            PRICE,
            Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=80),
            (600 * 0.6 + 400 * 0.15 + 80 * 2.5) / 1e6,
            "usage",
        ),
        (
            (0.6, None, 2.5, ""),
            Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=80),
            (1000 * 0.6 + 80 * 2.5) / 1e6,
            "usage",
        ),
        (PRICE, Usage(output_tokens=80), (25 * 0.6 + 80 * 2.5) / 1e6, "estimate"),
        (PRICE, Usage(input_tokens=1000), (1000 * 0.6 + 80 * 2.5) / 1e6, "estimate"),
        (PRICE, Usage(input_tokens=1000, output_tokens=80, cost_usd=0.5), 0.5, "reported"),
        (None, Usage(input_tokens=1000, output_tokens=80), None, None),
        (None, Usage(cost_usd=0.0), 0.0, "reported"),
        ((0, None, 0, ""), Usage(), 0.0, "price"),
    ],
)
def test_cost(price: Any, usage: Usage, usd: float | None, source: str | None) -> None:
    m = metrics(ended([*thought()[:-1], (950, usage)]), price=price, input_chars=100)
    assert (m.cost_usd, m.cost_source) == (pytest.approx(usd, rel=1e-12) if usd else usd, source)


def test_cost_is_unknown_when_a_count_is() -> None:
    assert metrics(ended(thought()[:-1]), price=PRICE).cost_usd is None, "the input was not counted by anyone"
    assert metrics(ended([], "error"), price=PRICE, input_chars=100).cost_usd is None


# Heavy: eight trajectories of known length and an aggregator.

LANES = (
    LaneInfo("kimi", "Kimi", "openai", "k2"),
    LaneInfo("heavy", "Kimi heavy", "heavy", "k2", of="kimi", width=8),
)


def heavy_turn(failing: int | None = None) -> tuple[TurnFold, dict[str, Metrics]]:
    parent = attempt("heavy", role="heavy", provider="heavy")
    normal = attempt("kimi", price=PRICE)
    runs: list[tuple[Attempt, list[Timed]]] = [(normal, ended(thought()))]
    events: list[Timed] = [(102, Phase(FIRST_TRAJECTORY_TOKEN))]
    longest_ms = 0.0
    for k in range(8):
        child = attempt("heavy", role="trajectory", parent_id=parent.attempt_id, k_index=k, sent_ms=1 + k, price=PRICE)
        work = thought(30, 50 + 10 * k)
        if k == failing:
            runs.append((child, [(50, Failure("upstream", "Broken.")), (51, End("error"))]))
            continue
        runs.append((child, ended(work)))
        longest_ms = max(longest_ms, 1 + k + work[-2][0])
    start_ms = longest_ms + 20
    aggregator = attempt("heavy", role="aggregator", parent_id=parent.attempt_id, sent_ms=start_ms, price=PRICE)
    final = thought(10, 60)
    runs.append((aggregator, ended(final)))
    events += [(start_ms + at_ms, event) for at_ms, event in final if not isinstance(event, Usage)]
    log = turn((parent, ended(events)), *runs, lanes=LANES)
    fold = log.fold()
    counts = {id: count_text(counter(), f.reasoning, f.answer) for id, f in fold.folds.items()}
    return fold, measure_turn(fold, counts)


def by_role(fold: TurnFold, measured: dict[str, Metrics], role: str) -> list[Metrics]:
    return [measured[id] for id, who in fold.attempts.items() if who.role == role]


def test_heavy_sums_its_children_and_has_no_pace() -> None:
    fold, measured = heavy_turn()
    (heavy,) = by_role(fold, measured, "heavy")
    (aggregator,) = by_role(fold, measured, "aggregator")
    (normal,) = by_role(fold, measured, "single")
    trajectories = by_role(fold, measured, "trajectory")
    n_out = sum(80 + 10 * k for k in range(8)) + 70
    aggregated_after_ms = heavy.e2e_ms - aggregator.e2e_ms
    assert (heavy.ttft_ms, heavy.ttfo_ms) == (102, aggregated_after_ms + aggregator.ttfo_ms)
    assert (heavy.output_tokens, heavy.input_tokens) == (n_out, 9 * 12)
    assert heavy.cost_usd == pytest.approx((9 * 12 * 0.6 + n_out * 2.5) / 1e6, rel=1e-12)
    assert (heavy.decode_tps, heavy.tpot_ms, heavy.e2e_tps, heavy.ntpot_ms) == (None, None, None, None)
    assert aggregator.decode_tps == pytest.approx(100)
    assert heavy.aggregate_tps == pytest.approx(n_out / (heavy.e2e_ms / 1000), rel=1e-12)
    assert heavy.answer_tokens == 60
    assert heavy.effective_tps == pytest.approx(60 / (heavy.e2e_ms / 1000))
    assert heavy.token_amplification == pytest.approx(n_out / normal.output_tokens)
    times = timing(fold, next(id for id, who in fold.attempts.items() if who.role == "heavy"))
    assert times.slowest_e2e_ms == max(m.e2e_ms or 0 for m in trajectories)
    assert times.gap_ms == pytest.approx(20), "the wait for the aggregator"
    assert heavy.e2e_ms == pytest.approx(times.drafts_ms + times.gap_ms + aggregator.e2e_ms)
    assert (heavy.token_source, heavy.cost_source, heavy.suspect) == ("usage", "usage", 0)


def test_heavy_with_a_failed_child_still_counts_the_rest() -> None:
    fold, measured = heavy_turn(failing=3)
    (heavy,) = by_role(fold, measured, "heavy")
    assert heavy.output_tokens == sum(80 + 10 * k for k in range(8) if k != 3) + 70
    assert heavy.cost_usd is not None


def test_heavys_sums_are_unknown_if_those_of_a_child_with_text_are() -> None:
    parent = attempt(role="heavy")
    known = (attempt(role="trajectory"), Metrics(n_chunks=3, output_tokens=9, input_tokens=5, cost_usd=0.1))
    silent = (attempt(role="trajectory"), Metrics())
    unpriced = (attempt(role="trajectory"), Metrics(n_chunks=3, output_tokens=9, token_source="chars"))
    fold = fold_of(ended(thought()))
    whole = measure(parent, fold, LocalCount(30, 50, "tokenizer"), [known, silent])
    assert (whole.output_tokens, whole.cost_usd, whole.answer_tokens) == (9, 0.1, 50)
    partly = measure(parent, fold, None, [known, unpriced])
    assert (partly.output_tokens, partly.cost_usd, partly.input_tokens) == (18, None, None)
    assert partly.token_source == "chars"


def test_heavy_is_suspect_or_cold_if_a_child_is() -> None:
    child = (attempt(role="trajectory"), Metrics(suspect=1, cold_start=1))
    heavy = measure(attempt(role="heavy"), fold_of(ended(thought())), None, [child])
    assert (heavy.suspect, heavy.suspect_reason, heavy.cold_start) == (1, "child", 1)


def test_a_finish_alone_gives_no_metrics() -> None:
    m = metrics([(10, Finish("stop")), (11, End("no_answer"))])
    assert {name for name, value in m.as_dict().items() if value is not None} == {
        "ended_ms",
        "user_latency_ms",
        "suspect",
    }
