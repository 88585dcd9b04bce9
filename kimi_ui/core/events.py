"""Events: what one attempt's stream is made of.

A turn is an append-only log of stamped events. Providers yield events without a time; the engine stamps each one
with the moment its bytes arrived and appends an ``Entry``. The live view, replay, history, exports, steps and metrics
are folds over entries and have no other source.

This module does not depend on clocks, storage, providers or pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Makes a NamedTuple from all of its values: its own ``__new__`` is a Python function, which every token would call.
new_tuple = tuple.__new__


@dataclass(slots=True)
class Reasoning:
    """Hidden reasoning text, appended to the attempt's reasoning."""

    text: str


@dataclass(slots=True)
class Answer:
    """Answer text, appended to the attempt's answer."""

    text: str


@dataclass(slots=True)
class Carried:
    """The answer of an earlier attempt, which was cut and which this attempt goes on with: the beginning of this
    attempt's answer, but none of its own text, so no stamp and no count includes it."""

    text: str


@dataclass(slots=True)
class Relabel:
    """All answer text so far was reasoning: a closing think tag arrived without an opening one."""


@dataclass(slots=True)
class Usage:
    """Token counts and server timings as the server reported them; None means "not reported".

    Usage may arrive several times, each cumulative: fields that are not None replace earlier ones; nothing is summed.
    ``output_tokens`` includes ``reasoning_tokens``; ``input_tokens`` includes ``cached_input_tokens``.
    ``source`` is ``usage`` (an OpenAI-style usage object) or ``server`` (Ollama counters, llama.cpp timings).
    ``load_ns``/``prompt_ns``/``eval_ns`` are the server's own durations in ns; ``queue_ns`` is how long it let the
    request wait, ``load_or_wait_ns`` what was a load or a wait where nothing says which. ``cost_usd`` is a cost the
    gateway reported. ``raw`` is the unchanged object, kept for the log.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    source: str = "usage"
    load_ns: int | None = None
    prompt_ns: int | None = None
    eval_ns: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)
    queue_ns: int | None = None
    load_or_wait_ns: int | None = None


# Names of the system phases a provider may report. What the machinery did not do has no name here.
PREPARING = "preparing"  # before the request: weights are fetched or the child process starts; done/total in bytes
QUEUED = "queued"  # waits here for its turn at the server; detail: whose requests are before it, total: how many
CONNECTED = "connected"  # response headers have arrived (HTTP 2xx)
FIRST_CHUNK = "first_chunk"  # any stream event, even one without text; a diagnostic (TTFC)
LOADING_MODEL = "loading_model"  # cold load on the server
READING_PROMPT = "reading_prompt"  # prefill; done/total in tokens where the server says
FIRST_TRAJECTORY_TOKEN = "first_trajectory_token"  # heavy: a child wrote its first token; heavy's TTFT
TRAJECTORIES = "trajectories"  # heavy: done of total trajectories have ended
WAITING_FOR_CAPACITY = (
    "waiting_for_capacity"  # heavy: done of total trajectories wait for room at the server; 0: none any more
)
AGGREGATING = "aggregating"  # heavy: the aggregator was sent; done = answers it reads


@dataclass(slots=True)
class Phase:
    """A system phase started or progressed. ``done``/``total`` measure it where the source gives numbers."""

    name: str
    detail: str = ""
    done: int | None = None
    total: int | None = None


@dataclass(slots=True)
class Meta:
    """What is known of the response. ``response_model`` may differ from the requested model.

    ``context_tokens``: the context window in use; ``trained_tokens``: the largest the model was trained for.
    """

    response_model: str | None = None
    upstream: str | None = None  # the host behind a gateway (OpenRouter's ``provider``)
    response_id: str | None = None
    context_tokens: int | None = None
    trained_tokens: int | None = None


@dataclass(slots=True)
class Flag:
    """A fact about this attempt that changes no state, e.g. ``late_reasoning``, ``non_streaming``."""

    name: str
    detail: str = ""


# The flag of an attempt that goes on with a cut answer (``Carried``), and its two details.
CONTINUED = "continued"
BY_PREFIX = "prefix"  # the server takes the beginning of an answer, and the model writes the next token
BY_WORDS = "words"  # it does not, so the model was asked for the rest of its answer


@dataclass(slots=True)
class Bounds:
    """How well an attempt's stamps are known, ns; the raw facts behind the error bounds in ``core.bounds``.

    ``sent_late_ns``: how much later than stamped the request may have been sent; None: as stamped. The others: how much
    earlier than stamped a token may have arrived; None: the kernel did not stamp it, so the loop's lateness bounds it.
    """

    sent_late_ns: int | None = None
    first_token_early_ns: int | None = None
    first_answer_early_ns: int | None = None
    last_token_early_ns: int | None = None


@dataclass(slots=True)
class Tally:
    """Heavy: what its run and its answers add up to. A later tally replaces an earlier one.

    ``launched``: trajectories that were sent; 0 where ``answers_of`` names the attempt whose answers were aggregated
    again. ``usable``: answers that may be aggregated; ``failed``: trajectories without one that were not stopped;
    ``left_out``: why, by trajectory number from 1 (``core.heavy.candidates.REASONS``). ``n_clusters``, ``agreement``,
    ``effective_answers``, ``similarity``: of the usable answers (``core.heavy.clusters``). ``stopped_at``: the score at
    which the stop rule ended the run, like ``4-1``, and ``stop_risk`` the chance that the rest would have changed the
    majority. ``verdict``: what became of the majority (``core.heavy.verdict``). ``order``: the trajectory numbers as
    the aggregator read them. ``equal``: pairs of expression keys that a computer algebra found equal.
    """

    strategy: str
    preset: str
    width: int
    launched: int = 0
    usable: int = 0
    failed: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)
    n_clusters: int | None = None
    agreement: float | None = None
    effective_answers: float | None = None
    similarity: float | None = None
    stopped_at: str | None = None
    stop_risk: float | None = None
    verdict: str = "unknown"
    order: list[int] = field(default_factory=list)
    equal: list[list[str]] = field(default_factory=list)
    answers_of: str = ""


@dataclass(slots=True)
class Finish:
    """The server's explicit finish (finish_reason, Ollama done_reason). Only this can make an attempt ``ok``."""

    reason: str


@dataclass(slots=True)
class Failure:
    """The attempt failed. ``kind`` is one of ``ERROR_KINDS``; ``message`` is one plain sentence, ``remedy`` what to do.

    ``command`` is a shell line to copy, where one helps. ``detail`` is the server's own wording, with keys removed,
    shortened. ``again``: parameters with which the same request may work, to be offered; they are not applied by
    themselves.
    """

    kind: str
    message: str
    remedy: str = ""
    command: str = ""
    detail: str = ""
    http_status: int | None = None
    again: Mapping[str, Any] = field(default_factory=dict)


ERROR_KINDS = (
    "auth",
    "billing",
    "rate_limit",
    "capacity",
    "model_missing",
    "bad_url",
    "bad_request",
    "context",
    "content_filter",
    "upstream",
    "connect",
    "dns",
    "tls",
    "network",
    "redirect",
    "protocol",
    "not_a_stream",
    "empty",
    "too_large",
    "timeout_first_token",
    "timeout_idle",
    "timeout_total",
    "backend_died",
    "no_survivor",
    "internal",
)


@dataclass(slots=True)
class Opened:
    """First entry of an attempt: its identity (the fields of ``core.attempt.Attempt``), so that the log is complete.

    An attempt that waits in this app's queue is opened twice: as it joins, and again as it is sent. Between the two
    there are only ``Phase(QUEUED)`` entries; their stamps count from the joining, those after from the sending.
    """

    identity: Mapping[str, Any]


@dataclass(slots=True)
class End:
    """The attempt's end; only ``Promoted`` may follow. ``status`` is a terminal status of ``core.attempt.STATUSES``.

    ``retry_in_s``: seconds until the lane's next attempt is sent; None if there is none.
    ``reason``: the cause where the status alone is ambiguous (``user``, ``shutdown``, a limit's name).
    """

    status: str
    reason: str = ""
    retry_in_s: float | None = None


@dataclass(slots=True)
class Promoted:
    """The user accepted the reasoning as the answer of an attempt that had ended without one.

    It follows ``End`` and has the same stamp, so no measured value changes.
    """


Event = (
    Reasoning
    | Answer
    | Carried
    | Relabel
    | Usage
    | Phase
    | Meta
    | Flag
    | Bounds
    | Tally
    | Finish
    | Failure
    | Opened
    | End
    | Promoted
)


class Entry(NamedTuple):
    """One stamped event of a turn log.

    ``t_ns`` counts from the moment the attempt was sent. An entry without an attempt (``attempt_id`` is empty: the
    lane is still preparing) counts from the start of the turn. ``lane`` is the lane's id.
    """

    lane: str
    attempt_id: str
    t_ns: int
    event: Event


class TextRun(NamedTuple):
    """Text events of one kind in a row, of one attempt: their stamps, and their texts, none of them empty."""

    lane: str
    attempt_id: str
    kind: type[Reasoning] | type[Answer]
    stamps: list[int]
    texts: list[str]

    @property
    def text(self) -> str:
        return "".join(self.texts)


def in_runs(entries: Iterable[Entry]) -> Iterator[Entry | TextRun]:
    """The entries with their text events in runs, to read a long log fast.

    The order stays, except that text events of different attempts change places with one another.
    """
    open_runs: dict[str, TextRun] = {}
    for entry in entries:
        lane, attempt_id, t_ns, event = entry
        kind = type(event)
        if kind is Reasoning or kind is Answer:
            run = open_runs.get(attempt_id)
            if run is None or run.kind is not kind:
                if run is not None:
                    yield run
                run = open_runs[attempt_id] = TextRun(lane, attempt_id, kind, [], [])
            if text := event.text:  # type: ignore[union-attr]
                run.stamps.append(t_ns)
                run.texts.append(text)
        else:
            yield from open_runs.values()
            open_runs.clear()
            yield entry
    yield from open_runs.values()


_CODES: dict[str, type] = {
    "r": Reasoning,
    "a": Answer,
    "c": Carried,
    "l": Relabel,
    "u": Usage,
    "p": Phase,
    "m": Meta,
    "g": Flag,
    "b": Bounds,
    "h": Tally,
    "f": Finish,
    "x": Failure,
    "o": Opened,
    "e": End,
    "t": Promoted,
}
_CODE_OF = {cls: code for code, cls in _CODES.items()}


def encode(t_ns: int, event: Event) -> list[Any]:
    """An event as a JSON-ready list ``[t_ns, code, fields…]``; text deltas stay three items long.

    Fields are positional, in the order of the class; trailing defaults are kept. The log's schema versions this form.
    """
    code = _CODE_OF[type(event)]
    if code == "r" or code == "a":
        return [t_ns, code, event.text]  # type: ignore[union-attr]
    return [t_ns, code, *(getattr(event, name) for name in type(event).__dataclass_fields__)]


def decode(item: list[Any]) -> tuple[int, Event]:
    """The inverse of ``encode``. Raises ``KeyError`` for a code this version does not know."""
    t_ns, code, *fields = item
    return t_ns, _CODES[code](*fields)


Reporter = Callable[[Phase], None]
"""How a provider reports phases while it prepares, before an attempt exists."""
