"""The queues before model servers: ``core.admission`` decides who is sent when, this file makes requests wait for it.

One object for all turns of the engine, used on its loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..core.admission import Admission, Line, Rank, Request, whose
from ..core.events import QUEUED, Phase

RANKS = {"aggregator": Rank.AGGREGATOR, "trajectory": Rank.TRAJECTORY}  # by role; any other is plain


class Place:
    """A request's place at its server, from ``Queues.place`` until ``end``."""

    def __init__(self, queue: _Queue, request: Request) -> None:
        self._queue = queue
        self._request = request

    def first_token(self) -> None:
        self._queue.first_token(self._request)

    def beside(self) -> list[Request]:
        """This app's other requests that are with the server now."""
        return self._queue.beside(self._request)

    def end(self) -> None:
        """The request has ended. A second call has no effect."""
        self._queue.leave(self._request)


class Queues:
    """All servers' queues. ``clock_ns``: a monotonic clock."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._queues: dict[str, _Queue] = {}

    async def place(
        self, line: Line, role: str, label: str, report: Callable[[Phase], None], kind: str = "chat"
    ) -> Place:
        """Wait until a request of this role may be sent, in a turn of this ``kind``. ``report`` gets whose requests it
        waits for, as that changes.

        Returns without a pause if it need not wait. Cancelled, it leaves the queue.
        """
        queue = self._queues.setdefault(line.server, _Queue(self._clock_ns))
        rank = Rank.BENCHMARK if kind == "bench" else RANKS.get(role, Rank.PLAIN)
        request = Request(line, rank, label)
        try:
            await queue.join(request, report)
        except asyncio.CancelledError:
            queue.leave(request)
            raise
        return Place(queue, request)


class _Queue:
    """One server's queue."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._admission = Admission()
        self._waiting: dict[Request, tuple[asyncio.Future[None], Callable[[Phase], None]]] = {}
        self._reported: dict[Request, Phase] = {}

    async def join(self, request: Request, report: Callable[[Phase], None]) -> None:
        may_go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[request] = (may_go, report)
        self._admission.join(request)
        self._admit()
        if not may_go.done():
            await may_go

    def first_token(self, request: Request) -> None:
        self._admission.first_token(request, self._clock_ns())
        self._admit()

    def beside(self, request: Request) -> list[Request]:
        return [other for other in self._admission.running if other is not request]

    def leave(self, request: Request) -> None:
        self._waiting.pop(request, None)
        self._reported.pop(request, None)
        self._admission.leave(request, self._clock_ns())
        self._admit()

    def _admit(self) -> None:
        """Let go who may go, and tell the others whom they wait for."""
        for request in self._admission.admit(self._clock_ns()):
            may_go, _ = self._waiting.pop(request)
            self._reported.pop(request, None)
            if not may_go.done():
                may_go.set_result(None)
        for request in self._admission.waiting:
            before = self._admission.before(request)
            phase = Phase(QUEUED, whose(before), total=len(before))
            if phase != self._reported.get(request):
                self._reported[request] = phase
                self._waiting[request][1](phase)
