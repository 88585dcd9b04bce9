"""Attachments before sending: read when attached, kept in memory until the prompt is sent.

They belong to the visitor who attached them; their ids cannot be guessed. Memory is bounded: beyond the limit the
oldest are dropped, and sending then asks for the file again. Thread-safe.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from ..core.attachments import Attachment, AttachmentError

MAX_CHARS = 60_000_000  # all visitors together
MAX_IN_PROMPT = 20


class _Waiting(NamedTuple):
    owner: str
    attachment: Attachment


class Uploads:
    """Attachments by id."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._chars = 0
        self._lock = threading.Lock()

    def add(self, owner: str, attachment: Attachment) -> str:
        """Store an attachment and return its id."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._waiting[key] = _Waiting(owner, attachment)
            self._chars += len(attachment.text)
            while self._chars > MAX_CHARS and len(self._waiting) > 1:
                _, gone = self._waiting.popitem(last=False)
                self._chars -= len(gone.attachment.text)
        return key

    def of(self, owner: str, keys: Iterable[str]) -> list[Attachment]:
        """The visitor's attachments, in this order. Raises ``AttachmentError`` if one is missing or was dropped."""
        wanted = list(keys)
        if len(wanted) > MAX_IN_PROMPT:
            raise AttachmentError(f"{len(wanted)} files are attached; at most {MAX_IN_PROMPT} can be. Remove some.")
        with self._lock:
            found = [self._waiting.get(key) for key in wanted]
        attachments = [one.attachment for one in found if one is not None and one.owner == owner]
        if len(attachments) < len(wanted):
            raise AttachmentError("An attached file is no longer here. Remove it and attach it again.")
        return attachments

    def drop(self, owner: str, keys: Iterable[str]) -> None:
        """Drop attachments that were sent or removed. Ids of other visitors are ignored."""
        with self._lock:
            for key in keys:
                waiting = self._waiting.get(key)
                if waiting is not None and waiting.owner == owner:
                    del self._waiting[key]
                    self._chars -= len(waiting.attachment.text)
