"""Handmade turns on a virtual clock, for tests of readers of turn logs. Times are ms since the attempt was sent."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from typing import Any

from kimi_ui.core.attempt import Attempt
from kimi_ui.core.events import Answer, End, Entry, Event, Finish, Opened, Reasoning
from kimi_ui.core.turn import LaneInfo, TurnLog

MS = 1_000_000
Timed = tuple[float, Event]  # (ms since sent, event)


_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """A unique id, also across processes; later ones sort after earlier ones."""
    return f"{prefix}-{next(_numbers):06}-{uuid.uuid4().hex[:8]}"


def attempt(lane: str = "a", *, sent_ms: float = 0, **fields: Any) -> Attempt:
    """An attempt with a unique id; ``turn`` fills in its turn."""
    known: dict[str, Any] = {"label": lane.upper(), "provider": "openai", "request_model": f"model-{lane}"}
    known |= {"started_at_utc": "2026-11-21T12:00:00.000+00:00", "sent_ns": round(sent_ms * MS)}
    return Attempt(attempt_id=unique("attempt"), turn_id="", lane=lane, **(known | fields))


def tokens(
    n: int, *, start_ms: float, gap_ms: float, kind: type[Reasoning] | type[Answer] = Answer, word: str = " word"
) -> list[Timed]:
    """``n`` one-token text events at an even pace."""
    return [(start_ms + i * gap_ms, kind(word)) for i in range(n)]


def ended(events: Sequence[Timed], status: str = "ok", *, after_ms: float = 1, reason: str = "") -> list[Timed]:
    """``events`` with their end: a finish if the status needs one, then ``End``."""
    at_ms = (events[-1][0] if events else 0) + after_ms
    finish = {"ok": "stop", "no_answer": "stop", "length": "length"}.get(status)
    return [*events, *([(at_ms, Finish(finish))] if finish else []), (at_ms, End(status, reason))]


def turn(
    *attempts: tuple[Attempt, Sequence[Timed]], lanes: Sequence[LaneInfo] = (), closed: bool = True, **fields: Any
) -> TurnLog:
    """A turn of these attempts, its entries in time order."""
    turn_id = unique("turn")
    entries: list[tuple[float, int, Entry]] = []
    for number, (who, events) in enumerate(attempts):
        identity = who.as_dict() | {"turn_id": turn_id}
        entries.append((who.sent_ns, number, Entry(who.lane, who.attempt_id, 0, Opened(identity))))
        for at_ms, event in events:
            t_ns = round(at_ms * MS)
            entries.append((who.sent_ns + t_ns, number, Entry(who.lane, who.attempt_id, t_ns, event)))
    names = dict.fromkeys(who.lane for who, _ in attempts)
    log = TurnLog(
        turn_id=turn_id,
        conversation_id=fields.pop("conversation_id", "") or unique("conversation"),
        seq=fields.pop("seq", 0),
        prompt=fields.pop("prompt", "How many?"),
        lanes=tuple(lanes) or tuple(LaneInfo(name, name.upper(), "openai", f"model-{name}") for name in names),
        started_at_utc=fields.pop("started_at_utc", "2026-11-21T12:00:00.000+00:00"),
        **fields,
    )
    log.entries = [entry for _, _, entry in sorted(entries, key=lambda item: item[:2])]
    log.closed = closed
    return log
