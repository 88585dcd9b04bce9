"""Checks of a real Ollama: what this app relies on there, asked of the server itself and through the app's provider.

    bash tests/run.sh --ollama http://127.0.0.1:11434        or without an address: OLLAMA_HOST, else this machine's

Needs nothing but the server: two small models are made there from the embedded model's weights (one has a template that
thinks), and removed at the end, however that comes. Takes 3 minutes at most. Prints the server's version and a line for
each check; the exit code is 0 if all of them held. Not part of the default run, which tries it on the tests' own
server.

The checks are sentences about both generations of the server, before and after 0.30 (May 2026); where these differ, the
version decides which one is right, and either is where it says nothing (a build from source: 0.0.0).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.events import LOADING_MODEL, Phase
from kimi_ui.core.lane import Limits
from kimi_ui.providers.base import ChatRequest, Message
from kimi_ui.providers.embedded.weights import WeightsStore
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible, OpenAILane
from kimi_ui.providers.presets import ollama_url

from .support.engine_run import running
from .support.folding import Outcome, run_provider

MOST_S = 175.0
NUM_CTX = 512  # tokens; small, because servers before 0.30 read a prompt slowly on a CPU
APART_S = 0.5  # between our clock and the server's; 3 ms were seen, a busy machine adds to it
TRAINED = 8192  # tokens, of SmolLM2
LONG = "word " * 1200
CONTINUED = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"
SAMPLING = {"temperature": 0, "repeat_penalty": 1.0}  # so that the numbers go on
LISTING_TEMPLATE = "{{- range .Messages }}{{ .Content }}{{ end }}"  # a text that goes on, so that answers are long
THINKING_TEMPLATE = """<|im_start|>user
What is 7 times 6?<|im_end|>
<|im_start|>assistant
<think>
The user wants a product. 7 times 6 is 42. I should give the number.
</think>
7 times 6 is 42.<|im_end|>
<|im_start|>user
What is the capital of Italy?<|im_end|>
<|im_start|>assistant
<think>
The user asks for the capital of Italy. I know that it is Rome. I should answer in one short sentence.
</think>
The capital of Italy is Rome.<|im_end|>
{{- range .Messages }}
<|im_start|>{{ .Role }}
{{ if .Thinking }}<think>
{{ .Thinking }}
</think>
{{ end }}{{ .Content }}<|im_end|>
{{- end }}
<|im_start|>assistant
{{ if .Think }}<think>
{{ end }}"""


class Broken(Exception):
    """A check did not hold; the message says what came instead."""


def hold(condition: object, came: object) -> None:
    if not condition:
        raise Broken(str(came))


@dataclass
class Tier:
    """The server under test and the two models that were made there."""

    http: httpx.AsyncClient
    url: str
    version: str
    plain: str
    thinking: str

    @property
    def is_new(self) -> bool | None:
        """Whether the server is 0.30 or later; None where its version says nothing."""
        try:
            number = tuple(int(part) for part in self.version.split("-")[0].split(".")[:2])
        except ValueError:
            return None
        return number >= (0, 30) if number > (0, 0) else None

    async def chat(self, prompt: str, model: str = "", num_predict: int = 8, **fields: Any) -> tuple[int, Any]:
        """The status and the last line of a raw answer."""
        options = {"num_ctx": NUM_CTX, "num_predict": num_predict, **SAMPLING, **fields.pop("options", {})}
        body = {"messages": [{"role": "user", "content": prompt}], "options": options, **fields}
        response = await self.http.post("/api/chat", json={"model": model or self.plain, **body})
        lines = response.content.splitlines()
        return response.status_code, orjson.loads(lines[-1]) if lines else {}

    async def ask(self, prompt: str = CONTINUED, model: str = "", num_predict: int = 8, **fields: Any) -> Outcome:
        """What the app's provider makes of an answer."""
        params = {"num_predict": num_predict, **SAMPLING, **fields.pop("params", {})}
        spec = OllamaLane("tier", "Tier", "ollama", model=model or self.plain, base_url=self.url, params=params)
        lane = Ollama(_with(spec, {"num_ctx": NUM_CTX, **fields}))
        try:
            return await run_provider(lane, ChatRequest((Message("user", prompt),), {}))
        finally:
            await lane.aclose()

    def turn(self, prompt: str) -> AttemptFold:
        """What becomes of a whole turn, sent by the engine. Blocks."""
        own = {"num_ctx": NUM_CTX, "params": {"num_predict": 8}, "limits": Limits(60, 60, 90)}
        spec = OllamaLane("tier", "Tier", "ollama", model=self.plain, base_url=self.url)
        with running(None, Ollama(_with(spec, own))) as run:
            return run.folds(run.engine.send(prompt))["tier"]

    async def in_memory(self, model: str) -> int | None:
        """The context with which the model is in memory; None if it is not."""
        running = (await self.http.get("/api/ps")).json()["models"]
        return next((each.get("context_length", 0) for each in running if each["name"].split(":")[0] == model), None)

    async def unload(self, model: str = "") -> None:
        """Have the model leave the memory, and wait until it has."""
        await self.http.post("/api/chat", json={"model": model or self.plain, "messages": [], "keep_alive": 0})
        hold(await self.has_left(model or self.plain), "a model that was unloaded stays in ps")

    async def has_left(self, model: str) -> bool:
        """Whether the model leaves the memory within 5 s."""
        for _ in range(100):
            if await self.in_memory(model) is None:
                return True
            await asyncio.sleep(0.05)
        return False


def _with(spec: OllamaLane, fields: dict[str, Any]) -> OllamaLane:
    return OllamaLane(**{**spec.__dict__, **fields})


# -- what is checked, in the order of the notes: what holds, a prompt too long, waiting, refusals


async def answers(tier: Tier) -> None:
    """A plain answer comes whole, is counted by the server, and takes as long as the server says"""
    await tier.chat("hi")  # now it is loaded
    began = time.perf_counter()
    _, done = await tier.chat(CONTINUED, num_predict=40)
    apart_s = time.perf_counter() - began - done["total_duration"] / 1e9
    hold(abs(apart_s) < APART_S, f"total_duration differs by {apart_s * 1000:.0f} ms")
    got = await tier.ask()
    usage = got.fold.usage
    hold(got.status in ("ok", "length") and got.fold.answer, f"{got.status}: {got.fold.failure}")
    hold(usage.source == "server" and usage.output_tokens and usage.input_tokens, usage)


async def thinks(tier: Tier) -> None:
    """A model that can think does, apart from its answer; of one that cannot it is not asked"""
    got = await tier.ask("What is 3 plus 4?", tier.thinking, num_predict=120)
    hold(got.fold.reasoning and got.status in ("ok", "length", "no_answer"), f"{got.status}: no reasoning came")
    got = await tier.ask("What is 3 plus 4?", tier.thinking, num_predict=60, think="low")
    hold(got.status in ("ok", "length", "no_answer"), f"think = low: {got.fold.failure}")
    got = await tier.ask()
    hold(not got.fold.reasoning and "think_unsupported" not in got.fold.flags, got.fold.flags)
    status, said = await tier.chat("hi", think=True)
    hold(status == 400 and "does not support thinking" in said["error"], said)


async def names(tier: Tier) -> None:
    """A name may be in another case, and have the tag latest or none"""
    for name in (tier.plain.upper(), f"{tier.plain}:latest"):
        got = await tier.ask(model=name)
        hold(got.status in ("ok", "length"), f"{name}: {got.fold.failure}")


async def openai(tier: Tier) -> None:
    """The server's /v1 serves an openai lane"""
    lane = OpenAICompatible(OpenAILane("v1", "V1", "openai", model=tier.plain, base_url=f"{tier.url}/v1"), "ollama")
    try:
        got = await run_provider(lane, ChatRequest((Message("user", CONTINUED),), {"max_tokens": 8}))
    finally:
        await lane.aclose()
    hold(got.status in ("ok", "length") and got.fold.answer, f"{got.status}: {got.fold.failure}")


async def describes(tier: Tier) -> None:
    """The server tells what a model can do and was trained for, and the app reads it"""
    shown = (await tier.http.post("/api/show", json={"model": tier.thinking})).json()
    info = shown["model_info"]
    trained = info.get(f"{info['general.architecture']}.context_length")
    hold(trained == TRAINED, f"context_length {trained}")
    hold("thinking" in shown.get("capabilities", ()), shown.get("capabilities"))
    for model, can in ((tier.thinking, True), (tier.plain, False)):
        lane = Ollama(OllamaLane("tier", "Tier", "ollama", model=model, base_url=tier.url))
        check = await lane.check()
        hold(check.ok and check.thinking is can, check)


async def cuts(tier: Tier) -> None:
    """A prompt that is too long is cut to half of the context plus 2 (before 0.30: to all of it), without a word"""
    status, done = await tier.chat(LONG)
    count, right = done.get("prompt_eval_count"), {True: [258], False: [512], None: [258, 512]}[tier.is_new]
    hold(status == 200 and done["done"] and count in right, f"{status}, prompt_eval_count {count}")


async def refuses(tier: Tier) -> None:
    """Asked not to cut, it refuses, and the app says that the context is the reason; an older one is found out"""
    status, said = await tier.chat(LONG, truncate=False)
    if tier.is_new:
        hold(status == 400 and '"n_prompt_tokens"' in said["error"], said)
    fold = await asyncio.to_thread(tier.turn, LONG)
    if failure := fold.failure:
        hold(failure.kind == "context" and str(NUM_CTX) in failure.message + failure.remedy, failure)
    else:
        hold("context_truncated" in fold.flags and not tier.is_new, f"{fold.status}, {fold.flags}")


async def fills(tier: Tier) -> None:
    """An answer that fills the context ends there with shift: false, and without it the beginning is forgotten"""
    small: dict[str, Any] = {"num_predict": 400, "options": {"num_ctx": 256}}
    status, done = await tier.chat(CONTINUED, shift=False, **small)
    read, written = done.get("prompt_eval_count", 0), done.get("eval_count", 0)
    hold(status == 200 and done.get("done_reason") == "length", f"{status} {done.get('done_reason')}")
    obeys = abs(read + written - 256) <= 2
    hold(obeys or (written == 400 and not tier.is_new), f"{read} + {written} tokens")  # an older one does not know it
    status, done = await tier.chat(CONTINUED, **small)
    hold(done.get("eval_count") == 400, f"{done.get('eval_count')} tokens although the beginning may go")
    got = await tier.ask(CONTINUED, num_predict=400, num_ctx=256)
    hold(got.status == "length", f"{got.status}: {got.fold.failure}")


async def loads(tier: Tier) -> None:
    """A model is in ps once it is loaded, with its context, and the app says that it loads only while it does"""
    await tier.unload()
    cold = await tier.ask()
    hold(_loading(cold), "no phase of a model that is not loaded")
    hold(await tier.in_memory(tier.plain) == NUM_CTX, f"ps has context_length {await tier.in_memory(tier.plain)}")
    hold(not _loading(await tier.ask()), "a loaded model is said to load")
    other = await tier.ask(num_ctx=2 * NUM_CTX)
    hold(_loading(other), "another num_ctx loads it again, and no phase says so")
    hold(await tier.in_memory(tier.plain) == 2 * NUM_CTX, f"ps has context_length {await tier.in_memory(tier.plain)}")
    await tier.chat("hi", options={"num_ctx": 2 * TRAINED})
    found = await tier.in_memory(tier.plain)
    hold(found == TRAINED, f"num_ctx beyond what the model was trained for gives {found}")


async def keeps(tier: Tier) -> None:
    """keep_alive keeps a model, and 0 lets it go"""
    await tier.ask(keep_alive="-1")
    hold(await tier.in_memory(tier.plain) is not None, "it has gone")
    await tier.ask(keep_alive="0")
    hold(await tier.has_left(tier.plain), "it stays")


async def queues(tier: Tier) -> None:
    """Requests beyond what a model answers at once wait, and the server's counters leave the wait over"""
    await tier.chat("hi")

    async def one() -> tuple[float, Any]:
        began = time.perf_counter()
        _, done = await tier.chat(CONTINUED, num_predict=100)
        return time.perf_counter() - began, done

    got = sorted(await asyncio.gather(*(one() for _ in range(4))), key=lambda each: each[0])
    parts = ("load_duration", "prompt_eval_duration", "eval_duration")
    waits = [(done["total_duration"] - sum(done.get(part, 0) for part in parts)) / 1e9 for _, done in got]
    for took_s, done in got:
        apart_s = took_s - done["total_duration"] / 1e9
        hold(abs(apart_s) < APART_S, f"total_duration differs by {apart_s * 1000:.0f} ms")
    hold(all(wait > -0.05 for wait in waits), f"the parts are longer than the whole: {waits}")
    if got[-1][0] > 2.5 * got[0][0]:  # one at a time
        hold(waits[-1] > 0.5 * (got[-1][0] - got[0][0]), f"waits of {waits} s, after {got[-1][0]:.2f} s")


async def waits_to_load(tier: Tier) -> None:
    """A request that makes the server load again waits for the running one, inside load_duration"""
    await tier.chat("hi")
    running = asyncio.create_task(tier.chat(CONTINUED, num_predict=300))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(tier.chat("hi", options={"num_ctx": 2 * NUM_CTX}))
    await asyncio.wait((running, second), return_when=asyncio.FIRST_COMPLETED)
    hold(running.done(), "it does not wait")
    await running
    _, done = await second
    # Both by the server's clock: ours begins before the server has the request, the more so on a busy machine.
    waited_s = (done["total_duration"] - done["prompt_eval_duration"] - done["eval_duration"]) / 1e9
    told_s = done["load_duration"] / 1e9
    hold(told_s > 0.7 * waited_s, f"it waited {waited_s:.2f} s, load_duration is {told_s:.2f} s")


async def stops(tier: Tier) -> None:
    """Whoever leaves frees the server at once"""
    began = time.perf_counter()
    await tier.chat(CONTINUED, num_predict=400)
    whole_s = time.perf_counter() - began
    leaving = asyncio.create_task(tier.chat(CONTINUED, num_predict=400))
    await asyncio.sleep(min(0.2, whole_s / 4))
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    began = time.perf_counter()
    await tier.chat("hi", num_predict=1)
    took_s = time.perf_counter() - began
    hold(took_s < 0.5 * whole_s + APART_S, f"the next answer took {took_s:.2f} s, a whole one takes {whole_s:.2f} s")


async def missing(tier: Tier) -> None:
    """A model that is not there is offered to be pulled"""
    got = await tier.ask(model="kimi-ui-tier-no-such-model:7b")
    failure = got.fold.failure
    hold(failure and failure.kind == "model_missing" and "ollama pull" in failure.command, failure)


async def words(tier: Tier) -> None:
    """An option of a wrong type and a wrong think are named"""
    got = await tier.ask(params={"temperature": "hot"})
    hold(got.fold.failure and "temperature" in got.fold.failure.message, got.fold.failure)
    status, said = await tier.chat("hi", tier.thinking, think="banana")
    hold(status == 400 and "think" in said["error"], f"{status} {said}")


Check = Callable[[Tier], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    *(answers, thinks, names, openai, describes, cuts, refuses, fills, loads, keeps),
    *(queues, waits_to_load, stops, missing, words),
)


def _loading(got: Outcome) -> bool:
    return any(isinstance(event, Phase) and event.name == LOADING_MODEL for event in got.events)


# -- the models of the tier


@asynccontextmanager
async def made(http: httpx.AsyncClient, weights: bytes) -> AsyncIterator[tuple[str, str]]:
    """Two models with names of their own, made of the weights; removed in any case."""
    mark = uuid.uuid4().hex[:8]
    plain, thinking = f"kimi-ui-tier-{mark}", f"kimi-ui-tier-thinks-{mark}"
    digest = f"sha256:{hashlib.sha256(weights).hexdigest()}"
    try:
        if (await http.head(f"/api/blobs/{digest}")).status_code != 200:
            binary = {"content-type": "application/octet-stream"}
            sent = await http.post(f"/api/blobs/{digest}", content=weights, headers=binary)
            sent.raise_for_status()
        await _create(http, plain, files={"model.gguf": digest}, template=LISTING_TEMPLATE)
        stop = ["<|im_start|>", "<|im_end|>"]
        await _create(http, thinking, **{"from": plain}, template=THINKING_TEMPLATE, parameters={"stop": stop})
        yield plain, thinking
    finally:
        for model in (plain, thinking):
            with contextlib.suppress(httpx.HTTPError):
                await http.request("DELETE", "/api/delete", json={"model": model})


async def _create(http: httpx.AsyncClient, model: str, **fields: Any) -> None:
    response = await http.post("/api/create", json={"model": model, **fields})
    lines = [orjson.loads(line) for line in response.content.splitlines()]
    if response.status_code != 200 or not lines or lines[-1].get("status") != "success":
        raise Broken(f"{model} could not be made there: {lines[-1:] or response.status_code}")


# -- running them


async def run(
    url: str, weights: bytes, tell: Callable[[str], None] = print, checks: Sequence[Check] | None = None
) -> bool:
    """Run the checks, all if none are named; whether they held. Raises ``httpx.HTTPError`` if there is no server."""
    began, n_held, checks = time.monotonic(), 0, checks or CHECKS
    async with httpx.AsyncClient(base_url=url, timeout=MOST_S, trust_env=False) as http:
        version = (await http.get("/api/version")).raise_for_status().json()["version"]
        tell(f"Ollama {version} at {url}")
        try:
            async with asyncio.timeout(MOST_S), made(http, weights) as (plain, thinking):
                tier = Tier(http, url, version, plain, thinking)
                for check in checks:
                    n_held += await _held(check, tier, tell)
        except TimeoutError:
            tell(f"✗ All of it takes at most {MOST_S:.0f} s: it was stopped there")
        except Broken as error:
            tell(f"✗ {error}")
    took_s = time.monotonic() - began
    tell(f"Ollama {version}: {n_held} of {len(checks)} held, in {took_s:.0f} s")
    return n_held == len(checks)


async def _held(check: Check, tier: Tier, tell: Callable[[str], None]) -> bool:
    sentence = str(check.__doc__)
    try:
        await check(tier)
    except (Broken, httpx.HTTPError, KeyError, TypeError, ValueError) as error:
        tell(f"✗ {sentence}\n    {type(error).__name__}: {error}")
        return False
    tell(f"✓ {sentence}")
    return True


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the checks like Ctrl-C, so that the models are removed."""
    before = signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: list[str]) -> int:
    url = ollama_url({"OLLAMA_HOST": argv[0] if argv else os.environ.get("OLLAMA_HOST", "")})
    store = WeightsStore()
    if not store.is_present():
        print("Fetching the embedded model's weights (93 MB, once)", flush=True)
    weights = store.ensure(lambda done, total: None)
    try:
        with _ended_by_signals():
            return 0 if asyncio.run(run(url, weights.read_bytes())) else 1
    except httpx.HTTPError as error:
        print(f"No Ollama answers at {url} ({error}). Start it (ollama serve), or give its address.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
