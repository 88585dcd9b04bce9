"""Many people at once: sessions of three lanes at 30 tokens/s each, as stream clients see them.

    python -m tests.benchmarks.load [--people 20 50 100] [--tokens 900] [--spread 2] [--no-frames]

All have the page open, and their prompts are sent within ``--spread`` seconds (0: all at once). Prints one JSON line
per number of people:

- p50/p95 of the paint lag (a token's way from the model server into a frame the client has parsed) over all tokens,
  and the least and the greatest p95 of any one person, which shows whether the lag is the same for all;
- µs of CPU a token by the app's threads (``clocked_app``), from the first prompt to the last token, and unless
  ``--no-frames`` is given the same again in a run where nobody looks at the answers: what engine and log cost alone;
- from the log how far decode tok/s is from the model server's own pace, in all attempts, how many of them are marked
  ``suspect``, and the engine loop's maximum lateness.

CPU time hardly depends on what else the machine does; lag does, and the clients and the model server share its cores.
Goals: at most 60 µs a token; p95 <= 200 ms with 100 people; no wrong figure.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any

import psutil

from .harness import App, app, model_server, quantile, report
from .visitors import Lags, Visitor

RATE = 30.0
N_LANES = 3


async def visit(visitor: Visitor, wait_s: float, looks_s: float) -> list[float]:
    """The lags of one person's turn; without looking at it where that is to take ``looks_s``."""
    await asyncio.sleep(wait_s)
    turn_id = await visitor.send("load")
    if looks_s:
        await asyncio.sleep(looks_s)
        return []
    late = Lags()
    return [lag async for frame in visitor.follow(turn_id) for lag in late.of(frame)]


async def run(running: App, people: int, n_tokens: int, spread_s: float, looks: bool) -> dict[str, Any]:
    visitors = [Visitor(running.url) for _ in range(people)]
    for visitor in visitors:
        await visitor.open()
    before, started = running.clocks(), time.perf_counter()
    looks_s = 0.0 if looks else n_tokens / RATE + 1
    lags = await asyncio.gather(*(visit(visitor, spread_s * k / people, looks_s) for k, visitor in enumerate(visitors)))
    elapsed = time.perf_counter() - started
    spent = {name: cpu - before.get(name, 0.0) for name, cpu in running.clocks().items()}
    for visitor in visitors:
        await visitor.close()
    tokens = people * N_LANES * n_tokens
    figures: dict[str, Any] = {
        "us_a_token": {
            **{name: round(cpu * 1e6 / tokens, 1) for name, cpu in spent.items()},
            "all": round(sum(spent.values()) * 1e6 / tokens, 1),
        },
        "server_cores": round(sum(spent.values()) / elapsed, 2),
    }
    if looks:
        each = [quantile(one, 0.95) or 0.0 for one in lags]
        together = [lag for one in lags for lag in one]
        figures["lag_ms"] = {
            "n": len(together),
            "p50": round(quantile(together, 0.5) or 0),
            "p95": round(quantile(together, 0.95) or 0),
            "p95_by_person": [round(min(each)), round(max(each))],
        }
    return figures


def logged(db: Path) -> dict[str, Any]:
    """What the log says about the run's figures."""
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    rows = connection.execute("select status, decode_tps, suspect from attempt_metrics").fetchall()
    latest_ms = connection.execute("select max(loop_lag_ms) from attempts").fetchone()[0]
    connection.close()
    errors = [abs(tps / RATE - 1) * 100 for status, tps, _ in rows if status == "ok" and tps]
    return {
        "streams": len(rows),
        "ok": sum(status == "ok" for status, _, _ in rows),
        "decode_tps_error_percent": {"median": round(statistics.median(errors), 3), "max": round(max(errors), 3)},
        "suspect": sum(bool(suspect) for _, _, suspect in rows),
        "loop_latest_ms": latest_ms,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--people", type=int, nargs="+", default=[20])
    parser.add_argument("--tokens", type=int, default=900, help="of each lane")
    parser.add_argument("--spread", type=float, default=2.0)
    parser.add_argument("--no-frames", action="store_true", help="do not measure engine and log alone")
    options = parser.parse_args()
    n_tokens: int = options.tokens
    models = [f"m-{RATE:g}-{n_tokens * 2 // 3}-{n_tokens - n_tokens * 2 // 3}"] * N_LANES
    with model_server() as base_url:
        for people in options.people:
            with app(base_url, models, clocked=True) as running:
                figures = await run(running, people, n_tokens, options.spread, looks=True)
                rss_mb = psutil.Process(running.pid).memory_info().rss / 1e6
                await asyncio.sleep(1.5)
                figures |= logged(running.db)
            if not options.no_frames:
                with app(base_url, models, clocked=True) as running:
                    alone = await run(running, people, n_tokens, options.spread, looks=False)
                figures["without_frames"] = alone["us_a_token"]
            report(
                "load",
                goal="<= 60 us a token, 100 people p95 <= 200 ms, no wrong numbers",
                people=people,
                spread_s=options.spread,
                **figures,
                rss_mb=round(rss_mb),
            )


if __name__ == "__main__":
    asyncio.run(main())
