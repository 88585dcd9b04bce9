"""Routes of conversations: list, import, search, rename, delete, versions of edited prompts; replay and export.

Conversations of other visitors answer 404 (see ``visitor``). A refused request is answered with
``{"error": sentence}`` for the user.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..chat.imports import import_conversation
from ..chat.prompt_queue import PromptQueue
from ..core.blind import is_blind, visible
from ..core.branches import versions
from ..core.owner import PROGRAM
from ..core.portable import NotAnExport
from ..core.title import clean_title, title_of
from ..core.turn import TurnLog
from ..engine import Engine
from ..log.conversations import PAGE, ConversationGone, ConversationHead, head_of, list_conversations
from ..log.search import Match, search
from ..log.store import LogError
from ..turns import Turns
from ..view.examples import example_names, read_example
from ..view.export import EXPORTS, export
from ..view.replay import replay_document
from .login import LOGGED_IN
from .respond import Json, body_of, json_of, refusal
from .visitor import VisibleTurns, visitor_of

log = logging.getLogger(__name__)

MAX_TITLE_CHARS = 200
MAX_IMPORT_BYTES = 100_000_000
STOP_WAIT_S = 5.0  # for the running turns of a conversation that is being deleted
STOP_LOOK_S = 0.01
BLIND = "This turn is blind: vote first, or show its names."
RUNNING = "This turn is still running. Wait for it, or stop it."


class ConversationRoutes:
    """The routes over one engine and its turns."""

    def __init__(self, engine: Engine, turns: Turns, queue: PromptQueue, visible: VisibleTurns) -> None:
        self._engine = engine
        self._queue = queue
        self._turns = turns
        self._visible = visible

    def routes(self) -> list[BaseRoute]:
        one = "/kimi/conversations/{conversation_id}"
        turn = "/kimi/turns/{turn_id}"
        return [
            Route("/kimi/conversations", self.conversations),
            Route("/kimi/conversations", self.take_in, methods=["POST"]),
            Route("/kimi/search", self.search),
            Route("/kimi/versions", self.versions),
            Route(f"{one}/title", self.rename, methods=["PUT"]),
            Route(f"{one}/export", self.export_conversation),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{turn}/export", self.export_turn),
            Route(f"{turn}/replay", self.replay),
            Route("/kimi/examples", self.examples),
            Route("/kimi/examples/{name}", self.example),
        ]

    async def conversations(self, request: Request) -> Response:
        """A page of the visitor's conversations, newest first; ``before`` is the previous page's ``more``."""
        owner = visitor_of(request)
        utc, _, turn_id = request.query_params.get("before", "").partition("~")
        before = (utc, turn_id) if turn_id else None
        heads: list[ConversationHead] = []
        if owner:
            heads = await asyncio.to_thread(list_conversations, self._turns.reader, owner, before=before)
        running = {turn.conversation_id: turn for turn in self._turns.live(owner, "chat")} if owner else {}
        shown = [_describe(head, head.conversation_id in running) for head in heads]
        if before is None:  # conversations so new that their rows are not written yet
            listed = {head.conversation_id for head in heads}
            shown[:0] = [_describe_new(turn) for id, turn in running.items() if id not in listed and not turn.seq]
        more = "~".join(heads[-1].cursor) if len(heads) == PAGE else None
        can_log_out = bool(request.scope.get(LOGGED_IN))
        return Json({"conversations": shown, "more": more, "can_log_out": can_log_out})

    async def take_in(self, request: Request) -> Response:
        """Import the JSON export in the body. ``{id, is_new}``: its conversation, which may be in the log already."""
        data = await body_of(request, MAX_IMPORT_BYTES + 1)
        if len(data) > MAX_IMPORT_BYTES:
            return refusal(
                f"The file is larger than {MAX_IMPORT_BYTES // 1_000_000} MB, the most that is imported.", 413
            )
        owner = visitor_of(request)
        if not owner:
            return refusal(
                "This browser keeps no cookies, so nothing can be kept for you. Allow them for this page.", 409
            )
        try:
            conversation_id, is_new = await asyncio.to_thread(import_conversation, self._turns, data, owner)
        except NotAnExport as error:
            return refusal(f"{error} Export, then JSON, makes a file that can be imported.", 422)
        except (LogError, RuntimeError) as error:
            log.warning("%s", error)
            return refusal(str(error), 503)
        return Json({"id": conversation_id, "is_new": is_new}, 201 if is_new else 200)

    async def search(self, request: Request) -> Response:
        """The visitor's conversations that contain ``q``, each with the passage."""
        owner = visitor_of(request)
        found: list[Match] = []
        if owner:
            found = await asyncio.to_thread(search, self._turns.reader, owner, request.query_params.get("q", ""))
        return Json({"matches": [_describe_match(match) for match in found]})

    async def rename(self, request: Request) -> Response:
        """Body: ``{"title": "…"}``; an empty title restores that of the first prompt."""
        conversation_id, owner = await self._visible.own(request)
        title = clean_title(str((await json_of(request)).get("title") or ""))[:MAX_TITLE_CHARS].strip()
        if not title:
            turns = await asyncio.to_thread(self._turns.reader.conversation, conversation_id, False)
            title = title_of(turns[0].prompt) if turns else ""
        failed = await _done(self._turns.writer.rename_conversation(conversation_id, owner, title))
        return failed or Json({"title": title})

    async def delete(self, request: Request) -> Response:
        """Stop the running turns, then delete the conversation permanently."""
        conversation_id, owner = await self._visible.own(request)
        await asyncio.to_thread(self._queue.forget, conversation_id)
        await asyncio.to_thread(self._stop, conversation_id)
        failed = await _done(self._turns.writer.delete_conversation(conversation_id, owner))
        if failed is None:
            self._turns.forget(conversation_id)
        return failed or Json({})

    async def versions(self, request: Request) -> Response:
        """The versions of edited prompts of the conversation ``c``, by turn number: position and conversations."""
        conversation = await self._visible.requested_conversation(
            request.query_params.get("c", ""), visitor_of(request)
        )
        if not conversation:
            return Json({})
        forks = await asyncio.to_thread(self._turns.forks, conversation)
        found = versions(forks, conversation, sorted({fork.forked_at for fork in forks if fork.forked_from}))
        return Json({str(seq): version._asdict() for seq, version in found.items()})

    async def replay(self, request: Request) -> Response:
        turn = await self._visible.turn_of(request)
        if is_blind(turn):
            return refusal(BLIND, 409)
        if not turn.closed:
            return refusal(RUNNING, 409)
        return Json(await asyncio.to_thread(replay_document, turn))

    async def export_turn(self, request: Request) -> Response:
        turn = await self._visible.turn_of(request)
        return await self._export(request, [turn], title_of(turn.prompt))

    async def export_conversation(self, request: Request) -> Response:
        turns = await self._visible.conversation(request.path_params["conversation_id"], visitor_of(request))
        if not turns:
            raise HTTPException(404)
        head = await asyncio.to_thread(head_of, self._turns.reader, turns[-1].conversation_id)
        return await self._export(request, turns, head.title if head else title_of(turns[0].prompt))

    async def _export(self, request: Request, turns: list[TurnLog], title: str) -> Response:
        """An export as a file: ``format`` is html, md or json; ``reasoning=0`` omits the reasoning."""
        kind = request.query_params.get("format", "html")
        if kind not in EXPORTS:
            return refusal(f"There is no format {kind}: choose {', '.join(EXPORTS)}.", 422)
        if not all(turn.closed for turn in turns):
            return refusal(RUNNING, 409)
        shown = [visible(turn) for turn in turns]
        reasoning = request.query_params.get("reasoning") != "0"
        made = await asyncio.to_thread(export, shown, title, kind, reasoning=reasoning)
        disposition = f"attachment; filename*=UTF-8''{quote(made.name)}"
        headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
        return Response(made.data, media_type=made.media_type, headers=headers)

    async def examples(self, request: Request) -> Response:
        """The recorded turns that ship with the app."""
        return Json({"examples": [{"name": name, "title": title} for name, title in example_names().items()]})

    async def example(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in example_names():
            raise HTTPException(404)
        return Json(await asyncio.to_thread(lambda: replay_document(read_example(name))))

    def _stop(self, conversation_id: str) -> None:
        """Stop the conversation's running turns and wait for their ends. Blocks, so call it on a thread."""
        turns = [turn for turn in self._turns.live() if turn.conversation_id == conversation_id]
        for turn in turns:
            self._engine.stop(turn.turn_id)
        deadline = time.monotonic() + STOP_WAIT_S
        while any(not turn.closed for turn in turns) and time.monotonic() < deadline:
            time.sleep(STOP_LOOK_S)


async def _done(change: Future[None]) -> Response | None:
    """Wait for a change of the log; return a refusal if it failed."""
    try:
        await asyncio.wrap_future(change)
    except ConversationGone:
        raise HTTPException(404) from None
    except LogError as error:
        log.warning("%s", error)
        return refusal(str(error), 503)
    return None


def _describe(head: ConversationHead, running: bool) -> dict[str, Any]:
    return {
        "id": head.conversation_id,
        "title": head.title,
        "turns": head.n_turns,
        "lanes": head.n_lanes,
        "at_utc": head.last_at_utc,
        "is_fork": bool(head.forked_from),
        "by_program": head.owner == PROGRAM,
        "running": running,
    }


def _describe_new(turn: TurnLog) -> dict[str, Any]:
    title, at_utc = title_of(turn.prompt), turn.started_at_utc
    head = ConversationHead(turn.conversation_id, title, 1, len(turn.lanes), "", turn.owner, at_utc, turn.turn_id)
    return _describe(head, running=True)


def _describe_match(match: Match) -> dict[str, Any]:
    return {
        "id": match.conversation_id,
        "title": match.title,
        "part": match.part,
        "turn": match.turn_id,
        "label": match.label,
        "snippet": [{"text": piece.text, "hit": piece.hit} for piece in match.snippet],
    }
