"""A pull in real Chromium: started, followed over a reload and in a second tab, cancelled, continued, then a retry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Locator, Page, expect

from kimi_ui.config import read_settings
from kimi_ui.providers import roster
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from tests.support.browser import Visitor, WarmContext, lane, send, served, wait_phase
from tests.support.engine_run import started
from tests.support.ollama_server import NO_SPACE
from tests.support.scripted import ScriptedRoster
from tests.support.upstream import Upstream
from tests.support.waiting import until

MODEL = "qwen3-coder:30b"


class Here(NamedTuple):
    upstream: Upstream
    visitor: Visitor


@pytest.fixture
def here(warm: WarmContext, upstream: Upstream, tmp_path: Path) -> Iterator[Here]:
    """A lane whose model is missing on its Ollama."""
    lanes = ScriptedRoster(Ollama(OllamaLane("qwen", "Qwen", "ollama", model=MODEL, base_url=upstream.ollama_url)))
    with started(lanes, tmp_path / "log.sqlite3") as run, served(run, lanes) as url:
        visitor = Visitor(warm, url)
        yield Here(upstream, visitor)
        visitor.close()
        assert visitor.problems == []


def asked(here: Here) -> Page:
    """The page after a prompt that failed because the model is missing."""
    page = here.visitor.open()
    send(page)
    wait_phase(page, "qwen", "error")
    return page


def card(page: Page) -> Locator:
    return page.get_by_role("group", name=f"Pull of {MODEL}")


def test_a_pull_survives_a_reload_shows_in_a_second_tab_and_then_the_lane_is_retried(here: Here) -> None:
    pulling = here.upstream.ollama.pulling
    pulling.held_at = 400
    page = asked(here)
    expect(page.locator(".command code")).to_have_text(f"ollama pull {MODEL}")
    page.get_by_role("button", name=f"Pull {MODEL}", exact=True).press("Enter")
    expect(card(page).get_by_role("status")).to_have_text(
        f"Pulling {MODEL}. This lane asks your question when it is here."
    )
    expect(card(page)).to_contain_text("400 B of 1.0 kB · 40 %")
    expect(card(page)).to_be_focused()
    bar = card(page).get_by_role("progressbar", name=f"Pulling {MODEL}")
    assert bar.evaluate("bar => bar.value") == pytest.approx(0.4)
    # a slow machine also shows the speed and the time left
    expect(bar).to_have_attribute("aria-valuetext", re.compile("^400 B of 1.0 kB · 40 %"))

    page.reload()
    expect(card(page)).to_contain_text("400 B of 1.0 kB · 40 %")
    other = here.visitor.open(f"?{page.url.partition('?')[2]}")
    expect(card(other)).to_contain_text("400 B of 1.0 kB · 40 %")
    assert [request.path for request in here.upstream.requests].count("/api/pull") == 1
    pulling.held_at = None
    for tab in (page, other):
        wait_phase(tab, "qwen", "done")
        expect(lane(tab, "qwen", "answer")).to_contain_text("Let me weigh")
        expect(card(tab)).to_have_count(0)
    expect(page.locator("#announcements")).to_contain_text("Qwen: Done")


def test_a_pull_is_cancelled_and_continued_by_keyboard_and_the_other_tab_follows(here: Here) -> None:
    pulling = here.upstream.ollama.pulling
    pulling.held_at = 400
    page = asked(here)
    other = here.visitor.open(f"?{page.url.partition('?')[2]}")
    wait_phase(other, "qwen", "error")
    page.get_by_role("button", name=f"Pull {MODEL}", exact=True).press("Enter")
    expect(card(other)).to_contain_text("400 B of 1.0 kB · 40 %")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=f"Cancel pulling {MODEL}")).to_be_focused()
    page.keyboard.press("Enter")
    for tab in (page, other):
        expect(card(tab).get_by_role("status")).to_have_text(f"The pull of {MODEL} was cancelled. What came is kept.")
        expect(card(tab)).to_contain_text("400 B of 1.0 kB · 40 %")
    until(lambda: [request.path for request in here.upstream.closed] == ["/api/pull"])
    onward = page.get_by_role("button", name=f"Go on pulling {MODEL}")
    expect(onward).to_be_focused()
    pulling.held_at = None
    page.keyboard.press("Enter")
    for tab in (page, other):
        wait_phase(tab, "qwen", "done")


def test_a_failed_pull_says_why_and_can_be_continued(here: Here) -> None:
    pulling = here.upstream.ollama.pulling
    pulling.error, pulling.error_at = NO_SPACE, 800
    page = asked(here)
    page.get_by_role("button", name=f"Pull {MODEL}", exact=True).click()
    expect(card(page).get_by_role("status")).to_have_text(f"The pull of {MODEL} failed.")
    expect(card(page)).to_contain_text("The disk of the machine at")
    expect(card(page)).to_contain_text("Free space there")
    card(page).get_by_text("In its own words").click()
    expect(card(page)).to_contain_text("no space left on device")
    page.reload()
    expect(card(page)).to_contain_text("The disk of the machine at")
    pulling.error = ""
    page.get_by_role("button", name=f"Go on pulling {MODEL}").click()
    wait_phase(page, "qwen", "done")


def test_a_page_without_its_server_says_so_and_recovers(here: Here) -> None:
    here.upstream.ollama.pulling.held_at = 400
    page = asked(here)
    page.route("**/kimi/lanes/*/pull*", lambda route: route.abort())
    page.get_by_role("button", name=f"Pull {MODEL}", exact=True).click()
    expect(card(page).get_by_role("status")).to_have_text("The server did not answer. Try again once it runs.")
    with page.expect_response("**/kimi/pulls"):  # what the server says of all pulls does not take the place of that
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate("new Promise((done) => setTimeout(done))")
    expect(card(page).get_by_role("status")).to_have_text("The server did not answer. Try again once it runs.")
    page.unroute_all()
    here.visitor.problems.clear()  # the console reports the broken request
    here.upstream.ollama.pulling.held_at = None
    page.get_by_role("button", name=f"Pull {MODEL}", exact=True).click()
    wait_phase(page, "qwen", "done")


def test_a_stand_in_makes_room_for_the_model_that_was_pulled(
    warm: WarmContext, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "default_lanes_path", lambda: tmp_path / "none.toml")
    upstream.ollama.pulling.held_at = 400
    made = roster.Roster(read_settings(env={"OLLAMA_HOST": upstream.ollama_url}))
    made.settle()
    with started(made, tmp_path / "log.sqlite3") as run, served(run, made) as url:
        visitor = Visitor(warm, url)
        page = visitor.open()
        expect(lane(page, "qwen").locator(".badge")).to_be_visible()
        page.get_by_role("button", name=f"Pull {MODEL}", exact=True).click()
        expect(card(page)).to_contain_text("400 B of 1.0 kB · 40 %")
        page.locator("#prompt textarea").fill("half a question")
        upstream.ollama.pulling.held_at = None
        expect(lane(page, "qwen").locator(".lane-model")).to_have_text(MODEL)
        expect(lane(page, "qwen").locator(".badge")).to_be_hidden()
        expect(card(page)).to_have_count(0)
        expect(page.locator("#prompt textarea")).to_have_value("half a question")
        visitor.close()
        assert visitor.problems == []
