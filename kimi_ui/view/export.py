"""Turns as a file to keep or pass on: Markdown to read, JSON to read back, one HTML page that replays by itself.

Each with or without reasoning. None holds a key, a base URL's user info, an owner or a path of this machine.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from ..core.portable import export_turns
from ..core.turn import TurnLog
from ..tokenizers import counter
from .export_markdown import markdown_of
from .export_page import page_of

EXPORTS = {"html": "text/html", "md": "text/markdown", "json": "application/json"}
MAX_NAME_CHARS = 60


class ExportFile(NamedTuple):
    """A file's name, what it is, and its bytes (UTF-8)."""

    name: str
    media_type: str
    data: bytes


def export(turns: Sequence[TurnLog], title: str, kind: str, *, reasoning: bool = True) -> ExportFile:
    """The file of these turns, which have ended, in order. ``kind`` is a word of ``EXPORTS``; raises ``KeyError``."""
    if kind == "json":
        document = export_turns(turns, title, counter, reasoning=reasoning)
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=True)  # ASCII: half a surrogate pair stays
    else:
        make = {"md": markdown_of, "html": page_of}[kind]
        text = make(turns, title, reasoning=reasoning)
    return ExportFile(file_name(title, kind), EXPORTS[kind], text.encode(errors="replace"))


def file_name(title: str, kind: str) -> str:
    """A name every file system takes: letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "-", plain)[:MAX_NAME_CHARS].strip("-").lower()
    return f"kimi-{words or 'export'}.{kind}"
