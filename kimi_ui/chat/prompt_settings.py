"""The settings the next prompt is sent with: of its conversation, or, before the first prompt, of its visitor.

``of`` may read the log, so it belongs on a thread; a draft is set and read by one visitor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.conversation_settings import ConversationSettings
from ..log.conversation_settings import SettingsLog

if TYPE_CHECKING:
    from ..log.reader import LogReader
    from ..log.writer import LogWriter

MAX_DRAFTS = 1000  # visitors who have set something before their first prompt; the oldest are forgotten


class PromptSettings:
    """Settings by conversation, and drafts by visitor for a conversation that has not begun."""

    def __init__(self, writer: LogWriter, reader: LogReader) -> None:
        self._log = SettingsLog(writer, reader)
        self._drafts: dict[str, ConversationSettings] = {}

    def of(self, owner: str, conversation_id: str) -> ConversationSettings:
        """The settings of the conversation; the visitor's draft where the id is empty."""
        if conversation_id:
            return self._log.of(conversation_id)
        return self._drafts.get(owner, ConversationSettings())

    def set(self, owner: str, conversation_id: str, settings: ConversationSettings) -> None:
        """Set them for the next prompts. A visitor without a cookie has no draft."""
        if conversation_id:
            self._log.keep(conversation_id, settings)
        elif owner:
            self._drafts.pop(owner, None)
            self._drafts[owner] = settings
            if len(self._drafts) > MAX_DRAFTS:
                del self._drafts[next(iter(self._drafts))]

    def begin(self, owner: str, conversation_id: str, settings: ConversationSettings, is_new: bool) -> None:
        """A conversation has begun, or forked (not ``is_new``), with these settings: they are its own from here on."""
        if is_new:
            self._drafts.pop(owner, None)
        if settings != ConversationSettings():
            self._log.keep(conversation_id, settings)
