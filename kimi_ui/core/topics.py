"""Topics of a reasoning trace: short quotes from the places where the trace announces its next move.

A topic is a Markdown heading, a bold lead, a numbered or named list lead ("2. …", "Step 2: …", "First, …") or a
sentence that opens with a cue ("let me check…", "wait, …", "alternatively, …"), in English or Chinese, shortened at a
word boundary. A label is always a quote, without code marks and emphasis; stars and underscores in code and maths
stay. The cost per character is constant, and the result does not depend on how the text was cut into pieces.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .markdown.safe import clean_text

MAX_LABEL_CHARS = 56
_HEAD_CHARS = 240  # of a sentence that are examined; more than a label needs
_LOOK_BACK_CHARS = 16  # longer than any sentence ending
_MIN_CUE_WORDS = 3  # "Hmm, wait." announces nothing

_LEAD = re.compile(r"[ \t>]*(?:[-*+•][ \t]+)?(?:\(?\d{1,2}[.)、][ \t]*)?")
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")
# "Step 2. Compute it" is one sentence.
_NAMED = re.compile(r"[\s*\"'“(]*(?:step|case|part|option|approach|method|plan|attempt|idea) \d{1,2}\.", re.IGNORECASE)
# A sentence ends at closing punctuation before a space, or at CJK punctuation. A full stop after a lone letter belongs
# to an initial or "e.g.", unless the letter is a variable ("divides q. Then").
_SENTENCE_END = re.compile(
    r"""(?<=[^\s.!?…])
    (?: [!?…] | \.(?: (?<!(?<![A-Za-z])[A-Za-z]\.) | (?<=\s[a-z]\.)(?=\s[A-Z]) ) )
    [.!?…]{0,3}["'”’)\]}$*`]{0,4}(?=\s)
    | [。！？]+""",
    re.VERBOSE,
)

_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?\s*$", re.MULTILINE)
_NUMBERED = re.compile(r"[ \t>]*(?:[-*+•][ \t]+)?\(?\d{1,2}[.)、](?:[ \t]+|(?![A-Za-z]))(?=[^\W\d_]|\*\*|[`\"'$(\\])")
_CUE = re.compile(
    r"""(?:(?:ok(?:ay)?|so|but|and|well|now|hmm+|right|alright)[,.]?\s+)?(?:
      let(?:'|’)?s\b | let\ me\b | wait\b | hold\ on\b | hmm+\b | actually\b | alternatively\b | however\b
    | another\ (?:way|approach|option|idea|possibility|thought|method|case|question)\b
    | (?:so\ )?the\ (?:final\ )?answer\b | therefore\b | thus\b
    | (?:i|we)(?:\ (?:need|have|should|want|must|can|could|will|might)|(?:'|’)ll)\b
    | (?:now|next|then),?\ (?:i|we|let|for|check|compute|consider|the|what)\b
    | (?:first|second|third|fourth|fifth|next|finally|last)(?:ly)?\b(?=,|\ (?:of\ all|i|we|let|the|step|thing|check)\b)
    | step\ \d+\b | (?:case|part|option|approach|method|plan|attempt|idea)\ (?:\d+|[a-d])\b | plan:
    | the\ user\b | what\ (?:about|if)\b | how\ about\b | maybe\b | perhaps\b | suppose\b | consider\b | recall\b
    | to\ (?:check|verify|solve|answer|find|compute|be\ (?:sure|safe)|do|prove|show|test)\b
    | (?:double[- ]?)?check(?:ing)?\b | verify(?:ing)?\b | in\ (?:summary|conclusion|short)\b
    | to\ (?:summari[sz]e|sum\ up)\b | on\ (?:the\ other\ hand|second\ thought)\b
    )
    | (?:那么|好的|嗯|所以|现在|但是|不过|另外)?[,，]?\s*(?:
      首先|其次|然后|接下来|接着|最后|第[一二三四五六七八九十\d]+[步点个种]?|步骤|让我|我们|我需要|我应该|我想|等等|等一下
    | 不对|其实|另一|或者|换个|答案|因此|综上|总结|用户|考虑|检查|验证|假设 )
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Emphasis is a pair of stars around words, with no letter outside next to a star: not "2**31", "*args, **kwargs" or
# "ls *.py". Code and maths match first, since they contain no markup.
_STRONG = r"(?<![A-Za-z0-9_*)\]}/\\^])\*\*(?=\S)(?P<strong>.+?)(?<=\S)\*\*(?![A-Za-z0-9_*(\[{/])"
_MARKUP = re.compile(
    rf"""(?P<ticks>`+)(?P<code>[^`]+)(?P=ticks)(?!`)
    | (?P<maths>\$(?=\S)[^$]+(?<=\S)\$(?!\d) | \\\(.+?\\\) | \\\[.+?\\\])
    | {_STRONG}
    | (?<![A-Za-z0-9_*)\]}}/\\^{{])\*(?=[^\s*.-])(?P<em>.+?)(?<=[^\s*-])\*(?![A-Za-z0-9_*(\[{{/}}])""",
    re.VERBOSE,
)
_BOLD = re.compile(_STRONG)
_SPACE = re.compile(r"\s+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class Topic(NamedTuple):
    """``label``: words of the trace. ``at_char``: where their sentence begins in the trace."""

    label: str
    at_char: int


class TopicReader:
    """``feed`` takes the trace in pieces and returns the topics they complete; ``close`` handles the last sentence."""

    def __init__(self) -> None:
        self._text = ""  # the open sentence, little more than _HEAD_CHARS of it
        self._start = 0  # where it begins in the trace
        self._line_start = True
        self._judged = False  # enough of this sentence has been read; the rest is skipped
        self._by_line = False  # the judged sentence ends with its line
        self._in_fence = False

    @property
    def sentence_start(self) -> int:
        """Where the open sentence begins in the trace; later topics do not begin before it."""
        return self._start

    @property
    def n_chars(self) -> int:
        """Characters of the trace read so far."""
        return self._start + len(self._text)

    def feed(self, text: str) -> list[Topic]:
        self._text += text
        topics: list[Topic] = []
        while (end := self._end_of_sentence()) is not None:
            self._judge(self._text[:end], topics)
            self._line_start = self._text[end - 1] == "\n"
            self._drop(end)
            self._judged = False
        if len(self._text) > _HEAD_CHARS:
            if not self._judged:
                self._by_line = self._is_by_line()
                self._judge(self._text, topics)
                self._judged = True
            self._drop(len(self._text) - _LOOK_BACK_CHARS)
        return topics

    def close(self) -> list[Topic]:
        """End the trace: return the topic of the last sentence, if any."""
        topics: list[Topic] = []
        if self._text:
            self._judge(self._text, topics)
            self._drop(len(self._text))
        self._line_start, self._judged = True, False
        return topics

    def _end_of_sentence(self) -> int | None:
        line_end = self._text.find("\n")
        limit = len(self._text) if line_end < 0 else line_end + 1
        match = _SENTENCE_END.search(self._text, self._end_of_lead(), limit)
        by_line = self._by_line if self._judged else self._is_by_line()
        if match and not by_line and match.end() < len(self._text):
            return match.end()
        return None if line_end < 0 else limit

    def _end_of_lead(self) -> int:
        """Where the sentence continues after its number, whose full stop does not end the sentence."""
        if self._judged:
            return 0
        lead = _LEAD.match(self._text) if self._line_start else None
        at = lead.end() if lead else 0
        named = _NAMED.match(self._text, at)
        return named.end() if named else at

    def _is_by_line(self) -> bool:
        """Whether the line is read as a whole: a heading, a fence or code between fences."""
        return self._line_start and bool(self._in_fence or _FENCE.match(self._text) or _HEADING.match(self._text))

    def _drop(self, n: int) -> None:
        self._start += n
        self._text = self._text[n:]

    def _judge(self, sentence: str, topics: list[Topic]) -> None:
        if self._judged:
            return
        if self._line_start and _FENCE.match(sentence):
            self._in_fence = not self._in_fence
            return
        if self._in_fence:
            return
        label = label_of(sentence[:_HEAD_CHARS], self._line_start)
        if label:
            topics.append(Topic(label, self._start + len(sentence) - len(sentence.lstrip())))


def label_of(sentence: str, line_start: bool) -> str:
    """The topic a sentence announces, shortened; empty if none. ``line_start``: the sentence begins a line."""
    sentence = clean_text(sentence)
    words = sentence.strip()
    if line_start:
        heading = _HEADING.match(sentence)
        if heading:
            return shortened(heading[1], 3)
        lead = _LEAD.match(sentence)
        bold = _BOLD.match(sentence, lead.end() if lead else 0)
        if bold and (label := shortened(bold["strong"], 3)):
            return label
        numbered = _NUMBERED.match(sentence)
        if numbered:
            return shortened(sentence[numbered.end() :], 6)
        words = sentence[lead.end() if lead else 0 :].strip()
    if not _CUE.match(words.lstrip("*_\"'“(")):
        return ""
    return shortened(words, 4) if _CJK.search(words) or len(words.split()) >= _MIN_CUE_WORDS else ""


def shortened(words: str, min_chars: int) -> str:
    """Words without markup, cut at a word boundary to ``MAX_LABEL_CHARS`` with "…". Empty if under ``min_chars``."""
    plain = _SPACE.sub(" ", _without_markup(words)).strip()
    if len(plain) > MAX_LABEL_CHARS:
        cut = plain[:MAX_LABEL_CHARS]
        space = cut.rfind(" ")
        plain = (cut[:space] if space > MAX_LABEL_CHARS // 2 else cut).rstrip(" ,;:.—–-(") + "…"
    else:
        plain = plain.rstrip(" ,;:.。，：—–-")
    return plain if len(plain) >= min_chars and any(map(str.isalnum, plain)) else ""


def _without_markup(words: str) -> str:
    return _MARKUP.sub(_content, words)


def _content(match: re.Match[str]) -> str:
    kept = match["maths"] or match["code"]
    return kept or _without_markup(match["strong"] or match["em"])
