"""The stream route: one turn's frames as server-sent events.

``GET /kimi/turns/{turn_id}/events``: the data of each event is a frame (see ``view.frames``), its id the number of log
entries it covers. ``Last-Event-ID`` or ``?after=n`` continues from there; otherwise the first frame contains everything
so far, except for the rest of long answers, which the next ones bring; those before the last have no id, since nothing
can continue there, and those of a turn that was read from the log an empty one. The stream ends with an event ``end``
when the turn has ended. A frame is sent as soon as there is something to send and the last one is ``frame_s`` old
(``RENDERED_FRAME_S`` at least if that had HTML); a comment is sent every ``KEEPALIVE_S`` without frames. An event
``notice`` has the sentence of the page's state (``PageState.of``) whenever that changes. A slow reader gets fewer,
larger frames, since unsent changes join the next frame. One tab of a browser reads and passes the frames on to the
others (``assets/stream.js``); who follows the same turn from elsewhere gets the same frames, which are made once
(``feed``).

**More than one process can carry.** Frames cost more than the tokens in them, so with many open streams they are
further apart, and figures with them. Beyond that every stream waits for the same event loop, and each gets a frame
before any gets its second (tests/test_overload.py): the lag grows for all alike, the frames get larger, and no stamp or
figure changes, because those are the engine's. The operator reads of it in the terminal (``_note_lateness``) and in
``doctor``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..core.blind import is_blind
from ..core.turn import TurnLog
from ..view.frames import METRICS_EVERY_NS, dumps
from .feed import Feed, frame_of

FRAME_S = 0.016  # a browser paints no more often
RENDERED_FRAME_S = 0.020  # after a frame with HTML, which costs a browser far more than appended text
MANY_VIEWERS = 2  # with more open streams, frames are further apart, to limit the load
MOST_FRAMES_A_S = 540  # of all streams together, from 38 on: half a frame's cost does not depend on its text
BEATS = 8  # per interval between frames; frames that are due near the same beat share one wake-up of the loop
METRICS_EVERY_FRAMES = 12  # if that is longer than usual
KEEPALIVE_S = 15.0
LATE_S = 0.25  # a frame this much later than due is worth a line in the terminal …
LATE_AGAIN_S = 60.0  # … at most this often

Write = Callable[[bytes], Awaitable[None]]

log = logging.getLogger(__name__)


class TurnStreams:
    """All open streams of this server."""

    def __init__(self, notice: Callable[[], str] = lambda: "") -> None:
        self._notice = notice
        self._wakes: set[Callable[[], None]] = set()  # one for each open stream
        self._feeds: dict[tuple[int, bool], Feed] = {}  # by the turn's object and whether it is shown blind
        self._beats: dict[float, asyncio.Event] = {}  # those to come, by the loop's clock
        self._closing = False
        self._said_late_s = -math.inf

    @property
    def n_open(self) -> int:
        return len(self._wakes)

    @property
    def closing(self) -> bool:
        """Set by any thread, or a signal's handler, it ends all streams, so that the server can stop."""
        return self._closing

    @closing.setter
    def closing(self, yes: bool) -> None:
        self._closing = yes
        self.look()

    def look(self) -> None:
        """Let all streams look at once whether there is something to send. Any thread may call this."""
        for wake_up in list(self._wakes):
            wake_up()

    @property
    def frame_s(self) -> float:
        return _frame_s(self.n_open)

    @property
    def _figures_s(self) -> float:
        return max(METRICS_EVERY_NS / 1e9, METRICS_EVERY_FRAMES * self.frame_s)

    def response(self, request: Request, turn: TurnLog) -> Response:
        """The streaming response for this turn's events; a blind turn is shown through ``core.blind``."""
        after = _number(request.headers.get("last-event-id") or request.query_params.get("after"))
        return EventStream(lambda write, gone: self._run(turn, after, write, gone))

    async def _run(self, turn: TurnLog, after: int, write: Write, gone: asyncio.Future[None]) -> None:
        loop, wake, notice = asyncio.get_running_loop(), asyncio.Event(), ""

        def wake_up() -> None:
            with suppress(RuntimeError):  # the loop has ended before the turn
                loop.call_soon_threadsafe(wake.set)

        def leave(_: object) -> None:
            self._wakes.discard(wake_up)
            wake.set()

        self._wakes.add(wake_up)
        gone.add_done_callback(leave)
        kind = (id(turn), is_blind(turn))
        if (feed := self._feeds.get(kind)) is None:
            feed = self._feeds[kind] = Feed(turn)
        feed.n_followers += 1
        try:
            while not (gone.done() or self._closing):
                own = await feed.view(after)
                place, has_own = await feed.join(own, self._figures_s)
                while has_own and not gone.done():
                    sent = await asyncio.to_thread(frame_of, own, self._figures_s)
                    if sent is not None:
                        await write(sent.data)
                        after = sent.position or 0
                    has_own = sent is not None and sent.position is None
                written_s = loop.time()
                while not gone.done() and (unsent := await feed.behind(place, self._figures_s)) is not None:
                    if (says := self._notice()) != notice:
                        notice = says
                        await write(b"event: notice\ndata: %b\n\n" % dumps(notice))
                    if unsent:
                        await write(b"".join([one.data for one in unsent]))
                        place, written_s, position = place + len(unsent), feed.looked_s, unsent[-1].position
                        after = position or 0
                        if position is None:
                            continue
                    elif loop.time() - written_s >= KEEPALIVE_S:
                        await write(b": still here\n\n")
                        written_s = loop.time()
                    if feed.has_ended and place == feed.n_frames:
                        await write(b"event: end\ndata: {}\n\n")
                        return
                    if self._closing:
                        return
                    await self._pause(feed.looked_s, RENDERED_FRAME_S if unsent and unsent[-1].is_rendered else FRAME_S)
                    if place < feed.n_frames or feed.has_more:
                        continue
                    wake.clear()
                    turn.when_more(feed.n_looked, wake_up)
                    wait_s = self._figures_s if feed.has_figures_left else written_s + KEEPALIVE_S - loop.time()
                    waiting = loop.call_later(wait_s, wake.set)
                    if not (gone.done() or self._closing):
                        await wake.wait()
                    waiting.cancel()
        finally:
            self._wakes.discard(wake_up)
            feed.n_followers -= 1
            if not feed.n_followers:
                del self._feeds[kind]

    async def _pause(self, since_s: float, least_s: float) -> None:
        """Sleep until ``frame_s``, and ``least_s``, after the last frame; with many viewers, until the next beat."""
        loop = asyncio.get_running_loop()
        due_s = since_s + max(self.frame_s, least_s)
        if self.n_open > MANY_VIEWERS:
            beat_s = self.frame_s / BEATS
            due_s = round(due_s / beat_s) * beat_s
        if (now_s := loop.time()) >= due_s:
            due_s = now_s
            await asyncio.sleep(0)
        else:
            if (beat := self._beats.get(due_s)) is None:
                beat = self._beats[due_s] = asyncio.Event()
                loop.call_at(due_s, self._beat, due_s)
            await beat.wait()
        self._note_lateness(loop.time() - due_s)

    def _beat(self, due_s: float) -> None:
        self._beats.pop(due_s).set()

    def _note_lateness(self, late_s: float) -> None:
        """Tell the operator, now and then, of an event loop that has more to do than it can."""
        if late_s > LATE_S and (now_s := time.monotonic()) > self._said_late_s + LATE_AGAIN_S:
            self._said_late_s = now_s
            log.warning(
                "Pages are shown %.1f s late, with %d open: this process has more to do than one core can. "
                "What is measured stays right; fewer people or a faster core make it prompt again.",
                late_s,
                self.n_open,
            )


class EventStream(Response):
    """A response of server-sent events that notices at once when its reader disconnects, even between events."""

    media_type = "text/event-stream"

    def __init__(self, pump: Callable[[Write, asyncio.Future[None]], Awaitable[None]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._pump = pump

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))

        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await write(b"retry: 500\n\n")
            await self._pump(write, gone)
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        except OSError:
            pass  # the reader disconnected during a write
        finally:
            gone.cancel()


@lru_cache(maxsize=1_000)
def _frame_s(n_open: int) -> float:
    return max(FRAME_S, FRAME_S * math.sqrt(n_open / MANY_VIEWERS), n_open / MOST_FRAMES_A_S)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else 0
