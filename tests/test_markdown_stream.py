"""StreamingMarkdown: any pieces and any frames give the same page as rendering the whole text."""

from __future__ import annotations

import html
import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kimi_ui.core.markdown import Frame, StreamingMarkdown, render

LINES = [
    *("", "", " ", "    ", "Some words here", "more *emphasis* and `code`", "# Heading", "#", "#tag", "Title\n==="),
    *("- item", "- ", "-", "* other", "1. one", "2.", "2", "10) ten", "  nested text", "  - nested", "    indented"),
    *("> quote", ">", "> ```py", "lazy line", "```python", "```", "``", "~~~", "~~~~ x", "   ```", "  code in list"),
    *("```a`b", "| a | b |", "|---|:-:|", "| 1 | 2 |", "|--", "a | b", "--|-x", "---", "***", "***bold***", "- - -"),
    *("$$", "$$ x $$", "\\[", "\\]", "\\[ x \\] then", "+ b", "= c", "$5 and $10", "$x$", "\\( y", "**open", "`open"),
    *("[ref]: http://a.example", "[ref]", "[x][ref] ![i](http://i.example)", "<div>", "&amp; \\* \u202e", "- [ ] task"),
    *("- ```js\n  let x\n  ```", "1. a\n\n   b", "\tcode", "- a\n\n\n- b", "word\r\nword", "\r", "日本語", "'title'"),
    *("====", "https://a.example/x).", "a\n---"),
]
noise = st.text(st.sampled_from("ab1.-*_`~#>|$\\[]()! \n\t\r"), max_size=12)
texts = st.lists(st.sampled_from(LINES) | noise, max_size=12).map("\n".join)


class Page:
    """Applies frames to HTML like ``assets/lane/markdown.js``."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self.tail = ""
        self.appended = ""
        self.whole: str | None = None

    def apply(self, frame: Frame) -> None:
        assert not frame.blocks or frame.tail is not None
        self.blocks += frame.blocks
        if frame.tail is not None:
            self.tail, self.appended = frame.tail, ""
        self.appended += frame.append
        self.whole = frame.whole

    @property
    def html(self) -> str:
        return self.whole if self.whole is not None else "".join(self.blocks) + self.tail


def stream(text: str, cuts: list[int], frame_at: list[bool]) -> Page:
    markdown, page = StreamingMarkdown(), Page()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for index, (start, end) in enumerate(pairwise(edges)):
        markdown.feed(text[start:end])
        if index < len(frame_at) and frame_at[index]:
            page.apply(markdown.frame())
            late = Page()
            late.apply(markdown.so_far)
            assert vars(late) == vars(page)
    page.apply(markdown.frame(final=True))
    assert page.tail == page.appended == ""
    return page


@settings(max_examples=400, deadline=None)
@given(texts, st.lists(st.integers(0, 120), max_size=30), st.lists(st.booleans(), min_size=31, max_size=31))
@example("1. a\n\n2.", [5, 6, 7], [True] * 31)
@example("> a\n--x", [5, 6], [True] * 31)
@example("para\na | b\n---|x", [13, 14], [True] * 31)
@example("para\n\n\\[ x \\] then", [9, 13], [True] * 31)
def test_any_pieces_and_frames_give_the_whole_rendering(text: str, cuts: list[int], frames: list[bool]) -> None:
    assert stream(text, cuts, frames).html == render(text)


@settings(max_examples=150, deadline=None)
@given(texts)
def test_a_frame_per_character_gives_the_whole_rendering(text: str) -> None:
    assert stream(text, list(range(len(text))), [True] * len(text)).html == render(text)


@settings(max_examples=150, deadline=None)
@given(texts, st.integers(0, 200))
def test_a_finished_block_never_changes(text: str, cut: int) -> None:
    if "[ref]:" in text:
        return
    markdown = StreamingMarkdown()
    markdown.feed(text[:cut])
    blocks = markdown.frame().blocks
    markdown.feed(text[cut:])
    markdown.frame(final=True)
    assert "".join(markdown.blocks) == render(text)
    assert markdown.blocks[: len(blocks)] == blocks


def visible(fragment: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", fragment))


def visible_appended(page: Page) -> str:
    """The text of the tail with what was appended to its last block."""
    return visible(page.tail).rstrip("\n") + page.appended


WORDS = st.sampled_from(
    [
        *(
            "word",
            " and",
            " of ",
            " x1",
            ", so",
            ". Then",
            " 3.5%",
            '"it"',
            "s",
            "?",
            "!",
            " a/b",
            "//",
            ": such",
            " -",
        ),
        *(" (see it)", " café’s", " — so…", "日本語。", " か", "\n", " end\n\n", " 1", ". x", "- y", "'"),
    ]
)
MARKS = st.sampled_from(
    [
        *(" **b**", " `c`", " $x$", " [l](http://a.example)", " http://a.example/x", "\n", "\n\n- i", " &am", "|"),
        *(" [l](a", " [l](b (c", ' [l](a "c', " https:", " <b", " *a", " **a", " $5", "\n1", "\n> 2", " [^1]", "[x]"),
    ]
)
BEGINNINGS = st.sampled_from(["", "> ", "- ", "1. a\n   - ", "| a |\n|---|\n| ", "# ", "[^1]: ", "    "])


@settings(max_examples=200, deadline=None)
@given(BEGINNINGS, st.lists(WORDS | MARKS, max_size=12), st.lists(WORDS, min_size=1, max_size=6))
@example("", ["word", " and"], ["word"])
def test_words_that_are_appended_show_what_rendering_would(begin: str, said: list[str], words: list[str]) -> None:
    """Where a tail of some length is followed by words alone, nothing that is shown differs from a rendering of all."""
    markdown, page = StreamingMarkdown(), Page()
    markdown.feed(begin + "".join(said))
    page.apply(markdown.frame())
    for word in words:
        markdown.feed(word)
        frame = markdown.frame()
        page.apply(frame)
        if frame.append and not frame.blocks and frame.tail is None and len(markdown._tail) < 64:
            whole = StreamingMarkdown()
            whole.feed(markdown._tail + markdown._waiting)
            now = whole.frame()
            rendered = "".join(now.blocks) + (now.tail or "")
            assert visible(rendered + now.append).rstrip() == visible_appended(page).rstrip()
            assert re.findall(r"<[^>]*>", rendered) == re.findall(r"<[^>]*>", page.tail)


def test_words_behind_strong_emphasis_and_code_are_appended() -> None:
    markdown = StreamingMarkdown()
    for marked in ("So **b**", " and `c`"):
        markdown.feed(marked)
        assert markdown.frame().tail is not None
        markdown.feed(" then more")
        assert markdown.frame() == Frame([], None, " then more")


def test_open_code_block_only_appends_and_shows_all_its_text() -> None:
    code = "".join(f"line {i} <b> & ``` inside\n" for i in range(200))
    markdown, page = StreamingMarkdown(), Page()
    tails = 0
    for position in range(0, len(code), 7):
        markdown.feed(("Intro.\n\n```python\n" if position == 0 else "") + code[position : position + 7])
        frame = markdown.frame()
        tails += frame.tail is not None
        page.apply(frame)
    assert tails == 1
    assert page.blocks == ["<p>Intro.</p>\n"]
    assert (visible(page.tail) + page.appended).removeprefix("pythonCopy").replace("\n", "") == code.replace("\n", "")
    markdown.feed("```\n\nThe end")
    page.apply(markdown.frame())
    assert "hl-" in page.blocks[1]
    assert page.tail == "<p>The end</p>\n"
    page.apply(markdown.frame(final=True))
    assert page.html == render("Intro.\n\n```python\n" + code + "```\n\nThe end")


@pytest.mark.parametrize("closing", ["```", "   ````  ", "`````"])
def test_closing_fence_is_never_shown_as_code(closing: str) -> None:
    text = "```\nx = 1\n" + closing + "\nafter"
    markdown, page = StreamingMarkdown(), Page()
    for character in text:
        markdown.feed(character)
        page.apply(markdown.frame())
        assert "`" not in page.appended
    assert visible_appended(page) == "after"


def test_long_open_block_is_not_rendered_again_for_every_frame() -> None:
    markdown, page = StreamingMarkdown(), Page()
    text, n_rendered = "- item with some words\n" * 400, 0
    for position in range(0, len(text), 10):
        markdown.feed(text[position : position + 10])
        frame = markdown.frame()
        n_rendered += len(frame.tail or "")
        page.apply(frame)
        assert visible(page.tail + page.appended).count("item") >= text[: position + 10].count("item\n")
    assert n_rendered < 90 * len(render(text))  # the budget bounds it; without it this is 460 times
    page.apply(markdown.frame(final=True))
    assert page.html == render(text)


def test_a_late_link_definition_takes_effect_in_the_whole_rendering() -> None:
    markdown = StreamingMarkdown()
    markdown.feed("See [the docs][d].\n\nMore.\n\n")
    assert "[the docs][d]" in markdown.frame().blocks[0]
    markdown.feed("[d]: https://docs.example\n")
    whole = markdown.frame(final=True).whole
    assert whole is not None
    assert 'href="https://docs.example"' in whole


def test_a_link_definition_that_came_first_needs_no_second_rendering() -> None:
    markdown = StreamingMarkdown()
    for piece in ("[d]: https://docs.example\n\nIntro.\n\n", "Next.\n\n", "See [the docs][d].\n\nEnd"):
        markdown.feed(piece)
        markdown.frame()
    assert markdown.frame(final=True).whole is None
    assert 'href="https://docs.example"' in "".join(markdown.blocks)


def test_display_math_stays_one_block_while_it_is_written() -> None:
    markdown = StreamingMarkdown()
    markdown.feed("So:\n\n$$\na\n- b\n")
    frame = markdown.frame()
    assert frame.blocks == ["<p>So:</p>\n"]
    assert frame.tail is not None
    assert "<ul>" not in frame.tail
    markdown.feed("= c\n$$\n\nDone")
    assert "<math" in markdown.frame().blocks[0]


def test_carriage_return_and_line_feed_in_two_pieces_are_one_line_end() -> None:
    markdown = StreamingMarkdown()
    for piece in ("a\r", "\n\r\nb\r"):
        markdown.feed(piece)
        markdown.frame()
    markdown.frame(final=True)
    assert "".join(markdown.blocks) == render("a\n\nb\n")
