"""A visitor without a browser: sends prompts and follows their turns by the page's own routes, over plain HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx

STAMP = re.compile(r"@(\d{13})@")


class Visitor:
    """One browser session. ``client`` keeps its cookie."""

    def __init__(self, url: str) -> None:
        # Close idle connections before the server does, after 5 s: a browser would retry, this client does not.
        limits = httpx.Limits(keepalive_expiry=2)
        self.client = httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(60, read=120), limits=limits)

    async def open(self) -> None:
        """Load the page's first requests, which set the cookie."""
        (await self.client.get("/kimi/state")).raise_for_status()

    async def send(self, prompt: str) -> str:
        """Send a prompt as a new conversation; returns the turn's id."""
        answer = (await self.client.post("/kimi/turns", json={"text": prompt})).raise_for_status()
        return str(answer.json()["turns"][0]["turn_id"])

    async def follow(self, turn_id: str, after: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """The turn's frames until it has ended. ``after``: continue after this number of log entries."""
        query = {} if after is None else {"after": after}
        async for frame in self._events(f"/kimi/turns/{turn_id}/events", **query):
            yield frame

    async def stop(self, turn_id: str, lane: str) -> None:
        (await self.client.post(f"/kimi/turns/{turn_id}/lanes/{lane}/stop")).raise_for_status()

    async def close(self) -> None:
        await self.client.aclose()

    async def _events(self, path: str, **query: Any) -> AsyncIterator[dict[str, Any]]:
        async with self.client.stream("GET", path, params=query) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("event: end"):
                    return
                if line.startswith("data: "):
                    yield json.loads(line[6:])


class Lags:
    """How late the stamps of one turn's text are, ms, by the wall clock they were made with. Each counts once."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}  # by lane: an open block comes again with every frame

    def of(self, frame: dict[str, Any]) -> list[float]:
        """The lags of what is new in this frame."""
        now_ms, lags = time.time() * 1000, []
        for name, lane in frame.get("lanes", {}).items():
            texts = (str(lane.get(part, "")) for part in ("reasoning", "blocks", "tail", "append"))
            stamps = [int(stamp) for text in texts for stamp in STAMP.findall(text)]
            fresh = sorted({stamp for stamp in stamps if stamp > self._newest.get(name, 0)})
            if fresh:
                self._newest[name] = fresh[-1]
                lags += [now_ms - stamp for stamp in fresh]
        return lags
