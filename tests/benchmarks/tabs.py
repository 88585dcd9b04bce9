"""The server's cost of 1, 3 and 7 tabs of one browser on one running turn of more than 30,000 log entries.

One lane writes 30,000 tokens at once and ends; another goes on at 30 tokens/s while the tabs watch. Printed per number
of tabs, over 10 s: ms of server CPU time a second, and how many connections to the server the browser has open.

    python -m tests.benchmarks.tabs
"""

from __future__ import annotations

import asyncio
import time

import psutil
from playwright.async_api import Browser, async_playwright

from tests.support.browser import CHROMIUM, FLAGS

from .harness import App, app, cpu_seconds, family, model_server, report

TABS = (1, 3, 7)
WATCH_S = 10.0
SETTLE_S = 5.0  # a new tab first gets everything so far
LONG, SLOW = "m-3000-30000-0", "m-30-30000-500"


async def measure(browser: Browser, ours: App) -> None:
    context = await browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(120_000)
    pages = [await context.new_page()]
    await pages[0].goto(ours.url)
    await pages[0].locator("[data-lane=lane1]").wait_for()
    await pages[0].locator("#prompt textarea").fill("yardstick")
    await pages[0].locator("#send").click()
    ended = (
        "[data-lane=lane0]:not([data-phase=connecting], [data-phase=waiting], [data-phase=thinking], [data-phase=idle])"
    )
    await pages[0].locator(ended).wait_for(state="attached")
    server = family(ours.pid)
    for n in TABS:
        while len(pages) < n:
            pages.append(await context.new_page())
            await pages[-1].goto(ours.url)
            await pages[-1].locator("[data-lane=lane1][data-phase=thinking]").wait_for(state="attached")
        await asyncio.sleep(SETTLE_S)
        cpu_s, started = cpu_seconds(server), time.perf_counter()
        before = [await length(page) for page in pages]
        await asyncio.sleep(WATCH_S)
        elapsed = time.perf_counter() - started
        report(
            "tabs",
            goal="7 tabs cost at most 12 ms a second more than 1",
            n_tabs=n,
            server_ms_per_s=round((cpu_seconds(server) - cpu_s) / elapsed * 1000, 1),
            connections=len([c for c in psutil.Process(ours.pid).net_connections("tcp") if c.status == "ESTABLISHED"]),
            tabs_that_grew=sum([await length(page) > was for page, was in zip(pages, before, strict=True)]),
        )


async def length(page: object) -> int:
    return int(await page.locator("[data-lane=lane1] .reasoning-text").evaluate("e => e.textContent.length"))  # type: ignore[attr-defined]


async def main() -> None:
    with model_server() as base_url, app(base_url, [LONG, SLOW]) as ours:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            await measure(browser, ours)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
