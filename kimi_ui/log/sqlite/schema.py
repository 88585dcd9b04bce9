"""Upgrading a log: pending migrations, then the views and the cache that is made from them.

Views (``lists.sql``, ``views.sql``) and ``measured`` with its indexes and triggers are derived. SQLite keeps the text
of each; if a text differs from this version's, all are dropped and made again. A new column in a view or in
``measured`` therefore needs no migration. An upgrade is one transaction: a killed process leaves the log unchanged.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from ..measured import COLUMNS, measure, measure_all
from ..views import view_statements
from .migrations import migrations
from .search_index import BACKFILL

log = logging.getLogger(__name__)

BIG_BYTES = 20_000_000  # the upgrade of a larger log takes noticeable time and is announced
LISTS = Path(__file__).with_name("lists.sql")


def steps() -> dict[str, Callable[[Any], None]]:
    """All migrations by name, in order."""
    with closing(sqlite3.connect(":memory:")) as empty:
        return {migration.name: migration.fn for migration in migrations.pending(Database(empty))}


def unknown_migrations(db: Database) -> list[str]:
    """Migrations in the database that this version does not know: a newer version wrote the log."""
    return sorted({migration.name for migration in migrations.applied(db)} - steps().keys())


def is_older(connection: sqlite3.Connection) -> bool:
    """True if the database must be upgraded for this version."""
    return bool(migrations.pending(Database(connection))) or _derived_in(connection) != derived()


def migrate(connection: sqlite3.Connection) -> None:
    """Upgrade the database. The caller holds the file lock: two processes must not migrate at once."""
    if not is_older(connection):
        return
    pages, page_bytes = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if pages * page_bytes >= BIG_BYTES:
        log.warning("Bringing the log (%d MB) up to date; this can take a minute.", pages * page_bytes / 1e6)
    db = Database(connection)
    with db.atomic():
        for kind, name in reversed(_derived_in(connection)):
            connection.execute(f"DROP {kind} IF EXISTS {name}")  # an index has gone with its table
        migrations.apply(db)
        for statement in derived().values():
            connection.execute(statement)
        connection.execute(measure_all())


def rebuild(connection: sqlite3.Connection) -> None:
    """Rebuild the cache and the full-text index from the tables, in the caller's transaction."""
    connection.execute("DELETE FROM measured")
    connection.execute(measure_all())
    connection.execute("DELETE FROM search_documents")
    for statement in BACKFILL:
        connection.execute(statement)


def derived() -> dict[tuple[str, str], str]:
    """The statements that make the views and the cache, by kind and name, in the order they build on each other."""
    columns = ",\n    ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    statements = [
        *view_statements(LISTS).values(),
        # AUTOINCREMENT: a number is never used again, so the highest one tells whether anything was measured since.
        f"CREATE TABLE measured (\n    number INTEGER PRIMARY KEY AUTOINCREMENT,\n    {columns}\n) STRICT",
        "CREATE INDEX measured_by_turn ON measured (turn_id)",
        "CREATE INDEX measured_by_time ON measured (started_at_utc)",
        # The turns with a retried lane, without reading all attempts.
        "CREATE INDEX measured_again ON measured (turn_id) WHERE attempt_no > 1",
        # All of the turn's top-level attempts: heavy's metrics depend on its children, amplification on another lane.
        f"""CREATE TRIGGER measured_when_an_attempt_ends AFTER UPDATE OF status ON attempts WHEN NEW.status <> 'open'
BEGIN
    DELETE FROM measured WHERE turn_id = NEW.turn_id;
    {measure()} AND m.turn_id = NEW.turn_id;
END""",
        """CREATE TRIGGER measured_goes_with_its_attempt AFTER DELETE ON attempts
BEGIN DELETE FROM measured WHERE attempt_id = OLD.attempt_id; END""",
    ]
    named: dict[tuple[str, str], str] = {}
    for statement in statements:
        _, kind, name = statement.split()[:3]
        named[kind, name] = statement
    return named


def _derived_in(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """The derived objects that the database has, with their texts; other views belong to the user."""
    rows = connection.execute("SELECT upper(type), name, sql FROM sqlite_master ORDER BY rowid").fetchall()
    wanted = derived()
    return {(kind, name): sql for kind, name, sql in rows if (kind, name) in wanted}
