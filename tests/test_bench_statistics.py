"""Statistics of runs: published figures, SciPy as a second opinion, and the wrong numbers that other tools print."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Hashable

import pytest
import scipy  # its `stats` at first use, see tests/test_statistics.py

from kimi_ui.bench import statistics as s
from kimi_ui.stats.statistics import Interval


def test_shares_of_the_first_report_say_how_little_five_cases_show() -> None:
    four_of_five = s.share({i: [i < 4] for i in range(5)})
    assert four_of_five.interval is not None
    assert four_of_five.interval.low == pytest.approx(0.376, abs=0.001)
    assert four_of_five.interval.high == pytest.approx(0.964, abs=0.001)
    none = s.share({0: [0.0]})
    assert none.value == 0.0
    assert none.interval is not None
    assert none.interval.high == pytest.approx(0.793, abs=0.001)


def test_nothing_parsed_is_not_known_instead_of_0_or_a_half() -> None:
    assert s.share({}) == s.Share(0, None, None)
    assert s.share({"a": [], "b": []}).value is None
    assert s.paired({}, {"a": True}).difference is None
    assert not s.paired({}, {}).shown
    assert s.heavy([]).oracle is None
    assert s.flips({"a": [True]}) is None


def test_a_legal_zero_survives_every_guard() -> None:
    zero = s.share({i: [0, 0] for i in range(10)})
    assert (zero.n, zero.value) == (10, 0.0)
    assert zero.interval is not None
    assert zero.interval.low == 0.0
    leaf = s.cost_leaf("zero cost", {"local": Interval(0.0, 0.0), "cloud": Interval(0.01, 0.02)})
    assert (leaf.state, leaf.lanes) == (s.SUPPORTED, ("local",))
    assert s.pareto([s.Point("local", 0.0, 0.0), s.Point("cloud", 0.5, 1.0)]) == ["local", "cloud"]


def test_the_denominator_is_what_was_summed() -> None:
    """A perfect subset where the others are cut is 1.0 of that subset, with its own n."""
    perfect = s.share({"a": [1], "b": [1], "cut": []})
    assert (perfect.n, perfect.value) == (2, 1.0)


def test_epochs_are_averaged_per_case_before_the_interval() -> None:
    once = s.share({i: [i % 2] for i in range(20)})
    often = s.share({i: [i % 2] * 5 for i in range(20)})
    assert once == often


def test_order_and_position_change_nothing() -> None:
    rng = random.Random(1)
    first: dict[Hashable, bool] = {i: rng.random() < 0.7 for i in range(50)}
    second: dict[Hashable, bool] = {i: rng.random() < 0.5 for i in range(50)}
    backward = dict(reversed(second.items()))
    assert s.paired(first, second) == s.paired(first, backward)
    missing = {case: right for case, right in second.items() if case != 0}  # later ones must not move up
    assert s.paired(first, missing).n == 49
    same = s.paired(first, {case: first[case] for case in missing})
    assert (same.b, same.c) == (0, 0)


def test_swapped_lanes_give_the_opposite_difference() -> None:
    rng = random.Random(2)
    a: dict[Hashable, bool] = {i: rng.random() < 0.8 for i in range(60)}
    b: dict[Hashable, bool] = {i: rng.random() < 0.6 for i in range(60)}
    one, other = s.paired(a, b), s.paired(b, a)
    assert one.interval is not None
    assert other.interval is not None
    assert one.difference == -(other.difference or 0)
    assert one.interval.low == pytest.approx(-other.interval.high)
    assert one.p == other.p


@pytest.mark.parametrize(("b", "c"), [(0, 5), (0, 6), (3, 12), (10, 10), (0, 0), (1, 30)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    expected = scipy.stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert s.mcnemar(b, c) == pytest.approx(expected)


def test_six_discordant_pairs_one_way_are_the_first_to_show_anything() -> None:
    assert s.mcnemar(0, 5) == pytest.approx(0.0625)
    assert s.mcnemar(0, 6) == pytest.approx(0.03125)


def test_newcombe_gives_the_published_interval() -> None:
    """Newcombe 1998, method 10: 36 both, 12 and 2 discordant, 0 neither."""
    low, high = s.newcombe(36, 2, 12, 0)
    assert low == pytest.approx(0.0569, abs=1e-4)
    assert high == pytest.approx(0.3404, abs=1e-4)


@pytest.mark.parametrize(("p", "better", "worse"), [(0.6, 0.2, 0.1), (0.85, 0.05, 0.05), (0.3, 0.4, 0.1)])
def test_newcombe_covers_the_true_difference(p: float, better: float, worse: float) -> None:
    rng = random.Random(7)
    covered = 0
    for _ in range(1000):
        same = 1 - better - worse
        kinds = rng.choices(("c", "b", "both", "neither"), (better, worse, p * same, (1 - p) * same), k=60)
        low, high = s.newcombe(*(kinds.count(kind) for kind in ("both", "b", "c", "neither")))
        covered += low <= better - worse <= high
    assert covered >= 930


def test_what_could_have_been_shown_shrinks_with_n_and_is_no_promise_for_few_cases() -> None:
    found = [s.could_have_shown(n, 0.2) for n in (12, 30, 60, 120, 400, 1000)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.3
    assert s.could_have_shown(120, 0.16) == pytest.approx(0.10, abs=0.012)  # metrics: 80 against 90 %, ρ about ½
    assert s.could_have_shown(1, 0.0) == 1.0


@pytest.mark.parametrize(("n", "discordant"), [(60, 0.2), (120, 0.15), (400, 0.2)])
def test_the_difference_that_could_be_shown_is_shown_in_four_of_five_runs(n: int, discordant: float) -> None:
    d = s.could_have_shown(n, discordant)
    better, worse = (discordant + d) / 2, (discordant - d) / 2
    rng = random.Random(3)
    shown = 0
    for _ in range(2000):
        draws = [rng.random() for _ in range(n)]
        c, b = sum(x < better for x in draws), sum(better <= x < better + worse for x in draws)
        shown += s.mcnemar(b, c) <= 0.05
    assert 0.68 <= shown / 2000 <= 0.9  # the exact test is conservative


def test_no_winner_below_what_could_be_shown() -> None:
    first: dict[Hashable, bool] = {i: i < 40 for i in range(50)}
    second: dict[Hashable, bool] = {i: i < 43 for i in range(50)}
    found = s.paired(first, second)
    assert not found.shown
    assert found.could_have_shown is not None
    assert found.could_have_shown > found.difference


def test_clusters_widen_and_never_narrow() -> None:
    alike: dict[Hashable, list[float]] = {(t, i): [float(t % 2)] for t in range(10) for i in range(6)}
    cluster = {case: case[0] for case in alike}
    wide, plain = s.share(alike, cluster), s.share(alike)
    assert wide.interval is not None
    assert plain.interval is not None
    assert wide.design_effect == pytest.approx(6, rel=0.2)
    assert wide.interval.high - wide.interval.low > 2 * (plain.interval.high - plain.interval.low)
    mixed: dict[Hashable, list[float]] = {(t, i): [float(i % 2)] for t in range(10) for i in range(6)}
    assert s.share(mixed, cluster).design_effect == 1.0


def test_the_clustered_interval_covers_what_it_says() -> None:
    """Half of the templates are always right: a naive interval covers this far less often."""
    rng = random.Random(4)
    covered = naive = 0
    for _ in range(400):
        scores: dict[Hashable, list[float]] = {}
        for t in range(20):
            p = rng.choice([0.05, 0.95])
            scores.update({(t, i): [float(rng.random() < p)] for i in range(6)})
        cluster = {case: case[0] for case in scores}
        for with_clusters in (True, False):
            found = s.share(scores, cluster if with_clusters else None).interval
            assert found is not None
            inside = found.low <= 0.5 <= found.high
            covered, naive = (covered + inside, naive) if with_clusters else (covered, naive + inside)
    assert covered >= 0.92 * 400
    assert naive < 0.75 * 400


def test_the_e_process_needs_the_published_number_of_pairs() -> None:
    needed = [next(b for b in itertools.count() if s.e_value(b, c) >= s.STOP_AT) for c in range(6)]
    assert needed == [8, 11, 14, 16, 18, 20]
    assert s.e_value(0, 0) == pytest.approx(1.0)
    assert math.isfinite(s.e_value(5000, 0))


def test_looking_after_every_pair_errs_in_at_most_one_run_of_twenty() -> None:
    rng = random.Random(5)
    stopped = 0
    for _ in range(1000):
        b = c = 0
        for _ in range(200):
            b, c = (b + 1, c) if rng.random() < 0.5 else (b, c + 1)
            if s.e_value(b, c) >= s.STOP_AT:
                stopped += 1
                break
    assert stopped <= 0.05 * 1000


def test_shuffled_labels_are_at_chance() -> None:
    """Two lanes of equal strength are told apart in at most about one run of twenty."""
    rng = random.Random(6)
    shown = 0
    for _ in range(500):
        a: dict[Hashable, bool] = {i: rng.random() < 0.7 for i in range(120)}
        b: dict[Hashable, bool] = {i: rng.random() < 0.7 for i in range(120)}
        shown += s.paired(a, b).shown
    assert shown <= 0.06 * 500


def test_holm_corrects_upwards_in_order() -> None:
    assert s.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert s.holm({}) == {}


def test_flips_of_the_same_lane_twice() -> None:
    assert s.flips({"a": [True, False], "b": [True, True], "c": [False]}) == 0.5


def test_the_edge_leaves_out_what_is_beaten_or_not_known() -> None:
    points = [
        s.Point("a", 0.8, 2.0),
        s.Point("b", 0.7, 3.0),
        s.Point("c", 0.6, 1.0),
        s.Point("d", None, 0.0),
        s.Point("e", 0.9, None),
    ]
    assert s.pareto(points) == ["a", "c"]
    assert s.pareto([s.Point("x", 0.5, 1.0), s.Point("y", 0.5, 1.0)]) == ["x", "y"]


def test_oracle_majority_and_selection_loss() -> None:
    runs = [
        s.Run([True, True, False], True, True),
        s.Run([True, False, False], False, False),  # found, outvoted and not chosen
        s.Run([True, False, False], False, True),  # gained by reflection
        s.Run([True, False], False, False),  # a tie is no majority
        s.Run([False, False], False, False),
        s.Run([True, True], True, False),  # lost
        s.Run([], False, False),
    ]
    found = s.heavy(runs)
    assert (found.n, found.n_voted) == (6, 6)
    assert found.oracle == pytest.approx(5 / 6)
    assert found.majority == pytest.approx(2 / 6)
    assert found.hybrid == pytest.approx(2 / 6)
    assert found.selection_loss == pytest.approx(3 / 6)
    assert (found.gained, found.lost) == (1, 1)


def test_texts_have_no_majority_instead_of_a_wrong_one() -> None:
    found = s.heavy([s.Run([True, False], None, True), s.Run([True, True], True, True)])
    assert (found.n, found.n_voted, found.majority, found.gained) == (2, 1, 1.0, 0)
    assert s.heavy([s.Run([True], None, True)]).majority is None


def test_clusters_widen_a_paired_difference_too() -> None:
    first: dict[Hashable, bool] = {(t, i): t % 5 == 0 for t in range(20) for i in range(6)}
    second: dict[Hashable, bool] = {(t, i): t % 5 < 2 for t in range(20) for i in range(6)}
    cluster = {case: case[0] for case in first}
    plain, clustered = s.paired(first, second), s.paired(first, second, cluster)
    assert clustered.design_effect == pytest.approx(6, rel=0.2)
    assert clustered.interval.high - clustered.interval.low > 2 * (plain.interval.high - plain.interval.low)
    assert clustered.could_have_shown > plain.could_have_shown
    assert plain.shown
    assert not clustered.shown, "20 templates with 4 that differ show nothing"


def test_a_run_that_ended_otherwise_needs_the_evidence_of_an_e_process() -> None:
    second: dict[Hashable, bool] = {i: i >= 2 for i in range(200)}
    for better, enough in ((13, False), (14, True)):  # against 2 the other way
        first: dict[Hashable, bool] = {i: not 2 <= i < 2 + better for i in range(200)}
        assert s.paired(first, second).shown
        assert s.paired(first, second, planned=False).shown == enough


def test_the_difference_of_other_cases_has_newcombes_interval() -> None:
    """Newcombe 1998, independent proportions, method 10: 56/70 and 48/80."""
    first, second = (s.share({i: [float(i < right)] for i in range(n)}) for right, n in ((48, 80), (56, 70)))
    found = s.unpaired(first, second)
    assert found.difference == pytest.approx(0.2)
    assert found.interval.low == pytest.approx(0.0524, abs=1e-4)
    assert found.interval.high == pytest.approx(0.3339, abs=1e-4)
    assert not found.shown, "80 and 70 cases show 22 points four times in five"
    assert found.could_have_shown == pytest.approx(0.22, abs=0.01)
    assert s.unpaired(s.share({}), second) is None


def test_names_swapped_at_random_show_a_difference_as_rarely_as_promised() -> None:
    for better, worse in [(3, 3), (10, 2), (40, 10), (0, 0)]:
        rest = 150 - better - worse
        found = s.Paired(150, rest, worse, better, 0, 0.1, None, None, s.could_have_shown(150, (better + worse) / 150))
        assert s.by_chance(found) <= 0.05
    assert s.by_chance(s.paired({}, {})) is None


def test_what_a_right_answer_takes_is_the_sum_spent_over_the_right_ones() -> None:
    parts = {t: (30.0 + t, 2.0) for t in range(10)}
    found = s.ratio(parts, 30)
    assert found.value == pytest.approx(sum(spent for spent, _ in parts.values()) / 20)
    assert found.interval.low < found.value < found.interval.high
    assert s.ratio(dict(reversed(parts.items())), 30) == found, "the order changes nothing"
    assert s.ratio({"a": (5.0, 1.0)}, 2) == s.Ratio(2, 5.0, None), "too few templates for an interval"


def test_never_right_gives_a_lower_limit_and_no_number() -> None:
    never = s.ratio({"a": (5.0, 0.0), "b": (7.0, 0.0)}, 4)
    assert never == s.Ratio(4, None, Interval(12.0, math.inf))
    assert s.ratio({}, 0) == s.Ratio(0, None, None)


def test_the_bootstrap_covers_the_true_ratio() -> None:
    rng = random.Random(8)
    covered = 0
    for _ in range(200):
        parts = {}
        for t in range(40):
            p = rng.uniform(0.3, 0.9)
            right = [rng.random() < p for _ in range(3)]
            parts[t] = (math.fsum(rng.expovariate(1 / 10) for _ in right), float(sum(right)))
        found = s.ratio(parts, 120).interval
        assert found is not None
        covered += found.low <= 10 / 0.6 <= found.high
    assert covered >= 0.9 * 200


def test_leaves_are_supported_suggestive_or_unknown() -> None:
    strong: dict[Hashable, bool] = {i: i < 95 for i in range(100)}
    close: dict[Hashable, bool] = {i: i < 92 for i in range(100)}
    weak: dict[Hashable, bool] = {i: i < 40 for i in range(100)}
    assert s.accuracy_leaf("accuracy", {"x": strong, "y": weak})[1:3] == (s.SUPPORTED, ("x",))
    suggestive = s.accuracy_leaf("accuracy", {"x": strong, "y": close, "z": weak})
    assert suggestive[1:3] == (s.SUGGESTIVE, ("x", "y"))
    assert "could have shown" in suggestive.reason
    assert s.accuracy_leaf("accuracy", {"x": strong, "y": dict(strong)}).state == s.UNKNOWN
    few: dict[Hashable, bool] = {case: right for case, right in strong.items() if isinstance(case, int) and case < 5}
    assert s.accuracy_leaf("accuracy", {"x": few, "y": weak}).state == s.UNKNOWN
    assert s.accuracy_leaf("accuracy", {}).state == s.UNKNOWN


def test_an_unknown_price_is_named_and_never_zero() -> None:
    leaf = s.cost_leaf("cost", {"a": Interval(1, 2), "b": Interval(3, 4), "c": None})
    assert leaf.state == s.SUGGESTIVE
    assert leaf.missing == ("c",)
    assert s.cost_leaf("cost", {"a": None, "b": None}).state == s.UNKNOWN
