"""A case of the suite, and how templates make cases.

A template is a function of a seeded generator of random numbers. It writes the prompt, computes the gold answer by code
and gives a reference: an answer that is right, in the form the prompt asks for. Cases of one template resemble each other,
so the template is the cluster in the statistics. A case's id is the same for every seed; its numbers and names are not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

REASONING, CODING, MATH, CREATIVE = "reasoning", "coding", "math", "creative"
LONG_CONTEXT, MULTI_TURN = "long_context", "multi_turn"
CATEGORIES = (REASONING, CODING, MATH, CREATIVE, LONG_CONTEXT, MULTI_TURN)

ANSWER_LINE = "Finish with one line of the form\nAnswer: {form}"


class Case(NamedTuple):
    """One task. ``gold`` is what ``grader`` needs (``graders/README`` section of the room's README); never sent.

    ``turns``: all messages of a multi-turn case, of which ``prompt`` is the first; empty for the others. ``context_tokens``:
    the intended length of a long-context prompt, which the run checks against the tokens the model reports.
    """

    id: str
    category: str
    template: str
    grader: str
    prompt: str
    gold: Mapping[str, Any]
    reference: str
    turns: tuple[str, ...] = ()
    context_tokens: int | None = None


class Draft(NamedTuple):
    """What a template returns: a case without its place in the suite."""

    prompt: str
    gold: Mapping[str, Any]
    reference: str
    turns: tuple[str, ...] = ()
    context_tokens: int | None = None


Make = Callable[[random.Random, int], Draft]


class Template(NamedTuple):
    """``make(rng, k)`` drafts case ``k`` of ``cases``; a larger ``k`` is harder."""

    name: str
    category: str
    grader: str
    cases: int
    make: Make

    def instances(self, seed: int) -> Iterator[Case]:
        for k in range(self.cases):
            yield self.instance(k, seed)

    def instance(self, k: int, seed: int) -> Case:
        draft = self.make(random.Random(f"{seed}/{self.name}/{k}"), k)
        place = (f"{self.name}-{k + 1}", self.category, self.name, self.grader)
        return Case(*place, draft.prompt, draft.gold, draft.reference, draft.turns, draft.context_tokens)


class Templates(list[Template]):
    """The templates of one category, in order."""

    def __init__(self, category: str) -> None:
        super().__init__()
        self._category = category

    def template(self, grader: str, cases: int = 3) -> Callable[[Make], Make]:
        """Register the function as a template with its own name, underscores as hyphens."""

        def register(make: Make) -> Make:
            self.append(Template(make.__name__.replace("_", "-"), self._category, grader, cases, make))
            return make

        return register


def closed(question: str, form: str) -> str:
    """A question with the form of the answer line."""
    return f"{question.strip()}\n\n{ANSWER_LINE.format(form=form)}"


def answered(explanation: str, answer: object) -> str:
    """A reference with its answer line."""
    return f"{explanation.strip()}\n\nAnswer: {answer}"
