"""Replay in real Chromium: in the page, of a recorded example, and inside an exported file without any server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Bounds, Finish, Flag, Phase, Reasoning, Usage
from kimi_ui.core.turn import TurnLog
from kimi_ui.view.examples import example_names
from kimi_ui.view.export import export
from tests.support.browser import SLOW_MS, lane, send, wait_phase
from tests.support.chat_site import LANES, ChatSite, ask, endless
from tests.support.hostile_payloads import PAYLOADS
from tests.support.turns import MS, attempt, ended, tokens, turn

EVIL = "https://evil.example"
HOSTILE = "\n\n".join(PAYLOADS.values()).replace("{evil}", EVIL)

SHOWN = """(root) => Object.fromEntries([...root.querySelectorAll(".lane")].map((lane) => {
  const text = (part) => [...lane.querySelectorAll(part)].map((node) => node.textContent);
  return [lane.dataset.lane ?? lane.dataset.pastLane, {
    phase: lane.dataset.phase, status: text("[data-part=status]"), steps: text("[data-part=steps] .step"),
    reasoning: text(".reasoning-text"), thought: text(".reasoning-title"),
    answer: lane.querySelector("[data-part=answer]").innerHTML, metrics: text("[data-part=metrics] dd"),
    notes: text(".notes"), cards: text(".cards"), board: text(".board"),
  }];
}))"""


def slowly(n: int = 60, pause: float = 0.02) -> list[Any]:
    thought = [part for i in range(n) for part in (Reasoning(f"thought{i} "), pause)]
    answer = [part for i in range(n) for part in (Answer(f"**word{i}** "), pause)]
    usage = Usage(input_tokens=9, output_tokens=120, reasoning_tokens=60)
    return [Phase(CONNECTED), *thought, *answer, Finish("stop"), usage]


def shown(page: Page) -> dict[str, Any]:
    return page.locator(".turn-current").evaluate(SHOWN)


def start_replay(page: Page) -> None:
    page.locator(".turn-current [data-action=replay]").click()
    page.locator(".replay").wait_for()


def start_paused(page: Page) -> None:
    """Start the replay and pause it before its first frame: a busy machine could be too late to press a button."""
    page.locator(".turn-current [data-action=replay]").evaluate(
        """(button) => new Promise((done) => {
          new MutationObserver((_, observer) => {
            const play = document.querySelector(".replay-play");
            if (!play) return;
            observer.disconnect();
            play.click();
            done();
          }).observe(document.body, { childList: true, subtree: true });
          button.click();
        })"""
    )
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def share_at(page: Page, lane: str, kind: str) -> float:
    """The place of a lane's mark on the scrubber, as a share of the whole."""
    mark = page.locator(f'.replay-marks [data-kind="{kind}"][title^="{lane}: "]')
    return float(mark.evaluate("(mark) => parseFloat(mark.style.left)")) / 100


def scrub(page: Page, share: float) -> None:
    """Drag the scrubber to a share of the whole."""
    page.locator(".replay-track input").evaluate(
        """(slider, share) => {
          slider.value = String(share * Number(slider.max));
          slider.dispatchEvent(new Event("input", { bubbles: true }));
          return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        }""",
        share,
    )


def position(page: Page) -> float:
    return float(page.locator(".replay-track input").input_value())


def test_a_replay_at_four_times_the_speed_ends_like_the_turn(site: ChatSite, page: Page) -> None:
    site.say(slowly(), slowly(20))
    ask(page, "Replay me")
    before = shown(page)
    start_paused(page)
    page.get_by_role("button", name="Speed 4 times").click()
    scrub(page, 0.5 * share_at(page, "Kimi K2", "first_answer"))
    expect(lane(page, "kimi").locator(".reasoning-toggle")).to_have_attribute("aria-expanded", "true")
    page.get_by_role("button", name="Play", exact=True).click()
    for lane_id in LANES:
        wait_phase(page, lane_id, "done")
    expect(page.locator(".replay-play")).to_have_attribute("aria-label", "Play again")
    assert shown(page) == before
    expect(lane(page, "kimi").locator(".reasoning-toggle")).to_have_attribute("aria-expanded", "false")  # folds again
    page.get_by_role("button", name="End the replay").click()
    expect(page.locator(".replay")).to_have_count(0)
    assert shown(page) == before
    expect(page.locator(".turn-current [data-action=replay]")).to_be_focused()


def test_scrubbing_shows_the_turn_at_that_moment(site: ChatSite, page: Page) -> None:
    site.say(slowly(), slowly())
    ask(page, "Scrub me")
    start_paused(page)
    answers, ends = (share_at(page, "Qwen3-Coder", kind) for kind in ("first_answer", "end"))
    thinks, writes = 0.5 * answers, 0.5 * (answers + ends)
    seen = []
    for share in (thinks, writes, thinks, 0.0, 1.0, thinks):
        scrub(page, share)
        seen.append(shown(page)["qwen"])
    early, late, again, start, end, once_more = seen
    assert early["phase"] == "thinking"
    assert start["phase"] in ("connecting", "waiting")
    assert (late["phase"], end["phase"]) == ("answering", "done")
    assert early == again == once_more
    assert end["reasoning"][0].startswith(early["reasoning"][0])
    assert 0 < len(early["reasoning"][0]) < len(end["reasoning"][0])
    assert late["reasoning"] == end["reasoning"]
    assert "word0" in late["answer"]
    assert "word59" not in late["answer"]
    assert "word59" in end["answer"]
    assert start["reasoning"] == [""]


def test_show_all_at_once_and_play_again(site: ChatSite, page: Page) -> None:
    site.say(slowly(20), slowly(20))
    ask(page, "At once")
    before = shown(page)
    start_replay(page)
    page.get_by_role("button", name="Show all at once").click()
    assert shown(page) == before
    begun, dragged = page.get_by_role("button", name="Play again").evaluate(
        """async (button) => {  // plays it, and drags the scrubber while it plays
          const slider = document.querySelector(".replay-track input");
          const frame = () => new Promise((done) => requestAnimationFrame(done));
          button.click();
          const begun = Number(slider.value);
          await frame();
          slider.value = String(0.9 * Number(slider.max));
          slider.dispatchEvent(new Event("input", { bubbles: true }));
          for (let n = 0; n < 3; n += 1) await frame();
          return [begun, Number(slider.value) / Number(slider.max)];
        }"""
    )
    assert begun == 0
    assert dragged > 0.8
    expect(page.locator(".replay-play")).to_have_attribute("aria-label", "Play again")
    assert shown(page) == before


def test_the_readers_own_toggle_survives_a_jump(site: ChatSite, page: Page) -> None:
    site.say(slowly(), slowly())
    ask(page, "Fold me")
    start_paused(page)
    answers = share_at(page, "Qwen3-Coder", "first_answer")
    scrub(page, 0.6 * answers)
    kimi, qwen = (lane(page, one).locator(".reasoning-toggle").first for one in ("kimi", "qwen"))
    expect(qwen).to_have_attribute("aria-expanded", "true")  # it is thinking at that time
    qwen.click()
    scrub(page, 0.4 * answers)
    expect(qwen).to_have_attribute("aria-expanded", "false")
    expect(kimi).to_have_attribute("aria-expanded", "true")
    scrub(page, 1.0)
    qwen.click()
    scrub(page, 0.2 * answers)
    expect(qwen).to_have_attribute("aria-expanded", "true")


def test_a_replay_can_be_controlled_by_keyboard(site: ChatSite, page: Page) -> None:
    site.say(slowly(20), slowly(20))
    ask(page, "Keys")
    page.locator(".turn-current .turn").focus()
    # It stands still until it is paused: a busy machine could be too late to press the key.
    page.evaluate("() => { window.paint = requestAnimationFrame; window.requestAnimationFrame = () => 0; }")
    page.locator("body").press("r")
    expect(page.locator(".replay-play")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator(".replay-play")).to_have_attribute("aria-label", "Play")
    page.evaluate("() => { window.requestAnimationFrame = window.paint; }")
    slider = page.locator(".replay-track input")
    slider.focus()
    page.keyboard.press("Home")
    assert position(page) == 0
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    third = position(page)
    assert third > 0
    page.keyboard.press("ArrowLeft")
    assert 0 < position(page) < third
    page.keyboard.press("End")
    for lane_id in LANES:
        wait_phase(page, lane_id, "done")
    expect(slider).to_have_attribute("aria-valuetext", page.locator(".replay-time").text_content().replace("/", "of"))
    page.locator(".replay-play").focus()
    page.keyboard.press("Escape")
    expect(page.locator(".replay")).to_have_count(0)


def test_an_earlier_turn_is_replayed_in_its_place(site: ChatSite, page: Page) -> None:
    site.say(slowly(20), slowly(20))
    ask(page, "First")
    ask(page, "Second")
    row = page.locator(".turns-past .turn")
    row.scroll_into_view_if_needed()
    expect(row.locator(".lane").first).to_have_attribute("data-phase", "done")
    row.locator("[data-action=replay]").click()
    page.locator(".turns-past .replay .turn.past").wait_for()
    expect(page.locator("[data-lane]")).to_have_count(3)  # of the current turn only
    page.locator(".turns-past .replay").get_by_role("button", name="Show all at once").click()
    expect(page.locator(".turns-past .lane").first).to_have_attribute("data-phase", "done")
    ask(page, "Third")
    expect(page.locator(".turns-past .turn")).to_have_count(2)
    expect(page.locator(".turns-past .replay")).to_have_count(1)


def test_a_new_prompt_ends_the_replay_of_the_turn_it_follows(site: ChatSite, page: Page) -> None:
    site.say(slowly(20), slowly(20))
    ask(page, "First")
    start_replay(page)
    send(page, "Second")
    expect(page.locator(".turns-past .prompt-text")).to_have_text("First")
    expect(page.locator(".replay")).to_have_count(0)
    for lane_id in LANES:
        wait_phase(page, lane_id, "done")


def test_a_running_turn_has_no_replay_yet(site: ChatSite, page: Page) -> None:
    site.say(endless(), endless())
    send(page, "Runs")
    wait_phase(page, "kimi", "thinking")
    expect(page.locator(".turn-current .turn-tools")).to_be_hidden()
    turn_id = page.locator(".turn-current [data-turn]").get_attribute("data-turn")
    assert page.context.request.get(f"{site.url}/kimi/turns/{turn_id}/replay").status == 409


def test_an_example_replays_without_any_model(site: ChatSite, page: Page) -> None:
    names = example_names()
    assert names
    expect(page.locator(".start-example")).to_have_count(len(names))
    page.locator(".start-example").first.click()
    page.locator(".replay").wait_for()
    page.get_by_role("button", name="Show all at once").click()
    expect(page.locator(".turn-current .lane").first).to_have_attribute("data-phase", "done")
    assert all(len(one["answer"]) > 50 for one in shown(page).values())
    page.get_by_role("button", name="End the replay").click()
    expect(page.locator(".start")).to_be_visible()
    assert site.kimi.requests == []
    assert site.qwen.requests == []


# Exported files


def opened(browser: Browser, path: Path) -> tuple[Page, list[str], list[str]]:
    """The file in a browser that is offline: the page, its requests, its console errors."""
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 900})
    context.set_default_timeout(SLOW_MS)
    page = context.new_page()
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.goto(path.as_uri())
    return page, asked, problems


def written(folder: Path, *turns: TurnLog, title: str = "A title", reasoning: bool = True) -> Path:
    made = export(turns, title, "html", reasoning=reasoning)
    path = folder / made.name
    path.write_bytes(made.data)
    return path


def a_turn(answer: str = "**forty-two**", thought: str = "hm ", seq: int = 0) -> TurnLog:
    thinking = tokens(80, start_ms=50, gap_ms=10, kind=Reasoning, word=thought)
    return turn(
        (attempt("a"), ended([*thinking, (900, Answer(answer)), *tokens(20, start_ms=920, gap_ms=10)])),
        (attempt("b"), ended(tokens(90, start_ms=30, gap_ms=15))),
        prompt="Why?", seq=seq,
    )  # fmt: skip


def test_an_exported_file_plays_offline_without_any_request(browser: Browser, tmp_path: Path) -> None:
    path = written(tmp_path, a_turn(), a_turn(seq=1))
    page, asked, problems = opened(browser, path)
    expect(page.locator("h1")).to_have_text("A title")
    expect(page.locator(".turn")).to_have_count(2)
    lanes = page.locator(".turn").last.locator(".lane")
    expect(lanes.first).to_have_attribute("data-phase", "done")
    expect(lanes.first.locator("[data-part=answer] strong")).to_have_text("forty-two")
    before = page.locator(".turn").last.evaluate(SHOWN)
    page.set_viewport_size({"width": 1080, "height": 900})  # as wide as three lanes are at 1600
    labels = lanes.locator(".metrics dt:has(.metric-source)")
    labels.evaluate_all("labels => labels.forEach((one) => { one.lastElementChild.textContent = ' · usage ≠' })")
    assert labels.evaluate_all("labels => labels.filter((one) => one.scrollWidth > one.clientWidth).length") == 0
    page.locator("[data-action=replay]").last.click()
    page.locator(".replay").wait_for()
    body = page.locator(".replay .lane-body").first.bounding_box()
    assert body is not None
    assert body["height"] > 200, "there is room for what is replayed"
    page.get_by_role("button", name="Speed 4 times").click()
    expect(page.locator(".replay-play")).to_have_attribute("aria-label", "Play again")
    expect(page.locator(".replay .turn .lane").last.locator("[data-part=status]")).to_contain_text("Done")
    assert page.locator(".replay .turn").evaluate(SHOWN) == before
    scrub(page, 0.3)
    expect(page.locator(".replay .lane").first).to_have_attribute("data-phase", "thinking")
    page.get_by_role("button", name="End the replay").click()
    expect(page.locator(".replay")).to_have_count(0)
    assert asked == [path.as_uri()]
    assert problems == []
    page.context.close()


def test_an_exported_file_without_reasoning_shows_none(browser: Browser, tmp_path: Path) -> None:
    path = written(tmp_path, a_turn(thought="secretthought "), reasoning=False)
    assert b"secretthought" not in path.read_bytes()
    page, asked, problems = opened(browser, path)
    expect(page.locator(".lane [data-part=answer] strong")).to_have_text("forty-two")
    expect(page.locator(".reasoning").first).to_be_hidden()
    page.locator("[data-action=replay]").click()
    page.get_by_role("button", name="Show all at once").click()
    expect(page.locator(".replay [data-part=answer] strong")).to_have_text("forty-two")
    assert (asked, problems) == ([path.as_uri()], [])
    page.context.close()


def test_error_bounds_are_with_their_figures(browser: Browser, tmp_path: Path) -> None:
    bounds = Bounds(0, round(4.9 * MS), 0, round(11.7 * MS))
    events = [*tokens(60, start_ms=100, gap_ms=10), (800, Usage(9, output_tokens=60)), (801, bounds)]
    page, _, problems = opened(browser, written(tmp_path, turn((attempt("a"), ended(events)))))
    cells = {name: page.locator(f".lane [data-metric={name}]") for name in ("elapsed", "ttft", "ttfo", "rate")}
    for name, text, bound in (
        ("ttft", "~0.10 s", "±5.0 ms"),
        ("ttfo", "0.10 s", "±0.10 ms"),
        ("rate", "100 tok/s", "±2.0 tok/s"),
        ("elapsed", "0.8 s", "Last text ±12 ms"),
    ):
        expect(cells[name]).to_have_text(text)
        expect(cells[name]).to_have_attribute("title", re.compile(f"^{bound}"))
    after = "element => getComputedStyle(element, '::after').content"
    assert cells["ttft"].evaluate(after) == "none"
    page.keyboard.press("Tab")
    page.locator(".lane .metrics").focus()
    assert cells["ttft"].evaluate(after) == '"±5.0 ms"'
    assert problems == []
    page.context.close()


def test_suspect_figures_are_marked(browser: Browser, tmp_path: Path) -> None:
    events = [*tokens(60, start_ms=100, gap_ms=10), (800, Usage(9, output_tokens=90)), (801, Flag("clock_jump", "9 s"))]
    page, _, problems = opened(browser, written(tmp_path, turn((attempt("a"), ended(events)))))
    cells = {name: page.locator(f".lane [data-metric={name}]") for name in ("ttft", "rate", "tokens")}
    expect(cells["ttft"]).to_have_text("~0.10 s")
    expect(cells["rate"]).to_have_text("~151 tok/s")
    for name in ("ttft", "rate"):
        expect(cells[name]).to_have_attribute("title", re.compile("Not to be trusted: the machine slept"))
    expect(cells["tokens"]).to_have_attribute("title", re.compile("50 % more than a tokenizer here finds"))
    expect(page.locator(".lane .metric-source")).to_have_text(" · usage ≠")
    assert problems == []
    page.context.close()


def test_hostile_text_in_an_exported_file_is_inert(browser: Browser, tmp_path: Path) -> None:
    path = written(tmp_path, a_turn(HOSTILE, HOSTILE[:4000]), title="</title><script>window.ran=1</script>")
    page, asked, problems = opened(browser, path)
    page.locator(".reasoning-toggle").first.click()
    page.locator("[data-action=replay]").click()
    for share in (0.2, 0.9, 1.0):
        scrub(page, share)
    expect(page.locator("h1")).to_have_text("</title><script>window.ran=1</script>")
    assert page.evaluate("window.ran") is None
    assert asked == [path.as_uri()]
    assert problems == []
    page.context.close()


def test_the_exported_file_shows_the_same_as_the_page(
    site: ChatSite, page: Page, browser: Browser, tmp_path: Path
) -> None:
    site.say(slowly(10), slowly(10))
    ask(page, "Save me")
    page.locator(".turn-current .turn-tools").get_by_role("button", name="Export").click()
    panel = page.locator(".turn-current .export-panel")
    saved = {}
    for kind in ("html", "md", "json"):
        if panel.is_hidden():
            page.locator(".turn-current .turn-tools").get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            panel.locator(f"[data-format={kind}]").click()
        saved[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[kind])
    assert [path.name for path in saved.values()] == ["kimi-save-me.html", "kimi-save-me.md", "kimi-save-me.json"]
    assert "thought9" in saved["md"].read_text()
    assert "**word9**" in saved["md"].read_text()
    assert json.loads(saved["json"].read_text())["turns"][0]["prompt"] == "Save me"
    page.locator(".turn-current .turn-tools").get_by_role("button", name="Export").click()
    panel.get_by_label("With reasoning").uncheck()
    with page.expect_download() as download:
        panel.locator("[data-format=md]").click()
    download.value.save_as(tmp_path / "without.md")
    assert "thought9" not in (tmp_path / "without.md").read_text()
    there = shown(page)
    file, asked, problems = opened(browser, saved["html"])
    expect(file.locator(".lane").first).to_have_attribute("data-phase", "done")
    assert file.locator("main").evaluate(SHOWN) == there
    assert (asked, problems) == ([saved["html"].as_uri()], [])
    file.context.close()
