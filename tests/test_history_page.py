"""The sidebar in real Chromium: list, branches, selection, search, undo, drawer; a reopened conversation; two users."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from kimi_ui.core.events import CONNECTED, Answer, Failure, Finish, Phase, Reasoning, Usage
from kimi_ui.log.conversations import list_conversations
from kimi_ui.providers.base import ProviderError
from kimi_ui.web import conversations
from tests.support.browser import Visitor, WarmContext, lane, send, wait_phase
from tests.support.chat_site import LANES, ChatSite, answered, ask, endless, open_site, spoken
from tests.support.hostile_payloads import PAYLOADS
from tests.support.waiting import until

EVIL = "https://evil.example"
HOSTILE = "\n\n".join(PAYLOADS.values()).replace("{evil}", EVIL)


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo is offered until a test takes it or dismisses it, however busy the machine is."""
    monkeypatch.setattr(conversations, "UNDO_S", 600.0)


WATCH_LIST = """() => {  // which entries are put into the list or change in it
  window.touched = new Set();
  const touched = ({ target, addedNodes, removedNodes }) =>
    target.localName === 'ul' ? [...addedNodes, ...removedNodes] : [target.closest('[data-conversation]') ?? target];
  const watch = (changes) => changes.flatMap(touched).forEach((one) => window.touched.add(one.dataset.conversation));
  new MutationObserver(watch).observe(document.querySelector('.history-list'), { childList: true, subtree: true });
}"""


def items(page: Page) -> Locator:
    return page.locator(".history-list .history-item")


def item(page: Page, title: str) -> Locator:
    return items(page).filter(has=page.locator(".history-title", has_text=title))


def begin(page: Page, prompt: str) -> str:
    """Begin a new conversation; returns its id."""
    page.locator(".history-new").click()
    expect(page.locator(".start")).to_be_visible()
    ask(page, prompt)
    item(page, prompt).wait_for()
    return page.evaluate("new URL(location.href).searchParams.get('c')")


def search(page: Page, text: str) -> Locator:
    page.locator(".history-search").fill(text)
    page.locator(".history-results").wait_for(state="attached")
    return page.locator(".history-results .history-item")


def menu(page: Page, title: str, action: str) -> None:
    item(page, title).locator(".history-row").hover()
    item(page, title).locator(".history-menu").click()
    item(page, title).get_by_role("button", name=action, exact=True).click()


def test_conversations_are_listed_newest_first_and_open_where_they_were_left(page: Page) -> None:
    expect(page.locator(".history-note")).to_have_text("Your conversations appear here.")
    first = begin(page, "About apples")
    begin(page, "About pears")
    expect(items(page)).to_have_count(2)
    expect(items(page).locator(".history-title")).to_have_text(["About pears", "About apples"])
    expect(item(page, "About pears").locator(".history-open")).to_have_attribute("aria-current", "page")
    item(page, "About apples").locator(".history-open").click()
    expect(page.locator(".turn-current .prompt-text")).to_have_text("About apples")
    wait_phase(page, "kimi", "done")
    expect(item(page, "About apples").locator(".history-open")).to_have_attribute("aria-current", "page")
    assert f"c={first}" in page.url
    page.evaluate(WATCH_LIST)
    ask(page, "And their pips?")
    expect(items(page).locator(".history-title")).to_have_text(["About apples", "About pears"])
    assert page.evaluate("[...window.touched]") == [first]  # the rest of the list was not touched
    expect(item(page, "About apples").locator(".history-meta")).to_contain_text("2 turns")
    page.go_back()
    expect(page.locator(".turn-current .prompt-text")).to_have_text("About pears")
    page.reload()
    expect(page.locator(".turn-current .prompt-text")).to_have_text("About pears")
    expect(items(page)).to_have_count(2)


def test_a_running_conversation_is_listed_at_once(site: ChatSite, page: Page) -> None:
    site.say(endless(), endless())
    send(page, "Takes long")
    expect(item(page, "Takes long")).to_have_attribute("data-running", "")
    page.locator("#stop").click()
    for lane_id in LANES:
        wait_phase(page, lane_id, "stopped")
    expect(item(page, "Takes long")).not_to_have_attribute("data-running", "")


def test_search_marks_what_was_found_and_opens_it(site: ChatSite, page: Page) -> None:
    site.say(spoken("The harbour lamp comes to mind.", "A lighthouse."))
    begin(page, "First of the two")
    ask(page, "Second thing")
    site.say(spoken())
    begin(page, "Unrelated")
    found = search(page, "harbour lam")
    expect(found).to_have_count(1)
    expect(found.locator(".history-title")).to_have_text("First of the two")
    expect(found.locator("mark")).to_have_text(["harbour", "lamp"])
    expect(found.locator(".history-meta")).to_contain_text("Reasoning · ")
    found.locator(".history-open").click()
    expect(page.locator(".turn-current .prompt-text")).to_have_text("Second thing")
    expect(page.locator(".turns-past .prompt-text")).to_have_text("First of the two")
    marked = "[...(CSS.highlights.get('kimi-found-here') ?? [])].map(range => range.toString())"
    until(lambda: page.evaluate(marked) == ["harbour"])
    expect(page.locator(".turn-current .find-count:visible")).to_have_text("1 of 1")  # the reasoning is unfolded
    found = search(page, "lighthouse")
    expect(found.locator("mark")).to_have_text(["lighthouse"])
    found.locator(".history-open").click()
    until(lambda: page.evaluate(marked) == ["lighthouse"])
    page.locator(".history-search").fill("zzzz")
    expect(page.locator(".history-scroller > .history-note")).to_have_text("Nothing found.")
    page.locator(".history-search").fill("")
    expect(items(page)).to_have_count(2)


def test_the_list_can_be_used_by_keyboard(page: Page) -> None:
    begin(page, "Alpha")
    begin(page, "Beta")
    page.locator(".history-search").focus()
    page.keyboard.press("ArrowDown")
    expect(item(page, "Beta").locator(".history-open")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(item(page, "Alpha").locator(".history-open")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".turn-current .prompt-text")).to_have_text("Alpha")
    page.keyboard.press("F2")
    page.keyboard.type("Alpha and omega")
    page.keyboard.press("Enter")
    expect(item(page, "Alpha and omega").locator(".history-open")).to_be_focused()
    left: list[Route] = []
    page.route("**/kimi/state?new=1", lambda route: left.append(route), times=1)
    page.keyboard.press("Delete")
    expect(item(page, "Beta").locator(".history-open")).to_be_focused()
    expect(page.locator(".history-undo-text")).to_have_text("Deleted “Alpha and omega”")
    until(lambda: page.evaluate("1") and left)
    page.keyboard.press("Control+z")  # before the page has left the deleted conversation
    expect(item(page, "Alpha and omega").locator(".history-open")).to_be_focused()
    with page.expect_event("requestfinished", lambda request: request.url.endswith("?new=1")):
        left[0].continue_()
    page.evaluate("fetch('/kimi/state?new=1').then((response) => response.json())")
    expect(page.locator(".turn-current .prompt-text")).to_have_text("Alpha")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".history-search")).to_be_focused()


def test_rename_in_place(visitor: Visitor, page: Page) -> None:
    begin(page, "Old name")
    menu(page, "Old name", "Rename")
    field = page.locator(".history-rename")
    expect(field).to_be_focused()
    expect(field).to_have_value("Old name")
    field.fill("Not kept")
    field.press("Escape")
    expect(items(page).locator(".history-title")).to_have_text(["Old name"])
    menu(page, "Old name", "Rename")
    page.locator(".history-rename").fill("  A\u202e new\n name ")
    page.locator("#prompt textarea").focus()  # leaving the field saves the name
    expect(items(page).locator(".history-title")).to_have_text(["A new name"])
    other = visitor.open()
    expect(items(other).locator(".history-title")).to_have_text(["A new name"])
    menu(other, "A new name", "Rename")
    other.locator(".history-rename").fill("")
    other.locator(".history-rename").press("Enter")
    expect(items(other).locator(".history-title")).to_have_text(["Old name"])
    expect(items(page).locator(".history-title")).to_have_text(["Old name"])  # the other tab announced it


def test_a_deletion_can_be_undone_even_after_the_page_was_closed(site: ChatSite, visitor: Visitor, page: Page) -> None:
    begin(page, "To be kept")
    gone = begin(page, "To be deleted")
    looked_for: list[str] = []
    page.on(
        "request", lambda request: looked_for.append(request.url) if f"/kimi/state?c={gone}" in request.url else None
    )
    page.evaluate(
        "() => { window.heard = new Promise(done => new BroadcastChannel('kimi').onmessage = done).then(() => true); }"
    )
    menu(page, "To be deleted", "Delete")
    expect(items(page).locator(".history-title")).to_have_text(["To be kept"])
    expect(page.locator(".start")).to_be_visible()  # it was the shown one
    assert "c=" not in page.url
    assert site.turns.recent(gone) == []
    expect(search(page, "deleted")).to_have_count(0)
    page.locator(".history-search").fill("")
    assert page.evaluate("window.heard")  # the message to the other tabs was sent, and this one ignores it
    expect(page.locator(".page-notice")).to_be_hidden()
    assert looked_for == []
    page.locator(".history-undo").get_by_role("button", name="Undo").click()
    expect(items(page)).to_have_count(2)
    expect(page.locator(".turn-current .prompt-text")).to_have_text("To be deleted")
    expect(page.locator(".history-undo")).to_be_hidden()
    held: list[Route] = []
    page.route("**/kimi/conversations/marks", lambda route: held.append(route), times=1)
    menu(page, "To be deleted", "Delete")
    until(lambda: page.evaluate("1") and held)
    page.locator("#prompt textarea").focus()
    held[0].continue_()
    expect(page.locator(".start")).to_be_visible()
    expect(page.locator("#prompt textarea")).to_be_focused()
    expect(items(page)).to_have_count(1)
    page.close()
    again = visitor.open()
    expect(again.locator(".history-undo-text")).to_have_text("Deleted “To be deleted”")
    assert site.reader.conversation(gone) != []
    with again.expect_response("**/kimi/conversations/erase") as erased:
        again.locator(".history-undo").get_by_role("button", name="Dismiss").click()
    assert erased.value.ok
    expect(again.locator(".history-undo")).to_be_hidden()
    assert site.reader.conversation(gone) == []


def test_branches_are_unfolded_inside_one_entry(site: ChatSite, page: Page) -> None:
    ask(page, "first")
    site.say(spoken(answer="An ibis."))
    second = ask(page, "second")
    page.locator(".turn-current .prompt-edit").click()
    expect(page.locator("#prompt textarea")).to_have_value("second")
    site.say(spoken(answer="A heron."))
    page.locator("#prompt textarea").fill("second, but better")
    page.keyboard.press("Enter")
    answered(page, second)
    branches = page.locator(".history-branch")
    expect(items(page)).to_have_count(1)
    expect(branches.locator(".history-title")).to_have_text(["first", "second, but better"])
    expect(branches.locator(".history-meta").nth(1)).to_contain_text("prompt 2 edited · 2 turns")
    here = page.locator('.history-list .history-open[aria-current="page"]')
    expect(here.locator(".history-title")).to_have_text("second, but better")
    found = search(page, "ibis")
    found.locator(".history-open").click()
    expect(page.locator(".turn-current .prompt-text")).to_have_text("second")
    page.locator(".history-search").fill("")
    expect(here.locator(".history-meta")).to_contain_text("original · 2 turns")
    expect(search(page, "heron").locator(".history-meta")).to_contain_text("branch of first")
    page.locator(".history-search").fill("")
    entry = items(page).locator(".history-open").first
    expect(branches.first).to_be_visible()
    entry.focus()
    page.keyboard.press("ArrowLeft")
    expect(branches.first).to_be_hidden()
    expect(entry).to_have_attribute("aria-current", "true")
    page.keyboard.press("ArrowRight")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-current .prompt-text")).to_have_text("second, but better")
    page.keyboard.press("Delete")  # of the branch alone
    expect(branches).to_have_count(0)
    expect(entry).to_be_focused()
    page.keyboard.press("Control+z")
    expect(branches.locator(".history-title")).to_have_text(["first", "second, but better"])


def test_several_are_selected_pinned_archived_exported_and_deleted(site: ChatSite, page: Page) -> None:
    owner = owner_of_page(site, page)
    for number in range(5):
        site.engine.send(f"Number {number}", owner=owner, lanes=["qwen"])
        until(lambda: not site.turns.live())
    page.reload()
    titles = items(page).locator(".history-title")
    expect(titles).to_have_text([f"Number {number}" for number in (4, 3, 2, 1, 0)])
    menu(page, "Number 1", "Pin")
    expect(titles).to_have_text([f"Number {number}" for number in (1, 4, 3, 2, 0)])
    expect(page.locator(".history-period").first).to_have_text("Pinned")
    expect(item(page, "Number 1").locator(".history-open")).to_be_focused()

    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    expect(page.locator(".history-picked")).to_have_text("2 selected")
    item(page, "Number 0").locator(".history-open").click(modifiers=["Shift"])
    expect(page.locator(".history-picked")).to_have_text("4 selected")
    item(page, "Number 2").locator(".history-check").click()
    expect(page.locator(".history-picked")).to_have_text("3 selected")
    bar = page.locator(".history-selection")
    bar.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        bar.locator('[data-format="md"]').click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = ["kimi-number-4.md", "kimi-number-3.md", "kimi-number-0.md"]
        assert archive.namelist() == names
        assert b"Number 3" in archive.read(names[1])

    bar.get_by_role("button", name="Archive").click()
    expect(titles).to_have_text(["Number 1", "Number 2"])
    expect(bar).to_be_hidden()
    expect(page.locator(".history-undo-text")).to_have_text("Archived “Number 4” and 2 more")
    expect(search(page, "Number 3").locator(".history-meta")).to_contain_text("archived")
    page.locator(".history-search").fill("")
    expect(titles.first).to_be_visible()
    page.locator(".history-undo").get_by_role("button", name="Undo").click()
    expect(titles).to_have_text([f"Number {number}" for number in (1, 4, 3, 2, 0)])

    page.locator(".history-select").click()
    bar.get_by_role("button", name="Select all").click()
    page.keyboard.press("Escape")
    expect(page.locator(".history-check").first).to_be_hidden()
    held: list[Route] = []
    page.route("**/kimi/conversations/marks", lambda route: held.append(route), times=1)
    menu(page, "Number 0", "Archive")
    page.locator(".history-archive").click()  # before the server has answered
    expect(page.locator(".history-scroller > .history-note")).to_have_text("No conversation is archived.")
    until(lambda: page.evaluate("1") and held)
    held[0].continue_()
    expect(titles).to_have_text(["Number 0"])
    menu(page, "Number 0", "Unarchive")
    expect(titles).to_have_count(0)
    expect(page.locator(".history-scroller > .history-note")).to_have_text("No conversation is archived.")
    page.locator(".history-archive").click()
    expect(titles).to_have_count(5)
    page.locator(".history-select").click()
    page.locator(".history-check").first.focus()
    page.keyboard.press("Control+a")
    bar.get_by_role("button", name="Delete").click()
    expect(titles).to_have_count(0)
    expect(page.locator(".history-undo-text")).to_have_text("Deleted “Number 0” and 4 more")
    page.locator(".history-undo").get_by_role("button", name="Undo").click()
    expect(titles).to_have_text([f"Number {number}" for number in (1, 4, 3, 2, 0)])


def test_deleting_a_running_conversation_stops_it(site: ChatSite, page: Page) -> None:
    site.say(endless(), endless())
    send(page, "Runs and runs")
    wait_phase(page, "kimi", "thinking")
    conversation = page.evaluate("new URL(location.href).searchParams.get('c')")
    item(page, "Runs and runs").wait_for()
    menu(page, "Runs and runs", "Delete")
    expect(page.locator(".start")).to_be_visible()
    expect(items(page)).to_have_count(0)
    assert site.turns.live() == []
    assert site.reader.owner_of(conversation) is None


def test_folding_the_sidebar_is_remembered(visitor: Visitor, page: Page) -> None:
    panel, toggle = page.locator(".history"), page.locator(".history-toggle")
    expect(panel).to_be_visible()
    wide = page.locator("#chat-main").bounding_box()
    toggle.click()
    expect(panel).to_be_hidden()
    expect(toggle).to_have_attribute("aria-expanded", "false")
    now = page.locator("#chat-main").bounding_box()
    assert wide
    assert now
    assert now["width"] > wide["width"] + 200
    expect(visitor.open().locator(".history")).to_be_hidden()


@pytest.mark.parametrize("width", [1024, 390])
def test_a_narrow_window_has_a_drawer(warm: WarmContext, site: ChatSite, width: int) -> None:
    visitor = Visitor(warm, site.url, viewport={"width": width, "height": 800})
    page = visitor.open()
    ask(page, "Seen on a phone")
    panel, toggle = page.locator(".history"), page.locator(".history-toggle")
    expect(panel).to_be_hidden()
    toggle.click()
    expect(panel).to_be_visible()
    expect(page.locator(".history-search")).to_be_focused()
    box = panel.bounding_box()
    assert box
    assert box["x"] == 0
    assert box["width"] <= width
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(toggle).to_be_focused()
    toggle.click()
    page.locator(".history-new").click()
    expect(panel).to_be_hidden()
    expect(page.locator(".start")).to_be_visible()
    toggle.click()
    item(page, "Seen on a phone").locator(".history-open").click()
    expect(panel).to_be_hidden()
    expect(page.locator(".turn-current .prompt-text")).to_have_text("Seen on a phone")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visitor.close()
    assert visitor.problems == []


def shown(page: Page) -> dict[str, dict[str, Any]]:
    """Everything visible of the current turn, by lane."""
    return page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".turn-current [data-lane]")].map((lane) => {
          const text = (part) => [...lane.querySelectorAll(part)].map((node) => node.textContent);
          for (const button of lane.querySelectorAll('.trajectory-toggle[aria-expanded="false"]')) button.click();
          return [lane.dataset.lane, {
            phase: lane.dataset.phase, status: text("[data-part=status]"), steps: text("[data-part=steps] .step"),
            reasoning: text(".reasoning-text"), thought: text(".reasoning-title"),
            answer: lane.querySelector("[data-part=answer]").innerHTML, metrics: text("[data-part=metrics] dd"),
            notes: text(".notes"), cards: text(".cards"), board: text(".board"), model: text(".lane-by"),
            folded: [...lane.querySelectorAll(".reasoning-toggle")].map((node) => node.getAttribute("aria-expanded")),
          }];
        }))"""
    )


ANSWER = (
    "# Title\n\nSome *text* with `code`, $x^2$ and\n\n```python\ndef f():\n    return 1\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n"
)
REASONING = (
    "Let me think.\n\n## Plan\n\nFirst this. Wait, let me check that again.\n\n- one\n- two\n\nSo the answer is clear. "
)


def rich(pause: float = 0.004) -> list[Any]:
    parts: list[Any] = [Phase(CONNECTED)]
    for kind, text in ((Reasoning, REASONING), (Answer, ANSWER)):
        parts += [step for start in range(0, len(text), 7) for step in (kind(text[start : start + 7]), pause)]
    usage = Usage(input_tokens=12, output_tokens=90, reasoning_tokens=40)
    return [*parts, Finish("stop"), usage]


def test_a_reopened_conversation_looks_exactly_as_it_did(browser: Browser, tmp_path: Path) -> None:
    """Once live and once from the log alone, as in another process."""
    refused = ProviderError(Failure("auth", "The key was refused.", "Set CHUTES_API_KEY.", "export X=1", "401 no", 401))
    with open_site(tmp_path) as site:
        visitor = Visitor(browser, site.url)
        page = visitor.open()
        site.say(rich(), [Phase(CONNECTED), Answer("Half an ans"), refused])
        send(page, "Say something rich")
        wait_phase(page, "kimi", "done")
        wait_phase(page, "heavy", "done")
        wait_phase(page, "qwen", "error", "incomplete")
        expect(lane(page, "heavy", "status")).to_contain_text("Done")
        # A reasoning folds one second after the first answer token, heavy's own later than Kimi's.
        expect(page.locator('.turn-current .reasoning-toggle[aria-expanded="true"]')).to_have_count(0)
        live = shown(page)
        query = page.url.partition("/?")[2]
    with open_site(tmp_path) as site:
        page.goto(f"{site.url}/?{query}")
        wait_phase(page, "heavy", "done")
        until(lambda: page.locator(".turn-current .board .trajectory").count() == 3)
        expect(lane(page, "qwen", "status")).to_have_text(live["qwen"]["status"][0])
        again = shown(page)
        assert again == live
        assert live["kimi"]["reasoning"] == [REASONING]
        assert "<table>" in live["kimi"]["answer"]
        assert live["qwen"]["cards"][0].startswith("The key was refused.")
        assert "Half an ans" in live["qwen"]["answer"]
        assert [step for step in live["kimi"]["steps"] if "Plan" in step]
    visitor.close()


def test_two_people_never_see_each_others_conversations(browser: Browser, site: ChatSite, page: Page) -> None:
    mine = begin(page, "My private plan")
    stranger = Visitor(browser, site.url)
    theirs = stranger.open(f"?c={mine}")
    expect(theirs.locator(".start")).to_be_visible()
    expect(items(theirs)).to_have_count(0)
    expect(search(theirs, "private")).to_have_count(0)
    turn = site.reader.conversation(mine)[0].turn_id
    api = theirs.context.request
    several, marks = f"/kimi/conversations/export?ids={mine}", "/kimi/conversations/marks"
    for method, path, data in (
        ("get", f"/kimi/conversations/{mine}/export?format=json", None), ("get", several, None),
        ("get", f"/kimi/turns/{turn}/export?format=md", None), ("get", f"/kimi/turns/{turn}/replay", None),
        ("delete", f"/kimi/conversations/{mine}", None),
        *(("post", marks, {"ids": [mine], "mark": mark, "on": on}) for mark in ("pinned", "archived", "deleted")
          for on in (True, False)),
    ):  # fmt: skip
        answer = getattr(api, method)(site.url + path, headers={"Origin": site.url}, data=data)
        assert answer.status == 404, (path, data)
    mine_at_work = page.context.request
    marked = {"ids": [mine], "mark": "deleted", "on": True}
    assert mine_at_work.post(site.url + marks, data=marked, headers={"Origin": site.url}).ok
    erased = api.post(site.url + "/kimi/conversations/erase", data={"ids": [mine]}, headers={"Origin": site.url})
    assert erased.status == 404
    assert api.get(f"{site.url}/kimi/conversations").json()["deleted"] == []
    assert mine_at_work.get(f"{site.url}/kimi/state?c={mine}").json()["turns"] == []
    assert mine_at_work.get(f"{site.url}/kimi/turns/{turn}/replay").status == 404
    assert mine_at_work.post(site.url + marks, data={**marked, "on": False}, headers={"Origin": site.url}).ok
    refused = api.put(
        f"{site.url}/kimi/conversations/{mine}/title", data={"title": "Mine now"}, headers={"Origin": site.url}
    )
    assert refused.status == 404
    assert [head.title for head in list_conversations(site.reader, site.reader.owner_of(mine) or "")] == [
        "My private plan"
    ]
    stranger.close()
    assert [one for one in stranger.problems if "404" not in one] == []


def test_an_address_leads_to_an_earlier_turn(site: ChatSite, page: Page) -> None:
    first, second, third = (ask(page, prompt) for prompt in ("First", "Second", "Third"))
    page.goto(f"{site.url}/?turn={first}")
    expect(page.locator(f'.turns-past [data-turn="{first}"]')).to_be_in_viewport()
    expect(page.locator(f'[data-turn="{first}"] .lane').first).to_have_attribute("data-phase", "done")
    page.goto(f"{site.url}/?turn={second}")
    for turn_id in (second, third):
        expect(page.locator(f'[data-turn="{turn_id}"] .lane').first).to_have_attribute("data-phase", "done")
    page.wait_for_function(
        """id => {
          const row = document.querySelector(`[data-turn="${id}"]`), { parentElement: rows } = row.parentElement;
          const above = row.getBoundingClientRect().top - rows.getBoundingClientRect().top;
          return above < 60 || rows.scrollTop + rows.clientHeight >= rows.scrollHeight - 1;
        }""",
        arg=second,
    )


def test_an_earlier_turn_is_drawn_when_it_comes_near(site: ChatSite, page: Page) -> None:
    site.say(spoken(answer="A paragraph.\n\n" * 40))
    first, _, _, last = (ask(page, prompt) for prompt in ("First", "Second", "Third", "Fourth"))
    page.goto(f"{site.url}/?turn={last}")
    expect(page.locator(".turns-past .turn").last.locator(".lane").first).to_have_attribute("data-phase", "done")
    earliest = page.locator(f'[data-turn="{first}"]')
    expect(earliest.locator(".prompt-text")).to_have_text("First")
    expect(earliest.locator(".lane")).to_have_count(0)
    page.get_by_role("button", name="Give Kimi K2 the whole width").last.click()
    earliest.scroll_into_view_if_needed()
    for place in range(3):
        expect(earliest.locator(".lane").nth(place)).to_have_attribute("data-phase", "done")
    expect(earliest.locator(".lane.focused .lane-name")).to_contain_text("Kimi K2")
    expect(page.locator("[data-lane]")).to_have_count(3)  # of the current turn only


def test_the_conversation_opened_last_is_shown(site: ChatSite, page: Page) -> None:
    first, second = (begin(page, prompt) for prompt in ("First", "Second"))
    begin(page, "Third")
    held: list[Route] = []
    page.route(f"**/kimi/state?c={first}", lambda route: held.append(route))
    item(page, "First").click()
    until(lambda: page.evaluate("1") and held)
    item(page, "Second").click()
    expect(page.locator(".prompt-text")).to_have_text("Second")
    with page.expect_event("requestfinished", lambda request: first in request.url):
        held[0].continue_()
    # The late response is processed before this one.
    page.evaluate("fetch('/kimi/state?new=1').then((response) => response.json())")
    expect(page.locator(".prompt-text")).to_have_text("Second")
    assert f"c={second}" in page.url
    assert site.turns.get(ask(page, "And then?")).conversation_id == second


def test_a_conversation_opened_while_a_prompt_is_being_sent_stays_open(site: ChatSite, page: Page) -> None:
    first = begin(page, "First")
    begin(page, "Second")
    held: list[Route] = []
    page.route("**/kimi/turns", lambda route: held.append(route))
    send(page, "Third")
    until(lambda: page.evaluate("1") and held)
    item(page, "First").click()
    expect(page.locator(".prompt-text")).to_have_text("First")
    with page.expect_event("requestfinished", lambda request: request.url.endswith("/kimi/turns")):
        held[0].continue_()
    page.evaluate("fetch('/kimi/state?new=1').then((response) => response.json())")
    expect(page.locator(".prompt-text")).to_have_text("First")
    assert f"c={first}" in page.url


@pytest.mark.parametrize("late", ["**/kimi/state?*", "**/kimi/conversations"])
def test_a_prompt_sent_while_the_page_still_loads_is_shown(visitor: Visitor, site: ChatSite, late: str) -> None:
    page, held = visitor.tab(), list[Route]()
    page.route(late, lambda route: route.continue_() if held else held.append(route))
    page.goto(site.url)
    page.locator("#attach").wait_for()
    until(lambda: page.evaluate("1") and held)
    send(page, "Early")
    expect(page.locator("#prompt textarea")).to_have_value("")
    held[0].continue_()
    wait_phase(page, "kimi", "done")
    expect(page.locator(".prompt-text")).to_have_text("Early")


def test_an_earlier_turn_that_could_not_be_fetched_says_so_and_is_fetched_again(
    visitor: Visitor, site: ChatSite, page: Page
) -> None:
    first = ask(page, "First")
    last = ask(page, "Second")
    page.route(f"**/kimi/turns/{first}/frame", lambda route: route.abort())
    page.goto(f"{site.url}/?turn={last}")
    earlier = page.locator(f'[data-turn="{first}"]')
    expect(earlier.get_by_role("alert")).to_contain_text("This turn could not be fetched. The server did not answer.")
    page.unroute(f"**/kimi/turns/{first}/frame")
    earlier.get_by_role("button", name="Try again").click()
    expect(earlier.get_by_role("alert")).to_have_count(0)
    expect(earlier.locator(".lane").first).to_have_attribute("data-phase", "done")
    assert [problem for problem in visitor.problems if "net::ERR_FAILED" not in problem] == []
    visitor.problems.clear()


def test_replay_and_export_do_not_reveal_a_blind_turn(site: ChatSite, page: Page) -> None:
    owner = site.turns.get(ask(page, "Who am I?")).owner
    turn = site.engine.send("Blind", owner=owner, blind=True)
    until(lambda: turn.closed)
    api = page.context.request
    refused = api.get(f"{site.url}/kimi/turns/{turn.turn_id}/replay")
    assert refused.status == 409
    assert "vote first" in refused.json()["error"]
    for kind in ("json", "md", "html"):
        text = api.get(f"{site.url}/kimi/turns/{turn.turn_id}/export?format={kind}").text()
        assert "Rayleigh" in text
        assert "Let me think" not in text
        assert not [name for name in ("Kimi K2", "kimi-k2-thinking", "qwen3-coder") if name in text]


def test_another_site_can_neither_rename_nor_delete(visitor: Visitor, site: ChatSite, page: Page) -> None:
    mine = begin(page, "Stays")
    for headers in ({"Origin": EVIL}, {"Sec-Fetch-Site": "cross-site"}):
        api = page.context.request
        assert api.delete(f"{site.url}/kimi/conversations/{mine}", headers=headers).status == 403
        renamed = api.put(f"{site.url}/kimi/conversations/{mine}/title", data={"title": "x"}, headers=headers)
        assert renamed.status == 403
        marked = {"ids": [mine], "mark": "deleted", "on": True}
        assert api.post(f"{site.url}/kimi/conversations/marks", data=marked, headers=headers).status == 403
    assert len(site.reader.conversation(mine)) == 1


def test_hostile_titles_prompts_and_texts_are_inert_in_the_list(site: ChatSite, visitor: Visitor, page: Page) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    title = "<img src=x onerror=window.ran=1>${window.ran=1}</span><script>window.ran=1</script>"
    site.say(spoken(f"needle {HOSTILE}", f"needle {HOSTILE}"))
    ask(page, f"needle {HOSTILE}")
    item(page, "needle").wait_for()
    menu(page, "needle", "Rename")
    page.locator(".history-rename").fill(f"needle {title}")
    page.locator(".history-rename").press("Enter")
    expect(items(page).locator(".history-title")).to_have_text([f"needle {title}"])
    for word in ("needle", "onerror", "script", "window"):
        found = search(page, word)
        expect(found).to_have_count(1)
        assert found.locator(":scope *:not(button, span, mark)").count() == 0
    page.locator(".history-search").fill("nothing like it")
    expect(page.locator(".history-results .history-item")).to_have_count(0)
    page.locator(".history-search").fill(HOSTILE[:150])
    expect(page.locator(".history-results .history-item")).to_have_count(1)
    assert page.evaluate("window.ran") is None
    assert [url for url in requested if not url.startswith(site.url)] == []


def test_many_conversations_are_loaded_in_pages(site: ChatSite, page: Page) -> None:
    owner = owner_of_page(site, page)
    for number in range(45):
        site.engine.send(f"Conversation {number}", owner=owner, lanes=["qwen"])
    until(lambda: not site.turns.live())
    page.reload()
    expect(items(page)).to_have_count(40)
    page.locator(".history-scroller").evaluate("(view) => { view.scrollTop = view.scrollHeight }")
    expect(items(page)).to_have_count(45)
    titles = items(page).locator(".history-title").all_text_contents()
    assert sorted(titles) == sorted(f"Conversation {number}" for number in range(45))
    expect(page.locator(".history-more")).to_be_hidden()


def owner_of_page(site: ChatSite, page: Page) -> str:
    turn = ask(page, "Who am I?")
    owner = site.turns.get(turn).owner
    menu(page, "Who am I?", "Delete")
    expect(items(page)).to_have_count(0)
    page.locator(".history-undo").get_by_role("button", name="Dismiss").click()
    return owner
