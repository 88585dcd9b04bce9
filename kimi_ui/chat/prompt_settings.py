"""The settings for the next prompt: those of the conversation or, before its first prompt, the visitor's draft.

``of`` may read the log, so call it on a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.conversation_settings import ConversationSettings
from ..log.conversation_settings import SettingsLog

if TYPE_CHECKING:
    from ..log.reader import LogReader
    from ..log.writer import LogWriter

MAX_DRAFTS = 1000  # visitors with settings before their first prompt; the oldest are dropped


class PromptSettings:
    """Settings by conversation, and drafts by visitor for the next conversation."""

    def __init__(self, writer: LogWriter, reader: LogReader) -> None:
        self._log = SettingsLog(writer, reader)
        self._drafts: dict[str, ConversationSettings] = {}

    def of(self, owner: str, conversation_id: str) -> ConversationSettings:
        """The settings of the conversation; the visitor's draft if the id is empty."""
        if conversation_id:
            return self._log.of(conversation_id)
        return self._drafts.get(owner, ConversationSettings())

    def set(self, owner: str, conversation_id: str, settings: ConversationSettings) -> None:
        """Set the settings for the next prompts. A visitor without a cookie has no draft."""
        if conversation_id:
            self._log.keep(conversation_id, settings)
        elif owner:
            self._drafts.pop(owner, None)
            self._drafts[owner] = settings
            if len(self._drafts) > MAX_DRAFTS:
                del self._drafts[next(iter(self._drafts))]

    def forget(self, owner: str | None) -> None:
        """Another process may have newer settings: drop the owner's draft, and read the others again."""
        self._log.forget()
        if owner is not None:
            self._drafts.pop(owner, None)

    def begin(self, owner: str, conversation_id: str, settings: ConversationSettings, is_new: bool) -> None:
        """Store the settings of a new conversation or, without ``is_new``, of a fork."""
        if is_new:
            self._drafts.pop(owner, None)
        if settings != ConversationSettings():
            self._log.keep(conversation_id, settings)
        else:
            self._log.begin(conversation_id)
