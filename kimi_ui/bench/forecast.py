"""What a run will take before it is started: requests, time and money, from what the log says about the lanes.

The length and the time of an answer are medians of the lane's newest answers, those of the benchmark first, since its
prompts are other than a chat's. What is not known is left out and said.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from ..core.estimate import Estimate, Total, estimate, total
from ..core.lane import LaneSpec
from ..core.metric_words import usd
from ..log.costs import FEWEST, RECENT, typical
from ..log.reader import LogReader
from ..tokenizers import counter
from . import suite
from .plan import servers_of
from .suite import Case


class Forecast(NamedTuple):
    """``answers``: cases of all lanes and epochs; ``requests``: to models, heavy's included. ``seconds``: of the server
    that takes longest, None if the time of any lane is not known; ``untimed``: labels of those lanes."""

    answers: int
    requests: int
    seconds: float | None
    untimed: tuple[str, ...]
    money: Total

    @property
    def sentence(self) -> str:
        parts = [f"{self.answers:,} answers in {self.requests:,} requests", self._time, self._money]
        return " · ".join(parts) + "."

    @property
    def _time(self) -> str:
        if self.seconds is None:
            return f"time not known yet for {', '.join(self.untimed)}"
        if self.seconds < 90:
            return f"about {max(1, round(self.seconds))} s"
        minutes = round(self.seconds / 60)
        return f"about {minutes} min" if minutes < 90 else f"about {self.seconds / 3600:.1f} h"

    @property
    def _money(self) -> str:
        amount, is_floor, unpriced = self.money
        if amount is None:
            return "the lanes have no price"
        cost = f"{'at least' if is_floor else 'about'} {usd(amount)}" if amount or is_floor else "costs nothing"
        return f"{cost}, and {unpriced} without a price" if unpriced else cost


def forecast(
    reader: LogReader,
    specs: Mapping[str, LaneSpec],
    lanes: Sequence[str],
    chosen: Sequence[Case],
    epochs: int,
    seed: int,
) -> Forecast:
    """The forecast of a run of the ``chosen`` cases of this seed in these ``lanes``."""
    n_messages = sum(len(case.turns) or 1 for case in chosen)
    seconds: dict[str, float] = defaultdict(float)
    untimed, estimates = [], []
    for lane in lanes:
        spec = specs[lane]
        inner = specs.get(spec.of, spec)
        usual = typical(reader, inner.model)
        answer_tokens = usual.answer_tokens if usual else 0
        prompts = [n for case in chosen for n in _prompts(case, seed, answer_tokens)]
        found = [estimate(n, inner.price, usual, spec.width) for n in prompts]
        estimates += [_times(one, epochs) for one in found]
        time = _median_s(reader, lane, {spec.model, inner.model})
        if time is None:
            untimed.append(spec.label)
        else:
            servers = servers_of(spec, specs)
            for server in servers:
                seconds[server] += time * n_messages * epochs / len(servers)
    return Forecast(
        answers=len(chosen) * len(lanes) * epochs,
        requests=sum(one.requests for one in estimates),
        seconds=None if untimed else max(seconds.values(), default=0.0),
        untimed=tuple(untimed),
        money=total(_together(estimates, len(lanes))),
    )


def _times(one: Estimate, n: int) -> Estimate:
    return one._replace(requests=one.requests * n, usd=None if one.usd is None else one.usd * n)


def _together(estimates: Sequence[Estimate], n_lanes: int) -> list[Estimate]:
    """One estimate for each lane, so that the total counts lanes without a price and not their requests."""
    size = len(estimates) // n_lanes if n_lanes else 0
    made = []
    for at in range(n_lanes):
        part = estimates[at * size : (at + 1) * size]
        known = [one.usd for one in part if one.usd is not None]
        cost = sum(known) if len(known) == len(part) else None
        made.append(Estimate(0, sum(one.requests for one in part), cost, any(one.is_floor for one in part)))
    return made


def _prompts(case: Case, seed: int, answer_tokens: int) -> list[int]:
    """The tokens of each request of a case; a conversation's later ones include what was said before."""
    sizes = _sizes(case.id, seed)
    return [sum(sizes[: at + 1]) + at * answer_tokens for at in range(len(sizes))]


@lru_cache(maxsize=2048)
def _sizes(case_id: str, seed: int) -> tuple[int, ...]:
    """The tokens of each message of a case, about; a long-context case has as many as it was made for."""
    case = suite.case(case_id, seed)
    if case is None:
        return ()
    if case.context_tokens is not None:
        return (case.context_tokens,)
    return tuple(counter("").count(text) for text in case.turns or (case.prompt,))


def _median_s(reader: LogReader, lane: str, models: Iterable[str]) -> float | None:
    """The median time of the lane's newest complete answers with one of these models, in s; None with too few."""
    query = """
        SELECT e2e_ms FROM measured
        WHERE lane = :lane AND request_model IN :models AND status IN ('ok', 'length')
        ORDER BY kind, started_at_utc DESC, attempt_id DESC LIMIT :recent
    """
    newest = reader.rows(query, lane=lane, models=list(models), recent=RECENT)
    times = [e2e_ms / 1000 for (e2e_ms,) in newest if e2e_ms is not None]
    return statistics.median(times) if len(times) >= FEWEST else None
