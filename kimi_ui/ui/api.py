"""Named endpoints for programs: ``/compare`` sends a prompt and yields every lane's state until all have ended,
``/turn`` returns one turn.

    from gradio_client import Client
    for states in Client("http://127.0.0.1:7860").submit("Why is the sky blue?", api_name="/compare"): ...

Each lane's state: ``lane, label, status, phase, answer, reasoning, error, attempt_id`` and the columns of
``attempt_metrics`` that are known so far. With accounts turns sent this way are the person's. Otherwise they have no
owner, and whoever knows their id may read them. Prompts beyond the server's daily budget for all programs together, or
beyond the person's, are refused, without the question that the page asks.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from ..chat.estimates import Estimates, Planned
from ..chat.spending import OverBudget, Spending
from ..core.attempt import live_phase
from ..core.blind import visible
from ..core.conversation_settings import ConversationSettings, LaneSettings
from ..core.estimate import Total
from ..core.metrics import measure_turn
from ..core.owner import PROGRAM, may_read
from ..core.tokens import AttemptCount
from ..core.turn import TurnFold, TurnLog
from ..engine import Engine
from ..tokenizers import counter
from ..turns import Turns
from ..view.failure_words import failure_of
from ..web.visitor import person_of, visitor_of

EVERY_S = 0.25
REMEDY = "Send it after 00:00 UTC, or start the server with a higher KIMI_UI_BUDGET_USD."


class LaneStates:
    """All lanes of a turn as plain values. Each log entry is processed once, however often the states are read."""

    def __init__(self, turn: TurnLog) -> None:
        self._turn = turn
        self._fold = TurnFold.of(turn)
        self._counts: dict[str, AttemptCount] = {}
        self._consumed = 0

    def read(self) -> dict[str, Any]:
        """The current ``{turn_id, conversation_id, done, lanes: [state, …]}``."""
        done = self._turn.closed
        for entry in self._turn.entries[self._consumed :]:
            self._fold.apply(entry)
            self._consumed += 1
            if entry.attempt_id:
                attempt = self._fold.attempts[entry.attempt_id]
                count = self._counts.setdefault(entry.attempt_id, AttemptCount(counter(attempt.tokenizer)))
                count.apply(entry.event)
        metrics = measure_turn(self._fold, {key: count.local for key, count in self._counts.items()})
        states = []
        for info in self._turn.lanes:
            attempt_id = self._fold.current(info.id)
            state: dict[str, Any] = {"lane": info.id, "label": info.label, "attempt_id": attempt_id}
            if attempt_id is None:
                states.append(
                    state | {"status": "open", "phase": "connecting", "answer": "", "reasoning": "", "error": None}
                )
                continue
            fold = self._fold.folds[attempt_id]
            failure = failure_of(fold) if fold.end is not None else None
            state |= {
                "status": fold.status,
                "phase": live_phase(fold),
                "answer": fold.answer,
                "reasoning": fold.reasoning,
                "error": failure.message if failure else None,
            }
            states.append(state | metrics[attempt_id].as_dict())
        ids = {"turn_id": self._turn.turn_id, "conversation_id": self._turn.conversation_id}
        return {**ids, "done": done, "lanes": states}


def build(engine: Engine, turns: Turns, estimates: Estimates, spending: Spending) -> None:
    """Add the endpoints to the Blocks being built."""

    async def compare(
        request: gr.Request, prompt: str, lanes: list[str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Send a prompt to all or to the named lanes, and yield their states until all have ended."""
        if not prompt.strip():
            raise gr.Error("There is no prompt: give some text.", print_exception=False)
        owner = person.owner if (person := person_of(request)) else PROGRAM

        def send() -> TurnLog:
            return engine.send(prompt, lanes=lanes or None, owner=owner)

        try:
            turn = await asyncio.to_thread(spending.send, send, lambda: cost(prompt, lanes), owner=owner)
        except OverBudget as question:
            raise gr.Error(f"{question} {REMEDY}", print_exception=False) from question
        except (ValueError, RuntimeError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        states = LaneStates(turn)
        try:
            while not (state := states.read())["done"]:
                yield state
                await asyncio.sleep(EVERY_S)
            yield state
        finally:
            engine.stop(turn.turn_id)  # the client has disconnected; no effect on an ended turn

    def cost(prompt: str, lanes: list[str] | None) -> Total:
        off = {spec.id: LaneSettings(on=False) for spec in engine.specs if lanes and spec.id not in lanes}
        return estimates.total(Planned("", math.inf, prompt, ConversationSettings(lanes=off)))

    def turn(turn_id: str, request: gr.Request) -> dict[str, Any]:
        """The current state of one turn, by its id."""
        found = turns.get(turn_id)
        if found is None or not may_read(found.owner, visitor_of(request)):
            raise gr.Error("There is no such turn.", print_exception=False)
        return LaneStates(visible(found)).read()

    gr.api(compare, api_name="compare", concurrency_limit=None)
    gr.api(turn, api_name="turn", concurrency_limit=None)
