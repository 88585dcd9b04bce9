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
from contextlib import ExitStack, contextmanager, suppress
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
    "--process-per-site",  # see WarmContext
    "--disable-site-isolation-trials",  # no spare renderer process is started for each page: 5 % less CPU
    "--disable-site-isolation-trials",  # no spare renderer process is started for each page: 5 % less CPU
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


_ports: list[int] = []  # of this process's servers


def free_port() -> socket.socket:
    """A bound socket: on the port of an earlier server if one has ended, since a browser caches by port."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for port in _ports:
        with suppress(OSError):
            bound.bind(("127.0.0.1", port))
            return bound
    bound.bind(("127.0.0.1", 0))
    _ports.append(bound.getsockname()[1])
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


class WarmContext:
    """A browser context for many tests: opening the page costs 0.6 CPU seconds in it, in a new one 2.

    Its cache keeps the page's files, and one tab that stays open keeps the process of all other tabs, with the scripts
    that it has compiled.
    """

    def __init__(self, browser: Browser) -> None:
        self.context = new_context(browser)
        self._stays = self.context.new_page()
        self._cdp = self.context.new_cdp_session(self._stays)

    def begin(self, url: str) -> None:
        """Make it ready for a visitor of this site, also after a test that failed before its end."""
        if len(self.context.pages) > 1:
            self.forget(url)
        if self._stays.url == "about:blank":
            self._stays.goto(f"{url}/kimi/nothing")  # any document of the site

    def forget(self, url: str) -> None:
        """Close the tabs, wipe the site's storage and undo the settings of a test.

        Listeners, init scripts and an installed clock cannot be undone: a test with these is marked ``own_context``.
        """
        for page in self.context.pages:
            if page is not self._stays:
                page.close()
        self.context.unroute_all()
        self.context.set_offline(False)
        self.context.clear_permissions()
        self.context.clear_cookies()
        self._cdp.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})


class Chromium:
    """The browser of a worker's tests; it starts when the first of them needs it.

    While it is open Playwright runs an event loop in this thread, so asynchronous tests need it closed.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._browser: Browser | None = None
        self._warm: WarmContext | None = None

    @property
    def browser(self) -> Browser:
        if self._browser is None:
            self._browser = self._open.enter_context(launched())
        return self._browser

    @property
    def warm(self) -> WarmContext:
        if self._warm is None:
            self._warm = WarmContext(self.browser)
        return self._warm

    def close(self) -> None:
        self._browser = self._warm = None
        self._open.close()


class Visitor:
    """One user's browser: own cookies, any number of tabs. ``problems`` holds the errors in the console."""

    def __init__(self, browser: Browser | WarmContext, url: str, **options: Any) -> None:
        """In a new context with these options, or in the shared one, which is wiped at the end.

        The options of the shared one are those of ``emulate_media``, and ``viewport``.
        """
        self.url = url
        self.problems: list[str] = []
        self._warm = browser if isinstance(browser, WarmContext) else None
        if isinstance(browser, WarmContext):
            browser.begin(url)
            self._viewport = options.pop("viewport", None)
            self.context, self._media = browser.context, options
        else:
            self.context, self._media, self._viewport = new_context(browser, **options), {}, None

    def tab(self) -> Page:
        """A new, empty tab."""
        page = self.context.new_page()
        if self._viewport:
            page.set_viewport_size(self._viewport)
        if self._media:
            page.emulate_media(**self._media)
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
        if self._warm:
            self._warm.forget(self.url)
        else:
            self.context.close()

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
