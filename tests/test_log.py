"""The log: rows are read back as written and exist before requests are sent; totals and copies are correct."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from copy import copy
from pathlib import Path

import pytest

from kimi_ui import __version__
from kimi_ui.core.events import (
    CONNECTED,
    PREPARING,
    Answer,
    End,
    Entry,
    Failure,
    Flag,
    Meta,
    Phase,
    Reasoning,
    Relabel,
    Usage,
)
from kimi_ui.core.heavy.timing import timing
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.core.turn import Exchange, LaneInfo, TurnLog
from kimi_ui.engine import Engine
from kimi_ui.log.adoption import missing_ops
from kimi_ui.log.lateness import lateness
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.records import Op
from kimi_ui.log.sqlite.store import Store
from kimi_ui.log.store import LogUnreadable
from kimi_ui.turns import Turns
from tests.support.log import rows, store, writing
from tests.support.scripted import ScriptedProvider, ScriptedRoster, thinker
from tests.support.turns import Timed, attempt, ended, tokens, turn
from tests.support.waiting import until

EVERYTHING: list[Timed] = [
    (1, Phase(CONNECTED)),
    (2, Meta("model-x", "host", "id-1")),
    (3, Answer("was reasoning\x00 ")),
    (4, Relabel()),
    (5, Reasoning("hm 漢字 \u202e\u2028")),
    (6, Answer("yes 😀")),
    (7, Flag("late_reasoning", "x")),
    (8, Usage(5, 2, 9, 4, 0.25, "usage", 1, 2, 3, {"completion_tokens": 9, "nested": [1, None]})),
]


def test_a_turn_is_read_back_as_it_was_written(place: Place) -> None:
    who = attempt(
        sent_ms=12, params={"temperature": 1.0}, price=(0.6, None, 2.5, "2026-07-01"), stand_in_for="k2", input_chars=9
    )
    log = turn(
        (who, ended(EVERYTHING)),
        lanes=[LaneInfo("a", "A", "openai", "m", how_to_get_real="set KEY=…", width=8)],
        owner="me",
        system="Be brief.",
        kind="bench",
        seq=3,
        prompt="Wie viele?\n",
    )
    log.entries.insert(0, Entry("a", "", 5_000_000, Phase(PREPARING, "weights", 10, 98)))
    with writing(place) as writer:
        store(writer, log)
        back = LogReader(place).turn(log.turn_id)
    assert back == log
    assert LogReader(place).turn("nothing") is None


def test_the_row_of_an_ended_attempt_holds_everything(place: Place) -> None:
    failure = Failure("upstream", "It broke.", "Try again.", "curl x", "500 <html>", 500)
    log = turn((attempt(), [*EVERYTHING, (9, failure), (10, End("error", "user", 1.5))]))
    with writing(place) as writer:
        store(writer, log)
    (row,) = rows(place, "SELECT * FROM attempts")
    assert (row["status"], row["end_reason"], row["retry_in_s"]) == ("error", "user", 1.5)
    nul = "\x00" if isinstance(place, Path) else "\ufffd"  # which text in PostgreSQL cannot hold
    assert (row["reasoning"], row["answer"]) == (f"was reasoning{nul} hm 漢字 \u202e\u2028", "yes 😀")
    told = ("error_type", "error_message", "error_remedy", "error_command", "error_detail", "http_status")
    assert [row[name] for name in told] == ["upstream", "It broke.", "Try again.", "curl x", "500 <html>", 500]
    assert (row["response_model"], row["upstream"], row["response_id"]) == ("model-x", "host", "id-1")
    assert row["usage_raw"] == '{"completion_tokens":9,"nested":[1,null]}'
    assert row["flags"] == '{"late_reasoning":"x"}'
    assert (row["headers_ns"], row["first_answer_ns"], row["end_ns"]) == (1_000_000, 6_000_000, 10_000_000)
    assert (row["local_source"], row["local_exact"], row["app_version"]) == ("tokenizer", 0, __version__)


def test_lone_surrogates_are_replaced_and_two_halves_are_joined(place: Place) -> None:
    log = turn((attempt(), ended([(1, Answer("a\ud83d")), (2, Answer("\ude00b \udc00"))])), prompt="p\ud800")
    with writing(place) as writer:
        store(writer, log)
    (row,) = rows(place, "SELECT answer, prompt FROM attempts JOIN turns USING (turn_id)")
    assert (row["answer"], row["prompt"]) == ("a😀b \ufffd", "p\ufffd")


def test_rows_are_stored_as_open_before_the_futures_resolve(place: Place) -> None:
    log = turn(closed=False)
    who = attempt(attempt_no=2, sent_ms=40)
    with writing(place) as writer:
        writer.open_turn(log).result(10)
        assert [row["prompt"] for row in rows(place, "SELECT prompt FROM turns")] == ["How many?"]
        object.__setattr__(who, "turn_id", log.turn_id)
        writer.open_attempt(who).result(10)
        (row,) = rows(place, "SELECT * FROM attempt_metrics")
        assert (row["status"], row["ttft_ms"], row["output_tokens"], row["suspect"]) == ("open", None, None, 0)


def test_text_is_stored_while_it_streams_and_a_turn_in_flight_can_be_read(place: Place) -> None:
    whole = turn((attempt(), ended(tokens(20, start_ms=1, gap_ms=1))))
    entries, whole.entries, whole.closed = whole.entries, [], False
    with writing(place) as writer:
        writer.open_turn(whole)
        writer.follow(whole)
        for entry in entries[:11]:
            whole.append(entry)
        writer.flush().result(10)
        partly = LogReader(place).turn(whole.turn_id)
        assert partly is not None
        assert partly.entries == entries[:11]
        for entry in entries[11:]:
            whole.append(entry)
        whole.closed = True
    assert LogReader(place).turn(whole.turn_id) == whole


def test_a_lane_whose_announced_retry_never_began_has_ended(place: Place) -> None:
    failed: list[Timed] = [(5.0, Failure("rate_limit", "Too many requests.")), (6.0, End("error", retry_in_s=4.0))]
    again = attempt(attempt_no=2, sent_ms=4006)
    dead, retried = turn((attempt(), failed)), turn((attempt(), failed), (again, ended([(1, Answer("x"))])))
    with writing(place) as writer:
        store(writer, dead, retried)
    back = LogReader(place).turn(dead.turn_id)
    assert back is not None
    assert back.fold().lane_ended("a")
    assert LogReader(place).turn(retried.turn_id) == retried


def test_an_attempt_that_ends_is_complete_in_the_log_without_waiting_for_a_checkpoint(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimi_ui.log.writer.CHECKPOINT_S", 3600.0)
    log = turn(
        (attempt(), ended(tokens(20, start_ms=1, gap_ms=1))),
        (attempt("b"), tokens(5, start_ms=1, gap_ms=1)),
        closed=False,
    )
    other = turn((attempt(), tokens(5, start_ms=1, gap_ms=1)), closed=False)
    with writing(place) as writer:
        for one in (other, log):
            entries, one.entries = one.entries, []
            writer.open_turn(one)
            writer.follow(one)
            for entry in entries:
                one.append(entry)
        found = until(lambda: rows(place, "SELECT lane, status FROM measured"))
        assert [tuple(row.values()) for row in found] == [("a", "ok")]
        assert not rows(place, "SELECT * FROM events WHERE turn_id = :id", id=other.turn_id), "that can wait"


def test_a_checkpoint_writes_many_turns_in_one_transaction_and_a_long_one_in_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimi_ui.log.writer.CHECKPOINT_S", 3600.0)
    monkeypatch.setattr("kimi_ui.log.writer.LOOK_S", 3600.0)
    written: list[list[Op]] = []
    write = Store.write
    monkeypatch.setattr(Store, "write", lambda self, ops: written.append(ops) or write(self, ops))
    reader = LogReader(tmp_path / "log.sqlite3")
    short = [turn((attempt(), tokens(20, start_ms=1, gap_ms=1))) for _ in range(5)]
    long = turn((attempt(), tokens(5000, start_ms=1, gap_ms=1)))
    with writing(tmp_path / "log.sqlite3") as writer:
        for turns, most in ((short, 1), ([long], 3)):
            written.clear()
            store(writer, *turns)
            assert sum(any(op.table == "events" for op in ops) for ops in written) == most
    for one in (*short, long):
        back = reader.turn(one.turn_id)
        assert back is not None
        assert back.entries == one.entries


def test_an_heir_keeps_what_a_dead_process_wrote_but_did_not_publish(place: Place) -> None:
    log = turn((attempt(), tokens(3, start_ms=1, gap_ms=1)), closed=False)
    last = log.entries[-1]
    mirror = copy(log)
    mirror.entries = [*log.entries[:-1], last._replace(event=End("interrupted"))]
    reader = LogReader(place)
    with writing(place) as writer:
        store(writer, log)
        writer.write(missing_ops(reader, mirror, "heir")).result()
    assert reader.texts(log.turn_id, last.attempt_id) == ("", " word word word")
    assert rows(place, "SELECT status FROM attempts") == [{"status": "interrupted"}]


def test_entries_of_many_attempts_are_read_back_in_time_order(place: Place) -> None:
    parent = attempt("h", role="heavy")
    children = [
        (
            attempt("h", role="trajectory", parent_id=parent.attempt_id, k_index=k, sent_ms=k + 1.0),
            ended(tokens(9, start_ms=k, gap_ms=3)),
        )
        for k in range(4)
    ]
    log = turn((parent, ended([(60, Answer("x"))])), *children, (attempt("b"), ended([(7, Answer("y"))])))
    with writing(place) as writer:
        store(writer, log)
    back = LogReader(place).turn(log.turn_id)
    assert back is not None
    assert sorted(map(repr, back.entries)) == sorted(map(repr, log.entries))
    fold, again = (t.fold() for t in (log, back))
    assert again == fold


def test_the_engine_and_the_log_together(place: Place) -> None:
    reader = LogReader(place)
    lane = ScriptedProvider(
        LaneSpec("a", "A", "openai", model="m", price=Price(1, 2)), [thinker("hm", "one"), thinker("ho", "two")]
    )
    with writing(place) as writer:
        engine = Engine(ScriptedRoster(lane), Turns(writer, reader))
        engine.start()
        first = engine.send("1?", owner="me")
        while not first.closed:
            writer.flush().result(10)
        second = engine.send("2?", owner="me", conversation_id=first.conversation_id)
        while not second.closed:
            writer.flush().result(10)
        engine.close()
        writer.flush().result(10)
        for log in (first, second):
            back = reader.turn(log.turn_id)
            assert back is not None
            assert back.entries == log.entries
            assert back.lanes == log.lanes
    assert reader.history(first.conversation_id, "a") == [
        Exchange(0, "1?", "one", "hm"),
        Exchange(1, "2?", "two", "ho"),
    ]
    assert reader.turn_seqs(first.conversation_id) == [0, 1]
    assert reader.owner_of(first.conversation_id) == "me"
    assert [head.prompt for head in reader.turns("me")] == ["2?", "1?"]
    assert reader.turns("you") == []


def test_history_uses_the_last_ended_attempt_that_has_an_answer(place: Place) -> None:
    child = attempt("a", role="trajectory", parent_id=None)
    first = turn(
        (attempt("a"), ended([(1, Answer("early"))], "stopped")),
        (attempt("a", attempt_no=2, sent_ms=50), ended([(1, Reasoning("only"))], "no_answer")),
        (attempt("b"), ended([(1, Answer("other lane"))])),
        conversation_id="c",
        prompt="one",
    )
    failed = turn((child, ended([], "error")), conversation_id="c", seq=1, prompt="two")
    third = turn((attempt("a"), ended([(1, Answer("last"))])), conversation_id="c", seq=2, prompt="three")
    fork = turn(
        (attempt("a"), ended([(1, Answer("other way"))])),
        conversation_id="d",
        seq=2,
        forked_from="c",
        forked_at=2,
        prompt="3'",
    )
    with writing(place) as writer:
        store(writer, first, failed, third, fork)
    reader = LogReader(place)
    assert [(e.seq, e.answer) for e in reader.history("c", "a")] == [(0, "early"), (2, "last")]
    assert [(e.seq, e.answer) for e in reader.history("d", "a")] == [(0, "early"), (2, "other way")]
    assert [log.prompt for log in reader.conversation("d")] == ["one", "two", "3'"]
    assert reader.conversation("d")[-1] == fork
    assert reader.history("nothing", "a") == []


def test_paging_by_cursor_returns_each_turn_once(place: Place) -> None:
    logs = [turn(owner="me", started_at_utc=f"2026-11-21T12:00:{i // 2:02}") for i in range(9)]
    with writing(place) as writer:
        store(writer, *logs)
    reader = LogReader(place)
    seen, cursor = [], None
    while page := reader.turns("me", before=cursor, limit=4):
        seen += [head.turn_id for head in page]
        cursor = page[-1].cursor
    assert len(seen) == 9
    assert set(seen) == {log.turn_id for log in logs}
    assert reader.turns("me", limit=1)[0].started_at_utc == "2026-11-21T12:00:04"


def test_metrics_by_id_keep_the_order_of_the_ids(place: Place) -> None:
    logs = [turn((attempt(), ended(tokens(3, start_ms=1, gap_ms=1)))) for _ in range(3)]
    with writing(place) as writer:
        store(writer, *logs)
    reader = LogReader(place)
    ids = [log.entries[0].attempt_id for log in reversed(logs)]
    assert [row["attempt_id"] for row in reader.attempt_metrics([*ids, "nothing", ids[0]])] == ids


def test_lateness_tells_how_often_the_engine_was_late_and_when_most(place: Place) -> None:
    lags = [("11:00", "900.0"), ("12:00", "99.0"), ("13:00", "282.4"), ("14:00", "120.0")]
    logs = [
        turn(
            (
                attempt(started_at_utc=f"2026-11-21T{at}:00.000+00:00"),
                ended([(1, Answer("x")), (2, Flag("loop_lag_ms", lag))]),
            )
        )
        for at, lag in lags
    ]
    with writing(place) as writer:
        store(writer, *logs)
    reader = LogReader(place)
    assert lateness(reader, "2026-11-21T12:00") == (3, 2, 282.4, "2026-11-21T13:00:00.000+00:00")
    assert lateness(reader, "2026-11-22") == (0, 0, 0.0, "")


def test_turn_metrics_describe_the_last_attempt_and_the_cost_of_all(place: Place) -> None:
    price = (0.0, None, 1e6, "2026")
    usage = Usage(input_tokens=1, output_tokens=7)
    log = turn(
        (attempt(price=price), ended([(1, Answer("x")), (2, usage)], "error")),
        (attempt(price=price, attempt_no=2, sent_ms=3000), ended([(10, Answer("y")), (20, usage)])),
    )
    with writing(place) as writer:
        store(writer, log)
    (row,) = rows(place, "SELECT * FROM turn_metrics")
    assert (row["status"], row["n_attempts"], row["cost_usd"]) == ("ok", 2, 14.0)
    assert (row["user_latency_ms"], row["user_ttfo_ms"], row["e2e_ms"]) == (3021, 3010, 10)


def test_heavy_metrics_say_how_an_attempt_spent_its_time(place: Place) -> None:
    """Four trajectories at once, one of which fails, and a second wave of one; in SQL and in Python."""
    parent = attempt("h", role="heavy")
    runs = [
        (
            attempt("h", role="trajectory", parent_id=parent.attempt_id, k_index=k, sent_ms=sent_ms),
            ended([(1, Answer("a")), (ms, Answer("b"))], status),
        )
        for k, (sent_ms, ms, status) in enumerate(
            [(1, 100, "ok"), (1, 300, "ok"), (1, 900, "ok"), (1, 5000, "error"), (905, 500, "ok")]
        )
    ]
    aggregator = attempt("h", role="aggregator", parent_id=parent.attempt_id, sent_ms=1425)
    runs.append((aggregator, ended([(30, Answer("x")), (80, Answer("y"))])))
    log = turn((parent, ended([(1455, Answer("x")), (1505, Answer("y"))])), *runs)
    with writing(place) as writer:
        store(writer, log)
    (row,) = rows(place, "SELECT * FROM heavy_metrics")
    assert (row["k_ok"], row["k_total"], row["slowest_k"], row["slowest_e2e_ms"]) == (4, 5, 2, 900)
    assert (row["straggler_ms"], row["drafts_ms"], row["gap_ms"], row["aggregator_e2e_ms"]) == (500, 1405, 20, 80)
    assert row["e2e_ms"] == row["drafts_ms"] + row["gap_ms"] + row["aggregator_e2e_ms"]
    assert row["parallel_efficiency"] == pytest.approx((100 + 300 + 900 + 500) / (4 * 900))
    computed = timing(log.fold(), parent.attempt_id)._asdict()
    assert {name: row[name] for name in computed} == pytest.approx(computed, rel=1e-9)
    (lane,) = rows(place, "SELECT * FROM turn_metrics")
    assert (lane["k_ok"], lane["k_total"]) == (4, 5)


def test_reading_a_missing_log_finds_nothing(place: Place) -> None:
    reader = LogReader(place)
    assert (reader.turns(), reader.history("c", "a"), reader.attempt_metrics(["x"])) == ([], [], [])
    assert reader.turn("x") is None
    assert reader.owner_of("c") is None
    assert reader.exists() is not isinstance(place, Path)  # the database was made with its tables


def test_a_reader_cannot_write(place: Place) -> None:
    with writing(place), pytest.raises(LogUnreadable, match=r"read-?only"):
        LogReader(place).rows("DELETE FROM turns")


def test_a_log_in_use_can_be_copied_to_one_complete_file(tmp_path: Path) -> None:
    path, target = tmp_path / "log.sqlite3", tmp_path / "copy.sqlite3"
    log = turn((attempt(), ended(EVERYTHING)))
    with writing(path) as writer:
        store(writer, log)
        LogReader(path).copy(target)
    assert LogReader(target).turn(log.turn_id) == log
    assert rows(target, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_the_log_is_private_to_its_user(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with writing(path) as writer:
        store(writer, turn())
        found = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir() if "sqlite3-" in file.name}
        assert path.stat().st_mode & 0o777 == 0o600
        assert set(found.values()) == {0o600}


def test_a_users_own_views_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with writing(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE VIEW mine AS SELECT 1 AS one")
        db.execute("DROP VIEW turn_metrics")
        db.commit()
    with writing(path):
        pass
    assert rows(path, "SELECT one FROM mine")[0]["one"] == 1
    assert rows(path, "SELECT * FROM turn_metrics") == [], "a view that is missing or old is made again"


def test_a_row_the_database_refuses_is_kept_in_a_separate_file(place: Place, tmp_path: Path) -> None:
    good = turn()
    with writing(place) as writer:
        orphan = Op(
            "events", {"turn_id": "none", "lane": "a", "attempt_id": None, "seq": 0, "n_events": 1, "payload": b"x"}
        )
        writer.write([orphan]).result(10)
        store(writer, good)
        assert "refused 1 rows" in writer.problem
    assert LogReader(place).turn(good.turn_id) is not None
    assert [b'"base64":"eA=="' in file.read_bytes() for file in tmp_path.rglob("*.rejected.jsonl")] == [True]


def test_processes_that_go_on_with_a_conversation_at_once_number_their_turns_apart(place: Place) -> None:
    with writing(place) as one, writing(place) as other:
        store(one, turn(conversation_id="c"))
        turns = [turn((attempt(), ended([(1, Answer("x"))])), conversation_id="c", seq=1 + i // 2) for i in range(8)]
        for writer, made in zip([one, other] * 4, turns, strict=True):
            writer.open_turn(made)
            writer.follow(made)
        for writer in (one, other):
            writer.flush().result()
            assert writer.n_refused == 0
    assert sorted(made.seq for made in turns) == list(range(1, 9))
    stored = {made.turn_id: made.seq for made in LogReader(place).conversation("c", with_entries=False)}
    assert {made.turn_id: made.seq for made in turns}.items() <= stored.items()


def test_a_closed_log_refuses_new_rows(tmp_path: Path) -> None:
    with writing(tmp_path / "log.sqlite3") as writer:
        pass
    writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        writer.open_turn(TurnLog("t", "c", 0, "p", ())).result(1)
