"""The Lanes tab in real Chromium over a real roster: routes, tests, models, a pull, a mistake in the lanes file."""

from __future__ import annotations

import asyncio
import re
import threading
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from kimi_ui.config import read_settings
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers import roster
from kimi_ui.providers.base import Check
from kimi_ui.providers.embedded.lane import EmbeddedLane
from kimi_ui.providers.heavy import HeavyLane
from kimi_ui.providers.openai_compatible.provider import OpenAILane
from kimi_ui.providers.roster import Roster
from kimi_ui.web.lanes import NOT_HERE, why_fixed
from tests.support.browser import Visitor, WarmContext, lane, send, served, wait_phase
from tests.support.engine_run import started
from tests.support.upstream import Upstream
from tests.support.waiting import until

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
            refused = re.compile(r"Failed to load resource: .* status of (409|422|502) ")
            assert [problem for problem in visitor.problems if not refused.match(problem)] == []

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
        expect(bad.locator(".model-panel")).to_be_hidden()
        good.get_by_role("button", name="with one request").click()
        expect(good.get_by_role("status").first).to_contain_text("key valid · model there")
        expect(good.get_by_role("status").first).to_contain_text("thinking arrives as reasoning_content")
        bad.get_by_role("button", name="Edit").click()
        servers = bad.get_by_label("base_url")
        expect(servers).to_have_value(upstream.base_url)
        servers.fill(f"{upstream.base_url}\nhttp://127.0.0.1:9/v1")
        bad.locator("input[name=model]").fill("m-100-3000-1500")
        bad.get_by_label("api_key_env").fill("TEST_KEY")
        bad.get_by_role("button", name="Save").click()
        found = bad.get_by_role("list", name="Servers of <b>Bad</b>").get_by_role("listitem")
        expect(found.first).to_contain_text(f"{upstream.base_url} ✓ reachable · model there")
        expect(found.last).to_contain_text("http://127.0.0.1:9/v1 ✗ not reachable. 127.0.0.1:9 refused the connection.")
        expect(bad.locator(".card-title")).to_contain_text("1 of 2 servers would not answer.")
        assert lanes_in(lanes_file)[1]["base_url"] == [upstream.base_url, "http://127.0.0.1:9/v1"]
        assert "canary" not in page.content()
        assert "canary" not in page.evaluate("fetch('/kimi/lanes').then((r) => r.text())")


def lanes_in(path: Path) -> list[dict[str, Any]]:
    lanes: list[dict[str, Any]] = tomllib.loads(path.read_text())["lane"]
    return lanes


def shown(page: Page) -> list[str]:
    """The lanes of the tab, in order."""
    return [row.get_attribute("data-lane-row") or "" for row in page.locator("[data-lane-row]").all()]


def test_lanes_are_changed_on_the_page_and_the_file_keeps_the_persons_own(open_tab: OpenTab, lanes_file: Path) -> None:
    lanes_file.write_text("# Mine.\n\n# the good one\n" + lanes_file.read_text().replace('"gone"', '"gone"  # for now'))
    with open_tab({"TEST_KEY": "x"}, lanes=str(lanes_file)) as (page, made):
        good, said = row(page, "good"), page.locator(".lt-top").get_by_role("status")
        good.get_by_role("button", name="Models of Good one").click()
        good.get_by_label("Search models of Good one").fill("50 1000")
        good.get_by_role("button", name="m-50-1000-500").click()
        expect(said).to_have_text("Good one uses m-50-1000-500 from the next prompt on.")
        expect(good.get_by_role("button", name="Models of Good one")).to_be_focused()
        assert (lanes_in(lanes_file)[0]["model"], "price" in lanes_in(lanes_file)[0]) == ("m-50-1000-500", False)
        good.get_by_label("Thinking").select_option("High")
        expect(said).to_contain_text("thinking high, from the next prompt on")
        assert made.specs[0].params == {"reasoning_effort": "high"}
        good.get_by_role("button", name="Duplicate").press("Enter")
        expect(row(page, "good-2")).to_be_visible()
        row(page, "good-2").get_by_role("button", name="behind the next lane").press("Enter")
        expect(page.locator("[data-lane-row]").nth(2)).to_have_attribute("data-lane-row", "good-2")
        expect(row(page, "good-2").get_by_role("button", name="before the lane")).to_be_enabled()
        bad = row(page, "bad")
        bad.get_by_role("button", name="Remove").press("Enter")
        expect(bad).to_have_count(0)
        assert [spec.id for spec in made.specs] == ["good", "good-2"]
        page.get_by_role("button", name="Undo").press("Enter")
        expect(bad).to_have_attribute("data-ok", "false")  # what is found moves the form
        bad.get_by_role("button", name="Edit").press("Enter")
        form = bad.get_by_role("form")
        expect(form.get_by_label("label", exact=True)).to_be_focused()
        form.get_by_label("label", exact=True).fill("Better")
        form.get_by_text("More keys").click()
        form.get_by_label("price", exact=True).fill("{ input = 1 }")
        form.get_by_role("button", name="Save").click()
        mistake = 'lane "bad": price needs output = …; add it.'
        expect(form.get_by_role("alert")).to_contain_text(mistake)
        expect(form.get_by_label("price", exact=True)).to_be_focused()
        expect(form.get_by_label("price", exact=True)).to_have_attribute("aria-invalid", "true")
        form.get_by_label("price", exact=True).fill("{ input = 1, output = 2 }")
        lanes_file.write_text(lanes_file.read_text() + "# by hand\n")  # meanwhile, in an editor
        form.get_by_role("button", name="Save").click()
        expect(said).to_contain_text("Nothing was saved")
        expect(form.get_by_label("label", exact=True)).to_have_value("Better")
        form.get_by_role("button", name="Save").click()
        expect(bad.get_by_role("heading")).to_have_text("Better")
        text = lanes_file.read_text()
        assert text.startswith("# Mine.\n\n# the good one\n\n[[lane]]")
        assert text.endswith("# by hand\n")
        assert 'model = "gone"  # for now' in text
        page.get_by_role("tab", name="Chat").click()
        page.locator('[data-lane="bad"]').get_by_role("button", name="Change the lane Better").click()
        expect(bad.get_by_role("button", name="Models of Better")).to_be_focused()


def test_a_form_keeps_the_focus_when_the_lanes_arrive_late(open_tab: OpenTab, lanes_file: Path) -> None:
    with open_tab({"TEST_KEY": "x"}, lanes=str(lanes_file)) as (page, _):
        edit = row(page, "good").get_by_role("button", name="Edit")
        edit.wait_for()
        page.get_by_role("tab", name="Chat").click()
        held: list[Route] = []
        page.route("**/kimi/lanes", lambda route: held.append(route))
        page.get_by_role("tab", name="Lanes").click()
        until(lambda: page.wait_for_timeout(20) or held)
        edit.press("Enter")
        field = page.get_by_role("form").get_by_label("label", exact=True)
        field.fill("Best")
        held[0].continue_()
        expect(page.get_by_role("button", name="Look again")).to_be_enabled()
        expect(field).to_be_focused()
        expect(field).to_have_value("Best")


def test_a_lane_gets_another_model_at_its_head_in_the_chat(
    open_tab: OpenTab, lanes_file: Path, upstream: Upstream
) -> None:
    upstream.key = "canary-key"
    with open_tab({"TEST_KEY": "canary-key"}, lanes=str(lanes_file)) as (page, _):
        page.get_by_role("tab", name="Chat").click()
        good, menu = lane(page, "good"), page.get_by_role("group", name="Model of Good one")
        name, upcoming, head = (good.locator(f".lane-{part}") for part in ("model", "next", "choose"))
        search, said, problem = (
            menu.get_by_role("searchbox"),
            menu.get_by_role("status").first,
            menu.get_by_role("alert"),
        )

        def choose(words: str) -> None:
            expect(menu.locator("li")).to_have_count(5)  # the list has come
            search.fill(words)
            search.press("Enter")

        head.press("Enter")
        expect(search).to_be_focused()
        choose("50 1000")
        expect(name).to_have_text("m-50-1000-500")
        expect(said).to_have_text("Good one uses m-50-1000-500 from the next prompt on.")
        menu.get_by_role("button", name="Undo").press("Enter")
        expect(name).to_have_text("m-100-3000-1500")
        page.keyboard.press("Escape")
        expect(menu).to_be_hidden()
        expect(head).to_be_focused()  # it was drawn again

        send(page)
        wait_phase(page, "good", "thinking")
        wait_phase(page, "bad", "error")
        sent = len(upstream.requests)
        head.press("Enter")
        expect(said).to_have_text("A choice counts from the next prompt on. The running answer keeps its model.")
        lanes_file.write_text(lanes_file.read_text() + "# by hand\n")  # meanwhile, in an editor
        choose("50 1000")
        expect(problem).to_contain_text("Nothing was saved")
        search.press("Enter")
        expect(upcoming).to_have_text("→ m-50-1000-500")
        menu.get_by_label("Thinking").focus()
        menu.get_by_label("Thinking").select_option("High")
        expect(said).to_contain_text("thinking high, from the next prompt on")
        expect(menu.get_by_label("Thinking")).to_be_focused()
        expect(problem).to_be_hidden()
        assert lanes_file.read_text().endswith("# by hand\n")
        lane(page, "bad").locator(".lane-choose").click()
        menu = page.get_by_role("group", name="Model of <b>Bad</b>")
        expect(menu).to_contain_text("requires a key, and this lane names none. Write api_key_env")
        page.reload()
        wait_phase(page, "good", "thinking")
        expect(name).to_have_text("m-100-3000-1500")
        expect(upcoming).to_have_text("→ m-50-1000-500")
        assert {request.path for request in upstream.requests[sent:]} == {"/v1/models"}
        good.get_by_role("button", name="Stop").click()
        wait_phase(page, "good", "stopped")
        send(page, "And now?")
        expect(name).to_have_text("m-50-1000-500")
        expect(upcoming).to_be_hidden()
        expect(page.locator(".past .lane-choose")).to_have_count(0)
        wait_phase(page, "good", "thinking")
        asked = [request.body for request in upstream.requests if request.path == "/v1/chat/completions"]
        assert [body["model"] for body in asked if body["model"] != "gone"] == ["m-100-3000-1500", "m-50-1000-500"]
        assert {body.get("reasoning_effort") for body in asked if body["model"].startswith("m-50")} == {"high"}


def test_a_lane_whose_model_cannot_be_chosen_says_why() -> None:
    kimi = OpenAILane("kimi", "Kimi", model="k2", base_url="https://a.example/v1")
    specs: dict[str, LaneSpec] = {
        "kimi": kimi,
        "heavy": HeavyLane("heavy", "Heavy", of="kimi"),
        "small": EmbeddedLane("small", "Small", stand_in_for="Qwen", how_to_get_real="ollama pull qwen"),
    }
    reasons = [why_fixed(spec, specs) for spec in specs.values()]
    assert reasons[0] == ""
    assert "that of the lane Kimi" in reasons[1]
    assert "To get Qwen: ollama pull qwen" in reasons[2]


def test_a_lane_is_added_and_lanes_are_kept_as_sets(open_tab: OpenTab, upstream: Upstream) -> None:
    with open_tab({"OLLAMA_HOST": "127.0.0.1:9"}) as (page, made):
        path = made.lanes_target
        page.get_by_role("button", name="Add a lane").press("Enter")
        form = page.get_by_role("form", name="A new lane")
        expect(form.get_by_label("provider")).to_be_focused()
        form.get_by_role("button", name="Add").click()
        expect(form.get_by_role("alert")).to_contain_text('every lane needs id = "…"')
        assert not path.exists()
        form.get_by_label("id needed").fill("mine")
        form.get_by_label("base_url").fill(upstream.base_url)
        form.get_by_role("button", name="Models").click()
        form.get_by_label("Search models").fill("50 1000")
        form.get_by_role("button", name="m-50-1000-500").wait_for()  # the list has come
        form.get_by_label("Search models").press("Enter")
        expect(form.get_by_label("model needed")).to_have_value("m-50-1000-500")
        form.get_by_role("button", name="Add", exact=True).click()
        expect(row(page, "mine")).to_have_attribute("data-ok", "true")
        assert [lane["provider"] for lane in lanes_in(path)] == ["shipped", "shipped", "shipped", "openai"]
        expect(row(page, "kimi").locator(".badge")).to_have_text("Stand-in")
        page.get_by_role("button", name="Save the lanes shown as a set").press("Enter")
        page.get_by_label("Name of the set").fill("small")
        page.get_by_label("Name of the set").press("Enter")
        expect(page.get_by_label("Lanes in use")).to_have_value("small")
        row(page, "kimi").get_by_role("button", name="Remove").press("Enter")
        expect(
            page.locator(".lt-sets").get_by_role("alert").or_(row(page, "kimi").get_by_role("alert")).first
        ).to_contain_text("kimi-heavy is made of kimi")
        for lane in ("kimi-heavy", "kimi", "qwen"):
            row(page, lane).get_by_role("button", name="Remove").press("Enter")
            expect(row(page, lane)).to_have_count(0)
        assert [spec.id for spec in made.specs] == ["mine"]
        page.get_by_role("button", name="Add Qwen3-Coder:30B to this set").press("Enter")
        expect(row(page, "qwen")).to_be_visible()
        page.get_by_label("Lanes in use").select_option("")
        expect(row(page, "kimi-heavy")).to_be_visible()
        assert shown(page) == ["kimi", "kimi-heavy", "qwen", "mine"]
        assert "x-key" not in page.content()


def test_behind_a_password_lanes_are_changed_only_if_the_server_says_so(
    tmp_path: Path, lanes_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Authorization": "Bearer open sesame"}
    change = {"changes": [{"op": "remove", "lane": "bad"}]}
    for env, status in (({}, 403), ({"KIMI_UI_EDIT_LANES": "1"}, 200)):
        made = Roster(read_settings(env=env, lanes=str(lanes_file)))
        with (
            started(made) as run,
            served(run, made, password="open sesame") as url,
            httpx.Client(headers=key) as client,
        ):
            editing = client.get(f"{url}/kimi/lanes").json()["editing"]
            fixed = {lane["fixed"] for lane in client.get(f"{url}/kimi/state?new=1").json()["lanes"]}
            assert fixed == ({""} if env else {NOT_HERE})
            assert ("version" in editing, "KIMI_UI_EDIT_LANES=1" in editing["not_here"]) == (bool(env), not env)
            answer = client.post(f"{url}/kimi/lanes", json=change | {"version": editing.get("version", "")})
            assert answer.status_code == status
            assert client.post(f"{url}/kimi/lanes/models", json={"values": {}}).status_code == (422 if env else 403)
    assert [lane["id"] for lane in lanes_in(lanes_file)] == ["good"]


def test_lanes_that_are_changed_while_they_are_described_or_tested_are_those_of_before(
    lanes_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = lanes_file.read_text()
    made = Roster(read_settings(env={}, lanes=str(lanes_file)))

    def remove_bad() -> None:
        lanes_file.write_text("[[lane]]" + both.split("[[lane]]")[1])
        made.refresh()

    with started(made) as run, served(run, made) as url:
        offer = run.engine.pulls.offer
        with monkeypatch.context() as patch:
            patch.setattr(run.engine.pulls, "offer", lambda lane: (remove_bad(), offer(lane))[1])
            assert [one["lane"] for one in httpx.get(f"{url}/kimi/lanes").json()["lanes"]] == ["good", "bad"]
        assert [spec.id for spec in made.specs] == ["good"]
        lanes_file.write_text(both)
        made.refresh()
        asked, go = threading.Event(), threading.Event()

        async def check(lane: str, probe: bool, unloaded: object) -> Check:
            model = made.specs[1].model
            asked.set()
            if model == "gone":
                await asyncio.to_thread(go.wait, 60)
            return Check(ok=True, problem=model)

        def tested() -> str:
            return str(httpx.post(f"{url}/kimi/lanes/bad/check", timeout=60).json()["problem"])

        with monkeypatch.context() as patch, ThreadPoolExecutor(1) as somebody:
            patch.setattr(made, "check", check)
            first = somebody.submit(tested)
            until(asked.is_set)
            lanes_file.write_text(both.replace('"gone"', '"there"'))
            made.refresh()
            assert tested() == "there"  # not what the test of the old model finds
            go.set()
            assert first.result() == "gone"
        monkeypatch.setattr(run.turns, "unloaded_pairs", remove_bad)
        assert httpx.post(f"{url}/kimi/lanes/bad/check").json()["problem"] == "This lane was removed."


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
        expect(lane(page, "kimi").locator(".lane-choose")).to_have_count(0)
        expect(lane(page, "kimi").locator(".lane-model")).to_have_attribute(
            "title", re.compile("A stand-in has nothing")
        )
        table = page.get_by_role("table")
        for name in ("Chutes", "OpenRouter", "Moonshot", "Ollama"):
            expect(table.get_by_role("rowheader", name=name)).to_be_visible()
        expect(table).to_contain_text("✓ running")
        qwen = row(page, "qwen")
        expect(qwen).to_contain_text("runs but has no qwen3-coder:30b")
        qwen.get_by_role("button", name="Pull qwen3-coder:30b").press("Enter")
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
