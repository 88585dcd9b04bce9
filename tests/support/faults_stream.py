"""Faults inside the stream: silence, missing ends, odd shapes, hostile text, impossible numbers."""

from __future__ import annotations

from typing import Any

from kimi_ui.core.lane import Limits

from .telling import (
    DONE,
    END,
    FINISH,
    FOREVER,
    GOOD,
    GOOD_TEXT,
    HALF,
    NDJSON_BODY,
    PLAN,
    SSE_BODY,
    TALLY,
    A,
    D,
    Fault,
    R,
    alike,
    bodies,
    by_dialect,
    delta,
    endless,
    error,
    escaped,
    finish,
    line,
    tell,
)
from .wire import slicer, slow_close, stall, streamed, toxic

IDLE = Limits(30, 1.5, 60)
TOTAL = Limits(30, 30, 2)
NO_FIRST = Limits(1.5, 30, 60)
MIB = 1 << 20
LONG = "word " * 20_000  # 100 kB a delta
WORDS = A("word " * 200)
TOOLS = {"tool_calls": [{"function": {"name": "f"}}]}
BOTH_FIELDS = {"reasoning": "plan", "reasoning_content": "plan"}
DETAILS = {"reasoning_details": [{"type": "reasoning.text", "text": "plan"}], "content": ""}
CONTROL = "\0\x1b[31m\u202eabc\u200b\u0085\u2028"
KILLED = {"error": "llama runner process has terminated: signal: killed"}
ODD_CHOICES: tuple[Any, ...] = (None, [], {}, [None], 7)
ODD = (
    *(D({"choices": odd}, {"message": odd}) for odd in ODD_CHOICES),
    D({"id": "x"}, {}),
    D(delta(None), line({"content": None})),
    D(delta({"content": 7, "reasoning_content": []}), line({"content": 7, "thinking": []})),
    D({"choices": [{"index": 1, "delta": {"content": "other"}}]}),
)
INVALID = D(delta({"content": "aXb"}).replace(b"X", b"\xff"), line({"content": "aXb"}).replace(b"X", b"\xff"))
ABSURD = (
    finish(eval_count=-3, prompt_eval_count=10**12),
    D({"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": 10**12}}),
    DONE,
)
RUNNING_COUNT = tuple(
    D(delta({"content": "word "}, usage={"completion_tokens": n}), line({"content": "word "})) for n in range(1, 21)
)
FEW = D(delta({}, "stop", usage={"completion_tokens": 4}), line(done=True, done_reason="stop", eval_count=4))

STREAM_FAULTS: tuple[Fault, ...] = (
    Fault(20, "pause", tell(PLAN, 0.15, HALF, *END), "ok", **GOOD_TEXT),
    Fault(
        20,
        "stall",
        toxic(tell(PLAN, HALF, 0.01, *END), stall(420)),
        "timeout:timeout_idle",
        limits=IDLE,
        reasoning="plan",
    ),
    Fault(21, "trickle", toxic(tell(*GOOD), slicer(7, 0.0005)), "ok", **GOOD_TEXT),
    Fault(21, "drip", tell(*(A("x"), 0.1) * 100), "timeout:timeout_total", limits=TOTAL),
    Fault(23, "no-end", tell(PLAN, HALF), "incomplete:network", **GOOD_TEXT),
    Fault(23, "no-end-no-text", tell(D(delta({"role": "assistant"}), line())), "error:network"),
    Fault(24, "no-done", tell(PLAN, HALF, FINISH, TALLY), "ok", **GOOD_TEXT),
    Fault(24, "held-open", tell(PLAN, HALF, FINISH, TALLY, FOREVER), "ok", **GOOD_TEXT),
    Fault(24, "held-open-no-usage", tell(PLAN, HALF, finish(), FOREVER), "ok", **GOOD_TEXT),
    Fault(25, "no-finish", tell(PLAN, HALF, DONE, D(None, line(done=True))), "incomplete:network", **GOOD_TEXT),
    Fault(
        26,
        "finish-twice",
        tell(HALF, FINISH, A(" and"), finish("length"), DONE),
        "ok",
        flag="text_after_finish",
        answer="so far and",
    ),
    Fault(
        26,
        "after-done",
        toxic(tell(*GOOD, A(".")), slow_close(FOREVER)),
        "ok",
        flag="text_after_finish",
        answer="so far.",
    ),
    Fault(
        27,
        "bad-json",
        tell(PLAN, D(b"data: {broken\n\n", b"{broken\n"), alike([1]), *GOOD[1:]),
        "ok",
        flag="skipped_pieces",
        **GOOD_TEXT,
    ),
    Fault(27, "two-objects", tell(D(b"data: {} {}\n\n", b"{} {}\n"), *GOOD), "ok", flag="skipped_pieces", **GOOD_TEXT),
    Fault(27, "too-much-bad-json", tell(HALF, *([alike(7)] * 9), *END), "error:protocol", answer="so far"),
    Fault(28, "blank-lines", tell(b"\n\n\n", PLAN, b"\n\n", HALF, b"\n", *END), "ok", **GOOD_TEXT),
    Fault(28, "crlf", bodies(lambda body: body.replace(b"\n", b"\r\n")), "ok", answer="so far"),
    Fault(
        28,
        "no-last-line-end",
        bodies(lambda body: body.removesuffix(b"data: [DONE]\n\n").rstrip()),
        "ok",
        answer="so far",
    ),
    Fault(29, "error-object", tell(PLAN, HALF, alike(error("boom"))), "error:upstream", **GOOD_TEXT),
    Fault(29, "error-text", tell(PLAN, HALF, alike({"error": "boom"})), "error:upstream", **GOOD_TEXT),
    Fault(
        29,
        "error-event",
        tell(HALF, D(b'event: error\ndata: {"message": "boom"}\n\n')),
        "error:upstream",
        None,
        answer="so far",
    ),
    Fault(
        29,
        "error-with-choices",
        tell(PLAN, HALF, D(delta({"content": ""}, "error", **error("boom")))),
        "error:upstream",
        None,
        **GOOD_TEXT,
    ),
    Fault(29, "error-finish", tell(PLAN, HALF, finish("error"), DONE), "error:upstream", **GOOD_TEXT),
    Fault(
        29,
        "error-raw-line",
        tell(HALF, D(b'{"error": "Unhandled exception"}')),
        "error:upstream",
        None,
        answer="so far",
    ),
    Fault(30, "odd-shapes", tell(*ODD, *GOOD), "ok", **GOOD_TEXT),
    Fault(
        31,
        "field-reasoning",
        tell(D({"choices": [{"delta": {"reasoning": "plan"}}]}), *GOOD[1:]),
        "ok",
        None,
        **GOOD_TEXT,
    ),
    Fault(31, "field-details", tell(D(delta(DETAILS)), *GOOD[1:]), "ok", None, **GOOD_TEXT),
    Fault(31, "tags-split", tell(A("<thi"), A("nk>plan</th"), A("ink>\n\nso far"), *END), "ok", **GOOD_TEXT),
    Fault(31, "tags-no-opening", tell(A("plan</th"), A("ink>\n\nso far"), *END), "ok", **GOOD_TEXT),
    Fault(31, "tags-unclosed", tell(A("<think>plan"), *END), "no_answer", reasoning="plan", flag="unclosed_think"),
    Fault(31, "tags-nested", tell(A("<think>pl<think>a</think>n</think>so far"), *END), "ok", **GOOD_TEXT),
    Fault(31, "tags-in-code", tell(PLAN, A("so `<think>`"), *END), "ok", answer="so `<think>`"),
    Fault(32, "late-reasoning", tell(HALF, PLAN, *END), "ok", flag="late_reasoning", **GOOD_TEXT),
    Fault(32, "reasoning-in-two-fields", tell(D(delta(BOTH_FIELDS)), *GOOD[1:]), "ok", None, **GOOD_TEXT),
    Fault(33, "endless-reasoning", endless(R(LONG)), "length", flag="text_limit", heavy=True),
    Fault(34, "endless-answer", endless(A(LONG)), "length", flag="text_limit", heavy=True),
    Fault(35, "line-1mb", tell(A("x" * MIB), *END), "ok", answer="x" * MIB, heavy=True, flag=""),
    Fault(35, "line-64mb", streamed([b"data: ", *[b"x" * MIB] * 64]), "error:too_large", heavy=True),
    Fault(35, "line-endless", endless(b"x" * MIB), "error:too_large", heavy=True),
    Fault(36, "utf8-split", toxic(tell(A("é𝄞你"), *END), slicer(1)), "ok", answer="é𝄞你"),
    Fault(36, "surrogates-split", tell(escaped("\\ud83d"), escaped("\\ude00"), *END), "ok", answer="😀"),
    Fault(36, "surrogate-alone", tell(escaped("a\\ud83d"), *END), "ok", answer="a\ufffd"),
    Fault(37, "invalid-utf8", tell(INVALID, *END), "ok", answer="a\ufffdb", flag="invalid_utf8"),
    Fault(38, "control-characters", tell(A(CONTROL), *END), "ok", answer=CONTROL),
    Fault(39, "bom", tell(b"\xef\xbb\xbf", *GOOD), "ok", **GOOD_TEXT),
    Fault(39, "cr-only", streamed([SSE_BODY.replace(b"\n", b"\r")]), "ok", None, answer="so far"),
    Fault(39, "crlf-split", toxic(bodies(lambda body: body.replace(b"\n", b"\r\n")), slicer(1)), "ok", answer="so far"),
    Fault(
        39,
        "fields",
        streamed([b": hi\nid: 1\nretry: 10\nevent: message\ndata:" + SSE_BODY[6:]]),
        "ok",
        None,
        answer="so far",
    ),
    Fault(
        39,
        "data-of-many-lines",
        tell(D(b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"so far"}}]}\n\n'), *END),
        "ok",
        None,
        answer="so far",
    ),
    Fault(
        40,
        "comments-only",
        tell(*(b": keep-alive\n\n", 0.02) * 200),
        "timeout:timeout_first_token",
        None,
        limits=NO_FIRST,
    ),
    Fault(40, "blank-lines-only", tell(*(b"\n", 0.02) * 200), "timeout:timeout_first_token", limits=NO_FIRST),
    Fault(41, "empty-answer", tell(*END), "no_answer"),
    Fault(41, "blank-answer", tell(A(" \n"), *END), "no_answer"),
    Fault(42, "usage-missing", tell(PLAN, HALF, finish(), DONE), "ok", **GOOD_TEXT),
    Fault(42, "usage-absurd", tell(PLAN, HALF, *ABSURD), "ok", flag="usage_suspect", **GOOD_TEXT),
    Fault(42, "usage-everywhere", tell(*RUNNING_COUNT, finish(), DONE), "ok", answer="word " * 20),
    Fault(42, "usage-ten-times-off", tell(WORDS, FEW, DONE), "ok", flag="usage_suspect"),
    Fault(43, "eval-zero", tell(PLAN, HALF, finish(eval_count=6, eval_duration=0)), None, "ok", **GOOD_TEXT),
    Fault(43, "eval-in-ms", tell(WORDS, finish(eval_count=200, eval_duration=4000)), None, "ok", flag="usage_suspect"),
    Fault(44, "burst", by_dialect(streamed([SSE_BODY]), streamed([NDJSON_BODY])), "ok", answer="so far"),
    Fault(55, "runner-died-midway", tell(PLAN, HALF, alike(KILLED)), "error:backend_died", **GOOD_TEXT),
    Fault(57, "tools", tell(D(delta(TOOLS), line(TOOLS)), *GOOD), "ok", flag="tool_calls", **GOOD_TEXT),
    Fault(57, "refusal", tell(D(delta({"refusal": "I cannot"})), *GOOD), "ok", None, flag="refusal", **GOOD_TEXT),
    Fault(0, "good", tell(*GOOD), "ok", **GOOD_TEXT),
)
