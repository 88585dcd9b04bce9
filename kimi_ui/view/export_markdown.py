"""Turns as Markdown, for people and for other programs.

Answers stay Markdown, made inert (``core.markdown.inert``). Reasoning is plain text in a collapsed section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..core.attachments import split
from ..core.markdown.inert import closed, inert
from ..core.metric_words import figures
from ..core.portable import metrics_of
from ..core.turn import TurnLog
from ..tokenizers import counter

_FENCES = re.compile(r"`{3,}")


def markdown_of(turns: Sequence[TurnLog], title: str, *, reasoning: bool = True) -> str:
    """The document; ``reasoning`` False omits all reasoning text."""
    blocks = [f"# {inert(title)}"]
    for turn in turns:
        blocks += _turn(turn, reasoning)
    return "\n\n".join(blocks) + "\n"


def _turn(turn: TurnLog, reasoning: bool) -> Iterator[str]:
    typed, attachments = split(turn.prompt)
    yield f"## {turn.seq + 1}. Prompt\n\n*{turn.started_at_utc}*"
    if turn.system:
        yield folded("System prompt", turn.system)
    yield quoted(typed)
    for attachment in attachments:
        yield folded(f"Attached: {attachment.name}", attachment.text)
    fold = turn.fold()
    metrics = metrics_of(turn, counter)
    for info in turn.lanes:
        names = [info.model, f"stand-in for {info.stand_in_for}" if info.stand_in_for else ""]
        yield " · ".join([f"### {inert(info.label)}", *(inert(name) for name in names if name)])
        if attempt_id := fold.current(info.id):
            one = fold.folds[attempt_id]
            yield f"*{' · '.join(figures(one.status, metrics[attempt_id]))}*"
            if reasoning and one.reasoning.strip():
                yield folded("Reasoning", one.reasoning)
            if one.promoted:
                yield "*Taken from the reasoning: the model wrote no answer of its own.*"
            if one.answer.strip():
                yield inert(closed(one.answer.strip("\n")))
            if one.failure:
                yield quoted(f"{one.failure.message} {one.failure.remedy}".strip())


def folded(summary: str, text: str) -> str:
    """Plain text in a ``<details>`` section, in a fence longer than any inside it."""
    fence = "`" * (1 + max((len(run) for run in _FENCES.findall(text)), default=2))
    body = text.strip("\n")
    return f"<details>\n<summary>{inert(summary)}</summary>\n\n{fence}text\n{body}\n{fence}\n\n</details>"


def quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in inert(text).splitlines()) or ">"
