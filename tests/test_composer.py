"""The composer in real Chromium: keys, growth, drafts, attachments, estimate, and prompts of 100,000 tokens."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from kimi_ui.core.attachments import Attachment, fold
from tests.support import pdf_files
from tests.support.browser import Visitor, lane, send, wait_phase
from tests.support.chat_site import ChatSite, answered, attach, endless
from tests.support.image_files import picture
from tests.support.waiting import until

BOX = "#prompt textarea"
LONG = "".join(f"Line {i}: the quick brown fox jumps over the lazy dog.\n" for i in range(7000))  # ~100,000 tokens


def sent(site: ChatSite) -> list[str]:
    """The newest message that Qwen's lane was sent."""
    return [request.messages[-1].content for request in site.qwen.requests]


def put(page: Page, text: str) -> None:
    """Put a long text into the box at once; typed line by line it would take a browser minutes."""
    page.locator(BOX).evaluate(
        "(box, text) => { box.value = text; box.dispatchEvent(new Event('input', {bubbles: true})) }", text
    )


def test_enter_sends_but_not_with_shift_or_in_an_input_method(site: ChatSite, page: Page) -> None:
    box = page.locator(BOX)
    box.click()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(box).to_have_value("one\ntwo")
    ime = page.context.new_cdp_session(page)
    ime.send("Input.imeSetComposition", {"text": "ni", "selectionStart": 2, "selectionEnd": 2})
    key = {"key": "Process", "code": "Enter", "windowsVirtualKeyCode": 229}
    ime.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
    ime.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    ime.send("Input.insertText", {"text": "你"})
    expect(box).to_have_value("one\ntwo你")
    assert site.qwen.requests == []
    page.keyboard.press("Enter")
    answered(page)
    expect(box).to_have_value("")
    assert page.locator(".prompt-text").text_content() == "one\ntwo你"
    assert sent(site) == ["one\ntwo你"]


def test_the_textbox_does_not_see_the_enter_of_an_input_method(site: ChatSite, page: Page) -> None:
    page.locator(BOX).fill("ni hao")
    page.locator(BOX).evaluate(
        """box => { for (const type of ["keydown", "keypress", "keyup"])
             box.dispatchEvent(new KeyboardEvent(type, {key: "Enter", isComposing: true, bubbles: true})) }"""
    )
    expect(page.locator(BOX)).to_have_value("ni hao")
    page.locator(BOX).press("End")
    page.keyboard.type(" ma")
    page.keyboard.press("Enter")
    answered(page)
    assert sent(site) == ["ni hao ma"]


def test_text_typed_right_after_sending_stays_in_the_box(site: ChatSite, page: Page) -> None:
    box = page.locator(BOX)
    box.fill("one\ntwo")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.keyboard.type("three")
    before = answered(page)
    expect(box).to_have_value("three")
    page.keyboard.type(", four")
    page.keyboard.press("Enter")
    answered(page, before)
    expect(box).to_have_value("")
    assert sent(site) == ["one\ntwo", "three, four"]


def test_a_refused_prompt_is_put_back_before_newer_text(site: ChatSite, visitor: Visitor, page: Page) -> None:
    box, held = page.locator(BOX), list[Route]()
    attach(page, "notes.txt", b"some text")
    page.route("**/kimi/turns", lambda route: held.append(route))
    box.fill("first")
    page.keyboard.press("Enter")
    expect(box).to_have_value("")
    page.keyboard.type("second")
    page.keyboard.press("Enter")
    until(lambda: page.evaluate("1") and held)
    held[0].fulfill(status=503, json={"error": "The app is shutting down.", "code": "closing"})
    expect(box).to_have_value("first\nsecond")
    expect(page.locator(".composer-note")).to_have_text("The app is shutting down.")
    expect(page.locator(".attachment")).to_contain_text("notes.txt")
    assert len(held) == 1
    page.unroute("**/kimi/turns")
    page.keyboard.press("Enter")
    answered(page)
    assert sent(site) == [fold("first\nsecond", [Attachment("notes.txt", "some text")])]
    assert all("503" in problem for problem in visitor.problems)
    visitor.problems.clear()


def test_the_box_grows_with_its_text_up_to_a_limit(page: Page) -> None:
    box = page.locator(BOX)

    def height() -> int:
        return int(box.evaluate("box => box.clientHeight"))

    heights = [0]
    for n_lines in (1, 4, 9):
        box.fill("\n".join(["x"] * n_lines))
        until(lambda: height() > heights[-1])
        until(lambda: box.evaluate("box => box.scrollHeight === box.clientHeight"))
        heights.append(height())
    assert heights[1] < 45
    box.fill("\n".join(["x"] * 200))
    until(lambda: height() > heights[-1])
    assert height() <= 400
    expect(lane(page, "kimi", "status")).to_be_in_viewport()


def test_a_draft_survives_a_refresh_and_is_cleared_by_sending(site: ChatSite, page: Page) -> None:
    page.locator(BOX).fill("half a thou")
    page.reload()
    expect(page.locator(BOX)).to_have_value("half a thou")
    page.locator(BOX).press("End")
    page.keyboard.type("ght")
    page.locator("#send").click()
    answered(page)
    assert sent(site) == ["half a thought"]
    page.reload()
    lane(page, "kimi").wait_for()
    expect(page.locator(BOX)).to_have_value("")
    assert page.evaluate("Object.keys(sessionStorage).filter(key => sessionStorage[key].includes('thou'))") == []


def test_an_attached_file_is_in_the_prompt_and_shows_its_name_and_size(site: ChatSite, page: Page) -> None:
    attach(page, "notes.txt", b"The answer is 42.\r\n" * 100)
    expect(page.locator(".attachment")).to_contain_text("notes.txt · ~")
    send(page, "What is the answer?")
    answered(page)
    assert sent(site) == [fold("What is the answer?", [Attachment("notes.txt", "The answer is 42.\n" * 100)])]
    expect(page.locator(".attachment")).to_have_count(0)
    prompt = page.locator(".turn-prompt")
    expect(prompt.locator(".prompt-text")).to_have_text("What is the answer?")
    file = prompt.locator(".prompt-file")
    expect(file).to_contain_text("notes.txt· ~")
    expect(file).to_have_attribute("aria-expanded", "false")
    file.click()
    expect(prompt.locator(".prompt-file-text")).to_contain_text("The answer is 42.")
    page.reload()
    expect(page.locator(".turn-prompt .prompt-file")).to_contain_text("notes.txt")


def test_an_attachment_can_be_sent_without_text(site: ChatSite, page: Page) -> None:
    attach(page, "task.md", b"# Do this")
    page.locator("#send").click()
    answered(page)
    assert sent(site) == [fold("", [Attachment("task.md", "# Do this")])]


def test_refusals_are_one_line_and_nothing_else_is_lost(site: ChatSite, visitor: Visitor, page: Page) -> None:
    attach(page, "notes.txt", b"some text")
    attach(page, "photo.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    refused = page.locator(".attachments-refused")
    expect(refused).to_contain_text("photo.png is damaged and cannot be read as an image. Save it again as PNG")
    attach(page, "scan.pdf", pdf_files.SCANNED)
    expect(refused).to_contain_text("scan.pdf has no text: its 3 pages are pictures")
    expect(refused).not_to_contain_text("photo.png")
    page.get_by_role("button", name="Dismiss").press("Enter")
    expect(refused).to_be_hidden()
    expect(page.locator(BOX)).to_be_focused()
    attach(page, "paper.pdf", pdf_files.pdf(["On page one.", ""]))
    expect(page.locator(".attachment").last).to_contain_text("paper.pdf · 2 pages, 1 without text · ~")
    send(page, "Summarise")
    answered(page)
    paper = Attachment("paper.pdf", "[Page 1 of 2]\nOn page one.\n\n[Page 2 of 2: no text]\n")
    assert sent(site) == [fold("Summarise", [Attachment("notes.txt", "some text"), paper])]
    assert all("422" in problem for problem in visitor.problems)
    visitor.problems.clear()


def test_an_image_is_announced_lane_by_lane_then_sent_and_shown(
    site: ChatSite, browser: Browser, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.kimi, "sees", True)
    attach(page, "dot.webp", picture("WEBP", (8, 6)))
    expect(page.locator(".attachment")).to_contain_text("dot.webp · 8 × 6 pixels")
    told = page.locator(".attachments-lanes")
    expect(told).to_have_text(
        "The image goes to Kimi K2, Kimi K2 heavy. "
        "Qwen3-Coder: takes no images; a note in the prompt says so to the model."
    )
    expect(page.locator(".estimate-line")).to_contain_text("tokens + images")
    send(page, "What is it?")
    answered(page)
    expect(told).to_be_hidden()
    (image,) = site.kimi.requests[0].messages[-1].images
    assert (image.width, image.height, image.media_type) == (8, 6, "image/png")
    assert sent(site) == [
        f"[Attached image: {image.words}; it was not sent to you: this model takes no images]\n\nWhat is it?"
    ]
    expect(lane(page, "qwen")).to_contain_text("Images were left out of the request")
    page.reload()
    shown = page.get_by_role("button", name="Open dot.webp, 8 × 6 pixels")
    shown.press("Enter")
    large = page.get_by_role("dialog", name="dot.webp")
    expect(large.locator("img")).to_have_js_property("naturalWidth", 8)
    page.keyboard.press("Escape")
    expect(large).to_have_count(0)
    expect(shown).to_be_focused()
    address = f"{site.url}{shown.locator('img').get_attribute('src')}"
    served = page.request.get(address)
    assert (served.status, served.body(), served.headers["content-type"]) == (200, image.data, "image/png")
    assert served.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in served.headers["content-security-policy"]
    other = browser.new_context()
    try:
        assert other.request.get(address).status == 404
    finally:
        other.close()
    page.get_by_role("button", name="Edit this prompt").click()
    expect(page.locator(".attachment")).to_contain_text("dot.webp · 8 × 6 pixels")
    expect(told).to_contain_text("The image goes to Kimi K2")


def test_a_file_that_is_too_large_is_not_uploaded(site: ChatSite, page: Page) -> None:
    uploads = []
    page.on("request", lambda request: uploads.append(request.url) if "/kimi/attachments" in request.url else None)
    attach(page, "huge.txt", b"x" * 3_500_000)
    expect(page.locator(".attachments-refused")).to_contain_text("huge.txt has 3.5 MB; at most 3 MB can be attached")
    assert uploads == []


def test_dropped_files_images_and_long_pastes_become_attachments(site: ChatSite, page: Page) -> None:
    drop = """([text, ...image]) => {
        const data = new DataTransfer();
        data.items.add(new File([text], "dropped.txt"));
        data.items.add(new File([new Uint8Array(image)], "dropped.png", {type: "image/png"}));
        const chat = document.querySelector("#lanes");
        const fire = type => chat.dispatchEvent(
            new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
        fire("dragenter");
        const hinted = !document.querySelector(".drop-hint").hidden;
        fire("dragover"); fire("drop");
        return hinted;
    }"""
    names, box = page.locator(".attachment b"), page.locator(BOX)
    page.get_by_role("button", name="Attach files").focus()
    assert page.evaluate(drop, ["dropped text", *picture(size=(8, 6))])
    expect(names).to_have_text(["dropped.txt", "dropped.png"])
    expect(page.locator(".drop-hint")).to_be_hidden()
    expect(box).to_be_focused()
    paste = """([text, box]) => {
        const data = new DataTransfer();
        data.setData("text/plain", text);
        return document.querySelector(box).dispatchEvent(
            new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
    }"""
    assert page.evaluate(paste, ["short", BOX]), "a short paste is the textbox's own business"
    assert not page.evaluate(paste, ["x" * 9000, BOX])
    expect(names).to_have_text(["dropped.txt", "dropped.png", "pasted-1.txt"])
    expect(box).to_have_value("")

    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    copied = """image => navigator.clipboard.write([new ClipboardItem(
        {"image/png": new Blob([new Uint8Array(image)], {type: "image/png"})})])"""
    page.evaluate(copied, [*picture(size=(30, 20))])
    box.press("Control+v")
    expect(names).to_have_count(4)
    page.get_by_role("button", name="Attach files").press("Control+v")  # where no field has the focus
    expect(names).to_have_text(["dropped.txt", "dropped.png", "pasted-1.txt", "pasted-2.png", "pasted-3.png"])
    expect(page.locator(".attachment").last).to_contain_text("30 × 20 pixels")
    page.get_by_role("button", name="Open pasted-3.png").click()
    expect(page.get_by_role("dialog", name="pasted-3.png").locator("img")).to_have_js_property("naturalWidth", 30)
    page.keyboard.press("Escape")
    page.evaluate("navigator.clipboard.writeText('only words')")
    box.press("Control+v")
    expect(box).to_have_value("only words")
    expect(names).to_have_count(5)


def test_sending_waits_for_a_file_that_is_still_being_read(site: ChatSite, page: Page) -> None:
    held: list[Route] = []
    page.route("**/kimi/attachments?*", lambda route: held.append(route))
    page.locator("#composer input[type=file]").set_input_files(
        {"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"}
    )
    expect(page.locator(".attachment")).to_contain_text("reading")
    page.locator(BOX).fill("Now")
    page.locator("#send").click()
    expect(page.locator(".composer-note")).to_contain_text("still being read")
    page.locator(BOX).press("Enter")
    assert site.qwen.requests == []
    expect(page.locator(BOX)).to_have_value("Now")
    until(lambda: page.evaluate("1") and held)
    held[0].continue_()
    expect(page.locator(".attachment")).to_contain_text("tokens")
    page.locator(BOX).press("Enter")
    answered(page)
    assert sent(site) == [fold("Now", [Attachment("a.txt", "text")])]


def test_the_estimate_includes_the_history_and_heavys_requests(site: ChatSite, page: Page) -> None:
    expect(page.locator("#estimate")).to_be_hidden()
    attach(page, "notes.txt", b"one two three four five six seven " * 1000)
    line = page.locator(".estimate-line")
    expect(line).to_contain_text("tokens")
    expect(line).to_contain_text("6 requests, ")  # of heavy three trajectories and an aggregation
    line.click()
    rows = page.locator("#estimate-table tbody tr:not(.estimate-preset)")
    expect(rows).to_have_count(3)
    expect(page.locator("#estimate-table .estimate-preset th")).to_have_text(["full (chosen)", "thrifty", "fast"])
    expect(rows.nth(0)).to_contain_text("Kimi K2")
    expect(rows.nth(2)).to_contain_text("$0")
    page.locator(BOX).press("Escape")
    expect(page.locator("#estimate-table")).to_be_hidden()
    send(page, "Count")
    answered(page)
    expect(page.locator("#estimate")).to_be_hidden()
    page.locator(BOX).fill("and?")
    expect(line).to_contain_text("~7,0")  # the file is part of the history
    expect(page.locator(".estimate-hint")).to_be_hidden()
    hint = "So far Kimi K2 heavy came to the same result as Kimi K2 in 18 of 20 turns."

    def with_hint(route: Route) -> None:
        found = route.fetch().json()
        found["lanes"][1]["hint"] = hint
        route.fulfill(json=found)

    page.route("**/kimi/estimate", with_hint)
    page.locator(BOX).fill("and then?")
    expect(page.locator(".estimate-hint")).to_have_text(hint)


@pytest.mark.own_context
def test_an_estimate_is_requested_when_typing_pauses_not_at_every_key(visitor: Visitor) -> None:
    visitor.context.clock.install()
    page = visitor.open()
    requested = []
    page.on("request", lambda request: requested.append(request.url) if "/kimi/estimate" in request.url else None)
    put(page, LONG)
    expect(page.locator(".estimate-line")).to_contain_text("tokens")
    page.clock.pause_at(datetime.now() + timedelta(minutes=1))
    requested.clear()
    page.locator(BOX).press("Control+End")
    page.keyboard.type("thirty keystrokes, one question")
    assert requested == []
    with page.expect_response("**/kimi/estimate"):
        page.clock.run_for(5000)
    assert len(requested) == 1


def test_a_hundred_thousand_tokens_from_a_file_to_the_log(site: ChatSite, page: Page) -> None:
    site.say(endless())
    attach(page, "book.txt", LONG.encode())
    size = page.locator(".attachment").inner_text()
    n_tokens = int(size.split("~")[1].split(" ")[0].replace(",", ""))
    assert 90_000 < n_tokens < 120_000
    send(page, "Summarise the book.")
    wait_phase(page, "kimi", "thinking")
    expect(page.locator(".prompt-file")).to_contain_text(f"book.txt· ~{n_tokens:,} tokens")
    expect(page.locator(".prompt-text")).to_have_text("Summarise the book.")
    assert page.locator(".turn-prompt").inner_text().count("quick brown fox") == 0
    wait_phase(page, "qwen", "done")
    prompt = fold("Summarise the book.", [Attachment("book.txt", LONG)])
    assert sent(site) == [prompt]
    site.writer.flush().result()
    stored = site.reader.turns(limit=1)[0]
    assert stored.prompt == prompt


def test_a_hundred_thousand_tokens_typed_into_the_box(site: ChatSite, page: Page) -> None:
    put(page, LONG.strip())
    page.locator("#send").click()
    answered(page)
    assert sent(site) == [LONG.strip()]
    more = page.get_by_role("button", name="Show all")
    assert page.locator(".prompt-text").inner_text().count("\n") < 20
    more.click()
    expect(page.locator(".prompt-text")).to_contain_text("Line 6999")


def test_nobody_else_can_read_or_send_an_attachment(site: ChatSite, browser: Browser, page: Page) -> None:
    attach(page, "secret.txt", b"secret")
    key = (
        page.evaluate("document.querySelector('.attachment') && 1")
        and page.request.post(f"{site.url}/kimi/attachments?name=mine.txt", data=b"mine").json()["id"]
    )
    send(page, "Keep it")
    answered(page)
    turn_id = page.locator("[data-turn]").last.get_attribute("data-turn")
    other = browser.new_context()
    try:
        stranger = other.request
        stranger.get(f"{site.url}/kimi/state")
        answer = stranger.post(f"{site.url}/kimi/estimate", data={"text": "?", "attachments": [key]})
        assert answer.json()["lanes"] == []
        assert "attach it again" in answer.json()["error"]
        for path in ("prompt", "attachments/0", "lanes/kimi/attempts/1", "lanes/kimi/answer"):
            assert stranger.get(f"{site.url}/kimi/turns/{turn_id}/{path}").status == 404
        for path in ("edit", "lanes/kimi/retry"):
            assert stranger.post(f"{site.url}/kimi/turns/{turn_id}/{path}").status == 404
        conversation = site.turns.get(turn_id or "").conversation_id
        for path in (f"settings?c={conversation}", f"versions?c={conversation}"):
            assert stranger.get(f"{site.url}/kimi/{path}").status == 404
    finally:
        other.close()
