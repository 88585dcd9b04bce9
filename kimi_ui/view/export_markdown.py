"""Turns as Markdown, for people and for other programs.

Answers stay Markdown, made inert (``core.markdown.inert``). Reasoning is plain text in a collapsed section, and each of
heavy's trajectories is a collapsed section too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..core.attachments import split
from ..core.attempt import Attempt, AttemptFold
from ..core.heavy.pool import source_of
from ..core.lane import host_of
from ..core.markdown.inert import closed, inert
from ..core.metric_words import figures
from ..core.portable import metrics_of
from ..core.turn import TurnLog
from ..tokenizers import counter
from .attempt_history import attempt_part
from .heavy_worth import worth_of

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
    for image in turn.images:
        yield f"![{inert(image.name)}]({image.data_url})"
    if turn.basis:
        basis = next((info.label for info in turn.lanes if info.id == turn.basis), turn.basis)
        yield f"*Every lane goes on from the history of {inert(basis)}.*"
    fold = turn.fold()
    metrics = metrics_of(turn, counter)
    for info in turn.lanes:
        names = [info.model, f"stand-in for {info.stand_in_for}" if info.stand_in_for else ""]
        yield " · ".join([f"### {inert(info.label)}", *(inert(name) for name in names if name)])
        if attempt_id := fold.current(info.id):
            server = map(inert, _server(fold.attempts[attempt_id]))
            yield f"*{' · '.join([*figures(fold.folds[attempt_id].status, metrics[attempt_id]), *server])}*"
            yield from _texts(fold.folds[attempt_id], reasoning)
            if fold.attempts[attempt_id].role == "heavy":
                yield from _heavy(turn, info.id)
            for child in fold.children.get(source_of(fold, attempt_id), ()):
                attempt = fold.attempts[child]
                if attempt.k_index is not None:
                    name = f"Trajectory T{attempt.k_index + 1}" + (
                        f", try {attempt.attempt_no}" if attempt.attempt_no > 1 else ""
                    )
                    facts = [*figures(fold.folds[child].status, metrics[child]), *_server(attempt)]
                    summary = " · ".join([name, *facts])
                    yield "\n\n".join(
                        [
                            f"<details>\n<summary>{inert(summary)}</summary>",
                            *_texts(fold.folds[child], reasoning),
                            "</details>",
                        ]
                    )


def _server(attempt: Attempt) -> Iterator[str]:
    if host := host_of(attempt.base_url):
        yield f"at {host}"


def _heavy(turn: TurnLog, lane: str) -> Iterator[str]:
    """What heavy's board says, which trajectories each part of the answer matches, and whether heavy was worth it."""
    shown = attempt_part(turn, lane, len(turn.fold().lanes[lane].attempts)) or {}
    board = shown.get("heavy", {})
    yield from _sentences("The trajectories", [board.get("says", ""), *(one["text"] for one in board.get("lines", ()))])
    if parts := [part for part in board.get("parts", ()) if part["kind"] != "none"]:
        yield folded(board["parts_say"], "\n".join(f"{part['label']}: {part['text']}" for part in parts))
    for one in worth_of(turn):
        if one.lane == lane:
            yield from _sentences("Was heavy worth it?", [" · ".join(one.facts), *one.judged])


def _sentences(title: str, sentences: Sequence[str]) -> Iterator[str]:
    if listed := "\n".join(f"- {inert(sentence)}" for sentence in sentences if sentence):
        yield f"**{title}**\n\n{listed}"


def _texts(one: AttemptFold, reasoning: bool) -> Iterator[str]:
    """What an attempt wrote: its reasoning, its answer, its failure."""
    if reasoning and one.reasoning.strip():
        yield folded("Reasoning", one.reasoning)
    if one.promoted:
        yield "*Taken from the reasoning: the model wrote no answer of its own.*"
    if one.carried:
        yield f"*The first {len(one.carried):,} characters are an earlier attempt's answer, which was cut.*"
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
