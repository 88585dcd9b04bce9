"""Attempt: one request of one lane in one turn, as a value and as a fold over its events.

``Attempt`` is the identity, fixed when the request is sent. ``AttemptFold`` is what its events add up to so far. It is
the project's only accumulator: the live view, the log, the CLI and the tests use it, and ``replay`` feeds it the
stored events. Pure: no clock, no I/O.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from operator import sub
from typing import Any

from .events import (
    CONNECTED,
    FIRST_CHUNK,
    FIRST_TRAJECTORY_TOKEN,
    QUEUED,
    Answer,
    Bounds,
    Carried,
    End,
    Event,
    Failure,
    Finish,
    Flag,
    Meta,
    Phase,
    Promoted,
    Reasoning,
    Relabel,
    Tally,
    TextRun,
    Usage,
)

STATUSES = ("open", "ok", "length", "no_answer", "incomplete", "stopped", "timeout", "error", "interrupted")

OTHER_WORDS = frozenset(("refusal", "tool_calls", "function_call", "tool_markers"))  # flags: output beside its text
CUT = frozenset(("length", "incomplete", "stopped", "timeout", "error", "interrupted"))  # statuses with the text so far
STALL_NS = 1_000_000_000  # a longer gap between text events is a stall


@dataclass(frozen=True)
class Attempt:
    """Identity of an attempt. ``sent_ns`` is when it was sent, in ns since the turn's start (the user's click).

    ``role`` is single or heavy; heavy's children are trajectory or aggregator.
    ``asked_ns`` is the time of the user's request on the same clock: 0, or the click on "retry" for a later attempt.
    ``k_index`` numbers a trajectory (0-based) and is None for other roles; ``attempt_no`` counts tries of the same
    request from 1. ``price`` is ``[input, cached_input, output, as_of]`` in USD per million tokens, None if unknown.
    ``stand_in_for`` names the model that this attempt's model replaces; it is empty for the real model.
    ``queue_ns`` is how long it waited in this app for its turn at the server before it was sent (heavy: until its first
    request was sent); None where requests of its kind do not queue here, and while it waits.
    ``continues`` is the attempt whose cut answer this one goes on with (``core.events.Carried``).
    ``input_chars`` is the length of all messages sent, for an estimate if the server reports no count; ``tokenizer``
    is the path of the model's own vocabulary on this machine, used for counting and never stored. ``settings``: what
    else the lane's configuration said then (``LaneSpec.settings``).
    """

    attempt_id: str
    turn_id: str
    lane: str
    label: str
    role: str = "single"
    parent_id: str | None = None
    k_index: int | None = None
    attempt_no: int = 1
    provider: str = ""
    base_url: str = ""
    request_model: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    price: tuple[float, float | None, float, str] | None = None
    started_at_utc: str = ""
    sent_ns: int = 0
    asked_ns: int = 0
    queue_ns: int | None = None
    stand_in_for: str = ""
    continues: str | None = None
    input_chars: int | None = None
    tokenizer: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The fields. Their values are this attempt's own: not to be changed."""
        return dict(vars(self))


@dataclass(slots=True)  # otherwise a dictionary would hold the fields, and every token would look up half of them
class AttemptFold:
    """What the events of an attempt add up to. All ``*_ns`` are ns since the attempt was sent; None: did not happen.

    ``answer`` is the accepted answer: for a ``promoted`` attempt, its reasoning; for one that goes on with an earlier
    one's, both texts. Times and counts stay as measured.
    """

    headers_ns: int | None = None
    first_chunk_ns: int | None = None
    first_token_ns: int | None = None
    first_reasoning_ns: int | None = None
    last_reasoning_ns: int | None = None
    first_answer_ns: int | None = None
    last_token_ns: int | None = None
    end_ns: int | None = None
    sent_late_ns: int | None = None  # the fields of ``Bounds``
    first_token_early_ns: int | None = None
    first_answer_early_ns: int | None = None
    last_token_early_ns: int | None = None
    n_chunks: int = 0  # text events
    text_ns: array[int] = field(default_factory=lambda: array("q"))  # the stamp of each text event
    text_sum: array[int] = field(default_factory=lambda: array("q"))  # and the characters of all text up to its end
    max_gap_ns: int | None = None  # longest wait between two text events
    n_stalls: int = 0
    usage: Usage = field(default_factory=Usage)
    has_usage: bool = False
    meta: Meta = field(default_factory=Meta)
    phase: Phase | None = None
    finish_reason: str | None = None
    failure: Failure | None = None
    flags: dict[str, str] = field(default_factory=dict)
    tally: Tally | None = None  # of a heavy run
    status: str = "open"
    end: End | None = None
    promoted: bool = False
    carried: str = ""  # the answer of an earlier attempt, which this one goes on with
    _reasoning: list[str] = field(default_factory=list)
    _answer: list[str] = field(default_factory=list)

    @property
    def reasoning(self) -> str:
        if len(self._reasoning) > 1:
            self._reasoning[:] = ["".join(self._reasoning)]
        return self._reasoning[0] if self._reasoning else ""

    @property
    def answer(self) -> str:
        return self.reasoning if self.promoted else self.carried + self.written_answer

    @property
    def written_answer(self) -> str:
        """The text that the model sent as its answer."""
        if len(self._answer) > 1:
            self._answer[:] = ["".join(self._answer)]
        return self._answer[0] if self._answer else ""

    @property
    def thinking_ns(self) -> int | None:
        """Time from the first reasoning token to the first answer token, or to the last token if no answer exists."""
        if self.first_reasoning_ns is None:
            return None
        until = self.first_answer_ns if self.first_answer_ns is not None else self.last_token_ns
        return None if until is None else until - self.first_reasoning_ns

    @property
    def can_promote(self) -> bool:
        """The model finished with all of its text in its reasoning, so the user may accept that as the answer."""
        by_itself = self.status == "no_answer" and self.finish_reason == "stop" and OTHER_WORDS.isdisjoint(self.flags)
        return by_itself and bool(self.reasoning.strip()) and not self.promoted

    @property
    def can_continue(self) -> bool:
        """The answer was cut, so the model may be asked to go on with it."""
        if (
            self.end is None
            or self.end.retry_in_s is not None
            or self.promoted
            or self.finish_reason == "content_filter"
        ):
            return False
        return self.status in CUT and bool(self.answer.strip())

    def copy(self) -> AttemptFold:
        """A fold of its own: events applied to it leave this one as it is."""
        return replace(
            self,
            text_ns=self.text_ns[:],
            text_sum=self.text_sum[:],
            usage=replace(self.usage),
            meta=replace(self.meta),
            flags=dict(self.flags),
            _reasoning=[self.reasoning] if self._reasoning else [],
            _answer=[self.written_answer] if self._answer else [],
        )

    def apply(self, t_ns: int, event: Event) -> None:
        """Add one event. An attempt ends once: after ``End`` only the user's ``Promoted`` has an effect."""
        if self.end is not None:
            if isinstance(event, Promoted) and self.can_promote:
                self.promoted = True
            return
        if type(event) is Reasoning or type(event) is Answer:  # pattern matching would double a token's way
            text = event.text
            if not text:
                return
            if (last_ns := self.last_token_ns) is not None:
                gap = t_ns - last_ns
                if self.max_gap_ns is None or gap > self.max_gap_ns:
                    self.max_gap_ns = gap
                if gap > STALL_NS:
                    self.n_stalls += 1
            else:
                if self.first_chunk_ns is None:
                    self.first_chunk_ns = t_ns
                if self.first_token_ns is None:
                    self.first_token_ns = t_ns
            self.last_token_ns = t_ns
            self.text_ns.append(t_ns)
            self.text_sum.append(len(text) + (self.text_sum[-1] if self.n_chunks else 0))
            self.n_chunks += 1
            if type(event) is Reasoning:
                if self.first_reasoning_ns is None:
                    self.first_reasoning_ns = t_ns
                self.last_reasoning_ns = t_ns
                self._reasoning.append(text)
            else:
                if self.first_answer_ns is None:
                    self.first_answer_ns = t_ns
                self._answer.append(text)
            return
        match event:
            case Carried(text):
                self.carried = text
            case Relabel():
                if self._answer:
                    self._reasoning += self._answer
                    self._answer.clear()
                    if self.first_reasoning_ns is None:
                        self.first_reasoning_ns = self.first_answer_ns
                    self.last_reasoning_ns = self.last_token_ns
                    self.first_answer_ns = None
            case Usage():
                self.has_usage = True
                for name in Usage.__dataclass_fields__:
                    value = getattr(event, name)
                    if value is not None and value != {}:
                        setattr(self.usage, name, value)
            case Phase(name):
                self.phase = event
                if name == CONNECTED and self.headers_ns is None:
                    self.headers_ns = t_ns
                elif name == FIRST_CHUNK and self.first_chunk_ns is None:
                    self.first_chunk_ns = t_ns
                elif name == FIRST_TRAJECTORY_TOKEN and self.first_token_ns is None:
                    self.first_token_ns = t_ns
            case Meta():
                for name in Meta.__dataclass_fields__:
                    value = getattr(event, name)
                    if value is not None:
                        setattr(self.meta, name, value)
            case Flag(name, detail):
                self.flags[name] = detail
            case Bounds():
                for name in Bounds.__dataclass_fields__:
                    setattr(self, name, getattr(event, name))
            case Tally():
                self.tally = event
            case Finish(reason):
                if self.finish_reason is None and reason:  # the first one counts, not a later null or repeat
                    self.finish_reason = reason
            case Failure():
                if self.failure is None:
                    self.failure = event
            case End(status):
                self.end, self.end_ns, self.status = event, t_ns, status

    def extend(self, run: TextRun) -> None:
        """``apply`` of each event of the run."""
        if self.end is not None or not run.stamps:
            return
        _, _, kind, stamps, texts = run
        if (last_ns := self.last_token_ns) is None:
            last_ns = stamps[0]
            self.apply(last_ns, kind(texts[0]))
            stamps, texts = stamps[1:], texts[1:]
            if not stamps:
                return
        gaps = list(map(sub, stamps, [last_ns, *stamps]))
        longest = max(gaps)
        if self.max_gap_ns is None or longest > self.max_gap_ns:
            self.max_gap_ns = longest
        if longest > STALL_NS:
            self.n_stalls += sum([gap > STALL_NS for gap in gaps])
        self.last_token_ns = stamps[-1]
        self.n_chunks += len(stamps)
        self.text_ns.extend(stamps)
        sums = accumulate(map(len, texts), initial=self.text_sum[-1])
        next(sums)
        self.text_sum.extend(sums)
        if kind is Reasoning:
            if self.first_reasoning_ns is None:
                self.first_reasoning_ns = stamps[0]
            self.last_reasoning_ns = stamps[-1]
            self._reasoning += texts
        else:
            if self.first_answer_ns is None:
                self.first_answer_ns = stamps[0]
            self._answer += texts

    def outcome(self) -> str:
        """The terminal status of these events when the stream has ended without a stop or a limit.

        Only an explicit finish makes an attempt ``ok``. The engine names stops and limits, not the fold.
        """
        if self.failure is not None:
            # A stream that broke after some text is not a failed request: the text is kept and the cut is reported.
            if self.failure.kind.startswith("timeout"):
                return "timeout"
            return "incomplete" if self.failure.kind == "network" and self.n_chunks else "error"
        if self.finish_reason is None:
            return "incomplete"
        if self.finish_reason == "length":
            return "length"
        if self.finish_reason in ("error", "content_filter"):
            return "error"
        return "ok" if self.answer.strip() else "no_answer"


def live_phase(fold: AttemptFold) -> str:
    """The lane's ``data-phase``: queued | connecting | waiting | thinking | answering, or a terminal word.

    The page calls ``ok`` ``done``; every other terminal status keeps its name.
    """
    if fold.status != "open":
        return "done" if fold.status == "ok" else fold.status
    if fold.first_answer_ns is not None:
        return "answering"
    if fold.first_token_ns is not None:
        return "thinking"
    if fold.phase is None:
        return "connecting" if fold.headers_ns is None else "waiting"
    return "queued" if fold.phase.name == QUEUED else "waiting"
