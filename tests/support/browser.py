"""The page under test: the real ASGI app on a free port, and a real Chromium that opens it.

with served(run, roster) as url, launched() as browser:
    visitor = Visitor(browser, url)          # one user: own cookies, own cache, any number of tabs
    page = visitor.open()
    send(page, "Why?"); wait_phase(page, "kimi", "done")
    visitor.close(); assert visitor.problems == []      # errors in the console
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from .engine_run import Run

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SLOW_MS = 60_000  # how long a test waits for an event; generous, since the machine may be busy


@contextmanager
def served(run: Run, roster: Any, **options: Any) -> Iterator[str]:
    """Serve the app over a running engine on a free port, in a thread; yields its URL. Options: ``create_app``'s."""
    with listening(made(run, roster, **options)) as url:
        yield url


def made(run: Run, roster: Any, **options: Any) -> Any:
    """Create the app in a separate thread, because it needs a new event loop and Playwright runs one in this thread."""
    from kimi_ui.ui.site import create_app

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(create_app, run.engine, run.turns, roster, **options).result()


_ports = [0]  # the port of the newest server


def free_port() -> socket.socket:
    """A bound socket: on the port of the previous server if that has ended, since a browser caches by port."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", _ports[0]))
    except OSError:
        bound.bind(("127.0.0.1", 0))
    _ports[0] = bound.getsockname()[1]
    return bound


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve an app on a free port, in a thread; yields its URL."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
    bound = free_port()
    thread = threading.Thread(target=server.run, args=([bound],), name="page-server")
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        app.state.streams.closing = True
        server.should_exit = True
        thread.join(10)


@contextmanager
def launched() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """A new browser profile, with Playwright's options."""
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
    context.set_default_timeout(SLOW_MS)
    return context


def forget(context: BrowserContext, url: str) -> None:
    """Close the tabs, wipe the site's storage and undo the settings of a test; only the cache of files stays.

    Listeners, init scripts and an installed clock cannot be undone: a test with these is marked ``own_context``.
    """
    for page in context.pages:
        page.close()
    context.unroute_all()
    context.set_offline(False)
    context.clear_permissions()
    context.clear_cookies()
    with closing(context.new_page()) as page:
        page.context.new_cdp_session(page).send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})


class Visitor:
    """One user's browser: own cookies, any number of tabs. ``problems`` holds the errors in the console."""

    def __init__(self, browser: Browser | BrowserContext, url: str, **options: Any) -> None:
        """In a new context with these options, or in the given one, which is wiped at the end."""
        self.url = url
        self._owns_context = isinstance(browser, Browser)
        self.problems: list[str] = []
        self.context = new_context(browser, **options) if isinstance(browser, Browser) else browser

    def tab(self) -> Page:
        """A new, empty tab."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("console", lambda message: self._record(message.type, message.text))
        return page

    def open(self, query: str = "") -> Page:
        """A new tab with the page, once its lanes are shown."""
        page = self.tab()
        page.goto(f"{self.url}/{query}")
        page.locator("#prompt textarea").wait_for()
        page.locator("[data-lane]").first.wait_for()
        return page

    def close(self) -> None:
        if self._owns_context:
            self.context.close()
        else:
            forget(self.context, self.url)

    def _record(self, kind: str, text: str) -> None:
        if kind == "error":
            self.problems.append(text)


def send(page: Page, prompt: str = "Why is the sky blue?") -> None:
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#send").click()


def lane(page: Page, lane_id: str, part: str = "") -> Any:
    """A lane of the current turn, or one of its parts."""
    return page.locator(f'[data-lane="{lane_id}"]' + (f" [data-part={part}]" if part else ""))


def wait_phase(page: Page, lane_id: str, *phases: str) -> None:
    """Wait until the lane is in one of these phases."""
    selector = ", ".join(f'[data-lane="{lane_id}"][data-phase="{phase}"]' for phase in phases)
    page.locator(selector).first.wait_for(state="attached")
