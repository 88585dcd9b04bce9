"""Numbers that come out wrong without an error: a test for each shape of the collection "wrong-numbers" (79 repairs in
49 projects) and of NeMo-RL 3635. Those that have a test elsewhere:

- order of the cases: ``test_bench_graders.test_the_order_of_answers_changes_no_verdict``
- shuffled labels: ``test_bench_graders.test_shuffled_references_are_correct_only_by_chance``
- an answer cut in a tag or a fence: ``test_bench_graders.test_no_case_accepts_…_a_cut_off_answer``, ``golden.jsonl``
- a later report of usage that lacks the reasoning:
  ``test_usage.test_a_later_incomplete_usage_keeps_the_earlier_counts``
- every price counts, a reported cost of 0, a price of 0: ``test_metrics.test_cost``; there are no tiers of prices
- an estimate without a price: ``test_estimate.test_without_a_usual_output_…_without_a_price_it_is_not_known``
- cached tokens counted apart, where the total shows it:
  ``test_wire_stream.test_cached_tokens_missing_from_the_input_are_added``
- all unparsed, the denominator: of what is exported ``test_bench_export``
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_ui.bench import suite
from kimi_ui.bench.graders import CLOSED, RIGHT, VERDICTS, WRONG, grade, grade_one
from kimi_ui.bench.sandbox import OFF, Sandbox, Stamp
from kimi_ui.cli.common import price_words
from kimi_ui.core.lane import FREE
from tests.support.folding import STOP, answer, chat, chunk, cut, sse, thought
from tests.support.turns import ended
from tests.test_metrics import PRICE, metrics

USAGE = {"prompt_tokens": 50, "completion_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 5}}
GOLD: Mapping[str, Mapping[str, Any]] = {
    "number": {"value": "0"},
    "numbers": {"values": ["0", "0"], "ordered": True},
    "expression": {"value": "0"},
    "text": {"value": "0", "among": ["0", "1"]},
    "names": {"values": ["0"], "among": ["0", "1"], "ordered": True},
}
FIRST = ("run-lengths-1", "top-spenders-1", "keywords-1", "verse-1", "stock-1")
OTHERS = [case for case_id in FIRST if (case := suite.case(case_id))]


@pytest.mark.parametrize("grader", GOLD)
def test_a_legal_zero_is_right(grader: str) -> None:
    zero = "0, 0" if grader == "numbers" else "0"
    assert grade_one(grader, GOLD[grader], "", f"Answer: {zero}").verdict == RIGHT
    if grader != "expression":  # it would ask the computer algebra, which takes seconds to start
        assert grade_one(grader, GOLD[grader], "", f"Answer: {zero.replace('0', '1')}").verdict == WRONG


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 20_003, "prompt_tokens_details": {"cached_tokens": 20_000}},  # gross
        {"prompt_tokens": 3, "cache_read_input_tokens": 20_000, "total_tokens": 20_103},  # net, with a total
        {"input_tokens": 3, "cache_read_input_tokens": 20_000},  # net, without one
    ],
)
def test_cached_tokens_cost_the_same_in_both_conventions(usage: dict[str, Any]) -> None:
    text = "word " * 100
    got = chat(sse(answer(text), STOP, chunk(None, usage=usage | {"completion_tokens": 100})))
    assert (got.fold.usage.input_tokens, got.fold.usage.cached_input_tokens) == (20_003, 20_000)
    assert "usage_suspect" not in got.fold.flags
    price = PRICE[0], PRICE[1], PRICE[2]
    row = metrics(ended([(10, event) for event in got.events]), price=PRICE, input_chars=80_000)
    assert row.cost_usd == pytest.approx((3 * price[0] + 20_000 * price[1] + 100 * price[2]) / 1e6, rel=1e-12)
    assert row.cost_source == "usage"


def test_a_whole_and_a_streamed_answer_have_equal_counts_and_cost() -> None:
    message = {"role": "assistant", "content": "some words of an answer", "reasoning_content": "let me think a moment"}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE}
    whole = chat(*cut(json.dumps(body).encode(), [40, 90]), content_type="application/json")
    parts = (thought("let me think "), thought("a moment"), answer("some words of an answer"), STOP)
    streamed = chat(sse(*parts, chunk(None, usage=USAGE)))
    rows = [metrics(ended([(10, event) for event in got.events]), price=PRICE) for got in (whole, streamed)]
    assert whole.text == streamed.text
    names = ("input_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "cost_source", "token_source")
    assert [getattr(rows[0], name) for name in names] == [getattr(rows[1], name) for name in names]
    assert rows[0].reasoning_tokens == 5


def test_a_lane_without_a_price_has_no_cost_and_says_so() -> None:
    assert price_words(None) == "price not known"
    assert price_words(FREE) == "free, runs here"
    assert metrics(ended([(10, event) for event in chat(sse(answer("a"), STOP)).events])).cost_usd is None


class _Watched(dict[str, Any]):
    """A mapping that notes which of its keys were read."""

    def __init__(self, values: Mapping[str, Any], read: set[str]) -> None:
        super().__init__(values)
        self._read = read

    def __getitem__(self, key: str) -> Any:
        self._read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._read.add(key)
        return super().get(key, default)


def test_graders_read_everything_that_a_case_says_of_its_answer() -> None:
    """A key that no grader reads would be a condition that no answer can fail."""
    has: dict[str, set[str]] = defaultdict(set)
    reads: dict[str, set[str]] = defaultdict(set)
    for case in (template.instance(0, 3) for template in suite.templates()):
        if case.grader in CLOSED:
            has[case.grader] |= set(case.gold)
            for text in (case.reference, "Answer: 7", "Answer: (1, 2)"):
                grade_one(case.grader, _Watched(case.gold, reads[case.grader]), case.prompt, text)
    assert has.keys() == CLOSED.keys()
    assert {grader: keys - reads[grader] for grader, keys in has.items() if keys - reads[grader]} == {}


def test_every_condition_of_a_text_can_fail() -> None:
    rules = defaultdict(set)
    cases = [
        case for template in suite.templates() if template.grader == "constraints" for case in template.instances(3)
    ]
    for case in cases:
        for text in (case.reference, case.prompt, "One two.\n\n- three\n- four", "word, Word! " * 400):
            for part in grade(case, text).parts:
                rules[part.name].add(part.verdict)
    assert {rule for rule, seen in rules.items() if seen != {RIGHT, WRONG}} == set()


PIECES = (
    *("Answer: ", "\\boxed{", "}", "$", "1/0", "1e9", "0x1", "½", "−3", "(1, 2", "{a}", "```", "<think>", "\n", "A)"),
    *("\\frac{1}{0}", "x^", "sqrt(-1)", "and", ";", "\u202e", "٣", "1,234.5", "%", "=", "Ada", "SELECT", "def f(:"),
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=8).map("".join))
def test_no_answer_makes_a_grader_fail(text: str) -> None:
    """A grader that raises would cost its case the verdict, or shift those of all later ones."""
    off = Sandbox(None, Stamp("none", "", OFF))
    for grader in ("number", "numbers", "text", "names"):
        assert grade_one(grader, GOLD[grader], "", text).verdict in VERDICTS
    for case in OTHERS:
        assert grade(case, [text], get_sandbox=lambda: off).verdict in VERDICTS
