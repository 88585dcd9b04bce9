"""LogReader: all queries on the log. Any thread may call it.

A reader keeps no state between calls. Without a log, results are empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain, takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from ..core.attempt import Attempt
from ..core.branches import Fork
from ..core.events import QUEUED, End, Entry, Event, Opened, Phase, Promoted, Tally
from ..core.images import Image
from ..core.turn import AttemptHead, Exchange, Pick, TurnLog
from .places import Place, source_at
from .records import IDENTITY, read_attempt, read_lanes, whole_events
from .store import Rows, Source
from .votes import last_vote, read_slots

PAGE = 50
ID_BATCH = 500  # ids per query, below a database's limit on parameters


class TurnHead(NamedTuple):
    """A turn in a list. ``cursor`` is where the next page begins."""

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
    """Reads the log at ``place``. Raises ``LogUnreadable`` only for a log that is damaged, locked or out of reach."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.source: Source = source_at(place)

    def snapshot(self) -> AbstractContextManager[Rows]:
        """One state of the log for several queries."""
        return self.source.snapshot()

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of one query; ``values`` are its ``:name`` parameters (see ``store.Rows``)."""
        with self.snapshot() as log:
            return list(log.rows(sql, **values))

    def exists(self) -> bool:
        """Whether there is a log, even an empty one. Raises ``LogUnreadable``."""
        return self.source.exists()

    def is_log(self) -> bool:
        """Whether the place holds a log or may become one. Raises ``LogError``."""
        return self.source.is_log()

    def is_older(self) -> bool:
        """Whether an older version wrote the log and it is not migrated yet. Raises ``LogUnreadable``."""
        return self.source.is_older()

    def copy(self, target: Path, owner: str | None = None) -> None:
        """Copy the log to one SQLite file, only one owner's conversations if given. The log may be in use meanwhile.

        ``target`` must not exist. Raises ``LogUnreadable``.
        """
        self.source.copy(target, owner)

    def turn(self, turn_id: str, pick: Pick | None = None, *, with_entries: bool = True) -> TurnLog | None:
        """A turn, closed; None if there is no such turn. Open attempts have their entries so far.

        ``pick``: the events of the other attempts are left out; of these the entries only say that they were.
        ``with_entries`` False: it has no entries.
        """
        with self.snapshot() as log:
            row = next(log.records(f"{_TURNS} WHERE t.turn_id = :turn_id", turn_id=turn_id), None)
            return None if row is None else _turn(log, row, with_entries, pick)

    def texts(self, turn_id: str, attempt_id: str) -> tuple[str, str] | None:
        """The reasoning and the answer of an attempt that has ended; None if there is none."""
        query = """
            SELECT reasoning, answer FROM attempts
            WHERE turn_id = :turn_id AND attempt_id = :attempt_id AND status <> 'open'
        """
        found = self.rows(query, turn_id=turn_id, attempt_id=attempt_id)
        return (found[0][0] or "", found[0][1] or "") if found else None

    def heads(self, turn_id: str) -> list[AttemptHead]:
        """The turn's attempts, in the order in which they were sent."""
        query = f"""
            SELECT a.attempt_id, a.lane, a.parent_id, a.k_index, coalesce(h.answers_of, '')
            FROM attempts a LEFT JOIN heavy_runs h ON h.attempt_id = a.attempt_id
            WHERE a.turn_id = :turn_id {_AS_SENT}
        """
        return [AttemptHead(*row) for row in self.rows(query, turn_id=turn_id)]

    def answers(self, attempt_ids: Iterable[str]) -> dict[str, str]:
        """The answers of these attempts by id, empty ones included."""
        query = "SELECT attempt_id, coalesce(answer, '') FROM attempts WHERE attempt_id IN :ids"
        with self.snapshot() as log:
            return {id: text for ids in _batches(attempt_ids) for id, text in log.rows(query, ids=ids)}

    def turns(
        self, owner: str | None = None, *, before: tuple[str, str] | None = None, limit: int = PAGE
    ) -> list[TurnHead]:
        """Turns, newest first, only of ``owner`` if given; ``before``: the cursor of the previous page's last turn."""
        conditions = ["TRUE"]
        if owner is not None:
            conditions.append("owner = :owner")
        if before is not None:  # keyset paging: deep pages cost no more
            conditions.append("(started_at_utc, turn_id) < (:at, :turn_id)")
        query = f"""
            SELECT {", ".join(TurnHead._fields)} FROM turns WHERE {" AND ".join(conditions)}
            ORDER BY started_at_utc DESC, turn_id DESC LIMIT :limit
        """
        at, turn_id = before or ("", "")
        return [TurnHead(*row) for row in self.rows(query, owner=owner, at=at, turn_id=turn_id, limit=limit)]

    def conversation(self, conversation_id: str, with_entries: bool = True) -> list[TurnLog]:
        """All turns of a conversation in order, including those that a fork shares with its origin.

        ``with_entries`` False: turns have no entries, and images no bytes, which a list of turns does not need.
        """
        query = f"{_TURNS} WHERE t.conversation_id = :id AND t.seq < :before ORDER BY t.seq"
        with self.snapshot() as log:
            turns: list[TurnLog] = []
            for id, before in _lineage(log, conversation_id):
                rows = list(log.records(query, id=id, before=before))
                turns = [*(_turn(log, row, with_entries) for row in rows), *turns]
            return turns

    def owner_of(self, conversation_id: str) -> str | None:
        """The conversation's owner; None if there is no such conversation, or if it was deleted."""
        query = "SELECT owner FROM conversations WHERE conversation_id = :id AND deleted_at_utc IS NULL"
        rows = self.rows(query, id=conversation_id)
        return rows[0][0] if rows else None

    def kind_of(self, conversation_id: str) -> str | None:
        """What the conversation's turns are: chat or bench; None if it has none."""
        query = "SELECT kind FROM turns WHERE conversation_id = :id ORDER BY seq LIMIT 1"
        return next((kind for (kind,) in self.rows(query, id=conversation_id)), None)

    def turn_seqs(self, conversation_id: str) -> list[int]:
        """The numbers of the conversation's own turns, in order."""
        query = "SELECT seq FROM turns WHERE conversation_id = :id ORDER BY seq"
        return [seq for (seq,) in self.rows(query, id=conversation_id)]

    def history(self, conversation_id: str, lane: str) -> list[Exchange]:
        """A lane's prompts and answers, in order: of each turn the last ended attempt that has an answer."""
        query = """
            SELECT t.seq, t.prompt, a.answer, a.reasoning
            FROM turns t JOIN attempts a ON a.turn_id = t.turn_id
            WHERE t.conversation_id = :id AND t.seq < :before AND a.lane = :lane AND a.parent_id IS NULL
              AND a.status <> 'open' AND a.answer <> ''
            ORDER BY t.seq, a.attempt_no
        """
        exchanges: dict[int, Exchange] = {}
        with self.snapshot() as log:
            for id, before in _lineage(log, conversation_id):
                for row in log.rows(query, id=id, before=before, lane=lane):
                    exchanges[row[0]] = Exchange(*row)
                for seq, *image in log.rows(f"{_IMAGES} WHERE t.conversation_id = :id {_IN_ORDER}", id=id):
                    if seq < before and seq in exchanges:
                        one = exchanges[seq]
                        exchanges[seq] = one._replace(images=(*one.images, Image(*image)))
        return [exchanges[seq] for seq in sorted(exchanges)]

    def image(self, sha256: str) -> bytes | None:
        """The bytes of an image; None if there is none. What names it says whether a person may read it."""
        rows = self.rows("SELECT payload FROM images WHERE sha256 = :sha256", sha256=sha256)
        return rows[0][0] if rows else None

    def bases(self, conversation_id: str) -> dict[int, str]:
        """The conversation's turns that have a basis (``TurnLog.basis``), by number."""
        query = "SELECT seq, basis FROM turns WHERE conversation_id = :id AND seq < :before AND basis <> ''"
        with self.snapshot() as log:
            lineage = reversed(_lineage(log, conversation_id))
            return {seq: basis for id, before in lineage for seq, basis in log.rows(query, id=id, before=before)}

    def forks(self, conversation_id: str) -> list[Fork]:
        """All conversations connected to this one by forks, in the order of their creation."""
        with self.snapshot() as log:
            return connected(log, conversation_id)

    def attempt_metrics(self, attempt_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Rows of the view ``attempt_metrics``, in the order of the ids; ids without a row are omitted."""
        ids = list(dict.fromkeys(attempt_ids))
        query = "SELECT * FROM attempt_metrics WHERE attempt_id IN :ids"
        with self.snapshot() as log:
            found = {row["attempt_id"]: row for some in _batches(ids) for row in log.records(query, ids=some)}
        return [found[id] for id in ids if id in found]


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    """The ids, each once, in as many lists as queries need."""
    left = list(dict.fromkeys(ids))
    return (left[start : start + ID_BATCH] for start in range(0, len(left), ID_BATCH))


_AS_SENT = "ORDER BY a.sent_ns, a.parent_id IS NOT NULL, a.attempt_no, a.k_index, a.attempt_id"
_TURNS = """
    SELECT t.*, c.forked_from, c.forked_at,
           (SELECT min(u.seq) FROM turns u WHERE u.conversation_id = t.conversation_id) AS first_seq
    FROM turns t JOIN conversations c ON c.conversation_id = t.conversation_id
"""


def connected(log: Rows, conversation_id: str) -> list[Fork]:
    """All conversations connected to this one by forks, deleted ones included, in the order of their creation."""
    query = """
        WITH RECURSIVE
            above (id) AS (SELECT conversation_id FROM conversations WHERE conversation_id = :id
                           UNION SELECT forked_from FROM conversations JOIN above ON conversation_id = id),
            tree (id) AS (SELECT id FROM above WHERE id <> ''
                          UNION SELECT conversation_id FROM conversations JOIN tree ON forked_from = id)
        SELECT conversation_id, forked_from, forked_at, deleted_at_utc IS NOT NULL
        FROM conversations JOIN tree ON conversation_id = id
        ORDER BY created_at_utc, conversation_id
    """
    return [Fork(*row) for row in log.rows(query, id=conversation_id)]


_IMAGES = """
    SELECT t.seq, i.sha256, n.name, i.media_type, i.width, i.height, length(i.payload)
    FROM turn_images n JOIN images i ON i.sha256 = n.sha256 JOIN turns t ON t.turn_id = n.turn_id
"""
_IN_ORDER = "ORDER BY t.seq, n.place"


def _images(log: Rows, turn_id: str, with_data: bool) -> tuple[Image, ...]:
    found = [Image(*row[1:]) for row in log.rows(f"{_IMAGES} WHERE n.turn_id = :id {_IN_ORDER}", id=turn_id)]
    if not with_data:
        return tuple(found)
    query = "SELECT payload FROM images WHERE sha256 = :sha256"
    return tuple(one._replace(data=next(log.rows(query, sha256=one.sha256))[0]) for one in found)


def _lineage(log: Rows, conversation_id: str) -> list[tuple[str, int]]:
    """The conversation and its origins, as ``(id, limit)``: turns of ``id`` before number ``limit`` belong to it."""
    query = "SELECT forked_from, forked_at FROM conversations WHERE conversation_id = :id"
    lineage: list[tuple[str, int]] = []
    before = 2**62
    while conversation_id and conversation_id not in (id for id, _ in lineage):
        lineage.append((conversation_id, before))
        origin = next(log.rows(query, id=conversation_id), None)
        if origin is None:
            break
        conversation_id, before = origin[0], min(before, origin[1])
    return lineage


def _turn(log: Rows, row: dict[str, Any], with_entries: bool = True, pick: Pick | None = None) -> TurnLog:
    """A stored turn as a ``TurnLog``. Only a fork's first turn has ``forked_from``."""
    forks = row["forked_from"] if row["seq"] == row["first_seq"] else ""
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
        entries=_entries(log, row["turn_id"], pick) if with_entries else [],
        closed=True,
        slots=read_slots(row["slots"]),
        basis=row["basis"],
        vote=last_vote(log, row["turn_id"]),
        images=_images(log, row["turn_id"], with_entries),
    )


class _Stream(NamedTuple):
    """One attempt's entries (or a lane's before any attempt), each with its time since the click."""

    status: str
    items: list[tuple[int, Entry]]

    def add(self, at_ns: int, entry: Entry) -> None:
        """Append an entry, in order even if its stamps run backwards."""
        self.items.append((max(at_ns, self.items[-1][0] if self.items else 0), entry))


def _stream(attempt: Attempt, status: str, events: list[tuple[int, Event]]) -> _Stream:
    """An attempt's entries as they were appended; if it waited in the queue, with two ``Opened`` (see there)."""
    stream = _Stream(status, [])

    def add(opened: Attempt, events: Iterable[tuple[int, Event]]) -> None:
        lane, attempt_id, items = attempt.lane, attempt.attempt_id, stream.items
        latest_ns = items[-1][0] if items else 0
        for t_ns, event in chain([(0, Opened(opened.as_dict()))], events):
            latest_ns = max(latest_ns, opened.sent_ns + t_ns)  # in order even if its stamps run backwards
            items.append((latest_ns, Entry(lane, attempt_id, t_ns, event)))

    queued = list(takewhile(lambda item: isinstance(item[1], Phase) and item[1].name == QUEUED, events))
    if queued:
        add(replace(attempt, sent_ns=attempt.sent_ns - (attempt.queue_ns or 0), queue_ns=None), queued)
    if not queued or attempt.queue_ns is not None:
        add(attempt, events[len(queued) :])
    return stream


_Events = dict[tuple[str, str | None], list[tuple[int, Event]]]


def _entries(log: Rows, turn_id: str, pick: Pick | None = None) -> list[Entry]:
    """The turn's entries: each attempt's in order, and attempts merged by time since the click."""
    query = f"SELECT status, {', '.join(IDENTITY)} FROM attempts a WHERE turn_id = :turn_id {_AS_SENT}"
    attempts = [(read_attempt(row), row["status"]) for row in log.records(query, turn_id=turn_id)]
    events = _all_events(log, turn_id) if pick is None else _events_of(log, turn_id, pick, [one for one, _ in attempts])
    streams: dict[tuple[str, str | None], _Stream] = {}
    last_tries: dict[str, tuple[str, str]] = {}
    for attempt, status in attempts:
        key = (attempt.lane, attempt.attempt_id)
        streams[key] = _stream(attempt, status, events.pop(key, []))
        if not attempt.parent_id:
            last_tries[attempt.lane] = key
    for (lane, attempt_id), items in events.items():
        stream = streams[lane, attempt_id] = _Stream("open", [])
        for t_ns, event in items:
            stream.add(t_ns, Entry(lane, attempt_id or "", t_ns, event))
    for (lane, attempt_id), stream in streams.items():
        last_ns, last = stream.items[-1] if stream.items else (0, None)
        if last is not None and stream.status != "open" and not isinstance(last.event, End | Promoted):
            # Its process died, so the next start's sweep set its status, and there is no End event.
            stream.items.append((last_ns, Entry(lane, attempt_id or "", last.t_ns, End(stream.status))))
    for key in last_tries.values():
        last_ns, last = streams[key].items[-1]
        if isinstance(last.event, End) and last.event.retry_in_s is not None:
            # The announced retry never came, because its process died.
            streams[key].items[-1] = (last_ns, last._replace(event=replace(last.event, retry_in_s=None)))
    in_time = sorted(chain.from_iterable(stream.items for stream in streams.values()), key=itemgetter(0))
    return [entry for _, entry in in_time]


def _all_events(log: Rows, turn_id: str) -> _Events:
    query = "SELECT lane, attempt_id, payload FROM events WHERE turn_id = :turn_id ORDER BY seq"
    return _unpacked(log.rows(query, turn_id=turn_id))


def _events_of(log: Rows, turn_id: str, pick: Pick, attempts: list[Attempt]) -> _Events:
    """The events of the picked attempts, of those whose answers they aggregated again, and of lanes' preparations."""
    query = """
        SELECT lane, attempt_id, payload FROM events
        WHERE turn_id = :turn_id AND (attempt_id IS NULL OR attempt_id IN :ids) ORDER BY seq
    """
    tries: dict[str, list[str]] = {}
    for one in attempts:
        if not one.parent_id:
            tries.setdefault(one.lane, []).append(one.attempt_id)
    heads, events = pick.of(tries), _Events()
    while heads:
        ids = [one.attempt_id for one in attempts if (one.parent_id or one.attempt_id) in heads]
        new = _unpacked(log.rows(query, turn_id=turn_id, ids=ids))
        events |= new
        sources = {event.answers_of for items in new.values() for _, event in items if isinstance(event, Tally)}
        heads = sources - {attempt_id or "" for _, attempt_id in events} - {""}
    return events


def _unpacked(rows: Iterable[tuple[Any, ...]]) -> _Events:
    events = _Events()
    for lane, attempt_id, payload in rows:
        events.setdefault((lane, attempt_id), []).extend(whole_events(payload))
    return events
