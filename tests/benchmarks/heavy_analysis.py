"""CPU time of what a heavy turn adds: results, clusters and verdict of eight answers, attribution.

Answers of 8,000 characters, composed from the labelled fixtures as samples of one model; the hybrid as long. The median
of several runs in one process; the first run, which compiles patterns, is left out. ``live_ms`` is all that the board's
``analyse`` takes while a page follows the turn: the answers come one by one, the hybrid in pieces of 120 characters
(a frame at 900 tokens per second), and each part is attributed when its block is finished.

    python -m tests.benchmarks.heavy_analysis
"""

from __future__ import annotations

import statistics
import time

from kimi_ui.core.events import AGGREGATING, Answer, Phase
from kimi_ui.core.heavy.answers import read
from kimi_ui.core.heavy.attribution import attribute
from kimi_ui.core.heavy.clusters import cluster
from kimi_ui.core.heavy.verdict import verdict_of
from kimi_ui.view import heavy_board
from kimi_ui.view.frames import TurnView
from tests.support.attributed import HELD_OUT, TUNED
from tests.support.turns import Timed, attempt, ended, turn

from .harness import report

CHARS = 8_000
RUNS = 15
PIECE = 120
QUESTION = "How many kilometres from A do the trains meet, and why is the sky blue?"


def answers() -> tuple[dict[int, str], str]:
    """Eight answers and a hybrid of ``CHARS`` characters."""
    subjects = (*TUNED, *HELD_OUT)
    pool = {}
    for number in range(1, 9):
        text = "\n\n".join(subject.answers[number] for subject in subjects)
        pool[number] = f"{(text * 2)[: CHARS - 40]}\n\nThe answer is {160 + 20 * (number == 4)} km."
    hybrid = "\n\n".join(part.text for subject in subjects for part in subject.hybrid)
    return pool, f"{hybrid[: CHARS - 40]}\n\nThe answer is 160 km."


def followed(pool: dict[int, str], hybrid: str) -> float:
    """CPU milliseconds of ``analyse`` for one page that follows the turn."""
    run = attempt("heavy", role="heavy")
    pieces: list[Timed] = [(20_000 + i, Answer(hybrid[i : i + PIECE])) for i in range(0, len(hybrid), PIECE)]
    log = turn(
        (run, ended([(19_000, Phase(AGGREGATING, done=8, total=8)), *pieces])),
        *(
            (
                attempt("heavy", role="trajectory", parent_id=run.attempt_id, k_index=number - 1),
                ended([(number * 1000, Answer(text))]),
            )
            for number, text in pool.items()
        ),
        prompt=QUESTION,
    )
    heavy_board._attributor.cache_clear()
    view, spent = TurnView(log), 0.0
    for entry in log.entries:
        view.apply([entry])
        started = time.process_time()
        if view.analysis_due:
            view.analyse()
        spent += time.process_time() - started
        view.frame(1)
    return 1000 * spent


def main() -> None:
    pool, hybrid = answers()
    grouping, matching = [], []
    live = sorted(followed(pool, hybrid) for _ in range(RUNS + 1))
    for _ in range(RUNS + 1):
        started = time.process_time()
        results = {number: read(answer, QUESTION) for number, answer in pool.items()}
        found = cluster(results)
        verdict = verdict_of(results, read(hybrid, QUESTION))
        grouped = time.process_time()
        parts = attribute(hybrid, pool)
        grouping.append(1000 * (grouped - started))
        matching.append(1000 * (time.process_time() - grouped))
    both = [a + b for a, b in zip(grouping[1:], matching[1:], strict=True)]
    report(
        "heavy_analysis",
        goal="<= 150 ms CPU",
        clusters=found.sizes,
        verdict=verdict.kind,
        parts=len(parts),
        clusters_ms=round(statistics.median(grouping[1:]), 1),
        attribution_ms=round(statistics.median(matching[1:]), 1),
        both_ms=round(statistics.median(both), 1),
        both_ms_max=round(max(both), 1),
        live_ms=round(statistics.median(live), 1),
        live_ms_max=round(live[-2], 1),
    )


if __name__ == "__main__":
    main()
