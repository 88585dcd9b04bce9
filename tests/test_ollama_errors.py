"""Refusals of Ollama, end to end: its own messages, the client, the engine, the sentence for the user.

Kinds, and the rule of each:
- *Messages with one meaning.* A row of ``ollama.error_rules`` or ``error_rules`` matches them; another request is sent
  only where it may help.
- *Nested errors.* Message and status are found wherever they are: JSON in a string, in a sentence, as Python writes.
- *A model that repeats itself.* Ollama ends such a stream without ``done``.
- *Thinking refused.* A level that a server does not know becomes true; a model that cannot think gets none.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from kimi_ui.core.events import ERROR_KINDS
from kimi_ui.providers.errors import from_payload, words_of
from tests.support.folding import ndjson
from tests.support.one_lane import Script, came, came_all
from tests.support.telling import A, D, R, finish, line, tell, unless
from tests.support.upstream import Upstream
from tests.support.wire import plain
from tests.test_errors import OLLAMA

DIAL = "dial tcp: lookup ollama.com on 127.0.0.53:53: no such host"
SIGNIN = {"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=m&key=c3NoLWVkMjU1MTk"}
CONTEXT = {"error": {"code": 400, "message": "request (9016 tokens) exceeds the available context size (4096 tokens)"}}
OLD_BLOB = (
    "unable to load model: blobs/sha256-1: this model may be incompatible with your version of Ollama. If you "
    "previously pulled this model, try updating it by running `ollama pull m`"
)
ARCH = "llama-server process has terminated: exit status 1: error loading model: unknown model architecture: 'kimi9'"
OOM = "llama-server reported out-of-memory during startup: ggml_backend_alloc_ctx_tensors failed"
IMAGE = {"error": {"code": 500, "message": "Multimodal data provided, but model does not support multimodal requests."}}
SPENT = "you've reached your weekly usage limit, upgrade to continue: https://ollama.com/upgrade"

# status, the value of ``error`` (or the whole body), kind, number of requests, words of the message
REFUSALS: dict[str, tuple[int, Any, str, int, str]] = {
    "oc-signin": (401, SIGNIN, "auth", 1, "ollama signin"),
    "signed out, in words": (401, "you need to sign in to Ollama to use cloud models", "auth", 1, "ollama signin"),
    "oc-offline": (
        502,
        f'Post "https://ollama.com:443/api/chat?ts=1": {DIAL}',
        "connect",
        1,
        "cannot reach ollama.com",
    ),
    "offline, a time-out": (
        502,
        'Post "https://ollama.com:443/api/chat?ts=1": dial tcp 1.2.3.4:443: i/o timeout',
        "connect",
        1,
        "cannot reach ollama.com",
    ),
    "offline, at sign-in": (500, f'Get "https://ollama.com/api/me": {DIAL}', "connect", 1, "cannot reach ollama.com"),
    "oc-nochat": (400, '"m" does not support chat', "bad_request", 1, "not a chat model"),
    "no chat, before 0.12": (
        400,
        '"nomic-embed-text:latest" does not support generate',
        "bad_request",
        1,
        "chat model",
    ),
    "oc-arch": (500, ARCH, "bad_request", 1, "Update the server"),
    "architecture, before 0.30": (
        500,
        "llama runner process has terminated: error loading model: error loading model architecture: unknown model "
        "architecture: 'gemma9'",
        "bad_request",
        1,
        "too old for",
    ),
    "architecture, converter": (400, 'unsupported architecture "KimiForCausalLM"', "bad_request", 1, "architecture"),
    "oc-oom-start": (500, OOM, "backend_died", 1, "num_ctx"),
    "memory, asked before": (
        500,
        "model requires more system memory (24.1 GiB) than is available (11.3 GiB)",
        "backend_died",
        1,
        "memory",
    ),
    "memory, CUDA": (
        500,
        "llama runner process has terminated: cudaMalloc failed: out of memory",
        "backend_died",
        1,
        "num_ctx",
    ),
    "memory, resource limitations": (
        500,
        "model failed to load, this may be due to resource limitations or an internal error",
        "backend_died",
        1,
        "memory",
    ),
    "old blob": (500, OLD_BLOB, "backend_died", 1, "Pull it again"),
    "load time-out": (
        500,
        "timed out waiting for llama runner to start - progress 0.42",
        "backend_died",
        1,
        "OLLAMA_LOAD_TIMEOUT",
    ),
    "image": (400, json.dumps(IMAGE), "bad_request", 1, "does not read images"),
    "option": (
        400,
        'option "temperature" must be of type float32',
        "bad_request",
        1,
        "`temperature`: it must be of type",
    ),
    "option, a list": (400, 'option "stop" must be of type array', "bad_request", 1, "`stop`"),
    "think": (
        400,
        'invalid think value: "banana" (must be "high", "medium", "low", "max", true, or false)',
        "bad_request",
        1,
        '"high", "medium", "low", "max", true, or false',
    ),
    "subscription": (
        403,
        "this model requires a subscription, upgrade for access: https://ollama.com/upgrade",
        "billing",
        1,
        "upgrade the account",
    ),
    "usage limit": (429, SPENT, "billing", 1, "limits reset"),
    "queue full": (503, "server busy, please try again.  maximum pending requests exceeded", "capacity", 3, "queue"),
    "process died": (500, "llama-server process no longer running: 1 ", "backend_died", 3, "died"),
    "context, words alone": (400, "the input length exceeds the context length", "context", 1, "num_ctx"),
}


def test_every_refusal_is_read(upstream: Upstream) -> None:
    """oc-signin, oc-offline, oc-nochat, oc-arch, oc-oom-start and their neighbours: kind, requests, words."""
    scripts: dict[str, Script] = {
        name: plain(status, said if isinstance(said, dict) else {"error": said}, "Retry-After: 0.01")
        for name, (status, said, *_) in REFUSALS.items()
    }
    for name, got in came_all(upstream, scripts, ollama=True).items():
        _, _, kind, n_requests, words = REFUSALS[name]
        assert (got.status, got.kind) == ("error", kind), (name, got.words)
        assert len(got.requests) == n_requests, name
        assert words in got.words, (name, got.words)
        assert "api_key_env" not in got.words, name


def test_the_sign_in_link_is_not_shown(upstream: Upstream) -> None:
    assert "c3NoLWVkMjU1MTk" not in came(upstream, plain(401, SIGNIN), ollama=True).words


def test_a_gateway_that_requires_a_key_is_still_named(upstream: Upstream) -> None:
    got = came(upstream, plain(401, {"error": "unauthorized"}), ollama=True)
    assert "api_key_env" in got.words
    assert "signin" not in got.words


# -- errors of pulls; test_pulls tests the engine's pulls

LOOKUP = "dial tcp: lookup registry.invalid on 127.0.0.53:53"
PULLS: dict[str, tuple[str, str, str]] = {
    "pull-offline": (
        f'pull model manifest: Get "https://registry.invalid/v2/library/m/manifests/30b": {LOOKUP}: no such host',
        "connect",
        "cannot reach its library",
    ),
    "offline, refused": (
        'pull model manifest: Get "https://registry.invalid/v2/library/m/manifests/30b": dial tcp 1.2.3.4:443: '
        "connect: connection refused",
        "connect",
        "cannot reach its library",
    ),
    "offline, a proxy": (
        'pull model manifest: Get "https://registry.invalid/v2/x/m/manifests/1": proxyconnect tcp: EOF',
        "connect",
        "proxy",
    ),
    "offline, a blob": (
        'max retries exceeded: Get "https://registry.invalid/v2/library/m/blobs/sha256:1": read: connection reset',
        "connect",
        "cannot reach its library",
    ),
    "pull-412": (
        "pull model manifest: 412: \n\nThe model you are attempting to pull requires a newer version of Ollama.\n\n"
        "Please download the latest version",
        "bad_request",
        "Update Ollama",
    ),
    "too old, in other words": ("this model requires a newer version of Ollama", "bad_request", "Update Ollama"),
    "no such model": ("pull model manifest: file does not exist", "model_missing", "no model named"),
    "no such name": ("invalid model name", "model_missing", "no model named"),
    "gated": ("pull model manifest: 401: access is restricted", "auth", "gated"),
    "disk full": ("write models/blobs/sha256-1-partial: no space left on device", "upstream", "full"),
    "another": ("digest mismatch, file must be downloaded again", "upstream", "could not fetch"),
}


@pytest.mark.parametrize("name", PULLS)
def test_the_errors_of_a_pull_are_distinguished(name: str) -> None:
    """pull-offline, pull-412 and their neighbours."""
    said, kind, words = PULLS[name]
    failure = from_payload({"error": said}, OLLAMA, streaming=True).failure
    assert failure.kind == kind, failure
    assert words in f"{failure.message} {failure.remedy}"


# -- nested errors

ENVELOPES: dict[str, Any] = {
    "oc-half, nested twice": {"error": json.dumps(CONTEXT)},
    "thrice": {"error": json.dumps({"error": json.dumps(CONTEXT)})},
    "in a sentence": {"error": f"upstream answered 400: {json.dumps(CONTEXT)}"},
    "in a sentence that goes on": {"error": f"error: {json.dumps(CONTEXT)}, giving up"},
    "as Python prints it": {"error": {"message": f"Error code: 400 - {CONTEXT}"}},
    "in a list": [{"error": {"detail": [json.dumps(CONTEXT)]}}],
    "in the metadata": {"error": {"message": "Provider returned error", "metadata": {"raw": json.dumps(CONTEXT)}}},
    "in detail": {"detail": {"message": json.dumps(CONTEXT["error"])}},
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_the_message_is_found_at_any_depth(name: str) -> None:
    words = words_of(ENVELOPES[name])
    assert "request (9016 tokens) exceeds the available context size (4096 tokens)" in words
    assert not set('{}"') & set(words)
    failure = from_payload(ENVELOPES[name], OLLAMA).failure
    assert failure.kind == "context"
    assert "9,016" in failure.message
    assert "4,096" in failure.message


@pytest.mark.parametrize(
    "said",
    [
        "temperature must be in [0, 2], got 5.0",
        "no {placeholder} here",
        "an open { brace",
        "[Errno 111] Connection refused",
        "unexpected '{' at 3, expected '}'",
        "use {{ .Prompt }} in the template",
    ],
)
def test_brackets_without_an_object_are_kept(said: str) -> None:
    assert words_of({"error": said}) == said


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"error": "boom", "status": 503}, 503),
        ({"error": json.dumps({"error": {"code": 503, "message": "x"}})}, 503),
        ({"error": {"message": "x", "status_code": "429"}}, 429),
        ({"error": "x", "code": 7}, None),
        ({"error": {"code": "server_error", "message": "x"}, "status": 500}, 500),
        ({"error": "x", "status": True}, None),
    ],
)
def test_the_status_is_found_at_any_depth(payload: Any, status: int | None) -> None:
    assert from_payload(payload, OLLAMA).failure.http_status == status


LONGER = "the prompt is longer than the context length currently available to the model; shorten the prompt"


def test_a_refusal_inside_the_stream_names_num_ctx(upstream: Upstream) -> None:
    """oc-midstream: at once, and after some text."""
    refused = D(None, {"error": LONGER, "status": 400})
    for name, got in came_all(upstream, {"first": tell(refused), "later": tell(R("a"), refused)}, ollama=True).items():
        assert (got.status, got.kind, len(got.requests)) == ("error", "context", 1), name
        assert "num_ctx" in got.words, name
        assert "max_tokens" not in got.words, name


# -- a model that repeats itself


def repeated(count: int, *texts: str) -> list[bytes]:
    return [line({"content": texts[i % len(texts)]}) for i in range(count)]


@pytest.mark.parametrize(
    ("pieces", "is_told"),
    [
        pytest.param(repeated(33, "ha"), True, id="oc-repeat"),
        pytest.param([line({"content": "So "}), *repeated(40, " no")], True, id="after some text"),
        pytest.param([line({"thinking": "wait"})] * 32, True, id="while thinking"),
        pytest.param(repeated(32, "ha", " ha", "ha\n"), True, id="with other blanks"),
        pytest.param(repeated(32, "\n"), True, id="empty lines"),
        pytest.param(repeated(20, "ha"), False, id="too few"),
        pytest.param(repeated(40, "ha", "ho"), False, id="two in turn"),
        pytest.param([*repeated(40, "ha"), line({"content": "!"})], False, id="another one after"),
    ],
)
def test_a_stream_ended_for_repetition_is_named(pieces: list[bytes], is_told: bool) -> None:
    got = ndjson(*pieces)
    assert got.error is not None
    assert got.status == "incomplete"
    assert "without saying" in got.error.failure.message
    assert ("repeated one token" in got.error.failure.remedy) is is_told
    assert not got.error.retryable


def test_a_repetition_with_a_proper_end_is_an_answer() -> None:
    assert ndjson(*repeated(40, "ha"), line(done=True, done_reason="stop")).status == "ok"


# -- thinking


def test_a_level_that_the_server_does_not_know_becomes_true(upstream: Upstream) -> None:
    upstream.script("POST /api/show", plain(500, {"error": "cannot be asked"}))
    got = came(upstream, unless_level(), ollama=True, think="low")
    assert (got.status, [request.body.get("think") for request in got.requests]) == ("ok", ["low", True])
    assert "without a level" in got.words


def unless_level() -> Any:
    refusal = plain(400, {"error": 'think value "low" is not supported for this model'})
    good = tell(R("plan"), A("yes"), finish(eval_count=2))
    return lambda request: (refusal if request.body.get("think") == "low" else good)(request)


def test_a_model_that_cannot_think_gets_a_request_without_think(upstream: Upstream) -> None:
    upstream.script("POST /api/show", plain(500, {"error": "cannot be asked"}))
    refusal = plain(400, {"error": '"odd-0" does not support thinking'})
    got = came(upstream, unless("think", refusal, tell(A("yes"), finish(eval_count=2))), ollama=True, think="low")
    assert got.status == "ok"
    assert [request.body.get("think") for request in got.requests] == ["low", None]
    assert "cannot think" in got.words


def test_every_kind_in_the_ollama_rules_is_a_known_kind() -> None:
    assert {kind for _, _, kind, *_ in REFUSALS.values()} <= set(ERROR_KINDS)
