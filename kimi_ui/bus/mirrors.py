"""Mirrors of the turns that other replicas run: ``TurnLog``s that ``Turns`` keeps, so that readers need not know.

All replicas know of every running turn. A mirror's entries are read once somebody here reads the turn: then all so far
at once, and the others as they come, each in its place (``i``), however often a batch arrives. Runs on the bus's loop.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.events import End, Entry
from ..core.turn import TurnLog
from .publisher import end
from .wire import NEWS, REPLICA, RUNNING, Header, Redis, owner_of, pack_entries, stream_of, unpack_entries

if TYPE_CHECKING:
    from ..turns import Turns

log = logging.getLogger(__name__)

Fields = dict[bytes, bytes]
Message = tuple[bytes, Fields]
Streams = dict[str, bytes]

_TAKE = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] and redis.call('EXISTS', ARGV[2] .. owner) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""
"""Become the owner of a turn, unless another replica that lives is."""


@dataclass(eq=False)
class _Mirror:
    """``read_to``: the last message of the stream that was read; None: nobody reads the turn here. ``ends``: what this
    replica adds to a turn whose replica is dead, and where."""

    turn: TurnLog
    replica: str
    run: str
    read_to: bytes | None = None
    is_readable: bool = True  # False: another version wrote entries that this one cannot read; the log will have them
    ends: tuple[int, list[Entry]] | None = None


class Mirrors:
    """The turns of replicas other than ``me``."""

    def __init__(self, me: str, turns: Turns) -> None:
        self._me = me
        self._turns = turns
        self._mirrors: dict[str, _Mirror] = {}
        self._news_read_to = b"$"

    @property
    def replicas(self) -> set[str]:
        """The replicas that run the mirrored turns."""
        return {mirror.replica for mirror in self._mirrors.values()}

    @property
    def streams(self) -> Streams:
        """What to read, and from where on."""
        found = {stream_of(id): one.read_to for id, one in self._mirrors.items() if one.read_to is not None}
        return {NEWS: self._news_read_to, **found}

    async def begin(self, redis: Redis) -> None:
        """Learn what is running, after the start or after the bus could not be reached."""
        newest = await redis.xrevrange(NEWS, count=1)
        self._news_read_to = newest[0][0] if newest else b"0-0"
        running: dict[bytes, bytes] = await redis.hgetall(RUNNING)
        for data in running.values():
            self._begun(data)

    async def end_lost(self, redis: Redis) -> None:
        """End the mirrors of turns that have ended while the bus could not be reached."""
        running = {turn_id.decode() for turn_id in await redis.hkeys(RUNNING)}
        for turn_id in set(self._mirrors) - running:
            await self.fetch(redis, turn_id)
            if turn_id in self._mirrors:  # its stream is gone too
                self._end(self._mirrors[turn_id], is_stored=True)

    def take(self, stream: str, messages: list[Message]) -> None:
        """New messages of one of ``streams``."""
        if stream == NEWS:
            self._news_read_to = messages[-1][0]
            for _, fields in messages:
                self._heard(fields)
            return
        mirror = self._mirrors.get(stream.removeprefix(stream_of("")))
        if mirror is not None and not self._apply(mirror, messages):
            mirror.read_to = b"0-0"  # something is missing: read it again

    async def look(self, redis: Redis, turn_id: str) -> None:
        """Mirror the turn if it is running elsewhere, though no news of it have come yet; then ``fetch`` it."""
        if turn_id not in self._mirrors and (data := await redis.hget(RUNNING, turn_id)):
            self._begun(data)
        await self.fetch(redis, turn_id)

    async def fetch(self, redis: Redis, turn_id: str) -> None:
        """Read all entries so far of a mirrored turn, and from now on the next ones."""
        mirror = self._mirrors.get(turn_id)
        if mirror is None or mirror.read_to is not None:
            return
        messages = await redis.xrange(stream_of(turn_id))
        if mirror.read_to is None:
            mirror.read_to = b"0-0"
            self._apply(mirror, messages)

    def _heard(self, fields: Fields) -> None:
        if begun := fields.get(b"begun"):
            self._begun(begun)
            return
        mirror = self._mirrors.get(fields[b"ended"].decode())
        if mirror and mirror.run == fields[b"run"].decode() and mirror.read_to is None:
            if int(fields[b"stored"]):
                self._end(mirror, is_stored=True)
            else:
                mirror.read_to = b"0-0"  # it is here alone, so read it

    def _begun(self, data: bytes) -> None:
        try:
            header = Header.read(data)
            turn = header.mirror()
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a turn of another version is not shown before it has ended (%r)", error)
            return
        known = self._mirrors.get(turn.turn_id)
        if header.replica == self._me or (known and known.run == header.run):
            return
        mirror = self._mirrors[turn.turn_id] = _Mirror(turn, header.replica, header.run)
        self._turns.mirror(mirror.turn, header.replica)

    def _apply(self, mirror: _Mirror, messages: list[Message]) -> bool:
        """Append what is new. False if a batch before these is missing."""
        for id, fields in messages:
            if fields[b"run"].decode() == mirror.run:
                if b"end" in fields:
                    self._end(mirror, is_stored=bool(int(fields[b"end"])))
                    return True
                if mirror.is_readable and not self._append(mirror, int(fields[b"i"]), fields[b"entries"]):
                    return False
            mirror.read_to = id
        return True

    def _append(self, mirror: _Mirror, start: int, data: bytes) -> bool:
        """Append those of the entries from ``start`` on that are new. False if some before them are missing."""
        turn = mirror.turn
        have = len(turn.entries)
        if start > have:
            return False
        try:
            entries = unpack_entries(data)
        except ValueError as error:
            log.warning("turn %s is not updated here until it has ended (%s)", turn.turn_id, error)
            mirror.is_readable = False
            return True
        for entry in entries[have - start :]:
            turn.append(entry)
        return True

    def _end(self, mirror: _Mirror, is_stored: bool) -> None:
        if self._mirrors.get(mirror.turn.turn_id) is mirror:
            del self._mirrors[mirror.turn.turn_id]
        self._turns.end_mirror(mirror.turn, is_stored)

    # A replica has died.

    async def inherit(self, redis: Redis, dead: str) -> None:
        """End the turns of a dead replica as interrupted, with all that it published. Of several heirs one does it."""
        for turn_id, mirror in list(self._mirrors.items()):
            if mirror.replica != dead:
                continue
            if not await redis.eval(_TAKE, 1, owner_of(turn_id), self._me, REPLICA):
                continue
            await self.fetch(redis, turn_id)
            await self._interrupt(redis, mirror)

    async def _interrupt(self, redis: Redis, mirror: _Mirror) -> None:
        turn = mirror.turn
        log.warning("turn %s: its replica %s is gone, so it ends as interrupted", turn.turn_id, mirror.replica)
        if mirror.ends is None:
            mirror.ends = len(turn.entries), list(_ends(turn))
            for entry in mirror.ends[1]:
                turn.append(entry)
        is_stored = await asyncio.to_thread(self._turns.complete, turn)
        pipe = redis.pipeline(transaction=False)
        index, entries = mirror.ends
        if entries:
            pipe.xadd(stream_of(turn.turn_id), {"run": mirror.run, "i": index, "entries": pack_entries(entries)})
        end(pipe, turn.turn_id, mirror.run, is_stored)
        await pipe.execute()
        self._end(mirror, is_stored)


def _ends(turn: TurnLog) -> list[Entry]:
    """The entries that end what is open in a turn, children before their parents."""
    fold = turn.fold()
    found = []
    for attempt_id, attempt in reversed(fold.attempts.items()):
        one = fold.folds[attempt_id]
        if one.end is None:
            last_ns = max((entry.t_ns for entry in turn.entries if entry.attempt_id == attempt_id), default=0)
            found.append(Entry(attempt.lane, attempt_id, last_ns, End("interrupted")))
    return found
