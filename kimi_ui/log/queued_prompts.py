"""Queued prompts in the log: one row for each, in its newest state, and a row for each of its images until it is gone.

A row's id becomes the id of the turn that the prompt is sent as. So a prompt whose turn is in the log was sent, even if
the process died before the row said so.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.images import Image
from .reader import LogReader
from .records import Op, image_ops, op_of

WAITING = "waiting"  # for the running turns of its conversation
HELD = "held"  # until the user sends it; ``reason`` says why
OVER_BUDGET = "over_budget"  # held too; ``reason`` is the question
GONE = "gone"  # sent or removed; its text is no longer here

DIED = "Kimi UI ended before it was sent."


class QueuedPrompt(NamedTuple):
    """A prompt to send once its conversation's lanes have ended. ``prompt`` includes its attached texts.

    Images from the log are without their bytes.
    """

    prompt_id: str
    conversation_id: str
    owner: str
    prompt: str
    blind: bool
    queued_at_utc: str
    state: str = WAITING
    reason: str = ""
    basis: str = ""
    images: tuple[Image, ...] = ()


_COLUMNS = [name for name in QueuedPrompt._fields if name != "images"]


def new_ops(queued: QueuedPrompt) -> list[Op]:
    """The rows of a prompt that is queued now."""
    return [queued_op(queued), *image_ops("queued_images", {"prompt_id": queued.prompt_id}, queued.images)]


def queued_op(queued: QueuedPrompt) -> Op:
    """The row of a prompt, in its newest state."""
    return op_of("queued_prompts", {name: getattr(queued, name) for name in _COLUMNS} | {"blind": int(queued.blind)})


def gone_ops(queued: QueuedPrompt) -> list[Op]:
    """What is written when the prompt was sent or removed: its images go, unless a turn or another prompt has them."""
    gone = queued_op(queued._replace(state=GONE, prompt="", reason=""))
    return [gone, Op("delete queued_images", {"prompt_id": queued.prompt_id})]


def stored_prompts(reader: LogReader, conversation_id: str) -> list[QueuedPrompt]:
    """The prompts that an earlier process left in this conversation's queue, in order. None of them waits any more."""
    query = f"""
        SELECT {", ".join(_COLUMNS)} FROM queued_prompts q
        WHERE conversation_id = :id AND state <> :gone
          AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.turn_id = q.prompt_id)
        ORDER BY queued_at_utc, prompt_id
    """
    with reader.snapshot() as log:
        found = [QueuedPrompt(*row) for row in log.rows(query, id=conversation_id, gone=GONE)]
        return [
            one._replace(
                blind=bool(one.blind),
                images=tuple(Image(*row) for row in log.rows(_IMAGES, id=one.prompt_id)),
                **({"state": HELD, "reason": DIED} if one.state == WAITING else {}),
            )
            for one in found
        ]


_IMAGES = """
    SELECT i.sha256, n.name, i.media_type, i.width, i.height, length(i.payload)
    FROM queued_images n JOIN images i ON i.sha256 = n.sha256 WHERE n.prompt_id = :id ORDER BY n.place
"""
