"""The test server itself, used through the real clients."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time

import httpx
import ollama
import openai
import pytest

from tests.support import wire
from tests.support.upstream import Upstream
from tests.support.waiting import until


async def test_openai_client_reads_a_paced_stream(upstream: Upstream) -> None:
    reasoning = answer = ""
    usage = None
    async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="m-2000-30-20", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                answer += choice.delta.content or ""
    assert usage is not None
    assert usage.completion_tokens == 50
    assert len(re.findall(r"@\d{13}@", reasoning)) == 3
    assert len(re.findall(r"@\d{13}@", answer)) == 2
    (request,) = upstream.requests
    assert request.body["model"] == "m-2000-30-20"
    assert request.headers["authorization"] == "Bearer k"
    assert upstream.closed == []


@pytest.mark.parametrize("variant", ["think-tags", "reasoning", "details", "no-usage"])
async def test_variants_of_the_dialect(upstream: Upstream, variant: str) -> None:
    async with httpx.AsyncClient() as client:
        body = {"model": f"m-5000-9-5-{variant}", "messages": []}
        text = (await client.post(f"{upstream.base_url}/chat/completions", json=body)).text
    assert ("<think>" in text) == (variant == "think-tags")
    assert ('"reasoning":' in text) == (variant == "reasoning")
    assert ("reasoning_details" in text) == (variant == "details")
    assert ("completion_tokens" in text) == (variant != "no-usage")


async def test_ollama_client_reads_chat_show_pull_ps(upstream: Upstream) -> None:
    client, said = ollama.AsyncClient(host=upstream.ollama_url), [{"role": "user", "content": "hi"}]
    try:
        upstream.alias("qwen3-coder:30b", "m-5000-0-6")
        assert "thinking" not in (await client.show("qwen3-coder:30b")).capabilities
        assert "thinking" in (await client.show("m-5000-3-6")).capabilities
        parts = [part async for part in await client.chat("m-5000-3-6", messages=said, stream=True)]
        assert sum(part.message.thinking is not None for part in parts) == 3
        assert parts[-1].eval_count == 9
        completed = [part.completed async for part in await client.pull("new:1b", stream=True)]
        assert [count for count in completed if count] == [400, 800, 1000]
        assert "new:1b" in [m.model for m in (await client.list()).models]
        assert "qwen3-coder:30b" in [m.model for m in (await client.ps()).models]
        with pytest.raises(ollama.ResponseError, match="not found"):
            await client.show("absent")
    finally:
        await client.close()


async def test_a_client_that_disconnects_is_noticed(upstream: Upstream) -> None:
    body = {"model": "m-50-1000-1000", "messages": []}
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{upstream.base_url}/chat/completions", json=body) as response,
    ):
        async for _ in response.aiter_raw():
            break
        left = time.monotonic()
    await asyncio.to_thread(until, lambda: upstream.closed)
    (request,) = upstream.closed
    assert request.model == "m-50-1000-1000"
    assert request.closed_t is not None
    assert request.closed_t > left - 1


async def test_one_connection_serves_many_requests(upstream: Upstream) -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(50):
            assert (await client.get(f"{upstream.base_url}/models")).json()["object"] == "list"
    assert len(upstream.requests) == 50
    assert not upstream.closed


async def test_toxics_compose(upstream: Upstream) -> None:
    ok = wire.streamed([b"data: 1\n\n", 0.001, b"data: 2\n\n"])
    cases = {
        "whole": wire.toxic(ok, wire.slicer(3), wire.latency(0.0001)),
        "cut": wire.toxic(ok, wire.limit_data(110)),
        "reset": wire.toxic(ok, wire.reset_peer(110)),
        "none": wire.toxic(ok, wire.reset_peer()),
        "slow": wire.toxic(ok, wire.bandwidth(100_000), wire.slow_close(0.05)),
        "stalled": wire.toxic(ok, wire.stall(110, 0.05)),
    }
    got: dict[str, object] = {}
    for name, behaviour in cases.items():
        upstream.script(name, behaviour)
        async with httpx.AsyncClient() as client:
            try:
                body = {"model": name, "messages": []}
                got[name] = (await client.post(f"{upstream.base_url}/chat/completions", json=body)).text
            except httpx.HTTPError as error:
                got[name] = type(error)
    whole = "data: 1\n\ndata: 2\n\n"
    assert got["whole"] == got["slow"] == got["stalled"] == whole
    assert got["cut"] is httpx.RemoteProtocolError
    assert {got["reset"], got["none"]} <= {httpx.ReadError, httpx.RemoteProtocolError}


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "tests.support.upstream", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            base_url = line.split()[1]
            assert httpx.get(f"{base_url}/models").status_code == 200
        finally:
            process.terminate()
