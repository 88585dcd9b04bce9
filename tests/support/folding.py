"""Run a body, or a provider, to its end and fold the events: the shortest path from bytes to a status."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.events import Event, Phase
from kimi_ui.providers.base import ChatRequest, Child, Message, Provider, ProviderError, Unmeasured
from kimi_ui.providers.errors import Target
from kimi_ui.providers.http.stream_body import StreamBody
from kimi_ui.providers.ollama.body import OllamaBody
from kimi_ui.providers.ollama.provider import OLLAMA_SERVER
from kimi_ui.providers.openai_compatible.body import ChatBody

TARGET = Target("https://llm.chutes.ai/v1", "some/model", "CHUTES_API_KEY", ("cpk_canary_0123456789",))
HELLO = ChatRequest((Message("user", "hello"),))


class NoEngine(Unmeasured):
    """A host for a provider that streams without an engine: it counts reports of sending and starts no children."""

    def __init__(self) -> None:
        self.n_sent = 0

    def sent(self) -> None:
        self.n_sent += 1

    def start(self, provider: Provider, request: ChatRequest, role: str, k_index: int | None = None) -> Child:
        raise AssertionError("this provider starts no children")


ALONE = NoEngine()


async def streamed_for(provider: Provider, has_arrived: Callable[[], bool]) -> NoEngine:
    """Stream one request, which must be reported as sent before it arrives; returns its host."""

    class Watching(NoEngine):
        def sent(self) -> None:
            super().sent()
            assert not has_arrived()

    host = Watching()
    async for _ in provider.stream(HELLO, host):
        pass
    return host


async def left_at_text(provider: Provider) -> None:
    """Stream one request and close the stream at its first text."""
    events = provider.stream(HELLO, ALONE)
    async for event in events:
        if not isinstance(event, Phase):
            break
    await events.aclose()


@dataclass
class Outcome:
    """The outcome of an attempt. ``kind`` is the failure's, empty if there is none."""

    fold: AttemptFold
    error: ProviderError | None
    events: list[Event]

    @property
    def status(self) -> str:
        return self.fold.outcome()

    @property
    def kind(self) -> str:
        return self.error.failure.kind if self.error else ""

    @property
    def text(self) -> tuple[str, str]:
        return self.fold.reasoning, self.fold.answer


def _outcome(events: list[tuple[int, Event]], error: ProviderError | None) -> Outcome:
    fold = AttemptFold()
    for t_ns, event in events:
        fold.apply(t_ns, event)
    if error:
        fold.apply(events[-1][0] if events else 0, error.failure)
    return Outcome(fold, error, [event for _, event in events])


def run_body(body: StreamBody, pieces: Iterable[bytes], cut: ProviderError | None = None) -> Outcome:
    """Feed the pieces, end the body, fold the events."""
    events: list[Event] = []
    for piece in pieces:
        events += body.feed(piece)
        if body.over:
            break
    events += body.finish(cut)
    return _outcome([(0, event) for event in events], body.error)


def chat(*pieces: bytes, content_type: str = "text/event-stream", target: Target = TARGET) -> Outcome:
    """An OpenAI-compatible body of these pieces."""
    return run_body(ChatBody(target, content_type), pieces)


def ndjson(*pieces: bytes) -> Outcome:
    """An Ollama body of these pieces."""
    return run_body(OllamaBody(Target("http://127.0.0.1:11434", "qwen3-coder:30b", server=OLLAMA_SERVER)), pieces)


def sse(*payloads: str, done: bool = True) -> bytes:
    """JSON payloads as an event stream."""
    return "".join(f"data: {payload}\n\n" for payload in (*payloads, *(["[DONE]"] if done else []))).encode()


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> str:
    """A chunk object; without a delta its choices are empty."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more})


def answer(text: str) -> str:
    return chunk({"content": text})


def thought(text: str) -> str:
    return chunk({"reasoning_content": text})


STOP = chunk({}, "stop")


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """``data`` split at these offsets."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(marks)]


async def run_provider(provider: Provider, request: ChatRequest = HELLO) -> Outcome:
    """Stream one request; stamps are ns since it was sent. The provider stays open."""
    start = time.perf_counter_ns()
    events: list[tuple[int, Event]] = []
    error = None
    try:
        async for event in provider.stream(request, ALONE):
            events.append((time.perf_counter_ns() - start, event))
    except ProviderError as raised:
        error = raised
    return _outcome(events, error)
