"""Fixtures every test file may use; what only one file needs, or needs otherwise, stays in that file.

``page`` is the chat in a real Chromium, at rest: ``visitor`` opened it (and fails the test for what its console
complained about), ``site`` is the app behind it, one for all tests of a file.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import SLOW_MS, Visitor, launched
from tests.support.chat_site import ChatSite, open_site
from tests.support.upstream import Upstream

# Property tests say what is true, not how fast: on a busy machine a time limit only fails by chance.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
expect.set_options(timeout=SLOW_MS)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A fresh local model server, OpenAI-compatible and Ollama (see ``tests/support/upstream.py``)."""
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSite]:
    with open_site(tmp_path_factory.mktemp("chat")) as site:
        yield site


@pytest.fixture
def site(app: ChatSite) -> Iterator[ChatSite]:
    app.settle()
    yield app


@pytest.fixture
def visitor(browser: Browser, site: ChatSite) -> Iterator[Visitor]:
    visitor = Visitor(browser, site.url)
    yield visitor
    visitor.close()
    assert visitor.problems == []


@pytest.fixture
def page(visitor: Visitor) -> Page:
    return visitor.open()
