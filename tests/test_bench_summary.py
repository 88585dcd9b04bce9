"""A run in figures and sentences: what silently gives wrong numbers elsewhere, and what a person reads.

The first half is the list of wrong-number shapes found in other tools (arthi-arumugam-git/wrong-numbers), as far as
figures are concerned; the graders' half is in ``test_bench_graders.py``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
from typing import Any

import pytest

from kimi_ui.bench.comparison import compare
from kimi_ui.bench.results import Outcome, Run, Sample, Trajectory
from kimi_ui.bench.statistics import SUPPORTED, UNKNOWN
from kimi_ui.bench.summary import Summary, summarise
from kimi_ui.bench.summary.words import NOT_SHOWN, SHOWN, WARNING
from tests.support.bench_runs import lane, run, sample, simulated, verdicts

TWO = [lane("kimi"), lane("qwen")]
HEAVY = [lane("kimi"), lane("kimi-heavy", of="kimi")]


def two(kimi: str, qwen: str, **changes: Any) -> Summary:
    return summarise(run(TWO, [*verdicts("kimi", kimi), *verdicts("qwen", qwen)], **changes))


def text(summary: Summary) -> str:
    return "\n".join(f"{line.title} {line.text}" for line in summary.verdicts)


# Numbers that are silently wrong elsewhere


def test_without_a_readable_answer_the_accuracy_is_unknown_not_0_or_a_half() -> None:
    found = two("uuuuuu", "rwrwrw")
    kimi = found.lanes[0]
    assert kimi.overall.graded.value is None
    assert kimi.overall.graded.interval is None
    assert kimi.overall.counts["unreadable"] == 6
    assert kimi.overall.delivered.value == 0.0
    assert found.pairs[0].graded.difference is None
    assert not found.pairs[0].shown
    assert "No case has a verdict for both" in text(found)
    assert all(leaf.state == UNKNOWN for leaf in found.tree[0].leaves)


def test_the_denominator_is_what_was_summed() -> None:
    found = two("rrttulec--", "rrrrrrrrrr").lanes[0].overall
    assert (found.graded.n, found.graded.value) == (2, 1.0)
    assert (found.n, found.delivered.n, found.delivered.value) == (8, 8, 0.25)
    assert sum(found.counts.values()) == 10


def test_every_failure_has_a_place_of_its_own() -> None:
    counts = two("rwutlec-", "rrrrrrrr").lanes[0].overall.counts
    assert set(counts.values()) == {1}, counts


def test_a_cut_answer_is_neither_right_nor_wrong_even_if_its_beginning_would_be() -> None:
    cut = sample("sums0-1", "kimi", "truncated", extracted="42")
    found = summarise(run([lane("kimi")], [cut, sample("sums0-2", "kimi")]))
    assert (found.lanes[0].overall.graded.n, found.lanes[0].overall.graded.value) == (1, 1.0)


def test_a_legal_zero_survives_every_guard() -> None:
    free = [sample(f"sums{i}-1", "kimi", "wrong", cost_usd=0.0, reasoning_tokens=0, ttft_ms=0.0) for i in range(8)]
    figures = summarise(run([lane("kimi")], free)).lanes[0].figures
    assert figures.cost_usd.value == 0.0
    assert figures.cost_usd.interval == (0.0, 0.0)
    assert figures.reasoning_tokens == 0
    assert figures.ttft_s.value == 0.0
    paid = [sample(f"sums{i}-1", "qwen", cost_usd=0.02) for i in range(8)]
    leaf = summarise(run(TWO, [*free, *paid])).tree[2].leaves[0]
    assert (leaf.state, leaf.lanes) == (SUPPORTED, ("kimi",))
    assert summarise(run([lane("kimi")], free)).lanes[0].overall.graded.value == 0.0


def test_a_lane_without_a_price_costs_unknown_and_never_nothing() -> None:
    samples = [sample(f"sums{i}-1", id, cost_usd=0.0) for i in range(8) for id in ("kimi", "qwen")]
    found = summarise(run([lane("kimi", priced=False), lane("qwen")], samples))
    assert found.lanes[0].figures.cost_usd == (0, None, None)
    assert found.lanes[0].figures.cost_per_correct_usd.value is None
    assert "Kimi K2 unknown" in text(found)
    assert "Qwen3-Coder:30B $0" in text(found)
    assert found.edges[1].best == ("qwen",)


def test_a_cost_that_is_not_known_counts_neither_above_nor_below_the_line() -> None:
    samples = [sample(f"sums{i}-1", "kimi", cost_usd=None if i % 2 else 0.02) for i in range(12)]
    figures = summarise(run([lane("kimi")], samples)).lanes[0].figures
    assert figures.cost_usd.n == 6
    assert figures.cost_usd.value == pytest.approx(0.02)
    assert figures.cost_per_correct_usd.value == pytest.approx(0.02)


def test_the_order_of_samples_changes_nothing() -> None:
    made = simulated({"kimi": 0.8, "qwen": 0.6, "kimi-heavy": 0.8}, cases=60, epochs=2, heavy=("kimi-heavy", "kimi"))
    shuffled = list(made.samples)
    random.Random(3).shuffle(shuffled)
    expected = summarise(made)
    for samples in (reversed(made.samples), shuffled):
        found = summarise(dataclasses.replace(made, samples=tuple(samples)))
        assert found.as_dict() == expected.as_dict()


def test_a_sample_that_is_missing_moves_no_other_verdict() -> None:
    whole = verdicts("kimi", "rwrwrwrwrw")
    other = verdicts("qwen", "rwrwrwrwrw")
    found = summarise(run(TWO, [*whole[:3], *whole[4:], *other]))
    assert (found.pairs[0].graded.n, found.pairs[0].graded.b, found.pairs[0].graded.c) == (9, 0, 0)


def test_shuffled_labels_are_at_chance() -> None:
    """Two lanes of equal strength: a difference is shown in about one run of twenty at most."""
    shown = 0
    for seed in range(40):
        found = summarise(simulated({"kimi": 0.7, "qwen": 0.7}, cases=40, seed=seed))
        shown += found.pairs[0].shown
        assert found.pairs[0].by_chance <= 0.05
    assert shown <= 3


def test_epochs_do_not_pretend_to_be_more_cases() -> None:
    once = summarise(run([lane("kimi")], verdicts("kimi", "rwrwrwrwrw")))
    thrice = [one for epoch in (1, 2, 3) for one in verdicts("kimi", "rwrwrwrwrw", epoch=epoch)]
    found = summarise(run([lane("kimi")], thrice, epochs=3))
    assert found.lanes[0].overall.graded == once.lanes[0].overall.graded
    assert found.lanes[0].figures.total_s == once.lanes[0].figures.total_s


def test_reasoning_tokens_are_not_lost_in_the_sum() -> None:
    samples = [sample("sums0-1", "kimi", reasoning_tokens=None), sample("sums0-2", "kimi", reasoning_tokens=70)]
    figures = summarise(run([lane("kimi")], samples)).lanes[0].figures
    assert (figures.output_tokens, figures.reasoning_tokens) == (1000, 70)


def test_what_a_right_answer_takes_includes_the_failures_before_it() -> None:
    figures = summarise(run([lane("kimi")], verdicts("kimi", "rwtrwurwlrww"))).lanes[0].figures
    assert figures.time_to_correct_s.value == pytest.approx(12 * 10 / 4)
    assert figures.cost_per_correct_usd.value == pytest.approx(12 * 0.01 / 4)
    never = summarise(run([lane("kimi")], verdicts("kimi", "wwwwww"))).lanes[0].figures.time_to_correct_s
    assert (never.n, never.value, never.interval) == (6, None, (60.0, math.inf))


def test_json_is_strict_and_an_unknown_is_null() -> None:
    found = two("wwwwwwu", "uuuuuuu").as_dict()
    loaded = json.loads(json.dumps(found, allow_nan=False))
    assert loaded["format"] == 1
    assert loaded["lanes"][0]["figures"]["time_to_correct_s"]["value"] is None
    assert loaded["lanes"][0]["figures"]["time_to_correct_s"]["interval"]["high"] is None
    assert loaded["lanes"][1]["overall"]["graded"]["value"] is None


# What a person reads


def test_no_winner_is_named_below_what_could_have_been_shown() -> None:
    found = two("r" * 40 + "w" * 10, "r" * 43 + "w" * 7)
    line = next(line for line in found.verdicts if "right more often" in line.title)
    assert line.kind == NOT_SHOWN
    assert line.text.startswith(
        "No difference shown. Kimi K2 has 80 % right, Qwen3-Coder:30B 86 %, on the same 50 cases"
    )
    assert "could have shown ≥" in line.text


def test_a_difference_that_is_shown_names_the_lane_and_its_range() -> None:
    found = two("rrw" * 30, "rww" * 30)
    line = next(line for line in found.verdicts if "right more often" in line.title)
    assert line.kind == SHOWN
    assert line.text.startswith("Kimi K2: 67 % right against 33 % of Qwen3-Coder:30B, on the same 90 cases.")
    assert "33 points more, in truth probably" in line.text
    assert "could have shown ≥" in line.text


def test_a_run_that_a_person_stopped_is_exploratory() -> None:
    rest = "rrr" * 51 + "-" * 60
    kimi, qwen = "rrr" * 13 + "wrr" * 2 + rest, "wrr" * 13 + "rrr" * 2 + rest
    done, stopped = (two(kimi, qwen, state=state) for state in ("done", "stopped"))
    assert done.pairs[0].shown
    assert not stopped.pairs[0].shown
    warning = next(line for line in stopped.verdicts if line.title == "Exploratory")
    assert warning.kind == WARNING
    assert "A person stopped this run after 396 of 516 answers." in warning.text
    assert not [line for line in done.verdicts if line.kind == WARNING]


def test_categories_are_corrected_for_their_number() -> None:
    samples = [
        one
        for category in ("reasoning", "coding", "math", "creative")
        for id, outcomes in (("kimi", "r" * 30), ("qwen", "rrw" * 10 if category == "math" else "r" * 29 + "w"))
        for one in (
            dataclasses.replace(each, case=f"{category}-{each.case}", template=f"{category}-{each.template}")
            for each in verdicts(id, outcomes, category=category)
        )
    ]
    found = summarise(run(TWO, samples))
    pairs = {pair.category: pair for pair in found.pairs}
    assert pairs["math"].p_corrected == pytest.approx(4 * pairs["math"].graded.p)
    assert not pairs["coding"].shown
    assert [one for one in pairs if pairs[one].shown and one] == ["math"]
    assert "math: Kimi K2 over Qwen3-Coder:30B, 33 points" in text(found)


def test_many_answers_without_a_verdict_are_a_warning() -> None:
    found = two("r" * 30 + "t" * 10, "r" * 40)
    assert "10 of 40 answers of Kimi K2 have no verdict" in text(found)
    assert "10 cut at the token limit" in text(found)


def test_a_stand_in_is_said_to_be_one() -> None:
    found = summarise(run([lane("kimi", stand_in=True)], verdicts("kimi", "rw")))
    assert "served by the small embedded model" in text(found)


def test_the_same_lane_twice_is_noise_and_no_comparison() -> None:
    twins = [lane("kimi", "Kimi A", config_sha="same"), lane("again", "Kimi B", config_sha="same")]
    found = summarise(run(twins, [*verdicts("kimi", "rrrrrwwwww"), *verdicts("again", "rrrrwrwwww")]))
    assert found.pairs == ()
    assert (found.noise[0].changed, found.noise[0].n) == (2, 10)
    assert "on 2 of 10 cases" in text(found)


def test_flips_are_those_of_one_lane() -> None:
    samples = [*verdicts("kimi", "rrww"), *verdicts("kimi", "rwwt", epoch=2)]
    found = summarise(run([lane("kimi")], samples, epochs=2)).lanes[0].flips
    assert found.n == 3
    assert found.share == pytest.approx(1 / 3)


def test_cases_on_which_lanes_disagree_come_first() -> None:
    found = two("rrwr", "rrrt").grid
    assert [row.case for row in found] == ["sums0-3", "sums1-1", "sums0-1", "sums0-2"]
    assert (found[0].spread, found[-1].spread) == (1.0, 0.0)


def test_one_lane_alone_or_no_sample_at_all_is_summarised() -> None:
    alone = summarise(run([lane("kimi")], verdicts("kimi", "rrw")))
    assert alone.pairs == ()
    nothing = summarise(run(TWO, verdicts("kimi", "---"), state="interrupted"))
    assert nothing.run.n_reached == 0
    assert nothing.lanes[0].overall.graded.value is None
    assert nothing.lanes[0].figures.cost_usd.value is None
    assert summarise(run([], [])).verdicts == ()


# Heavy


def heavy_sample(case: str, outcome: Outcome, trajectories: str, majority: str | None, **changes: Any) -> Sample:
    found = tuple(
        Trajectory(
            k, "right" if letter == "r" else "wrong", "42" if letter == "r" else f"wrong {letter}", f"{case}-{k}"
        )
        for k, letter in enumerate(trajectories, start=1)
    )
    return sample(case, "kimi-heavy", outcome, trajectories=found, majority=majority, **changes)


def test_heavy_is_explained_by_its_trajectories() -> None:
    samples = [
        *verdicts("kimi", "rwwrwww"),
        heavy_sample("sums0-1", "right", "rrr", "42"),  # nothing to gain
        heavy_sample("sums0-2", "right", "rrx", "42"),  # rescued by the vote
        heavy_sample("sums0-3", "right", "xxr", "wrong x"),  # rescued by the aggregation
        heavy_sample("sums1-1", "wrong", "rrx", "42"),  # hurt: a right majority lost
        heavy_sample("sums1-2", "wrong", "xyz", None),  # nothing to find
        heavy_sample("sums1-3", "right", "xxx", "wrong x"),  # beyond its trajectories
        heavy_sample("sums2-1", "truncated", "rrr", "42"),  # cut, so it is none of these
    ]
    found = summarise(run(HEAVY, samples)).heavy[0]
    assert (found.width, found.totals.n, found.n_beside) == (3, 6, 6)
    assert found.totals.oracle == pytest.approx(4 / 6)
    assert found.totals.majority == pytest.approx(3 / 6)
    assert found.totals.hybrid == pytest.approx(4 / 6)
    assert found.totals.selection_loss == pytest.approx(0)
    assert (found.totals.gained, found.totals.lost) == (2, 1)
    assert found.worth == {"nothing to gain": 1, "helped": 3, "hurt": 1, "did not help": 1}
    assert list(found.reasons.values()) == [3, 1, 1, 1]
    assert {one.state for one in found.explanations} == {"unknown"}, "fewer than 20 cases explain nothing"


def test_an_explanation_is_supported_only_if_it_holds_in_most_cases() -> None:
    easy = [
        *verdicts("kimi", "r" * 36 + "wwww"),
        *(heavy_sample(one.case, "right", "rrr", "42") for one in verdicts("kimi", "r" * 36)),
        *(heavy_sample(one.case, "wrong", "xxx", "wrong x") for one in verdicts("kimi", " " * 36 + "wwww")),
    ]
    found = summarise(run(HEAVY, easy))
    states = {one.name: one.state for one in found.heavy[0].explanations}
    assert states["nothing_to_gain"] == "supported"
    assert states["no_diversity"] == "supported"
    assert states["lost"] == "unknown"
    assert "The data support: The cases are too easy for it" in text(found)
    assert next(line.title for line in found.verdicts) == "Is Kimi K2 heavy worth it?"


def test_texts_have_no_majority_instead_of_a_wrong_one() -> None:
    samples = [
        *verdicts("kimi", "r", category="creative"),
        heavy_sample("sums0-1", "right", "rrx", None, category="creative"),
    ]
    found = summarise(run(HEAVY, samples)).heavy[0]
    assert (found.totals.n_voted, found.totals.majority, found.majority.n) == (0, None, 0)


# Two runs


def made(outcomes: str, **changes: Any) -> Run:
    return run([lane("kimi")], verdicts("kimi", outcomes), **changes)


def test_the_same_cases_are_compared_one_by_one() -> None:
    found = compare(made("rww" * 20, id="one"), made("rrw" * 20, id="two"))
    change = found.lanes[0].changes[0]
    assert found.is_paired
    assert (change.n, change.shown) == (60, True)
    assert change.difference == pytest.approx(1 / 3)
    assert "compared case by case" in found.basis
    assert "a difference is shown: +33 points" in "\n".join(found.lines())


def test_other_cases_are_compared_by_their_shares_and_that_is_said() -> None:
    found = compare(made("rww" * 20), made("rrw" * 20, seed=5))
    change = found.lanes[0].changes[0]
    assert not found.is_paired
    assert (change.n, change.p) == (0, None)
    assert change.difference == pytest.approx(1 / 3)
    assert "the cases are not the same" in found.basis
    assert "60 and 60 other cases" in "\n".join(found.lines())


def test_a_changed_configuration_is_named_and_lanes_may_come_and_go() -> None:
    before = run([lane("kimi"), lane("old")], [*verdicts("kimi", "rw"), *verdicts("old", "rw")])
    after = run([lane("kimi", config_sha="new"), lane("fresh")], [*verdicts("kimi", "rw"), *verdicts("fresh", "rw")])
    found = compare(before, after)
    assert {one.lane: one.configuration for one in found.lanes} == {
        "kimi": "changed",
        "fresh": "only in the second run",
        "old": "only in the first run",
    }
    assert "Kimi K2: its configuration has changed" in "\n".join(found.lines())
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["is_paired"] is True


def test_a_run_that_ended_early_needs_stronger_evidence_in_a_comparison_too() -> None:
    early = compare(made("r" * 13 + "ww" + "r" * 100), made("w" * 13 + "rr" + "r" * 100, state="stopped"))
    assert not early.is_planned
    assert not early.lanes[0].changes[0].shown
    assert compare(made("r" * 13 + "ww" + "r" * 100), made("w" * 13 + "rr" + "r" * 100)).lanes[0].changes[0].p < 0.01
