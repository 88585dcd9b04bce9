"""An answer delivered as reasoning: a user can make it the answer, and every reader of the turn follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Finish, Flag, Phase, Promoted, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.portable import export_turns, import_turns, metrics_of
from kimi_ui.core.turn import TurnLog, promotion
from kimi_ui.providers.base import Message
from kimi_ui.tokenizers import counter
from kimi_ui.view.export_markdown import markdown_of
from kimi_ui.view.replay import replay_document
from tests.support.browser import Visitor, lane, send, wait_phase
from tests.support.chat_site import ChatSite, spoken
from tests.support.engine_run import Run, running
from tests.support.scripted import ScriptedProvider, thinker
from tests.support.waiting import ended, until

TEXT = "It is **42**, and <b onclick=alert(1)>nothing</b> else."
ALL_REASONING = [Phase(CONNECTED), Reasoning(TEXT[:9]), 0.005, Reasoning(TEXT[9:]), Finish("stop")]


def scripted(*scripts: Any, **fields: Any) -> ScriptedProvider:
    return ScriptedProvider(LaneSpec("a", "A", "openai", model="m", **fields), scripts)


def promote(run: Run, turn: TurnLog) -> None:
    entry = promotion(turn, "a")
    assert entry is not None
    run.turns.add(turn, entry)
    assert turn.closed
    assert turn.entries[-1].event == Promoted()


@pytest.mark.parametrize(
    "script",
    [
        thinker(),
        [Reasoning("x"), Finish("length")],
        [Reasoning("x")],
        [Reasoning(" "), Finish("stop")],
        [Reasoning("x"), Flag("refusal", "No."), Finish("stop")],
        [Reasoning("x"), Flag("tool_calls", "[]"), Finish("stop")],
        [Reasoning("x"), Finish("tool_calls")],
    ],
)
def test_only_complete_reasoning_without_an_answer_can_be_promoted(tmp_path: Path, script: list[Any]) -> None:
    with running(tmp_path / "log.sqlite3", scripted(script)) as run:
        turn = run.engine.send("?")
        ended(turn)
        assert promotion(turn, "a") is None
        assert promotion(turn, "nobody") is None


@pytest.mark.parametrize("stored", [False, True])
def test_promoted_reasoning_becomes_the_answer_and_no_figure_changes(tmp_path: Path, stored: bool) -> None:
    path = tmp_path / "log.sqlite3"
    with running(path, scripted(ALL_REASONING)) as run:
        turn = run.engine.send("What is it?")
        (before,) = run.rows(turn)["a"]
        measured = metrics_of(turn, counter)
        if not stored:
            promote(run, turn)
    model = scripted([Answer("more"), Finish("stop")], send_reasoning=True)
    with running(path, model) as run:
        if stored:
            promote(run, run.reader.turn(turn.turn_id) or turn)
            run.writer.flush().result()
        read = run.reader.turn(turn.turn_id)
        assert read is not None
        one = read.fold().newest("a")
        assert one
        assert one.promoted
        assert (one.answer, one.reasoning, one.status) == (TEXT, TEXT, "no_answer")
        assert promotion(read, "a") is None, "once is enough"
        assert run.rows(read)["a"] == [before]
        assert before["ttfo_ms"] is None
        assert metrics_of(read, counter) == measured
        run.engine.send("And then?", conversation_id=turn.conversation_id)
        until(lambda: model.requests)
        assert model.requests[0].messages[:2] == (Message("user", "What is it?"), Message("assistant", TEXT))
        query = "SELECT part FROM search_documents WHERE attempt_id = :attempt_id ORDER BY part"
        assert run.reader.rows(query, attempt_id=before["attempt_id"]) == [("answer",), ("reasoning",)]


def test_an_export_without_reasoning_keeps_promoted_reasoning(tmp_path: Path) -> None:
    with running(tmp_path / "log.sqlite3", scripted(ALL_REASONING)) as run:
        turn = run.engine.send("?")
        ended(turn)
        without = json.dumps(export_turns([turn], "t", counter, reasoning=False))
        assert "**42" not in without
        promote(run, turn)
    (back,) = import_turns(json.loads(json.dumps(export_turns([turn], "t", counter, reasoning=False))))
    newest = back.fold().newest("a")
    assert newest
    assert newest.answer == TEXT
    written = markdown_of([turn], "t", reasoning=False)
    assert "Taken from the reasoning" in written
    assert "**42**" in written
    document = replay_document(turn, reasoning=False)
    assert document["answers"] == {"a": TEXT}
    (shown,) = [part for one in document["frames"] if (part := one["frame"]["lanes"].get("a", {})).get("promoted")]
    assert "<strong>42</strong>" in json.dumps(shown), "with the mark by which the page says where it is from"


def test_promoting_by_keyboard_survives_a_reload(site: ChatSite, visitor: Visitor, page: Page) -> None:
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    site.say(ALL_REASONING, spoken("", "Forty-two."))
    send(page, "What is it?")
    wait_phase(page, "kimi", "no_answer")
    wait_phase(page, "heavy", "no_answer", "error")
    wait_phase(page, "qwen", "done")
    second = visitor.open(f"?{page.url.partition('?')[2]}")
    wait_phase(second, "kimi", "no_answer")
    card = lane(page, "kimi").locator(".card-failure")
    expect(card).to_contain_text("The model put all its text into its reasoning.")
    expect(card).not_to_contain_text("max_tokens")
    card.get_by_role("button", name="Show it as the answer").focus()
    page.keyboard.press("Enter")
    for tab in (page, second):
        expect(lane(tab, "kimi", "answer").locator("strong")).to_have_text("42")
        expect(lane(tab, "kimi").locator(".answer-origin")).to_contain_text("Taken from the reasoning")
        expect(lane(tab, "kimi").locator(".card-failure")).to_have_count(0)
    assert lane(page, "kimi", "answer").locator("[onclick]").count() == 0
    expect(page.locator("[aria-live=polite]").filter(has_text="the reasoning is shown as the answer")).to_have_count(1)
    assert page.evaluate("document.activeElement.closest('[data-lane]').dataset.lane") == "kimi"
    lane(page, "kimi").get_by_role("button", name="Copy answer").click()
    until(lambda: page.evaluate("navigator.clipboard.readText()") == TEXT)
    page.reload()
    expect(lane(page, "kimi", "answer").locator("strong")).to_have_text("42")
    expect(lane(page, "kimi").locator(".answer-origin")).to_be_visible()

    turn = site.turns.get(page.locator(".turn-current [data-turn]").get_attribute("data-turn") or "")
    assert turn is not None
    wanted = {"conversation": turn.conversation_id, "turn": turn.turn_id, "reasoning": False, "days": 1}
    shared = visitor.context.new_page()
    shared.goto(site.url + page.request.post(f"{site.url}/kimi/shares", data=wanted).json()["path"])
    expect(lane(shared, "kimi", "answer").locator("strong")).to_have_text("42")
    expect(lane(shared, "kimi").locator(".answer-origin")).to_be_visible()
    expect(lane(shared, "kimi").locator(".reasoning")).to_be_hidden()
    shared.close()

    site.say(spoken())
    send(page, "And then?")
    wait_phase(page, "kimi", "done")
    assert any(Message("assistant", TEXT) in request.messages for request in site.kimi.requests)
    expect(page.locator(".turns-past .answer-origin:visible")).to_have_count(1)


def test_a_lane_without_reasoning_offers_none_to_promote(site: ChatSite, page: Page) -> None:
    site.say([Phase(CONNECTED), Flag("refusal", "No."), Finish("stop")], spoken())
    send(page, "?")
    wait_phase(page, "kimi", "no_answer")
    expect(lane(page, "kimi").locator(".card-failure")).not_to_contain_text("Look at its reasoning")
    expect(lane(page, "kimi").get_by_role("button", name="Show it as the answer")).to_have_count(0)
