"""Comparing in real Chromium: the race and its waterfall, votes, blind turns, the diff of two answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from kimi_ui.core.events import CONNECTED, Answer, Failure, Finish, Phase, Reasoning, Usage
from kimi_ui.core.lane import LaneSpec
from kimi_ui.engine import Engine
from kimi_ui.providers.base import ProviderError
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.providers.ollama.provider import OllamaLane
from kimi_ui.turns import Turns
from tests.support.browser import Visitor, WarmContext, lane, send, served, wait_phase
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import until

LANES = ("luna", "luna-heavy", "coder")
# Any of these words in a blind turn's page before the vote would reveal a lane.
REVEALING = ("luna", "coder", "moonlight", "quill", "pondering")


@dataclass
class Site:
    """The app with three lanes over a real log: a thinker, heavy made of it, and one that never thinks."""

    url: str
    thinker: ScriptedProvider
    drafter: ScriptedProvider
    coder: ScriptedProvider
    engine: Engine
    turns: Turns

    def say(self, **scripts: Sequence[Any]) -> None:
        """Set the next answers of thinker, drafter or coder."""
        for name, script in scripts.items():
            getattr(self, name).scripts = [list(script)]

    def rows(self, query: str, turn_id: str) -> list[tuple[Any, ...]]:
        return self.turns.reader.rows(query, turn_id=turn_id)


def spoken(reasoning: str, answer: str, pause: float = 0.02) -> list[Any]:
    parts: list[Any] = [Phase(CONNECTED), pause]
    parts += [Reasoning(reasoning), pause] if reasoning else []
    usage = Usage(input_tokens=9, output_tokens=120, reasoning_tokens=80 if reasoning else 0)
    return [*parts, Answer(answer), pause, Answer(" End."), Finish("stop"), usage]


def endless(kind: type, pause: float = 0.01) -> list[Any]:
    return [Phase(CONNECTED), *(part for i in range(4000) for part in (kind(f"word{i} "), pause))]


@pytest.fixture(scope="module")
def site_once() -> Iterator[Site]:
    thinker = ScriptedProvider(LaneSpec("luna", "Luna Large", "openai", model="moonlight-2"), [[]])
    drafter = ScriptedProvider(LaneSpec("drafter", "Drafter", "openai", model="moonlight-2"), [[]])
    heavy = HeavyProvider(HeavyLane("luna-heavy", "Luna Heavy", "heavy", of="luna", width=3, quorum=3), drafter)
    coder = ScriptedProvider(OllamaLane("coder", "Coder Quill", "ollama", model="quill:30b"), [[]])
    roster = ScriptedRoster(thinker, heavy, coder)
    with started(roster) as run, served(run, roster) as url:
        yield Site(url, thinker, drafter, coder, run.engine, run.turns)


@pytest.fixture
def site(site_once: Site) -> Iterator[Site]:
    drafts = iter(range(10_000))
    site_once.say(thinker=spoken("pondering hard", "First it is **7**."), coder=spoken("", "Second it is 8."))
    site_once.drafter.scripts = [lambda request: spoken("pondering a draft", f"Draft {next(drafts)}.")]
    yield site_once
    for turn in site_once.turns.live():
        site_once.engine.stop(turn.turn_id)
    until(lambda: not site_once.turns.live())


def answered(page: Page, prompt: str = "How much is it?") -> None:
    before = turn_id(page)
    send(page, prompt)
    turn = page.locator(f'.turn-current [data-turn]:not([data-turn="{before}"])')
    for lane_id in LANES:
        turn.locator(f'[data-lane="{lane_id}"][data-phase="done"]').wait_for(state="attached")
    until(lambda: "–" not in str(figures(page)))  # the race is redrawn a few times a second


def only_the_coder_answers(site: Site, page: Page) -> None:
    failing = [ProviderError(Failure("connect", "Nobody listens there."))]
    site.say(thinker=failing, drafter=failing, coder=spoken("", "Eight."))
    send(page)
    wait_phase(page, "coder", "done")
    wait_phase(page, "luna", "error")
    wait_phase(page, "luna-heavy", "error")


def turn_id(page: Page) -> str:
    return page.locator(".turn-current [data-turn]").get_attribute("data-turn") or ""


def kinds(page: Page, row: int, where: str = ".turn-current") -> list[str]:
    """The phases of a lane's bar, left to right."""
    track = page.locator(f"{where} .race-row").nth(row).locator(".race-segment")
    found = track.evaluate_all("all => all.map((one) => [parseFloat(one.style.left), one.dataset.kind])")
    return [kind for _, kind in sorted(found)]


def figures(page: Page, where: str = ".turn-current") -> list[list[str]]:
    rows = page.locator(f"{where} .race tbody tr")
    return [rows.nth(i).locator("th, td").all_text_contents() for i in range(rows.count())]


# -- the race


def test_the_race_grows_while_the_lanes_stream(site: Site, page: Page) -> None:
    site.say(thinker=endless(Reasoning), drafter=endless(Reasoning), coder=endless(Answer))
    send(page)
    race = page.locator(".turn-current .race")
    thinking = race.locator(".race-row").nth(0).locator("[data-kind=think]")
    thinking.wait_for()
    race.locator(".race-toggle").click()
    race.locator(".race-row").nth(2).locator("[data-kind=answer]").wait_for()
    race.locator(".race-row").nth(1).locator("[data-kind=drafts]").wait_for()
    line = race.locator("path.race-line-think:not(.race-thin)").first
    line.wait_for(state="attached")
    before = line.get_attribute("d")
    until(lambda: line.get_attribute("d") != before)
    expect(race.locator("path.race-thin")).to_have_count(3)
    expect(race.locator(".race-row").nth(2).locator(".race-answered")).to_be_visible()
    expect(race.locator(".race-row").nth(0).locator(".race-first")).to_be_visible()
    expect(race.locator(".race-row").nth(0).locator(".race-answered")).to_be_hidden()


def test_the_race_and_the_lanes_show_one_time(site: Site, page: Page) -> None:
    shown = """() => [".race-figure", ".lane [data-metric=elapsed]"].map(
        (where) => [...document.querySelectorAll(".turn-current " + where)].map((one) => one.textContent))"""
    site.say(coder=endless(Answer))
    send(page)
    wait_phase(page, "luna", "done")
    wait_phase(page, "coder", "answering")
    for _ in range(20):
        race, lanes = page.evaluate(shown)
        assert race == lanes
        page.wait_for_timeout(50)
    assert "–" not in lanes
    site.engine.stop(turn_id(page))
    wait_phase(page, "coder", "stopped")
    race, lanes = page.evaluate(shown)
    assert race == lanes


def test_a_finished_race_is_a_waterfall_also_after_a_reload(site: Site, page: Page) -> None:
    answered(page)
    for row, expected in enumerate((["think", "answer"], ["drafts", "think", "answer"], ["answer"])):
        assert [kind for kind in kinds(page, row) if kind in ("drafts", "think", "answer")] == expected
    assert "fan" in kinds(page, 1)
    before = figures(page)
    assert [row[0] for row in before] == ["Luna Large", "Luna Heavy", "Coder Quill"]
    strips = [lane(page, lane_id, "metrics").locator("[data-metric=tokens]").inner_text() for lane_id in LANES]
    assert [row[5] for row in before] == strips
    bars = [kinds(page, row) for row in range(3)]
    page.reload()
    until(lambda: figures(page) == before)
    assert [kinds(page, row) for row in range(3)] == bars


def test_an_earlier_turn_keeps_its_waterfall(site: Site, page: Page) -> None:
    answered(page)
    before = figures(page)
    answered(page, "And now?")
    until(lambda: figures(page, ".turns-past") == before)
    page.reload()
    until(lambda: page.locator(".turns-past .race tbody tr").count() and figures(page, ".turns-past") == before)
    expect(page.locator(".turns-past .race-chart")).to_be_hidden()


def test_the_race_and_its_curves_fold_and_this_is_remembered(site: Site, page: Page) -> None:
    answered(page)
    chart, toggle = page.locator(".turn-current .race-chart"), page.locator(".turn-current .race-toggle")
    race, fold = page.locator(".turn-current .race"), page.locator(".turn-current .race-fold")
    expect(chart).to_be_hidden()
    toggle.click()
    expect(chart.locator("path.race-line-answer").first).to_be_attached()
    fold.click()
    expect(race).to_be_hidden()
    expect(fold).to_have_attribute("aria-expanded", "false")
    page.reload()
    wait_phase(page, "coder", "done")
    expect(race).to_be_hidden()
    fold.click()
    expect(race.locator(".race-row [data-kind=answer]").first).to_be_visible()
    expect(chart.locator("path.race-line-answer").first).to_be_attached()


def test_on_a_phone_a_slim_race_stays_visible(warm: WarmContext, site: Site) -> None:
    site.say(thinker=endless(Reasoning), drafter=endless(Reasoning), coder=endless(Answer))
    visitor = Visitor(warm, site.url, viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page = visitor.open()
    send(page)
    page.locator(".race-row [data-kind=answer]").wait_for()
    expect(page.locator(".race")).to_be_in_viewport()
    box = page.locator(".race").bounding_box()
    assert box is not None
    assert box["height"] < 32
    assert box["width"] <= 390
    expect(page.locator(".race-chart")).to_be_hidden()
    visitor.close()
    assert visitor.problems == []


# -- votes


def test_a_vote_survives_a_reload_and_can_be_changed_and_withdrawn(site: Site, page: Page) -> None:
    answered(page)
    votes = "SELECT choice, lane, field, blind, speed_visible FROM votes WHERE turn_id = :turn_id ORDER BY number"
    turn = turn_id(page)
    choice = page.locator(".turn-current .verdict-choice")
    assert choice.all_text_contents() == ["Luna Large", "Luna Heavy", "Coder Quill", "Tie", "All bad"]
    choice.nth(2).click()
    expect(choice.nth(2)).to_have_attribute("aria-pressed", "true")
    assert site.rows(votes, turn) == [("lane", "coder", json.dumps(LANES).replace(" ", ""), 0, 1)]
    page.reload()
    expect(choice.nth(2)).to_have_attribute("aria-pressed", "true")
    choice.nth(3).click()
    expect(choice.nth(2)).to_have_attribute("aria-pressed", "false")
    expect(choice.nth(3)).to_have_attribute("aria-pressed", "true")
    choice.nth(3).click()
    expect(choice.nth(3)).to_have_attribute("aria-pressed", "false")
    assert [row[0] for row in site.rows(votes, turn)] == ["lane", "tie", "none"]
    assert site.rows("SELECT * FROM vote_outcomes WHERE turn_id = :turn_id", turn) == []


def test_a_lane_without_an_answer_cannot_be_voted_for(site: Site, page: Page) -> None:
    only_the_coder_answers(site, page)
    expect(page.locator(".verdict-choice").nth(0)).to_be_disabled()
    page.locator(".verdict-choice").nth(2).click()
    expect(page.locator(".verdict-choice").nth(2)).to_have_attribute("aria-pressed", "true")
    assert site.rows("SELECT field FROM votes WHERE turn_id = :turn_id", turn_id(page)) == [('["coder"]',)]


def test_an_earlier_turn_can_be_voted_on(site: Site, page: Page) -> None:
    answered(page)
    answered(page, "And now?")
    page.locator(".turns-past .verdict-choice").nth(1).click()
    expect(page.locator(".turns-past .verdict-choice").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".turn-current .verdict-choice").nth(1)).to_have_attribute("aria-pressed", "false")


# -- blind


class Wire:
    """Records what the server sends to a page: bodies of its own routes and messages of event streams."""

    def __init__(self, page: Page) -> None:
        self._responses: list[Any] = []
        self._messages: list[str] = []
        page.on("response", lambda response: self._responses.append(response) if "/kimi/" in response.url else None)
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.eventSourceMessageReceived", lambda event: self._messages.append(event["data"]))

    def about_turns(self) -> str:
        """The parts about turns; the names of the configured lanes are not secret."""
        said = list(self._messages)
        for response in self._responses:
            if "/turns/" in response.url and not response.url.endswith("/events") and "/events?" not in response.url:
                said.append(response.text())
            elif "/kimi/state" in response.url:
                said.append(json.dumps(response.json()["turns"]))
        return "\n".join(said)


def markup(page: Page) -> str:
    return page.locator(".turns").evaluate("all => all.outerHTML")


def revealed(text: str) -> list[str]:
    return [word for word in REVEALING if word in text.lower()]


def send_blind(page: Page) -> None:
    switch = page.locator("#blind")
    switch.wait_for()
    if switch.get_attribute("aria-pressed") == "false":
        switch.click()
    send(page)
    page.locator(".turn-current .turn.blind").wait_for()


def test_a_blind_turn_hides_the_lanes_before_the_vote_and_reveals_them_after_it(site: Site, page: Page) -> None:
    site.say(thinker=spoken("pondering", "It is seven.", 0.2), coder=spoken("", "It is eight."))
    wire = Wire(page)
    send_blind(page)
    for slot in "ABC":
        wait_phase(page, slot, "done")
    turn = site.turns.reader.turn(turn_id(page))
    assert turn is not None
    assert sorted(turn.slots) == sorted(LANES)
    shown = {slot: lane(page, slot, "answer").inner_text() for slot in "ABC"}
    expected = {"luna": "It is seven. End.", "coder": "It is eight. End."}
    for slot, lane_id in zip("ABC", turn.slots, strict=True):
        assert lane_id not in expected or shown[slot].strip() == expected[lane_id]
    assert revealed(markup(page)) == []
    assert revealed(wire.about_turns()) == []
    assert "seven" in wire.about_turns()
    for part in ("metrics", "steps", "reasoning"):
        expect(lane(page, "A", part)).to_be_hidden()
    page.reload()
    wait_phase(page, "A", "done")
    assert revealed(markup(page)) == []
    second = page.context.new_page()
    second.goto(page.url)
    wait_phase(second, "A", "done")

    page.locator(".verdict-choice").nth("ABC".index("B")).click()
    wait_phase(page, "luna", "done")
    expect(page.locator(".verdict-note")).to_have_text(re.compile("^Voted blind: A was "))
    expect(lane(page, "luna", "metrics")).to_be_visible()
    expect(page.locator(".turn-current .race")).to_be_visible()
    votes = "SELECT choice, lane, blind, speed_visible FROM votes WHERE turn_id = :turn_id"
    assert site.rows(votes, turn.turn_id) == [("lane", turn.slots[1], 1, 0)]
    expect(page.locator(".verdict-choice[aria-pressed=true]")).to_be_focused()
    wait_phase(second, "luna", "done")  # the vote reveals it in every tab
    second.close()


def test_no_text_of_a_blind_answer_is_sent_before_the_last_lane_has_ended(site: Site, page: Page) -> None:
    site.say(thinker=endless(Reasoning), coder=spoken("", "It is eight."))
    wire = Wire(page)
    send_blind(page)
    expect(lane(page, "A")).to_contain_text("2 of 3 answers are ready")
    assert "eight" not in wire.about_turns()
    assert "eight" not in markup(page)
    assert revealed(wire.about_turns() + markup(page)) == []
    ready = {lane(page, slot, "status").inner_text().split()[0] for slot in "ABC"}
    assert ready == {"Waiting"}
    for i in range(5):
        expect(page.locator(".verdict-choice").nth(i)).to_be_disabled()
    page.locator("#stop").click()
    wait_phase(page, "A", "done", "no_answer")
    assert "eight" in markup(page)


def test_a_blind_turn_can_be_revealed_without_a_vote_also_a_past_one(site: Site, page: Page) -> None:
    send_blind(page)
    wait_phase(page, "A", "done")
    first = turn_id(page)
    page.locator("#blind").click()
    answered(page, "And now?")
    past = page.locator(".turns-past")
    assert revealed(past.evaluate("all => all.outerHTML")) == []
    past.locator(".verdict-open").click()
    expect(past.locator(".lane h2")).to_have_text(["Luna Large", "Luna Heavy", "Coder Quill"])
    expect(past.locator(".answer").first).to_contain_text("First it is 7.")
    expect(past.locator(".verdict-open")).to_be_hidden()
    assert site.rows("SELECT choice, blind FROM votes WHERE turn_id = :turn_id", first) == [("none", 1)]
    # The next vote is not blind any more.
    past.locator(".verdict-choice").nth(0).click()
    until(lambda: len(site.rows("SELECT 1 FROM votes WHERE turn_id = :turn_id", first)) == 2)
    query = "SELECT choice, blind, speed_visible FROM votes WHERE turn_id = :turn_id ORDER BY number DESC LIMIT 1"
    assert site.rows(query, first) == [("lane", 0, 1)]


def test_blind_mode_is_shown_ends_with_its_conversation_and_lists_open_votes(site: Site, page: Page) -> None:
    banner, waiting, switch = page.locator("#blind-banner"), page.locator("#to-vote-on"), page.locator("#blind")
    expect(banner).to_be_hidden()
    expect(waiting).to_be_hidden()
    send_blind(page)
    expect(banner).to_be_visible()
    wait_phase(page, "A", "done")
    expect(waiting).to_have_text("1 to vote on")
    first = turn_id(page)
    page.reload()
    expect(banner).to_be_visible()  # as the conversation's last turn was sent
    banner.get_by_role("button", name="Turn blind mode off").click()
    expect(banner).to_be_hidden()
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    send(page, "Another")
    expect(page.locator(".turn-current .prompt-text")).to_have_text("Another")
    wait_phase(page, "A", "done")
    expect(waiting).to_have_text("2 to vote on")
    page.locator("#new-conversation, .history-new").locator("visible=true").first.click()
    expect(page.locator(".start")).to_be_visible()
    expect(banner).to_be_hidden()
    expect(switch).to_have_attribute("aria-pressed", "false")
    answered(page, "With names")
    waiting.click()
    expect(page.locator(f'[data-turn="{first}"]')).to_be_in_viewport()
    page.locator(f'[data-turn="{first}"] .verdict-choice').first.click()
    expect(waiting).to_have_text("1 to vote on")
    expect(page.locator(".turn-current .lane h2").first).to_have_text("A")


def test_the_api_does_not_reveal_a_blind_turn(site: Site, page: Page) -> None:
    send_blind(page)
    wait_phase(page, "A", "done")
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    base = f"{site.url}/kimi/turns/{turn_id(page)}"
    with httpx.Client(cookies=cookies) as client:
        for path in ("frame", "answers", "diff?left=A&right=B", "lanes/A/answer"):
            response = client.get(f"{base}/{path}")
            assert response.status_code == 200
            assert revealed(response.text) == []
        for lane_id in LANES:
            assert client.get(f"{base}/lanes/{lane_id}/answer").status_code == 404
        assert client.get(f"{base}/lanes/A/answer?attempt=1").text  # what its copy button requests
        assert client.get(f"{base}/diff?left=luna&right=coder").status_code == 404


# -- two answers side by side


def compare_with_coder(page: Page) -> Locator:
    page.get_by_role("button", name="Compare two answers").click()
    dialog = page.get_by_role("dialog", name="Compare two answers")
    expect(dialog.locator(".compare-summary p").first).to_be_visible()
    with page.expect_response("**/diff?*"):
        dialog.get_by_label("Right answer").select_option("coder")
    expect(dialog.locator(".compare-names")).to_have_text("Luna LargeCoder Quill")
    return dialog


def test_two_answers_are_side_by_side_and_keys_step_through_their_differences(site: Site, page: Page) -> None:
    same = "The total is a **sum** over all parts, $x^2$ among them."
    hostile = '<img src=x onerror="window.hacked=1"> <script>window.hacked=3</script>'
    answer = "{}\n\nThe shop earned {} dollars in March.\n\n```python\nx = 1\n{}y = 2\n```\n\n{}The answer is 7."
    site.say(
        thinker=spoken("hm", answer.format(same, 120, "", "")),
        coder=spoken("", answer.format(same, 125, "z = 3\n", f"Mind {hostile} here. ")),
    )
    answered(page)
    dialog = compare_with_coder(page)
    expect(dialog.locator(".compare-summary p").first).to_have_text("Both conclude 7.")
    expect(dialog.locator(".compare-summary p").last).to_have_text(
        "Changed: 1 sentence. Only in Coder Quill: 1 sentence, 1 line of code."
    )
    expect(dialog.locator("[data-kind=same] [data-side=left]").first.locator("strong, math")).to_have_count(2)
    expect(dialog.locator("del.md-word")).to_have_text("120")
    expect(dialog.locator("ins.md-word")).to_have_text("125")
    expect(dialog.locator("pre ins").first).to_have_text("only in Coder Quill: z")
    expect(dialog.locator(".compare-rows")).to_contain_text("<script>window.hacked=3</script>")
    assert page.evaluate("window.hacked") is None

    place = dialog.locator(".compare-place")
    expect(place).to_have_text("3 differences")
    focused = "() => document.activeElement.textContent"
    for key, where, text in (
        *(
            ("n", "Difference 1 of 3", "changed: The shop earned"),
            ("n", "Difference 2 of 3", "only in Coder Quill: z"),
        ),
        *(("p", "Difference 1 of 3", "changed: "), ("p", "Difference 3 of 3", "only in Coder Quill: Mind")),
    ):
        page.keyboard.press(key)
        expect(place).to_have_text(where)
        assert page.evaluate(focused).startswith(text)
    assert page.evaluate("document.querySelector('#prompt textarea').value") == ""

    page.set_viewport_size({"width": 390, "height": 844})
    one_column = """dialog => {
      const boxOf = (side) => dialog.querySelector(`[data-kind=changed] [data-side=${side}]`).getBoundingClientRect();
      return boxOf("right").top >= boxOf("left").bottom - 1 && dialog.scrollWidth <= dialog.clientWidth;
    }"""
    until(lambda: dialog.evaluate(one_column))
    expect(dialog.locator("[data-kind=same] [data-side=right]").first).to_be_hidden()
    page.set_viewport_size({"width": 1400, "height": 900})
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_comparison_that_comes_late_does_not_replace_the_newer_choice(site: Site, page: Page) -> None:
    site.say(thinker=spoken("hm", "Blue. One."), coder=spoken("", "Blue. Two."))
    answered(page)
    held: list[Route] = []
    page.route("**/diff?*", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("button", name="Compare two answers").click()
    dialog = page.get_by_role("dialog", name="Compare two answers")
    right = dialog.get_by_label("Right answer")
    expect(right.locator("option").nth(2)).to_be_attached()  # the answers are listed, and the first pair is requested
    until(lambda: page.evaluate("1") and held)
    right.select_option("coder")
    rows = dialog.locator(".compare-rows")
    expect(rows).to_contain_text("Two.")
    shown = rows.inner_text()
    with page.expect_response("**/diff?*"):
        held[0].continue_()
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert rows.inner_text() == shown
    page.unroute("**/diff?*")


def test_a_long_equal_part_is_folded_until_it_is_opened(site: Site, page: Page) -> None:
    same = "\n\n".join(f"Sentence number {i} is the same in both." for i in range(60))
    site.say(thinker=spoken("hm", f"{same}\n\nOne."), coder=spoken("", f"{same}\n\nTwo."))
    answered(page)
    dialog = compare_with_coder(page)
    part = dialog.locator("[data-kind=same] [data-side=right]", has_text="number 30 ")
    expect(part).to_be_hidden()
    dialog.get_by_role("button", name="Show all of this equal part").click()
    expect(part).to_be_visible()


def test_trajectories_and_earlier_attempts_can_be_compared(site: Site, page: Page) -> None:
    answered(page)
    site.say(coder=spoken("", "Second it is 9."))
    page.get_by_role("button", name="Ask Coder Quill again").click()
    page.locator('[data-lane="coder"] .attempts').wait_for()
    wait_phase(page, "coder", "done")
    page.get_by_role("button", name="Compare two answers").click()
    dialog = page.get_by_role("dialog", name="Compare two answers")
    options = dialog.get_by_label("Left answer").locator("option")
    expect(options).to_have_count(7)
    assert [text.split(" · ")[0] for text in options.all_text_contents()] == [
        "Luna Large",
        "Luna Heavy",
        *(f"Luna Heavy T{k}" for k in (1, 2, 3)),
        "Coder Quill",
        "Coder Quill, attempt 1",
    ]
    dialog.get_by_label("Left answer").select_option("luna-heavy/1")
    dialog.get_by_label("Right answer").select_option("coder@1")
    expect(dialog.locator(".compare-names")).to_have_text("Luna Heavy T2Coder Quill, attempt 1")
    expect(dialog.locator(".compare-cell[data-side=right]").first).to_contain_text("Second it is 8.")
    dialog.get_by_role("button", name="Swap sides").click()
    expect(dialog.locator(".compare-cell[data-side=left]").first).to_contain_text("Second it is 8.")


def test_comparing_needs_two_answers(site: Site, page: Page) -> None:
    only_the_coder_answers(site, page)
    page.get_by_role("button", name="Compare two answers").click()
    expect(page.locator(".compare-summary")).to_have_text("Comparing needs two answers; wait for another one.")


# -- permissions


def test_another_persons_turn_is_not_found(site: Site, page: Page) -> None:
    answered(page)
    base = f"{site.url}/kimi/turns/{turn_id(page)}"
    with httpx.Client() as stranger:
        assert stranger.post(f"{base}/vote", json={"choice": "tie"}).status_code == 404
        assert stranger.get(f"{base}/answers").status_code == 404
        assert stranger.get(f"{base}/diff?left=luna&right=coder").status_code == 404


def test_a_blind_turn_cannot_be_voted_on_before_its_answers_are_shown(site: Site) -> None:
    site.say(coder=endless(Answer))
    turn = site.engine.send("?", blind=True)
    url = f"{site.url}/kimi/turns/{turn.turn_id}/vote"
    response = httpx.post(url, json={"choice": "lane", "lane": "A"})
    assert (response.status_code, response.json()["error"]) == (
        409,
        "The answers are not shown yet: vote once they are.",
    )
    assert turn.vote is None
    until(lambda: any(isinstance(entry.event, Answer) for entry in turn.entries))
    site.engine.stop(turn.turn_id)
    until(lambda: turn.closed)
    assert (
        httpx.post(url, json={"choice": "lane", "lane": "luna"}).status_code == 422
    )  # a blind vote names a slot, not a lane
    assert httpx.post(url, json={"choice": "all_bad"}).json()["slots"] == dict(zip("ABC", turn.slots, strict=True))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"choice": "best"}, 422),
        ({"choice": "lane"}, 422),
        ({"choice": "lane", "lane": "drafter"}, 422),
        ({"choice": "tie", "lane": "luna"}, 422),
        ([], 400),
    ],
)
def test_invalid_votes_are_refused(site: Site, body: Any, status: int) -> None:
    turn = site.engine.send("?")
    until(lambda: turn.closed)
    response = httpx.post(f"{site.url}/kimi/turns/{turn.turn_id}/vote", json=body)
    assert response.status_code == status
    assert turn.vote is None
