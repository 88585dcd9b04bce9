"""A lane retried in its turn: the log gets each new entry once, whenever and by whichever process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from kimi_ui.core.events import Answer, Entry, Finish, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import NEWEST, Pick, TurnLog, picked
from kimi_ui.log.reader import LogReader
from kimi_ui.log.sqlite.connection import Statements
from kimi_ui.web.turn_commands import TurnCommandRoutes
from kimi_ui.web.turns import TurnRoutes
from kimi_ui.web.visitor import OnePerson, VisibleTurns
from tests.support.engine_run import Run, running
from tests.support.scripted import ScriptedProvider
from tests.support.waiting import until

FIRST = [Reasoning("Hm."), 0.001, Answer("first"), Finish("stop")]
SECOND = [Reasoning("Once more."), 0.001, Answer("second"), Finish("stop")]
SLOW = [Answer("word "), 30, Finish("stop")]


def two_lanes(
    path: Path, *, b: list[object], a: Sequence[list[object]] = (FIRST, SECOND)
) -> AbstractContextManager[Run]:
    """An engine ended_turn the log at ``path``: lane a answers "first", then "second"; lane b plays ``b``."""
    return running(
        path,
        ScriptedProvider(LaneSpec("a", "A", "openai"), a),
        ScriptedProvider(LaneSpec("b", "B", "openai"), [b]),
    )


def ended_turn(turn: TurnLog, lane: str = "", n_attempts: int = 1) -> TurnLog:
    """Wait until the turn has ended, or the lane's attempt number ``n_attempts``; returns the turn."""

    def lane_has_ended() -> bool:
        fold = turn.fold()
        return len(fold.lanes[lane].attempts) >= n_attempts and fold.lane_ended(lane)

    until(lambda: turn.closed or (lane and lane_has_ended()))
    return turn


def by_attempt(entries: list[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.attempt_id, []).append(entry)
    return found


def assert_stored_once(path: Path, turn: TurnLog, cut_off: int = 0) -> None:
    """The log holds exactly the turn's entries; ``cut_off`` attempts have an end that is not stored as an event."""
    back = LogReader(path).turn(turn.turn_id)
    assert back is not None
    assert by_attempt(back.entries) == by_attempt(turn.entries)
    reader = LogReader(path)
    ((stored,),) = reader.rows("SELECT sum(n_events) FROM events WHERE turn_id = :turn_id", turn_id=turn.turn_id)
    rows = reader.rows("SELECT attempt_no, status, answer FROM attempts WHERE lane = 'a' ORDER BY 1")
    assert (
        stored == len(turn.entries) - len(by_attempt(turn.entries)) - cut_off
    )  # an attempt's first entry is stored as its row
    assert rows == [(1, "ok", "first"), (2, "ok", "second")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite3"


def test_a_retry_while_another_lane_still_runs(path: Path) -> None:
    with two_lanes(path, b=SLOW) as run:
        turn = ended_turn(run.engine.send("?"), "a")
        run.engine.retry(turn.turn_id, "a")
        ended_turn(turn, "a", 2)
        assert not turn.closed
        run.engine.stop(turn.turn_id)
        ended_turn(turn)
    assert_stored_once(path, turn)


@pytest.mark.parametrize("drained", [True, False], ids=["after the writer let go of it", "while the writer has it"])
def test_a_retry_after_the_turn_was_closed(path: Path, drained: bool) -> None:
    with two_lanes(path, b=FIRST) as run:
        turn = ended_turn(run.engine.send("?"))
        if drained:
            run.writer.flush().result()
        run.engine.retry(turn.turn_id, "a")
        ended_turn(turn)
    assert_stored_once(path, turn)


def test_a_retry_after_a_restart(path: Path) -> None:
    with two_lanes(path, b=FIRST) as run:
        turn_id = ended_turn(run.engine.send("?")).turn_id
    with two_lanes(path, b=FIRST, a=[SECOND]) as run:
        turn = ended_turn(run.engine.retry(turn_id, "a"))
    assert_stored_once(path, turn)


def test_a_page_reads_the_events_of_the_attempts_that_it_shows(path: Path) -> None:
    with two_lanes(path, b=FIRST) as run:
        turn = ended_turn(run.engine.send("?"))
        run.engine.retry(turn.turn_id, "a")
        ended_turn(turn)
    reader, (first, second), (beside,) = LogReader(path), *(turn.fold().lanes[lane].attempts for lane in "ab")
    for pick, answers in {
        NEWEST: {first: "", second: "second", beside: "first"},
        Pick("a", 1): {first: "first", second: "", beside: ""},
        Pick("a", 3): {first: "", second: "", beside: ""},
    }.items():
        read = reader.turn(turn.turn_id, pick)
        assert read is not None
        assert {id: fold.answer for id, fold in read.fold().folds.items()} == answers
        assert {id for id, answer in answers.items() if answer} == picked(turn.entries, pick)
        assert {fold.status for fold in read.fold().folds.values()} == {"ok"}
    bare = reader.turn(turn.turn_id, with_entries=False)
    assert bare is not None
    assert not bare.entries
    assert reader.texts(turn.turn_id, first) == ("Hm.", "first")
    assert reader.texts("another", first) is None


def test_an_answer_is_read_without_other_answers_and_without_events(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []  # every value that was read from the log

    def spied(rows: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def spy(self: Statements, sql: str, **values: Any) -> Iterator[Any]:
            for row in rows(self, sql, **values):
                read.extend(row.values() if isinstance(row, dict) else row)
                yield row

        return spy

    for name in ("rows", "records"):
        monkeypatch.setattr(Statements, name, spied(getattr(Statements, name)))
    with two_lanes(path, b=[Answer("beside"), Finish("stop")]) as run:
        turn = ended_turn(run.engine.send("?"))
        run.engine.retry(turn.turn_id, "a")
        ended_turn(turn)
        visible = VisibleTurns(run.turns)
        routes = [
            *TurnRoutes(run.turns, Mock(), Mock(), visible, Mock()).routes(),
            *TurnCommandRoutes(run.engine, run.turns, Mock(), Mock(), visible).routes(),
        ]
        client = TestClient(Starlette(routes=routes, middleware=[Middleware(OnePerson)]))
        urls = {
            "lanes/a/answer?attempt=1": {"first"},
            "lanes/a/answer": {"second"},
            "diff?left=a&right=b": {"second", "beside"},
            "diff?left=a@1&right=a": {"first", "second"},
            "answers": {"first", "second", "beside"},
        }
        expected = [client.get(f"/kimi/turns/{turn.turn_id}/{url}").text for url in urls]
        run.writer.flush().result()
        run.turns.forget(turn.conversation_id)
        for (url, answers), text in zip(urls.items(), expected, strict=True):
            read.clear()
            assert client.get(f"/kimi/turns/{turn.turn_id}/{url}").text == text
            assert {value for value in read if value in ("first", "second", "beside")} == answers, url
            assert not any(isinstance(value, bytes) for value in read), url  # events
        newest = [turn.fold().lanes[lane].attempts[-1] for lane in "ab"]
        sql = "SELECT payload FROM events WHERE attempt_id IN (:a, :b)"
        events = [payload for (payload,) in LogReader(path).rows(sql, a=newest[0], b=newest[1])]
        read.clear()
        assert client.get(f"/kimi/turns/{turn.turn_id}/worth").json() == []
        assert Counter(value for value in read if isinstance(value, bytes)) == Counter(events)
        assert len(events) >= 2, "of each lane its newest attempt's"
        assert {"first", "second", "beside"}.isdisjoint(read)
        read.clear()
        voted = client.post(f"/kimi/turns/{turn.turn_id}/vote", json={"choice": "tie"}).json()["vote"]
        assert voted["field"] == ["a", "b"]
        assert client.post(f"/kimi/turns/{turn.turn_id}/stop").status_code == 202
        assert not any(isinstance(value, bytes) for value in read)
        assert {value for value in read if value in ("first", "second", "beside")} == {"second", "beside"}


@pytest.mark.slow
def test_a_retry_after_the_process_was_killed(path: Path, tmp_path: Path) -> None:
    """A lane that was cut off has an end without an event; the retry's entries follow it."""
    found_later = tmp_path / "found_later.sqlite3"
    with two_lanes(path, b=SLOW) as run:
        turn_id = ended_turn(run.engine.send("?"), "a").turn_id
        run.writer.flush().result()
        LogReader(path).copy(found_later)  # the state a killed process leaves behind
    with two_lanes(found_later, b=FIRST, a=[SECOND]) as run:
        ended_turn(run.engine.retry(turn_id, "b"))
        turn = ended_turn(run.engine.retry(turn_id, "a"))
    assert_stored_once(found_later, turn, cut_off=1)
    fold = turn.fold()
    assert [fold.folds[attempt].status for attempt in fold.lanes["b"].attempts] == ["interrupted", "ok"]
