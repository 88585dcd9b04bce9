"""A JSON export comes back into a log as it was: figures, texts, history and replay; once, and never by half."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.chat_site import ChatSite, endless, open_site
from tests.support.waiting import until

IDS = {"attempt_id", "turn_id", "parent_id", "conversation_id", "boot_id", "owner"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSite]:
    with open_site(tmp_path_factory.mktemp("here"), one_person=True) as site:
        yield site


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[dict[str, Any]]]:
    """An export of two turns from another machine, one of them stopped and retried; and its log's figures."""
    with open_site(tmp_path_factory.mktemp("there"), one_person=True) as site, visit(site) as client:
        first = site.engine.send("Why is the sky blue?")
        until(lambda: first.closed)
        site.say(endless())
        second = site.engine.send("And at night?", conversation_id=first.conversation_id)
        until(lambda: second.fold().lanes["kimi"].attempts)
        site.engine.stop(second.turn_id)
        until(lambda: second.closed)
        site.say([])
        site.settle()
        site.engine.retry(second.turn_id, "kimi")
        until(lambda: site.turns.get(second.turn_id).closed)
        site.writer.flush().result()
        path = f"/kimi/conversations/{first.conversation_id}/export"
        data = client.get(path, params={"format": "json"}).content
        return data, figures(site, first.conversation_id)


def visit(site: ChatSite) -> httpx.Client:
    return httpx.Client(base_url=site.url, trust_env=False, timeout=60)


def figures(site: ChatSite, conversation_id: str) -> list[dict[str, Any]]:
    """Every column of ``attempt_metrics`` but the ids, in the order of sending."""
    query = """
        SELECT m.* FROM attempt_metrics m JOIN turns t ON t.turn_id = m.turn_id WHERE t.conversation_id = :id
        ORDER BY t.seq, m.lane, m.attempt_no, m.role, m.k_index
    """
    with site.reader.snapshot() as log:
        rows = [dict(row) for row in log.records(query, id=conversation_id)]
    return [{name: value for name, value in row.items() if name not in IDS} for row in rows]


def test_an_import_has_the_figures_and_texts_of_its_export_and_is_found(
    here: ChatSite, export: tuple[bytes, list[dict[str, Any]]]
) -> None:
    data, expected = export
    with visit(here) as client:
        answer = client.post("/kimi/conversations", content=data)
        assert (answer.status_code, answer.json()["is_new"]) == (201, True)
        conversation = answer.json()["id"]
        assert figures(here, conversation) == expected
        assert client.get("/kimi/search", params={"q": "Rayleigh"}).json()["matches"][0]["id"] == conversation
        turns = client.get("/kimi/state", params={"c": conversation}).json()["turns"]
        assert [turn["prompt"] for turn in turns] == ["Why is the sky blue?", "And at night?"]
        assert client.get(f"/kimi/turns/{turns[0]['turn_id']}/replay").status_code == 200
        again = client.get(f"/kimi/conversations/{conversation}/export", params={"format": "json"}).json()
        before = json.loads(data)
        for new, old in zip(again["turns"], before["turns"], strict=True):
            assert [event[2:] for event in new["events"] if event[3] != "o"] == [
                event[2:] for event in old["events"] if event[3] != "o"
            ]


def test_an_import_can_be_continued_and_is_not_made_twice(
    here: ChatSite, export: tuple[bytes, list[dict[str, Any]]]
) -> None:
    with visit(here) as client:
        conversation = client.post("/kimi/conversations", content=export[0]).json()["id"]
        once_more = client.post("/kimi/conversations", content=export[0])
        assert (once_more.status_code, once_more.json()) == (200, {"id": conversation, "is_new": False})
        turn = client.post("/kimi/turns", json={"text": "Go on", "conversation": conversation}).json()["turns"][0]
        assert turn["seq"] == 2
        until(lambda: here.turns.get(turn["turn_id"]).closed)
        texts = [message.content for message in here.kimi.requests[-1].messages]
        assert texts[0] == "Why is the sky blue?"
        client.delete(f"/kimi/conversations/{conversation}")
        restored = client.post("/kimi/conversations", content=export[0])
        assert (restored.status_code, restored.json()["is_new"]) == (201, True)
        assert restored.json()["id"] in [one["id"] for one in client.get("/kimi/conversations").json()["conversations"]]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: b"\xffnot UTF-8", "This is not a JSON file: it is not text in UTF-8. Export, then JSON"),
        (lambda data: data[:-9], "a part of it is missing (line 1, column "),
        (lambda data: b"[" * 100_000, "This is not an export of Kimi UI."),
        (lambda data: b'{"format": "something else"}', "This is not an export of Kimi UI."),
        (lambda data: json.dumps({**json.loads(data), "reasoning": False}).encode(), "without the reasoning"),
        (lambda data: data.replace(b'"events"', b'"event"'), "The export is damaged"),
        (lambda data: data.replace(b'"parent_id":"', b'"parent_id":"x'), "The export is damaged"),
    ],
    ids=["not UTF-8", "not whole", "too deep", "another program's", "no reasoning", "damaged", "no parent"],
)  # fmt: skip
def test_a_file_that_cannot_be_imported_is_refused_with_a_remedy_and_leaves_nothing(
    here: ChatSite, export: tuple[bytes, list[dict[str, Any]]], change: Any, why: str
) -> None:
    with visit(here) as client:
        before = client.get("/kimi/conversations").json()
        answer = client.post("/kimi/conversations", content=change(export[0]))
        assert answer.status_code == 422
        assert why in answer.json()["error"]
        assert client.get("/kimi/conversations").json() == before


def test_two_people_may_import_the_same_export(tmp_path: Path, export: tuple[bytes, list[dict[str, Any]]]) -> None:
    with open_site(tmp_path) as site:
        found = set()
        for name in "ab":
            with httpx.Client(base_url=site.url, cookies={"kimi_owner": name * 40}, trust_env=False) as client:
                found.add(client.post("/kimi/conversations", content=export[0], timeout=60).json()["id"])
        assert len(found) == 2
        assert httpx.post(f"{site.url}/kimi/conversations", content=export[0], trust_env=False).status_code == 409
