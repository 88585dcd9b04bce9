"""The stream route: one turn's frames as server-sent events.

``GET /kimi/turns/{turn_id}/events``: the data of each event is a frame (see ``view.frames``), its id the number of log
entries it covers. ``Last-Event-ID`` or ``?after=n`` continues from there; otherwise the first frame contains everything
so far, except for the rest of long answers, which the next ones bring; those before the last have no id, since nothing
can continue there. The stream ends with an event ``end`` when the turn has ended. A frame is sent as soon as there is
something to send and the last one is ``frame_s`` old (``RENDERED_FRAME_S`` at least if that had HTML); a comment is
sent every ``KEEPALIVE_S`` without frames. A slow reader gets fewer, larger frames, since unsent changes join the next
frame. One tab of a browser reads and passes the frames on to the others (``assets/stream.js``).

**More than one process can carry.** Frames cost more than the tokens in them, so with many open streams they are
further apart, and figures with them. Beyond that every stream waits for the same event loop: the lag grows for all
alike, the frames get larger, and no stamp or figure changes, because those are the engine's. The operator reads of it
in the terminal (``_note_lateness``) and in ``doctor``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..core.blind import BlindView, is_blind
from ..core.turn import TurnLog
from ..view.frames import METRICS_EVERY_NS, TurnView, dumps

FRAME_S = 0.016  # a browser paints no more often
RENDERED_FRAME_S = 0.020  # behind a frame with HTML, which costs a browser far more than text to append
MANY_VIEWERS = 2  # with more open streams, frames are further apart, to limit the load
METRICS_EVERY_FRAMES = 6  # if that is longer than usual
KEEPALIVE_S = 15.0
LATE_S = 0.25  # a frame this much later than due is worth a line in the terminal …
LATE_AGAIN_S = 60.0  # … at most this often

Write = Callable[[bytes], Awaitable[None]]

log = logging.getLogger(__name__)


class TurnStreams:
    """All open streams of this server."""

    def __init__(self) -> None:
        self._wakes: set[Callable[[], None]] = set()  # one for each open stream
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
        for wake_up in list(self._wakes):
            wake_up()

    @property
    def frame_s(self) -> float:
        return FRAME_S * max(1.0, math.sqrt(self.n_open / MANY_VIEWERS))

    def response(self, request: Request, turn: TurnLog) -> Response:
        """The streaming response for this turn's events; a blind turn is shown through ``core.blind``."""
        after = _number(request.headers.get("last-event-id") or request.query_params.get("after"))
        return EventStream(lambda write, gone: self._run(turn, after, write, gone))

    async def _run(self, turn: TurnLog, after: int, write: Write, gone: asyncio.Future[None]) -> None:
        loop, wake = asyncio.get_running_loop(), asyncio.Event()

        def wake_up() -> None:
            with suppress(RuntimeError):  # the loop has ended before the turn
                loop.call_soon_threadsafe(wake.set)

        self._wakes.add(wake_up)
        gone.add_done_callback(lambda _: wake.set())
        try:
            blind = BlindView(turn) if is_blind(turn) else None
            view = TurnView(blind.shown if blind is not None else turn, later=True, slices=True)
            # Folding a long turn takes a while; frames of other streams must not wait for it.
            await asyncio.to_thread(view.resume, after if t0_is_known(turn) else 0)
            await asyncio.to_thread(view.catch_up)
            written_s, slow = loop.time(), True
            while not gone.done():
                looked_s, n_entries = loop.time(), len(turn.entries)
                closed = turn.closed  # read before the entries: none is appended after it is set
                if blind is not None:
                    blind.refresh()
                view.catch_up()
                if view.analysis_due:
                    await asyncio.to_thread(view.analyse)
                figures_s = max(METRICS_EVERY_NS / 1e9, METRICS_EVERY_FRAMES * self.frame_s)
                frame = await asyncio.to_thread(_next, view, figures_s) if slow else _next(view, figures_s)
                slow = not view.complete  # a part of a long answer takes as long to render as a frame lasts
                if frame is not None:
                    await write(frame.data if slow else b"id: %d\n%b" % (view.consumed, frame.data))
                    written_s = looked_s
                elif looked_s - written_s >= KEEPALIVE_S:
                    await write(b": still here\n\n")
                    written_s = looked_s
                if slow:
                    continue
                if closed:
                    await write(b"event: end\ndata: {}\n\n")
                    return
                if self._closing:
                    return
                is_rendered = frame is not None and frame.is_rendered
                due_s = looked_s + max(self.frame_s, RENDERED_FRAME_S if is_rendered else 0.0)
                await asyncio.sleep(due_s - loop.time())
                self._note_lateness(loop.time() - due_s)
                wake.clear()
                turn.when_more(n_entries, wake_up)
                wait_s = figures_s if view.has_figures_left else written_s + KEEPALIVE_S - loop.time()
                waiting = loop.call_later(wait_s, wake.set)
                if not (gone.done() or self._closing):
                    await wake.wait()
                waiting.cancel()
        finally:
            self._wakes.discard(wake_up)

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


class _Frame(NamedTuple):
    """``data`` of an event; whether it has HTML of a growing answer."""

    data: bytes
    is_rendered: bool


def _next(view: TurnView, figures_s: float) -> _Frame | None:
    """The view's next frame; None if nothing has changed."""
    frame = view.frame(now_ns(view.turn), int(figures_s * 1e9))
    if frame is None:
        return None
    return _Frame(b"data: %b\n\n" % dumps(frame), any("tail" in part for part in frame["lanes"].values()))


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


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def t0_is_known(turn: TurnLog) -> bool:
    """False for a turn read from the log: it has no clock, and its entries may be in another order than when live."""
    return turn.t0_ns != 0


def now_ns(turn: TurnLog) -> int | None:
    """The engine's clock since the turn's start; None for a turn without one."""
    return time.perf_counter_ns() - turn.t0_ns if t0_is_known(turn) else None


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else 0
