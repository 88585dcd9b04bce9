"""Routes of the prompts that wait for a conversation's lanes; ``turn_commands`` queues them.

Conversations of other visitors answer 404. A refused request is answered with ``{"error": sentence, "code": …}``.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..chat.prompt_queue import NotQueued
from ..chat.prompts import texts_of
from ..chat.services import ChatServices
from ..turns import Turns
from .page_state import PageState
from .respond import Json, image_file, json_of
from .turn_commands import REFUSED, editable, refused
from .visitor import VisibleTurns


class QueueRoutes:
    """The queue of each conversation. Every answer has ``queue``, its prompts, as in ``/kimi/state``."""

    def __init__(self, turns: Turns, chat: ChatServices, state: PageState, visible: VisibleTurns) -> None:
        self._turns = turns
        self._chat = chat
        self._state = state
        self._visible = visible

    def routes(self) -> list[BaseRoute]:
        queue = "/kimi/conversations/{conversation_id}/queue"
        return [
            Route(queue, self.shown),
            Route(f"{queue}/{{prompt_id}}", self.remove, methods=["DELETE"]),
            Route(f"{queue}/{{prompt_id}}/images/{{place:int}}", self.image),
            Route(f"{queue}/{{prompt_id}}/edit", self.edit, methods=["POST"]),
            Route(f"{queue}/{{prompt_id}}/send", self.send, methods=["POST"]),
        ]

    async def shown(self, request: Request) -> Response:
        """The queue, and ``newest``, the id of the conversation's last turn, which it may just have sent."""
        conversation_id, _ = await self._visible.own(request)
        return await self._answer(conversation_id)

    async def remove(self, request: Request) -> Response:
        conversation_id, _ = await self._visible.own(request)
        try:
            await run_in_threadpool(self._chat.queue.remove, conversation_id, request.path_params["prompt_id"])
        except NotQueued as error:
            return refused(error)
        return await self._answer(conversation_id)

    async def image(self, request: Request) -> Response:
        """An image of a queued prompt."""
        conversation_id, _ = await self._visible.own(request)
        try:
            queued = await run_in_threadpool(self._chat.queue.found, conversation_id, request.path_params["prompt_id"])
        except NotQueued:
            raise HTTPException(404) from None
        for image in queued.images[request.path_params["place"] :][:1]:
            if image.data:
                return image_file(image.data, image.media_type)
        raise HTTPException(404)

    async def edit(self, request: Request) -> Response:
        """A queued prompt for the composer: its text, and its attachments as new uploads. It stays queued; the page
        removes it once it has this answer, so that it is never lost."""
        conversation_id, owner = await self._visible.own(request)
        try:
            queued = await run_in_threadpool(self._chat.queue.found, conversation_id, request.path_params["prompt_id"])
        except NotQueued as error:
            return refused(error)
        images = [image for image in queued.images if image.data]
        found = await run_in_threadpool(editable, self._chat, queued.prompt, owner, images)
        return Json({**found, "basis": queued.basis})

    async def send(self, request: Request) -> Response:
        """Send a queued prompt now; body ``{lanes}`` sends it only to these. Budgets: as for a retry."""
        conversation_id, owner = await self._visible.own(request)
        lanes = texts_of((await json_of(request)).get("lanes"))
        confirmed = request.query_params.get("over_budget") == "yes"
        prompt_id = request.path_params["prompt_id"]
        try:
            await run_in_threadpool(self._chat.queue.send_now, conversation_id, prompt_id, owner, lanes, confirmed)
        except REFUSED as error:
            return refused(error)
        return await self._answer(conversation_id)

    async def _answer(self, conversation_id: str) -> Response:
        queue = await run_in_threadpool(self._state.queue, conversation_id)
        newest = await run_in_threadpool(self._newest, conversation_id)
        return Json({"queue": queue, "newest": newest})

    def _newest(self, conversation_id: str) -> str:
        turns = self._turns.recent(conversation_id) or self._turns.conversation(conversation_id, with_entries=False)
        return turns[-1].turn_id if turns else ""
