"""The queue of prompts in real Chromium: cards over the box, the lanes that are ready, refresh, a second tab, stop."""

from __future__ import annotations

import threading

import httpx
from playwright.sync_api import Page, expect

from tests.support.browser import Visitor, lane, send, wait_phase
from tests.support.chat_site import ChatSite, answered, attach, spoken
from tests.support.image_files import picture
from tests.support.waiting import until

BOX = "#prompt textarea"
CARDS = ".queued"


def prompts(page: Page) -> list[str]:
    return page.locator(".prompt-text").all_text_contents()  # of rows out of sight too


def test_a_prompt_is_queued_or_sent_to_the_lanes_that_are_ready(site: ChatSite, visitor: Visitor, page: Page) -> None:
    go = threading.Event()
    site.qwen.scripts = [[go, *spoken()], spoken()]
    box, cards = page.locator(BOX), page.locator(CARDS)
    send(page, "First")
    for lane_id in ("kimi", "heavy"):
        wait_phase(page, lane_id, "done")
    expect(page.locator("#send")).to_have_text("Queue")
    expect(page.get_by_role("button", name="Send to 2 ready: Kimi K2, Kimi K2 heavy")).to_be_visible()
    attach(page, "dot.png", picture(size=(8, 6)))
    box.fill("Second")
    page.keyboard.press("Enter")
    expect(cards).to_contain_text(["Second"])
    expect(box).to_have_value("")
    expect(page.locator(".attachment")).to_have_count(0)
    box.fill("Third")
    page.locator("#send").click()
    expect(cards).to_contain_text(["Second", "Third"])
    expect(cards.first).to_contain_text("Queued until every lane has ended")

    page.reload()  # the queue is the server's
    expect(cards).to_contain_text(["Second", "Third"])
    other = visitor.open(f"?{page.url.partition('?')[2]}")
    expect(other.locator(CARDS)).to_contain_text(["Second", "Third"])
    image = cards.first.get_by_role("button", name="Open dot.png, 8 × 6 pixels")
    for tab in (page, other):
        expect(tab.locator(f"{CARDS} img")).to_have_js_property("naturalWidth", 8)
    image.press("Enter")
    expect(page.get_by_role("dialog", name="dot.png").locator("img")).to_have_js_property("naturalWidth", 8)
    page.keyboard.press("Escape")
    address = f"{site.url}{image.locator('img').get_attribute('src')}"
    assert page.request.get(address).headers["x-content-type-options"] == "nosniff"
    assert httpx.get(address).status_code == 404, "a stranger's"
    cards.nth(1).get_by_role("button", name="Remove").click()
    for tab in (page, other):
        expect(tab.locator(CARDS)).to_contain_text(["Second"])
    cards.first.get_by_role("button", name="Edit").click()
    expect(box).to_have_value("Second")
    expect(cards).to_have_count(0)
    expect(page.locator(".attachment")).to_contain_text("dot.png · 8 × 6 pixels")
    assert page.request.get(address).status == 404, "it was taken out of the queue"
    page.get_by_role("button", name="Remove dot.png").click()
    box.fill("To two lanes")
    page.keyboard.press("Alt+Enter")
    ready = page.locator(".turn-current .prompt-text")
    expect(ready).to_have_text("To two lanes")
    for lane_id in ("kimi", "heavy"):
        wait_phase(page, lane_id, "done")
    expect(lane(page, "qwen")).to_have_count(0)
    behind = page.locator(".composer-behind")
    expect(behind).to_contain_text("Qwen3-Coder still answers an earlier prompt")
    expect(page.locator('.turns-past [data-past-lane="qwen"]')).to_have_attribute("data-phase", "connecting")
    attach(page, "dot.png", picture(size=(8, 6)))
    box.fill("Fourth")
    page.keyboard.press("Enter")
    expect(cards).to_contain_text(["Fourth"])
    expect(cards.get_by_role("button", name="Send to 2 ready: Kimi K2, Kimi K2 heavy")).to_be_visible()

    page.reload()  # both running turns are followed again
    expect(behind).to_contain_text("Qwen3-Coder still answers an earlier prompt")
    go.set()
    expect(ready).to_have_text("Fourth")
    answered(page)
    expect(cards).to_have_count(0)
    expect(behind).to_be_hidden()
    expect(page.locator("#send")).to_have_text("Send")
    expect(other.locator(".turn-current .prompt-text")).to_have_text("Fourth")
    expect(page.locator('.turns-past [data-past-lane="qwen"]').first).to_have_attribute("data-phase", "done")
    assert prompts(page) == ["First", "To two lanes", "Fourth"]
    expect(page.locator(".turn-current").get_by_role("button", name="Open dot.png, 8 × 6 pixels")).to_be_visible()
    expect(lane(page, "qwen")).to_contain_text("Images were left out of the request")
    note = "[Attached image: dot.png (8 × 6 pixels); it was not sent to you: this model takes no images]"
    assert [request.messages[-1].content for request in site.qwen.requests] == ["First", f"{note}\n\nFourth"], "once"


def test_what_is_queued_is_held_when_the_turn_is_stopped(site: ChatSite, page: Page) -> None:
    site.qwen.scripts = [[threading.Event(), *spoken()], spoken()]
    cards = page.locator(CARDS)
    send(page, "First")
    wait_phase(page, "kimi", "done")
    page.locator(BOX).fill("Second")
    page.keyboard.press("Enter")
    expect(cards).to_have_attribute("data-state", "waiting")
    page.keyboard.press("Escape")
    expect(cards).to_have_attribute("data-state", "held")
    expect(cards).to_contain_text("You stopped the turn before it.")
    wait_phase(page, "qwen", "stopped")
    assert len(site.qwen.requests) == 1
    before = page.locator(".turn-current [data-turn]").get_attribute("data-turn")
    cards.get_by_role("button", name="Send now").click()
    answered(page, before)
    expect(cards).to_have_count(0)
    assert prompts(page) == ["First", "Second"]
    until(lambda: not site.turns.live())
