"""Image files as bytes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image as Pillow


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: Any) -> bytes:
    """A file whose left half is red and whose right half is another colour."""
    made = Pillow.new("RGBA", size, "red")
    made.paste((0, 0, 255, 128), (size[0] // 2, 0, *size))
    out = io.BytesIO()
    made.convert(mode).save(out, kind, **options)
    return out.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose head names this size."""
    data = bytearray(picture())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)
