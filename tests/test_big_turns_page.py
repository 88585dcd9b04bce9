"""Long texts of ended turns: a page that opens one gets them in parts, and each when it is opened. Nothing is lost."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning
from kimi_ui.providers.base import ChatRequest
from tests.support.browser import Visitor, lane
from tests.support.chat_site import ChatSite, answered, ask, spoken
from tests.support.waiting import until

GOES_ON = "It goes on and on, with no end. " * 400
LINES = [f"total_{i} = sum(value for value in values if value > {i})\n" for i in range(450)]
CODE = "document.querySelector('[data-lane=qwen] .md-source').textContent"
MARKED = "[...(CSS.highlights.get('kimi-found-here') ?? [])].map(range => range.toString())"
SEEN = """word => {  // where the marked word stands, once it can be seen
  const [range] = CSS.highlights.get('kimi-found-here') ?? [];
  if (range?.toString() !== word) return null;
  const { x, y, width, height } = range.getBoundingClientRect();
  if (!document.elementFromPoint(x + width / 2, y + height / 2)?.contains(range.startContainer)) return null;
  const place = (name) => range.startContainer.parentElement.closest(name);
  const lane = place('.lane'), trajectory = place('[data-trajectory]')?.dataset.trajectory;
  return [lane.dataset.lane ?? `earlier ${lane.dataset.pastLane}`, ...(trajectory ? [`T${+trajectory + 1}`] : []),
    place('.reasoning-text') ? 'reasoning' : 'answer'].join(' ');
}"""


def long(seen: str, heard: str) -> list[object]:
    """Long reasoning that has ``seen`` in its middle; a long answer with long code that has ``heard`` at its end."""
    pieces = [*(f"Paragraph {i} of it.\n\n" for i in range(800)), "```python\n", *LINES, f"```\n\nThe {heard} is here."]
    answer = [Answer("".join(pieces[i : i + 20])) for i in range(0, len(pieces), 20)]
    reasoning = Reasoning(f"**Plan**\n\n{GOES_ON}\nThe {seen} is lit.\n\n{GOES_ON}")
    return [Phase(CONNECTED), reasoning, *answer, Finish("stop")]


def each_its_own() -> Callable[[ChatRequest], list[object]]:
    """A model that says ``candle1`` and ``gull1``, then ``candle2`` and ``gull2``, and so on."""
    numbers = itertools.count(1)
    return lambda _: long(f"candle{(number := next(numbers))}", f"gull{number}")


def not_picked(site: ChatSite, turn_id: str) -> tuple[int, str]:
    """A trajectory whose answer is not the one that heavy has picked (they are too long to be aggregated), from 0, and
    the number of its words."""
    turn = site.turns.get(turn_id)
    assert turn is not None
    fold = turn.fold()
    numbers = {id: one.answer.rpartition("gull")[2][:1] for id, one in fold.folds.items()}
    picked = numbers[fold.current("heavy") or ""]
    trajectories = ((one.k_index, numbers[id]) for id, one in fold.attempts.items())
    return next((k, number) for k, number in trajectories if k is not None and number != picked)


def open_hit(page: Page, word: str) -> str:
    """Open the only conversation in which a search finds the word; where it is shown and marked then."""
    page.locator(".history-new").click()
    page.locator(".history-search").fill(word)
    expect(page.locator(".history-results mark")).to_have_text([word])
    page.locator(".history-results .history-open").first.click()
    return str(page.wait_for_function(SEEN, arg=word).json_value())


def test_a_long_turn_is_sent_in_parts_and_each_text_when_it_is_opened(
    site: ChatSite, visitor: Visitor, page: Page
) -> None:
    site.say(each_its_own(), long("lantern", "heron"))
    turn = ask(page)
    # A page that gets to the stream after the end of an answer has that before the rest of its text.
    expect(lane(page, "qwen", "answer")).to_contain_text("The heron is here.")
    assert page.evaluate(CODE) == "".join(LINES)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url) if "/attempts/" in request.url else None)

    page.goto(f"{site.url}/?turn={turn}")
    answered(page)
    qwen, panel = lane(page, "qwen"), lane(page, "qwen", "reasoning")
    expect(qwen.locator("[data-part=answer]")).to_contain_text("The heron is here.")
    assert page.evaluate(CODE) == "".join(LINES)
    assert page.locator("[data-lane=qwen] .md-lines").count() == 5
    expect(panel.locator(".reasoning-toggle")).to_contain_text("Thought for")
    assert requested == []

    page.route("**/reasoning", lambda route: route.abort())
    panel.locator(".reasoning-toggle").click()
    expect(panel.get_by_role("alert")).to_contain_text("The reasoning could not be fetched. The server did not answer.")
    page.unroute("**/reasoning")
    panel.get_by_role("button", name="Try again").click()
    expect(panel.locator(".reasoning-text")).to_contain_text("The lantern is lit.")
    assert len(requested) == 2

    page.reload()
    answered(page)
    panel.get_by_role("button", name="Find in reasoning").click()
    panel.get_by_role("searchbox").fill("lantern")
    until(lambda: page.evaluate(MARKED) == ["lantern"])
    row = page.locator("[data-lane=heavy] [data-trajectory='0']")
    expect(row.locator(".trajectory-tail")).to_contain_text(re.compile("The gull. is here."))
    row.locator(".trajectory-toggle").click()
    expect(row.locator(".trajectory-answer")).to_contain_text(re.compile("The gull. is here."))
    row.locator(".reasoning-toggle").click()
    expect(row.locator(".reasoning-text")).to_contain_text(re.compile("The candle. is lit."))

    # What a search finds is unfolded, in sight and marked.
    assert [open_hit(page, word) for word in ("lantern", "heron")] == ["qwen reasoning", "qwen answer"]
    k, number = not_picked(site, turn)
    assert open_hit(page, f"candle{number}") == f"heavy T{k + 1} reasoning"
    expect(page.locator(".history-results .history-meta")).to_have_text(f"Reasoning · Kimi K2 heavy · T{k + 1}")
    assert open_hit(page, f"gull{number}") == f"heavy T{k + 1} answer"

    site.say(spoken())
    qwen.get_by_role("button", name="Ask Qwen3-Coder again").click()
    expect(qwen.locator(".attempts")).to_contain_text("Attempt 2 of 2")
    answered(page)
    page.route("**/attempts/1", lambda route: route.abort())
    page.get_by_role("button", name="Earlier attempt").click()
    missing = qwen.get_by_role("alert")
    expect(missing).to_contain_text("Attempt 1 could not be fetched. The server did not answer.")
    page.unroute("**/attempts/1")
    missing.get_by_role("button", name="Try again").click()
    earlier = page.locator(".lane.earlier")
    expect(earlier.locator("[data-part=answer]")).to_contain_text("The heron is here.")
    earlier.locator(".reasoning-toggle").click()
    expect(earlier.locator(".reasoning-text")).to_contain_text("The lantern is lit.")
    assert [open_hit(page, word) for word in ("heron", "lantern")] == ["earlier qwen answer", "earlier qwen reasoning"]
    expect(page.locator(".history-results .history-meta")).to_have_text("Reasoning · Qwen3-Coder · attempt 1 of 2")
    assert [problem for problem in visitor.problems if "net::ERR_FAILED" not in problem] == []
    visitor.problems.clear()
