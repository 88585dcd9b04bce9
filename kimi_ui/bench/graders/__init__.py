"""Grade an answer: the same answer always gets the same verdict, apart from time limits of the sandbox.

Only the answer channel is graded. Thinking that leaked into it is dropped first; thinking that never ends, an open code
fence and an answer cut at the token limit are ``truncated``, whatever they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ... import algebra
from ...core.events import Answer
from ...core.think_tags import ThinkTags
from .. import sandbox
from ..sandbox import Sandbox
from ..suite import Case
from . import closed, code, constraints, final
from .verdict import (
    REFUSED,
    RIGHT,
    TIME_LIMIT,
    TRUNCATED,
    UNPARSED,
    VERDICTS,
    WRONG,
    Part,
    Verdict,
    right,
    unparsed,
    wrong,
)

VERSION = 1  # counts changes of any rule that can change a verdict
LONGEST = 200_000  # characters of a graded answer

CLOSED: Mapping[str, Callable[[str, Mapping[str, Any], str], Verdict]] = {
    "number": closed.number,
    "numbers": closed.numbers,
    "expression": closed.expression,
    "choice": closed.choice,
    "text": closed.text,
    "names": closed.names,
}
GRADERS = (*CLOSED, "code", "sql", "constraints", "turns")


def grade(
    case: Case,
    answers: str | Sequence[str],
    *,
    finish: str = "stop",
    get_sandbox: Callable[[], Sandbox] = sandbox.choose,
) -> Verdict:
    """The verdict on an answer to a case; on one answer per turn for a multi-turn case.

    ``finish``: how the last answer ended; "length" is truncated. ``get_sandbox`` is called only where code has to run.
    """
    if case.grader == "turns":
        verdict = _turns(case, [answers] if isinstance(answers, str) else answers, finish)
    else:
        answer = answers if isinstance(answers, str) else "".join(answers)
        verdict = grade_one(case.grader, case.gold, case.prompt, answer, finish=finish, get_sandbox=get_sandbox)
    return verdict._replace(grader=case.grader, version=VERSION)


def grade_one(
    grader: str,
    gold: Mapping[str, Any],
    prompt: str,
    answer: str,
    *,
    finish: str = "stop",
    get_sandbox: Callable[[], Sandbox] = sandbox.choose,
) -> Verdict:
    """The verdict of one grader on one answer."""
    text = answer_channel(answer)
    if finish == "length" or text is None or final.open_fence(text):
        why = (
            "at the token limit"
            if finish == "length"
            else "in its thinking"
            if text is None
            else "in an open code block"
        )
        return Verdict(TRUNCATED, None, f"The answer is cut off {why}.")
    if not text.strip():
        return unparsed("The answer is empty.")
    if len(text) > LONGEST:
        return unparsed(f"The answer is longer than {LONGEST} characters.")
    if grader == "code":
        return code.python(text, gold, get_sandbox)
    if grader == "sql":
        return code.sql(text, gold, get_sandbox)
    if grader == "constraints":
        return _constraints(text, gold)
    stated = final.stated(text)
    if stated is None:
        return unparsed("The answer states no result.")
    if len(stated) > final.LONGEST:
        return unparsed("The stated result is too long.", stated)
    return CLOSED[grader](stated, gold, prompt)


def answer_channel(content: str) -> str | None:
    """The answer without thinking that leaked into it; None if the thinking never ends."""
    if "<" not in content and "◁" not in content and "[" not in content:
        return content
    tags = ThinkTags()
    events = [*tags.feed(content), *tags.flush()]
    text = "".join(event.text for event in events if isinstance(event, Answer))
    return text if text.strip() or not content.strip() else None


def _constraints(text: str, gold: Mapping[str, Any]) -> Verdict:
    parts = []
    for one in gold["constraints"]:
        flaw = constraints.check(one, text.strip())
        parts.append(Part(one["rule"], WRONG if flaw else RIGHT, flaw))
    failed = [part for part in parts if part.verdict != RIGHT]
    if not failed:
        found = right(text, f"All {len(parts)} conditions are met.")
    else:
        reasons = "; ".join(f"{part.name.replace('_', ' ')}: {part.reason}" for part in failed)
        found = wrong(text, f"{len(failed)} of {len(parts)} conditions are not met: {reasons}.")
    return found._replace(parts=tuple(parts))


def _turns(case: Case, answers: Sequence[str], finish: str) -> Verdict:
    """Every turn by its own checks. The first turn that is not right gives the verdict."""
    parts = []
    for number, checks in enumerate(case.gold["turns"], 1):
        if number > len(answers):
            parts.append(Part(f"turn {number}", UNPARSED, "There is no answer."))
            continue
        last = number == len(answers)
        found = [
            grade_one(
                one["grader"],
                one["gold"],
                case.turns[number - 1],
                answers[number - 1],
                finish=finish if last else "stop",
            )
            for one in checks
        ]
        worst = next((verdict for verdict in found if verdict.verdict != RIGHT), found[0])
        parts.append(Part(f"turn {number}", worst.verdict, worst.reason))
    failed = [part for part in parts if part.verdict != RIGHT]
    extracted = f"{len(parts) - len(failed)} of {len(parts)} turns right"
    if not failed:
        return Verdict(RIGHT, extracted, "Every turn is right.", parts=tuple(parts))
    first = failed[0]
    return Verdict(first.verdict, extracted, f"{first.name.capitalize()}: {first.reason}", parts=tuple(parts))


def close() -> None:
    """End the process of the computer algebra, if one was started."""
    algebra.close()


__all__ = [
    "GRADERS", "REFUSED", "RIGHT", "TIME_LIMIT", "TRUNCATED", "UNPARSED", "VERDICTS", "VERSION", "WRONG", "Part",
    "Verdict",     "answer_channel", "close", "grade", "grade_one",
]  # fmt: skip
