"""Publishes the turns that this replica runs: a sibling of ``LogWriter.follow``.

Every ``FRAME_S`` the new entries of each turn go into the turn's stream, each batch with the index of its first entry,
so that a batch that arrives twice changes nothing. When a turn has closed and its rows are durable, its stream gets the
mark of its end, and others read the turn from the log. Runs on the bus's loop; ``follow`` may be called by any thread.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ..core.turn import TurnLog
from .wire import NEWS, RUNNING, Header, Redis, owner_of, pack_entries, stream_of

FRAME_S = 0.033
BATCH_ENTRIES = 2000  # in one message
MOST_NEWS = 10_000
STREAM_S = 86_400  # a stream that nobody ends is dropped after this
ENDED_STREAM_S = 600  # and one that has ended after this
FLUSH_S = 2.0  # longest wait for the log before the end is published


@dataclass(eq=False)
class _Published:
    """A turn, and how much of it is in its stream."""

    turn: TurnLog
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    index: int = 0
    is_announced: bool = False
    n_lost: int = 0  # how often the server lost it
    settling: asyncio.Task[None] | None = None
    is_settled: bool = False  # closed, and its rows are durable or the log has failed
    is_stored: bool = False


class Publisher:
    """The turns of the replica ``me``. ``stored``: waits until all rows so far are durable; False if they are not."""

    def __init__(self, me: str, loop: asyncio.AbstractEventLoop, stored: Callable[[], Awaitable[bool]]) -> None:
        self._me = me
        self._loop = loop
        self._stored = stored
        self._turns: dict[str, _Published] = {}
        self._due = asyncio.Event()
        self._sent = asyncio.Condition()

    def follow(self, turn: TurnLog) -> None:
        """Publish the turn's entries as they come, until it is closed. A second call for the same turn goes on."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._follow, turn)

    def _follow(self, turn: TurnLog) -> None:
        known = self._turns.get(turn.turn_id)
        if known is None or known.turn is not turn:
            self._turns[turn.turn_id] = _Published(turn)
        else:
            known.is_settled = False
        self._due.set()

    @property
    def running(self) -> list[TurnLog]:
        """The turns that are being published."""
        return [one.turn for one in self._turns.values()]

    @property
    def announced_turns(self) -> list[TurnLog]:
        """Those of them that others can find."""
        return [one.turn for one in self._turns.values() if one.is_announced]

    def lost(self, turn_id: str) -> None:
        """The server has lost what it had of a turn: publish it again from its beginning."""
        if one := self._turns.get(turn_id):
            one.index, one.is_announced = 0, False
            one.n_lost += 1

    def drop(self, turn_id: str) -> None:
        """Publish nothing more of a turn."""
        self._turns.pop(turn_id, None)

    async def announced(self) -> None:
        """Return once every turn followed so far can be found by others."""
        async with self._sent:
            self._due.set()
            await self._sent.wait_for(lambda: all(one.is_announced for one in self._turns.values()))

    async def drained(self) -> None:
        """Return once nothing is left to publish."""
        async with self._sent:
            await self._sent.wait_for(lambda: not self._turns)

    async def begin(self, redis: Redis) -> None:
        """Publish again what the server has lost, after it could not be reached. What began and ended meanwhile is not
        published: others read it from the log."""
        for turn_id, one in list(self._turns.items()):
            if one.turn.closed and not one.is_announced:
                del self._turns[turn_id]
        for turn in self.announced_turns:
            if not await redis.hexists(RUNNING, turn.turn_id):
                self.lost(turn.turn_id)

    async def run(self, redis: Redis) -> None:
        """Publish until it is cancelled. Raises what ``redis`` raises; nothing is lost then."""
        while True:
            self._due.clear()
            await self._round(redis)
            async with self._sent:
                self._sent.notify_all()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), FRAME_S if self._turns else None)

    async def _round(self, redis: Redis) -> None:
        pipe = redis.pipeline(transaction=False)
        sent = [(one, one.n_lost, self._add(pipe, one)) for one in list(self._turns.values())]
        if not len(pipe):
            return
        await pipe.execute()
        for one, n_lost, (index, is_over) in sent:
            if one.n_lost != n_lost:  # meanwhile: the next round begins anew
                continue
            one.index, one.is_announced = index, True
            if is_over and self._turns.get(one.turn.turn_id) is one:
                del self._turns[one.turn.turn_id]
                if not one.is_settled:  # it was followed again meanwhile
                    self._follow(one.turn)

    def _add(self, pipe: Redis, one: _Published) -> tuple[int, bool]:
        """What is to be sent of a turn; returns the index after it, and whether that is all there will be."""
        turn, closed = one.turn, one.turn.closed  # read before the entries: none is appended after it is set
        stream = stream_of(turn.turn_id)
        if not one.is_announced:
            header = Header.of(turn, self._me, one.run).pack()
            pipe.delete(stream)
            pipe.hset(RUNNING, turn.turn_id, header)
            pipe.set(owner_of(turn.turn_id), self._me, ex=STREAM_S)
            pipe.xadd(NEWS, {"begun": header}, maxlen=MOST_NEWS)
        new = turn.entries[one.index : one.index + BATCH_ENTRIES]
        index = one.index + len(new)
        if new:
            pipe.xadd(stream, {"run": one.run, "i": one.index, "entries": pack_entries(new)})
            if not one.index:
                pipe.expire(stream, STREAM_S)
        is_whole = closed and index == len(turn.entries)
        if is_whole and one.is_settled:
            end(pipe, turn.turn_id, one.run, one.is_stored)
            return index, True
        if is_whole and one.settling is None:
            one.settling = self._loop.create_task(self._settle(one))
        return index, False

    async def _settle(self, one: _Published) -> None:
        """Wait until a closed turn can be read from the log."""
        try:
            one.is_stored = await asyncio.wait_for(self._stored(), FLUSH_S)
        except (TimeoutError, RuntimeError):  # RuntimeError: the writer is closed
            one.is_stored = False
        one.settling = None
        one.is_settled = one.turn.closed
        self._due.set()


def end(pipe: Redis, turn_id: str, run: str, is_stored: bool) -> None:
    """Mark a turn's stream as ended. ``is_stored``: others find the turn in the log."""
    pipe.xadd(stream_of(turn_id), {"run": run, "end": int(is_stored)})
    pipe.expire(stream_of(turn_id), ENDED_STREAM_S)
    pipe.hdel(RUNNING, turn_id)
    pipe.expire(owner_of(turn_id), ENDED_STREAM_S)
    pipe.xadd(NEWS, {"ended": turn_id, "run": run, "stored": int(is_stored)}, maxlen=MOST_NEWS)
