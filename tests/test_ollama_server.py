"""The behaviour of the tests' own Ollama, in both generations, compared with recordings of the real one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.support.ollama_server import NO_SPACE, Habits, Model, after_030, before_030
from tests.support.paced import Plan
from tests.support.upstream import Upstream
from tests.support.waiting import until

RECORDED = Path(__file__).parent / "recorded" / "ollama"
NAME = "smol:135m"
LONG = "word " * 9_000  # one token per word
BOTH = pytest.mark.parametrize("habits", [after_030(), before_030()], ids=["0.33", "0.12.6"])


class Client:
    """Sends raw requests to ``upstream``."""

    def __init__(self, upstream: Upstream, http: httpx.AsyncClient) -> None:
        self.upstream, self.http = upstream, http

    async def get(self, path: str) -> Any:
        return (await self.http.get(path)).json()

    async def post(self, path: str, body: Any) -> tuple[int, list[Any]]:
        """The status, and every line."""
        response = await self.http.post(path, json=body)
        return response.status_code, [orjson.loads(line) for line in response.content.splitlines()]

    async def chat(self, prompt: str = "hi", model: str = NAME, **fields: Any) -> tuple[int, list[Any]]:
        said = [{"role": "user", "content": prompt}]
        return await self.post("/api/chat", {"model": model, "messages": said, **fields})

    async def done(self, prompt: str = "hi", model: str = NAME, num_ctx: int = 4096, **fields: Any) -> Any:
        """The last line of an answer."""
        status, lines = await self.chat(prompt, model, options={"num_ctx": num_ctx}, **fields)
        assert status == 200, lines
        return lines[-1]

    async def arrived(self, count: int) -> None:
        """Wait until this number of chats has arrived."""
        await self.until(lambda: sum(request.path == "/api/chat" for request in self.upstream.requests) >= count)

    async def until(self, condition: Callable[[], bool]) -> None:
        await asyncio.to_thread(until, condition)

    async def in_memory(self) -> list[tuple[str, int]]:
        return [(each["name"], each["context_length"]) for each in (await self.get("/api/ps"))["models"]]


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[Client]:
    upstream.alias(NAME, "m-2000-0-4", trained=8192)
    async with httpx.AsyncClient(base_url=upstream.ollama_url, timeout=60) as http:
        yield Client(upstream, http)


def spent(done: Any, *names: str) -> float:
    """Seconds."""
    return float(sum(done[f"{name}_duration"] for name in names)) / 1e9


def shape(value: Any) -> Any:
    """The names and types of a JSON value, lists by their first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else type(value)


# -- shapes


async def test_the_shapes_are_those_recorded(client: Client) -> None:
    def recorded(name: str) -> Any:
        return orjson.loads((RECORDED / name).read_bytes().splitlines()[-1])

    client.upstream.models = []
    client.upstream.ollama.add("smol", Model(Plan(2000, 0, 4, ""), 8192))
    client.upstream.ollama.add("smolthink", Model(Plan(2000, 4, 4, ""), 8192))
    status, lines = await client.chat(model="smol")
    assert status == 200
    assert shape(lines[-1]) == shape(recorded("chat-plain-cold.ndjson"))
    status, lines = await client.chat(model="smolthink")
    first = orjson.loads((RECORDED / "chat-thinking.ndjson").read_bytes().splitlines()[0])
    assert status == 200
    assert shape(lines[0]) == shape(first)
    assert shape(await client.get("/api/ps")) == shape(recorded("ps.json"))
    assert shape(await client.get("/api/tags")) == shape(recorded("tags.json"))
    _, (shown,) = await client.post("/api/show", {"model": "smol"})
    real = orjson.loads((RECORDED / "show.json").read_bytes())
    assert shape({**shown, "model_info": {}}) == shape({**real, "model_info": {}})
    assert shape(shown["model_info"]).items() <= shape(real["model_info"]).items()

    assert await client.chat(model="nosuch:7b") == (404, [recorded("error-missing.json")])
    assert await client.chat(model="smol", think=True) == (400, [recorded("error-think.json")])
    status, lines = await client.chat(LONG, "smol", truncate=False)
    assert status == 400
    ours, real = orjson.loads(lines[0]["error"]), orjson.loads(recorded("error-context.json")["error"])
    assert shape(ours) == shape(real)
    assert ours["error"]["message"].split(" (")[0] == real["error"]["message"].split(" (")[0]

    _, pulled = await client.post("/api/pull", {"model": "new:1b"})
    real_pull = [orjson.loads(line) for line in (RECORDED / "pull.ndjson").read_bytes().splitlines()]
    assert shape(pulled[1]) == shape(real_pull[1])
    assert [pulled[0], *pulled[-3:]] == [real_pull[0], *real_pull[-3:]]


@BOTH
async def test_what_each_generation_reports_about_its_models(client: Client, habits: Habits) -> None:
    client.upstream.models, client.upstream.ollama.habits = [NAME], habits
    (tag,) = (await client.get("/api/tags"))["models"]
    assert ("capabilities" in tag, "context_length" in tag["details"]) == (habits.lists_details,) * 2
    assert await client.get("/api/version") == {"version": habits.version}
    assert (await client.post("/api/show", {"model": "SMOL:135M"}))[0] == 200


# -- a prompt that is too long


@pytest.mark.parametrize(("habits", "read"), [(after_030(), 2050), (before_030(), 4096)])
async def test_a_message_beyond_the_context_is_cut_without_notice(client: Client, habits: Habits, read: int) -> None:
    client.upstream.ollama.habits = habits
    done = await client.done(LONG)
    assert (done["done_reason"], done["prompt_eval_count"]) == ("stop", read)
    done = await client.done(LONG, num_ctx=16_384)
    trained = {2050: 4098, 4096: 8192}[read]
    assert done["prompt_eval_count"] == trained, "no larger context than it was trained for is used"


async def test_whole_messages_are_dropped_from_the_front(client: Client) -> None:
    texts = ["Be brief.", "word " * 2000, "yes", "word " * 1000, "yes", "word " * 1500]
    roles = ["system", "user", "assistant", "user", "assistant", "user"]
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    _, lines = await client.post("/api/chat", {"model": NAME, "messages": messages, "options": {"num_ctx": 4096}})
    assert 2500 < lines[-1]["prompt_eval_count"] < 2600


@pytest.mark.parametrize(
    ("habits", "status", "words"),
    [
        (after_030(), 400, '"n_ctx":4096'),
        (before_030(), 400, "the input length exceeds the context length"),
        (after_030(refusal="stream"), 200, "context length currently available to the model"),
    ],
)
async def test_with_truncate_false_it_refuses(client: Client, habits: Habits, status: int, words: str) -> None:
    client.upstream.ollama.habits = habits
    came, lines = await client.chat(LONG, truncate=False, options={"num_ctx": 4096})
    assert came == status
    assert words in lines[-1]["error"]
    came, lines = await client.chat("hi", truncate=False, options={"num_ctx": 4096})
    assert came == 200
    assert lines[-1]["done_reason"] == "stop"


async def test_an_older_server_does_not_know_the_field(client: Client) -> None:
    client.upstream.ollama.habits = before_030(refusal="none")
    assert (await client.done(LONG, truncate=False))["prompt_eval_count"] == 4096


async def test_a_window_that_fills_up_during_the_answer(client: Client) -> None:
    client.upstream.alias("talker", "m-100000-0-600")
    done = await client.done(model="talker", num_ctx=256)
    assert (done["done_reason"], done["eval_count"]) == ("stop", 600), "the beginning was forgotten"
    done = await client.done(model="talker", num_ctx=256, shift=False)
    assert (done["done_reason"], done["prompt_eval_count"] + done["eval_count"]) == ("length", 256)
    _, lines = await client.chat(model="talker", options={"num_predict": 7})
    assert (lines[-1]["done_reason"], lines[-1]["eval_count"]) == ("length", 7)


# -- waiting


@pytest.mark.parametrize(("slots", "waiting"), [(1, 3), (4, 0)])
async def test_requests_beyond_its_slots_wait_and_the_counters_exclude_the_wait(
    client: Client, slots: int, waiting: int
) -> None:
    server = client.upstream.ollama
    server.habits = after_030(slots=slots)
    held = server.hold(NAME)
    asked = [asyncio.create_task(client.done()) for _ in range(4)]
    await client.arrived(4)
    await asyncio.sleep(0.3)
    held.set()
    queued = [
        spent(done, "total") - spent(done, "load", "prompt_eval", "eval") for done in await asyncio.gather(*asked)
    ]
    assert sum(wait > 0.2 for wait in queued) == waiting
    assert sum(wait < 0.1 for wait in queued) == 4 - waiting


async def test_another_context_of_a_busy_model_waits_inside_load_duration(client: Client) -> None:
    server = client.upstream.ollama
    server.habits.load_s = 0.05
    await client.done(num_ctx=4096)
    held = server.hold(NAME)
    first = asyncio.create_task(client.done(num_ctx=4096))
    await client.arrived(2)
    second = asyncio.create_task(client.done(num_ctx=2048))
    await client.arrived(3)
    await asyncio.sleep(0.5)
    assert await client.in_memory() == [(NAME, 4096)]
    held.set()
    done = await first
    assert spent(await second, "load") > 0.3
    assert done["done"]
    assert await client.in_memory() == [(NAME, 2048)]


async def test_a_model_that_does_not_fit_takes_the_place_of_another(client: Client) -> None:
    server = client.upstream.ollama
    server.habits.room = 1
    client.upstream.alias("other:1b", "m-2000-0-4")
    server.unload_all()
    assert await client.get("/api/ps") == {"models": []}
    for name in (NAME, "other:1b"):
        await client.done(model=name)
        assert await client.in_memory() == [(name, 4096)]


async def test_keep_alive_sets_how_long_a_model_stays(client: Client) -> None:
    server, ask = client.upstream.ollama, {"model": NAME, "messages": []}
    await client.done(keep_alive=-1)
    assert server.loaded == [NAME]
    await client.done(keep_alive=0)
    await client.until(lambda: server.loaded == [])
    assert (await client.post("/api/chat", ask))[1][0]["done_reason"] == "load"
    assert server.loaded == [NAME]
    await client.done(keep_alive="10ms")
    await client.until(lambda: server.loaded == [])
    await client.post("/api/chat", ask)
    assert (await client.post("/api/chat", {**ask, "keep_alive": 0}))[1][0]["done_reason"] == "unload"
    await client.until(lambda: server.loaded == [])


async def test_a_client_that_disconnects_frees_the_slot(client: Client) -> None:
    client.upstream.alias("slow:1b", "m-2-0-1000")
    first = asyncio.create_task(client.done(model="slow:1b"))
    await client.arrived(1)
    second = asyncio.create_task(client.chat(model="slow:1b", options={"num_ctx": 4096, "num_predict": 1}))
    await client.arrived(2)
    first.cancel()
    status, lines = await second
    assert status == 200
    assert lines[-1]["eval_count"] == 1
    assert len(client.upstream.closed) == 1


async def test_a_full_queue_refuses(client: Client) -> None:
    client.upstream.ollama.habits.most_pending = 0
    status, lines = await client.chat()
    assert status == 503
    assert "maximum pending requests exceeded" in lines[0]["error"]


@BOTH
async def test_counters_of_a_prompt_cover_all_of_it_or_only_the_last_batch(client: Client, habits: Habits) -> None:
    client.upstream.ollama.habits = habits
    habits.prompt_tps = 3_000
    done = await client.done("word " * 1_500)
    over = spent(done, "total") - spent(done, "load", "prompt_eval", "eval")
    told = spent(done, "prompt_eval")
    if habits.counts_whole_prompt:
        assert told >= 0.5
        assert over < 0.1
    else:  # of three batches, the last one only
        assert told < 0.3
    assert done["prompt_eval_count"] > 1_500


# -- refusals


async def test_refused_requests(client: Client) -> None:
    server = client.upstream.ollama
    server.add("embed", Model(Plan(1, 0, 1, ""), chats=False))
    server.add("broken", Model(Plan(1, 0, 1, ""), load_error="unable to load model: x"))
    server.add("kimi-k2:cloud", Model(Plan(2000, 0, 3, ""), remote=True))
    server.add("thinker", Model(Plan(2000, 2, 2, "")))
    image = [{"role": "user", "content": "see", "images": ["aGk="]}]

    async def said(status: int, **fields: Any) -> str:
        came, lines = await client.post("/api/chat", {"messages": [{"role": "user", "content": "hi"}], **fields})
        assert came == status
        return str(lines[0]["error"])

    assert await said(400, model="embed") == '"embed" does not support chat'
    assert "must be of type float32" in await said(400, model=NAME, options={"temperature": "hot"})
    assert "invalid think value" in await said(400, model=NAME, think="banana")
    assert "Multimodal data" in await said(400, model=NAME, messages=image)
    assert await said(500, model="broken") == "unable to load model: x"
    assert await said(401, model="kimi-k2:cloud") == "unauthorized"
    server.habits.online = False
    assert "no such host" in await said(502, model="kimi-k2:cloud")
    server.habits = before_030()
    assert "is not supported" in await said(400, model="thinker", think="low")
    server.habits = after_030(signed_in=True)
    assert (await client.chat(model="kimi-k2:cloud"))[0] == 200
    assert "kimi-k2:cloud" not in server.loaded
    _, (shown,) = await client.post("/api/show", {"model": "kimi-k2:cloud"})
    assert shown["remote_host"].startswith("https://ollama.com")


# -- models on disk


async def test_a_pull_continues_from_where_it_was(client: Client) -> None:
    pulling = client.upstream.ollama.pulling
    pulling.error, pulling.error_at = NO_SPACE, 800
    _, lines = await client.post("/api/pull", {"model": "new:1b"})
    assert [line["completed"] for line in lines[1:-1]] == [0, 400]
    assert lines[-1] == {"error": NO_SPACE}
    assert "new:1b" not in client.upstream.models
    pulling.error = ""
    _, lines = await client.post("/api/pull", {"model": "new:1b"})
    assert lines[1]["completed"] == 800
    assert lines[-1] == {"status": "success"}
    assert "new:1b" in client.upstream.models


async def test_a_model_is_created_from_weights_and_removed(client: Client) -> None:
    weights = b"GGUF of a test"
    digest = f"sha256:{hashlib.sha256(weights).hexdigest()}"
    http, binary = client.http, {"content-type": "application/octet-stream"}
    blob, other = f"/api/blobs/{digest}", f"/api/blobs/sha256:{'0' * 64}"
    assert (await http.head(blob)).status_code == 404
    assert (await http.post(other, content=weights, headers=binary)).status_code == 400
    assert (await http.post(blob, content=weights, headers=binary)).status_code == 201
    assert (await http.head(blob)).status_code == 200
    made = {"model": "made", "files": {"weights.gguf": digest}, "parameters": {"num_ctx": 2048}}
    assert (await client.post("/api/create", made))[1][-1] == {"status": "success"}
    await client.chat(model="made")
    assert (await client.get("/api/ps"))["models"][-1]["context_length"] == 2048
    thinks = {"model": "thinks", "from": "made", "template": "{{ .Prompt }}{{ .Thinking }}"}
    assert (await client.post("/api/create", thinks))[1][-1] == {"status": "success"}
    _, lines = await client.chat(model="Thinks:latest")
    assert lines[0]["message"]["thinking"]
    for name in ("made", "thinks"):
        assert (await http.request("DELETE", "/api/delete", json={"model": name})).status_code == 200
        assert (await client.chat(model=name))[0] == 404
