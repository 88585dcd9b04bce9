"""Without a password every visitor is the machine's user, to whom every turn of the log belongs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kimi_ui.web.visitor import COOKIE
from tests.support.chat_site import ChatSite, open_site
from tests.support.waiting import until

BROWSER = "0123456789abcdef" * 2  # the owner of turns that a browser sent when the log was kept by cookie


def sent(site: ChatSite, prompt: str, owner: str = "") -> tuple[str, str]:
    """Send a prompt as ``owner`` and wait for its end; its conversation and turn."""
    turn = site.engine.send(prompt, owner=owner)
    until(lambda: turn.closed)
    return turn.conversation_id, turn.turn_id


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ChatSite, str, str]]:
    """The app over a log with two conversations, of a browser and of the terminal; their ids."""
    folder = tmp_path_factory.mktemp("one_person")
    with open_site(folder) as site:
        kept, _ = sent(site, "My plan for the garden", BROWSER)
        typed, _ = sent(site, "Typed in the terminal")
    with open_site(folder, one_person=True) as site:
        yield site, kept, typed


def visit(site: ChatSite, **cookies: str) -> httpx.Client:
    return httpx.Client(base_url=site.url, cookies=cookies, trust_env=False, timeout=60)


def listed(client: httpx.Client) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in client.get("/kimi/conversations").json()["conversations"]}


def test_every_browser_lists_finds_and_opens_every_turn(older: tuple[ChatSite, str, str]) -> None:
    site, kept, typed = older
    for cookies in ({}, {COOKIE: "x" * 40}):
        with visit(site, **cookies) as client:
            found = listed(client)
            assert {kept, typed} <= set(found)
            assert (found[kept]["by_program"], found[typed]["by_program"]) == (False, True)
            for text, conversation in (("garden", kept), ("terminal", typed), ("Rayleigh", typed)):
                matches = client.get("/kimi/search", params={"q": text}).json()["matches"]
                assert conversation in [match["id"] for match in matches]
            state = client.get("/kimi/state", params={"c": kept}).json()
            assert state["turns"][0]["prompt"] == "My plan for the garden"
            turn_id = state["turns"][0]["turn_id"]
            assert client.get(f"/kimi/turns/{turn_id}/replay").status_code == 200
            assert "My plan for the garden" in client.get("/kimi/stats/attempts.csv").text


@pytest.mark.parametrize("which", [1, 2], ids=["a browser's", "the terminal's"])
def test_any_conversation_can_be_continued_retried_renamed_and_deleted(
    older: tuple[ChatSite, str, str], tmp_path: Path, which: int
) -> None:
    site, owner = older[0], ("", BROWSER, "")[which]
    conversation, turn_id = sent(site, "Go on from here", owner)
    with visit(site) as client:
        assert client.post(f"/kimi/turns/{turn_id}/lanes/qwen/retry").status_code == 202
        until(lambda: site.turns.get(turn_id).closed)
        answer = client.post("/kimi/turns", json={"text": "And then?", "conversation": conversation}).json()
        assert (answer["conversation"], answer["turns"][0]["seq"]) == (conversation, 1)
        until(lambda: site.turns.get(answer["turns"][0]["turn_id"]).closed)
        assert client.put(f"/kimi/conversations/{conversation}/title", json={"title": "New"}).json()["title"] == "New"
        until(lambda: listed(client)[conversation]["title"] == "New")
        assert client.delete(f"/kimi/conversations/{conversation}").status_code == 200
        assert conversation not in listed(client)


def test_all_spending_of_the_log_counts_and_the_newest_budget_holds(older: tuple[ChatSite, str, str]) -> None:
    site, _, _ = older
    with visit(site, **{COOKIE: "x" * 40}) as client:
        before = client.get("/kimi/spent").json()["today"]["usd"]
        sent(site, "Costs a little", BROWSER)
        until(lambda: client.get("/kimi/spent").json()["today"]["usd"] > before > 0)
        client.put("/kimi/budget", json={"day_usd": 5})
    with visit(site) as client:
        assert client.get("/kimi/budget").json()["day_usd"] == 5


def test_no_cookie_is_set_where_none_is_needed(older: tuple[ChatSite, str, str]) -> None:
    with visit(older[0]) as client:
        assert client.get("/kimi/state").cookies.get(COOKIE) is None


def test_a_program_reads_any_turn_by_its_id(older: tuple[ChatSite, str, str]) -> None:
    site, kept, _ = older
    turn_id = site.reader.conversation(kept)[0].turn_id
    with visit(site) as client:
        event = client.post("/gradio_api/call/turn", json={"data": [turn_id]}).json()["event_id"]
        answer = client.get(f"/gradio_api/call/turn/{event}").text
    assert "event: complete" in answer
    assert "Rayleigh" in answer
