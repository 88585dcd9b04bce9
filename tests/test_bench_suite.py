"""The suite: its size, its seeds, and that each reference is right in the sandbox that this machine has."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from typing import Any

import pytest

from kimi_ui import tokenizers
from kimi_ui.bench import sandbox, suite
from kimi_ui.bench.graders import RIGHT, code, grade, grade_one

LEAST = {"reasoning": 30, "coding": 30, "math": 30, "creative": 30, "long_context": 24, "multi_turn": 12}
SEEDS = (suite.SEED, 1, 2)


def test_size_categories_and_templates() -> None:
    cases = suite.cases()
    count = Counter(case.category for case in cases)
    assert all(count[category] >= n for category, n in LEAST.items()), count
    templates = defaultdict(set)
    for case in cases:
        templates[case.category].add(case.template)
    assert all(3 * len(templates[category]) >= count[category] for category in suite.CATEGORIES)
    assert len({case.id for case in cases}) == len(cases)
    assert sum(case.grader == "sql" for case in cases) >= 6
    assert any("top 3 users" in case.prompt and "refunded" in case.prompt for case in cases if case.grader == "sql")


def test_quick_cases_are_twenty_of_all_categories() -> None:
    cases = [suite.case(case_id) for case_id in suite.QUICK]
    assert len(set(suite.QUICK)) == 20
    assert {case.category for case in cases if case} == set(suite.CATEGORIES)


def test_a_seed_gives_the_same_cases_and_another_seed_others() -> None:
    first, again, other = suite.cases(4), suite.cases(4), suite.cases(5)
    assert first == again
    assert [case.id for case in first] == [case.id for case in other]
    alike = [a.id for a, b in zip(first, other, strict=True) if a.prompt == b.prompt and a.gold == b.gold]
    assert len(alike) <= 2, alike  # templates with few variants may draw the same one
    assert suite.case(first[7].id, 4) == first[7]


@pytest.mark.parametrize("case_id", ["", "jugs", "jugs-0", "jugs-4", "jugs-x", "nothing-1", "-1"])
def test_an_unknown_id_has_no_case(case_id: str) -> None:
    assert suite.case(case_id) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_each_reference_is_right(seed: int) -> None:
    wrong = {}
    for case in suite.cases(seed):
        verdict = grade(case, suite.answers_of(case, case.reference))
        if verdict.verdict != RIGHT:
            wrong[case.id] = verdict
    assert not wrong


@pytest.mark.parametrize("seed", range(20, 50))
def test_each_reference_without_code_is_right(seed: int) -> None:
    """Many seeds, since names and numbers collide seldom."""
    for case in suite.cases(seed):
        if case.grader not in ("code", "sql") and case.category != suite.CATEGORIES[4]:
            verdict = grade(case, suite.answers_of(case, case.reference))
            assert verdict.verdict == RIGHT, (case.id, verdict)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_plausible_wrong_query_fails_on_a_database(seed: int) -> None:
    cases = [case for case in suite.cases(seed) if case.grader == "sql"]
    for case in cases:
        assert len(case.gold["scripts"]) >= 3
        assert len(case.gold["wrong"]) >= 5
        for query in [*case.gold["wrong"], case.reference.split("```")[1].removeprefix("sql")]:
            right = all(map(same_rows(case, query), case.gold["scripts"], case.gold["rows"]))
            assert right == (query not in case.gold["wrong"]), (case.id, query)


def same_rows(case: suite.Case, query: str) -> Any:
    def run(script: str, expected: list[list[Any]]) -> bool:
        with closing(sqlite3.connect(":memory:")) as database:
            database.executescript(script)
            rows = [list(row) for row in database.execute(query)]
        if case.gold["ordered"]:
            return rows == expected
        return sorted(rows, key=repr) == sorted(expected, key=repr)

    return run


def test_wrong_queries_get_the_verdict_wrong() -> None:
    case = suite.case("top-spenders-1")
    assert case is not None
    for query in case.gold["wrong"][:4]:
        verdict = grade(case, f"```sql\n{query}\n```")
        assert verdict.verdict == "wrong"
        assert "On database" in verdict.reason
        assert verdict.sandbox == sandbox.choose().stamp


def test_long_contexts_have_their_stated_length() -> None:
    """In tokens of the vocabulary that is shipped; a model's own may differ by some percent."""
    count = tokenizers.counter()
    cases = [case for case in suite.cases() if case.category == "long_context"]
    ratios = {case.id: count.count(case.prompt) / (case.context_tokens or 0) for case in cases}
    assert all(0.9 <= ratio <= 1.1 for ratio in ratios.values()), ratios
    assert {case.context_tokens for case in cases} == {4_000, 8_000, 16_000, 32_000, 64_000, 100_000}
    assert len({case.prompt[:40] for case in cases}) == len(cases)


def test_no_prompt_holds_the_answer_line() -> None:
    for case in suite.cases():
        if case.grader in ("number", "numbers", "expression", "choice", "text", "names"):
            assert case.reference.splitlines()[-1] not in case.prompt


def test_a_reference_gives_the_same_result_twice() -> None:
    for case in suite.cases():
        if case.grader == "code":
            assert code.results(case.gold["source"], case.gold["calls"]) == code.results(
                case.gold["source"], case.gold["calls"]
            )


def test_a_grader_needs_no_case() -> None:
    assert grade_one("number", {"value": "2"}, "", "Answer: 2").verdict == RIGHT
