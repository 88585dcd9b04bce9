"""What the benchmark costs beside the models: the sandbox per coding case, grading and listing in the terminal.

    python -m tests.benchmarks.sandbox [--rounds 20]

Overhead of a coding case: time in the sandbox minus that of the same code in this process, for the reference of every
coding case. Goals: 150 ms a case, 2 s for ``bench list`` and ``bench grade``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from kimi_ui.bench import sandbox, suite
from kimi_ui.bench.graders import code
from kimi_ui.bench.sandbox.backends import CALLS, Unavailable

from .harness import ROOT


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def overheads_ms(name: str, rounds: int) -> list[float]:
    """Per case, the median over the rounds; the backend is started and warm."""
    backend = sandbox.candidates()[name]()
    found = []
    try:
        for case in suite.cases():
            if case.grader == "code":
                source, calls = case.gold["source"], case.gold["calls"]
                request = {"code": source, "calls": calls}
                boxed = [seconds(partial(backend.run, CALLS, request, 30.0)) for _ in range(rounds)]
                plain = [seconds(partial(code.results, source, calls)) for _ in range(rounds)]
                found.append(1000 * (statistics.median(boxed) - statistics.median(plain)))
    finally:
        backend.close()
    return found


def command_s(*arguments: str, given: str = "") -> float:
    command = [sys.executable, "-m", "kimi_ui", "bench", *arguments]
    return seconds(lambda: subprocess.run(command, input=given, text=True, capture_output=True, cwd=ROOT, check=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print(f"load {os.getloadavg()[0]:.0f}")
    for name in sandbox.candidates():
        try:
            found = overheads_ms(name, rounds)
        except Unavailable as reason:
            print(f"{name}: {reason}")
            continue
        figures = f"median {statistics.median(found):.0f} ms, worst case {max(found):.0f} ms"
        print(f"{name}: overhead per coding case, {figures}")
    case = suite.case("run-lengths-1")
    assert case is not None
    for what, arguments, given in (
        ("list --json --reference", ("list", "--json", "--reference"), ""),
        ("grade, a number", ("grade", "jugs-1", "--json"), "Answer: 5"),
        ("grade, code with the self-test of the sandbox", ("grade", case.id, "--json"), case.reference),
        ("grade, an expression for the computer algebra", ("grade", "derivative-2", "--json"), "Answer: \\sin(x)^2"),
    ):
        took = [command_s(*arguments, given=given) for _ in range(max(3, rounds // 4))]
        print(f"bench {what}: median {statistics.median(took):.2f} s, worst {max(took):.2f} s")


if __name__ == "__main__":
    main()
