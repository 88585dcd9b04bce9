"""Comparison of a turn's answers: which can be compared, and the diff of two."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.compare.conclusion import conclusion
from ..core.compare.diff import Segment, compare
from ..core.markdown.safe import clean_text
from ..core.turn import TurnLog


class Source(NamedTuple):
    """An answer that can be compared. ``id`` is the lane's id, or ``lane/k`` for trajectory k of a heavy lane."""

    id: str
    label: str
    answer: str


def sources_of(turn: TurnLog) -> list[Source]:
    """The non-empty answers of a turn: lanes in order, each followed by its trajectories."""
    fold = turn.fold()
    sources: list[Source] = []
    for info in turn.lanes:
        main = fold.current(info.id)
        if main is None:
            continue
        sources.append(Source(info.id, info.label, fold.folds[main].answer))
        newest = {fold.attempts[child].k_index: child for child in fold.children.get(main, [])}
        for k, child in sorted((k, child) for k, child in newest.items() if k is not None):
            sources.append(Source(f"{info.id}/{k}", f"{info.label} T{k + 1}", fold.folds[child].answer))
    return [source for source in sources if source.answer.strip()]


def diff_part(left: Source, right: Source) -> dict[str, Any]:
    """A diff as JSON for the page, which must insert all texts as text.

    ``{left, right: labels, summary: [sentences], segments: [{kind, code, left, right, words: [[kind, text]…]}]}``;
    ``right`` is left out where it equals ``left``.
    """
    a, b = clean_text(left.answer), clean_text(right.answer)
    found = compare(a, b)
    summary = []
    if found.identical:
        summary.append("The two answers are identical.")
    elif said := conclusion(a, b):
        summary.append(said.sentence(left.label, right.label))
    if found.in_common is not None and not found.identical:
        summary.append(
            f"{_percent(found.in_common)} of the words are in both, in the same order: "
            f"{found.n_left_words:,} words in {left.label}, {found.n_right_words:,} in {right.label}."
        )
    if not found.aligned:
        summary.append("The answers are too long to be compared piece by piece.")
    return {
        "left": left.label,
        "right": right.label,
        "summary": summary,
        "segments": [_segment_part(segment) for segment in found.segments],
    }


def _segment_part(segment: Segment) -> dict[str, Any]:
    part: dict[str, Any] = {"kind": segment.kind, "code": segment.code, "left": segment.left}
    if segment.right != segment.left:
        part["right"] = segment.right
    if segment.words:
        part["words"] = segment.words
    return part


def _percent(share: float) -> str:
    """A share in whole percent; "0 %" and "100 %" are exact."""
    whole = round(100 * share)
    if whole == 0 and share > 0:
        return "Under 1 %"
    if whole == 100 and share < 1:
        return "Over 99 %"
    return f"{whole} %"
