"""Two answers side by side: what matches, what is marked, and that nothing of either answer is lost."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.compare.side_by_side import SideBySide, side_by_side
from kimi_ui.core.markdown import render
from kimi_ui.core.markdown.safe import clean_text, sanitize
from kimi_ui.view.comparison import Source, comparison_part

PIECES = st.sampled_from(
    [
        *("The answer is 42. ", "the sum, e.g. of all. ", "你好。再见。", "<b>&amp;</b> ", "x", " ", "\n", "\n\n"),
        *("- item\n", "1. one\n", "# Head\n", "| a | b |\n", "|---|---|\n", "> quoted\n", "\r\n", "\u2028"),
        *(
            "```python\n",
            "```\n",
            "    return x\n",
            "return x\n",
            "}\n",
            "$x^2$ ",
            "$$\ny = 1\n$$\n",
            "**bold** ",
            "`code. Yes` ",
        ),
        *(
            "[a](https://a.example) ",
            "![i](https://a.example/i.png) ",
            "[^1] ",
            "[^1]: note\n",
            "<ins>new</ins> ",
            "\\* ",
        ),
    ]
)
MARKDOWN = st.one_of(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=80)).map(clean_text)
ADDED = re.compile(r'<span class="md-say">[^<]*</span>|<span class="md-blank">\n</span>')
FIRST = re.compile(r'class="([^"]*)md-first"><span class="md-say">([^<]*)</span>')


def text_of(html: str) -> str:
    """What HTML shows, without what marks add. Items of a list are lists of their own in a comparison, so white space
    does not count."""
    return "".join(unescape(re.sub(r"<[^>]*>", "", ADDED.sub("", html))).split())


def compared(left: str, right: str) -> SideBySide:
    return side_by_side(left, right, "A", "B")


def counts(left: str, right: str) -> dict[str, int]:
    return {f"{what} {kind}": n for (what, kind), n in compared(left, right).counts.items()}


def words(html: str, tag: str) -> list[str]:
    """The words marked in changed units."""
    return re.findall(rf'<{tag} class="md-word">([^<]*)</{tag}>', html)


def html_of(found: SideBySide, side: str) -> str:
    return "".join(getattr(row, side) for row in found.rows)


@given(MARKDOWN, MARKDOWN)
def test_the_rows_show_all_of_both_answers_and_nothing_else(left: str, right: str) -> None:
    found = compared(left, right)
    for side, text in (("left", left), ("right", right)):
        html = html_of(found, side)
        assert text_of(html) == text_of(render(text))
        assert sanitize(html) == html
    numbers = {int(n) for row in found.rows for n in re.findall(r"md-d(\d+)", row.left + row.right)}
    assert numbers == set(range(1, found.n_marks + 1))
    assert sum(found.counts.values()) >= found.n_marks
    assert 0 <= (found.in_common or 0) <= 1


@given(MARKDOWN)
def test_a_text_is_the_same_as_itself(text: str) -> None:
    found = compared(text, text)
    assert (found.n_marks, {row.kind for row in found.rows} - {"same"}) == (0, set())
    assert found.in_common in (None, 1)


FACTS = [
    "Redis keeps the sessions in memory.",
    "Postgres stores the orders and their refunds.",
    "A queue sends the mails at night.",
    "The gateway checks every token first.",
]
PROSE = "We need four parts for the shop. Each of them is small. "


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        pytest.param(
            "".join(f"- {fact}\n" for fact in FACTS),
            "".join(f"* {FACTS[i]}\n" for i in (0, 3, 1, 2)),
            {"moved item": 1},
            id="reordered list",
        ),
        pytest.param(
            "".join(f"{i}. {fact}\n" for i, fact in enumerate(FACTS, 1)),
            "".join(f"{i}) {fact}\n" for i, fact in enumerate(FACTS, 4)),
            {},
            id="list numbered anew",
        ),
        pytest.param(f"## 2. Storage\n\n{FACTS[0]}", f"### 3. Storage\n\n{FACTS[0]}", {}, id="section numbered anew"),
        pytest.param(
            "Say “yes” – it’s   fine… **really**.\n", 'Say "yes" - it\'s\nfine... _really_.\n', {}, id="typography"
        ),
        pytest.param(
            PROSE + FACTS[1], PROSE + FACTS[1].replace("orders", "invoices"), {"changed sentence": 1}, id="a word"
        ),
        pytest.param(
            f"{PROSE}{FACTS[2]}\n\n{FACTS[0]} {FACTS[1]}",
            f"{PROSE}\n\n{FACTS[0]} {FACTS[1]} {FACTS[2]}",
            {"moved sentence": 1},
            id="sentence in another paragraph",
        ),
        pytest.param(
            f"{PROSE}\n\n{FACTS[0]}\n\n{FACTS[1]}",
            f"{PROSE}{FACTS[0]}\n\n{FACTS[1]} Done.",
            {"right sentence": 1},
            id="paragraphs joined",
        ),
        pytest.param(
            "```python\ndef f(x):\n    y = x\n    return y\n```\n",
            "```py\ndef f(x):\n    log(x)\n    y = x\n    return y\n```\n",
            {"right line": 1},
            id="a line of code",
        ),
        pytest.param("```\nif x:\n    y()\n```\n", "```\nif x:\n  y()\n```\n", {"changed line": 1}, id="indentation"),
        pytest.param(
            "今天天气很好。我们去公园散步。晚上回家吃饭。",
            "今天天气很好。晚上回家吃饭。我们去公园跑步。",
            {"moved sentence": 1},
            id="Chinese",
        ),
        pytest.param("使用 Python 编写程序。好。", "使用Python编写程序。好。", {}, id="spaces beside Chinese"),
        pytest.param(
            f"{PROSE}\n\n$$\nE = mc^2\n$$\n", f"{PROSE}\n\n$$\nE = mc^3\n$$\n", {"changed formula": 1}, id="formula"
        ),
    ],
)
def test_what_counts_as_a_difference(left: str, right: str, expected: dict[str, int]) -> None:
    assert counts(left, right) == expected


TABLE = [["Name", "Price", "Stock"], ["Tea", "120", "7"], ["Coffee", "240", "9"], ["Milk", "90", "3"]]


def table(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["-"] * len(rows[0]), *rows[1:]]) + "\n"


def test_an_added_column_is_one_difference_and_changed_cells_are_marked() -> None:
    wider = [[row[0], extra, *row[1:]] for row, extra in zip(TABLE, ["City", "Rome", "Bonn", "Oslo"], strict=True)]
    found = compared(table(TABLE), table(wider))
    assert found.counts == {("right", "column"): 1}
    assert [row.kind for row in found.rows] == ["changed"]
    assert html_of(found, "right").count("md-column") == 4
    wider[2][2] = "250"
    found = compared(table(TABLE), table(wider))
    assert found.counts == {("right", "column"): 1, ("changed", "row"): 1}
    assert (words(html_of(found, "left"), "del"), words(html_of(found, "right"), "ins")) == (["240"], ["250"])


def test_rows_with_other_numbers_are_versions_and_columns_may_be_reordered() -> None:
    other = [TABLE[0], ["Tea", "121", "8"], ["Coffee", "24", "11"], ["Cocoa", "90", "3"]]
    assert counts(table(TABLE), table(other)) == {"changed row": 3}
    assert counts(table(TABLE), table([[row[2], row[0], row[1]] for row in TABLE])) == {}


def test_equal_lines_of_code_are_beside_one_another() -> None:
    left = "```python\n" + "".join(f"alpha{i}()\n" for i in range(5)) + "```\n"
    right = left.replace("alpha2()\n", "one()\ntwo()\nthree()\n").replace("alpha4()\n", "")
    (row,) = compared(left, right).rows
    assert row.kind == "changed"
    place = {
        side: [
            line.strip()
            for line in re.sub(r"<[^>]*>", "", re.sub(r'<span class="md-say">[^<]*</span>', "", html)).split("\n")
        ]
        for side, html in (("left", row.left), ("right", row.right))
    }
    assert place["left"].index("alpha3()") == place["right"].index("alpha3()")
    assert sanitize(row.left) == row.left


def test_a_lone_brace_in_another_place_is_not_a_match() -> None:
    left = "```\n" + "".join(f"alpha{i}\n" for i in range(9)) + "}\nomega\n```\n"
    right = "```\nbeta\n}\n" + "".join(f"gamma{i}\n" for i in range(9)) + "```\n"
    assert compared(left, right).in_common == 0


def test_marks_say_where_a_part_is_and_are_numbered_once() -> None:
    left = f"{PROSE}Only here. {FACTS[0]} {FACTS[1]}"
    right = f"{PROSE}{FACTS[0]} {FACTS[1].replace('orders', 'invoices')} There too."
    found = compared(left, right)
    said = [say for _, say in FIRST.findall(html_of(found, "left") + html_of(found, "right"))]
    assert said == ["only in A: ", "changed: ", "changed: ", "only in B: "]
    assert found.n_marks == 3
    assert '<del class="md-word">orders</del>' in html_of(found, "left")


def test_a_mark_does_not_break_emphasis_code_or_formulas() -> None:
    left = f"{PROSE}Take **the small `box` of $x^2$** now."
    html = html_of(compared(left, f"{PROSE}Done."), "left")
    assert "<math" in html
    assert html.count("<strong>") == html.count("</strong>") == 1
    assert '<del class="md-only md-d1"><code>box</code></del>' in html
    assert html.count("md-first") == 1


def test_unlike_answers_are_said_to_be_unlike_and_only_what_they_share_is_marked() -> None:
    left = " ".join(
        f"Apples of kind {word} ripen early." for word in ["red", "green", "sour", "small", "large", "sweet"]
    )
    right = " ".join(f"Ships sail from {word} by night." for word in ["Bonn", "Rome", "Oslo", "Bern", "Kiel", "Genoa"])
    found = comparison_part(
        Source("a", "A", "A", f"{left} Both are old."), Source("b", "B", "B", f"{right} Both are old.")
    )
    assert found["unlike"]
    assert found["summary"][-2].startswith(
        "These answers are unlike: 8 % of their words are in sentences, items, rows or lines that match (below 20 %"
    )
    assert found["summary"][-1] == "In both: 1 sentence."
    (row,) = found["rows"]
    assert "md-only" not in row["left"] + row["right"]
    assert row["left"].count("md-both") == row["right"].count("md-both") == 1
    nothing = comparison_part(Source("a", "A", "A", left), Source("b", "B", "B", right))
    assert (nothing["marks"], nothing["summary"][-1]) == (0, "Nothing is in both.")


def test_the_summary_counts_what_differs() -> None:
    def summary(left: str, right: str) -> list[str]:
        found: list[str] = comparison_part(Source("a", "A", "A", left), Source("b", "B", "B", right))["summary"]
        return found

    assert summary("Same.", "Same.\n") == ["The two answers are identical."]
    assert summary("- Same here.", "* **Same** here.")[-1].startswith("Nothing but white space")
    left = f"{PROSE}{FACTS[0]}\n\n```\nx = 1\n```\n"
    right = f"{PROSE}\n\n```\nx = 1\nyy = 2\nzz = 3\n```\n"
    assert summary(left, right)[-1] == "Only in A: 1 sentence. Only in B: 2 lines of code."


def test_hostile_markup_stays_text() -> None:
    hostile = '<img src=x onerror="alert(1)"> <script>alert(1)</script> [a](javascript:alert(1)) `<b>`.'
    found = side_by_side(f"{PROSE}{hostile}", f"{PROSE}{hostile} More.", "<i>A</i>", '"><script>')
    html = html_of(found, "left") + html_of(found, "right")
    assert "<img" not in html
    assert "<script" not in html
    assert "<i>" not in html
    assert "href=" not in html


def _long(n: int, seed: int) -> str:
    """A long answer with lists, tables and code; a tenth of its sentences differs from those of another seed."""
    parts = []
    for i in range(n):
        version = f" in case {seed}" if i % 10 == 0 else ""
        parts.append(
            f"## Part {i}\n\nThe value of part {i} is {i * 7} units{version}. It holds for all inputs of size {i}.\n"
        )
        parts.append("".join(f"- Item {k} of part {i} needs {k * i} bytes\n" for k in range(3)))
        parts.append(f"\n```python\ndef part_{i}(x):\n    return x * {i}\n```\n")
    return "\n".join(parts)


def test_long_answers_are_aligned_and_nothing_of_them_is_lost() -> None:
    left, right = _long(220, 1), _long(220, 2)
    assert len(left) > 50_000
    found = compared(left, right)
    assert found.counts == {("changed", "sentence"): 22}
    assert text_of(html_of(found, "right")) == text_of(render(right))
