"""The services of the chat as one object, shared by the page's routes and the named endpoints."""

from __future__ import annotations

from typing import Any

from ..core.attachments import Attachment
from ..core.images import Image
from ..engine import Engine
from ..log.votes import to_vote_on
from ..tokenizers import counter
from ..turns import Turns
from .estimates import Estimates
from .prompt_queue import PromptQueue
from .prompt_settings import PromptSettings
from .prompts import Prompts
from .spending import Spending
from .uploads import Uploads


class ChatServices:
    """The services on one engine and its turns. ``budget_usd``: see ``Spending``."""

    def __init__(self, engine: Engine, turns: Turns, budget_usd: float | None = None) -> None:
        self._turns = turns
        self.uploads = Uploads()
        self.settings = PromptSettings(turns.writer, turns.reader)
        self.estimates = Estimates(engine, turns)
        self.spending = Spending(turns, self.estimates, budget_usd)
        self.prompts = Prompts(engine, turns, self.uploads, self.settings, self.estimates, self.spending)
        self.queue = PromptQueue(turns, self.prompts)

    def forget(self, owner: str | None) -> None:
        """Another process may have changed what is remembered here of the owner (None: of everybody): read it again.
        Waits until this process's own changes are in the log."""
        self.spending.forget_budgets()
        self.settings.forget(owner)
        self.queue.forget_read()
        if not self._turns.writer.problem:
            self._turns.forget_of(owner)

    def upload(self, owner: str, attachment: Attachment | Image, size: str) -> dict[str, Any]:
        """Keep an attachment for the owner's next prompt. As JSON: ``id``, ``name``, ``size`` in words, ``tokens``
        (null: not known before a provider has counted them), and of an image ``is_image``."""
        n_tokens = None if isinstance(attachment, Image) else counter().count(attachment.text)
        key, is_image = self.uploads.add(owner, attachment), isinstance(attachment, Image)
        return {"id": key, "name": attachment.name, "size": size, "tokens": n_tokens, "is_image": is_image}

    def to_vote_on(self, owner: str) -> list[tuple[str, str]]:
        """The owner's blind turns that have ended and have no vote: conversation and turn, oldest first."""
        live = {turn.turn_id for turn in self._turns.live(owner)}
        with self._turns.reader.snapshot() as log:
            return [(conversation, turn) for conversation, turn in to_vote_on(log, owner) if turn not in live]
