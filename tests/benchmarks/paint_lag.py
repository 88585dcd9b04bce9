"""Paint lag: the time from sending a token at the model server to its appearance in the page, in headless Chromium.

Every tenth token is the wall-clock millisecond it was sent at (``@1795294921283@``). At each animation frame a
probe in the page reads the newest stamp in each lane; lag = now - stamp. Printed per case: p50/p95 of the lag in the
first, middle and last third of the run, frames/s, and CPU of server and browser, one JSON line per program:
Kimi UI, and in the same run the peer (three ``gr.Chatbot``, 20 Hz; with ``--per-token`` also a yield per token).
``sidebar500`` is measured with 500 conversations listed in the sidebar, and beside it without any.

    python -m tests.benchmarks.paint_lag [--case three100|three200|sidebar500|heavy8|one30k] [--per-token]
                                         [--screenshot FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import psutil
from playwright.async_api import async_playwright

from kimi_ui.core.events import Answer
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.log import store, writing
from tests.support.turns import attempt, ended, turn

from .harness import (
    app,
    cpu_seconds,
    family,
    free_port,
    model_server,
    process,
    quantile,
    report,
    wait_for_http,
)

PROBE = """
selector => {
  window.__lag = []; window.__frames = 0; const seen = {}, t0 = Date.now();
  const last = text => {
    const all = [...text.slice(-3000).matchAll(/@(\\d{13})@/g)]; return all.length ? +all[all.length - 1][1] : null };
  const tick = () => {
    window.__frames++; const now = Date.now();
    document.querySelectorAll(selector).forEach((lane, k) => {
      let stamp = null;
      for (const part of ['answer', 'reasoning']) {
        const e = lane.querySelector(`[data-part=${part}]`); if (e && (stamp = last(e.textContent))) break }
      stamp = stamp || last(lane.textContent);
      if (stamp && seen[k] !== stamp) { seen[k] = stamp; window.__lag.push([now - t0, now - stamp]) }
    });
    requestAnimationFrame(tick)
  };
  requestAnimationFrame(tick)
}
"""


class Case(NamedTuple):
    """Lanes of one model; ``goal`` in words, as printed. ``heavy``: the width of a heavy lane over ``model``, beside a
    lane of it and lanes of the models ``beside``. ``conversations``: in the log, and all listed."""

    n_lanes: int
    model: str
    goal: str
    peer: bool = True
    heavy: int = 0
    beside: tuple[str, ...] = ()
    conversations: int = 0

    @property
    def seconds(self) -> float:
        _, rate, reasoning, answer = self.model.split("-")
        return (int(reasoning) + int(answer)) / float(rate) + 2


CASES = {
    "three100": Case(3, "m-100-3000-1500", "p95 <= 100 ms in each third, last <= 1.3x first, >= 50 frames/s"),
    "three200": Case(3, "m-200-8000-1500", "p95 <= 160 ms in the last third"),
    "sidebar500": Case(3, "m-100-1500-500", ">= 57 frames/s, as without them", peer=False, conversations=500),
    "heavy8": Case(
        *(1, "m-50-1500-500", "p95 <= 70 ms in each third"),
        peer=False,
        heavy=8,
        beside=("m-100-3000-1000", "m-100-3000-1000"),
    ),
    "one30k": Case(1, "m-200-30000-500", "p95 <= 120 ms in the last third", peer=False),
}


LIST_ALL = """
async () => {
  const scroller = document.querySelector('.history-scroller'), more = document.querySelector('.history-more');
  while (!more.hidden) { scroller.scrollTop = 1e9; await new Promise(done => setTimeout(done, 50)) }
  scroller.scrollTop = 0;
  return document.querySelectorAll('.history-list .history-item').length
}
"""


def fill(db: Path, n: int) -> None:
    """Write a log of ``n`` conversations, one every three hours."""
    now = datetime.now(UTC)
    with writing(db) as writer:
        turns = (
            turn(
                (attempt("lane0"), ended([(1, Answer(f"Answer number {i}."))])),
                prompt=f"Question number {i}, which is as long as many a question",
                started_at_utc=(now - timedelta(hours=3 * i)).isoformat(timespec="milliseconds"),
            )
            for i in range(n)
        )
        store(writer, *turns, wait_s=120)


async def measure(url: str, pid: int, lane: str, seconds: float, screenshot: str = "") -> dict[str, Any]:
    """Send a prompt on the page at ``url`` and watch it for ``seconds``."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1600, "height": 900})
        await page.goto(url)
        await page.locator("#prompt textarea").first.wait_for(timeout=30_000)
        await page.wait_for_timeout(2000)
        n_listed = await page.evaluate(LIST_ALL) if await page.locator(".history-scroller").count() else 0
        await page.locator("#prompt textarea").first.fill("yardstick")
        await page.evaluate(PROBE, lane)
        await page.locator("#send").first.click()
        server = family(pid)
        chromium = [p for p in psutil.process_iter(["name"]) if "chrom" in (p.info["name"] or "")]
        server_cpu, chromium_cpu, started = cpu_seconds(server), cpu_seconds(chromium), time.perf_counter()
        await asyncio.sleep(seconds)
        elapsed = time.perf_counter() - started
        lag, frames = await page.evaluate("[window.__lag, window.__frames]")
        if screenshot:
            await page.screenshot(path=screenshot)
        figures: dict[str, Any] = {
            "stamps_seen": len(lag),
            "conversations": n_listed,
            "frames_per_s": round(frames / elapsed, 1),
            "server_cores": round((cpu_seconds(server) - server_cpu) / elapsed, 3),
            "browser_cores": round((cpu_seconds(chromium) - chromium_cpu) / elapsed, 3),
        }
        for third, (low, high) in {"first": (0, 1 / 3), "middle": (1 / 3, 2 / 3), "last": (2 / 3, 9)}.items():
            part = [late for t, late in lag if low * seconds * 1000 <= t < high * seconds * 1000]
            figures[f"lag_ms_{third}"] = {"n": len(part), "p50": quantile(part, 0.5), "p95": quantile(part, 0.95)}
        await browser.close()
        return figures


async def measured(base_url: str, case: Case, conversations: int, screenshot: str) -> dict[str, Any]:
    """Our figures of a case, beside so many other conversations."""
    models = [*[case.model] * case.n_lanes, *case.beside]
    shown = "[data-lane]:not(:has([data-trajectory])), [data-trajectory]"
    with TemporaryDirectory() as folder:
        db = Path(folder) / "log.sqlite3"
        fill(db, conversations)
        with app(base_url, models, case.heavy, db) as ours:
            return await measure(ours.url, ours.pid, shown, case.seconds, screenshot)


async def peer(base_url: str, case: Case, hz: int) -> dict[str, Any]:
    port = free_port()
    arguments = ["tests/benchmarks/peer_chatbot.py", base_url, case.model, str(port), str(hz)]
    with process(arguments, GRADIO_ANALYTICS_ENABLED="False", PYTHONWARNINGS="ignore") as child:
        url = f"http://127.0.0.1:{port}"
        wait_for_http(url, child)
        return await measure(url, child.pid, "[id^=col]", case.seconds)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--case", choices=[*CASES, "all"], default="all")
    parser.add_argument("--per-token", action="store_true", help="also run the peer with a yield per token")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--screenshot", default="")
    options = parser.parse_args()
    with model_server() as base_url:
        for name in CASES if options.case == "all" else [options.case]:
            case = CASES[name]
            for n in sorted({0, case.conversations}):
                figures = await measured(base_url, case, n, options.screenshot)
                report("paint_lag", case=name, goal=case.goal, program="kimi_ui", **figures)
            if case.peer and not options.no_peer:
                report("paint_lag", case=name, program="gr.Chatbot 20 Hz", **await peer(base_url, case, 20))
                if options.per_token:
                    figures = await peer(base_url, case, 0)
                    report("paint_lag", case=name, program="gr.Chatbot per token", **figures)


if __name__ == "__main__":
    asyncio.run(main())
