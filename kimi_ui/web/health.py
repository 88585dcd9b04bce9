"""Routes for whatever supervises the process: ``/healthz`` (it is alive) and ``/readyz`` (it can take prompts).

Both answer without a password, because a container's probe has none, so they name no path, no error text and no person;
the terminal says more. ``/readyz`` answers 503 with ``problems`` while the log cannot be written or read, while the
engine does not answer, and while the app is draining. ``spilled_rows``: rows that wait beside the log until it can be
written. ``degraded`` has what does not work though prompts are taken: a replica that has lost the bus goes on alone,
and if it were not ready then, none would be.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..engine import Engine
from ..log.store import LogError, Transaction
from ..turns import Turns
from .respond import Json

if TYPE_CHECKING:
    from ..bus.bus import Bus

ANSWER_S = 2.0  # a part that takes longer is not ready
FRESH_S = 1.0  # the log is asked at most this often, however many probes there are
HEALTHZ, READYZ = "/healthz", "/readyz"

PROBLEMS = {
    "draining": "Kimi UI is shutting down: running answers may end, new prompts are refused.",
    "engine": f"The engine, which sends prompts, did not answer within {ANSWER_S:g} s.",
    "log_late": f"The log was not written and read within {ANSWER_S:g} s.",
    "log_unwritable": "The log cannot be written. Turns are kept beside it until it can; the terminal says why.",
    "log_unreadable": "The log cannot be read. Check its file or its database, which the terminal named at the start.",
}
"""The sentence for each code of ``problems``."""
BUS_AWAY = (
    "The bus cannot be reached: this replica goes on alone. Check the server of KIMI_UI_BUS; the terminal says why."
)


class HealthRoutes:
    """The two probes of one engine and its turns."""

    def __init__(self, engine: Engine, turns: Turns, bus: Bus | None = None) -> None:
        self._engine = engine
        self._bus = bus
        self._turns = turns
        self._log_check: asyncio.Task[list[str]] | None = None
        self._log_checked_s = 0.0

    def routes(self) -> list[BaseRoute]:
        return [Route(HEALTHZ, self.alive), Route(READYZ, self.ready)]

    async def alive(self, request: Request) -> Response:
        """The process answers requests. Nothing else is looked at: a restart would not repair a full disk."""
        return Json({"alive": True})

    async def ready(self, request: Request) -> Response:
        """``{ready, problems: [{code, sentence}], degraded, spilled_rows}``; with a problem the status is 503."""
        engine_s, log = await asyncio.gather(lateness_s(self._engine.loop), self._log_problems())
        found = [*(["draining"] if self._engine.draining else []), *(["engine"] if engine_s is None else []), *log]
        state = {
            "ready": not found,
            "problems": [{"code": code, "sentence": PROBLEMS[code]} for code in found],
            "degraded": [{"code": "bus_away", "sentence": BUS_AWAY}] if self._bus and self._bus.is_away else [],
            "spilled_rows": self._turns.writer.n_unwritten,
        }
        return Json(state, 503 if found else 200)

    async def _log_problems(self) -> list[str]:
        """What the newest check found; one that has not ended is waited for, so that checks never pile up."""
        now_s = time.monotonic()
        if self._log_check is None or (self._log_check.done() and now_s - self._log_checked_s >= FRESH_S):
            self._log_check, self._log_checked_s = asyncio.create_task(self._check_log()), now_s
        try:
            return await asyncio.wait_for(asyncio.shield(self._log_check), ANSWER_S)
        except TimeoutError:
            return ["log_late"]

    async def _check_log(self) -> list[str]:
        """Begin and commit an empty transaction, which takes the write lock; then read."""
        problems = []
        try:
            await asyncio.wrap_future(self._turns.writer.change(_nothing))
        except (LogError, RuntimeError):  # RuntimeError: the writer is closed
            problems.append("log_unwritable")
        try:
            await asyncio.to_thread(self._turns.reader.rows, "SELECT turn_id FROM turns LIMIT 1")
        except LogError:
            problems.append("log_unreadable")
        return problems


def _nothing(log: Transaction) -> set[str]:
    return set()


async def lateness_s(loop: asyncio.AbstractEventLoop) -> float | None:
    """Seconds until the loop, which may be another thread's, runs a callback; None if it does not in ``ANSWER_S``."""
    answered: Future[float] = Future()
    answered.set_running_or_notify_cancel()  # cannot be cancelled from here on
    asked_s = time.monotonic()
    with suppress(RuntimeError, TimeoutError):  # RuntimeError: the loop is closed
        loop.call_soon_threadsafe(lambda: answered.set_result(time.monotonic() - asked_s))
        return await asyncio.wait_for(asyncio.wrap_future(answered), ANSWER_S)
    return None
