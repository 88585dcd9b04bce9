"""``/metrics``: figures of this process for Prometheus.

Figures of attempts are those of ``core.metrics``, taken once when their turn closes, in a thread of their own; the
others are read when the page is. While a token streams nothing is done; at the end an answer of 10,000 tokens takes
4 ms of CPU, nearly all to count its tokens, and a scrape takes 0.5 ms. Labels are lane ids, roles, statuses and kinds
of error: there are no names, no texts, no addresses and no models, and at most ``MAX_LANES`` lanes, the rest of which
are ``other``. Figures begin at 0 with the process; the log has all of them.

With a password, ``/metrics`` requires it (``web.accounts``); with accounts it is for admins. With
``KIMI_UI_METRICS_TOKEN`` it requires that instead, as a bearer token that opens nothing else.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..core.attempt import Attempt
from ..core.events import ERROR_KINDS, End
from ..core.portable import metrics_of
from ..core.turn import TurnLog
from ..engine import Engine
from ..tokenizers import counter
from ..turns import Turns
from .health import lateness_s
from .respond import refusal
from .spans import Spans
from .stream import TurnStreams
from .visitor import person_of

METRICS = "/metrics"
MAX_LANES = 50
OTHER = "other"
TTFT_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
DECODE_TPS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)
LAG_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

LOGGED = ("ttft_ms", "decode_tps", "e2e_ms", "input_tokens", "output_tokens", "cost_usd")

log = logging.getLogger(__name__)


class Exporter:
    """The figures of one engine and its turns, and their route. ``token``: required as a bearer token if not empty.
    ``spans`` records the same attempts."""

    def __init__(
        self, engine: Engine, turns: Turns, streams: TurnStreams, token: str = "", spans: Spans | None = None
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._token = token
        self._spans = spans
        self._lanes: set[str] = set()
        self._registry = CollectorRegistry()
        self._now = _Now(turns, streams)
        self._registry.register(self._now)
        ProcessCollector(registry=self._registry)
        self._turns_total = self._counter("turns", "Turns that have ended.", "kind")
        self._outcomes = self._counter(
            "lane_turns",
            "Lanes of turns that have ended, by the status of their last attempt.",
            "lane",
            "kind",
            "status",
        )
        self._attempts = self._counter("attempts", "Requests that have ended.", "lane", "role", "status")
        self._errors = self._counter("errors", "Attempts that failed.", "lane", "error_type")
        self._ttft = self._histogram("ttft_seconds", "Time to first token, of any attempt with one.", TTFT_S)
        self._decode = self._histogram(
            "decode_tokens_per_second", "Decode rate, of the attempts that have one.", DECODE_TPS
        )
        self._lag = self._histogram(
            "loop_lag_seconds", "The engine loop's worst delay during an attempt, if it was late at all.", LAG_S
        )
        self._tokens = self._counter("tokens", "Known tokens; heavy's include its requests'.", "lane", "direction")
        self._cost = self._counter("cost_usd", "Known cost in USD; heavy's includes its requests'.", "lane")
        self._unpriced = self._counter("attempts_of_unknown_cost", "Attempts that cost_usd does not include.", "lane")
        self._counting = ThreadPoolExecutor(1, "exporter")
        self._unlisten = turns.listen(self._closed)

    def close(self) -> None:
        """Count what has ended, then no more."""
        self._unlisten()
        self._counting.shutdown()
        if self._spans:
            self._spans.close()

    def routes(self) -> list[BaseRoute]:
        return [Route(METRICS, self.metrics)]

    async def metrics(self, request: Request) -> Response:
        """The figures in Prometheus' text format, or in OpenMetrics' if the request accepts it."""
        if self._token and not self._has_token(request):
            return refusal("The metrics require the bearer token of KIMI_UI_METRICS_TOKEN.", 401)
        if (person := person_of(request)) and not person.is_admin:
            return refusal("The metrics are about everybody, so they are for admins only. Ask one.", 403)
        self._now.loops_s = {
            "server": await lateness_s(asyncio.get_running_loop()),
            "engine": await lateness_s(self._engine.loop),
        }
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        text = await asyncio.to_thread(encode, self._registry)
        return Response(text, headers={"Content-Type": kind})

    def _has_token(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self._token.encode())

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"kimi_ui_{name}", meaning, labels, registry=self._registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"kimi_ui_{name}", meaning, ("lane", "role"), registry=self._registry, buckets=buckets)

    def _closed(self, turn: TurnLog, since: int) -> None:
        """Called on the engine's loop, so another thread counts."""
        with suppress(RuntimeError):  # closed meanwhile
            self._counting.submit(self._count, turn, since, len(turn.entries))

    def _count(self, turn: TurnLog, since: int, until: int) -> None:
        """Count the attempts that ended between these entries."""
        try:
            ends = {one.attempt_id: one.event for one in turn.entries[since:until] if isinstance(one.event, End)}
            fold, figures = turn.fold(), metrics_of(turn, counter)
            for attempt_id, end in ends.items():
                failure = fold.folds[attempt_id].failure
                self._count_attempt(
                    fold.attempts[attempt_id], end, failure.kind if failure else "", figures[attempt_id], turn.kind
                )
            if not since:  # after its attempts: a turn that is counted is counted whole
                self._turns_total.labels(turn.kind).inc()
            if self._spans:
                self._spans.record(turn, fold, ends, figures)
        except Exception:
            log.exception("a turn is missing in the metrics")

    def _count_attempt(self, attempt: Attempt, end: End, error: str, figures: dict[str, Any], kind: str) -> None:
        lane, role = self._lane(attempt.lane), attempt.role
        if error:
            self._errors.labels(lane, error if error in ERROR_KINDS else OTHER).inc()
        if figures["ttft_ms"] is not None:
            self._ttft.labels(lane, role).observe(figures["ttft_ms"] / 1e3)
        if figures["decode_tps"] is not None:
            self._decode.labels(lane, role).observe(figures["decode_tps"])
        if figures["loop_lag_ms"] is not None:
            self._lag.labels(lane, role).observe(figures["loop_lag_ms"] / 1e3)
        if attempt.parent_id is None:  # otherwise its tokens and cost are its parent's too
            if end.retry_in_s is None:
                self._outcomes.labels(lane, kind, end.status).inc()
            for direction in ("input", "output"):
                self._tokens.labels(lane, direction).inc(figures[f"{direction}_tokens"] or 0)
            if figures["cost_usd"] is None:
                self._unpriced.labels(lane).inc()
            else:
                self._cost.labels(lane).inc(figures["cost_usd"])
        self._attempts.labels(lane, role, end.status).inc()
        log.info("An attempt has ended.", extra={"fields": logged(attempt, end, error, figures, kind)})

    def _lane(self, lane: str) -> str:
        """The label of a lane: its id, unless there were too many."""
        if lane not in self._lanes and len(self._lanes) >= MAX_LANES:
            return OTHER
        self._lanes.add(lane)
        return lane


def logged(attempt: Attempt, end: End, error: str, figures: dict[str, Any], kind: str) -> dict[str, Any]:
    """What a structured log says about an attempt that has ended (``cli.json_logs``)."""
    return {
        **{
            name: getattr(attempt, name)
            for name in ("turn_id", "attempt_id", "parent_id", "lane", "role", "attempt_no")
        },
        "kind": kind,
        "status": end.status,
        "error_type": error or None,
        **{name: figures[name] for name in LOGGED},
    }


class _Now(Collector):
    """What is true when the page is read. ``loops_s``: see ``lateness_s``."""

    def __init__(self, turns: Turns, streams: TurnStreams) -> None:
        self._turns = turns
        self._streams = streams
        self.loops_s: dict[str, float | None] = {}

    def collect(self) -> Iterator[Metric]:
        writer = self._turns.writer
        late = GaugeMetricFamily(
            "kimi_ui_loop_answer_seconds", "Time until an event loop ran a callback just now.", labels=("loop",)
        )
        for loop, seconds in self.loops_s.items():
            if seconds is not None:
                late.add_metric((loop,), seconds)
        yield late
        for name, meaning, value in (
            ("streams_open", "Pages that follow a turn.", self._streams.n_open),
            ("turns_running", "Turns that have not ended.", self._turns.n_running),
            ("log_queue_length", "Writes that wait for the log's thread.", writer.n_queued),
            ("log_spilled_rows", "Rows beside the log, until it can be written.", writer.n_unwritten),
        ):
            yield GaugeMetricFamily(f"kimi_ui_{name}", meaning, value)
        for name, meaning, value in (
            ("log_rows_spilled", "Rows that the log did not take when they were due.", writer.n_spilled),
            ("log_rows_refused", "Rows that the log will never take; a file beside it has them.", writer.n_refused),
        ):
            yield CounterMetricFamily(f"kimi_ui_{name}", meaning, value)
