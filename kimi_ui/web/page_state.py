"""The page's state: the configured lanes, and turns without their entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..chat.services import ChatServices
from ..core.attachments import split
from ..core.blind import visible
from ..core.lane import LaneSpec, host_of
from ..core.turn import LaneInfo, TurnLog
from ..engine.pulls import Pulls
from ..tokenizers import counter
from ..turns import Turns
from ..view.frames import describe_turn
from .lanes import why_fixed, why_not
from .visitor import HasState, person_of, visitor_of

if TYPE_CHECKING:
    from ..providers.roster import Roster, Serving


class PageState:
    """Describes turns for the page. ``private``: several people use the app."""

    def __init__(
        self,
        turns: Turns,
        roster: Roster,
        chat: ChatServices,
        pulls: Pulls,
        private: bool = False,
        notice: Callable[[], str] | None = None,
    ) -> None:
        self._turns = turns
        self._roster = roster
        self._chat = chat
        self._pulls = pulls
        self._private = private
        self.notice = notice or (lambda: turns.writer.problem)  # a sentence if something does not work, else empty

    def of(self, turns: Sequence[TurnLog], request: HasState) -> dict[str, Any]:
        """As JSON: ``lanes``, ``conversation`` (the turns' conversation id, or None), ``turns``, ``queue`` (see
        ``queue``), ``notice``, a sentence if something does not work, and ``person``, the id of the person with an
        account, or None. Counts long texts, so call it on a thread.

        For the visitor that sent ``request``; without turns the lanes are those of their next conversation."""
        conversation = turns[-1].conversation_id if turns else ""
        person = person_of(request)
        return {
            "lanes": self._lanes(request, conversation),
            "conversation": conversation or None,
            "turns": [self._described(turn) for turn in turns],
            "queue": self.queue(conversation),
            "notice": self.notice(),
            "person": person.id if person else None,
        }

    def queue(self, conversation_id: str) -> list[dict[str, Any]]:
        """The conversation's queued prompts as JSON, texts that are attached by name only. Sends what is due."""
        shown = []
        for queued in self._chat.queue.of(conversation_id):
            parts = split(queued.prompt)
            shown.append(
                {
                    "id": queued.prompt_id,
                    "text": parts.text,
                    "attachments": [one.name for one in parts.attachments],
                    "images": [one.described() for one in queued.images],
                    "state": queued.state,
                    "reason": queued.reason,
                    "basis": queued.basis,
                }
            )
        return shown

    def _described(self, turn: TurnLog) -> dict[str, Any]:
        """A turn and, if its prompt has attachments, their token counts."""
        described = describe_turn(visible(turn))
        for shown, attachment in zip(described["attachments"], split(turn.prompt).attachments, strict=True):
            shown["tokens"] = counter().count(attachment.text)
        return described

    def _lanes(self, request: HasState, conversation_id: str) -> list[dict[str, Any]]:
        """The configured lanes; ``next_model`` is what the conversation's next prompt is sent to, ``fixed`` why
        the visitor cannot choose the model, empty if they can."""
        specs = {spec.id: spec for spec in self._roster.specs}
        settings = self._chat.settings.of(visitor_of(request), conversation_id)
        choices = settings.choices(specs.values())
        not_allowed = why_not(request, self._roster, self._private)
        servings = {serving.lane: serving for serving in self._roster.servings}
        lanes = []
        for spec in specs.values():
            offer = self._pulls.offer(spec.id)
            described = _describe_lane(spec, specs, servings.get(spec.id))
            lanes.append(
                {
                    **described,
                    "can_pull": offer.model if offer else "",
                    "next_model": LaneInfo.from_spec(spec, specs, choices.get(spec.id)).model,
                    "fixed": not_allowed or why_fixed(spec, specs),
                }
            )
        return lanes


def _describe_lane(spec: LaneSpec, specs: Mapping[str, LaneSpec], serving: Serving | None) -> dict[str, Any]:
    """A configured lane without a turn. ``served_by`` and ``why`` describe its server, if known."""
    inner = specs.get(spec.of, spec)
    hosts = ", ".join(map(host_of, spec.servers or inner.servers))
    price = spec.price or inner.price
    return {
        **LaneInfo.from_spec(spec, specs).as_dict(),
        "served_by": serving.via if serving else " · ".join(part for part in (inner.provider, hosts) if part),
        "why": " ".join(part for part in (serving.why, serving.why_not_better) if part) if serving else "",
        "why_not": serving.why_not_better if serving else "",
        "price": asdict(price) if price else None,
    }
