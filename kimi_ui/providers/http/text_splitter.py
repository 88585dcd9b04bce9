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
        return bool(self._content.n_held or self._field.n_held) or self._echo.holds

    @property
    def answered(self) -> bool:
        """Answer text has come, held back or not."""
        return self._answered or self._content.holds_answer

    def reasoning(self, text: str, field: str) -> list[Event]:
        """Text of a reasoning field; ``field`` is the name it came by."""
        if self._field_name is None:
            self._field_name = field
            self._content.separated()
        return self._counted(self._once("field", self._field.feed(text)))

    def content(self, text: str) -> list[Event]:
        """Text of the content field: an answer, unless tags inside it say otherwise."""
        return self._counted(self._once("content", self._content.feed(text)))

    def whole(self, text: str, part: str) -> str:
        """``text`` without halves of surrogate pairs: joined to the half before, or U+FFFD when alone.

        Only for text whose JSON was written with ``\\ud83d`` escapes; ``part`` is ``content`` or ``field``.
        """
        text = self._halves[part] + text
        self._halves[part] = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._halves[part] = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    @property
    def has_half(self) -> bool:
        return bool(self._halves["content"] or self._halves["field"])

    def flush(self) -> list[Event]:
        """What was held back, at the end of the stream."""
        events: list[Event] = []
        for part, tags in (("field", self._field), ("content", self._content)):
            if self._halves[part]:
                self._halves[part] = ""
                events += self._once(part, tags.feed("\ufffd"))
            events += self._once(part, tags.flush())
        if rest := self._echo.rest():
            events.append(Reasoning(rest))
        return self._counted(events)

    def _once(self, part: str, events: list[Event]) -> list[Event]:
        """The events without reasoning that the other part brought before."""
        new: list[Event] = []
        for event in events:
            if type(event) is Reasoning:
                event.text = self._echo.shown(part, event.text)
                if not event.text:
                    continue
            new.append(event)
        return new

    def _counted(self, events: list[Event]) -> list[Event]:
        """The events within the limits, with a flag where reasoning comes after the answer began."""
        if self.full:
            return []
        for i, event in enumerate(events):
            kind = type(event)
            if kind is Reasoning:
                self.reasoning_chars += len(event.text)  # type: ignore[union-attr]
                if self._answered and not self._late:
                    self._late = True
                    events = [*events, Flag("late_reasoning")]
                if self.reasoning_chars > self._most_reasoning:
                    self.full = "reasoning"
                    return events[: i + 1]
            elif kind is Answer:
                self.answer_chars += len(event.text)  # type: ignore[union-attr]
                self._answered = self._answered or not event.text.isspace()  # type: ignore[union-attr]
                if self.answer_chars > self._most_answer:
                    self.full = "answer"
                    return events[: i + 1]
            elif kind is Relabel:
                self.reasoning_chars, self.answer_chars = self.reasoning_chars + self.answer_chars, 0
                self._answered = False
        return events


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
        self._held: list[str] = []  # of the second source
        self._n_held = 0
        self._differs = False

    @property
    def holds(self) -> bool:
        return bool(self._held)

    def shown(self, source: str, text: str) -> str:
        """What is to be shown, now that ``source`` (``field`` or ``content``) has brought ``text``."""
        self._first = self._first or source
        if self._differs:
            return text
        if source == self._first:
            return text if self._agrees(source, text) else text + self._released()
        self._held.append(text)
        self._n_held += len(text)
        if not self._agrees(source, text) or self._n_held > self._most_held:
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
        held = "".join(self._held)
        self._differs = True
        self._held.clear()
        self._more.clear()
        return held

    def _agrees(self, source: str, text: str) -> bool:
        """Whether both ways still say the same as far as both have spoken."""
        if self._ahead in ("", source):
            self._ahead = source
            self._more.append(text)
            return True
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
