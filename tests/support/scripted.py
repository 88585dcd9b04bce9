"""A provider that plays a script, for tests of everything built on providers. No network, no model.

A script is a list of steps: an event is yielded, a number is slept (seconds), a ``threading.Event`` holds the stream
until the test sets it, an exception is raised, ``SENT`` reports that the request was sent.
``ScriptedRoster`` gives the engine lanes made of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kimi_ui.config import read_settings
from kimi_ui.core.admission import Line
from kimi_ui.core.events import Answer, Event, Finish, Reasoning, Reporter
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.base import ChatRequest, Check, Host, Provider
from kimi_ui.providers.images import takes_images
from kimi_ui.providers.ollama.provider import OllamaState

Script = Sequence[Any]
SENT = object()


def thinker(reasoning: str = "Let me think.", answer: str = "42.") -> list[Event]:
    """A whole, well-behaved answer."""
    return [Reasoning(reasoning), Answer(answer), Finish("stop")]


async def waited(step: Any) -> bool:
    """Wait if the step is a pause or an event; returns whether it was."""
    if isinstance(step, threading.Event):
        while not step.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.005)
        return True
    if isinstance(step, int | float):
        await asyncio.sleep(step)
        return True
    return False


@dataclass
class ScriptedProvider(Provider):
    """Plays ``scripts``, one per request (the last one repeatedly), and records the requests."""

    spec: LaneSpec
    scripts: Sequence[Script | Callable[[ChatRequest], Iterable[Any]]]
    requests: list[ChatRequest] = field(default_factory=list)
    closed: int = 0  # number of streams that were closed, however they ended
    prepare_steps: Script = ()
    queue: Line | None = None
    sees: bool | None = False

    def line(self, request: ChatRequest) -> Line | None:
        return self.queue

    async def prepare(self, report: Reporter) -> None:
        for step in self.prepare_steps:
            if await waited(step):
                continue
            if isinstance(step, Exception):
                raise step
            report(step)

    async def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
        self.requests.append(request)
        try:
            for step in script(request) if callable(script) else script:
                if await waited(step):
                    continue
                if isinstance(step, Exception):
                    raise step
                if step is SENT:
                    host.sent()
                else:
                    yield step
        finally:
            self.closed += 1

    async def check(self, probe: bool = False) -> Check:
        return Check(ok=True)

    async def takes_images(self, model: str = "") -> bool | None:
        return self.sees

    async def models(self) -> list[str]:
        return [self.spec.model]

    async def aclose(self) -> None:
        pass


class ScriptedRoster:
    """Lanes by id, for the engine."""

    servings = ()
    ollama = OllamaState("")
    settings = read_settings(env={})

    def __init__(self, *providers: Provider) -> None:
        self._providers = {provider.spec.id: provider for provider in providers}

    @property
    def specs(self) -> tuple[LaneSpec, ...]:
        return tuple(provider.spec for provider in self._providers.values())

    def provider(self, lane: str) -> Provider:
        return self._providers[lane]

    def refresh(self) -> None:
        pass

    def puller(self, lane: str) -> Provider | None:
        return self._providers[lane] if self._providers[lane].spec.can_pull else None

    async def takes_images(self, lane: str, model: str = "") -> bool | None:
        return await takes_images(self._providers[lane], model)

    def look_again(self) -> None:
        pass

    async def close_retired(self) -> None:
        pass

    async def aclose(self) -> None:
        for provider in self._providers.values():
            await provider.aclose()
