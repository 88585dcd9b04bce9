"""Jobs: what the engine has a lane or a heavy attempt do, as values. ``attempts`` runs them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..core.attempt import Attempt
from ..core.events import Entry, Reporter
from ..core.lane import LaneSpec
from ..core.turn import TurnLog
from ..providers.base import ChatRequest, Provider
from .loop_lag import LoopLag
from .queues import Queues

if TYPE_CHECKING:
    from .attempts import AttemptRun


@dataclass
class Context:
    """The context shared by all attempts of a turn.

    ``open_attempt`` returns when the attempt's row is in the log; the request is sent only after that. ``clock_ns`` is
    monotonic; ``wall_ns`` only serves to detect clock jumps.
    """

    turn: TurnLog
    open_attempt: Callable[[Attempt], Awaitable[None]]
    clock_ns: Callable[[], int]
    wall_ns: Callable[[], int]
    lag: LoopLag
    queues: Queues
    max_retries: int = 2
    rng: random.Random = field(default_factory=random.Random)


class Continued(NamedTuple):
    """An answer that was cut, and the attempt that it is of."""

    attempt_id: str
    answer: str


@dataclass
class Job:
    """A request of a lane, in a role. ``tried``: the addresses of the servers that its attempts were sent to.

    ``parent`` is the heavy attempt that the request belongs to. ``first_no`` is the number of its first attempt,
    above 1 if the user retries the lane; ``asked_ns`` is the time of that click, ns since the turn's start.
    ``continues``: the cut answer that it goes on with.
    """

    lane: str
    provider: Provider
    request: ChatRequest
    role: str = "single"
    parent: AttemptRun | None = None
    k_index: int | None = None
    first_no: int = 1
    asked_ns: int = 0
    continues: Continued | None = None
    tried: list[str] = field(default_factory=list)

    def report_to(self, context: Context) -> Reporter:
        """What reports the lane's preparation."""
        turn = context.turn
        return lambda phase: turn.append(Entry(self.lane, "", context.clock_ns() - turn.t0_ns, phase))

    def identity(self, context: Context, attempt_no: int) -> Attempt:
        """The attempt before it is sent; ``AttemptRun`` replaces ``sent_ns`` and, of several servers, ``base_url``."""
        spec: LaneSpec = self.provider.spec.with_model(self.request.model)
        price = spec.price
        return Attempt(
            attempt_id=uuid.uuid4().hex,
            turn_id=context.turn.turn_id,
            lane=self.lane,
            label=spec.label,
            role=self.role,
            parent_id=self.parent.attempt.attempt_id if self.parent else None,
            k_index=self.k_index,
            attempt_no=attempt_no,
            provider=spec.provider,
            base_url=spec.server if len(spec.servers) == 1 else "",
            request_model=spec.model,
            params={**spec.params, **self.request.params},
            price=(price.input, price.cached_input, price.output, price.as_of) if price else None,
            stand_in_for=spec.stand_in_for,
            continues=self.continues.attempt_id if self.continues else None,
            sent_ns=context.clock_ns() - context.turn.t0_ns,
            asked_ns=self.asked_ns,
            queue_ns=None if self.provider.line(self.request) is None else 0,
            input_chars=sum(len(message.content) + len(message.reasoning) for message in self.request.messages),
            tokenizer=spec.tokenizer,
            settings=spec.settings,
        )
