"""The Ollama provider over the real client: what it sends, cold loads, pulls, checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kimi_ui.core.events import CONNECTED, FIRST_CHUNK, PREPARING, Phase
from kimi_ui.providers.base import ChatRequest, Message, ProviderError
from kimi_ui.providers.ollama.provider import NUM_CTX, Ollama, OllamaLane
from tests.support.folding import left_at_text, run_provider, streamed_for
from tests.support.telling import FOREVER, A, R, refuse, tell
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import plain, streamed

Lanes = Callable[..., Ollama]
MANIFEST = b'{"status":"pulling manifest"}\n'


@pytest.fixture
def lane(upstream: Upstream, closed_after: Callable[[Any], Any]) -> Lanes:
    """Creates lanes on ``upstream``, or on another server."""

    def made(model: str = "m-2000-20-10", key: str = "", **fields: Any) -> Ollama:
        spec = OllamaLane("a", "A", "ollama", model=model, **{"base_url": upstream.ollama_url} | fields)
        provider: Ollama = closed_after(Ollama(spec, key))
        return provider

    return made


def asked(upstream: Upstream) -> Any:
    return [request.body for request in upstream.requests if request.path == "/api/chat"][-1]


def unheard(phase: Phase) -> None:
    raise AssertionError(f"nothing to report, but {phase}")


async def test_a_whole_answer(lane: Lanes, upstream: Upstream) -> None:
    provider = lane()
    got = await run_provider(provider)
    assert (got.status, got.fold.flags) == ("ok", {})
    assert "@" in got.fold.reasoning
    assert got.fold.answer
    assert (got.fold.usage.source, got.fold.usage.output_tokens) == ("server", 30)
    names = [event.name for event in got.events if isinstance(event, Phase)]
    assert names == ["loading_model", CONNECTED, FIRST_CHUNK]
    assert asked(upstream) == {
        "model": "m-2000-20-10",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": {"num_ctx": NUM_CTX},
        "think": True,
    }


async def test_the_request_body(lane: Lanes, upstream: Upstream) -> None:
    provider = lane(
        "m-2000-3-3",
        params={"max_tokens": 9, "temperature": 0.5, "format": "json", "options": {"seed": 7}},
        extra_body={"min_p": 0.1, "truncate": True},
        num_ctx=8192,
        keep_alive="-1",
        think="high",
        send_reasoning=True,
    )
    await run_provider(
        provider, ChatRequest((Message("assistant", "2", "because"), Message("user", "3")), {"top_k": 4})
    )
    assert asked(upstream) == {
        "model": "m-2000-3-3",
        "messages": [
            {"role": "assistant", "content": "2", "thinking": "because"},
            {"role": "user", "content": "3"},
        ],
        "stream": True,
        "options": {"num_ctx": 8192, "num_predict": 9, "temperature": 0.5, "top_k": 4, "min_p": 0.1, "seed": 7},
        "format": "json",
        "truncate": True,
        "shift": False,
        "keep_alive": -1,
        "think": "high",
    }


async def test_think_is_sent_only_to_models_that_can(lane: Lanes, upstream: Upstream) -> None:
    upstream.alias("qwen3-coder:30b", "m-2000-0-5")
    for wish, flags in ((None, {}), (False, {}), (True, {"think_unsupported": ""})):
        provider = lane("qwen3-coder:30b", think=wish)
        got = await run_provider(provider)
        assert got.status == "ok"
        assert got.fold.flags == flags
        assert "think" not in asked(upstream)
    provider = lane("m-2000-3-3", think=False)
    await run_provider(provider)
    assert asked(upstream)["think"] is False


async def test_gpt_oss_takes_levels_only(lane: Lanes, upstream: Upstream) -> None:
    shown = {"details": {"family": "gptoss"}, "model_info": {}, "capabilities": ["completion", "thinking"]}
    upstream.script("POST /api/show", plain(200, shown))
    provider = lane("m-2000-3-3")
    await run_provider(provider)
    assert "think" not in asked(upstream)


@pytest.mark.parametrize("answer", [refuse(500), plain(200, "<html>"), plain(200, {}), plain(200, {"capabilities": 7})])
async def test_a_server_without_model_details_still_answers(lane: Lanes, upstream: Upstream, answer: Any) -> None:
    for path in ("POST /api/show", "GET /api/ps"):
        upstream.script(path, answer)
    provider = lane("m-2000-3-3")
    got = await run_provider(provider)
    assert got.status == "ok"
    assert "think" not in asked(upstream)
    assert got.events[0] == Phase(CONNECTED), "not known to be cold: nothing is claimed"


async def test_preparing_queries_the_model_so_that_the_stream_does_not(lane: Lanes, upstream: Upstream) -> None:
    upstream.ollama.warm("m-2000-3-3")
    provider = lane("m-2000-3-3")
    await provider.prepare(unheard)
    before = len(upstream.requests)
    await run_provider(provider)
    paths = [request.path for request in upstream.requests[before:]]
    assert [path for path in paths if path != "/api/ps"] == ["/api/chat"]  # what is in memory may be asked meanwhile
    await run_provider(provider)
    paths = [request.path for request in upstream.requests[before + len(paths) :]]
    assert paths.count("/api/show") == 1, "asked anew"


async def test_preparing_does_not_fail_if_the_server_is_away(lane: Lanes) -> None:
    provider = lane("m", base_url="http://127.0.0.1:9")
    await provider.prepare(unheard)
    got = await run_provider(provider)
    assert got.kind == "connect"
    assert got.error
    assert got.error.failure.command == "ollama serve"


@pytest.mark.parametrize(("key", "sent"), [("", None), ("own-key-123", "Bearer own-key-123")])
async def test_only_the_lanes_own_key_is_sent(
    lane: Lanes, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, key: str, sent: str | None
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "canary-of-the-cloud")
    provider = lane("m-2000-1-1", key)
    await run_provider(provider)
    await provider.models()
    assert {request.headers.get("authorization") for request in upstream.requests} == {sent}


@pytest.mark.parametrize("key", ["“abc”", "é", "abc\u200b", "a b", "a\n"])
async def test_an_invalid_key_is_named_and_no_request_is_sent(lane: Lanes, upstream: Upstream, key: str) -> None:
    provider = lane(key=key, api_key_env="GATE_KEY")
    with pytest.raises(ProviderError) as caught:
        await provider.prepare(unheard)
    assert caught.value.failure.kind == "auth"
    assert "The value of GATE_KEY" in caught.value.failure.message
    check = await provider.check()
    assert (check.ok, check.problem) == (False, caught.value.failure.message)
    assert not check.reachable
    assert not upstream.requests


async def test_listing_and_checking_models(lane: Lanes, upstream: Upstream) -> None:
    upstream.models = ["qwen3-coder:30b", "llama3:latest"]
    upstream.alias("qwen3-coder:30b", "m-2000-0-5")
    assert await lane().models() == ["llama3:latest", "qwen3-coder:30b", "qwen3-coder:30b"]
    check = await lane("qwen3-coder:30b").check()
    assert (check.ok, check.model_present, check.thinking, check.dialect) == (True, True, False, None)
    check = await lane("qwen3-coder:480b").check()
    assert (check.ok, check.reachable, check.model_present) == (False, True, False)
    assert check.command == "ollama pull qwen3-coder:480b"
    assert "qwen3-coder:30b" in check.remedy
    upstream.script("llama3", tell(R("hm"), FOREVER))
    check = await lane("llama3").check(probe=True)
    assert (check.ok, check.thinking, check.dialect) == (True, True, "thinking"), "a tag of latest need not be said"
    until(lambda: upstream.closed)


async def test_checking_a_missing_server_and_one_that_is_not_ollama(lane: Lanes, upstream: Upstream) -> None:
    away = await lane("m", base_url="http://127.0.0.1:9").check()
    assert (away.ok, away.reachable, away.command) == (False, False, "ollama serve")
    upstream.script("GET /api/tags", plain(200, "<html>login</html>", content_type="text/html"))
    check = await lane().check()
    assert (check.ok, check.reachable) == (False, True)
    assert "web page" in check.problem


async def test_a_pull_reports_its_progress(lane: Lanes) -> None:
    provider = lane("new:1b")
    phases = [phase async for phase in provider.pull()]
    assert {phase.name for phase in phases} == {PREPARING}
    assert [phase.done for phase in phases] == [None, 0, 400, 800, 1000, 1000, 1000, 1000]
    assert {phase.total for phase in phases} == {None, 1000}
    assert "new:1b" in await provider.models()


async def test_layers_of_a_pull_are_counted_together(lane: Lanes, upstream: Upstream) -> None:
    lines = b'{"status":"a","digest":"a","total":100,"completed":60}\n{"status":"b","digest":"b","total":50}\n'
    upstream.script("pull two:1b", streamed([lines[:40], lines[40:], b'{"status":"success"}']))
    phases = [phase async for phase in lane("two:1b").pull()]
    assert [(phase.done, phase.total) for phase in phases] == [(60, 100), (60, 150), (60, 150)]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            streamed([b'{"status":"pulling manifest"}\n', b'{"error":"pull model manifest: file does not exist"}\n']),
            "model_missing",
        ),
        (streamed([b'{"status":"pulling manifest"}\n']), "network"),
        (refuse(500, {"error": "disk full"}), "upstream"),
    ],
)
async def test_a_failed_pull(lane: Lanes, upstream: Upstream, answer: Any, kind: str) -> None:
    upstream.script("pull gone", answer)
    with pytest.raises(ProviderError) as raised:
        async for _ in lane("gone").pull():
            pass
    assert raised.value.failure.kind == kind


async def test_the_request_is_reported_as_sent_before_it_arrives(lane: Lanes, upstream: Upstream) -> None:
    provider = lane("m-2000-3-3")
    await provider.models()
    host = await streamed_for(provider, lambda: "/api/chat" in [request.path for request in upstream.requests])
    await provider.models()
    assert host.n_sent == 2  # when it connects and when it is written, but not for the other requests


async def test_closing_the_stream_early_closes_the_connection(lane: Lanes, upstream: Upstream) -> None:
    upstream.script("slow", tell(A("a"), FOREVER))
    upstream.script("pull slow", streamed([MANIFEST, FOREVER]))
    provider = lane("slow")
    await left_at_text(provider)
    until(lambda: len(upstream.closed) == 1)
    pulling = provider.pull()
    await anext(pulling)
    await pulling.aclose()
    until(lambda: len(upstream.closed) == 2)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/api", "/api/chat"])
async def test_an_address_with_a_path_is_refused_and_the_correct_one_named(
    lane: Lanes, upstream: Upstream, path: str
) -> None:
    got = await run_provider(lane(base_url=f"{upstream.ollama_url}{path}"))
    assert got.status == "error"
    assert got.fold.failure is not None
    assert got.fold.failure.kind == "bad_url"
    assert f'base_url = "{upstream.ollama_url}"' in got.fold.failure.remedy
