"""CPU time per chunk of a stream, in µs, for several ways of reading it. The goal is ≤ 150 for everything.

    python -m tests.benchmarks.parse_cost [--rates 500 100000] [--tokens 6000] [--rounds 3]

One JSON line per rate in tokens/s. At 500 most of it is waking up for every chunk, with any reader; at a rate that
no server reaches, chunks are always waiting, and only the work on them remains.

The model server is a separate process, so only reading is counted (user and system time).
Measured in turn, in the same process and run: ``openai_client`` only iterates the openai client's own stream (the
yardstick), ``provider`` is our provider alone, ``provider_engine_log`` everything up to the row in SQLite,
``ollama_client``/``ollama_provider`` the same for NDJSON. Each figure is the least of the rounds: the machine's other
work only adds. Streams that run at once share the cost of waking up, so three lanes cost less a chunk than one.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import ollama
import openai

from kimi_ui.core.lane import LaneChoice, LaneSpec
from kimi_ui.providers.base import ChatRequest, Message
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from tests.support.engine_run import running
from tests.support.folding import ALONE

from .harness import model_server, report

Way = Callable[[str, str], float]  # base URL, model → CPU seconds a stream
ASKED = ChatRequest((Message("user", "hello"),))
GOAL_US = 150


async def _openai_client(base_url: str, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
        stream = await client.chat.completions.create(model=model, messages=[], stream=True)
        async for _ in stream:
            pass


async def _provider(base_url: str, model: str) -> None:
    provider = OpenAICompatible(LaneSpec("a", "A", "openai", model=model, base_url=base_url))
    async for _ in provider.stream(ASKED, ALONE):
        pass
    await provider.aclose()


async def _ollama_client(base_url: str, model: str) -> None:
    client = ollama.AsyncClient(base_url.removesuffix("/v1"))
    async for _ in await client.chat(model, messages=[], stream=True):
        pass
    await client.close()


async def _ollama_provider(base_url: str, model: str) -> None:
    provider = Ollama(OllamaLane("a", "A", "ollama", model=model, base_url=base_url.removesuffix("/v1")))
    async for _ in provider.stream(ASKED, ALONE):
        pass
    await provider.aclose()


def _alone(read: Callable[[str, str], Coroutine[Any, Any, None]]) -> Way:
    def run(base_url: str, model: str) -> float:
        start = time.process_time()
        asyncio.run(read(base_url, model))
        return time.process_time() - start

    return run


def _cpu_of(*names: str) -> float:
    """CPU seconds of the threads with these names, which excludes this benchmark's own waiting."""
    clocks = [time.pthread_getcpuclockid(thread.ident or 0) for thread in threading.enumerate() if thread.name in names]
    return sum(map(time.clock_gettime, clocks))


def _whole_way(n_lanes: int) -> Way:
    """A turn of a running app: the engine and the log exist, and one turn has ended before."""

    def run(base_url: str, model: str) -> float:
        specs = [LaneSpec(str(n), str(n), "openai", model=model, base_url=base_url) for n in range(n_lanes)]
        with (
            tempfile.TemporaryDirectory() as folder,
            running(Path(folder) / "log", *map(OpenAICompatible, specs)) as run,
        ):
            warm = {spec.id: LaneChoice("m-5000-50-50") for spec in specs}
            run.rows(run.engine.send("hello", choices=warm))
            start = _cpu_of("engine", "log-writer")
            turn = run.engine.send("hello")
            while not turn.closed:
                time.sleep(0.5)  # rarely, since polling takes the GIL from the measured threads
            rows = run.rows(turn)
            spent = _cpu_of("engine", "log-writer") - start
        assert all(row[-1]["status"] == "ok" for row in rows.values())
        return spent / n_lanes

    return run


WAYS: dict[str, Way] = {
    "openai_client": _alone(_openai_client),
    "provider": _alone(_provider),
    "provider_engine_log": _whole_way(1),
    "provider_engine_log_3_lanes": _whole_way(3),
    "ollama_client": _alone(_ollama_client),
    "ollama_provider": _alone(_ollama_provider),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rates", type=int, nargs="+", default=[500, 100_000], help="tokens per second")
    parser.add_argument("--tokens", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with model_server() as base_url:
        for way in WAYS.values():
            way(base_url, "m-5000-50-50")  # so that imports and first connections are not measured
        for rate in options.rates:
            model = f"m-{rate}-{options.tokens // 2}-{options.tokens - options.tokens // 2}"
            least: dict[str, float] = {}
            for _ in range(options.rounds):
                for name, way in WAYS.items():
                    cost_us = way(base_url, model) * 1e6 / options.tokens
                    least[name] = round(min(cost_us, least.get(name, cost_us)), 1)
            report("parse_cost", rate=rate, goal_us=GOAL_US, cpu_us_per_chunk=least, tokens=options.tokens)


if __name__ == "__main__":
    main()
