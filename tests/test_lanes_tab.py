"""The Lanes tab in real Chromium over a real roster: routes, tests, models, a pull, a mistake in the lanes file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from kimi_ui.config import read_settings
from kimi_ui.providers import roster
from kimi_ui.providers.roster import Roster
from tests.support.browser import Visitor, WarmContext, served
from tests.support.engine_run import started
from tests.support.upstream import Upstream

LANES = """
[[lane]]
id = "good"
label = "Good one"
provider = "openai"
base_url = "{base_url}"
api_key_env = "TEST_KEY"
model = "m-100-3000-1500"
price = {{ input = 1, output = 2.5, as_of = 2026-11-01 }}
[[lane]]
id = "bad"
label = "<b>Bad</b>"
provider = "openai"
base_url = "{base_url}"
model = "gone"
"""

OpenTab = Callable[..., AbstractContextManager[tuple[Page, Roster]]]


@pytest.fixture
def lanes_file(upstream: Upstream, tmp_path: Path) -> Path:
    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url=upstream.base_url))
    return path


@pytest.fixture
def open_tab(warm: WarmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenTab:
    monkeypatch.setattr(roster, "default_lanes_path", lambda: tmp_path / "none.toml")

    @contextmanager
    def opened(env: dict[str, str], **options: Any) -> Iterator[tuple[Page, Roster]]:
        """The Lanes tab of an app with these settings. Errors in the console fail the test."""
        made = Roster(read_settings(env=env, **options))
        made.settle()
        with started(made) as run, served(run, made) as url:
            visitor = Visitor(warm, url)
            page = visitor.open()
            page.get_by_role("tab", name="Lanes").click()
            try:
                yield page, made
            finally:
                visitor.close()
            assert visitor.problems == []

    return opened


def row(page: Page, lane: str) -> Locator:
    return page.locator(f'[data-lane-row="{lane}"]')


def test_each_lane_is_tested_and_says_what_it_is(open_tab: OpenTab, lanes_file: Path, upstream: Upstream) -> None:
    upstream.key = "canary-key"
    with open_tab({"TEST_KEY": "canary-key"}, lanes=str(lanes_file)) as (page, _):
        good, bad = row(page, "good"), row(page, "bad")
        expect(good).to_have_attribute("data-ok", "true")
        expect(good.get_by_role("status").first).to_contain_text("✓ reachable · model there")
        expect(good).to_contain_text("$1 in, $2.5 out per million tokens (2026-11-01)")
        expect(good.locator(".lt-real")).to_have_text("Real")
        expect(bad).to_have_attribute("data-ok", "false")
        expect(bad.get_by_role("heading", name="<b>Bad</b>")).to_be_visible()  # text, never markup
        expect(bad.locator(".card-failure")).to_have_css("border-left-width", "3px")
        expect(bad.locator(".lt-panel")).to_be_hidden()
        good.get_by_role("button", name="with one request").click()
        expect(good.get_by_role("status").first).to_contain_text("key valid · model there")
        expect(good.get_by_role("status").first).to_contain_text("thinking arrives as reasoning_content")
        assert "canary" not in page.content()
        assert "canary" not in page.evaluate("fetch('/kimi/lanes').then((r) => r.text())")


def test_choosing_a_model_of_the_provider_shows_a_lanes_file_that_uses_it(open_tab: OpenTab, lanes_file: Path) -> None:
    with open_tab({"TEST_KEY": "x"}, lanes=str(lanes_file)) as (page, _):
        good = row(page, "good")
        expect(good).to_have_attribute("data-ok", "true")
        good.get_by_role("button", name="Models").click()
        good.get_by_label("Search models of Good one").fill("50 1000")
        good.get_by_role("button", name="m-50-1000-500").click()
        shown = good.locator("pre")
        expect(shown).to_contain_text("m-50-1000-500")
        lanes = tomllib.loads(shown.inner_text())["lane"]
        assert lanes[0]["model"] == "m-50-1000-500"
        assert "price" not in lanes[0]
        assert lanes[1]["model"] == "gone"
        assert lanes[0]["api_key_env"] == "TEST_KEY"


def test_changes_and_mistakes_of_the_lanes_file_are_shown_without_a_restart(
    open_tab: OpenTab, lanes_file: Path
) -> None:
    with open_tab({"TEST_KEY": "x"}, lanes=str(lanes_file)) as (page, _):
        expect(row(page, "bad")).to_be_visible()
        lanes_file.write_text(lanes_file.read_text().replace('"bad"', '"other"'))
        page.get_by_role("button", name="Look again").click()
        expect(row(page, "other")).to_be_visible()
        lanes_file.write_text(lanes_file.read_text() + "modle = 1\n")
        page.get_by_role("button", name="Look again").click()
        expect(page.get_by_role("alert").filter(has_text="unknown key 'modle'")).to_be_visible()
        expect(row(page, "other")).to_be_visible()


def test_stand_ins_say_what_to_set_and_a_missing_model_is_pulled(
    open_tab: OpenTab, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "PROBE_EVERY_S", 0.0)
    with open_tab({"OLLAMA_HOST": upstream.ollama_url}) as (page, made):
        expect(row(page, "kimi").locator(".badge")).to_have_text("Stand-in")
        expect(row(page, "kimi")).to_contain_text("CHUTES_API_KEY=your-chutes-key")
        table = page.get_by_role("table")
        for name in ("Chutes", "OpenRouter", "Moonshot", "Ollama"):
            expect(table.get_by_role("rowheader", name=name)).to_be_visible()
        expect(table).to_contain_text("✓ running")
        qwen = row(page, "qwen")
        expect(qwen).to_contain_text("runs but has no qwen3-coder:30b")
        qwen.get_by_role("button", name="Pull qwen3-coder:30b").click()
        expect(qwen.locator(".badge")).to_have_count(0)
        expect(qwen.locator(".lt-real")).to_have_text("Real")
        assert made.specs[2].provider == "ollama"


def test_the_current_lanes_can_be_copied_as_a_lanes_file(open_tab: OpenTab) -> None:
    with open_tab({"OLLAMA_HOST": "127.0.0.1:9", "CHUTES_API_KEY": "canary-key"}) as (page, _):
        page.locator("summary", has_text="Lanes of your own").press("Enter")  # results above may move it
        shown = page.locator(".lt-section pre")
        expect(shown).to_contain_text("kimi-heavy")
        kimi, heavy, qwen = tomllib.loads(shown.inner_text())["lane"]
        assert (kimi["api_key_env"], heavy["of"], qwen["provider"]) == ("CHUTES_API_KEY", "kimi", "embedded")
        assert "canary" not in page.content()


@pytest.mark.parametrize("size", [(1600, 900), (1024, 768), (390, 844)], ids=str)
def test_nothing_overflows_at_any_width(open_tab: OpenTab, lanes_file: Path, size: tuple[int, int]) -> None:
    with open_tab({"TEST_KEY": "x"}, lanes=str(lanes_file)) as (page, _):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        expect(row(page, "bad")).to_have_attribute("data-ok", "false")
        wide = page.evaluate(
            "[...document.querySelectorAll('.lt *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
            ".map((e) => e.className)"
        )
        assert wide == []


def test_checking_an_unknown_lane_is_refused(open_tab: OpenTab, lanes_file: Path) -> None:
    with open_tab({}, lanes=str(lanes_file)) as (page, _):
        assert page.request.post(f"{page.url}kimi/lanes/nope/check").status == 404
        assert page.request.get(f"{page.url}kimi/lanes/good/check").status in (404, 405)
        unset = page.request.post(f"{page.url}kimi/lanes/good/check").json()
        assert not unset["ok"]
        assert "TEST_KEY" in unset["problem"]
