"""A visitor without a browser: sends prompts and follows their turns by the page's own routes, over plain HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx

STAMP = re.compile(r"@(\d{13})@")
RECONNECT_S = 0.5  # as the stream tells a browser


class Visitor:
    """One browser session. ``client`` keeps its cookie; ``headers`` are sent with each request."""

    def __init__(self, url: str, **headers: str) -> None:
        # Close idle connections before the server does, after 5 s: a browser would retry, this client does not.
        limits = httpx.Limits(keepalive_expiry=2)
        timeout = httpx.Timeout(60, read=120)
        self.client = httpx.AsyncClient(base_url=url, timeout=timeout, limits=limits, headers=headers)
        self.n_reconnects = 0
        self.refusals: Counter[int] = Counter()  # of streams, by status

    async def open(self) -> None:
        """Load the page's first requests, which set the cookie."""
        (await self.client.get("/kimi/state")).raise_for_status()

    async def send(self, prompt: str) -> str:
        """Send a prompt as a new conversation; returns the turn's id."""
        answer = (await self.client.post("/kimi/turns", json={"text": prompt})).raise_for_status()
        return str(answer.json()["turns"][0]["turn_id"])

    async def follow(self, turn_id: str, after: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """The turn's frames until it has ended. ``after``: continue after this number of log entries."""
        async for name, _, frame in self._events(turn_id, after):
            if name == "message":
                yield frame

    async def stay(self, turn_id: str) -> AsyncIterator[dict[str, Any]]:
        """The turn's frames until it has ended, over as many connections as that takes, as a browser makes them; but a
        browser gives up where it is refused."""
        position: int | None = None
        while True:
            try:
                async for name, place, frame in self._events(turn_id, position):
                    if name == "end":
                        return
                    if name == "message":
                        position = place
                        yield frame
            except httpx.TransportError:
                self.n_reconnects += 1
            except httpx.HTTPStatusError as error:
                self.refusals[error.response.status_code] += 1
            else:
                self.n_reconnects += 1
            await asyncio.sleep(RECONNECT_S)

    async def stop(self, turn_id: str, lane: str) -> None:
        (await self.client.post(f"/kimi/turns/{turn_id}/lanes/{lane}/stop")).raise_for_status()

    async def close(self) -> None:
        await self.client.aclose()

    async def _events(self, turn_id: str, after: int | None) -> AsyncIterator[tuple[str, int | None, Any]]:
        """The events of one connection: name, log entries that the page has with it (None: not all of them), data."""
        place: int | None = None
        query, name = {} if after is None else {"after": after}, "message"
        async with self.client.stream("GET", f"/kimi/turns/{turn_id}/events", params=query) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "id":
                    place = int(value) if value else None
                elif key == "data":
                    yield name, place, json.loads(value)
                    name, place = "message", None


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
