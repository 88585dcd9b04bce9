"""The child process of ``reading``, a script that runs under limits: a file on stdin, what is in it on stdout.

Arguments: the kind of file and its further limits. The answer's first line is
JSON, ``{"problem": …}`` where the file cannot be read; bytes may follow it.
"""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

NOT_TEXT = dict.fromkeys((*range(9), 11, *range(14, 32), 127)) | {9: " ", 12: "\n", 13: "\n"}
"""Control characters: fonts without a table of their characters yield them."""


def pdf(data: bytes, max_pages: int, max_chars: int) -> dict[str, object]:
    """``{"pages": [text or null, …]}``, null for a page that cannot be read; else the problem ``password``,
    ``damaged``, ``pages`` (with their number ``n``), ``chars`` or ``work``."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

    try:
        reader = PdfReader(io.BytesIO(data))
        n_pages = len(reader.pages)
    except (DependencyError, FileNotDecryptedError):  # the first: a cipher that only a further library knows
        return {"problem": "password"}
    except (LimitReachedError, RecursionError):
        return {"problem": "work"}
    except MemoryError:
        raise
    except Exception:
        return {"problem": "damaged"}
    if n_pages > max_pages:
        return {"problem": "pages", "n": n_pages}
    pages: list[str | None] = []
    n_chars = 0
    for place in range(n_pages):
        try:
            text = reader.pages[place].extract_text().translate(NOT_TEXT)
        except (LimitReachedError, RecursionError):
            return {"problem": "work"}
        except MemoryError:
            raise
        except Exception:  # this page alone
            pages.append(None)
            continue
        pages.append("\n".join(line.rstrip() for line in text.encode(errors="replace").decode().split("\n")).strip())
        n_chars += len(text)
        if n_chars > max_chars:
            return {"problem": "chars"}
    return {"pages": pages} if any(page is not None for page in pages) else {"problem": "damaged"}


def image(data: bytes, max_pixels: int, max_side: int, max_png: int) -> tuple[dict[str, object], bytes]:
    """A picture without its metadata, upright, with at most ``max_side`` pixels a side: JPEG for a JPEG file, otherwise
    PNG, or JPEG where that has more than ``max_png`` bytes.

    ``{"type", "width", "height", "was": [width, height], "frames"}``; else the problem ``damaged`` or ``pixels`` (with
    ``was``).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the check below comes before anything is unpacked
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF")) as found:
            was = found.size
            if was[0] * was[1] > max_pixels:
                return {"problem": "pixels", "was": was}, b""
            kind, frames = found.format, getattr(found, "n_frames", 1)
            picture: Image.Image = ImageOps.exif_transpose(found)
            if picture.mode not in ("RGB", "RGBA", "L", "LA"):
                picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except MemoryError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError):
        return {"problem": "damaged"}, b""
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    written = b"" if kind in ("JPEG", "MPO") else _written(picture, "PNG")
    media_type = "image/png"
    if not written or len(written) > max_png:
        written, media_type = _written(_on_white(picture), "JPEG", quality=92, optimize=True), "image/jpeg"
    return {"type": media_type, "width": picture.width, "height": picture.height, "was": was, "frames": frames}, written


def _written(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The pixels alone: what Pillow would pass on of the file (profile, EXIF, comments) is dropped."""
    from PIL import Image

    bare = Image.new(picture.mode, picture.size)
    bare.paste(picture)
    out = io.BytesIO()
    bare.save(out, kind, **options)
    return out.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    """JPEG has no transparency."""
    from PIL import Image

    if picture.mode not in ("RGBA", "LA"):
        return picture if picture.mode in ("RGB", "L") else picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture.convert("RGB"), mask=picture.getchannel("A"))
    return white


def main() -> None:
    kind, *limits = sys.argv[1:]
    data, rest = sys.stdin.buffer.read(), b""
    try:
        if kind == "pdf":
            answer = pdf(data, *map(int, limits))
        else:
            answer, rest = image(data, *map(int, limits))
    except MemoryError:
        answer = {"problem": "work"}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + rest)


if __name__ == "__main__":
    main()
