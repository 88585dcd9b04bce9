"""Fixtures every test file may use; what only one file needs stays in that file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import expect

from tests.support.browser import SLOW_MS
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
