"""The log when things go wrong: a database that is busy, full, damaged, foreign or newer, a process that is killed.

Child processes run ``tests/support/log_child.py``; the log must hold everything they acknowledged.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kimi_ui.core.events import Answer, End
from kimi_ui.log import writer as writer_module
from kimi_ui.log.places import Place
from kimi_ui.log.postgres import store as postgres_store
from kimi_ui.log.reader import LogReader
from kimi_ui.log.records import Op, conversation_op, turn_op
from kimi_ui.log.spill import append_ops, read_ops
from kimi_ui.log.sqlite import store as store_module
from kimi_ui.log.store import LogError
from kimi_ui.log.writer import LogWriter
from tests.support.log import store, writing
from tests.support.turns import attempt, ended, tokens, turn
from tests.support.waiting import until

CHILD = Path(__file__).parent / "support" / "log_child.py"


@contextmanager
def child(place: Place, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that writes to the log; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, str(CHILD), secret_of(place), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHILD.parents[2])},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()


def said(process: subprocess.Popen[str], word: str) -> str:
    """Read the child's lines up to the first that starts with ``word``; returns the rest of that line."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(word):
            return line.removeprefix(word).strip()
    raise AssertionError(f"the child ended without saying {word}")


def secret_of(place: Place) -> str:
    return str(place) if isinstance(place, Path) else place.secret


def check(path: Place) -> None:
    if not isinstance(path, Path):
        return
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def attempts(place: Place) -> list[tuple[str, str, str]]:
    return LogReader(place).rows("SELECT status, reasoning, answer FROM attempts ORDER BY sent_ns")


def until_statuses(place: Place, *expected: str) -> None:
    """Wait until the attempts have these: PostgreSQL may need a moment to notice that a process is dead."""
    until(lambda: sorted(status for status, _, _ in attempts(place)) == sorted(expected))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("turn", []),
        ("attempt", [("interrupted", "", "")]),
        ("stored", [("interrupted", "hm hm", " 0 1 2 3 4 5 6 7 8 9")]),
        ("ended", [("ok", "hm hm", " 0 1 2 3 4 5 6 7 8 9")]),
    ],
)
def test_killed_at_a_named_moment(
    place: Place, tmp_path: Path, moment: str, expected: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "SILENT_S", 0)  # or another process would wait until it is sure
    with child(place, "until", moment) as process:
        turn_id = said(process, "turn")
        said(process, "reached")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with writing(place) as writer:
        assert writer.problem == ""
        until_statuses(place, *(status for status, _, _ in expected))
        assert attempts(place) == expected
        back = LogReader(place).turn(turn_id)
        assert back is not None
        assert back.prompt == "Count."
        fold = back.fold()
        if expected:
            assert fold.lane_ended("a"), "nobody waits for a dead attempt"
    check(place)
    assert not list(tmp_path.rglob("*.alive"))
    assert not list(tmp_path.rglob("*.spill.jsonl"))


@pytest.mark.slow
def test_killed_at_any_moment_nothing_acknowledged_is_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_store, "SILENT_S", 0)
    rng = random.Random(20261121)
    acknowledged: dict[str, int] = {}
    for _ in range(15 if isinstance(place, Path) else 4):
        with child(place, "stream") as process:
            turn_id, n = said(process, "turn"), 0
            for _ in range(rng.randrange(12)):
                n = int(said(process, "stored"))
            time.sleep(rng.random() * 0.01)
            process.kill()
        acknowledged[turn_id] = n
    with writing(place) as writer:
        assert writer.problem == ""
        until_statuses(place, *("interrupted" for _ in attempts(place)))
    check(place)
    rows = LogReader(place).rows("SELECT turn_id, status, answer FROM turns LEFT JOIN attempts USING (turn_id)")
    assert {turn_id for turn_id, _, _ in rows} == set(acknowledged)
    for turn_id, status, answer in rows:
        numbers = [int(word) for word in (answer or "").split()]
        assert status in ("interrupted", None)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= acknowledged[turn_id]


def test_turns_of_another_live_process_are_not_marked_interrupted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with child(place, "until", "stored") as process:
        said(process, "reached")
        with writing(place) as writer:
            assert [status for status, _, _ in attempts(place)] == ["open"]
            store(writer, turn((attempt(), ended([(1, Answer("mine"))]))))
        assert sorted(status for status, _, _ in attempts(place)) == ["ok", "open"]
        process.kill()
        process.wait()
        monkeypatch.setattr(postgres_store, "SILENT_S", 0)
        with writing(place):
            until_statuses(place, "interrupted", "ok")
    check(place)


def test_a_link_to_a_log_opens_that_log(tmp_path: Path) -> None:
    path, link = tmp_path / "log.sqlite3", tmp_path / "elsewhere" / "link.sqlite3"
    link.parent.mkdir()
    link.symlink_to(path)
    with child(path, "until", "stored") as process:
        said(process, "reached")
        with writing(link) as writer:
            assert [status for status, _, _ in attempts(path)] == ["open"], "its process lives"
            store(writer, turn())
    assert len(LogReader(link).turns()) == 2
    assert list(link.parent.iterdir()) == [link]


@pytest.mark.slow
def test_two_processes_write_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with child(place, "stream") as first, child(place, "stream") as second:
        for _ in range(15):
            said(first, "stored")
            said(second, "stored")
    monkeypatch.setattr(postgres_store, "SILENT_S", 0)
    with writing(place):
        until_statuses(place, "interrupted", "interrupted")
    check(place)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program keeps the database locked."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on locks and retry at once, so that no test waits."""
    monkeypatch.setattr(store_module, "LOCK_WAIT_S", 0.05)
    monkeypatch.setattr(writer_module, "RETRY_S", 0.0)


@pytest.mark.usefixtures("impatient")
def test_rows_for_a_locked_database_are_written_later(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    logs = [turn((attempt(), ended(tokens(5, start_ms=1, gap_ms=1)))) for _ in range(3)]
    with writing(path) as writer:
        store(writer, logs[0])
        with locked(path):
            store(writer, logs[1], logs[2])
            assert "database is locked" in writer.problem
            assert "Nothing is lost" in writer.problem
            (spill,) = tmp_path.glob("*.spill.jsonl")
            assert spill.stat().st_mode & 0o777 == 0o600
        writer.flush().result(10)
        assert writer.problem == ""
        assert not spill.exists()
    for log in logs:
        assert LogReader(path).turn(log.turn_id) == log


@pytest.mark.usefixtures("impatient")
def test_unwritten_rows_are_written_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    log = turn((attempt(), ended(tokens(5, start_ms=1, gap_ms=1))))
    with writing(path) as writer, locked(path):
        store(writer, log)
        writer.close()
    assert LogReader(path).turn(log.turn_id) is None
    assert list(tmp_path.glob("*.spill.jsonl"))
    with writing(path) as writer:
        assert writer.problem == ""
    assert LogReader(path).turn(log.turn_id) == log
    assert not list(tmp_path.glob("*.spill.jsonl"))


@pytest.mark.usefixtures("impatient")
def test_unwritten_rows_that_cannot_be_spilled_are_kept_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log.sqlite3"
    log = turn((attempt(), ended(tokens(5, start_ms=1, gap_ms=1))))
    with writing(path) as writer:
        obstacle = tmp_path / f"log.sqlite3.{writer.boot_id}.spill.jsonl"
        with locked(path):
            obstacle.mkdir()
            store(writer, log)
            assert "in memory only" in writer.problem
            assert all("in memory only" in message for message in caplog.messages), "the terminal shows the same"
            obstacle.rmdir()
        writer.flush().result(10)
        assert writer.problem == ""
    assert LogReader(path).turn(log.turn_id) == log


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with writing(path):
        pass
    with child(path, "full") as process:
        assert "Nothing is lost" in said(process, "problem")
        process.wait()
    assert list(tmp_path.glob("*.spill.jsonl"))
    with writing(path) as writer:
        assert writer.problem == ""
    assert [len(answer) for _, _, answer in attempts(path)] == [29_249] * 8
    check(path)


@pytest.mark.parametrize("damage", ["header", "garbage", "truncated", "pages"])
def test_a_damaged_database_is_set_aside_and_a_new_one_created(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "log.sqlite3"
    with writing(path) as writer:
        store(writer, *(turn((attempt(), ended(tokens(50, start_ms=1, gap_ms=1)))) for _ in range(20)))
    content = path.read_bytes()
    damaged = {
        "header": b"X" * 100 + content[100:],
        "garbage": random.Random(1).randbytes(20_000),
        "truncated": content[: len(content) // 2],
        "pages": content[:4096] + b"\xff" * (len(content) - 4096),
    }[damage]
    path.write_bytes(damaged)
    log = turn()
    with writing(path) as writer:
        (aside,) = tmp_path.glob("log.sqlite3.corrupt-*")
        assert writer.problem == f"The log was damaged: it was kept as {aside.name} and a new one was created."
        store(writer, log)
    assert aside.read_bytes() == damaged
    assert LogReader(path).turn(log.turn_id) == log


def test_an_empty_file_becomes_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    path.touch()
    with writing(path) as writer:
        assert writer.problem == ""
        store(writer, turn())
    assert len(LogReader(path).turns()) == 1


def mark_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('kimi_ui', 'm999_x', '')")
        db.commit()


def test_a_log_of_a_newer_version_is_set_aside_and_a_new_one_created(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with writing(path) as writer:
        store(writer, turn())
    mark_newer(path)
    with writing(path) as writer:
        (aside,) = tmp_path.glob("log.sqlite3.newer-*")
        assert "newer Kimi UI (m999_x)" in writer.problem
        assert aside.name in writer.problem
    assert len(LogReader(aside).turns()) == 1
    assert LogReader(path).turns() == []


def test_a_log_that_another_process_uses_is_never_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with child(path, "until", "stored") as process:
        said(process, "reached")
        mark_newer(path)
        with pytest.raises(LogError, match="another process uses it"):
            LogWriter(path).start()
        assert not list(tmp_path.glob("*newer*"))
        assert len(LogReader(path).turns()) == 1


def test_a_truncated_spill_file_yields_its_complete_lines(tmp_path: Path) -> None:
    log = turn()
    spill = tmp_path / "log.sqlite3.0123456789abcdef.spill.jsonl"
    append_ops(spill, [conversation_op(log), turn_op(log), Op("events", {"payload": b"\x00\xff"})])
    spill.write_bytes(spill.read_bytes()[:-9])
    assert [op.table for op in read_ops(spill)] == ["conversations", "turns"]
    with writing(tmp_path / "log.sqlite3") as writer:
        assert writer.problem == ""
    assert [head.turn_id for head in LogReader(tmp_path / "log.sqlite3").turns()] == [log.turn_id]


def test_ops_are_read_back_from_the_spill_file_unchanged(tmp_path: Path) -> None:
    ops = [
        Op("events", {"payload": bytes(range(256)), "seq": 3}),
        Op("update attempts", {"attempt_id": "é", "x": None}),
    ]
    append_ops(tmp_path / "spill", ops[:1])
    append_ops(tmp_path / "spill", ops[1:])
    assert list(read_ops(tmp_path / "spill")) == ops


def test_a_failed_spill_leaves_no_partial_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spill, write = tmp_path / "spill", os.write
    first, second = Op("turns", {"a": 1}), Op("turns", {"b": 2})
    append_ops(spill, [first])

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:10])

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, "write", full)
        append_ops(spill, [second])
    append_ops(spill, [second])
    assert list(read_ops(spill)) == [first, second]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_forever_for_a_writer_that_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LogWriter(tmp_path / "log.sqlite3")
    writer.start()
    reached, go = threading.Event(), threading.Event()

    def die(*_: object, **__: object) -> set[str]:
        reached.set()
        go.wait(60)
        raise SystemExit

    monkeypatch.setattr(writer_module, "rename_conversation", die)
    waiting = [writer.rename_conversation("c", "owner", "title")]
    assert reached.wait(60)
    waiting.append(writer.flush())  # it is in the queue now
    go.set()
    for future in waiting:
        with pytest.raises(RuntimeError, match="the log is closed"):
            future.result(60)
    with pytest.raises(RuntimeError, match="the log is closed"):
        writer.flush().result(60)
    writer.close()
    writer._thread.join(60)  # its traceback is ignored here only


def test_a_spill_file_cannot_smuggle_sql() -> None:
    for op in (Op("turns; DROP TABLE turns", {"a": 1}), Op("turns", {"a) --": 1})):
        with pytest.raises(ValueError, match="not a write"):
            _ = op.sql


def test_damage_in_one_segment_loses_only_the_rest_of_that_segment(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    log = turn((attempt(), ended(tokens(5, start_ms=1, gap_ms=1))))
    with writing(path) as writer:
        store(writer, log)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE events SET payload = x'00'")
        db.commit()
    back = LogReader(path).turn(log.turn_id)
    assert back is not None
    assert [type(entry.event).__name__ for entry in back.entries] == ["Opened", "End"]
    assert isinstance(back.entries[-1].event, End)
    assert back.entries[-1].event.status == "ok"
