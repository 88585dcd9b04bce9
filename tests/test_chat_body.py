"""OpenAI-compatible bodies: every dialect of reasoning, odd shapes, every way to end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.events import Phase, Reasoning
from kimi_ui.providers.errors import simple
from kimi_ui.providers.http.text_splitter import Texts
from kimi_ui.providers.openai_compatible.body import ChatBody
from tests.support.folding import STOP, TARGET, answer, chat, chunk, cut, run_body, sse, thought

# -- dialects


@pytest.mark.parametrize(
    ("delta", "dialect"),
    [
        ({"reasoning_content": "r"}, "reasoning_content"),
        ({"reasoning": "r", "content": ""}, "reasoning"),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "r", "index": "0"}]}, "reasoning_details"),
        (
            {"reasoning_details": [{"type": "reasoning.summary", "summary": "r"}, {"type": "x", "data": "…"}]},
            "reasoning_details",
        ),
        ({"reasoning_content": "r", "reasoning": "r", "reasoning_details": [{"text": "r"}]}, "reasoning_content"),
        ({"reasoning_content": "", "reasoning": "r"}, "reasoning"),
        ({"reasoning_content": None, "reasoning": {"x": 1}, "reasoning_details": [{"text": "r"}]}, "reasoning_details"),
        ({"reasoning": "r", "reasoning_details": [{"type": "reasoning.unknown", "data": "zz"}]}, "reasoning"),
        ({"content": "<think>r</think>"}, "<think>"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}]}, "content parts"),
    ],
)
def test_reasoning_dialects(delta: dict[str, Any], dialect: str) -> None:
    texts = Texts()
    got = run_body(ChatBody(TARGET, texts=texts), [sse(chunk(delta), answer("a"), STOP)])
    assert (got.text, got.status, texts.dialect) == (("r", "a"), "ok", dialect)


def tagged(*pieces: str) -> list[str]:
    """Chunks that hold the same piece of reasoning as a field and in the content."""
    return [chunk({"reasoning_content": text, "content": "<think>" * (i == 0) + text}) for i, text in enumerate(pieces)]


DOUBLED = {
    "in one delta": ([*tagged("Hmm A. ", "Hmm B."), answer("</think>\n\nyes")], "Hmm A. Hmm B."),
    "field, then tag": (
        [thought("Hmm A. "), thought("Hmm B."), answer("<think>\nHmm A. Hmm B.\n</think>yes")],
        "Hmm A. Hmm B.",
    ),
    "tag, then field": (
        [answer("<think>Hmm A. "), answer("Hmm B.</think>"), thought("Hmm A. Hmm B."), answer("yes")],
        "Hmm A. Hmm B.",
    ),
    "field behind": (
        [answer("<think>Hm"), thought("H"), answer("m A."), thought("mm A."), answer("</think>yes")],
        "Hmm A.",
    ),
    "field only begins it": ([thought("Hmm A."), answer("<think>Hmm A. Hmm B.</think>yes")], "Hmm A. Hmm B."),
    "another thought": ([thought("first. "), answer("<think>second</think>yes")], "first. second"),
    "another that begins alike": ([thought("Hmm A. "), answer("<think>Hmm B.</think>yes")], "Hmm A. Hmm B."),
    "field behind, then another": (
        [thought("Hmm A."), answer("<think>Hmm A. Hmm B."), thought(" Or C. "), answer("</think>yes")],
        "Hmm A. Or C. Hmm A. Hmm B.",
    ),
}


@pytest.mark.parametrize("case", DOUBLED)
def test_reasoning_sent_twice_is_shown_once(case: str) -> None:
    payloads, reasoning = DOUBLED[case]
    got = chat(sse(*payloads, STOP))
    assert ("".join(got.text[0].split()), got.text[1], got.status) == ("".join(reasoning.split()), "yes", "ok")


PIECES = st.lists(st.sampled_from(["Hmm", " A", ".", "\n", " B", "`"]), max_size=8).map("".join)


@given(first=PIECES, second=PIECES, places=st.lists(st.integers(0, 30), max_size=9), mix=st.randoms())
def test_repeated_reasoning_is_dropped_for_any_chunking(first: str, second: str, places: list[int], mix: Any) -> None:
    """Field first, then the tags: any chunking gives the same text; a repetition is dropped in any interleaving."""

    def reasoning_of(field: list[str], tags: list[str]) -> str:
        return chat(sse(*map(thought, field), *map(answer, tags), STOP)).text[0]

    whole = reasoning_of([first], [f"<think>{second}</think>yes"])
    in_pieces = reasoning_of(
        *([piece.decode() for piece in cut(text.encode(), places)] for text in (first, f"<think>{second}</think>yes"))
    )
    assert in_pieces == whole
    if first.split() and not "".join(first.split()).startswith("".join(second.split())):
        assert len("".join(whole.split())) > len("".join(first.split())), "another thought stays"
    lanes = [[*map(thought, first)], [*map(answer, ["<think>", *first, "</think>", "yes"])]]
    mixed = []
    while any(lanes):
        mixed.append(mix.choice([lane for lane in lanes if lane]).pop(0))
    assert "".join(chat(sse(*mixed, STOP)).text[0].split()) == "".join(first.split())


def test_encrypted_reasoning_has_no_text() -> None:
    got = chat(sse(chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "gAAA"}]}), answer("a"), STOP))
    assert got.text == ("", "a")


def test_reasoning_by_field_then_a_leaked_closing_tag() -> None:
    got = chat(sse(thought("r"), answer("</think>\n\n"), answer("Use </think> so."), STOP))
    assert got.text == ("r", "Use </think> so.")


def test_reasoning_and_answer_in_one_delta_and_reasoning_after_the_answer() -> None:
    got = chat(sse(chunk({"content": "a", "reasoning_content": "r"}), thought("s"), answer("b"), STOP))
    assert got.text == ("rs", "ab")
    assert "late_reasoning" in got.fold.flags
    assert [type(event) for event in got.events].index(Reasoning) == 2, "reasoning first"


def test_reasoning_without_an_answer_ends_as_no_answer() -> None:
    assert chat(sse(thought("the answer"), STOP)).status == "no_answer"
    assert chat(sse(thought("cut off"), chunk({"content": None}, "length"))).status == "length"


def test_a_missing_opening_tag_relabels_what_was_shown() -> None:
    got = chat(sse(answer("I think"), answer(" so</th"), answer("ink>\n\nYes"), STOP))
    assert got.text == ("I think so", "Yes")


# -- unusual shapes


@pytest.mark.parametrize(
    "payload",
    [
        '{"choices":null}',
        '{"choices":[]}',
        '{"choices":{}}',
        "{}",
        '{"choices":[null]}',
        '{"choices":[{"index":0,"delta":null,"finish_reason":null}]}',
        '{"choices":[{"index":0,"delta":"x"}]}',
        '{"choices":[{"index":0,"delta":{"content":null}}]}',
        '{"choices":[{"index":0,"delta":{"content":7,"reasoning_content":[1]}}]}',
        '{"choices":[{"index":0,"delta":{"content":{"a":1}}}]}',
        '{"choices":[{"index":1,"delta":{"content":"second choice"}}]}',
        '{"choices":[{"index":0,"delta":{},"finish_reason":""}]}',
        '{"choices":[{"index":0,"delta":{},"finish_reason":7}]}',
        '{"id":7,"model":null,"provider":{},"choices":[]}',
        '{"usage":"none","timings":[],"prompt_progress":{"total":"x"},"choices":[]}',
    ],
)
def test_odd_shapes_are_ignored(payload: str) -> None:
    got = chat(sse(payload, answer("a"), STOP))
    assert (got.status, got.text) == ("ok", ("", "a"))


def test_missing_index_is_the_first_choice() -> None:
    assert chat(sse('{"choices":[{"delta":{"content":"a"}}]}', STOP)).text == ("", "a")


def test_content_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, "x", {"type": "text", "text": 7}]
    assert chat(sse(chunk({"content": parts}), STOP)).text == ("", "a")
    parts = [{"type": "reasoning", "text": "r"}, {"type": "output_text", "text": "a"}, {"text": "b"}]
    assert chat(sse(chunk({"content": parts}), STOP)).text == ("r", "ab")


def test_refusals_tool_calls_and_images_are_flagged() -> None:
    delta = {"tool_calls": [{"function": {"name": "f"}}], "images": [1]}
    got = chat(sse(chunk(delta), chunk({"refusal": "I can"}), chunk({"refusal": "not"}), STOP))
    assert got.fold.flags["refusal"] == "I cannot"
    assert "f" in got.fold.flags["tool_calls"]
    assert "images" in got.fold.flags


def test_progress_is_reported_only_when_it_changes() -> None:
    parts = [chunk(None, prompt_progress={"processed": n // 10, "total": 5}) for n in range(40)]
    got = chat(sse(*parts, answer("a"), STOP))
    assert [event.done for event in got.events if isinstance(event, Phase) and event.total] == [0, 1, 2, 3]


def test_comments_blank_data_and_other_fields_are_ignored() -> None:
    got = chat(b": OPENROUTER PROCESSING\n\ndata:\n\nid: 1\nretry: 10\nevent: message\n" + sse(answer("a"), STOP))
    assert got.status == "ok"
    assert got.events[0] == Phase("first_chunk")


# -- how it ends


def test_only_a_finish_reason_makes_an_attempt_ok() -> None:
    cases = {
        "nothing": (chat(), "error", "empty"),
        "blank lines only": (chat(b"\n\n\n"), "error", "empty"),
        "comments only": (chat(b": keep-alive\n\n" * 5), "error", "empty"),
        "no finish, text": (chat(sse(answer("a"), done=False)), "incomplete", "network"),
        "no finish, no text": (chat(sse(chunk({"role": "assistant"}), done=False)), "error", "network"),
        "only [DONE]": (chat(b"data: [DONE]\n\n"), "error", "network"),
        "[DONE] without finish": (chat(sse(answer("a"))), "incomplete", "network"),
        "finish without [DONE]": (chat(sse(answer("a"), STOP, done=False)), "ok", ""),
        "last event without its blank line": (chat(sse(answer("a")) + b"data: " + STOP.encode()), "ok", ""),
        "empty answer": (chat(sse(STOP)), "no_answer", ""),
        "blank answer": (chat(sse(answer(" \n"), STOP)), "no_answer", ""),
        "content filter": (chat(sse(answer("a"), chunk({}, "content_filter"))), "error", "content_filter"),
        "finish error": (chat(sse(answer("a"), chunk({}, "error"))), "error", "upstream"),
        "deepseek": (chat(sse(answer("a"), chunk({}, "insufficient_system_resource"))), "error", "capacity"),
        "shut down": (chat(sse(answer("a"), chunk({}, "abort"))), "error", "upstream"),
        "length": (chat(sse(answer("a"), chunk({}, "length"))), "length", ""),
        "length by another name": (chat(sse(answer("a"), chunk({}, "MAX_TOKENS"))), "length", ""),
    }
    assert {name: (got.status, got.kind) for name, (got, _, _) in cases.items()} == {
        name: (status, kind) for name, (_, status, kind) in cases.items()
    }
    assert "no_finish_reason" in cases["[DONE] without finish"][0].fold.flags
    nothing = cases["no finish, no text"][0].error
    assert nothing
    assert nothing.retryable
    text = cases["no finish, text"][0].error
    assert text
    assert not text.retryable, "text has come: asking again would double it"


def test_text_after_the_finish_or_after_done_is_kept_and_flagged() -> None:
    got = chat(sse(answer("a"), STOP, answer("b"), chunk({}, "length")), sse(answer("c"), done=False))
    assert (got.status, got.text[1]) == ("ok", "abc")
    assert {"text_after_finish", "after_done"} <= got.fold.flags.keys()


def test_a_cut_before_the_finish_is_incomplete_and_after_it_is_ok() -> None:
    network = simple("cut", TARGET)
    whole = run_body(ChatBody(TARGET), [sse(answer("a"), STOP, done=False)], network)
    assert (whole.status, list(whole.fold.flags)) == ("ok", ["cut_after_finish"])
    assert run_body(ChatBody(TARGET), [sse(answer("a"), done=False)], network).status == "incomplete"
    assert run_body(ChatBody(TARGET), [], network).status == "error"


@pytest.mark.parametrize(
    "payload",
    [
        '{"error":{"message":"boom"}}',
        '{"error":"boom"}',
        '{"detail":"boom"}',
        '{"object":"error","message":"boom"}',
        '{"message":"boom","type":"server_error"}',
        '{"message":"boom"}',
        '{"error":true,"message":"boom"}',
        '{"error":{"code":404,"message":"boom"}}',
        '{"error":{"message":"boom"},"choices":[],"usage":{"completion_tokens":3}}',
    ],
)
def test_errors_in_the_stream(payload: str) -> None:
    got = chat(sse(answer("a"), payload))
    assert (got.status, got.kind, got.text[1]) == ("error", "upstream", "a")
    assert got.error
    assert "boom" in got.error.failure.detail


def test_error_events_by_name_and_raw_error_lines() -> None:
    named = chat(sse(answer("a"), done=False) + b'event: error\ndata: {"reason":"x","message":"boom"}\n\n')
    raw = chat(sse(answer("a"), done=False) + b'{"error": "Unhandled exception during response stream: boom"}')
    glued = chat(sse(answer("a"), done=False) + b"data: " + answer("b").encode()[:40] + b'{"error": "boom"}')
    cut_over = chat(sse(answer("a"), done=False) + b"data: " + answer("b").encode() + b'\n{"error": "boom"}')
    whole = chat(sse(answer("a"), done=False) + b"data: " + answer("b").encode() + b'{"error": "boom"}')
    failures = [
        chat(sse(answer("a"), done=False) + b"event: error\ndata: " + data + b"\n\n") for data in (b"boom", b'"boom"')
    ]
    for got in (named, raw, glued, cut_over, whole, *failures):
        assert (got.status, got.kind) == ("error", "upstream")
        assert got.error
        assert "boom" in got.error.failure.detail
    assert cut_over.text[1] == whole.text[1] == "ab"
    assert raw.text[1] == "a"
    assert chat(sse(answer("a"), done=False) + b"event: error\ndata:\n\n").kind == "upstream"


def test_a_status_in_the_stream_selects_the_error_kind() -> None:
    assert chat(sse('{"error":{"code":429,"message":"slow"}}')).kind == "rate_limit"
    assert chat(sse('{"error":{"code":402,"message":"pay"}}')).kind == "billing"
    assert chat(sse('{"error":{"code":404,"message":"model m not found"}}')).kind == "model_missing"


def test_a_content_filter_during_the_answer_does_not_blame_the_prompt() -> None:
    early, late = chat(sse(chunk({}, "content_filter"))), chat(sse(answer("a"), chunk({}, "content_filter")))
    assert early.error
    assert "prompt" in early.error.failure.message
    assert late.error
    assert "prompt" not in late.error.failure.message


def test_model_and_upstream_are_read_from_any_chunk() -> None:
    got = chat(sse(*['{"choices":[]}'] * 9, '{"choices":[],"model":"m"}', '{"choices":[],"provider":"p"}', STOP))
    assert (got.fold.meta.response_model, got.fold.meta.upstream) == ("m", "p")


def test_three_unreadable_events_are_skipped_and_the_fourth_ends_the_stream() -> None:
    three = chat(sse(answer("a"), "{broken", "[1]", "null", answer("b"), STOP))
    assert (three.status, three.text[1], three.fold.flags) == ("ok", "ab", {"skipped_pieces": "3"})
    four = chat(sse(answer("a"), "{broken", "7", '"x"', "{} {}", answer("b"), STOP))
    assert (four.status, four.kind, four.text[1]) == ("error", "protocol", "a")


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/html; charset=utf-8", "application/json", ""])
def test_a_web_page_is_an_error(content_type: str) -> None:
    got = chat(b"<!DOCTYPE html>\n<html><title>Log in</title>\n<body>x</body></html>\n", content_type=content_type)
    assert (got.kind, got.error and got.error.failure.detail) == ("not_a_stream", "Log in")


def test_plain_text_is_an_error() -> None:
    for content_type in ("text/plain", "text/event-stream"):
        got = chat(b"Please log in first.\n", content_type=content_type)
        assert got.error
        assert (got.kind, got.error.failure.detail) == ("not_a_stream", "Please log in first.")
        assert "web page" not in got.error.failure.message


def test_a_stream_with_the_wrong_content_type_is_read() -> None:
    for content_type in ("application/json", "text/plain", ""):
        assert chat(b"\n", sse(answer("a"), STOP), content_type=content_type).status == "ok"


def test_a_completion_that_was_not_streamed() -> None:
    message = {"role": "assistant", "content": "a", "reasoning_content": "r"}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 4}}
    for content_type in ("application/json", "text/event-stream", ""):
        for indent in (None, 2):
            pieces = cut(json.dumps(body, indent=indent).encode(), [3, 50])
            got = chat(*pieces, content_type=content_type)
            assert (got.status, got.text, got.fold.flags) == ("ok", ("r", "a"), {"non_streaming": ""})
            assert got.fold.usage.output_tokens == 4


def test_an_error_body_with_status_200() -> None:
    got = chat(b'{"error":{"message":"no such thing","code":404}}', content_type="application/json")
    assert (got.status, got.kind) == ("error", "bad_url")
    assert chat(b'{"cut', content_type="application/json").kind == "protocol"
    got = chat(json.dumps({"error": {"message": "boom"}}, indent=2).encode())
    assert got.error
    assert (got.kind, got.error.failure.detail) == ("upstream", "boom")


# -- text


def test_surrogate_halves_in_two_chunks_are_joined_and_lone_ones_replaced() -> None:
    whole = chat(
        sse('{"choices":[{"delta":{"content":"x\\ud83d"}}]}', '{"choices":[{"delta":{"content":"\\ude00y"}}]}', STOP)
    )
    assert whole.text[1] == "x😀y"
    lone = chat(sse('{"choices":[{"delta":{"content":"a\\ude00b\\ud83d"}}]}', STOP))
    assert lone.text[1] == "a\ufffdb\ufffd"
    lone.text[1].encode()
    field = chat(
        sse('{"choices":[{"delta":{"reasoning":"\\ud83d"}}]}', '{"choices":[{"delta":{"reasoning":"\\ude00"}}]}', STOP)
    )
    assert field.text[0] == "😀"


def test_invalid_utf8_is_replaced_and_flagged() -> None:
    data = sse(answer("aXb"), STOP).replace(b"X", b"\xff")
    got = chat(data)
    assert (got.text[1], got.status, list(got.fold.flags)) == ("a\ufffdb", "ok", ["invalid_utf8"])


def test_control_and_bidi_characters_are_kept() -> None:
    text = "\0\x1b[31m\u202eabc\u200b\u0085\u2028"
    assert chat(sse(answer(text), STOP)).text[1] == text


def test_text_limits_end_the_stream_as_length() -> None:
    many = [sse(answer("x" * 100), done=False)] * 50
    got = run_body(ChatBody(TARGET, texts=Texts(most_answer=1000)), many)
    assert (got.status, got.fold.flags) == ("length", {"text_limit": "answer"})
    assert 1000 < len(got.text[1]) <= 1100
    many = [sse(thought("x" * 100), done=False)] * 50
    got = run_body(ChatBody(TARGET, texts=Texts(most_reasoning=1000)), many)
    assert (got.status, got.fold.flags) == ("length", {"text_limit": "reasoning"})


def test_reading_stops_at_a_line_that_never_ends() -> None:
    got = run_body(ChatBody(TARGET), (b"data: " + b"x" * 1_000_000 for _ in range(64)))
    assert (got.kind, got.status) == ("too_large", "error")
    got = run_body(ChatBody(TARGET, "application/json"), (b"{" + b" " * 1_000_000 for _ in range(64)))
    assert got.kind == "too_large"
