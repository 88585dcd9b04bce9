"""The measured attempts as files: CSV and JSON lines of the view ``attempt_metrics``, written as they are read.

Files have all columns of the view, preceded by ``left_out`` (the reason why figures exclude the attempt, or empty).
Attempts of blind turns without a vote are omitted, because they would identify the lanes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice

import orjson

from ..log.reader import LogReader
from .sample import SHOWN, Filters

_ROWS = 500


def csv_lines(reader: LogReader, filters: Filters) -> Iterator[str]:
    """CSV with a header, some hundred lines at a time. Escapes text that a spreadsheet reads as a formula."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for names, rows in _batches(reader, filters):
        writer.writerows([_harmless(value) for value in row] for row in (rows or [names]))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def json_lines(reader: LogReader, filters: Filters) -> Iterator[bytes]:
    """One JSON object a line, some hundred at a time."""
    for names, rows in _batches(reader, filters):
        yield b"".join(orjson.dumps(dict(zip(names, row, strict=True))) + b"\n" for row in rows)


def _batches(reader: LogReader, filters: Filters) -> Iterator[tuple[list[str], list[Sequence[object]]]]:
    """The column names with an empty batch, then with each batch of rows."""
    chosen, values = filters.chosen()
    query = f"""
        SELECT c.reason AS left_out, m.* FROM ({chosen}) AS c JOIN attempt_metrics m ON m.attempt_id = c.attempt_id
        WHERE {SHOWN} ORDER BY c.number
    """
    with reader.snapshot() as log:
        names = ["left_out", *log.columns("attempt_metrics")]
        yield names, []
        rows = log.rows(query, **values)
        while batch := list[Sequence[object]](islice(rows, _ROWS)):
            yield names, batch


def _harmless(value: object) -> object:
    """Escape formulas: a model's name from a server, like ``=HYPERLINK(…)``, would run in a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
