"""The provider seam: one narrow method between the engine and whatever produces tokens.

A provider turns a ``ChatRequest`` into events and knows nothing of turns, storage or pages. It stamps nothing: it tells
its ``Host`` when the bytes arrived that the next events are made of. To stop, the engine cancels the task that iterates
``stream``; the provider must then have closed its connection before it returns (``async with`` around the response does
it), within 300 ms.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from ..core.admission import Line, Request
from ..core.attempt import AttemptFold
from ..core.events import Event, Failure, Phase, Reporter
from ..core.heavy.candidates import Candidate
from ..core.images import Image
from ..core.lane import LaneSpec

if TYPE_CHECKING:
    from .embedded.backends import Backends

UNREACHED = ("connect", "dns", "tls", "network")  # kinds of failure: no server was reached, or it was lost


class Message(NamedTuple):
    """One message; ``role`` is system | user | assistant. ``reasoning`` is empty unless the lane sends it. ``images``
    have their bytes; a provider whose ``takes_images`` says no is never given one."""

    role: str
    content: str
    reasoning: str = ""
    images: tuple[Image, ...] = ()


class HeavyChoice(NamedTuple):
    """What a turn asks of a heavy lane; other lanes ignore it.

    ``options`` go over the lane's own (``core.heavy.options``). ``kind``: of the turn, chat or bench. ``answers_of``:
    the attempt whose ``answers`` are aggregated again instead of sending trajectories; ``left_out``: why its other
    trajectories are not used.
    """

    options: Mapping[str, Any] = MappingProxyType({})
    kind: str = "chat"
    answers_of: str = ""
    answers: tuple[Candidate, ...] = ()
    left_out: tuple[tuple[int, str], ...] = ()


PLAIN = HeavyChoice()


@dataclass(frozen=True)
class ChatRequest:
    """What to answer. ``params`` override the lane's own for this request (already merged by the engine).

    ``model`` replaces the lane's own; empty: the lane's. ``heavy`` is for heavy lanes only. ``continues``: the last
    message is an answer that was cut, and the model should go on with it; the provider yields the flag ``CONTINUED``
    (``core.events``).
    """

    messages: tuple[Message, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    heavy: HeavyChoice = PLAIN
    continues: bool = False


GO_ON = (
    "Your answer above was cut off. Continue it exactly where it ends: begin with the next character, repeat nothing, "
    "and write no introduction."
)


def in_words(request: ChatRequest) -> ChatRequest:
    """The request to go on with a cut answer for a server that does not take the beginning of an answer."""
    return replace(request, messages=(*request.messages, Message("user", GO_ON)), continues=False)


class LaneGone(LookupError):
    """The lane was removed."""


class ProviderError(Exception):
    """A request that failed in a known way. ``failure`` is what the person reads.

    ``retryable``: sending the same request again may work (capacity, rate limit, upstream, network), provided no
    text has come. ``retry_after_s``: what the server requested, parsed and capped; None if it requested nothing.
    ``is_loading``: the server is loading the model; the provider sends the request again until it has.
    """

    is_loading = False

    def __init__(self, failure: Failure, retryable: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.retryable = retryable
        self.retry_after_s = retry_after_s

    @property
    def is_unreached(self) -> bool:
        """The server was not reached; or it was lost, which may be after its answer began."""
        return self.failure.kind in UNREACHED


class Arrival(NamedTuple):
    """When something arrived: the arguments of ``Host.arrived``."""

    at_ns: int = 0
    after_ns: int = 0
    is_last: bool = True


UNSTAMPED = Arrival()


class Child(Protocol):
    """A child attempt that is running or has ended. ``first_token`` is None until it has one."""

    k_index: int | None
    fold: AttemptFold

    @property
    def first_token(self) -> Arrival | None: ...

    async def wait(self) -> None:
        """Return when the child has ended, however it ended. Never raises for the child's own failure."""

    def events(self) -> AsyncIterator[tuple[Arrival, Event]]:
        """The child's events from this call until it has ended. Call it before the first ``await`` to miss none."""

    def stop(self, reason: str) -> None:
        """End the child as ``stopped``; its text so far is kept."""


class Host(Protocol):
    """What the engine does for a provider that streams.

    ``take`` takes an event as if the provider's generator yielded it. Only while that is awaited may a provider call
    it, from a callback of the event loop; it may raise ``ProviderError``. None: all events are to be yielded.
    """

    @property
    def take(self) -> Callable[[Event], None] | None: ...

    def sent(self) -> None:
        """The request is sent now: every stamp of the attempt counts from here. Later calls have no effect.

        Without a call the stamps count from the call of ``stream``.
        """

    def written(self, late_ns: int) -> None:
        """The request is on its way in whole; ``late_ns`` of the time since ``sent`` was not the network's but ours."""

    def arrived(self, at_ns: int, after_ns: int = 0, is_last: bool = True) -> None:
        """What the provider yields next arrived then, by ``time.perf_counter_ns``; 0: at the time it is yielded.

        What is read together has one stamp, that of its last byte. Only what ends the read (``is_last``) is exact; the
        rest came after ``after_ns`` (0: not known, the stamp is this process's own). A later call with the same
        ``at_ns`` says that more came in that read.
        """

    async def until_sent(self) -> None:
        """Return once the attempt's clock runs: ``sent`` was called for it or for one of its children."""

    def beside(self) -> Sequence[Request]:
        """This app's other requests that are with the same server now; none where requests do not queue
        (``Provider.line``)."""

    def start(self, provider: Provider, request: ChatRequest, role: str, k_index: int | None = None) -> Child:
        """A child attempt (heavy's trajectories and aggregation): logged, limited and stopped like any other."""


class Yielding:
    """``host`` for a provider that changes the events of another one's stream, so that all of them are yielded."""

    take = None

    def __init__(self, host: Host) -> None:
        self.sent, self.written, self.arrived = host.sent, host.written, host.arrived
        self.until_sent, self.beside, self.start = host.until_sent, host.beside, host.start


class Unmeasured:
    """The host of a request that nobody measures, such as a probe."""

    take: Callable[[Event], None] | None = None

    def sent(self) -> None: ...

    def written(self, late_ns: int) -> None: ...

    def arrived(self, at_ns: int, after_ns: int = 0, is_last: bool = True) -> None: ...

    async def until_sent(self) -> None: ...

    def beside(self) -> Sequence[Request]:
        return ()

    def start(self, provider: Provider, request: ChatRequest, role: str, k_index: int | None = None) -> Child:
        raise NotImplementedError


@dataclass(frozen=True)
class Check:
    """What ``doctor`` found about a lane. None: not known or not checked.

    ``thinking``: whether the model exposes reasoning. ``dialect``: the field it arrives in, e.g. ``reasoning_content``.
    ``problem``/``remedy``/``command``: one sentence, what to do, and a line to copy, when ``ok`` is False. ``servers``:
    of a lane on several servers, the check of each by its address.
    """

    ok: bool
    reachable: bool | None = None
    key_valid: bool | None = None
    model_present: bool | None = None
    thinking: bool | None = None
    dialect: str | None = None
    latency_ms: float | None = None
    problem: str = ""
    remedy: str = ""
    command: str = ""
    detail: str = ""  # the server's own words
    context_tokens: int | None = None  # the context in use
    trained_tokens: int | None = None  # the largest that the model was trained for
    warnings: tuple[str, ...] = ()  # what costs time though the lane answers, one sentence each
    servers: Mapping[str, Check] = field(default_factory=dict)


class Parts(NamedTuple):
    """What a provider may need besides its lane: the value of the variable ``api_key_env``, the provider of the lane
    ``of``, and this process's embedded models."""

    key: str = ""
    of: Provider | None = None
    backends: Backends | None = None


class Provider:
    """One lane's model. ``lane`` is the class of its lanes: their keys, and what the provider can do (``LaneSpec``).

    A provider must stream; the other methods have defaults. ``registry`` lists them all.
    """

    lane: ClassVar[type[LaneSpec]]
    spec: LaneSpec

    def __init__(self, spec: LaneSpec, key: str = "") -> None:
        self.spec = spec
        self._key = key

    @classmethod
    def make(cls, spec: LaneSpec, parts: Parts) -> Provider:
        """The provider of a lane, with the parts that it needs."""
        return cls(spec, parts.key)

    @property
    def asked(self) -> LaneSpec:
        """The lane whose server gets the requests."""
        return self.spec

    @property
    def servers(self) -> tuple[Provider, ...]:
        """The providers of the lane's servers, of which each attempt is sent to one; by default itself alone."""
        return (self,)

    def warm_up(self) -> None:
        """Start what takes long in the background, before the first prompt."""

    async def prepare(self, report: Reporter) -> None:
        """Do what must happen before a request and is not the model's time (fetch weights, start a child process).

        Reports ``Phase(PREPARING, …)``. Raises ``ProviderError``. Cheap when there is nothing to do.
        """

    def line(self, request: ChatRequest) -> Line | None:
        """The server and model that the request queues for (``core.admission``); None: it is sent at once."""
        return None

    def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        """Send the request and yield its events in order. Ends after the stream ended; raises ``ProviderError``.

        Calls ``host.sent()`` when the request is built and about to be sent, so that building it is not counted.

        Yields ``Phase(CONNECTED)`` once headers are in and ``Phase(FIRST_CHUNK)`` at the first stream event.
        Never yields ``Opened`` or ``End`` (the engine's), never yields inside a TaskGroup or asyncio.timeout.
        Cancelled, it may still yield what it held back, without waiting, before it passes the ``CancelledError`` on.
        """
        raise NotImplementedError

    async def check(self, probe: bool = False) -> Check:
        """Find out whether this lane would answer. ``probe`` allows one tiny paid request to learn the dialect."""
        return Check(ok=True)

    async def models(self) -> list[str]:
        """The model ids the provider lists; empty where it cannot list any. Raises ``ProviderError``."""
        return []

    async def takes_images(self, model: str = "") -> bool | None:
        """Whether the model (empty: the lane's) takes images, by the provider's own word; None: it does not say.

        A provider that says anything but False sends ``Message.images``. Never raises, and answers within seconds.
        """
        return False

    def pull(self, model: str = "") -> AsyncGenerator[Phase, None]:
        """Fetch a model, the lane's own if none is named, where the lane's class ``can_pull``.

        Yields phases with bytes done and bytes in all, as far as they are known. Raises ``ProviderError``.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """Release connections and processes."""
