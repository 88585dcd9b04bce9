"""TurnLog: one prompt sent to some lanes, as the append-only log of what happened. This is the project's one idea.

Only the engine appends; any thread may read: a reader keeps an index and takes ``entries[index:]`` (appending to
a list is atomic in CPython, and entries never change). A stored turn is read into the same class, so replay and
history need no second path. Pure: the clock's value is passed in as ``t0_ns``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .attempt import Attempt, AttemptFold
from .events import End, Entry, Opened, Promoted, Tally, in_runs
from .heavy.options import PROMPT_NAME
from .images import Image
from .lane import LaneChoice, LaneSpec
from .vote import Vote


@dataclass(frozen=True)
class LaneInfo:
    """A lane as it was when the turn was sent: what the page and the history show in its header.

    ``chosen_model`` is the model that the user chose instead of the lane's own, or empty; ``model`` is the requested
    one. ``send_reasoning``: whether the lane's earlier reasoning was sent back to the model. ``width``: of a heavy lane
    in this turn, and ``heavy`` the options that the user chose for it (a prompt only by its name, never a path).
    """

    id: str
    label: str
    provider: str
    model: str
    stand_in_for: str = ""
    how_to_get_real: str = ""
    of: str = ""
    width: int = 0
    chosen_model: str = ""
    send_reasoning: bool = False
    heavy: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_spec(cls, spec: LaneSpec, specs: Mapping[str, LaneSpec], choice: LaneChoice | None = None) -> LaneInfo:
        """The header of a configured lane; ``specs``: all lanes by id, since a lane may be made of another."""
        inner = specs.get(spec.of, spec)
        choice = choice or LaneChoice()
        model = inner.with_model(choice.model).model
        return cls(
            id=spec.id,
            label=spec.label,
            provider=spec.provider,
            model=model,
            stand_in_for=spec.stand_in_for or inner.stand_in_for,
            how_to_get_real=spec.how_to_get_real or inner.how_to_get_real,
            of=spec.of,
            width=choice.heavy.get("width", spec.width) if spec.of else 0,
            chosen_model=model if model != spec.model else "",
            send_reasoning=spec.send_reasoning if choice.send_reasoning is None else choice.send_reasoning,
            heavy={
                name: value
                for name, value in choice.heavy.items()
                if spec.of and (name != "prompt" or PROMPT_NAME.fullmatch(value))
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields. Their values are this lane's own: not to be changed."""
        return dict(vars(self))


class Exchange(NamedTuple):
    """One earlier turn of a conversation as a lane knows it: its number, the prompt, and what the lane answered.

    ``images`` were attached to the prompt; those from the log are without their bytes.
    """

    seq: int
    prompt: str
    answer: str
    reasoning: str
    images: tuple[Image, ...] = ()


class Stretch(NamedTuple):
    """The part of a lane's history from one turn number to before another one that is ``lane``'s."""

    lane: str
    start: float
    end: float


def stretches(lane: str, before_seq: float, bases: Mapping[int, str], basis: str = "") -> list[Stretch]:
    """Whose exchanges a lane's history consists of, newest first. ``bases``: each turn's basis, if it has one
    (``TurnLog.basis``); ``basis``: that of turn ``before_seq``, which the history is for."""
    found, end = [], before_seq
    lane = basis or lane
    for seq in sorted((seq for seq in bases if seq < before_seq), reverse=True):
        found.append(Stretch(lane, seq, end))
        lane, end = bases[seq], seq
    return [*found, Stretch(lane, 0, end)]


@dataclass(slots=True)
class TurnLog:
    """One turn. ``t0_ns`` is ``perf_counter_ns`` at the user's click (0 for a turn read from the log).

    ``closed`` is set after the last entry: a reader that has read all ``entries`` is done. A turn is open again while
    one of its lanes is retried. ``forked_from``/``forked_at``: this turn starts a conversation that shares the turns
    before number ``forked_at`` with that other conversation. ``slots``: a blind turn's lanes in display order (see
    ``core.blind``), empty for an open turn. ``vote``: the user's last verdict. ``basis``: the lane whose history of the
    turns before this one every lane was sent; empty: each its own. ``images`` were attached to the prompt; a turn that
    was read from the log without its entries has them without their bytes.
    """

    turn_id: str
    conversation_id: str
    seq: int
    prompt: str
    lanes: tuple[LaneInfo, ...]
    owner: str = ""
    system: str = ""
    kind: str = "chat"  # chat | bench
    started_at_utc: str = ""
    t0_ns: int = 0
    forked_from: str = ""
    forked_at: int = 0
    entries: list[Entry] = field(default_factory=list)
    closed: bool = False
    slots: tuple[str, ...] = ()
    basis: str = ""
    vote: Vote | None = None
    images: tuple[Image, ...] = ()
    _folded: tuple[int, TurnFold] | None = field(default=None, init=False, repr=False, compare=False)
    _waiting: list[Callable[[], object]] = field(default_factory=list, init=False, repr=False, compare=False)

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        if self._waiting:
            self._wake()

    def close(self) -> None:
        """Mark the turn as closed: no entry follows."""
        self.closed = True
        self._wake()

    def when_more(self, than: int, call: Callable[[], object]) -> None:
        """Call ``call`` as soon as there are more than ``than`` entries or the turn is closed; at once if so already.

        It is called by the thread that appends, or by this one, at least once and perhaps twice, and must return at
        once. A second request for the same ``call`` replaces the first.
        """
        if call not in self._waiting:
            self._waiting.append(call)
        if len(self.entries) > than or self.closed:  # looked at last: whoever appends looks at the list after appending
            call()  # not _wake: another thread may just have taken the list without it

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def fold(self) -> TurnFold:
        """What the entries add up to so far. Any thread may call this; the result is for reading only.

        The fold is cached: a further call applies only the entries that have come since (0.05 ms for ten of them after
        30,000, where a fold from the start takes 9 ms). It applies them to a copy, so a fold that was handed out
        never changes, and readers need no lock.
        """
        n_folded, fold = self._folded or (0, TurnFold.of(self))
        if new := self.entries[n_folded:]:
            fold = fold.copy().apply_all(new)
            self._folded = (n_folded + len(new), fold)
        return fold

    def running_lanes(self) -> set[str]:
        """Lanes without a final answer: preparing, streaming, or waiting for a retry.

        This looks only at the starts and ends of attempts, so it is fast for long turns too.
        """
        running = set() if self.closed else {info.id for info in self.lanes}
        top_level: set[str] = set()
        for entry in list(self.entries) if running else ():
            match entry.event:
                case Opened(identity) if not identity.get("parent_id"):
                    top_level.add(entry.attempt_id)
                    running.add(entry.lane)
                case End(retry_in_s=None) if entry.attempt_id in top_level:
                    running.discard(entry.lane)
                case _ if not entry.attempt_id:
                    running.add(entry.lane)
        return running


class Pick(NamedTuple):
    """Which attempts of a turn a page shows, each with its children: number ``number`` (from 1) of ``lane``, or of
    every lane the newest. One that aggregated the answers of an earlier attempt again brings that one."""

    lane: str = ""
    number: int = 0

    def of(self, tries: Mapping[str, Sequence[str]]) -> set[str]:
        """The picked ones of the lanes' top-level attempts, which are in order."""
        if not self.lane:
            return {attempts[-1] for attempts in tries.values() if attempts}
        return set(tries.get(self.lane, ())[max(0, self.number - 1) : self.number])


NEWEST = Pick()


def picked(entries: Iterable[Entry], pick: Pick) -> frozenset[str]:
    """The ids of the picked attempts and their children, among the attempts of these entries.

    Heavy names the answers that it aggregates again in its first tally; before that, the attempts before it are picked
    too.
    """
    tries: dict[str, list[str]] = {}
    parents: dict[str, str] = {}
    sources: dict[str, str] = {}  # empty: its own answers
    for entry in entries:
        event = entry.event
        if isinstance(event, Opened) and entry.attempt_id not in parents:
            parents[entry.attempt_id] = parent = event.identity.get("parent_id") or entry.attempt_id
            if parent == entry.attempt_id:
                tries.setdefault(entry.lane, []).append(parent)
                if event.identity.get("role") != "heavy":
                    sources[parent] = ""
        elif isinstance(event, Tally):
            sources[entry.attempt_id] = event.answers_of
    heads = pick.of(tries)
    for attempts in tries.values():
        for place, head in enumerate(attempts):
            if head in heads:
                heads = heads | ({sources[head]} if head in sources else set(attempts[:place]))
    return frozenset(attempt_id for attempt_id, parent in parents.items() if parent in heads)


class AttemptHead(NamedTuple):
    """An attempt of a turn without its texts. ``answers_of``: the attempt whose answers this heavy one aggregated
    again; empty: its own."""

    attempt_id: str
    lane: str
    parent_id: str | None
    k_index: int | None
    answers_of: str = ""


@dataclass
class LaneState:
    """A lane within a turn: its top-level attempts in order (retries are later ones), each with its children."""

    info: LaneInfo
    attempts: list[str] = field(default_factory=list)
    preparing: Entry | None = None  # the newest entry without an attempt


@dataclass
class TurnFold:
    """The state that a turn log adds up to: attempts by id, lanes by id. ``apply`` takes entries in order."""

    lanes: dict[str, LaneState]
    attempts: dict[str, Attempt] = field(default_factory=dict)
    folds: dict[str, AttemptFold] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, turn: TurnLog) -> TurnFold:
        """An empty fold for this turn's lanes; feed it ``turn.entries``."""
        return cls(lanes={info.id: LaneState(info) for info in turn.lanes})

    def copy(self) -> TurnFold:
        """A fold of its own: entries applied to it leave this one as it is."""
        return TurnFold(
            lanes={lane: replace(state, attempts=[*state.attempts]) for lane, state in self.lanes.items()},
            attempts=dict(self.attempts),
            folds={attempt_id: fold.copy() for attempt_id, fold in self.folds.items()},
            children={parent_id: [*children] for parent_id, children in self.children.items()},
        )

    def apply(self, entry: Entry) -> None:
        lane = self.lanes[entry.lane]
        if not entry.attempt_id:
            lane.preparing = entry
            return
        if isinstance(entry.event, Opened):
            attempt = Attempt(**entry.event.identity)
            was_queued = attempt.attempt_id in self.attempts
            self.attempts[attempt.attempt_id] = attempt
            self.folds[attempt.attempt_id] = AttemptFold()
            if was_queued:
                return
            if attempt.parent_id:
                self.children.setdefault(attempt.parent_id, []).append(attempt.attempt_id)
            else:
                lane.attempts.append(attempt.attempt_id)
                lane.preparing = None
            return
        self.folds[entry.attempt_id].apply(entry.t_ns, entry.event)

    def apply_all(self, entries: Iterable[Entry]) -> TurnFold:
        for one in in_runs(entries):
            if isinstance(one, Entry):
                self.apply(one)
            elif one.attempt_id:
                self.folds[one.attempt_id].extend(one)
        return self

    def heads(self) -> list[AttemptHead]:
        """All attempts, in the order in which they were sent."""
        tallies = {id: fold.tally for id, fold in self.folds.items()}
        return [
            AttemptHead(id, one.lane, one.parent_id, one.k_index, tally.answers_of if (tally := tallies[id]) else "")
            for id, one in self.attempts.items()
        ]

    def current(self, lane: str) -> str | None:
        """The id of the lane's newest top-level attempt; None before its first."""
        attempts = self.lanes[lane].attempts
        return attempts[-1] if attempts else None

    def newest(self, lane: str) -> AttemptFold | None:
        """The fold of that attempt; None before the lane's first attempt, or if the turn has no such lane."""
        return self.folds.get(self.current(lane) or "") if lane in self.lanes else None

    def lane_ended(self, lane: str) -> bool:
        """True when the lane's newest attempt has ended and no retry is announced."""
        attempt_id = self.current(lane)
        end = self.folds[attempt_id].end if attempt_id else None
        return isinstance(end, End) and end.retry_in_s is None


def promotion(turn: TurnLog, lane: str) -> Entry | None:
    """The entry that makes the reasoning of the lane's newest attempt its answer; None where that is not possible."""
    fold = turn.fold()
    one = fold.newest(lane)
    if one is None or not one.can_promote or one.end_ns is None:
        return None
    return Entry(lane, fold.current(lane) or "", one.end_ns, Promoted())
