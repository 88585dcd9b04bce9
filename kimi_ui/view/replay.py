"""The replay of a turn: its frames with their times, as one JSON document.

    {"turn": {...}, "duration_ms": 8123.4,           the turn as in ``frames.describe_turn``; times are play time
     "frames": [{"t_ms": 12.0, "frame": {...}}, …],  frames as for the live page, one per ``core.replay.Moment``
     "wholes": [{"t_ms", "after", "frame"}, …],      snapshots: the first ``after`` frames in one, to jump to
     "marks":  [{"t_ms", "lane", "kind"}, …],        first_token | first_answer | end of each lane's attempts
     "answers": {"<lane>": "…"}}                     each lane's answer as the model wrote it

``TurnView`` makes the frames as it does for the live view, so a replay shows what the live view showed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from ..core.replay import MOMENT_NS, Moment, moments
from ..core.turn import TurnFold, TurnLog
from .frames import TurnView, describe_turn

MAX_TEXT_MOMENTS = 1500  # longer turns get fewer moments with more text
N_WHOLES = 8
FRAMES_PER_WHOLE = 60  # minimum; replaying fewer frames is as fast as loading a snapshot

_ANSWER = ("blocks", "tail", "append", "whole", "text", "answer")


def replay_document(turn: TurnLog, *, reasoning: bool = True) -> dict[str, Any]:
    """The document of a turn that has ended. ``reasoning`` False omits all reasoning text but keeps its times."""
    last = moments(turn)[-1:]
    every_ns = max(MOMENT_NS, last[0].play_ns // MAX_TEXT_MOMENTS) if last else MOMENT_NS
    times = [Moment(0, 0, 0), *moments(turn, every_ns)]  # the empty turn at the user's click
    fold = turn.fold()
    newest = {info.id: fold.current(info.id) for info in turn.lanes}
    document = {
        "turn": describe_turn(turn),
        "duration_ms": times[-1].play_ns / 1e6,
        "frames": _frames(turn, times),
        "wholes": [_whole(turn, times, after) for after in _places(len(times))],
        "marks": list(_marks(fold, times)),
        "answers": {lane: fold.folds[attempt_id].answer for lane, attempt_id in newest.items() if attempt_id},
    }
    if not reasoning:
        _leave_out_reasoning(document)
    return document


def _frames(turn: TurnLog, times: Sequence[Moment]) -> list[dict[str, Any]]:
    view = TurnView(turn)
    frames = []
    for moment in times:
        view.apply(turn.entries[view.consumed : moment.until])
        # A moment without changes for the page still gets a frame, so that frames and moments have equal indexes.
        frame = view.frame(moment.turn_ns) or {"now_ms": moment.turn_ns / 1e6, "lanes": {}}
        frames.append({"t_ms": moment.play_ns / 1e6, "frame": deepcopy(frame)})  # the view keeps using its parts
    return frames


def _places(n_frames: int) -> list[int]:
    """The evenly spaced frame counts after which there is a snapshot."""
    step = max(FRAMES_PER_WHOLE, -(-n_frames // (N_WHOLES + 1)))
    return list(range(step, n_frames, step))


def _whole(turn: TurnLog, times: Sequence[Moment], after: int) -> dict[str, Any]:
    moment = times[after - 1]
    view = TurnView(turn)
    view.apply(turn.entries[: moment.until])
    return {"t_ms": moment.play_ns / 1e6, "after": after, "frame": view.frame(moment.turn_ns)}


def _marks(fold: TurnFold, times: Sequence[Moment]) -> Iterator[dict[str, Any]]:
    """Yield the first token, first answer token and end of each lane's attempts."""
    turn_ns = [moment.turn_ns for moment in times]
    for lane, state in fold.lanes.items():
        for attempt_id in state.attempts:
            one, sent_ns = fold.folds[attempt_id], fold.attempts[attempt_id].sent_ns
            stamps = {"first_token": one.first_token_ns, "first_answer": one.first_answer_ns, "end": one.end_ns}
            for kind, at_ns in stamps.items():
                place = bisect_left(turn_ns, sent_ns + at_ns) if at_ns is not None else len(times)
                if place < len(times):
                    yield {"t_ms": times[place].play_ns / 1e6, "lane": lane, "kind": kind}


def _leave_out_reasoning(document: dict[str, Any]) -> None:
    """Remove the reasoning text from all frames, including answer text that was relabelled as reasoning later."""
    in_order = [(item["t_ms"], place, 0, item["frame"]) for place, item in enumerate(document["frames"], start=1)]
    in_order += [(item["t_ms"], item["after"], 1, item["frame"]) for item in document["wholes"]]
    called_reasoning: set[tuple[str, str]] = set()  # lanes and trajectories whose answer a later frame clears
    for _, _, is_whole, frame in sorted(in_order, key=lambda item: item[1:3], reverse=True):
        for lane, part in frame["lanes"].items():
            for k, one in {"": part, **part.get("trajectories", {})}.items():
                _strip(one, drop_answer=(lane, k) in called_reasoning)
                if is_whole:
                    continue
                if one.get("clear_answer"):
                    called_reasoning.add((lane, k))
                if "attempt" in one:
                    called_reasoning -= {(lane, k)} if k else {place for place in called_reasoning if place[0] == lane}


def _strip(part: dict[str, Any], *, drop_answer: bool) -> None:
    part.pop("reasoning", None)
    for name in _ANSWER if drop_answer else ():
        part.pop(name, None)
    for step in part.get("steps", ()):
        if step.get("kind") == "topic" and step.get("where") == "reasoning":
            step["label"] = "…"
            step.pop("html", None)
