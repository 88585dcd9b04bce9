"""The commands of a turn over HTTP: the response to a prompt, why it is refused, and who may stop a turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kimi_ui.web.visitor import COOKIE
from tests.support.chat_site import ChatSite, endless, spoken
from tests.support.waiting import until


def person(site: ChatSite, name: str) -> httpx.Client:
    return httpx.Client(base_url=site.url, cookies={COOKIE: name * 40}, trust_env=False, timeout=60)


@pytest.fixture
def me(site: ChatSite) -> Iterator[httpx.Client]:
    with person(site, "m") as client:
        yield client


def refused(response: httpx.Response) -> tuple[int, str]:
    answer = response.json()
    assert answer["error"].endswith((".", "?"))
    return response.status_code, answer["code"]


def closed(site: ChatSite, turn_id: str) -> None:
    until(lambda: site.turns.get(turn_id).closed)


def test_sending_a_prompt_returns_its_turn_as_in_the_page_state(site: ChatSite, me: httpx.Client) -> None:
    key = me.post("/kimi/attachments?name=a.txt", content=b"some notes").json()["id"]
    answer = me.post("/kimi/turns", json={"text": "Why?", "attachments": [key]})
    assert answer.status_code == 201
    state: dict[str, Any] = answer.json()
    [turn] = state["turns"]
    closed(site, turn["turn_id"])
    assert (turn["prompt"], turn["seq"], turn["attachments"][0]["name"]) == ("Why?", 0, "a.txt")
    later = me.get("/kimi/state", params={"turn": turn["turn_id"]}).json()
    later["turns"][0]["closed"] = turn["closed"]
    assert later == state


def test_the_next_prompt_continues_the_conversation_and_an_edit_begins_a_branch(
    site: ChatSite, me: httpx.Client
) -> None:
    first = me.post("/kimi/turns", json={"text": "One"}).json()
    closed(site, first["turns"][0]["turn_id"])
    conversation = first["conversation"]
    second = me.post("/kimi/turns", json={"text": "Two", "conversation": conversation}).json()
    closed(site, second["turns"][0]["turn_id"])
    assert (second["conversation"], second["turns"][0]["seq"]) == (conversation, 1)
    edit = {"conversation": conversation, "seq": 1}
    branch = me.post("/kimi/turns", json={"text": "Two, better", "conversation": conversation, "edit": edit}).json()
    closed(site, branch["turns"][0]["turn_id"])
    assert branch["conversation"] != conversation
    assert branch["turns"][0]["seq"] == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"text": " \n"}, (422, "nothing_to_send")),
        ({}, (422, "nothing_to_send")),
        ({"text": "?", "attachments": ["unknown"]}, (422, "attachment")),
        ({"text": "?", "conversation": "unknown"}, (409, "busy")),
        ({"text": "?", "edit": {"conversation": "another", "seq": 0}}, (409, "busy")),
        ({"text": "?", "edit": {"seq": "0"}}, (409, "busy")),
    ],
)
def test_a_refused_prompt_gets_a_sentence_and_a_code(
    site: ChatSite, me: httpx.Client, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refused(me.post("/kimi/turns", json=body)) == expected
    assert site.qwen.requests == []


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'"text"'])
def test_a_body_that_is_not_a_json_object_is_a_bad_request(me: httpx.Client, body: bytes) -> None:
    assert me.post("/kimi/turns", content=body).status_code == 400


def test_a_benchmarks_turn_is_read_but_neither_continued_nor_retried_nor_shown_unasked(
    site: ChatSite, me: httpx.Client
) -> None:
    mine = me.post("/kimi/turns", json={"text": "Mine"}).json()["turns"][0]["turn_id"]
    closed(site, mine)
    owner = site.turns.get(mine).owner
    site.say(endless())
    bench = site.engine.send("Case", lanes=["kimi"], owner=owner, kind="bench")
    until(lambda: bench.fold().newest("kimi"))
    assert me.get("/kimi/state").json()["turns"] == []
    assert bench.conversation_id not in me.get("/kimi/conversations").text
    site.engine.stop(bench.turn_id)
    closed(site, bench.turn_id)
    assert me.get("/kimi/state", params={"turn": bench.turn_id}).json()["turns"][0]["prompt"] == "Case"
    again = me.post(f"/kimi/turns/{bench.turn_id}/lanes/kimi/retry")
    assert (again.status_code, "part of a benchmark" in again.json()["error"]) == (409, True)
    site.say(spoken())
    next_one = me.post("/kimi/turns", json={"text": "And?", "conversation": bench.conversation_id}).json()
    closed(site, next_one["turns"][0]["turn_id"])
    assert next_one["conversation"] != bench.conversation_id


def test_a_conversation_accepts_one_prompt_at_a_time(site: ChatSite, me: httpx.Client) -> None:
    site.say(endless())
    running = me.post("/kimi/turns", json={"text": "One"}).json()
    again = me.post("/kimi/turns", json={"text": "Two", "conversation": running["conversation"]})
    assert refused(again) == (409, "busy")


def test_a_prompt_over_budget_is_sent_after_a_confirmation(site: ChatSite, me: httpx.Client) -> None:
    me.put("/kimi/budget", json={"day_usd": 0.000001})
    try:
        assert refused(me.post("/kimi/turns", json={"text": "?"})) == (409, "over_budget")
        assert site.qwen.requests == []
        assert me.post("/kimi/turns", json={"text": "?", "over_budget": True}).status_code == 201
    finally:
        me.put("/kimi/budget", json={"day_usd": None})


def test_stop_ends_all_lanes_of_ones_own_turn_only(site: ChatSite, me: httpx.Client) -> None:
    site.say(endless(), endless())
    turn_id = me.post("/kimi/turns", json={"text": "?"}).json()["turns"][0]["turn_id"]
    with person(site, "y") as you:
        assert you.post(f"/kimi/turns/{turn_id}/stop").status_code == 404
    assert site.turns.get(turn_id).running_lanes() == {"kimi", "heavy", "qwen"}
    assert me.post(f"/kimi/turns/{turn_id}/stop").status_code == 202
    closed(site, turn_id)
    assert me.post(f"/kimi/turns/{turn_id}/stop").status_code == 202  # it has ended, so there is nothing to do


def test_another_site_can_neither_send_nor_stop(site: ChatSite, me: httpx.Client) -> None:
    site.say(endless(), spoken())
    turn_id = me.post("/kimi/turns", json={"text": "?"}).json()["turns"][0]["turn_id"]
    for path in ("/kimi/turns", f"/kimi/turns/{turn_id}/stop"):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert me.post(path, content=b'{"text": "?"}', headers=headers).status_code == 403
    assert "kimi" in site.turns.get(turn_id).running_lanes()
