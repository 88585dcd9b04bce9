"""Advice from benchmark runs: when it speaks, when it is silent, and what it says then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from kimi_ui.bench.advice import ACCURACY, FIRST_TOKEN, TOTAL_TIME, ZERO_COST, Lane, advise, table
from kimi_ui.bench.results import Run, RunLane, Sample

TODAY = date(2026, 11, 20)
A, B, C = Lane("a", "Ada", "sha-a"), Lane("b", "Bea", "sha-b"), Lane("c", "Cleo", "sha-c")


SAMPLE = Sample(
    case="",
    category="coding",
    template="",
    lane="",
    epoch=1,
    outcome="right",
    extracted=None,
    reason="",
    grader="code",
    grader_version="1",
    backend=None,
    level=None,
    turn_id=None,
    attempt_id=None,
    started_at_utc=None,
    ttft_ms=500.0,
    ttfo_ms=None,
    e2e_ms=0.0,
    tpot_ms=None,
    decode_tps=None,
    cost_usd=0.01,
    input_tokens=10,
    output_tokens=10,
    reasoning_tokens=None,
    token_source="usage",
)
RUN = Run(
    id="r",
    started_at_utc="2026-11-03T10:00:00+00:00",
    ended_at_utc=None,
    state="done",
    state_reason="",
    size="full",
    suite_version=1,
    seed=1,
    epochs=1,
    budget_usd=None,
    lanes=(),
    samples=(),
)


def sample(lane: str, case: int, **values: Any) -> Sample:
    given = {"case": f"case-{case}", "template": f"template-{case // 3}", "lane": lane, "e2e_ms": 2000.0 + case}
    return replace(SAMPLE, **{**given, **values})


def run(samples: Iterable[Sample], lanes: Iterable[Lane] = (A, B), **values: Any) -> Run:
    made = tuple(RunLane(one.id, one.label, "m", "openai", one.config_sha, True, None, False) for one in lanes)
    return replace(RUN, lanes=made, samples=tuple(samples), **values)


def right_in(lane: str, right: int, n: int = 30, **values: Any) -> list[Sample]:
    return [sample(lane, case, outcome="right" if case < right else "wrong", **values) for case in range(n)]


def every(lane: str, outcome: str, **values: Any) -> list[Sample]:
    return [sample(lane, case, outcome=outcome, **values) for case in range(30)]


CLEAR = [*right_in("a", 28), *right_in("b", 8)]


def test_recommends_the_lane_that_the_paired_comparison_separates() -> None:
    advice = advise([run(CLEAR)], [A, B], "coding", ACCURACY, TODAY)
    assert (advice.state, advice.lane) == ("recommended", "a")
    assert advice.sentence == "Ada is right more often in coding than Bea (30 cases, 3 Nov 2026)."
    assert advice.pairs[0].startswith("Ada against Bea: +67 points (+")
    assert advice.pairs[0].endswith(", 30 cases.")
    assert [(one.label, one.n, one.value) for one in advice.figures] == [("Ada", 30, 28 / 30), ("Bea", 30, 8 / 30)]
    assert any("reads" in one for one in advice.not_compared)


def test_the_order_of_lanes_runs_and_samples_changes_nothing() -> None:
    forward = advise([run(CLEAR)], [A, B], "coding", ACCURACY, TODAY)
    backward = advise([run(reversed(CLEAR), (B, A))], [B, A], "coding", ACCURACY, TODAY)
    assert (forward.state, forward.lane, forward.sentence) == (backward.state, backward.lane, backward.sentence)


def test_without_a_difference_it_names_the_faster_lane() -> None:
    samples = [*right_in("a", 20), *right_in("b", 19, e2e_ms=900.0)]
    advice = advise([run(samples)], [A, B], "coding", ACCURACY, TODAY)
    assert (advice.state, advice.lane) == ("no_difference", "b")
    assert advice.sentence.startswith(
        "No difference in right answers is shown between Ada and Bea (30 cases, 3 Nov 2026;"
    )
    assert "Take the faster one, Bea: 1.1 s less than Ada (" in advice.sentence


def test_without_any_difference_it_names_no_lane() -> None:
    samples = [*right_in("a", 20, e2e_ms=1000.0), *right_in("b", 19, e2e_ms=1000.0)]
    advice = advise([run(samples)], [A, B], "coding", ACCURACY, TODAY)
    assert (advice.state, advice.lane) == ("no_difference", "")
    assert advice.sentence.endswith("neither is shown to be.")


def test_the_cheaper_lane_if_neither_is_faster() -> None:
    samples = [*right_in("a", 20, e2e_ms=1000.0), *right_in("b", 19, e2e_ms=1000.0, cost_usd=0.002)]
    advice = advise([run(samples)], [A, B], "coding", ACCURACY, TODAY)
    assert (advice.state, advice.lane) == ("no_difference", "b")
    assert "Take the cheaper one, Bea: $0.002 against $0.01 an answer." in advice.sentence


def test_a_third_lane_that_is_worse_does_not_join_the_tie() -> None:
    samples = [*right_in("a", 28), *right_in("b", 27), *right_in("c", 2)]
    advice = advise([run(samples, (A, B, C))], [A, B, C], "coding", ACCURACY, TODAY)
    assert advice.state == "no_difference"
    assert "between Ada and Bea" in advice.sentence
    assert "Cleo" not in advice.sentence


SILENT: list[tuple[str, Callable[[], Run], str]] = [
    ("thin", lambda: run([*right_in("a", 19, 19), *right_in("b", 0, 19)]), "20 are needed"),
    ("old", lambda: run(CLEAR, started_at_utc=f"{TODAY - timedelta(days=91)}T00:00:00+00:00"), "more than 90 days ago"),
    ("changed", lambda: run(CLEAR, (A._replace(config_sha="old"), B)), "Ada: configured differently since 3 Nov 2026."),
    ("stopped", lambda: run(CLEAR, state="stopped"), "in no finished run"),
    ("budget", lambda: run(CLEAR, state="budget"), "in no finished run"),
    ("interrupted", lambda: run(CLEAR, state="interrupted"), "in no finished run"),
    ("one lane", lambda: run(right_in("a", 28), (A,)), "Bea: in no finished run."),
    ("not run", lambda: run([*right_in("a", 28), *every("b", "not-run")]), "Bea: no case of coding in its runs."),
    ("server failed", lambda: run([*right_in("a", 28), *every("b", "endpoint")]), "Bea: 0 cases"),
    ("other category", lambda: run([sample("a", n, category="math") for n in range(30)]), "Ada: no case of coding"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "reason"), [one[1:] for one in SILENT], ids=[one[0] for one in SILENT])
def test_silent_and_why(made: Callable[[], Run], reason: str) -> None:
    advice = advise([made()], [A, B], "coding", ACCURACY, TODAY)
    assert (advice.state, advice.lane, advice.short) == ("silent", "", "")
    assert any(reason in one for one in advice.not_compared), advice


def test_results_of_ninety_days_and_of_two_seeds_count() -> None:
    samples = [*right_in("a", 14, 15), *right_in("b", 2, 15)]
    first = run(samples, started_at_utc=f"{TODAY - timedelta(days=90)}T00:00:00+00:00")
    second = run(samples, id="s", seed=2)
    advice = advise([second, first], [A, B], "coding", ACCURACY, TODAY)
    assert advice.lane == "a"
    assert "(30 cases, 22 Aug 2026 to 3 Nov 2026)" in advice.sentence


def test_the_same_case_again_is_an_epoch_and_not_another_case() -> None:
    again = run([*right_in("a", 14, 15), *right_in("b", 2, 15)], id="s")
    first = run([*right_in("a", 14, 15), *right_in("b", 2, 15)])
    assert advise([first, again], [A, B], "coding", ACCURACY, TODAY).state == "silent"


def test_a_run_that_ended_when_it_had_decided_needs_the_stricter_test() -> None:
    """10 cases against 1: exact McNemar gives p = 0.012, the e-process is at 15.5 and not yet at 20."""
    samples = [
        sample(lane, case, template=f"t{case}", outcome="right" if is_right else "wrong")
        for case in range(30)
        for lane, is_right in (("a", case != 10), ("b", case >= 10))
    ]
    assert advise([run(samples)], [A, B], "coding", ACCURACY, TODAY).state == "recommended"
    assert advise([run(samples, state="decided")], [A, B], "coding", ACCURACY, TODAY).state == "no_difference"


def test_a_truncated_answer_is_not_right_but_a_failed_request_has_no_score() -> None:
    samples = [*right_in("a", 30), *[sample("b", n, outcome="truncated" if n < 25 else "endpoint") for n in range(30)]]
    advice = advise([run(samples)], [A, B], "coding", ACCURACY, TODAY)
    assert advice.lane == "a"
    assert [(one.n, one.value) for one in advice.figures] == [(30, 1.0), (25, 0.0)]


def test_times_speak_earlier_and_say_so() -> None:
    samples = [*right_in("a", 4, 8, ttft_ms=300.0), *right_in("b", 4, 8, ttft_ms=1300.0)]
    advice = advise([run(samples)], [A, B], "coding", FIRST_TOKEN, TODAY)
    assert (advice.state, advice.lane) == ("recommended", "a")
    assert advice.sentence == (
        "Ada has the shortest first token in coding (8 cases, 3 Nov 2026). "
        "Times show with fewer than the 20 cases that right answers need."
    )
    assert advice.pairs == ("1.0 s less than Bea (1.0 to 1.0 s), 8 cases.",)
    assert advise([run(samples)], [A, B], "coding", ACCURACY, TODAY).state == "silent"


def test_five_times_are_too_few_and_unknown_ones_are_none() -> None:
    few = [*right_in("a", 4, 5), *right_in("b", 4, 5, e2e_ms=9000.0)]
    assert advise([run(few)], [A, B], "coding", TOTAL_TIME, TODAY).state == "silent"
    unknown = [*right_in("a", 4), *right_in("b", 4, e2e_ms=None)]
    advice = advise([run(unknown)], [A, B], "coding", TOTAL_TIME, TODAY)
    assert advice.state == "silent"
    assert "Bea: 0 measured, and 6 are needed." in advice.not_compared


def test_the_total_time_of_a_cut_answer_does_not_count() -> None:
    cut = every("b", "truncated", e2e_ms=10.0)
    assert advise([run([*right_in("a", 30), *cut])], [A, B], "coding", TOTAL_TIME, TODAY).state == "silent"


def test_zero_cost() -> None:
    paid, free, unknown = right_in("a", 28), right_in("b", 27, cost_usd=0.0), right_in("c", 5, cost_usd=None)
    advice = advise([run([*paid, *free, *unknown], (A, B, C))], [A, B, C], "coding", ZERO_COST, TODAY)
    assert (advice.state, advice.lane) == ("recommended", "b")
    assert advice.sentence == "Only Bea is known to cost nothing (30 answers, 3 Nov 2026)."
    assert advice.pairs[0].startswith("Bea against Ada: -3 points (")
    assert advice.pairs[0].endswith(", 30 cases, no difference shown.")
    assert "Cleo: its cost is not known." in advice.not_compared
    assert advise([run(paid)], [A], "coding", ZERO_COST, TODAY).state == "silent"


def test_of_two_free_lanes_the_better_one() -> None:
    samples = [*right_in("a", 28, cost_usd=0.0), *right_in("b", 5, cost_usd=0.0)]
    advice = advise([run(samples)], [A, B], "coding", ZERO_COST, TODAY)
    assert (advice.priority, advice.state, advice.lane) == (ZERO_COST, "recommended", "a")


def test_shuffled_verdicts_recommend_nothing() -> None:
    """Both lanes right in the same share of cases, in an order that has nothing to do with the lane."""
    samples = [
        sample(lane, case, template=f"t{case}", outcome="right" if (case * 7 + shift) % 11 < 6 else "wrong")
        for case in range(30)
        for lane, shift in (("a", 0), ("b", 5))
    ]
    assert advise([run(samples)], [A, B], "coding", ACCURACY, TODAY).state == "no_difference"


def test_nothing_is_said_of_other_prompts_and_the_table_is_empty_without_results() -> None:
    assert advise([run(CLEAR)], [A, B], "other", ACCURACY, TODAY).state == "silent"
    assert table([], [A, B], TODAY) == {}
    made = table([run(CLEAR)], [A, B], TODAY)
    assert made["coding"][ACCURACY].lane == "a"
    assert made["math"][ACCURACY].state == "silent"
    assert made["coding"][ACCURACY].as_dict()["figures"][0]["label"] == "Ada"
