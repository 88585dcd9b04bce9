"""Tabs of one browser in real Chromium: one holds the stream of a turn, the others follow it (``assets/stream.js``)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from tests.support.browser import Visitor, WarmContext, lane, listening, made, send, wait_phase
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import until

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@dataclass
class Tabs:
    """The app with one scripted lane ``a``, and one browser in front of it."""

    provider: ScriptedProvider
    streams: Any
    visitor: Visitor

    def say(self, *script: Any) -> None:
        self.provider.requests.clear()
        self.provider.scripts = [script]

    def stream_is_one(self) -> None:
        """Wait until the server has one stream open, whatever was just closed."""
        until(lambda: self.streams.n_open == 1)


@pytest.fixture
def tabs(request: pytest.FixtureRequest, browser: Browser, warm: WarmContext) -> Iterator[Tabs]:
    provider = ScriptedProvider(LaneSpec("a", "A", "openai", model="a-1"), [[]])
    roster = ScriptedRoster(provider)
    with started(roster) as run:
        app = made(run, roster)
        with listening(app) as url:
            visitor = Visitor(browser if request.node.get_closest_marker("own_context") else warm, url)
            yield Tabs(provider, app.state.streams, visitor)
            visitor.close()
            for turn in run.turns.live():
                run.engine.stop(turn.turn_id)
    assert visitor.problems == []


def words(n: int, first: int = 0) -> list[Any]:
    return [part for i in range(first, first + n) for part in (Reasoning(f"word{i} " + "\n" * (i % 20 == 19)), 0.01)]


def shown_words(page: Page) -> list[str]:
    return (lane(page, "a").locator(".reasoning-text").text_content() or "").split()


def numbered(n: int) -> list[str]:
    return [f"word{i}" for i in range(n)]


def until_shown(page: Page, n: int) -> None:
    until(lambda: shown_words(page) == numbered(n))


def until_it_grows(page: Page) -> None:
    length = len(shown_words(page))
    until(lambda: len(shown_words(page)) > length)


def test_seven_tabs_cost_the_server_one_stream(tabs: Tabs) -> None:
    go = threading.Event()
    tabs.say(Phase(CONNECTED), *words(50), go, *words(50, 50), Finish("stop"))
    pages = [tabs.visitor.open()]
    send(pages[0])
    wait_phase(pages[0], "a", "thinking")
    pages += [tabs.visitor.open() for _ in range(6)]
    for page in pages:
        wait_phase(page, "a", "thinking")
        until_shown(page, 50)
    assert tabs.streams.n_open == 1
    go.set()
    for page in pages:
        wait_phase(page, "a", "no_answer")
        assert shown_words(page) == numbered(100)


@pytest.mark.parametrize("way", ["closed", "hidden"])
def test_a_closing_leader_hands_over_without_lost_or_repeated_text(tabs: Tabs, way: str) -> None:
    tabs.say(Phase(CONNECTED), *words(20_000))
    pages = [tabs.visitor.open()]
    send(pages[0])
    wait_phase(pages[0], "a", "thinking")
    pages += [tabs.visitor.open() for _ in range(3)]
    for page in pages:
        wait_phase(page, "a", "thinking")
    hidden = []
    for _ in range(3):
        leader = pages.pop(0)
        if way == "closed":
            leader.close()
        else:
            leader.evaluate(HIDE, True)
            hidden.append(leader)
        until_it_grows(pages[0])
        tabs.stream_is_one()
    for page in hidden:  # each lacks a different part
        page.evaluate(HIDE, False)
    pages[0].locator("#stop").click()
    for page in pages + hidden:
        wait_phase(page, "a", "stopped")
        assert shown_words(page) == numbered(len(shown_words(pages[0])))


def test_tabs_opened_during_an_answer_show_the_same_text(tabs: Tabs) -> None:
    go, end = threading.Event(), threading.Event()
    text = (
        "# Title\n\nA *first* paragraph.\n\n1. one\n2. two\n\n```python\nprint(1)\n```\n\nThe last paragraph, still op"
    )
    pieces = [text[i : i + 3] for i in range(0, len(text), 3)]
    half = len(pieces) // 2
    begin, rest = (
        [part for piece in some for part in (Answer(piece), 0.01)] for some in (pieces[:half], pieces[half:])
    )
    tabs.say(Phase(CONNECTED), Reasoning("Hm. "), *begin, go, *rest, end, Answer("en."), Finish("stop"))
    pages = [tabs.visitor.open()]
    send(pages[0])
    wait_phase(pages[0], "a", "answering")
    pages.append(tabs.visitor.open())
    expect(lane(pages[1], "a", "answer").locator(":has-text('Title')").first).to_be_visible()
    go.set()
    pages.append(tabs.visitor.open())
    for page in pages:
        expect(lane(page, "a", "answer")).to_contain_text("still op")
    pages.pop(0).close()
    tabs.stream_is_one()
    end.set()
    shown = []
    for page in pages:
        wait_phase(page, "a", "done")
        expect(lane(page, "a", "answer")).to_contain_text("still open.")
        shown.append(lane(page, "a", "answer").inner_html())
        assert shown_words(page) == ["Hm."]
    late = tabs.visitor.open(f"?turn={pages[0].locator('[data-turn]').get_attribute('data-turn')}")
    expect(lane(late, "a", "answer")).to_contain_text("still open.")
    assert set(shown) == {lane(late, "a", "answer").inner_html()}


def test_more_running_turns_than_sockets_all_continue(tabs: Tabs) -> None:
    tabs.say(Phase(CONNECTED), *words(20_000))
    pages = []
    for _ in range(6):
        page = tabs.visitor.open("?c=new")
        send(page)
        wait_phase(page, "a", "thinking")
        pages.append(page)
    for page in pages:
        until_it_grows(page)
    until(lambda: tabs.streams.n_open <= 4)  # one that was passed on may not have left yet
    for page in pages:  # one socket is free for this
        page.locator("#stop").click()
        wait_phase(page, "a", "stopped")
        assert shown_words(page) == numbered(len(shown_words(page)))


@pytest.mark.own_context
def test_a_hanging_leader_is_replaced(tabs: Tabs) -> None:
    go = threading.Event()
    tabs.say(Phase(CONNECTED), *words(20), go, *words(20, 20), Finish("stop"))
    tabs.visitor.context.clock.install()
    first = tabs.visitor.open()
    send(first)
    until_shown(first, 20)
    turn = first.locator("[data-turn]").get_attribute("data-turn")
    first.evaluate(
        """turn => {
          window.setTimeout = () => 0;  // this tab does not take over, however long the second one takes to open
          const hang = () => new Promise(() => {});
          navigator.locks.request(`kimi-turn-${turn}`, { steal: true }, hang).catch(() => {});
        }""",
        turn,
    )  # the holder of the lock does not answer, and the first tab follows it now
    second = tabs.visitor.open()
    expect(lane(second, "a")).to_have_attribute("data-phase", "idle")
    second.clock.fast_forward(11_000)
    wait_phase(second, "a", "thinking")
    go.set()
    for page in (first, second):
        wait_phase(page, "a", "no_answer")
        assert shown_words(page) == numbered(40)


def test_all_tabs_announce_a_lost_server_and_continue_once_it_is_back(tabs: Tabs) -> None:
    go = threading.Event()
    tabs.say(Phase(CONNECTED), *words(20), go, *words(20, 20), Finish("stop"))
    pages = [tabs.visitor.open()]
    send(pages[0])
    wait_phase(pages[0], "a", "thinking")
    pages.append(tabs.visitor.open())
    for page in pages:
        until_shown(page, 20)
    tabs.visitor.context.set_offline(True)
    tabs.streams.closing = True  # the open stream breaks, and no new one can be opened
    for page in pages:
        expect(page.locator(".page-notice")).to_contain_text("cannot be reached")
    tabs.streams.closing = False
    tabs.visitor.context.set_offline(False)
    for page in pages:
        expect(page.locator(".page-notice")).to_be_hidden()
    go.set()
    for page in pages:
        wait_phase(page, "a", "no_answer")
        assert shown_words(page) == numbered(40)
    tabs.visitor.problems.clear()  # the console reports the failed requests
