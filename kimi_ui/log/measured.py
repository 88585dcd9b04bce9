"""``measured``: the columns of ``attempt_metrics`` that statistics read, copied when an attempt ends.

The view stays the definition; this is its copy for speed. Over 100,000 attempts reading the view takes 0.9 s of CPU and
touches every attempt's page; reading the copy takes 0.2 s. A trigger keeps it: when an attempt ends, the rows of its
turn's top-level attempts are measured again (heavy's depend on its children, amplification on another lane). After a
change of the views everything is measured again, once.
"""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database

from .schema import after_view_changes, migrations

# Columns and types; the names are those of the view, and of ``turns`` for the last three.
_COLUMNS = {
    "attempt_id": "TEXT PRIMARY KEY",
    "turn_id": "TEXT NOT NULL",
    "lane": "TEXT NOT NULL",
    "label": "TEXT NOT NULL",
    "role": "TEXT NOT NULL",
    "provider": "TEXT NOT NULL",
    "request_model": "TEXT NOT NULL",
    "stand_in_for": "TEXT NOT NULL",
    "attempt_no": "INTEGER NOT NULL",
    "status": "TEXT NOT NULL",
    "error_type": "TEXT",
    "started_at_utc": "TEXT NOT NULL",
    "connect_ms": "REAL",
    "cold_load_ms": "REAL",
    "ttft_ms": "REAL",
    "ttfo_ms": "REAL",
    "e2e_ms": "REAL",
    "user_latency_ms": "REAL",
    "decode_tps": "REAL",
    "effective_tps": "REAL",
    "output_tokens": "INTEGER",
    "reasoning_tokens": "INTEGER",
    "token_source": "TEXT",
    "cost_usd": "REAL",
    "cost_source": "TEXT",
    "cold_start": "INTEGER",
    "suspect": "INTEGER NOT NULL",
    "suspect_reason": "TEXT",
    "owner": "TEXT NOT NULL",
    "kind": "TEXT NOT NULL",
    "prompt_chars": "INTEGER NOT NULL",
}
_OF_TURN = ("owner", "kind", "prompt_chars")
_SOURCE = ", ".join(f"t.{name}" if name in _OF_TURN else f"m.{name}" for name in _COLUMNS)
_MEASURE = f"""
    INSERT OR REPLACE INTO measured ({", ".join(_COLUMNS)})
    SELECT {_SOURCE} FROM attempt_metrics m JOIN turns t ON t.turn_id = m.turn_id
    WHERE m.parent_id IS NULL AND m.status <> 'open'
"""


@migrations()
def m_measured(db: Database) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    db.execute(f"CREATE TABLE measured ({columns}) STRICT")
    db.execute("CREATE INDEX measured_by_turn ON measured (turn_id)")
    db.execute("CREATE INDEX measured_by_time ON measured (started_at_utc)")
    db.execute(
        f"""
        CREATE TRIGGER measured_when_an_attempt_ends AFTER UPDATE OF status ON attempts WHEN NEW.status <> 'open'
        BEGIN {_MEASURE} AND m.turn_id = NEW.turn_id; END
        """
    )
    db.execute(
        """
        CREATE TRIGGER measured_goes_with_its_attempt AFTER DELETE ON attempts
        BEGIN DELETE FROM measured WHERE attempt_id = OLD.attempt_id; END
        """
    )


@migrations()
def m_measured_again(db: Database) -> None:
    # Which turns had a lane asked again, without reading all attempts.
    db.execute("CREATE INDEX measured_again ON measured (turn_id) WHERE attempt_no > 1")


@after_view_changes
def measure_all(connection: sqlite3.Connection) -> None:
    """Make the copy anew from the views as they are now. Some seconds for 100,000 attempts."""
    connection.execute("DELETE FROM measured")
    connection.execute(_MEASURE)
