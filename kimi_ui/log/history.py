"""The list of a person's conversations, the one last written to first.

Keyset paging: a page goes on after the cursor of the last head of the page before, so deep pages cost no more than the
first and nothing is shown twice when a conversation is begun meanwhile. Benchmark runs are not conversations.
"""

from __future__ import annotations

from typing import NamedTuple

from .reader import LogReader

PAGE = 40


class ConversationHead(NamedTuple):
    """A conversation in the list. ``n_turns`` counts those it shares with the one it was forked from.

    ``n_lanes`` is of its newest turn, ``last_at_utc`` when that was sent.
    """

    conversation_id: str
    title: str
    n_turns: int
    n_lanes: int
    forked_from: str
    last_at_utc: str
    last_turn_id: str

    @property
    def cursor(self) -> tuple[str, str]:
        return (self.last_at_utc, self.last_turn_id)


def list_conversations(
    reader: LogReader, owner: str, *, before: tuple[str, str] | None = None, limit: int = PAGE
) -> list[ConversationHead]:
    """The owner's conversations after ``before``, at most ``limit``."""
    # The newest turn of each conversation stands for it, read from the index of the owner's turns by time.
    query = f"""
        SELECT c.conversation_id, c.title, t.seq + 1, json_array_length(t.lanes), c.forked_from,
               t.started_at_utc, t.turn_id
        FROM turns t JOIN conversations c USING (conversation_id)
        WHERE t.owner = ? AND t.kind = 'chat' {"AND (t.started_at_utc, t.turn_id) < (?, ?)" if before else ""}
          AND NOT EXISTS (SELECT 1 FROM turns u WHERE u.conversation_id = t.conversation_id
                          AND (u.started_at_utc, u.turn_id) > (t.started_at_utc, t.turn_id))
        ORDER BY t.started_at_utc DESC, t.turn_id DESC LIMIT ?
    """
    with reader.connect() as db:
        return [ConversationHead(*row) for row in db.execute(query, (owner, *(before or ()), limit))]


def head_of(reader: LogReader, conversation_id: str) -> ConversationHead | None:
    """One conversation as the list shows it; None if there is none (any more)."""
    query = """
        SELECT c.conversation_id, c.title, t.seq + 1, json_array_length(t.lanes), c.forked_from,
               t.started_at_utc, t.turn_id
        FROM conversations c JOIN turns t USING (conversation_id)
        WHERE c.conversation_id = ? ORDER BY t.started_at_utc DESC, t.turn_id DESC LIMIT 1
    """
    with reader.connect() as db:
        row = db.execute(query, (conversation_id,)).fetchone()
        return ConversationHead(*row) if row else None
