"""The cases of a benchmark's run as claims: a stream that the process that leads the run fills, and a group of workers.

    Offers (who leads)  ── offer ──►  kimi:benchmark:{run}  ──►  take, renew, done, give_back  (Claims of each worker)

The bus holds claims only: what is left to do, and what came of it, is in the log. A case keeps its number in the run's
plan, and its message has that number, so that cases can be offered again after the server has lost them: a worker whose
claim was lost with them goes on with its case, unless another one has got it meanwhile.

A claim that has not been renewed for ``LEASE_S`` is another worker's to take. Who leads renews a key, without which no
worker takes a case. Every call waits for the server; it raises ``BusAway`` if that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from .bus import NO_ADDRESS, SOCKET_S, BusError
from .wire import BENCHMARKS, Redis, cases_of, lead_of

LEASE_S = 15.0  # of a claim
LEAD_S = 15.0  # of who leads a run
BEAT_S = 1.0  # between renewals
GROUP = "workers"
NOBODY = "nobody"  # whose claims are to be taken at once
NO_ONE: Mapping[int, str] = {}

_RENEW = """
local lost = {}
for i = 3, #ARGV do
  local found = redis.call('EXISTS', KEYS[1]) == 1 and redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  if found and found[2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  elseif found then
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""
"""Renew the claims of a worker; returns those that are another's. One that nobody has was lost with the server's memory
and stays the worker's."""

_NEXT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local last
local group = redis.call('XINFO', 'GROUPS', KEYS[1])[1]
for i = 1, #group, 2 do
  if group[i] == 'last-delivered-id' then last = group[i + 1] end
end
while true do
  local found = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
  if not found then return false end
  last = found[1]
  if not redis.call('XPENDING', KEYS[1], ARGV[1], last, last, 1)[1] then
    redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
    return last
  end
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last)
end
"""
"""Claim the next case, but for those that were offered as a worker's already: ``XREADGROUP`` alone would take them away
from it."""


class BusAway(BusError):
    """The server cannot be reached. The text is the reason."""


class Claim(NamedTuple):
    """A case by its number in the plan. ``is_again``: another worker had it, and died, hung or gave it back."""

    case: int
    is_again: bool


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise BusAway(str(error) or type(error).__name__) from error


@contextmanager
def _if_offered() -> Iterator[None]:
    """Do nothing if the run has no stream now: it is over, or the server has lost it."""
    try:
        yield
    except ResponseError as error:
        if not str(error).startswith("NOGROUP"):
            raise


@contextmanager
def connected(url: str) -> Iterator[Redis]:
    """A client of the server at ``url``, which it has not reached yet. Raises ``BusError``."""
    try:
        client = Client.from_url(
            url, protocol=2, socket_timeout=SOCKET_S, socket_connect_timeout=SOCKET_S, retry=Retry(NoBackoff(), 0)
        )
    except ValueError:
        raise BusError(NO_ADDRESS) from None
    with client:
        yield client


def reach(redis: Redis) -> None:
    """Raises ``BusAway`` if the server cannot be reached."""
    with _reaching():
        redis.ping()


class Offers:
    """The cases that are left of a run, as its leader offers them. ``terms``: what a worker must agree to."""

    def __init__(self, redis: Redis, run_id: str, terms: str) -> None:
        self._redis = redis
        self._run_id = run_id
        self._terms = terms

    def offer(self, cases: Iterable[int], at_it: Mapping[int, str] = NO_ONE) -> None:
        """Offer these cases, in ascending order, in place of all that were offered before. ``at_it``: the worker that
        is at a case; the claim is that worker's from the start, so that nobody else has it even for a moment."""
        stream = cases_of(self._run_id)
        with _reaching():
            pipe = self._redis.pipeline(transaction=True)
            pipe.delete(stream)
            pipe.xgroup_create(stream, GROUP, id="0", mkstream=True)
            for case in cases:
                pipe.xadd(stream, {"case": case}, id=_message(case))
                if case in at_it:
                    pipe.xclaim(stream, GROUP, at_it[case], 0, [_message(case)], force=True, justid=True)
            self._add_lead(pipe)
            pipe.execute()

    def renew(self) -> bool:
        """Go on leading; False if the server has lost what was offered."""
        with _reaching():
            pipe = self._redis.pipeline(transaction=True)
            pipe.exists(cases_of(self._run_id))
            self._add_lead(pipe)
            return bool(pipe.execute()[0])

    def withdraw(self) -> None:
        """The run is over."""
        with _reaching():
            pipe = self._redis.pipeline(transaction=True)
            pipe.srem(BENCHMARKS, self._run_id)
            pipe.delete(cases_of(self._run_id), lead_of(self._run_id))
            pipe.execute()

    def _add_lead(self, pipe: Redis) -> None:
        pipe.sadd(BENCHMARKS, self._run_id)
        pipe.set(lead_of(self._run_id), self._terms, px=int(LEAD_S * 1000))


def led_runs(redis: Redis) -> dict[str, str]:
    """The terms of each run that is led now, by its id."""
    with _reaching():
        runs = sorted(run_id.decode() for run_id in redis.smembers(BENCHMARKS))
        terms = redis.mget([lead_of(run_id) for run_id in runs]) if runs else []
        found = {run_id: one.decode() for run_id, one in zip(runs, terms, strict=True) if one is not None}
        if gone := set(runs) - set(found):
            redis.srem(BENCHMARKS, *gone)
        return found


class Claims:
    """The claims of the worker ``me`` on the cases of a run."""

    def __init__(self, redis: Redis, run_id: str, me: str) -> None:
        self._redis = redis
        self._me = me
        self._stream = cases_of(run_id)
        self._lead = lead_of(run_id)

    def is_led(self) -> bool:
        with _reaching():
            return bool(self._redis.exists(self._lead))

    def take(self) -> Claim | None:
        """Claim a case: one whose worker is gone, else the next; None if there is none now."""
        with _reaching(), _if_offered():
            idle_ms, cursor = int(LEASE_S * 1000), b"0-0"
            while True:  # a call looks at ten claims
                cursor, gone, *_ = self._redis.xautoclaim(self._stream, GROUP, self._me, idle_ms, cursor, count=1)
                if gone:
                    return Claim(_case(gone[0][0]), True)
                if cursor == b"0-0":
                    break
            found = self._redis.eval(_NEXT, 1, self._stream, GROUP, self._me)
            return Claim(_case(found), False) if found else None
        return None

    def renew(self, cases: Collection[int]) -> set[int]:
        """Keep the claims on these cases; returns those that another worker has now."""
        if not cases:
            return set()
        with _reaching():
            names = [_message(case) for case in cases]
            return {_case(one) for one in self._redis.eval(_RENEW, 1, self._stream, GROUP, self._me, *names)}

    def done(self, case: int) -> None:
        """The case has all its results: nobody is to claim it again."""
        with _reaching():
            pipe = self._redis.pipeline(transaction=True)
            pipe.xack(self._stream, GROUP, _message(case))
            pipe.xdel(self._stream, _message(case))
            pipe.execute()

    def give_back(self, case: int) -> None:
        """Let any worker claim the case at once, unless another one has it already."""
        if not self.renew([case]):
            self._pass(case, NOBODY, idle_ms=int(LEASE_S * 1000))

    def pass_to(self, case: int, worker: str) -> None:
        """Let the case be that worker's, which has until ``LEASE_S`` from now to renew the claim."""
        self._pass(case, worker, idle_ms=0)

    def _pass(self, case: int, worker: str, idle_ms: int) -> None:
        with _reaching(), _if_offered():
            self._redis.xclaim(self._stream, GROUP, worker, 0, [_message(case)], idle=idle_ms, justid=True)


def _message(case: int) -> str:
    """The id of a case's message; 0-0 is none."""
    return f"{case + 1}-0"


def _case(message: bytes) -> int:
    return int(message.partition(b"-")[0]) - 1
