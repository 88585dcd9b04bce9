"""Going on with a cut answer: what is sent, what the new attempt holds, that its figures are its own, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kimi_ui.core.events import BY_PREFIX, BY_WORDS, CONTINUED, Answer, Failure, Finish, Flag, Reasoning, Usage
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.portable import export_turns, import_turns
from kimi_ui.engine import NotCut
from kimi_ui.providers.base import GO_ON, ChatRequest, Message
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from kimi_ui.tokenizers import counter
from kimi_ui.view.attempt_view import MARK, marked
from tests.support.browser import lane, send, wait_phase
from tests.support.chat_site import ChatSite, spoken
from tests.support.engine_run import running
from tests.support.scripted import ScriptedProvider
from tests.support.waiting import ended

CUT = [Reasoning("Hm."), Answer("One two"), Finish("length"), Usage(output_tokens=3)]
REST = [
    Flag(CONTINUED, BY_PREFIX),
    0.01,
    Answer(" three"),
    0.3,
    Answer(" four."),
    Finish("stop"),
    Usage(output_tokens=2),
]


def provider(*scripts: list[Any], id: str = "a") -> ScriptedProvider:
    return ScriptedProvider(LaneSpec(id, id.upper(), "openai", model="m"), scripts)


def test_a_cut_answer_is_gone_on_with_and_the_figures_are_of_the_continuation(tmp_path: Path) -> None:
    one = provider(CUT, REST)
    with running(tmp_path / "log.sqlite3", one) as run:
        turn = run.engine.send("Count.")
        ended(turn)
        run.engine.go_on(turn.turn_id, "a")
        fold = run.folds(turn)["a"]
        first, second = run.rows(turn)["a"]
        with pytest.raises(NotCut):
            run.engine.go_on(turn.turn_id, "a")
        stored = run.reader.turn(turn.turn_id)
        columns = "SELECT answer, continues FROM attempts WHERE attempt_id = :id"
        assert run.reader.rows(columns, id=second["attempt_id"]) == [("One two three four.", first["attempt_id"])]
        assert [one[2] for one in run.turns.history(turn.conversation_id, "a")] == ["One two three four."]
    assert (fold.answer, fold.written_answer, fold.status) == ("One two three four.", " three four.", "ok")
    assert one.requests[1].continues
    assert one.requests[1].messages[-1] == Message("assistant", "One two")
    assert second["output_tokens"] == 2
    assert 10 <= second["ttft_ms"] <= second["e2e_ms"] - 299  # from its own request to its first text
    assert fold.text_sum.tolist() == [6, 12]
    assert stored is not None
    for read in (stored, import_turns(export_turns([turn], "t", counter))[0]):
        whole = read.fold().newest("a")
        assert whole is not None
        assert whole.answer == "One two three four."


def test_a_heavy_lane_goes_on_with_one_request(tmp_path: Path) -> None:
    inner = provider([Answer("The answer is 4."), Finish("stop")], id="inner")
    heavy = HeavyProvider(
        HeavyLane("heavy", "Heavy", "heavy", of="inner", width=2, quorum=2, skip_unanimous=False), inner
    )
    with running(tmp_path / "log.sqlite3", inner, heavy) as run:
        inner.scripts = [*[[Answer("It is 4."), Finish("stop")]] * 2, CUT, REST]
        turn = run.engine.send("Count.", lanes=["heavy"])
        ended(turn)
        before = len(inner.requests)
        run.engine.go_on(turn.turn_id, "heavy")
        assert run.folds(turn)["heavy"].answer == "One two three four."
    assert len(inner.requests) == before + 1


def test_text_before_the_mark_keeps_its_meaning() -> None:
    assert marked("A word\n") == f"A word{MARK}\n"
    for text in ("```py\ncode\n```", "| a | b |", "**", "", "# "):
        assert marked(text) == text


def test_what_a_server_is_sent(tmp_path: Path) -> None:
    cut = ChatRequest((Message("user", "Count."), Message("assistant", "One")), continues=True)

    def sent(base_url: str) -> list[dict[str, Any]]:
        return OpenAICompatible(LaneSpec("a", "A", "openai", model="m", base_url=base_url))._body(cut)["messages"]

    assert sent("https://api.moonshot.ai/v1")[-1] == {"role": "assistant", "content": "One", "partial": True}
    assert sent("https://llm.chutes.ai/v1")[-2:] == [
        {"role": "assistant", "content": "One"},
        {"role": "user", "content": GO_ON},
    ]


def test_the_page_continues_an_answer_and_marks_where(site: ChatSite, page: Page) -> None:
    words = [Flag(CONTINUED, BY_WORDS), Answer("comes **next**."), Finish("stop")]
    site.kimi.scripts = [spoken()]
    site.qwen.scripts = [[Answer("This is first, and then "), Failure("network", "The connection broke.")], words]
    send(page, "Why?")
    wait_phase(page, "qwen", "incomplete")
    for lane_id in ("kimi", "heavy"):
        wait_phase(page, lane_id, "done")
        expect(lane(page, lane_id).locator(".lane-continue")).to_be_hidden()
    lane(page, "qwen").get_by_role("button", name="continue this answer").click()
    wait_phase(page, "qwen", "done")
    answer = lane(page, "qwen", "answer")
    for _ in range(2):
        expect(answer).to_have_text("This is first, and then comes next.")
        expect(answer.get_by_role("img", name="continued here")).to_have_count(1)
        expect(answer.locator("strong")).to_have_text("next")
        expect(lane(page, "qwen").locator(".notes")).to_contain_text("asked for the rest in words")
        expect(lane(page, "qwen").locator(".lane-continue")).to_be_hidden()
        page.reload()  # from the log
        wait_phase(page, "qwen", "done")
    page.get_by_role("button", name="Earlier attempt").click()
    expect(page.locator(".lane.earlier .answer")).to_have_text("This is first, and then")
