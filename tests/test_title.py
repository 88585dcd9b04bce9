"""Titles: the first sentence of a prompt, as plain text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.attachments import Attachment, fold
from kimi_ui.core.title import MAX_CHARS, UNTITLED, clean_title, title_of


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Why is the sky blue? Explain it to a child.", "Why is the sky blue?"),
        ("What is e.g. a monad? Thanks.", "What is e.g. a monad?"),
        ("Version 1.2.3 is out. Update?", "Version 1.2.3 is out."),
        ('He said "Stop." Then he left.', 'He said "Stop."'),
        ("今天天气怎么样？请告诉我。", "今天天气怎么样？"),
        ("\n\n## A **bold** `plan`\nmore", "A bold plan"),
        ("- [ ] do *this* now", "do this now"),
        ("> quoted", "quoted"),
        ("---\n[a link](https://e.example/x) and ![an image](https://e.example/a.png)", "a link and an image"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("snake_case and 2 * 3 * 4", "snake_case and 2 * 3 * 4"),
        ("<img src=x onerror=alert(1)>Hello", "Hello"),
        ("a\u202egpj.exe\u2066\x00", "agpj.exe"),
        ("half a pair \ud800.", "half a pair ."),
        ("", UNTITLED),
        ("***\n\n \u200d \n", UNTITLED),
        ("word " * 40, "word word word word word word word word word word word…"),
        ("x" * 300, "x" * 59 + "…"),
    ],
)
def test_the_first_sentence_becomes_the_title(prompt: str, title: str) -> None:
    assert title_of(prompt) == title


def test_an_attachment_is_the_title_only_if_nothing_was_typed() -> None:
    notes = Attachment("notes.txt", "Chapter one. ```` Whatever.")
    assert title_of(fold("Sum this up. Please.", [notes])) == "Sum this up."
    assert title_of(fold("", [notes])) == "notes.txt"


@given(st.text(alphabet=st.characters(), max_size=300) | st.text(alphabet="[]()<>*_`#.-! a\n\u202e", max_size=300))
def test_any_prompt_has_a_short_visible_title(prompt: str) -> None:
    title = title_of(prompt)
    assert 0 < len(title) <= MAX_CHARS
    assert clean_title(title) == title
    assert not {unicodedata.category(char) for char in title} & {"Cc", "Cs", "Zl", "Zp"}
    title.encode()
