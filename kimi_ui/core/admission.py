"""Admission: which of the requests that wait for a model server are sent next. Pure: times (ns) are passed in.

A local model server answers a few requests at a time, often one, and queues the others first come, first served. Eight
trajectories sent at once would hold up every request that comes later by eight answers. So requests wait here, and are
sent by two rules:

- A plain lane's request passes an aggregation, both pass trajectories, and every request of a chat passes those of a
  benchmark; within a rank the order is that of arrival.
- Of one model only as many requests are with the server as it answers at a time: ``Line.parallel`` where that is known,
  else what the server has shown (``Capacity``). Until it has, plain requests are sent at once.

Requests for different models do not wait for each other here: the server decides whether two models run side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

REFUSALS = 2  # times that an extra request waited for another's end before the number is taken as the server's limit
FORGET_NS = 600_000_000_000  # without a request; then what was learned is forgotten: settings may have changed


class Line(NamedTuple):
    """Where a request queues. ``parallel``: how many of the model's requests the server answers at a time; None: learn
    it."""

    server: str
    model: str
    parallel: int | None = None


class Rank(IntEnum):
    """Lower ranks are sent first."""

    PLAIN = 0
    AGGREGATOR = 1
    TRAJECTORY = 2
    BENCHMARK = 3


@dataclass(eq=False)
class Request:
    """A request from joining the queue to its end. ``label`` is its lane's name."""

    line: Line
    rank: Rank
    label: str
    sent_ns: int | None = None
    is_extra: bool = False  # sent to find out whether the server answers one more at a time
    is_writing: bool = False
    ended_ns: int | None = None


@dataclass
class Capacity:
    """What a server has shown of a model: ``shown`` requests were written at the same time; ``refusals`` times one
    more had to wait until another had ended."""

    shown: int = 1
    refusals: int = 0
    last_end_ns: int | None = None

    @property
    def is_settled(self) -> bool:
        return self.refusals >= REFUSALS

    @property
    def limit(self) -> int:
        """How many requests may be with the server: one more than shown as long as that may teach something."""
        return self.shown if self.is_settled else self.shown + 1


class Admission:
    """One server's queue. After each ``join``, ``first_token`` and ``leave`` call ``admit``."""

    def __init__(self) -> None:
        self.waiting: list[Request] = []  # in the order in which they will be sent
        self.running: list[Request] = []
        self._capacities: dict[str, Capacity] = {}

    def join(self, request: Request) -> None:
        self.waiting.append(request)
        self.waiting.sort(key=lambda one: one.rank)  # stable: arrival decides within a rank

    def admit(self, now_ns: int) -> list[Request]:
        """The requests to send now; they count as running from here."""
        admitted = []
        for request in list(self.waiting):
            capacity, others = self._capacity(request.line, now_ns), self._running(request.line.model)
            limit = request.line.parallel or capacity.limit
            is_free = request.rank < Rank.TRAJECTORY and not (request.line.parallel or capacity.is_settled)
            if len(others) < limit or is_free:
                request.sent_ns, request.is_extra = now_ns, len(others) >= capacity.shown
                self.waiting.remove(request)
                self.running.append(request)
                admitted.append(request)
        return admitted

    def slots(self, line: Line, now_ns: int) -> int:
        """How many requests of the model the server answers at a time, as far as that is known; at least 1."""
        return line.parallel or self._capacity(line, now_ns).shown

    def first_token(self, request: Request, now_ns: int) -> None:
        """Learn from the first token: did the server write it beside others, or after one had ended?"""
        capacity = self._capacity(request.line, now_ns)
        request.is_writing = True
        writing = sum(other.is_writing for other in self._running(request.line.model))
        if writing > capacity.shown:
            capacity.shown, capacity.refusals = writing, 0
        elif request.is_extra and request.sent_ns is not None and capacity.last_end_ns is not None:
            waited_before, waited_after = capacity.last_end_ns - request.sent_ns, now_ns - capacity.last_end_ns
            capacity.refusals += waited_before > waited_after  # then it was that end which it waited for

    def leave(self, request: Request, now_ns: int) -> None:
        """The request has ended or waits no longer."""
        request.ended_ns = now_ns
        if request in self.running:
            self.running.remove(request)
            self._capacity(request.line, now_ns).last_end_ns = now_ns
        elif request in self.waiting:
            self.waiting.remove(request)

    def before(self, request: Request) -> list[Request]:
        """The requests for the same model that a waiting request waits for, in order."""
        model = request.line.model
        ahead = self.waiting[: self.waiting.index(request)]
        return [*self._running(model), *(other for other in ahead if other.line.model == model)]

    def _running(self, model: str) -> list[Request]:
        return [other for other in self.running if other.line.model == model]

    def _capacity(self, line: Line, now_ns: int) -> Capacity:
        capacity = self._capacities.get(line.model)
        idle_since = capacity.last_end_ns if capacity and not self._running(line.model) else None
        if capacity is None or (idle_since is not None and now_ns - idle_since > FORGET_NS):
            capacity = self._capacities[line.model] = Capacity()
        return capacity


def whose(requests: Sequence[Request]) -> str:
    """The lanes of these requests: "Kimi K2, 3 of Kimi K2 heavy"."""
    counts = Counter(request.label for request in requests)
    return ", ".join(label if n == 1 else f"{n} of {label}" for label, n in counts.items())
