"""The error of the logged numbers, measured through the whole real app.

The model server writes into the first and last tokens of reasoning and answer when it read the request and when it
sent the token, by the machine-wide monotonic clock. Truth is taken from those stamps, the measurement from the view
``attempt_metrics`` of the app's own SQLite file.

    python -m tests.benchmarks.accuracy [--only NAME] [--rounds N]

Prompts are sent and turns followed as the page does: by Chromium with the page open if ``viewer`` says so, else by a
plain HTTP client, to separate the load of a browser on the same cores from the instrument. One uncounted turn first
warms up the new process. One JSON line per scenario: the
error of TTFT and TTFO in ms (median, p99 of |error|), of TPOT in %, how many attempts were marked ``suspect`` (those
are not in the errors), the goal, and ``machine_late_ms``: how late a process that only sleeps woke up meanwhile, which
no program on these cores can avoid. In the same run the naive way: a Gradio generator that stamps where it yields.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sqlite3
import statistics
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from playwright.async_api import async_playwright

from tests.support.browser import CHROMIUM, FLAGS

from .harness import (
    app,
    free_port,
    lateness,
    model_server,
    process,
    quantile,
    report,
    wait_for_http,
)
from .visitors import Visitor

STAMP = re.compile(r"(\d{6,}):(\d{6,})")


class Scenario(NamedTuple):
    """``models``: one lane each. ``heavy``: trajectories of a heavy lane over the first model, 0 for none."""

    models: tuple[str, ...]
    goal: str
    heavy: int = 0
    rounds: int = 12
    viewer: str = "http"


SCENARIOS = {
    "one_ttft_50ms": Scenario(("m-100-30-20-stamps50",), "TTFT, TTFO <= 2 ms median, <= 5 ms p99", rounds=25),
    "one_ttft_50ms_page": Scenario(("m-100-30-20-stamps50",), "none: a browser beside it", rounds=25, viewer="page"),
    "one_ttft_150ms": Scenario(("m-100-30-20-stamps150",), "TTFT, TTFO <= 2 ms median, <= 5 ms p99", rounds=25),
    "one_ttft_2000ms": Scenario(("m-100-30-20-stamps2000",), "TTFT, TTFO <= 2 ms median, <= 5 ms p99", rounds=6),
    "one_ttft_10000ms": Scenario(("m-100-30-20-stamps10000",), "TTFT, TTFO <= 2 ms median, <= 5 ms p99", rounds=2),
    "one_itl_2ms": Scenario(("m-500-300-200-stamps",), "TPOT <= 2 %", rounds=8),
    "one_itl_10ms": Scenario(("m-100-300-200-stamps",), "TPOT <= 0.5 %", rounds=5),
    "one_itl_30ms": Scenario(("m-33-300-200-stamps",), "TPOT <= 0.5 %", rounds=2),
    "three_lanes": Scenario(("m-100-300-200-stamps",) * 3, "TTFT <= 10 ms p99, TPOT <= 1 %", rounds=20, viewer="page"),
    "three_lanes_http": Scenario(("m-100-300-200-stamps",) * 3, "TTFT <= 10 ms p99, TPOT <= 1 %", rounds=20),
    "24_streams": Scenario(
        ("m-60-150-100-stamps",), "TTFT <= 25 ms p99, TPOT <= 2 % or suspect set", heavy=23, rounds=4, viewer="page"
    ),
}


class Errors(NamedTuple):
    """One attempt's errors: measured minus true; TPOT's as a share of the truth."""

    ttft_ms: float
    ttfo_ms: float
    tpot_percent: float
    suspect: bool


async def in_chromium(url: str) -> AsyncIterator[Callable[[], Coroutine[None, None, None]]]:
    """Open the page in Chromium; yields a function that sends a prompt."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1600, "height": 900})
        await page.goto(url)
        await page.locator("#prompt textarea").first.wait_for(timeout=30_000)

        async def send() -> None:
            await page.locator("#prompt textarea").first.fill("measure")
            await page.locator("#send").first.click()

        yield send
        await browser.close()


async def over_http(url: str) -> AsyncIterator[Callable[[], Coroutine[None, None, None]]]:
    """The same requests without a browser; yields a function that sends a prompt and reads its stream to the end."""
    visitor = Visitor(url)
    await visitor.open()

    async def send() -> None:
        async for _ in visitor.follow(await visitor.send("measure")):
            pass

    yield send
    await visitor.close()


VIEWERS = {"page": contextlib.asynccontextmanager(in_chromium), "http": contextlib.asynccontextmanager(over_http)}


async def all_ended(db: Path, n: int) -> None:
    """Return when the log has that many ended attempts. Raises ``TimeoutError``."""
    for _ in range(600):
        await asyncio.sleep(0.2)
        if count_ended(db) >= n:
            return
    raise TimeoutError("the turn did not end within two minutes")


def count_ended(db: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        query = "select count(*) from attempts where parent_id is null and status <> 'open'"
        return int(connection.execute(query).fetchone()[0])


def read_errors(db: Path) -> list[Errors]:
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    rows = connection.execute(
        "select m.*, a.reasoning, a.answer from attempt_metrics m join attempts a using (attempt_id)"
        " where m.role in ('single', 'trajectory') and m.status = 'ok'"
        " and m.turn_id <> (select turn_id from turns order by started_at_utc limit 1)"
    ).fetchall()
    connection.close()
    errors = []
    for row in rows:
        reasoning, answer = STAMP.findall(row["reasoning"]), STAMP.findall(row["answer"])
        stamps = [int(sent) for _, sent in reasoning + answer]
        received = int(reasoning[0][0])
        true_tpot_ms = (stamps[-1] - stamps[0]) / (n_tokens(row["request_model"]) - 1) / 1e6
        errors.append(
            Errors(
                row["ttft_ms"] - (stamps[0] - received) / 1e6,
                row["ttfo_ms"] - (int(answer[0][1]) - received) / 1e6,
                100 * (row["tpot_ms"] / true_tpot_ms - 1),
                bool(row["suspect"]),
            )
        )
    return errors


def n_tokens(model: str) -> int:
    """The number of tokens of a paced model ``m-RATE-REASONING-ANSWER-…``."""
    _, _, reasoning, answer, *_ = model.split("-")
    return int(reasoning) + int(answer)


def summary(errors: list[Errors]) -> dict[str, Any]:
    figures: dict[str, Any] = {"n": len(errors), "suspect": sum(error.suspect for error in errors)}
    trusted = [error for error in errors if not error.suspect]
    for name in ("ttft_ms", "ttfo_ms", "tpot_percent"):
        values = [abs(getattr(error, name)) for error in trusted]
        if values:
            figures[f"{name}_error"] = {
                "median": round(statistics.median(values), 3),
                "p99": round(quantile(values, 0.99) or 0, 3),
            }
    return figures


async def ours(base_url: str, scenario: Scenario, rounds: int) -> dict[str, Any]:
    with app(base_url, scenario.models, scenario.heavy) as running:
        async with VIEWERS[scenario.viewer](running.url) as send:
            with lateness() as machine_late_ms:
                for k in range(1, rounds + 2):
                    await send()
                    await all_ended(running.db, k * (len(scenario.models) + bool(scenario.heavy)))
        return {**summary(read_errors(running.db)), "machine_late_ms": machine_late_ms}


async def naive_errors(base_url: str, model: str) -> list[Errors]:
    """Three chatbots fed by one generator; its own stamps against the same truth."""
    port = free_port()
    arguments = ["tests/benchmarks/peer_chatbot.py", base_url, model, str(port), "0"]
    with process(arguments, subprocess.PIPE, GRADIO_ANALYTICS_ENABLED="False") as child:
        wait_for_http(f"http://127.0.0.1:{port}", child)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page()
            await page.goto(f"http://127.0.0.1:{port}")
            await page.locator("#prompt textarea").first.fill("measure")
            await page.locator("#send").first.click()
            assert child.stdout
            line = await asyncio.wait_for(asyncio.to_thread(child.stdout.readline), 300)
            await browser.close()
    errors = []
    for lane in json.loads(line):
        pairs = STAMP.findall(lane["text"])
        stamps = [int(sent) for _, sent in pairs]
        tpot_ns = (stamps[-1] - stamps[0]) / (n_tokens(model) - 1)
        measured_tpot_ns = (lane["last_ns"] - lane["first_ns"]) / (n_tokens(model) - 1)
        ttft_ms = (lane["first_ns"] - lane["sent_ns"] - (stamps[0] - int(pairs[0][0]))) / 1e6
        errors.append(Errors(ttft_ms, ttft_ms, 100 * (measured_tpot_ns / tpot_ns - 1), False))
    return errors


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=[*SCENARIOS, "naive"])
    parser.add_argument("--rounds", type=int, help="turns per scenario instead of its own number")
    options = parser.parse_args()
    with model_server() as base_url:
        for name, scenario in SCENARIOS.items():
            if options.only in (None, name):
                figures = await ours(base_url, scenario, options.rounds or scenario.rounds)
                report("accuracy", scenario=name, viewer=scenario.viewer, goal=scenario.goal, **figures)
        if options.only in (None, "naive"):
            figures = summary(await naive_errors(base_url, "m-100-300-200-stamps"))
            report("accuracy", scenario="naive: stamped where a Gradio generator yields, three lanes", **figures)


if __name__ == "__main__":
    asyncio.run(main())
