"""A lane that a child process of this app serves (``backend``), by the OpenAI-compatible provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from ...core.events import Event, Failure, Phase, Reporter
from ...core.lane import LaneSpec
from ..base import ChatRequest, Check, Host, Provider, ProviderError
from ..openai_compatible.provider import OpenAICompatible, load_library
from .backend import EmbeddedBackend, Endpoint
from .lane import EmbeddedLane


class ChildProvider(Provider):
    """A lane served by the backend's child."""

    lane = EmbeddedLane
    spec: EmbeddedLane

    def __init__(self, spec: EmbeddedLane, backend: EmbeddedBackend) -> None:
        super().__init__(spec)
        self._backend = backend
        self._client: tuple[Endpoint, OpenAICompatible] | None = None

    def warm_up(self) -> None:
        self._backend.warm_up()
        load_library()

    async def prepare(self, report: Reporter) -> None:
        with self._backend.used():
            client = await self._client_at(await self._backend.endpoint(report))
            await client.prepare(report)

    async def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        with self._backend.used():
            endpoint = await self._backend.endpoint(unheard)
            client = await self._client_at(endpoint)
            try:
                async with aclosing(self._generate(client, request, host)) as events:
                    async for event in events:
                        yield event
            except ProviderError as error:
                answered = error.failure.http_status is not None  # an HTTP status comes from a living child
                if answered or not await self._backend.has_died(endpoint):
                    raise self._explained(error) from None
                failure = replace(self._backend.ended(), detail=error.failure.detail or error.failure.message)
                raise ProviderError(failure, retryable=not self._backend.is_unstable) from error

    def _generate(self, client: OpenAICompatible, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        return client.stream(request, host)

    def _explained(self, error: ProviderError) -> ProviderError:
        """A failure of a living child, with the remedy for this lane."""
        return error

    def _client_spec(self) -> LaneSpec:
        """The lane as the OpenAI-compatible client sends it."""
        return self.spec

    async def models(self) -> list[str]:
        return [self.spec.model]

    async def aclose(self) -> None:
        """Close the connections; the backend is shared and closed by its owner."""
        if self._client:
            await self._client[1].aclose()
            self._client = None

    async def _client_at(self, endpoint: Endpoint) -> OpenAICompatible:
        """The client for this child; a restarted child has another address."""
        if self._client is None or self._client[0] != endpoint:
            await self.aclose()
            spec = replace(self._client_spec(), base_url=endpoint.base_url)
            self._client = (endpoint, OpenAICompatible(spec, endpoint.api_key))
        return self._client[1]


def failed_check(failure: Failure, present: bool) -> Check:
    return Check(
        ok=False,
        reachable=False,
        model_present=present,
        problem=failure.message,
        remedy=failure.remedy,
        command=failure.command,
        detail=failure.detail,
    )


def unheard(phase: Phase) -> None:
    """A reporter that ignores its phases."""
