"""The composer's and the turn actions' routes: attachments, estimate, totals and budget, settings, model lists, retry,
edit, versions.

Everything is checked against the visitor (see ``owner``): what is not theirs is not there. A request that cannot be
done is answered with ``{"error": sentence}`` for the person.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from ..chat.estimates import Estimates
from ..chat.spending import OverBudget, Spending
from ..chat.uploads import Uploads
from ..core.attachments import MAX_FILE_BYTES, AttachmentError, clean_name, fold, read_attachment, split, too_large
from ..core.branches import versions
from ..core.budget import BudgetError, read_budget
from ..core.conversation_settings import (
    ONE_TEMPERATURE_NOTE,
    ConversationSettings,
    SettingsError,
    has_one_temperature,
    read,
)
from ..core.estimate import total
from ..engine import Engine, EngineClosed, LaneBusy, UnknownLane, UnknownTurn
from ..log.conversation_settings import SettingsLog
from ..providers.base import ProviderError
from ..view.attempt_history import attempt_part
from .owner import owner_of
from .routes import Json, PageRoutes

if TYPE_CHECKING:
    from ..log.reader import LogReader
    from ..providers.roster import Roster

MODELS_FOR_S = 60.0  # a provider's list is asked for again after this
MODELS_WAIT_S = 20.0
MAX_JSON_BYTES = 4_000_000
NOT_YOURS = "This turn was sent by the command line or a program, so it is only read here. Send its prompt as your own."
MAX_DRAFTS = 1000  # visitors who have set something before their first prompt; the oldest are forgotten


class ChatRoutes:
    """What a person does in the chat, over one engine, log and roster."""

    def __init__(
        self,
        engine: Engine,
        reader: LogReader | None,
        roster: Roster,
        pages: PageRoutes,
        budget_usd: float | None = None,
    ) -> None:
        self._engine = engine
        self._roster = roster
        self._pages = pages
        self._counts = pages.counts
        self.estimates = Estimates(engine, reader, self._counts)
        self.spending = Spending(engine, reader, self.estimates, budget_usd)
        self._drafts: dict[str, ConversationSettings] = {}  # by owner: set before the first prompt
        self._models: dict[str, tuple[float, list[str]]] = {}
        self.uploads = Uploads()
        self.settings_log = SettingsLog(engine.log, reader)

    def routes(self) -> list[BaseRoute]:
        turn = "/kimi/turns/{turn_id}"
        lane = f"{turn}/lanes/{{lane}}"
        return [
            Route("/kimi/attachments", self.attach, methods=["POST"]),
            Route("/kimi/attachments/{key}", self.detach, methods=["DELETE"]),
            Route("/kimi/estimate", self.estimate, methods=["POST"]),
            Route("/kimi/spent", self.spent),
            Route("/kimi/budget", self.budget, methods=["GET", "PUT"]),
            Route("/kimi/settings", self.settings, methods=["GET", "PUT"]),
            Route("/kimi/versions", self.versions),
            Route("/kimi/lanes/{lane}/models", self.models),
            Route(f"{turn}/prompt", self.prompt),
            Route(f"{turn}/attachments/{{place:int}}", self.attachment),
            Route(f"{turn}/edit", self.edit, methods=["POST"]),
            Route(f"{lane}/retry", self.retry, methods=["POST"]),
            Route(f"{lane}/attempts/{{number:int}}", self.attempt),
        ]

    # -- attachments

    async def attach(self, request: Request) -> Response:
        """The file's bytes are the body, its name the query's ``name``."""
        name = request.query_params.get("name", "file")
        size = request.headers.get("content-length", "")
        if size.isdigit() and int(size) > MAX_FILE_BYTES:
            return refusal(str(too_large(clean_name(name), int(size))), 413)
        data = await body_of(request, MAX_FILE_BYTES + 1)
        try:
            attachment = await asyncio.to_thread(read_attachment, name, data)
        except AttachmentError as error:
            return refusal(str(error), 422)
        n_tokens = await asyncio.to_thread(self._counts.count, attachment.text)
        key = self.uploads.add(owner_of(request.cookies), attachment)
        return Json({"id": key, "name": attachment.name, "tokens": n_tokens})

    async def detach(self, request: Request) -> Response:
        self.uploads.drop(owner_of(request.cookies), [request.path_params["key"]])
        return Json({})

    async def attachment(self, request: Request) -> Response:
        """The text of one attachment of a sent prompt."""
        turn = await self._pages.turn_of(request)
        attachments = split(turn.prompt).attachments
        place = request.path_params["place"]
        if place >= len(attachments):
            raise HTTPException(404)
        return plain_text(attachments[place].text)

    # -- before sending

    async def estimate(self, request: Request) -> Response:
        """Body: ``{conversation, before, text, attachments}``; see ``Estimates.of``. No lanes: nothing to estimate."""
        asked = await json_of(request)
        owner = owner_of(request.cookies)
        conversation = await self._own(str(asked.get("conversation") or ""), owner)
        before = asked.get("before")
        before_seq = before if isinstance(before, int) else math.inf
        try:
            attachments = self.uploads.of(owner, [str(key) for key in asked.get("attachments") or []])
            settings = await asyncio.to_thread(self.settings_of, owner, conversation)
            prompt = fold(str(asked.get("text") or ""), attachments)
            return Json(await asyncio.to_thread(self.estimates.of, conversation, before_seq, prompt, settings))
        except AttachmentError as error:
            return Json({"lanes": [], "error": str(error)})  # to be refused when it is sent, not while it is written

    async def spent(self, request: Request) -> Response:
        """What the visitor has spent today, and on the conversation ``c`` if it is theirs; see ``Spending.totals``."""
        owner = owner_of(request.cookies)
        try:
            conversation = await self._own(request.query_params.get("c", ""), owner)
        except HTTPException:
            conversation = ""  # a page asks again when a turn ends, which may be because its conversation was deleted
        return Json(await asyncio.to_thread(self.spending.totals, owner, conversation))

    async def budget(self, request: Request) -> Response:
        """GET or PUT the visitor's budget, USD or null; both answer it, and what the server's is of a day."""
        owner = owner_of(request.cookies)
        if request.method == "PUT":
            try:
                wanted = read_budget(await json_of(request))
            except BudgetError as error:
                return refusal(str(error), 422)
            if not owner:
                return refusal("This browser keeps no cookies, so nothing can be set for you. Allow them here.", 409)
            self.spending.set_budget(owner, wanted)
        budget = await asyncio.to_thread(self.spending.budget, owner)
        return Json({**budget._asdict(), "server_day_usd": self.spending.budget_usd})

    # -- settings

    def settings_of(self, owner: str, conversation_id: str) -> ConversationSettings:
        """The settings the next prompt is sent with; of a conversation that has not begun where the id is empty."""
        if conversation_id:
            return self.settings_log.of(conversation_id)
        return self._drafts.get(owner, ConversationSettings())

    def _keep_draft(self, owner: str, settings: ConversationSettings) -> None:
        self._drafts.pop(owner, None)
        self._drafts[owner] = settings
        if len(self._drafts) > MAX_DRAFTS:
            del self._drafts[next(iter(self._drafts))]

    def sent_with(self, owner: str, conversation_id: str, settings: ConversationSettings, is_new: bool) -> None:
        """A conversation has begun (or forked) with these settings: they are its own from now on."""
        if is_new:
            self._drafts.pop(owner, None)
        if settings != ConversationSettings():
            self.settings_log.keep(conversation_id, settings)

    async def settings(self, request: Request) -> Response:
        """GET or PUT the settings of the conversation ``c`` (of the one to begin, without); both answer all of it."""
        owner = owner_of(request.cookies)
        conversation = await self._own(request.query_params.get("c", ""), owner)
        if request.method == "PUT":
            try:
                wanted = read(await json_of(request))
            except SettingsError as error:
                return refusal(str(error), 422)
            if not wanted.lanes_on(spec.id for spec in self._engine.specs):
                return refusal("At least one lane has to take part. Leave one on.", 422)
            if conversation:
                self.settings_log.keep(conversation, wanted)
            elif owner:
                self._keep_draft(owner, wanted)
        settings = await asyncio.to_thread(self.settings_of, owner, conversation)
        return Json({"settings": settings.as_dict(), "lanes": self._lanes(settings), "note": ONE_TEMPERATURE_NOTE})

    def _lanes(self, settings: ConversationSettings) -> list[dict[str, Any]]:
        """The lanes as configured, so that the drawer can say what an empty field means."""
        specs = {spec.id: spec for spec in self._engine.specs}
        lanes = []
        for spec in specs.values():
            chosen = settings.lanes[spec.id].model if spec.id in settings.lanes else ""
            params = {**specs.get(spec.of, spec).params, **spec.params}
            lanes.append(
                {
                    "id": spec.id,
                    "label": spec.label,
                    "model": spec.model,
                    "has_models": specs.get(spec.of, spec).provider != "embedded",
                    "width": spec.width if spec.provider == "heavy" else 0,
                    "max_tokens": params.get("max_tokens"),
                    "temperature": params.get("temperature"),
                    "one_temperature": has_one_temperature(chosen or spec.model),
                    "send_reasoning": spec.send_reasoning,
                    "system": spec.system,
                }
            )
        return lanes

    async def models(self, request: Request) -> Response:
        """The models the lane's provider lists."""
        lane = request.path_params["lane"]
        if lane not in {spec.id for spec in self._engine.specs}:
            raise HTTPException(404)
        known = self._models.get(lane)
        if known is None or time.monotonic() - known[0] > MODELS_FOR_S:
            try:
                async with asyncio.timeout(MODELS_WAIT_S):
                    listed = await self._roster.models_of(lane)
            except ProviderError as error:
                failure = error.failure
                return refusal(" ".join(part for part in (failure.message, failure.remedy) if part), 502)
            except TimeoutError:
                return refusal("The provider did not send its list of models in time. Try again.", 504)
            known = self._models[lane] = (time.monotonic(), listed)
        return Json({"models": known[1]})

    # -- turns

    async def prompt(self, request: Request) -> Response:
        """The whole prompt as it was sent, attachments included."""
        return plain_text((await self._pages.turn_of(request)).prompt)

    async def edit(self, request: Request) -> Response:
        """Take a sent prompt apart for editing: its text, and its attachments attached again."""
        turn = await self._pages.turn_of(request)
        parts = await asyncio.to_thread(split, turn.prompt)
        owner = owner_of(request.cookies)
        attachments = []
        for attachment in parts.attachments:
            n_tokens = await asyncio.to_thread(self._counts.count, attachment.text)
            key = self.uploads.add(owner, attachment)
            attachments.append({"id": key, "name": attachment.name, "tokens": n_tokens})
        return Json({"text": parts.text, "attachments": attachments, "seq": turn.seq})

    async def retry(self, request: Request) -> Response:
        """Ask a lane again. Where that would pass a budget the refusal has the code ``over_budget``: the person is to
        be asked, and with ``over_budget=yes`` in the query it goes out."""
        turn_id, lane = request.path_params["turn_id"], request.path_params["lane"]
        owner = owner_of(request.cookies)
        turn = await self._pages.found(turn_id, owner)
        if turn and turn.owner != owner:
            return refusal(NOT_YOURS, 409)
        try:
            await asyncio.to_thread(
                self.spending.send,
                lambda: self._engine.retry(turn_id, lane, owner=owner),
                lambda: self.estimates.total_of_turn(turn, [lane]) if turn else total([]),
                owner=owner,
                conversation_id=turn.conversation_id if turn else "",
                confirmed=request.query_params.get("over_budget") == "yes",
                what="retry",
            )
        except OverBudget as question:
            return refusal(str(question), 409, code="over_budget")
        except UnknownTurn as error:
            return refusal(str(error), 404)
        except (UnknownLane, LaneBusy) as error:
            return refusal(str(error), 409)
        except EngineClosed as error:
            return refusal(str(error), 503)
        return Json({}, 202)

    async def attempt(self, request: Request) -> Response:
        """One of a lane's attempts by its number from 1, as a frame's part of the lane."""
        turn = await self._pages.turn_of(request)
        lane, number = request.path_params["lane"], request.path_params["number"]
        part = await asyncio.to_thread(attempt_part, turn, lane, number)
        if part is None:
            raise HTTPException(404)
        return Json(part)

    async def versions(self, request: Request) -> Response:
        """The edited prompts of the conversation ``c``: by turn number its place and the conversations."""
        conversation = await self._own(request.query_params.get("c", ""), owner_of(request.cookies))
        if not conversation:
            return Json({})
        forks = await asyncio.to_thread(self._engine.forks, conversation)
        found = versions(forks, conversation, sorted({fork.forked_at for fork in forks if fork.forked_from}))
        return Json({str(seq): version._asdict() for seq, version in found.items()})

    async def _own(self, conversation_id: str, owner: str) -> str:
        """The id, if the conversation is this visitor's; 404 if it is another's or not there.

        One that is nobody's (sent from the terminal) is only looked at: what is sent from it begins a new one, so here
        it counts as that.
        """
        if not conversation_id:
            return ""
        whose = await asyncio.to_thread(self._engine.owner_of, conversation_id)
        if whose not in ("", owner):
            raise HTTPException(404)
        return conversation_id if whose == owner else ""


def refusal(sentence: str, status: int, **more: str) -> Response:
    return Json({"error": sentence, **more}, status)


def plain_text(text: str) -> Response:
    return PlainTextResponse(text.encode(errors="replace"), headers={"Cache-Control": "no-store"})


async def body_of(request: Request, limit: int) -> bytes:
    """The body up to ``limit`` bytes: reading stops there."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) >= limit:
            break
    return bytes(data[:limit])


async def json_of(request: Request) -> dict[str, Any]:
    """The body as a JSON object; 400 for anything else."""
    data = await body_of(request, MAX_JSON_BYTES)
    try:
        value = orjson.loads(data)
    except ValueError:
        raise HTTPException(400) from None
    if not isinstance(value, dict):
        raise HTTPException(400)
    return value
