"""Turns as a JSON document: complete, read back the same, without data of one machine or one user."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kimi_ui.core.attempt import Attempt
from kimi_ui.core.events import Answer, End, Entry, Failure, Finish, Opened, Phase, Reasoning, Relabel, Usage
from kimi_ui.core.portable import NotAnExport, export_turns, import_turns, metrics_of, public_url
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.tokenizers import counter

SECRET = "the hidden thought"
CANARY = "sk-canary"


def full_turn() -> TurnLog:
    """Two lanes with a failed attempt and its retry, a relabelled answer, and a child attempt."""
    lanes = (LaneInfo("a", "Lane A", "openai", "m"), LaneInfo("h", "Heavy", "heavy", "m", of="a", width=1))
    turn = TurnLog(
        "t1", "c1", 0, "Why?", lanes, owner="someone", system="Be brief.", started_at_utc="2026-01-02T03:04:05"
    )
    base_url = f"https://me:{CANARY}@models.example:8443/v1?key={CANARY}"

    def attempt(lane: str, attempt_id: str, sent_ns: int, **more: Any) -> None:
        identity = Attempt(
            attempt_id, "t1", lane, lane, sent_ns=sent_ns, base_url=base_url, price=(1.0, None, 2.0, "2026-01-01"),
            tokenizer=f"/home/{CANARY}/tiktoken.model", params={"max_tokens": 5}, **more,
        )  # fmt: skip
        turn.append(Entry(lane, attempt_id, 0, Opened(identity.as_dict())))

    def add(lane: str, attempt_id: str, *stamped: tuple[int, Any]) -> None:
        for t_ns, event in stamped:
            turn.append(Entry(lane, attempt_id, t_ns, event))

    turn.append(Entry("a", "", 3, Phase("preparing", "weights", 1, 2)))
    attempt("a", "a1", 10)
    add("a", "a1", (5, Failure("capacity", "Busy.", http_status=503)), (6, End("error", retry_in_s=0.5)))
    attempt("h", "h1", 20, role="heavy")
    attempt("h", "h2", 21, role="trajectory", parent_id="h1", k_index=0)
    attempt("a", "a2", 500, attempt_no=2)
    add(
        "a",
        "a2",
        (100, Answer(SECRET)),
        (200, Relabel()),
        (300, Reasoning(f" and {SECRET}")),
        (900, Answer("42 é \ud800")),
    )
    add("h", "h2", (100, Reasoning(SECRET)), (200, Answer("41")), (300, Finish("stop")), (301, End("ok")))
    add("h", "h1", (400, Answer("41")), (500, Finish("stop")), (501, End("ok")))
    add("a", "a2", (950, Usage(output_tokens=9, raw={"output": 9})), (960, Finish("stop")), (970, End("ok")))
    turn.closed = True
    return turn


def through_json(document: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(document))


def test_every_event_is_read_back_with_its_stamp() -> None:
    turn = full_turn()
    document = through_json(export_turns([turn], "A title", counter))
    (back,) = import_turns(document)
    plain = [entry for entry in turn.entries if not isinstance(entry.event, Opened)]
    assert [entry for entry in back.entries if not isinstance(entry.event, Opened)] == plain
    assert (back.prompt, back.system, back.lanes, back.seq, back.closed) == ("Why?", "Be brief.", turn.lanes, 0, True)
    was, now = (one.fold() for one in (turn, back))
    assert [one.answer for one in now.folds.values()] == [one.answer for one in was.folds.values()]
    assert [one.sent_ns for one in now.attempts.values()] == [one.sent_ns for one in was.attempts.values()]
    assert now.children == was.children
    assert metrics_of(back, counter) == metrics_of(turn, counter) == document["turns"][0]["metrics"]
    assert through_json(export_turns([back], "A title", counter)) == document


def test_owner_keys_and_paths_of_this_machine_are_left_out() -> None:
    text = json.dumps(export_turns([full_turn()], "A title", counter))
    assert CANARY not in text
    assert "someone" not in text
    assert "https://models.example:8443/v1" in text


def test_leaving_out_the_reasoning_removes_its_text_and_keeps_every_stamp() -> None:
    turn = full_turn()
    document = through_json(export_turns([turn], "A title", counter, reasoning=False))
    assert SECRET not in json.dumps(document)
    assert document["turns"][0]["metrics"] == metrics_of(turn, counter)
    (back,) = import_turns(document)
    assert [entry.t_ns for entry in back.entries] == [entry.t_ns for entry in turn.entries]
    fold = back.fold()
    assert [fold.folds[attempt].answer for attempt in ("a2", "h1", "h2")] == ["42 é \ud800", "41", "41"]
    assert not any(one.reasoning for one in fold.folds.values())


DAMAGES = """another program's|newer|no turns|no prompt|prompt is a list|unknown lane|negative lane|negative stamp
unknown event|text is a number|failure is a dict|attempt never opened|stamp of an attempt is text|a list""".replace(
    "\n", "|"
).split("|")


def broken(change: str) -> Any:
    document = through_json(export_turns([full_turn()], "A title", counter))
    turn = document["turns"][0]
    match change:
        case "another program's":
            document["format"] = "other"
        case "newer":
            document["version"] = 2
        case "no turns":
            document["turns"] = []
        case "no prompt":
            del turn["prompt"]
        case "prompt is a list":
            turn["prompt"] = ["x"]
        case "unknown lane":
            turn["events"][0][0] = 7
        case "negative lane":
            turn["events"][0][0] = -1
        case "negative stamp":
            turn["events"][0][2] = -5
        case "unknown event":
            turn["events"][0][3] = "?"
        case "text is a number":
            next(item for item in turn["events"] if item[3] == "a")[4] = 5
        case "failure is a dict":
            next(item for item in turn["events"] if item[3] == "x")[5] = {"html": "<b>"}
        case "attempt never opened":
            turn["events"] = [item for item in turn["events"] if item[3] != "o"]
        case "stamp of an attempt is text":
            next(item for item in turn["events"] if item[3] == "o")[4]["sent_ns"] = "soon"
        case "a list":
            return [document]
    return document


@pytest.mark.parametrize("change", DAMAGES)
def test_an_invalid_document_is_refused_with_one_sentence(change: str) -> None:
    with pytest.raises(NotAnExport) as refusal:
        import_turns(broken(change))
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)


def test_fields_of_another_version_are_ignored() -> None:
    document = through_json(export_turns([full_turn()], "A title", counter))
    document["turns"][0]["lanes"][0]["colour"] = "red"
    next(item for item in document["turns"][0]["events"] if item[3] == "o")[4]["mood"] = "good"
    assert import_turns(document)[0].lanes == full_turn().lanes


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://user:pass@h.example:1/v1?k=1#f", "https://h.example:1/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://a@b@h/v1", "http://h/v1"),
        ("http://[broken", ""),
        ("", ""),
    ],
)
def test_a_public_url_has_no_credentials_query_or_fragment(url: str, public: str) -> None:
    assert public_url(url) == public
