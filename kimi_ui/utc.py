"""UTC times as the log holds them: ISO 8601 with milliseconds, so that their texts sort like the times."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def now_text() -> str:
    return text(now())
