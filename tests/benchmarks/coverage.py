"""Whether the error bounds hold: how often the truth lies within them, and how tight they are.

    python -m tests.benchmarks.coverage [--only SCENARIO …] [--rounds N]

The app and the model server are those of ``accuracy``: the truth is in the text, by the machine-wide monotonic clock.
Every time and rate of every attempt is compared with its truth and its own bound. One table: ``covered`` is the share
of all values whose truth lies within the bound (goal: 99 % at least); errors and bounds of TTFT (ms) and TPOT (%) as
median / p99 (goals: the median of the TTFT bounds on a quiet machine at most 0.5 ms; p99 of the TTFT errors at most
2 ms with three lanes and Chromium, 5 ms with 24 streams and Chromium; TPOT at most 0.1 %); ``left out`` is the share of
values that Stats leave out (goal: 2 % at most). The last row is the naive way, which has no bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kimi_ui.core.bounds import BOUNDED, bound_of, is_wide

from .accuracy import STAMP, VIEWERS, Errors, all_ended, n_tokens, naive_errors
from .harness import app, model_server, process, quantile

MODELS = {0: "m-100-200-200-stamps150", 23: "m-60-100-100-stamps150"}  # by the trajectories of the heavy lane
CHECKED = ("ttft_ms", "ttfo_ms", "e2e_ms", "tpot_ms", "decode_tps")


class Scenario(NamedTuple):
    """``heavy``: trajectories of a heavy lane beside the plain one, 0 for three plain lanes."""

    rounds: int
    viewer: str = "http"
    heavy: int = 0
    is_busy: bool = False


SCENARIOS = {
    "three lanes, quiet": Scenario(6),
    "three lanes, Chromium drawing": Scenario(6, "page"),
    "three lanes, a busy loop on each core": Scenario(6, is_busy=True),
    "24 streams": Scenario(3, heavy=23),
    "24 streams, Chromium drawing": Scenario(3, "page", heavy=23),
}


class Value(NamedTuple):
    """One measured value: its error and bound in the value's unit and in %, and whether Stats leave it out."""

    column: str
    error: float
    error_percent: float
    bound: float
    bound_percent: float
    is_covered: bool
    is_left_out: bool


@contextlib.contextmanager
def busy_loops(is_busy: bool) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(os.cpu_count() or 1) if is_busy else ():
            stack.enter_context(process(["-c", "while True: pass"]))
        yield


def values_of(db: Path) -> Iterator[Value]:
    """All values of the counted turns; the first turn only warms the app up."""
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(
            "select m.*, a.reasoning, a.answer from attempt_metrics m join attempts a using (attempt_id)"
            " where m.role in ('single', 'trajectory') and m.status = 'ok'"
            " and m.turn_id <> (select turn_id from turns order by started_at_utc limit 1)"
        ).fetchall()
    for row in rows:
        reasoning, answer = STAMP.findall(row["reasoning"]), STAMP.findall(row["answer"])
        first, first_answer, last = (int(pair[1]) for pair in (reasoning[0], answer[0], answer[-1]))
        received = int(reasoning[0][0])
        tpot_ms = (last - first) / (n_tokens(row["request_model"]) - 1) / 1e6
        truth = {
            "ttft_ms": (first - received) / 1e6,
            "ttfo_ms": (first_answer - received) / 1e6,
            "e2e_ms": (last - received) / 1e6,
            "tpot_ms": tpot_ms,
            "decode_tps": 1000 / tpot_ms,
        }
        for column in CHECKED:
            bound = bound_of(column, dict(row))
            assert bound, f"{column} has no bound"
            error = row[column] - truth[column]
            within = bound.percent / 100 * truth[column] if column == "decode_tps" else bound.error
            error_percent = 100 * abs(error) / truth[column]
            left_out = bool(is_wide(column, row[column], row[BOUNDED[column][0]]))
            yield Value(column, error, error_percent, bound.error, bound.percent, abs(error) <= within, left_out)


async def measured(base_url: str, scenario: Scenario, rounds: int) -> list[Value]:
    models = (MODELS[scenario.heavy],) * (1 if scenario.heavy else 3)
    with app(base_url, models, scenario.heavy) as running:
        async with VIEWERS[scenario.viewer](running.url) as send:
            with busy_loops(scenario.is_busy):
                for k in range(1, rounds + 2):
                    await send()
                    await all_ended(running.db, k * (len(models) + bool(scenario.heavy)))
        return list(values_of(running.db))


def pair(numbers: list[float]) -> str:
    """Median and p99."""
    return f"{quantile(numbers, 0.5):.3g} / {quantile(numbers, 0.99):.3g}"


def row(name: str, values: list[Value]) -> str:
    ttft = [value for value in values if value.column == "ttft_ms"]
    tpot = [value for value in values if value.column == "tpot_ms"]
    cells = [
        name,
        f"{len(values):,}",
        f"{100 * sum(value.is_covered for value in values) / len(values):.1f} %",
        pair([abs(value.error) for value in ttft]),
        pair([value.bound for value in ttft]),
        pair([value.error_percent for value in tpot]),
        pair([value.bound_percent for value in tpot]),
        f"{100 * sum(value.is_left_out for value in values) / len(values):.1f} %",
    ]
    return f"| {' | '.join(cells)} |"


def naive_row(errors: list[Errors]) -> str:
    ttft, tpot = (pair([abs(getattr(error, name)) for error in errors]) for name in ("ttft_ms", "tpot_percent"))
    return f"| the naive way, Chromium drawing | {len(errors)} | | {ttft} | none | {tpot} | none | |"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=[*SCENARIOS, "naive"], nargs="+", default=[*SCENARIOS, "naive"])
    parser.add_argument("--rounds", type=int, help="turns per scenario instead of its own number")
    options = parser.parse_args()
    print("| | values | covered | TTFT error, ms | its bound | TPOT error, % | its bound | left out |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with model_server() as base_url:
        for name, scenario in SCENARIOS.items():
            if name in options.only:
                values = await measured(base_url, scenario, options.rounds or scenario.rounds)
                print(row(name, values), flush=True)
                for value in values:
                    if not value.is_covered:
                        print(f"not covered: {value}", flush=True)
        if "naive" in options.only:
            print(naive_row(await naive_errors(base_url, "m-100-300-200-stamps")), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
