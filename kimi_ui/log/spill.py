"""The spill file: rows that could not be written to the database, as JSON lines, so that none is lost."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import orjson

from .records import Op

BATCH_OPS = 500


def append_ops(path: Path, ops: Iterable[Op]) -> None:
    """Append ops as JSON lines and fsync. Raises ``OSError``; nothing is appended then."""
    lines = []
    for op in ops:
        row = dict(op.row)
        if isinstance(row.get("payload"), bytes):
            row["payload"] = {"base64": base64.b64encode(row["payload"]).decode()}
        lines.append(orjson.dumps({"table": op.table, "row": row}) + b"\n")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    size = os.fstat(descriptor).st_size
    try:
        data = b"".join(lines)
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)  # a partial line would damage the next one
        raise
    finally:
        os.close(descriptor)


def read_ops(path: Path) -> Iterator[Op]:
    """The ops of a spill file; an incomplete last line is ignored."""
    with path.open("rb") as lines:
        for line in lines:
            try:
                item = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            row = item["row"]
            if isinstance(row.get("payload"), dict):
                row["payload"] = base64.b64decode(row["payload"]["base64"])
            yield Op(item["table"], row)


def replay(path: Path, write: Callable[[list[Op]], None]) -> None:
    """Write a spill file's ops and remove it. If this raises (``OSError`` or from ``write``), the file stays."""
    ops = read_ops(path)
    while batch := list(islice(ops, BATCH_OPS)):
        write(batch)
    path.unlink()
