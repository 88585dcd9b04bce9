"""Reasoning and answer text of one attempt on its way from a provider's wire to events, whatever the wire was.

Here meet: think tags inside the content, what leaked into a reasoning field, a thought that comes by both, halves
of surrogate pairs split over two deltas, reasoning after the answer, and the most text an attempt may hold. Pure.
"""

from __future__ import annotations

from collections import deque

from ...core.events import Answer, Event, Flag, Reasoning, Relabel
from ...core.think_tags import ThinkTags

MOST_ANSWER = 2_000_000  # characters
MOST_REASONING = 4_000_000
LEAD = 200  # characters by which a repetition may run ahead of what it repeats


class Texts:
    """Turns text into events. ``dialect``: where reasoning was found first (a field's name or a tag), None if nowhere.

    ``full`` names the part that reached its limit (``answer`` or ``reasoning``); nothing more is taken then.
    """

    def __init__(self, most_answer: int = MOST_ANSWER, most_reasoning: int = MOST_REASONING) -> None:
        self.reasoning_chars = 0
        self.answer_chars = 0
        self.full = ""
        self._most_answer, self._most_reasoning = most_answer, most_reasoning
        self._content, self._field = ThinkTags(), ThinkTags(in_field=True)
        self._echo = _Echo(most_reasoning)
        self._field_name: str | None = None
        self._answered = False
        self._late = False
        self._halves = {"content": "", "field": ""}  # a first half of a surrogate pair, waiting for its second
        self.has_half = False

    @property
    def dialect(self) -> str | None:
        return self._field_name or self._content.kind

    @property
    def chars(self) -> int:
        """Characters that have come, those held back included."""
        return self.reasoning_chars + self.answer_chars + self._content.n_held + self._field.n_held

    @property
    def holds(self) -> bool:
        """Text has come that is no event yet."""
        return bool(self._content.n_held or self._field.n_held or self._echo.held)

    @property
    def answered(self) -> bool:
        """Answer text has come, held back or not."""
        return self._answered or self._content.holds_answer

    def reasoning(self, text: str, field: str) -> list[Event]:
        """Text of a reasoning field; ``field`` is the name it came by."""
        if self._field_name is None:
            self._field_name = field
            self._content.separated()
        return self._passed("field", self._field.feed(text))

    def content(self, text: str) -> list[Event]:
        """Text of the content field: an answer, unless tags inside it say otherwise."""
        return self._passed("content", self._content.feed(text))

    def whole(self, text: str, part: str) -> str:
        """``text`` without halves of surrogate pairs: joined to the half before, or U+FFFD when alone.

        Only for text whose JSON was written with ``\\ud83d`` escapes; ``part`` is ``content`` or ``field``.
        """
        text = self._halves[part] + text
        self._halves[part] = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._halves[part] = text[:-1], text[-1]
        self.has_half = any(self._halves.values())
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def flush(self) -> list[Event]:
        """What was held back, at the end of the stream."""
        events: list[Event] = []
        for part, tags in (("field", self._field), ("content", self._content)):
            if self._halves[part]:
                self._halves[part] = ""
                events += self._passed(part, tags.feed("\ufffd"))
            events += self._passed(part, tags.flush())
        self.has_half = False
        if rest := self._echo.rest():
            events += self._passed("content", [Reasoning(rest)])
        return events

    def _passed(self, part: str, events: list[Event]) -> list[Event]:
        """The events within the limits, without reasoning that the other part brought before.

        A flag follows where reasoning comes after the answer began.
        """
        if self.full:
            return []
        passed: list[Event] = []
        is_late = False
        for event in events:
            if type(event) is Reasoning:
                event.text = text = self._echo.shown(part, event.text)
                if not text:
                    continue
                self.reasoning_chars += len(text)
                is_late = is_late or self._answered
                if self.reasoning_chars > self._most_reasoning:
                    self.full = "reasoning"
            elif type(event) is Answer:
                self.answer_chars += len(event.text)
                self._answered = self._answered or not event.text.isspace()
                if self.answer_chars > self._most_answer:
                    self.full = "answer"
            elif type(event) is Relabel:
                self.reasoning_chars, self.answer_chars = self.reasoning_chars + self.answer_chars, 0
                self._answered = False
            passed.append(event)
            if self.full:
                return passed
        if is_late and not self._late:
            self._late = True
            passed.append(Flag("late_reasoning"))
        return passed


class _Echo:
    """Reasoning that arrives twice: in a field, and again as tags inside the content.

    Proxies that fold the field into the content for clients that know only that may leave the field in place; the
    pattern was seen, no product is known for it. The source that speaks first is shown as it comes. What the other
    says is held back, at most ``most_held`` characters, while it repeats the first from the start; a repetition is
    dropped, another thought is shown whole. Blanks do not count, since tags bring their own.
    """

    def __init__(self, most_held: int) -> None:
        self._most_held = most_held
        self._first = ""  # the source that spoke first
        self._ahead = ""  # the source that has said more
        self._more: deque[str] = deque()  # what it said and the other did not yet
        self._head, self._at = "", 0  # the piece before those, without blanks, and how much of it the other said
        self.held: list[str] = []  # of the second source
        self._n_held = 0
        self._differs = False

    def shown(self, source: str, text: str) -> str:
        """What is to be shown, now that ``source`` (``field`` or ``content``) has brought ``text``."""
        if self._differs:
            return text
        if not self._first:
            self._first = self._ahead = source
        if agrees := source == self._ahead:  # the other has not said as much
            self._more.append(text)
        else:
            agrees = self._agrees(source, text)
        if source == self._first:
            return text if agrees else text + self._released()
        self.held.append(text)
        self._n_held += len(text)
        if not agrees or self._n_held > self._most_held:
            return self._released()
        return self.rest() if self._n_ahead() > LEAD else ""

    def rest(self) -> str:
        """What the second source said beyond the first, once no more is waited for."""
        n_ahead, held = self._n_ahead(), self._released()
        start = len(held)
        while n_ahead:
            start -= 1
            n_ahead -= not held[start].isspace()
        return held[start:]

    def _n_ahead(self) -> int:
        """By how many characters the second source is ahead, 0 if it is not."""
        if self._ahead == self._first:
            return 0
        return len(self._head) - self._at + sum(len(_words(text)) for text in self._more)

    def _released(self) -> str:
        held = "".join(self.held)
        self._differs = True
        self.held.clear()
        self._more.clear()
        self._head, self._at = "", 0
        return held

    def _agrees(self, source: str, text: str) -> bool:
        """Whether ``source``, which has said less than the other, still says the same."""
        new, i = _words(text), 0
        while i < len(new):
            if self._at == len(self._head):
                if not self._more:
                    self._ahead, self._head, self._at = source, "", 0
                    self._more.append(new[i:])
                    return True
                self._head, self._at = _words(self._more.popleft()), 0
            n = min(len(self._head) - self._at, len(new) - i)
            if self._head[self._at : self._at + n] != new[i : i + n]:
                return False
            self._at, i = self._at + n, i + n
        return True


def _words(text: str) -> str:
    return "".join(text.split())
