"""Other ways to use the page than clicking: keyboards, touch, selecting, printing, other scripts.

- Touch: on a touch screen Enter begins a new line; everywhere else it sends, and Ctrl or Cmd with Enter always sends.
- Layouts: a shortcut is the letter on a Latin layout, and on any other layout the key in the same place.
- Input methods: a key that an input method handles (``isComposing`` or key code 229) does nothing else.
- Selection: selected text stays selected while its answer is rendered again, as long as its words are there.
- Print: all text is printed, from the page and from the exported file, but no controls.
- Right to left: markers, bars and columns are on the side where the text begins.
- Exports of cut-off answers: a code block that was cut off does not include the text after it.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from pypdf import PdfReader

from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning
from kimi_ui.core.markdown.inert import closed
from kimi_ui.view.export import export
from tests.support.browser import Visitor, lane, send, wait_phase
from tests.support.chat_site import ChatSite, answered, ask, endless


def whole(text: str) -> list[Any]:
    return [Phase(CONNECTED), Reasoning("Thinking."), Answer(text), Finish("stop")]


@pytest.fixture
def touch(browser: Browser, site: ChatSite) -> Iterator[Page]:
    visitor = Visitor(browser, site.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    yield visitor.open()
    visitor.close()


# Touch


def test_on_a_touch_screen_enter_begins_a_new_line_and_the_button_or_enter_with_control_sends(touch: Page) -> None:
    box, prompt = touch.locator("#prompt textarea"), touch.locator(".turn-current .prompt-text")
    box.fill("first")
    box.press("Enter")
    box.press_sequentially("second")
    expect(box).to_have_value("first\nsecond")
    touch.locator("#send").click()
    expect(prompt).to_have_text("first\nsecond")
    for keys in ("Control+Enter", "Meta+Enter"):
        answered(touch)
        box.fill(f"now by {keys}")
        box.press(keys)
        expect(prompt).to_have_text(f"now by {keys}")


# Layouts and input methods


def key(page: Page, target: str, **event: Any) -> None:
    page.locator(target).first.evaluate(
        """(element, event) => {
            const made = new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...event });
            if (event.keyCode) Object.defineProperty(made, "keyCode", { value: event.keyCode });
            element.dispatchEvent(made);
        }""",
        event,
    )


def test_letters_and_digits_are_shortcuts_on_every_layout(page: Page) -> None:
    ask(page)
    expanded = page.locator('.turn-current .reasoning-toggle[aria-expanded="true"]')
    expect(expanded).to_have_count(0)  # it folds one second later
    toggle = lane(page, "kimi", "reasoning").locator(".reasoning-toggle")
    letters = [("t", "KeyT"), ("T", "KeyT"), ("е", "KeyT"), ("Е", "KeyT"), ("τ", "KeyT"), ("א", "KeyT"), ("t", "KeyK")]
    for place, (pressed, code) in enumerate(letters):
        key(page, "body", key=pressed, code=code)
        expect(toggle).to_have_attribute("aria-expanded", "false" if place % 2 else "true")
    for pressed, code in (("2", "Digit2"), ("é", "Digit2"), ("2", "Numpad2")):
        key(page, "body", key=pressed, code=code)
        expect(page.locator(".lane.focused")).to_have_attribute("data-lane", "heavy")
        key(page, "body", key=pressed, code=code)
        expect(page.locator(".lane.focused")).to_have_count(0)


def test_escape_in_an_input_method_does_not_stop_the_turn(page: Page, site: ChatSite) -> None:
    site.say(endless(Answer), endless(Answer))
    send(page)
    wait_phase(page, "kimi", "answering")
    stops: list[str] = []
    page.on("request", lambda request: stops.append(request.url) if request.url.endswith("/stop") else None)
    for target in ("body", "#prompt textarea"):
        for event in ({"keyCode": 229}, {"isComposing": True}):
            key(page, target, key="Escape", code="Escape", **event)
    key(page, "body", key="t", code="KeyT")  # the page handles this key after the others
    assert stops == []
    assert len(site.turns.live()) == 1
    page.keyboard.press("Escape")
    wait_phase(page, "kimi", "stopped")
    assert len(stops) == 1


# Selection


def select(page: Page, words: str) -> None:
    """Select these words in the lane's answer, as a drag of the mouse would."""
    lane(page, "kimi", "answer").evaluate(
        """(answer, words) => {
            const texts = document.createTreeWalker(answer, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) {
                const at = texts.currentNode.data.indexOf(words);
                if (at < 0) continue;
                getSelection().setBaseAndExtent(texts.currentNode, at, texts.currentNode, at + words.length);
                return;
            }
            throw new Error(`no ${words}`);
        }""",
        words,
    )


def test_selected_text_stays_selected_while_the_answer_grows(page: Page, site: ChatSite) -> None:
    turn = None
    for first, more, words in (
        ("One sentence that grows", " and **grows** on.\n\nAnother.", "sentence that"),
        ("```python\nx = 1\ny = 22\n", "z = 3\n```\n\nDone.", "y = 22"),
        ("- first item\n- second", " item\n- third\n\nDone.", "first item"),
        ("**bold words** here", " and `code` and more.\n\nDone.", "bold words"),
        ("| a | b |\n|---|---|\n| cell one | 2 |\n", "| 3 | 4 |\n\nDone.", "cell one"),
        ("# A heading\n\nText under", " it.\n\nDone.", "Text under"),
    ):
        pieces = [part for piece in more for part in (Answer(piece), 0.01)]
        gate = threading.Event()
        site.say([Phase(CONNECTED), Answer(first), gate, *pieces, Finish("stop")])
        send(page)
        expect(lane(page, "kimi", "answer")).to_contain_text(words)
        select(page, words)
        gate.set()
        turn = answered(page, turn)
        assert page.evaluate("getSelection().toString()") == words, first


def test_a_selection_outside_the_answers_is_not_changed(page: Page) -> None:
    ask(page)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.prompt-text'))")
    assert page.evaluate("getSelection().toString()") == "Why?"


# Print


def printed(page: Page) -> tuple[int, str]:
    reader = PdfReader(io.BytesIO(page.pdf(format="A4")))
    return len(reader.pages), "\n".join(one.extract_text() for one in reader.pages)


LONG = "\n\n".join(f"Paragraph number {i} of this answer, which is long enough to fill a line." for i in range(260))


def check_print(pages: int, text: str) -> None:
    assert pages > 10
    for needle in (
        "Paragraph number 0 ",
        "Paragraph number 130 ",
        "Paragraph number 259 ",
        "The other lane says this.",
    ):
        assert needle in text, needle
    assert text.index("Paragraph number 259 ") < text.index("The other lane says this.")
    for control in ("Send", "Attach", "Retry", "Copy answer"):
        assert control not in text, control


def test_the_page_and_an_exported_file_print_everything_lane_after_lane_without_controls(
    page: Page, site: ChatSite, tmp_path: Path
) -> None:
    site.say(whole(LONG), whole("The other lane says this."))
    turn = site.turns.get(ask(page))
    assert turn is not None
    expect(lane(page, "kimi", "answer")).to_contain_text("Paragraph number 259 ")  # the end may come before the rest
    check_print(*printed(page))
    file = tmp_path / "turn.html"
    file.write_bytes(export([turn], "A turn", "html").data)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        page.goto(file.as_uri())
        page.locator("[data-lane]").first.wait_for()
        check_print(*printed(page))


# Right to left


def test_markers_bars_and_columns_of_right_to_left_text_are_on_the_right(page: Page, site: ChatSite) -> None:
    site.say(whole("- مرحبا بالعالم\n- اثنان\n\n> اقتباس طويل\n\n| اسم | قيمة |\n|---|---|\n| أ | ب |\n\nLatin text."))
    send(page)
    wait_phase(page, "kimi", "done")
    answer = lane(page, "kimi", "answer")
    for tag in ("ul", "blockquote", "table"):
        assert answer.locator(tag).evaluate("(element) => getComputedStyle(element).direction") == "rtl", tag
    bar = "(quote) => parseFloat(getComputedStyle(quote).borderRightWidth)"
    assert answer.locator("blockquote").evaluate(bar) > 0
    boxes = [answer.locator("th").nth(place).bounding_box() for place in (0, 1)]
    assert boxes[0]["x"] > boxes[1]["x"]
    latin = answer.locator("p", has_text="Latin text.")
    assert latin.evaluate("(element) => getComputedStyle(element).direction") == "ltr"


# Exports of cut answers


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("a\n```py\nx", "a\n```py\nx\n```"),
        ("a\n```py\nx\n``", "a\n```py\nx\n``\n```"),
        ("~~~\nx\n```", "~~~\nx\n```\n~~~"),
        ("````md\n```\nx\n```", "````md\n```\nx\n```\n````"),
        ("```", "```\n```"),
        ("   ```js\n   y", "   ```js\n   y\n```"),
        ("```\nx\n```", "```\nx\n```"),
        ("```\nx\n````", "```\nx\n````"),
        ("- a\n  ```\n  x", "- a\n  ```\n  x"),
        ("no code `here", "no code `here"),
    ],
)
def test_a_cut_off_code_block_is_closed_in_an_export(cut: str, whole: str) -> None:
    assert closed(cut) == whole
    assert closed(whole) == whole
