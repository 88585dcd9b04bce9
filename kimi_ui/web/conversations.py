"""Routes of conversations: list, import, search, rename, marks, versions of edited prompts; replay and export.

A deletion has two steps. ``mark`` hides the conversations at once, and the list then names them, so that a page offers
to take that back. When it has offered that for ``UNDO_S`` seconds, it asks to erase them. If it is closed before, the
next page offers it again: neither the conversations nor the deletion are lost.

Conversations of other visitors answer 404 (see ``visitor``). A refused request is answered with
``{"error": sentence}`` for the user.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
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
from ..log.conversations import (
    MARKS,
    PAGE,
    ConversationGone,
    ConversationHead,
    Deleted,
    ListEntry,
    deleted_conversations,
    entries_of,
    head_of,
    list_conversations,
    pinned_conversations,
)
from ..log.search import Match, search
from ..log.store import LogError
from ..turns import Turns
from ..view.examples import example_names, read_example
from ..view.export import EXPORTS, ExportFile, export, zipped
from ..view.replay import replay_document
from .login import LOGGED_IN
from .respond import Json, body_of, json_of, refusal
from .visitor import VisibleTurns, person_of, visitor_of

log = logging.getLogger(__name__)

MAX_TITLE_CHARS = 200
MAX_IMPORT_BYTES = 100_000_000
MAX_AT_ONCE = 500  # conversations that one request marks, erases or exports
UNDO_S = 10.0
STOP_WAIT_S = 5.0  # for the running turns of a conversation that is being deleted
STOP_LOOK_S = 0.01
BLIND = "This turn is blind: vote first, or show its names."
HOW_MANY = f"Choose between 1 and {MAX_AT_ONCE} conversations."
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
            Route("/kimi/conversations/marks", self.mark, methods=["POST"]),
            Route("/kimi/conversations/erase", self.erase, methods=["POST"]),
            Route("/kimi/conversations/export", self.export_several),
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
        """A page of the visitor's conversations, newest first; ``before`` is the previous page's ``more``.

        The first page begins with the pinned ones and names the deleted ones that can be taken back: ``left_s`` is how
        long to offer that, ``undo_s`` how long to offer to take something else back. ``archived`` in the query: the
        archived ones. ``person`` is the name of the person with an account.
        """
        owner = visitor_of(request)
        archived = "archived" in request.query_params
        utc, _, turn_id = request.query_params.get("before", "").partition("~")
        before = (utc, turn_id) if turn_id else None
        running = {turn.conversation_id: turn for turn in self._turns.live(owner, "chat")} if owner else {}
        pinned, entries, new, deleted = await asyncio.to_thread(self._listed, owner, archived, before, running)
        shown = [*(_describe_new(turn) for turn in new), *(_describe(one, running) for one in [*pinned, *entries])]
        more = "~".join(entries[-1].cursor) if len(entries) == PAGE else None
        return Json(
            {
                "conversations": shown,
                "more": more,
                "undo_s": UNDO_S,
                "deleted": [{**one._asdict(), "left_s": _left_s(one)} for one in deleted],
                "can_log_out": bool(request.scope.get(LOGGED_IN)),
                "person": person.name if (person := person_of(request)) else None,
            }
        )

    def _listed(
        self, owner: str, archived: bool, before: tuple[str, str] | None, running: Mapping[str, TurnLog]
    ) -> tuple[list[ListEntry], list[ListEntry], list[TurnLog], list[Deleted]]:
        """Pinned entries, other entries, turns so new that their rows are not written yet, deleted conversations."""
        reader = self._turns.reader
        if not owner:
            return [], [], [], []
        entries = list_conversations(reader, owner, archived=archived, before=before)
        if before:
            return [], entries, [], []
        deleted = deleted_conversations(reader, owner)
        if archived:
            return [], entries, [], deleted
        first = {id: turn for id, turn in running.items() if not turn.seq}
        written = entries_of(reader, owner, first) if first else {}
        gone = {one.conversation_id for one in deleted}
        new = [turn for id, turn in first.items() if id not in written and id not in gone]
        return pinned_conversations(reader, owner), entries, new, deleted

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
        entries: dict[str, ListEntry] = {}
        if owner:
            found = await asyncio.to_thread(search, self._turns.reader, owner, request.query_params.get("q", ""))
            ids = [match.conversation_id for match in found]
            entries = await asyncio.to_thread(entries_of, self._turns.reader, owner, ids)
        return Json({"matches": [_describe_match(match, entries.get(match.conversation_id)) for match in found]})

    async def rename(self, request: Request) -> Response:
        """Body: ``{"title": "…"}``; an empty title restores that of the first prompt."""
        conversation_id, owner = await self._visible.own(request)
        title = clean_title(str((await json_of(request)).get("title") or ""))[:MAX_TITLE_CHARS].strip()
        if not title:
            turns = await asyncio.to_thread(self._turns.reader.conversation, conversation_id, False)
            title = title_of(turns[0].prompt, turns[0].images) if turns else ""
        failed = await _done(self._turns.writer.rename_conversation(conversation_id, owner, title))
        return failed or Json({"title": title})

    async def mark(self, request: Request) -> Response:
        """Mark conversations, or take that back; body ``{ids, mark, on}``, ``mark`` is a key of ``MARKS``.

        In conversations that are marked as deleted, running turns are stopped and queued prompts held back.
        """
        body = await json_of(request)
        ids, mark, on = _ids(body.get("ids")), body.get("mark"), body.get("on") is True
        owner = visitor_of(request)
        if not owner:
            raise HTTPException(404)
        if not 1 <= len(ids) <= MAX_AT_ONCE:
            return refusal(HOW_MANY, 422)
        if mark not in MARKS:
            return refusal(f"A conversation is marked as one of: {', '.join(MARKS)}.", 422)
        deletes = on and mark == "deleted"
        if deletes:
            for conversation_id in ids:
                await self._visible.check_own(conversation_id, owner)
                await asyncio.to_thread(self._queue.hold, conversation_id)
            await asyncio.to_thread(self._stop, ids)
        failed = await _done(self._turns.writer.mark_conversations(ids, owner, mark, on))
        if failed is None and deletes:
            self._forget(ids)
        return failed or Json({})

    async def erase(self, request: Request) -> Response:
        """Delete for good those of the conversations ``{ids}`` that are marked as deleted."""
        ids = _ids((await json_of(request)).get("ids"))
        owner = visitor_of(request)
        if not owner:
            raise HTTPException(404)
        if not 1 <= len(ids) <= MAX_AT_ONCE:
            return refusal(HOW_MANY, 422)
        failed = await _done(self._turns.writer.erase_conversations(ids, owner))
        if failed is None:
            for conversation_id in ids:
                self._queue.forget(conversation_id)
        return failed or Json({})

    async def delete(self, request: Request) -> Response:
        """Stop the running turns, then delete the conversation for good at once."""
        conversation_id, owner = await self._visible.own(request)
        await asyncio.to_thread(self._queue.forget, conversation_id)
        await asyncio.to_thread(self._stop, [conversation_id])
        failed = await _done(self._turns.writer.delete_conversation(conversation_id, owner))
        if failed is None:
            self._forget([conversation_id])
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
        return await self._export(request, [turn], title_of(turn.prompt, turn.images))

    async def export_conversation(self, request: Request) -> Response:
        turns = await self._visible.conversation(request.path_params["conversation_id"], visitor_of(request))
        if not turns:
            raise HTTPException(404)
        return await self._export(request, turns, await self._title(turns))

    async def export_several(self, request: Request) -> Response:
        """The conversations ``ids`` (separated by commas) as a ZIP archive of a file each, else as ``_export``."""
        ids = _ids(request.query_params.get("ids", "").split(","))
        if not 1 <= len(ids) <= MAX_AT_ONCE:
            return refusal(HOW_MANY, 422)
        made: list[ExportFile] = []
        for conversation_id in ids:  # one at a time: a conversation's events can take tens of megabytes
            turns = await self._visible.conversation(conversation_id, visitor_of(request))
            if not turns:
                raise HTTPException(404)
            file = await self._made(request, turns, await self._title(turns))
            if isinstance(file, Response):
                return file
            made.append(file)
        return _file(await asyncio.to_thread(zipped, made, f"{len(made)} conversations"))

    async def _title(self, turns: list[TurnLog]) -> str:
        head = await asyncio.to_thread(head_of, self._turns.reader, turns[-1].conversation_id)
        return head.title if head else title_of(turns[0].prompt, turns[0].images)

    async def _export(self, request: Request, turns: list[TurnLog], title: str) -> Response:
        """An export as a file: ``format`` is html, md or json; ``reasoning=0`` omits the reasoning."""
        made = await self._made(request, turns, title)
        return made if isinstance(made, Response) else _file(made)

    async def _made(self, request: Request, turns: list[TurnLog], title: str) -> ExportFile | Response:
        """The export, or a refusal."""
        kind = request.query_params.get("format", "html")
        if kind not in EXPORTS:
            return refusal(f"There is no format {kind}: choose {', '.join(EXPORTS)}.", 422)
        if not all(turn.closed for turn in turns):
            return refusal(RUNNING, 409)
        shown = [visible(turn) for turn in turns]
        reasoning = request.query_params.get("reasoning") != "0"
        return await asyncio.to_thread(export, shown, title, kind, reasoning=reasoning)

    async def examples(self, request: Request) -> Response:
        """The recorded turns that ship with the app."""
        return Json({"examples": [{"name": name, "title": title} for name, title in example_names().items()]})

    async def example(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in example_names():
            raise HTTPException(404)
        return Json(await asyncio.to_thread(lambda: replay_document(read_example(name))))

    def _stop(self, conversation_ids: Sequence[str]) -> None:
        """Stop the conversations' running turns and wait for their ends. Blocks, so call it on a thread."""
        turns = [turn for turn in self._turns.live() if turn.conversation_id in conversation_ids]
        for turn in turns:
            self._engine.stop(turn.turn_id)
        deadline = time.monotonic() + STOP_WAIT_S
        while any(not turn.closed for turn in turns) and time.monotonic() < deadline:
            time.sleep(STOP_LOOK_S)

    def _forget(self, conversation_ids: Sequence[str]) -> None:
        for conversation_id in conversation_ids:
            self._turns.forget(conversation_id)


def _ids(value: Any) -> list[str]:
    """The ids of a request, each once."""
    return list(dict.fromkeys(str(id) for id in value if id)) if isinstance(value, list) else []


def _file(made: ExportFile) -> Response:
    disposition = f"attachment; filename*=UTF-8''{quote(made.name)}"
    headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
    return Response(made.data, media_type=made.media_type, headers=headers)


def _left_s(deleted: Deleted) -> float:
    """How long a page offers to take a deletion back: for the rest of the time, or again if no page did to its end."""
    age_s = (datetime.now(UTC) - datetime.fromisoformat(deleted.deleted_at_utc)).total_seconds()
    return UNDO_S - age_s if 0 <= age_s < UNDO_S else UNDO_S


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


def _describe(entry: ListEntry, running: Container[str]) -> dict[str, Any]:
    newest = entry.newest
    branches = [_describe_branch(head, head.conversation_id in running) for head in entry.branches]
    return {
        "id": entry.conversation_id,
        "title": entry.title,
        "turns": newest.n_turns,
        "lanes": newest.n_lanes,
        "at_utc": newest.last_at_utc,
        "newest": newest.conversation_id,
        "branches": branches if len(branches) > 1 else [],
        "pinned": entry.pinned,
        "archived": entry.archived,
        "by_program": newest.owner == PROGRAM,
        "running": any(branch["running"] for branch in branches),
    }


def _describe_branch(head: ConversationHead, running: bool) -> dict[str, Any]:
    """``edited``: the number of the edited prompt that began it, from 1; null for the conversation it began in."""
    return {
        "id": head.conversation_id,
        "title": head.title,
        "turns": head.n_turns,
        "at_utc": head.last_at_utc,
        "depth": head.depth,
        "edited": head.forked_at + 1 if head.forked_from else None,
        "running": running,
    }


def _describe_new(turn: TurnLog) -> dict[str, Any]:
    title, at_utc = title_of(turn.prompt, turn.images), turn.started_at_utc
    head = ConversationHead(turn.conversation_id, title, 1, len(turn.lanes), "", 0, turn.owner, at_utc, turn.turn_id)
    return _describe(ListEntry((head,)), {turn.conversation_id})


def _describe_match(match: Match, entry: ListEntry | None) -> dict[str, Any]:
    """``attempts``: how many the lane has; ``branch_of``: the title of the entry that the conversation is a branch of,
    else empty. The rest as in ``Match``."""
    is_branch = entry is not None and entry.conversation_id != match.conversation_id
    return {
        "id": match.conversation_id,
        "title": match.title,
        "part": match.part,
        "turn": match.turn_id,
        "lane": match.lane,
        "label": match.label,
        "attempt": match.attempt,
        "attempts": match.n_attempts,
        "trajectory": match.trajectory,
        "snippet": [{"text": piece.text, "hit": piece.hit} for piece in match.snippet],
        "archived": entry is not None and entry.archived,
        "branch_of": entry.title if entry and is_branch else "",
    }
