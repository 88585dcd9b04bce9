"""Pulls: fetching a model that a lane's server lacks, with progress. One pull per lane at a time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.lane import LaneSpec
from ..providers import presets, registry
from ..providers.base import Parts, ProviderError

if TYPE_CHECKING:
    from ..providers.roster import Roster


@dataclass
class Pull:
    """The progress of a pull: ``completed`` of ``total`` bytes, None if unknown; ``error``: one sentence."""

    model: str
    status: str = "asking the server"
    completed: int | None = None
    total: int | None = None
    done: bool = False
    error: str = ""


class Pulls:
    """The pulls of this server. Call all methods on the server's loop."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._pulls: dict[str, Pull] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def offer(self, spec: LaneSpec) -> LaneSpec | None:
        """The lane whose model can be pulled for this one: itself, or the real lane of a stand-in; None if neither."""
        if spec.can_pull:
            return spec
        ollama = self._roster.ollama
        if spec.id == presets.QWEN and spec.stand_in_for and ollama.running:
            return presets.qwen_on_ollama(ollama.url)
        return None

    def start(self, spec: LaneSpec) -> Pull | None:
        """Start pulling the lane's model unless a pull is running; None if there is no model to pull."""
        wanted = self.offer(spec)
        if wanted is None:
            return None
        pull = self._pulls.get(spec.id)
        if pull is None or pull.done:
            pull = self._pulls[spec.id] = Pull(wanted.model)
            self._tasks[spec.id] = asyncio.create_task(self._run(wanted, pull))
        return pull

    def state(self, lane: str) -> Pull | None:
        """The lane's newest pull; None before the first."""
        return self._pulls.get(lane)

    async def close(self) -> None:
        """Cancel running pulls. The model's server keeps the part it has."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, wanted: LaneSpec, pull: Pull) -> None:
        try:
            async with aclosing(registry.make(wanted, Parts()).pull()) as phases:
                async for phase in phases:
                    pull.status, pull.completed, pull.total = phase.detail, phase.done, phase.total
            await asyncio.to_thread(self._roster.refresh)
        except ProviderError as error:
            pull.error = " ".join(part for part in (error.failure.message, error.failure.remedy) if part)
        finally:
            pull.done = True
