"""A user's conversations: the list, most recently used first, renaming and deleting.

Keyset paging: a page continues after the cursor of the previous page's last head, so deep pages cost no more than the
first, and a new conversation does not shift the pages. Benchmark runs are not conversations.

Turns that a deleted conversation shares with forks (made by editing a prompt) are kept and then belong to the fork. The
cost of deleted turns is kept as one sum per day.
"""

from __future__ import annotations

from typing import NamedTuple

from .costs import keep_spent_sums
from .reader import LogReader
from .store import Rows, Transaction, owned

PAGE = 40


class ConversationGone(Exception):
    """The conversation does not exist or belongs to another owner."""


class ConversationHead(NamedTuple):
    """A conversation in the list. ``n_turns`` includes turns shared with the conversation it was forked from.

    ``n_lanes`` and ``last_at_utc`` are the newest turn's number of lanes and time; ``owner`` is the conversation's.
    """

    conversation_id: str
    title: str
    n_turns: int
    n_lanes: int
    forked_from: str
    owner: str
    last_at_utc: str
    last_turn_id: str

    @property
    def cursor(self) -> tuple[str, str]:
        return (self.last_at_utc, self.last_turn_id)


_HEAD = """
    c.conversation_id, c.title, t.seq + 1, (SELECT count(*) FROM turn_lanes l WHERE l.turn_id = t.turn_id),
    c.forked_from, c.owner, t.started_at_utc, t.turn_id
"""


def list_conversations(
    reader: LogReader, owner: str, *, before: tuple[str, str] | None = None, limit: int = PAGE
) -> list[ConversationHead]:
    """The owner's conversations after ``before``, at most ``limit``."""
    # Each conversation is found by its newest turn, through an index of turns by time.
    query = f"""
        SELECT {_HEAD}
        FROM turns t JOIN conversations c ON c.conversation_id = t.conversation_id
        WHERE {owned(owner, "t.owner")} AND t.kind = 'chat'
          {"AND (t.started_at_utc, t.turn_id) < (:at, :turn_id)" if before else ""}
          AND NOT EXISTS (SELECT 1 FROM turns u WHERE u.conversation_id = t.conversation_id
                          AND (u.started_at_utc, u.turn_id) > (t.started_at_utc, t.turn_id))
        ORDER BY t.started_at_utc DESC, t.turn_id DESC LIMIT :limit
    """
    at, turn_id = before or ("", "")
    return [ConversationHead(*row) for row in reader.rows(query, owner=owner, at=at, turn_id=turn_id, limit=limit)]


def head_of(reader: LogReader, conversation_id: str) -> ConversationHead | None:
    """One conversation as in the list; None if it does not exist."""
    query = f"""
        SELECT {_HEAD} FROM conversations c JOIN turns t ON t.conversation_id = c.conversation_id
        WHERE c.conversation_id = :id ORDER BY t.started_at_utc DESC, t.turn_id DESC LIMIT 1
    """
    rows = reader.rows(query, id=conversation_id)
    return ConversationHead(*rows[0]) if rows else None


def rename_conversation(log: Transaction, conversation_id: str, owner: str, title: str) -> set[str]:
    """Set the title. Returns no deleted ids. Raises ``ConversationGone``."""
    _origin(log, conversation_id, owner)
    log.execute("UPDATE conversations SET title = :title WHERE conversation_id = :id", title=title, id=conversation_id)
    return set()


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
