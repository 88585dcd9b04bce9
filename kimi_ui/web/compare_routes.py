"""What a person makes of a turn's answers: the vote, opening a blind turn, the diff of two of them, and a lane's
reasoning taken for its answer.

While a turn is blind its lanes are named by their slots here too (see ``core.blind``); what comes in as a slot is
turned into the lane on this side.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..core.blind import is_blind, slot_names
from ..core.compare.conclusion import conclusion
from ..core.compare.diff import Segment, compare, count_words
from ..core.markdown.safe import clean_text
from ..core.turn import TurnFold, TurnLog, promotion
from ..core.vote import NONE, Vote
from ..engine import Engine, EngineClosed
from ..log.votes import vote_op
from ..view.frames import TurnView, describe_turn
from .chat_routes import json_of, refusal
from .routes import Json, PageRoutes
from .stream import now_ns


class Source(NamedTuple):
    """An answer that can be compared. ``id`` is the lane's, ``lane/k`` for heavy's trajectory number k."""

    id: str
    label: str
    answer: str


class CompareRoutes:
    """Votes and diffs over one engine and its log."""

    def __init__(self, engine: Engine, pages: PageRoutes) -> None:
        self._engine = engine
        self._pages = pages

    def routes(self) -> list[BaseRoute]:
        turn = "/kimi/turns/{turn_id}"
        return [
            Route(f"{turn}/vote", self.vote, methods=["POST"]),
            Route(f"{turn}/lanes/{{lane}}/promote", self.promote, methods=["POST"]),
            Route(f"{turn}/answers", self.answers),
            Route(f"{turn}/diff", self.diff),
        ]

    async def vote(self, request: Request) -> Response:
        """Body ``{choice, lane}``, see ``core.vote``. Answers with the turn as it may be told from now on.

        ``choice`` none takes a vote back; for a blind turn it opens it without one.
        """
        asked = await json_of(request)
        turn = await self._pages.own_turn(request)
        blind = is_blind(turn)
        choice, lane = str(asked.get("choice") or ""), str(asked.get("lane") or "")
        if blind and choice != NONE and not turn.closed:
            return refusal("The answers are not shown yet: vote once they are.", 409)
        try:
            vote = Vote(
                choice=choice,
                lane=slot_names(turn).get(lane, "") if blind else lane,
                field=await asyncio.to_thread(_answered, turn) if choice != NONE else (),
                blind=blind,
                speed_visible=not blind,
                voted_at_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
            )
        except ValueError as error:
            return refusal(str(error), 422)
        if self._engine.log is not None:
            await asyncio.wrap_future(self._engine.log.write([vote_op(turn.turn_id, vote)]))
        turn.vote = vote
        return Json(describe_turn(turn))

    async def promote(self, request: Request) -> Response:
        """Take the lane's reasoning for its answer (see ``core.events.Promoted``). Answers with what the page shows of
        the lane from now on, as a frame's part."""
        turn = await self._pages.own_turn(request)
        lane, n_known = request.path_params["lane"], len(turn.entries)
        entry = None if is_blind(turn) else await asyncio.to_thread(promotion, turn, lane)
        if entry is None:
            return refusal("There is no reasoning here that could stand as the answer. Reload the page.", 409)
        try:
            self._engine.add(turn, entry)
        except EngineClosed as error:
            return refusal(str(error), 503)

        def news() -> dict[str, Any]:
            view = TurnView(turn)
            view.resume(n_known)
            view.catch_up()
            frame = view.frame(now_ns(turn))
            part: dict[str, Any] = frame["lanes"][lane] if frame else {}
            return part

        return Json(await asyncio.to_thread(news))

    async def answers(self, request: Request) -> Response:
        """What can be compared so far: lanes and trajectories with an answer, with their words."""
        turn = await self._pages.turn_of(request)
        sources = await asyncio.to_thread(sources_of, turn)
        return Json([{"id": one.id, "label": one.label, "words": count_words(one.answer)} for one in sources])

    async def diff(self, request: Request) -> Response:
        """``?left=…&right=…``: ids as ``answers`` gives them."""
        turn = await self._pages.turn_of(request)
        found = {source.id: source for source in await asyncio.to_thread(sources_of, turn)}
        try:
            left, right = (found[request.query_params.get(side, "")] for side in ("left", "right"))
        except KeyError:
            raise HTTPException(404) from None
        return Json(await asyncio.to_thread(diff_part, left, right))


def sources_of(turn: TurnLog) -> list[Source]:
    """The answers of a turn that are not empty, lanes in their order, each followed by its trajectories."""
    fold = TurnFold.of(turn).apply_all(list(turn.entries))
    sources: list[Source] = []
    for info in turn.lanes:
        main = fold.current(info.id)
        if main is None:
            continue
        sources.append(Source(info.id, info.label, fold.folds[main].answer))
        newest = {fold.attempts[child].k_index: child for child in fold.children.get(main, [])}
        for k, child in sorted((k, child) for k, child in newest.items() if k is not None):
            sources.append(Source(f"{info.id}/{k}", f"{info.label} #{k + 1}", fold.folds[child].answer))
    return [source for source in sources if source.answer.strip()]


def _answered(turn: TurnLog) -> tuple[str, ...]:
    """The lanes that have an answer by now."""
    return tuple(source.id for source in sources_of(turn) if source.id in {info.id for info in turn.lanes})


def diff_part(left: Source, right: Source) -> dict[str, Any]:
    """A diff as the page takes it: texts only, to be put in as text.

    ``{left, right: labels, summary: [sentences], segments: [{kind, code, left, right, words: [[kind, text]…]}]}``;
    ``right`` is left out where it equals ``left``.
    """
    a, b = clean_text(left.answer), clean_text(right.answer)
    found = compare(a, b)
    summary = []
    if found.identical:
        summary.append("The two answers are identical.")
    elif said := conclusion(a, b):
        summary.append(said.sentence(left.label, right.label))
    if found.in_common is not None and not found.identical:
        summary.append(
            f"{_percent(found.in_common)} of the words stand in both, in the same order: "
            f"{found.n_left_words:,} words in {left.label}, {found.n_right_words:,} in {right.label}."
        )
    if not found.aligned:
        summary.append("The answers are too long to be compared piece by piece.")
    return {
        "left": left.label,
        "right": right.label,
        "summary": summary,
        "segments": [_segment_part(segment) for segment in found.segments],
    }


def _segment_part(segment: Segment) -> dict[str, Any]:
    part: dict[str, Any] = {"kind": segment.kind, "code": segment.code, "left": segment.left}
    if segment.right != segment.left:
        part["right"] = segment.right
    if segment.words:
        part["words"] = segment.words
    return part


def _percent(share: float) -> str:
    """Whole percent, but never "0 %" of something or "100 %" of not quite all."""
    whole = round(100 * share)
    if whole == 0 and share > 0:
        return "Under 1 %"
    if whole == 100 and share < 1:
        return "Over 99 %"
    return f"{whole} %"
