"""How late the engine's loop wakes up: a late loop stamps late.

Every attempt wants the worst of its own time. With hundreds of them in flight it costs too much to touch each at every
sample, so the samples are kept, but only those that were worse than all after them: a handful.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable

SAMPLE_S = 0.02


class LoopLag:
    """The samples so far. ``n_samples``: the number of the next one."""

    def __init__(self) -> None:
        self.n_samples = 0
        self._worst: list[tuple[int, int]] = []  # number and ns, each later than all behind it

    def add(self, lag_ns: int) -> None:
        while self._worst and self._worst[-1][1] <= lag_ns:
            self._worst.pop()
        self._worst.append((self.n_samples, lag_ns))
        self.n_samples += 1

    def since(self, number: int) -> int:
        """The worst sample from this number on, in ns; 0 if none was late."""
        at = bisect_left(self._worst, (number,))
        return max(0, self._worst[at][1]) if at < len(self._worst) else 0

    async def sample(self, clock_ns: Callable[[], int]) -> None:
        """Measure again and again how late the running loop wakes up. ``clock_ns``: the clock of the stamps."""
        due_ns = clock_ns()
        while True:
            await asyncio.sleep(SAMPLE_S)
            now_ns = clock_ns()
            self.add(now_ns - due_ns - int(SAMPLE_S * 1e9))
            due_ns = now_ns
