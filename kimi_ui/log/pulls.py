"""Pulls in the log: one row for each model at a server, its newest state."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from datetime import UTC, datetime

from ..core.pull import INTERRUPTED, RUNNING, SILENT_S, Pull
from .reader import LogReader
from .records import Op, clean

_COLUMNS = tuple(field.name for field in fields(Pull))


def pull_op(pull: Pull) -> Op:
    row = asdict(pull)
    return Op("pulls", {name: clean(value) if isinstance(value, str) else value for name, value in row.items()})


def stored_pulls(reader: LogReader, now: datetime | None = None) -> list[Pull]:
    """The newest state of each pull, the latest first. One that runs but was not written to for ``SILENT_S`` seconds
    ended with its process: it is ``interrupted``."""
    now = now or datetime.now(UTC)
    query = f"SELECT {', '.join(_COLUMNS)} FROM pulls ORDER BY updated_at_utc DESC, server, model"
    return [_as_of(Pull(*row), now) for row in reader.rows(query)]


def _as_of(pull: Pull, now: datetime) -> Pull:
    silent_s = (now - datetime.fromisoformat(pull.updated_at_utc)).total_seconds()
    if pull.state == RUNNING and silent_s > SILENT_S:
        return replace(pull, state=INTERRUPTED, bytes_per_s=None)
    return pull
