"""More than one process can carry: pages lag, all alike, and nothing that they show is wrong.

The loop's clock is simulated: it advances where nothing can run, and by what each frame costs. So an overload is exact
and does not depend on the machine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest

from kimi_ui.core.attempt import Attempt
from kimi_ui.core.events import End, Entry, Finish, Opened, Reasoning, Usage
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.view.frames import TurnView
from kimi_ui.web.stream import BEATS, TurnStreams

PEOPLE = 40
N_TOKENS = 300
TOKEN_S = 0.033
FRAME_COSTS_S = 0.010  # 0.4 s for a frame of everybody, where 0.07 s are meant to lie between two


class SimulatedTime(asyncio.SelectorEventLoop):
    """``at(now_s)`` is called whenever the clock has advanced."""

    def __init__(self, at: Callable[[float], object]) -> None:
        super().__init__()
        self._at, self.now_s = at, 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def wait(timeout: float | None = None) -> Any:
            if timeout:
                self.advance(timeout)
            return select(0 if timeout else timeout)

        selector.select = wait

    def time(self) -> float:
        return self.now_s

    def advance(self, by_s: float) -> None:
        self.now_s += by_s
        self._at(self.now_s)


def running_turn(i: int) -> TurnLog:
    turn = TurnLog(f"t{i}", "c", 0, "?", (LaneInfo("a", "A", "openai", "m"),), t0_ns=1)
    turn.append(Entry("a", f"x{i}", 0, Opened(Attempt(f"x{i}", f"t{i}", "a", "A").as_dict())))
    return turn


def write_on(turn: TurnLog, now_s: float) -> None:
    """What the engine has stamped by now: it has a thread of its own and is never late."""
    id = turn.entries[0].attempt_id
    while not turn.closed and (n := len(turn.entries)) * TOKEN_S <= now_s:
        at_ns = int(n * TOKEN_S * 1e9)
        if n <= N_TOKENS:
            turn.append(Entry("a", id, at_ns, Reasoning(f"w{n} ")))
            continue
        for event in (Finish("stop"), Usage(output_tokens=N_TOKENS, reasoning_tokens=N_TOKENS), End("ok")):
            turn.append(Entry("a", id, at_ns, event))
        turn.close()


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def test_frames_that_are_due_together_take_one_waking_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    turns = [running_turn(i) for i in range(PEOPLE)]
    loop = SimulatedTime(lambda now_s: [write_on(turn, now_s) for turn in turns])
    streams = TurnStreams()
    written: list[list[float]] = [[] for _ in turns]

    async def follow(i: int) -> None:
        async def write(data: bytes) -> None:
            if b'data: {"now_ms"' in data:
                written[i].append(loop.now_s)

        await asyncio.sleep(0.001 * i)  # each at a time of its own
        await streams._run(turns[i], 0, write, loop.create_future())

    async def follow_all() -> float:
        following = [asyncio.ensure_future(follow(i)) for i in range(PEOPLE)]
        await asyncio.sleep(1)
        frame_s = streams.frame_s
        await asyncio.gather(*following)
        return frame_s

    frame_s = loop.run_until_complete(follow_all())
    loop.close()
    steady = [[at for at in each if 1 < at < N_TOKENS * TOKEN_S] for each in written]
    waits = [later - earlier for each in steady for earlier, later in pairwise(each)]
    assert min(waits) == pytest.approx(max(waits)) == pytest.approx(frame_s), "nobody's frames come less often for it"
    n_wakes = len({round(at, 6) for each in steady for at in each})
    assert n_wakes == pytest.approx(BEATS * (N_TOKENS * TOKEN_S - 1) / frame_s, rel=0.1)


def test_all_lag_alike_and_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    turns = [running_turn(i) for i in range(PEOPLE)]
    loop = SimulatedTime(lambda now_s: [write_on(turn, now_s) for turn in turns])
    written: list[list[tuple[float, dict[str, Any]]]] = [[] for _ in turns]
    uneven: list[list[int]] = []

    async def follow(streams: TurnStreams, i: int) -> None:
        async def write(data: bytes) -> None:
            loop.advance(FRAME_COSTS_S)
            for line in data.splitlines():
                if line.startswith(b'data: {"now_ms"'):
                    written[i].append((loop.now_s, orjson.loads(line[6:])["lanes"].get("a", {})))
            n_frames = [len(frames) for frames in written]
            if max(n_frames) - min(n_frames) > 1 and not turns[i].closed:
                uneven.append(n_frames)

        await streams._run(turns[i], 0, write, loop.create_future())

    async def follow_all() -> None:
        streams = TurnStreams()
        await asyncio.gather(*(follow(streams, i) for i in range(PEOPLE)))

    with caplog.at_level(logging.WARNING):
        loop.run_until_complete(follow_all())
    loop.close()
    assert not uneven, "each waits for its turn: nobody gets a second frame before everybody has the first"
    waits = [[later - earlier for (earlier, _), (later, _) in pairwise(frames)][1:-1] for frames in written]
    longest = [max(each) for each in waits]
    assert min(longest) > FRAME_COSTS_S * PEOPLE * 0.9, "more than it can carry"
    assert max(longest) < 1.1 * min(longest), "all lag alike"

    whole = TurnView(turns[0])
    whole.catch_up()
    frame = whole.frame(None)
    assert frame
    for frames in written:
        parts = [part for _, part in frames]
        assert "".join(part.get("reasoning", "") for part in parts) == frame["lanes"]["a"]["reasoning"]
        figures = [part["metrics"] for part in parts if "metrics" in part]
        assert figures[-1] == frame["lanes"]["a"]["metrics"]
    assert "Pages are shown 0." in caplog.text
