"""Statements of the READMEs: length, links, queries, views, columns and the size of the download."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from kimi_ui.bench.plan import Item
from kimi_ui.bench.records import Head, head_op, item_op, verdict_op
from kimi_ui.core.metrics import Metrics
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.sqlite.schema import LISTS
from kimi_ui.log.views import view_statements
from kimi_ui.providers.embedded.weights import SMOLLM2
from tests.support.log import store, writing
from tests.support.turns import attempt, ended, tokens, turn

ROOT = Path(__file__).resolve().parents[1]
README, METRICS, LOG = (
    (ROOT / name).read_text("utf-8") for name in ("README.md", "kimi_ui/core/README.md", "kimi_ui/log/README.md")
)
TEXTS = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts)
]
SQL = LOG.partition("```sql\n")[2].partition("```")[0]
QUERIES = [query for query in SQL.split(";\n") if query]


@pytest.fixture
def log(place: Place) -> LogReader:
    """A turn of a plain and a heavy lane, the latter with a trajectory; it is in a run of the benchmark too."""
    price = (1.0, None, 2.0, "2026-07-01")
    plain = attempt("kimi", price=price, input_chars=400, base_url="http://gpu-1:8000/v1")
    heavy = attempt("kimi-heavy", role="heavy", provider="heavy")
    child = attempt(
        "kimi-heavy", role="trajectory", k_index=0, parent_id=heavy.attempt_id, price=price, input_chars=400
    )
    runs = [(one, ended(tokens(60, start_ms=100, gap_ms=10))) for one in (plain, heavy, child)]
    with writing(place) as writer:
        of = turn(*runs)
        store(writer, of)
        head = Head("r", "", "", "2026-11-29", None, "done", "", "quick", 1, 1, 1, 1, None, "")
        item = Item(0, "jugs-1", "reasoning", "jugs", "kimi", 1, 0, of.turn_id, None)
        verdict = verdict_op(plain.attempt_id, "right", "It is.")
        writer.write([head_op(head), item_op("r", item), verdict]).result()
    return LogReader(place)


def test_every_query_in_the_readmes_returns_rows(log: LogReader) -> None:
    assert len(QUERIES) == 8
    for query in QUERIES:
        assert log.rows(query), query


def test_documented_columns_and_views_exist(tmp_path: Path) -> None:
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", METRICS, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    with LogReader(tmp_path / "none.sqlite3").snapshot() as log:
        there = {column for view in ("attempt_metrics", "heavy_metrics") for column in log.columns(view)}
    assert named
    assert named <= there
    assert {field.name for field in fields(Metrics)} <= named
    internal = {"attempt_counts", "search_texts"}
    assert {name for name in view_statements(LISTS) if f"`{name}`" in LOG} == set(view_statements(LISTS)) - internal


def test_the_readme_gives_the_download_size_of_the_model() -> None:
    assert f"fetched once, {SMOLLM2.wheel_bytes / 1e6:.0f} MB)" in README


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= 1000


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text("utf-8"))
    assert not [link for link in links if not (path.parent / link).exists()]


def test_every_room_and_file_of_the_tree_exists() -> None:
    tree = README.partition("```text\n")[2].partition("```")[0]
    names = re.findall(r"^(?:  )?(\w[\w.]*/?)(?: ([\w.]+\.py))?", tree, re.MULTILINE)
    there = {path.name for room in (ROOT, ROOT / "kimi_ui") for path in room.iterdir()}
    missing = {name.rstrip("/") for pair in names for name in pair if name} - there
    assert names
    assert not missing


def test_every_room_and_file_of_the_package_is_in_its_readme() -> None:
    rooms = (ROOT / "kimi_ui/README.md").read_text("utf-8").partition("## Rooms")[2].partition("\n## ")[0]
    named = {name.rstrip("/") for row in re.findall(r"^\| (`.*?) \|", rooms, re.MULTILINE) for name in row.split("`")}
    there = {
        path.name for path in (ROOT / "kimi_ui").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - {"__init__.py"} <= named
