"""CPU time of what a finished heavy turn adds: results, clusters and verdict of eight answers, attribution.

Answers of 8,000 characters, composed from the labelled fixtures as samples of one model; the hybrid as long. The median
of several runs in one process; the first run, which compiles patterns, is left out.

    python -m tests.benchmarks.heavy_analysis
"""

from __future__ import annotations

import statistics
import time

from kimi_ui.core.heavy.answers import read
from kimi_ui.core.heavy.attribution import attribute
from kimi_ui.core.heavy.clusters import cluster
from kimi_ui.core.heavy.verdict import verdict_of
from tests.support.attributed import HELD_OUT, TUNED

from .harness import report

CHARS = 8_000
RUNS = 15
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


def main() -> None:
    pool, hybrid = answers()
    grouping, matching = [], []
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
    )


if __name__ == "__main__":
    main()
