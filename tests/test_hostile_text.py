"""A hostile model, in the real page in real Chromium: nothing runs, nothing is fetched, nothing escapes its panel."""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Failure, Finish, Meta, Phase, Reasoning
from kimi_ui.providers.base import ProviderError
from tests.support.browser import Visitor, lane, send, wait_phase
from tests.support.chat_site import ChatSite, ask
from tests.support.hostile_html import violations
from tests.support.hostile_payloads import PAYLOADS, payloads

TEXTS_A_PAGE = 10  # two a turn

# Elements that no text of a model may become, in any panel.
FORBIDDEN = ", ".join(
    (
        "script, style, link, meta, base, iframe, frame, object, embed, img, image, svg, video, audio, source, picture",
        "form, input:not(.find-input), select:not([aria-label='Reasoning panels'], [aria-label='Strategy'])",
        "use, foreignObject, annotation-xml, mglyph",
        "[onerror], [onload], [onclick], [onmouseover], [ontoggle], [ping], [srcset], [srcdoc], [formaction], [action]",
        "[style*=url], [style*=fixed], [style*=absolute]",
    )
)

# The same where the page has controls and charts of its own.
FORBIDDEN_ANYWHERE = ", ".join(
    (
        "iframe, frame, object, embed, img, image, video, audio, source, picture, form, use, foreignObject, base",
        "[onerror], [onload], [onclick], [onmouseover], [ontoggle], [ping], [srcset], [srcdoc], [formaction], [action]",
        "a[href^='javascript' i], a[href^='data' i]",
    )
)
AUDIT_ANYWHERE = """(forbidden) => ({
  ran: window.ran,
  forbidden: [...document.querySelectorAll(".kimi *, .history *, dialog *, .standalone-head *")]
    .filter((node) => node.matches(forbidden)).map((node) => node.outerHTML.slice(0, 200)),
})"""

AUDIT = """(forbidden) => {
  const text = [...document.querySelectorAll("[data-part], .prompt-text, .card, .trajectory")];
  const inside = text.flatMap((panel) => [...panel.querySelectorAll("*")]);
  const answers = [...document.querySelectorAll("[data-part=answer] *")];
  return {
    ran: window.ran,
    forbidden: inside.filter((node) => node.matches(forbidden)).map((node) => node.outerHTML.slice(0, 200)),
    placed: answers.filter((node) => !["static", "relative"].includes(getComputedStyle(node).position)).length,
    html: [...document.querySelectorAll(".answer-chunk, .answer-tail")].map((node) => node.innerHTML),
    lanes: [...document.querySelectorAll("[data-lane]")].map((node) => node.dataset.lane),
    unique: ["prompt", "send", "stop"].map((id) => document.querySelectorAll(`[id="${id}"]`).length),
    title: document.title,
    wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    covered: ["send", "prompt"].filter((id) => {
      const box = document.getElementById(id).getBoundingClientRect();
      const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      return !document.getElementById(id).contains(top) && !top?.contains(document.getElementById(id));
    }),
  };
}"""


class Evil(http.server.BaseHTTPRequestHandler):
    """The attacker's server: it only records requests."""

    heard: list[str]

    def do_GET(self) -> None:
        self.heard.append(f"{self.command} {self.path}")
        self.send_response(204)
        self.end_headers()

    do_POST = do_HEAD = do_OPTIONS = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def evil() -> Iterator[tuple[str, list[str]]]:
    heard: list[str] = []
    handler = type("Handler", (Evil,), {"heard": heard})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()
        thread.join()


@pytest.fixture
def site(site: ChatSite) -> Iterator[ChatSite]:
    """The site; no turn is running after a test."""
    yield site
    site.settle()


class Watched:
    """A visitor whose requests, dialogs and console errors are recorded."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.visitor = Visitor(browser, url)
        self.visitor.context.on("request", lambda request: self.requests.append(request.url))
        self.visitor.context.on("dialog", self._refuse)

    def _refuse(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def page(self) -> Page:
        """Load the page again, with empty records."""
        if self.visitor.context.pages:
            page = self.visitor.context.pages[0]
            page.goto("about:blank")
            page.goto(self.url)
            page.locator("[data-lane]").first.wait_for()
        else:
            page = self.visitor.open()
        self.requests.clear()
        return page

    def strangers(self) -> list[str]:
        """Requests to other origins, or to our server with another origin in them."""
        away = [url for url in self.requests if not url.startswith((self.url + "/", "data:", "blob:", "about:"))]
        return away + [url for url in self.requests if "file=" in url or "proxy=" in url]


@pytest.fixture(scope="module")
def watched(browser: Browser, app: ChatSite) -> Iterator[Watched]:
    watched = Watched(browser, app.url)
    yield watched
    watched.visitor.close()
    assert [problem for problem in watched.visitor.problems if "Content Security Policy" in problem] == []


def pieces(text: str, kind: type, size: int = 7) -> list[Any]:
    return [kind(text[start : start + size]) for start in range(0, len(text), size)]


def spoken(text: str) -> list[Any]:
    """The payload as reasoning, as a topic of it, and as the answer, in small pieces and over several frames."""
    reasoning = pieces(f"Let me check {text}\n\n## {text}\n", Reasoning)
    answer = pieces(f"{text}\n\nMiddle.\n\n{text}", Answer)
    half = len(answer) // 2
    return [Phase(CONNECTED), *reasoning, 0.05, *answer[:half], 0.05, *answer[half:], Finish("stop")]


def assert_harmless(page: Page, watched: Watched, heard: list[str]) -> None:
    seen = page.evaluate(AUDIT, FORBIDDEN)
    assert seen["ran"] is None
    assert watched.dialogs == []
    assert seen["forbidden"] == []
    assert seen["placed"] == 0
    for html in seen["html"]:
        assert violations(html) == []
    assert sorted(seen["lanes"]) == ["heavy", "kimi", "qwen"]
    assert seen["unique"] == [1, 1, 1]
    assert seen["covered"] == []
    assert seen["wider"] <= 0
    assert heard == []
    assert watched.strangers() == []


@pytest.mark.parametrize("first", range(0, len(PAYLOADS), TEXTS_A_PAGE))
def test_no_text_runs_fetches_or_leaves_its_panel(
    site: ChatSite, watched: Watched, evil: tuple[str, list[str]], first: int
) -> None:
    url, heard = evil
    texts = list(payloads(url).values())[first : first + TEXTS_A_PAGE]
    page = watched.page()
    for one, other in itertools.zip_longest(texts[::2], texts[1::2], fillvalue=texts[0]):
        site.say(spoken(one), spoken(other))
        ask(page, f"Say {one}")
        for lane_id in ("kimi", "qwen"):
            expect(lane(page, lane_id, "answer")).to_contain_text("Middle.")
        for link in page.locator(".turn-current [data-part=answer] a").all():
            link.hover()
        assert_harmless(page, watched, heard)


def test_failures_and_names_are_text_too(site: ChatSite, watched: Watched, evil: tuple[str, list[str]]) -> None:
    url, heard = evil
    text = " ".join(
        payloads(url)[name] for name in ("script", "image handler", "image", "overlay", "form", "template literal")
    )
    failure = Failure("upstream", text, remedy=text, command=text, detail=text, http_status=500)
    site.say(
        [
            Phase(CONNECTED),
            Meta(response_model=text, upstream=text, response_id=text),
            Answer("Partly"),
            ProviderError(failure),
        ],
        [Phase(CONNECTED, text), ProviderError(failure)],
    )
    page = watched.page()
    send(page)
    for lane_id in ("kimi", "heavy", "qwen"):
        wait_phase(page, lane_id, "error", "incomplete")
    expect(lane(page, "qwen")).to_contain_text("<script>")
    assert_harmless(page, watched, heard)


def assert_harmless_anywhere(page: Page, watched: Watched, heard: list[str]) -> None:
    assert page.evaluate(AUDIT_ANYWHERE, FORBIDDEN_ANYWHERE) == {"ran": None, "forbidden": []}
    assert watched.dialogs == []
    assert heard == []
    assert watched.strangers() == []


def test_stored_text_is_harmless_wherever_it_is_shown_again(
    site: ChatSite, watched: Watched, evil: tuple[str, list[str]], tmp_path: Path
) -> None:
    """Title, history, search, the diff of two answers, a replay, the other tabs, and the exported page."""
    url, heard = evil
    texts = list(payloads(url).values())
    everything, backwards = "\n\n".join(texts), "\n\n".join(reversed(texts))
    site.say(spoken(everything), spoken(backwards))
    page = watched.page()
    send(page, f"<img src={url}/title.png onerror=window.ran=1> ${{window.ran=1}} {{{{window.ran=1}}}}")
    for lane_id in ("kimi", "heavy", "qwen"):
        wait_phase(page, lane_id, "done")
    conversation = page.url.partition("?c=")[2]

    title = page.locator(f'.history [data-conversation="{conversation}"] .history-title')
    expect(title).to_contain_text("${window.ran=1}")
    page.locator(".history-search").fill("onerror")
    expect(page.locator(".history-results mark").first).to_be_visible()
    assert_harmless_anywhere(page, watched, heard)

    page.get_by_role("button", name="Compare two answers").first.click()
    expect(page.locator("dialog.compare .compare-row").nth(3)).to_be_attached()
    assert_harmless_anywhere(page, watched, heard)
    page.locator(".compare-close").click()

    page.locator('[data-action="replay"]').first.click()
    expect(page.locator("[data-part=answer]").first).to_be_attached()
    assert_harmless_anywhere(page, watched, heard)
    for tab in page.get_by_role("tab").filter(has_not_text="Lanes").all():  # that tab shows no text of a model
        tab.click()
        page.wait_for_load_state("networkidle")
        assert_harmless_anywhere(page, watched, heard)

    exported = watched.visitor.context.request.get(f"{site.url}/kimi/conversations/{conversation}/export?format=html")
    assert "attachment" in exported.headers["content-disposition"]
    file = tmp_path / "export.html"
    file.write_bytes(exported.body())
    page.goto("about:blank")  # it may still ask the server for something
    alone = watched.visitor.context.new_page()
    watched.requests.clear()
    alone.goto(file.as_uri())
    expect(alone.locator("[data-part=answer]").first).to_contain_text("Middle.")
    alone.locator('[data-action="replay"]').first.click()
    assert alone.evaluate(AUDIT_ANYWHERE, FORBIDDEN_ANYWHERE) == {"ran": None, "forbidden": []}
    assert heard == []
    assert [request for request in watched.requests if not request.startswith("file:")] == []
    alone.close()
