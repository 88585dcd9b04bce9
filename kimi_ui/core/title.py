"""A conversation's title, made of its first prompt without asking a model: the first sentence, in plain text.

A title is shown in lists and in the browser's own tab: it holds no Markdown, no control characters and none of the
invisible ones that turn text around.
"""

from __future__ import annotations

import re
import unicodedata

from .attachments import split

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


def title_of(prompt: str) -> str:
    """The first sentence of ``prompt`` as plain text of at most ``MAX_CHARS`` characters, cut at a word with "…".

    Attachments are not part of it, unless nothing else was typed: then it is the first one's name.
    """
    typed, attachments = split(prompt)
    for whole_line in typed[:20_000].splitlines():
        line = whole_line[:1000]
        if _FENCE.match(line) or _RULE.match(line):
            continue
        text = clean_title(_MARKS.sub("", _TAG.sub("", _LINK.sub(r"\1", _LINE_MARKS.sub("", line)))))
        if text:
            return _cut(_first_sentence(text))
    return _cut(clean_title(attachments[0].name)) or UNTITLED if attachments else UNTITLED


def clean_title(text: str) -> str:
    """One line of visible text: white space collapsed, control, format and lone-surrogate characters gone.

    The joiners stay: letters of many scripts and composed emoji need them.
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
