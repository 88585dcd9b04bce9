"""The chat under test: three scripted lanes (one of them heavy) with a log on disk, served to a real Chromium.

``open_site`` is a whole app; ``say`` sets the models' next answers; ``requests`` of a provider are what it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning, Usage
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.engine import Engine
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter
from kimi_ui.providers.base import ChatRequest
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.providers.ollama.provider import OllamaLane
from kimi_ui.turns import Turns
from tests.support.browser import send, served
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import until

LANES = ("kimi", "heavy", "qwen")
PRICE = Price(input=1.0, output=4.0, as_of="2026-07-01")


class Listing(ScriptedProvider):
    """Lists models, or raises the given error."""

    listed: Sequence[str] | Exception = ()

    async def models(self) -> list[str]:
        if isinstance(self.listed, Exception):
            raise self.listed
        return list(self.listed)


class Roster(ScriptedRoster):
    async def models_of(self, lane: str) -> list[str]:
        return await self.provider(lane).models()


@dataclass
class ChatSite:
    """The app: ``kimi`` and ``qwen`` are scripted, ``heavy`` is made of ``kimi`` with three trajectories."""

    url: str
    engine: Engine
    turns: Turns
    kimi: Listing
    qwen: Listing

    @property
    def reader(self) -> LogReader:
        return self.turns.reader

    @property
    def writer(self) -> LogWriter:
        return self.turns.writer

    def say(self, kimi: Sequence[Any] | Callable[[ChatRequest], Any], qwen: Sequence[Any] | None = None) -> None:
        """Set the models' next answers."""
        self.kimi.scripts = [kimi if callable(kimi) else list(kimi)]
        self.qwen.scripts = [list(qwen) if qwen is not None else spoken()]

    def settle(self) -> None:
        """Stop running turns, forget the requests, restore the usual answers."""
        for turn in self.turns.live():
            self.engine.stop(turn.turn_id)
        until(lambda: not self.turns.live())
        self.kimi.requests.clear()
        self.qwen.requests.clear()
        self.kimi.listed, self.qwen.listed = (), ()
        self.say(spoken())


def spoken(reasoning: str = "Let me think.", answer: str = "Because of **Rayleigh** scattering.") -> list[Any]:
    parts: list[Any] = [Phase(CONNECTED)]
    parts += [Reasoning(reasoning)] if reasoning else []
    return [*parts, 0.01, Answer(answer), Finish("stop"), Usage(input_tokens=9, output_tokens=50, reasoning_tokens=20)]


def endless(kind: type = Reasoning, n: int = 4000, pause: float = 0.02) -> list[Any]:
    """A stream that is far longer than a test."""
    return [Phase(CONNECTED), *(part for i in range(n) for part in (kind(f"word{i} "), pause))]


@contextmanager
def open_site(folder: Path, kimi_model: str = "kimi-k2-thinking", width: int = 3, **options: Any) -> Iterator[ChatSite]:
    """The app over a new log, or over the one in ``folder``; ``options`` as for ``create_app``."""
    params = {"max_tokens": 32768}
    kimi = Listing(LaneSpec("kimi", "Kimi K2", "openai", model=kimi_model, price=PRICE, params=params), [spoken()])
    qwen = Listing(OllamaLane("qwen", "Qwen3-Coder", "ollama", model="qwen3-coder:30b", price=Price(0, 0)), [spoken()])
    heavy = HeavyProvider(
        HeavyLane("heavy", "Kimi K2 heavy", "heavy", of="kimi", width=width, quorum=width, preset="full"), kimi
    )
    roster = Roster(kimi, heavy, qwen)
    with started(roster, folder / "log.sqlite3") as run, served(run, roster, **options) as url:
        yield ChatSite(url, run.engine, run.turns, kimi, qwen)


def ask(page: Page, prompt: str = "Why?") -> str:
    """Send a prompt and wait until every lane of its turn has answered; returns the turn's id."""
    before = page.locator(".turn-current [data-turn]").get_attribute("data-turn")
    send(page, prompt)
    return answered(page, before)


def answered(page: Page, before: str | None = None) -> str:
    """Wait until a turn other than ``before`` is shown and all its lanes are done; returns its id."""
    turn = page.locator(f'.turn-current [data-turn]:not([data-turn="{before or ""}"])')
    for lane_id in LANES:
        turn.locator(f'[data-lane="{lane_id}"][data-phase="done"]').wait_for(state="attached")
    return turn.get_attribute("data-turn") or ""


def attach(page: Page, name: str, data: bytes) -> None:
    """Pick a file, and wait until the page shows that it was attached or refused."""
    page.locator("#composer input[type=file]").set_input_files({"name": name, "mimeType": "text/plain", "buffer": data})
    expect(page.locator(".attachment", has_text="reading…")).to_have_count(0)
