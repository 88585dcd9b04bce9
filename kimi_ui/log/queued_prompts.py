"""Queued prompts in the log: one row for each, in its newest state.

A row's id becomes the id of the turn that the prompt is sent as. So a prompt whose turn is in the log was sent, even if
the process died before the row said so.
"""

from __future__ import annotations

from typing import NamedTuple

from .reader import LogReader
from .records import Op, op_of

WAITING = "waiting"  # for the running turns of its conversation
HELD = "held"  # until the user sends it; ``reason`` says why
OVER_BUDGET = "over_budget"  # held too; ``reason`` is the question
GONE = "gone"  # sent or removed; its text is no longer here

DIED = "Kimi UI ended before it was sent."


class QueuedPrompt(NamedTuple):
    """A prompt to send once its conversation's lanes have ended. ``prompt`` includes its attachments."""

    prompt_id: str
    conversation_id: str
    owner: str
    prompt: str
    blind: bool
    queued_at_utc: str
    state: str = WAITING
    reason: str = ""
    basis: str = ""


def queued_op(queued: QueuedPrompt) -> Op:
    return op_of("queued_prompts", {**queued._asdict(), "blind": int(queued.blind)})


def gone_op(queued: QueuedPrompt) -> Op:
    return queued_op(queued._replace(state=GONE, prompt="", reason=""))


def stored_prompts(reader: LogReader, conversation_id: str) -> list[QueuedPrompt]:
    """The prompts that an earlier process left in this conversation's queue, in order. None of them waits any more."""
    query = f"""
        SELECT {", ".join(QueuedPrompt._fields)} FROM queued_prompts q
        WHERE conversation_id = :id AND state <> :gone
          AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.turn_id = q.prompt_id)
        ORDER BY queued_at_utc, prompt_id
    """
    found = [QueuedPrompt(*row) for row in reader.rows(query, id=conversation_id, gone=GONE)]
    return [
        one._replace(blind=bool(one.blind), **({"state": HELD, "reason": DIED} if one.state == WAITING else {}))
        for one in found
    ]
