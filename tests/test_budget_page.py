"""Running totals and the question before the budget is passed, in real Chromium."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Usage
from tests.support.browser import Visitor, WarmContext, lane, send
from tests.support.chat_site import answered, ask, attach, open_site, spoken
from tests.support.waiting import until

BOX = "#prompt textarea"


def set_budget(page: Page, usd_a_day: str) -> None:
    page.locator("#settings").click()
    drawer = page.get_by_role("dialog", name="Settings for this conversation")
    field = drawer.get_by_label("USD a day")
    field.fill(usd_a_day)
    field.press("Tab")
    expect(drawer.locator(".drawer-foot")).to_contain_text("Saved")
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)


def test_the_cost_of_running_answers_is_in_the_sums(warm: WarmContext, tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        visitor = Visitor(warm, site.url)
        page = visitor.open()
        totals = page.locator("#totals")
        ask(page)
        expect(totals).to_have_text("This conversation $0.0008 · today $0.0008")
        going_on = threading.Event()
        usage = Usage(input_tokens=1000, output_tokens=1000)  # $0.005
        site.say(
            [Phase(CONNECTED), Answer("So far. " * 400), usage, going_on, Answer(" End."), Finish("stop")], spoken()
        )
        send(page, "And?")
        expect(totals).to_have_text("This conversation $0.0208 · today $0.0208")  # Kimi and three trajectories run
        page.reload()
        expect(totals).to_have_text("This conversation $0.0208 · today $0.0208")
        going_on.set()
        answered(page)
        page.locator("#settings").click()
        day, conversation = (page.get_by_label(f"USD a {of}", exact=True) for of in ("day", "conversation"))
        day.fill("5")
        saving: list[Route] = []
        page.route("**/kimi/budget", lambda route: saving.append(route))
        day.press("Tab")
        until(lambda: page.wait_for_timeout(20) or saving)
        page.keyboard.type("7")  # into the next field, before the first one is saved
        with page.expect_response("**/kimi/spent*"):
            saving[0].continue_()
        expect(conversation).to_have_value("7")
        expect(totals).to_have_text("This conversation $0.0208 · today $0.0208 of $5.00")  # now all of it from the log
        visitor.close()
        assert visitor.problems == []


def test_sums_grow_with_each_turn_and_a_prompt_over_budget_needs_a_confirmation(
    warm: WarmContext, tmp_path: Path
) -> None:
    with open_site(tmp_path) as site:
        visitor = Visitor(warm, site.url)
        page = visitor.open()
        totals, question = page.locator("#totals"), page.get_by_role("group", name="Over budget")
        expect(totals).to_be_hidden()
        first = ask(page)
        expect(totals).to_have_text("This conversation $0.0008 · today $0.0008")  # four answers at $0.000209
        ask(page, "And?")
        expect(totals).to_have_text("This conversation $0.0017 · today $0.0017")
        page.get_by_role("button", name="New conversation").click()
        expect(totals).to_have_text("today $0.0017")
        assert "UTC" in (totals.get_attribute("title") or "")

        set_budget(page, "0.002")
        expect(totals).to_have_text("today $0.0017 of $0.0020")
        attach(page, "notes.txt", b"one two three " * 200)
        page.locator(BOX).fill("Sum it up")
        n_requests = len(site.kimi.requests)
        page.locator(BOX).press("Enter")
        expect(question).to_be_focused()
        expect(question.get_by_role("status")).to_contain_text("of your $0.0020 budget.")
        page.keyboard.press("Escape")
        expect(question.get_by_role("button")).to_have_count(0)
        expect(page.locator(BOX)).to_be_focused()
        expect(page.locator(BOX)).to_have_value("Sum it up")
        expect(page.locator(".attachment")).to_contain_text("notes.txt")
        page.locator("#send").click()
        question.get_by_role("button", name="Not now").click()
        expect(page.locator("#send")).to_be_focused()
        page.locator(BOX).press("Enter")
        expect(question).to_be_focused()
        page.locator(BOX).press("End")
        page.keyboard.type("!")  # another prompt closes the question
        expect(question.get_by_role("button")).to_have_count(0)
        page.keyboard.press("Enter")
        expect(question).to_be_focused()
        assert len(site.kimi.requests) == n_requests
        page.keyboard.press("Tab")
        expect(question.get_by_role("button", name="Send anyway")).to_be_focused()
        page.keyboard.press("Enter")
        second = answered(page)
        assert second != first
        assert "notes.txt" in site.qwen.requests[-1].messages[-1].content
        assert site.qwen.requests[-1].messages[-1].content.endswith("Sum it up!")
        expect(page.locator(BOX)).to_have_value("")
        expect(page.locator(".attachment")).to_have_count(0)
        expect(totals).to_have_text("This conversation $0.0008 · today $0.0025 of $0.0020")

        page.locator(BOX).fill("Once confirmed is not always")
        page.locator(BOX).press("Enter")
        expect(question).to_be_focused()
        page.keyboard.press("Escape")
        n_requests = len(site.kimi.requests)
        retry = lane(page, "kimi").get_by_role("button", name="Ask Kimi K2 again")
        retry.click()
        expect(question.get_by_role("status")).to_contain_text(re.compile(r"This retry is (about|at least) \$0\.0"))
        question.get_by_role("button", name="Not now").click()
        expect(retry).to_be_focused()
        assert len(site.kimi.requests) == n_requests
        retry.click()
        question.get_by_role("button", name="Send anyway").click()
        until(lambda: page.wait_for_timeout(50) or len(site.kimi.requests) == n_requests + 1)
        expect(totals).to_have_text("This conversation $0.0010 · today $0.0027 of $0.0020")
        expect(page.locator(BOX)).to_have_value("Once confirmed is not always")
        visitor.close()
        assert all("409" in problem for problem in visitor.problems)  # the console shows each question's status
        assert len(visitor.problems) == 7
