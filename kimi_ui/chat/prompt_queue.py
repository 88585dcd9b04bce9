"""The prompts that wait for a conversation's running lanes, and their sending.

The server sends a queued prompt, not a page: so it is sent once, however many tabs show it, and also when none does:
when every lane that it goes to has ended, with the settings, the budget and the lanes of then. It is held back, with
the reason, if the user stopped the turn before it, if no lane answered that turn, or if it may not be sent; the user
then sends it, edits it or removes it. Queued prompts are in the log with their images; those that an earlier process
left are held.

Methods may read the log and count texts, so call them on a thread. Thread-safe.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..core.attachments import AttachmentError
from ..core.images import Image
from ..core.owner import may_change
from ..core.turn import TurnLog
from ..engine import EngineClosed, ShutOut, UnknownLane
from ..log.queued_prompts import HELD, OVER_BUDGET, WAITING, QueuedPrompt, gone_ops, new_ops, queued_op, stored_prompts
from .prompts import Busy, LanesBusy, NothingToSend, Prompt, Prompts
from .spending import OverBudget

if TYPE_CHECKING:
    from ..turns import Turns

MAX_QUEUED = 20  # in one conversation
MAX_IMAGE_BYTES = 200_000_000  # of one owner's queued prompts, since this process keeps them in memory too

STOPPED = "You stopped the turn before it."
UNANSWERED = "No lane finished its answer to the prompt before it."
IMAGE_LOST = "An image of this prompt is no longer in the log. Edit the prompt, attach the image again, and send it."


class QueueFull(ValueError):
    """Too many prompts are queued. Like the class below, it has a message for the user."""


class NotQueued(ValueError):
    """The prompt was sent or removed."""


class PromptQueue:
    """The queued prompts of all conversations."""

    def __init__(self, turns: Turns, prompts: Prompts) -> None:
        self._turns = turns
        self._prompts = prompts
        self._queues: dict[str, list[QueuedPrompt]] = {}  # by conversation; as read from the log once, then the truth
        self._lock = threading.RLock()  # held while a prompt is sent, so that it is sent once
        turns.listen(self._closed, mirrors_too=True)

    def of(self, conversation_id: str) -> list[QueuedPrompt]:
        """The conversation's queue, in order, after sending what is due."""
        if not conversation_id:
            return []
        with self._lock:
            self._advance(conversation_id)
            return list(self._queue(conversation_id))

    def send(self, prompt: Prompt, owner: str) -> TurnLog | QueuedPrompt:
        """Send a prompt now or, if it may be queued, behind the running lanes and what waits for them. Raises what
        ``Prompts.send`` raises, and ``QueueFull``; nothing was sent or queued then."""
        may_wait = prompt.queue and prompt.edit is None
        if not (may_wait and self._is_waited_for(prompt.conversation, owner)):
            try:
                turn = self._prompts.send(prompt, owner)
            except LanesBusy:
                if not may_wait:
                    raise
            else:
                if turn.conversation_id != prompt.conversation:
                    self._queues.setdefault(turn.conversation_id, [])  # it is new, so the log has nothing to read
                return turn
        with self._lock:
            queue = self._queue(prompt.conversation)
            if len(queue) >= MAX_QUEUED:
                raise QueueFull(f"{len(queue)} prompts are queued here already. Send or remove one of them.")
            text, images = self._prompts.content(prompt, owner)
            if images and self._image_bytes(owner) + sum(image.n_bytes for image in images) > MAX_IMAGE_BYTES:
                most = f"{MAX_IMAGE_BYTES / 1e6:g} MB"
                raise QueueFull(f"The images of queued prompts have {most} already. Send or remove one of them first.")
            at_utc = datetime.now(UTC).isoformat(timespec="microseconds")  # queued prompts are in this order
            queued = QueuedPrompt(
                uuid.uuid4().hex,
                prompt.conversation,
                owner,
                text,
                prompt.blind,
                at_utc,
                basis=prompt.basis,
                images=images,
            )
            queue.append(queued)
            self._turns.writer.write(new_ops(queued))
            self._prompts.drop_attachments(prompt, owner)
            self._advance(prompt.conversation)  # the lanes may have ended meanwhile
            return queued if queued in queue else self._turns.get(queued.prompt_id) or queued

    def send_now(
        self, conversation_id: str, prompt_id: str, owner: str, lanes: Sequence[str] = (), over_budget: bool = False
    ) -> TurnLog | None:
        """Send a queued prompt, only to ``lanes`` if there are any. While its lanes are running it waits for them
        (None), and what was held behind it waits again. Raises what ``Prompts.send`` raises, and ``NotQueued``."""
        with self._lock:
            queued = self._found(conversation_id, prompt_id)
            turn = None
            try:
                turn = self._send(queued, owner, lanes, over_budget)
            except LanesBusy:
                if lanes:
                    raise
            for one in list(self._queue(conversation_id)):
                self._change(one, WAITING)
            return turn

    def found(self, conversation_id: str, prompt_id: str) -> QueuedPrompt:
        """A queued prompt, its images with their bytes, unless they are lost. Raises ``NotQueued``."""
        with self._lock:
            queued = self._found(conversation_id, prompt_id)
        return queued._replace(images=self._whole(queued.images))

    def remove(self, conversation_id: str, prompt_id: str) -> None:
        """Take a prompt out of the queue. Raises ``NotQueued``."""
        with self._lock:
            self._drop(self._found(conversation_id, prompt_id))

    def hold(self, conversation_id: str, reason: str = STOPPED) -> None:
        """Keep the conversation's waiting prompts until the user sends them."""
        with self._lock:
            for queued in list(self._queue(conversation_id)):
                if queued.state == WAITING:
                    self._change(queued, HELD, reason)

    def forget(self, conversation_id: str) -> None:
        """The conversation is being deleted: send nothing more in it."""
        with self._lock:
            self._queues.pop(conversation_id, None)

    def forget_read(self) -> None:
        """Read queues from the log again, except those that are waiting here: another process may have changed them."""
        with self._lock:
            for conversation_id, queue in list(self._queues.items()):
                if not any(queued.state == WAITING for queued in queue):
                    del self._queues[conversation_id]

    def _is_waited_for(self, conversation_id: str, owner: str) -> bool:
        """Whether prompts wait in a conversation that the owner may go on with."""
        with self._lock:
            waits = any(queued.state == WAITING for queued in self._queues.get(conversation_id, ()))
        return waits and may_change(self._turns.owner_of(conversation_id) or "", owner)

    def _image_bytes(self, owner: str) -> int:
        """Of the owner's images that are in memory."""
        prompts = [queued for queue in self._queues.values() for queued in queue if queued.owner == owner]
        return sum(image.n_bytes for queued in prompts for image in queued.images if image.data)

    def _closed(self, turn: TurnLog, since: int) -> None:
        """Called on a loop, which must not wait."""
        if self._queues.get(turn.conversation_id):
            threading.Thread(target=self.of, args=[turn.conversation_id], name="prompt-queue", daemon=True).start()

    def _queue(self, conversation_id: str) -> list[QueuedPrompt]:
        if conversation_id not in self._queues:
            self._queues[conversation_id] = stored_prompts(self._turns.reader, conversation_id)
        return self._queues[conversation_id]

    def _found(self, conversation_id: str, prompt_id: str) -> QueuedPrompt:
        for queued in self._queue(conversation_id):
            if queued.prompt_id == prompt_id:
                return queued
        raise NotQueued("This prompt is not queued any more: it was sent or removed.")

    def _advance(self, conversation_id: str) -> None:
        """Send the first prompt if it is due, or hold the queue."""
        queue = self._queue(conversation_id)
        if not queue or queue[0].state != WAITING:
            return
        queued = queue[0]
        if not self._prompts.is_ready(conversation_id, queued.owner):
            return
        try:
            self._prompts.check_open(queued.owner)  # first: the end of the process also cuts off the turn before it
            if self._is_unanswered(conversation_id):
                return self.hold(conversation_id, UNANSWERED)
            self._send(queued, queued.owner)
        except ShutOut as error:
            self.hold(conversation_id, str(error))
        except (LanesBusy, EngineClosed):
            return  # it waits; the next process holds it
        except OverBudget as question:
            self._change(queued, OVER_BUDGET, str(question))
        except (Busy, NothingToSend, AttachmentError, UnknownLane) as error:
            self._change(queued, HELD, str(error))

    def _is_unanswered(self, conversation_id: str) -> bool:
        """Whether no lane finished an answer in the conversation's last turn."""
        turns = self._turns.recent(conversation_id)
        if not turns:
            return False
        fold = turns[-1].fold()
        ended = [newest.status for lane in fold.lanes if (newest := fold.newest(lane))]
        return not {"ok", "length", "open"}.intersection(ended)

    def _whole(self, images: Sequence[Image]) -> tuple[Image, ...]:
        """The images with their bytes, unless they are lost."""
        return tuple(one if one.data else one._replace(data=self._turns.image(one.sha256) or b"") for one in images)

    def _send(self, queued: QueuedPrompt, owner: str, lanes: Sequence[str] = (), over_budget: bool = False) -> TurnLog:
        images = self._whole(queued.images)
        if not all(image.data for image in images):
            raise AttachmentError(IMAGE_LOST)
        prompt = Prompt(
            queued.prompt,
            queued.conversation_id,
            blind=queued.blind,
            over_budget=over_budget,
            lanes=tuple(lanes),
            basis=queued.basis,
            images=images,
        )
        turn = self._prompts.send(prompt, owner, queued.prompt_id)
        self._drop(queued)
        return turn

    def _drop(self, queued: QueuedPrompt) -> None:
        self._queue(queued.conversation_id).remove(queued)
        self._turns.writer.write(gone_ops(queued))

    def _change(self, queued: QueuedPrompt, state: str, reason: str = "") -> None:
        queue = self._queue(queued.conversation_id)
        changed = queued._replace(state=state, reason=reason)
        if changed != queued:
            queue[queue.index(queued)] = changed
            self._turns.writer.write([queued_op(changed)])
