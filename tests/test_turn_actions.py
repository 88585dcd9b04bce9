"""Actions on a turn in real Chromium: retry, attempts, edit, versions, copy, new conversation; and shortcuts."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from kimi_ui.core.events import Answer, Failure, Finish, Reasoning
from kimi_ui.providers.base import ProviderError
from tests.support.browser import Visitor, WarmContext, lane, send, wait_phase
from tests.support.chat_site import ChatSite, answered, ask, attach, endless, spoken
from tests.support.waiting import until


@pytest.fixture
def visitor(visitor: Visitor) -> Visitor:
    """A visitor who lets the page use the clipboard."""
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return visitor


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def shown(page: Page, lane_id: str) -> Locator:
    """The visible lane: the lane itself, or an earlier attempt in its place."""
    return page.locator(f'.turn-current :is([data-lane="{lane_id}"], [data-past-lane="{lane_id}"]):visible')


def prompts(page: Page) -> list[str]:
    return page.locator(".prompt-text").all_inner_texts()


def leave_the_field(page: Page) -> None:
    page.evaluate("document.activeElement.blur()")


def test_a_lane_is_retried_and_the_earlier_attempt_can_still_be_shown(
    site: ChatSite, visitor: Visitor, page: Page
) -> None:
    site.say(spoken(), spoken("", "First try."))
    ask(page)
    second = visitor.open(f"?{page.url.partition('?')[2]}")
    wait_phase(second, "qwen", "done")
    expect(page.locator(".attempts:visible")).to_have_count(0)
    site.say(spoken(), spoken("", "Second try."))
    lane(page, "qwen").get_by_role("button", name="Ask Qwen3-Coder again").click()
    for tab in (page, second):
        expect(lane(tab, "qwen", "answer")).to_have_text("Second try.")
        wait_phase(tab, "qwen", "done")
        expect(lane(tab, "qwen").locator(".attempts")).to_contain_text("Attempt 2 of 2")
    expect(lane(page, "kimi", "answer")).to_contain_text("Rayleigh")
    assert len(site.qwen.requests) == 2
    assert site.qwen.requests[0] == site.qwen.requests[1]

    page.get_by_role("button", name="Earlier attempt").click()
    earlier = shown(page, "qwen")
    expect(earlier.locator("[data-part=answer]")).to_have_text("First try.")
    expect(earlier.locator(".attempts")).to_contain_text("Attempt 1 of 2")
    expect(earlier.get_by_role("button", name="Ask Qwen3-Coder again")).to_be_hidden()
    earlier.get_by_role("button", name="Copy answer").click()
    until(lambda: clipboard(page) == "First try.")
    earlier.get_by_role("button", name="Later attempt").click()
    expect(shown(page, "qwen").locator("[data-part=answer]")).to_have_text("Second try.")
    expect(page.locator(".lane.earlier")).to_have_count(0)

    page.reload()
    expect(lane(page, "qwen").locator(".attempts")).to_contain_text("Attempt 2 of 2")
    ask(page, "And then?")  # the newest attempt is part of the lane's history
    assert site.qwen.requests[-1].messages[1].content == "Second try."


def test_failed_attempts_can_be_shown_too(site: ChatSite, page: Page) -> None:
    busy = ProviderError(Failure("capacity", "All busy.", "Wait."), retryable=True, retry_after_s=0.05)
    site.qwen.scripts = [[busy], spoken("", "At last.")]
    site.qwen.requests.clear()
    ask(page)
    expect(lane(page, "qwen").locator(".attempts")).to_contain_text("Attempt 2 of 2")
    page.get_by_role("button", name="Earlier attempt").click()
    failed = shown(page, "qwen")
    expect(failed.locator(".card-failure")).to_contain_text("All busy.")
    expect(failed).to_have_attribute("data-phase", "error")


def test_an_edited_prompt_begins_a_branch_and_both_can_be_shown(site: ChatSite, page: Page) -> None:
    ask(page, "first")
    ask(page, "second")
    page.locator(".turn-prompt", has_text="first").get_by_role("button", name="Edit this prompt").click()
    box = page.locator("#prompt textarea")
    expect(box).to_have_value("first")
    expect(page.locator("#edit-banner")).to_be_visible()
    box.fill("first, but better")
    before = page.locator(".turn-current [data-turn]").get_attribute("data-turn")
    box.press("Enter")
    answered(page, before)
    assert prompts(page) == ["first, but better"]
    expect(page.locator("#edit-banner")).to_be_hidden()
    page.go_back()
    expect(page.locator(".prompt-text")).to_have_text(["first", "second"])
    page.go_forward()
    expect(page.locator(".prompt-text")).to_have_text(["first, but better"])
    assert [message.content for message in site.qwen.requests[-1].messages] == ["first, but better"]
    versions = page.locator(".prompt-versions")
    expect(versions).to_contain_text("2/2")
    page.get_by_role("button", name="Earlier version of this prompt").click()
    expect(page.locator(".prompt-text")).to_have_text(["first", "second"])
    expect(versions.first).to_contain_text("1/2")
    page.get_by_role("button", name="Later version of this prompt").click()
    expect(page.locator(".prompt-text")).to_have_text(["first, but better"])
    ask(page, "third")
    assert [message.content for message in site.qwen.requests[-1].messages if message.role == "user"] == [
        "first, but better",
        "third",
    ]
    page.reload()
    expect(page.locator(".prompt-text")).to_have_text(["first, but better", "third"])
    expect(page.locator(".prompt-versions").first).to_contain_text("2/2")
    page.go_back()
    expect(page.locator(".prompt-text")).to_have_text(["first", "second"])


def test_an_edit_does_not_wait_for_the_running_turn(site: ChatSite, page: Page) -> None:
    ask(page, "first")
    site.say(endless())
    send(page, "second")
    wait_phase(page, "kimi", "thinking")
    left = page.locator(".turn-current [data-turn]").get_attribute("data-turn")
    page.locator(".turn-current .prompt-edit").click()
    expect(page.locator("#prompt textarea")).to_have_value("second")
    site.say(spoken())
    page.locator("#prompt textarea").fill("second, but better")
    page.keyboard.press("Enter")
    answered(page, left)
    assert prompts(page) == ["first", "second, but better"]
    assert [message.content for message in site.qwen.requests[-1].messages if message.role == "user"] == prompts(page)
    until(lambda: [turn.turn_id for turn in site.turns.live()] == [left])  # it closes after its ends are shown
    running = page.locator(".history-item[data-running]")
    expect(running).to_have_count(1)
    site.engine.stop(left or "")
    expect(running).to_have_count(0)


def test_enter_before_the_prompt_to_edit_has_loaded_sends_it_once_it_has(site: ChatSite, page: Page) -> None:
    first = ask(page, "first")
    held: list[Route] = []
    page.route("**/kimi/turns/*/edit", lambda route: held.append(route))
    page.locator(".prompt-edit").click()
    for _ in range(2):
        page.locator("#prompt textarea").press("Enter")
    assert len(site.qwen.requests) == 1
    until(lambda: page.evaluate("1") and held)
    held[0].continue_()
    answered(page, first)
    assert prompts(page) == ["first"]
    assert [len(request.messages) for request in site.qwen.requests] == [1, 1]


def test_enter_sends_nothing_if_the_prompt_to_edit_fails_to_load(site: ChatSite, visitor: Visitor, page: Page) -> None:
    ask(page, "first")
    held: list[Route] = []
    page.route("**/kimi/turns/*/edit", lambda route: held.append(route))
    page.locator(".prompt-edit").click()
    box = page.locator("#prompt textarea")
    box.fill("half a thought")
    box.press("Enter")
    until(lambda: page.evaluate("1") and held)
    held[0].fulfill(status=404, json={"error": "There is no such turn any more."})
    expect(page.locator(".composer-note")).to_have_text("There is no such turn any more.")
    expect(box).to_have_value("half a thought")
    assert len(site.qwen.requests) == 1
    assert [problem for problem in visitor.problems if "404" not in problem] == []
    visitor.problems.clear()


def test_editing_a_later_prompt_keeps_the_turns_before_it_and_its_attachments(site: ChatSite, page: Page) -> None:
    ask(page, "first")
    attach(page, "notes.txt", b"some notes")
    ask(page, "second")
    page.locator(".prompt-edit").last.click()
    expect(page.locator(".attachment")).to_contain_text("notes.txt")
    before = page.locator(".turn-current [data-turn]").get_attribute("data-turn")
    page.locator("#prompt textarea").fill("second, edited")
    page.locator("#send").click()
    answered(page, before)
    expect(page.locator(".prompt-text")).to_have_text(["first", "second, edited"])
    request = site.qwen.requests[-1]
    assert "some notes" in request.messages[-1].content
    assert request.messages[-1].content.endswith("second, edited")
    assert request.messages[0].content == "first"
    assert len(request.messages) == 3


def test_cancelling_an_edit_restores_the_unsent_text(site: ChatSite, page: Page) -> None:
    ask(page, "first")
    box = page.locator("#prompt textarea")
    box.fill("half a thought")
    page.locator(".prompt-edit").click()
    expect(box).to_have_value("first")
    box.press("Escape")
    expect(box).to_have_value("half a thought")
    expect(page.locator("#edit-banner")).to_be_hidden()
    ask(page, "on")
    assert len(site.qwen.requests[-1].messages) == 3  # the same conversation continues


def test_prompts_are_copied_whole_and_a_new_conversation_begins_empty(site: ChatSite, page: Page) -> None:
    attach(page, "notes.txt", b"some notes")
    first = ask(page, "copy me")
    page.get_by_role("button", name="Copy prompt").click()
    until(lambda: clipboard(page).endswith("copy me") and "some notes" in clipboard(page))
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".start")).to_be_visible()
    expect(page.locator(".turn-prompt")).to_have_count(0)
    second = ask(page, "fresh")
    turns = [site.turns.get(turn_id) for turn_id in (first, second)]
    assert turns[0]
    assert turns[1]
    assert turns[0].conversation_id != turns[1].conversation_id
    assert len(site.qwen.requests[-1].messages) == 1
    page.go_back()
    expect(page.locator(".prompt-text")).to_have_text(["copy me"])


def test_number_keys_widen_a_lane_and_narrow_it_again(site: ChatSite, page: Page) -> None:
    site.say([Reasoning("A line of the trace.\n" * 80), *endless()], endless(Answer))
    send(page)
    wait_phase(page, "kimi", "thinking")
    leave_the_field(page)
    whole = lane(page, "kimi").bounding_box()
    page.keyboard.press("1")
    strip = lane(page, "qwen")
    expect(strip).to_have_class("lane strip")
    focused, narrow = lane(page, "kimi").bounding_box(), strip.bounding_box()
    assert whole
    assert focused
    assert narrow
    assert focused["width"] > 2.9 * whole["width"], "the whole width"
    assert focused["height"] > whole["height"], "and the height of the prompt, the race and the vote"
    assert narrow["height"] < 40
    expect(lane(page, "qwen", "status")).to_contain_text("Answering")
    for part in ("[data-part=answer]", ".steps", ".reasoning-head", "[data-part=metrics]", ".lane-stop"):
        expect(strip.locator(part)).to_be_hidden()
    scrolls = """lane => [...lane.querySelectorAll("*")].filter(one => one.checkVisibility()
        && one.scrollHeight > one.clientHeight + 1 && ["auto", "scroll"].includes(getComputedStyle(one).overflowY))
        .map(one => one.classList[0])"""
    until(lambda: lane(page, "kimi").evaluate(scrolls) == ["lane-body"])
    at_end = "body => body.scrollTop > 0 && body.scrollHeight - body.scrollTop - body.clientHeight < 30"
    until(lambda: lane(page, "kimi").locator(".lane-body").evaluate(at_end))  # it follows the trace
    page.keyboard.press("3")
    expect(lane(page, "qwen", "answer")).to_be_visible()
    expect(lane(page, "kimi")).to_have_class("lane strip")
    page.keyboard.press("3")
    expect(page.locator(".strip")).to_have_count(0)
    wide = lane(page, "kimi").get_by_role("button", name="Give Kimi K2 the whole width")
    wide.click()
    expect(wide).to_have_attribute("aria-pressed", "true")
    lane(page, "heavy").click()  # a click on a strip widens it
    expect(lane(page, "heavy")).to_have_class("lane focused")
    leave_the_field(page)
    page.keyboard.press("Escape")
    expect(page.locator(".strip")).to_have_count(0)
    assert site.turns.live(), "Esc closed the focus first"
    page.keyboard.press("Escape")
    wait_phase(page, "kimi", "stopped")
    wait_phase(page, "qwen", "stopped")


def test_t_toggles_thinking_and_s_stops_the_lane_in_focus_alone(site: ChatSite, page: Page) -> None:
    site.say(endless(), endless(Answer))
    send(page)
    wait_phase(page, "kimi", "thinking")
    wait_phase(page, "qwen", "answering")
    leave_the_field(page)
    toggle = lane(page, "kimi", "reasoning").locator(".reasoning-toggle")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("t")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("t")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    leave_the_field(page)
    stops: list[str] = []
    page.on("request", lambda request: stops.append(request.url) if request.url.endswith("/stop") else None)
    page.keyboard.press("s")  # without a lane in focus a stray letter stops nothing
    page.keyboard.press("3")
    page.keyboard.press("s")
    wait_phase(page, "qwen", "stopped")
    assert [url.split("/")[-2] for url in stops] == ["qwen"]
    expect(lane(page, "kimi")).to_have_attribute("data-phase", "thinking")


def test_while_typing_only_escape_is_a_shortcut(site: ChatSite, page: Page) -> None:
    site.say(endless())
    send(page)
    wait_phase(page, "kimi", "thinking")
    page.locator("#prompt textarea").click()
    page.keyboard.type("1ts?/r")
    expect(page.locator("#prompt textarea")).to_have_value("1ts?/r")
    expect(page.locator(".strip, dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    wait_phase(page, "kimi", "stopped")
    expect(page.locator("#prompt textarea")).to_have_value("1ts?/r")


def test_a_turn_of_the_command_line_can_be_stopped_and_edited_into_ones_own(
    site: ChatSite, visitor: Visitor, page: Page
) -> None:
    site.say(endless(), endless(Answer))
    turn = site.engine.send("From a terminal")
    page.goto(f"{site.url}/?turn={turn.turn_id}")
    wait_phase(page, "kimi", "thinking")
    page.keyboard.press("Escape")
    for lane_id in ("kimi", "heavy", "qwen"):
        wait_phase(page, lane_id, "stopped")

    lane(page, "qwen").get_by_role("button", name="Ask Qwen3-Coder again").click()
    expect(page.locator(".page-notice")).to_contain_text("sent by the command line or a program")
    assert [problem for problem in visitor.problems if "409" not in problem] == []
    visitor.problems.clear()

    site.say(spoken())
    page.get_by_role("button", name="Edit this prompt").click()
    page.locator("#prompt textarea").press("Enter")
    own = site.turns.get(answered(page, turn.turn_id))
    assert own
    assert (own.prompt, own.seq, bool(own.owner)) == ("From a terminal", 0, True)
    assert own.conversation_id != turn.conversation_id


def test_a_key_lists_the_shortcuts_and_another_focuses_the_prompt(page: Page) -> None:
    leave_the_field(page)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_contain_text("Show one lane at full width")
    page.keyboard.press("1")
    expect(page.locator(".strip")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    leave_the_field(page)
    page.keyboard.press("/")
    expect(page.locator("#prompt textarea")).to_be_focused()
    page.locator("#shortcuts").click()
    expect(dialog).to_be_visible()


def test_on_a_narrow_screen_number_keys_show_a_lane(site: ChatSite, warm: WarmContext) -> None:
    visitor = Visitor(warm, site.url, viewport={"width": 390, "height": 844})
    try:
        page = visitor.open()
        ask(page)
        leave_the_field(page)
        page.keyboard.press("3")
        expect(page.locator(".lane-tab", has_text="Qwen3-Coder")).to_have_attribute("aria-selected", "true")
        expect(lane(page, "qwen", "answer")).to_be_in_viewport()
        expect(page.locator(".strip")).to_have_count(0)
    finally:
        visitor.close()
    assert visitor.problems == []


def test_each_state_change_is_announced_once(site: ChatSite, page: Page) -> None:
    page.evaluate(
        """() => { window.said = [];
             const place = document.querySelector("#announcements");
             new MutationObserver(() => window.said.push(place.textContent))
               .observe(place, {childList: true, characterData: true, subtree: true}) }"""
    )
    thought, written = threading.Event(), threading.Event()  # what came before the page shows the turn is not announced
    end = [Answer("So."), written, Finish("stop")]
    site.say([Reasoning("Hm."), thought, *end], end)
    send(page)
    wait_phase(page, "kimi", "thinking")
    thought.set()
    wait_phase(page, "kimi", "answering")
    wait_phase(page, "qwen", "answering")
    written.set()
    ends = ("Kimi K2: Done", "Kimi K2 heavy: Done", "Qwen3-Coder: Done")
    until(lambda: page.wait_for_timeout(50) or all(end in " ".join(page.evaluate("window.said")) for end in ends))
    said = ". ".join(page.evaluate("window.said")).split(". ")
    for what in ("Kimi K2 finished thinking", "Kimi K2: Done", "Kimi K2 heavy: Done", "Qwen3-Coder: Done"):
        assert sum(sentence.startswith(what) for sentence in said) == 1, (what, said)
    expect(page.locator("#announcements")).to_have_attribute("aria-live", "polite")
    for stream in (".reasoning-view", "[data-part=answer]"):
        assert set(page.locator(stream).evaluate_all("all => all.map(one => one.ariaLive)")) == {"off"}
    assert page.locator("[aria-live=polite], [role=status], [role=log]").count() >= 1


def test_leaving_a_conversation_ends_its_edit_and_keeps_its_draft_and_files_for_it(site: ChatSite, page: Page) -> None:
    ask(page, "Alpha")
    alpha = page.url
    page.locator("#new-conversation, .history-new").locator("visible=true").first.click()
    expect(page.locator(".start")).to_be_visible()
    ask(page, "Beta")
    attach(page, "notes.txt", b"some notes")
    page.locator("#prompt textarea").fill("a draft")
    page.locator(".prompt-edit").click()
    expect(page.locator("#prompt textarea")).to_have_value("Beta")
    expect(page.locator(".attachment")).to_have_count(0)

    page.locator(".history-open", has_text="Alpha").click()
    expect(page.locator(".turn-current .prompt-text")).to_have_text("Alpha")
    expect(page.locator("#edit-banner")).to_be_hidden()
    expect(page.locator(".history-open", has_text="Alpha")).to_be_focused()
    expect(page.locator("#prompt textarea")).to_have_value("")
    expect(page.locator(".attachment")).to_have_count(0)
    assert page.url == alpha
    ask(page, "Alpha goes on")
    expect(page.locator(".prompt-text")).to_have_text(["Alpha", "Alpha goes on"])
    held: list[Route] = []
    page.route("**/kimi/turns/*/edit", lambda route: held.append(route))
    page.locator(".turn-current .prompt-edit").click()
    until(lambda: page.evaluate("1") and held)
    page.locator(".history-open", has_text="Beta").click()
    expect(page.locator("#prompt textarea")).to_have_value("a draft")
    with page.expect_event("requestfinished", lambda request: request.url.endswith("/edit")):
        held[0].continue_()
    page.evaluate("fetch('/kimi/state?new=1').then((response) => response.json())")  # the late answer comes before this
    expect(page.locator("#edit-banner")).to_be_hidden()
    expect(page.locator("#prompt textarea")).to_have_value("a draft")
    expect(page.locator(".attachment")).to_contain_text("notes.txt")


def test_t_opens_and_folds_the_reasoning_of_all_lanes(site: ChatSite, page: Page) -> None:
    ask(page)
    leave_the_field(page)
    toggles = page.locator(".turn-current .reasoning-toggle:not([disabled])")
    expect(page.locator('.turn-current .reasoning-toggle[aria-expanded="true"]')).to_have_count(
        0
    )  # it folds one second later
    assert toggles.count() >= 2
    for expected in ("true", "false", "true", "false"):
        page.keyboard.press("t")
        assert set(toggles.evaluate_all("all => all.map((one) => one.ariaExpanded)")) == {expected}


def test_a_conversation_deleted_in_another_tab_says_so(site: ChatSite, visitor: Visitor, page: Page) -> None:
    ask(page, "Soon gone")
    conversation = page.url.partition("c=")[2]
    second = visitor.open()
    second.evaluate(
        """async (id) => {
          await fetch(`/kimi/conversations/${id}`, { method: "DELETE" });
          new BroadcastChannel("kimi").postMessage({ history: true });
        }""",
        conversation,
    )
    expect(page.locator(".page-notice")).to_have_text("The conversation shown here was deleted in another tab.")
    expect(page.locator(".start")).to_be_visible()
    assert "c=" not in page.url
    page.goto(f"{site.url}?c={conversation}")
    expect(page.locator(".page-notice")).to_contain_text("is not here: it was deleted")


def test_a_prompt_that_could_not_be_sent_stays_and_the_page_says_why(
    site: ChatSite, visitor: Visitor, page: Page
) -> None:
    ask(page)
    visitor.context.set_offline(True)
    page.locator("#prompt textarea").fill("Are you there?")
    page.keyboard.press("Enter")
    expect(page.locator(".composer-note")).to_contain_text("the prompt was not sent")
    expect(page.locator("#prompt textarea")).to_have_value("Are you there?")
    visitor.context.set_offline(False)
    page.evaluate(
        "fetch('./kimi/state').then((response) => response.status)"
    )  # all earlier requests have failed by now
    visitor.problems.clear()  # the console reports the failed requests


def test_a_focused_page_shows_the_current_lanes(site: ChatSite, page: Page) -> None:
    label = page.locator('.turn-current [data-lane="qwen"] h2')
    expect(label).to_have_text("Qwen3-Coder")
    before = site.qwen.spec
    try:
        site.qwen.spec = replace(before, label="Qwen, renamed")
        page.evaluate("window.dispatchEvent(new Event('focus'))")
        expect(label).to_have_text("Qwen, renamed")
    finally:
        site.qwen.spec = before
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(label).to_have_text("Qwen3-Coder")
