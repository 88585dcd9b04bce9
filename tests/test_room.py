"""Room to read, in real Chromium: what share of the window the answers have, and where a finished answer stands."""

from __future__ import annotations

import threading
from typing import Any

from playwright.sync_api import Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Failure, Finish, Phase, Reasoning, Usage
from kimi_ui.providers.base import ProviderError
from tests.support.browser import lane, send, wait_phase
from tests.support.chat_site import LANES, ChatSite, answered, ask
from tests.support.waiting import until

PROMPT = (
    "Write a SQL query to find the top 3 users who spent the most money in the last month, but exclude users who "
    "refunded more than 50% of their orders. Say which index each part of it needs."
)
PARAGRAPH = "A refund counts against the month of its order, so a late refund still excludes its user.\n\n"
# The least share of the window's height that the text of the shown lanes has, in the middle of a conversation. The last
# window is one of 1280 x 800 at a zoom of 200 %; it has 150 px.
GOALS = {(1600, 1000): 0.60, (1366, 650): 0.50, (390, 844): 0.55, (640, 400): 0.375}
SHARE = """() => Math.min(...[...document.querySelectorAll(".turn-current .lane-body")]
  .map((body) => body.getBoundingClientRect())
  .filter(({ left, width }) => width && left >= 0 && left < innerWidth - 1)
  .map(({ top, bottom }) => (Math.min(bottom, innerHeight) - Math.max(top, 0)) / innerHeight))"""


SCROLL_UP = """async (body) => {  // as a reader does who has seen where the view has come to
  for (let n = 0; n < 2; n += 1) await new Promise((done) => requestAnimationFrame(done));
  body.scrollTop -= 200;
  return body.scrollTop;
}"""


def long_answer(*gates: threading.Event, thought: str = "First the month, then the refunds.\n" * 30) -> list[Any]:
    half = [Answer(PARAGRAPH)] * 20
    thinks = [Reasoning(thought)] if thought else []
    parts: list[Any] = [Phase(CONNECTED), *thinks, *half, *gates, *half]
    return [*parts, Finish("stop"), Usage(input_tokens=240, output_tokens=1950, reasoning_tokens=1250)]


def test_the_answers_have_most_of_the_window(site: ChatSite, page: Page) -> None:
    site.say(long_answer(), long_answer())
    for prompt in ("Which tables are there?", PROMPT):
        ask(page, prompt)
    expect(page.locator("#totals")).to_be_visible()
    shares = {}
    for width, height in GOALS:
        page.set_viewport_size({"width": width, "height": height})
        page.reload()
        for lane_id in LANES:
            wait_phase(page, lane_id, "done")
        expect(page.locator(".turns-past .turn:not(.far)")).to_have_count(1)  # its height moves the current turn
        page.wait_for_function(f"({SHARE})() >= {GOALS[width, height]}")
        box = page.locator("#prompt textarea")
        box.click()
        shares[width, height] = round(page.evaluate(SHARE), 3)
        assert page.locator("#composer").evaluate("one => one.offsetHeight") <= 58, "one line"
        if (width, height) == (1366, 650):
            box.fill("And without the refunds?")
            expect(page.locator(".estimate-line")).to_contain_text("tokens")
            assert page.evaluate(SHARE) >= GOALS[width, height], "beside the line that is being written"
        box.fill(PROMPT * 9)
        assert box.evaluate("one => one.offsetHeight / innerHeight") < 0.26
        page.locator(".turn-current .lane-body").first.focus()
        assert page.evaluate(SHARE) >= GOALS[width, height], "beside a long draft"
        box.fill("")
        if width > 760:
            lane(page, "qwen").get_by_role("button", name="Give Qwen3-Coder the whole width").click()
            expect(page.locator(".turn-current .strip [data-part=status]:visible")).to_have_count(2)
            assert page.evaluate(SHARE) > 0.65, "a widened lane has the height, too"
            page.keyboard.press("Escape")
    for width, height in GOALS:  # also in a window that gets another size
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(f"({SHARE})() >= {GOALS[width, height]}")
    print(shares)
    assert {size: share for size, share in shares.items() if share < GOALS[size]} == {}


def test_a_finished_answer_shows_its_top_unless_the_reader_has_scrolled(site: ChatSite, page: Page) -> None:
    go = threading.Event()
    site.say(long_answer(go), long_answer(go, thought=""))  # of the second, no reasoning folds above what is read
    send(page, PROMPT)
    kimi, qwen, heavy = (lane(page, lane_id).locator(".lane-body") for lane_id in ("kimi", "qwen", "heavy"))
    top = "body => body.scrollTop"
    until(lambda: kimi.evaluate(top) > 300 and qwen.evaluate(top) > 300)  # they follow the newest line
    expect(lane(page, "qwen", "answer").locator("p")).to_have_count(20)
    before = qwen.evaluate(SCROLL_UP)
    expect(lane(page, "qwen").locator(".lane-frame > .pill")).to_be_visible()
    go.set()
    answered(page)
    until(lambda: kimi.evaluate(top) == 0)
    assert qwen.evaluate(top) == before
    answer = """body => body.querySelector("[data-part=answer]").getBoundingClientRect().top
                          - body.getBoundingClientRect().top"""
    until(lambda: 0 <= heavy.evaluate(answer) < 0.5 * heavy.evaluate("body => body.clientHeight"))
    page.reload()
    answered(page)
    until(lambda: qwen.evaluate(top) == 0)

    cut, lost = threading.Event(), threading.Event()
    said = [Phase(CONNECTED), *[Answer(PARAGRAPH)] * 40]
    failure = Failure("network", "Cut off.", "Try again.")
    site.say([*said, cut, Finish("length")], [*said, lost, ProviderError(failure)])
    send(page, "And the index?")
    until(lambda: kimi.evaluate(top) > 300 and qwen.evaluate(top) > 300)
    wide = lane(page, "heavy").get_by_role("button", name="Give Kimi K2 heavy the whole width")
    wide.click()
    expect(kimi).to_be_hidden()
    cut.set()
    lost.set()
    page.locator('.turn-current [data-lane="kimi"][data-phase="length"]').wait_for(state="attached")
    page.locator('.turn-current [data-lane="qwen"][data-phase="incomplete"]').wait_for(state="attached")
    wide.click()
    until(lambda: kimi.evaluate(top) == 0)
    assert qwen.evaluate(top) > 300, "the failure is in sight"
    until(lambda: not site.turns.live())
    page.reload()
    wait_phase(page, "qwen", "incomplete")
    until(lambda: qwen.evaluate(top) == 0)


def test_colours_and_text_size_are_the_readers_and_a_long_turns_end_is_in_the_title(site: ChatSite, page: Page) -> None:
    dark, size = (
        "document.body.classList.contains('dark')",
        "getComputedStyle(document.querySelector('.answer')).fontSize",
    )
    assert not page.evaluate(dark)
    before = page.evaluate(size)
    page.get_by_role("button", name="Appearance").click()
    page.get_by_label("Dark", exact=True).check()
    page.get_by_role("button", name="Larger text").click()
    page.reload()
    page.locator("[data-lane]").first.wait_for()
    assert page.evaluate(dark)
    assert page.evaluate(size) > before
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")  # Gradio follows the system
    assert page.evaluate(dark)

    go = threading.Event()
    site.say([Phase(CONNECTED), Reasoning("Hm."), go, Answer("Yes."), Finish("stop")])
    send(page, "Long?")
    wait_phase(page, "kimi", "thinking")
    page.evaluate(
        "document.hasFocus = () => false; { const now = performance.now(); performance.now = () => now + 60_000 }"
    )
    go.set()
    answered(page)
    until(lambda: page.title() == "✓ Answered · Kimi UI")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    assert page.title() == "Kimi UI"
