"""Ollama bodies: the documented lines, unusual ones, every way to fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.events import Phase
from tests.support.folding import Outcome, cut, ndjson

# As in Ollama's docs/api.md
THE = (
    b'{"model":"qwen3-coder:30b","created_at":"2026-08-04T08:52:19.385406Z","message":{"role":"assistant","content":"The"},'
    b'"done":false}\n'
)
OKAY = (
    b'{"model":"qwen3","created_at":"x","message":{"role":"assistant","content":"","thinking":"Okay"},"done":false}\n'
)
DONE = (
    b'{"model":"qwen3-coder:30b","created_at":"x","message":{"role":"assistant","content":""},"done":true,"done_reason":'
    b'"stop","total_duration":4883583458,"load_duration":1334875,"prompt_eval_count":26,"prompt_eval_duration":342546000,'
    b'"eval_count":2,"eval_duration":4535599000}\n'
)
ERROR = b'{"error":"an error was encountered while running the model"}\n'
LOAD = b'{"model":"x","created_at":"x","message":{"role":"assistant","content":""},"done_reason":"load","done":true}\n'


def line(**fields: Any) -> bytes:
    return (
        json.dumps({"model": "m", "message": {"role": "assistant", "content": ""}, "done": False, **fields}).encode()
        + b"\n"
    )


def say(text: str) -> bytes:
    return line(message={"role": "assistant", "content": text})


def test_documented_lines() -> None:
    got = ndjson(OKAY, THE, DONE)
    assert (got.status, got.text, got.fold.finish_reason) == ("ok", ("Okay", "The"), "stop")
    usage = got.fold.usage
    assert (usage.source, usage.input_tokens, usage.output_tokens) == ("server", 26, 2)
    assert (usage.load_ns, usage.prompt_ns, usage.eval_ns) == (1334875, 342546000, 4535599000)
    assert usage.reasoning_tokens is None
    assert got.fold.meta.response_model == "qwen3"
    assert got.events[0] == Phase("first_chunk")


def test_error_line_though_the_status_was_200() -> None:
    got = ndjson(THE, ERROR)
    assert (got.status, got.kind, got.text[1]) == ("error", "upstream", "The")
    assert ndjson(THE, b'{"error":{"message":"boom","code":503}}\n').kind == "capacity"
    died = ndjson(THE, b'{"error":"llama runner process has terminated: signal: killed"}\n')
    assert died.kind == "backend_died"


@pytest.mark.parametrize(
    ("pieces", "status", "kind"),
    [
        ([], "error", "empty"),
        ([b"\n\n"], "error", "empty"),
        ([THE], "incomplete", "network"),
        ([THE, DONE.rstrip()], "ok", ""),
        ([THE, DONE.rstrip(b"}\n")], "incomplete", "network"),
        ([THE, line(done=True)], "incomplete", "network"),  # the runner's connection closed: no reason, no counters
        ([THE, line(done=True, eval_count=3)], "ok", ""),  # older servers give no reason
        ([THE, line(done=True, done_reason="length")], "length", ""),
        ([LOAD], "error", "empty"),
        ([DONE], "no_answer", ""),
        ([b"<html><title>Log in</title></html>\n"], "error", "not_a_stream"),
        ([b"<html>"], "error", "not_a_stream"),
        ([THE, b"\n", b"  \n", b"nonsense\n", b"[1]\n", b"null\n", DONE], "ok", ""),
        ([THE, b"a\n", b"b\n", b"c\n", b"d\n", DONE], "error", "protocol"),
        ([THE.rstrip() + THE, DONE], "no_answer", ""),  # two objects on one line: skipped and flagged
    ],
)
def test_how_it_ends(pieces: list[bytes], status: str, kind: str) -> None:
    got = ndjson(*pieces)
    assert (got.status, got.kind) == (status, kind)


def test_other_responses_than_a_stream_are_named() -> None:
    words = ndjson(b"data: {}\n\n", b"data: [DONE]\n\n")
    assert words.error
    assert (words.kind, words.error.retryable) == ("not_a_stream", False)
    assert "data: {}" in words.error.failure.detail
    assert "/v1" not in words.error.failure.remedy
    boom = ndjson(json.dumps({"error": "boom", "more": [1, 2, 3]}, indent=1).encode())
    assert boom.error
    assert (boom.kind, boom.error.failure.detail) == ("upstream", "boom")
    whole = {"message": {"content": "a"}, "done": True, "done_reason": "stop"}
    assert ndjson(json.dumps(whole, indent=1).encode()).text[1] == "a"
    page = ndjson(b"<html>\n<title>Log in</title>\n</html>\n")
    assert page.error
    assert page.kind == "not_a_stream"
    assert "/v1" not in page.error.failure.remedy


def test_skipped_lines_are_flagged() -> None:
    assert ndjson(THE.rstrip() + THE, DONE).fold.flags == {"skipped_pieces": "1"}


def test_unicode_line_breaks_stay_inside_the_text() -> None:
    data = say("a\u0085b\u2028c").replace(b"\\u0085", "\u0085".encode()).replace(b"\\u2028", "\u2028".encode())
    assert ndjson(data, DONE).text[1] == "a\u0085b\u2028c"


def test_invalid_utf8_surrogates_and_tags() -> None:
    assert ndjson(say("aXb").replace(b"X", b"\xff"), DONE).fold.flags == {"invalid_utf8": ""}
    assert ndjson(say("\ud83d"), say("\ude00"), DONE).text[1] == "😀"
    assert ndjson(line(message={"thinking": "\ud83d"}), line(message={"thinking": "\ude00"}), DONE).text[0] == "😀"
    assert ndjson(say("<think>r</th"), say("ink>\n\na"), DONE).text == ("r", "a")


@pytest.mark.parametrize("message", [None, 7, "x", [], {"content": None}, {"content": 7, "thinking": {}}, {}])
def test_odd_messages_are_ignored(message: Any) -> None:
    assert ndjson(line(message=message), THE, DONE).text == ("", "The")


def test_tool_calls_are_flagged() -> None:
    assert (
        "f" in ndjson(line(message={"tool_calls": [{"function": {"name": "f"}}]}), THE, DONE).fold.flags["tool_calls"]
    )


def test_lines_after_the_last_are_kept_and_flagged() -> None:
    got = ndjson(THE, DONE, say("late"), DONE)
    assert got.status == "ok"
    assert got.text[1] == "Thelate"
    assert "text_after_finish" in got.fold.flags


@pytest.mark.parametrize(
    ("counters", "eval_ns", "suspect"),
    [
        ({"eval_count": 5, "eval_duration": 0}, None, False),
        ({"eval_count": 5}, None, False),
        ({"eval_count": 500, "eval_duration": 4535}, None, True),  # ms, not ns
        ({"eval_count": -5, "eval_duration": -1}, None, True),
        ({"eval_count": 5, "eval_duration": "1"}, None, True),
        ({"eval_count": 5, "eval_duration": 10**9}, 10**9, False),
    ],
)
def test_impossible_counters_are_ignored(counters: dict[str, Any], eval_ns: int | None, suspect: bool) -> None:
    got = ndjson(say("some words of text " * 10), line(done=True, done_reason="stop", **counters))
    assert got.fold.usage.eval_ns == eval_ns
    assert ("usage_suspect" in got.fold.flags) == suspect


def test_reading_stops_at_a_line_that_never_ends() -> None:
    assert ndjson(*(b"x" * 1_000_000 for _ in range(20))).kind == "too_large"


def summary(got: Outcome) -> tuple[object, ...]:
    return (got.status, got.kind, got.text, got.fold.flags, got.fold.usage)


@given(
    data=st.sampled_from(
        [OKAY + THE + DONE, THE + ERROR, say("<think>r</think>é") + DONE.rstrip(), THE + b"\nx\n" + DONE]
    ),
    places=st.lists(st.integers(0, 2000), max_size=8),
)
def test_any_chunking_gives_the_same_outcome(data: bytes, places: list[int]) -> None:
    assert summary(ndjson(*cut(data, places))) == summary(ndjson(data))


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_no_bytes_break_the_body(pieces: list[bytes]) -> None:
    assert ndjson(*pieces).status in ("error", "incomplete")
