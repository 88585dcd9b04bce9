"""A whole provider in one file: it repeats the prompt, word by word. See kimi_ui/providers/README.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated

from pydantic import StrictBool

from kimi_ui.core.events import CONNECTED, Answer, Event, Finish, Phase, Reasoning
from kimi_ui.core.lane import FREE, LaneSpec, Needed, Price, whole
from kimi_ui.providers.base import ChatRequest, Check, Host, Provider


@dataclass(frozen=True)
class EchoLane(LaneSpec):
    """``pause_ms`` between two words; ``aloud``: in capitals."""

    no_keys = (*LaneSpec.no_keys, "base_url", "api_key_env", "price", "tokenizer")

    provider: str = "echo"
    model: Needed = ""
    price: Price | None = FREE
    pause_ms: Annotated[int, whole(0, 1000)] = 1
    aloud: StrictBool = False


class Echo(Provider):
    """Thinks once, then repeats the last message."""

    lane = EchoLane
    spec: EchoLane

    async def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        host.sent()
        yield Phase(CONNECTED)
        yield Reasoning("It wants an echo.")
        text = request.messages[-1].content
        for word in (text.upper() if self.spec.aloud else text).split():
            await asyncio.sleep(self.spec.pause_ms / 1000)
            yield Answer(f"{word} ")
        yield Finish("stop")

    async def check(self, probe: bool = False) -> Check:
        return Check(ok=True, reachable=True, model_present=self.spec.model in await self.models(), thinking=True)

    async def models(self) -> list[str]:
        return ["canyon", "cave"]
