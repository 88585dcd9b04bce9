"""Share links: who makes them, what they show to whom, and that a link that is over shows nothing in any case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning
from kimi_ui.core.vote import NONE
from kimi_ui.log.conversations import ConversationGone
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.shares import ShareLog
from kimi_ui.web.visitor import COOKIE
from tests.support.browser import Visitor
from tests.support.chat_site import ChatSite, ask, open_site, spoken
from tests.support.image_files import picture
from tests.support.log import rows, store, writing
from tests.support.turns import attempt, ended, turn
from tests.support.waiting import until

PASSWORD = "a long password"
THOUGHT = "the-secret-thought"
GONE = "This link shows nothing"


class Sharing:
    """The app with a password and two browsers that gave it, ``owner`` and ``other``; ``guest`` has neither."""

    def __init__(self, site: ChatSite) -> None:
        self.site = site
        self.guest = httpx.Client(base_url=site.url, trust_env=False, timeout=60)
        self.owner, self.other = self._signed_in("o"), self._signed_in("p")

    def _signed_in(self, letter: str) -> httpx.Client:
        client = httpx.Client(base_url=self.site.url, trust_env=False, timeout=60, cookies={COOKIE: letter * 40})
        assert client.post("/kimi/login", data={"password": PASSWORD}).status_code == 303
        return client

    def close(self) -> None:
        for client in (self.guest, self.owner, self.other):
            client.close()

    def sent(self, text: str = "Why?", **more: Any) -> tuple[str, str]:
        """Send a prompt as the owner and wait for its end: the conversation and the turn."""
        answer = self.owner.post("/kimi/turns", json={"text": text, "lanes": ["kimi"], **more}).json()
        turn_id = answer["turns"][-1]["turn_id"]
        until(lambda: self.site.turns.get(turn_id).closed)
        return answer["conversation"], turn_id

    def made(self, conversation: str, turn: str = "", **more: Any) -> dict[str, Any]:
        wanted = {"conversation": conversation, "turn": turn, "reasoning": False, "days": 7, **more}
        answer = self.owner.post("/kimi/shares", json=wanted)
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharing]:
    with open_site(tmp_path_factory.mktemp("shares"), password=PASSWORD) as site, closing(Sharing(site)) as made:
        yield made


@pytest.fixture
def thinking(sharing: Sharing) -> Sharing:
    sharing.site.settle()
    sharing.site.say(spoken(f"## {THOUGHT}\n\nLet me check {THOUGHT}.\n\n"))
    return sharing


def test_a_link_shows_a_turn_or_the_conversation_to_a_guest_and_nothing_else_is_open(thinking: Sharing) -> None:
    conversation, first = thinking.sent("The first question")
    turn_link = thinking.made(conversation, first, reasoning=True)
    whole_link = thinking.made(conversation)
    thinking.sent("The second question", conversation=conversation)
    page = thinking.guest.get(turn_link["path"])
    assert page.status_code == 200
    assert "The first question" in page.text
    assert THOUGHT in page.text
    assert "The second question" not in page.text
    assert re.search(r"Shared from Kimi UI\. The link ends on \d{4}-\d\d-\d\d \d\d:\d\d UTC\.", page.text)
    for name, value in (
        ("referrer-policy", "no-referrer"), ("x-robots-tag", "noindex, nofollow"), ("cache-control", "no-store"),
        ("x-frame-options", "DENY"), ("x-content-type-options", "nosniff"),
    ):  # fmt: skip
        assert page.headers[name] == value
    assert "set-cookie" not in page.headers
    whole = thinking.guest.get(whole_link["path"]).text
    assert "The first question" in whole
    assert "The second question" in whole, "what was sent after the link was made"
    assert "without the reasoning" in whole
    assert THOUGHT not in whole
    for path in ("/share/../kimi/state", "/share/%2e%2e/config", "/share/config", "/share/", "/share/a/b"):
        answer = thinking.guest.get(path, headers={"Accept": "text/html"}, follow_redirects=False)
        assert answer.status_code in (303, 404), path
        assert GONE in answer.text or answer.headers.get("location", "").startswith("/kimi/login"), path
    assert thinking.guest.post(turn_link["path"]).status_code == 405
    assert thinking.guest.get("/kimi/shares", params={"conversation": conversation}).status_code == 401


def test_no_reasoning_of_heavys_trajectories_is_in_the_page_without_it(thinking: Sharing) -> None:
    thought = [Reasoning(f"Topic\n## {THOUGHT}\n"), 0.01, Reasoning(f"{THOUGHT} again.\n")]
    thinking.site.say([Phase(CONNECTED), *thought, 0.01, Answer("The answer is 160 km."), Finish("stop")])
    conversation, turn_id = thinking.sent("How far?", lanes=["kimi", "heavy"])
    with_it = thinking.guest.get(thinking.made(conversation, turn_id, reasoning=True)["path"]).text
    assert with_it.count(THOUGHT) > 4
    without = thinking.guest.get(thinking.made(conversation, turn_id)["path"]).text
    assert "160 km" in without
    assert THOUGHT not in without


def test_images_are_in_the_page(thinking: Sharing) -> None:
    attached = thinking.owner.post("/kimi/attachments?name=dot.png", content=picture()).json()
    assert "id" in attached, attached
    conversation, turn_id = thinking.sent("What is it?", attachments=[attached["id"]])
    page = thinking.guest.get(thinking.made(conversation, turn_id)["path"]).text
    assert "data:image/png;base64," in page


def test_only_the_owner_makes_lists_and_revokes(thinking: Sharing) -> None:
    conversation, turn_id = thinking.sent()
    link = thinking.made(conversation, turn_id, days=30)
    wanted = {"conversation": conversation, "turn": turn_id, "reasoning": True, "days": 1}
    assert thinking.other.post("/kimi/shares", json=wanted).status_code == 404
    assert thinking.other.get("/kimi/shares", params={"conversation": conversation}).status_code == 404
    assert thinking.other.delete(f"/kimi/shares/{link['id']}").status_code == 404
    assert thinking.guest.post("/kimi/shares", json=wanted).status_code == 401
    assert (
        thinking.owner.post("/kimi/shares", json=wanted, headers={"Origin": "https://evil.example"}).status_code == 403
    )
    assert thinking.owner.post("/kimi/shares", json={**wanted, "days": 3}).status_code == 422
    assert thinking.owner.post("/kimi/shares", json={**wanted, "turn": "another"}).status_code == 404

    listed = thinking.owner.get("/kimi/shares", params={"conversation": conversation}).json()["links"]
    assert [(one["id"], one["turn_number"], one["reasoning"]) for one in listed] == [(link["id"], 1, False)]
    lasts = datetime.fromisoformat(listed[0]["ends_at_utc"]) - datetime.fromisoformat(listed[0]["made_at_utc"])
    assert lasts == timedelta(days=30)
    token = link["path"].removeprefix("/share/")
    assert len(token) >= 43, "256 bits"
    assert token not in str(listed)
    assert token not in str(rows(thinking.site.reader.place, "SELECT * FROM share_links"))


def test_revoked_over_and_deleted_links_have_the_answer_of_unknown_ones(thinking: Sharing) -> None:
    conversation, turn_id = thinking.sent()
    revoked, over, deleted = (thinking.made(conversation, turn_id) for _ in range(3))
    unknown = thinking.guest.get("/share/unknown")
    assert unknown.status_code == 404
    assert GONE in unknown.text
    assert unknown.headers["x-robots-tag"] == "noindex, nofollow"

    def shows_nothing(link: dict[str, Any]) -> bool:
        answer = thinking.guest.get(link["path"])
        same = ("x-robots-tag", "content-length", "content-type", "content-security-policy")
        return (answer.status_code, answer.text, [answer.headers[name] for name in same]) == (
            404, unknown.text, [unknown.headers[name] for name in same],
        )  # fmt: skip

    assert not any(map(shows_nothing, (revoked, over, deleted)))
    assert thinking.owner.delete(f"/kimi/shares/{revoked['id']}").status_code == 200
    assert [shows_nothing(one) for one in (revoked, over, deleted)] == [True, False, False]
    assert thinking.owner.delete(f"/kimi/shares/{revoked['id']}").status_code == 404

    def end(log: Any) -> set[str]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        log.execute("UPDATE share_links SET ends_at_utc = :now WHERE link_id = :id", now=now, id=over["id"])
        return set()

    thinking.site.writer.change(end).result()
    assert [shows_nothing(one) for one in (over, deleted)] == [True, False]
    mark = {"ids": [conversation], "mark": "deleted"}
    for on in (True, False, True):  # deleted, taken back, deleted
        assert thinking.owner.post("/kimi/conversations/marks", json={**mark, "on": on}).status_code == 200
        assert shows_nothing(deleted) == on
    assert thinking.owner.post("/kimi/conversations/erase", json={"ids": [conversation]}).status_code == 200
    assert shows_nothing(deleted)
    links = "SELECT 1 FROM share_links WHERE conversation_id = :id"
    assert thinking.site.reader.rows(links, id=conversation) == []


def test_a_blind_turn_is_shared_after_its_vote_only(thinking: Sharing) -> None:
    conversation, _ = thinking.sent("The open question")
    link = thinking.made(conversation)
    _, blind = thinking.sent("The blind question", conversation=conversation, blind=True, lanes=["kimi", "qwen"])
    for turn_id in (blind, ""):
        wanted = {"conversation": conversation, "turn": turn_id, "days": 1}
        refused = thinking.owner.post("/kimi/shares", json=wanted)
        assert refused.status_code == 409
        assert "vote first" in refused.json()["error"]
    page = thinking.guest.get(link["path"]).text
    assert "The open question" in page
    assert "The blind question" not in page
    assert "1 turn is left out" in page
    assert thinking.owner.post(f"/kimi/turns/{blind}/vote", json={"choice": NONE}).status_code == 200
    assert "The blind question" in thinking.guest.get(link["path"]).text
    assert thinking.made(conversation, blind)


class Clock:
    now = datetime(2026, 11, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_both_stores_keep_links_until_they_end(place: Place, tmp_path: Path) -> None:
    clock, one = Clock(), turn((attempt("a"), ended([(5, Answer("Yes."))])))
    with writing(place) as writer:
        store(writer, one)
        links = ShareLog(writer, LogReader(place), clock)
        short, token = links.make(one.conversation_id, one.turn_id, True, 1)
        long, _ = links.make(one.conversation_id, "", False, 30)
        assert links.of_token(token) == short
        assert {link.link_id for link in links.of_conversation(one.conversation_id)} == {short.link_id, long.link_id}
        with pytest.raises(ConversationGone):
            links.make("another", "", False, 1)
        clock.now += timedelta(days=1)
        assert links.of_token(token) is None
        assert links.of_conversation(one.conversation_id) == [long]
        newest, _ = links.make(one.conversation_id, "", True, 1)
        stored = rows(place, "SELECT link_id FROM share_links")
        assert {row["link_id"] for row in stored} == {long.link_id, newest.link_id}, "one that is over is removed"
        links.revoke(long.link_id)
        assert links.of_id(long.link_id) is None
        LogReader(place).copy(tmp_path / "copy.sqlite3")
        assert rows(tmp_path / "copy.sqlite3", "SELECT * FROM share_links") == []
        writer.delete_conversation(one.conversation_id, one.owner).result()
        assert rows(place, "SELECT * FROM share_links") == []


def test_a_link_is_made_copied_opened_and_revoked_by_keyboard(site: ChatSite, visitor: Visitor, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "Share me")
    export = page.locator(".turn-current .turn-tools").get_by_role("button", name="Export")
    share = page.locator(".turn-current .export-panel").get_by_role("button", name="Share…")
    export.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".turn-current .export-panel a").first).to_be_focused()
    share.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Share a link")
    expect(dialog.get_by_label("This turn")).to_be_focused()
    expect(dialog).to_contain_text(
        "Anybody who can reach this server with the link can open it, also without a password."
    )
    expect(dialog.locator(".share-links")).to_have_text("None.")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text("The link is made")
    expect(dialog.locator(".share-links li")).to_contain_text(["This turn, without reasoning, until"])
    link = dialog.get_by_role("textbox", name="The link").input_value()
    assert link.startswith(f"{site.url}/share/")
    until(lambda: page.evaluate("navigator.clipboard.readText()") == link)
    fits = "(dialog) => dialog.scrollWidth <= dialog.clientWidth && dialog.getBoundingClientRect().right <= innerWidth"
    for width in (1600, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("width => innerWidth === width", arg=width)
        assert dialog.evaluate(fits)
    shared = page.context.new_page()
    shared.goto(link)
    expect(shared.locator("h1")).to_have_text("Share me")
    expect(shared.locator('[data-lane="kimi"] [data-part="answer"]')).to_contain_text("Because of Rayleigh scattering.")
    expect(shared.locator(".reasoning").first).to_be_hidden()
    dialog.get_by_role("button", name="Revoke").focus()
    page.keyboard.press("Enter")
    expect(dialog.locator(".share-links")).to_have_text("None.")
    assert (shared.reload() or pytest.fail("no answer")).status == 404
    expect(shared.locator("h1")).to_have_text(GONE)
    shared.close()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
