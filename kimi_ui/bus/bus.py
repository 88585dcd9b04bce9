"""The bus: this replica's connection to Valkey or Redis, in a thread with a loop of its own.

    Turns ── publish ──►  Publisher ──►  kimi:turn:{id}  ──►  Mirrors ── mirror ──►  Turns of the other replicas
    web   ── ask ──────►  Inbox     ──►  kimi:inbox:{id} ──►  Inbox   ── handle ──►  web of the owner

A replica that cannot reach the bus goes on alone (``is_away``): its own turns run and are stored, commands are carried
out where they arrive, and mirrors stand still. When the bus is back, each replica publishes what was missed, also if
the server has lost everything, and mirrors go on where they stood.

A replica lives as long as its key does, which it renews every ``BEAT_S``. When the key of another one has been gone for
``GONE_S``, in which it would have renewed it twice had the server lost it, its running turns end as interrupted
(``Mirrors.inherit``): ``LEASE_S`` + ``GONE_S`` after its death. A replica that was out of reach itself looks again only
after ``SETTLE_S``, so that the others can renew their keys.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .inbox import Asker, Handler, Inbox, NoAnswer
from .mirrors import Mirrors
from .publisher import Publisher
from .wire import DRAINING, NEWS, REPLICA, REPLICAS, UP, Command, Piece, Redis, home_of, inbox_of, owner_of

if TYPE_CHECKING:
    from ..core.turn import TurnLog
    from ..turns import Turns

log = logging.getLogger(__name__)

BEAT_S = 1.0
LEASE_S = 5.0
SETTLE_S = LEASE_S  # from reaching the bus to the first look for dead replicas
LOOK_S = 0.5
GONE_S = 2.5
READ_EVERY_S = 0.01  # so that a busy bus is read in batches
BLOCK_MS = 1000
SOCKET_S = 2.5  # longer than a blocking read
RETRY_S = 0.5  # between tries to reach the bus
START_S = 5.0
NO_ADDRESS = "KIMI_UI_BUS is not the address of a server; make it like redis://127.0.0.1:6379."
AWAY = "The servers have lost each other: turns of the others are not updated here. Nothing is lost."
FETCH_S = 2.0  # longest wait of a reader for a mirror's entries
CLOSE_S = 3.0
HOME_S = 3600.0  # after a visitor's last command

TROUBLE = (RedisError, OSError, TimeoutError)
Result = TypeVar("Result")

_HOME = """
local home = redis.call('GET', KEYS[1])
if home and home ~= ARGV[1] and redis.call('GET', ARGV[3] .. home) == 'up' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {home, 0}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {ARGV[1], home == ARGV[1] and 0 or 1}
"""
"""The replica that the key names if it takes prompts, else the given one; and whether that was written there now."""

_GIVE_UP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
"""
"""Removes this replica from the key, but no other one that has meanwhile been written there."""


class BusError(Exception):
    """The bus cannot be used. Its text is a sentence with the remedy."""


class Bus:
    """This replica on the bus at ``url``.

    ``stop``: stops a turn of this replica that another has taken over; ``is_draining``: whether this replica takes no
    new prompts. ``moved_in(visitor)``: this replica has just become the visitor's home, so what it remembers of the
    visitor may be old (None: of everybody, since the bus was away); it is called on a thread. ``changed``: called when
    ``is_away`` has changed.
    """

    def __init__(
        self,
        url: str,
        turns: Turns,
        *,
        stop: Callable[[str], None] = lambda turn_id: None,
        is_draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self.me = uuid.uuid4().hex[:12]
        self.url = url
        self.is_away = True
        self.moved_in: Callable[[str | None], None] = lambda visitor: None
        self.changed: Callable[[], None] = lambda: None
        self._turns = turns
        self._stop = stop
        self._is_draining = is_draining
        self._redis = _client(url)
        self._loop = asyncio.new_event_loop()
        self._publisher = Publisher(self.me, self._loop, self._stored)
        self._mirrors = Mirrors(self.me, turns)
        self._handler: Handler | None = None
        self._handler_loop: asyncio.AbstractEventLoop | None = None
        self._inbox = Inbox(self.me, self._loop, self._handle)
        self._searches: dict[str, asyncio.Task[str]] = {}  # for the home of each visitor
        self._missing: Counter[str] = Counter()  # looks in a row at which a replica was gone
        self._look_from = 0.0
        self._reached = threading.Event()
        self._was_reached = False
        self._closing = False
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)

    def start(self) -> None:
        """Connect; returns once the bus is reached, or after ``START_S``, from when on this replica goes on alone."""
        self._turns.share(self)
        self._thread.start()
        self._reached.wait(START_S)

    @property
    def problem(self) -> str:
        """A sentence for the page while the bus is away, else empty."""
        return AWAY if self.is_away else ""

    def close(self) -> None:
        """Publish what is left, end the lease and the thread. To be called after the engine is closed."""
        if self._closing:
            return
        self._closing = True
        if self._thread.is_alive():
            with suppress(Exception):
                self._soon(self._leave()).result(CLOSE_S + SOCKET_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_S)

    # What ``Turns`` uses, from any thread

    def publish(self, turn: TurnLog) -> None:
        self._publisher.follow(turn)

    def look(self, turn_id: str) -> concurrent.futures.Future[None]:
        """Resolves when the turn is mirrored with all entries so far, if another replica runs it; after ``FETCH_S``
        at the latest, and never with an error."""
        if self.is_away or self._closing:
            done: concurrent.futures.Future[None] = concurrent.futures.Future()
            done.set_result(None)
            return done
        return self._soon(self._look(turn_id))

    # What the web uses, from an event loop

    def answer_with(self, handler: Handler) -> None:
        """Carry out others' commands by ``handler``, on the loop of ``answer_on``."""
        self._handler = handler

    def answer_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handler_loop = loop

    async def home(self, visitor: str) -> str:
        """The replica that holds the visitor's state, or programs' if it is empty; this one if the bus is away."""
        if self.is_away:
            return self.me
        return await asyncio.wrap_future(self._soon(self._home(visitor)))

    async def place_of(self, session: str, visitor: str) -> str:
        """The replica where a session of Gradio began; the visitor's home if it has not."""
        home = await self.home(visitor)
        if self.is_away:
            return self.me
        try:
            return (await asyncio.wrap_future(self._soon(self._place(home_of(f"session:{session}"), home))))[0]
        except TROUBLE:
            return self.me

    async def ask(self, replica: str, command: Command) -> AsyncGenerator[Piece, None]:
        """Have another replica carry out a command. Raises ``NoAnswer``."""
        try:
            async with aclosing(self._inbox.ask(self._redis, replica, command)) as pieces:
                async for piece in pieces:
                    yield piece
        except TROUBLE as error:
            raise NoAnswer(replica) from error

    async def announced(self) -> None:
        """Return once other replicas can find every turn that runs here, or cannot because the bus is away."""
        if not self.is_away:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(self._soon(self._publisher.announced())), FETCH_S)

    def _soon(self, work: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # All methods below run on the bus's loop.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._main = self._loop.create_task(self._stay())
        try:
            self._loop.run_forever()
        finally:
            rest = asyncio.all_tasks(self._loop)
            for task in rest:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
            self._loop.run_until_complete(self._redis.aclose())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _stay(self) -> None:
        """Be on the bus, again and again."""
        while not self._closing:
            try:
                await self._begin()
                await self._serve()
            except TROUBLE as error:
                self._lost(str(error) or type(error).__name__)
            except Exception as error:
                log.exception("the bus had an internal error")
                self._lost(type(error).__name__)
            await asyncio.sleep(RETRY_S)

    async def _begin(self) -> None:
        await self._beat_once()
        await self._publisher.begin(self._redis)
        await self._mirrors.begin(self._redis)
        self._missing.clear()
        self._look_from = self._loop.time() + SETTLE_S
        if self._was_reached:
            log.warning("The bus is back.")
            await self._move_in(None)
        self._was_reached, self.is_away = True, False
        self._reached.set()
        self.changed()

    def _lost(self, why: str) -> None:
        if not self.is_away or not self._was_reached:
            log.warning("The bus cannot be reached (%s): this replica goes on alone until it is back.", why)
        self._was_reached, self.is_away = True, True
        self._reached.set()
        self.changed()

    async def _serve(self) -> None:
        """Until one of them fails."""
        work = (self._beat(), self._read(), self._publisher.run(self._redis), self._look_after())
        tasks = [asyncio.create_task(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._beat_once()
            await self._keep_turns()

    async def _beat_once(self) -> None:
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(REPLICA + self.me, DRAINING if self._is_draining() else UP, px=int(LEASE_S * 1000))
        pipe.sadd(REPLICAS, self.me)
        for visitor in {turn.owner for turn in self._publisher.running}:
            pipe.pexpire(home_of(visitor), int(HOME_S * 1000))
        await pipe.execute()

    async def _keep_turns(self) -> None:
        """Publish again what the server has lost. Stop the turns that another replica has ended, because it took this
        one for dead."""
        turns = self._publisher.announced_turns
        owners = await self._redis.mget([owner_of(turn.turn_id) for turn in turns]) if turns else []
        for turn, owner in zip(turns, owners, strict=True):
            if owner is None:
                self._publisher.lost(turn.turn_id)
            elif owner.decode() != self.me and not turn.closed:
                log.warning("turn %s was ended by another replica, which had not heard from this one", turn.turn_id)
                self._publisher.drop(turn.turn_id)
                self._stop(turn.turn_id)

    async def _read(self) -> None:
        while True:
            streams: Any = {**self._mirrors.streams, **self._inbox.streams}
            found = await self._redis.xread(streams, block=BLOCK_MS)
            inbox = inbox_of(self.me)
            for name, messages in sorted(found, key=lambda one: (one[0].decode() != NEWS, one[0].decode() == inbox)):
                if name.decode() == inbox:  # last: whoever got an answer knows the news before it
                    await self._inbox.take(self._redis, messages)
                else:
                    self._mirrors.take(name.decode(), messages)
            await asyncio.sleep(READ_EVERY_S)

    async def _look_after(self) -> None:
        """End the turns of replicas that have died."""
        await asyncio.sleep(self._look_from - self._loop.time())
        await self._mirrors.end_lost(self._redis)
        while True:
            await asyncio.sleep(LOOK_S)
            replicas = sorted(self._mirrors.replicas)
            lives = await self._redis.mget([REPLICA + one for one in replicas]) if replicas else []
            gone = {one for one, state in zip(replicas, lives, strict=True) if state is None}
            self._missing = Counter({one: self._missing[one] + 1 for one in gone})
            for one, looks in self._missing.items():
                if looks > GONE_S / LOOK_S:
                    await self._mirrors.inherit(self._redis, one)

    async def _stored(self) -> bool:
        await asyncio.wrap_future(self._turns.writer.flush())
        return not self._turns.writer.problem

    async def _look(self, turn_id: str) -> None:
        try:
            known = len(self._mirrors.streams)
            await asyncio.wait_for(self._mirrors.look(self._redis, turn_id), FETCH_S)
            if len(self._mirrors.streams) > known:
                await self._inbox.wake(self._redis)
        except (*TROUBLE, ValueError, KeyError) as error:
            log.warning("turn %s could not be looked for on the bus (%s)", turn_id, error)

    async def _home(self, visitor: str) -> str:
        """Requests of a visitor that come at once get one result, so that none is carried out before ``moved_in`` has
        returned, whichever of them it was called for and even if that one was given up."""
        if (search := self._searches.get(visitor)) is None:
            search = self._searches[visitor] = self._loop.create_task(self._find_home(visitor))
            search.add_done_callback(lambda _: self._searches.pop(visitor))
        return await asyncio.shield(search)

    async def _find_home(self, visitor: str) -> str:
        try:
            home, is_new = await self._place(home_of(visitor), self.me)
        except TROUBLE:
            home, is_new = self.me, True  # perhaps it is, and only the answer was lost
        if is_new:
            await self._move_in(visitor)
        return home

    async def _move_in(self, visitor: str | None) -> None:
        try:
            await asyncio.to_thread(self.moved_in, visitor)
        except Exception:  # of the log, say, which is no reason to leave the bus
            log.exception("what is remembered of a visitor may be old")

    async def _place(self, key: str, first: str) -> tuple[str, bool]:
        """The replica that ``key`` names, ``first`` if none, and whether that has just been written there."""
        home, is_new = await self._redis.eval(_HOME, 1, key, first, int(HOME_S * 1000), REPLICA)
        if home.decode() == self.me and self._is_draining():
            # Otherwise two replicas that begin to drain at once would pass a request back and forth.
            await self._beat_once()
            if other := await self._other():
                await self._redis.eval(_GIVE_UP, 1, key, self.me)
                return other, False
        return home.decode(), bool(is_new)

    async def _other(self) -> str:
        """A replica that takes prompts; empty if there is none but this."""
        replicas = [one.decode() for one in await self._redis.smembers(REPLICAS)]
        states = await self._redis.mget([REPLICA + one for one in replicas]) if replicas else []
        if dead := [one for one, state in zip(replicas, states, strict=True) if state is None]:
            await self._redis.srem(REPLICAS, *dead)
        return next((one for one, state in zip(replicas, states, strict=True) if state == UP and one != self.me), "")

    async def _handle(self, command: Command, asker: Asker) -> None:
        if self._handler is None or self._handler_loop is None:
            raise RuntimeError("this replica takes no commands yet")
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._handler(command, asker), self._handler_loop))

    async def _leave(self) -> None:
        if not self.is_away:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._publisher.drained(), CLOSE_S)
        if self._main:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
        with suppress(*TROUBLE):
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(REPLICA + self.me, inbox_of(self.me))
            pipe.srem(REPLICAS, self.me)
            await pipe.execute()


def _client(url: str) -> Redis:
    try:
        return Client.from_url(
            url,
            protocol=2,
            socket_timeout=SOCKET_S,
            socket_connect_timeout=SOCKET_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=100,
        )
    except ValueError:  # its text may quote a part of the password
        raise BusError(NO_ADDRESS) from None
