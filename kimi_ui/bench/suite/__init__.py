"""The suite: every case, made from templates and a seed. The same seed and version give the same cases everywhere."""

from __future__ import annotations

import json
from functools import cache

from .case import CATEGORIES, Case, Template

VERSION = 1  # counts changes of any prompt or gold
SEED = 20261101
QUICK = (
    "swaps-1", "must-be-true-2", "knights-2", "houses-2",
    "run-lengths-1", "intervals-2", "windows-1", "top-spenders-1",
    "congruences-1", "drawing-balls-1", "linear-system-2", "surds-2",
    "keywords-1", "acrostics-2", "bullet-lists-2", "verse-1",
    "one-needle-1", "every-value-1", "stock-1", "lasting-rules-1",
)  # fmt: skip


@cache
def templates() -> tuple[Template, ...]:
    """All templates in the order of the categories."""
    from . import coding_more  # registers its templates with those of ``coding``
    from .coding import CODE
    from .creative import CONSTRAINED
    from .long_context import DOCUMENTS
    from .mathematics import MATHEMATICS
    from .multi_turn import CONVERSATIONS
    from .queries import QUERIES
    from .reasoning import PUZZLES

    assert coding_more
    return (*PUZZLES, *CODE, *QUERIES, *MATHEMATICS, *CONSTRAINED, *DOCUMENTS, *CONVERSATIONS)


def cases(seed: int = SEED) -> list[Case]:
    """All cases of a seed."""
    return [case for template in templates() for case in template.instances(seed)]


def case(case_id: str, seed: int = SEED) -> Case | None:
    """One case, without making the others; None if there is no such id."""
    name, _, number = case_id.rpartition("-")
    for template in templates():
        if template.name == name and number.isdecimal() and 1 <= int(number) <= template.cases:
            return template.instance(int(number) - 1, seed)
    return None


def answers_of(case: Case, text: str) -> list[str]:
    """The answers in a text: one per turn from a JSON array for a conversation, otherwise the text itself.

    A text that is no JSON array is the answer of the first turn.
    """
    try:
        found = json.loads(text) if case.turns else None
    except (ValueError, RecursionError):
        found = None
    return [one if isinstance(one, str) else json.dumps(one) for one in found] if isinstance(found, list) else [text]


__all__ = ["CATEGORIES", "QUICK", "SEED", "VERSION", "Case", "answers_of", "case", "cases", "templates"]
