"""Share links in the log: who has one's token may read a conversation, or one turn of it, until the link ends.

Only a hash of the token is stored. A link that is revoked has no row, nor has one whose conversation was erased; those
that are over are removed when the next one is made. Changes are refused while the log cannot be written: what the page
says about a link is what the log holds.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .. import utc
from .conversations import ConversationGone
from .reader import LogReader
from .sessions import hashed
from .store import Transaction
from .writer import LogWriter

_COLUMNS = "link_id, conversation_id, turn_id, reasoning, made_at_utc, ends_at_utc"


class ShareLink(NamedTuple):
    """A link that is not over, to a conversation that is not deleted.

    ``turn_id`` empty: it shows the whole conversation. Times are UTC.
    """

    link_id: str
    conversation_id: str
    turn_id: str
    reasoning: bool
    made_at_utc: str
    ends_at_utc: str


class ShareLog:
    """Share links. All methods may block, and raise ``LogError`` if the log cannot be used. ``now``: the UTC time."""

    def __init__(self, writer: LogWriter, reader: LogReader, now: Callable[[], datetime] = utc.now) -> None:
        self._writer = writer
        self._reader = reader
        self._now = now

    def make(self, conversation_id: str, turn_id: str, reasoning: bool, days: int) -> tuple[ShareLink, str]:
        """A new link that ends after ``days``, durable on return, and its token, which is the only copy.

        Raises ``ConversationGone`` if the conversation is not in the log, or marked as deleted.
        """
        token, now = secrets.token_urlsafe(32), self._now()
        ends_at = now + timedelta(days=days)
        link = ShareLink(uuid.uuid4().hex, conversation_id, turn_id, reasoning, utc.text(now), utc.text(ends_at))

        def change(log: Transaction) -> set[str]:
            there = "SELECT 1 FROM conversations WHERE conversation_id = :id AND deleted_at_utc IS NULL"
            if next(log.rows(there, id=conversation_id), None) is None:
                raise ConversationGone(conversation_id)
            log.execute("DELETE FROM share_links WHERE ends_at_utc <= :now", now=utc.text(now))
            insert = f"""
                INSERT INTO share_links ({_COLUMNS}, token_hash) VALUES
                (:link_id, :conversation_id, :turn_id, :reasoning, :made_at_utc, :ends_at_utc, :token_hash)
            """
            log.execute(insert, **{**link._asdict(), "reasoning": int(reasoning)}, token_hash=hashed(token))
            return set()

        self._writer.change(change).result()
        return link, token

    def of_token(self, token: str) -> ShareLink | None:
        """The link with this token; None if there is none or it is over."""
        return self._one("token_hash = :value", hashed(token))

    def of_id(self, link_id: str) -> ShareLink | None:
        return self._one("link_id = :value", link_id)

    def of_conversation(self, conversation_id: str) -> list[ShareLink]:
        """The links to a conversation and to its turns, newest first."""
        return self._links("conversation_id = :value", conversation_id)

    def revoke(self, link_id: str) -> None:
        """The link shows nothing from the return on."""

        def change(log: Transaction) -> set[str]:
            log.execute("DELETE FROM share_links WHERE link_id = :id", id=link_id)
            return set()

        self._writer.change(change).result()

    def _one(self, condition: str, value: str) -> ShareLink | None:
        return next(iter(self._links(condition, value)), None)

    def _links(self, condition: str, value: str) -> list[ShareLink]:
        query = f"""
            SELECT {_COLUMNS} FROM share_links WHERE {condition} AND ends_at_utc > :now
            AND conversation_id IN (SELECT conversation_id FROM conversations WHERE deleted_at_utc IS NULL)
            ORDER BY made_at_utc DESC, link_id
        """
        return [_link(*row) for row in self._reader.rows(query, value=value, now=utc.text(self._now()))]


def _link(*row: Any) -> ShareLink:
    link = ShareLink(*row)
    return link._replace(reasoning=bool(link.reasoning))
