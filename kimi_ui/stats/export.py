"""The measured attempts as files: CSV and JSON lines of the view ``attempt_metrics``, written as they are read.

Files have all columns of the view, preceded by ``left_out`` (the reason why figures exclude the attempt, or empty),
``conversation_title`` and ``prompt`` (as typed, with the names of its attachments), both empty if the turn is
another user's. Attempts of blind turns without a vote are omitted, because they would identify the lanes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice

import orjson

from ..core.attachments import split
from ..log.reader import LogReader
from .sample import SHOWN, Filters, readable

_ROWS = 500


def csv_lines(reader: LogReader, filters: Filters, viewer: str = "") -> Iterator[str]:
    """CSV with a header, some hundred lines at a time. Escapes text that a spreadsheet reads as a formula.

    ``viewer``: the user whose prompts and titles the file may contain.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for names, rows in _batches(reader, filters, viewer):
        writer.writerows([harmless(value) for value in row] for row in (rows or [names]))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def json_lines(reader: LogReader, filters: Filters, viewer: str = "") -> Iterator[bytes]:
    """One JSON object a line, some hundred at a time. ``viewer`` as in ``csv_lines``."""
    for names, rows in _batches(reader, filters, viewer):
        yield b"".join(orjson.dumps(dict(zip(names, row, strict=True))) + b"\n" for row in rows)


def _batches(reader: LogReader, filters: Filters, viewer: str) -> Iterator[tuple[list[str], list[Sequence[object]]]]:
    """The column names with an empty batch, then with each batch of rows."""
    chosen, values = filters.chosen()
    may_read = readable(viewer, "t.owner")
    query = f"""
        SELECT c.reason AS left_out,
            CASE WHEN {may_read} THEN conversations.title END AS conversation_title,
            CASE WHEN {may_read} THEN t.prompt END AS prompt, m.*
        FROM ({chosen}) AS c JOIN attempt_metrics m ON m.attempt_id = c.attempt_id JOIN turns t ON t.turn_id = m.turn_id
            JOIN conversations ON conversations.conversation_id = t.conversation_id
        WHERE {SHOWN} ORDER BY c.number
    """
    with reader.snapshot() as log:
        names = ["left_out", "conversation_title", "prompt", *log.columns("attempt_metrics")]
        yield names, []
        rows = log.rows(query, **values, viewer=viewer)
        while batch := list(islice(rows, _ROWS)):
            yield names, [(reason, title, prompt and _typed(prompt), *rest) for reason, title, prompt, *rest in batch]


def _typed(prompt: str) -> str:
    """The prompt without the texts of its attachments, which would be repeated for every attempt."""
    typed, attachments = split(prompt)
    return "\n".join([typed, *(f"[{attachment.name}]" for attachment in attachments)])


def harmless(value: object) -> object:
    """Escape formulas: a model's name from a server, like ``=HYPERLINK(…)``, would run in a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
