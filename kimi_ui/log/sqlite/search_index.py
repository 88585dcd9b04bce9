"""The full-text index as migration 9 makes it: its tables, the triggers that fill it, and its first contents.

Released, so it never changes: a change of the index is a new migration.
"""

from __future__ import annotations

_INDEX = "INSERT INTO search (rowid, text) SELECT document_id, text FROM search_texts WHERE"
_UNINDEX = "INSERT INTO search (search, rowid, text) SELECT 'delete', document_id, text FROM search_texts WHERE"

_TABLES = (
    """
    CREATE TABLE search_documents (
        document_id INTEGER PRIMARY KEY,
        turn_id     TEXT NOT NULL,  -- rows come and go by the triggers below, which cascades run too
        attempt_id  TEXT,           -- NULL: the turn's prompt
        part        TEXT NOT NULL   -- prompt | answer | reasoning
    ) STRICT
    """,
    "CREATE INDEX search_documents_by_turn ON search_documents (turn_id)",
    "CREATE INDEX search_documents_by_attempt ON search_documents (attempt_id) WHERE attempt_id IS NOT NULL",
    """
    CREATE VIEW search_texts AS
    SELECT d.document_id, d.turn_id, d.attempt_id, d.part,
           CASE d.part WHEN 'prompt' THEN t.prompt WHEN 'answer' THEN a.answer ELSE a.reasoning END AS text
    FROM search_documents d
    LEFT JOIN turns t ON d.part = 'prompt' AND t.turn_id = d.turn_id
    LEFT JOIN attempts a ON a.attempt_id = d.attempt_id
    """,
    """
    CREATE VIRTUAL TABLE search USING fts5(
        text, content='search_texts', content_rowid='document_id', tokenize='unicode61 remove_diacritics 2'
    )
    """,
)

_TRIGGERS = (
    f"""
    CREATE TRIGGER search_turn_written AFTER INSERT ON turns WHEN NEW.prompt <> '' BEGIN
        INSERT INTO search_documents (turn_id, part) VALUES (NEW.turn_id, 'prompt');
        {_INDEX} turn_id = NEW.turn_id AND attempt_id IS NULL;
    END
    """,
    f"""
    CREATE TRIGGER search_attempt_changes BEFORE UPDATE OF answer, reasoning ON attempts
    WHEN OLD.answer <> '' OR OLD.reasoning <> '' BEGIN
        {_UNINDEX} attempt_id = OLD.attempt_id;
        DELETE FROM search_documents WHERE attempt_id = OLD.attempt_id;
    END
    """,
    f"""
    CREATE TRIGGER search_attempt_written AFTER UPDATE OF answer, reasoning ON attempts
    WHEN NEW.answer <> '' OR NEW.reasoning <> '' BEGIN
        INSERT INTO search_documents (turn_id, attempt_id, part)
            SELECT NEW.turn_id, NEW.attempt_id, 'reasoning' WHERE NEW.reasoning <> ''
            UNION ALL SELECT NEW.turn_id, NEW.attempt_id, 'answer' WHERE NEW.answer <> '';
        {_INDEX} attempt_id = NEW.attempt_id;
    END
    """,
    f"""
    CREATE TRIGGER search_attempt_deleted BEFORE DELETE ON attempts BEGIN
        {_UNINDEX} attempt_id = OLD.attempt_id;
        DELETE FROM search_documents WHERE attempt_id = OLD.attempt_id;
    END
    """,
    f"""
    CREATE TRIGGER search_turn_deleted BEFORE DELETE ON turns BEGIN
        {_UNINDEX} turn_id = OLD.turn_id AND attempt_id IS NULL;
        DELETE FROM search_documents WHERE turn_id = OLD.turn_id AND attempt_id IS NULL;
    END
    """,
)

# For a log that was begun without the index, or whose rows were written in another way.
BACKFILL = (
    """
    INSERT INTO search_documents (turn_id, attempt_id, part)
        SELECT turn_id, attempt_id, part FROM (
            SELECT turn_id, NULL AS attempt_id, 'prompt' AS part, started_at_utc FROM turns WHERE prompt <> ''
            UNION ALL SELECT turn_id, attempt_id, 'reasoning', started_at_utc FROM attempts WHERE reasoning <> ''
            UNION ALL SELECT turn_id, attempt_id, 'answer', started_at_utc FROM attempts WHERE answer <> ''
        ) ORDER BY started_at_utc
    """,
    "INSERT INTO search (search) VALUES ('rebuild')",
)

SEARCH_INDEX = (*_TABLES, *_TRIGGERS, *BACKFILL)
