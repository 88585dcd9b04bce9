"""The route of "Which model?": what finished benchmark runs say about the lanes as this conversation would use them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..bench import records
from ..bench.advice import CATEGORIES, FINISHED, PRIORITIES, Lane, table
from ..bench.results import Run
from ..chat.services import ChatServices
from ..core.conversation_settings import ConversationSettings, LaneSettings
from ..log.reader import LogReader
from ..stats.sample import Filters
from ..stats.votes import sentence, votes
from .respond import Json
from .visitor import VisibleTurns, visitor_of

if TYPE_CHECKING:
    from ..providers.roster import Roster

Table = dict[str, dict[str, dict[str, Any]]]


class AdviceRoutes:
    """Advice over one log. ``private``: visitors get that of their own runs and votes only."""

    def __init__(
        self, reader: LogReader, roster: Roster, chat: ChatServices, visible: VisibleTurns, private: bool = False
    ) -> None:
        self._reader = reader
        self._roster = roster
        self._chat = chat
        self._visible = visible
        self._private = private
        self._runs: dict[str, Run] = {}  # finished ones, which change no more
        self._made: tuple[Any, Table] = (None, {})  # the table made last, and what it was made from

    def routes(self) -> list[BaseRoute]:
        return [Route("/kimi/advice", self.advice)]

    async def advice(self, request: Request) -> Response:
        """``advice`` by category and priority for the conversation ``c`` (``bench.advice``), null if there is none, and
        ``categories``, ``priorities``, the ``lanes`` with whether they take part, and the blind ``votes``."""
        owner = visitor_of(request)
        conversation = await self._visible.requested_conversation(request.query_params.get("c", ""), owner)
        return Json(await asyncio.to_thread(self._of, owner, conversation))

    def _of(self, owner: str, conversation: str) -> dict[str, Any]:
        scope = owner if self._private else None
        runs = self._finished(scope)
        if not runs:
            return {"advice": None}
        settings = self._chat.settings.of(owner, conversation)
        made = self._table(runs, self._lanes(settings), datetime.now(UTC).date())
        if not made:
            return {"advice": None}
        pairs = votes(self._reader, Filters(owner=scope)).pairs
        on = settings.lanes_on(spec.id for spec in self._roster.specs)
        return {
            "advice": made,
            "categories": [{"id": id, "label": label.capitalize()} for id, label in CATEGORIES.items()],
            "priorities": [{"id": id, "label": label.capitalize()} for id, label in PRIORITIES.items()],
            "lanes": [{"id": spec.id, "label": spec.label, "on": spec.id in on} for spec in self._roster.specs],
            "votes": [sentence(pair) for pair in pairs if pair.blind],
        }

    def _finished(self, owner: str | None) -> list[Run]:
        ids = records.ended_as(self._reader, FINISHED, owner)
        for run_id in ids:
            if run_id not in self._runs:
                self._runs[run_id] = records.load(self._reader, run_id)
        return [self._runs[run_id] for run_id in ids]

    def _lanes(self, settings: ConversationSettings) -> tuple[Lane, ...]:
        """The lanes with the fingerprint of their configuration; empty where this conversation changes it."""
        specs = {spec.id: spec for spec in self._roster.specs}
        lanes = []
        for spec in specs.values():
            own = replace(settings.lanes.get(spec.id, LaneSettings()), on=True)
            is_changed = own != LaneSettings() or settings.system not in ("", spec.system)
            lanes.append(Lane(spec.id, spec.label, "" if is_changed else records.config_sha(spec, specs)))
        return tuple(lanes)

    def _table(self, runs: Sequence[Run], lanes: tuple[Lane, ...], today: date) -> Table:
        source = (tuple(run.id for run in runs), lanes, today)
        if self._made[0] != source:
            advice = table(runs, lanes, today).items()
            made = {category: {priority: one.as_dict() for priority, one in of.items()} for category, of in advice}
            self._made = (source, made)
        return self._made[1]
