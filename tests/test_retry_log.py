"""A lane asked again in its turn: the log takes what is new and nothing twice, whenever and by whatever process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kimi_ui.core.events import Answer, Entry, Finish, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnFold, TurnLog
from kimi_ui.engine import Engine
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter
from tests.support.scripted import ScriptedProvider, ScriptedRoster

FIRST = [Reasoning("Hm."), 0.001, Answer("first"), Finish("stop")]
SECOND = [Reasoning("Once more."), 0.001, Answer("second"), Finish("stop")]
SLOW = [Answer("word "), 30, Finish("stop")]


@contextmanager
def running(path: Path, *, b: list[object]) -> Iterator[Engine]:
    """An engine over the log at ``path``: lane a answers "first", then "second"; lane b what it is told."""
    providers = (
        ScriptedProvider(LaneSpec("a", "A", "openai"), [FIRST, SECOND]),
        ScriptedProvider(LaneSpec("b", "B", "openai"), [b]),
    )
    writer = LogWriter(path)
    writer.start()
    engine = Engine(ScriptedRoster(*providers), writer, LogReader(path))  # type: ignore[arg-type]
    engine.start()
    try:
        yield engine
    finally:
        engine.close()
        writer.close()


def wait(turn: TurnLog, lane: str = "", n_attempts: int = 1) -> TurnLog:
    """Wait for the turn's end, or for that of a lane's so-manyth attempt."""
    while not turn.closed:
        fold = TurnFold.of(turn).apply_all(list(turn.entries))
        if lane and len(fold.lanes[lane].attempts) >= n_attempts and fold.lane_ended(lane):
            break
        time.sleep(0.002)  # ended by the test's own time limit
    return turn


def by_attempt(entries: list[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.attempt_id, []).append(entry)
    return found


def assert_stored_once(path: Path, turn: TurnLog, cut_off: int = 0) -> None:
    """The log holds exactly the turn's entries; ``cut_off`` attempts have an end that is no event."""
    back = LogReader(path).turn(turn.turn_id)
    assert back is not None
    assert by_attempt(back.entries) == by_attempt(turn.entries)
    with LogReader(path).connect() as db:
        stored = db.execute("SELECT sum(n_events) FROM events WHERE turn_id = ?", (turn.turn_id,)).fetchone()[0]
        rows = db.execute("SELECT attempt_no, status, answer FROM attempts WHERE lane = 'a' ORDER BY 1").fetchall()
    assert stored == len(turn.entries) - len(by_attempt(turn.entries)) - cut_off  # an attempt's first entry is its row
    assert [tuple(row) for row in rows] == [(1, "ok", "first"), (2, "ok", "second")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite3"


def test_while_another_lane_still_runs(path: Path) -> None:
    with running(path, b=SLOW) as engine:
        turn = wait(engine.send("?"), "a")
        engine.retry(turn.turn_id, "a")
        wait(turn, "a", 2)
        assert not turn.closed
        engine.stop(turn.turn_id)
        wait(turn)
    assert_stored_once(path, turn)


@pytest.mark.parametrize("drained", [True, False], ids=["after the writer let go of it", "while the writer has it"])
def test_after_the_turn_was_closed(path: Path, drained: bool) -> None:
    with running(path, b=FIRST) as engine:
        turn = wait(engine.send("?"))
        if drained and engine.log is not None:
            engine.log.flush().result()
        engine.retry(turn.turn_id, "a")
        wait(turn)
    assert_stored_once(path, turn)


def test_after_a_restart(path: Path) -> None:
    with running(path, b=FIRST) as engine:
        turn_id = wait(engine.send("?")).turn_id
    with running(path, b=FIRST) as engine:
        provider = engine._roster.provider("a")  # type: ignore[attr-defined]
        provider.scripts = [SECOND]
        turn = wait(engine.retry(turn_id, "a"))
    assert_stored_once(path, turn)


def test_after_the_process_was_killed_in_the_middle(path: Path, tmp_path: Path) -> None:
    """A lane that was cut off has an end without an event; what follows has its place after it."""
    found_later = tmp_path / "found_later.sqlite3"
    with running(path, b=SLOW) as engine:
        turn_id = wait(engine.send("?"), "a").turn_id
        assert engine.log is not None
        engine.log.flush().result()
        LogReader(path).copy(found_later)  # the state a killed process leaves behind
    with running(found_later, b=FIRST) as engine:
        engine._roster.provider("a").scripts = [SECOND]  # type: ignore[attr-defined]
        wait(engine.retry(turn_id, "b"))
        turn = wait(engine.retry(turn_id, "a"))
    assert_stored_once(found_later, turn, cut_off=1)
    fold = TurnFold.of(turn).apply_all(turn.entries)
    assert [fold.folds[attempt].status for attempt in fold.lanes["b"].attempts] == ["interrupted", "ok"]
