"""Running attempts: timestamps, limits, stops, retries. Everything here runs on the engine's loop.

``AttemptRun`` is one request from send to ``End``. ``Tries`` repeats the request until it succeeds or no retry is left:
each try is a new attempt, announced by the failed one's ``End.retry_in_s``. Lanes and heavy's children both run as
``Tries``.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .. import utc
from ..core.admission import Request
from ..core.attempt import Attempt, AttemptFold
from ..core.events import Bounds, Carried, End, Entry, Event, Failure, Flag, Opened, Phase, new_tuple
from ..core.lane import Limits
from ..providers.base import Arrival, ChatRequest, Child, Provider, ProviderError
from ..providers.images import events_for
from .arrivals import Arrivals, Mark
from .context_flags import context_flags
from .jobs import Context, Job
from .queues import Place

log = logging.getLogger(__name__)

OUT_BY_S = 0.01  # from ``Host.sent`` to the ``Opened`` entry, so that its readers do not delay the write
CLOCK_JUMP_NS = 2_000_000_000  # an attempt is flagged if wall and monotonic clock drift further apart than this
MAX_EVENTS = 300_000  # more than a 262k context has tokens; limits the memory that an endless stream takes

ENDLESS = Failure(
    "too_large",
    f"The stream was cut after {MAX_EVENTS:,} pieces: it did not end.",
    "Ask for less, or set max_tokens in the lanes file.",
)

# Stop reasons that are limits: the field of ``Limits``, the message and the start of the remedy. Other stop reasons are
# ``user``, ``quorum``, ``parent`` and ``shutdown``.
LIMIT_FAILURES = {
    "timeout_first_token": (
        "first_token_s",
        "No token came within {s:g} s.",
        "The model may be busy or still loading: try again,",
    ),
    "timeout_idle": ("idle_s", "The stream went silent for {s:g} s.", "The text so far is kept: try again,"),
    "timeout_total": (
        "total_s",
        "The answer was not finished after {s:g} s.",
        "The text so far is kept: ask for less,",
    ),
}


def limit_failure(reason: str, limits: Limits) -> Failure:
    """The failure of an attempt that was stopped for ``reason``, a key of ``LIMIT_FAILURES``."""
    name, message, remedy = LIMIT_FAILURES[reason]
    return Failure(reason, message.format(s=getattr(limits, name)), f"{remedy} or raise {name} in the lanes file.")


def next_limit(fold: AttemptFold, limits: Limits) -> tuple[float, str]:
    """The next limit of a running attempt: its time in seconds since sending, and its stop reason."""
    total = (limits.total_s, "timeout_total")
    if fold.first_token_ns is None:
        return min((limits.first_token_s, "timeout_first_token"), total)
    last_ns = fold.last_token_ns if fold.last_token_ns is not None else fold.first_token_ns
    return min((last_ns / 1e9 + limits.idle_s, "timeout_idle"), total)


Reader = asyncio.Queue[tuple[Arrival, Event] | None]  # of a child's events; None: it has ended


class AttemptRun:
    """One attempt from send to ``End``. ``failure_retryable`` and ``retry_after_s`` are for ``Tries``.

    ``readers`` get each of its events, and may become more.
    """

    # Fewer than 30 attributes: with more, a dictionary would hold them, and every token would look up a dozen.
    # tests/test_token_cost.py checks it.

    def __init__(self, attempt: Attempt, job: Job, context: Context, readers: Sequence[Reader]) -> None:
        self.attempt = attempt
        self.fold = AttemptFold()
        self._loop_lag_ns = 0
        self.failure_retryable = False
        self.retry_after_s: float | None = None
        self._job = job
        self._context = context
        self._turn, self._lane, self._attempt_id = context.turn, job.lane, attempt.attempt_id
        self._readers = readers
        self._sent_ns = self._sent_wall_ns = 0
        self._last_ns = 0
        self._n_events = 0
        self.arrivals = Arrivals()
        self._written_ns: int | None = None
        self._ended_ns: int | None = None
        self._is_sent = self._is_open = False
        self._behind: Phase | None = None  # while the attempt waits in the queue
        self._clock_runs = asyncio.Event()
        self._place: Place | None = None
        self._reader: asyncio.Task[None] | None = None
        self.host: AttemptHost | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stop_reason = ""
        # Heavy's children have the token limits; the heavy attempt itself has only the total limit.
        limits = job.provider.spec.limits
        self._limits = Limits(limits.total_s, limits.total_s, limits.total_s) if job.role == "heavy" else limits

    def stop(self, reason: str) -> None:
        """Close the upstream and end the attempt with this stop reason. A second call has no effect."""
        if not self._stop_reason:
            self._stop_reason = reason
            if self._reader:
                self._reader.cancel()

    async def run(self, retry_s: Callable[[AttemptRun], float | None], unsent: ProviderError | None = None) -> None:
        """Send, read to the end, append ``End``. ``retry_s`` returns the delay of a retry, or None for no retry.

        ``unsent``: the reason why the request cannot be sent; the attempt then only records this failure.
        """
        context = self._context
        await context.open_attempt(self.attempt)
        self._start_clock()
        if unsent is not None:
            self._fail(unsent)
        elif not self._stop_reason:
            n_samples = context.lag.n_samples
            self._reader = asyncio.create_task(self._read())
            self._check_limits()
            try:
                await asyncio.wait([self._reader])
            finally:
                self._disarm()
                self._loop_lag_ns = context.lag.since(n_samples)
        if self.fold.has_usage:
            self._ended_ns = self._now()
            for flag in await context_flags(self.attempt, self.fold, self._job.request):
                self._append(self._ended_ns, flag)
        self._end(retry_s)

    def sent(self) -> None:
        """Start the attempt's clock: the request is being sent. Only the first call, before any event, has an effect.

        The ``Opened`` entry follows ``OUT_BY_S`` later, because its readers would take the GIL before the write.
        A child's first request is the parent's.
        """
        if not self._is_sent and not self._is_open:
            if self._job.parent:
                self._job.parent.sent()
            self._is_sent = True
            self._leave_queue()
            self._start_clock()
            self._check_limits()
            self._clock_runs.set()
            asyncio.get_running_loop().call_later(OUT_BY_S, self.open)

    def beside(self) -> Sequence[Request]:
        """See ``Host.beside``."""
        return self._place.beside() if self._place else ()

    async def until_sent(self) -> None:
        """Return once the attempt's clock runs: it or a child was sent, or it has ended before."""
        await self._clock_runs.wait()

    def queued(self, phase: Phase) -> None:
        """The attempt waits in the app's queue and is shown from now on. A parent waits with its first child."""
        if self._is_open or self._is_sent:
            return
        if self._job.parent:
            self._job.parent.queued(phase)
        if self._behind is None:
            self._disarm()
            opened = Opened(self._identity(queue_ns=None).as_dict())
            self._turn.append(Entry(self._lane, self._attempt_id, 0, opened))
        elif (phase.total or 0) > (self._behind.total or 0):
            return  # another child's, further behind
        self._behind = phase
        self._turn.append(Entry(self._lane, self._attempt_id, self._now(), phase))

    @property
    def first_token(self) -> Arrival | None:
        """When the first token arrived; None before that."""
        if (mark := self.arrivals.first_token) is None:
            return None
        return mark.arrival._replace(at_ns=self._sent_ns + mark.t_ns)

    def written(self, late_ns: int) -> None:
        """The request is on its way in whole; the last call before an answer counts."""
        if self.fold.headers_ns is None:
            self._written_ns = self._now()
            self.arrivals.sent_late_ns = min(late_ns, self._written_ns)

    def _leave_queue(self) -> None:
        """End the wait in the queue, if there was one: it is ``queue_ns`` now, and the attempt's clock starts again."""
        if self._behind is not None:
            self._behind = None
            self.attempt = replace(self.attempt, queue_ns=self._now())
            self._start_clock()

    def _start_clock(self) -> None:
        self._sent_ns, self._sent_wall_ns = self._context.clock_ns(), self._context.wall_ns()
        self._sent_at = datetime.now(UTC)

    def open(self) -> None:
        """Append the attempt's first entry, with the time of sending."""
        if self._is_open:
            return
        if self._job.parent:
            self._job.parent.open()
        self._leave_queue()
        self._is_open = True
        self._clock_runs.set()
        self.attempt = self._identity()
        self._append(0, Opened(self.attempt.as_dict()))
        if self._job.continues:
            self._append(0, Carried(self._job.continues.answer))

    def _identity(self, **changes: Any) -> Attempt:
        """The attempt with the start of its clock."""
        sent_ns = self._sent_ns - self._context.turn.t0_ns
        return replace(self.attempt, sent_ns=sent_ns, started_at_utc=utc.text(self._sent_at), **changes)

    async def _read(self) -> None:
        """Stamp and append every event of the provider; an exception becomes a ``Failure``.

        Events yielded after a stop are text that the provider held back. They get the stamp of the last event before.
        """
        host = self.host = AttemptHost(self, self._job, self._context)
        try:
            provider = self._job.provider if self._job.role == "heavy" else await self._placed()
            async with aclosing(events_for(provider, self._job.request, host, self.fold)) as events:
                async for event in events:
                    self.take(event)
        except ProviderError as error:
            if self._place and error.is_unreached and self.fold.headers_ns is None:  # it has not answered
                self._place.unreached()
            self._fail(error)
        except Exception as error:
            log.exception("attempt %s of lane %s: internal error", self.attempt.attempt_id, self._job.lane)
            message = f"Kimi UI itself failed ({type(error).__name__})."
            self._fail(ProviderError(Failure("internal", message, "Try again; the terminal says more.")))
        finally:
            if self._place:
                self._place.end()
            await host.close(self._stop_reason or "parent")

    async def _placed(self) -> Provider:
        """Wait for a place at one of the lane's servers; its provider, ready to send."""
        job, queues = self._job, self._context.queues
        servers, label, kind = job.provider.servers, self.attempt.label, self._context.turn.kind
        self._place = place = await queues.place(servers, job.request, job.role, label, self.queued, kind, job.tried)
        job.tried.append(place.address)
        self._leave_queue()
        if len(servers) > 1:  # one alone is known and ready before
            self.attempt = replace(self.attempt, base_url=place.server.spec.server)
            await place.server.prepare(job.report_to(self._context))
            self._start_clock()
        self._check_limits()
        return place.server

    def take(self, event: Event) -> None:
        """Append the event that has come. Raises ``ProviderError`` where there is no end of them.

        Its stamp is when it arrived, never before the last one.
        """
        t_ns = self._last_ns
        if not self._stop_reason:
            at_ns = self.arrivals.newest.at_ns
            t_ns = max(at_ns - self._sent_ns, t_ns) if at_ns else self._now()
        self._append(t_ns, event)
        self._n_events += 1
        if self._n_events > MAX_EVENTS:
            raise ProviderError(ENDLESS)

    def _append(self, t_ns: int, event: Event) -> None:
        if not self._is_open:
            self.open()
        self._last_ns = t_ns
        fold, arrivals = self.fold, self.arrivals
        waiting, unanswered, n_chunks = fold.first_token_ns is None, fold.first_answer_ns is None, fold.n_chunks
        fold.apply(t_ns, event)
        if waiting and fold.first_token_ns is not None:
            arrivals.first_token = Mark(t_ns, arrivals.newest)
            if self._timer:
                self._check_limits()  # from now on the idle limit applies, which may end sooner
            if self._place:
                self._place.first_token()
        if unanswered and fold.first_answer_ns is not None:
            arrivals.first_answer = Mark(t_ns, arrivals.newest)
        if fold.n_chunks != n_chunks:
            arrivals.last_token = new_tuple(Mark, (t_ns, arrivals.newest))
        self._turn.append(new_tuple(Entry, (self._lane, self._attempt_id, t_ns, event)))
        for reader in self._readers:
            reader.put_nowait((arrivals.newest, event))

    def _now(self) -> int:
        """Since the attempt was sent; it stops when the stream has ended, though something is still computed."""
        return self._context.clock_ns() - self._sent_ns if self._ended_ns is None else self._ended_ns

    def _fail(self, error: ProviderError) -> None:
        self.failure_retryable, self.retry_after_s = error.retryable, error.retry_after_s
        self._append(self._now(), error.failure)

    def _check_limits(self) -> None:
        """Stop the attempt if a limit has passed; otherwise set the attempt's timer to the next limit."""
        self._disarm()
        deadline_s, reason = next_limit(self.fold, self._limits)
        left_s = deadline_s - self._now() / 1e9
        if left_s <= 0:
            self.stop(reason)
        else:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._check_limits)

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _end(self, retry_s: Callable[[AttemptRun], float | None]) -> None:
        fold, reason = self.fold, self._stop_reason
        # A stop or a limit after the answer was complete does not change its status.
        is_cut = bool(reason) and fold.finish_reason is None
        if is_cut and reason in LIMIT_FAILURES:
            self._append(self._now(), limit_failure(reason, self._limits))
        now_ns = self._now()
        if self._written_ns is not None:
            self._append(now_ns, Flag("written_ms", f"{self._written_ns / 1e6:.3f}"))
        if (bounds := self.arrivals.bounds(self._sent_ns)) != Bounds():
            self._append(now_ns, bounds)
        if self._loop_lag_ns:
            self._append(now_ns, Flag("loop_lag_ms", f"{self._loop_lag_ns / 1e6:.1f}"))
        drift_ns = (self._context.wall_ns() - self._sent_wall_ns) - now_ns
        if abs(drift_ns) > CLOCK_JUMP_NS:
            self._append(now_ns, Flag("clock_jump", f"{drift_ns / 1e9:.1f} s"))
        status = fold.outcome()
        if is_cut and reason not in LIMIT_FAILURES:
            status = "interrupted" if reason == "shutdown" else "stopped"
        retry = retry_s(self) if status == "error" else None
        self._append(now_ns, End(status, reason, retry))


class Tries:
    """A request and its retries, as a running task. Satisfies ``providers.base.Child``.

    The engine retries, not the client libraries, so that retries are visible and logged. It retries at most
    ``Context.max_retries`` times, only before any text and only retryable failures, after the server's Retry-After or
    an exponential back-off with jitter; the Retry-After of one server does not count for another.
    """

    def __init__(self, job: Job, context: Context) -> None:
        self.k_index = job.k_index
        self.fold = AttemptFold()
        self.attempt_ids: list[str] = []
        self._job = job
        self._context = context
        self._run: AttemptRun | None = None
        self._stop_reason = ""
        self._stopped = asyncio.Event()
        self._is_preparing = False
        self._readers: list[Reader] = []
        self._task = asyncio.create_task(self._tries())

    async def wait(self) -> None:
        await asyncio.wait([self._task])

    @property
    def first_token(self) -> Arrival | None:
        return self._run.first_token if self._run else None

    async def events(self) -> AsyncIterator[tuple[Arrival, Event]]:
        reader: Reader = asyncio.Queue()
        self._readers.append(reader)
        if self._task.done():
            reader.put_nowait(None)
        while (arrived := await reader.get()) is not None:
            yield arrived

    def stop(self, reason: str) -> None:
        if not self._stop_reason:
            self._stop_reason = reason
            self._stopped.set()
            if self._is_preparing:
                self._task.cancel()
            if self._run:
                self._run.stop(reason)

    def stop_child(self, k_index: int, reason: str) -> None:
        for child in self._run.host.started if self._run and self._run.host else ():
            if child.k_index == k_index:
                child.stop(reason)

    async def _tries(self) -> None:
        try:
            unsent = await self._prepare()
            for attempt_no in itertools.count(self._job.first_no):
                attempt = self._job.identity(self._context, attempt_no)
                self.attempt_ids.append(attempt.attempt_id)
                run = self._run = AttemptRun(attempt, self._job, self._context, self._readers)
                self.fold = run.fold
                if self._stop_reason:
                    run.stop(self._stop_reason)
                await run.run(self._retry_s, unsent)
                retry_in_s = run.fold.end.retry_in_s if run.fold.end else None
                if retry_in_s is None:
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), retry_in_s)
        except Exception:
            log.exception("lane %s of turn %s: internal error", self._job.lane, self._context.turn.turn_id)
        finally:
            for reader in self._readers:
                reader.put_nowait(None)

    async def _prepare(self) -> ProviderError | None:
        """Wait until the provider is ready and report its progress to the lane. A stop cancels the wait."""
        self._is_preparing = not self._stop_reason
        try:
            if self._is_preparing:
                await self._job.provider.prepare(self._job.report_to(self._context))
        except ProviderError as error:
            return error
        except asyncio.CancelledError:
            if not self._stop_reason:
                raise
            self._task.uncancel()
        except Exception as error:
            log.exception("preparing lane %s: internal error", self._job.lane)
            failure = Failure("internal", f"Preparing this lane failed ({type(error).__name__}).", "Try again.")
            return ProviderError(failure)
        finally:
            self._is_preparing = False
        return None

    def _retry_s(self, run: AttemptRun) -> float | None:
        """Seconds until the next try; None without a retry: after text, a stop or a failure that is not retryable."""
        n_retries = run.attempt.attempt_no - self._job.first_no
        may_help = run.failure_retryable and not run.fold.n_chunks and n_retries < self._context.max_retries
        if self._stop_reason or not may_help:
            return None
        goes_elsewhere = self._context.queues.goes_elsewhere(self._job.provider.servers, self._job.tried)
        if run.retry_after_s and not goes_elsewhere:  # 0 is a date in the past, or would let all clients retry at once
            return run.retry_after_s
        return 2.0**n_retries * self._context.rng.uniform(0.75, 1.25)


class AttemptHost:
    """The ``Host`` passed to a provider. Its attempt becomes the parent of child attempts."""

    def __init__(self, parent: AttemptRun, job: Job, context: Context) -> None:
        self._parent = parent
        self._job = job
        self._context = context
        self.started: list[Tries] = []
        self.take, self.arrived = parent.take, parent.arrivals.arrived  # no methods, since each token calls them

    def sent(self) -> None:
        self._parent.sent()

    def written(self, late_ns: int) -> None:
        self._parent.written(late_ns)

    async def until_sent(self) -> None:
        await self._parent.until_sent()

    def beside(self) -> Sequence[Request]:
        return self._parent.beside()

    def start(self, provider: Provider, request: ChatRequest, role: str, k_index: int | None = None) -> Child:
        job = Job(self._job.lane, provider, request, role, self._parent, k_index)
        tries = Tries(job, self._context)
        self.started.append(tries)
        return tries

    async def close(self, reason: str) -> None:
        """Stop running children and wait for them, so that a parent never ends before its children."""
        for child in self.started:
            child.stop(reason)
        if self.started:
            await asyncio.gather(*(child.wait() for child in self.started))
