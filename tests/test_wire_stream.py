"""Streams of real servers, end to end: the bytes, the real client, the engine, the row in SQLite.

Kinds, and the rule of each:
- *Event framing.* The chunks are there, but not separated as the format requires. Every chunk is read, in order and
  as it arrives; the flag ``unseparated_events`` is set.
- *Repeated text.* A server sends the text again: a ``message`` beside or after the deltas, or a last delta that is the
  whole answer. It is shown once; text that the repetition adds is shown, and a contradiction is flagged.
- *Late text.* A finish reason comes before the answer. While no answer text has come, it ends nothing: the stream is
  read to its end, to ``[DONE]``, or to the idle limit. The answer's own finish reason counts.
- *Other names.* Finish reasons and text under the names of other APIs mean the same.
- *Reasoning templates left in the content.* ``test_think_tags`` has the rules; here is one template per wire format.
- *Usage identities.* A total that exceeds prompt and completion shows that a part is counted separately. It is added if
  the reported part or the text explains the rest; otherwise nothing is added, and the row says so.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.events import Answer, Reasoning
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from tests.support.folding import ALONE, HELLO, STOP, answer, chat, chunk, cut, sse, thought
from tests.support.one_lane import Script, came, came_all
from tests.support.upstream import Upstream
from tests.support.wire import SSE, Stream, plain, stream_of, streamed

DONE = "data: [DONE]"
WORDS = ["Hello", " there", ",", " you", "."]
DELTAS = [answer(word) for word in WORDS]
WHOLE = "".join(WORDS)
PAYLOADS = [thought("Hm"), *DELTAS, STOP]


def lines(*payloads: str, prefix: str = "data: ", end: str = "\n") -> bytes:
    return "".join(f"{prefix}{payload}{end}" for payload in payloads).encode()


# -- event framing

FRAMINGS: dict[str, bytes] = {
    "single-newline": lines(*PAYLOADS) + f"{DONE}\n\n".encode(),
    "single-newline, never a blank line": lines(*PAYLOADS, "[DONE]"),
    "single CRLF": lines(*PAYLOADS, end="\r\n") + f"{DONE}\r\n\r\n".encode(),
    "single CR": lines(*PAYLOADS, end="\r") + f"{DONE}\r\r".encode(),
    "no blank after the colon": lines(*PAYLOADS, "[DONE]", prefix="data:"),
    "an event name each": lines(*PAYLOADS, "[DONE]", prefix="event: message\ndata: "),
    "an id each": lines(*PAYLOADS, "[DONE]", prefix="id: 7\ndata: "),
    "two by two": b"\n".join(lines(*PAYLOADS[i : i + 2]) for i in range(0, len(PAYLOADS), 2)) + b"\n" + DONE.encode(),
    "on one line, glued": "".join(f"data: {payload}" for payload in PAYLOADS).encode() + b"\n\ndata: [DONE]\n\n",
    "objects on one line": f"data: {' '.join(PAYLOADS)}\n\n{DONE}\n\n".encode(),
    "objects side by side": f"data: {''.join(PAYLOADS)}\n\n{DONE}\n\n".encode(),
    "prefix twice": lines(*PAYLOADS, prefix="data: data: ", end="\n\n") + f"{DONE}\n\n".encode(),
    "escaped line ends": "".join(f"data: {payload}\\n\\n\n\n" for payload in PAYLOADS).encode() + DONE.encode(),
    "no prefix": lines(*PAYLOADS, "[DONE]", prefix="", end="\n\n"),
    "no prefix, one line end": lines(*PAYLOADS, "[DONE]", prefix=""),
    "quoted end": lines(*PAYLOADS, '"[DONE]"'),
}


def test_odd_framing_loses_nothing(upstream: Upstream) -> None:
    for name, got in came_all(upstream, {name: [body] for name, body in FRAMINGS.items()}).items():
        assert (got.status, got.text) == ("ok", ("Hm", WHOLE)), (name, got.words)
        assert got.flags == {"unseparated_events"}, name
        assert "separate the events" in got.words, name


FORMATTED = json.dumps(json.loads(answer(WHOLE)), indent=1).replace("\n", "\ndata: ")


def test_proper_framing_is_not_called_odd(upstream: Upstream) -> None:
    bodies: dict[str, Script] = {
        "a document over many lines": [lines(thought("Hm"), FORMATTED, STOP, "[DONE]", end="\n\n")],
        "comments": [b": ping\n\n" + lines(*PAYLOADS, end="\n\n: ping\n\n")],
        "bom": [b"\xef\xbb\xbf" + lines(*PAYLOADS, end="\n\n\n\n")],
    }
    for name, got in came_all(upstream, bodies).items():
        assert (got.status, got.text, got.flags) == ("ok", ("Hm", WHOLE), set()), name


async def test_chunks_without_blank_lines_are_read_as_they_arrive(
    upstream: Upstream, closed_after: Callable[[Any], Any]
) -> None:
    n_read, has_read = 0, threading.Condition()

    def wait_for(n: int) -> bool:
        with has_read:
            return has_read.wait_for(lambda: n_read >= n, timeout=60)

    async def one_by_one() -> Stream:
        for n, payload in enumerate(PAYLOADS):
            is_read = await asyncio.to_thread(wait_for, n - 1)  # a line may be held back until the next one begins
            assert is_read, "the text before that is held back too"
            yield lines(payload)
        yield b"data: [DONE]\n\n"

    upstream.script("m", lambda request: stream_of(one_by_one(), SSE))
    lane = closed_after(OpenAICompatible(LaneSpec("a", "A", "openai", model="m", base_url=upstream.base_url)))
    told = []
    async for event in lane.stream(HELLO, ALONE):
        if isinstance(event, Reasoning | Answer):
            told.append(event.text)
            with has_read:
                n_read += 1
                has_read.notify()
    assert told == ["Hm", *WORDS]


def test_lines_of_json_with_another_content_type(upstream: Upstream) -> None:
    for content_type in ("application/x-ndjson", "application/json"):
        got = came(upstream, streamed([lines(*PAYLOADS, prefix="")], content_type=content_type))
        assert (got.status, got.text) == ("ok", ("Hm", WHOLE))


def test_an_error_among_unseparated_events_is_recognised(upstream: Upstream) -> None:
    for last in ('data: {"error": {"message": "boom"}}\n', 'event: error\ndata: {"message": "boom"}\n'):
        got = came(upstream, [lines(*PAYLOADS[:-1]) + last.encode()])
        assert (got.status, got.text) == ("error", ("Hm", WHOLE))
        assert "boom" in got.words


@given(
    ends=st.lists(
        st.sampled_from(["\n", "\r\n", "\n\n", "\r", "\n\n\n"]), min_size=len(PAYLOADS), max_size=len(PAYLOADS)
    ),
    places=st.lists(st.integers(0, 3000), max_size=9),
)
def test_any_framing_and_chunking_gives_the_same_result(ends: list[str], places: list[int]) -> None:
    body = "".join(f"data: {payload}{end}" for payload, end in zip(PAYLOADS, ends, strict=True)).encode()
    got = chat(*cut(body, places))
    assert (got.status, got.text) == ("ok", ("Hm", WHOLE))


# -- repeated text


def message(content: Any, finish: str | None = "stop", delta: Any = None, **more: Any) -> str:
    """A chunk with a message, and with a delta unless it is None."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **more}, "finish_reason": finish}
    return json.dumps({"id": "c", "choices": [choice if delta is None else {**choice, "delta": delta}]})


REPEATED: dict[str, tuple[list[str], tuple[str, str], str]] = {  # chunks → reasoning and answer, flag
    "full-message-empty-delta": ([*DELTAS, message(WHOLE, delta={})], ("", WHOLE), ""),
    "message without a delta": ([*DELTAS, message(WHOLE)], ("", WHOLE), ""),
    "message behind the stop": ([*DELTAS, STOP, message(WHOLE)], ("", WHOLE), ""),
    "with reasoning": (
        [thought("Hm"), *DELTAS, message(WHOLE, delta={}, reasoning_content="Hm")],
        ("Hm", WHOLE),
        "",
    ),
    "reasoning under another name": (
        [thought("Hm"), *DELTAS, message(WHOLE, delta={}, reasoning="Hm", reasoning_content=None)],
        ("Hm", WHOLE),
        "",
    ),
    "message as parts": ([*DELTAS, message([{"type": "text", "text": WHOLE}], delta={})], ("", WHOLE), ""),
    "message of a template": (
        [answer("<think>Hm</think>"), *DELTAS, message(WHOLE, delta={})],
        ("Hm", WHOLE),
        "",
    ),
    "message adds the end": ([*DELTAS[:2], message(WHOLE, delta={})], ("", WHOLE), ""),
    "message alone": ([message(WHOLE, delta={})], ("", WHOLE), ""),
    "so far in each chunk": ([message(WHOLE[:n], None) for n in (3, 9, 15)] + [message(WHOLE)], ("", WHOLE), ""),
    "so far beside each delta": (
        [
            message("".join(WORDS[: n + 1]), "stop" if n == 4 else None, delta={"content": word})
            for n, word in enumerate(WORDS)
        ],
        ("", WHOLE),
        "",
    ),
    "last delta is the whole": ([*DELTAS, chunk({"content": WHOLE * 3}, "stop")], ("", WHOLE * 4), ""),
    "last delta is the answer": ([*DELTAS, chunk({"content": WHOLE}, "stop")], ("", WHOLE), "repeated_answer"),
    "an echo meant so": ([answer("ha"), chunk({"content": "ha"}, "stop")], ("", "haha"), ""),
    "message says otherwise": ([*DELTAS, message("Good bye to you.", delta={})], ("", WHOLE), "message_differs"),
}


def test_text_sent_twice_is_shown_once(upstream: Upstream) -> None:
    for name, got in came_all(upstream, {name: [sse(*case[0])] for name, case in REPEATED.items()}).items():
        _, text, flag = REPEATED[name]
        assert (got.status, got.text) == ("ok", text), (name, got.words)
        assert got.flags == ({flag} if flag else set()), name
        assert bool(got.words) == bool(flag), "a flag has words"


# -- late text


def stopped_thought(text: str) -> str:
    return chunk({"reasoning_content": text}, "stop")


LATE: dict[str, Script] = {
    "early-stop": [sse(stopped_thought("H"), stopped_thought("m"), done=False), 4.0, sse(*DELTAS, STOP)],
    "stop in an empty chunk": [sse(thought("Hm"), STOP, done=False), 0.4, sse(*DELTAS, STOP)],
    "no stop of its own": [sse(stopped_thought("Hm"), done=False), 0.4, sse(*DELTAS)],
    "usage in between": [
        sse(stopped_thought("Hm"), chunk(None, usage={"completion_tokens": 9}), done=False),
        0.4,
        sse(*DELTAS, STOP),
    ],
    "tag in the content": [
        sse(chunk({"content": "<think>Hm"}, "stop"), done=False),
        0.4,
        sse(answer("</think>"), *DELTAS, STOP),
    ],
    "blank text first": [
        sse(stopped_thought("Hm"), chunk({"content": ""}, "stop"), done=False),
        0.4,
        sse(*DELTAS, STOP),
    ],
}


@pytest.mark.slow
def test_a_finish_reason_before_the_answer_does_not_end_the_stream(upstream: Upstream) -> None:
    for name, got in came_all(upstream, LATE).items():
        assert (got.status, got.text) == ("ok", ("Hm", WHOLE)), (name, got.words)
        assert got.flags == {"text_after_finish"}, name
        assert "after the server had said" in got.words, name


def test_the_answers_own_finish_reason_counts(upstream: Upstream) -> None:
    ends: dict[str, Script] = {
        "length": [sse(stopped_thought("Hm"), *DELTAS, chunk({}, "length"))],
        "none": [sse(stopped_thought("Hm"), *DELTAS, done=False)],
        "no answer": [sse(stopped_thought("Hm"))],
    }
    got = came_all(upstream, ends)
    assert (got["length"].status, got["length"].fold.finish_reason) == ("length", "length")
    assert got["none"].status == "incomplete", "the stop was not this text's"
    assert (got["no answer"].status, got["no answer"].fold.can_promote) == ("no_answer", True)


# -- other names


FINISHES: list[tuple[dict[str, Any], str]] = [
    ({"finishReason": "stop"}, "ok"),  # camel-finish
    ({"finish_reason": "STOP"}, "ok"),
    ({"finish_reason": "eos_token"}, "ok"),
    ({"finish_reason": None, "finishReason": "end_turn"}, "ok"),
    ({"finish_reason": "", "done_reason": "stop"}, "ok"),
    ({"finishReason": "MAX_TOKENS"}, "length"),
    ({"finish_reason": "model_length"}, "length"),
    ({"finishReason": "SAFETY"}, "error"),
    ({"finish_reason": "sensitive"}, "error"),
]


def test_finish_reasons_of_other_apis(upstream: Upstream) -> None:
    scripts: dict[str, Script] = {
        str(choice): [sse(*DELTAS, json.dumps({"choices": [{"index": 0, "delta": {}, **choice}]}))]
        for choice, _ in FINISHES
    }
    for (name, got), (_, status) in zip(came_all(upstream, scripts).items(), FINISHES, strict=True):
        assert (got.status, got.text[1]) == (status, WHOLE), name
        assert got.kind == ("content_filter" if status == "error" else ""), name


def test_text_of_a_plain_completion(upstream: Upstream) -> None:
    got = came(upstream, [sse(*(json.dumps({"choices": [{"index": 0, "text": word}]}) for word in WORDS), STOP)])
    assert (got.status, got.text) == ("ok", ("", WHOLE))


# -- templates left in the content

HARMONY = "<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B"
TEMPLATES = {
    "harmony": HARMONY,
    "gemma-channel": "<|channel>thought\nA\n<channel|>B",
    "thought-tag": "<thought>A</thought>B",
    "think-brackets": "[THINK]A[/THINK]B",
    "seed": "<seed:think>A</seed:think>B",
    "command-a": "<|START_THINKING|>A<|END_THINKING|><|START_RESPONSE|>B<|END_RESPONSE|>",
    "apertus": "<|inner_prefix|>A<|inner_suffix|>B",
    "openthinker": "<|begin_of_thought|>A<|end_of_thought|><|begin_of_solution|>B<|end_of_solution|>",
    "harmony, ended": f"{HARMONY}<|return|>",
    "gemma, ended": "<|channel>thought\nA<channel|>B<turn|>",
    "bare harmony": "analysisWe A.assistantfinalB",
}


def in_pieces(text: str, size: int) -> Script:
    return [sse(*(answer(text[i : i + size]) for i in range(0, len(text), size)), STOP)]


def test_a_reasoning_template_in_the_content_is_split(upstream: Upstream) -> None:
    scripts = {f"{name} by {size}": in_pieces(text, size) for name, text in TEMPLATES.items() for size in (1, 3, 999)}
    for name, got in came_all(upstream, scripts).items():
        reasoning, written = got.text
        plain_reasoning = reasoning.strip().removeprefix("We ").removesuffix(".")
        assert (got.status, plain_reasoning, written) == ("ok", "A", "B"), name


MENTIONS = (
    "Mistral writes `[THINK]A[/THINK]B`.",
    "The tag [/THINK] ends it.",
    "[THINK] and [/THINK] are its tags.",
    "```\n<thought>A</thought>B\n```",
    "Say <thought>A</thought> if you must.",
    "It writes <|channel|>final<|message|> then.",
    "    s.split('</think>')",
    "Use the <channel|> token.",
)


def test_a_text_that_mentions_a_marker_stays(upstream: Upstream) -> None:
    scripts = {f"{size}: {text}": in_pieces(text, size) for text in MENTIONS for size in (3, 999)}
    for name, got in came_all(upstream, scripts).items():
        assert (got.status, got.text, got.flags) == ("ok", ("", name.partition(": ")[2]), set()), name


# -- usage identities

PRICE = Price(input=1.0, output=4.0, as_of="2026-07-01")


APART = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}
ALL = {"prompt_tokens": 20, "completion_tokens": 603, "total_tokens": 623}
DETAILS = {"completion_tokens_details": {"reasoning_tokens": 405}}
IDENTITIES: dict[str, tuple[int, dict[str, Any], int, int, str]] = {  # reasoning shown, usage → output, reasoning, note
    "n-total-only": (405, APART, 603, 405, "603"),
    "the reported part explains it": (405, APART | DETAILS, 603, 405, "603"),
    "counted, not shown (xAI)": (0, APART | DETAILS, 603, 405, "603"),
    "reported beside": (405, APART | {"reasoning_tokens": 405}, 603, 405, "603"),
    "a zero is not a count": (405, APART | {"reasoning_tokens": 0}, 603, 405, "603"),
    "included": (405, ALL, 603, 405, ""),
    "included and reported": (405, ALL | DETAILS, 603, 405, ""),
    "nothing explains it (Gemini)": (0, APART, 198, 0, "405"),
    "the text is far too short": (9, APART, 198, 9, "405"),
    "off by one": (0, APART | {"total_tokens": 219}, 198, 0, ""),
    "names of another API": (405, {"input_tokens": 20, "output_tokens": 603, "total_tokens": 623}, 603, 405, ""),
}


def test_reasoning_tokens_missing_from_the_output_are_added(upstream: Upstream) -> None:
    scripts: dict[str, Script] = {
        name: [sse(*[thought("word ")] * n, *[answer("word ")] * 198, STOP, chunk(None, usage=usage))]
        for name, (n, usage, *_) in IDENTITIES.items()
    }
    for name, got in came_all(upstream, scripts, price=PRICE).items():
        _, _, output, reasoning, note = IDENTITIES[name]
        row = got.rows[-1]
        assert (row["output_tokens"], row["reasoning_tokens"]) == (output, reasoning), name
        assert row["token_source"] == "usage", name
        assert "usage" not in (row["suspect_reason"] or ""), name
        assert row["cost_usd"] == pytest.approx((20 * 1 + output * 4) / 1e6), name
        assert note in got.words, (name, got.words)
        assert bool(note) == bool(got.words), (name, got.words)


@pytest.mark.parametrize(
    ("usage", "input_tokens", "cached"),
    [
        ({"prompt_tokens": 20, "cache_read_input_tokens": 2000, "total_tokens": 2218}, 2020, 2000),
        ({"prompt_tokens": 2020, "prompt_tokens_details": {"cached_tokens": 2000}, "total_tokens": 2218}, 2020, 2000),
        ({"prompt_tokens": 20, "prompt_cache_hit_tokens": 12, "total_tokens": 218}, 20, 12),
    ],
)
def test_cached_tokens_missing_from_the_input_are_added(usage: dict[str, Any], input_tokens: int, cached: int) -> None:
    got = chat(sse(*[answer("word ")] * 198, STOP, chunk(None, usage=usage | {"completion_tokens": 198})))
    assert (got.fold.usage.input_tokens, got.fold.usage.cached_input_tokens) == (input_tokens, cached)
    assert list(got.fold.flags) == (["cached_apart"] if usage["prompt_tokens"] != input_tokens else [])


@given(
    prompt=st.integers(1, 5000),
    completion=st.integers(1, 5000),
    rest=st.integers(0, 5000),
    n_reasoning=st.integers(0, 50),
    n_answer=st.integers(1, 50),
)
def test_no_tokens_are_added_beyond_the_total(
    prompt: int, completion: int, rest: int, n_reasoning: int, n_answer: int
) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion + rest}
    got = chat(sse(*[thought("word ")] * n_reasoning, *[answer("word ")] * n_answer, STOP, chunk(None, usage=usage)))
    output = got.fold.usage.output_tokens
    assert output in (completion, completion + rest)
    assert (output != completion) == ("reasoning_apart" in got.fold.flags)


def test_a_whole_completion_with_a_failure_inside(upstream: Upstream) -> None:
    body = {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    got = came(upstream, plain(200, body))
    assert (got.kind, len(got.requests)) == ("billing", 1)
