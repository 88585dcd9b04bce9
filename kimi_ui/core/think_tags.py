"""Inline think tags: content text in, reasoning and answer events out, for servers that do not separate the two.

Incremental and pure: ``feed`` takes the content as it arrives, cut anywhere, ``flush`` ends it; any cutting of the same
text folds to the same reasoning and answer. It knows nothing of wire formats: it is given text only.

The rules (each met in the wild):
- An opening tag counts only before any answer text; a ``<think>`` later on is the answer's own and stays.
- A closing tag whose opening tag never came (chat templates prefill it) means that all text so far was reasoning:
  ``Relabel``. Not inside code, not after its own literal opening tag, and not when reasoning came by another field.
- A marker right between two backticks is a quotation and stays, in a thought as in an answer.
- A tag that is never closed: all reasoning, flagged ``unclosed_think``. Nothing inside: no reasoning at all.
- Blank lines after an opening tag and after a closing one are dropped; a leaked closing tag there too.
- Kimi K2's tool-call section, or a tool call outside one, ends thinking by itself; it is hidden and flagged
  ``tool_markers`` with its text. The message markers of Kimi K2 and K3 are hidden and flagged ``template_markers``.
- In a reasoning field a think tag is text like any other, but for those the server forgot to take off: an opening tag
  before all text, its closing tag, and one that nothing follows.
- A flag is raised once, with what was met first.
"""

from __future__ import annotations

import re
from collections import Counter

from .events import Answer, Event, Flag, Reasoning, Relabel

_XML = "think|thinking|reasoning|mm:think"
_MARKER = re.compile(
    rf"<(?P<xml_open>{_XML})>"
    rf"|</(?P<xml_close>{_XML})>"
    r"|◁(?P<kimi_open>think)▷|◁/(?P<kimi_close>think)▷"
    r"|<\|open\|> {0,8}(?P<k3_open>think|response|message) {0,8}<\|sep\|>"
    r"|<\|close\|> {0,8}(?P<k3_close>think|response|message) {0,8}<\|sep\|>"
    r"|<\|tool_(?P<tool>calls_section_begin|calls_section_end|call_begin|call_argument_begin|call_end)\|>"
    r"|(?P<k2_message><\|im_(?:system|user|assistant)\|>(?:(?:system|user|assistant|tool)<\|im_middle\|>)?"
    r"|<\|im_(?:middle|end)\|>)"
)
_ROLES = ("system", "user", "assistant")
_WHOLE = (
    *(f"<{slash}{name}>" for slash in ("", "/") for name in _XML.split("|")),
    *("◁think▷", "◁/think▷", "<|im_end|>"),
    *(f"<|{verb}|>{name}<|sep|>" for verb in ("open", "close") for name in ("think", "response", "message")),
    *(f"<|tool_{name}|>" for name in ("calls_section_begin", "calls_section_end")),
    *(f"<|tool_{name}|>" for name in ("call_begin", "call_argument_begin", "call_end")),
    *(f"<|im_{role}|>{name}<|im_middle|>" for role in _ROLES for name in (*_ROLES, "tool")),
    "<|im_middle|>",
)
_BEGINNINGS = frozenset(marker[:n] for marker in _WHOLE for n in range(1, len(marker)))
_SECTION_END = {"calls_section_begin": "calls_section_end", "call_begin": "call_end"}
_LONGEST = 48  # characters of the longest marker, its optional spaces included
_MOST_BLANK = 4096  # blanks held back while deciding what they belong to
_DETAIL = 2000  # characters of hidden text kept in a flag

_TICKS = re.compile(r"`+|\n")

_LEAD, _THINK_LEAD, _THINK, _ANSWER, _SECTION = "lead", "think_lead", "think", "answer", "section"


def _may_become_marker(tail: str) -> bool:
    """Whether more text could turn ``tail`` (starting at ``<`` or ``◁``) into a marker."""
    if len(tail) > _LONGEST:
        return False
    if tail.startswith("<|"):
        tail = tail.replace(" ", "")
    return tail in _BEGINNINGS


def _held_from(text: str) -> int:
    """Index from which ``text`` must wait for more: its longest end that may become a marker."""
    for i in range(max(0, len(text) - _LONGEST), len(text)):
        if text[i] in "<◁" and _may_become_marker(text[i:]):
            return i
    return len(text)


class _Code:
    """Whether the text so far ends inside code: a fence that is open, or an inline span open on the same line."""

    def __init__(self) -> None:
        self._fence = self._inline = False
        self._run = 0  # backticks at the very end, whose number is not final

    @property
    def is_open(self) -> bool:
        if self._run >= 3:
            return not self._fence
        return self._fence or (self._inline != (self._run > 0))

    def add(self, text: str) -> None:
        end = 0
        if "`" in text or (self._inline and "\n" in text):
            for match in _TICKS.finditer(text):
                if match.start() > end or match.group() == "\n":
                    self._end_run()
                if match.group() == "\n":
                    self._inline = False
                else:
                    self._run += len(match.group())
                end = match.end()
        if end < len(text):
            self._end_run()

    def _end_run(self) -> None:
        if self._run >= 3:
            self._fence, self._inline = not self._fence, False
        elif self._run and not self._fence:
            self._inline = not self._inline
        self._run = 0


class ThinkTags:
    """Splits one attempt's content. ``kind`` is the opening (or lone closing) tag met first, None while there is none.

    ``in_field``: the text is a reasoning field's own: all of it is reasoning, and only what leaked is taken out.
    """

    def __init__(self, in_field: bool = False) -> None:
        self.kind: str | None = None
        self._in_field = in_field
        self._state = _THINK if in_field else _LEAD
        self._may_relabel = not in_field
        self._pending = ""  # an unfinished marker
        self._blank = ""  # leading blanks that may have to go
        self._after_tag = False  # the blanks follow a tag: their lines are dropped
        self._code = _Code()  # of this part
        self._before = ""  # the last character before what comes next
        self._closing = ""  # the name that closes the open tag
        self._is_fresh = True  # no text but blanks so far
        self._trailing = ""  # of a field: a closing tag and blanks, dropped if nothing follows
        self._nested = 0
        self._literal: Counter[str] = Counter()  # opening tags met as literal text
        self._hidden: list[str] = []
        self._hidden_size = 0
        self._resume = self._state  # where a tool section returns to
        self._section_end = ""  # the marker that ends it
        self._flagged: set[str] = set()
        self._events: list[Event] = []

    def separated(self) -> None:
        """Reasoning came by a field of its own: a closing tag in the content is not a sign of reasoning any more."""
        self._may_relabel = False

    def feed(self, text: str) -> list[Event]:
        """The events this piece of content completes. Never raises."""
        if not self._pending and "<" not in text and "◁" not in text:
            self._text(text)
            return self._taken()
        self._read(self._pending + text, last=False)
        return self._taken()

    def flush(self) -> list[Event]:
        """What was held back, at the end of the stream."""
        self._read(self._pending, last=True)
        if self._blank and self._state == _LEAD and not self._after_tag:
            self._events.append(Answer(self._blank))
        if self._state == _SECTION:
            self._end_section("")
        elif self._state in (_THINK, _THINK_LEAD) and not self._in_field:
            self._flag("unclosed_think", self.kind or "")
        self._blank = self._trailing = ""
        return self._taken()

    def _read(self, text: str, last: bool) -> None:
        """Text that may hold markers; its end waits in ``_pending`` while it may become one."""
        position, held = 0, len(text)
        for match in _MARKER.finditer(text):
            self._text(text[position : match.start()])
            position = match.start()
            if not last and len(text) - position <= _LONGEST and _may_become_marker(text[position:]):
                held = position  # a longer one, if its rest follows
                break
            if self._before == "`":
                if match.end() == len(text) and not last:
                    held = position  # a quotation, if a backtick follows
                    break
                if text[match.end() : match.end() + 1] == "`":
                    continue
            self._marker(match)
            position = match.end()
        else:
            if not last:
                held = _held_from(text[position:]) + position
        self._text(text[position:held])
        self._pending = text[held:]

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _text(self, text: str) -> None:
        """Text without markers, in the current state."""
        if not text:
            return
        self._before = text[-1]
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

    def _marker(self, match: re.Match[str]) -> None:
        found = match.group()
        self._before = ""
        if self._state == _SECTION:
            if match["tool"] in (self._section_end, "calls_section_end"):
                self._end_section(found)
            else:
                self._hide(found)
        elif self._state == _ANSWER and self._code.is_open:
            self._text(found)
        elif match["tool"]:
            self._section(match["tool"], found)
        elif match["k2_message"] or (match["k3_open"] or match["k3_close"] or "think") != "think":
            self._message_marker(found, opens=match["k3_open"] is not None)
        else:
            opens = match["xml_open"] or match["kimi_open"] or match["k3_open"]
            if self._in_field:
                self._field_tag(_pair(match), found, opens is not None)
            elif opens:
                self._opening(_pair(match), found)
            else:
                self._closing_tag(_pair(match), found)

    def _field_tag(self, name: str, found: str, opens: bool) -> None:
        if opens and self._is_fresh:
            self._closing = name
            self._enter(_THINK_LEAD)
        elif opens:
            self._text(found)
        elif name == self._closing:
            self._closing = ""
        else:
            self._trailing += found

    def _opening(self, name: str, found: str) -> None:
        if self._state == _LEAD:
            self.kind = self.kind or found
            self._closing = name
            self._enter(_THINK_LEAD)
        elif self._state in (_THINK, _THINK_LEAD) and name == self._closing:
            self._nested += 1
        else:
            self._literal[name] += self._state == _ANSWER
            self._text(found)

    def _closing_tag(self, name: str, found: str) -> None:
        if self._state in (_THINK, _THINK_LEAD):
            if name == self._closing:
                self._enter(_LEAD)
                self._may_relabel = False
            else:
                self._text(found)
        elif self._state == _LEAD:  # leaked, or of an empty thought whose opening the template had written
            self.kind = self.kind or found
            self._nested = max(0, self._nested - 1)
            self._enter(_LEAD)
        elif self._literal[name]:
            self._literal[name] -= 1
            self._text(found)
        elif self._may_relabel or self._nested:
            self.kind = self.kind or found
            self._may_relabel = False
            self._nested = max(0, self._nested - 1)
            self._events.append(Relabel())
            self._enter(_LEAD)
        else:
            self._text(found)

    def _message_marker(self, found: str, opens: bool) -> None:
        """A message marker of the chat template: hidden; K3's that opens an answer ends thinking."""
        self._flag("template_markers", found)
        if opens and not self._in_field and self._state in (_THINK, _THINK_LEAD):
            self._enter(_LEAD)

    def _section(self, which: str, found: str) -> None:
        if which not in _SECTION_END:  # its beginning was not seen: the marker alone is taken out
            self._flag("tool_markers", found)
            return
        if self._state in (_THINK, _THINK_LEAD) and not self._in_field:
            self._may_relabel = False
            self._enter(_LEAD)
        self._resume, self._section_end = self._state, _SECTION_END[which]
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
        """Start a part that begins after a tag."""
        self._state = state
        self._after_tag, self._blank, self._code = True, "", _Code()


def _pair(match: re.Match[str]) -> str:
    """What an opening tag and its closing tag have in common, and the other kinds do not."""
    if name := match["xml_open"] or match["xml_close"]:
        return name
    return "◁think▷" if match["kimi_open"] or match["kimi_close"] else "<|think|>"
