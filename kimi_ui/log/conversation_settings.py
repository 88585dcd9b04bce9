"""Settings of conversations in the log: one row per change; the newest counts.

Rows are never overwritten, so the log keeps the history of settings. They are deleted with their conversation. New
settings apply at once, even before the writer's thread has written them.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict

import orjson

from .. import utc
from ..core.conversation_settings import ConversationSettings, SettingsError, read
from .reader import LogReader
from .records import Op, clean, to_json
from .writer import LogWriter

REMEMBERED = 500  # conversations that are new, or whose settings were recently changed or read


class SettingsLog:
    """Settings by conversation."""

    def __init__(self, writer: LogWriter, reader: LogReader) -> None:
        self._writer = writer
        self._reader = reader
        self._known: OrderedDict[str, ConversationSettings] = OrderedDict()
        self._lock = threading.Lock()  # guards ``_known``, which all threads of the server use

    def of(self, conversation_id: str) -> ConversationSettings:
        """The settings of a conversation; defaults if none are set. Reads the log, so it may block."""
        with self._lock:
            known = self._known.get(conversation_id)
        return known or self._remember(conversation_id, self._read(conversation_id), is_new=False)

    def keep(self, conversation_id: str, settings: ConversationSettings) -> None:
        """Set a conversation's settings. Any thread may call this."""
        self._remember(conversation_id, settings, is_new=True)
        row = {
            "change_id": uuid.uuid4().hex,
            "conversation_id": conversation_id,
            "changed_at_utc": utc.now_text(),
            "settings": clean(to_json(settings.as_dict())),
        }
        self._writer.write([Op("conversation_settings", row)])

    def begin(self, conversation_id: str) -> None:
        """A new conversation has the defaults: there is nothing to read."""
        self._remember(conversation_id, ConversationSettings(), is_new=False)

    def forget(self) -> None:
        """Read all settings from the log again, where another process may have changed them."""
        with self._lock:
            self._known.clear()

    def _remember(self, conversation_id: str, settings: ConversationSettings, is_new: bool) -> ConversationSettings:
        """Cache settings and return the valid ones: settings from the log do not replace newer ones."""
        with self._lock:
            if not is_new:
                settings = self._known.get(conversation_id, settings)
            self._known[conversation_id] = settings
            self._known.move_to_end(conversation_id)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return settings

    def _read(self, conversation_id: str) -> ConversationSettings:
        query = "SELECT settings FROM conversation_settings WHERE conversation_id = :id ORDER BY number DESC LIMIT 1"
        rows = self._reader.rows(query, id=conversation_id)
        try:
            return read(orjson.loads(rows[0][0])) if rows else ConversationSettings()
        except (ValueError, SettingsError):
            return ConversationSettings()  # written by another version and unreadable
