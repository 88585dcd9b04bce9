"""Exported Markdown, checked by a CommonMark parser with HTML enabled, as a viewer would render it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from kimi_ui.core.markdown.inert import inert

VIEWERS = (MarkdownIt("commonmark", {"html": True}), MarkdownIt("gfm-like", {"html": True, "linkify": False}))

HOSTILE = [
    "![x](https://evil.example/a.png)",
    "[![x](https://evil.example/a.png)](https://ok.example)",
    "![x][ref]\n\n[ref]: https://evil.example/a.png",
    "<img src=https://evil.example/a.png>",
    "text <script>alert(1)</script>",
    "<svg onload=alert(1)>",
    "<!-- x --><b onmouseover=alert(1)>y</b>",
    "`\n\n<img src=x>\n\n`",
    "`a\nb `<img src=x>` c",
    "\\`<img src=x>`",
    "\\\\`code <b>` <img src=x>",
    "``a` <img src=x> `b",
    "\\```<img src=x>``",
    '<a title="`"> <img src=x> "`">',
    "| a | b |\n|---|---|\n| ` | <img src=x> ` |",
    "- `x\n- <img src=x>`",
    "> `x\n\n<img src=x>`",
    "```\ncode <img>\n```\n<img src=x>",
    "~~~\n<b>\n~~~ \n![a](b)",
    "    <b>indented</b>\n\n<img src=x>",
    "1. a\n\n       <b>\n   ![x](y)",
    "# `\n<img src=x> `",
    "a\n===\n`<img src=x>\n\n` b",
    "[x]: <y> '`'\n<img src=z>`",
    "<img\nsrc=x>",
    "$$\n`\n$$\n<img src=x>`",
    ">" * 80 + " ![x](y) <img src=x>",
    "<?php x ?> <![CDATA[x]]> <!DOCTYPE x>",
    "![[embedded]]",
    "a\r\n<img src=x>\rb ![x](y)",
    "| a | b |\n|---|---|\n    <img src=x>",
    "`a\n<!-- `",
]


def active(markdown: str) -> list[str]:
    """What a viewer would fetch or run."""
    found = []
    for viewer in VIEWERS:

        def walk(tokens: list[Token]) -> None:
            for token in tokens:
                if token.type in ("image", "html_inline", "html_block"):
                    found.append(token.type + " " + token.content)
                walk(token.children or [])

        walk(viewer.parse(markdown))
    return found


@pytest.mark.parametrize("markdown", HOSTILE)
def test_nothing_is_fetched_and_nothing_runs(markdown: str) -> None:
    assert active(inert(markdown)) == []


PIECES = [
    "`", "``", "```", "\n", "\n\n", "    ", "\t", "- ", "1. ", "> ", "|", "| a | b |\n|---|---|\n", "\\", "~~~", "# ",
    "a", "$", "$$", "[", "]", "(x)", "<img src=x>", "![x](y)", "<b", "<!--", "-->", "<a title='`'>", "***",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_whatever_a_model_writes_is_inert(markdown: str) -> None:
    assert active(inert(markdown)) == []


@pytest.mark.parametrize(
    "markdown",
    [
        "```rust\nlet v = vec![1]; // <T>\n```",
        "Use `vec![1]` and `<div>`, also ``a ` <b>``.",
        "text\n\n    indented <b> ![x]",
        "- a\n\n  ```html\n  <img src=x>\n  ```\n",
        "2 < 3, a <= b, x <- y and 5 > 4!",
        "# Title\n\n**bold** [link](https://ok.example) > quote",
        "Wow! [link](https://ok.example)",
    ],
)
def test_code_and_plain_text_stay_as_they_are(markdown: str) -> None:
    assert inert(markdown) == markdown


def test_a_reader_still_sees_what_was_written() -> None:
    assert inert("see ![a](u) and <b>") == "see !\\[a](u) and &lt;b>"
    html = MarkdownIt("commonmark", {"html": True}).render(inert("see ![a](u) and <b>"))
    assert html == "<p>see ![a](u) and &lt;b&gt;</p>\n"


@pytest.mark.parametrize("piece", ["`", "` `` ", "\\`", "<a ", "![", "> ", "- ", "| ` "])
def test_long_hostile_text_at_most_doubles(piece: str) -> None:
    """Quadratic work on any of these would exceed the suite's time limit."""
    text = piece * 20_000
    assert len(text) <= len(inert(text)) <= 2 * len(text)
