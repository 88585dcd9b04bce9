"""Commands between replicas: each has a stream, its inbox, for commands to it and for the answers to its own.

A command is answered once or not at all, in one piece or, if the response is a stream, in several. Who asks waits for a
bounded time, and no longer than the other replica lives; a command whose answer did not come may have been carried out.
Runs on the bus's loop, unless it says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..log.records import exact_json, read_exact_json
from .wire import REPLICA, Command, Piece, Redis, inbox_of

if TYPE_CHECKING:
    from .mirrors import Message

log = logging.getLogger(__name__)

INBOX_S = 60  # what a dead replica did not read is dropped after this
ANSWER_S = 10.0  # for the first piece
SILENCE_S = 40.0  # for each further one: streams send something every 15 s
LOOK_S = 0.5  # between looks whether the other replica lives
GONE_LOOKS = 3  # this many in a row without its key; by then it would have renewed one that the server had lost
FAILED = {"error": "Kimi UI itself failed. Try again; the terminal says more."}


class NoAnswer(Exception):
    """The replica did not answer in time."""


class Asker:
    """Who asked for a command that is being carried out here. Methods may be used from any one loop."""

    def __init__(self, put: Callable[[Piece], Future[None]]) -> None:
        self._put = put
        self._gone: Future[None] = Future()
        self.has_answer = False

    async def give(self, piece: Piece) -> None:
        """Send the next piece of the answer."""
        self.has_answer = True
        await asyncio.wrap_future(self._put(piece))

    async def gone(self) -> None:
        """Return once nobody waits for the rest of the answer any more."""
        await asyncio.shield(asyncio.wrap_future(self._gone))

    def leave(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)


Handler = Callable[[Command, Asker], Coroutine[Any, Any, None]]


class Inbox:
    """The inbox of the replica ``me``. ``handle`` carries out a command."""

    def __init__(self, me: str, loop: asyncio.AbstractEventLoop, handle: Handler) -> None:
        self._me = me
        self._loop = loop
        self._handle = handle
        self._read_to = b"0-0"
        self._waiting: dict[str, Callable[[Piece], None]] = {}  # own commands
        self._askers: dict[str, Asker] = {}  # others' commands
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> dict[str, bytes]:
        """What to read, and from where on."""
        return {inbox_of(self._me): self._read_to}

    async def ask(self, redis: Redis, replica: str, command: Command) -> AsyncGenerator[Piece, None]:
        """Have another replica carry out a command: the pieces of its answer. On the caller's loop. Raises
        ``NoAnswer``, and what ``redis`` raises."""
        caller, pieces, id = asyncio.get_running_loop(), asyncio.Queue[Piece](), uuid.uuid4().hex

        def soon(work: Coroutine[Any, Any, None]) -> Future[None]:
            return asyncio.run_coroutine_threadsafe(work, self._loop)

        def take(piece: Piece) -> None:
            with suppress(RuntimeError):  # the caller's loop has ended
                caller.call_soon_threadsafe(pieces.put_nowait, piece)

        self._waiting[id] = take
        is_whole = False
        try:
            head = exact_json([id, self._me, *command[:-1]])
            await asyncio.wrap_future(soon(self._put(redis, replica, {"command": head, "body": command.body})))
            wait_s = ANSWER_S
            while not is_whole:
                piece = await self._next(redis, replica, pieces, wait_s)
                wait_s, is_whole = SILENCE_S, piece.is_last
                yield piece
        finally:
            del self._waiting[id]
            if not is_whole:
                with suppress(RuntimeError):
                    soon(self._leave(redis, replica, id))

    async def _next(self, redis: Redis, replica: str, pieces: asyncio.Queue[Piece], wait_s: float) -> Piece:
        """The next piece of another replica's answer. Raises ``NoAnswer``. On the caller's loop."""
        coming, n_gone = asyncio.create_task(pieces.get()), 0
        try:
            for _ in range(round(wait_s / LOOK_S)):
                if (await asyncio.wait([coming], timeout=LOOK_S))[0]:
                    return coming.result()
                lives = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_lives(redis, replica), self._loop))
                n_gone = 0 if lives else n_gone + 1
                if n_gone == GONE_LOOKS:
                    break
            raise NoAnswer(replica)
        finally:
            coming.cancel()

    async def wake(self, redis: Redis) -> None:
        """Let whoever reads the inbox look at once."""
        await self._put(redis, self._me, {"wake": ""})

    async def take(self, redis: Redis, messages: list[Message]) -> None:
        """New messages of the inbox."""
        self._read_to = messages[-1][0]
        await redis.xdel(inbox_of(self._me), *(id for id, _ in messages))
        for _, fields in messages:
            if head := fields.get(b"command"):
                id, sender, *rest = read_exact_json(head)
                task = asyncio.create_task(self._carry_out(redis, id, sender, [*rest, fields[b"body"]]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif head := fields.get(b"answer"):
                id, *rest = read_exact_json(head)
                if take := self._waiting.get(id):
                    take(Piece._make([*rest, fields[b"body"]]))
            elif (left := fields.get(b"left")) and (asker := self._askers.get(left.decode())):
                asker.leave()

    async def _carry_out(self, redis: Redis, id: str, sender: str, command: list[Any]) -> None:
        def put(piece: Piece) -> Future[None]:
            fields: dict[str, bytes | str] = {"answer": exact_json([id, *piece[:-1]]), "body": piece.body}
            return asyncio.run_coroutine_threadsafe(self._put(redis, sender, fields), self._loop)

        asker = self._askers[id] = Asker(put)
        try:
            await self._handle(Command._make(command), asker)
        except Exception:  # also that another version has sent it, with more or fewer values
            log.exception("a command of another replica failed")
            if not asker.has_answer:
                with suppress(Exception):  # the sender hears nothing, and says so in time
                    await asker.give(Piece(500, [("content-type", "application/json")], True, exact_json(FAILED)))
        finally:
            del self._askers[id]
            asker.leave()

    async def _leave(self, redis: Redis, replica: str, id: str) -> None:
        with suppress(Exception):  # whoever answers notices it later, or never: streams are bounded
            await self._put(redis, replica, {"left": id})

    async def _put(self, redis: Redis, replica: str, fields: dict[str, bytes | str]) -> None:
        pipe = redis.pipeline(transaction=False)
        pipe.xadd(inbox_of(replica), fields)
        pipe.expire(inbox_of(replica), INBOX_S)
        await pipe.execute()


async def _lives(redis: Redis, replica: str) -> bool:
    return bool(await redis.exists(REPLICA + replica))
