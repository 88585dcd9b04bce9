"""A user's spending today and per conversation, and the question before a turn that would exceed a budget.

"Today" is the UTC day and covers all of the user's conversations; a conversation includes the other versions of its
edited prompts. Programs have no owner; together they count as one user with the server's budget. All methods read the
log and may count long texts, so call them on a thread, not on an event loop.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..core.branches import tree
from ..core.budget import Budget, Limit, Spent, question
from ..core.estimate import Total, together
from ..log.budgets import BudgetLog
from ..log.costs import spent_on, spent_on_day
from ..turns import Turns
from .estimates import Estimates

SETTLE_S = 2.0  # longest wait for the writer before reading the log
Sent = TypeVar("Sent")


class OverBudget(ValueError):
    """Sending would exceed a budget. The message is the question for the user; nothing was sent."""


class Spending:
    """Sums and budgets of the turns so far.

    ``budget_usd``: the daily limit of a user who has set none; None: no limit.
    """

    def __init__(self, turns: Turns, estimates: Estimates, budget_usd: float | None = None) -> None:
        self.budget_usd = budget_usd
        self._turns = turns
        self._estimates = estimates
        self._budgets = BudgetLog(turns.writer, turns.reader)
        self._lock = threading.Lock()

    def budget(self, owner: str) -> Budget:
        """The user's own limits; a limit that is not set is None."""
        return self._budgets.of(owner) if owner else Budget()

    def set_budget(self, owner: str, budget: Budget) -> None:
        self._budgets.keep(owner, budget)

    def forget_budgets(self) -> None:
        """Another process may have newer budgets."""
        self._settle()
        self._budgets.forget()

    def totals(self, owner: str, conversation_id: str) -> dict[str, Any]:
        """As JSON: ``today`` and ``conversation`` (None before it begins), each with its ``limit_usd`` or None."""
        self._settle()
        own = self.budget(owner)
        today = self._today(owner) if owner else Spent()
        return {
            "today": {**today._asdict(), "limit_usd": self.budget_usd if own.day_usd is None else own.day_usd},
            "conversation": {
                **self._on(self._versions(conversation_id))._asdict(),
                "limit_usd": own.conversation_usd,
            }
            if conversation_id
            else None,
        }

    def send(
        self,
        send: Callable[[], Sent],
        cost: Callable[[], Total],
        *,
        owner: str,
        conversation_id: str = "",
        confirmed: bool = False,
        what: str = "turn",
    ) -> Sent:
        """Call and return ``send()``. Raises ``OverBudget`` if ``cost()`` exceeds a budget and is not ``confirmed``.

        Calls are serialised, so that of two turns sent at once the second counts the first.
        """
        own = self.budget(owner)
        if confirmed or (own.conversation_usd is None and own.day_usd is None and self.budget_usd is None):
            return send()
        with self._lock:
            if sentence := question(cost(), self._limits(owner, own, conversation_id), what):
                raise OverBudget(sentence)
            return send()

    def _limits(self, owner: str, own: Budget, conversation_id: str) -> list[Limit]:
        limits = []
        whose = "this server's" if own.day_usd is None else "your"
        day_usd = self.budget_usd if own.day_usd is None else own.day_usd
        versions = self._versions(conversation_id)
        running = self._running(owner)  # before reading the log: a turn that ends meanwhile counts twice, not never
        self._settle()
        if day_usd is not None:
            limits.append(Limit("today", whose, day_usd, self._today(owner), together(of for _, of in running)))
        if own.conversation_usd is not None:
            of_it = together(of for conversation, of in running if conversation in versions)
            limits.append(Limit("this conversation", "your", own.conversation_usd, self._on(versions), of_it))
        return limits

    def _running(self, owner: str) -> list[tuple[str, Total]]:
        """For each of the owner's running turns: its conversation, and the estimate for the lanes still running."""
        live = [(turn, turn.running_lanes()) for turn in self._turns.live(owner)]
        return [(turn.conversation_id, self._estimates.total_of_turn(turn, lanes)) for turn, lanes in live if lanes]

    def _versions(self, conversation_id: str) -> set[str]:
        """The conversation and those with other versions of its prompts; empty before it begins."""
        return tree(self._turns.forks(conversation_id), conversation_id) if conversation_id else set()

    def _today(self, owner: str) -> Spent:
        return spent_on_day(self._turns.reader, owner, datetime.now(UTC).date().isoformat())

    def _on(self, conversations: Collection[str]) -> Spent:
        return spent_on(self._turns.reader, conversations) if conversations else Spent()

    def _settle(self) -> None:
        """Wait until the writer has written all ended attempts; a log that cannot be written is read as it is."""
        with contextlib.suppress(TimeoutError):
            self._turns.writer.flush().exception(SETTLE_S)
