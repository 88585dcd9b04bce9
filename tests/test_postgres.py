"""The log in PostgreSQL, where it is not what SQLite's is: its tables, its figures, copies, and a server that is away.

What both stores share is tested over both by the fixture ``place``.
"""

from __future__ import annotations

import gzip
import math
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from kimi_ui.bench import records
from kimi_ui.cli import main
from kimi_ui.config import ConfigError, read_settings
from kimi_ui.core.database_url import DatabaseUrl
from kimi_ui.core.events import Answer, Entry
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnLog
from kimi_ui.log import writer as writer_module
from kimi_ui.log.places import Place
from kimi_ui.log.postgres import store as postgres_store
from kimi_ui.log.postgres.connection import connect
from kimi_ui.log.postgres.schema import LISTS
from kimi_ui.log.postgres.source import connections_to
from kimi_ui.log.reader import LogReader
from kimi_ui.log.search import search
from kimi_ui.log.sqlite.schema import migrate
from kimi_ui.log.store import CannotWrite, LogError, LogUnusable
from kimi_ui.log.views import view_statements
from kimi_ui.log.writer import LogWriter
from kimi_ui.web.visitor import COOKIE
from tests.support.browser import served
from tests.support.engine_run import started
from tests.support.exported_run import RUN_ID, make
from tests.support.log import rows, store, writing
from tests.support.postgres import PASSWORD, Cluster
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.turns import attempt, ended, tokens, turn
from tests.support.waiting import until

RELEASED = Path(__file__).parent / "logs" / "kimi-ui-0.1.0.sqlite3.gz"
ONLY_HERE = {"processes", "kimi_ui_migrations", "kimi_ui_derived"}
WORDS_OF_TYPES = {"bigint": "INTEGER", "double precision": "REAL", "text": "TEXT", "bytea": "BLOB"}


@pytest.fixture
def url(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseUrl]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    made = cluster.new_log()
    yield made
    cluster.drop(made)


def test_both_stores_have_the_same_tables_columns_keys_and_indexes(url: DatabaseUrl) -> None:
    """A migration that one of them lacks, or has otherwise, fails here: ``log/README.md`` says how it is written."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        names = {name for name in names if not name.startswith(("sqlite_", "_sqlite", "search_", "search"))}
        columns, foreign_keys, indexes = {}, set(), set()
        for name in names:
            for _, column, kind, not_null, default, key in db.execute(f"PRAGMA table_info({name})"):
                columns[name, column] = (kind, bool(not_null or key), (default or "").strip("'"))
            for _, _, to, column, _, _, on_delete, _ in db.execute(f"PRAGMA foreign_key_list({name})"):
                foreign_keys.add((name, column, to, int(on_delete == "CASCADE")))
            for _, index, _, origin, _ in db.execute(f"PRAGMA index_list({name})"):
                if origin == "c":
                    indexes.add(index)
    reader = LogReader(url)
    here = reader.rows(
        """
        SELECT c.table_name, c.column_name, c.data_type, c.is_nullable, coalesce(c.column_default, '')
        FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE table_schema = 'public' AND t.table_type = 'BASE TABLE' AND table_name <> 'search_documents'
        """
    )
    found = {
        (table, column): (WORDS_OF_TYPES.get(kind, kind), nullable == "NO", default.split("::")[0].strip("'"))
        for table, column, kind, nullable, default in here
        if table not in ONLY_HERE
    }
    assert found == columns
    foreign = reader.rows(
        """
        SELECT c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text, c.confdeltype = 'c'
        FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        WHERE c.contype = 'f' AND c.conrelid::regclass::text <> 'search_documents'
        """
    )
    assert set(foreign) == foreign_keys
    assert indexes <= {name for (name,) in reader.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}


def same(here: Any, there: Any) -> bool:
    if isinstance(here, float) or isinstance(there, float):
        return type(here) is type(there) and math.isclose(here, there, rel_tol=1e-9)
    return bool(here == there)


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Path, Path]:
    """Two logs in SQLite: with some of everything that a chat leaves, and with a run of the benchmark.

    In the first, which an older version wrote, turns of a conversation have the same number."""
    chats, run = tmp_path / "chats.sqlite3", tmp_path / "run.sqlite3"
    chats.write_bytes(gzip.decompress(RELEASED.read_bytes()))
    with closing(sqlite3.connect(chats)) as db, db:
        db.execute("UPDATE turns SET seq = 0 WHERE conversation_id = 'main'")
    make(run)
    return chats, run


def test_a_log_is_copied_there_and_back_and_every_figure_is_equal(
    logs: tuple[Path, Path], cluster: Cluster, url: DatabaseUrl, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, there in zip(logs, (url, cluster.new_log()), strict=True):
        back = path.with_name(f"back-{path.name}")
        assert main(["log", "copy", str(path), there.secret]) == 0, capsys.readouterr().err
        assert "The copy is equal" in capsys.readouterr().out
        for view in (*view_statements(LISTS), "measured"):
            columns = ", ".join(name for name in columns_of(path, view) if name != "number")  # ids first
            expected, found = (sorted(rows(at, f"SELECT {columns} FROM {view}"), key=str) for at in (path, there))
            assert len(found) == len(expected), view
            for one, other in zip(expected, found, strict=True):
                different = {name: (one[name], other[name]) for name in one if not same(one[name], other[name])}
                assert not different, (view, different)
        assert main(["log", "copy", there.secret, str(back)]) == 0
        assert rows(back, "SELECT * FROM attempt_metrics ORDER BY attempt_id") == rows(
            path, "SELECT * FROM attempt_metrics ORDER BY attempt_id"
        )
        assert PASSWORD not in "".join(capsys.readouterr())
    assert records.load(LogReader(there), RUN_ID) == records.load(LogReader(path), RUN_ID)


def columns_of(place: Place, name: str) -> list[str]:
    with LogReader(place).snapshot() as log:
        return log.columns(name)


def test_a_copy_that_was_cut_short_goes_on_and_one_into_another_log_is_refused(
    url: DatabaseUrl, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.sqlite3"
    texts = [turn((attempt(), ended([(1, Answer(f"Number {i} \0 绿茶"))])), owner="me") for i in range(5)]
    with writing(path) as writer:
        store(writer, *texts)
    with closing(sqlite3.connect(path)) as db, db:  # the only table without a key
        db.execute("INSERT INTO spent_deleted VALUES ('me', '2026-11-21', 1.5, 0, 0)")
    change, left = postgres_store.Store.change, [3]

    def cut_short(self: postgres_store.Store, work: Any) -> set[str]:
        left[0] -= 1
        if not left[0]:
            raise CannotWrite("the network is down")
        return change(self, work)

    monkeypatch.setattr("kimi_ui.log.copying.BATCH", 2)
    with monkeypatch.context() as patch:
        patch.setattr(postgres_store.Store, "change", cut_short)
        assert main(["log", "copy", str(path), url.secret]) == 2
    assert "Begin again" in capsys.readouterr().err
    assert main(["log", "copy", str(path), url.secret]) == 0
    assert "conversations: 1 written, 4 were there" in capsys.readouterr().out
    reader = LogReader(url)
    assert [reader.turn(one.turn_id) == one for one in texts] == [True] * 5
    for words in ("number 3", "绿茶"):
        assert search(reader, "me", words)
    with connect(url) as connection:
        connection.execute("UPDATE turns SET prompt = 'Changed.' WHERE turn_id = %s", (texts[1].turn_id,))
    assert main(["log", "copy", str(path), url.secret]) == 0
    said = capsys.readouterr().out
    assert "turns: 1 written, 4 were there" in said
    assert "spent_deleted: 0 written, 1 were there" in said
    with writing(url) as writer:  # its numbers go on after those that were copied
        store(writer, other := turn((attempt(), ended([(1, Answer("more"))]))))
        assert writer.n_refused == 0
    assert main(["log", "copy", str(path), url.secret]) == 2
    assert "1 conversations of another log" in capsys.readouterr().err
    assert reader.turn(other.turn_id) == other


def test_a_reader_whose_idle_connection_another_takes_opens_one(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Taken(deque[Any]):
        """Empty, though it was not when it was looked at."""

        def __bool__(self) -> bool:
            return True

    monkeypatch.setattr(connections_to(url), "_idle", Taken())
    assert LogReader(url).turns() == []


def half_written(writer: LogWriter, n_tokens: int) -> tuple[TurnLog, list[Entry]]:
    """A running turn whose first half is in the log, and the entries to come."""
    log = turn((attempt(), ended(tokens(n_tokens, start_ms=1, gap_ms=1))))
    entries, log.entries, log.closed = log.entries, [], False
    writer.open_turn(log).result()
    writer.follow(log)
    for entry in entries[: n_tokens // 2]:
        log.append(entry)
    writer.flush().result()
    return log, entries[n_tokens // 2 :]


def test_a_server_that_dies_in_mid_stream_loses_nothing(
    cluster: Cluster, url: DatabaseUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.05)
    monkeypatch.setattr(writer_module, "MOST_RETRY_S", 0.05)
    before, meanwhile = (turn((attempt(), ended([(1, Answer("x"))]))) for _ in range(2))
    with writing(url) as writer:
        store(writer, before)
        assert LogReader(url).turn(before.turn_id) == before
        whole, rest = half_written(writer, 40)
        cluster.kill()
        try:
            store(writer, meanwhile)
            for entry in rest:
                whole.append(entry)
            writer.flush().result()
            assert "Nothing is lost" in writer.problem
            assert writer.n_unwritten
            (spill,) = tmp_path.rglob("*.spill.jsonl")
            assert spill.stat().st_mode & 0o777 == 0o600
            with pytest.raises(LogError, match="cannot be read"):
                until(lambda: LogReader(url).turns() is None)  # until no connection is left that outlived the server
        finally:
            cluster.start()
        until(lambda: writer.flush().result() or not writer.n_unwritten)
        assert (writer.problem, list(tmp_path.rglob("*.spill.jsonl"))) == ("", [])
        whole.closed = True
    for one in (before, whole, meanwhile):
        assert LogReader(url).turn(one.turn_id) == one
    assert writer.n_refused == 0


def test_rows_for_a_table_that_another_process_locks_are_written_later(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "LOCK_WAIT", "50ms")
    monkeypatch.setattr(writer_module, "RETRY_S", 0.0)
    log = turn((attempt(), ended([(1, Answer("x"))])))
    with writing(url) as writer:
        with connect(url) as other, other.transaction():
            other.execute("LOCK TABLE turns")
            store(writer, log)
            assert "lock timeout" in writer.problem
            with writing(url) as second:  # an upgrade or another's lock does not keep a process from starting
                assert second.problem == ""
        until(lambda: writer.flush().result() or not writer.n_unwritten)
    assert LogReader(url).turn(log.turn_id) == log


def test_a_process_taken_for_dead_has_the_last_word_on_its_attempts(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(url) as writer:
        log, rest = half_written(writer, 9)
        with writing(url):
            assert rows(url, "SELECT status FROM attempts") == [{"status": "open"}]
        with monkeypatch.context() as patch:
            patch.setattr(postgres_store, "SILENT_S", -1)
            with writing(url):
                assert rows(url, "SELECT status FROM attempts") == [{"status": "interrupted"}]
        for entry in rest:
            log.append(entry)
        log.closed = True
    assert rows(url, "SELECT status FROM attempts") == [{"status": "ok"}]
    assert LogReader(url).turn(log.turn_id) == log


def test_tables_that_are_gone_are_made_again_and_running_turns_written_again(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.0)
    with writing(url) as writer:
        log, rest = half_written(writer, 9)
        with connect(url) as connection, connection.transaction():
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        for entry in rest:
            log.append(entry)
        log.closed = True
        until(lambda: writer.flush().result() or "not in the new ones" in writer.problem)
    assert LogReader(url).turn(log.turn_id) == log


def test_the_password_is_shown_nowhere(
    cluster: Cluster, url: DatabaseUrl, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shown = [str(url), repr(url), repr(read_settings(db=url.secret, env={}))]
    wrong = {
        "no server": DatabaseUrl(f"postgresql://kimi:{PASSWORD}@127.0.0.1:1/kimi?password={PASSWORD}"),
        "wrong password": DatabaseUrl(url.secret.replace(PASSWORD, f"{PASSWORD}-not")),
        "no database": DatabaseUrl(url.secret.replace(url.name, "nothing")),
        "wrong escape": DatabaseUrl(url.secret.replace(PASSWORD, f"{PASSWORD}%zz")),
        "wrong option": DatabaseUrl(f"{url.secret}&{PASSWORD}={PASSWORD}"),
    }
    for place in wrong.values():
        for use in (lambda place=place: LogReader(place).turns(), LogWriter(place).start):
            with pytest.raises(LogError) as raised:
                use()
            shown.append(str(raised.value))
        assert main(["stats", "--db", place.secret]) == 2
    for text in (f"postgresql://kimi:{PASSWORD}/x@host/kimi", f"postgresql://kimi:{PASSWORD} @host", "postgres:x"):
        with pytest.raises(ConfigError, match="%40 for an @") as bad:
            read_settings(db=text, env={})
        shown.append(str(bad.value))
    shown += [*capsys.readouterr(), caplog.text]
    assert not [text for text in shown if "canary" in text]
    assert "Connection refused" in shown[3]


def test_without_psycopg_a_sentence_says_what_to_install(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("kimi_ui.log.postgres", "psycopg"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for use in (LogReader, LogWriter):
        with pytest.raises(LogError, match=r"pip install \"psycopg\[binary\]\""):
            use(url)


def test_a_database_of_another_program_or_of_a_newer_version_is_left_alone(url: DatabaseUrl) -> None:
    with connect(url) as connection:
        connection.execute("INSERT INTO kimi_ui_migrations VALUES ('m999_x', now())")
    with pytest.raises(LogUnusable, match=r"newer Kimi UI .m999_x"):
        LogWriter(url).start()
    with connect(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.execute("CREATE TABLE turns (id int)")
    with pytest.raises(LogUnusable, match="another program"):
        LogWriter(url).start()
    assert not LogReader(url).is_log()


def test_several_processes_may_start_on_a_new_database_at_once(url: DatabaseUrl) -> None:
    with connect(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    reader = LogReader(url)
    assert (reader.exists(), reader.is_log(), reader.turns(), reader.attempt_metrics(["x"])) == (False, True, [], [])
    assert search(reader, "me", "anything") == search(reader, "me", "绿茶") == []
    writers = [LogWriter(url) for _ in range(3)]
    threads = [threading.Thread(target=writer.start) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        store(writer, turn((attempt(), ended([(1, Answer("x"))]))))
        writer.close()
    assert (len(LogReader(url).turns()), [writer.problem for writer in writers]) == (3, ["", "", ""])


def test_a_text_of_more_words_than_the_index_holds_is_kept_whole(url: DatabaseUrl) -> None:
    text = " ".join(f"w{i:x}" for i in range(250_000)) + " " + "x" * 5000
    log = turn((attempt(), ended([(1, Answer(text))])), owner="me")
    with writing(url) as writer:
        store(writer, log, wait_s=60)
        assert writer.n_refused == 0
    reader = LogReader(url)
    assert reader.texts(log.turn_id, log.entries[0].attempt_id) == ("", text)
    assert search(reader, "me", "w2a")


def test_while_the_server_is_away_the_page_says_so_and_running_turns_lose_nothing(
    cluster: Cluster, url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.05)
    monkeypatch.setattr(writer_module, "MOST_RETRY_S", 0.05)
    monkeypatch.setattr("kimi_ui.web.health.FRESH_S", 0.0)
    held = threading.Event()
    lane = ScriptedProvider(LaneSpec("a", "A", "openai"), [[Answer("one "), held, Answer("two")]])
    roster = ScriptedRoster(lane)
    with (
        started(roster, url) as run,
        served(run, roster) as address,
        httpx.Client(base_url=address, timeout=60) as http,
    ):
        http.cookies.set(COOKIE, "v" * 40)
        turn = run.engine.send("Why?")
        until(lambda: any(isinstance(entry.event, Answer) for entry in turn.entries))
        cluster.kill()
        try:
            until(lambda: http.get("/readyz").status_code == 503)
            # a connection may outlive its server
            refused = until(lambda: answer if (answer := http.get("/kimi/conversations")).status_code == 503 else None)
            assert "cannot be read" in refused.json()["error"]
            assert PASSWORD not in refused.text
            held.set()
            until(lambda: turn.closed)
            run.writer.flush().result()
            assert "Nothing is lost" in run.writer.problem
        finally:
            cluster.start()
        until(lambda: http.get("/readyz").status_code == 200)
        stored = run.reader.turn(turn.turn_id)
        assert stored is not None
        assert stored.entries == turn.entries
