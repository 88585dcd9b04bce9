"""The Benchmark tab: runs started over HTTP and watched in real Chromium, on models that know the cases."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from kimi_ui.bench import suite
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.providers.base import ChatRequest
from kimi_ui.web.visitor import COOKIE
from tests.support.bench_model import IDS, cases, knowing
from tests.support.browser import Visitor, served
from tests.support.engine_run import Run, started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import until

SOME = {"lanes": ["good", "poor"], "size": "quick", "categories": [], "epochs": None, "budget_usd": None}


@dataclass
class Site:
    """The app with two lanes; ``go`` lets the lane ``poor`` answer."""

    url: str
    run: Run
    go: threading.Event

    def person(self, name: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, cookies={COOKIE: name * 40}, trust_env=False, timeout=60)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Quick has four cases here, one of them a conversation."""
    monkeypatch.setattr(suite, "QUICK", IDS)
    known, go = cases(), threading.Event()

    def held(request: ChatRequest) -> Iterable[Any]:
        yield go
        yield from knowing(known, {"jugs-1"})(request)

    price = Price(input=1.0, output=4.0)
    good = LaneSpec("good", "Good", "openai", model="m-1", base_url="http://one.test", price=price)
    poor = LaneSpec("poor", "Poor", "openai", model="m-2", base_url="http://two.test", price=Price(0, 0))
    lanes = [ScriptedProvider(good, [knowing(known)]), ScriptedProvider(poor, [held])]
    roster = ScriptedRoster(*lanes)
    with started(roster, tmp_path / "log.sqlite3") as run, served(run, roster) as url:
        yield Site(url, run, go)
        go.set()


def finished(client: httpx.Client) -> list[dict[str, Any]]:
    """The runs, once none is running."""
    until(lambda: client.get("/kimi/benchmark/progress").json()["running"] is None)
    return list(client.get("/kimi/benchmark").json()["runs"])


@pytest.mark.slow
def test_what_is_asked_for_is_checked_and_estimated(bench: Site) -> None:
    with bench.person("m") as me:

        def refused(path: str, **changes: Any) -> tuple[int, str]:
            answer = me.post(f"/kimi/benchmark/{path}", json={**SOME, **changes})
            return answer.status_code, answer.json()["error"]

        sentence = me.post("/kimi/benchmark/estimate", json=SOME).json()["sentence"]
        assert sentence.startswith("8 answers in 16 requests · time not known yet for Good, Poor · at least $0.00")
        assert refused("estimate", lanes=[]) == (422, "Choose at least one lane.")
        assert refused("estimate", size="chosen") == (422, "Choose at least one category.")
        assert refused("runs", epochs=0)[0] == 422
        assert refused("runs", budget_usd="much")[1].startswith("The budget is an amount")
        assert refused("runs", lanes=["gone"])[1].startswith("There is no lane gone")
        assert refused("runs", budget_usd=1)[1].startswith("Good has no limit on its output")
        assert me.get("/kimi/benchmark").json()["runs"] == []
        assert me.get("/kimi/benchmark/runs/unknown/report").status_code == 404


@pytest.mark.slow
def test_one_run_at_a_time_which_is_downloaded_and_compared(bench: Site) -> None:
    with bench.person("m") as me:
        first = me.post("/kimi/benchmark/runs", json=SOME).json()["run"]
        again = me.post("/kimi/benchmark/runs", json=SOME)
        assert (again.status_code, "running already" in again.json()["error"]) == (409, True)
        assert me.post(f"/kimi/benchmark/runs/{first}/resume").status_code == 409
        bench.go.set()
        assert [one["state"] for one in finished(me)] == ["done"]
        known = me.post("/kimi/benchmark/estimate", json={**SOME, "lanes": ["good"]}).json()["sentence"]
        assert re.fullmatch(r"4 answers in 8 requests · about \d+ s · about \$0\.\d+\.", known)
        second = me.post("/kimi/benchmark/runs", json={**SOME, "lanes": ["good"]}).json()["run"]
        assert [one["id"] for one in finished(me)] == [second, first]
        lines = me.get("/kimi/benchmark/compare", params={"a": first, "b": second}).json()["lines"]
        assert any("Poor" in line for line in lines)
        for form, start in (("html", "<!DOCTYPE html>"), ("md", "# Benchmark"), ("json", "{"), ("csv", "run_id,")):
            answer = me.get(f"/kimi/benchmark/runs/{first}/download/{form}")
            assert answer.headers["content-disposition"].endswith(f'"kimi-benchmark-{first}.{form}"')
            assert answer.text.lower().startswith(start.lower()), form
        with bench.person("y") as you:  # without a password there is one user, whatever the browser
            assert len(you.get("/kimi/benchmark").json()["runs"]) == 2


def tab(page: Page) -> None:
    page.get_by_role("tab", name="Benchmark").click()


def test_a_run_is_started_watched_by_two_tabs_stopped_resumed_and_read(bench: Site, browser: Browser) -> None:
    visitor = Visitor(browser, bench.url)
    page = visitor.open()
    tab(page)
    expect(page.locator(".bt-what")).to_be_visible()
    expect(page.locator("#bench-estimate")).to_contain_text("8 answers in 16 requests")
    page.locator("#bench-start").click()
    expect(page.locator("#bench-words")).to_contain_text("of 8 answers")
    expect(page.locator("#bench-start")).to_be_hidden()

    other = visitor.open()
    assert other.locator("[data-turn]:not([data-turn=''])").count() == 0  # the chat shows nothing of it
    tab(other)
    other.locator("#bench-stop").click()
    row = page.locator("#bench-runs tbody tr")
    expect(row).to_contain_text("exploratory: a person stopped it")

    def late(route: Route) -> None:
        answer = route.fetch()
        with bench.person("m") as me:
            finished(me)
        route.fulfill(response=answer)

    bench.go.set()
    page.route("**/resume", late)  # the run has ended before the page hears that it began
    row.get_by_role("button", name="Resume").click()
    expect(row.locator("[data-label=State]")).to_have_text("done")
    row.locator(".bt-open").click()
    report = page.locator("#bench-report")
    expect(report.locator(".bench-report h1")).to_be_visible()
    expect(page.get_by_role("link", name="CSV")).to_have_attribute("href", re.compile("/download/csv$"))
    turn = report.locator("[data-turn]").first
    link = turn.locator(".bt-replay")
    expect(link).to_have_attribute("href", f"?turn={turn.get_attribute('data-turn')}")

    ballot = page.locator("#bench-ballot")
    expect(ballot.locator("article")).to_have_count(2)
    expect(ballot).to_contain_text("0 of 1 pair has a vote.")
    assert not {"Good", "Poor"} & set(re.findall(r"\w+", ballot.inner_text()))
    ballot.locator("[data-choice=tie]").click()
    expect(ballot).to_contain_text("A was ")
    expect(ballot).to_contain_text("1 of 1 pair has a vote.")
    page.locator("#bench-back").click()
    row.locator(".bt-open").click()
    expect(report).to_contain_text("Votes: Good against Poor: none decided, 1 tie.")
    page.locator("#bench-back").click()
    expect(row).to_be_visible()
    visitor.close()
    assert visitor.problems == []
