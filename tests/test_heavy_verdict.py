"""The verdict on heavy's majority, and the two axes of its worth."""

from __future__ import annotations

import pytest

from kimi_ui.core.heavy.verdict import Verdict, verdict
from kimi_ui.core.heavy.worth import axes

SIX_ONE = [{1, 2, 3, 4, 5, 6}, {7}]


@pytest.mark.parametrize(
    ("clusters", "n_usable", "chosen", "stated", "expected", "overruled"),
    [
        (SIX_ONE, 7, 0, True, Verdict("followed", (1, 2, 3, 4, 5, 6)), 0),
        (SIX_ONE, 7, 1, True, Verdict("minority", (7,)), 1),
        (SIX_ONE, 7, None, True, Verdict("own"), 1),
        (SIX_ONE, 7, None, False, Verdict("unknown"), None),
        ([], 8, None, True, Verdict("unknown"), None),
        ([{1, 2, 3, 4}, {5, 6, 7, 8}], 8, 1, True, Verdict("none", (5, 6, 7, 8)), None),
        ([{1, 2, 3, 4}, {5, 6}, {7, 8}], 8, 2, True, Verdict("minority", (7, 8)), 1),
        ([{1, 2, 3}, {5, 6}, {7, 8}], 8, 0, True, Verdict("none", (1, 2, 3)), None),
        ([{2, 5, 7}], 8, 0, True, Verdict("none", (2, 5, 7)), None),
        ([{3}], 1, 0, True, Verdict("followed", (3,)), 0),
    ],
)
def test_the_verdict_on_the_majority(
    clusters: list[set[int]],
    n_usable: int,
    chosen: int | None,
    stated: bool,
    expected: Verdict,
    overruled: int | None,
) -> None:
    found = verdict(clusters, n_usable, chosen, stated=stated)
    assert found == expected
    assert found.overruled == overruled


@pytest.mark.parametrize(
    ("plain", "trajectories", "final", "expected"),
    [
        (True, [True, False], True, ("nothing to gain", "kept it")),
        (False, [True, False], True, ("helped", "kept it")),
        (False, [False, False], True, ("helped", "beyond the pool")),
        (True, [False, True], False, ("hurt", "aggregator lost it")),
        (True, [False, False], False, ("hurt", "no right answer among them")),
        (False, [False], False, ("did not help", "no right answer among them")),
        (None, [True], False, (None, "aggregator lost it")),
        (False, [], True, ("helped", None)),
    ],
)
def test_the_two_axes_of_worth(
    plain: bool | None, trajectories: list[bool], final: bool, expected: tuple[str | None, str | None]
) -> None:
    assert axes(plain, trajectories, final) == expected
