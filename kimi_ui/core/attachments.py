"""Text attachments: files read as text, folded into the prompt as fenced blocks, and extracted from it again.

The prompt is the only copy: one text is stored and sent, with the attachments before the typed text (models answer a
question better when it follows the material). ``split`` is the inverse of ``fold``, so the page, the history and an
export can show "notes.txt · ~98,400 tokens" without storing attachments separately. Sizes are bytes of the file,
lengths are characters. A PDF's text comes from ``kimi_ui.files``. Pure: independent of uploads and pages.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

MAX_FILE_BYTES = 3_000_000  # of text: about 750,000 tokens of English, three times the context of these models
MAX_PDF_BYTES = 30_000_000  # most of a PDF is fonts and pictures
MAX_PROMPT_CHARS = 3_000_000  # of a whole prompt, including attachments
NAME_CHARS = 120
CONTROL_SHARE = 0.02  # data with a larger share of control characters is not text in any encoding

_FENCE_RUN = re.compile(r"`{3,}")
_BLOCK = re.compile(r"Attached file: ([^\n]+)\n(`{3,})\n(.*?)\n\2\n\n", re.DOTALL)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_PAGE_LINE = re.compile(r"^\[Page \d+ of (\d+)(: [a-z ]+)?\]$", re.MULTILINE)
_MAGIC = (
    (b"PK\x03\x04", "a zip archive (also Word, Excel and PowerPoint files are)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"SQLite format 3\0", "a SQLite database"),
)


class AttachmentError(ValueError):
    """A file cannot be attached. The text is one sentence for the user, with the remedy."""


class Attachment(NamedTuple):
    """A file's name, safe to display, and its text."""

    name: str
    text: str


class Parts(NamedTuple):
    """A prompt split into the typed text and the attachments in order."""

    text: str
    attachments: tuple[Attachment, ...]


def read_attachment(name: str, data: bytes) -> Attachment:
    """Decode a file as text. Raises ``AttachmentError`` if it is too large, empty or not text.

    Encodings: UTF-8, UTF-16 (with a byte order mark, or recognised by its zero bytes), otherwise Windows-1252, which is
    how browsers read Latin-1. Line ends become line feeds; the byte order mark is removed.
    """
    name = clean_name(name)
    if len(data) > MAX_FILE_BYTES:
        raise too_large(name, len(data))
    text = _decode(name, data).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise AttachmentError(f"{name} is empty. Attach a file with text in it.")
    return Attachment(name, text)


def of_pages(name: str, pages: Sequence[str | None]) -> Attachment:
    """The attachment of a document by its pages' texts: each follows a line with its number, so that an answer can name
    the page. None: the page could not be read."""
    blocks = []
    for number, text in enumerate(pages, 1):
        what = ": could not be read" if text is None else "" if text else ": no text"
        blocks.append(f"[Page {number} of {len(pages)}{what}]\n" + (f"{text}\n" if text else ""))
    return Attachment(name, "\n".join(blocks))


def pages_of(attachment: Attachment) -> str:
    """How many pages a PDF has and how many of them without text, in words; empty for another file."""
    lines = _PAGE_LINE.findall(attachment.text) if attachment.name.lower().endswith(".pdf") else []
    if not lines:
        return ""
    n_pages, n_silent = len(lines), sum(bool(what) for _, what in lines)
    words = "1 page" if n_pages == 1 else f"{n_pages:,} pages"
    return f"{words}, {n_silent:,} without text" if n_silent else words


def too_large(name: str, n_bytes: int, limit: int = MAX_FILE_BYTES) -> AttachmentError:
    """The error for a file with more than ``limit`` bytes."""
    why = ", which is more than these models read at once" if limit == MAX_FILE_BYTES else ""
    return AttachmentError(
        f"{name} has {n_bytes / 1e6:.1f} MB; at most {limit / 1e6:.0f} MB can be attached{why}. "
        "Attach the part that matters."
    )


def clean_name(name: str) -> str:
    """A file name that is safe in a prompt line and on a page: no path, no control or direction characters."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(char for char in name if unicodedata.category(char)[0] != "C" and char not in "`\u2028\u2029")
    name = " ".join(name.split())
    return name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 13]}…{name[-12:]}"


def fold(text: str, attachments: Sequence[Attachment]) -> str:
    """Build the prompt: each attachment in a fence longer than any fence inside it, then the typed text.

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
    """Split a prompt into the typed text and its attachments: the inverse of ``fold``."""
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
    """Return ``text`` if it looks like text; a few control characters (form feed, escape) are allowed."""
    controls = sum(unicodedata.category(char) == "Cc" and char not in "\t\n\r\f\x1b" for char in text[:20_000])
    kind = next((what for magic, what in _MAGIC if data.startswith(magic)), "")
    if image := _other_image(name, data):
        raise AttachmentError(f"{name} is {image}, which models do not take. Save it as PNG or JPEG, and attach that.")
    if kind or "\0" in text or "\ufffd" in text[:20_000] or controls > CONTROL_SHARE * min(len(text), 20_000):
        raise AttachmentError(
            f"{name} is {kind or 'not a text file'}. Only text, PDF and images can be attached: copy the text out "
            "of it and paste it."
        )
    return text


def _other_image(name: str, data: bytes) -> str:
    """The kind of an image that cannot be attached; empty for other data. An SVG drawing may hold scripts."""
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "a BMP image"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "a TIFF image"
    if data[4:11] in (b"ftyphei", b"ftypmif", b"ftypavi"):
        return "a HEIC or AVIF image"
    is_svg = name.lower().endswith((".svg", ".svgz")) or data[:200].lstrip().lower().startswith(b"<svg")
    return "an SVG drawing" if is_svg else ""


def _utf16_without_mark(data: bytes) -> str:
    """UTF-16's byte order if every other byte at the beginning is mostly zero (Western text), otherwise empty."""
    start = data[:2000]
    if len(start) < 4 or len(data) % 2:
        return ""
    even, odd = start[0::2], start[1::2]
    if odd.count(0) > 0.7 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.7 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return ""
