"""Routes of the Benchmark tab: what a run would take, its start, its progress, its end, and the results of runs.

A run belongs to who started it. With a password (``private``) visitors see their own runs only; otherwise all runs. A
refused request is answered with ``{"error": sentence}``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .. import algebra
from ..bench import plan, records, sandbox, sharing, suite
from ..bench.advice import CATEGORIES, FINISHED
from ..bench.background import Background, Busy
from ..bench.comparison import compare
from ..bench.export import csv_text
from ..bench.forecast import forecast
from ..bench.plan import Chosen, PlanError
from ..bench.preferences import read_preferences
from ..bench.records import NoSuchRun, RunHead, RunIsRunning
from ..bench.report import body, report_of, texts_of
from ..bench.runner import Progress
from ..bench.start import CannotRun, Wanted, without_code
from ..bench.summary import summarise
from ..core.lane import LaneSpec
from ..engine import Engine, EngineClosed
from ..turns import Turns
from .respond import Json, json_of, refusal
from .visitor import visitor_of

if TYPE_CHECKING:
    from ..providers.roster import Roster

MAX_EPOCHS = 10
REFUSED = (PlanError, CannotRun, Busy, RunIsRunning, EngineClosed)
FORMATS = {"html": "text/html", "md": "text/markdown", "json": "application/json", "csv": "text/csv"}


class BenchmarkRoutes:
    """The benchmark on one engine and its turns; at most one run at a time. ``bus_url``: of the bus on which runs are
    shared with other processes; empty while there is none."""

    def __init__(
        self,
        engine: Engine,
        turns: Turns,
        roster: Roster,
        private: bool = False,
        bus_url: Callable[[], str] = lambda: "",
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._roster = roster
        self._private = private
        self._bus_url = bus_url
        self._background = Background()

    def close(self) -> None:
        """The server stops: end the run and the processes that graded it."""
        self._background.close()
        sandbox.close()
        algebra.close()

    def routes(self) -> list[BaseRoute]:
        run = "/kimi/benchmark/runs/{run}"
        return [
            Route("/kimi/benchmark", self.state),
            Route("/kimi/benchmark/progress", self.progress),
            Route("/kimi/benchmark/estimate", self.estimate, methods=["POST"]),
            Route("/kimi/benchmark/runs", self.start, methods=["POST"]),
            Route("/kimi/benchmark/stop", self.stop, methods=["POST"]),
            Route("/kimi/benchmark/compare", self.compare),
            Route(f"{run}/resume", self.resume, methods=["POST"]),
            Route(f"{run}/report", self.report),
            Route(f"{run}/download/{{form}}", self.download),
        ]

    # -- before and during a run

    async def state(self, request: Request) -> Response:
        """What can be chosen, the runs and the running one."""
        return Json(await asyncio.to_thread(self._state, visitor_of(request)))

    async def progress(self, request: Request) -> Response:
        """``{running}``: how far the running benchmark is, null if there is none that the visitor may see."""
        return Json({"running": await asyncio.to_thread(self._running, visitor_of(request))})

    async def estimate(self, request: Request) -> Response:
        """Body as ``start``; answers with one ``sentence``: requests, time, money."""
        asked = await json_of(request)
        try:
            return Json(await asyncio.to_thread(self._forecast, asked))
        except REFUSED as error:
            return refusal(str(error), 422)

    async def start(self, request: Request) -> Response:
        """Body ``{lanes, size, categories, epochs, budget_usd}``, the last two may be null. Answers with the id."""
        asked, owner = await json_of(request), visitor_of(request)

        def make() -> sharing.Run:
            return sharing.begin(self._engine, self._turns, self._wanted(asked, owner), self._bus_url())

        return await self._begin(make)

    async def resume(self, request: Request) -> Response:
        """Go on with what is left of a run. Answers with the id."""
        run_id = await self._own(request)

        def make() -> sharing.Run:
            return sharing.resume(self._engine, self._turns, run_id, self._bus_url())

        return await self._begin(make)

    async def stop(self, request: Request) -> Response:
        """Stop the running benchmark if the visitor may see it."""
        current = self._background.current
        if current and self._may_see(current[0].owner, visitor_of(request)):
            self._background.stop()
        return Json({}, 202)

    async def _begin(self, make: Callable[[], sharing.Run]) -> Response:
        try:
            return Json({"run": await asyncio.to_thread(self._background.start, make)}, 201)
        except REFUSED as error:
            return refusal(str(error), 409 if isinstance(error, Busy | RunIsRunning) else 422)

    # -- results

    async def report(self, request: Request) -> Response:
        """The run's report as the body of a page: ``{html}``."""
        run_id = await self._own(request)

        def made() -> str:
            run = records.load(self._turns.reader, run_id)
            reader = self._turns.reader
            return body(summarise(run), texts_of(reader, run), read_preferences(reader, run))

        return Json({"html": await asyncio.to_thread(made)})

    async def compare(self, request: Request) -> Response:
        """The runs ``a`` and ``b`` compared, in ``lines``."""
        ids = [await self._own(request, request.query_params.get(name, "")) for name in ("a", "b")]

        def made() -> list[str]:
            first, second = (records.load(self._turns.reader, run_id) for run_id in ids)
            return list(compare(first, second).lines())

        return Json({"lines": await asyncio.to_thread(made)})

    async def download(self, request: Request) -> Response:
        """The run as a file in one of ``FORMATS``."""
        run_id, form = await self._own(request), request.path_params["form"]
        if form not in FORMATS:
            raise HTTPException(404)

        def made() -> str:
            run = records.load(self._turns.reader, run_id)
            return csv_text(run) if form == "csv" else report_of(self._turns.reader, run, form)

        text = await asyncio.to_thread(made)
        disposition = f'attachment; filename="kimi-benchmark-{run_id}.{form}"'
        headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
        return Response(text, media_type=f"{FORMATS[form]}; charset=utf-8", headers=headers)

    # -- on a thread

    def _state(self, owner: str) -> dict[str, Any]:
        specs = {spec.id: spec for spec in self._roster.specs}
        counts = Counter(dict.fromkeys(suite.CATEGORIES, 0))
        for template in suite.templates():
            counts[template.category] += template.cases
        running = self._running(owner)
        return {
            "lanes": [_lane(at, spec, specs.get(spec.of, spec)) for at, spec in enumerate(specs.values())],
            "categories": [
                {"id": name, "label": CATEGORIES[name].capitalize(), "cases": n} for name, n in counts.items()
            ],
            "n_quick": len(suite.QUICK),
            "n_full": counts.total(),
            "epochs": plan.EPOCHS,
            "max_epochs": MAX_EPOCHS,
            "sandbox": sandbox.choose().sentence,
            "runs": [
                _listed(head)
                for head in records.runs(self._turns.reader, owner if self._private else None)
                if not running or head.id != running["run"]
            ],
            "running": running,
        }

    def _running(self, owner: str) -> dict[str, Any] | None:
        current = self._background.current
        if current is None:
            return None
        head, progress, is_stopping = current
        if not self._may_see(head.owner, owner):
            return None
        return {
            "run": head.id,
            "stopping": is_stopping,
            "budget_usd": head.budget_usd,
            "lanes": self._lane_counts(head.id),
            **_progress(progress),
        }

    def _lane_counts(self, run_id: str) -> list[dict[str, Any]]:
        """Each lane's answers so far by what came of them, in the order of the run's lanes."""
        query = """
            SELECT l.position, l.label, sum(s.n_right), sum(s.n_wrong), sum(s.n_endpoint), sum(s.n_not_run),
                   sum(s.n_planned)
            FROM benchmark_lanes l JOIN bench_summary s ON s.run_id = l.run_id AND s.lane = l.lane
            WHERE l.run_id = :id GROUP BY l.position, l.label ORDER BY l.position
        """
        found = []
        for at, label, right, wrong, endpoint, left, planned in self._turns.reader.rows(query, id=run_id):
            counts = {"right": right, "wrong": wrong, "endpoint": endpoint, "left": left}
            other = planned - sum(counts.values())
            found.append({"index": at, "label": label, "counts": {**counts, "other": other}})
        return found

    def _forecast(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        wanted = self._wanted(asked, "")
        specs = {spec.id: spec for spec in self._roster.specs}
        epochs = wanted.epochs or plan.EPOCHS[wanted.chosen.size]
        made = forecast(self._turns.reader, specs, wanted.lanes, wanted.chosen.cases, epochs, wanted.seed)
        return {"sentence": made.sentence}

    def _wanted(self, asked: Mapping[str, Any], owner: str) -> Wanted:
        """Read what a page asks for. Raises ``PlanError``."""
        lanes = [str(lane) for lane in asked.get("lanes") or []]
        if not lanes:
            raise PlanError("Choose at least one lane.")
        return Wanted(
            chosen=_chosen(str(asked.get("size")), [str(one) for one in asked.get("categories") or []]),
            seed=suite.SEED,
            lanes=tuple(lanes),
            epochs=_whole(asked.get("epochs")),
            budget_usd=_budget(asked.get("budget_usd")),
            owner=owner,
        )

    def _may_see(self, run_owner: str, owner: str) -> bool:
        return not self._private or run_owner == owner

    async def _own(self, request: Request, run_id: str = "") -> str:
        """The run of this id or named by the path; 404 if the visitor may not see it."""
        run_id = run_id or request.path_params.get("run", "")

        def owner_of() -> str:
            with self._turns.reader.snapshot() as rows:
                return records.head(rows, run_id).owner

        try:
            owner = await asyncio.to_thread(owner_of)
        except NoSuchRun:
            raise HTTPException(404) from None
        if not self._may_see(owner, visitor_of(request)):
            raise HTTPException(404)
        return run_id


def _lane(at: int, spec: LaneSpec, inner: LaneSpec) -> dict[str, Any]:
    return {
        "id": spec.id,
        "label": spec.label,
        "index": at,
        "model": inner.model,
        "stand_in": bool(inner.stand_in_for),
        "price": asdict(inner.price) if inner.price else None,
        "of": spec.of,
    }


def _listed(head: RunHead) -> dict[str, Any]:
    """A run of the list; ``can_resume`` unless it has come to its end."""
    sizes = {plan.QUICK: "quick", plan.FULL: "full", plan.CHOSEN: "chosen"}
    return {
        **head._asdict(),
        "size_label": sizes.get(head.size, head.size),
        "can_resume": head.state not in (*FINISHED, records.RUNNING),
    }


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "done": progress.done,
        "total": progress.planned,
        "seconds_left": progress.left_s,
        "spent_usd": progress.spent_usd,
        "n_unpriced": progress.n_unpriced,
    }


def _chosen(size: str, categories: list[str]) -> Chosen:
    """The cases of the page's choice, without those that need a sandbox where there is none."""
    if size == plan.CHOSEN:
        if not categories:
            raise PlanError("Choose at least one category.")
        chosen = plan.choose(suite.SEED, categories=categories)
    elif size in (plan.QUICK, plan.FULL):
        chosen = plan.choose(suite.SEED, size)
    else:
        raise PlanError("Choose quick, full, or categories.")
    return chosen if sandbox.choose().backend is not None else without_code(chosen)


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_EPOCHS:
        raise PlanError(f"A case is sent 1 to {MAX_EPOCHS} times; empty means the usual number.")
    return value


def _budget(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise PlanError("The budget is an amount in US dollars above 0; empty means no limit.")
    return float(value)
