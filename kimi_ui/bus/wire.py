"""What is on the bus: the names of its keys, and turns, entries, commands and answers as bytes.

| Key | Type | Holds |
|---|---|---|
| ``kimi:replica:{id}`` | string with a TTL | the replica lives: ``up``, or ``draining`` |
| ``kimi:replicas`` | set | ids of replicas, dead ones until somebody looks |
| ``kimi:home:{visitor}`` | string with a TTL | the replica that holds the visitor's drafts, uploads and queues |
| ``kimi:running`` | hash | turn id → header of a turn that is running |
| ``kimi:turn:{id}`` | stream | the turn's entries, in batches; at last the mark of its end |
| ``kimi:turn:{id}:owner`` | string | the replica that may add to that stream |
| ``kimi:news`` | stream | headers of turns as they begin, ids of turns that have ended |
| ``kimi:inbox:{id}`` | stream | commands for a replica, and answers to its own |
| ``kimi:benchmarks`` | set | runs of the benchmark that several processes work on |
| ``kimi:benchmark:{run}`` | stream with a group | the cases that are left of a run, and who has claimed which |
| ``kimi:benchmark:{run}:lead`` | string with a TTL | the run is led; what its workers must agree to |

Events have the log's form (``core.events.encode``), which its schema versions.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

from ..core.events import Entry, decode, encode
from ..core.images import Image
from ..core.turn import TurnLog
from ..core.vote import Vote
from ..log.records import exact_json, read_exact_json, read_lanes, to_json

NEWS = "kimi:news"
RUNNING = "kimi:running"
REPLICAS = "kimi:replicas"
REPLICA = "kimi:replica:"
BENCHMARKS = "kimi:benchmarks"
UP, DRAINING = b"up", b"draining"

Redis = Any
"""A client of ``redis.asyncio`` or its pipeline, which types a reply as the union of what any setting makes of it; ours
makes bytes."""

_FIELDS = ("turn_id", "conversation_id", "seq", "prompt", "owner", "system", "kind", "started_at_utc", "forked_from")
_MORE_FIELDS = ("forked_at", "slots", "basis")


def stream_of(turn_id: str) -> str:
    return f"kimi:turn:{turn_id}"


def owner_of(turn_id: str) -> str:
    return f"kimi:turn:{turn_id}:owner"


def home_of(visitor: str) -> str:
    return f"kimi:home:{visitor}"


def inbox_of(replica: str) -> str:
    return f"kimi:inbox:{replica}"


def cases_of(run_id: str) -> str:
    return f"kimi:benchmark:{run_id}"


def lead_of(run_id: str) -> str:
    return f"kimi:benchmark:{run_id}:lead"


class Header(NamedTuple):
    """A running turn without its entries. ``run``: changes when its stream begins again. ``t0_wall_ns`` is the wall
    clock at the user's click, since ``TurnLog.t0_ns`` means something in its own process only; 0: not known."""

    replica: str
    run: str
    turn: dict[str, Any]
    t0_wall_ns: int

    @classmethod
    def of(cls, turn: TurnLog, replica: str, run: str) -> Header:
        fields = {name: getattr(turn, name) for name in (*_FIELDS, *_MORE_FIELDS)}
        fields["lanes"] = to_json([info.as_dict() for info in turn.lanes])
        fields["images"] = [image.described() for image in turn.images]
        fields["vote"] = asdict(turn.vote) if turn.vote else None
        age_ns = time.perf_counter_ns() - turn.t0_ns
        return cls(replica, run, fields, time.time_ns() - age_ns if turn.t0_ns else 0)

    def pack(self) -> bytes:
        return exact_json(list(self))

    @classmethod
    def read(cls, data: bytes) -> Header:
        return cls(*read_exact_json(data))

    def mirror(self) -> TurnLog:
        """The turn as a log to be filled. Its clock is this process's, set from the wall clock."""
        fields = dict(self.turn)
        vote = fields.pop("vote")
        if vote:
            vote = Vote(**{**vote, "field": tuple(vote["field"])})
        age_ns = time.time_ns() - self.t0_wall_ns
        return TurnLog(
            **{
                **fields,
                "slots": tuple(fields["slots"]),
                "lanes": read_lanes(fields["lanes"]),
                "images": tuple(Image(**image) for image in fields["images"]),
                "vote": vote,
                "t0_ns": time.perf_counter_ns() - age_ns if self.t0_wall_ns else 0,
            }
        )


def pack_entries(entries: Iterable[Entry]) -> bytes:
    """Entries in order; those of one attempt in a row share its name."""
    parts: list[tuple[str, str, list[Any]]] = []
    for lane, attempt_id, t_ns, event in entries:
        if not parts or parts[-1][:2] != (lane, attempt_id):
            parts.append((lane, attempt_id, []))
        parts[-1][2].append(encode(t_ns, event))
    return zlib.compress(exact_json(parts), 1)


def unpack_entries(data: bytes) -> list[Entry]:
    """The inverse of ``pack_entries``. Raises ``ValueError`` for what another version has written."""
    try:
        return _entries(read_exact_json(zlib.decompress(data)))
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"entries on the bus cannot be read ({error!r})") from error


def _entries(parts: list[Any]) -> list[Entry]:
    return [Entry(lane, attempt_id, *decode(item)) for lane, attempt_id, items in parts for item in items]


class Command(NamedTuple):
    """A request of a visitor, to be answered by another replica; see ASGI's scope. ``headers`` are pairs; ``person``:
    the values of ``core.owner.Person`` if the visitor has an account, else empty."""

    method: str
    path: str
    root_path: str
    query: str
    visitor: str
    person: tuple[str, ...]
    headers: list[tuple[str, str]]
    body: bytes = b""


class Piece(NamedTuple):
    """A part of the response to a command. Only the first one's ``status`` and ``headers`` count."""

    status: int
    headers: list[tuple[str, str]]
    is_last: bool
    body: bytes
