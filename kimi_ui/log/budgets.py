"""Users' budgets in the log: one row per change; a user's newest row counts.

Every prompt that is sent needs one, so all are read together and remembered for a while.
"""

from __future__ import annotations

import math
import threading
import time
import uuid

from .. import utc
from ..core.budget import Budget
from ..core.owner import LOCAL
from .reader import LogReader
from .records import Op
from .writer import LogWriter

REMEMBERED = 1000  # recently set budgets, whose rows may not be written yet
READ_FOR_S = 30.0  # then they are read again: another process may write to this log too


class BudgetLog:
    """Budgets by owner."""

    def __init__(self, writer: LogWriter, reader: LogReader) -> None:
        self._writer = writer
        self._reader = reader
        self._set: dict[str, Budget] = {}  # here
        self._known: dict[str, Budget] = {}  # read and set, in the order in which they were set
        self._read_s = -math.inf
        self._lock = threading.Lock()  # guards the three

    def of(self, owner: str) -> Budget:
        """A user's budget, without limits if none is set. May read the log, so it may block."""
        with self._lock:
            if time.monotonic() - self._read_s > READ_FOR_S:
                query = "SELECT owner, day_usd, conversation_usd FROM budgets ORDER BY number"
                stored = [(whose, Budget(*limits)) for whose, *limits in self._reader.rows(query)]
                self._known = {}
                for whose, budget in (*stored, *self._set.items()):
                    _put(self._known, whose, budget)
                self._read_s = time.monotonic()
            newest = next(reversed(self._known.values()), Budget())
            return newest if owner == LOCAL else self._known.get(owner, Budget())

    def forget(self) -> None:
        """Read all budgets from the log again, where another process may have changed them."""
        with self._lock:
            self._set.clear()
            self._read_s = -math.inf

    def keep(self, owner: str, budget: Budget) -> None:
        """Set a user's budget. Any thread may call this."""
        with self._lock:
            _put(self._set, owner, budget)
            _put(self._known, owner, budget)
            if len(self._set) > REMEMBERED:
                del self._set[next(iter(self._set))]
        row = {
            "change_id": uuid.uuid4().hex,
            "owner": owner,
            "changed_at_utc": utc.now_text(),
            **budget._asdict(),
        }
        self._writer.write([Op("budgets", row)])


def _put(budgets: dict[str, Budget], owner: str, budget: Budget) -> None:
    """Make it the newest."""
    budgets.pop(owner, None)
    budgets[owner] = budget
