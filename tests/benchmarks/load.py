"""Many visitors at once: 20 sessions of three lanes at 30 tokens/s each, as stream clients see them.

    python -m tests.benchmarks.load [--sessions 20] [--spread 2]

All have the page open, and their prompts are sent within ``--spread`` seconds (0: all at once).
Prints one JSON line: p50/p95 of the paint lag (a token's way from the model server into a frame the client has
parsed), and from the log how far decode tok/s is from the model server's own pace, in all attempts, and how many of
them are marked ``suspect`` (the stamping loop was more than 20 ms late at some time), with the maximum lateness.
Goal: p95 <= 150 ms and no wrong figure. The clients share the two cores with the app and the model server.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import time

import psutil

from .harness import app, cpu_seconds, family, model_server, quantile, report
from .visitors import Lags, Visitor

MODEL = "m-30-600-300"
RATE = 30.0


async def visit(visitor: Visitor, wait_s: float, lags: list[float]) -> None:
    await asyncio.sleep(wait_s)
    turn_id = await visitor.send("load")
    late = Lags()
    async for frame in visitor.follow(turn_id):
        lags += late.of(frame)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--spread", type=float, default=2.0)
    options = parser.parse_args()
    sessions: int = options.sessions
    with model_server() as base_url, app(base_url, [MODEL] * 3) as running:
        lags: list[float] = []
        visitors = [Visitor(running.url) for _ in range(sessions)]
        for visitor in visitors:
            await visitor.open()
        server, cpu, started = family(running.pid), 0.0, time.perf_counter()
        cpu = cpu_seconds(server)
        waits = (options.spread * k / sessions for k in range(sessions))
        await asyncio.gather(*(visit(*each, lags) for each in zip(visitors, waits, strict=True)))
        elapsed = time.perf_counter() - started
        cores = (cpu_seconds(server) - cpu) / elapsed
        rss_mb = psutil.Process(running.pid).memory_info().rss / 1e6
        for visitor in visitors:
            await visitor.close()
        await asyncio.sleep(1.5)
        connection = sqlite3.connect(f"file:{running.db}?mode=ro", uri=True)
        rows = connection.execute("select status, decode_tps, suspect from attempt_metrics").fetchall()
        latest_ms = connection.execute("select max(loop_lag_ms) from attempts").fetchone()[0]
        connection.close()
    errors = [abs(tps / RATE - 1) * 100 for status, tps, _ in rows if status == "ok" and tps]
    report(
        "load",
        goal="p95 <= 150 ms, no wrong numbers",
        sessions=sessions,
        spread_s=options.spread,
        streams=len(rows),
        ok=sum(status == "ok" for status, _, _ in rows),
        lag_ms={"n": len(lags), "p50": quantile(lags, 0.5), "p95": quantile(lags, 0.95)},
        decode_tps_error_percent={"median": round(statistics.median(errors), 3), "max": round(max(errors), 3)},
        suspect=sum(bool(suspect) for _, _, suspect in rows),
        loop_latest_ms=latest_ms,
        server_cores=round(cores, 2),
        rss_mb=round(rss_mb),
    )


if __name__ == "__main__":
    asyncio.run(main())
