"""Fixtures every test file may use; what only one file needs, or needs otherwise, stays in that file.

``page`` is the chat in a real Chromium, at rest: ``visitor`` opened it (and fails the test for what its console
complained about), ``site`` is the app behind it, one for all tests of a file.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.browser import SLOW_MS, Visitor, launched, new_context
from tests.support.chat_site import ChatSite, open_site
from tests.support.upstream import Upstream


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if item.get_closest_marker("browser") or item.get_closest_marker("slow"):
            item.add_marker("no_cover")  # tracing would slow the page and what has a time of its own


# Property tests say what is true, not how fast: on a busy machine a time limit only fails by chance.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
expect.set_options(timeout=SLOW_MS)


@pytest.fixture(autouse=True, scope="session")
def patience() -> Iterator[None]:
    """A machine that is busy with tests may need longer for a query of Ollama than a person should wait for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kimi_ui.providers.roster.PROBE_TIMEOUT_S", 20)
        yield


@pytest.fixture(autouse=True, scope="module")
def leaks_of_a_file() -> Iterator[None]:
    """See ``leaks``; this one also finds what was still in use when it was frozen, and costs 0.2 s."""
    gc.freeze()
    yield
    gc.unfreeze()
    gc.collect()


@pytest.fixture(autouse=True)
def leaks(leaks_of_a_file: None) -> Iterator[None]:
    """Whoever leaves a socket, a file or a task open fails, and not the test during which it happens to be collected.

    What survives is frozen, so that the next test's collection looks at that test's objects only (2 ms, not 200).
    """
    yield
    for name in ("last_exc", "last_value", "last_traceback"):  # of a failed test, whose variables they keep alive
        sys.__dict__.pop(name, None)
    gc.collect()
    gc.freeze()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A fresh local model server, OpenAI-compatible and Ollama (see ``tests/support/upstream.py``)."""
    with Upstream() as server:
        yield server


@pytest.fixture
async def closed_after() -> AsyncIterator[Callable[[Any], Any]]:
    """Takes a provider, a client, a stream, and closes it at the end of the test, however that ends."""
    async with AsyncExitStack() as stack:

        def keep(opened: Any) -> Any:
            stack.push_async_callback(opened.aclose)
            return opened

        yield keep


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSite]:
    with open_site(tmp_path_factory.mktemp("chat")) as site:
        yield site


@pytest.fixture
def site(app: ChatSite) -> ChatSite:
    app.settle()
    return app


@pytest.fixture(scope="module")
def warm(browser: Browser) -> BrowserContext:
    """A context of a file's tests, whose cache has the page's files after the first; wiped after each test."""
    return new_context(browser)


@pytest.fixture
def visitor(
    request: pytest.FixtureRequest, browser: Browser, warm: BrowserContext, site: ChatSite
) -> Iterator[Visitor]:
    visitor = Visitor(browser if request.node.get_closest_marker("own_context") else warm, site.url)
    yield visitor
    visitor.close()
    assert visitor.problems == []


@pytest.fixture
def page(visitor: Visitor) -> Page:
    return visitor.open()
