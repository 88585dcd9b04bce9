"""Topics of a reasoning trace: short quotes from the places where the trace announces its next move.

A topic is a Markdown heading, a bold lead, a numbered or named list lead ("2. …", "Step 2: …"), a paragraph that opens
with a few words and a colon or with a question, or a sentence that opens with a cue ("let me check…", "wait, …",
"alternatively, …"), in English or Chinese, shortened at a word boundary. Words that only think aloud ("hmm", "maybe",
"let me think") announce nothing. A label is always a quote, without code marks and emphasis; stars and underscores in
code and maths stay, and a formula is kept whole or not at all. The cost per character is constant, and the result does
not depend on how the text was cut into pieces.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .markdown.maths import FORMULA
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

_MAY_END = re.compile(r"[\n.!?…。！？]")  # all that a sentence can end with

_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?\s*$", re.MULTILINE)
_NUMBERED = re.compile(r"[ \t>]*(?:[-*+•][ \t]+)?\(?\d{1,2}[.)、](?:[ \t]+|(?![A-Za-z]))(?=[^\W\d_]|\*\*|[`\"'$(\\])")
# Words before a cue that say nothing themselves.
_FILLER = r"(?:(?:ok(?:ay)?|so|but|and|well|hmm+|right|alright|yes|no|also)[,.]?\s+){0,2}"
_ABOUT_THE_ANSWER = (
    r"(?:add|mention|note|say|state|write|put|include|give|offer|keep|leave|be|call|denote|define|think)\b"
)
_OPENING = re.compile(  # the task in the trace's own words: only its first sentence is about that
    rf"""{_FILLER}(?:
      the\ (?:user|question|task|problem)\b
    | .{{0,40}}\b(?:we|i)\ (?:need|have|want|must)\b
    | .{{0,4}}(?:用户|题目|问题|我需要|我们需要)
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TURN = re.compile(  # the trace checks itself, changes its mind or concludes
    rf"""{_FILLER}(?:
      wait\b | hold\ on\b | on\ second\ thought\b | actually\b | alternatively\b | on\ the\ other\ hand\b
    | another\ (?:way|approach|option|idea|possibility|method|case)\b
    | (?:let(?:'|’)?s|let\ me|i(?:'|’)ll|i\ (?:should|will|need\ to)|we\ should)\ (?:also\ |quickly\ |now\ )?
        (?:double[- ]?check|re-?check|check|verify|test|confirm|re-?read|re-?consider|redo|start\ over)\b
    | (?:double[- ]?)?check(?:ing)?\b(?!\ for\b) | verify(?:ing)?\b
    | to\ (?:check|verify|be\ (?:sure|safe))\b
    | (?:therefore|thus|so|hence),?\ the\ (?:final\ )?(?:answer|result|solution)\b
    | the\ (?:final\ )?answer\ (?:is|has)\b
    | (?:therefore|thus|hence)\b | in\ (?:summary|conclusion|short)\b | to\ (?:summari[sz]e|sum\ up)\b
    )
    | (?:那么|好的|嗯|所以|现在|但是|不过)?[,，]?\s*(?:
      等等|等一下|不对|其实|另外|另一|或者|换个|答案|因此|综上|总结|检查|验证|让我(?:再|重新)?(?:检查|验证|确认|看) )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PLAN = re.compile(  # the trace says what it does next
    rf"""{_FILLER}(?:
      (?:let(?:'|’)?s|let\ me|(?:i|we)(?:(?:'|’)ll|\ (?:will|need\ to|have\ to|should)))
        \ (?:also\ |now\ |just\ )?(?!{_ABOUT_THE_ANSWER})
    | now,?\ (?:i|we|let|for|check|compute|consider|the|what)\b | (?:next|then),?\ (?:i|we|let)\b
    | (?:first|second|third|fourth|fifth|next|finally|last)(?:ly)?\b(?=,|\ (?:of\ all|i|we|let)\b)
    | plan: | what\ (?:about|if)\b | how\ about\b | suppose\b | consider\b | recall\b | let\ \$
    | to\ (?:solve|answer|find|compute|prove|show)\b
    )
    | (?:那么|好的|嗯|所以|现在|但是|不过)?[,，]?\s*(?:
      首先|其次|然后|接下来|接着|最后|第[一二三四五六七八九十\d]+[步点个种]?|步骤|让我|我们来|考虑|假设 )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_THINKING_ALOUD = re.compile(r"(?:let me|let's|让我)\s*(?:think|see|想|看看)", re.IGNORECASE)
_NAMED_LEAD = re.compile(
    r"(?:step|case|part|option|approach|method|plan|attempt|idea|strategy|phase)"
    r" (?:\d{1,2}|[a-d]|one|two|three|four)\b[:.)]",
    re.IGNORECASE,
)
# "Performance: an index on …"; not "Total: 5" or "Looking at the code:".
_COLON_LEAD = re.compile(r"(?:[A-Z][a-z’'-]+(?: [a-z’'-]+){0,3}: (?=[A-Za-z`][^\s]* \S)|[^\s，。：:]{2,16}：(?=\S))")
_MAX_QUESTION_CHARS = 90
_MIN_BEFORE_FORMULA = 12
_OPENING_CHARS = 40  # a word or two may precede what the trace takes the task to be
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


# Ranks of topics, the most telling first.
HEADING, LEAD, NUMBERED, TURN, PLAN = range(5)


class Topic(NamedTuple):
    """``label``: words of the trace. ``at_char``: where their sentence begins in the trace.

    ``rank``: ``HEADING``, ``LEAD`` (bold, or named like "Step 2:"), ``NUMBERED`` (an item of a list), ``TURN`` (the
    trace checks itself, changes its mind or concludes) or ``PLAN`` (what it does next). ``level``: how deep it is
    nested, 0 to 2: leads are below headings, and what is said below a heading or a lead is below it.
    """

    label: str
    at_char: int
    rank: int = PLAN
    level: int = 0


class TopicReader:
    """``feed`` takes the trace in pieces and returns the topics they complete; ``close`` handles the last sentence."""

    def __init__(self) -> None:
        self._text = ""  # the open sentence, little more than _HEAD_CHARS of it
        self._start = 0  # where it begins in the trace
        self._line_start = True
        self._paragraph_start = True
        self._level = -1  # of the newest heading or lead
        self._under_heading = False
        self._any = False  # whether a topic was found
        self._searched = 0  # characters of the open sentence in which no end was found
        self._judged = False  # enough of this sentence has been read; the rest is skipped
        self._by_line = False  # the judged sentence ends with its line
        self._in_fence = False
        self._may_go_on = False  # the sentence may have ended: what follows decides

    @property
    def sentence_start(self) -> int:
        """Where the open sentence begins in the trace; later topics do not begin before it."""
        return self._start

    @property
    def n_chars(self) -> int:
        """Characters of the trace read so far."""
        return self._start + len(self._text)

    def may_find_in(self, text: str, n_unread: int) -> bool:
        """Whether ``feed`` may find something once it has this text, the end of ``n_unread`` characters; cheap."""
        if self._may_go_on or (len(self._text) + n_unread > _HEAD_CHARS and not self._judged):
            return True
        return bool(_MAY_END.search(text))

    def feed(self, text: str) -> list[Topic]:
        self._text += text
        topics: list[Topic] = []
        while (end := self._end_of_sentence()) is not None:
            sentence = self._text[:end]
            self._judge(sentence, topics)
            blank = self._line_start and not sentence.strip()
            self._line_start = sentence[-1] == "\n"
            self._paragraph_start = self._line_start and blank
            self._drop(end)
            self._judged = False
        if len(self._text) > _HEAD_CHARS:
            if not self._judged:
                self._by_line = self._is_by_line()
                self._judge(self._text, topics)
                self._judged = True
            self._drop(len(self._text) - _LOOK_BACK_CHARS)
        self._may_go_on = bool(_MAY_END.search(self._text, max(0, len(self._text) - _LOOK_BACK_CHARS)))
        return topics

    def close(self) -> list[Topic]:
        """End the trace: return the topic of the last sentence, if any."""
        topics: list[Topic] = []
        if self._text:
            self._judge(self._text, topics)
            self._drop(len(self._text))
        self._line_start, self._judged, self._may_go_on = True, False, False
        return topics

    def _end_of_sentence(self) -> int | None:
        line_end = self._text.find("\n")
        limit = len(self._text) if line_end < 0 else line_end + 1
        match = _SENTENCE_END.search(self._text, max(self._end_of_lead(), self._searched), limit)
        self._searched = max(0, len(self._text) - _LOOK_BACK_CHARS)
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
        self._searched = 0

    def _judge(self, sentence: str, topics: list[Topic]) -> None:
        if self._judged:
            return
        if self._line_start and _FENCE.match(sentence):
            self._in_fence = not self._in_fence
            return
        if self._in_fence:
            return
        head = sentence[:_HEAD_CHARS]
        label, rank = topic_of(
            head, self._line_start, self._paragraph_start, opening=not self._any and self._start < _OPENING_CHARS
        )
        if label:
            self._any = True
            topics.append(Topic(label, self._start + len(sentence) - len(sentence.lstrip()), rank, self._nest(rank)))

    def _nest(self, rank: int) -> int:
        if rank == HEADING:
            self._level, self._under_heading = 0, True
        elif rank == LEAD:
            self._level = int(self._under_heading)
        return self._level if rank <= LEAD else self._level + 1


def topic_of(sentence: str, line_start: bool, paragraph_start: bool, opening: bool = False) -> tuple[str, int]:
    """The topic a sentence announces, shortened, and its rank; an empty label if it announces none.

    ``line_start``, ``paragraph_start``: the sentence begins one. ``opening``: it may be the trace's view of the task.
    """
    sentence = clean_text(sentence)
    words = sentence.strip()
    if line_start:
        heading = _HEADING.match(sentence)
        if heading:
            return shortened(heading[1], 3), HEADING
        lead = _LEAD.match(sentence)
        bold = _BOLD.match(sentence, lead.end() if lead else 0)
        if bold and (label := shortened(bold["strong"], 3)):
            return label, LEAD
        numbered = _NUMBERED.match(sentence)
        if numbered:
            return shortened(sentence[numbered.end() :], 6), NUMBERED
        words = sentence[lead.end() if lead else 0 :].strip()
    said = words.lstrip("*_\"'“(")
    if _NAMED_LEAD.match(said):
        return shortened(words, 4), LEAD
    if _THINKING_ALOUD.match(said) or not (_CJK.search(words) or len(words.split()) >= _MIN_CUE_WORDS):
        return "", PLAN
    if _TURN.match(said):
        return shortened(words, 4), TURN
    if _PLAN.match(said) or (opening and _OPENING.match(said)):
        return shortened(words, 4), PLAN
    if paragraph_start and (
        _COLON_LEAD.match(said) or (said.endswith(("?", "？")) and len(said) <= _MAX_QUESTION_CHARS)
    ):
        return shortened(words, 4), PLAN
    return "", PLAN


def shortened(words: str, min_chars: int) -> str:
    """Words without markup, cut at a word boundary to ``MAX_LABEL_CHARS`` with "…". Empty if under ``min_chars``."""
    plain = _SPACE.sub(" ", _without_markup(words)).strip()
    if len(plain) > MAX_LABEL_CHARS:
        cut = plain[: _before_a_formula(plain, MAX_LABEL_CHARS)]
        space = cut.rfind(" ")
        plain = (cut[:space] if space > MAX_LABEL_CHARS // 2 else cut).rstrip(" ,;:.—–-(") + "…"
    else:
        plain = plain.rstrip(" ,;:.。，：—–-")
    return plain if len(plain) >= min_chars and any(map(str.isalnum, plain)) else ""


def _before_a_formula(plain: str, at: int) -> int:
    """Where to cut so that no formula is cut; ``at`` itself if the text would be a formula only."""
    inside = next((match.start() for match in FORMULA.finditer(plain) if match.start() < at < match.end()), at)
    return inside if inside >= _MIN_BEFORE_FORMULA else at


def _without_markup(words: str) -> str:
    return _MARKUP.sub(_content, words)


def _content(match: re.Match[str]) -> str:
    kept = match["maths"] or match["code"]
    return kept or _without_markup(match["strong"] or match["em"])
