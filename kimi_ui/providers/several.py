"""A lane on several servers: one provider for each of them, of which the engine chooses one for every attempt.

All servers are asked what a lane is asked for: whether it would answer, which models there are, whether one takes
images, to fetch a model. A model counts as there only where every server that answers has it, because a request may be
sent to any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ..core.admission import Line
from ..core.events import Phase
from ..core.lane import LaneSpec, host_of
from .base import ChatRequest, Check, Provider, ProviderError
from .images import takes_images


class SeveralServers(Provider):
    """One lane on several servers. ``servers``: the provider of each, in the order of the lane's ``base_url``.

    It sends nothing and prepares nothing itself; a request goes to one of ``servers``.
    """

    def __init__(self, spec: LaneSpec, servers: Sequence[Provider]) -> None:
        super().__init__(replace(servers[0].spec, base_url=spec.base_url))
        self._servers = tuple(servers)

    @property
    def servers(self) -> tuple[Provider, ...]:
        return self._servers

    def warm_up(self) -> None:
        for server in self._servers:
            server.warm_up()

    def line(self, request: ChatRequest) -> Line | None:
        """The first server's: whether requests queue is the same at all of them."""
        return self._servers[0].line(request)

    async def check(self, probe: bool = False) -> Check:
        """What all servers have in common, and in ``Check.servers`` what was found at each."""
        found = await asyncio.gather(*(server.check(probe) for server in self._servers))
        return together(dict(zip(self.spec.servers, found, strict=True)))

    async def models(self) -> list[str]:
        """The models that all servers list, except servers that do not answer. Raises the first one's
        ``ProviderError`` if none answers."""
        found = await asyncio.gather(*(_models(server) for server in self._servers))
        listed = [set(models) for models in found if not isinstance(models, ProviderError)]
        for error in found:
            if isinstance(error, ProviderError) and not listed:
                raise error
        return sorted(set.intersection(*listed))

    async def takes_images(self, model: str = "") -> bool | None:
        return _all(await asyncio.gather(*(takes_images(server, model) for server in self._servers)))

    async def pull(self, model: str = "") -> AsyncGenerator[Phase, None]:
        """Let the servers that do not list the model fetch it, one after the other; bytes are counted together.

        If one fails the others are still tried. Raises the first ``ProviderError`` then.
        """
        name, before, failed = model or self.spec.model, 0, None
        for server in self._servers:
            listed = await _models(server)
            if not isinstance(listed, ProviderError) and name in listed:
                continue
            total = 0
            try:
                async with aclosing(server.pull(name)) as phases:
                    async for phase in phases:
                        total = phase.total or total
                        yield _added(phase, before, host_of(server.spec.server))
            except ProviderError as error:
                failed = failed or error
            before += total
        if failed:
            raise failed

    async def aclose(self) -> None:
        for server in self._servers:
            await server.aclose()


async def _models(server: Provider) -> list[str] | ProviderError:
    try:
        return await server.models()
    except ProviderError as error:
        return error


def _added(phase: Phase, before: int, host: str) -> Phase:
    """A phase of a server's pull after ``before`` bytes of other servers."""
    done = None if phase.done is None else before + phase.done
    total = None if phase.total is None else before + phase.total
    return replace(phase, detail=f"{host}: {phase.detail}", done=done, total=total)


def together(by_server: Mapping[str, Check]) -> Check:
    """The check of a lane by those of its servers, by address. ``ok``: every server would answer."""
    checks = list(by_server.values())
    bad = {server: check for server, check in by_server.items() if not check.ok}
    server, first = next(iter((bad or by_server).items()))
    return replace(
        first,
        reachable=_all(check.reachable for check in checks),
        key_valid=_all(check.key_valid for check in checks),
        model_present=_all(check.model_present for check in checks),
        thinking=_common([check.thinking for check in checks]),
        dialect=_common([check.dialect for check in checks]),
        latency_ms=max((check.latency_ms for check in checks if check.latency_ms is not None), default=None),
        context_tokens=min((check.context_tokens for check in checks if check.context_tokens), default=None),
        trained_tokens=min((check.trained_tokens for check in checks if check.trained_tokens), default=None),
        problem=f"{len(bad)} of {len(checks)} servers would not answer. {server}: {first.problem}" if bad else "",
        warnings=tuple(f"{server}: {words}" for server, check in by_server.items() for words in check.warnings),
        servers=by_server,
    )


def _all(answers: Iterable[bool | None]) -> bool | None:
    """False if one is, True if all are; otherwise it is not known."""
    known = set(answers)
    return False if False in known else True if known == {True} else None


def _common(values: Sequence[Any]) -> Any:
    """The value that all have; None if they differ."""
    return values[0] if all(value == values[0] for value in values) else None
