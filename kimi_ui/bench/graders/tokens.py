"""The tokeniser of the constraint graders. It is small so that a prompt can state it, and its rules are in the prompts.

- A word is a run of letters or digits; an apostrophe or a hyphen between two of them belongs to it. So "well-known" and
  "don't" are one word each, and punctuation is not a word.
- A sentence ends with ".", "!", "?" or "…", one or several, perhaps followed by closing quotes or brackets, before a
  space
  or at the end of the text. So "3.5" ends none, and "Dr. Who" does, which is why prompts ask to avoid abbreviations.
- A line is a line with something in it; a paragraph is what stands between blank lines. Blank ones are dropped before
  anything is counted.
"""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[^\W_]+(?:['’\-‑][^\W_]+)*")
_SENTENCE = re.compile(r".+?(?:[.!?…]+[\"'”’)\]»*_]*(?=\s|$)|$)", re.DOTALL)


def words(text: str) -> list[str]:
    """The words as written."""
    return WORD.findall(text)


def folded_words(text: str) -> list[str]:
    """The words without case and with plain apostrophes."""
    return [word.casefold().replace("’", "'").replace("‑", "-") for word in words(text)]


def sentences(text: str) -> list[str]:
    """The sentences, in order; what is left after the last terminator is one, if it holds a word."""
    found = [match.strip() for match in _SENTENCE.findall(text)]
    return [sentence for sentence in found if words(sentence)]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def letters(text: str) -> str:
    """The letters of the text without case and accents."""
    plain = unicodedata.normalize("NFD", text.casefold())
    return "".join(letter for letter in plain if letter.isalpha())
