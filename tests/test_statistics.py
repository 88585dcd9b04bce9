"""Statistics against SciPy, against published tables, and by simulation of their coverage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy  # its `stats` at first use: 1.4 s, which every worker that collects this file would spend

from kimi_ui.stats.statistics import (
    Interval,
    ecdf,
    enough_for,
    median,
    median_interval,
    paired_difference,
    percentile,
    wilson,
)


@pytest.mark.parametrize("n", [1, 2, 5, 10, 50, 120])
def test_wilson_agrees_with_scipy(n: int) -> None:
    for k in range(n + 1):
        assert wilson(k, n) == pytest.approx(scipy.stats.binomtest(k, n).proportion_ci(method="wilson"), abs=1e-12)


@pytest.mark.parametrize(("k", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)])
def test_wilson_agrees_with_published_values(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)  # Newcombe 1998, table I


def test_wilson_without_observations() -> None:
    with pytest.raises(ValueError, match="nothing"):
        wilson(0, 0)


def exact_rank(n: int) -> int:
    return int(scipy.stats.binom.ppf(0.025, n, 0.5))


def test_ranks_of_the_medians_interval() -> None:
    for n in range(6, 1001):
        rank = exact_rank(n)
        assert median_interval(np.arange(1.0, n + 1)) == Interval(rank, n + 1 - rank), n


@pytest.mark.parametrize("n", [1001, 1002, 2500, 10_000, 99_999, 1_000_000])
def test_the_large_sample_rank_is_the_exact_one_or_the_next_wider(n: int) -> None:
    interval = median_interval(np.arange(1.0, n + 1))
    assert interval is not None
    assert exact_rank(n) - 1 <= interval.low <= exact_rank(n)


@pytest.mark.parametrize("n", [6, 7, 23, 400])
def test_the_medians_interval_agrees_with_scipys_quantile_test(n: int) -> None:
    sample = np.random.default_rng(n).lognormal(0, 1, n)
    assert median(sample).interval == tuple(scipy.stats.quantile_test(sample, p=0.5).confidence_interval(0.95))


@pytest.mark.parametrize("n", range(6))
def test_too_few_values_have_no_interval(n: int) -> None:
    estimate = median(np.arange(float(n)))
    assert estimate.n == n
    assert estimate.interval is None
    assert (estimate.value is None) == (n == 0)


def test_unknown_values_do_not_count() -> None:
    values = np.array([3.0, np.nan, 1.0, 2.0, np.nan])
    assert median(values) == (3, 2.0, None)
    assert ecdf(values) == [(1.0, 1 / 3), (2.0, 2 / 3), (3.0, 1.0)]


@pytest.mark.parametrize(("p", "n"), [(0.9, 29), (0.95, 59), (0.99, 299)])
def test_a_percentile_needs_a_large_enough_sample(p: float, n: int) -> None:
    assert enough_for(p) == n
    values = np.arange(1.0, n + 1)
    assert percentile(values[:-1], p) is None
    assert percentile(values, p) == np.ceil(p * n)


def test_paired_differences() -> None:
    rng = np.random.default_rng(7)
    first = rng.lognormal(3, 0.3, 41)
    second = first + 12.4 + rng.normal(0, 3, 41)
    second[3], first[5] = np.nan, np.nan
    difference = paired_difference(first, second)
    assert difference.n == 39
    assert difference.shown
    assert difference.interval is not None
    assert difference.interval.low < 12.4 < difference.interval.high
    assert paired_difference(first, second) == difference, "the same data give the same numbers"
    back = paired_difference(second, first)
    assert back.value == pytest.approx(-difference.value)


def test_few_or_no_pairs() -> None:
    assert paired_difference(np.array([np.nan]), np.array([1.0])) == (0, None, None)
    few = paired_difference(np.zeros(5), np.ones(5))
    assert (few.n, few.value, few.interval, few.shown) == (5, 1.0, None, False)
    assert paired_difference(np.zeros(6), np.ones(6)).shown


def coverage(n: int, of: str, rounds: int = 600) -> float:
    """The share of samples whose interval holds the true median (1 of a shifted, skewed distribution)."""
    rng = np.random.default_rng(n)
    hits = 0
    for _ in range(rounds):
        sample = rng.lognormal(0, 1, n)
        interval = median(sample).interval if of == "median" else paired_difference(np.zeros(n), sample).interval
        hits += interval is not None and interval.low <= 1 <= interval.high
    return hits / rounds


@pytest.mark.parametrize("n", [20, 60, 200])
def test_the_medians_interval_has_its_nominal_coverage(n: int) -> None:
    assert 0.93 <= coverage(n, "median") <= 0.99  # discrete: exact coverage is 95.9, 97.3 and 95.6 %


@pytest.mark.parametrize("n", [7, 13, 21, 41])
def test_the_interval_of_a_difference_has_its_nominal_coverage(n: int) -> None:
    assert 0.95 <= coverage(n, "difference", rounds=2000) <= 0.995  # exact: 98.4, 97.8, 97.3 and 97.2 %


@pytest.mark.parametrize("p", [0.5, 0.9, 0.95, 0.99])
def test_a_percentile_is_the_nearest_rank(p: float) -> None:
    sample = np.random.default_rng(3).lognormal(0, 1, 500)
    assert percentile(sample, p) == np.quantile(sample, p, method="inverted_cdf")


def test_an_ecdf_is_the_share_at_or_below() -> None:
    sample = np.random.default_rng(3).lognormal(0, 1, 150)
    expected = scipy.stats.ecdf(sample).cdf
    assert np.array(ecdf(sample)) == pytest.approx(np.column_stack([expected.quantiles, expected.probabilities]))


def test_an_ecdf_is_thinned_by_quantile_and_keeps_its_ends() -> None:
    values = np.arange(1.0, 100_001)
    steps = ecdf(values, points=100)
    assert len(steps) == 100
    assert steps[0] == (1.0, 1e-5)
    assert steps[-1] == (100_000.0, 1.0)
    assert all(share == pytest.approx(x / 100_000) for x, share in steps)
    assert ecdf(np.array([])) == []
