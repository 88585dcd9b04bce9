"""One lane's answer as the history of all lanes: what each is sent, then and later, from the log too; and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from kimi_ui.chat.prompts import Busy, Prompt
from kimi_ui.chat.services import ChatServices
from kimi_ui.core.events import Answer, Finish, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.portable import export_turns, import_turns
from kimi_ui.core.turn import TurnLog, stretches
from kimi_ui.providers.base import ChatRequest
from kimi_ui.tokenizers import counter
from kimi_ui.turns import Turns
from kimi_ui.view.export_markdown import markdown_of
from tests.support.browser import lane
from tests.support.chat_site import ChatSite, answered, ask
from tests.support.engine_run import running
from tests.support.scripted import ScriptedProvider
from tests.support.waiting import ended

ME = "m" * 32


def test_the_stretches_of_a_history() -> None:
    assert stretches("a", 5, {}) == [("a", 0, 5)]
    assert stretches("a", 5, {}, "b") == [("b", 0, 5)]
    assert stretches("a", 5, {3: "b", 1: "c", 7: "d"}) == [("a", 3, 5), ("b", 1, 3), ("c", 0, 1)]
    assert stretches("a", 3, {3: "b"}) == [("a", 0, 3)], "what a turn itself goes on from is not in its history's bases"


def said(request: ChatRequest) -> list[str]:
    return [message.content for message in request.messages]


def provider(name: str) -> ScriptedProvider:
    def answer(request: ChatRequest) -> list[object]:
        return [Reasoning(f"{name} thinks"), Answer(f"{name}: {request.messages[-1].content}"), Finish("stop")]

    spec = LaneSpec(name, name.upper(), "openai", model=name, send_reasoning=True)
    return ScriptedProvider(spec, [answer])


def test_all_lanes_go_on_from_one_lanes_answer_and_from_their_own_again(tmp_path: Path) -> None:
    a, b = provider("a"), provider("b")
    with running(tmp_path / "log.sqlite3", a, b) as run:
        chat = ChatServices(run.engine, run.turns)
        sent: list[TurnLog] = []
        for text, basis in (("One", ""), ("Two", "b"), ("Three", "")):
            conversation = sent[0].conversation_id if sent else ""
            sent.append(chat.prompts.send(Prompt(text, conversation, basis=basis), ME))
            ended(sent[-1])
        assert said(a.requests[1]) == said(b.requests[1]) == ["One", "b: One", "Two"]
        assert said(a.requests[2]) == ["One", "b: One", "Two", "a: Two", "Three"]
        assert [message.reasoning for message in a.requests[2].messages] == ["", "", "", "a thinks", ""]
        assert [message.reasoning for message in b.requests[1].messages] == ["", "b thinks", ""]
        assert said(b.requests[2]) == ["One", "b: One", "Two", "b: Two", "Three"]

        run.engine.retry(sent[1].turn_id, "a", owner=ME)
        ended(sent[1])
        assert said(a.requests[3]) == said(a.requests[1]), "a retry is sent the same history"
        run.writer.flush().result()
        stored = Turns(run.writer, run.reader)  # nothing in memory
        conversation = sent[0].conversation_id
        assert [one.answer for one in stored.history(conversation, "a")] == ["b: One", "a: Two", "a: Three"]
        assert stored.history(conversation, "a", 1, "b")[0].answer == "b: One"
        turns = stored.conversation(conversation)
        assert [turn.basis for turn in turns] == ["", "b", ""]
        document = json.loads(json.dumps(export_turns(turns, "t", counter)))
        assert [turn.basis for turn in import_turns(document)] == ["", "b", ""]
        del document["turns"][1]["basis"]  # of an earlier version
        assert [turn.basis for turn in import_turns(document)] == ["", "", ""]
        assert "*Every lane goes on from the history of B.*" in markdown_of(turns, "t")
        with pytest.raises(Busy):
            chat.prompts.send(Prompt("Four", conversation, basis="nobody"), ME)


def test_the_page_goes_on_with_an_answer_in_all_lanes(site: ChatSite, page: Page) -> None:
    first = ask(page, "First")
    button = lane(page, "kimi").get_by_role("button", name="Go on with this answer in all lanes")
    line = page.locator(".composer-basis")
    button.click()
    expect(line).to_contain_text("goes on from Kimi K2’s answer in all lanes")
    expect(button).to_have_attribute("aria-pressed", "true")
    line.get_by_role("button", name="Let each lane").click()
    expect(line).to_be_hidden()
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    page.reload()
    expect(line).to_contain_text("goes on from Kimi K2’s answer in all lanes")
    expect(button).to_have_attribute("aria-pressed", "true")
    page.locator("#prompt textarea").fill("Second")
    page.keyboard.press("Enter")
    answered(page, first)
    expect(line).to_be_hidden()
    for _ in range(2):
        expect(page.locator(".turn-current .prompt-basis")).to_have_text("All lanes went on from Kimi K2’s answer.")
        page.reload()
    assert [turn.basis for turn in site.turns.conversation(page.url.partition("c=")[2])] == ["", "kimi"]
