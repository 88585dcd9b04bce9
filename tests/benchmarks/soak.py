"""A long run with random stops and refreshes: memory, sockets and threads must return to their initial numbers.

    python -m tests.benchmarks.soak [--minutes 20] [--visitors 6]

Visitors send prompts, disconnect during streams and resume after what they had received, and stop lanes at random.
Prints the app's RSS, open files, TCP connections and threads after warm-up, after each quarter of the run and one
minute after its end, each time after some seconds without a running turn, the tokens read, and the rows left open in
the log (there must be none).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import time
from typing import Any

import psutil

from .harness import App, app, model_server, report
from .visitors import Visitor

REST_S = 20
MODELS = ("m-60-200-100", "m-40-150-150", "m-80-300-60")


def usage(running: App) -> dict[str, Any]:
    process = psutil.Process(running.pid)
    return {
        "rss_mb": round(process.memory_info().rss / 1e6, 1),
        "files": process.num_fds(),
        "connections": len(process.net_connections("tcp")),
        "threads": process.num_threads(),
    }


async def visit(running: App, until: float, rng: random.Random, turns: list[str]) -> None:
    while time.monotonic() < until:
        visitor = Visitor(running.url)
        try:
            await visitor.open()
            for _ in range(rng.randint(1, 4)):
                turn_id = await visitor.send("soak " + "x" * rng.randint(0, 400))
                turns.append(turn_id)
                await watch(visitor, turn_id, rng)
        finally:
            await visitor.close()


async def watch(visitor: Visitor, turn_id: str, rng: random.Random) -> None:
    """Follow a turn; sometimes stop a lane, or disconnect and reconnect."""
    refresh_after, stop_after = rng.choice([5, 20, 10**9]), rng.choice([10, 40, 10**9])
    seen = 0
    while True:
        left = False
        frames = visitor.follow(turn_id)
        async for _ in frames:
            seen += 1
            if seen == stop_after:
                await visitor.stop(turn_id, f"lane{rng.randrange(len(MODELS))}")
            if seen == refresh_after:
                left = True
                break
        await frames.aclose()  # type: ignore[attr-defined]
        if not left:
            return


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--visitors", type=int, default=6)
    options = parser.parse_args()
    turns: list[str] = []
    with model_server() as base_url, app(base_url, MODELS) as running:

        async def run(minutes: float) -> None:
            until = time.monotonic() + minutes * 60
            await asyncio.gather(*(visit(running, until, random.Random(k), turns) for k in range(options.visitors)))

        await run(min(5.0, options.minutes / 4))  # until the caches of recent turns and pages are full
        await asyncio.sleep(REST_S)
        report("soak", at="warmed up", turns=len(turns), **usage(running))
        for quarter in range(4):
            await run(options.minutes / 4)
            await asyncio.sleep(REST_S)
            report("soak", at=f"{quarter + 1}/4", turns=len(turns), **usage(running))
        await asyncio.sleep(60)
        connection = sqlite3.connect(f"file:{running.db}?mode=ro", uri=True)
        n_open = connection.execute("select count(*) from attempts where status = 'open'").fetchone()[0]
        n_tokens = connection.execute("select sum(n_chunks) from attempts").fetchone()[0]
        connection.close()
        figures = {"turns": len(turns), "tokens": n_tokens, "rows_left_open": n_open}
        report("soak", at="a minute after", **figures, **usage(running))


if __name__ == "__main__":
    asyncio.run(main())
