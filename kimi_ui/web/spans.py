"""Attempts as OpenTelemetry spans, with ``KIMI_UI_TRACES=otlp``: to the collector of ``OTEL_EXPORTER_OTLP_ENDPOINT``.

Names are those of OpenTelemetry's GenAI conventions; what these have no name for begins with ``kimi_ui.``. Heavy's
requests are children of its span. A span is made when the attempt's turn has closed, with the times that were measured,
and has no prompt, no answer, no person and no address. Needs the packages of the extra ``otel``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context

from .. import __version__
from ..core.attempt import Attempt, AttemptFold
from ..core.turn import TurnFold, TurnLog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SEND_S = 2.0  # a batch, with its retries: the end of the process waits for it
PARAMS = ("max_tokens", "temperature", "top_p")


class NoExporter(Exception):
    """The packages of the extra ``otel`` are not installed. The text is a sentence with the remedy."""


def to_collector() -> TracerProvider:
    """What sends spans to the collector that the environment's ``OTEL_…`` variables name, in a thread of its own.

    It is not made OpenTelemetry's global one, which other libraries would use for spans with addresses. Raises
    ``NoExporter``.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise NoExporter(
            f"KIMI_UI_TRACES needs the package {error.name}; run: pip install opentelemetry-sdk "
            "opentelemetry-exporter-otlp-proto-http, or leave it out."
        ) from error
    name = Resource.create().attributes[SERVICE_NAME]
    resource = Resource.create({SERVICE_NAME: "kimi-ui"} if str(name).startswith("unknown_service") else {})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=SEND_S)))
    return provider


class Spans:
    """The spans of one process. ``provider`` sends them."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("kimi_ui", __version__)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def record(
        self, turn: TurnLog, fold: TurnFold, ended: Collection[str], figures: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """The spans of these attempts; ``figures``: their metrics."""
        spans: dict[str, trace.Span] = {}
        for attempt_id, attempt in fold.attempts.items():  # a parent is opened before its children
            if attempt_id not in ended:
                continue
            one = fold.folds[attempt_id]
            parent = spans.get(attempt.parent_id or "")
            start_ns = int(datetime.fromisoformat(attempt.started_at_utc).timestamp() * 1e9)
            span = spans[attempt_id] = self._tracer.start_span(
                f"chat {attempt.request_model}",
                context=trace.set_span_in_context(parent, Context()) if parent else Context(),
                kind=trace.SpanKind.CLIENT,
                attributes=attributes_of(turn, attempt, one, figures[attempt_id]),
                start_time=start_ns,
            )
            if one.failure is not None:
                span.set_status(trace.StatusCode.ERROR)
            span.end(start_ns + (one.end_ns or 0))


def attributes_of(turn: TurnLog, attempt: Attempt, fold: AttemptFold, figures: Mapping[str, Any]) -> dict[str, Any]:
    """A span's attributes, without the unknown ones."""
    first_s = None if figures["ttfc_ms"] is None else figures["ttfc_ms"] / 1e3
    known = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.conversation.id": turn.conversation_id,
        "gen_ai.request.model": attempt.request_model,
        **{f"gen_ai.request.{name}": attempt.params.get(name) for name in PARAMS},
        "gen_ai.response.model": fold.meta.response_model,
        "gen_ai.response.finish_reasons": [fold.finish_reason] if fold.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": first_s,
        "gen_ai.usage.input_tokens": figures["input_tokens"],
        "gen_ai.usage.output_tokens": figures["output_tokens"],
        "gen_ai.usage.reasoning.output_tokens": figures["reasoning_tokens"],
        "gen_ai.usage.cache_read.input_tokens": figures["cached_input_tokens"],
        "error.type": fold.failure.kind if fold.failure else None,
        "kimi_ui.turn.id": turn.turn_id,
        "kimi_ui.attempt.id": attempt.attempt_id,
        "kimi_ui.kind": turn.kind,
        "kimi_ui.lane": attempt.lane,
        "kimi_ui.role": attempt.role,
        "kimi_ui.status": fold.status,
        **{f"kimi_ui.{name}": figures[name] for name in ("ttft_ms", "decode_tps", "cost_usd")},
    }
    return {name: value for name, value in known.items() if isinstance(value, int | float | str | list) and value != ""}
