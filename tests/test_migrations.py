"""Upgrading logs of released versions: nothing is lost, no figure changes, and a new column breaks no log.

``tests/logs`` holds one small log of each version that changed the schema (see ``support/released_log.py``). The views
of its version are stored in it, so the expected figures are read from it before the upgrade.
"""

from __future__ import annotations

import gzip
import math
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database, Migrations

from kimi_ui.core.budget import Budget
from kimi_ui.log import measured, views
from kimi_ui.log.budgets import BudgetLog
from kimi_ui.log.conversation_settings import SettingsLog
from kimi_ui.log.costs import spent_on_day
from kimi_ui.log.reader import LogReader
from kimi_ui.log.sqlite import schema
from kimi_ui.log.sqlite.migrations import SET, migrations
from tests.support.log import store, writing
from tests.support.turns import attempt, ended, tokens, turn

RELEASED = sorted((Path(__file__).parent / "logs").glob("*.sqlite3.gz"))
VIEWS = ("attempt_metrics", "turn_metrics", "heavy_metrics", "vote_outcomes", "lane_votes", "vote_pairs")
KEPT = ("conversations", "turns", "attempts", "events", "votes", "budgets", "conversation_settings", "spent_deleted")
Rows = list[dict[str, Any]]


@pytest.fixture(params=RELEASED, ids=lambda file: file.name.removesuffix(".sqlite3.gz"))
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "log.sqlite3"
    path.write_bytes(gzip.decompress(request.param.read_bytes()))
    return path


def rows(path: Path, query: str) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query)]


def contents(path: Path, names: Iterable[str], columns: Mapping[str, Rows] | None = None) -> dict[str, Rows]:
    """All rows of these tables or views, sorted; only these ``columns``, or all."""
    selected = {name: ", ".join(columns[name][0]) if columns else "*" for name in names}
    found = {name: rows(path, f"SELECT {selected[name]} FROM {name}") for name in names}
    return {name: sorted(found[name], key=lambda row: str(row)) for name in names}


def same(before: Any, after: Any) -> bool:
    if isinstance(before, float) and isinstance(after, float | int):
        return math.isclose(before, after, rel_tol=1e-9)
    return bool(before == after)


def bring_up_to_date(path: Path) -> None:
    with writing(path) as writer:
        assert writer.problem == ""


def test_there_is_a_released_log() -> None:
    assert RELEASED


def test_every_row_and_every_figure_stays(released: Path) -> None:
    before = contents(released, (*KEPT, *VIEWS))
    assert all(before.values())
    bring_up_to_date(released)
    for name, now in contents(released, before, columns=before).items():
        assert len(now) == len(before[name]), name
        for was, row in zip(before[name], now, strict=True):
            was.pop("gap_ms", None)  # it counted late starts and earlier waves then
            if reason := was.get("suspect_reason"):  # lateness was a reason then; now it is the error bound
                was["suspect_reason"] = reason.replace("loop_lag ", "")
            assert not {key: (was[key], row[key]) for key in was if not same(was[key], row[key])}, name


def test_budgets_settings_and_votes_survive_an_upgrade(released: Path) -> None:
    reader = LogReader(released)
    with writing(released) as writer:
        assert BudgetLog(writer, reader).of("owner-me") == Budget(2.5, 0.5)
        settings = SettingsLog(writer, reader).of("main")
    assert settings.system == "Be exact."
    assert not settings.lanes["qwen"].on
    (first, *_) = reader.conversation("main")
    assert first.vote is not None
    assert first.vote.lane == "kimi-heavy"
    spent = spent_on_day(reader, "owner-me", "2026-11-19")
    assert spent.usd > 0


def test_turns_of_one_number_get_numbers_of_their_own(released: Path) -> None:
    numbered = "SELECT turn_id, seq FROM turns WHERE conversation_id = 'main' ORDER BY started_at_utc"
    before = rows(released, numbered)
    assert [row["seq"] for row in before] == list(range(len(before)))
    with closing(sqlite3.connect(released)) as db, db:
        db.execute("UPDATE turns SET seq = 0 WHERE conversation_id = 'main'")
    bring_up_to_date(released)
    assert rows(released, numbered) == before


def test_cached_metrics_equal_those_of_the_view(released: Path) -> None:
    bring_up_to_date(released)
    assert_cached(released)


def assert_cached(path: Path) -> None:
    names = [name for name in measured.COLUMNS if name not in ("owner", "kind", "prompt_chars")]
    query = f"SELECT {', '.join(names)} FROM {{}} ORDER BY attempt_id"
    view = rows(path, query.format("attempt_metrics WHERE parent_id IS NULL AND status <> 'open'"))
    assert view
    assert rows(path, query.format("measured")) == view


def test_one_more_column_to_measure_breaks_no_log(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_up_to_date(released)
    fresh = released.with_name("fresh.sqlite3")
    more = {"attempt_id": measured.COLUMNS["attempt_id"], "ntpot_ms": "REAL"} | measured.COLUMNS
    monkeypatch.setattr(measured, "COLUMNS", more)
    monkeypatch.setattr(schema, "COLUMNS", more)
    assert LogReader(released).is_older()
    log = turn((attempt(), ended(tokens(90, start_ms=100, gap_ms=10))))
    for path in (released, fresh):
        with writing(path) as writer:
            store(writer, log)
            assert writer.problem == ""
        (row,) = rows(path, f"SELECT tpot_ms FROM measured WHERE turn_id = '{log.turn_id}'")
        assert row["tpot_ms"] == pytest.approx(10)
        assert_cached(path)


def test_one_more_column_in_a_table_and_a_view_breaks_no_log(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up_to_date(released)
    later = Migrations(SET)
    for migration in migrations.pending(Database(memory=True)):
        later(name=migration.name)(migration.fn)

    @later()
    def m900_one_more(db: Database) -> None:
        db.execute("ALTER TABLE attempts ADD COLUMN one_more_ms REAL")

    changed = tmp_path / "views.sql"
    text = views.VIEWS.read_text("utf-8")
    assert "\n    loop_lag_ms,\n" in text
    changed.write_text(text.replace("\n    loop_lag_ms,\n", "\n    loop_lag_ms, one_more_ms,\n"), "utf-8")
    monkeypatch.setattr(schema, "migrations", later)
    monkeypatch.setattr(views, "VIEWS", changed)
    for path in (released, released.with_name("fresh.sqlite3")):
        with writing(path) as writer:
            store(writer, turn((attempt(), ended(tokens(3, start_ms=1, gap_ms=1)))))
            assert writer.problem == ""
        assert {row["one_more_ms"] for row in rows(path, "SELECT * FROM attempt_metrics")} == {None}


def test_a_persons_own_views_and_tables_are_kept(released: Path) -> None:
    with closing(sqlite3.connect(released)) as db:
        db.execute("CREATE VIEW my_votes AS SELECT turn_id, choice FROM votes")
        db.execute("CREATE VIEW my_speed AS SELECT lane, avg(ttft_ms) ttft_ms FROM attempt_metrics GROUP BY lane")
        db.execute("CREATE TABLE my_notes (note TEXT)")
        db.commit()
    mine = contents(released, ("my_votes", "my_speed", "my_notes"))
    bring_up_to_date(released)
    assert contents(released, ("my_votes", "my_speed", "my_notes")) == mine


def test_a_failed_upgrade_leaves_the_log_unchanged(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def schema_of(path: Path) -> Rows:
        return rows(path, "SELECT type, name, sql FROM sqlite_master ORDER BY name")

    before, figures = schema_of(released), contents(released, VIEWS)
    monkeypatch.setattr(schema, "measure_all", lambda: "INSERT INTO nowhere SELECT 1")
    with closing(sqlite3.connect(released, isolation_level=None)) as db, pytest.raises(sqlite3.OperationalError):
        schema.migrate(db)
    assert (schema_of(released), contents(released, VIEWS)) == (before, figures)


def test_migrations_applied_by_a_released_version_are_recognised(released: Path) -> None:
    """Those of 0.1.0 ran in the import order of their modules, which is not the order of the numbers."""
    with closing(sqlite3.connect(released)) as db:
        assert migrations.applied(Database(db))
        assert schema.unknown_migrations(Database(db)) == []
    bring_up_to_date(released)
    with closing(sqlite3.connect(released)) as db:
        assert not schema.is_older(db)


def test_migrations_are_numbered() -> None:
    functions = [migration.fn.__name__ for migration in migrations.pending(Database(memory=True))]
    assert [name.partition("_")[0] for name in functions] == [f"m{i:03}" for i in range(1, len(functions) + 1)]
