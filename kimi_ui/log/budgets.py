"""People's budgets in the log: one row for every change, the newest of a person counts."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from ..core.budget import Budget
from .reader import LogReader
from .records import Op
from .writer import LogWriter

REMEMBERED = 1000  # budgets set lately: their rows may still be on their way into the log


class BudgetLog:
    """Budgets by owner."""

    def __init__(self, writer: LogWriter, reader: LogReader) -> None:
        self._writer = writer
        self._reader = reader
        self._set: dict[str, Budget] = {}

    def of(self, owner: str) -> Budget:
        """A person's budget; no limits where none was set. Reads the log, so it may block."""
        if owner in self._set:
            return self._set[owner]
        query = "SELECT day_usd, conversation_usd FROM budgets WHERE owner = :owner ORDER BY number DESC LIMIT 1"
        rows = self._reader.rows(query, owner=owner)
        return Budget(*rows[0]) if rows else Budget()

    def keep(self, owner: str, budget: Budget) -> None:
        """Set it, from any thread."""
        self._set[owner] = budget
        if len(self._set) > REMEMBERED:
            del self._set[next(iter(self._set))]
        row = {
            "change_id": uuid.uuid4().hex,
            "owner": owner,
            "changed_at_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **budget._asdict(),
        }
        self._writer.write([Op("budgets", row)])
