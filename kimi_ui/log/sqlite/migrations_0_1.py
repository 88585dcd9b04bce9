"""The migrations of release 0.1.0; ``migrations`` has the later ones and the rules.

``name`` is what logs of 0.1.0 have recorded; these migrations may have been applied to a log in any order.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from ...core.title import title_of
from .search_index import SEARCH_INDEX

SET = "kimi_ui"
migrations = Migrations(SET)


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


@migrations(name="m_votes")
def m002_votes(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE votes (
            vote_id       TEXT PRIMARY KEY,
            turn_id       TEXT NOT NULL REFERENCES turns ON DELETE CASCADE,
            choice        TEXT NOT NULL,     -- lane | tie | all_bad | none (taken back, or opened without one)
            lane          TEXT,              -- the best one, where the choice is a lane
            field         TEXT NOT NULL,     -- JSON: lanes that had an answer then; only they were compared
            blind         INTEGER NOT NULL,  -- 1: names, models and metrics were hidden
            speed_visible INTEGER NOT NULL,  -- 0: the pace was hidden too
            voted_at_utc  TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX votes_by_turn ON votes (turn_id)")
    db.execute(  # JSON: a blind turn's lanes in the order they are shown; '' for an open turn
        "ALTER TABLE turns ADD COLUMN slots TEXT NOT NULL DEFAULT ''"
    )


@migrations(name="m_blind_turns")
def m003_blind_turns(db: Database) -> None:
    # Every figure leaves out blind turns: without this each of them reads all turns, and with them all prompts.
    db.execute("CREATE INDEX turns_blind ON turns (turn_id) WHERE slots <> ''")


@migrations(name="m_spent_deleted")
def m004_spent_deleted(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE spent_deleted (    -- on conversations that are not here any more
            owner       TEXT NOT NULL,
            day_utc     TEXT NOT NULL,  -- 2026-11-21
            usd         REAL NOT NULL,
            n_unknown   INTEGER NOT NULL,
            n_estimated INTEGER NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX spent_deleted_by_day ON spent_deleted (owner, day_utc)")


@migrations(name="m_budgets")
def m005_budgets(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE budgets (
            change_id        TEXT PRIMARY KEY,
            owner            TEXT NOT NULL,
            changed_at_utc   TEXT NOT NULL,
            day_usd          REAL,  -- NULL: no limit of one's own
            conversation_usd REAL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX budgets_by_owner ON budgets (owner)")


@migrations(name="m_conversation_settings")
def m006_conversation_settings(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE conversation_settings (
            change_id       TEXT PRIMARY KEY,
            conversation_id TEXT NOT NULL,     -- no foreign key: this may be written before the conversation is
            changed_at_utc  TEXT NOT NULL,
            settings        TEXT NOT NULL      -- JSON: system prompt and what differs in each lane
        ) STRICT
        """
    )
    db.execute("CREATE INDEX conversation_settings_by_conversation ON conversation_settings (conversation_id)")
    db.execute(
        """
        CREATE TRIGGER conversation_settings_go_with_their_conversation AFTER DELETE ON conversations
        BEGIN DELETE FROM conversation_settings WHERE conversation_id = OLD.conversation_id; END
        """
    )


@migrations(name="m_measured")
def m007_measured(db: Database) -> None:
    """Does nothing since 0.2.0: ``measured`` is a cache that is made with the views (see ``schema``)."""


@migrations(name="m_measured_again")
def m008_measured_again(db: Database) -> None:
    """Does nothing since 0.2.0; it was an index of ``measured``."""


@migrations(name="m_titles_and_search")
def m009_titles_and_search(db: Database) -> None:
    db.execute("ALTER TABLE conversations ADD COLUMN title TEXT NOT NULL DEFAULT ''")
    first_prompts = """
        SELECT conversation_id, prompt FROM turns t
        WHERE seq = (SELECT min(seq) FROM turns WHERE conversation_id = t.conversation_id)
    """
    for conversation_id, prompt in db.execute(first_prompts).fetchall():
        db.execute("UPDATE conversations SET title = ? WHERE conversation_id = ?", (title_of(prompt), conversation_id))
    db.execute("CREATE INDEX conversations_by_origin ON conversations (forked_from) WHERE forked_from <> ''")
    for statement in SEARCH_INDEX:
        db.execute(statement)
