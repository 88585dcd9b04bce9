"""Deleting a conversation for real: its rows, its events, its words in the index, and every byte of them in the files.

First the rows go, in one transaction; from then on nothing can read them. The bytes follow in steps small enough for
the writer to serve requests in between: freed pages are overwritten as they are freed (``secure_delete``), the index's
segments are merged until none holds a deleted word, and the WAL is written back and emptied. ``user_version`` 1 in the
file's header says that this is still to be finished, so that a killed process's next start finishes it.

Turns that other conversations share (an edited prompt makes such a fork) stay and belong to the fork from then on. What
the deleted turns had cost was spent all the same: of that one sum a day is kept (``spent``).
"""

from __future__ import annotations

import sqlite3

from .spent import keep_what_was_spent

MERGE_PAGES = 200  # of the index, a step: some 10 ms


class ConversationGone(Exception):
    """There is no such conversation, or it is not this owner's."""


def delete_conversation(db: sqlite3.Connection, conversation_id: str, owner: str) -> set[str]:
    """Delete the rows, within the caller's transaction; the ids of the conversation and the turns that are gone.

    Raises ``ConversationGone``.
    """
    row = _owned(db, conversation_id, owner)
    forks = db.execute(
        "SELECT conversation_id, forked_at FROM conversations WHERE forked_from = ?"
        " ORDER BY forked_at DESC, created_at_utc, rowid",
        (conversation_id,),
    ).fetchall()
    if forks:
        _pass_on(db, conversation_id, row, forks[0])
    turns = db.execute("SELECT turn_id FROM turns WHERE conversation_id = ?", (conversation_id,)).fetchall()
    keep_what_was_spent(db, conversation_id)
    db.execute("DELETE FROM conversations WHERE conversation_id = ?", (conversation_id,))
    db.execute("PRAGMA user_version = 1")
    return {conversation_id, *(turn_id for (turn_id,) in turns)}


def rename_conversation(db: sqlite3.Connection, conversation_id: str, owner: str, title: str) -> set[str]:
    """Another title, within the caller's transaction; nothing is deleted. Raises ``ConversationGone``."""
    _owned(db, conversation_id, owner)
    db.execute("UPDATE conversations SET title = ? WHERE conversation_id = ?", (title, conversation_id))
    return set()


def erase_step(db: sqlite3.Connection) -> bool:
    """One step of overwriting what was deleted; True when nothing of it is left in the files.

    Called without a transaction. While another connection reads an old state of the database the WAL cannot be emptied:
    then the step is to be repeated a little later.
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


def _owned(db: sqlite3.Connection, conversation_id: str, owner: str) -> tuple[str, int]:
    """Where the conversation was forked from. Raises ``ConversationGone`` if it is not there or not the owner's."""
    row = db.execute(
        "SELECT forked_from, forked_at FROM conversations WHERE conversation_id = ? AND owner = ?",
        (conversation_id, owner),
    ).fetchone()
    if row is None:
        raise ConversationGone(conversation_id)
    forked_from, forked_at = row
    return forked_from, forked_at


def _pass_on(db: sqlite3.Connection, gone: str, origin: tuple[str, int], heir: tuple[str, int]) -> None:
    """Give the turns that forks share to the fork that shares most of them; the other forks are its forks now."""
    forked_from, forked_at = origin
    heir_id, shared = heir
    db.execute("UPDATE turns SET conversation_id = ? WHERE conversation_id = ? AND seq < ?", (heir_id, gone, shared))
    db.execute("UPDATE conversations SET forked_from = ? WHERE forked_from = ?", (heir_id, gone))
    db.execute(
        "UPDATE conversations SET forked_from = ?, forked_at = ? WHERE conversation_id = ?",
        (forked_from, min(forked_at, shared), heir_id),
    )
