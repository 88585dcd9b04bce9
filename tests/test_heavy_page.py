"""Heavy's board in the page: live, in a second tab, after a reload, in replay, exported, blind, by keyboard, narrow."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visitor, send, wait_phase
from tests.support.chat_site import LANES, ChatSite, open_site
from tests.support.heavy_turns import HYBRID, QUESTION, heavy_model

SAYS = "6 say 160 km · 1 says 180 km · 1 failed"
PARTS = "4 of 6 parts match trajectories · 2 new in hybrid"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSite]:
    with open_site(tmp_path_factory.mktemp("heavy"), width=8) as site:
        yield site


def heavy(page: Page, selector: str) -> Any:
    return page.locator(f'.turn-current [data-lane="heavy"] {selector}')


def ask(site: ChatSite, page: Page, hybrid: str = HYBRID) -> str:
    """Send a heavy turn and wait until every lane has ended; returns its id."""
    site.say(heavy_model(hybrid=hybrid))
    send(page, QUESTION)
    for lane in LANES:
        wait_phase(page, lane, "done", "error")
    expect(heavy(page, ".consensus-says")).to_have_text(SAYS)
    expect(heavy(page, "[data-part=attribution]")).to_be_visible()
    return page.locator(".turn-current [data-turn]").get_attribute("data-turn") or ""


def board(page: Page, at: str = '.turn-current [data-lane="heavy"]') -> dict[str, Any]:
    """The contents of the board: the bar, the sentences, the strip's letters, the attribution."""
    one = page.locator(at)
    return {
        "bar": one.locator(".consensus-cell > [aria-hidden]").all_text_contents(),
        "says": one.locator(".consensus-says").text_content(),
        "lines": one.locator(".consensus-lines > li").all_text_contents(),
        "strip": [row.locator(".strip-stretch").last.text_content() for row in one.locator(".strip-row").all()],
        "hatched": one.locator('.strip-stretch[data-kind="failed"]').count(),
        "chips": one.locator(".trajectory-line .letter").all_text_contents(),
        "parts": one.locator(".parts-label").all_text_contents(),
    }


def whole_board(page: Page, at: str = '.turn-current [data-lane="heavy"]') -> dict[str, Any]:
    """The contents of the board once all of it is drawn."""
    expect(page.locator(f"{at} .consensus-says")).to_have_text(SAYS)
    expect(page.locator(f"{at} .parts-label")).to_have_count(6)
    expect(page.locator(f'{at} .strip-stretch[data-kind="failed"]')).to_have_count(1)
    return board(page, at)


def test_the_consensus_is_shown_while_the_trajectories_think(site: ChatSite, page: Page) -> None:
    hold = threading.Event()
    site.say(heavy_model(hold))
    send(page, QUESTION)
    expect(heavy(page, '.consensus-cell[data-state="open"]')).to_have_count(8)
    expect(heavy(page, ".trajectory-line .letter:not([hidden])")).to_have_count(8)
    expect(heavy(page, ".answers-strip")).to_have_attribute("aria-label", re.compile("T1 says 1[68]0 km"))
    expect(heavy(page, "[data-part=attribution]")).to_be_hidden()
    hold.set()
    for lane in LANES:
        wait_phase(page, lane, "done", "error")
    shown = whole_board(page)
    assert shown["bar"][7] == ""  # the failed one
    assert shown["lines"][1] == "The final answer follows the majority."
    assert "Common to 6 of 7" in shown["parts"]


def test_a_reload_a_second_tab_and_a_replay_show_the_same_board(site: ChatSite, page: Page, visitor: Visitor) -> None:
    turn = ask(site, page)
    first = whole_board(page)
    page.reload()
    assert whole_board(page) == first
    assert whole_board(visitor.open(page.url.removeprefix(f"{site.url}/"))) == first
    page.locator('.turn-current [data-action="replay"]').click()
    page.locator(".replay").wait_for()
    page.locator('.replay input[type="range"]').evaluate(
        "bar => { bar.value = bar.max; bar.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    assert whole_board(page, f'[data-turn="{turn}"] [data-lane="heavy"]') == first


def test_an_exported_page_has_the_board(site: ChatSite, page: Page, visitor: Visitor, tmp_path: Path) -> None:
    turn = ask(site, page)
    first = whole_board(page)
    response = page.request.get(f"{site.url}/kimi/turns/{turn}/export?format=html")
    file = tmp_path / "turn.html"
    file.write_bytes(response.body())
    exported = visitor.tab()
    exported.goto(file.as_uri())
    assert whole_board(exported, '[data-lane="heavy"]') == first
    expect(exported.locator("[data-part=worth]:visible")).to_contain_text("Same answer as Kimi K2")
    expect(exported.locator(".consensus-again:visible")).to_have_count(0)
    colour = exported.locator(".consensus-cell").first.evaluate("cell => getComputedStyle(cell).backgroundColor")
    assert colour == page.locator(".consensus-cell").first.evaluate("cell => getComputedStyle(cell).backgroundColor")


def test_hovering_over_either_side_marks_the_other(site: ChatSite, page: Page) -> None:
    ask(site, page)
    heavy(page, ".parts-toggle").click()
    page.mouse.move(0, 0)  # else an element that scrolls under the pointer would be hovered
    part = heavy(page, ".parts-item").filter(has_text="Common to 6 of 7")
    part.focus()
    expect(heavy(page, ".trajectory.pointed")).to_have_count(6)
    expect(heavy(page, ".strip-row.pointed")).to_have_count(6)
    assert page.evaluate("[...CSS.highlights.get('kimi-part')].map(String)") == ["The answer is 160 km"]
    heavy(page, ".parts-item:has(math)").focus()
    assert "340" in page.evaluate("[...CSS.highlights.get('kimi-part')].map(String).join()")
    single = heavy(page, ".parts-item").filter(has_text="Matches T")
    named = (single.locator(".parts-label").text_content() or "")[-1]
    row = heavy(page, f'[data-trajectory="{int(named) - 1}"] .trajectory-toggle')
    row.focus()
    expect(single).to_have_class("parts-item pointed")
    expect(heavy(page, ".trajectory.pointed")).to_have_count(1)
    row.blur()
    expect(heavy(page, ".parts-item.pointed")).to_have_count(0)


def test_the_board_can_be_used_by_keyboard(site: ChatSite, page: Page) -> None:
    ask(site, page)
    heavy(page, ".parts-toggle").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(heavy(page, ".parts-item").first).to_be_focused()
    expect(heavy(page, ".parts-item").first).to_have_class("parts-item pointed")
    heavy(page, '[data-trajectory="0"] .trajectory-toggle').focus()
    page.keyboard.press("Enter")
    expect(heavy(page, '[data-trajectory="0"] .trajectory-answer')).to_contain_text("The answer is")
    expect(heavy(page, '[data-trajectory="0"] .reasoning')).to_contain_text("Two trains.")


def test_one_trajectory_is_stopped_from_its_row(site: ChatSite, page: Page) -> None:
    hold = threading.Event()
    site.say(heavy_model(hold))
    send(page, QUESTION)
    page.get_by_role("button", name="Stop trajectory T3 of Kimi K2 heavy").click()
    expect(heavy(page, '[data-trajectory="2"]')).to_have_attribute("data-phase", "stopped")
    hold.set()
    for lane in LANES:
        wait_phase(page, lane, "done", "error")
    expect(heavy(page, ".consensus-says")).to_contain_text("1 stopped")
    expect(heavy(page, ".trajectory-stop:visible")).to_have_count(0)


def test_the_board_of_a_blind_turn_is_hidden_until_the_vote(site: ChatSite, page: Page) -> None:
    page.locator("#blind").click()
    site.say(heavy_model())
    send(page, QUESTION)
    for slot in "ABC":
        wait_phase(page, slot, "done")
    expect(page.locator("#to-vote-on")).to_be_visible()
    expect(page.locator(".turn-current .board:visible")).to_have_count(0)
    assert page.locator(".turn-current .consensus-cell, .turn-current .parts-item").count() == 0
    page.get_by_role("button", name="Tie").click()
    whole_board(page)


def test_an_overruled_majority_is_not_shown_in_the_colour_of_errors(site: ChatSite, page: Page) -> None:
    ask(site, page, "It is nearer to B.\n\nThe answer is 180 km.")
    flag = heavy(page, '.consensus-lines [data-kind="flag"]')
    expect(flag).to_contain_text("overrules the majority: it sides with T")
    bad = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--kimi-bad')")
    assert flag.evaluate("one => getComputedStyle(one).borderLeftColor") != bad


def test_heavy_is_compared_with_the_single_answer_and_a_vote_adds_detail(site: ChatSite, page: Page) -> None:
    ask(site, page)
    worth = heavy(page, "[data-part=worth]")
    expect(worth).to_contain_text("Same answer as Kimi K2 · ")
    expect(worth).to_contain_text("× tokens")
    page.get_by_role("button", name="Tie").click()
    expect(worth).to_contain_text("There was nothing to gain here: Kimi K2 alone was as good, ")
    page.reload()
    expect(worth).to_contain_text("There was nothing to gain here")
    ask(site, page)
    expect(worth).to_contain_text("Expected from the log: ")


def test_a_second_aggregation_is_shown_beside_the_first_attempt(site: ChatSite, page: Page) -> None:
    ask(site, page)
    n_requests = len(site.kimi.requests)
    heavy(page, ".consensus-again select").select_option("majority")
    heavy(page, ".consensus-again button").click()
    expect(heavy(page, ".attempts")).to_contain_text("2 of 2")
    wait_phase(page, "heavy", "done")
    expect(heavy(page, ".consensus-says")).to_have_text(SAYS)
    expect(heavy(page, ".trajectory")).to_have_count(8)
    assert len(site.kimi.requests) == n_requests


def test_the_board_fits_a_phone(site: ChatSite, page: Page) -> None:
    ask(site, page)
    page.set_viewport_size({"width": 390, "height": 844})
    heavy(page, ".parts-toggle").evaluate("one => one.scrollIntoView()")
    for part in (".board", ".consensus", ".answers-strip", ".parts"):
        box = heavy(page, part)
        assert box.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert heavy(page, ".trajectory-toggle").first.evaluate("one => one.offsetHeight") >= 44
