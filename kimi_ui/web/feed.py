"""The frames of one turn as one kind of page sees it, made once for all who follow it (``stream``).

A follower has a place, the number of the feed's frames that it has been sent, and gets the bytes from there on. Whoever
is due first and lacks nothing makes the next frame; so one follower alone gets as few, large frames as it can take. The
first follower's view becomes the feed's. Whoever comes later brings a view of its own, which makes the state that the
next of the feed's frames goes on from, and is not needed after that.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import islice
from typing import NamedTuple

from ..core.blind import BlindView, is_blind
from ..core.turn import TurnLog
from ..view.frames import TurnView, dumps

MOST_KEPT_BYTES = 1_000_000  # of frames for followers that are behind; who lacks more begins again at its position


class Sent(NamedTuple):
    """``data``: an event for the wire. ``position``: the log entries that a page has with it; None: the next frame has
    the rest of them. ``is_rendered``: it has HTML of a growing answer."""

    data: bytes
    position: int | None
    is_rendered: bool


class Feed:
    """One turn, blind or open as it was when the feed was made. ``n_followers``: for the caller to count.

    ``n_looked``: the turn's entries at the last look for news; ``looked_s``: when that was, on the loop's clock.
    ``has_ended``: the frames hold all of a turn that is closed. ``n_frames``: how many there have been.
    """

    def __init__(self, turn: TurnLog) -> None:
        self.turn = turn
        self.n_followers = self.n_frames = self.n_looked = 0
        self.looked_s = 0.0
        self.has_ended = False
        self._blind = BlindView(turn) if is_blind(turn) else None
        self._view: TurnView | None = None
        self._is_slow = True  # the next frame may take as long to make as frames are apart
        self._kept: deque[Sent] = deque()  # the newest frames
        self._kept_bytes = 0
        self._lock = asyncio.Lock()  # some of the work is done on threads

    @property
    def has_figures_left(self) -> bool:
        return self._view is not None and self._view.has_figures_left

    @property
    def has_more(self) -> bool:
        """Whether the turn has something that was not looked at yet."""
        return self._is_slow or len(self.turn.entries) > self.n_looked or (self.turn.closed and not self.has_ended)

    async def view(self, after: int) -> TurnView:
        """A view of all there is now, for a page that has the first ``after`` entries."""
        view = TurnView(self.turn if self._blind is None else self._blind.shown, later=True, slices=True)
        # Folding a long turn takes a while; frames of other streams must not wait for it.
        await asyncio.to_thread(view.resume, after if t0_is_known(self.turn) else 0)
        await asyncio.to_thread(view.catch_up)
        return view

    async def join(self, view: TurnView, figures_s: float) -> tuple[int, bool]:
        """The place of a new follower with this view, and whether the view's own frames come before the feed's."""
        async with self._lock:
            if self._view is None:
                self._view = view
                return self.n_frames, False
            await self._make(figures_s)
            while self._is_slow:
                await self._make(figures_s)
            view.catch_up(self._view.consumed)
            view.show_as(self._view)
            return self.n_frames, True

    async def behind(self, place: int, figures_s: float) -> list[Sent] | None:
        """The frames behind this place. If there is none, the next one is made, unless nothing has changed.

        None: they are gone, there were too many or one could not be made.
        """
        async with self._lock:
            if place == self.n_frames:
                await self._make(figures_s)
        n = self.n_frames - place
        return list(islice(self._kept, len(self._kept) - n, None)) if n <= len(self._kept) else None

    async def _make(self, figures_s: float) -> None:
        try:
            await self._make_with(self._view, figures_s)
        except BaseException:  # the view may lack what it was about to show: all begin again, with another
            self._view, self._is_slow = None, True
            self._kept.clear()
            self._kept_bytes = 0
            self.n_frames += 1  # which nobody gets
            raise

    async def _make_with(self, view: TurnView | None, figures_s: float) -> None:
        assert view is not None
        self.looked_s, self.n_looked = asyncio.get_running_loop().time(), len(self.turn.entries)
        closed = self.turn.closed  # read before the entries: none is appended after it is set
        if self._blind is not None:
            self._blind.refresh()
        view.catch_up()
        if view.analysis_due:
            await asyncio.to_thread(view.analyse)
        sent = await asyncio.to_thread(frame_of, view, figures_s) if self._is_slow else frame_of(view, figures_s)
        self._is_slow = sent is not None and sent.position is None  # a part of a long answer
        if sent is not None:
            self._keep(sent)
        self.has_ended = closed and not self._is_slow

    def _keep(self, sent: Sent) -> None:
        self.n_frames += 1
        self._kept.append(sent)
        self._kept_bytes += len(sent.data)
        most = MOST_KEPT_BYTES if self.n_followers > 1 else 0  # one alone has been sent all before it
        while self._kept_bytes > most and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popleft().data)


def frame_of(view: TurnView, figures_s: float) -> Sent | None:
    """The view's next frame; None if nothing has changed. Figures are at least ``figures_s`` apart."""
    frame = view.frame(now_ns(view.turn), int(figures_s * 1e9))
    if frame is None:
        return None
    position = view.consumed if view.complete else None
    id = b"" if position is None else b"id: %d\n" % position
    if not t0_is_known(view.turn):
        id = b"id: \n"  # a running turn, here or elsewhere, has its entries in another order than the log
    is_rendered = any("tail" in part for part in frame["lanes"].values())
    return Sent(b"%bdata: %b\n\n" % (id, dumps(frame)), position, is_rendered)


def t0_is_known(turn: TurnLog) -> bool:
    """False for a turn read from the log: it has no clock, and its entries may be in another order than when live."""
    return turn.t0_ns != 0


def now_ns(turn: TurnLog) -> int | None:
    """The engine's clock since the turn's start; None for a turn without one."""
    return time.perf_counter_ns() - turn.t0_ns if t0_is_known(turn) else None
