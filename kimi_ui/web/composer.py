"""Routes of the composer: attachments, estimate, spending and budget, settings, model lists.

Conversations of other visitors answer 404. A refused request is answered with ``{"error": sentence}``.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..bench.prompt_category import category_of
from ..chat.estimates import Planned
from ..chat.prompts import texts_of
from ..chat.services import ChatServices
from ..core.attachments import MAX_PDF_BYTES, AttachmentError, clean_name, fold, too_large
from ..core.budget import BudgetError, read_budget
from ..core.conversation_settings import (
    ONE_TEMPERATURE_NOTE,
    ConversationSettings,
    SettingsError,
    has_one_temperature,
    read,
)
from ..core.heavy.options import HEAVY_OPTIONS, MAX_WIDTH, PRESETS, PROMPT_NAME
from ..core.heavy.strategies import STRATEGIES
from ..core.lane import LaneSpec
from ..files.reading import read_file
from ..providers.base import LaneGone, ProviderError
from ..providers.heavy.prompts import shipped
from .respond import Json, body_of, image_file, json_of, refusal
from .visitor import VisibleTurns, visitor_of

if TYPE_CHECKING:
    from ..providers.roster import Roster

MODELS_FOR_S = 60.0  # time for which a provider's list is cached
MODELS_WAIT_S = 20.0
IMAGES_WAIT_S = 6.0  # until a provider has said which models take images; then it is unknown
READ_AT_ONCE = 2  # files, each in a process of its own with up to 1 GB
OWN_FILE = "a file of yours"  # a prompt whose path is not sent to pages


class ComposerRoutes:
    """The user's actions before sending, on one app's services and roster."""

    def __init__(self, chat: ChatServices, roster: Roster, visible: VisibleTurns) -> None:
        self._chat = chat
        self._roster = roster
        self._visible = visible
        self._models: dict[tuple[str, ...], tuple[float, list[str]]] = {}
        self._seeing: dict[tuple[str, str], tuple[float, bool | None]] = {}  # by lane and model; see ``images``
        self._reading = asyncio.Semaphore(READ_AT_ONCE)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/kimi/attachments", self.attach, methods=["POST"]),
            Route("/kimi/attachments/{key}", self.attached),
            Route("/kimi/attachments/{key}", self.detach, methods=["DELETE"]),
            Route("/kimi/images", self.images),
            Route("/kimi/estimate", self.estimate, methods=["POST"]),
            Route("/kimi/spent", self.spent),
            Route("/kimi/budget", self.budget, methods=["GET", "PUT"]),
            Route("/kimi/blind", self.blind),
            Route("/kimi/settings", self.settings, methods=["GET", "PUT"]),
            Route("/kimi/lanes/{lane}/models", self.models),
        ]

    # -- attachments

    async def attach(self, request: Request) -> Response:
        """Attach a file: its bytes are the body, its name is ``name`` in the query. Answers as
        ``ChatServices.upload``."""
        name = request.query_params.get("name", "file")
        size = request.headers.get("content-length", "")
        if size.isdigit() and int(size) > MAX_PDF_BYTES:
            return refusal(str(too_large(clean_name(name), int(size), MAX_PDF_BYTES)), 413)
        data = await body_of(request, MAX_PDF_BYTES + 1)
        try:
            async with self._reading:
                attachment, size_words = await read_file(name, data)
        except AttachmentError as error:
            return refusal(str(error), 422)
        return Json(await asyncio.to_thread(self._chat.upload, visitor_of(request), attachment, size_words))

    async def attached(self, request: Request) -> Response:
        """An image that the visitor has attached and not sent yet."""
        try:
            _, images = self._chat.uploads.of(visitor_of(request), [request.path_params["key"]])
        except AttachmentError:
            images = []
        if not images:
            raise HTTPException(404)
        return image_file(images[0].data, images[0].media_type)

    async def detach(self, request: Request) -> Response:
        self._chat.uploads.drop(visitor_of(request), [request.path_params["key"]])
        return Json({})

    # -- before sending

    async def estimate(self, request: Request) -> Response:
        """Body: ``{conversation, before, text, attachments, basis}``; see ``Estimates.of``, and the prompt's
        ``category``. No lanes: nothing to estimate."""
        body = await json_of(request)
        owner = visitor_of(request)
        conversation = await self._visible.requested_conversation(str(body.get("conversation") or ""), owner)
        before = body.get("before")
        before_seq = before if isinstance(before, int) else math.inf
        basis = str(body.get("basis") or "")
        try:
            texts, images = self._chat.uploads.of(owner, texts_of(body.get("attachments")))
            settings = await asyncio.to_thread(self._chat.settings.of, owner, conversation)
            prompt = fold(str(body.get("text") or ""), texts)
            planned = Planned(conversation, before_seq, prompt, settings, bool(images), basis)
            return Json(await asyncio.to_thread(self._estimated, planned))
        except AttachmentError as error:
            return Json({"lanes": [], "error": str(error)})  # an error while typing is only shown; sending is refused

    def _estimated(self, planned: Planned) -> dict[str, Any]:
        found = self._chat.estimates.of(planned)
        longest = max((lane["prompt_tokens"] for lane in found["lanes"]), default=0)
        return {**found, "category": category_of(planned.prompt, longest, is_follow_up=bool(planned.conversation_id))}

    async def spent(self, request: Request) -> Response:
        """The visitor's spending today and, if it is theirs, on the conversation ``c``; see ``Spending.totals``."""
        owner = visitor_of(request)
        try:
            conversation = await self._visible.requested_conversation(request.query_params.get("c", ""), owner)
        except HTTPException:
            conversation = ""  # the page asks when a turn ends, which may be the deletion of its conversation
        return Json(await asyncio.to_thread(self._chat.spending.totals, owner, conversation))

    async def blind(self, request: Request) -> Response:
        """How many of the visitor's blind turns wait for a vote, and the oldest: ``{count, oldest: {conversation,
        turn}}``, ``oldest`` null if there is none."""
        waiting = await asyncio.to_thread(self._chat.to_vote_on, visitor_of(request))
        oldest = {"conversation": waiting[0][0], "turn": waiting[0][1]} if waiting else None
        return Json({"count": len(waiting), "oldest": oldest})

    async def budget(self, request: Request) -> Response:
        """GET or PUT the visitor's budget, USD or null. Both answer with it and with the server's daily budget."""
        owner = visitor_of(request)
        if request.method == "PUT":
            try:
                wanted = read_budget(await json_of(request))
            except BudgetError as error:
                return refusal(str(error), 422)
            if not owner:
                return refusal(
                    "This browser keeps no cookies, so no setting can be saved for you. Allow cookies for this page.",
                    409,
                )
            self._chat.spending.set_budget(owner, wanted)
        budget = await asyncio.to_thread(self._chat.spending.budget, owner)
        return Json({**budget._asdict(), "server_day_usd": self._chat.spending.budget_usd})

    # -- settings

    async def settings(self, request: Request) -> Response:
        """GET or PUT the settings of the conversation ``c``, or of the next one. Both answer with all settings."""
        owner = visitor_of(request)
        conversation = await self._visible.requested_conversation(request.query_params.get("c", ""), owner)
        if request.method == "PUT":
            try:
                wanted = read(await json_of(request))
            except SettingsError as error:
                return refusal(str(error), 422)
            if not wanted.lanes_on(spec.id for spec in self._roster.specs):
                return refusal("At least one lane has to take part. Leave one on.", 422)
            self._chat.settings.set(owner, conversation, wanted)
        settings = await asyncio.to_thread(self._chat.settings.of, owner, conversation)
        return Json({"settings": settings.as_dict(), "lanes": self._lanes(settings), "note": ONE_TEMPERATURE_NOTE})

    def _lanes(self, settings: ConversationSettings) -> list[dict[str, Any]]:
        """The configured lanes, so that the drawer can show what an empty field means."""
        specs = {spec.id: spec for spec in self._roster.specs}
        lanes = []
        for spec in specs.values():
            chosen = settings.lanes[spec.id].model if spec.id in settings.lanes else ""
            params = {**specs.get(spec.of, spec).params, **spec.params}
            lanes.append(
                {
                    "id": spec.id,
                    "label": spec.label,
                    "model": spec.model,
                    "has_models": specs.get(spec.of, spec).lists_models,
                    "width": spec.width,
                    "heavy": heavy_choices(spec),
                    "max_tokens": params.get("max_tokens"),
                    "temperature": params.get("temperature"),
                    "takes_num_ctx": specs.get(spec.of, spec).takes_num_ctx,
                    "num_ctx": params.get("num_ctx") or getattr(specs.get(spec.of, spec), "num_ctx", None),
                    "one_temperature": has_one_temperature(chosen or spec.model),
                    "send_reasoning": spec.send_reasoning,
                    "system": spec.system,
                }
            )
        return lanes

    async def images(self, request: Request) -> Response:
        """Which lanes of the conversation ``c`` take images: ``{"lanes": [{id, label, takes}]}``, ``takes`` null where
        the provider does not say."""
        owner = visitor_of(request)
        conversation = await self._visible.requested_conversation(request.query_params.get("c", ""), owner)
        settings = await asyncio.to_thread(self._chat.settings.of, owner, conversation)
        specs = {spec.id: spec for spec in self._roster.specs}
        lanes = settings.lanes_on(specs)
        chosen = [settings.lanes[lane].model if lane in settings.lanes else "" for lane in lanes]
        found = await asyncio.gather(*map(self._takes_images, lanes, chosen))
        labels = [specs[lane].label for lane in lanes]
        shown = zip(lanes, labels, found, strict=True)
        return Json({"lanes": [{"id": lane, "label": label, "takes": takes} for lane, label, takes in shown]})

    async def _takes_images(self, lane: str, model: str) -> bool | None:
        known = self._seeing.get((lane, model))
        if known is None or known[1] is None or time.monotonic() - known[0] > MODELS_FOR_S:
            try:
                async with asyncio.timeout(IMAGES_WAIT_S):
                    takes = await self._roster.takes_images(lane, model)
            except (TimeoutError, LaneGone):
                takes = None
            known = self._seeing[lane, model] = (time.monotonic(), takes)
        return known[1]

    async def models(self, request: Request) -> Response:
        """The models the lane's provider lists."""
        lane = request.path_params["lane"]
        spec = next((spec for spec in self._roster.specs if spec.id == lane), None)
        if spec is None:
            raise HTTPException(404)
        server = (lane, spec.provider, spec.server, spec.of)  # a lane's server may be changed while the app runs
        known = self._models.get(server)
        if known is None or time.monotonic() - known[0] > MODELS_FOR_S:
            try:
                async with asyncio.timeout(MODELS_WAIT_S):
                    listed = await self._roster.models_of(lane)
            except LaneGone:
                raise HTTPException(404) from None
            except ProviderError as error:
                failure = error.failure
                return refusal(" ".join(part for part in (failure.message, failure.remedy) if part), 502)
            except TimeoutError:
                return refusal("The provider did not send its list of models in time. Try again.", 504)
            known = self._models[server] = (time.monotonic(), listed)
        return Json({"models": known[1]})


def heavy_choices(spec: LaneSpec) -> dict[str, Any] | None:
    """What the drawer offers for a heavy lane, and what the lane has; None for another lane."""
    if not spec.of:
        return None
    own = {name: getattr(spec, name, None) for name in HEAVY_OPTIONS}
    if own["prompt"] and not PROMPT_NAME.fullmatch(own["prompt"]):
        own["prompt"] = OWN_FILE
    return {
        "strategies": [
            {"id": one.name, "label": one.label, "prompts": shipped(one.name) if one.asks else []}
            for one in STRATEGIES.values()
        ],
        "presets": list(PRESETS),
        "max_width": MAX_WIDTH,
        **own,
    }
