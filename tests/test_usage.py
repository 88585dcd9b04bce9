"""Token counts: every field they arrive in, and impossible ones."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_ui.core.events import Usage
from tests.support.folding import STOP, Outcome, answer, chat, chunk, sse


def usage_of(**usage: Any) -> Outcome:
    return chat(sse(answer("some words of an answer"), STOP, chunk(None, usage=usage)))


@pytest.mark.parametrize("bad", [-3, 10**12, 2.5, "many", True, [1], {"a": 1}, float("1e30")])
def test_impossible_counts_are_ignored(bad: Any) -> None:
    got = usage_of(prompt_tokens=10, completion_tokens=bad)
    assert got.fold.usage.output_tokens is None
    assert got.fold.usage.input_tokens == 10
    assert "completion_tokens" in got.fold.flags["usage_suspect"]
    assert got.status == "ok"


def test_counts_as_strings_or_under_other_names_are_read() -> None:
    got = usage_of(prompt_tokens="10", completion_tokens=6.0, completion_tokens_details=None, prompt_cache_hit_tokens=4)
    assert (got.fold.usage.input_tokens, got.fold.usage.output_tokens, got.fold.usage.cached_input_tokens) == (10, 6, 4)
    assert got.fold.flags == {}


def test_zeros_count_as_unknown() -> None:
    got = usage_of(prompt_tokens=0, completion_tokens=0, total_tokens=0)
    assert got.fold.usage.output_tokens is None
    assert got.fold.usage.input_tokens is None
    assert "usage_suspect" in got.fold.flags


@pytest.mark.parametrize("tokens", [1, 400])
def test_counts_that_differ_tenfold_from_the_text_are_suspect(tokens: int) -> None:
    text = "word " * (100 if tokens == 1 else 10)
    got = chat(sse(answer(text), STOP, chunk(None, usage={"completion_tokens": tokens})))
    assert "usage_suspect" in got.fold.flags
    assert got.fold.usage.output_tokens == tokens


def test_hidden_reasoning_is_not_suspect() -> None:
    details = {"reasoning_tokens": 900}
    got = chat(
        sse(answer("yes"), STOP, chunk(None, usage={"completion_tokens": 902, "completion_tokens_details": details}))
    )
    assert got.fold.flags == {}
    assert got.fold.usage.reasoning_tokens == 900


def test_parts_larger_than_the_whole_are_dropped() -> None:
    got = usage_of(prompt_tokens=5, cached_tokens=9, completion_tokens=6, reasoning_tokens=7)
    assert got.fold.usage.cached_input_tokens is None
    assert got.fold.usage.reasoning_tokens is None
    assert got.fold.flags["usage_suspect"] == "cached_tokens, reasoning_tokens"


def test_continuous_usage_is_reported_every_eighth_token_and_at_the_end() -> None:
    parts = [chunk({"content": "word "}, usage={"prompt_tokens": 3, "completion_tokens": n}) for n in range(1, 41)]
    got = chat(sse(*parts, STOP))
    told = [event.output_tokens for event in got.events if isinstance(event, Usage)]
    assert told == [8, 16, 24, 32, 40, 40]
    assert got.fold.usage.raw["completion_tokens"] == 40


GOOD = {"prompt_tokens": 9, "completion_tokens": 6, "cost": 0.5, "completion_tokens_details": {"reasoning_tokens": 2}}


@pytest.mark.parametrize(
    "later",
    [
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": -1, "completion_tokens": 10**12},
        {"total_tokens": 15},
        {"prompt_tokens": 9, "completion_tokens": 6},
        [1],
    ],
)
def test_a_later_incomplete_usage_keeps_the_earlier_counts(later: Any) -> None:
    got = chat(sse(answer("some words of an answer"), chunk({}, "stop", usage=GOOD), chunk(None, usage=later)))
    usage = got.fold.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.cost_usd) == (9, 6, 2, 0.5)
    assert usage.raw["cost"] == 0.5
    assert usage.raw["completion_tokens"] == 6


def test_a_later_usage_replaces_the_counts_it_contains() -> None:
    fewer = {"completion_tokens": 1, "cost": 0.7}
    got = chat(sse(answer("words"), chunk({}, "stop", usage=GOOD), chunk(None, usage=fewer)))
    usage = got.fold.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.cost_usd) == (9, 1, None, 0.7)


def test_null_usage_counts_as_no_usage() -> None:
    got = chat(sse(chunk({"content": "a"}, usage=None), STOP))
    assert not got.fold.has_usage


def test_byok_cost_is_the_fee_plus_the_upstream_bill() -> None:
    got = usage_of(completion_tokens=6, cost=0.01, is_byok=True, cost_details={"upstream_inference_cost": 0.2})
    assert got.fold.usage.cost_usd == pytest.approx(0.21)
    assert usage_of(completion_tokens=6, cost="free").fold.usage.cost_usd is None
    assert usage_of(completion_tokens=6, cost=-1).fold.usage.cost_usd is None
