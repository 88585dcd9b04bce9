"""Where a log may lie: not on a device, not in another program's file; and what if its file goes while it is written."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kimi_ui.log.files import LogError
from kimi_ui.log.writer import LogWriter


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
    make(path)  # type: ignore[operator]
    writer = LogWriter(path)
    with pytest.raises(LogError, match=message) as raised:
        writer.start()
    assert "--db" in raised.value.remedy and os.path.realpath(path) in raised.value.message
    assert Path("/dev/full").stat().st_mode == device_mode, "a device is everybody's"
    writer.close()


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE turns (x)")
        db.commit()
    with pytest.raises(LogError, match="cannot be opened"):
        LogWriter(path).start()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT sql FROM sqlite_master WHERE name = 'turns'").fetchall() == [
            ("CREATE TABLE turns (x)",)
        ]
