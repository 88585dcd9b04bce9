"""Attached images as values: what a turn keeps of each, its form in a request, and the note in its place for a model
that takes no images.

``kimi_ui.files`` has made them: PNG or JPEG, without metadata. A turn names its images by the SHA-256 of their bytes,
so that the log holds the same image once. Pure.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

MAX_IMAGES = 10  # of a prompt
MAX_IMAGE_BYTES = 30_000_000  # of a file as it is attached
MAX_STORED_BYTES = 8_000_000  # of an image as it is kept: at most 2,048 pixels a side
MAX_PROMPT_IMAGE_BYTES = 20_000_000  # of all images of a prompt, as they are kept
MAX_SIDE = 2048  # pixels; larger ones are made smaller, as providers do

_MAGIC = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


class Image(NamedTuple):
    """One image. Width and height in pixels. ``data`` is empty where only the log has it."""

    sha256: str
    name: str
    media_type: str
    width: int
    height: int
    n_bytes: int
    data: bytes = b""

    @property
    def size_words(self) -> str:
        return f"{self.width:,} × {self.height:,} pixels"

    @property
    def words(self) -> str:
        return f"{self.name} ({self.size_words})"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode()

    @property
    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{self.base64}"

    def described(self) -> dict[str, Any]:
        """As JSON, without the bytes."""
        return {name: value for name, value in self._asdict().items() if name != "data"}


def image_of(name: str, media_type: str, width: int, height: int, data: bytes) -> Image:
    """The image of these bytes. Raises ``ValueError`` for a type that is not kept or other bytes than it says."""
    if not data.startswith(_MAGIC.get(media_type, b"\0none")):
        raise ValueError(f"{media_type} is not what the bytes of {name} are")
    if len(data) > MAX_STORED_BYTES or not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"{name} is larger than an image that is kept")
    return Image(hashlib.sha256(data).hexdigest(), name, media_type, width, height, len(data), data)


def in_place_of(images: Sequence[Image], text: str, why: str) -> str:
    """The text of a message without its images: a line for each says that there was one. ``why`` completes "it was not
    sent to you: …"."""
    notes = "".join(f"[Attached image: {one.words}; it was not sent to you: {why}]\n" for one in images)
    return f"{notes}\n{text}" if text else notes.rstrip()
