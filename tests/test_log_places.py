"""Where a log may be: not on a device, not in another program's file; and what if it is removed while in use."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kimi_ui.log import writer as writer_module
from kimi_ui.log.reader import LogReader
from kimi_ui.log.sqlite import schema
from kimi_ui.log.store import LogError
from kimi_ui.log.writer import LogWriter
from tests.support.log import store, writing
from tests.support.turns import attempt, ended, tokens, turn


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: (path.parent.rmdir(), path.parent.touch()), "cannot be written"),
        (lambda path: path.symlink_to("/dev/full"), "is not a file"),
        (lambda path: os.mkfifo(path), "is not a file"),
        (lambda path: path.symlink_to(path), "cannot be written"),
        (lambda path: path.symlink_to("/"), "is a directory"),
    ],
)
def test_a_place_that_cannot_hold_a_log_is_named_with_a_remedy(tmp_path: Path, make: object, message: str) -> None:
    device_mode = Path("/dev/full").stat().st_mode
    path = tmp_path / "data" / "log.sqlite3"
    path.parent.mkdir()
    make(path)
    writer = LogWriter(path)
    with pytest.raises(LogError, match=message) as raised:
        writer.start()
    assert "--db" in raised.value.remedy
    assert os.path.realpath(path) in raised.value.message
    assert Path("/dev/full").stat().st_mode == device_mode, "a device is everybody's"
    writer.close()


def bookmarks(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE bookmarks (url)")
        db.commit()


@pytest.mark.parametrize("make", [bookmarks, lambda path: path.write_text("Dear diary,\n" * 50)])
def test_another_programs_file_is_refused_and_left_unchanged(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "theirs"
    make(path)
    path.chmod(0o644)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(LogError, match=r"is not a Kimi UI log\. Choose another place with --db"):
            LogWriter(path).start()
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def remove(path: Path) -> None:
    for found in path.parent.glob(f"{path.name}*"):
        found.unlink()


def put_back_a_copy(path: Path) -> None:
    (path.parent / "copy").replace(path)


@pytest.mark.parametrize("lose", [remove, put_back_a_copy, Path.unlink])
def test_a_log_removed_while_in_use_is_created_again_and_no_later_turn_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lose: Callable[[Path], None]
) -> None:
    path = tmp_path / "log.sqlite3"
    earlier, running, later, repeated = (
        turn((attempt(), ended(tokens(5, start_ms=1, gap_ms=1))), conversation_id=name, seq=seq)
        for name, seq in (("one", 0), ("two", 0), ("one", 1), ("three", 0))
    )
    late = replace(attempt(), turn_id=repeated.turn_id)
    with writing(path) as writer:
        with closing(sqlite3.connect(path)) as log, closing(sqlite3.connect(tmp_path / "copy")) as copy:
            log.backup(copy)
        store(writer, earlier, repeated)
        entries, running.entries, running.closed = running.entries, [], False
        writer.open_turn(running)
        writer.follow(running)
        running.entries = entries[:4]
        writer.flush().result(10)
        lose(path)
        running.entries = entries
        running.closed = True
        store(writer, later)
        assert "removed or replaced while Kimi UI was running" in writer.problem
        assert writer.problem in caplog.text
        writer.follow(repeated)
        writer.open_attempt(late).result(10)
        with writing(path):
            pass
        assert path.stat().st_mode & 0o777 == 0o600
    reader = LogReader(path)
    assert reader.turn(running.turn_id) == running
    assert reader.turn(later.turn_id) == later
    assert reader.turn(repeated.turn_id) is not None
    assert reader.turn(earlier.turn_id) is None
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM attempts").fetchone() == (3,)
    assert not [*tmp_path.glob("*.spill.jsonl"), *tmp_path.glob("*.rejected.jsonl")]


def test_rows_wait_while_another_programs_file_is_in_the_logs_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.0)
    path = tmp_path / "log.sqlite3"
    running, later = (turn((attempt(), ended(tokens(5, start_ms=1, gap_ms=1)))) for _ in range(2))
    with writing(path) as writer:
        entries, running.entries, running.closed = running.entries, [], False
        writer.open_turn(running)
        writer.follow(running)
        running.entries = entries[:4]
        writer.flush().result(10)
        path.unlink()
        bookmarks(path)
        before = path.read_bytes()
        running.entries = entries
        running.closed = True
        store(writer, later)
        assert "is not a Kimi UI log" in writer.problem
        assert "Nothing is lost" in writer.problem
        assert path.read_bytes() == before
        path.unlink()
        writer.flush().result(10)
        assert "removed or replaced" in writer.problem
    assert [LogReader(path).turn(log.turn_id) for log in (running, later)] == [running, later]
    assert not [*tmp_path.glob("*.spill.jsonl"), *tmp_path.glob("*.rejected.jsonl")]


def test_upgrading_a_big_log_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log.sqlite3"
    with writing(path):
        pass
    monkeypatch.setattr(schema, "BIG_BYTES", path.stat().st_size)
    with writing(path):
        assert not caplog.messages, "there is nothing to do"
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP VIEW turn_metrics")
        db.commit()
    with writing(path):
        assert caplog.messages == ["Bringing the log (0 MB) up to date; this can take a minute."]
