"""The log's tables, as sqlite-utils migrations. The views are in ``views.sql`` and are made anew when they change.

Raw facts only: integer ns stamps, counts as the server and this machine made them, prices with their date, texts. What
can be derived is a view. A table is never changed here once released: add a migration (and a golden database of the
schema before it to the tests). Columns hold NULL for "not known".

Stamps ``*_ns`` of an attempt count from the moment it was sent, ``sent_ns`` from the user's click; both monotonic.
``*_utc`` are wall-clock texts (ISO 8601) for display only.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from sqlite_utils import Database, Migrations

log = logging.getLogger(__name__)

BIG_BYTES = 20_000_000  # a log that takes longer than a moment to bring up to date, which is then announced
MIGRATION_SET = "kimi_ui"
migrations = Migrations(MIGRATION_SET)

VIEWS = Path(__file__).with_name("views.sql")
_copies: list[Callable[[sqlite3.Connection], None]] = []


def after_view_changes(renew: Callable[[sqlite3.Connection], None]) -> Callable[[sqlite3.Connection], None]:
    """Decorator: ``renew`` makes a copy of a view; it is called, in a transaction, whenever the views have changed."""
    _copies.append(renew)
    return renew


@migrations()
def m001_turns_and_attempts(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE conversations (
            conversation_id TEXT PRIMARY KEY,
            owner           TEXT NOT NULL,     -- the browser or person it belongs to; '' for the command line
            created_at_utc  TEXT NOT NULL,
            forked_from     TEXT NOT NULL,     -- shares the turns before number forked_at with that conversation; ''
            forked_at       INTEGER NOT NULL
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE turns (
            turn_id         TEXT PRIMARY KEY,
            conversation_id TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
            seq             INTEGER NOT NULL,  -- place in the conversation, from 0
            owner           TEXT NOT NULL,
            kind            TEXT NOT NULL,     -- chat | bench
            prompt          TEXT NOT NULL,
            system          TEXT NOT NULL,
            lanes           TEXT NOT NULL,     -- JSON: the lanes as they were, with label, provider, model
            prompt_chars    INTEGER NOT NULL,
            started_at_utc  TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE attempts (
            attempt_id          TEXT PRIMARY KEY,
            turn_id             TEXT NOT NULL REFERENCES turns ON DELETE CASCADE,
            parent_id           TEXT REFERENCES attempts ON DELETE CASCADE,
            lane                TEXT NOT NULL,
            label               TEXT NOT NULL,
            role                TEXT NOT NULL,  -- single | trajectory | aggregator | heavy
            k_index             INTEGER,        -- a trajectory's number, from 0
            attempt_no          INTEGER NOT NULL,
            provider            TEXT NOT NULL,
            base_url            TEXT NOT NULL,
            request_model       TEXT NOT NULL,
            params              TEXT NOT NULL,  -- JSON
            stand_in_for        TEXT NOT NULL,  -- the model this one stood in for; '' if it was the real one
            input_chars         INTEGER,        -- length of all messages sent
            price_input         REAL,           -- USD per million tokens, as published on price_as_of
            price_cached_input  REAL,
            price_output        REAL,
            price_as_of         TEXT,
            started_at_utc      TEXT NOT NULL,
            asked_ns            INTEGER NOT NULL,  -- the click it answers: 0, or that on "retry"
            sent_ns             INTEGER NOT NULL,
            boot_id             TEXT NOT NULL,  -- the process that wrote the row
            app_version         TEXT NOT NULL,

            status              TEXT NOT NULL DEFAULT 'open',
            end_reason          TEXT,           -- user, shutdown, quorum, a limit's name
            retry_in_s          REAL,           -- the next try was announced for then
            finish_reason       TEXT,
            error_type          TEXT,
            error_message       TEXT,
            error_remedy        TEXT,
            error_command       TEXT,
            error_detail        TEXT,
            http_status         INTEGER,
            response_model      TEXT,
            response_id         TEXT,
            upstream            TEXT,           -- the host behind a gateway

            headers_ns          INTEGER,
            first_chunk_ns      INTEGER,
            first_token_ns      INTEGER,
            first_reasoning_ns  INTEGER,
            last_reasoning_ns   INTEGER,
            first_answer_ns     INTEGER,
            last_token_ns       INTEGER,
            end_ns              INTEGER,

            n_chunks            INTEGER,        -- text events
            max_gap_ns          INTEGER,        -- longest wait between two of them
            p99_gap_ns          INTEGER,
            n_stalls            INTEGER,        -- gaps over 1 s
            first_event_chars   INTEGER,
            text_chars          INTEGER,
            burst               INTEGER,        -- 1: most of the text came within a moment
            answer_burst        INTEGER,

            usage_source        TEXT,           -- usage | server: who counted the next four
            usage_input_tokens        INTEGER,
            usage_cached_input_tokens INTEGER,
            usage_output_tokens       INTEGER,
            usage_reasoning_tokens    INTEGER,
            usage_cost_usd      REAL,
            usage_raw           TEXT,           -- JSON, as the server sent it
            load_ns             INTEGER,        -- the server's own durations
            prompt_ns           INTEGER,
            eval_ns             INTEGER,

            local_reasoning_tokens INTEGER,     -- counted on this machine
            local_answer_tokens INTEGER,
            local_source        TEXT,           -- tokenizer | chars
            local_exact         INTEGER,        -- 1: with the model's own vocabulary

            loop_lag_ms         REAL,           -- worst delay of the loop that stamped
            flags               TEXT NOT NULL DEFAULT '{}',  -- JSON: name -> detail
            reasoning           TEXT NOT NULL DEFAULT '',
            answer              TEXT NOT NULL DEFAULT ''
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE events (
            event_id   INTEGER PRIMARY KEY,
            turn_id    TEXT NOT NULL REFERENCES turns ON DELETE CASCADE,
            lane       TEXT NOT NULL,
            attempt_id TEXT REFERENCES attempts ON DELETE CASCADE,  -- NULL: the lane was still preparing
            seq        INTEGER NOT NULL,  -- index in the turn's log of the segment's first event
            n_events   INTEGER NOT NULL,
            payload    BLOB NOT NULL      -- zlib: one JSON list [t_ns, code, fields…] a line
        ) STRICT
        """
    )
    db.execute("CREATE UNIQUE INDEX events_by_segment ON events (turn_id, lane, coalesce(attempt_id, ''), seq)")
    db.execute("CREATE INDEX events_by_attempt ON events (attempt_id)")
    db.execute("CREATE INDEX attempts_by_turn ON attempts (turn_id)")
    db.execute("CREATE INDEX attempts_by_parent ON attempts (parent_id) WHERE parent_id IS NOT NULL")
    db.execute("CREATE INDEX attempts_open ON attempts (boot_id) WHERE status = 'open'")
    db.execute("CREATE INDEX turns_by_conversation ON turns (conversation_id, seq)")
    db.execute("CREATE INDEX turns_by_time ON turns (started_at_utc, turn_id)")
    db.execute("CREATE INDEX turns_by_owner ON turns (owner, started_at_utc, turn_id)")


def unknown_migrations(db: Database) -> list[str]:
    """Migrations the database has seen and this version does not know: it was written by a newer one."""
    known = {migration.name for migration in migrations.applied(db)} - {
        migration.name for migration in migrations._migrations
    }
    return sorted(known)


def is_older(connection: sqlite3.Connection) -> bool:
    """True if the database lacks a migration: it was written by an older version and must be brought up to date."""
    return bool(migrations.pending(Database(connection)))


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database up to date. The caller holds the file lock: two processes must not migrate at once."""
    wanted = view_statements()
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'").fetchall()
    existing = {cast(str, name): cast(str, sql) for name, sql in rows if name in wanted}  # others are the user's own
    older = is_older(connection)
    if existing == wanted and not older:
        return
    pages, page_bytes = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if pages * page_bytes >= BIG_BYTES:
        log.warning("Bringing the log (%d MB) up to date; this can take a minute.", pages * page_bytes / 1e6)
    if older:
        migrations.apply(Database(connection))
    _renew_views(connection, existing, wanted)


def _renew_views(connection: sqlite3.Connection, existing: Iterable[str], wanted: dict[str, str]) -> None:
    """Make the views those of ``views.sql``, and their copies with them."""
    connection.execute("BEGIN IMMEDIATE")
    for name in existing:
        connection.execute(f'DROP VIEW "{name}"')
    for statement in wanted.values():
        connection.execute(statement)
    for renew in _copies:
        renew(connection)
    connection.execute("COMMIT")


def view_statements() -> dict[str, str]:
    """The views of ``views.sql`` by name, in the order they build on each other."""
    statements: dict[str, str] = {}
    for statement in VIEWS.read_text(encoding="utf-8").split(";\n"):
        start = statement.find("\nCREATE VIEW")
        if start >= 0:
            sql = statement[start:].strip()
            statements[sql.split()[2]] = sql
    return statements
