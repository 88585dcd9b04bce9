"""Comparison of a turn's answers: which can be compared, and two of them side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..core.compare.conclusion import conclusion
from ..core.compare.side_by_side import UNLIKE, SideBySide, side_by_side
from ..core.compare.words import count_words
from ..core.markdown.safe import clean_text
from ..core.turn import AttemptHead, LaneInfo

NOUNS = {
    "sentence": "sentence",
    "item": "list item",
    "heading": "heading",
    "row": "table row",
    "column": "table column",
    "line": "line of code",
    "formula": "formula",
}
PLURALS = {"line of code": "lines of code"}


class Place(NamedTuple):
    """Where an answer may be that can be compared: the attempt, and the ``lane`` (its label) that wrote it.

    ``id`` is the lane's id for its newest answer, ``lane/k`` for trajectory k of its run; of an earlier attempt n
    (from 1) ``lane@n`` and ``lane@n/k``.
    """

    id: str
    lane: str
    label: str
    attempt_id: str


class Source(NamedTuple):
    """An answer that can be compared; the rest as for ``Place``."""

    id: str
    lane: str
    label: str
    answer: str

    def part(self) -> dict[str, Any]:
        """For the page, which lets the reader choose."""
        return {"id": self.id, "lane": self.lane, "label": self.label, "words": count_words(self.answer)}


def places_of(lanes: Sequence[LaneInfo], heads: Sequence[AttemptHead]) -> list[Place]:
    """The places of a turn: of each lane its newest attempt, that one's trajectories, then earlier attempts."""
    return [place for info in lanes for place in _places(info, [head for head in heads if head.lane == info.id])]


def _places(info: LaneInfo, heads: Sequence[AttemptHead]) -> Iterator[Place]:
    attempts = [head for head in heads if not head.parent_id]
    listed: set[str] = set()  # runs whose trajectories are listed: an answer may be made of an earlier run's
    for number in range(len(attempts), 0, -1):
        attempt = attempts[number - 1]
        place, note = ("", "") if number == len(attempts) else (f"@{number}", f", attempt {number}")
        yield Place(f"{info.id}{place}", info.label, f"{info.label}{note}", attempt.attempt_id)
        run = attempt.answers_of or attempt.attempt_id
        newest = {} if run in listed else {head.k_index: head.attempt_id for head in heads if head.parent_id == run}
        listed.add(run)
        for k, child in sorted((k, child) for k, child in newest.items() if k is not None):
            yield Place(f"{info.id}{place}/{k}", info.label, f"{info.label} T{k + 1}{note}", child)


def sources_of(places: Iterable[Place], answers: Mapping[str, str]) -> list[Source]:
    """The places whose answer is not empty; ``answers`` by attempt."""
    found = (Source(id, lane, label, answers.get(attempt_id, "")) for id, lane, label, attempt_id in places)
    return [source for source in found if source.answer.strip()]


def comparison_part(left: Source, right: Source) -> dict[str, Any]:
    """Two answers side by side, as JSON for the page. ``left`` and ``right`` of a row are HTML from the allow-list.

    ``{left, right: labels, summary: [sentences], unlike, marks: how many are numbered, rows: [{kind, left, right}]}``;
    a row's ``right`` is left out where it equals ``left``.
    """
    a, b = clean_text(left.answer), clean_text(right.answer)
    found = side_by_side(a, b, left.label, right.label)
    return {
        "left": left.label,
        "right": right.label,
        "summary": list(_summary(a, b, left.label, right.label, found)),
        "unlike": found.unlike,
        "marks": found.n_marks,
        "rows": [
            {"kind": row.kind, "left": row.left, **({} if row.right == row.left else {"right": row.right})}
            for row in found.rows
        ],
    }


def _summary(a: str, b: str, left: str, right: str, found: SideBySide) -> Iterator[str]:
    """What the two answers have in common: their conclusions, the share of words, the number of differences."""
    if a.strip() == b.strip():
        yield "The two answers are identical."
        return
    if said := conclusion(a, b):
        yield said.sentence(left, right)
    if found.in_common is not None:
        share = _percent(found.in_common)
        if found.unlike:
            yield (
                f"These answers are unlike: {share} of their words are in sentences, items, rows or lines that match "
                f"(below {_percent(UNLIKE)} counts as unlike). So what is in both is marked."
            )
        else:
            yield f"{share} of the words are in sentences, items, rows or lines that match."
    heads = {
        "changed": "Changed",
        "left": f"Only in {left}",
        "right": f"Only in {right}",
        "moved": "In another place",
        "both": "In both",
    }
    counted = [
        f"{head}: {_counted(found.counts, what)}." for what, head in heads.items() if _counted(found.counts, what)
    ]
    alike = "Nothing but white space, typographic signs, emphasis or the numbers of lists differs."
    yield " ".join(counted) or ("Nothing is in both." if found.unlike else alike)


def _counted(counts: Counter[tuple[str, str]], what: str) -> str:
    parts = []
    for kind, noun in NOUNS.items():
        if n := counts[what, kind]:
            parts.append(f"{n:,} {noun if n == 1 else PLURALS.get(noun, f'{noun}s')}")
    return ", ".join(parts)


def _percent(share: float) -> str:
    """A share in whole percent; "0 %" and "100 %" are exact."""
    whole = round(100 * share)
    if whole == 0 and share > 0:
        return "Under 1 %"
    if whole == 100 and share < 1:
        return "Over 99 %"
    return f"{whole} %"
