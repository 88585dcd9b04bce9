"""Users' budgets in the log: one row per change; a user's newest row counts."""

from __future__ import annotations

import uuid

from .. import utc
from ..core.budget import Budget
from .reader import LogReader
from .records import Op
from .store import owned
from .writer import LogWriter

REMEMBERED = 1000  # recently set budgets, whose rows may not be written yet


class BudgetLog:
    """Budgets by owner."""

    def __init__(self, writer: LogWriter, reader: LogReader) -> None:
        self._writer = writer
        self._reader = reader
        self._set: dict[str, Budget] = {}

    def of(self, owner: str) -> Budget:
        """A user's budget, without limits if none is set. Reads the log, so it may block."""
        if owner in self._set:
            return self._set[owner]
        query = f"SELECT day_usd, conversation_usd FROM budgets WHERE {owned(owner)} ORDER BY number DESC LIMIT 1"
        rows = self._reader.rows(query, owner=owner)
        return Budget(*rows[0]) if rows else Budget()

    def forget(self) -> None:
        """Read all budgets from the log again, where another process may have changed them."""
        self._set.clear()

    def keep(self, owner: str, budget: Budget) -> None:
        """Set a user's budget. Any thread may call this."""
        self._set[owner] = budget
        if len(self._set) > REMEMBERED:
            del self._set[next(iter(self._set))]
        row = {
            "change_id": uuid.uuid4().hex,
            "owner": owner,
            "changed_at_utc": utc.now_text(),
            **budget._asdict(),
        }
        self._writer.write([Op("budgets", row)])
