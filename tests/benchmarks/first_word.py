"""Seconds until a frame has the first word of a turn: ``python -m tests.benchmarks.first_word URL``."""

from __future__ import annotations

import asyncio
import sys
import time

from .visitors import Visitor


async def main(url: str) -> None:
    started = time.perf_counter()
    visitor = Visitor(url)
    await visitor.open()
    async for frame in visitor.follow(await visitor.send("Say hello.")):
        if any(lane.get("reasoning") or lane.get("tail") for lane in frame["lanes"].values()):
            break
    print(time.perf_counter() - started)
    await visitor.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
