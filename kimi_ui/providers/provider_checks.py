"""Checks that ``doctor`` makes with any provider: is the model listed, what is similar, does it show its reasoning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from difflib import get_close_matches

from ..core.events import Event, Reasoning
from .base import ChatRequest, Check, Message, ProviderError

PROBE = ChatRequest(messages=(Message("user", "What is 17 + 25? Answer with the number only."),))
PROBE_TOKENS = 300
PROBE_S = 60.0


def near(model: str, ids: list[str], most: int = 3) -> list[str]:
    """Listed ids that ``model`` may mean: the same name under another owner or tag, or a similar spelling."""
    name = model.rpartition("/")[2].partition(":")[0].lower()
    same = [id_ for id_ in ids if name and name in id_.lower()]
    by_lower = {id_.lower(): id_ for id_ in ids}
    close = [by_lower[found] for found in get_close_matches(model.lower(), by_lower, most, 0.6)]
    return list(dict.fromkeys([*same, *close]))[:most]


def some(names: list[str], most: int = 5) -> str:
    """The first of a list in words, and how many more there are."""
    shown = ", ".join(names[:most]) or "nothing"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def failed(error: ProviderError, latency_ms: float | None = None) -> Check:
    """The check of a lane that failed with ``error``, with what the error reveals."""
    failure = error.failure
    unasked = failure.kind == "auth" and failure.http_status is None  # the key is missing, or cannot be sent
    return Check(
        ok=False,
        reachable=None if unasked else not error.is_unreached,
        key_valid=False if failure.kind == "auth" else None,
        model_present=False if failure.kind == "model_missing" else None,
        latency_ms=latency_ms,
        problem=failure.message,
        remedy=failure.remedy,
        command=failure.command,
        detail=failure.detail,
    )


async def shows_reasoning(events: AsyncGenerator[Event, None]) -> bool:
    """Read a probe's events until reasoning shows, or to the end. Raises ``ProviderError``, ``TimeoutError``."""

    async def read() -> bool:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Reasoning):
                    return True
        return False

    return await asyncio.wait_for(read(), PROBE_S)
