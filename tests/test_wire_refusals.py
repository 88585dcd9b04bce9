"""Refusals of real servers, end to end: the bytes, the real client, the engine, the sentence for the user.

Kinds, and the rule of each:
- *Refusals in nested envelopes.* The message is found wherever it is: in ``error``, ``detail``, ``message``, ``errors``
  or ``base_resp``, one inside another, as a list, or as JSON in a string. An option that can be left out is left out
  and the request sent again, once for each option, with a note; any other option is named.
- *Errors whose text contains the remedy.* A row of ``error_rules`` matches them and repeats the number, field or range.
- *Servers that are still loading.* The same request is sent again, with a phase, until the limit.
"""

from __future__ import annotations

from typing import Any

import pytest

from kimi_ui.providers.error_rules import RULES
from kimi_ui.providers.ollama.error_rules import OLLAMA_RULES
from tests.support.one_lane import Script, came, came_all
from tests.support.telling import END, A, R, tell, unless
from tests.support.upstream import Upstream
from tests.support.wire import Stream, plain

GOOD = tell(R("plan"), A("yes"), *END)
FORBIDDEN = {"type": "extra_forbidden", "loc": ["body", "stream_options", "include_usage"], "msg": "Extra inputs"}
NESTED: dict[str, Any] = {
    "nested-refusal": {"object": "error", "message": {"detail": [FORBIDDEN]}},
    "in an error": {"error": {"message": {"detail": [FORBIDDEN]}}},
    "twice an error": {"error": {"error": {"message": "Unrecognized request argument supplied: stream_options"}}},
    "as a string": {"error": {"message": '{"detail": [{"loc": ["body", "stream_options"], "msg": "no"}]}'}},
    "a list": [{"error": {"code": 400, "message": 'Unknown name "stream_options"'}}],
    "errors": {"errors": [{"message": "stream_options is not allowed"}]},
    "param": {"error": {"message": "not supported", "param": "stream_options"}},
    "upstream's": {"error": {"message": "Provider returned error", "metadata": {"raw": '{"detail":"stream_options"}'}}},
}


def test_a_refused_option_is_left_out_whatever_the_envelope(upstream: Upstream) -> None:
    scripts: dict[str, Script] = {
        name: unless("stream_options", plain(422, body), GOOD) for name, body in NESTED.items()
    }
    for name, got in came_all(upstream, scripts, turns=2).items():
        assert (got.status, got.text) == ("ok", ("plan", "yes")), (name, got.words)
        assert len(got.requests) == 3, (name, "refused once, then remembered")
        assert "refused the option stream_options" in got.words, name


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}


NO_FIELD = {"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}
SHORT = {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
TOO_LARGE = (
    "'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is 32768 tokens "
    "and your request has 20 input tokens (64000 > 32768 - 20)."
)
TOO_MANY = (
    "max_tokens=64000 cannot be greater than max_model_len=max_total_tokens=2048. Please request fewer output tokens. "
    "(parameter=max_tokens, value=64000)"
)
AFFORD = "This request requires fewer max_tokens. You requested up to 64000 tokens, but can only afford 2666."
TOO_HOT = "temperature must be in [0, 2], got 5.0. (parameter=temperature, value=5.0)"
REFUSALS: dict[str, tuple[int, Any, str, str]] = {  # status, body → kind, words of the message; each after one request
    "nested-refusal-named": (
        422,
        {"object": "error", "message": {"detail": [NO_FIELD]}},
        "bad_request",
        "`max_completion_tokens`",
    ),
    "policy-available": (
        404,
        error("No endpoints available matching your guardrail restrictions and data policy."),
        "bad_request",
        "privacy settings",
    ),
    "policy-found": (404, error("No endpoints found matching your data policy (Free)."), "bad_request", "privacy"),
    "daily-quota": (429, error("Rate limit exceeded: free-models-per-day. Add 10 credits"), "billing", "free requests"),
    "tokens per day": (429, error("Rate limit reached on tokens per day (TPD): Limit 500000"), "billing", "tomorrow"),
    "afford-fewer": (402, error(AFFORD), "billing", "`max_tokens` in the lane's params to 2666"),
    "base-resp": (200, SHORT, "billing", "insufficient balance"),
    "base-resp, key": (200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "auth", "login fail"),
    "too-large-both-names": (400, error(TOO_LARGE), "context", "32,768"),
    "vllm-max-tokens": (400, error(TOO_MANY), "context", "below 2,048 minus"),
    "vllm-range": (
        400,
        error(TOO_HOT),
        "bad_request",
        "[0, 2]",
    ),
    "lmstudio-200": (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, "bad_url", "address"),
    "balance in Chinese": (429, {"error": {"code": "1113", "message": "余额不足"}}, "billing", "余额不足"),
}


def test_each_refusal_gets_its_remedy(upstream: Upstream) -> None:
    scripts: dict[str, Script] = {name: plain(status, body) for name, (status, body, *_) in REFUSALS.items()}
    for name, got in came_all(upstream, scripts, params={"max_tokens": 64000}).items():
        _, _, kind, words = REFUSALS[name]
        assert (got.status, got.kind, len(got.requests)) == ("error", kind, 1), (name, got.words)
        assert words in got.words, (name, got.words)


TABLES = {
    "any server": (RULES, RULES),
    "Ollama": (OLLAMA_RULES, (*OLLAMA_RULES, *RULES)),
}  # rows, and as they are tried
ROWS = [(name, rule) for name, (rows, _) in TABLES.items() for rule in rows if rule.example]


@pytest.mark.parametrize(("server", "rule"), ROWS, ids=[f"{server}-{rule.example[:40]}" for server, rule in ROWS])
def test_every_error_rule_matches_its_example(server: str, rule: Any) -> None:
    words, (_, tried) = rule.example.lower(), TABLES[server]
    deciding = [
        next(row for row in tried if row.fit(status, words, rule.gateway)) for status in rule.statuses or (400,)
    ]
    assert rule in deciding


def test_a_request_to_a_loading_server_is_sent_again(upstream: Upstream) -> None:
    n_requests = 0

    def behave(request: Any) -> Stream:
        nonlocal n_requests
        n_requests += 1
        loading = plain(503, {"error": {"code": 503, "message": "Loading model"}}, "Retry-After: 0.05")
        return (loading if n_requests < 6 else GOOD)(request)

    got = came(upstream, behave)
    assert (got.status, got.text, len(got.requests), len(got.rows)) == ("ok", ("plan", "yes"), 6, 1)
    assert n_requests == 6
