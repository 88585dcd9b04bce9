"""The app's queue on the page, in real Chromium: who waits, behind whom, and for how long it did."""

from __future__ import annotations

import re
import threading
from contextlib import closing

from playwright.sync_api import expect

from kimi_ui.core.admission import Line
from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from tests.support.browser import Visitor, WarmContext, lane, send, served, wait_phase
from tests.support.engine_run import started
from tests.support.scripted import SENT, ScriptedProvider, ScriptedRoster
from tests.support.waiting import until

SERIAL = Line("http://ollama", "m", 1)


def provider(name: str, label: str, *before: object) -> ScriptedProvider:
    script = [SENT, Phase(CONNECTED), *before, Reasoning("Light scatters."), Answer("It is **blue**."), Finish("stop")]
    return ScriptedProvider(LaneSpec(name, label, "ollama", model="m"), [script], queue=SERIAL)


def test_lanes_that_wait_are_queued_and_the_race_keeps_the_wait_apart(warm: WarmContext) -> None:
    go = threading.Event()
    kimi, qwen = provider("kimi", "Kimi K2", go), provider("qwen", "Qwen3-Coder")
    heavy = HeavyProvider(HeavyLane("heavy", "Kimi K2 heavy", "heavy", of="inner", width=3, quorum=3), qwen)
    roster = ScriptedRoster(kimi, heavy, qwen)
    with started(roster) as run, served(run, roster) as url, closing(Visitor(warm, url)) as visitor:
        ahead = run.engine.send("First", lanes=["kimi"])
        until(lambda: bool(kimi.requests))
        page = visitor.open()
        send(page)
        for lane_id in ("kimi", "heavy", "qwen"):
            wait_phase(page, lane_id, "queued")
            expect(lane(page, lane_id, "status")).to_have_text(re.compile(r"^Queued \d"))
            expect(lane(page, lane_id, "steps")).to_contain_text("Queued behind")
        rows = lane(page, "heavy").locator("[data-trajectory]")
        expect(rows).to_have_count(3)
        for k in range(3):
            expect(rows.nth(k)).to_have_attribute("data-phase", "queued")
        expect(lane(page, "heavy").locator(".board")).to_contain_text("3 queued")
        waiting = page.locator('.race-row:has-text("Qwen3-Coder") [data-kind="queue"]')
        expect(waiting).to_have_count(1)
        expect(lane(page, "qwen").locator('[data-metric="elapsed"]')).to_have_text("–")
        go.set()
        for lane_id in ("kimi", "heavy", "qwen"):
            wait_phase(page, lane_id, "done")
        expect(waiting).to_have_attribute("title", re.compile("Queued behind other requests, "))
        waited = re.compile(r"It waited .* in the queue before it was sent")
        expect(lane(page, "qwen").locator('[data-metric="elapsed"]')).to_have_attribute("title", waited)
        page.reload()  # from the log
        wait_phase(page, "qwen", "done")
        expect(waiting).to_have_count(1)
        expect(lane(page, "qwen", "steps")).to_contain_text("Queued behind")
        until(lambda: ahead.closed)
    assert visitor.problems == []
