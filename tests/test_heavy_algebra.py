"""Expressions that only a computer algebra finds equal, in a child process that can be killed."""

from __future__ import annotations

import pytest

from kimi_ui.core.heavy.answers import read
from kimi_ui.core.heavy.clusters import cluster, undecided
from kimi_ui.providers.heavy import algebra
from kimi_ui.providers.heavy.algebra import EqualPairs

EQUAL = {1: read("\\boxed{\\sin^2 x + \\cos^2 x + x}"), 2: read("\\boxed{1 + x}"), 3: read("\\boxed{2 + x}")}


@pytest.mark.slow
async def test_equal_expressions_are_joined_by_the_child() -> None:
    found = EqualPairs()
    await found.compare(undecided(EQUAL))
    assert [one.members for one in cluster(EQUAL, found.equal).clusters] == [(1, 2), (3,)]
    assert len(found.pairs) == 1


async def test_a_child_that_takes_too_long_is_killed_and_its_pairs_count_as_different(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(algebra, "START_S", 0.0)
    found = EqualPairs()
    await found.compare(undecided(EQUAL))
    assert found.pairs == []
    assert len(cluster(EQUAL, found.equal).clusters) == 3


async def test_long_expressions_are_refused() -> None:
    found = EqualPairs()
    await found.compare([("a", "b", "x" * 201, "x")])
    assert not found.equal("a", "b")
