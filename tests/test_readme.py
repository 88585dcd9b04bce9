"""What the README promises, held against what is there: its queries, the views and columns it names, the fetch."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kimi_ui.log.schema import view_statements
from kimi_ui.providers.embedded.weights import SMOLLM2
from tests.support.log import store, writing
from tests.support.turns import attempt, ended, tokens, turn

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
SQL = README.partition("```sql\n")[2].partition("```")[0]
QUERIES = [query for query in SQL.split(";\n") if query]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A turn of a plain and a heavy lane, the latter with a trajectory."""
    price = (1.0, None, 2.0, "2026-07-01")
    plain = attempt("kimi", price=price, input_chars=400)
    heavy = attempt("kimi-heavy", role="heavy", provider="heavy")
    child = attempt(
        "kimi-heavy", role="trajectory", k_index=0, parent_id=heavy.attempt_id, price=price, input_chars=400
    )
    runs = [(one, ended(tokens(60, start_ms=100, gap_ms=10))) for one in (plain, heavy, child)]
    with writing(tmp_path / "log.sqlite3") as writer:
        store(writer, turn(*runs))
    with closing(sqlite3.connect(tmp_path / "log.sqlite3")) as db:
        yield db


def test_every_query_finds_something(db: sqlite3.Connection) -> None:
    assert len(QUERIES) == 3
    for query in QUERIES:
        assert db.execute(query).fetchall(), query


def test_columns_and_views_are_there(db: sqlite3.Connection) -> None:
    table = README.partition("## What the numbers mean")[2].partition("\n## ")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    there = {row[1] for row in db.execute("PRAGMA table_info(attempt_metrics)")}
    assert told and told <= there
    log = README.partition("## The log")[2].partition("```")[0]
    internal = {"attempt_counts", "search_texts"}
    assert {name for name in view_statements() if f"`{name}`" in log} == set(view_statements()) - internal


def test_what_is_fetched_is_as_large_as_told() -> None:
    assert f"fetched once, {SMOLLM2.wheel_bytes / 1e6:.0f} MB)" in README
