"""The Stats tab in real Chromium over a real log, its downloads over HTTP, and its endpoint for programs."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.testclient import TestClient

from kimi_ui.core.events import Bounds, Flag
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnLog
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter
from kimi_ui.stats import sample as samples
from kimi_ui.stats.form import Form
from kimi_ui.stats.sample import Filters
from kimi_ui.ui.stats_tab import StatsView
from kimi_ui.web.stats import StatsRoutes
from kimi_ui.web.visitor import COOKIE, owner_of
from tests.support.browser import Visitor, WarmContext, listening, made, served
from tests.support.engine_run import started
from tests.support.log import store, writing
from tests.support.scripted import ScriptedProvider, ScriptedRoster, thinker
from tests.support.turns import MS, attempt, ended, tokens, turn

PRICE = (1.0, None, 2.0, "2026-07-01")
CUT_OFF = """svgs => svgs.flatMap((svg) => {
  const whole = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const { left, right, top, bottom, width } = text.getBoundingClientRect();
    const beyond = [whole.left - left, right - whole.right, whole.top - top, bottom - whole.bottom];
    return width && Math.max(...beyond) > 1;
  }).map((text) => text.textContent);
})"""  # texts that overflow their plots
HOSTILE = "<img src=x onerror=window.hacked=1>${window.hacked=1}{{hacked}}"


NOBODY: Any = SimpleNamespace(cookies={}, state=None)
CONTROLS = (None, None, None, "All time", "Any length", "", "All", "All", None)  # as the tab opens


@dataclass
class Site:
    url: str
    writer: LogWriter
    reader: LogReader


def counted_loads(monkeypatch: pytest.MonkeyPatch) -> list[Filters]:
    """A list that grows with every sample read from the log."""
    loads: list[Filters] = []
    load = samples.load

    def counted(reader: LogReader, filters: Filters) -> Any:
        loads.append(filters)
        return load(reader, filters)

    monkeypatch.setattr(samples, "load", counted)
    return loads


def test_the_log_is_read_again_for_a_new_attempt_but_not_for_another_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted_loads(monkeypatch)
    with writing(tmp_path / "log.sqlite3") as writer:
        store(writer, *logged(2))
        view = StatsView(LogReader(tmp_path / "log.sqlite3"), lambda: ["kimi"], private=False)
        first = view.show(NOBODY, "e2e_ms", False, *CONTROLS)
        assert "4 attempts" in first[0]
        assert view.show(NOBODY, "ttft_ms", False, *CONTROLS)[0] == first[0]
        assert len(loads) == 1
        (third,) = logged(1)
        store(writer, third)
        assert "6 attempts" in view.show(NOBODY, "ttft_ms", False, *CONTROLS)[0]
        assert len(loads) == 2
        writer.delete_conversation(third.conversation_id, "").result(10)
        store(writer, *logged(1))  # its rows reuse the row ids of the deleted ones
        view.show(NOBODY, "ttft_ms", False, *CONTROLS)
        assert len(loads) == 3


def test_where_nothing_can_be_drawn_the_reason_is_shown(tmp_path: Path) -> None:
    with writing(tmp_path / "log.sqlite3") as writer:
        store(writer, turn((attempt("kimi", label="Kimi"), ended(tokens(9, start_ms=9, gap_ms=9), "error"))))
        view = StatsView(LogReader(tmp_path / "log.sqlite3"), lambda: ["kimi"], private=False)
        _, said, _, *plots, _, _, _ = view.show(NOBODY, "e2e_ms", True, *CONTROLS)
        assert "nothing to draw. Kimi has no finished attempt." in said
        assert "report" not in said
        assert not any(plot["visible"] for plot in plots)
        assert "no figure for: first token" in view.show(NOBODY, "ttft_ms", True, *CONTROLS)[1]


def cookie(letter: str) -> dict[str, str]:
    return {COOKIE: letter * 40}


def logged(n: int = 8, **fields: Any) -> list[Any]:
    """Turns of two lanes, one of them slower; one turn has a prompt with markup."""
    turns = []
    for i in range(n):
        at = f"2026-11-{10 + i:02}T12:00:00.000+00:00"
        runs = [
            (
                attempt(lane, label=label, price=PRICE, input_chars=400, started_at_utc=at),
                ended(tokens(80, start_ms=ttft_ms + 13 * i, gap_ms=10)),
            )
            for lane, label, ttft_ms in (("kimi", "Kimi K2", 200), ("qwen", "Qwen", 900))
        ]
        turns.append(turn(*runs, started_at_utc=at, prompt=HOSTILE if i == 0 else f"Question {i}?", **fields))
    return turns


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    lanes = (("kimi", "Kimi K2"), ("qwen", "Qwen"))
    roster = ScriptedRoster(
        *(ScriptedProvider(LaneSpec(id, label, "openai", model="m"), [thinker()]) for id, label in lanes)
    )
    with started(roster) as run, served(run, roster) as url:
        yield Site(url, run.writer, run.reader)


@pytest.fixture
def visitor(visitor: Visitor, site: Site) -> Visitor:
    visitor.context.add_cookies([{"name": COOKIE, "value": cookie("m")[COOKIE], "url": site.url}])
    return visitor


def opened(visitor: Visitor) -> Page:
    page = visitor.open()
    page.get_by_role("tab", name="Stats").click()
    return page


def test_nothing_is_computed_before_the_tab_is_opened_and_an_empty_log_has_a_hint(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted_loads(monkeypatch)
    page = visitor.open()
    assert loads == []
    page.get_by_role("tab", name="Stats").click()
    expect(page.locator("#stats .st-empty")).to_have_text(re.compile("Nothing has been measured yet"))
    expect(page.locator("#stats .vega-embed")).to_have_count(0)
    assert len(loads) == 1


@pytest.fixture(scope="module")
def filled(site: Site) -> list[Any]:
    turns = logged(owner=owner_of(cookie("m")))
    store(site.writer, *turns)
    return turns


def test_table_sentences_and_plots(visitor: Visitor, filled: list[Any]) -> None:
    page = opened(visitor)
    rows = page.locator("#stats .st-series tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("Kimi K2")
    expect(rows.nth(0).locator("td").nth(1)).to_contain_text("0.25")  # median first token of 200 + 13 i ms
    expect(rows.nth(0).locator("td").nth(1)).to_contain_text("n = 8")
    expect(page.locator("#stats")).to_contain_text("p95 needs 59 values, p99 299.")
    expect(page.locator("#stats .st-pairs li")).to_have_text(
        "Qwen is +0.70 s [0.70, 0.70] against Kimi K2 on 8 prompts: slower."
    )
    expect(page.locator("#stats .vega-embed svg")).to_have_count(5)
    expect(page.locator("#stats .vega-embed").nth(0)).to_contain_text("Share of attempts")
    expect(page.locator("#stats .st-turns tbody tr")).to_have_count(8)
    assert page.evaluate("window.hacked") is None, "a prompt is text"
    expect(page.locator("#stats .st-turns")).to_contain_text(HOSTILE)


def test_a_dot_opens_its_turn(visitor: Visitor, filled: list[Any]) -> None:
    page = opened(visitor)
    dot = page.locator("#stats .vega-embed").nth(0).locator(".mark-symbol path").last
    expect(page.locator("#stats .vega-embed svg")).to_have_count(5)  # none moves the dot any more
    turn_id = dot.evaluate("element => element.__data__.href").removeprefix("/?turn=")
    assert turn_id in {log.turn_id for log in filled}
    dot.click(force=True)
    page.wait_for_url(f"**/?turn={turn_id}")
    expect(page.locator("[data-lane=kimi]").first).to_be_visible()
    expect(page.locator("#lanes")).to_contain_text("word word")
    left = ("AbortError: signal is aborted", "Unexpected error Connection errored out")  # Gradio's request, if one ran
    visitor.problems[:] = [problem for problem in visitor.problems if not problem.startswith(left)]


def test_another_persons_turns_have_no_link(warm: WarmContext, site: Site, filled: list[Any]) -> None:
    visitor = Visitor(warm, site.url)
    visitor.context.add_cookies([{"name": COOKIE, "value": cookie("x")[COOKIE], "url": site.url}])
    page = opened(visitor)
    dot = page.locator("#stats .vega-embed").nth(0).locator(".mark-symbol path").last
    dot.wait_for()
    assert dot.evaluate("element => element.__data__.href") is None
    assert dot.evaluate("element => getComputedStyle(element).cursor") == "default"
    rows = page.locator("#stats .st-turns tbody tr")
    expect(rows.filter(has_text="another person’s")).to_have_count(8)
    expect(rows.filter(has_text="another person’s").get_by_role("link")).to_have_count(0)
    page.locator("#stats-filters").get_by_text("Filters").click()
    page.locator("#stats-filters").get_by_label("Conversation").click()
    expect(page.get_by_role("option", name="All")).to_be_visible()
    expect(page.get_by_role("option", name="Question")).to_have_count(0)
    dot.click(force=True)
    visitor.close()
    assert visitor.problems == []


def test_metric_and_published_figures(visitor: Visitor, filled: list[Any]) -> None:
    page = opened(visitor)
    plot = page.locator("#stats .vega-embed").nth(0)
    rules, legend = plot.locator(".mark-rule.role-mark line"), page.locator("#stats .st-legend")
    expect(plot).to_contain_text("total time (s)")
    page.locator("#stats-reported input").check()
    expect(legend).to_contain_text("Kimi K2 heavy, reported 28.22 s")
    expect(rules).to_have_count(3)
    colours = {rule.evaluate("element => getComputedStyle(element).stroke") for rule in rules.all()}
    assert len(colours) == 3, "each in the colour of the lane it is about, others in grey"
    page.locator("#stats-metric").get_by_label("Decode speed").check()
    expect(plot).to_contain_text("decode speed (tok/s)")
    expect(legend).to_contain_text("Qwen3-Coder:30B, reported 117.7 tok/s")
    page.locator("#stats-metric").get_by_label("First token").check()
    expect(legend).to_contain_text("no figure for: first token")
    expect(rules).to_have_count(0)
    page.locator("#stats-reported input").uncheck()
    expect(legend).not_to_contain_text("report")


def test_filters_and_what_was_left_out(visitor: Visitor, site: Site, filled: list[Any]) -> None:
    late = turn(
        (attempt("kimi", label="Kimi K2"), ended([*tokens(50, start_ms=9, gap_ms=9), (900, Flag("clock_jump", "9 s"))]))
    )
    store(site.writer, late)
    page = opened(visitor)
    note = page.locator("#stats-overview .st-note")
    expect(note).to_contain_text("17 attempts. Left out: 1 with counts or a clock that contradict themselves.")
    page.locator("#stats-include").get_by_label("suspect").check()
    expect(note).not_to_contain_text("Left out")
    expect(note).to_contain_text("17 attempts.")
    page.locator("#stats-filters").get_by_text("Filters").click()
    page.locator("#stats-filters").get_by_label("Lanes").click()
    page.get_by_role("option", name="Qwen").click()
    expect(note).to_contain_text("8 attempts.")
    expect(page.locator("#stats .st-series tbody tr")).to_have_count(1)
    expect(page.locator("#stats-paired")).to_contain_text("No prompt has a known total time from two of these lanes.")
    link = page.get_by_role("link", name="these attempts as CSV")
    expect(link).to_have_attribute("href", "./kimi/stats/attempts.csv?lanes=qwen&include=suspect")


def test_leaving_out_most_attempts_is_announced_and_one_click_includes_them(warm: WarmContext) -> None:
    def one(early_ms: float) -> TurnLog:
        bounds = (900.0, Bounds(0, round(early_ms * MS), 0, 0))
        return turn((attempt("kimi", label="Kimi K2"), ended([*tokens(50, start_ms=100, gap_ms=9), bounds])))

    roster = ScriptedRoster(ScriptedProvider(LaneSpec("kimi", "Kimi K2", "openai", model="m"), [thinker()]))
    with started(roster) as run:
        store(run.writer, one(0.3), one(60), one(70))
        with listening(made(run, roster)) as url:
            visitor = Visitor(warm, url)
            page = opened(visitor)
            overview = page.locator("#stats-overview")
            warning = overview.get_by_role("status")
            expect(warning).to_contain_text("Kimi K2: most values are left out (first token, ")
            figure = overview.locator("[data-label='First token, s'] .st-figure")
            expect(figure).to_have_text("0.10 ±0.40 ms")
            page.keyboard.press("Tab")
            figure.focus()
            assert figure.evaluate("element => getComputedStyle(element, '::after').content") == '"±0.40 ms"'
            page.get_by_role("button", name="Count everything in").click()
            expect(figure).to_have_text("~0.10 each ±60 ms")
            for word in ("retried", "suspect", "cold starts", "wide error bounds"):
                expect(page.locator("#stats-include").get_by_label(word)).to_be_checked()
            expect(warning).to_have_count(0)
            expect(page.get_by_role("button", name="Count everything in")).to_be_hidden()
            visitor.close()
        assert visitor.problems == []


def test_filters_work_after_gradio_has_dropped_the_session(warm: WarmContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restart of the app, or after many other pages were opened."""
    monkeypatch.setattr("kimi_ui.ui.app.SESSIONS_KEPT", 1)
    roster = ScriptedRoster(ScriptedProvider(LaneSpec("kimi", "Kimi K2", "openai", model="m"), [thinker()]))
    with started(roster) as run:
        store(run.writer, *logged())
        with listening(app := made(run, roster)) as url:
            visitor = Visitor(warm, url)
            first = opened(visitor)
            note = first.locator("#stats-overview .st-note")
            expect(note).to_contain_text("16 attempts.")
            expect(opened(visitor).locator("#stats-overview .st-note")).to_contain_text("16 attempts.")
            mounted = next(route.app for route in app.routes if hasattr(getattr(route, "app", None), "state_holder"))
            assert len(mounted.state_holder.session_data) == 1
            first.locator("#stats-filters").get_by_text("Filters").click()
            first.locator("#stats-filters").get_by_label("Lanes").click()
            first.get_by_role("option", name="Qwen").click()
            expect(note).to_contain_text("8 attempts.")
            visitor.close()
        assert visitor.problems == []


def test_downloads(visitor: Visitor, filled: list[Any], tmp_path: Path) -> None:
    page = opened(visitor)

    def fetched(name: str) -> Path:
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    rows = list(csv.DictReader(io.StringIO(fetched("these attempts as CSV").read_text("utf-8"))))
    assert {row["turn_id"] for row in rows} >= {log.turn_id for log in filled}
    assert float(rows[0]["ttft_ms"]) == 200
    lines = fetched("as JSON lines").read_text("utf-8").splitlines()
    assert len(lines) == len(rows)
    assert json.loads(lines[0])["lane"] == "kimi"
    with closing(sqlite3.connect(fetched("the whole log as SQLite"))) as db:
        assert db.execute("SELECT count(*) FROM attempt_metrics").fetchone()[0] == len(rows)


@pytest.mark.parametrize(("width", "theme"), [(1600, "dark"), (1024, "light"), (390, "dark")])
def test_nothing_overflows_and_colours_follow_the_theme(
    warm: WarmContext, site: Site, filled: list[Any], width: int, theme: str
) -> None:
    visitor = Visitor(warm, site.url, viewport={"width": width, "height": 900})
    page = visitor.open(f"?__theme={theme}")
    page.get_by_role("tab", name="Stats").click()
    expect(page.locator("#stats .vega-embed svg")).to_have_count(5)
    plot = page.locator("#stats .vega-embed svg").first
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#stats .vega-embed svg").evaluate_all(CUT_OFF) == []
    bar = page.locator("#stats .vega-embed").nth(2).locator(".mark-rect path").first.bounding_box()
    assert bar is not None
    assert bar["height"] > 20, "the bars of the time split can be seen"
    box = plot.bounding_box()
    assert box is not None
    assert 250 <= box["width"] <= width
    title = page.locator("#stats .vega-embed .role-title-text text").first
    lightness = title.evaluate("e => getComputedStyle(e).fill.match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b, 0)")
    assert (lightness > 380) == (theme == "dark")
    visitor.close()
    assert visitor.problems == []


def test_programs_get_the_summary(site: Site, filled: list[Any]) -> None:
    client = Client(site.url, verbose=False)
    summary = client.predict(lanes=["qwen"], api_name="/stats")
    assert [series["name"] for series in summary["series"]] == ["Qwen"]
    assert summary["series"][0]["ttft_ms"]["n"] == 8
    assert client.predict(days=1, api_name="/stats")["n_attempts"] == 0
    for days in (-1, 40_000):
        with pytest.raises(AppError, match="days is a number above 0, at most 36500, or 0 for all time"):
            client.predict(days=days, api_name="/stats")
    client.close()


def test_with_several_users_everybody_downloads_only_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, temporary = tmp_path / "log.sqlite3", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    mine, yours = (owner_of(cookie(letter)) for letter in "ab")
    with writing(path) as writer:
        store(writer, *logged(1, owner=mine), *logged(2, owner=yours))
    app = Starlette(routes=StatsRoutes(LogReader(path), private=True).routes())
    with (
        TestClient(app, cookies=cookie("a")) as me,
        TestClient(app, cookies=cookie("b")) as you,
        TestClient(app) as nobody,
    ):
        assert [len(who.get("/kimi/stats/attempts.jsonl").text.splitlines()) for who in (me, you, nobody)] == [2, 4, 0]
        copy = tmp_path / "copy.sqlite3"
        copy.write_bytes(me.get("/kimi/stats/log.sqlite3").content)
        assert me.get("/kimi/stats/log.sqlite3", headers={"Range": "bytes=999999999-"}).status_code == 416
    assert list(temporary.iterdir()) == []
    assert [head.prompt for head in LogReader(copy).turns()] == [HOSTILE]
    assert b"Question" not in copy.read_bytes()


@pytest.mark.parametrize(
    "form",
    [
        Form(),
        Form(lanes=("a", "b & c"), period="Last 7 days", include=("suspect",)),
        Form(
            models=("x/y",),
            providers=("openai",),
            length="200 to 1,000",
            conversation="c",
            kind="Benchmark",
            start="Cold",
        ),
    ],
)
def test_a_form_survives_a_round_trip_through_a_link(form: Form) -> None:
    assert Form.of_query(parse_qsl(form.query)) == form


def test_an_invalid_query_sets_no_limit() -> None:
    form = Form.of_query(
        [("period", "x"), ("length", "'; --"), ("kind", "?"), ("start", "hot"), ("include", "blind"), ("nonsense", "1")]
    )
    assert form.filters(None) == Filters()
    assert Form.of({"lanes": 5, "models": {"a": 1}, "include": True}).filters(None) == Filters()
