"""Routes of blind votes on a benchmark's answers: a pair to compare, and the vote on it.

The page gets two answers as A and B in random order and an id that says nothing of their lanes; which is which is kept
here until the vote. Votes are stored as those on blind turns are (``log.votes``).
"""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..bench import records
from ..bench.preferences import Pair, blind_vote, pairs_of, without_vote
from ..bench.results import Run, Sample
from ..bench.texts import texts_of
from ..core.blind import slot_name
from ..core.owner import may_read
from ..core.vote import ALL_BAD, LANE, TIE
from ..turns import Turns
from .respond import Json, json_of, refusal
from .visitor import visitor_of

MAX_BALLOTS = 1000  # that were shown and not voted on


class _Ballot(NamedTuple):
    """A pair as it is shown: ``order`` is its two samples by slot."""

    pair: Pair
    order: tuple[Sample, Sample]
    labels: dict[str, str]


class BallotRoutes:
    """Blind votes over one app's turns. ``private``: visitors see only their own runs."""

    def __init__(self, turns: Turns, private: bool = False) -> None:
        self._turns = turns
        self._private = private
        self._shown: dict[str, _Ballot] = {}  # by id, oldest first

    def routes(self) -> list[BaseRoute]:
        path = "/kimi/benchmark/runs/{run}/ballot"
        return [Route(path, self.ballot), Route(path, self.vote, methods=["POST"])]

    async def ballot(self, request: Request) -> Response:
        """A pair that has no vote: ``{pairs, voted, ballot: {id, prompt, answers: {A, B}}}``; ballot null: none is
        left."""
        return Json(await asyncio.to_thread(self._next, request.path_params["run"], visitor_of(request)))

    async def vote(self, request: Request) -> Response:
        """Body ``{id, choice}`` with the choice A, B, tie or all_bad. Answers with the names: ``{names: {A, B}}``."""
        body = await json_of(request)
        run, choice = request.path_params["run"], body.get("choice")
        await asyncio.to_thread(self._run, run, visitor_of(request))  # 404 for another visitor's
        ballot = self._shown.get(str(body.get("id")))
        if ballot is None:
            return refusal("This pair is no longer open: vote on the next one.", 409)
        slots = dict(zip((slot_name(0), slot_name(1)), ballot.order, strict=True))
        if choice not in (*slots, TIE, ALL_BAD):
            return refusal(f"A vote is one of {', '.join(slots)}, {TIE} and {ALL_BAD}.", 422)
        vote = (LANE, slots[choice].lane) if choice in slots else (str(choice), "")
        await asyncio.wrap_future(self._turns.writer.write([blind_vote(ballot.pair, *vote)]))
        self._shown.pop(str(body["id"]), None)
        return Json({"names": {slot: ballot.labels[sample.lane] for slot, sample in slots.items()}})

    def _run(self, run_id: str, visitor: str) -> Run:
        try:
            with self._turns.reader.snapshot() as log:
                owner = records.head(log, run_id).owner
            if self._private and not may_read(owner, visitor):
                raise HTTPException(404)
            return records.load(self._turns.reader, run_id)
        except records.NoSuchRun:
            raise HTTPException(404) from None

    def _next(self, run_id: str, visitor: str) -> dict[str, Any]:
        run = self._run(run_id, visitor)
        reader = self._turns.reader
        n_pairs, waiting = len(pairs_of(run)), without_vote(reader, run)
        found: dict[str, Any] = {"pairs": n_pairs, "voted": n_pairs - len(waiting), "ballot": None}
        if not waiting:
            return found
        chance = random.SystemRandom()
        pair = chance.choice(waiting)
        one, other = chance.sample(pair, 2)
        said = [texts_of(reader, sample).last for sample in (one, other)]
        ballot_id = secrets.token_urlsafe(12)
        self._shown[ballot_id] = _Ballot(pair, (one, other), {lane.id: lane.label for lane in run.lanes})
        while len(self._shown) > MAX_BALLOTS:
            self._shown.pop(next(iter(self._shown)), None)
        answers = {slot_name(place): exchange.answer if exchange else "" for place, exchange in enumerate(said)}
        prompt = said[0].prompt if said[0] else ""
        return found | {"ballot": {"id": ballot_id, "prompt": prompt, "answers": answers}}
