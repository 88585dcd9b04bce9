"""What a comparison of answers is made of: units, words that differ, conclusions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.compare.conclusion import conclusion, last_boxed, last_code, last_number, last_stated
from kimi_ui.core.compare.lcs import common_pairs
from kimi_ui.core.compare.units import MAX_CHARS, units
from kimi_ui.core.compare.words import changes, count_words

PIECES = st.sampled_from(
    [
        *("The answer is 42. ", "the sum, e.g. of all. ", "你好。再见。", "<b>&amp;</b> ", "x", " ", "\n", "\n\n"),
        *("- item\n", "1. one\n", "# Head\n", "| a | b |\n", "\r\n", "\u2028"),
        *("```python\n", "```\n", "~~~\n", "    return x\n", "return x\n", "}\n"),
    ]
)
MARKDOWN = st.lists(PIECES, max_size=25).map("".join)
TEXT = st.one_of(MARKDOWN, st.text(max_size=80))


@given(TEXT)
def test_the_units_of_a_text_join_to_the_text(text: str) -> None:
    assert "".join(unit.text for unit in units(text)) == text


def _longest(a: list[int], b: list[int]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@given(st.lists(st.integers(0, 3), max_size=14), st.lists(st.integers(0, 3), max_size=14))
def test_common_pairs_are_a_longest_common_subsequence(a: list[int], b: list[int]) -> None:
    pairs = common_pairs(a, b)
    assert pairs is not None
    assert len(pairs) == _longest(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(pairs))


def test_text_is_split_at_the_ends_of_sentences() -> None:
    text = "The answer is 42. See e.g. Fig. 3 by J. Smith. Is it 3.14? Yes!\n"
    text += "1. First item. More\n2. Second\n\n# Head\nText\nwrapped."
    assert [unit.text.strip() for unit in units(text)] == [
        "The answer is 42.",
        "See e.g. Fig. 3 by J. Smith.",
        "Is it 3.14?",
        "Yes!",
        "1. First item.",
        "More",
        "2. Second",
        "# Head",
        "Text\nwrapped.",
    ]
    assert [unit.text for unit in units("你好。今天好吗？好！")] == ["你好。", "今天好吗？", "好！"]
    assert max(len(unit.text) for unit in units("word " * 1000)) <= MAX_CHARS


def test_a_changed_number_is_marked_whole_and_typography_is_not_a_change() -> None:
    left, right = "It cost 1,170.50 dollars \u2013 \u201ca lot\u201d.", 'It cost 1,171.50 dollars - "a lot".'
    found = changes(left, right, code=False)
    assert [left[start:end] for start, end in found.left] == ["1,170.50"]
    assert [right[start:end] for start, end in found.right] == ["1,171.50"]
    assert found.n_common == 5


def test_a_short_word_between_changes_is_part_of_them() -> None:
    found = changes("a b c d", "x b z d", code=False)
    assert (found.left, found.right) == ([(0, 5)], [(0, 5)])
    assert changes("  x = 1", "x = 1", code=True).left == [(0, 2)]


def test_texts_too_long_to_align_are_compared_from_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kimi_ui.core.compare.lcs.MAX_CELLS", 3)
    assert changes("One two three four.", "One 2 three 3 four.", code=False).right == [(4, 13)]


def test_words_are_counted() -> None:
    assert count_words("\u4f60\u597d world") == 3


CONCLUSIONS = [
    (r"so \boxed{\frac{1}{2}}", r"thus $\boxed{ \dfrac{1}{2} }$.", "boxed", True),
    (r"\boxed{41}", r"\boxed{\text{42}}", "boxed", False),
    ("**The answer is 42.**", "Final answer: **42**", "stated", True),
    ("The answer is $1,170$.", "The result is 1170", "stated", True),
    ("The answer is O(n log n).", "the answer is O(n)", "stated", False),
    ("x\n```sql\nSELECT 1;\n```\n", "y\n```\nSELECT 1; \n```", "code", True),
    ("x\n```\na\n```\n", "y\n```\nb\n", "code", False),
    ("In all 1,170\n", "It comes to 1170.", "number", True),
    ("It is −3.5 %.", "It is 3.5 %.", "number", False),
]


@pytest.mark.parametrize(("left", "right", "basis", "same"), CONCLUSIONS)
def test_conclusions(left: str, right: str, basis: str, same: bool) -> None:
    found = conclusion(left, right)
    assert found is not None
    assert (found.basis, found.same) == (basis, same)


def test_no_conclusion_is_claimed_without_one_on_both_sides() -> None:
    assert conclusion("There are 3 ways.", "There is no way.") is None
    assert conclusion("", "42") is None
    assert conclusion(r"\boxed{1}", "It is one.") is None
    assert last_number("Founded in 1987.\n\nA long story.\n1. One\n2. Two") is None
    assert last_stated("```\nthe answer is 3\n```") is None
    assert last_boxed(r"\boxed{unclosed") is None
    assert last_code("```\n```") is None


def test_the_sentence_about_two_conclusions_says_how_each_was_found() -> None:
    def sentence_for(left: str, right: str) -> str:
        found = conclusion(left, right)
        assert found is not None
        return found.sentence("A", "B")

    assert sentence_for(r"\boxed{42}", r"\boxed{42}") == "Both conclude 42."
    assert sentence_for("The answer is 41.", "The answer is 42.") == "The conclusions differ: 41 in A, 42 in B."
    assert sentence_for("It was 7.", "It was 7.") == "The last number of both is 7."
    assert sentence_for("It was 7.", "It was 8.") == "The last number differs: 7 in A, 8 in B."
    assert sentence_for("```\na\n```", "```\na\n```") == "The last code block is the same in both."
    assert len(sentence_for(r"\boxed{" + "x" * 500 + "}", r"\boxed{y}")) < 200
