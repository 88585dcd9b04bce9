"""Runs the trajectories of a heavy lane and makes one answer of theirs, by the strategy of
``core.heavy.strategies``."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from ...core.admission import Line
from ...core.events import (
    AGGREGATING,
    CONNECTED,
    FIRST_TRAJECTORY_TOKEN,
    Answer,
    Event,
    Failure,
    Finish,
    Flag,
    Meta,
    Phase,
    Reasoning,
    Relabel,
    Reporter,
    Tally,
)
from ...core.heavy.answers import read
from ...core.heavy.candidates import Candidate
from ...core.heavy.fence import received, request_text
from ...core.heavy.options import Plan, plan_of
from ...core.heavy.strategies import STRATEGIES, Strategy
from ...core.heavy.strategies.base import most_agreed
from ...core.heavy.traces import traces
from ...core.heavy.verdict import verdict_of
from ...core.lane import LaneSpec
from ..base import UNSTAMPED, ChatRequest, Check, Child, HeavyChoice, Host, Parts, Provider, ProviderError
from .algebra import EqualPairs
from .lane import HeavyLane
from .prompts import prompt_of
from .trajectories import Pool, Trajectories


class HeavyProvider(Provider):
    """Runs trajectories of ``of``, then one aggregation. ``rng`` shuffles the candidates and staggers the starts."""

    lane = HeavyLane
    spec: HeavyLane

    def __init__(self, spec: HeavyLane, of: Provider, rng: random.Random | None = None) -> None:
        super().__init__(replace(spec, model=of.spec.model))
        self._of = of
        self._rng = rng or random.Random()

    @classmethod
    def make(cls, spec: LaneSpec, parts: Parts) -> HeavyProvider:
        assert isinstance(spec, HeavyLane)
        assert parts.of is not None
        return cls(spec, parts.of)

    @property
    def asked(self) -> LaneSpec:
        return self._of.asked

    async def prepare(self, report: Reporter) -> None:
        await self._of.prepare(report)

    def line(self, request: ChatRequest) -> Line | None:
        return self._of.line(request)

    async def check(self, probe: bool = False) -> Check:
        return await self._of.check(probe)

    async def models(self) -> list[str]:
        return await self._of.models()

    async def takes_images(self, model: str = "") -> bool | None:
        return await self._of.takes_images(model)

    async def aclose(self) -> None:
        """Nothing to close: the provider ``of`` is closed by its own lane."""

    async def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        chosen = request.heavy
        plan = plan_of(self.spec.options, chosen.options, chosen.kind)
        strategy = STRATEGIES[plan.strategy]
        tally = Tally(plan.strategy, plan.preset, plan.width, answers_of=chosen.answers_of)
        try:
            prompt = prompt_of(strategy.name, plan.prompt) if strategy.asks else ""
        except ProviderError:
            yield tally
            raise
        request = replace(request, heavy=HeavyChoice())
        question = request.messages[-1].content
        pool = Pool(question, EqualPairs())

        if chosen.answers_of:
            host.sent()
            yield replace(tally)
            yield Phase(CONNECTED)
            for candidate in chosen.answers:
                pool.add(candidate)
            pool.left_out |= dict(chosen.left_out)
            await pool.group()
        else:
            trajectories = Trajectories(plan, lambda k: host.start(self._of, request, "trajectory", k), pool, self._rng)
            try:
                try:
                    await trajectories.begin(host.until_sent(), together=self.line(request) is not None)
                except asyncio.CancelledError:  # stopped before anything was sent: the log keeps the plan
                    yield replace(tally)
                    raise
                yield replace(tally)
                yield Phase(CONNECTED)
                async for event in trajectories.events():
                    first = isinstance(event, Phase) and event.name == FIRST_TRAJECTORY_TOKEN
                    host.arrived(*(trajectories.first_token if first else UNSTAMPED))
                    yield event
            finally:
                await trajectories.close()
            if not pool.candidates:
                raise ProviderError(_no_survivor(trajectories.children))
            for fact in trajectories.facts():
                yield fact
            tally.launched = len(trajectories.children)
            tally.stopped_at, tally.stop_risk = trajectories.stopped_at or None, trajectories.stop_risk
        yield _counted(tally, pool)

        run = _Conclusion(plan, strategy, pool, self._rng.getrandbits(32))
        if (early := run.without_a_request()) is not None:
            for event in early:
                yield event
        else:
            async for event in self._aggregated(run, prompt, request, host):
                yield event
        tally.order = [one.number for one in run.order] if run.asked else []
        result = await asyncio.to_thread(read, run.answer, question)
        tally.verdict = (await asyncio.to_thread(verdict_of, pool.results, result, pool.equals)).kind
        yield _counted(tally, pool)
        if run.asked:
            texts = {one.number: one.answer for one in run.order}
            for trace in await asyncio.to_thread(traces, run.answer, texts, question, run.nonce):
                yield Flag("order_trace", f"{trace.member}: {trace.text}")
        yield Finish(run.finish)

    async def _aggregated(
        self, run: _Conclusion, prompt: str, request: ChatRequest, host: Host
    ) -> AsyncGenerator[Event, None]:
        """Send the candidates to the model; yield its text as the answer, or as reasoning where it only chooses."""
        yield Flag("shuffle_seed", str(run.seed))
        yield Phase(AGGREGATING, done=len(run.order), total=run.plan.width)
        aggregator = host.start(self._of, run.request(request, prompt), "aggregator")
        async for arrival, event in aggregator.events():
            host.arrived(*arrival)
            if isinstance(event, Answer) and run.strategy.chosen:
                yield Reasoning(event.text)
            elif isinstance(event, Reasoning | Answer | Relabel | Meta):
                yield event
        host.arrived(*UNSTAMPED)
        for event in run.concluded(aggregator):
            yield event


class _Conclusion:
    """One answer from the pool. ``order``: the candidates as they are sent, shuffled by the seed."""

    def __init__(self, plan: Plan, strategy: Strategy, pool: Pool, seed: int) -> None:
        self.plan = plan
        self.strategy = strategy
        self.seed = seed
        self.order = received(pool.candidates)
        random.Random(seed).shuffle(self.order)
        self.nonce = ""
        self.answer = ""
        self.finish = "stop"
        self._pool = pool
        self._whole = {one.number: one.answer for one in pool.candidates}

    @property
    def asked(self) -> bool:
        """Whether a further request was sent."""
        return bool(self.nonce)

    def without_a_request(self) -> list[Event] | None:
        """The answer where no further request is needed; None if one is."""
        n, clusters = len(self.order), self._pool.clusters
        if n == 1:
            return [Flag("single_survivor", f"1/{self.plan.width}"), self._taken(self.order[0])]
        if clusters.unanimous and self.plan.skip_unanimous:
            # An aggregator could only repeat the answer, at a cost.
            return [Flag("unanimous", f"{n}/{n}"), self._taken(most_agreed(self.order, clusters))]
        if self.strategy.asks:
            return None
        best = most_agreed(self.order, clusters)
        if clusters.plurality is None:
            why = "no result could be read" if clusters.open_text else "no result has more answers than any other"
            words = f"Showing {best.name}, which most others resemble: {why}."
            return [Flag("no_majority", words), self._taken(best)]
        return [self._taken(best)]

    def request(self, request: ChatRequest, prompt: str) -> ChatRequest:
        """The same conversation with the candidates appended to its last message."""
        while not self.nonce or any(self.nonce in one.answer for one in self.order):
            self.nonce = secrets.token_hex(6)
        *before, last = request.messages
        text = request_text(last.content, prompt, self.order, self.nonce)
        return replace(request, messages=(*before, last._replace(content=text, reasoning="")))

    def concluded(self, aggregator: Child) -> Sequence[Event]:
        """What follows the aggregator's text. Raises ``ProviderError`` if an answer the user has seen was cut off."""
        fold = aggregator.fold
        if self.strategy.chosen is not None:
            place = self.strategy.chosen(fold.answer, len(self.order)) if fold.status == "ok" else None
            if place is not None:
                best = self.order[place - 1]
                return [Flag("picked", str(best.number)), self._taken(best)]
            if fold.status == "ok":
                return self._fallback("pick_unreadable", "its choice could not be read")
        elif fold.answer.strip():  # the user has seen its text, so the attempt ends as the aggregation did
            if fold.failure or not fold.finish_reason:
                cut = Failure("network", "The aggregation was cut off before it finished.")
                raise ProviderError(fold.failure or cut)
            self.answer, self.finish = fold.answer, fold.finish_reason
            return []
        return self._fallback(
            "aggregator_failed", fold.failure.message.rstrip(".") if fold.failure else f"it ended as {fold.status}"
        )

    def _fallback(self, flag: str, why: str) -> Sequence[Event]:
        best = most_agreed(self.order, self._pool.clusters)
        return [Flag(flag, f"Showing {best.name}, which most others agree with: {why}."), self._taken(best)]

    def _taken(self, candidate: Candidate) -> Answer:
        """A trajectory's answer as the final one, as it was written."""
        self.answer = self._whole[candidate.number]
        return Answer(self.answer)


def _counted(tally: Tally, pool: Pool) -> Tally:
    """The tally with the pool's counts; agreement and effective answers only where results are stated."""
    clusters = pool.clusters
    return replace(
        tally,
        usable=len(pool.candidates),
        failed=pool.n_failed,
        left_out={str(number): reason for number, reason in sorted(pool.left_out.items())},
        n_clusters=len(clusters.clusters),
        agreement=clusters.agreement,
        effective_answers=clusters.effective,
        similarity=clusters.similarity,
        equal=pool.equal,
    )


def _no_survivor(trajectories: Sequence[Child]) -> Failure:
    """The failure if no trajectory has an answer, with the most common cause."""
    failures = [child.fold.failure for child in trajectories if child.fold.failure]
    if failures:
        kinds = [failure.kind for failure in failures]
        cause = next(failure for failure in failures if failure.kind == max(set(kinds), key=kinds.count))
        message = f"None of the {len(trajectories)} trajectories finished: {cause.message}"
        return Failure(
            "no_survivor", message, cause.remedy, cause.command, cause.detail, cause.http_status, cause.again
        )
    statuses = sorted({child.fold.status for child in trajectories})
    return Failure(
        "no_survivor",
        f"None of the {len(trajectories)} trajectories gave a whole answer ({', '.join(statuses)}).",
        f"Look at the trajectories; {'raising max_tokens' if 'length' in statuses else 'asking again'} often helps.",
    )
