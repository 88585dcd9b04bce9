"""Fixtures for all test files; a fixture that only one file needs, or needs differently, is in that file.

``page`` is the chat in a real Chromium, with no turn running: ``visitor`` opened it (and fails the test if its console
reports errors), ``site`` is the app behind it, one for all tests of a file.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, Page, expect

from kimi_ui.log.places import Place
from tests.support.browser import SLOW_MS, Chromium, Visitor, WarmContext
from tests.support.chat_site import ChatSite, open_site
from tests.support.postgres import Cluster
from tests.support.upstream import Upstream

chromium = Chromium()
OPENS_THE_PAGE = pytest.StashKey[bool]()  # whether the item's file has tests that do


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests without looking for garbage: there is next to none, and that took a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what opens the page. Files that do come first, since they share one browser; then files with slow tests."""
    opening, slow = set(), set()
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
            opening.add(item.path)
        if item.get_closest_marker("slow"):
            slow.add(item.path)
        if item.get_closest_marker("browser") or item.get_closest_marker("slow"):
            item.add_marker("no_cover")  # tracing would slow the page and what is timed
    items.sort(key=lambda item: (item.path not in opening, item.path not in slow))
    for item in items:
        item.stash[OPENS_THE_PAGE] = item.path in opening


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.stash[OPENS_THE_PAGE]:
        chromium.close()


def pytest_sessionfinish() -> None:
    chromium.close()


# Property tests check results, not speed: on a busy machine a time limit would fail by chance.
# A run has the same examples each time, so that what fails is what was changed; "explore" looks for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")
expect.set_options(timeout=SLOW_MS)


@pytest.fixture(autouse=True, scope="session")
def patience() -> Iterator[None]:
    """A machine that is busy with tests may need longer for a query of Ollama, or to write a turn, than a user should
    wait for it, and longer for a write to the log than another process should wait for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kimi_ui.providers.roster.PROBE_TIMEOUT_S", 20)
        patch.setattr("kimi_ui.providers.ollama.provider.ASK_S", 20)
        patch.setattr("kimi_ui.chat.spending.SETTLE_S", 60)
        patch.setattr("kimi_ui.log.sqlite.store.LOCK_WAIT_S", 60)
        patch.setattr("kimi_ui.log.postgres.store.LOCK_WAIT", "60s")
        yield


@pytest.fixture(autouse=True, scope="module")
def leaks_of_a_file() -> Iterator[None]:
    """Like ``leaks``, but also finds objects that were in use when they were frozen; takes 0.2 s."""
    gc.freeze()
    yield
    gc.unfreeze()
    gc.collect()


@pytest.fixture(autouse=True)
def leaks(leaks_of_a_file: None) -> Iterator[None]:
    """A test that leaves a socket, a file or a task open fails, rather than the test during which it is collected.

    Surviving objects are frozen, so that the next test's collection examines that test's objects only (2 ms, not 200).
    """
    yield
    for name in ("last_exc", "last_value", "last_traceback"):  # they keep the variables of a failed test alive
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
    """Registers a provider, a client or a stream to be closed at the end of the test, also of a failing one."""
    async with AsyncExitStack() as stack:

        def keep(opened: Any) -> Any:
            stack.push_async_callback(opened.aclose)
            return opened

        yield keep


@pytest.fixture(scope="module")
def browser() -> Browser:
    return chromium.browser


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSite]:
    with open_site(tmp_path_factory.mktemp("chat")) as site:
        yield site


@pytest.fixture
def site(app: ChatSite) -> ChatSite:
    app.settle()
    return app


@pytest.fixture(scope="module")
def warm(browser: Browser) -> WarmContext:
    """The browser context that tests share; all but its cache is wiped after a test."""
    return chromium.warm


@pytest.fixture
def visitor(request: pytest.FixtureRequest, browser: Browser, warm: WarmContext, site: ChatSite) -> Iterator[Visitor]:
    visitor = Visitor(browser if request.node.get_closest_marker("own_context") else warm, site.url)
    yield visitor
    visitor.close()
    assert visitor.problems == []


@pytest.fixture
def page(visitor: Visitor) -> Page:
    return visitor.open()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server, started for the first test that needs it."""
    server = Cluster()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Where a log may be: a file in ``tmp_path`` that is not there yet, then a new database."""
    if request.param == "sqlite":
        yield tmp_path / "log.sqlite3"
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    url = cluster.new_log()
    yield url
    cluster.put_back(url)
