"""Faults before and around the stream: refusals, wrong bodies, broken connections and framing."""

from __future__ import annotations

from kimi_ui.core.lane import Limits

from .telling import (
    END,
    FOREVER,
    GOOD,
    GOOD_TEXT,
    HALF,
    NDJSON_BODY,
    PLAN,
    SSE_BODY,
    USAGE,
    Fault,
    bomb,
    by_dialect,
    compressed,
    dead_when_reused,
    error,
    framed,
    measured,
    refuse,
    tell,
    unless,
)
from .wire import SSE, Reset, head, limit_data, plain, raw, reset_peer, streamed, toxic

NO_FIRST = Limits(1.5, 30, 60)
HTML = "<!DOCTYPE html><html><head><title>Log in</title></head><body><h1>Welcome</h1></body></html>"
MESSAGE = {"role": "assistant", "reasoning_content": "plan", "content": "so far"}
WHOLE = {"model": "m", "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}], "usage": USAGE}
NO_OPTION = error("Unknown parameter: 'stream_options'.")
NO_FIELD = {"detail": [{"loc": ["body", "stream_options"], "msg": "extra fields not permitted"}]}
CONTEXT = error("This model's maximum context length is 8192 tokens", code="context_length_exceeded")
BILL = {"detail": "Subscription usage cap exceeded. Please add balance to continue."}
CONTINUE, HINTS = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
MIDWAY = tell(PLAN, HALF, 0.03, *END)  # the connection is cut after some 400 bytes


def old_http(body: bytes, kind: str) -> bytes:
    return f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + body


HTTP_FAULTS: tuple[Fault, ...] = (
    Fault(4, "no-headers", raw(FOREVER), "timeout:timeout_first_token", limits=NO_FIRST),
    Fault(
        5,
        "headers-only",
        raw(head(200, SSE, "Transfer-Encoding: chunked"), FOREVER),
        "timeout:timeout_first_token",
        limits=NO_FIRST,
    ),
    Fault(6, "reset-at-once", raw(then=Reset), "error:network"),
    Fault(6, "reset-midway", toxic(MIDWAY, reset_peer(420)), "incomplete:network", reasoning="plan"),
    Fault(7, "status-401", refuse(401, error("Incorrect API key provided")), "error:auth"),
    Fault(7, "status-403", refuse(403, error("forbidden")), "error:auth"),
    Fault(8, "status-402", refuse(402, BILL), "error:billing"),
    Fault(
        9,
        "model-missing",
        refuse(404, {"detail": "model not found: m"}, ollama={"error": "model 'm' not found"}),
        "error:model_missing",
    ),
    Fault(9, "wrong-path", refuse(404, "404 page not found", content_type="text/plain"), "error:bad_url"),
    Fault(
        10,
        "option-refused",
        unless("stream_options", refuse(400, NO_OPTION), tell(*GOOD)),
        "ok",
        None,
        flag="dropped_option",
        **GOOD_TEXT,
    ),
    Fault(
        10,
        "field-refused",
        unless("stream_options", refuse(422, NO_FIELD), tell(*GOOD)),
        "ok",
        None,
        flag="dropped_option",
        **GOOD_TEXT,
    ),
    Fault(
        10,
        "max-tokens-refused",
        unless("max_tokens", refuse(400, error("Use 'max_completion_tokens' instead.")), tell(*GOOD)),
        "ok",
        None,
        flag="dropped_option",
        params={"max_tokens": 9},
        **GOOD_TEXT,
    ),
    Fault(10, "bad-request", refuse(400, error("bad top_q"), ollama={"error": "bad top_q"}), "error:bad_request"),
    Fault(
        10,
        "think-refused",
        unless("think", refuse(400, {"error": '"m" does not support thinking'}), tell(*GOOD)),
        None,
        "ok",
        flag="think_unsupported",
        **GOOD_TEXT,
    ),
    Fault(
        11,
        "context-length",
        refuse(400, CONTEXT, ollama={"error": "the input length exceeds the context length"}),
        "error:context",
    ),
    Fault(12, "status-408", refuse(408, error("timed out")), "error:upstream"),
    Fault(12, "status-409", refuse(409, error("conflict")), "error:upstream"),
    Fault(12, "status-413", refuse(413, error("too large")), "error:too_large"),
    Fault(13, "rate-limit", refuse(429, error("slow down"), "Retry-After: 7"), "error:rate_limit"),
    Fault(
        13,
        "rate-limit-date",
        refuse(429, error("slow down"), "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT"),
        "error:rate_limit",
    ),
    Fault(13, "rate-limit-absurd", refuse(429, error("slow down"), "Retry-After: soon"), "error:rate_limit"),
    Fault(14, "quota", refuse(429, error("over quota", code="insufficient_quota")), "error:billing"),
    Fault(15, "status-500", refuse(500, error("oops"), ollama={"error": "oops"}), "error:upstream"),
    Fault(15, "status-500-empty", refuse(500), "error:upstream"),
    Fault(15, "status-502-html", refuse(502, HTML, content_type="text/html"), "error:upstream"),
    Fault(
        15,
        "status-503",
        refuse(503, {"detail": "No instances available (yet)"}, ollama={"error": "server busy, please try again."}),
        "error:capacity",
    ),
    Fault(15, "status-504", refuse(504), "error:upstream"),
    Fault(15, "status-529", refuse(529, error("overloaded")), "error:capacity"),
    Fault(15, "status-500-5mb", refuse(500, b"x" * 5_000_000, content_type="text/plain"), "error:upstream"),
    Fault(16, "web-page", refuse(200, HTML, content_type="text/html"), "error:not_a_stream"),
    Fault(16, "web-page-as-stream", streamed([HTML.encode()]), "error:not_a_stream"),
    Fault(17, "not-streamed", plain(200, WHOLE), "ok", None, flag="non_streaming", **GOOD_TEXT),
    Fault(18, "error-with-200", plain(200, error("no such luck")), "error:upstream"),
    Fault(18, "error-text-with-200", plain(200, {"error": "no such luck"}), "error:upstream"),
    Fault(19, "status-204", raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "error:empty"),
    Fault(19, "empty-body", plain(200, b"", content_type=SSE), "error:empty"),
    Fault(22, "drop-midway", toxic(MIDWAY, limit_data(420)), "incomplete:network", reasoning="plan"),
    Fault(
        46,
        "gzip",
        by_dialect(compressed(SSE_BODY), compressed(NDJSON_BODY)),
        "ok",
        answer="so far",
    ),
    Fault(
        46,
        "gzip-cut",
        by_dialect(compressed(SSE_BODY[:150], cut=9), compressed(NDJSON_BODY[:90], cut=9)),
        "incomplete:network",
    ),
    Fault(46, "gzip-bomb", bomb(90_000_000), "error:too_large", heavy=True),
    Fault(46, "brotli", compressed(SSE_BODY, coding="br"), "error:protocol"),
    *(
        Fault(47, f"redirect-{code}", refuse(code, b"", "Location: /elsewhere"), "error:redirect")
        for code in (301, 302)
    ),
    *(
        Fault(47, f"redirect-{code}", refuse(code, b"", "Location: file:///etc"), "error:redirect")
        for code in (307, 308)
    ),
    Fault(48, "idle-connection-closed", dead_when_reused(tell(*GOOD)), "ok", **GOOD_TEXT),
    Fault(49, "http-1.0", framed(old_http), "ok", answer="so far"),
    Fault(49, "http-1.0-cut", framed(lambda body, kind: old_http(body[:150], kind)), "incomplete:network"),
    Fault(49, "length-too-long", framed(lambda body, kind: measured(body[:150], kind, 900)), "incomplete:network"),
    Fault(49, "length-too-short", framed(lambda body, kind: measured(body, kind, 150)), "incomplete:network"),
    Fault(50, "100-continue", framed(lambda body, kind: CONTINUE + measured(body, kind)), "ok", answer="so far"),
    Fault(50, "103-early-hints", framed(lambda body, kind: HINTS + measured(body, kind)), "ok", answer="so far"),
    Fault(50, "headers-1mb", raw(head(200, SSE, "X-Filler: " + "x" * 1_000_000)), "error:too_large"),
    Fault(50, "headers-10k", raw(head(200, SSE, *(f"X-{n}: {n}" for n in range(10_000)))), "error:too_large"),
    Fault(50, "not-http", raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "error:protocol"),
    Fault(
        55,
        "runner-died",
        refuse(500, error("llama runner process has terminated: signal: killed")),
        "error:backend_died",
    ),
)
