"""Accessibility of the whole page by axe-core, in real Chromium: no serious or critical finding in any state of it.

Each state is checked light and dark. Separate tests check what axe cannot see: target sizes, focus order, motion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from kimi_ui.config import read_settings
from kimi_ui.core.events import Answer, Failure
from kimi_ui.providers.base import ProviderError
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.providers.roster import Roster
from tests.support.browser import Visitor, WarmContext, send, served, wait_phase
from tests.support.chat_site import ChatSite, ask, attach, endless, spoken
from tests.support.engine_run import started
from tests.support.ollama_server import NO_SPACE
from tests.support.scripted import ScriptedRoster
from tests.support.upstream import Upstream

SERIOUS = ("serious", "critical")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LANES = """
[[lane]]
id = "kimi"
label = "Kimi K2"
provider = "openai"
base_url = "{base_url}"
model = "m-2000-60-60"
price = {{ input = 1, output = 2.5, as_of = 2026-11-01 }}
[[lane]]
id = "gone"
label = "Not there"
provider = "openai"
base_url = "{base_url}"
model = "gone"
"""
WIDTHS = (1600, 1024, 390)


@contextmanager
def real_site(folder: Path) -> Iterator[str]:
    """The app as users start it, with a real roster over a lanes file and a log; its URL."""
    with Upstream() as upstream:
        lanes = folder / "lanes.toml"
        lanes.write_text(LANES.format(base_url=upstream.base_url))
        roster = Roster(read_settings(lanes=str(lanes), env={}))
        with started(roster, folder / "log.sqlite3") as run, served(run, roster) as url:
            yield url


def in_each_scheme(page: Page) -> Iterator[str]:
    """Shows the page as it is light, then dark; yields which."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark")
        yield scheme


def findings(page: Page) -> list[str]:
    """The findings of axe in both colour schemes that are serious or critical, and headings out of order."""
    return [f"{scheme}: {finding}" for scheme in in_each_scheme(page) for finding in shown_findings(page)]


def shown_findings(page: Page) -> list[str]:
    """The findings in what is shown: rule, element, what to change."""
    page.evaluate(
        """() => Promise.all(document.getAnimations().filter(one => one.effect.getTiming().iterations !== Infinity)
             .map(one => one.finished.catch(() => {})))"""
    )  # colours in transition would be reported
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate(
        "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
    )
    return [
        f"{rule['id']}: {node['target'][0]} {json.dumps(node['any'][:1] or node['all'][:1])[:300]}"
        for rule in found
        if rule["impact"] in SERIOUS or rule["id"] == "heading-order"
        for node in rule["nodes"]
    ]


def test_idle(page: Page) -> None:
    expect(page.locator(".starter").first).to_be_visible()
    assert findings(page) == []


def test_while_it_streams(site: ChatSite, page: Page) -> None:
    site.say(endless(), endless(Answer))
    send(page)
    wait_phase(page, "kimi", "thinking")
    wait_phase(page, "qwen", "answering")
    assert findings(page) == []
    page.get_by_role("button", name="Give Kimi K2 the whole width").click()
    page.locator(".strip").first.wait_for()
    assert findings(page) == []


def test_when_all_is_done(site: ChatSite, page: Page) -> None:
    site.say(
        spoken(
            "Let me check.\n\n1. One\n2. Two\n",
            "# Title\n\nSome `code`, a [link](https://a.example) and\n\n"
            "```python\nx = 1\n```\n\n| a | b |\n|-|-|\n| 1 | $x^2$ |",
        ),
    )
    attach(page, "notes.txt", b"some notes")
    ask(page)
    for toggle in page.locator("[data-part=reasoning] .reasoning-toggle:enabled").all():
        toggle.click()
    page.locator('[data-lane="kimi"] .steps-switch').click()
    page.get_by_role("button", name="Ask Qwen3-Coder again").click()
    page.locator('[data-lane="qwen"] .attempts').wait_for()
    wait_phase(page, "qwen", "done")
    page.locator(".prompt-edit").click()
    page.locator("#edit-banner").wait_for()
    page.locator(".estimate-line").click()
    assert findings(page) == []


def test_when_lanes_have_failed(site: ChatSite, page: Page) -> None:
    failure = Failure("auth", "The key was refused.", "Check it.", command="echo $KEY", detail="401", http_status=401)
    site.say([ProviderError(failure)], [Answer("half"), ProviderError(Failure("network", "Cut off.", "Try again."))])
    send(page)
    wait_phase(page, "kimi", "error")
    wait_phase(page, "qwen", "incomplete")
    assert findings(page) == []


def test_the_drawer_and_the_list_of_keys(site: ChatSite, page: Page) -> None:
    site.qwen.listed = ["a", "b"]
    page.locator("#settings").click()
    dialog = page.get_by_role("dialog", name="Settings for this conversation")
    dialog.locator(".model-toggle").last.click()
    dialog.locator(".model-list button").first.wait_for()
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Close settings").click()
    page.locator("#shortcuts").click()
    page.get_by_role("dialog", name="Keyboard").wait_for()
    assert findings(page) == []


def test_a_blind_turn_and_the_comparison(site: ChatSite, page: Page) -> None:
    site.say(spoken("Hm.", "It is seven.\n```\nx = 1\n```\n"), spoken("", "It is eight.\n```\nx = 2\n```\n"))
    page.locator("#blind").click()
    send(page)
    for slot in ("A", "B", "C"):
        wait_phase(page, slot, "done")
    assert findings(page) == []
    page.get_by_role("button", name="Compare two answers").click()
    page.get_by_role("dialog", name="Compare two answers").locator("[data-kind]").first.wait_for()
    assert findings(page) == []
    page.set_viewport_size({"width": 320, "height": 256})  # its rows scroll
    assert findings(page) == []
    page.set_viewport_size({"width": 1400, "height": 900})
    page.keyboard.press("Escape")
    page.locator(".verdict-choice").first.click()
    page.locator(".turn-current .race").wait_for()
    assert findings(page) == []


def test_the_other_tabs(warm: WarmContext, tmp_path: Path) -> None:
    with real_site(tmp_path) as url:
        visitor = Visitor(warm, url)
        try:
            page = visitor.open()
            for prompt in ("One?", "Two?"):
                send(page, prompt)
                turn = page.locator(f'.turn-current:has-text("{prompt}")')
                turn.locator('[data-lane="kimi"][data-phase="done"]').wait_for()
                turn.locator('[data-lane="gone"][data-phase="error"]').wait_for()
            page.locator(".turn-current .lane-choose").first.click()
            page.locator("#lane-menu .model-list button").first.wait_for()
            assert findings(page) == []
            page.keyboard.press("Escape")
            page.get_by_role("tab", name="Stats", exact=True).click()
            page.locator("#stats-turns a, #stats-turns button").first.wait_for()
            page.locator("#stats .vega-embed svg").first.wait_for()
            expect(page.locator("#stats .empty:visible")).to_have_count(0)
            assert findings(page) == []
            page.get_by_role("tab", name="Lanes", exact=True).click()
            page.locator("[data-lane-row]").nth(1).wait_for()
            page.get_by_role("button", name="Edit Not there").click()
            page.get_by_text("More keys").click()
            page.get_by_role("button", name="Save the lanes shown as a set").click()
            assert findings(page) == []
        finally:
            visitor.close()


def test_while_a_model_is_pulled_and_when_that_fails(warm: WarmContext, upstream: Upstream, tmp_path: Path) -> None:
    model, pulling = "qwen3-coder:30b", upstream.ollama.pulling
    roster = ScriptedRoster(Ollama(OllamaLane("qwen", "Qwen", "ollama", model=model, base_url=upstream.ollama_url)))
    with started(roster, tmp_path / "log.sqlite3") as run, served(run, roster) as url:
        visitor = Visitor(warm, url)
        page = visitor.open()
        send(page)
        wait_phase(page, "qwen", "error")
        assert findings(page) == []
        pulling.held_at = 400
        page.get_by_role("button", name=f"Pull {model}", exact=True).click()
        expect(page.locator(".pull")).to_contain_text("40 %")
        assert findings(page) == []
        pulling.error, pulling.error_at, pulling.held_at = NO_SPACE, 800, None
        expect(page.locator(".pull")).to_contain_text("is full")
        assert findings(page) == []
        visitor.close()


def test_on_a_narrow_screen(site: ChatSite, warm: WarmContext) -> None:
    visitor = Visitor(warm, site.url, viewport={"width": 390, "height": 844})
    try:
        page = visitor.open()
        ask(page)
        assert findings(page) == []
        page.locator(".history-toggle").click()
        page.locator(".history-select").click()
        page.locator(".history-check").click()
        assert findings(page) == []
    finally:
        visitor.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_click_targets_are_large_enough(site: ChatSite, warm: WarmContext, width: int) -> None:
    """Targets of at least 24 px, 44 px in height on a narrow screen (their own box, or a field's label)."""
    visitor = Visitor(warm, site.url, viewport={"width": width, "height": 844})
    try:
        page = visitor.open()
        ask(page)
        least = 44 if width < 500 else 24
        small = page.evaluate(
            """least => [...document.querySelectorAll("#chat :is(button, select, summary, [role=tab])")]
                 .filter(one => one.checkVisibility() && !one.disabled)
                 .map(one => [one.ariaLabel || one.textContent.trim(), one.className, one.getBoundingClientRect()])
                 .filter(([,, box]) => box.width && (box.height < least - 0.5 || box.width < 23.5))
                 .map(([name, kind, box]) => `${name} (${kind}): ${box.width} x ${box.height}`)""",
            least,
        )
        assert small == []
    finally:
        visitor.close()


def test_every_action_is_reached_by_tab_in_reading_order(site: ChatSite, page: Page) -> None:
    ask(page)
    page.locator("body").click(position={"x": 2, "y": 2})
    names: list[str] = []
    for _ in range(90):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate("(document.activeElement.ariaLabel || document.activeElement.textContent || '').trim()")
        )
    order = [
        "Edit this prompt and send it again",
        "Ask Kimi K2 again",
        "Ask Kimi K2 heavy again",
        "Ask Qwen3-Coder again",
        "Attach files",
        "Settings for this conversation",
        "Send",
    ]
    places = [names.index(name) for name in order]
    assert places == sorted(places)


def test_focus_is_visible(page: Page) -> None:
    for selector in ("#attach", "#send", ".starter"):
        place = page.locator(selector).first
        page.locator("#prompt textarea").press("Escape")
        place.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        expect(place).to_be_focused()
        for scheme in in_each_scheme(page):
            outline = place.evaluate("one => [getComputedStyle(one).outlineStyle, getComputedStyle(one).boxShadow]")
            assert outline[0] != "none" or outline[1] != "none", (selector, scheme)


def test_a_panel_takes_the_focus_as_it_opens_and_not_after_that(site: ChatSite, page: Page) -> None:
    """The browser reports an opened panel later, when the reader may already have moved on in it."""
    ask(page)
    for scope, name, first in (
        (page.locator(".turn-current"), "Export", ".export-panel a"),
        (page.locator("[data-kimi=appearance]"), "Appearance", "input:checked"),
    ):
        face = scope.get_by_role("button", name=name)
        takes = face.evaluate("(face, first) => { face.click(); return document.activeElement.matches(first); }", first)
        assert takes, f"{name}: the panel did not take the focus"
        page.keyboard.press("Escape")
        expect(face).to_have_attribute("aria-expanded", "false")
        face.evaluate("(face) => { face.click(); document.querySelector(':popover-open button:enabled').focus(); }")
        expect(face).to_have_attribute("aria-expanded", "true")
        assert page.evaluate("document.activeElement.matches(':popover-open button')"), f"{name}: it took the focus"
        page.keyboard.press("Escape")


def test_reduced_motion_stops_animations(site: ChatSite, warm: WarmContext) -> None:
    visitor = Visitor(warm, site.url, reduced_motion="reduce")
    try:
        page = visitor.open()
        site.say(endless())
        send(page)
        wait_phase(page, "kimi", "thinking")
        moving = page.evaluate("document.getAnimations().filter(one => one.playState === 'running').length")
        assert moving == 0
    finally:
        visitor.close()
