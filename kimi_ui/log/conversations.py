"""A user's conversations: the list, most recently used first, renaming, pinning, archiving and deleting.

An entry of the list is a conversation with its branches, which edited prompts began. Keyset paging: a page continues
after the cursor of the previous page's last entry, so deep pages cost no more than the first, and a new conversation
does not shift the pages. Benchmark runs are not conversations.

A conversation is deleted in two steps. Its mark (``deleted_at_utc``) hides it at once and can be taken back; erasing
then removes its rows for good. Turns that an erased conversation shares with forks are kept and then belong to the
fork. The cost of erased turns is kept as one sum per day.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..core.branches import Fork, outlines
from ..core.owner import LOCAL
from .costs import keep_spent_sums
from .reader import ID_BATCH, LogReader, connected
from .store import Rows, Transaction, owned

PAGE = 40
MARKS = {"pinned": "pinned_at_utc", "archived": "archived_at_utc", "deleted": "deleted_at_utc"}
"""What a conversation can be marked as, and the column with the time of that."""


class ConversationGone(Exception):
    """The conversation does not exist or belongs to another owner."""


class ConversationHead(NamedTuple):
    """A conversation in the list. ``n_turns`` includes turns shared with the conversation it was forked from.

    ``n_lanes`` and ``last_at_utc`` are the newest turn's number of lanes and time; ``owner`` is the conversation's.
    ``archived_at_utc``: empty if it was never archived. ``depth``: 0 if its entry began with it, else the number of
    edited prompts between the two.
    """

    conversation_id: str
    title: str
    n_turns: int
    n_lanes: int
    forked_from: str
    forked_at: int
    owner: str
    last_at_utc: str
    last_turn_id: str
    pinned: bool = False
    archived_at_utc: str = ""
    depth: int = 0

    @property
    def cursor(self) -> tuple[str, str]:
        return (self.last_at_utc, self.last_turn_id)


class ListEntry(NamedTuple):
    """A conversation in the list with its branches as an outline: ``branches[0]`` is the one it began with."""

    branches: tuple[ConversationHead, ...]

    @property
    def conversation_id(self) -> str:
        return self.branches[0].conversation_id

    @property
    def title(self) -> str:
        return self.branches[0].title

    @property
    def newest(self) -> ConversationHead:
        """The branch that was used last."""
        return max(self.branches, key=lambda head: head.cursor)

    @property
    def cursor(self) -> tuple[str, str]:
        return self.newest.cursor

    @property
    def pinned(self) -> bool:
        return any(head.pinned for head in self.branches)

    @property
    def archived(self) -> bool:
        """Whether it was archived and not used since: a new turn takes it out of the archive."""
        return max(head.archived_at_utc for head in self.branches) >= self.newest.last_at_utc


class Deleted(NamedTuple):
    """A conversation that was deleted and not erased yet; those deleted together have the same time."""

    conversation_id: str
    title: str
    deleted_at_utc: str


_HEAD = """
    c.conversation_id, c.title, t.seq + 1, (SELECT count(*) FROM turn_lanes l WHERE l.turn_id = t.turn_id),
    c.forked_from, c.forked_at, c.owner, t.started_at_utc, t.turn_id,
    c.pinned_at_utc IS NOT NULL, coalesce(c.archived_at_utc, '')
"""
_SHOWN = """
    t.kind = 'chat' AND c.deleted_at_utc IS NULL
    AND NOT EXISTS (SELECT 1 FROM turns u WHERE u.conversation_id = t.conversation_id
                    AND (u.started_at_utc, u.turn_id) > (t.started_at_utc, t.turn_id))
"""  # of a conversation's turns the newest


def list_conversations(
    reader: LogReader,
    owner: str,
    *,
    archived: bool = False,
    before: tuple[str, str] | None = None,
    limit: int = PAGE,
) -> list[ListEntry]:
    """The owner's entries after ``before``: the archived ones, or those neither pinned nor archived."""
    wanted = (
        "c.archived_at_utc >= t.started_at_utc"
        if archived
        else "c.pinned_at_utc IS NULL AND coalesce(c.archived_at_utc, '') < t.started_at_utc"
    )
    # Each conversation is found by its newest turn, through an index of turns by time.
    query = f"""
        SELECT {_HEAD}
        FROM turns t JOIN conversations c ON c.conversation_id = t.conversation_id
        WHERE {owned(owner, "t.owner")} AND {_SHOWN} AND {wanted}
          AND c.forked_from = '' AND NOT EXISTS (SELECT 1 FROM conversations f WHERE f.forked_from <> ''
                                                 AND f.forked_from = c.conversation_id)
          {"AND (t.started_at_utc, t.turn_id) < (:at, :turn_id)" if before else ""}
        ORDER BY t.started_at_utc DESC, t.turn_id DESC LIMIT :limit
    """
    at, turn_id = before or ("", "")
    with reader.snapshot() as log:
        rows = log.rows(query, owner=owner, at=at, turn_id=turn_id, limit=limit)
        entries = [ListEntry((ConversationHead(*row),)) for row in rows]
        entries += [
            entry
            for entry in _branched(log, owner)
            if entry.archived is archived
            and (archived or not entry.pinned)
            and (before is None or entry.cursor < before)
        ]
    return _newest_first(entries)[:limit]


def pinned_conversations(reader: LogReader, owner: str) -> list[ListEntry]:
    """The owner's pinned entries, without archived ones."""
    query = f"SELECT conversation_id FROM conversations WHERE pinned_at_utc IS NOT NULL AND {owned(owner)}"
    with reader.snapshot() as log:
        ids = [conversation_id for (conversation_id,) in log.rows(query, owner=owner)]
        entries = _entries(log, owner, ids)
    return _newest_first([entry for entry in entries if not entry.archived])


def entries_of(reader: LogReader, owner: str, conversation_ids: Iterable[str]) -> dict[str, ListEntry]:
    """The entries of these conversations of the owner's, by the id of each of their branches."""
    with reader.snapshot() as log:
        entries = _entries(log, owner, conversation_ids)
    return {head.conversation_id: entry for entry in entries for head in entry.branches}


def deleted_conversations(reader: LogReader, owner: str) -> list[Deleted]:
    """The owner's conversations that were deleted and can still be taken back, in the order of their deletion."""
    query = f"""
        SELECT conversation_id, title, deleted_at_utc FROM conversations
        WHERE deleted_at_utc IS NOT NULL AND {owned(owner)} ORDER BY deleted_at_utc, created_at_utc, conversation_id
    """
    return [Deleted(*row) for row in reader.rows(query, owner=owner)]


def head_of(reader: LogReader, conversation_id: str) -> ConversationHead | None:
    """One conversation as in the list; None if it does not exist."""
    query = f"""
        SELECT {_HEAD} FROM conversations c JOIN turns t ON t.conversation_id = c.conversation_id
        WHERE c.conversation_id = :id ORDER BY t.started_at_utc DESC, t.turn_id DESC LIMIT 1
    """
    rows = reader.rows(query, id=conversation_id)
    return ConversationHead(*rows[0]) if rows else None


def _newest_first(entries: Iterable[ListEntry]) -> list[ListEntry]:
    return sorted(entries, key=lambda entry: entry.cursor, reverse=True)


def _entries(log: Rows, owner: str, conversation_ids: Iterable[str]) -> list[ListEntry]:
    """The entries of these conversations."""
    ids = set(conversation_ids)
    if not ids:
        return []
    found: list[ListEntry] = []
    for entry in _branched(log, owner):
        members = {head.conversation_id for head in entry.branches}
        if members & ids:
            found.append(entry)
            ids -= members
    return [*found, *(ListEntry((head,)) for head in _heads(log, ids).values())]


def _branched(log: Rows, owner: str) -> list[ListEntry]:
    """The owner's entries with branches. Few conversations have any, so all of them are read."""
    columns = "c.conversation_id, c.forked_from, c.forked_at, c.created_at_utc"
    query = f"""
        SELECT {columns} FROM conversations c WHERE c.forked_from <> '' AND {owned(owner, "c.owner")}
        UNION
        SELECT {columns} FROM conversations f JOIN conversations c ON c.conversation_id = f.forked_from
        WHERE f.forked_from <> '' AND {owned(owner, "c.owner")}
        ORDER BY created_at_utc, conversation_id
    """
    forks = [Fork(*row[:3]) for row in log.rows(query, owner=owner)]
    heads = _heads(log, [fork.conversation_id for fork in forks])
    shown = ([heads[id]._replace(depth=depth) for id, depth in outline if id in heads] for outline in outlines(forks))
    return [ListEntry(tuple(branches)) for branches in shown if branches]


def _heads(log: Rows, conversation_ids: Iterable[str]) -> dict[str, ConversationHead]:
    """These conversations by id, without deleted ones."""
    query = f"""
        SELECT {_HEAD} FROM conversations c JOIN turns t ON t.conversation_id = c.conversation_id
        WHERE c.conversation_id IN :ids AND {_SHOWN}
    """
    ids = list(conversation_ids)
    batches = (ids[start : start + ID_BATCH] for start in range(0, len(ids), ID_BATCH))
    return {row[0]: ConversationHead(*row) for batch in batches for row in log.rows(query, ids=batch)}


def rename_conversation(log: Transaction, conversation_id: str, owner: str, title: str) -> set[str]:
    """Set the title. Returns no deleted ids. Raises ``ConversationGone``."""
    _origin(log, conversation_id, owner)
    log.execute("UPDATE conversations SET title = :title WHERE conversation_id = :id", title=title, id=conversation_id)
    return set()


def mark_conversations(
    log: Transaction, conversation_ids: Iterable[str], owner: str, mark: str, at_utc: str | None
) -> set[str]:
    """Mark conversations as one of ``MARKS`` at that time; None takes the mark back. Returns no deleted ids.

    Pins and archives whole entries: all branches of each conversation. All or nothing: raises ``ConversationGone``.
    """
    ids = list(dict.fromkeys(conversation_ids))
    for conversation_id in ids:
        _origin(log, conversation_id, owner)
    if mark != "deleted":
        ids = list(dict.fromkeys(fork.conversation_id for id in ids for fork in connected(log, id)))
    for conversation_id in ids:
        at = at_utc
        if mark == "archived" and at is not None:  # not before its newest turn, which an import may date later
            newest = "SELECT coalesce(max(started_at_utc), '') FROM turns WHERE conversation_id = :id"
            at = max(at, *(utc for (utc,) in log.rows(newest, id=conversation_id)))
        change = f"UPDATE conversations SET {MARKS[mark]} = :at WHERE conversation_id = :id"
        log.execute(change, at=at, id=conversation_id)
    return set()


def erase_conversations(log: Transaction, conversation_ids: Iterable[str], owner: str) -> set[str]:
    """Delete those of the conversations for good that are marked as deleted; return the ids that are gone.

    Others were taken back, or erased by another page. Raises ``ConversationGone`` for those of another owner.
    """
    query = f"""
        SELECT {owned(owner)} FROM conversations WHERE conversation_id = :id AND deleted_at_utc IS NOT NULL
    """
    gone: set[str] = set()
    for conversation_id in conversation_ids:
        for (is_own,) in log.rows(query, id=conversation_id, owner=owner):
            if not is_own:
                raise ConversationGone(conversation_id)
            gone |= delete_conversation(log, conversation_id, owner)
    return gone


def erase_deleted_before(log: Transaction, utc: str) -> set[str]:
    """Delete for good what was marked as deleted before that time; return the ids that are gone."""
    query = "SELECT conversation_id FROM conversations WHERE deleted_at_utc < :utc"
    ids = [conversation_id for (conversation_id,) in log.rows(query, utc=utc)]
    return erase_conversations(log, ids, LOCAL)


def delete_conversation(log: Transaction, conversation_id: str, owner: str) -> set[str]:
    """Delete a conversation's rows; return its id and the ids of deleted turns. Raises ``ConversationGone``."""
    origin = _origin(log, conversation_id, owner)
    forks = """
        SELECT conversation_id, forked_at FROM conversations WHERE forked_from = :id
        ORDER BY forked_at DESC, created_at_utc, conversation_id
    """
    if heir := next(log.rows(forks, id=conversation_id), None):
        _pass_on(log, conversation_id, origin, heir)
    turns = list(log.rows("SELECT turn_id FROM turns WHERE conversation_id = :id", id=conversation_id))
    keep_spent_sums(log, conversation_id)
    log.execute("DELETE FROM conversations WHERE conversation_id = :id", id=conversation_id)
    return {conversation_id, *(turn_id for (turn_id,) in turns)}


def _origin(log: Rows, conversation_id: str, owner: str) -> tuple[str, int]:
    """The conversation's origin and fork point. Raises ``ConversationGone`` if it is missing or not the owner's."""
    query = f"SELECT forked_from, forked_at FROM conversations WHERE conversation_id = :id AND {owned(owner)}"
    for forked_from, forked_at in log.rows(query, id=conversation_id, owner=owner):
        return forked_from, forked_at
    raise ConversationGone(conversation_id)


def _pass_on(log: Transaction, gone: str, origin: tuple[str, int], heir: tuple[str, int]) -> None:
    """Move shared turns to the fork that shares most of them; the other forks become forks of that one."""
    forked_from, forked_at = origin
    heir_id, shared = heir
    turns = "UPDATE turns SET conversation_id = :heir WHERE conversation_id = :gone AND seq < :shared"
    log.execute(turns, heir=heir_id, gone=gone, shared=shared)
    log.execute("UPDATE conversations SET forked_from = :heir WHERE forked_from = :gone", heir=heir_id, gone=gone)
    itself = "UPDATE conversations SET forked_from = :origin, forked_at = :at WHERE conversation_id = :heir"
    log.execute(itself, origin=forked_from, at=min(forked_at, shared), heir=heir_id)
