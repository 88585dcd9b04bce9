"""Recorded streams of every gateway; splitting their bytes anywhere changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_ui.core.events import Meta, Phase, Usage
from tests.support.folding import STOP, Outcome, answer, chat, chunk, cut, sse
from tests.support.recorded import (
    DEEPSEEK,
    GLM_ON_OPENROUTER,
    K2_ON_OPENROUTER,
    LLAMA_CPP,
    MOONSHOT_K3,
    MOONSHOT_K25,
    OPENROUTER_ERROR,
    SGLANG,
    VLLM,
)


def test_moonshot_k3_recorded() -> None:
    got = chat(sse(*MOONSHOT_K3))
    assert (got.status, got.text) == ("ok", ("The user is asking", "OK"))
    usage = got.fold.usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens) == (
        90,
        90,
        50,
        33,
    )
    assert sum(isinstance(event, Usage) for event in got.events) == 1, "the same numbers twice are told once"
    assert got.fold.meta == Meta("kimi-k3", None, "chatcmpl-2fd8")
    assert got.fold.n_chunks == 3


def test_moonshot_k25_recorded_usage_only_in_the_choice() -> None:
    got = chat(sse(*MOONSHOT_K25))
    assert (got.status, got.text, got.fold.usage.output_tokens) == ("ok", ("", "OK"), 5)
    assert got.fold.usage.reasoning_tokens == 1


def test_sglang_recorded_nulls_and_continuous_usage() -> None:
    got = chat(sse(*SGLANG, STOP))
    assert got.text == ("中立的", "")
    assert got.status == "no_answer"
    assert got.fold.usage.output_tokens == 105
    assert got.fold.usage.reasoning_tokens is None, "0 is not a count here"


def test_vllm_recorded() -> None:
    assert chat(sse(*VLLM, '{"choices":[{"index":0,"delta":{"reasoning":"r"}}]}', STOP)).text == ("r", " A")


def test_openrouter_recorded_text_in_two_fields_counts_once() -> None:
    got = chat(sse(*GLM_ON_OPENROUTER, STOP))
    assert got.text == (" user", "")
    assert got.fold.meta.upstream == "Novita"
    assert got.fold.n_chunks == 1, "empty content is no token"


def test_openrouter_recorded_finish_is_latched_and_usage_with_cost_comes_after_it() -> None:
    got = chat(sse(*K2_ON_OPENROUTER))
    assert (got.status, got.fold.finish_reason) == ("ok", "stop")
    assert got.fold.usage.cost_usd == pytest.approx(0.0004432)
    assert got.fold.usage.output_tokens == 32
    assert got.fold.usage.raw["cost_details"]["upstream_inference_prompt_cost"] == 0.0002832


def test_openrouter_recorded_error_in_the_stream() -> None:
    got = chat(sse(*OPENROUTER_ERROR, done=False))
    assert (got.status, got.kind, got.text[1]) == ("error", "upstream", "so far")
    assert got.error
    assert "Provider disconnected" in got.error.failure.detail


def test_deepseek_and_llama_cpp_recorded() -> None:
    assert chat(sse(*DEEPSEEK, answer("a"), STOP)).text == ("Hm", "a")
    got = chat(sse(*LLAMA_CPP))
    assert Phase("reading_prompt", "", 6144, 8192) in got.events
    usage = got.fold.usage
    assert (usage.source, usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (
        "server",
        237,
        236,
        35,
    )
    assert (usage.prompt_ns, usage.eval_ns) == (30_958_000, 661_064_000)


# -- any chunking, any bytes

STREAMS = [
    sse(*MOONSHOT_K3),
    sse(*SGLANG, answer("<think>x</think>"), STOP),
    sse(answer("I think</th"), answer("ink>\nYes 😀"), STOP, chunk(None, usage={"completion_tokens": 4})).replace(
        b"\n", b"\r\n"
    ),
    sse(*OPENROUTER_ERROR, done=False),
    sse(answer("a"), done=False) + b'{"error": "Unhandled"}',
    sse(
        '{"choices":[{"delta":{"content":"x\\ud83d"}}]}',
        "{broken",
        '{"choices":[{"delta":{"content":"\\ude00y"}}]}',
        STOP,
    ),
    b"\xef\xbb\xbf" + sse(answer("a"), STOP),
    b"<html><title>x</title></html>",
    json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}).encode(),
]


def summary(got: Outcome) -> tuple[object, ...]:
    return (got.status, got.kind, got.text, got.fold.flags, got.fold.usage, got.fold.finish_reason)


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
@given(data=st.sampled_from(STREAMS), places=st.lists(st.integers(0, 5000), max_size=8))
def test_any_chunking_gives_the_same_outcome(content_type: str, data: bytes, places: list[int]) -> None:
    assert summary(chat(*cut(data, places), content_type=content_type)) == summary(
        chat(data, content_type=content_type)
    )


@pytest.mark.parametrize("data", STREAMS, ids=range(len(STREAMS)))
def test_single_bytes_give_the_same_outcome(data: bytes) -> None:
    assert summary(chat(*(bytes([byte]) for byte in data))) == summary(chat(data))


KEYS = ["choices", "delta", "content", "reasoning", "reasoning_content", "reasoning_details", "usage", "error", "index"]
KEYS += ["finish_reason", "message", "text", "completion_tokens", "prompt_progress", "timings", "cost", "model"]
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=4))
@settings(max_examples=200)
def test_any_json_ends_with_a_status_and_only_an_answer_is_ok(values: list[Any]) -> None:
    whole = json.dumps(values[0]).encode() if values else b""
    for got in (chat(sse(*map(json.dumps, values))), chat(whole, content_type="application/json")):
        assert got.status in ("ok", "length", "no_answer", "incomplete", "error")
        assert got.fold.answer.strip() or got.status != "ok"


@given(st.lists(st.binary(max_size=80), max_size=6), st.sampled_from(["text/event-stream", "application/json"]))
def test_no_bytes_break_the_body(pieces: list[bytes], content_type: str) -> None:
    got = chat(*pieces, content_type=content_type)
    assert got.status in ("error", "incomplete")
