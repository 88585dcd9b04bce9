"""``stats``, ``replay`` and ``export`` over a log that ``compare`` has written."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, redirect_stdout
from pathlib import Path

import pytest

from kimi_ui.cli import main
from kimi_ui.log.measured import COLUMNS
from kimi_ui.log.reader import LogReader
from kimi_ui.stats.sample import ALWAYS_OUT, REASONS, WIDE
from tests.support.terminal import shown_on_terminal
from tests.support.upstream import Upstream

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with one turn of two lanes, which no test opens."""
    folder = tmp_path_factory.mktemp("written")
    with Upstream() as upstream:
        lanes = folder / "lanes.toml"
        lanes.write_text(
            "".join(
                f'[[lane]]\nid = "{name}"\nprovider = "openai"\nmodel = "{model}"\nbase_url = "{upstream.base_url}"\n'
                for name, model in (("one", "m-400-60-120"), ("two", "gone"))
            )
        )
        db = folder / "log.sqlite3"
        with redirect_stdout(io.StringIO()):
            assert main(["compare", "Why is the sky blue?", "--lanes", str(lanes), "--db", str(db)]) == 1
    return db


@pytest.fixture
def log(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that log, as the user's own."""
    db = tmp_path / "log.sqlite3"
    db.write_bytes(written.read_bytes())
    monkeypatch.setenv("KIMI_UI_DB", str(db))
    monkeypatch.chdir(tmp_path)
    return db


def turn_id(log: Path) -> str:
    return LogReader(log).turns(limit=1)[0].turn_id


def test_stats_as_a_table_and_as_json(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats"]) == 0
    out = capsys.readouterr().out
    assert "one" in out
    assert "two" in out
    assert "Medians with 95 % intervals" in out
    assert main(["stats", "--json", "--lane", "two"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [series["lane"] for series in summary["series"]] == ["two"]
    assert summary["n_attempts"] + sum(summary["excluded"].values()) == 1  # a suspect attempt is excluded
    assert main(["stats", "--days", "-1"]) == 2
    assert "--days" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "lanes"),
    [
        (["--model", "gone"], ["two"]),
        (["--provider", "openai"], ["one", "two"]),
        (["--provider", "ollama"], []),
        (["--conversation", "another"], []),
        (["--chars-to", "20"], []),
        (["--chars-from", "20", "--chars-to", "21"], ["one", "two"]),
        (["--kind", "bench"], []),
        (["--kind", "chat", "--start", "warm"], ["one", "two"]),
        (["--start", "cold"], []),
        (["--days", "1"], ["one", "two"]),
    ],
)
def test_stats_filters_as_the_tab_does(
    log: Path, capsys: pytest.CaptureFixture[str], options: list[str], lanes: list[str]
) -> None:
    assert main(["stats", "--json", *options]) == 0
    assert [series["lane"] for series in json.loads(capsys.readouterr().out)["series"]] == lanes


def test_stats_can_include_the_attempts_it_leaves_out(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(log)) as db, db:
        db.execute("UPDATE measured SET ttft_err_ms = 0.1, ttfo_err_ms = 0.1, e2e_err_ms = 0.1, decode_err_pct = 0.1")
        columns = ", ".join(set(COLUMNS) - {"attempt_id", "turn_id", "ttft_err_ms", "suspect"})
        db.execute(f"""
            INSERT INTO measured (attempt_id, turn_id, ttft_err_ms, suspect, {columns})
            SELECT 'suspect', 'a', 0.1, 1, {columns} FROM measured WHERE lane = 'one'
            UNION ALL SELECT 'wide', 'b', ttft_ms, 0, {columns} FROM measured WHERE lane = 'one'
        """)
    everything = [word for reason in {*REASONS, WIDE} - {ALWAYS_OUT} for word in ("--include", reason)]
    found = []
    for options in ([], everything):
        assert main(["stats", "--json", *options]) == 0
        found.append(json.loads(capsys.readouterr().out))
    before, after = found
    assert (before["n_attempts"], before["excluded"], before["wide"]) == (4, {"suspect": 1}, {"ttft_ms": 1})
    assert (after["n_attempts"], after["excluded"], after["wide"]) == (4, {}, {})
    assert [one["series"][0]["ttft_ms"]["n"] for one in found] == [1, 3]
    assert main(["stats"]) == 0
    assert "Left out for an error bound above 5 %: first token of 1." in " ".join(capsys.readouterr().out.split())


def test_stats_show_what_is_left_out_where_there_is_nothing_else(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(log)) as db, db:
        db.execute("UPDATE measured SET suspect = 1, ttft_err_ms = 0.1, ttfo_err_ms = 0.1 WHERE lane = 'one'")
        db.execute("UPDATE measured SET e2e_err_ms = 0.1, decode_err_pct = 0.1")
    assert main(["stats"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "one has only attempts with counts or a clock that contradict themselves: they are included." in out


def test_a_missing_log_is_an_error_only_if_db_names_it_and_is_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "none.sqlite3"
    assert main(["stats", "--db", str(db)]) == 2
    assert f"no log at {db}; check --db" in capsys.readouterr().err
    monkeypatch.setenv("KIMI_UI_DB", str(db))
    assert main(["stats"]) == 0
    assert "Nothing has been measured yet" in capsys.readouterr().out
    assert main(["replay", "--db", str(db)]) == 2
    assert "holds no turn yet" in capsys.readouterr().err
    assert not db.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["export", "a-turn", "--db"],
        ["stats", "--db"],
        ["stats", "--lanes"],
        ["serve", "--no-browser", "--db"],
    ],
)
def test_a_file_name_that_is_too_long_gives_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIMI_UI_DB", "log.sqlite3")
    name = "x" * 300
    assert main([*arguments, name]) == 2
    error = capsys.readouterr().err.replace(f"{tmp_path}/", "")
    assert error.count("\n") == 1
    assert f"File name too long: {name}. Check the path" in error


def test_replay_off_a_terminal_shows_the_end_at_once(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay"]) == 0
    newest = capsys.readouterr().out
    assert newest.startswith("> Why is the sky blue?\n")
    assert "180 tokens (usage)" in newest
    assert "== two" in newest
    assert main(["replay", turn_id(log)]) == 0
    assert capsys.readouterr().out == newest
    for arguments, words in ((["nope"], "no turn nope"), (["--speed", "-1"], "--speed")):
        assert main(["replay", *arguments]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_replay_on_a_terminal_plays_the_turn_in_the_live_view(log: Path) -> None:
    code, text = shown_on_terminal("replay", "--speed", "0.25")
    assert code == 0
    assert "╭─" in text
    assert "thinking" in text
    assert "answering" in text
    assert "180 tokens (usage)" in text[text.rindex("╰") :]


@pytest.mark.parametrize("kind", ["html", "md", "json"])
def test_a_turn_and_its_conversation_are_exported(
    log: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = LogReader(log).turn(turn_id(log))
    assert turn
    for number, id in enumerate((turn.turn_id, turn.conversation_id)):
        target = tmp_path / f"{number}.{kind}"
        assert main(["export", id, "--format", kind, "-o", str(target)]) == 0
        assert capsys.readouterr().out == f"{target}\n"
        assert "Why is the sky blue?" in target.read_text()


def test_an_export_is_named_after_its_title_and_can_omit_the_reasoning(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", turn_id(log), "--format", "md"]) == 0
    name = capsys.readouterr().out.strip()
    assert name == "kimi-why-is-the-sky-blue.md"
    whole = (tmp_path / name).read_text()
    assert main(["export", turn_id(log), "--format", "md", "--no-reasoning", "-o", "-"]) == 0
    without = capsys.readouterr().out
    assert "Let me weigh the request" in without
    assert len(without) < len(whole)


def test_a_failed_export_names_the_id_or_the_path(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "nope"]) == 2
    assert "no turn or conversation nope" in capsys.readouterr().err
    assert main(["export", turn_id(log), "-o", "/nowhere/x.html"]) == 2
    assert "choose another place with -o" in capsys.readouterr().err


def test_a_json_export_replays_without_the_log_it_came_from(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", turn_id(log), "--speed", "0"]) == 0
    there = capsys.readouterr().out
    assert main(["export", turn_id(log), "--format", "json", "-o", "turn.json"]) == 0
    monkeypatch.setenv("KIMI_UI_DB", str(tmp_path / "none.sqlite3"))
    capsys.readouterr()
    assert main(["replay", "turn.json"]) == 0
    assert capsys.readouterr().out == there
    for damaged in ("{}", "not json", '{"format": "kimi-ui", "version": 99, "turns": []}'):
        (tmp_path / "damaged.json").write_text(damaged)
        assert main(["replay", "damaged.json"]) == 2
        assert "damaged.json cannot be re" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["stats"], ["replay"], ["export", "some-id"]])
@pytest.mark.parametrize("content", [b"hello\n", bytes(range(256)) * 80], ids=["text", "bytes"])
def test_reading_does_not_change_a_file_that_is_not_a_log(
    command: list[str], content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    assert main([*command, "--db", str(path)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("kimi_ui: The log ")
    assert "--db" in complaint
    assert complaint.count("\n") == 1
    assert path.read_bytes() == content
    assert [found.name for found in tmp_path.iterdir()] == ["mine.txt"]


def test_a_fifo_or_a_directory_is_refused_as_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert main(["stats", "--db", str(tmp_path / "fifo")]) == 2
    assert "is not a file. Choose another place with --db." in capsys.readouterr().err
    assert main(["stats", "--db", "/"]) == 2
    assert "The log / is a directory." in capsys.readouterr().err


def test_reading_does_not_change_another_database_or_a_newer_log(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = log.with_name("other.db")
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE turns (id)")
        db.commit()
    content = other.read_bytes()
    assert main(["stats", "--db", str(other)]) == 2
    assert "is not a Kimi UI log" in capsys.readouterr().err
    assert other.read_bytes() == content
    with closing(sqlite3.connect(log)) as db:
        db.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('kimi_ui', 'm999_x', '')")
        db.commit()
    assert main(["replay"]) == 2
    assert "newer Kimi UI (m999_x)" in capsys.readouterr().err
    assert LogReader(log).turns()


def test_a_log_with_damaged_pages_gives_one_sentence(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    id = turn_id(log)
    for command in (["replay", id], ["export", id], ["stats"]):
        whole = log.read_bytes()
        log.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
        assert main(command) == 2
        complaint = capsys.readouterr().err
        assert "damaged" in complaint
        assert complaint.count("\n") == 1
        log.write_bytes(whole)
    assert not list(log.parent.glob("*.corrupt-*"))


@pytest.fixture
def archive(log: Path) -> Iterator[Path]:
    """The log, in a folder that cannot be written."""
    folder = log.parent / "archive"
    folder.mkdir()
    log.rename(folder / log.name)
    (folder / log.name).chmod(0o444)
    folder.chmod(0o555)
    yield folder / log.name
    folder.chmod(0o755)


def run_without_rights(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kimi_ui", *arguments]
    if os.geteuid() == 0:  # root may write anywhere, so it drops that right
        command = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override", *command]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)


@pytest.mark.slow
def test_an_archived_log_in_a_read_only_folder_is_read(archive: Path) -> None:
    done = run_without_rights("stats", "--json", "--db", str(archive))
    assert (done.returncode, done.stderr) == (0, "")
    assert [series["lane"] for series in json.loads(done.stdout)["series"]] == ["one", "two"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["stats", "replay"])
def test_an_archived_log_of_an_older_version_says_so(log: Path, request: pytest.FixtureRequest, command: str) -> None:
    with closing(sqlite3.connect(log)) as db:
        db.execute("DROP TABLE measured")
        db.execute("DELETE FROM _sqlite_migrations WHERE name LIKE '%measured%'")
        db.commit()
    archive = request.getfixturevalue("archive")
    done = run_without_rights(command, "--db", str(archive))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "written by an older Kimi UI" in done.stderr
    assert "Copy it to a writable folder." in done.stderr
