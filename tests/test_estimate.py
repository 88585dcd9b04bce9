"""The estimated cost of a prompt before it is sent."""

from __future__ import annotations

import pytest

from kimi_ui.core.estimate import Estimate, Runs, Total, Typical, by_preset, estimate, total
from kimi_ui.core.lane import Price

PRICE = Price(input=1.0, output=4.0)


def test_one_request_with_the_usual_output() -> None:
    assert estimate(1_000_000, PRICE, Typical(500_000, 100_000, 7)) == Estimate(1_000_000, 1, 3.0, False)


def test_heavy_costs_its_trajectories_and_an_aggregation_that_reads_their_answers() -> None:
    heavy = estimate(1000, PRICE, Typical(2000, 500, 7), width=8)
    usd = (9 * 1000 + 8 * 500) * 1e-6 + 9 * 2000 * 4e-6
    assert heavy.requests == 9
    assert heavy.usd == pytest.approx(usd)


def test_without_a_usual_output_the_cost_is_a_floor_and_without_a_price_it_is_not_known() -> None:
    assert estimate(1000, PRICE, None) == Estimate(1000, 1, 0.001, True)
    assert estimate(1000, None, Typical(1, 1, 1)) == Estimate(1000, 1, None, False)
    assert estimate(1000, Price(0, 0), None) == Estimate(1000, 1, 0.0, False)


def test_the_total_says_which_costs_it_lacks() -> None:
    lanes = [estimate(1000, PRICE, None), estimate(1000, PRICE, Typical(0, 0, 3)), estimate(1000, None, None)]
    assert total(lanes) == Total(0.002, True, 1)
    assert total(lanes[2:]) == Total(None, False, 1)


def test_heavys_presets_differ_in_what_they_send() -> None:
    usual = Typical(2000, 500, 7)
    full, thrifty, fast = by_preset(1000, PRICE, usual, 8, {"full": Runs(8, 40.0, 5)})
    whole = (9 * 1000 + 8 * 500) * 1e-6 + 9 * 2000 * 4e-6
    assert (full.requests, full.tokens, full.seconds, full.n) == ((9, 9), (18_000, 18_000), 40.0, 5)
    assert full.usd == pytest.approx((whole, whole))
    assert thrifty.requests == (3, 9)
    assert thrifty.usd == pytest.approx((3 * 1000e-6 + 3 * 2000 * 4e-6, whole))
    assert (thrifty.seconds, thrifty.n) == (None, 0)
    assert fast.requests == (9, 9)


def test_the_estimate_of_a_preset_uses_its_earlier_numbers_of_requests() -> None:
    thrifty = by_preset(1000, PRICE, Typical(2000, 500, 7), 8, {"thrifty": Runs(5, 60.0, 4)})[1]
    assert thrifty.requests == (6, 6)
    assert by_preset(1000, None, None, 8, {})[0].usd is None
