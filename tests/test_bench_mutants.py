"""The hidden inputs of each coding case tell the reference from programs with one small mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kimi_ui.bench import suite
from kimi_ui.bench.graders import RIGHT, code
from kimi_ui.bench.sandbox.backends import Frame, Outcome
from tests.support.mutants import mutants

ROOT = Path(__file__).resolve().parent.parent
CASES = [case.id for case in suite.cases() if case.grader == "code"]
MOST = 24
LEAST_KILLED = 0.9


def results_of(sources: list[str], calls: list[Frame]) -> list[Outcome]:
    """What each program gives for the calls; nothing where it never ends."""
    command = [sys.executable, "-m", "tests.support.mutant_runner"]
    job = json.dumps({"sources": sources, "calls": calls})
    done = subprocess.run(command, input=job, capture_output=True, text=True, cwd=ROOT, check=True)
    outcomes = []
    for line in done.stdout.splitlines():
        frames = json.loads(line)
        defined = next((frame for frame in frames if "i" not in frame), None)
        outcomes.append(Outcome(defined, {frame["i"]: frame for frame in frames if "i" in frame}, "done", 0))
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize(("case_id", "seed"), [(case_id, (suite.SEED, 3)[i % 2]) for i, case_id in enumerate(CASES)])
def test_hidden_inputs_kill_mutants(case_id: str, seed: int) -> None:
    case = suite.case(case_id, seed)
    assert case is not None
    source, calls = case.gold["source"], case.gold["calls"]
    changed = mutants(source, MOST, seed)
    expected = code.results(source, calls)
    reference, *outcomes = results_of([source, *changed], calls)
    assert code.compared(source, calls, expected, reference).verdict == RIGHT
    survivors = [
        text
        for text, outcome in zip(changed, outcomes, strict=True)
        if code.compared(text, calls, expected, outcome).verdict == RIGHT
    ]
    assert len(changed) >= 4
    assert len(survivors) <= (1 - LEAST_KILLED) * len(changed), survivors
