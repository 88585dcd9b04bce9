"""The table ``measured``: columns of ``attempt_metrics`` copied when an attempt ends, read by the statistics.

The view is the definition, and this table is its cache: for 100,000 attempts the view takes 0.9 s of CPU and reads
every attempt's page; the copy takes 0.2 s. It contains the top-level attempts that have ended. It is never migrated:
when the views or these columns change, it is dropped and rebuilt (``sqlite.schema``).

To let statistics read another column of ``attempt_metrics``, add it to ``COLUMNS``.
"""

from __future__ import annotations

# Names as in ``attempt_metrics``, or in ``turns`` for the last three; types as in SQLite.
COLUMNS = {
    "attempt_id": "TEXT NOT NULL UNIQUE",
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
    "queue_ms": "REAL",
    "connect_ms": "REAL",
    "cold_load_ms": "REAL",
    "ttft_ms": "REAL",
    "ttft_warm_ms": "REAL",
    "ttfo_ms": "REAL",
    "e2e_ms": "REAL",
    "user_latency_ms": "REAL",
    "tpot_ms": "REAL",
    "decode_tps": "REAL",
    "ttft_err_ms": "REAL",
    "ttfo_err_ms": "REAL",
    "e2e_err_ms": "REAL",
    "decode_err_pct": "REAL",
    "effective_tps": "REAL",
    "input_tokens": "INTEGER",
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


def measure() -> str:
    """SQL that copies attempts. The caller appends further conditions on ``m``, the attempt."""
    source = ", ".join(f"t.{name}" if name in _OF_TURN else f"m.{name}" for name in COLUMNS)
    return f"""INSERT INTO measured ({", ".join(COLUMNS)})
    SELECT {source} FROM attempt_metrics m JOIN turns t ON t.turn_id = m.turn_id
    WHERE m.parent_id IS NULL AND m.status <> 'open'"""


def measure_all() -> str:
    """SQL that copies every attempt, oldest first."""
    return f"{measure()} ORDER BY m.started_at_utc, m.attempt_id"
