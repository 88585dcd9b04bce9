"""LogReader: everything that is read from the log. Any thread may call it.

Each call opens the database read-only and closes it again, so a reader holds nothing between calls, never blocks the
writer, and works while the file is being replaced. Where there is no log yet, there is nothing to read: empty answers.
"""

from __future__ import annotations

import heapq
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ..core.branches import Fork
from ..core.events import End, Entry, Opened, Promoted
from ..core.turn import Exchange, TurnLog
from .files import LogUnreadable
from .records import read_attempt, read_lanes, whole_events
from .sqlite.schema import is_older
from .votes import last_vote, read_slots

BUSY_S = 2.0
PAGE = 50
ID_BATCH = 500  # ids per query, below SQLite's limit on parameters


class TurnHead(NamedTuple):
    """A turn in a list. ``cursor`` goes on after this turn."""

    turn_id: str
    conversation_id: str
    seq: int
    prompt: str
    kind: str
    started_at_utc: str

    @property
    def cursor(self) -> tuple[str, str]:
        return (self.started_at_utc, self.turn_id)


class LogReader:
    """Reads the log at ``path``. Raises ``LogUnreadable`` only for a damaged or locked file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection for one piece of work, rows by column name; an empty database if there is no log."""
        if self.path.is_file() and self.path.stat().st_size:
            path = self.path.resolve()
            uri = f"file:{quote(str(path))}?mode=ro"
            if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
                uri += "&immutable=1"  # an archived log: SQLite could not put its -shm beside it, nor anybody write
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
        else:
            connection = _empty_log()
        try:
            with closing(connection):
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA query_only = ON")
                yield connection
        except sqlite3.Error as error:
            remedy = "Try again; if it is damaged, keep it and choose another with --db."
            raise LogUnreadable(f"The log {self.path} cannot be read ({error}).", remedy) from error

    def is_log(self) -> bool:
        """Whether the file is a log at all. Raises ``LogUnreadable``."""
        with self.connect() as db:
            query = "SELECT count(*) FROM sqlite_master WHERE name IN ('turns', 'attempts', 'attempt_metrics')"
            return int(db.execute(query).fetchone()[0]) == 3

    def is_older(self) -> bool:
        """Whether an older version wrote it and it was not brought up to date since. Raises ``LogUnreadable``."""
        with self.connect() as db:
            return is_older(db)

    def turn(self, turn_id: str) -> TurnLog | None:
        """A turn as it was, closed; None if there is no such turn. Attempts that are still open are there so far."""
        with self.connect() as db:
            row = db.execute(
                "SELECT * FROM turns JOIN conversations USING (conversation_id) WHERE turn_id = ?", (turn_id,)
            ).fetchone()
            return None if row is None else _turn(db, row)

    def turns(
        self, owner: str | None = None, *, before: tuple[str, str] | None = None, limit: int = PAGE
    ) -> list[TurnHead]:
        """Turns, newest first, of one owner where given; ``before``: the cursor of the last one of the page before."""
        query, values = _page(f"SELECT {', '.join(TurnHead._fields)} FROM turns", owner, before)
        with self.connect() as db:
            return [TurnHead(*row) for row in db.execute(f"{query} LIMIT ?", (*values, limit))]

    def conversation(self, conversation_id: str, with_entries: bool = True) -> list[TurnLog]:
        """All turns of a conversation in order, the turns a fork shares with its origin first.

        ``with_entries`` False: what was asked and of whom, without what came of it (a list of turns needs no more).
        """
        with self.connect() as db:
            turns: list[TurnLog] = []
            for id, before in _lineage(db, conversation_id):
                rows = db.execute(
                    "SELECT * FROM turns JOIN conversations USING (conversation_id)"
                    " WHERE conversation_id = ? AND seq < ? ORDER BY seq",
                    (id, before),
                ).fetchall()
                turns = [*(_turn(db, row, with_entries) for row in rows), *turns]
            return turns

    def owner_of(self, conversation_id: str) -> str | None:
        """Whose conversation it is; None if there is no such conversation."""
        with self.connect() as db:
            row = db.execute("SELECT owner FROM conversations WHERE conversation_id = ?", (conversation_id,)).fetchone()
            return None if row is None else row["owner"]

    def turn_seqs(self, conversation_id: str) -> list[int]:
        """The numbers of the conversation's own turns, in order."""
        with self.connect() as db:
            rows = db.execute("SELECT seq FROM turns WHERE conversation_id = ? ORDER BY seq", (conversation_id,))
            return [seq for (seq,) in rows]

    def history(self, conversation_id: str, lane: str) -> list[Exchange]:
        """What a lane was asked and answered, in order: of each turn its last ended attempt that has an answer."""
        query = """
            SELECT t.seq, t.prompt, a.answer, a.reasoning
            FROM turns t JOIN attempts a USING (turn_id)
            WHERE t.conversation_id = ? AND t.seq < ? AND a.lane = ? AND a.parent_id IS NULL
              AND a.status <> 'open' AND a.answer <> ''
            ORDER BY t.seq, a.attempt_no
        """
        exchanges: dict[int, Exchange] = {}
        with self.connect() as db:
            for id, before in _lineage(db, conversation_id):
                for row in db.execute(query, (id, before, lane)):
                    exchanges[row["seq"]] = Exchange(*row)
        return [exchanges[seq] for seq in sorted(exchanges)]

    def forks(self, conversation_id: str) -> list[Fork]:
        """All conversations of the tree this one belongs to by edited prompts, in the order they were begun."""
        query = """
            WITH RECURSIVE
                above (id) AS (SELECT ? UNION SELECT forked_from FROM conversations JOIN above ON conversation_id = id),
                tree (id) AS (SELECT id FROM above WHERE id <> ''
                              UNION SELECT conversation_id FROM conversations JOIN tree ON forked_from = id)
            SELECT conversation_id, forked_from, forked_at FROM conversations JOIN tree ON conversation_id = id
            ORDER BY created_at_utc, conversations.rowid
        """
        with self.connect() as db:
            return [Fork(*row) for row in db.execute(query, (conversation_id,))]

    def attempt_metrics(self, attempt_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Rows of the view ``attempt_metrics``, in the order of the ids; ids without a row are left out."""
        ids = list(dict.fromkeys(attempt_ids))
        found: dict[str, dict[str, Any]] = {}
        with self.connect() as db:
            for start in range(0, len(ids), ID_BATCH):
                batch = ids[start : start + ID_BATCH]
                query = f"SELECT * FROM attempt_metrics WHERE attempt_id IN ({', '.join('?' * len(batch))})"
                found |= {row["attempt_id"]: dict(row) for row in db.execute(query, batch)}
        return [found[id] for id in ids if id in found]

    def copy(self, target: Path, owner: str | None = None) -> None:
        """A copy of the log as one SQLite file, of one owner's conversations where given; it may be in use meanwhile.

        ``target`` must not exist. Raises ``sqlite3.Error``.
        """
        with self.connect() as db:
            db.execute("PRAGMA query_only = OFF")  # VACUUM INTO writes the copy, never the log
            db.execute("VACUUM INTO ?", (str(target),))
        if owner is not None:
            with closing(sqlite3.connect(target, isolation_level=None)) as db:
                db.execute("PRAGMA foreign_keys = ON")
                for table in ("conversations", "budgets", "spent_deleted"):
                    db.execute(f"DELETE FROM {table} WHERE owner <> ?", (owner,))
                db.execute("INSERT INTO search (search) VALUES ('rebuild')")  # or the others' words stay in the index
                db.execute("VACUUM")


def _empty_log() -> sqlite3.Connection:
    from .sqlite.schema import migrate

    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def _page(query: str, owner: str | None, before: tuple[str, str] | None) -> tuple[str, tuple[str, ...]]:
    """A query on turns, newest first, of an owner, after a cursor (keyset paging: deep pages cost no more)."""
    conditions, values = ["1"], []
    if owner is not None:
        conditions.append("owner = ?")
        values.append(owner)
    if before is not None:
        conditions.append("(started_at_utc, turn_id) < (?, ?)")
        values += before
    return f"{query} WHERE {' AND '.join(conditions)} ORDER BY started_at_utc DESC, turn_id DESC", tuple(values)


def _lineage(db: sqlite3.Connection, conversation_id: str) -> list[tuple[str, int]]:
    """The conversation and those it was forked from: ``(id, its turns before this number belong to it)``."""
    lineage: list[tuple[str, int]] = []
    before = 2**62
    while conversation_id and conversation_id not in (id for id, _ in lineage):
        lineage.append((conversation_id, before))
        row = db.execute(
            "SELECT forked_from, forked_at FROM conversations WHERE conversation_id = ?", (conversation_id,)
        ).fetchone()
        if row is None:
            break
        conversation_id, before = row["forked_from"], min(before, row["forked_at"])
    return lineage


def _turn(db: sqlite3.Connection, row: sqlite3.Row, with_entries: bool = True) -> TurnLog:
    """A stored turn, read back into the class it was made in. Only a fork's first turn says that it is one."""
    first = db.execute("SELECT min(seq) FROM turns WHERE conversation_id = ?", (row["conversation_id"],)).fetchone()[0]
    forks = row["forked_from"] if row["seq"] == first else ""
    return TurnLog(
        turn_id=row["turn_id"],
        conversation_id=row["conversation_id"],
        seq=row["seq"],
        prompt=row["prompt"],
        lanes=read_lanes(row["lanes"]),
        owner=row["owner"],
        system=row["system"],
        kind=row["kind"],
        started_at_utc=row["started_at_utc"],
        forked_from=forks,
        forked_at=row["forked_at"] if forks else 0,
        entries=_entries(db, row["turn_id"]) if with_entries else [],
        closed=True,
        slots=read_slots(row["slots"]),
        vote=last_vote(db, row["turn_id"]),
    )


class _Stream(NamedTuple):
    """One attempt's entries (or a lane's before any attempt), each with its time since the click."""

    sent_ns: int
    status: str
    items: list[tuple[int, Entry]]


def _entries(db: sqlite3.Connection, turn_id: str) -> list[Entry]:
    """The turn's entries: each attempt's in their order, the attempts merged by time since the click."""
    streams: dict[tuple[str, str | None], _Stream] = {}
    last_tries: dict[str, tuple[str, str]] = {}
    attempts = db.execute(
        "SELECT * FROM attempts WHERE turn_id = ? ORDER BY sent_ns, parent_id IS NOT NULL, rowid", (turn_id,)
    )
    for row in attempts.fetchall():
        attempt = read_attempt(dict(row))
        opened = Entry(attempt.lane, attempt.attempt_id, 0, Opened(attempt.as_dict()))
        stream = _Stream(attempt.sent_ns, row["status"], [(attempt.sent_ns, opened)])
        streams[attempt.lane, attempt.attempt_id] = stream
        if not attempt.parent_id:
            last_tries[attempt.lane] = (attempt.lane, attempt.attempt_id)
    segments = db.execute("SELECT lane, attempt_id, payload FROM events WHERE turn_id = ? ORDER BY seq", (turn_id,))
    for lane, attempt_id, payload in segments.fetchall():
        stream = streams.setdefault((lane, attempt_id), _Stream(0, "open", []))
        for t_ns, event in whole_events(payload):
            # Stamps of one attempt never run backwards; should they, its order matters more than the time.
            at_ns = max(stream.sent_ns + t_ns, stream.items[-1][0] if stream.items else 0)
            stream.items.append((at_ns, Entry(lane, attempt_id or "", t_ns, event)))
    for (lane, attempt_id), stream in streams.items():
        last_ns, last = stream.items[-1] if stream.items else (0, None)
        if last is not None and stream.status != "open" and not isinstance(last.event, End | Promoted):
            # Its process died: the end was written by the sweep, not by the stream.
            stream.items.append((last_ns, Entry(lane, attempt_id or "", last.t_ns, End(stream.status))))
    for key in last_tries.values():
        last_ns, last = streams[key].items[-1]
        if isinstance(last.event, End) and last.event.retry_in_s is not None:
            # Nor will the try come that it announced when its process died.
            streams[key].items[-1] = (last_ns, last._replace(event=replace(last.event, retry_in_s=None)))
    numbered = ([(at_ns, i, entry) for at_ns, entry in stream.items] for i, stream in enumerate(streams.values()))
    return [entry for _, _, entry in heapq.merge(*numbered, key=lambda item: item[:2])]
