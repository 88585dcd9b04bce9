"""The graders' own error rates, on ``golden.jsonl``: answers with the verdict each must get.

Many are answers that other tools judge wrongly. Each line is a grader with its gold (or a case with its seed) and
``answers``: text, verdict, and perhaps why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .. import sandbox, suite
from . import RIGHT, Verdict, grade, grade_one

FILE = Path(__file__).with_name("golden.jsonl")


class Judged(NamedTuple):
    """One answer, the verdict it must get and the one it got."""

    grader: str
    answer: str
    expected: str
    verdict: Verdict

    @property
    def false_positive(self) -> bool:
        return self.expected != RIGHT and self.verdict.verdict == RIGHT

    @property
    def false_negative(self) -> bool:
        return self.expected == RIGHT and self.verdict.verdict != RIGHT


class Rates(NamedTuple):
    """False positives among the answers that are not right, false negatives among those that are."""

    false_positives: int
    n_not_right: int
    false_negatives: int
    n_right: int

    @property
    def sentence(self) -> str:
        n = self.n_right + self.n_not_right
        return (
            f"On {n} answers with known verdicts the graders called {self.false_positives} of {self.n_not_right} right "
            f"that are not, and {self.false_negatives} of {self.n_right} not right that are."
        )


RATES = Rates(false_positives=0, n_not_right=241, false_negatives=0, n_right=286)
"""What the graders of this version get; a test finds the same. Reports print it without grading again."""


def judged(get_sandbox: Callable[[], sandbox.Sandbox] = sandbox.choose, code: bool = True) -> Iterator[Judged]:
    """Grade every golden answer; ``code`` False: none that runs code."""
    for line in FILE.read_text(encoding="utf-8").splitlines():
        group = json.loads(line)
        case = suite.case(group["case"], group["seed"]) if "case" in group else None
        if case is not None and case.grader in ("code", "sql") and not code:
            continue
        for answer, expected, *_ in group["answers"]:
            if case is None:
                verdict = grade_one(group["grader"], group["gold"], group["prompt"], answer, get_sandbox=get_sandbox)
            else:
                answers = suite.answers_of(case, answer)
                verdict = grade(case, answers, get_sandbox=get_sandbox)
            yield Judged(group.get("grader") or (case.grader if case else ""), answer, expected, verdict)


def rates(found: list[Judged]) -> Rates:
    right = [one for one in found if one.expected == RIGHT]
    others = [one for one in found if one.expected != RIGHT]
    return Rates(
        sum(one.false_positive for one in others), len(others), sum(one.false_negative for one in right), len(right)
    )
