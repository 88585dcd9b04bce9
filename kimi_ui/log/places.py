"""Where a log is: an SQLite file or a PostgreSQL database, and the store of each."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from ..core.database_url import DatabaseUrl
from .sqlite.source import Source as SqliteSource
from .sqlite.store import Store as SqliteStore
from .store import LogError, Source, Store

Place: TypeAlias = Path | DatabaseUrl


def store_at(place: Place, boot_id: str, replaces_unusable: bool) -> Store:
    """The store for writing the log at that place, as the process ``boot_id``. Raises ``LogError``."""
    if isinstance(place, Path):
        return SqliteStore(place, boot_id, replaces_unusable)
    try:
        from .postgres.store import Store as PostgresStore
    except ImportError as error:
        raise _no_driver(error) from error
    return PostgresStore(place, boot_id)


def source_at(place: Place) -> Source:
    """For reading the log at that place. Raises ``LogError``."""
    if isinstance(place, Path):
        return SqliteSource(place)
    try:
        from .postgres.source import Source as PostgresSource
    except ImportError as error:
        raise _no_driver(error) from error
    return PostgresSource(place)


def _no_driver(error: ImportError) -> LogError:
    """``ImportError``: the package is missing, or libpq for it."""
    if not (error.name or "psycopg").startswith("psycopg"):
        raise error
    return LogError(
        "A log in PostgreSQL needs the package psycopg, which is not installed here.",
        'Run: pip install "psycopg[binary]"; or name a file with --db.',
    )
