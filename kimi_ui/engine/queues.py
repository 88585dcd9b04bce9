"""Which of a lane's servers gets a request, and the queues before model servers: ``core.admission`` decides who is sent
when, this file makes requests wait for it.

Of several servers the least busy one gets a request: the one with the fewest of this process's requests, divided by how
many it answers at a time where that is known. Servers that are equally busy are taken in the order of the lane's
``base_url``, which is thereby an order of preference: an idle lane goes on with the server that has its model in memory
and the conversation's prefix in its cache, and figures of consecutive turns are of the same machine. Taking turns would
spread a load that does not exist. A server that could not be reached is left out for ``AVOID_NS`` if there is another
one, and a request that is sent again goes to a server that it was not sent to. Where requests queue, one waits at all
of its servers and is sent to the first that has room.

One object for all turns of the engine, used on its loop only.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from ..core.admission import Admission, Rank, Request, whose
from ..core.events import QUEUED, Phase
from ..providers.base import ChatRequest, Provider

RANKS = {"aggregator": Rank.AGGREGATOR, "trajectory": Rank.TRAJECTORY}  # by role; any other is plain
AVOID_NS = 30_000_000_000  # as long as a server takes to start again; then one request finds out


class Place:
    """A request's place at a server, from ``Queues.place`` until ``end``. ``request`` is None where requests do not
    queue; ``is_taken``: this is where it is sent."""

    def __init__(self, queues: Queues, server: Provider, request: Request | None) -> None:
        self.server = server
        self.request = request
        self.is_taken = False
        self._queues = queues

    @property
    def address(self) -> str:
        """The server's."""
        return self.request.line.server if self.request else self.server.spec.server

    def first_token(self) -> None:
        self._queues.first_token(self)

    def unreached(self) -> None:
        """The server could not be reached."""
        self._queues.unreached(self)

    def beside(self) -> list[Request]:
        """This app's other requests that are with the server now; none where requests do not queue."""
        return self._queues.beside(self)

    def end(self) -> None:
        """The request has ended. A second call has no effect."""
        self._queues.leave(self)


class _Wait:
    """A request that waits for the first of its places."""

    def __init__(self, places: Sequence[Place], report: Callable[[Phase], None]) -> None:
        self.places = places
        self.taken: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._report = report
        self._reported: Phase | None = None

    def tell(self, before: Sequence[Request]) -> None:
        phase = Phase(QUEUED, whose(before), total=len(before))
        if phase != self._reported:
            self._reported = phase
            self._report(phase)


class Queues:
    """All servers' queues. ``clock_ns``: a monotonic clock."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._admissions: defaultdict[str, Admission] = defaultdict(Admission)
        self._waits: dict[Request, _Wait] = {}
        self._in_flight: Counter[str] = Counter()
        self._unreached_ns: dict[str, int] = {}  # when a server could not be reached, until one answers again

    async def place(
        self,
        servers: Sequence[Provider],
        chat: ChatRequest,
        role: str,
        label: str,
        report: Callable[[Phase], None],
        kind: str = "chat",
        tried: Sequence[str] = (),
    ) -> Place:
        """Choose one of the servers, and wait until a request of this role may be sent to it, in a turn of this
        ``kind``. ``report`` gets whose requests it waits for, as that changes. ``tried``: the addresses that it was
        sent to before.

        Returns without a pause if it need not wait. Cancelled, it leaves the queues.
        """
        rank = Rank.BENCHMARK if kind == "bench" else RANKS.get(role, Rank.PLAIN)
        lines = [(server, server.line(chat)) for server in servers]
        places = [Place(self, server, Request(line, rank, label) if line else None) for server, line in lines]
        fit = self._fit([place.address for place in places], tried)
        places = self._by_load([place for place in places if place.address in fit])
        if places[0].request is None:
            self._take(places[0])
            return places[0]
        wait = _Wait(places, report)
        for place in places:
            assert place.request
            self._waits[place.request] = wait
            self._admissions[place.address].join(place.request)
        try:
            for place in places:
                self._admit(place.address)
            self._tell()
            return wait.taken.result() if wait.taken.done() else await wait.taken
        except asyncio.CancelledError:
            self.leave(*places)
            raise

    def first_token(self, place: Place) -> None:
        self._unreached_ns.pop(place.address, None)
        if place.request:
            self._admissions[place.address].first_token(place.request, self._clock_ns())
            self._admit(place.address)
            self._tell()

    def unreached(self, place: Place) -> None:
        """Who waits at this server waits only at the others then, if it does at any."""
        self._unreached_ns[place.address] = self._clock_ns()
        for request in list(self._admissions[place.address].waiting):
            wait = self._waits[request]
            if others := [other for other in wait.places if other.request is not request]:
                wait.places = others
                del self._waits[request]
                self._admissions[place.address].leave(request, self._clock_ns())

    def goes_elsewhere(self, servers: Sequence[Provider], tried: Sequence[str]) -> bool:
        """Whether a request that was sent to ``tried`` is sent to another server than the last of them next."""
        addresses = [server.spec.server for server in servers]
        return len(addresses) > 1 and bool(tried) and tried[-1] not in self._fit(addresses, tried)

    def beside(self, place: Place) -> list[Request]:
        if place.request is None:
            return []
        return [other for other in self._admissions[place.address].running if other is not place.request]

    def leave(self, *places: Place) -> None:
        for place in places:
            if place.is_taken:
                place.is_taken = False
                self._in_flight[place.address] -= 1
            if place.request:
                self._waits.pop(place.request, None)
                self._admissions[place.address].leave(place.request, self._clock_ns())
        for place in places:
            if place.request:
                self._admit(place.address)
        self._tell()

    def _fit(self, addresses: Sequence[str], tried: Sequence[str]) -> set[str]:
        """The servers to choose from: those that can be reached, before those that were tried least."""

        def doubt(address: str) -> tuple[bool, int]:
            since_ns = self._unreached_ns.get(address)
            avoided = since_ns is not None and self._clock_ns() - since_ns < AVOID_NS
            return avoided, tried.count(address)

        least = min(map(doubt, addresses))
        return {address for address in addresses if doubt(address) == least}

    def _by_load(self, places: Sequence[Place]) -> list[Place]:
        """The least busy first; the sort is stable."""

        def load(place: Place) -> float:
            line = place.request.line if place.request else None
            slots = self._admissions[place.address].slots(line, self._clock_ns()) if line else 1
            return self._in_flight[place.address] / slots

        return sorted(places, key=load)

    def _take(self, place: Place) -> None:
        place.is_taken = True
        self._in_flight[place.address] += 1

    def _admit(self, server: str) -> None:
        """Let go who may go at this server; they wait at no other one any more."""
        for request in self._admissions[server].admit(self._clock_ns()):
            wait = self._waits[request]
            for place in wait.places:
                assert place.request
                del self._waits[place.request]
                if place.request is not request:
                    self._admissions[place.address].leave(place.request, self._clock_ns())
                    continue
                self._take(place)
                if not wait.taken.done():  # else it was cancelled in the same moment, and leaves
                    wait.taken.set_result(place)

    def _tell(self) -> None:
        """Tell those who wait whom they wait for; at several servers, where the fewest are before them."""
        for wait in dict.fromkeys(self._waits.values()):
            before = [self._admissions[place.address].before(place.request) for place in wait.places if place.request]
            wait.tell(min(before, key=len))
