"""One attempt as the page shows it: takes the attempt's events, returns the changes. See ``frames`` for the keys.

The cost of a token does not grow with the text, and most of it is that of its frame: text is kept in pieces until a
frame or a figure wants it, and only what an event has changed is looked at.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

from ..core.attempt import Attempt, AttemptFold, live_phase
from ..core.events import Answer, Carried, End, Event, Failure, Promoted, Reasoning, Relabel, TextRun
from ..core.lane import host_of
from ..core.markdown import Frame, StreamingMarkdown, render
from ..core.markdown.maths import text_with_formulas
from ..core.markdown.safe import clean_text
from ..core.race import RaceLine
from ..core.steps import Step, Steps
from ..core.tokens import AttemptCount
from ..tokenizers import counter
from .failure_words import failure_of, notes_of

MARK = "\ue0c0"  # where an answer goes on that was cut: private use, drawn by the page (assets/lane/answer.js)
_MAY_STAND_AFTER = frozenset(".,;:!?…)]\"'’”")
STAMPS = ("first_token", "first_reasoning", "first_answer")
LATER_CHARS = 8_000  # a text of more is sent later; one of fewer costs less than its request
SLICE_CHARS = 8_000  # of a long answer in one frame; rendering them takes 16 to 25 ms
RECENT_CHARS = 160  # of a trajectory, for its row


class Brevity(NamedTuple):
    """How the texts of an attempt that has ended before its first frame are sent; see ``TurnView``."""

    later: bool = False
    slices: bool = False


WHOLE = Brevity()


class AttemptView:
    """``plain``: for a trajectory. Its answer is sent as text while it grows and as HTML when it ends."""

    def __init__(
        self,
        attempt: Attempt,
        fold: AttemptFold,
        plain: bool = False,
        brevity: Brevity = WHOLE,
    ) -> None:
        self.attempt = attempt
        self.fold = fold
        self.count = AttemptCount(counter(attempt.tokenizer))
        self._plain = plain
        self._brevity = brevity  # of the first frame
        self._reasoning = TextPieces()
        self._answer = TextPieces()
        self._answer_chars = 0
        self._unrendered = ""  # the rest of an answer that is sent in slices
        self._carried = ""  # the text that it goes on with, marked at its end
        self._markdown = StreamingMarkdown()
        self._shown: Frame | None = None  # the answer so far instead of its changes
        self._steps = Steps()
        self._shown_at = {0: 0}  # a step's position in the trace -> its position on the page, ascending
        self._race = RaceLine()
        self._clear_answer = False
        self._is_resumed = False
        self._ended = False
        self._is_stale = True  # more than text may have changed since the last frame
        self._known: dict[str, Any] = {}  # values the page has: identity, sending, stamps, notes, tokens

    @classmethod
    def of_ended(cls, attempt: Attempt, fold: AttemptFold, brevity: Brevity) -> AttemptView:
        """A trajectory that has ended, for a page that has nothing of it yet."""
        view = cls(attempt, fold, plain=True, brevity=brevity)
        for event in (Reasoning(fold.reasoning), Answer(fold.written_answer)):
            view.count.apply(event)
        view._reasoning, view._answer = TextPieces(fold.reasoning), TextPieces(fold.answer)
        view._ended = True
        return view

    @property
    def phase(self) -> str:
        """The phase shown on the page; an attempt that will be retried is waiting."""
        return "waiting" if self._retry_in_s is not None else live_phase(self.fold)

    @property
    def _retry_in_s(self) -> float | None:
        return self.fold.end.retry_in_s if self.fold.end is not None else None

    def apply(self, t_ns: int, event: Event) -> None:
        """Apply an event that ``fold`` has just applied. After ``End``, only a promotion may follow."""
        if self._ended:
            if isinstance(event, Promoted) and self.fold.promoted:
                self._is_stale = True
                self._start_answer(self.fold.answer)
            return
        if isinstance(event, Reasoning | Answer):
            self._text(t_ns, event.text, isinstance(event, Answer))
        else:
            self._is_stale = True
            self.count.apply(event)
            self._race.apply(t_ns, event)
            if isinstance(event, Carried):
                self._carried = marked(event.text)
                self._answer.add(self._carried)
            elif isinstance(event, Relabel):
                self._relabel()
            elif isinstance(event, End):
                self._from_the_start()
                self._ended = True
        if not self._plain:
            self._steps.apply(t_ns, event)

    def extend(self, run: TextRun) -> None:
        """``apply`` of each event of the run."""
        if self._ended or not run.texts:
            return
        self._text(run.stamps[0], run.text, run.kind is Answer)
        if not self._plain:
            self._steps.extend(run)

    def _text(self, t_ns: int, text: str, is_answer: bool) -> None:
        """Text of an event, or of several of which this is the first one's stamp."""
        self.count.add(text, is_answer)
        if not is_answer:
            self._reasoning.add(text)
            first_ns = self.fold.first_reasoning_ns
        else:
            if not self._from_the_start():
                self._answer.add(text)
                self._answer_chars += len(text)
            first_ns = self.fold.first_answer_ns
        if first_ns == t_ns:
            self._is_stale = True

    def leave_queue(self, attempt: Attempt, fold: AttemptFold) -> None:
        """The attempt is sent now, after a wait in this app's queue: its times count from here."""
        self._steps.leave_queue(attempt.sent_ns - self.attempt.sent_ns)
        self.attempt, self.fold = attempt, fold
        self._is_stale = True

    def _relabel(self) -> None:
        """Move the answer so far to the reasoning, where the fold has appended it already."""
        if self._answer_chars:
            self._reasoning.add(self.fold.reasoning[-self._answer_chars :])
        self._start_answer("")

    def resume(self) -> None:
        """Continue for a page that got its content from another view: an open answer is sent again from its beginning.

        This is needed because the finished blocks depend on when frames were taken (see ``StreamingMarkdown``).
        """
        self._is_resumed = bool(self._answer_chars or self._carried) and not self._ended

    def show_as(self, other: AttemptView) -> None:
        """Show a growing answer, in the next frame, as ``other`` has shown it so far: it goes on from there."""
        if not self._ended:
            self._clear_answer |= self._is_resumed
            self._is_resumed = False
            self._shown = other._markdown.so_far
            self._answer.take(False)  # has been shown with it; frames with slices of other answers may follow

    def _from_the_start(self) -> bool:
        """Restart a resumed answer with all of the fold's text; False if the answer is not resumed."""
        if not self._is_resumed:
            return False
        self._start_answer(self.fold.written_answer)
        return True

    def _start_answer(self, text: str) -> None:
        """Begin again with this text of its own."""
        self._is_resumed = False
        self._answer = TextPieces(self._carried + text)
        self._answer_chars = len(text)
        self._unrendered = ""
        self._markdown = StreamingMarkdown()
        self._clear_answer = True
        self._known.pop("answer", None)

    def take(self) -> dict[str, Any]:
        """The changes since the last call; empty if none."""
        brevity, self._brevity = self._brevity if self._ended else WHOLE, WHOLE
        part = self._take_state() if self._is_stale else {}
        if self._clear_answer:
            part["clear_answer"] = True
            self._clear_answer = False
        reasoning = self._reasoning.take(self._ended)
        if brevity.later and self._plain and len(reasoning) + len(self.fold.answer) > LATER_CHARS:
            part["later"] = self._later(reasoning)
        elif brevity.later and len(reasoning) > LATER_CHARS:
            part["later"] = {"chars": _utf16_units(reasoning)}
        elif reasoning:
            part["reasoning"] = reasoning
        if not self._plain:
            part |= self._rendered_answer(in_slices=brevity.slices)
        elif "later" not in part:
            part |= self._plain_answer()
        if steps := self._steps.take():
            part["steps"] = [self._step_part(step) for step in steps]
        if race := self._race.take(self.fold):
            part["race"] = race
        if self._ended and "end" not in self._known:
            self._known["end"] = True
            part |= self._outcome()
        return part

    def _take_state(self) -> dict[str, Any]:
        """What has changed beside text, steps and race."""
        self._is_stale = False
        part: dict[str, Any] = {}
        if "attempt" not in self._known:
            part["attempt"] = self._known["attempt"] = self._identity()
        elif self._sending() != self._known["sent"]:
            part["sent"] = self._sending()
        self._known["sent"] = self._sending()
        if (context := self._context()) and "context" not in self._known:
            part["context"] = self._known["context"] = context
        for name, value in (("phase", self.phase), ("stamps", self._stamps()), ("notes", notes_of(self.fold))):
            if value != self._known.get(name, type(value)()):
                part[name] = self._known[name] = value
        if self.fold.promoted and "promoted" not in self._known:
            part["promoted"] = self._known["promoted"] = True
        return part

    def take_tokens(self) -> int | None:
        """The attempt's output tokens so far; None if unchanged since the last call."""
        counted = self.count.local
        tokens = self.fold.usage.output_tokens or (counted.output_tokens if counted else None)
        if tokens == self._known.get("tokens"):
            return None
        self._known["tokens"] = tokens
        return tokens

    def _identity(self) -> dict[str, Any]:
        attempt = self.attempt
        return {
            "attempt_id": attempt.attempt_id,
            "attempt_no": attempt.attempt_no,
            "label": attempt.label,
            "provider": attempt.provider,
            "model": attempt.request_model,
            "stand_in_for": attempt.stand_in_for,
            "continues": attempt.continues is not None,
            **self._sending(),
        }

    def _sending(self) -> dict[str, float | str | None]:
        """``host``: of the server, of several once it is known which one."""
        queue_ns, host = self.attempt.queue_ns, host_of(self.attempt.base_url)
        sending = {"sent_ms": self.attempt.sent_ns / 1e6, "queue_ms": None if queue_ns is None else queue_ns / 1e6}
        return sending | ({"host": host} if host else {})

    def _context(self) -> dict[str, int | None]:
        """The context in use and the one that the model was trained for; empty if neither is known."""
        meta = self.fold.meta
        known = {"tokens": meta.context_tokens, "trained": meta.trained_tokens}
        return known if any(known.values()) else {}

    def _stamps(self) -> dict[str, float]:
        fold = self.fold
        names = (*STAMPS, "last_token", "end") if self._ended else STAMPS
        known = {f"{name}_ms": getattr(fold, f"{name}_ns") for name in names}
        return {name: ns / 1e6 for name, ns in known.items() if ns is not None}

    @property
    def has_more(self) -> bool:
        """Whether the rest of an answer that is sent in slices is left."""
        return bool(self._unrendered)

    def _rendered_answer(self, in_slices: bool) -> dict[str, Any]:
        if self._shown is not None:
            shown, self._shown = self._shown, None
            return _changes(shown)
        text = self._unrendered + self._answer.take(self._ended)
        if not text and (not self._ended or "answer" in self._known):
            return {}
        sliced = self.has_more or (in_slices and len(text) > SLICE_CHARS)
        until = SLICE_CHARS if sliced else len(text)
        self._unrendered = text[until:]
        self._markdown.feed(text[:until])
        final = self._ended and not self._unrendered
        if final:
            self._known["answer"] = True
        changes = _changes(self._markdown.frame(final))
        return {**changes, "more": not final} if sliced else changes

    def _later(self, reasoning: str) -> dict[str, Any]:
        """A trajectory without its texts; see ``frames``."""
        self._known["answer"] = True
        answer = clean_text(self.fold.answer)
        self._answer.take(True)
        return {
            "chars": _utf16_units(reasoning),
            "recent": f"{reasoning}\n{answer}"[-RECENT_CHARS:],
            "answered": bool(answer),
        }

    def _plain_answer(self) -> dict[str, Any]:
        if not self._ended:
            text = self._answer.take(False)
            return {"text": text} if text else {}
        if "answer" in self._known:
            return {}
        self._known["answer"] = True
        return {"text": self._answer.take(True), "answer": render(self.fold.answer)} if self.fold.answer else {}

    def _step_part(self, step: Step) -> dict[str, Any]:
        if not step.kept:
            return {"i": step.index, "dropped": True}
        return {
            "i": step.index,
            "kind": step.kind,
            "label": step.label,
            **({"html": html} if (html := text_with_formulas(step.label)) else {}),
            **({"level": step.level} if step.kind == "topic" else {}),
            "t_ms": step.at_ns / 1e6,
            "until_ms": None if step.until_ns is None else step.until_ns / 1e6,
            "at": None if step.at_char is None else self._place_shown(step.at_char),
            "where": step.where,
            "done": step.done,
            "total": step.total,
        }

    def _place_shown(self, at_char: int) -> int:
        """A step's position on the page: UTF-16 units of the cleaned trace, counted from the previous step."""
        if at_char not in self._shown_at:
            before, shown = next(reversed(self._shown_at.items()))
            between = clean_text(self.fold.reasoning[before:at_char])
            self._shown_at[at_char] = shown + _utf16_units(between)
        return self._shown_at[at_char]

    def _outcome(self) -> dict[str, Any]:
        """How the attempt ended: a failure to show, or the announcement of a retry."""
        failure = failure_of(self.fold)
        failed = _failure_part(failure, self.attempt) if failure is not None else None
        if failed and self.fold.can_promote:
            failed["can_promote"] = True
        if self._retry_in_s is not None:
            at_ms = (self.attempt.sent_ns + (self.fold.end_ns or 0)) / 1e6 + self._retry_in_s * 1000
            return {"retry": {"at_ms": at_ms, "attempt_no": self.attempt.attempt_no + 1, "failure": failed}}
        part: dict[str, Any] = {"failure": failed} if failed else {}
        return {**part, "can_continue": True} if self.fold.can_continue else part


def marked(text: str) -> str:
    """A cut answer with ``MARK`` at its end, unless that could change what its last line means in Markdown."""
    end = text.rstrip()
    if not end or not (end[-1].isalnum() or end[-1] in _MAY_STAND_AFTER):
        return text
    return end + MARK + text[len(end) :]


def _changes(frame: Frame) -> dict[str, Any]:
    if frame.tail is None:  # then there are no blocks
        return {"append": frame.append} if frame.append else {}
    return {name: value for name, value in frame._asdict().items() if value or name == "tail"}


def _failure_part(failure: Failure, attempt: Attempt) -> dict[str, Any]:
    part = {name: clean_text(value) if isinstance(value, str) else value for name, value in asdict(failure).items()}
    return {**part, "model": attempt.request_model}


def _utf16_units(text: str) -> int:
    """The length of a text as JavaScript counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


class TextPieces:
    """Buffered text for the page: added in pieces, taken joined and cleaned."""

    def __init__(self, text: str = "") -> None:
        self._pieces = [text] if text else []

    def add(self, text: str) -> None:
        self._pieces.append(text)

    def take(self, final: bool) -> str:
        """The text added since the last call. Unless ``final``, a trailing CR is kept back in case an LF follows."""
        if not self._pieces:
            return ""
        text = "".join(self._pieces)
        self._pieces.clear()
        if text.endswith("\r") and not final:
            self._pieces.append("\r")
            text = text[:-1]
        return clean_text(text)
