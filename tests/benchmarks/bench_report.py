"""How long the report of a full run takes, from the log to the file.

    python -m tests.benchmarks.bench_report [--attempts 5000]

A run of that many attempts is made first, with the real runner and a scripted model in two lanes and heavy of two
trajectories: answers of 1,500 and reasoning of 4,000 characters. Then the command is timed as a person waits for it,
Python's start and all imports included, and its parts in this process. Goal: 3 s for 5,000 attempts.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from kimi_ui.bench import records, runner, suite
from kimi_ui.bench.plan import Chosen
from kimi_ui.bench.report import FORMATS, report, texts_of
from kimi_ui.bench.start import Wanted
from kimi_ui.bench.summary import summarise
from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning, Usage
from kimi_ui.log.reader import LogReader
from kimi_ui.providers.base import ChatRequest, Provider
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from tests.support.bench_model import lanes
from tests.support.engine_run import running
from tests.support.scripted import SENT, ScriptedProvider

from .sandbox import command_s

PER_ITEM = 5  # attempts a case and epoch: one, one, and heavy with two trajectories and its aggregation
REASONING, ANSWER = "We need to be careful here. " * 143, "First I look at what is asked, then at the numbers. " * 29


def script(known: Iterable[suite.Case]) -> Callable[[ChatRequest], Iterable[Any]]:
    """Answers with the reference, or wrongly to about every third case."""
    cases = list(known)

    def answer(request: ChatRequest) -> Iterable[Any]:
        said = next(message.content for message in request.messages if message.role == "user")
        case = next((one for one in cases if said.startswith(one.prompt)), cases[0])
        text = "Answer: 123456" if hash(case.id) % 3 == 0 else case.reference
        yield from (SENT, Phase(CONNECTED), Reasoning(REASONING), Answer(f"{ANSWER}\n\n{text}"))
        yield Usage(input_tokens=200, output_tokens=1300, reasoning_tokens=1000)
        yield Finish("stop")

    return answer


def providers(known: Iterable[suite.Case]) -> list[Provider]:
    good, poor, _ = lanes(known)
    plain = [ScriptedProvider(one.spec, [script(known)]) for one in (good, poor)]
    return [*plain, HeavyProvider(HeavyLane("heavy", "Heavy", of="poor", width=2, quorum=2), plain[1])]


def made(log: Path, attempts: int) -> str:
    """The id of a run with about that many attempts."""
    known = tuple(case for case in suite.cases() if case.category in ("reasoning", "math"))
    epochs = round(attempts / PER_ITEM / len(known))
    wanted = Wanted(Chosen("chosen", known), suite.SEED, ("good", "poor", "heavy"), epochs=epochs)
    with running(log, *providers(known)) as run:
        return runner.begin(run.engine, run.turns, wanted).run().id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log, target = Path(folder) / "log.sqlite3", Path(folder) / "report.html"
        started = time.perf_counter()
        run_id = made(log, options.attempts)
        reader = LogReader(log)
        n = reader.rows("SELECT count(*) FROM attempts")[0][0]
        print(f"{n:,} attempts made in {time.perf_counter() - started:.0f} s; load {os.getloadavg()[0]:.0f}")
        for _ in range(options.rounds):
            before = cpu_of_children_s()
            whole = command_s("report", run_id, "-o", str(target), "--db", str(log))
            cpu = cpu_of_children_s() - before
            found = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in parts_s(reader, run_id).items())
            megabytes = target.stat().st_size / 1e6
            print(f"`bench report` {whole:.2f} s, {cpu:.2f} s of CPU, {megabytes:.1f} MB; CPU of its parts: {found}")


def parts_s(reader: LogReader, run_id: str) -> dict[str, float]:
    """CPU seconds of this process for each part."""
    run = records.load(reader, run_id)
    summary, texts = summarise(run), texts_of(reader, run)
    parts: dict[str, Callable[[], object]] = {
        "load": lambda: records.load(reader, run_id),
        "texts": lambda: texts_of(reader, run),
        "summary": lambda: summarise(run),
        **{form: partial(report, summary, form, texts) for form in FORMATS},
    }
    found = {}
    for name, work in parts.items():
        started = time.process_time()
        work()
        found[name] = time.process_time() - started
    return found


def cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
