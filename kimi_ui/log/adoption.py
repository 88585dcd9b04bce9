"""The rows that a dead process has not written of a turn whose entries another process has."""

from __future__ import annotations

from ..core.attempt import Attempt, AttemptFold
from ..core.events import Event, Opened
from ..core.turn import TurnLog
from .reader import LogReader
from .records import Op, attempt_op, events_op, final_ops, sent_op, turn_ops, whole_events

_Key = tuple[str, str | None]
_Stamped = tuple[int, Event]


def missing_ops(reader: LogReader, turn: TurnLog, boot_id: str) -> list[Op]:
    """What to write so that the log has all of the turn's entries, and all its attempts ended.

    Each attempt's events in the log are the first ones of those in the turn, or the other way round: the dead process
    wrote both in order. An attempt without an ``End`` is ``interrupted``. Reads the log.
    """
    stored = _stored(reader, turn.turn_id)
    known: dict[_Key, list[tuple[int, _Stamped]]] = {}  # each event with its index in the turn
    opened: dict[str, Attempt] = {}
    for index, (lane, attempt_id, t_ns, event) in enumerate(list(turn.entries)):
        if isinstance(event, Opened):
            opened[attempt_id] = Attempt(**event.identity)
        else:
            known.setdefault((lane, attempt_id or None), []).append((index, (t_ns, event)))
    ops = turn_ops(turn)
    for attempt in opened.values():
        ops += [attempt_op(attempt, boot_id), sent_op(attempt)]
    for key, events in known.items():
        if missing := events[len(stored.get(key, ())) :]:
            ops.append(events_op(turn.turn_id, *key, missing[0][0], [event for _, event in missing]))
    for key in {**_unfinished(reader, turn.turn_id), **dict.fromkeys(known)}:
        if id := key[1]:
            mirrored = [event for _, event in known.get(key, ())]
            longer = max(stored.get(key, []), mirrored, key=len)  # of two as long, the mirror's may end in our own End
            ops += _finals(id, longer, opened[id].tokenizer if id in opened else "")
    return ops


def _finals(attempt_id: str, events: list[_Stamped], tokenizer: str) -> list[Op]:
    fold = AttemptFold()
    for t_ns, event in events:
        fold.apply(t_ns, event)
    return final_ops(attempt_id, fold, tokenizer, None if fold.end else "interrupted")


def _stored(reader: LogReader, turn_id: str) -> dict[_Key, list[_Stamped]]:
    query = "SELECT lane, attempt_id, payload FROM events WHERE turn_id = :turn_id ORDER BY seq"
    events: dict[_Key, list[_Stamped]] = {}
    for lane, attempt_id, payload in reader.rows(query, turn_id=turn_id):
        events.setdefault((lane, attempt_id), []).extend(whole_events(payload))
    return events


def _unfinished(reader: LogReader, turn_id: str) -> dict[_Key, None]:
    query = """
        SELECT lane, attempt_id FROM attempts WHERE turn_id = :turn_id AND status IN ('open', 'interrupted')
        ORDER BY attempt_no, attempt_id
    """
    return dict.fromkeys(reader.rows(query, turn_id=turn_id))
