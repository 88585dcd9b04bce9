"""A log, or what is one owner's of it, as one SQLite file for a person to keep.

Rows that do not belong in it are not read, so that no crash can leave them in a temporary file.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ..copying import copy_tables
from ..store import Rows
from .connection import Statements, connect_to_write
from .schema import migrate, rebuild
from .tables import tables

OF_THE_SERVER = ("sessions", "signed_out", "sign_in_tries", "share_links")
"""Tables that are never handed out."""

_CONVERSATION = "IN (SELECT conversation_id FROM conversations WHERE owner = :owner)"
_TURN = f"IN (SELECT turn_id FROM turns WHERE conversation_id {_CONVERSATION})"
_ATTEMPT = f"IN (SELECT attempt_id FROM attempts WHERE turn_id {_TURN})"
_PROMPT = f"IN (SELECT prompt_id FROM queued_prompts WHERE conversation_id {_CONVERSATION})"
_RUN = "IN (SELECT id FROM benchmarks WHERE owner = :owner)"
OWNED = {
    **dict.fromkeys(("conversations", "budgets", "spent_deleted", "benchmarks"), "owner = :owner"),
    **dict.fromkeys(("turns", "conversation_settings", "queued_prompts"), f"conversation_id {_CONVERSATION}"),
    **dict.fromkeys(("attempts", "events", "turn_images"), f"turn_id {_TURN}"),
    **dict.fromkeys(("heavy_runs", "benchmark_verdicts"), f"attempt_id {_ATTEMPT}"),
    **dict.fromkeys(("benchmark_lanes", "benchmark_items", "benchmark_workers"), f"run_id {_RUN}"),
    "votes": f"turn_id {_TURN} AND (other_turn_id IS NULL OR other_turn_id {_TURN})",
    "benchmark_judgements": f"run_id {_RUN} AND turn_id {_TURN} AND first_turn_id {_TURN} AND second_turn_id {_TURN}",
    "queued_images": f"prompt_id {_PROMPT}",
    "images": f"sha256 IN (SELECT sha256 FROM turn_images WHERE turn_id {_TURN} "
    f"UNION SELECT sha256 FROM queued_images WHERE prompt_id {_PROMPT})",
}
"""Which rows of a table are ``:owner``'s, and those they refer to as well. Of other tables nobody gets a row."""


def hand_out(log: Rows, file: Path, owner: str | None) -> None:
    """Write the log, or what is one owner's, as one SQLite file, which must not exist."""
    with closing(connect_to_write(file, wait_s=0)) as db:
        migrate(db)
        copy = Statements(db)
        every = {table.name: "TRUE" for table in tables() if table.name not in OF_THE_SERVER}
        chosen = every if owner is None else OWNED
        db.execute("BEGIN")
        for _ in copy_tables(log, copy.rows, lambda work: work(copy), chosen, owner=owner):
            pass
        rebuild(db)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = DELETE")  # one file
