"""Sends prompts and retries lanes, with attachments, settings and the budget."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.attachments import fold
from ..core.context import offer
from ..core.images import Image
from ..core.owner import may_change, may_read
from ..core.turn import TurnLog
from ..engine import Engine, UnknownLane, UnknownTurn
from .estimates import Planned

if TYPE_CHECKING:
    from ..turns import Turns
    from .estimates import Estimates
    from .prompt_settings import PromptSettings
    from .spending import Spending
    from .uploads import Uploads


class NothingToSend(ValueError):
    """The prompt has neither text nor attachments."""


class Busy(ValueError):
    """No prompt can be sent now: the conversation was deleted or is not the edited one."""


class LanesBusy(Busy):
    """No prompt can be sent now: some of its lanes are running."""


class Edit(NamedTuple):
    """The earlier prompt that the next one replaces: a conversation and the turn's number in it."""

    conversation: str
    seq: int


class Prompt(NamedTuple):
    """A prompt to send. ``attachments``: ids of uploads; ``over_budget``: the user agreed to exceed the budget.
    ``lanes``: only these of the conversation's lanes; empty: all. ``queue``: if some of its lanes are running, it is
    queued (``prompt_queue``), not refused. ``basis``: the lane whose history every lane goes on from; empty: each its
    own. ``images``: beside those of the attachments, with their bytes.
    """

    text: str
    conversation: str = ""  # id; empty for a new conversation
    attachments: tuple[str, ...] = ()
    edit: Edit | None = None
    blind: bool = False
    over_budget: bool = False
    lanes: tuple[str, ...] = ()
    queue: bool = False
    basis: str = ""
    images: tuple[Image, ...] = ()

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Prompt:
        """The prompt as the page sends it: an object with these keys; ``edit`` is ``{conversation, seq}`` or null."""
        edit = value.get("edit")
        return cls(
            str(value.get("text") or ""),
            str(value.get("conversation") or ""),
            texts_of(value.get("attachments")),
            _edit(edit) if isinstance(edit, dict) else None,
            value.get("blind") is True,
            value.get("over_budget") is True,
            texts_of(value.get("lanes")),
            value.get("queue") is True,
            str(value.get("basis") or ""),
        )


def texts_of(value: Any) -> tuple[str, ...]:
    """The items of a JSON list as text; empty for anything else."""
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _edit(value: Mapping[str, Any]) -> Edit:
    seq = value.get("seq")
    return Edit(str(value.get("conversation") or ""), seq if isinstance(seq, int) else -1)


class Prompts:
    """Sends prompts and retries through one engine. Methods may read the log, so call them on a thread."""

    def __init__(
        self,
        engine: Engine,
        turns: Turns,
        uploads: Uploads,
        settings: PromptSettings,
        estimates: Estimates,
        spending: Spending,
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._uploads = uploads
        self._settings = settings
        self._estimates = estimates
        self._spending = spending

    def send(self, prompt: Prompt, owner: str, turn_id: str = "") -> TurnLog:
        """Send a prompt to the lanes of its conversation, with its attachments and the conversation's settings.

        Lanes that it is not sent to may be running. ``turn_id``: as for ``Engine.send``.

        Raises errors with a sentence for the user: ``NothingToSend``, ``AttachmentError``, ``Busy``, ``UnknownLane``,
        ``EngineClosed``; and ``OverBudget`` with a question. Nothing was sent then.
        """
        text, images = self.content(prompt, owner)
        conversation, edit = prompt.conversation, prompt.edit
        whose = self._turns.owner_of(conversation) if conversation else owner
        if whose is None or not may_read(whose, owner):
            raise Busy("This conversation was deleted: press New, then send.")
        if not may_change(whose, owner):
            conversation, edit = "", None  # read-only (a program's, to a browser with its own turns): begin a new one
        if conversation and self._turns.kind_of(conversation) == "bench":
            conversation, edit = "", None  # a benchmark's, whose turns stay as they are
        if edit and (not conversation or edit.conversation != conversation or edit.seq < 0):
            raise Busy("The prompt being edited belongs to another conversation: cancel the edit, then send.")
        before_seq = edit.seq if edit else math.inf
        settings = self._settings.of(owner, conversation)
        specs = self._engine.specs
        lanes = [
            lane for lane in settings.lanes_on(spec.id for spec in specs) if lane in prompt.lanes or not prompt.lanes
        ]
        if not lanes:
            raise UnknownLane("None of these lanes takes part any more: choose lanes in the settings, then send.")
        if not self.running(conversation, before_seq).isdisjoint(lanes):
            raise LanesBusy("The lanes are still answering: wait for them, or stop them.")
        answered = self._turns.said(conversation, prompt.basis) if prompt.basis else []
        if prompt.basis and not any(one.seq < before_seq for one in answered):
            raise Busy("The lane to go on from has no answer here: undo that, then send.")
        try:
            turn = self._spending.send(
                lambda: self._engine.send(
                    text,
                    lanes=lanes,
                    conversation_id=conversation or None,
                    fork_at=edit.seq if edit else None,
                    owner=owner,
                    system=settings.system,
                    choices=settings.choices(specs),
                    blind=prompt.blind,
                    turn_id=turn_id,
                    images=images,
                    basis=prompt.basis,
                ),
                lambda: self._estimates.total(
                    Planned(conversation, before_seq, text, settings.only(lanes, specs), bool(images), prompt.basis)
                ),
                owner=owner,
                conversation_id=conversation,
                confirmed=prompt.over_budget,
            )
        except UnknownTurn as error:
            raise Busy(str(error)) from error
        if turn.conversation_id != conversation:
            self._settings.begin(owner, turn.conversation_id, settings, is_new=not conversation)
        self.drop_attachments(prompt, owner)
        return turn

    def content(self, prompt: Prompt, owner: str) -> tuple[str, tuple[Image, ...]]:
        """The whole text and the images that are sent. Raises ``NothingToSend`` and ``AttachmentError``."""
        if not (prompt.text.strip() or prompt.attachments or prompt.images):
            raise NothingToSend("There is no prompt: write something, or attach a file.")
        texts, images = self._uploads.of(owner, prompt.attachments)
        return fold(prompt.text, texts), (*prompt.images, *images)

    def drop_attachments(self, prompt: Prompt, owner: str) -> None:
        """The prompt's attachments were sent, or are kept elsewhere."""
        self._uploads.drop(owner, prompt.attachments)

    def running(self, conversation_id: str, before_seq: float = math.inf) -> set[str]:
        """The lanes that are running in the conversation's turns before that number."""
        turns = [turn for turn in self._turns.recent(conversation_id) if turn.seq < before_seq]
        return {lane for turn in turns for lane in self._running_of(turn)}

    def _running_of(self, turn: TurnLog) -> Collection[str]:
        if self._turns.runs_elsewhere(turn.turn_id):
            return turn.running_lanes()
        return self._engine.running_lanes(turn.turn_id)

    def check_open(self, owner: str) -> None:
        """As ``Engine.check_open``."""
        self._engine.check_open(owner)

    def is_ready(self, conversation_id: str, owner: str) -> bool:
        """Whether all lanes that the conversation's next prompt is sent to have ended."""
        settings = self._settings.of(owner, conversation_id)
        chosen = settings.lanes_on(spec.id for spec in self._engine.specs)
        return self.running(conversation_id).isdisjoint(chosen)

    def aggregate(self, turn: TurnLog, lane: str, owner: str, over_budget: bool, strategy: str) -> None:
        """Aggregate a heavy lane's answers again by another strategy, with one request at most.

        Raises what ``retry`` raises, ``NoAnswers`` and ``OptionError``.
        """
        self._spending.send(
            lambda: self._engine.aggregate(turn.turn_id, lane, strategy, owner=owner),
            lambda: self._estimates.total_of_turn(turn, [info.of for info in turn.lanes if info.id == lane]),
            owner=owner,
            conversation_id=turn.conversation_id,
            confirmed=over_budget,
            what="retry",
        )

    def go_on(self, turn: TurnLog, lane: str, owner: str, over_budget: bool = False) -> None:
        """Ask a lane to go on with its answer, which was cut. Raises what ``retry`` raises, and ``NotCut``."""
        self._spending.send(
            lambda: self._engine.go_on(turn.turn_id, lane, owner=owner),
            lambda: self._estimates.total_of_turn(turn, [info.of or lane for info in turn.lanes if info.id == lane]),
            owner=owner,
            conversation_id=turn.conversation_id,
            confirmed=over_budget,
            what="retry",
        )

    def retry(self, turn: TurnLog, lane: str, owner: str, over_budget: bool = False, as_offered: bool = False) -> None:
        """Send a turn's prompt to one lane again. ``as_offered``: with the parameters that the lane's newest attempt
        offers (``core.context.offer``), which the conversation's settings then keep.

        Raises ``OverBudget`` unless ``over_budget``, ``UnknownTurn``, ``UnknownLane``, ``LaneBusy``, ``EngineClosed``.
        """
        newest = turn.fold().newest(lane) if as_offered else None
        params = offer(newest) if newest else {}
        self._spending.send(
            lambda: self._engine.retry(turn.turn_id, lane, owner=owner, params=params),
            lambda: self._estimates.total_of_turn(turn, [lane]),
            owner=owner,
            conversation_id=turn.conversation_id,
            confirmed=over_budget,
            what="retry",
        )
        if params:
            settings = self._settings.of(owner, turn.conversation_id)
            self._settings.set(owner, turn.conversation_id, settings.with_lane(lane, params))
