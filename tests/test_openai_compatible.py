"""The OpenAI-compatible provider over the real client: what it sends, how it checks, that it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kimi_ui.core.events import CONNECTED, FIRST_CHUNK, Phase
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.base import ChatRequest, Message, ProviderError
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from tests.support.folding import HELLO, left_at_text, run_provider, streamed_for
from tests.support.telling import END, FOREVER, SSE_BODY, A, R, delta, error, refuse, tell, unless
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import SSE, Stream, plain, stream_of

Lanes = Callable[..., OpenAICompatible]
KEY = "cpk_canary-5e0a77"


@pytest.fixture
def lane(upstream: Upstream, closed_after: Callable[[Any], Any]) -> Lanes:
    """Makes lanes on ``upstream``, or on another server."""

    def made(model: str = "m-2000-20-10", key: str = "", **fields: Any) -> OpenAICompatible:
        spec = LaneSpec("a", "A", "openai", model=model, **{"base_url": upstream.base_url} | fields)
        provider: OpenAICompatible = closed_after(OpenAICompatible(spec, key))
        return provider

    return made


@pytest.mark.parametrize(
    ("variant", "dialect"),
    [
        ("", "reasoning_content"),
        ("-reasoning", "reasoning"),
        ("-details", "reasoning_details"),
        ("-think-tags", "<think>"),
    ],
)
async def test_a_whole_answer_in_every_dialect(lane: Lanes, variant: str, dialect: str) -> None:
    provider = lane(f"m-2000-20-10{variant}")
    got, check = await run_provider(provider), await provider.check(probe=True)
    assert (got.status, got.fold.flags) == ("ok", {})
    assert "@" in got.fold.reasoning
    assert got.fold.answer
    assert got.fold.usage.output_tokens == 30
    assert got.fold.n_chunks >= 28  # a tag may share a chunk with the text on either side
    assert got.events[0] == Phase(CONNECTED)
    assert got.events[1] == Phase(FIRST_CHUNK)
    assert check.ok
    assert check.thinking
    assert check.dialect == dialect


async def test_the_request_body(lane: Lanes, upstream: Upstream) -> None:
    params, extra = {"temperature": 1, "max_tokens": 5, "top_k": 3}, {"thinking": {"type": "enabled"}}
    provider = lane(params=params, extra_body=extra, key=KEY)
    history = (
        Message("system", "Be brief."),
        Message("user", "1"),
        Message("assistant", "2"),
        Message("user", "3"),
    )
    await run_provider(provider, ChatRequest(history, {"max_tokens": 9, "model": "never"}))
    (request,) = upstream.requests
    assert request.body == {
        "model": "m-2000-20-10",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "3"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 1,
        "max_tokens": 9,
        "top_k": 3,
        "thinking": {"type": "enabled"},
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept-encoding"] == "identity"


async def test_reasoning_in_the_history_is_sent_back(lane: Lanes, upstream: Upstream) -> None:
    provider = lane()
    await run_provider(provider, ChatRequest((Message("assistant", "2", "because"), Message("user", "3"))))
    assert upstream.requests[0].body["messages"] == [
        {"role": "assistant", "content": "2", "reasoning_content": "because"},
        {"role": "user", "content": "3"},
    ]


async def test_a_request_can_name_another_model(lane: Lanes, upstream: Upstream) -> None:
    provider = lane()
    got = await run_provider(provider, ChatRequest(HELLO.messages, model="m-2000-0-3"))
    assert got.status == "ok"
    assert upstream.requests[0].body["model"] == "m-2000-0-3"
    missing = await run_provider(provider, ChatRequest(HELLO.messages, model="gone"))
    assert missing.kind == "model_missing"
    assert missing.error
    assert "gone" in missing.error.failure.message


async def test_a_lane_without_api_key_env_sends_no_key(
    lane: Lanes, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, KEY)
    provider = lane()
    assert (await run_provider(provider)).status == "ok"
    assert KEY not in repr(upstream.requests[0].headers)
    assert "authorization" not in upstream.requests[0].headers


async def test_the_key_is_read_from_the_lanes_variable(
    lane: Lanes, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.key = KEY
    provider = lane(api_key_env="KIMI_TEST_KEY")
    monkeypatch.delenv("KIMI_TEST_KEY", raising=False)
    missing = await run_provider(provider)
    assert missing.kind == "auth"
    assert missing.error
    assert "KIMI_TEST_KEY" in missing.error.failure.message
    assert missing.error.failure.command == "export KIMI_TEST_KEY=…"
    assert not upstream.requests
    monkeypatch.setenv("KIMI_TEST_KEY", "wrong")
    refused = await provider.check()
    assert (refused.ok, refused.reachable, refused.key_valid) == (False, True, False)
    monkeypatch.setenv("KIMI_TEST_KEY", f" {KEY}\n")
    assert (await run_provider(provider)).status == "ok", "blanks around a key are nobody's key"
    for bad in (f"{KEY}\nX-Evil: 1", "schlüssel", "two words"):
        monkeypatch.setenv("KIMI_TEST_KEY", bad)
        got = await run_provider(provider)
        assert got.kind == "auth"
        assert got.error
        assert bad not in repr(got.error.failure)


async def test_a_refused_option_is_left_out_once_and_remembered(lane: Lanes, upstream: Upstream) -> None:
    upstream.script("strict", unless("stream_options", refuse(400, error("no stream_options")), tell(A("yes"), *END)))
    provider = lane("strict")
    first, second = await run_provider(provider), await run_provider(provider)
    assert first.fold.flags == second.fold.flags == {"dropped_option": "stream_options"}
    assert ["stream_options" in request.body for request in upstream.requests] == [True, False, False]


async def test_a_request_refused_for_another_reason_is_sent_once(lane: Lanes, upstream: Upstream) -> None:
    upstream.script("strict", refuse(400, error("no stream_options")))
    upstream.script("other", refuse(400, error("no")))
    for model, times in (("strict", 2), ("other", 1)):
        provider = lane(model)
        assert (await run_provider(provider)).kind == "bad_request"
        assert [request.model for request in upstream.requests].count(model) == times


async def test_listing_models_and_finding_near_matches(lane: Lanes, upstream: Upstream) -> None:
    upstream.models = ["moonshotai/Kimi-K2.6-TEE", "moonshotai/Kimi-K2.5-TEE", "qwen/qwen3", "~moonshotai/kimi-latest"]
    provider = lane("moonshotai/Kimi-K2-TEE")
    assert await provider.models() == sorted(upstream.models)
    check = await provider.check()
    assert (check.ok, check.reachable, check.model_present) == (False, True, False)
    assert check.latency_ms
    assert "Kimi-K2.6-TEE" in check.remedy
    assert "qwen" not in check.remedy
    variant = lane("qwen/qwen3:nitro")
    assert (await variant.check()).ok, "a suffix chooses a variant and is not listed"


async def test_a_check_names_the_problem(lane: Lanes, upstream: Upstream) -> None:
    away = lane("m", base_url="http://127.0.0.1:9/v1")
    check = await away.check()
    assert (check.ok, check.reachable) == (False, False)
    assert "127.0.0.1:9" in check.problem
    assert check.remedy
    wrong = lane("m-2000-1-1", base_url=upstream.origin)
    check = await wrong.check()
    assert (check.ok, check.reachable) == (False, True)
    assert "/v1" in check.remedy
    assert (await wrong.check(probe=True)).problem, "the probe finds the same"


@pytest.mark.parametrize(
    "listing",
    [
        plain(404, "404 page not found", content_type="text/plain"),
        plain(200, {"data": None}),
        plain(200, "<html>", content_type="text/html"),
        plain(200, b""),
        plain(429, {"detail": "slow down"}),
        plain(500, b""),
    ],
)
async def test_a_server_without_a_readable_model_list_passes_a_probe(
    lane: Lanes, upstream: Upstream, listing: Any
) -> None:
    upstream.script("GET /v1/models", listing)
    check = await lane().check(probe=True)
    assert (check.ok, check.model_present, check.thinking) == (True, True, True)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (plain(200, "<html><title>Log in</title>", content_type="text/html"), "not_a_stream"),
        (plain(200, {"error": "no"}), "upstream"),
        (plain(200, b""), "protocol"),
        (plain(200, b'{"data": [{"id": "m'), "protocol"),
        (plain(200, [7, {}]), "protocol"),
        (plain(200, {"data": "none"}), "protocol"),
        (plain(401, {"error": {"message": "no"}}), "auth"),
    ],
)
async def test_an_invalid_model_list_is_an_error(lane: Lanes, upstream: Upstream, answer: Any, kind: str) -> None:
    upstream.script("GET /v1/models", answer)
    with pytest.raises(ProviderError) as raised:
        await lane().models()
    assert raised.value.failure.kind == kind


async def test_unusual_model_lists_are_read(lane: Lanes, upstream: Upstream) -> None:
    for odd, ids in (
        ([{"id": "b"}, {"id": "a"}, {"id": 7}, "x", {"id": "a"}], ["a", "b", "x"]),
        ({"data": ["m"]}, ["m"]),
        ({"models": [{"name": "m"}]}, ["m"]),
        ({"object": "list", "data": None}, []),
        ({"data": [{"id": "good"}, {"id": "m\u202ex\n"}, {"id": ""}, {"id": "long" * 999}]}, ["good"]),
        (b'{"data": [{"id": "half \\ud83d"}, {"id": "good"}]}', ["good"]),
    ):
        upstream.script("GET /v1/models", plain(200, odd))
        assert await lane().models() == ids, odd


async def test_a_probe_is_one_tiny_request_closed_at_the_first_reasoning(lane: Lanes, upstream: Upstream) -> None:
    upstream.script("thinker", tell(R("hm"), FOREVER))
    check = await lane("thinker").check(probe=True)
    assert (check.ok, check.thinking, check.dialect) == (True, True, "reasoning_content")
    (request,) = [request for request in upstream.requests if request.method == "POST"]
    assert request.body["max_tokens"] == 300
    until(lambda: upstream.closed)


async def test_a_probe_of_a_model_that_does_not_think(lane: Lanes) -> None:
    check = await lane("m-2000-0-5").check(probe=True)
    assert (check.ok, check.thinking, check.dialect, check.key_valid) == (True, False, None, None)


async def test_the_stream_ends_soon_after_done_though_the_server_keeps_it_open(lane: Lanes, upstream: Upstream) -> None:
    upstream.script("stays", tell(A("yes"), *END, FOREVER))
    provider = lane("stays")
    assert (await asyncio.wait_for(run_provider(provider), 20)).status == "ok"
    until(lambda: upstream.closed)


async def test_the_request_is_reported_as_sent_before_it_arrives(lane: Lanes, upstream: Upstream) -> None:
    provider = lane("m-2000-3-3")
    await provider.models()
    host = await streamed_for(
        provider, lambda: "/v1/chat/completions" in [request.path for request in upstream.requests]
    )
    await provider.models()
    assert host.n_sent == 2  # when it connects and when it is written, but not for the other requests


async def test_closing_the_stream_early_closes_the_connection(lane: Lanes, upstream: Upstream) -> None:
    provider = lane("m-100-1000-1000")
    await left_at_text(provider)
    until(lambda: upstream.closed)


async def test_many_streams_run_at_once_and_their_connections_are_reused(lane: Lanes, upstream: Upstream) -> None:
    n = 120
    all_have_begun = asyncio.Barrier(n)

    async def held() -> Stream:
        await all_have_begun.wait()
        yield delta({"content": "so far"})
        yield SSE_BODY

    upstream.script("held", lambda request: stream_of(held(), SSE))
    provider = lane("held")
    got = await asyncio.gather(*(run_provider(provider) for _ in range(n)))
    assert [outcome.status for outcome in got] == ["ok"] * n
    assert [request.nth for request in upstream.requests] == [1] * n, "each has a connection of its own"
    await run_provider(provider, ChatRequest(HELLO.messages, model="m-500-10-10"))
    assert upstream.requests[-1].nth == 2
    assert not upstream.closed
