"""Errors in plain words: every known refusal gets its kind, and no text holds a key."""

from __future__ import annotations

import socket
import ssl
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.events import ERROR_KINDS, Failure
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.base import ProviderError
from kimi_ui.providers.error_rules import RULES
from kimi_ui.providers.errors import (
    Target,
    from_exception,
    from_payload,
    from_status,
    missing_key,
    retry_after_s,
    scrub,
)
from kimi_ui.providers.http.proxies import proxy_for
from kimi_ui.providers.ollama.provider import OLLAMA_SERVER, Ollama, OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible

CANARY = "cpk_canary.0123456789abcdef"
CHUTES = Target("https://llm.chutes.ai/v1", "moonshotai/Kimi-K2.6-TEE", "CHUTES_API_KEY", (CANARY,))
MOONSHOT = Target("https://api.moonshot.ai/v1", "kimi-k2.6", "MOONSHOT_API_KEY", (CANARY,))
OPENROUTER = Target("https://openrouter.ai/api/v1", "moonshotai/kimi-k2-0905", "OPENROUTER_API_KEY", (CANARY,))
OLLAMA = Target("http://127.0.0.1:11434", "qwen3-coder:30b", server=OLLAMA_SERVER)


def refused(target: Target, status: int, body: Any, **headers: str) -> ProviderError:
    return from_status(status, headers, body if isinstance(body, bytes) else orjson.dumps(body), target)


def detail(text: Any) -> dict[str, Any]:
    return {"detail": text}


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


QUOTA = {
    "message": "Quota exceeded and account balance is $0.0, please pay with fiat or send tao to 5F",
    "quota_reset_timestamp": "2026-11-22T00:00:00+00:00",
}
CASES: list[
    tuple[Target, int, Any, str, bool, str]
] = [  # target, status, body, kind, retryable, words the message must contain
    # Chutes: FastAPI shape
    (CHUTES, 429, detail("Infrastructure is at maximum capacity, try again later"), "capacity", True, "at capacity"),
    (CHUTES, 429, detail("model is under maintenance"), "capacity", False, "maintenance"),
    (CHUTES, 429, detail("Rate limit exceeded"), "rate_limit", True, "how many requests"),
    (CHUTES, 429, detail("Quota exceeded for today"), "billing", False, "used up"),
    (CHUTES, 429, detail("Quota exceeded for requests per minute"), "rate_limit", True, "how many requests"),
    (CHUTES, 429, detail("Limit: 20 req/min\nQuota exceeded"), "rate_limit", True, "how many requests"),
    (CHUTES, 402, detail(QUOTA), "billing", False, "2026-11-22"),
    (
        CHUTES,
        402,
        detail("Subscription usage cap exceeded. Please add balance to continue."),
        "billing",
        False,
        "4 hours",
    ),
    (
        CHUTES,
        402,
        detail("TEE models require an active subscription or positive balance."),
        "billing",
        False,
        "subscrip",
    ),
    (CHUTES, 503, detail("No instances available (yet) for chute_id=1"), "capacity", True, "takes minutes"),
    (CHUTES, 503, detail("This chute is currently disabled."), "capacity", False, "switched off"),
    (CHUTES, 404, detail("model not found: moonshotai/Kimi-K2-Instruct"), "model_missing", False, "retired"),
    (CHUTES, 401, detail("Authentication required."), "auth", False, "CHUTES_API_KEY"),
    (CHUTES, 400, detail("Invalid request: bad things"), "bad_request", False, "bad things"),
    (CHUTES, 500, detail("exhausted all available targets to no avail"), "upstream", True, "exhausted"),
    (CHUTES, 426, detail("TEE only"), "bad_request", False, "TEE"),
    # Moonshot: error without a code
    (MOONSHOT, 401, error("Invalid Authentication", type="invalid_authentication_error"), "auth", False, "moonshot.cn"),
    (MOONSHOT, 403, error("no", type="permission_denied_error"), "auth", False, "MOONSHOT_API_KEY"),
    (
        MOONSHOT,
        400,
        error("invalid temperature: only 1 is allowed for this model", type="invalid_request_error"),
        "bad_request",
        False,
        "Remove `temperature`",
    ),
    (MOONSHOT, 400, error("Your request exceeded model token limit : 262144"), "context", False, "too long"),
    (
        MOONSHOT,
        400,
        error("The request was rejected because it is high risk", type="content_filter"),
        "content_filter",
        False,
        "content",
    ),
    (
        MOONSHOT,
        404,
        error("Not found the model kimi-k2-thinking", type="resource_not_found_error"),
        "model_missing",
        False,
        "retired",
    ),
    (
        MOONSHOT,
        429,
        error("You exceeded your current token quota", type="exceeded_current_quota_error"),
        "billing",
        False,
        "quota",
    ),
    (
        MOONSHOT,
        429,
        error("The engine is currently overloaded", type="engine_overloaded_error"),
        "capacity",
        True,
        "capacity",
    ),
    (MOONSHOT, 429, error("max RPM: 3", type="rate_limit_reached_error"), "rate_limit", True, "how many requests"),
    (MOONSHOT, 503, error("down", type="server_unavailable"), "capacity", True, "503"),
    (MOONSHOT, 500, error("?", type="unexpected_output"), "upstream", True, "500"),
    # OpenRouter: error with the upstream's own words in metadata
    (
        OPENROUTER,
        429,
        error("Provider returned error", code=429, metadata={"raw": "slow down", "provider_name": "Chutes"}),
        "rate_limit",
        True,
        "Chutes · slow down",
    ),
    (OPENROUTER, 402, error("Insufficient credits", code=402), "billing", False, "payment"),
    (OPENROUTER, 400, error("x/y is not a valid model ID", code=400), "model_missing", False, "does not know"),
    (OPENROUTER, 404, error("No endpoints found for x/y.", code=404), "model_missing", False, "does not know"),
    (OPENROUTER, 403, error("Input was flagged by moderation", code=403), "content_filter", False, "content"),
    (OPENROUTER, 502, error("Provider returned error", code=502), "upstream", True, "502"),
    (OPENROUTER, 408, error("timed out", code=408), "upstream", True, "408"),
    # Ollama: error is a string
    (
        OLLAMA,
        404,
        {"error": "model 'qwen3-coder:30b' not found"},
        "model_missing",
        False,
        "ollama pull qwen3-coder:30b",
    ),
    (OLLAMA, 404, b"404 page not found", "bad_url", False, "base_url"),
    (OLLAMA, 400, {"error": '"qwen3-coder:30b" does not support thinking'}, "bad_request", False, "Remove `think`"),
    (
        OLLAMA,
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
        "capacity",
        True,
        "queue",
    ),
    (
        OLLAMA,
        500,
        {"error": "model requires more system memory (20 GiB) than is available"},
        "backend_died",
        False,
        "memory",
    ),
    (OLLAMA, 500, {"error": "llama runner process has terminated: exit status 2"}, "backend_died", True, "died"),
    # any server
    (
        CHUTES,
        400,
        error("maximum context length is 8192 tokens", code="context_length_exceeded"),
        "context",
        False,
        "long",
    ),
    (CHUTES, 429, error("You exceeded your current quota", code="insufficient_quota"), "billing", False, "used up"),
    (CHUTES, 404, b"", "bad_url", False, "/v1"),
    (CHUTES, 400, b"Client sent an HTTP request to an HTTPS server.\n", "tls", False, "https://"),
    (CHUTES, 413, b"", "too_large", False, "too large"),
    (CHUTES, 409, b"", "upstream", True, "409"),
    (CHUTES, 425, b"", "upstream", True, "425"),
    (
        CHUTES,
        504,
        b"<html><title>504 Gateway &amp; Time-out</title><body>x</body></html>",
        "upstream",
        True,
        "Gateway & Time",
    ),
    (CHUTES, 529, b"", "capacity", True, "busy"),
    (CHUTES, 507, b"", "upstream", True, "507"),
    (
        CHUTES,
        422,
        detail([{"loc": ["body", "top_q"], "msg": "extra fields not permitted"}]),
        "bad_request",
        False,
        "body.top_q",
    ),
    (CHUTES, 302, b"", "redirect", False, "redirects"),
]


@pytest.mark.parametrize(("target", "status", "body", "kind", "retryable", "words"), CASES)
def test_known_refusals(target: Target, status: int, body: Any, kind: str, retryable: bool, words: str) -> None:
    made = refused(target, status, body)
    failure = made.failure
    assert (failure.kind, made.retryable) == (kind, retryable), failure
    assert words in f"{failure.message} {failure.remedy} {failure.command} {failure.detail}", failure
    assert failure.http_status == status
    assert failure.remedy
    assert failure.message.endswith(".")
    assert "{" not in failure.message + failure.remedy + failure.command


def test_every_kind_in_the_error_rules_is_a_known_kind() -> None:
    assert {rule.kind for rule in RULES} <= set(ERROR_KINDS)


def test_errors_inside_a_stream() -> None:
    midway = {"error": {"code": "server_error", "message": "Provider disconnected unexpectedly"}, "choices": []}
    assert (from_payload(midway, OPENROUTER).failure.kind, from_payload(midway, OPENROUTER).retryable) == (
        "upstream",
        True,
    )
    assert from_payload({"error": {"code": 502, "message": "x"}}, OPENROUTER).failure.http_status == 502
    assert from_payload({"error": {"code": 429, "message": "x"}}, OPENROUTER).failure.kind == "rate_limit"
    assert (
        from_payload({"error": "an error was encountered while running the model"}, OLLAMA).failure.kind == "upstream"
    )
    for spent in (QUOTA, "Subscription usage cap exceeded. Please add balance to continue."):
        made = from_payload(detail(spent), CHUTES)
        assert (made.failure.kind, made.retryable) == ("billing", False)
    per_minute = from_payload(error("Quota exceeded for requests per minute"), CHUTES)
    assert (per_minute.failure.kind, per_minute.retryable) == ("rate_limit", True)
    odd: Any
    for odd in ({"error": {}}, {"error": True}, {"error": [1]}, [], "x", None, 7, {"error": {"code": "²"}}):
        assert from_payload(odd, CHUTES).failure.kind == "upstream"


def test_redirect_names_the_other_host_and_not_its_credentials() -> None:
    made = refused(CHUTES, 307, b"", location=f"https://me:{CANARY}@evil.example/v1")
    assert "evil.example" in made.failure.message
    assert CANARY not in repr(made.failure)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "1e9"}, 60.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2099 10:00:00 GMT"}, 60.0),
        ({"retry-after": "Sat, 99 Nov 2026 10:00:00 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, datetime(2026, 11, 21, 10, tzinfo=UTC)) == seconds


def test_messages_never_contain_a_key() -> None:
    body = error(f"Incorrect API key {CANARY}; sent 'Bearer {CANARY}' and sk-abcdefghijklmnop to http://u:{CANARY}@h/")
    made = refused(CHUTES, 401, body)
    assert "canary" not in repr(made.failure) + str(made)
    assert "abcdefghijklmnop" not in made.failure.detail
    assert "u:" not in made.failure.detail
    assert CANARY not in repr(CHUTES), "nor in what a traceback would print"
    assert len(refused(CHUTES, 500, b"y" * 5_000_000).failure.detail) <= 2000
    assert scrub("the key is short", ("s",)) == "the key is short"


@given(status=st.integers(300, 599), body=st.binary(max_size=80))
def test_any_body_of_any_status_becomes_an_error(status: int, body: bytes) -> None:
    assert from_status(status, {}, body, CHUTES).failure.kind in ERROR_KINDS


def caused(outer: Exception, *causes: BaseException) -> Exception:
    current: BaseException = outer
    for cause in causes:
        current.__cause__ = cause
        current = cause
    return outer


def verification(message: str) -> ssl.SSLCertVerificationError:
    made = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {message}")
    made.verify_message = message
    return made


EXCEPTIONS: list[tuple[Exception, str, bool, str]] = [
    (caused(httpx.ConnectError("x"), ConnectionRefusedError(111, "refused")), "connect", True, "running at"),
    (httpx.ConnectTimeout("x"), "connect", True, "in time"),
    (httpx.ConnectError("x"), "connect", True, "cannot be reached"),
    (caused(httpx.ConnectError("x"), socket.gaierror(socket.EAI_NONAME, "no name")), "dns", False, "resolved"),
    (caused(httpx.ConnectError("x"), socket.gaierror(socket.EAI_AGAIN, "again")), "dns", True, "resolved"),
    (caused(httpx.ConnectError("x"), verification("self-signed certificate")), "tls", False, "self-signed"),
    (caused(httpx.ConnectError("x"), verification("certificate has expired")), "tls", False, "expired"),
    (caused(httpx.ConnectError("x"), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x")), "tls", False, "http://"),
    (httpx.ReadError("x"), "network", True, "cut"),
    (httpx.RemoteProtocolError("Server disconnected without sending a response."), "network", True, "cut"),
    (httpx.RemoteProtocolError("peer closed connection without sending complete message body"), "network", True, "cut"),
    (httpx.RemoteProtocolError("illegal status line"), "protocol", False, "cannot be read"),
    (httpx.RemoteProtocolError(r"illegal status line: bytearray(b'\x15\x03\x01')"), "tls", False, "https://"),
    (httpx.RemoteProtocolError("Receive buffer too long"), "too_large", False, "larger"),
    (httpx.ReadTimeout("x"), "timeout_idle", False, "silent"),
    (httpx.UnsupportedProtocol("x"), "bad_url", False, "base_url"),
    (httpx.ProxyError("x"), "connect", False, "HTTP_PROXY"),
    (httpx.LocalProtocolError(f"Illegal header value b'Bearer {CANARY}\\n'"), "auth", False, "CHUTES_API_KEY"),
    (ConnectionResetError(104, "reset"), "network", True, "cut"),
]


@pytest.mark.parametrize(("raised", "kind", "retryable", "words"), EXCEPTIONS)
def test_known_exceptions(raised: Exception, kind: str, retryable: bool, words: str) -> None:
    made = from_exception(raised, CHUTES)
    assert (made.failure.kind, made.retryable) == (kind, retryable)
    assert words in f"{made.failure.message} {made.failure.remedy}"
    assert CANARY not in repr(made.failure)


def test_ollama_not_running_says_how_to_start_it() -> None:
    failure = from_exception(httpx.ConnectError("x"), OLLAMA).failure
    assert (failure.kind, failure.command) == ("connect", "ollama serve")


def test_the_remedy_for_a_missing_key_needs_no_restart() -> None:
    failure = missing_key("CHUTES_API_KEY", "Chutes").failure
    assert "CHUTES_API_KEY is not set" in failure.message
    assert failure.remedy.startswith("Write it into .env (it takes effect at once)")


def test_requests_to_this_machine_use_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    for url in (
        "http://localhost:1",
        "http://127.0.0.1/v1",
        "http://[::1]:2",
        "http://x.localhost",
        "http://0.0.0.0:8",
    ):
        assert proxy_for(url) is None
    for url in ("http://llm.example/v1", "http://10.0.0.1", "http://localhost.evil.example", "http://127.evil.example"):
        assert proxy_for(url) == "http://proxy.example:3128"


@pytest.mark.parametrize(
    "proxy",
    ["socks5://127.0.0.1:1080", "socks://127.0.0.1:7891/", "http://proxy:port", "http://proxy:99999", "http://"],
)
async def test_an_invalid_proxy_is_named_by_its_variable(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    for failure in await failures_at("http://far.invalid/v1"):
        assert failure.kind == "connect"
        assert failure.message == "ALL_PROXY does not name a usable proxy."
        assert "add far.invalid to no_proxy" in failure.remedy


def test_a_proxy_without_a_scheme_is_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "127.0.0.1:9")
    assert proxy_for("http://far.invalid/v1") == "http://127.0.0.1:9"


@pytest.mark.parametrize("proxy", ["127.0.0.1:9", "nobody.invalid"])
async def test_an_unreachable_proxy_is_named_instead_of_the_server(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setattr(socket, "getaddrinfo", _no_name)  # a real resolver may take longer than the client waits
    for failure in await failures_at("http://far.invalid/v1"):
        assert (failure.kind, failure.message) == ("connect", "The proxy for far.invalid cannot be reached.")
        assert "HTTP_PROXY" in failure.remedy


async def test_missing_certificates_are_named_by_their_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for path, why in ((tmp_path / "away.pem", "No such file"), (tmp_path / "no.pem", "no certificate")):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        for failure in await failures_at("https://far.invalid/v1"):
            assert failure.kind == "tls"
            assert "SSL_CERT_FILE" in failure.message
            assert why in failure.message


@pytest.mark.parametrize("url", ["http://a..b/v1", "http://h/\nv1", f"http://{'x' * 64}.invalid/v1"])
async def test_an_invalid_address_gives_a_sentence(url: str) -> None:
    for failure in await failures_at(url):
        assert failure.kind in ("dns", "bad_url", "connect")  # Ollama's client reports no more


_getaddrinfo = socket.getaddrinfo


def _no_name(host: Any, *rest: Any, **more: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name.endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return _getaddrinfo(host, *rest, **more)


async def failures_at(url: str) -> list[Failure]:
    """The failures of both clients' lanes when they list the models of a server that cannot be reached."""
    lanes = (
        OpenAICompatible(LaneSpec("a", "A", "openai", model="m", base_url=url)),
        Ollama(OllamaLane("b", "B", "ollama", model="m", base_url=url)),
    )
    failures = []
    for lane in lanes:
        async with aclosing(lane):
            with pytest.raises(ProviderError) as caught:
                await lane.models()
        failures.append(caught.value.failure)
    return failures
