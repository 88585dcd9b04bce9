"""Export of turns: Markdown to read, JSON to import again, or a self-contained HTML page with the replay.

Each comes with or without reasoning. No export contains a key, a base URL's user info, an owner or a path of this
machine.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import NamedTuple

from ..core.portable import export_turns
from ..core.turn import TurnLog
from ..tokenizers import counter
from .export_markdown import markdown_of
from .export_page import page_of

EXPORTS = {"html": "text/html", "md": "text/markdown", "json": "application/json"}
MAX_NAME_CHARS = 60


class ExportFile(NamedTuple):
    """A file's name, media type and bytes (UTF-8)."""

    name: str
    media_type: str
    data: bytes


def export(turns: Sequence[TurnLog], title: str, kind: str, *, reasoning: bool = True) -> ExportFile:
    """These turns, which must have ended, as a file. Raises ``KeyError`` if ``kind`` is not a key of ``EXPORTS``."""
    if kind == "json":
        document = export_turns(turns, title, counter, reasoning=reasoning)
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=True)  # escapes lone surrogates
    else:
        make = {"md": markdown_of, "html": page_of}[kind]
        text = make(turns, title, reasoning=reasoning)
    return ExportFile(file_name(title, kind), EXPORTS[kind], text.encode(errors="replace"))


def file_name(title: str, kind: str) -> str:
    """A file name valid on every file system: letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "-", plain)[:MAX_NAME_CHARS].strip("-").lower()
    return f"kimi-{words or 'export'}.{kind}"


def zipped(files: Iterable[ExportFile], title: str) -> ExportFile:
    """The files as one ZIP archive; names that several files have are numbered."""
    data = io.BytesIO()
    taken: set[str] = set()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            stem, dot, kind = file.name.rpartition(".")
            names = chain([file.name], (f"{stem}-{number}{dot}{kind}" for number in count(2)))
            name = next(name for name in names if name not in taken)
            taken.add(name)
            archive.writestr(name, file.data)
    return ExportFile(file_name(title, "zip"), "application/zip", data.getvalue())
