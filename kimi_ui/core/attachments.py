"""Text attachments: files read as text, folded into the prompt as fenced blocks, and found in it again.

The prompt is the truth: what is stored and sent is one text, the attachments before what was typed (models answer a
question better when it follows the material). ``split`` is the inverse of ``fold``, so page, history and export show
"notes.txt · ~98,400 tokens" without keeping an attachment anywhere else. Sizes are bytes of the file, lengths
characters. Pure: knows nothing of uploads and pages.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

MAX_FILE_BYTES = 3_000_000  # some 750,000 tokens of English: three times what these models read
MAX_PROMPT_CHARS = 3_000_000  # of a whole prompt, attachments included
NAME_CHARS = 120
CONTROL_SHARE = 0.02  # more control characters than this share are not text in any encoding

_FENCE_RUN = re.compile(r"`{3,}")
_BLOCK = re.compile(r"Attached file: ([^\n]+)\n(`{3,})\n(.*?)\n\2\n\n", re.DOTALL)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_MAGIC = (
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PK\x03\x04", "a zip archive (also Word, Excel and PowerPoint files are)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"SQLite format 3\0", "a SQLite database"),
)


class AttachmentError(ValueError):
    """A file that cannot be attached. The text is one sentence for the person, with what to do."""


class Attachment(NamedTuple):
    """A file's name, as it may be shown, and its text."""

    name: str
    text: str


class Parts(NamedTuple):
    """A prompt taken apart: what was typed, and the attachments in order."""

    text: str
    attachments: tuple[Attachment, ...]


def read_attachment(name: str, data: bytes) -> Attachment:
    """The file as text. Raises ``AttachmentError`` for one that is too large, empty or not text.

    UTF-8, UTF-16 (with a mark, or told by its zero bytes) and, for what is neither, Windows-1252, which is how the
    web reads Latin-1. Line ends become line feeds; the byte order mark goes.
    """
    name = clean_name(name)
    if len(data) > MAX_FILE_BYTES:
        raise too_large(name, len(data))
    text = _decode(name, data).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise AttachmentError(f"{name} is empty. Attach a file with text in it.")
    return Attachment(name, text)


def too_large(name: str, n_bytes: int) -> AttachmentError:
    """What to say of a file with more than ``MAX_FILE_BYTES``."""
    return AttachmentError(
        f"{name} has {n_bytes / 1e6:.1f} MB; at most {MAX_FILE_BYTES / 1e6:.0f} MB can be attached, "
        "which is more than these models read at once. Attach the part that matters."
    )


def clean_name(name: str) -> str:
    """A file name that is safe in a line of a prompt and in a page: no path, no control or direction characters."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(char for char in name if unicodedata.category(char)[0] != "C" and char not in "`\u2028\u2029")
    name = " ".join(name.split())
    return name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 13]}…{name[-12:]}"


def fold(text: str, attachments: Sequence[Attachment]) -> str:
    """The prompt: each attachment in a fence longer than any inside it, then what was typed.

    Raises ``AttachmentError`` if the whole is longer than ``MAX_PROMPT_CHARS``.
    """
    prompt = "".join(_block(attachment) for attachment in attachments) + text
    if len(prompt) > MAX_PROMPT_CHARS:
        raise AttachmentError(
            f"The prompt has {len(prompt):,} characters with its attachments; at most {MAX_PROMPT_CHARS:,} can be "
            "sent. Take an attachment out, or attach the part that matters."
        )
    return prompt


def split(prompt: str) -> Parts:
    """What was typed and what was attached: ``split(fold(text, attachments))`` gives both back."""
    attachments: list[Attachment] = []
    position = 0
    while block := _BLOCK.match(prompt, position):
        attachments.append(Attachment(block[1], block[3]))
        position = block.end()
    return Parts(prompt[position:], tuple(attachments))


def _block(attachment: Attachment) -> str:
    longest = max((len(run) for run in _FENCE_RUN.findall(attachment.text)), default=2)
    fence = "`" * (longest + 1)
    return f"Attached file: {clean_name(attachment.name) or 'file'}\n{fence}\n{attachment.text}\n{fence}\n\n"


def _decode(name: str, data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _text(name, data, data[len(mark) :].decode(encoding, errors="replace"))
    if encoding := _utf16_without_mark(data):
        return _text(name, data, data.decode(encoding, errors="replace"))
    try:
        return _text(name, data, data.decode("utf-8"))
    except UnicodeDecodeError:
        # The five bytes Windows-1252 leaves open are control characters in Latin-1.
        return _text(name, data, data.decode("cp1252", errors="ignore"))


def _text(name: str, data: bytes, text: str) -> str:
    """``text``, if it reads like text; a control character here and there (form feed, escape) is let through."""
    controls = sum(unicodedata.category(char) == "Cc" and char not in "\t\n\r\f\x1b" for char in text[:20_000])
    kind = next((what for magic, what in _MAGIC if data.startswith(magic)), "")
    if kind or "\0" in text or "\ufffd" in text[:20_000] or controls > CONTROL_SHARE * min(len(text), 20_000):
        raise AttachmentError(
            f"{name} is {kind or 'not a text file'}. Only text can be attached: copy the text out of it and paste it."
        )
    return text


def _utf16_without_mark(data: bytes) -> str:
    """UTF-16's byte order, if every other byte of the beginning is mostly zero (Western text); else empty."""
    start = data[:2000]
    if len(start) < 4 or len(data) % 2:
        return ""
    even, odd = start[0::2], start[1::2]
    if odd.count(0) > 0.7 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.7 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return ""
