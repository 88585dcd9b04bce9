"""What is in a file that a person attaches: the text of a text file, the text of a PDF page by page, or an image.

A PDF is a program of sorts: a file of 1 kB may unpack to gigabytes or draw itself for ever. So neither PDFs nor images
are read in this process: the child has limits of CPU time, wall-clock time and memory, and what it cannot read within
them is refused with the remedy. pypdf and Pillow read them; text files are decoded here.

An image is encoded again, upright, as PNG or JPEG, which all providers take. So it has no metadata (place, camera,
time) and nothing that only looks like an image, is one picture where the file is an animation, and has at most
``images.MAX_SIDE`` pixels a side.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

from ..core.attachments import (
    MAX_PDF_BYTES,
    MAX_PROMPT_CHARS,
    Attachment,
    AttachmentError,
    clean_name,
    of_pages,
    pages_of,
    read_attachment,
    too_large,
)
from ..core.images import MAX_IMAGE_BYTES, MAX_SIDE, Image, image_of
from ..limited import command

CHILD = Path(__file__).with_name("child.py")


class Limits(NamedTuple):
    """Of one file. ``cpu_s`` is the child's own time and ``deadline_s`` that of a clock, which a busy machine needs."""

    pages: int = 2000
    chars: int = MAX_PROMPT_CHARS
    pixels: int = 50_000_000
    png: int = 3_000_000  # bytes; a longer image is kept as JPEG
    cpu_s: int = 30
    deadline_s: float = 90.0
    memory_mb: int = 1000


LIMITS = Limits()

_AGAIN = "Print it to a new PDF in a viewer, and attach that."
_PART = "Attach the part that matters."


def is_pdf(data: bytes) -> bool:
    """Whether a file says that it is a PDF; some writers put blanks before that."""
    return data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-")


def is_image(data: bytes) -> bool:
    """Whether a file begins like a PNG, JPEG, GIF or WebP image."""
    return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")) or (data[:4], data[8:12]) == (b"RIFF", b"WEBP")


async def read_file(name: str, data: bytes, limits: Limits = LIMITS) -> tuple[Attachment | Image, str]:
    """What is in the file, and in words how much of it. Raises ``AttachmentError``. Cancelled, it ends the child."""
    name = clean_name(name) or "file"
    if is_image(data):
        return await _image(name, data, limits)
    read = await (_pdf(name, data, limits) if is_pdf(data) else asyncio.to_thread(read_attachment, name, data))
    return read, pages_of(read)


async def _image(name: str, data: bytes, limits: Limits) -> tuple[Image, str]:
    if len(data) > MAX_IMAGE_BYTES:
        raise too_large(name, len(data), MAX_IMAGE_BYTES)
    answer, written = await _asked(data, limits, "image", limits.pixels, MAX_SIDE, limits.png)
    match answer:
        case {
            "type": str(kind),
            "width": int(width),
            "height": int(height),
            "was": [was_wide, was_high],
            "frames": frames,
        }:
            image = image_of(name, kind, width, height, written)
        case {"problem": "pixels", "was": [wide, high]}:
            most = f"{limits.pixels / 1e6:g} million pixels"
            raise AttachmentError(f"{name} has {wide:,} × {high:,} pixels, more than {most}. Make it smaller.")
        case _:
            raise AttachmentError(f"{name} is damaged and cannot be read as an image. Save it again as PNG or JPEG.")
    words = [f"{width:,} × {height:,} pixels"]
    if max(was_wide, was_high) > MAX_SIDE:
        words.append(f"made smaller from {was_wide:,} × {was_high:,}")
    if frames > 1:
        words.append(f"the first of {frames:,} frames")
    return image, ", ".join(words)


async def _pdf(name: str, data: bytes, limits: Limits) -> Attachment:
    """The text with the number of each page."""
    if len(data) > MAX_PDF_BYTES:
        raise too_large(name, len(data), MAX_PDF_BYTES)
    answer, _ = await _asked(data, limits, "pdf", limits.pages, limits.chars)
    pages = answer.get("pages")
    if not isinstance(pages, list):
        raise AttachmentError(_refused_pdf(name, answer, limits))
    if not any(pages):
        what = "its page is a picture" if len(pages) == 1 else f"its {len(pages)} pages are pictures"
        raise AttachmentError(
            f"{name} has no text: {what}, as from a scanner. Run text recognition (OCR) on it, then attach it."
        )
    return of_pages(name, pages)


def _refused_pdf(name: str, answer: dict[str, Any], limits: Limits) -> str:
    match answer.get("problem"):
        case "password":
            return f"{name} is encrypted and needs a password. Save a copy without a password and attach that."
        case "pages":
            return f"{name} has {answer.get('n'):,} pages; at most {limits.pages:,} are read. {_PART}"
        case "chars":
            return f"{name} has more than {limits.chars:,} characters, the most that can be sent at once. {_PART}"
        case "damaged":
            return f"{name} is damaged and cannot be read as a PDF. {_AGAIN}"
        case _:
            return (
                f"{name} cannot be read within {limits.cpu_s} s and {limits.memory_mb / 1000:g} GB of memory: it may "
                f"be damaged, or be made to unpack without end. {_AGAIN}"
            )


async def _asked(data: bytes, limits: Limits, kind: str, *numbers: int) -> tuple[dict[str, Any], bytes]:
    """The child's answer, and the bytes that follow it; the problem ``work`` if it was ended by a limit."""
    process = await asyncio.create_subprocess_exec(
        *command(CHILD, limits.cpu_s, limits.memory_mb * 1_000_000, kind, *numbers),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(limits.deadline_s):
            written, _ = await process.communicate(data)
    except (TimeoutError, OSError):
        written = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    line, _, rest = written.partition(b"\n")
    try:
        answer = json.loads(line)
    except ValueError:
        answer = {"problem": "work"}
    return answer, rest
