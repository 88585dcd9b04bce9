"""The statements that make the log's views, from the files that hold them."""

from __future__ import annotations

from pathlib import Path

VIEWS = Path(__file__).with_name("views.sql")


def view_statements(lists: Path) -> dict[str, str]:
    """The views by name, in the order they build on each other. ``lists``: the file of the store's own ones."""
    statements: dict[str, str] = {}
    for file in (lists, VIEWS):
        for statement in file.read_text(encoding="utf-8").split(";\n"):
            start = statement.find("\nCREATE VIEW")
            if start >= 0:
                sql = statement[start:].strip()
                statements[sql.split()[2]] = sql
    return statements
