"""Votes in the log: one row per verdict; a turn's last one counts. Also the slots of blind turns.

A benchmark sends each lane a turn of its own, so a vote there is on the answers of two turns and names both; of a pair,
too, the last vote counts.

All verdicts are kept, because a verdict changed after the names were revealed differs from the blind one before it.
Votes are deleted with their turn. The views ``vote_outcomes`` and ``pair_outcomes`` derive results from them, and
``lane_votes`` and ``vote_pairs`` count these.
"""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

import orjson

from ..core.vote import NONE, Vote
from .records import Op
from .store import Rows, owned


class PairVote(NamedTuple):
    """A vote on the answers of two turns."""

    turn_id: str
    other_turn_id: str
    vote: Vote


def vote_op(turn_id: str, vote: Vote, other_turn_id: str | None = None) -> Op:
    """``other_turn_id``: the turn of the other answer, where the vote compares two turns."""
    row: dict[str, Any] = {
        "vote_id": uuid.uuid4().hex,
        "turn_id": turn_id,
        "other_turn_id": other_turn_id,
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
    query = "SELECT * FROM votes WHERE turn_id = :turn_id AND other_turn_id IS NULL ORDER BY number DESC LIMIT 1"
    row = next(log.records(query, turn_id=turn_id), None)
    return None if row is None else _vote(row)


def votes_of_run(log: Rows, run_id: str) -> list[PairVote]:
    """The last vote on each pair of answers of a benchmark's run, without those that were withdrawn."""
    query = """
        SELECT v.* FROM votes v
        WHERE v.turn_id IN (SELECT turn_id FROM benchmark_items WHERE run_id = :run_id) AND v.other_turn_id IS NOT NULL
        ORDER BY v.number
    """
    last = {(row["turn_id"], row["other_turn_id"]): _vote(row) for row in log.records(query, run_id=run_id)}
    return [PairVote(*turns, vote) for turns, vote in last.items() if vote.choice != NONE]


def _vote(row: dict[str, Any]) -> Vote:
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
    query = f"""
        SELECT conversation_id, turn_id FROM turns t
        WHERE {owned(owner)} AND slots <> ''
            AND NOT EXISTS (SELECT 1 FROM votes v WHERE v.turn_id = t.turn_id)
        ORDER BY started_at_utc, turn_id
    """
    return [(conversation_id, turn_id) for conversation_id, turn_id in log.rows(query, owner=owner)]


def read_slots(slots: str) -> tuple[str, ...]:
    """A blind turn's lanes in display order, from the column ``slots`` of ``turns``."""
    return tuple(orjson.loads(slots)) if slots else ()
