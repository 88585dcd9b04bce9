"""A conversation's title: the first sentence of its first prompt, as plain text. No model is involved.

Titles appear in lists and in the browser's tab, so they contain no Markdown, no control characters and no invisible
characters that change the direction of text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from .attachments import split
from .images import Image

MAX_CHARS = 60
UNTITLED = "Untitled"
_JOINERS = "\u200c\u200d"
_INVISIBLE = ("Cc", "Cf", "Cs")

_FENCE = re.compile(r"^\s*(```|~~~)")
_LINE_MARKS = re.compile(r"^\s*(?:(?:#{1,6}|>|[-*+]|\d{1,9}[.)])\s+|\[[ xX]\]\s+)+")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s+\"[^\"]*\")?\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_MARKS = re.compile(r"\*\*|__|~~|`+|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")
_SENTENCE = re.compile(r"([.!?][\"'”’)]*)\s+(?=[^\sa-z])|([。！？])")
_ABBREVIATION = re.compile(r"(?:^|\s)(?:e\.g|i\.e|cf|vs|etc|Dr|Mr|Mrs|Ms|St|No|Fig|[A-Z])\.$")


def title_of(prompt: str, images: Sequence[Image] = ()) -> str:
    """The first sentence of ``prompt`` as plain text, cut at a word boundary to ``MAX_CHARS`` characters with "…".

    Attachments do not count, except that a prompt without text of its own is named after its first attachment.
    """
    typed, attachments = split(prompt)
    for whole_line in typed[:20_000].splitlines():
        line = whole_line[:1000]
        if _FENCE.match(line) or _RULE.match(line):
            continue
        text = clean_title(_MARKS.sub("", _TAG.sub("", _LINK.sub(r"\1", _LINE_MARKS.sub("", line)))))
        if text:
            return _cut(_first_sentence(text))
    names = [*(file.name for file in attachments), *(image.name for image in images)]
    return (_cut(clean_title(names[0])) if names else "") or UNTITLED


def clean_title(text: str) -> str:
    """One line of visible text: white space collapsed; control, format and lone surrogate characters removed.

    Joiners stay, because many scripts and composed emoji need them.
    """
    joined = "".join(" " if char.isspace() else char for char in text)
    kept = "".join(char for char in joined if char in _JOINERS or unicodedata.category(char) not in _INVISIBLE)
    title = " ".join(kept.split())
    return title if title.strip(_JOINERS + " ") else ""


def _first_sentence(text: str) -> str:
    for stop in _SENTENCE.finditer(text):
        sentence = text[: stop.end(stop.lastindex or 0)]
        if not _ABBREVIATION.search(sentence):
            return sentence
    return text


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARS:
        return text
    whole_words = text[: MAX_CHARS - 1].rsplit(" ", 1)[0] if " " in text[: MAX_CHARS - 1] else ""
    kept = whole_words if len(whole_words) >= MAX_CHARS // 2 else text[: MAX_CHARS - 1]
    return kept.rstrip(" ,;:-–—") + "…"
