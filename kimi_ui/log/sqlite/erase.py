"""Overwriting what was deleted: every byte of it, in the database, in its index and in the write-ahead log.

The rows go first, in one transaction; from then on nothing can read them. The bytes follow in steps small enough for
the writer to serve requests in between: freed pages are overwritten as they are freed (``secure_delete``), the index's
segments are merged until none holds a deleted word, and the WAL is written back and emptied. ``user_version`` 1 in the
file's header says that this is still to be finished, so that a killed process's next start finishes it.
"""

from __future__ import annotations

import sqlite3

MERGE_PAGES = 200  # of the index, a step: some 10 ms


def mark_deleted(db: sqlite3.Connection) -> None:
    """Record that this transaction deletes rows, so that ``erase_step`` has work to do."""
    db.execute("PRAGMA user_version = 1")


def erase_step(db: sqlite3.Connection) -> bool:
    """One step of overwriting what was deleted; True when nothing of it is left in the files.

    Call it outside a transaction. While another connection reads an old state of the database, the WAL cannot be
    emptied; then repeat the step a little later.
    """
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:
        return True
    if _merge_index(db):
        return False
    (patience_ms,) = db.execute("PRAGMA busy_timeout").fetchone()
    db.execute("PRAGMA busy_timeout = 0")  # requests wait for this connection: it must not wait for a reader
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    db.execute(f"PRAGMA busy_timeout = {patience_ms}")
    if busy:
        return False
    db.execute("PRAGMA user_version = 0")
    return True


def _merge_index(db: sqlite3.Connection) -> bool:
    """Merge some of the index's segments into one without deleted words; False if there was nothing to merge."""
    before = db.total_changes
    db.execute("INSERT INTO search (search, rank) VALUES ('merge', ?)", (-MERGE_PAGES,))
    return db.total_changes - before >= 2
