"""Answer diff: units, alignment, marks and conclusions; nothing of either text may be lost or moved."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.compare.conclusion import conclusion, last_boxed, last_code, last_number, last_stated
from kimi_ui.core.compare.diff import Diff, changed_words, compare, count_words
from kimi_ui.core.compare.lcs import MAX_CELLS, common_pairs
from kimi_ui.core.compare.units import MAX_CHARS, units

PIECES = st.sampled_from(
    [
        *("The answer is 42. ", "the sum, e.g. of all. ", "你好。再见。", "<b>&amp;</b> ", "x", " ", "\n", "\n\n"),
        *("- item\n", "1. one\n", "# Head\n", "| a | b |\n", "\r\n", "\u2028"),
        *("```python\n", "```\n", "~~~\n", "    return x\n", "return x\n", "}\n"),
    ]
)
MARKDOWN = st.lists(PIECES, max_size=25).map("".join)
TEXT = st.one_of(MARKDOWN, st.text(max_size=80))


def kinds(diff: Diff) -> list[str]:
    return [segment.kind for segment in diff.segments]


@given(TEXT)
def test_the_units_of_a_text_join_to_the_text(text: str) -> None:
    assert "".join(unit.text for unit in units(text)) == text


@given(TEXT, TEXT)
def test_the_segments_hold_all_of_both_texts(left: str, right: str) -> None:
    diff = compare(left, right)
    assert "".join(segment.left for segment in diff.segments) == left
    assert "".join(segment.right for segment in diff.segments) == right
    for segment in diff.segments:
        if segment.kind == "changed":
            assert "".join(word.text for word in segment.words if word.kind != "right") == segment.left
            assert "".join(word.text for word in segment.words if word.kind != "left") == segment.right
        elif segment.kind == "same":
            assert segment.left.split() == segment.right.split()
        else:
            assert not (segment.right if segment.kind == "left" else segment.left)


@given(TEXT)
def test_a_text_is_identical_to_itself(text: str) -> None:
    diff = compare(text, text)
    assert set(kinds(diff)) <= {"same"}
    assert diff.identical
    assert diff.in_common == (1 if count_words(text) else None)


@given(TEXT, TEXT)
def test_swapping_the_texts_swaps_the_sides(left: str, right: str) -> None:
    assert (compare(left, right).in_common is None) == (compare(right, left).in_common is None)
    assert 0 <= (compare(left, right).in_common or 0) <= 1


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


def test_texts_too_large_to_align_are_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CELLS > 20_000**2 - 1
    monkeypatch.setattr("kimi_ui.core.compare.lcs.MAX_CELLS", 3)
    diff = compare("One here. Two here. Three.", "Four now. Five now. Six.")
    assert not diff.aligned
    assert kinds(diff) == ["left", "right"]


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


def test_code_is_compared_by_lines_with_its_indentation() -> None:
    left = "Try this.\n```python\ndef f(x):\n    return x\n```\nDone.\n"
    right = "Try this.\n```python\ndef f(x):\n  return x\n\n    return x\n```\nDone.\n"
    diff = compare(left, right)
    assert [(segment.kind, segment.code, segment.right) for segment in diff.segments] == [
        ("same", False, "Try this.\n"),
        ("same", True, "```python\ndef f(x):\n"),
        ("right", True, "  return x\n\n"),
        ("same", True, "    return x\n```\n"),
        ("same", False, "Done.\n"),
    ]


def test_a_sentence_and_the_same_words_in_code_differ() -> None:
    assert kinds(compare("return x\n", "```\nreturn x\n```\n")) == ["left", "right"]


def test_versions_of_a_sentence_are_paired_and_marked() -> None:
    diff = compare(
        "Intro here. The total revenue of the shop was 120 dollars in March. Bye now.",
        "Other words stand first. The total revenue of the shop was 125 dollars in April. Farewell, friend.",
    )
    changed = [segment for segment in diff.segments if segment.kind == "changed"]
    assert [(word.kind, word.text) for word in changed[0].words] == [
        ("same", "The total revenue of the shop was "),
        ("left", "120"),
        ("right", "125"),
        ("same", " dollars in "),
        ("left", "March"),
        ("right", "April"),
        ("same", ". "),
    ]
    assert kinds(diff) == ["left", "right", "changed", "left", "right"]


def test_a_lone_brace_in_another_place_is_not_aligned() -> None:
    left = "```\n" + "".join(f"alpha{i}\n" for i in range(9)) + "}\nomega\n```\n"
    right = "```\n" + "beta\n}\n" + "".join(f"gamma{i}\n" for i in range(9)) + "```\n"
    assert all("}" not in segment.left for segment in compare(left, right).segments if segment.kind == "same")


def test_a_space_between_changed_words_is_marked_with_them() -> None:
    assert changed_words("a b c d", "x y z d") == (("left", "a b c"), ("right", "x y z"), ("same", " d"))


def test_share_in_common_counts_words_of_both() -> None:
    diff = compare("One two three four.", "One two three five.")
    assert (diff.n_left_words, diff.n_right_words, diff.in_common) == (4, 4, 0.75)
    assert compare("", "").in_common is None
    assert compare("", "Some words.").in_common == 0
    assert count_words("你好 world") == 3


def test_hostile_markup_is_only_text() -> None:
    hostile = "<img src=x onerror=alert(1)> & <script>alert(1)</script>."
    diff = compare(hostile, hostile + " More.")
    assert "".join(segment.left for segment in diff.segments) == hostile


def _words(n: int, seed: int, vocabulary: int) -> list[str]:
    rng = random.Random(seed)
    return [f"w{int(vocabulary * rng.random() ** 3)}" for _ in range(n)]


@pytest.mark.parametrize("sentence", [12, 20_000], ids=["sentences", "no full stop"])
@pytest.mark.parametrize("vocabulary", [3, 3000], ids=["three words", "many words"])
def test_twenty_thousand_words_are_aligned(sentence: int, vocabulary: int) -> None:
    rng = random.Random(7)
    words = _words(20_000, 1, vocabulary)
    edited = [word if rng.random() > 0.1 else "other" for word in words]

    def text(items: list[str]) -> str:
        return ". ".join(" ".join(items[i : i + sentence]) for i in range(0, len(items), sentence))

    diff = compare(text(words), text(edited))
    assert diff.aligned
    assert "".join(segment.right for segment in diff.segments) == text(edited)
    if vocabulary > 3:
        assert diff.in_common is not None
        assert diff.in_common > 0.6


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
