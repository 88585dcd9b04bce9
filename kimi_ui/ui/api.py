"""Named endpoints for programs: ``/compare`` sends a prompt and tells of every lane until all have ended, ``/turn``
reads one turn back.

    from gradio_client import Client
    for states in Client("http://127.0.0.1:7860").submit("Why is the sky blue?", api_name="/compare"): ...

Each lane's state: ``lane, label, status, phase, answer, reasoning, error, attempt_id`` and the columns of
``attempt_metrics`` that are known so far. Turns sent this way have no owner: their id is the key to them. A program is
not asked: what would pass the server's budget of a day for all programs together is refused.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from ..chat.estimates import Estimates
from ..chat.spending import OverBudget, Spending
from ..core.attempt import live_phase
from ..core.blind import told
from ..core.conversation_settings import ConversationSettings, LaneSettings
from ..core.estimate import Total
from ..core.metrics import measure_turn
from ..core.tokens import AttemptCount
from ..core.turn import TurnFold, TurnLog
from ..engine import Engine
from ..tokenizers import counter
from ..turns import Turns
from ..view.failure_words import failure_of
from ..web.visitor import may_read, visitor_of

EVERY_S = 0.25
NOT_ASKED = "Send it after 00:00 UTC, or start the server with a higher KIMI_UI_BUDGET_USD."


class LaneStates:
    """All lanes of a turn as plain values. Each entry of the log is looked at once, however often they are read."""

    def __init__(self, turn: TurnLog) -> None:
        self._turn = turn
        self._fold = TurnFold.of(turn)
        self._counts: dict[str, AttemptCount] = {}
        self._consumed = 0

    def read(self) -> dict[str, Any]:
        """``{turn_id, conversation_id, done, lanes: [state, …]}`` as of now."""
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

    async def compare(prompt: str, lanes: list[str] | None = None) -> AsyncIterator[dict[str, Any]]:
        """Send a prompt to all lanes, or to those named, and yield their states until every one has ended."""
        if not prompt.strip():
            raise gr.Error("There is no prompt: give some text.", print_exception=False)
        try:
            turn = await asyncio.to_thread(
                spending.send, lambda: engine.send(prompt, lanes=lanes or None), lambda: cost(prompt, lanes), owner=""
            )
        except OverBudget as question:
            raise gr.Error(f"{question} {NOT_ASKED}", print_exception=False) from question
        except (ValueError, RuntimeError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        states = LaneStates(turn)
        try:
            while not (state := states.read())["done"]:
                yield state
                await asyncio.sleep(EVERY_S)
            yield state
        finally:
            engine.stop(turn.turn_id)  # whoever asked has gone; nothing happens to a turn that has ended

    def cost(prompt: str, lanes: list[str] | None) -> Total:
        off = {spec.id: LaneSettings(on=False) for spec in engine.specs if lanes and spec.id not in lanes}
        return estimates.total("", math.inf, prompt, ConversationSettings(lanes=off))

    def turn(turn_id: str, request: gr.Request) -> dict[str, Any]:
        """One turn by its id, as it is now."""
        found = turns.get(turn_id)
        if found is None or not may_read(found.owner, visitor_of(request)):
            raise gr.Error("There is no such turn.", print_exception=False)
        return LaneStates(told(found)).read()

    gr.api(compare, api_name="compare", concurrency_limit=None)
    gr.api(turn, api_name="turn", concurrency_limit=None)
