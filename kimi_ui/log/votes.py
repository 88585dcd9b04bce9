"""Votes in the log: one row for every verdict, the last of a turn counts; and which turns were sent blind.

Every verdict is kept, since one that was changed after the names were known is another thing than the blind one before
it. Votes go with their turn when that is deleted. What follows from them are the views ``vote_outcomes`` and
``pair_outcomes``, and their counts ``lane_votes`` and ``vote_pairs``.
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
    """The verdict that counts; None if there was none."""
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


def read_slots(slots: str) -> tuple[str, ...]:
    """A blind turn's lanes in the order they are shown, from the column of ``turns``."""
    return tuple(orjson.loads(slots)) if slots else ()
