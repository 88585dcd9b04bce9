"""The result that an answer states, the grouping of answers, and when the rest cannot change the majority."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_ui.core.heavy.answers import CHOICE, CODE, EXPRESSION, NUMBER_TYPE, TEXT, Result, offered, read
from kimi_ui.core.heavy.clusters import cluster, similarity, undecided
from kimi_ui.core.heavy.expressions import NotReadable, evaluate, fingerprint
from kimi_ui.core.heavy.stopping import decided, score, stop_risk

CITIES = "Which is the capital of Italy?\nA) Paris\nB) Rome\nC) Oslo"


def result(answer: str, prompt: str = "") -> Result:
    found = read(answer, prompt)
    assert found is not None
    return found


def grouped(*answers: str, prompt: str = "") -> list[tuple[int, ...]]:
    found = cluster({number: read(answer, prompt) for number, answer in enumerate(answers, 1)})
    return [one.members for one in found.clusters]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("1/2", "1/2"),
        ("0.5", "1/2"),
        ("50 %", "1/2"),
        ("50 percent", "1/2"),
        ("\\boxed{\\frac12}", "1/2"),
        ("½", "1/2"),
        ("1 1/2", "3/2"),
        ("The total is 1,234.", "1234"),
        ("1 234", "1234"),
        ("1.234.567", "1234567"),
        ("1.234,5", "2469/2"),
        ("1,5", "3/2"),
        ("−5", "-5"),
        ("2^10", "1024"),
        ("3 \\times 10^8", "300000000"),
        ("3 × 10⁸ m/s", "300000000"),
        ("forty-two", "42"),
        ("It is 42.", "42"),
        ("x = 5", "5"),
        ("The answer is 42 because 6 × 7 = 42.", "42"),
        ("## Final answer\n\n**42**", "42"),
        ("I first thought 41.\n\nSo the answer is 42.\n", "42"),
        ("答案是 42。", "42"),
        ("$1,234.50", "2469/2"),
    ],
)
def test_a_number_is_read_exactly_however_it_is_written(answer: str, value: str) -> None:
    found = result(answer)
    assert (found.type, found.number, found.stated) == (NUMBER_TYPE, Fraction(value), True)


def test_a_question_for_a_number_is_answered_by_the_end_of_the_answer() -> None:
    answer = "There are 3 boxes of 4.\n\nTherefore there are 12 apples in total"
    assert result(answer, "How many apples are there?").number == 12
    assert not result(answer, "Write an essay about apples.").stated


@pytest.mark.parametrize("answer", ["B", "(B) Rome", "B. Rome, of course.", "**B**", "The answer is (B).", "Rome"])
def test_a_choice_is_one_of_the_options_offered(answer: str) -> None:
    assert (result(answer, CITIES).type, result(answer, CITIES).key) == (CHOICE, "B")
    assert result(answer).type != CHOICE


def test_options_are_found_on_lines_and_in_one_line() -> None:
    assert offered(CITIES) == offered("Which? (A) Paris (B) Rome (C) Oslo") == {"A": "paris", "B": "rome", "C": "oslo"}
    assert offered("Plan A) is bad.") == offered("") == {}


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("\\boxed{(x-1)(x+1)}", "The answer is $x^2-1$."),
        ("\\boxed{\\frac{x}{2}}", "The answer is 0.5x."),
        ("\\boxed{\\sqrt{x+x}}", "\\boxed{\\sqrt{2x}}"),
        ("\\boxed{y = 2x + 1}", "\\boxed{1+2x}"),
        ("\\boxed{x^2+y^2=1}", "\\boxed{2x^2 = 2 - 2y^2}"),
        ("\\boxed{\\{2, 3\\}}", "x=3 or x=2"),
        ("\\boxed{2\\pi r}", "The answer is 2πr."),
        ("\\boxed{\\sin 2x}", "\\boxed{\\sin(x+x)}"),
    ],
)
def test_equal_expressions_have_one_key(one: str, same: str) -> None:
    assert (result(one).type, result(one).key) == (EXPRESSION, result(same).key)


@pytest.mark.parametrize(
    ("one", "other"), [("x+1", "x-1"), ("(2, 3)", "(3, 2)"), ("x^2", "2^x"), ("\\sin x", "\\cos x")]
)
def test_different_expressions_have_different_keys(one: str, other: str) -> None:
    assert result(f"\\boxed{{{one}}}").key != result(f"\\boxed{{{other}}}").key


@pytest.mark.parametrize(
    "text", ["9^9^9^9", "(" * 60 + "x" + ")" * 60, "x+" * 300 + "x", "2^99999", "x^^2", "1/0", "1/(x-x)"]
)
def test_huge_nested_and_broken_expressions_are_refused(text: str) -> None:
    with pytest.raises(NotReadable):
        evaluate(text)


def test_a_fingerprint_never_changes() -> None:
    """It may be stored, so it must be the same in every process."""
    assert fingerprint("x+y") == fingerprint("y + x") == "244989492013366915=491161785908254870=737334079803142825"


def test_code_is_the_same_after_renaming_and_without_comments() -> None:
    ask = "Write a Python function that adds."
    one = "```python\ndef add(a, b):\n    # the sum\n    return a + b\n```"
    same = 'Here:\n```python\ndef plus(x: int, y: int) -> int:\n    """Add."""\n    return (x + y)\n```\nIt adds.'
    other = "```python\ndef add(a, b):\n    return a - b\n```"
    assert result(one, ask).type == CODE
    assert grouped(one, same, other, prompt=ask) == [(1, 2), (3,)]
    sql = ("```sql\nSELECT a FROM t -- all\n```", "```sql\nSELECT  a\nFROM t\n```", "```sql\nSELECT a, b FROM t\n```")
    assert result(sql[0], "a query").type == CODE
    assert grouped(*sql, prompt="a query") == [(1, 2), (3,)]


def test_text_is_compared_without_case_and_emphasis() -> None:
    assert grouped("Paris", "**paris**", "The answer is: Paris.", "Rome") == [(1, 2, 3), (4,)]
    assert result("Yes, since it is prime.", "Is 7 prime?").key == "yes"


def test_results_of_different_types_differ_and_unstated_ones_are_reported() -> None:
    answers = ["The answer is 42.", "The answer is unknown.", "\\boxed{x}", ""]
    answers.append("I would rather talk about the weather, which was fine all week long.")
    found = cluster({number: read(answer) for number, answer in enumerate(answers, 1)})
    assert [one.type for one in found.clusters] == [NUMBER_TYPE, TEXT, EXPRESSION]
    assert found.unread == (4, 5)
    assert found.n_usable == 5
    assert found.n_stated == 3
    assert found.plurality is None


def test_equal_numbers_with_different_units_differ_and_a_bare_number_joins_the_commonest() -> None:
    assert grouped("12 km", "12 m", "12 kilometres", "12") == [(1, 3, 4), (2,)]


def test_numbers_are_equal_within_a_millionth() -> None:
    assert grouped("1/3", "0.333333", "0.3333") == [(1, 2), (3,)]


@pytest.mark.parametrize(
    ("sizes", "effective"),
    [
        ((8,), 1.0),
        ((7, 1), 1.28),
        ((6, 2), 1.6),
        ((5, 2, 1), 2.13),
        ((4, 4), 2.0),
        ((4, 2, 1, 1), 2.91),
        ((1,) * 8, 8.0),
    ],
)
def test_effective_answers(sizes: tuple[int, ...], effective: float) -> None:
    """The number of effectively different answers is 1/Σp²."""
    answers = [f"The answer is {place}." for place, size in enumerate(sizes) for _ in range(size)]
    found = cluster({number: read(answer) for number, answer in enumerate(answers, 1)})
    assert found.sizes == sizes
    assert found.effective == pytest.approx(effective, abs=0.005)
    assert found.agreement == sizes[0] / 8
    assert found.unanimous == (sizes == (8,))


def test_open_text_is_grouped_by_pairwise_similarity() -> None:
    story = "the quick brown fox jumps over the lazy dog and runs far into the green forest before the night"
    base = [*story.split(), "falls"]
    near = [*base[:-1], "comes"]
    chain = [" ".join(base), " ".join(near), "a wholly different story about ships and storms on the wide northern sea"]
    found = cluster({number: read(text + ".") for number, text in enumerate(chain, 1)})
    assert found.open_text
    assert [one.members for one in found.clusters] == [(1, 2), (3,)]
    assert found.similarity == pytest.approx(similarity(chain))
    assert 0 < (found.similarity or 0) < 1
    assert found.plurality is None
    assert found.n_stated == 0
    assert not found.unanimous
    assert cluster({1: read(chain[2]), 2: read(chain[2])}).unanimous


def test_computer_algebra_joins_expressions_that_simple_rules_separate() -> None:
    results = {1: read("\\boxed{\\sin^2 x + \\cos^2 x + x}"), 2: read("\\boxed{1 + x}")}
    [(one, other, _, _)] = undecided(results)
    assert len(cluster(results).clusters) == 2
    assert len(cluster(results, lambda a, b: {a, b} == {one, other}).clusters) == 1


def test_incomplete_text_states_only_explicit_results() -> None:
    assert read("Let me see: 6 × 7 is 4", finished=False) is None
    assert read("So the answer is 4", finished=False) is None
    found = read("So the answer is 42.\nLet me check", finished=False)
    assert found is not None
    assert found.number == 42


@pytest.mark.parametrize(
    "text",
    [
        *("(" * 30_000, "\\boxed{" * 9_000, "the answer is " * 9_000, "9" * 60_000, "\n" * 60_000 + "x"),
        *("**a" * 20_000, "$" * 60_000, "A) " * 20_000, "1 " * 30_000, "```\n" * 9_000, "is it " * 9_000),
        "\\boxed{9^9^9^9^9^9}",
    ],
)
def test_hostile_answers_are_read_without_an_error(text: str) -> None:
    for prompt in ("", text, "How many?", "Write a function.", CITIES):
        assert read(text, prompt) is not None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=8), st.text(max_size=60))
def test_every_answer_is_counted_once(answers: list[str], prompt: str) -> None:
    results = {number: read(answer, prompt) for number, answer in enumerate(answers, 1)}
    found = cluster(results)
    members = [member for one in found.clusters for member in one.members]
    assert sorted([*members, *found.unread]) == list(results)
    for one, other in combinations(members, 2):
        if found.by_member[one] is found.by_member[other]:
            assert results[one].type == results[other].type


@pytest.mark.parametrize(
    ("n1", "n2", "risk"),
    [
        (2, 0, 8.3),
        (2, 1, 26),
        (3, 0, 2.4),
        (3, 1, 10.3),
        (4, 0, 0.4),
        (4, 1, 2.4),
        (4, 2, 8.3),
        (5, 1, 0),
        (3, 2, 26),
        (4, 3, 22),
    ],
)
def test_the_stop_risk_at_a_width_of_eight(n1: int, n2: int, risk: float) -> None:
    assert 100 * stop_risk(n1, n2, 8 - n1 - n2) == pytest.approx(risk, abs=0.5 if risk > 20 else 0.05)


def test_the_stop_risk_agrees_with_sampling() -> None:
    """The closed form against its own model: a leader's share from Beta(n1 + 1, n2 + 1), then r draws with it."""
    rng = random.Random(5)
    for n1, n2, r in [(3, 0, 5), (4, 1, 3), (2, 1, 5), (4, 3, 1)]:
        flips = 0.0
        for _ in range(20_000):
            share = rng.betavariate(n1 + 1, n2 + 1)
            lead = n1 - n2 + sum(1 if rng.random() < share else -1 for _ in range(r))
            flips += 1 if lead < 0 else 0.5 if lead == 0 else 0
        assert flips / 20_000 == pytest.approx(stop_risk(n1, n2, r), abs=0.012)


def test_the_rule_needs_three_stated_results() -> None:
    assert decided((2,), 1) is None
    assert decided((3,), 5) == pytest.approx(0.0238, abs=1e-4)
    assert decided((3, 1), 4) is None
    assert decided((2, 1), 0) == 0
    assert score((4, 1)) == "4-1"
