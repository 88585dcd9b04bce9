"""The log's tables, as numbered sqlite-utils migrations. Append only: a migration never changes once it is released.

To change the tables add the next number at the end. A migration states its SQL itself and reads no constant that may
change later. Those of release 0.1.0 are in ``migrations_0_1``. Views and ``measured`` are not here: they are made again
whenever their text changes (see ``schema``).

Raw facts only: integer ns stamps, counts as the server and this machine made them, prices with their date, texts. What
can be derived is a view. Columns hold NULL for "not known". Stamps ``*_ns`` of an attempt count from the moment it was
sent, ``sent_ns`` from the user's click; both monotonic. ``*_utc`` are wall-clock texts (ISO 8601) for display only.
"""

from __future__ import annotations

from sqlite_utils import Database

from .migrations_0_1 import SET, migrations

__all__ = ["SET", "migrations"]


@migrations()
def m010_numbered_changes(db: Database) -> None:
    """The order in which rows were written as a column: SQLite may renumber the rowids of a table without one."""
    _rebuild(
        db,
        "votes",
        "vote_id, turn_id, choice, lane, field, blind, speed_visible, voted_at_utc",
        """
        CREATE TABLE votes (
            number        INTEGER PRIMARY KEY,  -- of two votes on a turn the higher one counts
            vote_id       TEXT NOT NULL UNIQUE,
            turn_id       TEXT NOT NULL REFERENCES turns ON DELETE CASCADE,
            choice        TEXT NOT NULL,     -- lane | tie | all_bad | none (taken back, or opened without one)
            lane          TEXT,              -- the best one, where the choice is a lane
            field         TEXT NOT NULL,     -- JSON: lanes that had an answer then; only they were compared
            blind         INTEGER NOT NULL,  -- 1: names, models and metrics were hidden
            speed_visible INTEGER NOT NULL,  -- 0: the pace was hidden too
            voted_at_utc  TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX votes_by_turn ON votes (turn_id)",
    )
    _rebuild(
        db,
        "budgets",
        "change_id, owner, changed_at_utc, day_usd, conversation_usd",
        """
        CREATE TABLE budgets (
            number           INTEGER PRIMARY KEY,  -- the highest of an owner counts
            change_id        TEXT NOT NULL UNIQUE,
            owner            TEXT NOT NULL,
            changed_at_utc   TEXT NOT NULL,
            day_usd          REAL,  -- NULL: no limit of one's own
            conversation_usd REAL
        ) STRICT
        """,
        "CREATE INDEX budgets_by_owner ON budgets (owner)",
    )
    _rebuild(
        db,
        "conversation_settings",
        "change_id, conversation_id, changed_at_utc, settings",
        """
        CREATE TABLE conversation_settings (
            number          INTEGER PRIMARY KEY,  -- the highest of a conversation counts
            change_id       TEXT NOT NULL UNIQUE,
            conversation_id TEXT NOT NULL,     -- no foreign key: this may be written before the conversation is
            changed_at_utc  TEXT NOT NULL,
            settings        TEXT NOT NULL      -- JSON: system prompt and what differs in each lane
        ) STRICT
        """,
        "CREATE INDEX conversation_settings_by_conversation ON conversation_settings (conversation_id)",
    )


def _rebuild(db: Database, table: str, columns: str, create: str, index: str) -> None:
    """Rebuild a table that no other refers to. A rename would check every view, including the user's own."""
    db.execute(f"CREATE TABLE kimi_ui_moved AS SELECT {columns} FROM {table} ORDER BY rowid")
    db.execute(f"DROP TABLE {table}")
    db.execute(create)
    db.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM kimi_ui_moved ORDER BY rowid")
    db.execute("DROP TABLE kimi_ui_moved")
    db.execute(index)


@migrations()
def m011_attempts_by_model(db: Database) -> None:
    # How long a model's latest answers were, without reading all attempts.
    db.execute("CREATE INDEX attempts_by_model ON attempts (request_model, started_at_utc)")


@migrations()
def m012_error_bounds(db: Database) -> None:
    # Later or earlier than stamped by at most this (``core.events.Bounds``); NULL: not known.
    for name in ("sent_late_ns", "first_token_early_ns", "first_answer_early_ns", "last_token_early_ns"):
        db.execute(f"ALTER TABLE attempts ADD COLUMN {name} INTEGER")


@migrations()
def m013_queue(db: Database) -> None:
    # In this app's queue for its turn at the server, before it was sent; NULL: requests of its kind do not queue here.
    db.execute("ALTER TABLE attempts ADD COLUMN queue_ns INTEGER")


@migrations()
def m014_pulls(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE pulls (
            server         TEXT NOT NULL,  -- the base_url that fetches the model
            model          TEXT NOT NULL,
            state          TEXT NOT NULL,  -- running | done | cancelled | interrupted | failed
            status         TEXT NOT NULL,  -- the server's own word for what it does
            completed      INTEGER,        -- bytes that are there, of the layers known so far
            total          INTEGER,
            bytes_per_s    REAL,           -- over the last 10 s, while it runs
            problem        TEXT NOT NULL,  -- why it failed, and what to do
            remedy         TEXT NOT NULL,
            command        TEXT NOT NULL,
            detail         TEXT NOT NULL,
            updated_at_utc TEXT NOT NULL,  -- each second while it runs
            PRIMARY KEY (server, model)
        ) STRICT
        """
    )


@migrations()
def m015_heavy_runs(db: Database) -> None:
    # What a heavy run and its answers add up to (``core.events.Tally``), which SQL cannot find in their texts.
    db.execute(
        """
        CREATE TABLE heavy_runs (
            attempt_id        TEXT PRIMARY KEY REFERENCES attempts ON DELETE CASCADE,
            strategy          TEXT NOT NULL,  -- synthesize | pick | majority
            preset            TEXT NOT NULL,  -- full | thrifty | fast
            width             INTEGER NOT NULL,
            launched          INTEGER NOT NULL,  -- trajectories sent; 0 where answers_of says whose were read again
            usable            INTEGER NOT NULL,
            failed            INTEGER NOT NULL,
            n_clusters        INTEGER,
            agreement         REAL,
            effective_answers REAL,
            similarity        REAL,
            stopped_at        TEXT,           -- the score at which the stop rule ended it, like 4-1
            stop_risk         REAL,           -- the chance that the rest would have changed the majority
            verdict           TEXT NOT NULL,  -- followed | minority | own | none | unknown
            answers_of        TEXT
        ) STRICT
        """
    )


@migrations()
def m016_server_waits(db: Database) -> None:
    # Before the first token, at the server: the wait for a slot or for another model, and what was that or the load.
    db.execute("ALTER TABLE attempts ADD COLUMN server_queue_ns INTEGER")
    db.execute("ALTER TABLE attempts ADD COLUMN load_or_wait_ns INTEGER")


@migrations()
def m017_benchmarks(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE benchmarks (
            id             TEXT PRIMARY KEY,
            owner          TEXT NOT NULL,
            boot_id        TEXT NOT NULL,     -- the process that runs it, or ran it last
            started_at_utc TEXT NOT NULL,
            ended_at_utc   TEXT,
            state          TEXT NOT NULL,     -- running | done | stopped | budget | decided | interrupted
            state_reason   TEXT NOT NULL,
            size           TEXT NOT NULL,     -- quick | full | chosen
            suite_version  INTEGER NOT NULL,
            seed           INTEGER NOT NULL,  -- of the cases' names and numbers
            epochs         INTEGER NOT NULL,
            order_seed     INTEGER NOT NULL,
            budget_usd     REAL,              -- NULL: no limit
            app_version    TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE benchmark_lanes (
            run_id     TEXT NOT NULL REFERENCES benchmarks ON DELETE CASCADE,
            position   INTEGER NOT NULL,
            lane       TEXT NOT NULL,
            label      TEXT NOT NULL,
            model      TEXT NOT NULL,
            config_sha TEXT NOT NULL,  -- of what the answers depend on
            config     TEXT NOT NULL,  -- JSON: the lane as it was, without keys
            PRIMARY KEY (run_id, lane)
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE benchmark_items (
            run_id   TEXT NOT NULL REFERENCES benchmarks ON DELETE CASCADE,
            position INTEGER NOT NULL,  -- the order of sending
            case_id  TEXT NOT NULL,
            category TEXT NOT NULL,
            template TEXT NOT NULL,
            lane     TEXT NOT NULL,
            epoch    INTEGER NOT NULL,  -- from 1
            warm_up  INTEGER NOT NULL,  -- 0: counts; n: the n-th start of the run warmed the model up with it
            turn_id  TEXT,              -- of its turn, the first one of several, before it is sent; NULL: not_sent
            not_sent TEXT,              -- why it is not sent: the prompt does not fit the lane's context
            PRIMARY KEY (run_id, position),
            UNIQUE (run_id, case_id, lane, epoch, warm_up)
        ) STRICT
        """
    )
    db.execute("CREATE INDEX benchmark_items_by_turn ON benchmark_items (turn_id)")
    db.execute(
        """
        CREATE TABLE benchmark_verdicts (
            number         INTEGER PRIMARY KEY,  -- of two verdicts on an attempt the higher one counts
            verdict_id     TEXT NOT NULL UNIQUE,
            attempt_id     TEXT NOT NULL REFERENCES attempts ON DELETE CASCADE,
            verdict        TEXT NOT NULL,  -- a grader's, or endpoint, or context (the server's own word)
            extracted      TEXT,           -- what was compared
            reason         TEXT NOT NULL,
            grader         TEXT NOT NULL,
            grader_version TEXT NOT NULL,  -- '': nothing was graded
            backend        TEXT,           -- the sandbox; NULL: no code ran
            level          TEXT,           -- isolated | unsandboxed | off
            graded_at_utc  TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX benchmark_verdicts_by_attempt ON benchmark_verdicts (attempt_id)")


@migrations()
def m018_bench_votes(db: Database) -> None:
    # A vote on answers of two turns, as a benchmark has them; NULL: on the answers of one turn.
    db.execute("ALTER TABLE votes ADD COLUMN other_turn_id TEXT REFERENCES turns ON DELETE CASCADE")
    # What a model as the judge said of two answers, in the order in which it read them.
    db.execute(
        """
        CREATE TABLE benchmark_judgements (
            turn_id        TEXT PRIMARY KEY REFERENCES turns ON DELETE CASCADE,  -- the judge's own
            run_id         TEXT NOT NULL REFERENCES benchmarks ON DELETE CASCADE,
            judge          TEXT NOT NULL,  -- lane
            model          TEXT NOT NULL,  -- of that lane
            first_turn_id  TEXT NOT NULL REFERENCES turns ON DELETE CASCADE,
            second_turn_id TEXT NOT NULL REFERENCES turns ON DELETE CASCADE,
            choice         TEXT,           -- first | second | tie; NULL: what it said cannot be read
            version        INTEGER NOT NULL,  -- of the judge's prompt
            judged_at_utc  TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX benchmark_judgements_by_run ON benchmark_judgements (run_id)")


@migrations()
def m019_queued_prompts(db: Database) -> None:
    db.execute(
        """
        CREATE TABLE queued_prompts (
            prompt_id       TEXT PRIMARY KEY,  -- and of its turn, once it is sent
            conversation_id TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
            owner           TEXT NOT NULL,
            prompt          TEXT NOT NULL,     -- empty once it is gone
            blind           INTEGER NOT NULL,
            queued_at_utc   TEXT NOT NULL,
            state           TEXT NOT NULL,     -- waiting | held | over_budget | gone
            reason          TEXT NOT NULL      -- why it is held
        ) STRICT
        """
    )
    db.execute("CREATE INDEX queued_prompts_by_conversation ON queued_prompts (conversation_id)")


@migrations()
def m020_marks(db: Database) -> None:
    # When a conversation was pinned, archived or deleted; NULL: it is not. An archived one is so until a newer turn is
    # sent to it. A deleted one is listed and found nowhere, and erased once undoing that is no longer offered.
    for name in ("pinned_at_utc", "archived_at_utc", "deleted_at_utc"):
        db.execute(f"ALTER TABLE conversations ADD COLUMN {name} TEXT")
    db.execute("CREATE INDEX conversations_pinned ON conversations (conversation_id) WHERE pinned_at_utc IS NOT NULL")
    db.execute("CREATE INDEX conversations_deleted ON conversations (deleted_at_utc) WHERE deleted_at_utc IS NOT NULL")


@migrations()
def m021_continues(db: Database) -> None:
    # The attempt whose cut answer this one goes on with; ``answer`` then begins with that text, which is not counted.
    db.execute("ALTER TABLE attempts ADD COLUMN continues TEXT")


@migrations()
def m022_lane_settings(db: Database) -> None:
    # JSON: what the lane's configuration said then beside its params, where that is no default; NULL: not known.
    db.execute("ALTER TABLE attempts ADD COLUMN settings TEXT")


@migrations()
def m023_images(db: Database) -> None:
    # Images attached to prompts, each once by its bytes; it goes with the last turn that names it.
    db.execute(
        """
        CREATE TABLE images (
            sha256     TEXT PRIMARY KEY,
            media_type TEXT NOT NULL,     -- image/png | image/jpeg
            width      INTEGER NOT NULL,  -- pixels
            height     INTEGER NOT NULL,
            payload    BLOB NOT NULL      -- the file, without metadata
        ) STRICT
        """
    )
    db.execute(
        """
        CREATE TABLE turn_images (
            turn_id TEXT NOT NULL REFERENCES turns ON DELETE CASCADE,
            place   INTEGER NOT NULL,  -- in the prompt, from 0
            sha256  TEXT NOT NULL REFERENCES images,
            name    TEXT NOT NULL,     -- of the file as it was attached
            PRIMARY KEY (turn_id, place)
        ) STRICT
        """
    )
    db.execute("CREATE INDEX turn_images_by_image ON turn_images (sha256)")
    db.execute(
        """
        CREATE TRIGGER images_go_with_their_last_turn AFTER DELETE ON turn_images
        WHEN NOT EXISTS (SELECT 1 FROM turn_images WHERE sha256 = OLD.sha256)
        BEGIN DELETE FROM images WHERE sha256 = OLD.sha256; END
        """
    )


@migrations()
def m024_basis(db: Database) -> None:
    # The lane whose history every lane was sent, or is to be sent; '': each its own.
    db.execute("ALTER TABLE turns ADD COLUMN basis TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE queued_prompts ADD COLUMN basis TEXT NOT NULL DEFAULT ''")


@migrations()
def m025_sessions(db: Database) -> None:
    # Who signed in, when accounts are on. Rows of both are only added, so that any number of servers may write them.
    db.execute(
        """
        CREATE TABLE sessions (
            token_hash     TEXT PRIMARY KEY,  -- SHA-256 of the cookie
            person_id      TEXT NOT NULL,
            name           TEXT NOT NULL,     -- of the person then
            role           TEXT NOT NULL,     -- member | admin, then
            credential     TEXT NOT NULL,     -- the session is over when the person's is another
            started_at_utc TEXT NOT NULL,
            ends_at_utc    TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX sessions_by_person ON sessions (person_id)")
    db.execute(
        """
        CREATE TABLE signed_out (
            token_hash  TEXT PRIMARY KEY,
            at_utc      TEXT NOT NULL,
            ends_at_utc TEXT NOT NULL  -- of the session
        ) STRICT
        """
    )
    # Sign-ins that failed lately or are being checked.
    db.execute(
        """
        CREATE TABLE sign_in_tries (
            try_id  TEXT NOT NULL,
            subject TEXT NOT NULL,  -- a hash of what is limited: an address, a name, both
            at_utc  TEXT NOT NULL,
            PRIMARY KEY (try_id, subject)
        ) STRICT
        """
    )
    db.execute("CREATE INDEX sign_in_tries_by_subject ON sign_in_tries (subject)")


@migrations()
def m026_queued_images(db: Database) -> None:
    # Images of prompts that are queued; an image goes with the last turn or queued prompt that names it.
    db.execute(
        """
        CREATE TABLE queued_images (
            prompt_id TEXT NOT NULL REFERENCES queued_prompts ON DELETE CASCADE,
            place     INTEGER NOT NULL,  -- in the prompt, from 0
            sha256    TEXT NOT NULL REFERENCES images,
            name      TEXT NOT NULL,     -- of the file as it was attached
            PRIMARY KEY (prompt_id, place)
        ) STRICT
        """
    )
    db.execute("CREATE INDEX queued_images_by_image ON queued_images (sha256)")
    db.execute("DROP TRIGGER images_go_with_their_last_turn")
    for table, owner in (("turn_images", "turn"), ("queued_images", "queued_prompt")):
        db.execute(
            f"""
            CREATE TRIGGER images_go_with_their_last_{owner} AFTER DELETE ON {table}
            WHEN NOT EXISTS (SELECT 1 FROM turn_images WHERE sha256 = OLD.sha256)
             AND NOT EXISTS (SELECT 1 FROM queued_images WHERE sha256 = OLD.sha256)
            BEGIN DELETE FROM images WHERE sha256 = OLD.sha256; END
            """
        )


@migrations()
def m027_share_links(db: Database) -> None:
    # Read-only links to a conversation or one of its turns. A link that is revoked or over has no row.
    db.execute(
        """
        CREATE TABLE share_links (
            link_id         TEXT PRIMARY KEY,
            token_hash      TEXT NOT NULL UNIQUE,   -- SHA-256 of what the link's address ends with
            conversation_id TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
            turn_id         TEXT NOT NULL,          -- '': the whole conversation
            reasoning       INTEGER NOT NULL,       -- 0: the link shows none
            made_at_utc     TEXT NOT NULL,
            ends_at_utc     TEXT NOT NULL
        ) STRICT
        """
    )
    db.execute("CREATE INDEX share_links_by_conversation ON share_links (conversation_id)")


@migrations()
def m028_benchmark_workers(db: Database) -> None:
    # The processes that worked on a run. An attempt's ``boot_id`` says which of them sent it.
    db.execute(
        """
        CREATE TABLE benchmark_workers (
            run_id        TEXT NOT NULL REFERENCES benchmarks ON DELETE CASCADE,
            boot_id       TEXT NOT NULL,
            name          TEXT NOT NULL,     -- of its machine
            app_version   TEXT NOT NULL,
            at_a_time     INTEGER NOT NULL,  -- items at a time of each server
            joined_at_utc TEXT NOT NULL,
            PRIMARY KEY (run_id, boot_id)
        ) STRICT
        """
    )


@migrations()
def m029_turn_numbers(db: Database) -> None:
    # Two processes that went on with a conversation at once could give two turns one number, and then only one of them
    # was shown. The later ones get the numbers after the conversation's last. PostgreSQL: ``p002_turn_numbers``.
    db.execute("DROP INDEX turns_by_conversation")
    db.execute(
        """
        WITH numbered AS (
            SELECT turn_id, conversation_id, started_at_utc, max(seq) OVER (PARTITION BY conversation_id) AS last,
                   row_number() OVER (PARTITION BY conversation_id, seq ORDER BY started_at_utc, turn_id) AS place
            FROM turns
        ), later AS (
            SELECT turn_id,
                   last + row_number() OVER (PARTITION BY conversation_id ORDER BY started_at_utc, turn_id) AS seq
            FROM numbered WHERE place > 1
        )
        UPDATE turns SET seq = later.seq FROM later WHERE later.turn_id = turns.turn_id
        """
    )
    db.execute("CREATE UNIQUE INDEX turns_by_conversation ON turns (conversation_id, seq)")
