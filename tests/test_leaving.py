"""How a request leaves: one is made up at a time, one that takes long holds up no other, and who waits is not late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.core.events import Event, Opened, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.engine import Engine, attempts
from kimi_ui.providers.http import transport
from kimi_ui.providers.http.transport import FIRST_ACTS, LAST_ACT, leaving
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from tests.support.engine_run import running
from tests.support.folding import run_provider
from tests.support.scripted import ScriptedProvider
from tests.support.upstream import Upstream
from tests.support.waiting import until


async def test_a_request_is_out_before_the_next_is_told_to_leave(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, closed_after: Callable[[Any], Any]
) -> None:
    acts: list[tuple[int, str]] = []
    saw = transport._Departure.saw

    def noted(departure: Any, act: str) -> None:
        acts.append((id(departure), act))
        saw(departure, act)

    monkeypatch.setattr(transport._Departure, "saw", noted)
    monkeypatch.setattr(transport, "MAKING_S", 60)
    lanes = [
        closed_after(OpenAICompatible(LaneSpec(f"l{k}", "L", "openai", model="m-2000-5-5", base_url=upstream.base_url)))
        for k in range(5)
    ]
    for _ in range(2):  # as it connects, and on the connection that is there
        acts.clear()
        await asyncio.gather(*(run_provider(lane) for lane in lanes))
        ends = [(who, act) for who, act in acts if act in (*FIRST_ACTS, LAST_ACT)]
        order = list(dict.fromkeys(who for who, _ in ends))
        assert len(order) == 5 and ends == sorted(ends, key=lambda end: order.index(end[0]))
        assert [act for who, act in ends if who == order[0]][-1] == LAST_ACT


async def test_a_request_that_takes_long_to_leave_holds_up_no_other() -> None:
    other_left = asyncio.Event()

    async def far() -> None:
        async with leaving(None):
            await other_left.wait()

    async def near() -> None:
        async with leaving(None):
            other_left.set()

    async with asyncio.timeout(20):
        await asyncio.gather(far(), near())


class Leaving(ScriptedProvider):
    """Tells twice that the request leaves, the second time later; keeps what the turn's log had at the first."""

    engine: Engine
    entries_then: Sequence[Event] = (Reasoning("never asked"),)

    async def stream(self, request: Any, host: Any) -> Any:
        host.sent()
        self.entries_then = [entry.event for turn in self.engine.live_turns() for entry in turn.entries]
        await asyncio.sleep(5 * attempts.OUT_BY_S)
        host.sent()
        yield Reasoning("word")


def test_stamps_count_from_the_moment_and_readers_are_told_a_little_later(tmp_path: Path) -> None:
    provider = Leaving(LaneSpec("a", "A", "openai", model="m"), [[]])
    with running(tmp_path / "log.sqlite3", provider) as run:
        provider.engine = run.engine
        turn = run.engine.send("hi")
        until(lambda: turn.closed)
    first, word, *_ = turn.entries
    assert provider.entries_then == [] and isinstance(first.event, Opened) and first.t_ns == 0
    assert word.t_ns >= 5 * attempts.OUT_BY_S * 1e9, "the second call has moved nothing"
