"""Frames: the changes of a turn that a page has not seen yet, as JSON.

``TurnView`` folds a ``TurnLog``'s entries; each call of ``frame`` returns a dict with the changes since the last call.
The live view, a refresh, a second tab and a stored turn all use it. The state after n entries depends only on these n
entries; ``consumed`` (the SSE id) is n.

The protocol (all times in ms; ``*_ms`` inside a lane count from the moment its attempt was sent; an absent key means
"unchanged"):

    {"turn": {...},            only in the first frame of a view (the snapshot): see ``describe_turn``
     "now_ms": 1234.5,         when the frame was made, since the turn's start; null for a stored turn
     "lanes": {"<lane id>": {
        "attempt":   {...}           a new attempt began: clear the lane's earlier one (label, model, provider, host,
                                     stand_in_for, attempt_no, sent_ms from the turn's start, queue_ms before that,
                                     continues: it goes on with the cut answer of an earlier attempt, with which its
                                     answer begins, up to the character ``attempt_view.MARK`` where it can stand)
        "sent":      {sent_ms, queue_ms}     the attempt left this app's queue: from now on its times count from there
        "context":   {tokens, trained}       the context in use and the one the model was trained for, as far as known
        "preparing": {label, done, total}    before the request: weights being fetched (bytes)
        "phase":     "thinking"      ``core.attempt.live_phase``: queued | connecting | waiting | thinking | … | done
        "stamps":    {first_token_ms, first_reasoning_ms, first_answer_ms, last_token_ms, end_ms}, as far as known
        "reasoning": "…"             plain text to append
        "later":     {chars}         instead of it, of an ended attempt: its length in UTF-16 units; the page requests
                                     it when the reader opens it
        "clear_answer": true         drop the answer shown so far (it was reasoning, or is sent again)
        "blocks": ["<p>…</p>"], "tail": "<p>…", "append": "…", "whole": "<p>…"     see core.markdown.Frame
        "more":      true            the rest of this ended answer follows in the next frames; false: that was all
        "promoted":  true            the user made the reasoning the answer: no failure any more
        "race":      {points: [t_ms, chars, …] to append, connect_ms, server_queue_ms, load_ms, load_or_wait_ms,
                                     prompt_ms, aggregating_ms}   core.race
        "steps":     [{i, kind: system|topic, label, html, level, t_ms, until_ms, at, where: reasoning|answer,
                     done, total}]   new or changed steps by index ``i``, see core.steps; {i, dropped} removes one;
                                     ``at`` is a position in the text as shown, in UTF-16 units; ``html`` is a label
                                     with its formulas drawn, if it has any; ``level``: of a topic, 0 to 2
        "metrics":   {...}           columns of attempt_metrics so far, price_as_of; bounds: {column: {words, rough}}
        "notes":     ["…"]           all sentences about this attempt that are not failures
        "failure":   {kind, message, remedy, command, detail, http_status, can_promote: true if it can be promoted,
                      again: parameters to offer to ask again with}
        "can_continue": true         the answer was cut, and the lane can be asked to go on with it
        "retry":     {at_ms from the turn's start, attempt_no, failure}
        "trajectories": {"<k>": {attempt, sent, phase, stamps, race, reasoning, clear_answer, text, answer, tokens,
                                 letters, failure, later: {chars, recent, answered} instead of all its texts;
                                 ``recent``: their end}}
        "heavy":     {labels, cells, says, lines, strategies, aggregating, parts_say}    the board again, see
                     view.heavy_board; {parts_at, parts}    parts of the answer from that place on, where new
     }}}

``text`` is a trajectory's answer as plain text to append; ``answer`` its HTML once it has ended; ``letters`` are all
changes of its provisional answer so far, ``[t_ms, letter]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import orjson

from ..core.attachments import split
from ..core.attempt import Attempt, AttemptFold
from ..core.blind import is_blind, slot_names
from ..core.bounds import shown_bounds
from ..core.events import (
    AGGREGATING,
    PREPARING,
    Answer,
    End,
    Entry,
    Event,
    Opened,
    Phase,
    Relabel,
    Tally,
    TextRun,
    in_runs,
)
from ..core.metrics import Metrics, measure
from ..core.turn import NEWEST, LaneInfo, TurnFold, TurnLog, picked
from .attempt_view import WHOLE, AttemptView, Brevity
from .failure_words import NEVER_SENT
from .heavy_board import HeavyBoard

METRICS_EVERY_NS = 200_000_000
PAGE_METRICS = (
    *(
        "ttft_ms",
        "ttfo_ms",
        "thinking_ms",
        "e2e_ms",
        "queue_ms",
        "server_queue_ms",
        "cold_load_ms",
        "load_or_wait_ms",
        "ttft_warm_ms",
    ),
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "answer_tokens", "token_source"),
    *("reasoning_source", "token_discrepancy", "decode_tps", "aggregate_tps", "e2e_tps", "effective_tps"),
    *("cost_usd", "cost_source", "burst", "cold_start", "suspect", "suspect_reason"),
)


def dumps(value: Any) -> bytes:
    """JSON. Lone surrogates, which a prompt may contain and UTF-8 cannot encode, are escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def describe_lane(info: LaneInfo) -> dict[str, Any]:
    return info.as_dict()


def describe_turn(turn: TurnLog) -> dict[str, Any]:
    """A turn without its entries: what a page needs to draw the empty lanes. Attachments have name and length only,
    images their facts (and ``src`` in an export: their bytes).

    ``slots`` maps the slots of a formerly blind turn to lanes. Pass ``BlindView.shown`` for a turn that is still blind.
    """
    prompt = split(turn.prompt)
    return {
        "turn_id": turn.turn_id,
        "conversation_id": turn.conversation_id,
        "seq": turn.seq,
        "prompt": prompt.text,
        "attachments": [{"name": one.name, "chars": len(one.text)} for one in prompt.attachments],
        "images": [one.described() for one in turn.images],
        "started_at_utc": turn.started_at_utc,
        "closed": turn.closed,
        "basis": turn.basis,
        "lanes": [describe_lane(info) for info in turn.lanes],
        "blind": is_blind(turn),
        "slots": {} if is_blind(turn) else slot_names(turn),
        "vote": None if turn.vote is None else asdict(turn.vote),
    }


class TurnView:
    """One reader's position in a turn. ``apply`` entries in order, then take a ``frame``.

    ``later``: the page can request texts. Long ones of attempts that have ended before the first frame are left out of
    it. ``slices``: the page takes several frames. Long answers of such attempts are spread over them.
    """

    def __init__(self, turn: TurnLog, *, later: bool = False, slices: bool = False) -> None:
        self.turn = turn
        self.consumed = 0
        self._fold = TurnFold.of(turn)
        prompt = split(turn.prompt).text
        self._lanes = {info.id: LaneView(self._fold, prompt, Brevity(later, slices)) for info in turn.lanes}
        self._is_first = True

    def apply(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._fold.apply(entry)
            self._lanes[entry.lane].apply(entry)
            self.consumed += 1

    def catch_up(self, until: int | None = None) -> None:
        """Apply the log's entries beyond ``consumed``, up to ``until`` of all.

        At first those of attempts that others have replaced are counted only: a page does not show them.
        """
        entries = self.turn.entries[self.consumed : until]
        is_first, self.consumed = not self.consumed, self.consumed + len(entries)
        if is_first:
            shown = picked(entries, NEWEST)
            entries = [
                entry
                for entry in entries
                if entry.attempt_id in shown or not entry.attempt_id or isinstance(entry.event, Opened)
            ]
        for one in in_runs(entries):
            if isinstance(one, TextRun):
                self._fold.folds[one.attempt_id].extend(one)
                self._lanes[one.lane].extend(one)
            else:
                self._fold.apply(one)
                self._lanes[one.lane].apply(one)

    @property
    def complete(self) -> bool:
        """Whether the frames so far hold all that was applied; otherwise the next one goes on."""
        return not any(lane.has_more for lane in self._lanes.values())

    @property
    def has_figures_left(self) -> bool:
        """Whether figures have changed that wait for their time (see ``frame``)."""
        return any(lane.metrics_stale for lane in self._lanes.values())

    @property
    def analysis_due(self) -> bool:
        """Whether the next ``frame`` compares answers, which takes CPU; ``analyse`` does it before, on a thread."""
        return any(lane.board is not None and lane.board.due for lane in self._lanes.values())

    def analyse(self) -> None:
        for lane in self._lanes.values():
            if lane.board is not None:
                lane.board.analyse()

    def resume(self, after: int) -> None:
        """Treat the first ``after`` entries as known to the page, which received them from another view."""
        if 0 < after <= len(self.turn.entries):
            for lane in self._lanes.values():
                lane.send_whole()
            self.catch_up(after)
            for lane in self._lanes.values():
                lane.take(None, METRICS_EVERY_NS)
                lane.resume()
            self._is_first = False

    def show_as(self, other: TurnView) -> None:
        """Make the next frame one that ``other``'s following frames go on from; both have applied the same entries.

        What depends on when frames were taken is shown as ``other`` has shown it.
        """
        for lane_id, lane in self._lanes.items():
            lane.show_as(other._lanes[lane_id])

    def frame(self, now_ns: int | None, metrics_every_ns: int = METRICS_EVERY_NS) -> dict[str, Any] | None:
        """The changes, or None. ``now_ns``: the engine's clock since the turn's start; None for a stored turn.

        A running attempt's figures are at least ``metrics_every_ns`` apart.
        """
        over = self.turn.closed and self.consumed >= len(self.turn.entries)
        parts = {
            lane_id: part
            for lane_id, lane in self._lanes.items()
            if (part := lane.take(now_ns, metrics_every_ns, over))
        }
        if not parts and not self._is_first:
            return None
        frame: dict[str, Any] = {"now_ms": None if now_ns is None else now_ns / 1e6, "lanes": parts}
        if self._is_first:
            frame["turn"] = describe_turn(self.turn)
            self._is_first = False
        return frame


class LaneView:
    """A lane within a turn: its newest top-level attempt, that attempt's children, and the preparation before it."""

    def __init__(self, fold: TurnFold, prompt: str, brevity: Brevity) -> None:
        self._fold = fold
        self._prompt = prompt
        self._brevity = brevity  # of the first frame
        self.board: HeavyBoard | None = None  # of a heavy attempt
        self._main: AttemptView | None = None
        self._children: dict[str, AttemptView] = {}  # by attempt id, aggregators too
        self._borrowed: dict[str, AttemptView] = {}  # trajectories of an earlier attempt, aggregated again
        self._by_k: dict[int, str] = {}  # trajectory number -> newest attempt id
        self._preparing: Phase | None = None
        self._known: dict[str, Any] = {}  # values the page has: preparing, metrics
        self._metrics_due_ns = 0
        self.metrics_stale = False  # what was measured last, if anything, is no longer true

    def send_whole(self) -> None:
        """Send long answers in one frame. To be called before entries are applied."""
        self._brevity = self._brevity._replace(slices=False)

    def apply(self, entry: Entry) -> None:
        if not entry.attempt_id:
            if isinstance(entry.event, Phase) and entry.event.name == PREPARING:
                self._preparing = entry.event
            return
        if isinstance(entry.event, Opened):
            self._open(self._fold.attempts[entry.attempt_id])
            return
        self.metrics_stale = True
        if self._main is not None and entry.attempt_id == self._main.attempt.attempt_id:
            self._main.apply(entry.t_ns, entry.event)
            if self.board is not None:
                self._tell_board(self.board, entry.event, self._main.fold)
            if isinstance(entry.event, End):
                self._metrics_due_ns = 0
        elif child := self._children.get(entry.attempt_id):
            child.apply(entry.t_ns, entry.event)
            if watched := self._watched(child):
                board, k = watched
                board.apply(k, entry.t_ns, entry.event)

    def extend(self, run: TextRun) -> None:
        """``apply`` of each entry of the run."""
        self.metrics_stale = True
        if self._main is not None and run.attempt_id == self._main.attempt.attempt_id:
            self._main.extend(run)
            if self.board is not None:
                self._tell_board(self.board, run.kind(run.text), self._main.fold)
        elif child := self._children.get(run.attempt_id):
            child.extend(run)
            if watched := self._watched(child):
                board, k = watched
                for t_ns, text in zip(run.stamps, run.texts, strict=True):
                    board.apply(k, t_ns, run.kind(text))

    def _watched(self, child: AttemptView) -> tuple[HeavyBoard, int] | None:
        """The board and the trajectory's number, if the board shows this child."""
        k = child.attempt.k_index
        if self.board is None or k is None or self._by_k.get(k) != child.attempt.attempt_id:
            return None
        return self.board, k

    def _tell_board(self, board: HeavyBoard, event: Event, fold: AttemptFold) -> None:
        match event:
            case Tally():
                self._count(board, event)
            case Phase(name) if name == AGGREGATING:
                board.aggregating(fold)
            case Answer() | Relabel():
                board.wrote(event)
            case End():
                board.ended(fold)

    def _count(self, board: HeavyBoard, tally: Tally) -> None:
        """Heavy's tally. A run that aggregates earlier answers again shows the trajectories that wrote them."""
        if tally.answers_of and not self._by_k:
            for child_id in self._fold.children.get(tally.answers_of, ()):
                child, fold = self._fold.attempts[child_id], self._fold.folds[child_id]
                if child.k_index is not None:
                    self._borrowed[child_id] = AttemptView.of_ended(child, fold, self._brevity)
                    self._by_k[child.k_index] = child_id
                    board.known(child.k_index, fold)
        board.counted(tally)

    def _open(self, attempt: Attempt) -> None:
        fold = self._fold.folds[attempt.attempt_id]
        queued = self._main if attempt.parent_id is None else self._children.get(attempt.attempt_id)
        if queued is not None and queued.attempt.attempt_id == attempt.attempt_id:
            queued.leave_queue(attempt, fold)
            if self.board is not None and attempt.k_index is not None:
                self.board.opened(attempt.k_index, fold)
        elif attempt.parent_id is None:
            self.metrics_stale |= self._main is not None
            self._main = AttemptView(attempt, fold, brevity=self._brevity)
            self._children, self._borrowed, self._by_k = {}, {}, {}
            self.board = HeavyBoard(self._prompt) if attempt.role == "heavy" else None
            self._preparing = None
            self._known = {}
        else:
            self._children[attempt.attempt_id] = AttemptView(attempt, fold, plain=True, brevity=self._brevity)
            if attempt.k_index is not None:
                self._by_k[attempt.k_index] = attempt.attempt_id
                if self.board is not None:
                    self.board.opened(attempt.k_index, fold)
        self._metrics_due_ns = 0

    @property
    def has_more(self) -> bool:
        return self._main is not None and self._main.has_more

    def resume(self) -> None:
        if self._main is not None:
            self._main.resume()

    def show_as(self, other: LaneView) -> None:
        if self._main is not None and other._main is not None:
            self._main.show_as(other._main)
        if self.board is not None and other.board is not None:
            self.board.show_as(other.board)

    def take(self, now_ns: int | None, metrics_every_ns: int, over: bool = False) -> dict[str, Any]:
        """The lane's changes; empty if none. See ``TurnView.frame``. ``over``: nothing more comes in this turn."""
        part = self._main.take() if self._main is not None else {}
        preparing = None if over else self._preparing_part()
        if preparing != self._known.get("preparing"):
            part["preparing"] = self._known["preparing"] = preparing
        if self._main is None and self._known.get("phase") != "interrupted":  # until it is sent, if others are retried
            phase = "interrupted" if over else "connecting"
            if self._known.get("phase") != phase:
                part["phase"] = self._known["phase"] = phase
            if over:
                part["failure"] = asdict(NEVER_SENT)
        metrics_due = self.metrics_stale and (now_ns is None or now_ns >= self._metrics_due_ns)
        if self._by_k and (trajectories := self._trajectory_parts(metrics_due)):
            part["trajectories"] = trajectories
        if self.board is not None and (board := self.board.take()):
            part["heavy"] = board
        if metrics_due:
            self._metrics_due_ns = (now_ns or 0) + metrics_every_ns
            part |= self._metrics_part()
        self._brevity = WHOLE
        return part

    def _trajectory_parts(self, with_tokens: bool) -> dict[str, dict[str, Any]]:
        parts = {}
        for k, attempt_id in sorted(self._by_k.items()):
            view = self._children.get(attempt_id) or self._borrowed[attempt_id]
            part = view.take()
            if attempt_id in self._borrowed:
                part.pop("race", None)  # they are not in this attempt's race
            if with_tokens and (tokens := view.take_tokens()) is not None:
                part["tokens"] = tokens
            if self.board is not None and (letters := self.board.letters(k)) is not None:
                part["letters"] = letters
            if part:
                parts[str(k)] = part
        return parts

    def _preparing_part(self) -> dict[str, Any] | None:
        if (phase := self._preparing) is None:
            return None
        return {"label": phase.detail or "Getting ready", "done": phase.done, "total": phase.total}

    def _metrics_part(self) -> dict[str, Any]:
        self.metrics_stale = False
        if self._main is None:
            return {}
        numbers = vars(self._measured())
        metrics = {name: numbers[name] for name in PAGE_METRICS}
        metrics["bounds"] = shown_bounds(numbers)
        metrics["price_as_of"] = self._main.attempt.price[3] if self._main.attempt.price else None
        if metrics == self._known.get("metrics"):
            return {}
        self._known["metrics"] = metrics
        return {"metrics": metrics}

    def _measured(self) -> Metrics:
        main = self._main
        assert main is not None
        if main.attempt.role != "heavy":
            return measure(main.attempt, main.fold, main.count.local)
        children = [
            (child.attempt, measure(child.attempt, child.fold, child.count.local)) for child in self._children.values()
        ]
        return measure(main.attempt, main.fold, main.count.local, children)
