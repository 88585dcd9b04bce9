"""Fixtures every test file may use; what only one file needs stays in that file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A fresh local model server, OpenAI-compatible and Ollama (see ``tests/support/upstream.py``)."""
    with Upstream() as server:
        yield server
