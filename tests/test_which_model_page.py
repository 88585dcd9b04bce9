"""The line "Which model?" of the composer, in real Chromium over a real log with a finished benchmark run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from kimi_ui.bench import records
from kimi_ui.bench.plan import Item
from kimi_ui.bench.records import Head
from kimi_ui.core.events import Answer, Finish, Usage
from kimi_ui.core.turn import TurnLog
from tests.support.browser import Visitor
from tests.support.chat_site import ChatSite
from tests.support.log import store
from tests.support.turns import Timed, attempt, ended, turn
from tests.support.waiting import until

BOX = "#prompt textarea"
N = 24
CODE = "Sort a list in Python."  # so short that it stays one line beside the chip


def keep_run(site: ChatSite) -> None:
    """A finished run of ``N`` coding cases: Kimi is right in all of them, Qwen in none and four times as fast."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    head = Head("run1", "", site.writer.boot_id, now, now, "done", "", "full", 1, 1, 1, 1, None, "1")
    specs = {spec.id: spec for spec in site.engine.specs}
    lanes = ("kimi", "qwen")
    ops = [records.head_op(head)]
    ops += [records.lane_op(head.id, at, specs[lane], specs) for at, lane in enumerate(lanes)]
    turns: list[TurnLog] = []
    for place in range(N * len(lanes)):
        case, lane = f"intervals-{place // 2}", lanes[place % 2]
        one = attempt(lane)
        end_ms = 400.0 if lane == "qwen" else 1600.0
        events: list[Timed] = [
            (end_ms / 2, Answer("…")),
            (end_ms, Usage(input_tokens=9, output_tokens=9)),
            (end_ms, Finish("stop")),
        ]
        turns.append(turn((one, ended(events)), prompt="Case", kind="bench"))
        ops.append(records.item_op(head.id, Item(place, case, "coding", case, lane, 1, 0, turns[-1].turn_id, None)))
        verdict = "right" if lane == "kimi" else "wrong"
        ops.append(records.verdict_op(one.attempt_id, verdict, "", grader="code", grader_version="1"))
    store(site.writer, *turns)
    site.writer.write(ops).result()


def height(page: Page) -> float:
    box = page.locator("#composer").bounding_box()
    assert box
    return box["height"]


def test_it_speaks_only_with_results_and_switches_lanes_only_when_clicked(
    site: ChatSite, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "runs", None)  # a list with the counts and costs of all runs is not needed for this
    page = visitor.open()
    page.locator(BOX).fill(CODE)
    expect(page.locator("#estimate")).to_be_visible()
    expect(page.locator("#which")).to_be_hidden()
    silent = height(page)

    keep_run(site)
    page.reload()
    expect(page.locator(BOX)).to_have_value(CODE)  # the draft; what is typed before it is back would go below it
    line, kind, panel = page.locator("#which-line"), page.locator("#which-kind"), page.locator("#which-panel")
    expect(line).to_have_text("Kimi K2: more often right")
    expect(kind).to_have_value("coding")
    until(lambda: height(page) == silent)

    page.set_viewport_size({"width": 1280, "height": 800})
    until(lambda: page.evaluate("innerWidth") == 1280)
    assert page.locator(BOX).evaluate("one => one.offsetWidth") > 500, "estimate and advice leave room for the prompt"
    page.set_viewport_size({"width": 1400, "height": 900})

    kind.select_option("math")
    expect(line).to_be_hidden()
    kind.select_option("coding")
    line.click()
    expect(panel).to_contain_text(f"Kimi K2 is right more often in coding than Qwen3-Coder ({N} cases, ")
    expect(panel).to_contain_text("Kimi K2 against Qwen3-Coder: +100 points (+")
    expect(panel).to_contain_text("Kimi K2 heavy: in no finished run.")
    panel.get_by_role("button", name="Total time").click()
    expect(line).to_have_text("Qwen3-Coder: faster")
    expect(page.locator("#settings")).to_have_text("Settings")

    panel.get_by_role("button", name="Use only Qwen3-Coder").click()
    expect(page.locator("#settings")).to_have_text("Settings · 1 of 3 lanes")
    panel.get_by_role("button", name="Use all lanes again").click()
    expect(page.locator("#settings")).to_have_text("Settings")

    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    page.locator(BOX).fill("")
    expect(page.locator("#which")).to_be_hidden()
