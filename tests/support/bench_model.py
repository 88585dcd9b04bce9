"""A model that knows the benchmark's cases: it answers with the references, but for those that it gets wrong.

python -m tests.support.bench_model LOG EPOCHS [RUN]   runs four cases in two lanes and heavy of two, or goes on with
RUN; to be killed. It prints the run's id, then a line for each sample.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from kimi_ui.bench import records, runner, suite
from kimi_ui.bench.plan import Chosen
from kimi_ui.bench.start import Wanted
from kimi_ui.bench.suite import Case
from kimi_ui.core.events import CONNECTED, Answer, Finish, Phase, Reasoning, Usage
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.base import ChatRequest, Provider
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider

from .engine_run import running
from .scripted import SENT, ScriptedProvider

IDS = ("jugs-1", "congruences-1", "keywords-1", "stock-1")  # the last one is a conversation


def cases(*ids: str, seed: int = suite.SEED) -> tuple[Case, ...]:
    return tuple(case for case in suite.cases(seed) if case.id in (ids or IDS))


def knowing(
    known: Iterable[Case], wrong: Collection[str] = (), pause_s: float = 0.0
) -> Callable[[ChatRequest], Iterable[Any]]:
    """A script that answers these cases, those in ``wrong`` with a wrong number."""
    known = list(known)

    def script(request: ChatRequest) -> Iterable[Any]:
        said = [message.content for message in request.messages if message.role == "user"]
        case = next(case for case in known if said[0].startswith(case.prompt))
        right = suite.answers_of(case, case.reference)[len(said) - 1]
        text = "I am sure.\n\nAnswer: 123456" if case.id in wrong else right
        yield from (SENT, Phase(CONNECTED), Reasoning("Let me see. "))
        for word in text.split(" "):
            yield from (pause_s, Answer(f"{word} ")) if pause_s else (Answer(f"{word} "),)
        yield Usage(input_tokens=200, output_tokens=50, reasoning_tokens=10)
        yield Finish("stop")

    return script


def lanes(known: Iterable[Case], wrong: Collection[str] = (), pause_s: float = 0.0, **spec: Any) -> list[Provider]:
    """Two lanes, ``good`` and ``poor`` (which gets ``wrong`` wrong), and heavy of the poor one, of two trajectories."""
    known = list(known)
    good = LaneSpec("good", "Good", "openai", model="m-1", base_url="http://one.test", **spec)
    poor = LaneSpec("poor", "Poor", "openai", model="m-2", base_url="http://two.test", **spec)
    plain = [
        ScriptedProvider(good, [knowing(known, (), pause_s)]),
        ScriptedProvider(poor, [knowing(known, wrong, pause_s)]),
    ]
    heavy = HeavyLane("heavy", "Heavy", of="poor", width=2, quorum=2)
    return [*plain, HeavyProvider(heavy, plain[1])]


def main() -> None:
    log, epochs, *run_id = sys.argv[1:]
    known = cases()
    with running(Path(log), *lanes(known, ("jugs-1",), pause_s=0.002)) as run:
        if run_id:
            with run.reader.snapshot() as rows:
                if records.head(rows, run_id[0]).state == records.DONE:  # killed after it had recorded that
                    return
            going = runner.resume(run.engine, run.turns, run_id[0])
        else:
            wanted = Wanted(Chosen("chosen", known), suite.SEED, ("good", "poor", "heavy"), int(epochs), order_seed=7)
            going = runner.begin(run.engine, run.turns, wanted)
        print(going.head.id, flush=True)
        head = going.run(on_sample=lambda sample: print("sample", sample.case, sample.lane, sample.epoch, flush=True))
        print("end", head.state, flush=True)


if __name__ == "__main__":
    main()
