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
from ..core.images import MAX_IMAGES, MAX_PROMPT_IMAGE_BYTES, Image

MAX_SIZE = 100_000_000  # characters and bytes of all visitors together
MAX_IN_PROMPT = 20


class _Waiting(NamedTuple):
    owner: str
    attachment: Attachment | Image

    @property
    def size(self) -> int:
        return len(self.attachment.data if isinstance(self.attachment, Image) else self.attachment.text)


class Uploads:
    """Attachments by id."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, owner: str, attachment: Attachment | Image) -> str:
        """Store an attachment and return its id."""
        key = secrets.token_urlsafe(16)
        waiting = _Waiting(owner, attachment)
        with self._lock:
            self._waiting[key] = waiting
            self._size += waiting.size
            while self._size > MAX_SIZE and len(self._waiting) > 1:
                _, gone = self._waiting.popitem(last=False)
                self._size -= gone.size
        return key

    def of(self, owner: str, keys: Iterable[str]) -> tuple[list[Attachment], list[Image]]:
        """The visitor's texts and images, in this order.

        Raises ``AttachmentError`` if one is missing or was dropped, or if they are more than a prompt takes.
        """
        wanted = list(keys)
        if len(wanted) > MAX_IN_PROMPT:
            raise AttachmentError(f"{len(wanted)} files are attached; at most {MAX_IN_PROMPT} can be. Remove some.")
        with self._lock:
            found = [self._waiting.get(key) for key in wanted]
        attachments = [one.attachment for one in found if one is not None and one.owner == owner]
        if len(attachments) < len(wanted):
            raise AttachmentError("An attached file is no longer here. Remove it and attach it again.")
        images = [one for one in attachments if isinstance(one, Image)]
        if len(images) > MAX_IMAGES or sum(one.n_bytes for one in images) > MAX_PROMPT_IMAGE_BYTES:
            most = f"{MAX_IMAGES} images with {MAX_PROMPT_IMAGE_BYTES / 1e6:g} MB in all"
            raise AttachmentError(f"A prompt takes at most {most}. Remove some.")
        return [one for one in attachments if isinstance(one, Attachment)], images

    def drop(self, owner: str, keys: Iterable[str]) -> None:
        """Drop attachments that were sent or removed. Ids of other visitors are ignored."""
        with self._lock:
            for key in keys:
                waiting = self._waiting.get(key)
                if waiting is not None and waiting.owner == owner:
                    del self._waiting[key]
                    self._size -= waiting.size
