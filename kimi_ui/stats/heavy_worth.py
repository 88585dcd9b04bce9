""" "Was heavy worth it?" over turns: each heavy lane paired by prompt with the single answers of the same model.

What is the same or another answer is the stated result (``core.heavy.answers``); open text is not compared. Times and
tokens are those of ``attempt_metrics``; ratios are medians of the turns' ratios. A share has Wilson's interval, a
median its distribution-free one (``statistics``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..core.attachments import split
from ..core.heavy.answers import read
from ..core.heavy.clusters import cluster
from ..log.reader import LogReader
from .sample import Filters, lane_labels
from .statistics import Difference, Median, median, paired_difference, wilson

NEWEST = 300  # pairs whose answers are compared; reading a result takes about 1 ms
ENOUGH = 10  # pairs or votes before a hint is given

_PAIRS = """
    SELECT h.lane, s.lane, h.e2e_ms, s.e2e_ms, h.output_tokens, s.output_tokens, h.cost_usd, s.cost_usd,
           t.prompt, one.answer, other.answer
    FROM ({chosen}) h
    JOIN turn_lanes l ON l.turn_id = h.turn_id AND l.lane = h.lane
    JOIN ({chosen}) s ON s.turn_id = h.turn_id AND s.lane = l.made_of AND s.role = 'single'
    JOIN attempts one ON one.attempt_id = h.attempt_id
    JOIN attempts other ON other.attempt_id = s.attempt_id
    JOIN turns t ON t.turn_id = h.turn_id
    WHERE h.role = 'heavy' AND h.status = 'ok' AND s.status = 'ok' AND h.reason IS NULL AND s.reason IS NULL
    ORDER BY h.started_at_utc DESC LIMIT :newest
"""
_VOTES = """
    SELECT outcome, count(*) FROM pair_outcomes
    WHERE lane = :heavy AND other = :single AND turn_id IN (SELECT turn_id FROM ({chosen}) AS chosen) GROUP BY outcome
"""


class HeavyWorth(NamedTuple):
    """``n`` pairs; ``n_stated`` of them state a result on both sides, ``n_changed`` of these another one."""

    heavy: str
    single: str
    name: str
    single_name: str
    n: int
    n_stated: int
    n_changed: int
    seconds: Difference
    tokens: Median
    cost: Median
    wins: int
    losses: int
    ties: int

    def sentences(self) -> list[str]:
        """The finding, one fact a sentence, each with its n; a fact without data is left out."""
        turns = "1 turn" if self.n == 1 else f"{self.n} turns"
        found = [f"{self.name} beside {self.single_name} in {turns}: {self._answers()}"]
        if self.seconds.value is not None:
            found.append(
                f"Extra time {self.seconds.value:+.1f} s{_interval(self.seconds, '{:+.1f}')}.".replace("-", "−")
            )
        for what, ratio in (("tokens", self.tokens), ("cost", self.cost)):
            if ratio.value is not None:
                found.append(f"{ratio.value:.1f} × {what}{_interval(ratio, '{:.1f}')}.")
        if self.wins + self.losses + self.ties:
            ties = f", {self.ties} {'tie' if self.ties == 1 else 'ties'}" if self.ties else ""
            found.append(f"Votes: {self.wins} for heavy, {self.losses} for {self.single_name}{ties}.")
        return found

    def _answers(self) -> str:
        if not self.n_stated:
            return "open text, so no results to compare."
        low, high = wilson(self.n_changed, self.n_stated)
        share = f"{100 * self.n_changed / self.n_stated:.0f} %, {100 * low:.0f} to {100 * high:.0f} %"
        return f"another result in {self.n_changed} of {self.n_stated} that state one ({share})."

    @property
    def hint(self) -> str:
        """A sentence if the log shows that heavy did not pay: nearly all results the same, or no vote for it. Empty
        below ``ENOUGH``."""
        n_votes = self.wins + self.losses + self.ties
        n_same = self.n_stated - self.n_changed
        if n_votes >= ENOUGH and not self.wins:
            found = f"was not preferred to {self.single_name} in any of {n_votes} votes"
        elif self.n_stated >= ENOUGH and 10 * self.n_changed <= self.n_stated:
            found = f"came to the same result as {self.single_name} in {n_same} of {self.n_stated} turns"
        else:
            return ""
        ratio = f", for {self.tokens.value:.1f} × the tokens" if self.tokens.value else ""
        return f"So far {self.name} {found}{ratio}."


def heavy_worth(reader: LogReader, filters: Filters | None = None) -> list[HeavyWorth]:
    """One for each heavy lane and single lane that answered the same prompts. Raises ``LogUnreadable``."""
    chosen, values = replace(filters or Filters(), lanes=()).chosen()
    with reader.snapshot() as log:
        rows = log.rows(_PAIRS.format(chosen=chosen), newest=NEWEST, **values)
        pairs: dict[tuple[str, str], list[Sequence[Any]]] = {}
        for heavy, single, *row in rows:
            pairs.setdefault((heavy, single), []).append(row)
        labels = lane_labels(log)
        found = []
        for (heavy, single), of_them in pairs.items():
            votes = dict(log.rows(_VOTES.format(chosen=chosen), heavy=heavy, single=single, **values))
            found.append(
                _worth((heavy, single), (labels.get(heavy, heavy), labels.get(single, single)), of_them, votes)
            )
    return found


def _worth(
    lanes: tuple[str, str], names: tuple[str, str], rows: Sequence[Sequence[Any]], votes: dict[str, int]
) -> HeavyWorth:
    numbers = np.array([[np.nan if value is None else value for value in row[:6]] for row in rows], dtype=float)
    changed = [other for *_, prompt, one, plain in rows if (other := _is_other(prompt, one, plain)) is not None]
    with np.errstate(divide="ignore", invalid="ignore"):
        tokens, cost = (numbers[:, column] / numbers[:, column + 1] for column in (2, 4))
    seconds = paired_difference(numbers[:, 1] / 1000, numbers[:, 0] / 1000)
    finite = [np.where(np.isfinite(ratio), ratio, np.nan) for ratio in (tokens, cost)]
    counts = [votes.get(outcome, 0) for outcome in ("win", "loss", "tie")]
    return HeavyWorth(
        *lanes, *names, len(rows), len(changed), sum(changed), seconds, median(finite[0]), median(finite[1]), *counts
    )


def _is_other(prompt: str, one: str, plain: str) -> bool | None:
    """Whether the two answers state different results; None if one of them states none."""
    question = split(prompt).text
    results = {1: read(one, question), 2: read(plain, question)}
    if not all(result is not None and result.stated for result in results.values()):
        return None
    return len(cluster(results).clusters) > 1


def _interval(found: Difference | Median, form: str) -> str:
    n = f"n = {found.n}"
    if found.interval is None:
        return f" ({n}, too few for an interval)"
    low, high = (form.format(value) for value in found.interval)
    return f" (95 %: {low} to {high}, {n})"
