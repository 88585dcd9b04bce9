"""The steps of one attempt, folded from its events: system steps and topics.

System steps come from phases and from the stream itself. Topics are quotes from the reasoning trace (``topics``).
Topics have a minimum distance in stream time, so that the list stays readable: a topic that comes too early is dropped,
unless it says more than the one before, which it then replaces. Headings and leads need no distance; they are the
outline the trace gives itself. Topics have a maximum number, too: beyond it, every second topic of the least telling
kind is dropped and the distance of that kind doubles, so a trace of any length keeps an even selection. Times are ns
since the attempt was sent.

The trace is read when somebody wants the steps, not at every token: the topics do not depend on how it was cut.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import itemgetter

from .events import (
    AGGREGATING,
    CONNECTED,
    FIRST_TRAJECTORY_TOKEN,
    LOADING_MODEL,
    QUEUED,
    READING_PROMPT,
    TRAJECTORIES,
    WAITING_FOR_CAPACITY,
    Answer,
    End,
    Event,
    Phase,
    Reasoning,
    Relabel,
    TextRun,
)
from .topics import HEADING, LEAD, NUMBERED, PLAN, TURN, Topic, TopicReader

DWELL_NS = 2_500_000_000  # minimum time between a topic and a plan after it; half of it before a turn of thought
MAX_TOPICS = 40
MOST_UNREAD_CHARS = 4_000  # of the trace are read at once; the time to read a piece grows faster than its length

PHASE_LABELS = {
    CONNECTED: "Connected",
    LOADING_MODEL: "Loading model",
    READING_PROMPT: "Reading prompt",
    FIRST_TRAJECTORY_TOKEN: "Trajectories writing",
    TRAJECTORIES: "Trajectories done",
    WAITING_FOR_CAPACITY: "Waiting for capacity",
    AGGREGATING: "Hybridizing",
}
THINKING, DRAFTING, ENDED = "thinking", "drafting", "ended"
END_LABELS = {
    "ok": "Finished",
    "length": "Cut at the length limit",
    "no_answer": "Finished without an answer",
    "incomplete": "Cut off",
    "stopped": "Stopped",
    "timeout": "Timed out",
    "error": "Failed",
    "interrupted": "Interrupted",
}


@dataclass
class Step:
    """One step. ``index`` never changes; ``kept`` becomes False when thinning drops the step.

    ``at_char``: the step's position in the reasoning or the answer (``where``); None for a step without one.
    ``until_ns``: when the next step of its kind began or the attempt ended; None while the step lasts.
    ``done``/``total``: the progress of a system step, if its source reports numbers. ``rank``, ``level``: of a topic.
    """

    index: int
    kind: str  # system | topic
    label: str
    at_ns: int
    until_ns: int | None = None
    at_char: int | None = None
    where: str | None = None  # reasoning | answer
    done: int | None = None
    total: int | None = None
    rank: int = 0
    level: int = 0
    kept: bool = True


class Steps:
    """Apply an attempt's events in order; read ``steps``, or ``take`` the new ones."""

    def __init__(self, dwell_ns: int = DWELL_NS, max_topics: int = MAX_TOPICS) -> None:
        self._dwell_ns: dict[int, int] = {
            HEADING: 0,
            LEAD: 0,
            NUMBERED: dwell_ns // 2,
            TURN: dwell_ns // 2,
            PLAN: dwell_ns,
        }
        self._max_topics = max_topics
        self._all: list[Step] = []
        self._phases: dict[str, Step] = {}
        self._topics: list[Step] = []  # kept ones
        self._changed: set[int] = set()
        self._reader = TopicReader()
        self._unread: list[str] = []  # pieces of the trace …
        self._unread_ns: list[int] = []  # … with their times
        self._n_unread = 0  # their characters
        self._is_useful = False  # to read them now: they may complete a topic
        self._sentence_at: list[tuple[int, int]] = []  # (character, ns) of the pieces that hold the open sentence
        self._answer: list[tuple[int, str]] = []  # kept because a ``Relabel`` may turn it into reasoning

    @property
    def steps(self) -> list[Step]:
        """The kept steps, in order of time."""
        self._read_if_useful()
        return [step for step in self._all if step.kept]

    def take(self) -> list[Step]:
        """Steps that are new, changed or dropped since the last call."""
        self._read_if_useful()
        if not self._changed:
            return []
        changed = [self._all[index] for index in sorted(self._changed)]
        self._changed.clear()
        return changed

    def apply(self, t_ns: int, event: Event) -> None:
        if type(event) is Reasoning:
            self._reasoning(t_ns, event.text)
            return
        self._read()  # what came before this event
        match event:
            case Phase(name, detail, _, total) if name == QUEUED:
                self._queued(t_ns, detail, total)
            case Phase(name, done=0) if name == WAITING_FOR_CAPACITY:
                self._close(self._phases.get(name), t_ns)
            case Phase(name, _, done, total) if name in PHASE_LABELS:
                self._phase(name, PHASE_LABELS[name], t_ns, done=done, total=total)
            case Answer(text) if text:
                self._answer.append((t_ns, text))
                if DRAFTING not in self._phases:
                    self._draft(t_ns)
            case Relabel():
                self._relabel()
            case End(status):
                self._end_trace(t_ns)
                self._phase(ENDED, END_LABELS.get(status, status), t_ns)
                self._answer.clear()

    def extend(self, run: TextRun) -> None:
        """``apply`` of each event of the run."""
        if not run.stamps:
            return
        if run.kind is Answer:
            if DRAFTING not in self._phases:
                self._draft(run.stamps[0])
            self._answer += zip(run.stamps, run.texts, strict=True)
        elif THINKING in self._phases and self._n_unread + len(text := run.text) <= MOST_UNREAD_CHARS:
            self._unread += run.texts
            self._unread_ns += run.stamps
            self._n_unread += len(text)
            self._is_useful = self._is_useful or self._reader.may_find_in(text, self._n_unread)
        else:
            for t_ns, piece in zip(run.stamps, run.texts, strict=True):
                self._reasoning(t_ns, piece)

    def leave_queue(self, waited_ns: int) -> None:
        """The attempt is sent ``waited_ns`` after it joined the queue: times count from now; the wait lies before."""
        if (step := self._phases.get(QUEUED)) is not None:
            step.at_ns -= waited_ns
            self._close(step, 0)

    def _queued(self, t_ns: int, behind: str, n_requests: int | None) -> None:
        """The wait in this app's queue; its label keeps the requests that were before it when it joined."""
        if QUEUED not in self._phases:
            requests = "one request" if n_requests == 1 else f"{n_requests} requests"
            self._phase(QUEUED, f"Queued behind {requests}{behind and f': {behind}'}", t_ns)

    def _reasoning(self, t_ns: int, text: str) -> None:
        if not text:
            return
        if THINKING not in self._phases:
            self._phase(THINKING, "Thinking", t_ns, "reasoning")
        self._unread.append(text)
        self._unread_ns.append(t_ns)
        self._n_unread += len(text)
        self._is_useful = self._is_useful or self._reader.may_find_in(text, self._n_unread)
        if self._n_unread > MOST_UNREAD_CHARS:
            self._read()

    def _read_if_useful(self) -> None:
        if self._is_useful:
            self._read()

    def _read(self) -> None:
        """Find the topics that the unread pieces complete."""
        if not self._unread:
            return
        at_chars = accumulate(map(len, self._unread), initial=self._reader.n_chars)
        self._sentence_at += zip(at_chars, self._unread_ns, strict=False)  # the last is the end of them all
        text = "".join(self._unread)
        self._unread.clear()
        self._unread_ns.clear()
        self._n_unread, self._is_useful = 0, False
        for topic in self._reader.feed(text):
            self._topic(topic)
        self._forget_finished_sentences()

    def _draft(self, t_ns: int) -> None:
        self._end_trace(t_ns)
        self._phase(DRAFTING, "Writing the answer", t_ns, "answer")

    def _end_trace(self, t_ns: int) -> None:
        self._read()
        for topic in self._reader.close():
            self._topic(topic)
        if self._topics and self._topics[-1].until_ns is None:
            self._close(self._topics[-1], t_ns)

    def _relabel(self) -> None:
        """Treat the answer so far as reasoning: drop the drafting step and look for topics in the text."""
        draft = self._phases.pop(DRAFTING, None)
        if draft is not None:
            self._drop(draft)
        pieces, self._answer = self._answer, []
        for t_ns, text in pieces:
            self._reasoning(t_ns, text)

    def _topic(self, topic: Topic) -> None:
        at_ns = max(ns for char, ns in self._sentence_at if char <= topic.at_char)
        last = self._topics[-1] if self._topics else None
        if last is not None:
            if topic.label.casefold() == last.label.casefold():
                return
            if topic.rank < last.rank and at_ns - last.at_ns < self._dwell_ns[TURN]:
                self._drop(self._topics.pop())
            elif at_ns - last.at_ns < self._dwell_ns[topic.rank]:
                return
        self._close(self._topics[-1] if self._topics else None, at_ns)
        step = self._add("topic", topic.label, at_ns, at_char=topic.at_char, where="reasoning")
        step.rank, step.level = topic.rank, topic.level
        self._topics.append(step)
        if len(self._topics) > self._max_topics:
            self._thin()

    def _thin(self) -> None:
        """Drop every second topic of the least telling kind."""
        rank = max(step.rank for step in self._topics)
        of_kind = [step for step in self._topics if step.rank == rank]
        for step in of_kind[1::2] or of_kind:
            self._drop(step)
        self._topics = [step for step in self._topics if step.kept]
        mean_ns = (of_kind[-1].at_ns - of_kind[0].at_ns) // len(of_kind)
        self._dwell_ns[rank] = 2 * (self._dwell_ns[rank] or mean_ns)
        for step, following in pairwise(self._topics):
            self._close(step, following.at_ns)

    def _drop(self, step: Step) -> None:
        step.kept = False
        self._changed.add(step.index)

    def _forget_finished_sentences(self) -> None:
        """Keep the newest piece that begins at or before the open sentence, and all later pieces."""
        index = bisect_right(self._sentence_at, self._reader.sentence_start, key=itemgetter(0))
        del self._sentence_at[: index - 1]

    def _phase(
        self,
        name: str,
        label: str,
        t_ns: int,
        where: str | None = None,
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        """Add the phase, or update the progress of a known one, which keeps its start time."""
        known = self._phases.get(name)
        if known is None:
            last = next(reversed(self._phases.values()), None)
            if last is not None and last.until_ns is None:
                self._close(last, t_ns)
            at_char = 0 if where else None
            self._phases[name] = self._add("system", label, t_ns, at_char=at_char, where=where, done=done, total=total)
        else:
            known.done, known.total = done, total
            self._changed.add(known.index)

    def _close(self, step: Step | None, t_ns: int) -> None:
        if step is not None and step.until_ns != t_ns:
            step.until_ns = t_ns
            self._changed.add(step.index)

    def _add(
        self,
        kind: str,
        label: str,
        at_ns: int,
        *,
        at_char: int | None,
        where: str | None,
        done: int | None = None,
        total: int | None = None,
    ) -> Step:
        step = Step(len(self._all), kind, label, at_ns, None, at_char, where, done, total)
        self._changed.add(step.index)
        self._all.append(step)
        return step
