"""The drawer "Settings for this conversation" in real Chromium: its effect on the next request, and on whose."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, Route, expect

from kimi_ui.core.events import Failure
from kimi_ui.providers.base import Message, ProviderError
from tests.support.browser import Visitor, lane, send, wait_phase
from tests.support.chat_site import ChatSite, ask, open_site
from tests.support.waiting import until


def drawer(page: Page) -> Locator:
    """The drawer, opened and filled."""
    page.locator("#settings").click()
    shown = page.get_by_role("dialog", name="Settings for this conversation")
    shown.locator(".lane-settings").nth(2).wait_for()
    return shown


def fields(shown: Locator, label: str) -> Locator:
    return shown.locator("fieldset", has=shown.page.locator("legend", has_text=label)).first


def saved(shown: Locator) -> None:
    expect(shown.locator(".drawer-foot")).to_contain_text("Saved")


def test_system_prompt_and_parameters_reach_the_request_and_stay_with_the_conversation(
    site: ChatSite, visitor: Visitor, page: Page
) -> None:
    shown = drawer(page)
    shown.get_by_label("System prompt").fill("Be brief.")
    qwen = fields(shown, "Qwen3-Coder")
    qwen.get_by_label("Max tokens").fill("500")
    qwen.get_by_label("Temperature").fill("0.3")
    qwen.get_by_label("Temperature").press("Tab")
    saved(shown)
    page.keyboard.press("Escape")
    expect(shown).to_have_count(0)
    expect(page.locator("#settings")).to_have_text("Settings · changed")
    page.reload()  # nothing was sent yet: the settings are stored for the next conversation
    expect(page.locator("#settings")).to_have_text("Settings · changed")
    ask(page)
    request = site.qwen.requests[-1]
    assert request.messages[0] == Message("system", "Be brief.")
    assert request.params == {"max_tokens": 500, "temperature": 0.3}
    assert site.kimi.requests[-1].params == {}
    expect(page.locator("#settings")).to_have_text("Settings · changed")

    second = visitor.open(f"?{page.url.partition('?')[2]}")
    other = drawer(second)
    expect(other.get_by_label("System prompt")).to_have_value("Be brief.")
    expect(fields(other, "Qwen3-Coder").get_by_label("Temperature")).to_have_value("0.3")
    other.get_by_role("button", name="Set everything back").click()
    saved(other)
    expect(second.locator("#settings")).to_have_text("Settings")
    ask(page, "And now?")
    assert site.qwen.requests[-1].messages[0].role == "user"
    assert site.qwen.requests[-1].params == {}

    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#settings")).to_have_text("Settings")


def test_settings_survive_a_restart(browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context()
    try:
        with open_site(tmp_path) as site:
            page = context.new_page()
            page.goto(site.url)
            shown = drawer(page)
            shown.get_by_label("System prompt").fill("Be brief.")
            shown.get_by_label("System prompt").press("Tab")
            saved(shown)
            page.keyboard.press("Escape")
            ask(page)
            query = page.url.partition("?")[2]
        with open_site(tmp_path) as site:
            page.goto(f"{site.url}/?{query}")
            expect(drawer(page).get_by_label("System prompt")).to_have_value("Be brief.")
            page.keyboard.press("Escape")
            ask(page, "Again?")
            assert [message.content for message in site.qwen.requests[-1].messages][:2] == ["Be brief.", "Why?"]
            assert len(site.qwen.requests[-1].messages) == 4
    finally:
        context.close()


def test_a_prompt_in_a_conversation_without_an_owner_begins_a_new_one(site: ChatSite, visitor: Visitor) -> None:
    turn = site.engine.send("From the terminal")
    until(lambda: turn.closed)
    page = visitor.open(f"?turn={turn.turn_id}")
    expect(page.locator(".prompt-text")).to_have_text("From the terminal")
    expect(page.locator("#settings")).to_have_text("Settings")
    ask(page, "Mine")
    assert site.turns.get(page.locator(".turn-current [data-turn]").get_attribute("data-turn") or "").seq == 0


def test_a_lane_that_is_off_gets_no_request_and_the_last_one_cannot_be_switched_off(site: ChatSite, page: Page) -> None:
    shown = drawer(page)
    for label in ("Kimi K2 heavy", "Qwen3-Coder"):
        fields(shown, label).get_by_role("switch").uncheck()
        saved(shown)
    fields(shown, "Kimi K2").get_by_role("switch").click()
    expect(shown.get_by_role("alert")).to_have_text("At least one lane has to take part, so this one stays on.")
    expect(fields(shown, "Kimi K2").get_by_role("switch")).to_be_checked()
    for _ in range(2):
        fields(shown, "Qwen3-Coder").get_by_role("switch").click()
        saved(shown)
        expect(shown.get_by_role("alert")).to_have_count(0)
    shown.get_by_role("button", name="Close settings").click()
    expect(page.locator("#settings")).to_have_text("Settings · 1 of 3 lanes")
    send(page)
    wait_phase(page, "kimi", "done")
    expect(page.locator("[data-lane]")).to_have_count(1)
    assert site.qwen.requests == []
    assert len(site.kimi.requests) == 1


def test_a_model_is_chosen_from_the_providers_own_list(site: ChatSite, page: Page) -> None:
    site.qwen.listed = [f"model-{i}" for i in range(300)] + ["qwen3-coder:480b", "qwen3-coder:30b"]
    shown = drawer(page)
    qwen = fields(shown, "Qwen3-Coder")
    toggle = qwen.get_by_label("Model", exact=True)
    expect(toggle).to_have_text("qwen3-coder:30b (as configured)")
    toggle.click()
    expect(qwen.locator(".model-list button")).to_have_count(100)
    expect(qwen.locator(".model-panel")).to_contain_text("202 more: search to find them.")
    qwen.get_by_role("searchbox").fill("coder 480")
    expect(qwen.locator(".model-list button")).to_have_text(["qwen3-coder:480b"])
    qwen.get_by_role("searchbox").press("Enter")
    expect(toggle).to_have_text("qwen3-coder:480b")
    saved(shown)
    page.keyboard.press("Escape")
    expect(lane(page, "qwen").locator(".lane-next")).to_have_text("→ qwen3-coder:480b")
    ask(page)
    assert site.qwen.requests[-1].model == "qwen3-coder:480b"
    assert site.kimi.requests[-1].model == ""
    expect(lane(page, "qwen").locator(".lane-model")).to_have_text("qwen3-coder:480b")
    turn = site.turns.get(page.locator("[data-turn]").last.get_attribute("data-turn") or "")
    assert turn is not None
    assert turn.lanes[2].chosen_model == "qwen3-coder:480b"

    shown = drawer(page)
    qwen = fields(shown, "Qwen3-Coder")

    def choose(model: str) -> None:
        qwen.get_by_label("Model", exact=True).click()
        qwen.get_by_role("searchbox").fill(model)
        expect(qwen.locator(".model-list button")).to_have_text([model])
        qwen.get_by_role("searchbox").press("Enter")
        saved(shown)

    late: list[Route] = []
    page.route("**/kimi/state?*", lambda route: late.append(route), times=1)
    with page.expect_request("**/kimi/state?*"):
        choose("model-298")
    until(lambda: page.evaluate("true") and late)
    after_the_first = late[0].fetch()
    choose("model-299")
    expect(lane(page, "qwen").locator(".lane-next")).to_have_text("→ model-299")
    with page.expect_event("requestfinished", lambda request: request == late[0].request):
        late[0].fulfill(response=after_the_first)
    page.evaluate("new Promise((done) => setTimeout(done))")
    expect(lane(page, "qwen").locator(".lane-next")).to_have_text("→ model-299")


def test_a_failed_model_list_says_why(site: ChatSite, visitor: Visitor, page: Page) -> None:
    site.kimi.listed = ProviderError(Failure("auth", "The key was refused.", "Check CHUTES_API_KEY."))
    kimi = fields(drawer(page), "Kimi K2")
    kimi.get_by_label("Model", exact=True).click()
    expect(kimi.locator(".model-panel")).to_contain_text("The key was refused. Check CHUTES_API_KEY.")
    visitor.problems.clear()


def test_a_temperature_the_model_refuses_cannot_be_set(site: ChatSite, page: Page) -> None:
    site.kimi.listed = ["kimi-k2.6", "kimi-k2-thinking"]
    shown = drawer(page)
    kimi = fields(shown, "Kimi K2")
    temperature = kimi.get_by_label("Temperature")
    expect(temperature).to_be_enabled()
    temperature.fill("0.5")
    temperature.press("Tab")
    saved(shown)
    kimi.get_by_label("Model", exact=True).click()
    kimi.get_by_role("button", name="kimi-k2.6").click()
    expect(temperature).to_be_disabled()
    expect(kimi).to_contain_text("Kimi K2.5 and later accept only temperature 1")
    page.keyboard.press("Escape")
    ask(page)
    assert site.kimi.requests[-1].params == {}
    assert {request.model for request in site.kimi.requests} == {
        "",
        "kimi-k2.6",
    }


def test_an_invalid_number_is_refused_and_stays_in_its_field(site: ChatSite, visitor: Visitor, page: Page) -> None:
    shown = drawer(page)
    field = fields(shown, "Qwen3-Coder").get_by_label("Max tokens")
    field.fill("-5")
    field.press("Tab")
    expect(shown.get_by_role("alert")).to_contain_text("max_tokens is a whole number from 1")
    expect(field).to_have_value("-5")
    visitor.problems.clear()


def test_earlier_reasoning_is_sent_back_only_where_it_is_switched_on(site: ChatSite, page: Page) -> None:
    ask(page)
    shown = drawer(page)
    fields(shown, "Qwen3-Coder").get_by_label("Send its earlier reasoning back").check()
    saved(shown)
    page.keyboard.press("Escape")
    ask(page, "And?")
    assert site.qwen.requests[-1].messages[1].reasoning == "Let me think."
    assert {message.reasoning for request in site.kimi.requests for message in request.messages} == {""}
    expect(lane(page, "qwen", "reasoning").locator(".reasoning-foot")).to_contain_text("Sent back to the model")
    expect(lane(page, "kimi", "reasoning").locator(".reasoning-foot")).to_contain_text("Not sent back")


def test_a_fork_keeps_the_settings(site: ChatSite, page: Page) -> None:
    ask(page)
    shown = drawer(page)
    shown.get_by_label("System prompt").fill("Rhyme.")
    shown.get_by_label("System prompt").press("Tab")
    saved(shown)
    page.keyboard.press("Escape")
    page.locator(".prompt-edit").last.click()
    expect(page.locator("#prompt textarea")).to_have_value("Why?")
    n_requests = len(site.qwen.requests)
    page.locator("#send").click()
    until(lambda: len(site.qwen.requests) > n_requests)
    assert site.qwen.requests[-1].messages[0] == Message("system", "Rhyme.")
    page.locator(".prompt-versions").wait_for()
    expect(drawer(page).get_by_label("System prompt")).to_have_value("Rhyme.")


def test_how_heavy_runs_is_a_setting(site: ChatSite, page: Page) -> None:
    shown = drawer(page)
    heavy = fields(shown, "Kimi K2 heavy")
    late: list[Route] = []
    page.route("**/kimi/settings?*", lambda route: late.append(route), times=1)  # the first change arrives late
    heavy.get_by_role("spinbutton", name="Trajectories").fill("2")
    heavy.get_by_role("spinbutton", name="Enough answers").fill("1")
    heavy.get_by_role("spinbutton", name="At a time").fill("1")
    heavy.get_by_label("Aggregate although all agree").select_option("false")
    prompts = heavy.get_by_label("Prompt of the aggregation")
    prompts.select_option("synthesize-brief")
    expect(heavy.get_by_label("Strategy")).to_have_value("")
    heavy.get_by_label("Strategy").select_option("pick")
    expect(prompts).to_have_value("")  # each strategy has its own
    heavy.get_by_label("Strategy").select_option("majority")
    expect(prompts).to_be_hidden()
    until(lambda: page.evaluate("true") and late)
    late[0].continue_()
    saved(shown)
    expect(fields(shown, "Qwen3-Coder").get_by_label("Strategy")).to_have_count(0)
    page.keyboard.press("Escape")
    turn = site.turns.get(ask(page))
    assert turn is not None
    tally = turn.fold().folds[turn.fold().current("heavy") or ""].tally
    assert tally is not None
    assert (tally.strategy, tally.preset, tally.launched) == ("majority", "full", 2)
    chosen = {"strategy": "majority", "width": 2, "quorum": 1, "concurrency": 1, "skip_unanimous": False}
    assert [info.heavy for info in turn.lanes if info.of] == [chosen]
