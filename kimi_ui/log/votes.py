"""Votes in the log: one row per verdict; a turn's last one counts. Also the slots of blind turns.

All verdicts are kept, because a verdict changed after the names were revealed differs from the blind one before it.
Votes are deleted with their turn. The views ``vote_outcomes`` and ``pair_outcomes`` derive results from them, and
``lane_votes`` and ``vote_pairs`` count these.
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from ..core.vote import Vote
from .records import Op
from .store import Rows


def vote_op(turn_id: str, vote: Vote) -> Op:
    row: dict[str, Any] = {
        "vote_id": uuid.uuid4().hex,
        "turn_id": turn_id,
        "choice": vote.choice,
        "lane": vote.lane or None,
        "field": orjson.dumps(vote.field).decode(),
        "blind": int(vote.blind),
        "speed_visible": int(vote.speed_visible),
        "voted_at_utc": vote.voted_at_utc,
    }
    return Op("votes", row)


def last_vote(log: Rows, turn_id: str) -> Vote | None:
    """The turn's last verdict; None if there is none."""
    query = "SELECT * FROM votes WHERE turn_id = :turn_id ORDER BY number DESC LIMIT 1"
    row = next(log.records(query, turn_id=turn_id), None)
    if row is None:
        return None
    return Vote(
        choice=row["choice"],
        lane=row["lane"] or "",
        field=tuple(orjson.loads(row["field"])),
        blind=bool(row["blind"]),
        speed_visible=bool(row["speed_visible"]),
        voted_at_utc=row["voted_at_utc"],
    )


def to_vote_on(log: Rows, owner: str) -> list[tuple[str, str]]:
    """The owner's blind turns without a vote: conversation and turn, oldest first."""
    query = """
        SELECT conversation_id, turn_id FROM turns t
        WHERE owner = :owner AND slots <> ''
            AND NOT EXISTS (SELECT 1 FROM votes v WHERE v.turn_id = t.turn_id)
        ORDER BY started_at_utc, turn_id
    """
    return [(conversation_id, turn_id) for conversation_id, turn_id in log.rows(query, owner=owner)]


def read_slots(slots: str) -> tuple[str, ...]:
    """A blind turn's lanes in display order, from the column ``slots`` of ``turns``."""
    return tuple(orjson.loads(slots)) if slots else ()
