"""The graders against answers with known verdicts, and what no answer may change."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from kimi_ui import algebra
from kimi_ui.bench import graders, suite
from kimi_ui.bench.graders import RIGHT, TRUNCATED, UNPARSED, VERDICTS, WRONG, golden, grade, grade_one
from kimi_ui.bench.sandbox import OFF, Sandbox, Stamp

MOST_FALSE_NEGATIVES = 0.01


@pytest.fixture(scope="module")
def judged() -> list[golden.Judged]:
    return list(golden.judged())


@pytest.mark.slow
def test_error_rates_on_the_golden_answers(judged: list[golden.Judged], capsys: pytest.CaptureFixture[str]) -> None:
    rates = golden.rates(judged)
    with capsys.disabled():
        print(f"\n{rates.sentence}")
    assert rates == golden.RATES, "reports print it"
    assert len(judged) >= 300
    assert not [one for one in judged if one.false_positive]
    assert rates.false_negatives <= MOST_FALSE_NEGATIVES * rates.n_right, [one for one in judged if one.false_negative]


@pytest.mark.slow
def test_golden_answers_get_their_verdict_and_a_reason(judged: list[golden.Judged]) -> None:
    other = [(one.answer, one.expected, one.verdict) for one in judged if one.verdict.verdict != one.expected]
    assert not other
    assert all(one.verdict.reason.endswith(".") for one in judged)
    assert set(VERDICTS) == {one.expected for one in judged}


@pytest.mark.slow
def test_golden_answers_cover_every_grader(judged: list[golden.Judged]) -> None:
    count = Counter(one.grader for one in judged)
    assert set(count) == set(graders.GRADERS)
    assert all(n >= 5 for n in count.values()), count


def test_the_order_of_answers_changes_no_verdict() -> None:
    cases = [case for case in suite.cases(5) if case.grader in graders.CLOSED]
    answers = {
        case.id: random.Random(case.id).choice([case.reference, "Answer: 7", "Answer: Ada", ""]) for case in cases
    }
    forward = {case.id: grade(case, answers[case.id]) for case in cases}
    backward = {case.id: grade(case, answers[case.id]) for case in reversed(cases)}
    assert forward == backward
    assert {RIGHT, WRONG, UNPARSED} <= {verdict.verdict for verdict in forward.values()}


def test_shuffled_references_are_correct_only_by_chance() -> None:
    """Each case gets the reference of another one of its template and form."""
    numbers = [case for case in suite.cases(6) if case.grader == "number"]
    shifted = [*numbers[1:], numbers[0]]
    right = sum(grade(case, other.reference).verdict == RIGHT for case, other in zip(numbers, shifted, strict=True))
    assert right <= 0.1 * len(numbers)


@pytest.mark.parametrize("case", suite.cases(), ids=lambda case: case.id)
def test_no_case_accepts_an_empty_answer_the_prompt_or_a_cut_off_answer(case: suite.Case) -> None:
    off = Sandbox(None, Stamp("none", "", OFF))
    for answer in ("", case.prompt):
        assert grade(case, answer, get_sandbox=lambda: off).verdict != RIGHT
    answers = suite.answers_of(case, case.reference)
    assert grade(case, answers, finish="length", get_sandbox=lambda: off).verdict in (TRUNCATED, RIGHT, WRONG)
    if not case.turns:
        assert grade(case, answers, finish="length").verdict == TRUNCATED
        assert grade(case, "<think>" + case.reference).verdict == TRUNCATED


@pytest.mark.parametrize(
    "text",
    [
        *("9**9**9**9", "((((" * 5000, "\\frac{" * 2000, "1e999999999", "√" * 3000, "1" * 100_000),
        "__import__('os').system('touch pwned')",
    ],
)
@pytest.mark.parametrize("grader", ["number", "numbers", "expression"])
def test_hostile_numbers_are_not_evaluated(grader: str, text: str) -> None:
    gold = {"value": "2", "values": ["1", "2"], "ordered": True}
    assert grade_one(grader, gold, "", f"Answer: {text}").verdict in (UNPARSED, WRONG)


def test_computer_algebra_knows_identities_and_is_killed_if_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    one = algebra.Algebra()
    try:
        assert one.equal("sin(x)^2 + cos(x)^2", "1") is True
        assert one.equal("x+1", "x+2") is False
        monkeypatch.setattr(algebra, "DEADLINE_S", 0.5)
        assert one.equal("2", "9^{9^{9^{9}}}") is not True
        monkeypatch.setattr(algebra, "DEADLINE_S", 20.0)
        assert one.equal("(x+1)^2", "x^2+2x+1") is True
    finally:
        one.close()


def test_a_text_of_several_turns_is_graded_turn_by_turn() -> None:
    case = suite.case("stock-2", 9)
    assert case is not None
    answers = json.loads(case.reference)
    answers[2] = "Answer: 100000"
    verdict = grade(case, answers)
    assert verdict.verdict == WRONG
    assert [part.name for part in verdict.parts if part.verdict != RIGHT] == ["turn 3"]
    assert verdict.reason.startswith("Turn 3: ")
