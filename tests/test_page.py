"""The page in real Chromium, over the real server and engine, with scripted models."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Failure, Finish, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.engine import Engine
from kimi_ui.providers.base import ProviderError
from kimi_ui.turns import Turns
from tests.support.browser import Visitor, WarmContext, lane, send, served, wait_phase
from tests.support.chat_site import spoken
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import until

LANES = ("kimi", "heavy", "qwen")


@dataclass
class Site:
    """The app with three scripted lanes; ``say`` sets what a lane answers next."""

    url: str
    providers: dict[str, ScriptedProvider]
    engine: Engine
    turns: Turns

    def say(self, **scripts: Sequence[Any]) -> None:
        for lane_id, script in scripts.items():
            self.providers[lane_id].scripts = [script]


def endless(kind: type = Reasoning, n: int = 12_000, pause: float = 0.01) -> list[Any]:
    """A stream that is far longer than a test."""
    return [Phase(CONNECTED), *(part for i in range(n) for part in (kind(f"word{i} " + "\n" * (i % 20 == 19)), pause))]


@pytest.fixture(scope="module")
def site_once() -> Iterator[Site]:
    providers = {id: ScriptedProvider(LaneSpec(id, id.title(), "openai", model=f"{id}-1"), [[]]) for id in LANES}
    roster = ScriptedRoster(*providers.values())
    with started(roster) as run, served(run, roster) as url:
        yield Site(url, providers, run.engine, run.turns)


@pytest.fixture
def site(site_once: Site) -> Iterator[Site]:
    site_once.say(**dict.fromkeys(LANES, spoken()))
    yield site_once
    for turn in site_once.turns.live():
        site_once.engine.stop(turn.turn_id)
    until(lambda: not site_once.turns.live())


def test_before_the_first_prompt_all_lanes_are_shown_idle(page: Page) -> None:
    for lane_id in LANES:
        expect(lane(page, lane_id)).to_have_attribute("data-phase", "idle")
        for part in ("steps", "reasoning", "answer", "metrics", "status"):
            expect(lane(page, lane_id, part)).to_have_count(1)
    page.locator(".starter").first.click()
    expect(page.locator("#prompt textarea")).to_have_value(
        "Write a SQL query to find the top 3 users who spent the most money in the last month, "
        "but exclude users who refunded more than 50% of their orders."
    )


def test_a_prompt_is_answered_by_every_lane_side_by_side(page: Page) -> None:
    send(page)
    for lane_id in LANES:
        wait_phase(page, lane_id, "done")
        expect(lane(page, lane_id, "answer").locator("strong")).to_have_text("Rayleigh")
        expect(lane(page, lane_id, "status")).to_contain_text("Done")
        expect(lane(page, lane_id, "metrics").locator("[data-metric=tokens]")).to_have_text("50")
        expect(lane(page, lane_id).locator(".reasoning-title")).to_have_text(re.compile(r"^Thought .* · 20 tokens$"))
    expect(page.locator(".prompt-text")).to_have_text("Why is the sky blue?")
    expect(page.locator("#prompt textarea")).to_have_value("")
    boxes = [lane(page, lane_id).bounding_box() for lane_id in LANES]
    assert len({box["y"] for box in boxes if box}) == 1
    assert len({box["x"] for box in boxes if box}) == 3


def test_reasoning_opens_its_panel_and_the_answer_folds_it(site: Site, page: Page) -> None:
    thought = [Phase(CONNECTED), *(part for i in range(60) for part in (Reasoning(f"step {i}\n"), 0.01))]
    thinking, answering = threading.Event(), threading.Event()
    site.say(kimi=[*thought, thinking, Answer("Well, "), answering, Answer("yes."), Finish("stop")])
    send(page)
    wait_phase(page, "kimi", "thinking")
    toggle = lane(page, "kimi", "reasoning").locator(".reasoning-toggle")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    expect(toggle).to_contain_text("Thinking")
    expect(lane(page, "kimi").locator(".reasoning-view")).to_be_visible()
    thinking.set()
    wait_phase(page, "kimi", "answering")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    expect(toggle).to_contain_text("Thought for")
    answering.set()
    wait_phase(page, "kimi", "done")
    expect(lane(page, "kimi").locator(".reasoning-text")).to_have_text("".join(f"step {i}\n" for i in range(60)))
    expect(toggle).to_contain_text(re.compile(r"^Thought for [\d.]+ s · ~[\d,]+ tokens$"))  # the server sent no count


def test_a_lane_without_reasoning_says_so_and_does_not_spin(site: Site, page: Page) -> None:
    answering = threading.Event()
    site.say(qwen=[Phase(CONNECTED), Answer("Plain "), answering, Answer("answer."), Finish("stop")])
    send(page)
    wait_phase(page, "qwen", "answering")
    title = lane(page, "qwen", "reasoning").locator(".reasoning-title")
    expect(title).to_have_text("This model does not expose its reasoning")
    answering.set()
    wait_phase(page, "qwen", "done")
    expect(title).to_have_text("This model does not expose its reasoning")
    expect(lane(page, "qwen", "reasoning").locator(".reasoning-toggle")).to_be_disabled()


@pytest.mark.own_context
def test_the_readers_own_toggle_wins_over_automatic_folding(site: Site, visitor: Visitor) -> None:
    visitor.context.clock.install()
    page = visitor.open()
    thinking = threading.Event()
    site.say(kimi=endless(), heavy=[*endless(n=30), thinking, *endless(Answer)])
    send(page)
    wait_phase(page, "kimi", "thinking")
    wait_phase(page, "heavy", "thinking")
    kimi = lane(page, "kimi", "reasoning").locator(".reasoning-toggle")
    kimi.click()
    expect(kimi).to_have_attribute("aria-expanded", "false")
    heavy = lane(page, "heavy", "reasoning").locator(".reasoning-toggle")
    heavy.click()
    heavy.click()
    thinking.set()
    wait_phase(page, "heavy", "answering")
    page.clock.run_for(10_000)  # it must not fold
    expect(heavy).to_have_attribute("aria-expanded", "true")
    expect(kimi).to_have_attribute("aria-expanded", "false")


def test_the_panel_preference_is_remembered(site: Site, visitor: Visitor, page: Page) -> None:
    site.say(kimi=endless())
    send(page)
    wait_phase(page, "kimi", "thinking")
    lane(page, "kimi").locator(".reasoning-foot select").select_option("folded")
    toggle = lane(page, "kimi", "reasoning").locator(".reasoning-toggle")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    page.reload()
    wait_phase(page, "kimi", "thinking")
    expect(toggle).to_have_attribute("aria-expanded", "false")


def test_scrolling_up_releases_the_trace_and_latest_pins_it_again(site: Site, page: Page) -> None:
    site.say(kimi=[Reasoning("line\n" * 200), *endless()])
    send(page)
    wait_phase(page, "kimi", "thinking")
    view = lane(page, "kimi").locator(".reasoning-view")
    at_end = "view => view.scrollHeight - view.scrollTop - view.clientHeight < 30"
    until(lambda: view.evaluate("view => view.scrollTop > 200") and view.evaluate(at_end))
    view.hover()
    view.evaluate("view => view.addEventListener('scrollend', () => { window.endedAt = view.scrollTop })")
    page.mouse.wheel(0, -300)
    pill = lane(page, "kimi").locator(".reasoning-frame .pill")
    expect(pill).to_be_visible()
    until(lambda: view.evaluate("view => view.scrollTop === window.endedAt"))  # the browser animates what a wheel does
    place = view.evaluate("view => view.scrollTop")
    text = lane(page, "kimi").locator(".reasoning-text")
    length = len(text.text_content() or "")
    until(lambda: len(text.text_content() or "") > length + 100)
    assert view.evaluate("view => view.scrollTop") == place
    pill.click()
    expect(pill).to_be_hidden()
    until(lambda: view.evaluate(at_end))


def test_find_counts_and_steps_through_the_trace(site: Site, page: Page) -> None:
    site.say(kimi=spoken("alpha beta\nAlpha gamma\n\nan alphabet\n"))
    send(page)
    wait_phase(page, "kimi", "done")
    lane(page, "kimi").get_by_role("button", name="Find in reasoning").click()
    count = lane(page, "kimi").locator(".find-count")
    page.keyboard.type("alpha")
    expect(count).to_have_text("1 of 3")
    page.keyboard.press("Enter")
    expect(count).to_have_text("2 of 3")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    expect(count).to_have_text("3 of 3")
    assert page.evaluate("[...CSS.highlights.get('kimi-found')].map(range => range.toString())") == [
        "alpha",
        "Alpha",
        "alpha",
    ]
    page.keyboard.press("Escape")
    expect(lane(page, "kimi").locator(".find")).to_be_hidden()


def test_reasoning_and_answer_are_copied_separately(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    send(page)
    wait_phase(page, "kimi", "done")
    pasted = "navigator.clipboard.readText()"
    lane(page, "kimi").get_by_role("button", name="Copy reasoning").click()
    until(lambda: page.evaluate(pasted) == "Let me think.")
    lane(page, "kimi").get_by_role("button", name="Copy answer").click()
    until(lambda: page.evaluate(pasted) == "Because of **Rayleigh** scattering.")


def test_one_lane_is_stopped_and_the_others_continue(site: Site, page: Page) -> None:
    site.say(kimi=endless(), heavy=endless(), qwen=endless(Answer))
    send(page)
    for lane_id in LANES:
        wait_phase(page, lane_id, "thinking", "answering")
    lane(page, "heavy").locator(".lane-stop").click()
    wait_phase(page, "heavy", "stopped")
    expect(lane(page, "kimi")).to_have_attribute("data-phase", "thinking")
    expect(lane(page, "qwen")).to_have_attribute("data-phase", "answering")
    page.locator("#stop").click()
    wait_phase(page, "kimi", "stopped")
    wait_phase(page, "qwen", "stopped")
    assert "word0" in (lane(page, "qwen", "answer").text_content() or "")


def test_a_refresh_during_a_stream_keeps_all_text_and_continues(site: Site, page: Page) -> None:
    ends = threading.Event()
    site.say(
        kimi=[*endless(n=200), ends, *endless(n=300)[400:]],
        qwen=[*endless(Answer, n=200), ends, *endless(Answer, n=300)[400:]],
    )
    send(page)
    text = lane(page, "kimi").locator(".reasoning-text")
    until(lambda: "word40" in (text.text_content() or ""))
    page.reload()
    wait_phase(page, "kimi", "thinking")
    before = text.text_content() or ""
    assert before.startswith("word0 word1 ")
    assert "word40 " in before
    ends.set()
    wait_phase(page, "kimi", "incomplete")
    wait_phase(page, "qwen", "incomplete")
    assert (text.text_content() or "").split() == [f"word{i}" for i in range(300)]
    assert (lane(page, "qwen", "answer").text_content() or "").split() == [f"word{i}" for i in range(300)]


def test_a_second_tab_follows_and_another_visitor_does_not(site: Site, browser: Browser, visitor: Visitor) -> None:
    first = visitor.open()
    site.say(kimi=endless())
    send(first)
    wait_phase(first, "kimi", "thinking")
    second = visitor.open()
    wait_phase(second, "kimi", "thinking")
    text = lane(second, "kimi").locator(".reasoning-text")
    length = len(text.text_content() or "")
    until(lambda: len(text.text_content() or "") > length)
    stranger = Visitor(browser, site.url)
    expect(lane(stranger.open(), "kimi")).to_have_attribute("data-phase", "idle")
    turn = first.locator("[data-turn]").get_attribute("data-turn")
    assert stranger.context.request.get(f"{site.url}/kimi/turns/{turn}/frame").status == 404
    assert stranger.context.request.post(f"{site.url}/kimi/turns/{turn}/lanes/kimi/stop").status == 404
    stranger.close()
    second.locator("#stop").click()
    wait_phase(first, "kimi", "stopped")


HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_tab_closes_its_stream_and_catches_up_when_shown(site: Site, page: Page) -> None:
    site.say(kimi=endless())
    send(page)
    wait_phase(page, "kimi", "thinking")
    text = lane(page, "kimi").locator(".reasoning-text")
    page.evaluate(HIDE, True)

    (turn,) = site.turns.live()

    def stands_still() -> bool:
        before, n_entries = text.text_content(), len(turn.entries)
        until(lambda: len(turn.entries) > n_entries + 40)
        return text.text_content() == before

    until(stands_still)
    length = len(text.text_content() or "")
    page.evaluate(HIDE, False)
    until(lambda: len(text.text_content() or "") > length + 200)
    words = (text.text_content() or "").split()
    assert words == [f"word{i}" for i in range(len(words))]


def test_a_failure_is_a_card_with_its_remedy(site: Site, page: Page) -> None:
    failure = Failure("auth", "The key was refused.", "Set another one:", "export KEY=…", "HTTP <b>401</b>", 401)
    site.say(kimi=[0.01, ProviderError(failure)], heavy=[Finish("stop")])
    send(page)
    wait_phase(page, "kimi", "error")
    card = lane(page, "kimi").locator(".card-failure")
    expect(card).to_contain_text("The key was refused.")
    expect(card.locator("code")).to_have_text("export KEY=…")
    expect(card.locator("pre")).to_have_text("HTTP <b>401</b>")
    wait_phase(page, "heavy", "no_answer")
    expect(lane(page, "heavy").locator(".card-failure")).to_contain_text("without writing an answer")
    wait_phase(page, "qwen", "done")


def test_a_retry_counts_down_and_then_answers(site: Site, page: Page) -> None:
    full = ProviderError(Failure("capacity", "All places are taken."), retryable=True, retry_after_s=6.0)
    refused = threading.Event()
    site.providers["kimi"].scripts = [[refused, full], spoken()]
    site.providers["kimi"].requests.clear()
    send(page)
    wait_phase(page, "kimi", "connecting", "waiting")  # the page follows the turn before the seconds count down
    refused.set()
    retry = lane(page, "kimi").locator(".card-retry")
    expect(retry).to_contain_text(re.compile(r"Trying again in [1-5]\.\d s \(attempt 2\)"))
    expect(lane(page, "kimi")).to_have_attribute("data-phase", "waiting")
    wait_phase(page, "kimi", "done")
    expect(lane(page, "kimi", "answer")).to_contain_text("Rayleigh")
    expect(retry).to_have_count(0)


def test_a_conversation_continues_below_its_earlier_turns(site: Site, page: Page) -> None:
    send(page, "first question")
    for lane_id in LANES:
        wait_phase(page, lane_id, "done")
    site.say(kimi=spoken("", "Second answer."))
    send(page, "second question")
    expect(lane(page, "kimi", "answer")).to_have_text("Second answer.")
    expect(page.locator('[data-past-lane="kimi"] [data-part=answer]')).to_contain_text("Rayleigh")
    expect(page.locator('[data-lane="kimi"]')).to_have_count(1)
    messages = site.providers["kimi"].requests[-1].messages
    assert [message.content for message in messages] == [
        "first question",
        "Because of **Rayleigh** scattering.",
        "second question",
    ]
    page.reload()
    wait_phase(page, "kimi", "done")
    expect(page.locator('[data-past-lane="kimi"] [data-part=answer]')).to_contain_text("Rayleigh")


@pytest.mark.parametrize("width", [390, 1024, 1600])
def test_no_width_needs_sideways_scrolling(site: Site, warm: WarmContext, width: int) -> None:
    wide = (
        "```python\n"
        + "x = 1 + " * 60
        + "\n```\n\n"
        + "| a | b |\n|---|---|\n| "
        + "y" * 300
        + " | z |\n\n"
        + "w" * 400
    )
    site.say(kimi=spoken("r" * 500, wide))
    visitor = Visitor(warm, site.url, viewport={"width": width, "height": 800})
    page = visitor.open()
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(overflow) <= 0
    send(page)
    for lane_id in LANES:
        wait_phase(page, lane_id, "done")
    assert page.evaluate(overflow) <= 0
    box = lane(page, "kimi").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert lane(page, "kimi").locator(".lane-body").evaluate("body => body.scrollWidth - body.clientWidth") <= 0
    visitor.close()
    assert visitor.problems == []


def test_on_a_narrow_screen_lanes_are_tabs(site: Site, browser: Browser) -> None:
    visitor = Visitor(browser, site.url, viewport={"width": 390, "height": 800}, has_touch=True)
    page = visitor.open()
    send(page)
    wait_phase(page, "qwen", "done")
    tabs = page.locator(".lane-tab")
    expect(tabs.nth(0)).to_have_attribute("aria-selected", "true")
    expect(lane(page, "qwen")).not_to_be_in_viewport()
    tabs.nth(2).click()
    expect(lane(page, "qwen")).to_be_in_viewport(ratio=0.9)
    expect(tabs.nth(2)).to_have_attribute("aria-selected", "true")
    visitor.close()
    assert visitor.problems == []
