"""Upgrading a log: pending migrations, then the views and the cache that is made from them.

As in ``sqlite.schema``, what is derived is dropped and made again when its text changes; PostgreSQL does not keep the
texts of views, so a table does. An upgrade is one transaction, and an advisory lock lets one process at a time do it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ..measured import COLUMNS, measure, measure_all
from ..views import view_statements
from . import migrations, search
from .connection import Connection
from .migrations import on_delete, translated_types

log = logging.getLogger(__name__)

LISTS = Path(__file__).with_name("lists.sql")
LOCK = 0x6B696D69  # of whoever upgrades a log of this program
LOCK_WAIT = "30s"
BIG_BYTES = 20_000_000  # the upgrade of a larger log takes noticeable time and is announced


def exists(connection: Connection) -> bool:
    """Whether the database holds a log, in the schema that the connection uses."""
    return bool(connection.execute("SELECT to_regclass('kimi_ui_migrations') IS NOT NULL").fetchone() == (1,))


def is_foreign(connection: Connection) -> bool:
    """Whether another program's tables have the names of ours."""
    named = "SELECT to_regclass('turns') IS NOT NULL OR to_regclass('conversations') IS NOT NULL"
    return not exists(connection) and connection.execute(named).fetchone() == (1,)


def is_older(connection: Connection) -> bool:
    """True if the log must be upgraded for this version."""
    return bool(migrations.pending(connection)) or _derived_in(connection) != derived()


def migrate(connection: Connection) -> None:
    """Upgrade the database, unless another process has just done it. Waits for no other process if it is up to date."""
    if not is_older(connection):
        return
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'".encode())
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        if not is_older(connection):
            return
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
        if exists(connection) and size >= BIG_BYTES:
            log.warning("Bringing the log (%d MB) up to date; this can take a minute.", size / 1e6)
        for kind, name in reversed(_derived_in(connection)):
            if kind in ("VIEW", "TABLE"):
                connection.execute(f"DROP {kind} IF EXISTS {name}".encode())
            elif kind == "FUNCTION":
                connection.execute(f"DROP FUNCTION IF EXISTS {name} CASCADE".encode())  # with its trigger
        migrations.apply(connection)
        connection.execute(translated_types(_KEPT).encode())
        connection.execute("DELETE FROM kimi_ui_derived")
        for (kind, name), statement in derived().items():
            connection.execute(statement.encode())
            row = (kind, name, statement)
            connection.execute("INSERT INTO kimi_ui_derived (kind, name, statement) VALUES (%s, %s, %s)", row)
        connection.execute(measure_all().encode())


def rebuild(connection: Connection) -> None:
    """Rebuild the cache and the full-text index from the tables, and go on counting after their numbers."""
    connection.execute("DELETE FROM measured")
    connection.execute(measure_all().encode())
    search.rebuild(connection)
    counted = """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND is_identity = 'YES'
    """
    for table, column in connection.execute(counted).fetchall():
        count = f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), coalesce(max({column}), 0) + 1, false)"
        connection.execute(f"{count} FROM {table}".encode())
    connection.execute("ANALYZE")  # or queries are planned as for empty tables until the server gets to it


_KEPT = """
    CREATE TABLE IF NOT EXISTS kimi_ui_derived (
        number INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, statement TEXT NOT NULL)
"""


def derived() -> dict[tuple[str, str], str]:
    """The statements that make the views and the cache, by kind and name, in the order they build on each other."""
    columns = ",\n    ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    statements = [
        *view_statements(LISTS).values(),
        translated_types(f"CREATE TABLE measured (\n    number INTEGER PRIMARY KEY,\n    {columns}\n)"),
        "CREATE INDEX measured_by_turn ON measured (turn_id)",
        "CREATE INDEX measured_by_time ON measured (started_at_utc)",
        "CREATE INDEX measured_again ON measured (turn_id) WHERE attempt_no > 1",
        # As in SQLite. Planning the views takes longer than running them for one turn, so the plan is kept.
        f"""CREATE FUNCTION measured_when_an_attempt_ends() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    DELETE FROM measured WHERE turn_id = NEW.turn_id;
    {measure()} AND m.turn_id = NEW.turn_id ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$""",
        """CREATE TRIGGER measured_when_an_attempt_ends AFTER UPDATE OF status ON attempts
FOR EACH ROW WHEN (NEW.status <> 'open') EXECUTE FUNCTION measured_when_an_attempt_ends()""",
        *on_delete(
            "attempts", "measured_goes_with_its_attempt", "DELETE FROM measured WHERE attempt_id = OLD.attempt_id"
        ),
    ]
    named: dict[tuple[str, str], str] = {}
    for statement in statements:
        _, kind, name = statement.split()[:3]
        named[kind, name] = statement
    return named


def _derived_in(connection: Connection) -> dict[tuple[str, str], str]:
    """The derived objects that the database has, with their texts, in the order they were made."""
    if connection.execute("SELECT to_regclass('kimi_ui_derived')").fetchone() == (None,):
        return {}
    rows = connection.execute("SELECT kind, name, statement FROM kimi_ui_derived ORDER BY number")
    return {(kind, name): statement for kind, name, statement in rows}
