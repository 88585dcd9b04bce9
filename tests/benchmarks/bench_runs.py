"""What a run of the benchmark costs beside its requests, and whether it survives being killed.

    python -m tests.benchmarks.bench_runs [--kills 200] [--items 300]

CPU: the same prompts through the engine alone, then as a run, in this process, with a model that answers at once; the
difference per attempt, and the part of it that is grading. Kills: runs of four cases in three lanes, one of them heavy,
are killed with SIGKILL at random moments and resumed. Goals: 3 ms an attempt; nothing lost, nothing twice.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import tempfile
import time
from pathlib import Path

from kimi_ui.bench import graders, runner, suite
from kimi_ui.bench.plan import Chosen
from kimi_ui.bench.start import Wanted
from kimi_ui.bench.suite import Case
from kimi_ui.core.turn import TurnLog

from ..support.bench_model import lanes
from ..support.engine_run import running
from ..support.killed_runs import found_in, killed_run


def known_cases() -> tuple[Case, ...]:
    """Cases of one turn whose grader needs no other process."""
    return tuple(case for case in suite.cases() if case.category in ("reasoning", "creative"))


def engine_cpu_s(folder: Path, cases: tuple[Case, ...], epochs: int) -> float:
    """CPU seconds to send every case through the engine, one after the other, until all is in the log."""
    with running(folder / "engine.sqlite3", lanes(cases)[0]) as run:
        ended: queue.SimpleQueue[TurnLog] = queue.SimpleQueue()
        run.turns.listen(lambda turn, _: ended.put(turn))
        started = time.process_time()
        for case in cases * epochs:
            run.engine.send(case.prompt, lanes=["good"], kind=runner.KIND)
            ended.get()
        run.writer.flush().result()
        return time.process_time() - started


def run_cpu_s(folder: Path, cases: tuple[Case, ...], epochs: int) -> float:
    """CPU seconds of the same as a run, from its plan to its end."""
    with running(folder / "run.sqlite3", lanes(cases)[0]) as run:
        started = time.process_time()
        wanted = Wanted(Chosen("chosen", cases), suite.SEED, ("good",), epochs, order_seed=1)
        head = runner.begin(run.engine, run.turns, wanted).run()
        assert head.state == "done", head
        return time.process_time() - started


def grading_cpu_s(cases: tuple[Case, ...]) -> float:
    started = time.process_time()
    for case in cases:
        assert graders.grade(case, f"{case.reference} ").verdict == "right", case.id
    return time.process_time() - started


def cpu(n_items: int) -> None:
    cases = known_cases()
    epochs = max(1, n_items // len(cases))
    n = len(cases) * epochs
    with tempfile.TemporaryDirectory() as folder:
        engine_cpu_s(Path(folder), cases[:10], 1)  # what is loaded at the first use
        run_cpu_s(Path(folder), cases[:10], 1)
    with tempfile.TemporaryDirectory() as folder:
        alone, whole = engine_cpu_s(Path(folder), cases, epochs), run_cpu_s(Path(folder), cases, epochs)
    grading = grading_cpu_s(cases) / len(cases)
    print(f"{n} attempts: engine {1000 * alone / n:.2f} ms of CPU each, as a run {1000 * whole / n:.2f} ms")
    print(f"the run adds {1000 * (whole - alone) / n:.2f} ms an attempt, {1000 * grading:.2f} ms of that is grading")


def kills(n: int, seed: int) -> None:
    rng = random.Random(seed)
    done = runs = items = lost = twice = cut = 0
    with tempfile.TemporaryDirectory() as folder:
        while done < n:
            log = Path(folder) / f"{runs}.sqlite3"
            done += killed_run(log, min(20, n - done), rng)
            found = found_in(log)
            runs, items, cut = runs + 1, items + found.items, cut + found.cut
            lost, twice = lost + found.lost, twice + found.twice
            print(f"  {done} kills, {runs} runs, {items} items: {lost} lost, {twice} twice", flush=True)
    print(f"{done} kills in {runs} runs of {items} items, {cut} attempts cut off: {lost} lost, {twice} twice")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.0f}")
    if options.items:
        cpu(options.items)
    if options.kills:
        kills(options.kills, options.seed)


if __name__ == "__main__":
    main()
