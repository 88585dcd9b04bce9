"""What a token and an attempt cost, counted in Python-level calls: time depends on the machine, calls do not.

Every limit is a little above what was counted when it was set. Where a change needs more, measure what it costs
(``tests/benchmarks/load.py``) before raising the limit.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from kimi_ui.core.lane import LaneChoice, LaneSpec
from kimi_ui.core.turn import TurnLog
from kimi_ui.engine.attempts import AttemptRun
from kimi_ui.engine.loop_lag import LoopLag
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from kimi_ui.view.frames import TurnView, dumps
from tests.support.engine_run import running
from tests.support.log import store, writing
from tests.support.scripted import ScriptedProvider, thinker
from tests.support.upstream import Upstream

N_TOKENS = 600
TOKENS_A_FRAME = 3  # of one lane, at 30 tokens/s with a hundred people


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Python functions that are entered meanwhile, by thread name; only threads that begin meanwhile, and this one."""
    calls: Counter[str] = Counter()
    thread = threading.local()  # an ended thread's ident is another one's later

    def seen(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            if not hasattr(thread, "name"):
                thread.name = threading.current_thread().name
            calls[thread.name] += 1

    threading.setprofile(seen)
    sys.setprofile(seen)
    try:
        yield calls
    finally:
        threading.setprofile(None)
        sys.setprofile(None)


def follow(turn: TurnLog) -> None:
    view = TurnView(turn)
    for at in range(0, len(turn.entries), TOKENS_A_FRAME):
        view.catch_up(at + TOKENS_A_FRAME)
        dumps(view.frame(at * 33_000_000))


async def without_samples(lag: LoopLag, clock_ns: object) -> None:
    """In place of ``LoopLag.sample``, whose calls grow with the time that a turn takes."""
    await asyncio.Event().wait()


@pytest.fixture(scope="module")
def calls_of_parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Calls a token by thread, of a turn with one lane whose server sends each token by itself; and the engine's of an
    attempt with two tokens."""
    model = f"m-400-{N_TOKENS * 2 // 3}-{N_TOKENS // 3}"
    with Upstream() as upstream, pytest.MonkeyPatch.context() as patch, counted() as calls:
        patch.setattr(LoopLag, "sample", without_samples)
        provider = OpenAICompatible(LaneSpec("a", "A", "openai", model=model, base_url=upstream.base_url))
        with running(None, provider) as run:
            run.rows(run.engine.send("hello", choices={"a": LaneChoice("m-5000-50-50")}))  # imports, connections
            warm = Counter(calls)
            run.rows(run.engine.send("hello", choices={"a": LaneChoice("m-5000-1-1")}))
            short = calls - warm
            warm = Counter(calls)
            turn = run.engine.send("hello")
            run.rows(turn)
            spent = calls - warm
        with writing(tmp_path_factory.mktemp("log") / "log.sqlite3") as writer:
            before = calls["log-writer"]  # the log is open, with all its migrations
            store(writer, turn)  # at once, without looking for what is new ten times a second
        spent["log-writer"] = calls["log-writer"] - before
        follow(turn)  # the vocabulary is loaded
        before = calls["MainThread"]
        follow(turn)
        spent["view"] = calls["MainThread"] - before
    a_token = {name: spent[name] / N_TOKENS for name in ("engine", "log-writer", "view")}
    return {**a_token, "attempt": short["engine"]}


@pytest.mark.parametrize(("what", "most"), [("engine", 47.0), ("log-writer", 5.0), ("view", 27.0), ("attempt", 3400.0)])
def test_a_token_and_an_attempt_take_few_calls(calls_of_parts: dict[str, float], what: str, most: float) -> None:
    assert 0 < calls_of_parts[what] < most, f"{calls_of_parts}"


def test_a_running_attempt_keeps_its_attributes_out_of_a_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython puts all of an object's attributes into one when it gets its 30th, unless the class has slots."""
    dictionaries: list[list[dict[str, Any]]] = []
    end = AttemptRun._end

    def ending(run: AttemptRun, *arguments: Any) -> None:
        of_run = [one for one in gc.get_referents(run) if isinstance(one, dict) and "_attempt_id" in one]
        dictionaries.append(of_run)
        end(run, *arguments)

    monkeypatch.setattr(AttemptRun, "_end", ending)
    with running(None, ScriptedProvider(LaneSpec("a", "A", "openai", model="m"), [thinker()])) as run:
        run.folds(run.engine.send("hello"))
    assert dictionaries == [[]]
