"""Parts of a lane in real Chromium: heavy's trajectories, steps, preparing, very long traces."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kimi_ui.core.events import CONNECTED, PREPARING, Answer, Failure, Finish, Phase, Reasoning, Relabel
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.base import ChatRequest, ProviderError
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from tests.support.browser import SLOW_MS, Visitor, WarmContext, lane, listening, made, send, served, wait_phase
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import until


@contextmanager
def opened(warm: WarmContext, *providers: Any, **options: Any) -> Iterator[Page]:
    """The page over these providers; the console must have no errors at the end."""
    roster = ScriptedRoster(*providers)
    with started(roster) as run, served(run, roster) as url:
        with closing(Visitor(warm, url, **options)) as visitor:
            yield visitor.open()
        assert visitor.problems == []


def scripted(*script: Any, id: str = "a", **fields: Any) -> ScriptedProvider:
    return ScriptedProvider(
        LaneSpec(id, id.upper(), fields.pop("provider", "openai"), model=f"{id}-1", **fields), [script]
    )


def test_heavy_lists_its_trajectories_and_each_can_be_opened(warm: WarmContext) -> None:
    fail, go = threading.Event(), threading.Event()

    def answers(request: ChatRequest) -> Iterator[Any]:
        if "The candidates end here" in request.messages[-1].content:  # the aggregation
            yield from (Reasoning("They differ. "), Answer("The *one* answer."), Finish("stop"))
            return
        n = len(inner.requests)
        yield from (Phase(CONNECTED), Reasoning(f"trace of request {n}\nnewest words {n}"))
        if n == 2:
            yield from (fail, ProviderError(Failure("upstream", "It broke off.")))
        yield go
        yield from (Answer(f"answer **{n}** " * n), Finish("stop"))

    inner = ScriptedProvider(LaneSpec("inner", "Inner", "openai", model="i"), [answers])
    heavy = HeavyProvider(
        HeavyLane("heavy", "Heavy", "heavy", of="inner", width=4, quorum=3, preset="full"), inner, random.Random(1)
    )
    with opened(warm, heavy) as page:  # so that all numbered requests are trajectories
        send(page)
        rows = lane(page, "heavy").locator("[data-trajectory]")
        expect(rows).to_have_count(4)
        for k in range(4):
            expect(rows.nth(k)).to_have_attribute("data-trajectory", str(k))
            expect(rows.nth(k)).to_have_attribute("data-phase", "thinking")
            expect(rows.nth(k).locator(".trajectory-tail")).to_contain_text("newest words")
        rows.nth(0).locator(".trajectory-toggle").click()
        expect(rows.nth(0).locator(".reasoning-text")).to_contain_text("trace of request")
        fail.set()
        expect(lane(page, "heavy").locator("[data-trajectory][data-phase=error]")).to_have_count(1)
        go.set()
        wait_phase(page, "heavy", "done")
        phases = [rows.nth(k).get_attribute("data-phase") for k in range(4)]
        assert sorted(str(phase) for phase in phases) == ["done", "done", "done", "error"]
        failed = rows.nth(phases.index("error"))
        expect(failed.locator(".trajectory-tail")).to_have_text("It broke off.")
        expect(rows.nth(phases.index("done")).locator(".trajectory-figures")).to_contain_text("tok")
        if phases[0] == "done":
            expect(rows.nth(0).locator(".trajectory-answer strong").first).to_be_visible()
        expect(lane(page, "heavy", "answer").locator("em")).to_have_text("one")
        expect(lane(page, "heavy").locator("> .lane-frame .reasoning-text").last).to_have_text("They differ. ")
        expect(lane(page, "heavy", "steps")).to_contain_text("Hybridizing 3/4")


def test_heavy_stopped_in_its_trajectories_says_where_the_reasoning_is(warm: WarmContext) -> None:
    thinking = [Phase(CONNECTED), Reasoning("Let me see. "), threading.Event()]
    inner = scripted(*thinking, id="inner")
    heavy = HeavyProvider(HeavyLane("heavy", "Heavy", "heavy", of="inner", width=2, quorum=2), inner)
    with opened(warm, inner, heavy) as page:
        send(page)
        expect(lane(page, "heavy").locator("[data-trajectory][data-phase=thinking]")).to_have_count(2)
        lane(page, "heavy").get_by_role("button", name="Stop Heavy").click()
        wait_phase(page, "heavy", "stopped")
        title = lane(page, "heavy").locator("> .lane-frame .reasoning-title").last
        expect(title).to_have_text("The reasoning is in the trajectories")


def test_a_trajectorys_reasoning_folds_once_it_answers_and_stays_as_the_reader_set_it(warm: WarmContext) -> None:
    go, end = threading.Event(), threading.Event()
    inner = scripted(
        Phase(CONNECTED), Reasoning("Let me see. "), go, Answer("An answer."), end, Finish("stop"), id="inner"
    )
    heavy = HeavyProvider(HeavyLane("heavy", "Heavy", "heavy", of="inner", width=2, quorum=2), inner)
    with opened(warm, inner, heavy) as page:
        send(page)
        row = lane(page, "heavy").locator("[data-trajectory]").first
        expect(row).to_have_attribute("data-phase", "thinking")
        row.locator(".trajectory-toggle").click()
        toggle, preference = row.locator(".reasoning-toggle"), row.locator(".reasoning-foot select")
        expect(toggle).to_have_attribute("aria-expanded", "true")
        preference.select_option("open")
        go.set()
        expect(row).to_have_attribute("data-phase", "answering")
        expect(toggle).to_have_attribute("aria-expanded", "true")
        preference.select_option("auto")
        expect(toggle).to_have_attribute("aria-expanded", "false")
        toggle.click()
        for expanded in ("false", "true"):
            row.locator(".trajectory-toggle").click()
            expect(row.locator(".trajectory-toggle")).to_have_attribute("aria-expanded", expanded)
        expect(toggle).to_have_attribute("aria-expanded", "true")
        expect(row.locator(".reasoning-text")).to_have_text("Let me see. ")
        lane(page, "heavy").locator("[data-trajectory]").last.locator(".trajectory-toggle").click()
        other = lane(page, "heavy").locator("[data-trajectory]").last.locator(".reasoning-toggle")
        expect(other).to_have_attribute("aria-expanded", "false")  # it had answered before
        end.set()
        wait_phase(page, "heavy", "done")


def test_heavy_shows_the_phase_of_each_trajectory(warm: WarmContext) -> None:
    draft, end, join = threading.Event(), threading.Event(), threading.Event()
    draws = ["Yes.", "No, that is not so."]

    def answers(request: ChatRequest) -> Iterator[Any]:
        if "The candidates end here" in request.messages[-1].content:  # the aggregation
            yield from (join, Reasoning("They agree. "), Answer("Yes."), Finish("stop"))
        else:
            yield from (Phase(CONNECTED), Reasoning("Let me see. "), draft, Answer(draws.pop()), end, Finish("stop"))

    inner = ScriptedProvider(LaneSpec("inner", "Inner", "openai", model="i"), [answers])
    heavy = HeavyProvider(HeavyLane("heavy", "Heavy", "heavy", of="inner", width=2, quorum=2), inner)
    with opened(warm, heavy) as page:
        send(page)
        status = lane(page, "heavy", "status")
        for gate, word in ((draft, "Thinking"), (end, "Drafting"), (join, "Hybridizing")):
            expect(status).to_have_text(re.compile(rf"^{word} \d+\.\d s$"))
            expect(lane(page, "heavy")).to_have_attribute("data-phase", "thinking")
            gate.set()
        wait_phase(page, "heavy", "done")


def without_estimates(page: Page) -> None:
    """An estimate of the prompt just sent may come late, as a line of the composer for a moment."""
    page.route("**/kimi/estimate", lambda route: route.fulfill(json={"lanes": []}))


def test_six_lanes_with_long_names_stay_apart(warm: WarmContext) -> None:
    lanes = [scripted(Answer("Yes."), Finish("stop"), id=f"a-name-of-some-length-{i}") for i in range(6)]
    with opened(warm, *lanes, viewport={"width": 390, "height": 844}) as page:
        without_estimates(page)
        send(page)
        for one in lanes:
            wait_phase(page, one.spec.id, "done")
        tabs = page.locator(".turn-current .lane-tab")
        places = """tabs => tabs.map(tab => [tab.offsetLeft, tab.offsetWidth])"""
        before = tabs.evaluate_all(places)
        assert all(tabs.evaluate_all("tabs => tabs.map(tab => tab.scrollWidth <= tab.clientWidth)"))
        page.locator(".turn-current .lanes").evaluate("lanes => lanes.scrollTo(lanes.scrollWidth, 0)")
        expect(tabs.last).to_have_attribute("aria-selected", "true")
        expect(tabs.last).to_be_in_viewport(ratio=0.9)
        assert tabs.evaluate_all(places) == before

        composer, totals = page.locator("#composer"), page.locator("#totals")
        expect(page.locator("#estimate")).to_be_hidden()
        height = composer.evaluate("one => one.offsetHeight")
        spent = {"usd": 0.0036, "n_estimated": 1, "n_unknown": 1, "limit_usd": 1}
        page.route("**/kimi/spent?*", lambda route: route.fulfill(json={"conversation": spent, "today": spent}))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # the page reads the sums again
        expect(totals).to_contain_text("unpriced")
        assert composer.evaluate("one => one.offsetHeight") == height
        page.get_by_role("button", name="Attach, settings and more").click()
        for shown in (totals, page.locator("#attach"), page.locator("#settings")):
            expect(shown).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#attach")).to_be_hidden()

        page.set_viewport_size({"width": 1024, "height": 768})
        compare = page.get_by_role("button", name="Compare two answers")
        assert compare.evaluate("one => one.scrollWidth <= one.clientWidth")


SIZES = [(1600, 900), (1024, 768), (390, 844)]
SHORT = [(960, 540), (640, 512), (844, 390), (667, 375), (390, 664), (390, 420), (720, 450), (480, 270), (320, 256)]
LONG = [Phase(CONNECTED), Reasoning("Let me check.\n" * 60), Answer("Answer line. " * 400), Finish("stop")]
OVERFLOWS = "one => one.scrollHeight > one.clientHeight"
SEEN_PX = """one => new Promise(tell => new IntersectionObserver(([entry], observer) => {
    observer.disconnect(); tell(entry.intersectionRect.height) }).observe(one))"""
FIGURES_CUT = """() => [...document.querySelectorAll(".lane .metrics")].filter(one => {
    const { top, bottom } = one.getBoundingClientRect(), lane = one.closest(".lane");
    return top < lane.querySelector(".lane-body").getBoundingClientRect().bottom - 1
        || bottom > lane.closest(".lanes").getBoundingClientRect().bottom }).length"""


def test_a_short_window_scrolls_to_the_whole_lane(warm: WarmContext) -> None:
    with opened(warm, *(scripted(*LONG, id=id) for id in "abc")) as page:
        turns, body = page.locator(".turns"), lane(page, "a").locator(".lane-body")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            assert width == 390 or not turns.evaluate(OVERFLOWS), (width, height)  # the start page scrolls on a phone
        without_estimates(page)
        send(page)
        for id in "abc":
            wait_phase(page, id, "done")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            assert not turns.evaluate(OVERFLOWS), (width, height)
        for width, height in SHORT:
            page.set_viewport_size({"width": width, "height": height})
            body.evaluate("one => one.scrollIntoView({ block: 'center' })")
            assert body.evaluate(SEEN_PX) >= 150, (width, height)
            assert not page.evaluate(FIGURES_CUT), (width, height)
            page.locator("#send").evaluate("one => one.scrollIntoView()")
            expect(page.locator("#send")).to_be_in_viewport(ratio=0.9)
            assert page.locator("#chat-main").evaluate("one => one.scrollWidth <= one.clientWidth"), (width, height)


def test_an_earlier_turn_shows_all_of_its_figures(warm: WarmContext) -> None:
    with opened(warm, *(scripted(*LONG, id=id) for id in "abc")) as page:
        without_estimates(page)
        for prompt in ("One?", "Two?"):
            send(page, prompt)
            for id in "abc":
                page.locator(f'.turn-current:has-text("{prompt}") [data-lane="{id}"][data-phase="done"]').wait_for()
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            assert not page.evaluate(FIGURES_CUT), (width, height)
            past = page.locator("[data-past-lane]").first
            assert past.evaluate("one => one.offsetHeight") <= 0.7 * height + 1
            assert past.locator(".lane-body").evaluate(OVERFLOWS)


def test_the_trace_fades_only_where_there_is_more_of_it_above(warm: WarmContext) -> None:
    with opened(warm, scripted(*LONG)) as page:
        send(page)
        wait_phase(page, "a", "done")
        lane(page, "a").locator(".reasoning-toggle").click()
        view, above = page.locator(".reasoning-view"), page.locator(".reasoning-frame:has(> .scrolled)")
        fade = "one => getComputedStyle(one.parentElement, '::before').content"
        view.evaluate("one => one.scrollTo(0, 1e6)")
        expect(above).to_have_count(1)
        assert view.evaluate(fade) != "none"
        view.evaluate("one => one.scrollTo(0, 0)")
        expect(above).to_have_count(0)
        assert view.evaluate(fade) == "none"


def test_forced_colours_keep_marks_that_differ_only_by_colour(warm: WarmContext) -> None:
    with opened(warm, *(scripted(*LONG, id=id) for id in "ab"), forced_colors="active") as page:
        send(page)
        wait_phase(page, "a", "done")
        wait_phase(page, "b", "done")
        canvas = page.evaluate("getComputedStyle(document.body).backgroundColor")
        colour = "all => all.map(one => getComputedStyle(one).backgroundColor)"
        for what in (".lane-head .dot", ".verdict-choice .dot", ".race-answer", ".race-track"):
            seen = page.locator(f".turn-current {what}").evaluate_all(colour)
            assert seen, what
            assert canvas not in seen, what
        assert page.locator("#send").evaluate("one => getComputedStyle(one).borderTopWidth") == "1px"


def test_a_step_scrolls_to_its_place_in_the_trace(warm: WarmContext) -> None:
    filler = "".join(f"line {i} 😀 of a long \u202estretch\u202c of thought\r\n" for i in range(150))
    trace = [
        Reasoning("# Reading the question\n" + filler),
        0.01,
        Reasoning("## Checking the units of $E = mc^2$\nThey match.\nWait, do they match?\n" + filler),
    ]
    late = [Phase(CONNECTED), *trace[:2], 2.6, trace[2], Answer("Yes."), Finish("stop")]
    with opened(warm, scripted(*late)) as page:
        send(page)
        wait_phase(page, "a", "done")
        steps = lane(page, "a", "steps")
        topic = steps.locator(".step-topic", has_text="Checking the units")
        expect(topic).to_have_count(1)
        expect(topic.locator("math")).to_have_text("E=mc2")
        expect(steps.locator('li[data-level="0"] .step-topic')).to_have_count(2)
        expect(steps.locator(".step-system", has_text="Thinking")).to_have_count(1)
        lane(page, "a").locator(".steps-switch").click()
        topic.click()
        expect(lane(page, "a", "reasoning").locator(".reasoning-toggle")).to_have_attribute("aria-expanded", "true")
        line = lane(page, "a").locator(".text-line", has_text="## Checking the units of $E = mc^2$")
        expect(line).to_be_in_viewport()
        inside = """line => { const view = line.closest(".reasoning-view").getBoundingClientRect();
                              const at = line.getBoundingClientRect();
                              return at.top >= view.top - 1 && at.bottom <= view.bottom + 1 }"""
        until(lambda: line.evaluate(inside))
        marked = page.evaluate("[...CSS.highlights.get('kimi-found-here')].map(range => range.toString())")
        assert marked == ["## Checking the units of $E = mc^2$"]


def test_preparing_shows_its_progress_and_then_disappears(warm: WarmContext) -> None:
    go = threading.Event()
    provider = scripted(Phase(CONNECTED), Answer("Ready now."), Finish("stop"))
    provider.prepare_steps = [Phase(PREPARING, "Fetching the weights", 25_000_000, 100_000_000), go]
    with opened(warm, provider) as page:
        send(page)
        card = lane(page, "a").locator(".card-waiting")
        expect(card).to_contain_text("Fetching the weights")
        expect(card.locator(".figures")).to_have_text("25.0 MB of 100.0 MB · 25 %")
        assert card.locator("progress").evaluate("bar => bar.value") == pytest.approx(0.25)
        expect(lane(page, "a")).to_have_attribute("data-phase", "connecting")
        expect(lane(page, "a", "status")).to_contain_text("Preparing")
        go.set()
        wait_phase(page, "a", "done")
        expect(card).to_have_count(0)


def test_text_that_turns_out_to_be_reasoning_moves_to_the_reasoning_panel(warm: WarmContext) -> None:
    go = threading.Event()
    with opened(warm, scripted(Answer("thinking aloud"), go, Relabel(), Answer("Real."), Finish("stop"))) as page:
        send(page)
        expect(lane(page, "a", "answer")).to_have_text("thinking aloud")
        go.set()
        wait_phase(page, "a", "done")
        expect(lane(page, "a", "answer")).to_have_text("Real.")
        assert lane(page, "a").locator(".reasoning-text").text_content() == "thinking aloud"


def test_a_very_long_trace_is_complete_and_mostly_not_laid_out(warm: WarmContext) -> None:
    paragraphs = "".join(f"Paragraph {i}: " + "so it goes on and on " * 12 + "\n\n" for i in range(800))
    one_line = "unbroken" * 3000 + " and \U0001f600 " * 2000
    end = threading.Event()
    pieces = [paragraphs[i : i + 2000] for i in range(0, len(paragraphs), 2000)] + [one_line]
    with opened(warm, scripted(*(part for piece in pieces for part in (Reasoning(piece), 0.002)), end)) as page:
        send(page)
        text = lane(page, "a").locator(".reasoning-text")
        whole = paragraphs + one_line
        assert len(whole) > 200_000
        until(lambda: text.evaluate("text => text.textContent.length") == len(whole.encode("utf-16-le")) // 2)
        assert text.text_content() == whole
        shown = text.evaluate("""text => [...text.children].filter(page =>
          page.firstElementChild.checkVisibility({contentVisibilityAuto: true})).length / text.children.length""")
        assert shown < 0.3  # pages out of sight have no layout
        longest = text.evaluate(
            "text => Math.max(...[...text.querySelectorAll('.text-line')].map(l => l.textContent.length))"
        )
        assert longest <= 1500
        end.set()


def test_a_trace_opens_at_its_newest_line_while_streaming_and_at_its_start_afterwards(warm: WarmContext) -> None:
    trace = "".join(f"Paragraph {i}: " + "so it goes on and on " * 12 + "\n\n" for i in range(200))
    end = threading.Event()
    with opened(warm, scripted(Phase(CONNECTED), Reasoning(trace), end, Answer("Yes."), Finish("stop"))) as page:
        page.evaluate("localStorage.setItem('kimi.reasoning-panels', 'folded')")
        page.evaluate("window.addEventListener('error', ({message}) => console.error(message))")
        send(page)
        wait_phase(page, "a", "thinking")
        toggle, pill = lane(page, "a").locator(".reasoning-toggle"), lane(page, "a").locator(".reasoning-frame .pill")
        view = lane(page, "a").locator(".reasoning-view")
        below = "view => view.scrollHeight - view.scrollTop - view.clientHeight"
        toggle.click()
        until(lambda: view.evaluate("view => view.scrollTop") > 1000 and view.evaluate(below) < 2)
        expect(pill).to_be_hidden()
        toggle.click()
        end.set()
        wait_phase(page, "a", "done")
        toggle.click()
        expect(pill).to_be_visible()
        assert view.evaluate("view => view.scrollTop") == 0
        pill.click()
        until(lambda: view.evaluate("view => view.scrollTop") > 1000 and view.evaluate(below) < 2)
        expect(pill).to_be_hidden()


def test_find_keeps_its_place_and_marks_while_the_trace_grows(warm: WarmContext) -> None:
    more, end = threading.Event(), threading.Event()
    script = [Reasoning("In İzmir: alpha, alp"), more, Reasoning("ha and ALPHA"), end, Answer("Yes."), Finish("stop")]
    marked = "name => [...CSS.highlights.get(name)].map(range => range.toString())"
    with opened(warm, scripted(Phase(CONNECTED), *script)) as page:
        send(page)
        wait_phase(page, "a", "thinking")
        lane(page, "a").get_by_role("button", name="Find in reasoning").click()
        page.keyboard.type("alpha")
        count = lane(page, "a").locator(".find-count")
        expect(count).to_have_text("1 of 1")
        more.set()
        expect(count).to_have_text("1 of 3")
        assert page.evaluate(marked, "kimi-found") == ["alpha", "alpha", "ALPHA"]
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        expect(count).to_have_text("3 of 3")
        assert page.evaluate(marked, "kimi-found-here") == ["ALPHA"]
        end.set()
        wait_phase(page, "a", "done")


def test_a_panel_that_folds_automatically_passes_on_the_keyboard_focus(warm: WarmContext) -> None:
    go, end = threading.Event(), threading.Event()
    with opened(
        warm, scripted(Phase(CONNECTED), Reasoning("Let me see. "), go, Answer("Yes."), end, Finish("stop"))
    ) as page:
        send(page)
        wait_phase(page, "a", "thinking")
        lane(page, "a").locator(".reasoning-view").focus()
        go.set()
        toggle = lane(page, "a").locator(".reasoning-toggle")
        expect(toggle).to_have_attribute("aria-expanded", "false")
        expect(toggle).to_be_focused()
        end.set()
        wait_phase(page, "a", "done")


def test_a_lost_server_is_announced_and_the_stream_resumes_when_it_is_back(warm: WarmContext) -> None:
    end = threading.Event()
    roster = ScriptedRoster(scripted(Phase(CONNECTED), Reasoning("before "), end, Answer("after"), Finish("stop")))
    with started(roster) as run, listening(app := made(run, roster)) as url:
        visitor = Visitor(warm, url)
        page = visitor.open()
        send(page)
        wait_phase(page, "a", "thinking")
        visitor.context.set_offline(True)
        app.state.streams.closing = True  # the open stream breaks, and no new one can be opened
        notice = page.locator(".page-notice")
        expect(notice).to_contain_text("cannot be reached", timeout=SLOW_MS)
        app.state.streams.closing = False
        visitor.context.set_offline(False)
        expect(notice).to_be_hidden(timeout=SLOW_MS)
        end.set()
        wait_phase(page, "a", "done")
        assert lane(page, "a").locator(".reasoning-text").text_content() == "before "
        expect(lane(page, "a", "answer")).to_have_text("after")
        visitor.close()
