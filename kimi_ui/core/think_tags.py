"""Reasoning templates left in the content: content text in, reasoning and answer events out.

For servers that do not separate the two. Incremental and pure: ``feed`` takes the content as it arrives, cut anywhere,
``flush`` ends it, and any cutting of the same text gives the same reasoning and answer. The module knows no wire
format, only text. ``think_markers`` says which model family writes which marker.

The rules:
- An opening marker counts only before any answer text. A ``<think>`` later on belongs to the answer and stays.
- A closing marker without an opening one (chat templates prefill it) means that all text so far was reasoning:
  ``Relabel``. It does not count inside code, after its own literal opening marker, or when reasoning came in a field.
- A text that mentions a marker keeps it: a marker between backticks (in a thought too), inside code, or spoken of in a
  sentence (``_SUBJECT``, ``_BEFORE``, ``_AFTER``).
- Where a thought is never closed, all text is reasoning and ``unclosed_think`` is flagged. An empty thought is ignored.
- Blank lines after an opening and after a closing marker are dropped; a leaked closing marker there too.
- Harmony (gpt-oss) names a channel for each message. ``analysis`` is reasoning, ``final`` and a commentary without a
  recipient are answer, a message with a recipient is a tool call. After a first message the others count anywhere.
- A tool call ends thinking. It is hidden, and the flag ``tool_markers`` keeps its text. Other markers of a chat
  template are hidden with the flag ``template_markers``; those that end a text only at the very end.
- In a reasoning field a marker is text, except those the server forgot to remove: an opening one before all text, its
  closing one, and one that nothing follows.
- A flag is raised once, with what was met first.
"""

from __future__ import annotations

import re
from collections import Counter

from .events import Answer, Event, Flag, Reasoning, Relabel
from .think_markers import (
    BARE,
    CLOSING,
    HARMONY,
    HARMONY_ENDS,
    LONGEST,
    MARKER,
    MARKER_OR_WORD,
    START,
    START_OR_WORD,
    Marker,
    marker_of,
    may_become_marker,
)

# The state: what the text that comes next belongs to; a lead is the blanks before a part's text.
_LEAD, _THINK_LEAD, _THINK, _ANSWER, _SECTION = "lead", "think_lead", "think", "answer", "section"
_MOST_BLANK = 4096  # blanks held back while deciding what they belong to
_DETAIL = 2000  # characters of hidden text kept in a flag

# -- does a text only mention a marker?

# As the subject of a sentence that begins the content: "<think> and </think> are tags", "[THINK] opens a thought".
_VERBS = ("is", "are", "and", "or", "was", "were", "tag", "token", "marker", "block", "opens", "begins", "means")
_SUBJECT = re.compile(rf", |[ ,] *(?:{'|'.join(_VERBS)})s?\b")
_SUBJECT_BEGINS = re.compile(r"[ ,] *(\w*)\Z|\Z")
# Inside a sentence: a blank or a quotation mark before it and one, or punctuation, behind it on the same line.
_BEFORE, _AFTER = " \t\"'“‘«「『(", " \t\"'”’»」』).,;:!?"
_NEW_SENTENCE = re.compile(r"[.!?…][ \t]+\Z")
_MOST_DECIDING = 24  # characters behind a marker that are waited for

_TICKS = re.compile(r"`+|~+|\n")


class _Code:
    """Whether the text so far ends inside code: a fence that is open, or an inline span open on the same line."""

    def __init__(self) -> None:
        self._fence = ""  # the character of the fence that is open
        self._inline = False
        self._mark, self._run = "", 0  # the fence characters at the very end, whose number is not final

    @property
    def is_open(self) -> bool:
        if self._run >= 3:
            return self._fence != self._mark
        return bool(self._fence) or (self._inline != (self._run > 0 and self._mark == "`"))

    def add(self, text: str) -> None:
        end = 0
        if "`" in text or "~" in text or ((self._inline or self._run) and "\n" in text):
            for match in _TICKS.finditer(text):
                mark = match.group()[0]
                if match.start() > end or mark != self._mark:
                    self._end_run()
                if mark == "\n":
                    self._inline = False
                else:
                    self._mark, self._run = mark, self._run + len(match.group())
                end = match.end()
        if self._run and end < len(text):
            self._end_run()

    def _end_run(self) -> None:
        if self._run >= 3:
            self._fence = "" if self._fence == self._mark else self._fence or self._mark
            self._inline = False
        elif self._run and self._mark == "`" and not self._fence:
            self._inline = not self._inline
        self._run = 0


class ThinkTags:
    """Splits one attempt's content. ``kind`` is the opening (or lone closing) marker met first; None: none so far.

    ``in_field``: the text is a reasoning field's own: all of it is reasoning, and only what leaked is removed.
    """

    def __init__(self, in_field: bool = False) -> None:
        self.kind: str | None = None
        self._in_field = in_field
        self._state = _THINK if in_field else _LEAD
        self._is_settled = False  # nothing waits, and text without a marker continues the thought or the answer
        self._may_relabel = not in_field
        self._harmony = False  # a message of that template has begun
        self._pending = ""  # an unfinished marker, or one whose meaning the next characters decide
        self._blank = ""  # leading blanks that may have to go
        self._after_tag = False  # the blanks follow a marker: their lines are dropped
        self._code = _Code()  # of this part
        self._before = ""  # the last characters before what comes next
        self._family = ""  # the opening marker of the thought that is open
        self._wrapper = ""  # the opening tag around the answer
        self._is_fresh = True  # no text but blanks so far
        self._trailing = ""  # a marker that ends a text and blanks, dropped if nothing follows
        self._nested = 0
        self._literal: Counter[str] = Counter()  # opening markers met as literal text
        self._hidden: list[str] = []
        self._hidden_size = 0
        self._resume = self._state  # where a tool section returns to
        self._section_ends: tuple[str, ...] = ()  # the markers that end it
        self._flagged: set[str] = set()
        self._events: list[Event] = []
        self.n_held = 0  # characters that came and wait for what follows

    @property
    def holds_answer(self) -> bool:
        """What is held back belongs to an answer, unless it becomes a marker."""
        return self._state in (_LEAD, _ANSWER) and self.n_held > 0

    def separated(self) -> None:
        """Reasoning came in a field of its own: a closing marker in the content is no sign of reasoning any more."""
        self._may_relabel = False

    def feed(self, text: str) -> list[Event]:
        """The events this piece of content completes. Never raises."""
        if self._is_settled and text and START.search(text) is None:  # as most text is
            self._before = (self._before + text)[-8:]
            if self._state == _THINK:
                return [Reasoning(text)]
            self._code.add(text)
            return [Answer(text)]
        if not self._pending and self._starts.search(text) is None:
            self._text(text)
        else:
            self._read(self._pending + text, last=False)
        return self._taken()

    def flush(self) -> list[Event]:
        """What was held back, at the end of the stream."""
        self._read(self._pending, last=True)
        if self._blank and self._state == _LEAD and not self._after_tag:
            self._events.append(Answer(self._blank))
        if self._trailing and not self._in_field:
            self._flag("template_markers", self._trailing.strip())
        if self._state == _SECTION:
            self._end_section("")
        elif self._state in (_THINK, _THINK_LEAD) and not self._in_field:
            self._flag("unclosed_think", self.kind or "")
        self._blank = self._trailing = ""
        return self._taken()

    # -- finding markers

    @property
    def _is_first(self) -> bool:
        """Nothing but blanks has come yet, no marker either."""
        return self._state == _LEAD and not self._after_tag

    @property
    def _starts(self) -> re.Pattern[str]:
        """What a marker may begin with now."""
        may_be_word = self._family == BARE.opening or (self._state == _LEAD and self._may_be_bare)
        return START_OR_WORD if may_be_word else START

    @property
    def _markers(self) -> re.Pattern[str]:
        return MARKER_OR_WORD if self._may_be_bare or self._family == BARE.opening else MARKER

    @property
    def _may_be_bare(self) -> bool:
        return self._is_first and self._may_relabel

    def _held_from(self, text: str) -> int:
        """Index from which ``text`` must wait for more: its longest end that may become a marker."""
        for match in self._starts.finditer(text, max(0, len(text) - LONGEST)):
            if may_become_marker(text[match.start() :], self._may_be_bare):
                return match.start()
        return len(text)

    def _read(self, text: str, last: bool) -> None:
        """Text that may hold markers; its end waits in ``_pending`` while it may become one."""
        position, held = 0, len(text)
        for match in self._markers.finditer(text):
            marker = marker_of(match)
            if marker is None:
                continue
            self._text(text[position : match.start()])
            position = match.start()
            if not last and len(text) - position <= LONGEST and may_become_marker(text[position:], self._may_be_bare):
                held = position  # a longer one, if its rest follows
                break
            rest = text[match.end() : match.end() + _MOST_DECIDING]
            if self._may_be_mentioned() and not (last or len(rest) == _MOST_DECIDING or self._decides(rest)):
                held = position  # the next characters decide
                break
            if self._is_mentioned(rest):
                continue
            self._marker(marker, match.group())
            position = match.end()
        else:
            if not last:
                held = self._held_from(text[position:]) + position
        self._text(text[position:held])
        self._pending = text[held:]

    def _may_be_mentioned(self) -> bool:
        return self._before[-1:] == "`" or (
            self._is_first if self._state != _ANSWER else self._before[-1:] in _BEFORE and self._before != ""
        )

    def _decides(self, rest: str) -> bool:
        """Whether more text behind ``rest`` would change nothing about a mention."""
        if self._before[-1:] != "`" and self._is_first:
            begun = _SUBJECT_BEGINS.match(rest)
            return begun is None or not any(f"{verb}s".startswith(begun[1] or "") for verb in _VERBS)
        return rest.strip(" \t") != ""

    def _is_mentioned(self, rest: str) -> bool:
        """Whether the marker between what came before and ``rest`` is only spoken of."""
        if self._before[-1:] == "`":
            return rest[:1] == "`"
        if self._is_first:
            return _SUBJECT.match(rest) is not None
        if self._state != _ANSWER or not self._may_be_mentioned() or (rest and rest[0] not in _AFTER):
            return False
        begins = rest.strip()[:1]
        return not (_NEW_SENTENCE.search(self._before) and (begins.isupper() or not begins))

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        self.n_held = len(self._pending) + len(self._trailing)
        is_in_text = self._state in (_THINK, _ANSWER) and self._family != BARE.opening
        self._is_settled = is_in_text and not (self.n_held or self._is_fresh)
        return events

    def _text(self, text: str) -> None:
        """Text without markers, in the current state."""
        if not text:
            return
        self._before = (self._before + text)[-8:]
        if self._state == _SECTION:
            self._hide(text)
            return
        if self._trailing:
            self._trailing += text
            if text.isspace() and len(self._trailing) <= _MOST_BLANK:
                return
            text, self._trailing = self._trailing, ""
        self._is_fresh = self._is_fresh and text.isspace()
        if self._state in (_LEAD, _THINK_LEAD):
            text = self._blank + text
            start = len(text) - len(text.lstrip())
            if start == len(text) and start <= _MOST_BLANK:
                self._blank = text
                return
            if self._after_tag and start <= _MOST_BLANK:
                text = text[max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1 :]
            self._blank = ""
            self._state = _ANSWER if self._state == _LEAD else _THINK
        if self._state == _ANSWER:
            self._code.add(text)
            self._events.append(Answer(text))
        else:
            self._events.append(Reasoning(text))

    # -- what a marker means

    def _marker(self, marker: Marker, found: str) -> None:
        self._before = ""
        role, family = marker.role, marker.family
        if self._state == _SECTION:
            if marker.text in self._section_ends:
                self._end_section(found)
            elif family == HARMONY and role != "end":
                self._end_section("")
                self._header(role, found)
            else:
                self._hide(found)
        elif self._state == _ANSWER and self._code.is_open:
            self._text(found)
        elif self._in_field:
            self._field_marker(marker, found)
        elif family == HARMONY:
            self._header(role, found)
        elif role == "open":
            self._opening(marker, found)
        elif role == "close" or (role == "end" and self._closes(found)):
            self._closing(marker, found)
        elif role in ("wrap", "unwrap"):
            self._wrapping(marker, found)
        elif role == "tools":
            self._section(found, (family, "<|tool_calls_section_end|>"))
        elif role == "part":  # its beginning was not seen: the marker alone is hidden
            self._flag("tool_markers", found)
        elif role == "end":
            if not (self._harmony and found in HARMONY_ENDS):
                self._trailing += found
            elif self._state == _ANSWER:
                self._enter(_LEAD)
        else:
            self._message_marker(found, role == "answer")

    def _closes(self, found: str) -> bool:
        return self._state in (_THINK, _THINK_LEAD) and CLOSING.get(self._family) == found

    def _field_marker(self, marker: Marker, found: str) -> None:
        """A marker in a reasoning field: text, but for what wraps it."""
        if marker.role == "tools" and marker.family != HARMONY:
            self._section(found, (marker.family, "<|tool_calls_section_end|>"))
        elif marker.role == "part":
            self._flag("tool_markers", found)
        elif marker.role in ("message", "answer") and marker.family != HARMONY:
            self._message_marker(found, ends_thought=False)
        elif marker.role == "open" and self._is_fresh:
            self._family = marker.family
            self._enter(_THINK_LEAD)
        elif marker.role == "open" or marker.family == BARE.opening:
            self._text(found)
        elif self._family and (marker.family == self._family or CLOSING.get(self._family) == found):
            self._family = ""
        else:
            self._trailing += found

    def _opening(self, marker: Marker, found: str) -> None:
        name = marker.family
        if self._state == _LEAD and (name != BARE.opening or self._may_be_bare):
            self.kind = self.kind or found
            self._family = name
            self._enter(_THINK_LEAD)
        elif self._state in (_THINK, _THINK_LEAD) and name == self._family:
            self._nested += 1
        else:
            self._literal[name] += self._state == _ANSWER
            self._text(found)

    def _closing(self, marker: Marker, found: str) -> None:
        name = marker.family
        if self._state in (_THINK, _THINK_LEAD):
            if name == self._family or self._closes(found):
                self._enter(_LEAD)
                self._family = ""
                self._may_relabel = False
            else:
                self._text(found)
        elif name == BARE.opening:
            self._text(found)
        elif self._state == _LEAD:  # leaked, or of an empty thought whose opening the template had written
            self.kind = self.kind or found
            self._nested = max(0, self._nested - 1)
            self._enter(_LEAD)
        elif self._literal[name]:
            self._literal[name] -= 1
            self._text(found)
        elif self._may_relabel or self._nested:
            self._relabel(found)
        else:
            self._text(found)

    def _relabel(self, found: str) -> None:
        self.kind = self.kind or found
        self._may_relabel = False
        self._nested = max(0, self._nested - 1)
        self._events.append(Relabel())
        self._enter(_LEAD)

    def _header(self, role: str, found: str) -> None:
        """The header of a harmony message: at the beginning, after another one, or after a thought without its own."""
        if role == "tools" and "to=" not in found:
            role = "answer"
        if self._state == _ANSWER and not self._harmony:
            if role == "open" or not self._may_relabel:
                self._text(found)
                return
            self._relabel(found)
        elif self._state in (_THINK, _THINK_LEAD) and self._family != HARMONY:
            self._text(found)
            return
        self._harmony = True
        if role == "open":
            self.kind = self.kind or found
            if self._family != HARMONY or self._state not in (_THINK, _THINK_LEAD):
                self._family = HARMONY
                self._enter(_THINK_LEAD)
            return
        if self._state in (_THINK, _THINK_LEAD):
            self._may_relabel = False
        if self._state != _ANSWER:
            self._family = ""
            self._enter(_LEAD)
        if role == "tools":
            self._section(found, HARMONY_ENDS)

    def _wrapping(self, marker: Marker, found: str) -> None:
        """A tag around the answer: of the template only where a thought in the content has just ended."""
        if marker.role == "wrap" and self._state == _LEAD and self.kind and not self._wrapper:
            self._wrapper = marker.family
        elif marker.role == "unwrap" and self._state in (_LEAD, _ANSWER) and marker.family == self._wrapper:
            self._wrapper = ""
        else:
            self._text(found)
            return
        self._flag("template_markers", found)

    def _message_marker(self, found: str, ends_thought: bool) -> None:
        """A marker of a message in the chat template is hidden."""
        self._flag("template_markers", found)
        if ends_thought and not self._in_field and self._state in (_THINK, _THINK_LEAD):
            self._family = ""
            self._enter(_LEAD)

    def _section(self, found: str, ends: tuple[str, ...]) -> None:
        if self._state in (_THINK, _THINK_LEAD) and not self._in_field:
            self._may_relabel = False
            self._enter(_LEAD)
        self._resume, self._section_ends = self._state, ends
        self._state = _SECTION
        self._hide(found)

    def _end_section(self, found: str) -> None:
        self._hide(found)
        self._flag("tool_markers", "".join(self._hidden))
        self._hidden, self._hidden_size = [], 0
        self._state = self._resume

    def _flag(self, name: str, detail: str) -> None:
        if name not in self._flagged:
            self._flagged.add(name)
            self._events.append(Flag(name, detail))

    def _hide(self, text: str) -> None:
        kept = text[: max(0, _DETAIL - self._hidden_size)]
        if kept:
            self._hidden_size += len(kept)
            self._hidden.append(kept)

    def _enter(self, state: str) -> None:
        """Start a part that begins after a marker."""
        self._state = state
        self._after_tag, self._blank, self._code = True, "", _Code()
