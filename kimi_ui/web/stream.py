"""The stream route: one turn's frames as server-sent events.

``GET /kimi/turns/{turn_id}/events``: the data of each event is a frame (see ``view.frames``), its id the number of log
entries it covers. ``Last-Event-ID`` or ``?after=n`` continues from there; otherwise the first frame contains everything
so far, except for the rest of long answers, which the next ones bring; those before the last have no id, since nothing
can continue there. The stream ends with an event ``end`` when the turn has ended. A frame is sent at most every
``FRAME_S`` and only after changes; a comment is sent every ``KEEPALIVE_S`` without frames. A slow reader gets fewer,
larger frames, since unsent changes join the next frame. One tab of a browser reads and passes the frames on to the
others (``assets/stream.js``).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..core.blind import BlindView, is_blind
from ..core.turn import TurnLog
from ..view.frames import TurnView, dumps

FRAME_S = 0.033
MANY_VIEWERS = 8  # with more open streams, frames are further apart, to limit the load
KEEPALIVE_S = 15.0

Write = Callable[[bytes], Awaitable[None]]


class TurnStreams:
    """All open streams of this server. ``closing`` ends them, so that the server can stop."""

    def __init__(self) -> None:
        self.n_open = 0
        self.closing = False

    @property
    def frame_s(self) -> float:
        return FRAME_S * max(1.0, math.sqrt(self.n_open / MANY_VIEWERS))

    def response(self, request: Request, turn: TurnLog) -> Response:
        """The streaming response for this turn's events; a blind turn is shown through ``core.blind``."""
        after = _number(request.headers.get("last-event-id") or request.query_params.get("after"))
        return EventStream(lambda write, gone: self._run(turn, after, write, gone))

    async def _run(self, turn: TurnLog, after: int, write: Write, gone: asyncio.Future[None]) -> None:
        self.n_open += 1
        try:
            blind = BlindView(turn) if is_blind(turn) else None
            if blind is not None:
                turn = blind.shown
            view = TurnView(turn, later=True, slices=True)
            # Folding a long turn takes a while; frames of other streams must not wait for it.
            await asyncio.to_thread(view.resume, after if t0_is_known(turn) else 0)
            await asyncio.to_thread(view.catch_up)
            written_s, slow = time.monotonic(), True
            while not gone.done():
                if blind is not None:
                    blind.refresh()
                closed = turn.closed  # read before the entries: none is appended after it is set
                view.catch_up()
                if view.analysis_due:
                    await asyncio.to_thread(view.analyse)
                data = await asyncio.to_thread(_next, view) if slow else _next(view)
                slow = not view.complete  # a part of a long answer takes as long to render as a frame lasts
                if data is not None:
                    await write(data if slow else b"id: %d\n%b" % (view.consumed, data))
                    written_s = time.monotonic()
                elif time.monotonic() - written_s > KEEPALIVE_S:
                    await write(b": still here\n\n")
                    written_s = time.monotonic()
                if slow:
                    continue
                if closed:
                    await write(b"event: end\ndata: {}\n\n")
                    return
                if self.closing:
                    return
                await asyncio.wait([gone], timeout=self.frame_s)
        finally:
            self.n_open -= 1


def _next(view: TurnView) -> bytes | None:
    """The view's next frame as the data of an event; None if nothing has changed."""
    frame = view.frame(now_ns(view.turn))
    return None if frame is None else b"data: %b\n\n" % dumps(frame)


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
