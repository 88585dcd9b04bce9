"""The contract of a strategy, and the choice that every strategy falls back to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..candidates import Candidate
from ..clusters import Clusters, shingles


@dataclass(frozen=True)
class Strategy:
    """``name`` is the key in a lanes file, ``label`` its name on the page.

    ``asks``: the final answer needs one more request, whose prompt is the asset ``heavy/prompts/<name>.md``.
    ``chosen`` reads that request's text: the place (from 1) of the chosen candidate in the order that was sent, None
    where the text cannot be parsed, which is a visible fallback, never silently the first. Without ``chosen`` the text
    itself is the final answer, streamed as it comes.
    """

    name: str
    label: str
    asks: bool = True
    chosen: Callable[[str, int], int | None] | None = None


def most_agreed(candidates: Sequence[Candidate], clusters: Clusters) -> Candidate:
    """The candidate that most others agree with: of the largest cluster if there is one, there and otherwise the one
    most similar to the rest. Of equal ones the last in the order given, which the caller shuffles, so no trajectory is
    preferred for its number."""
    leader = clusters.plurality
    pool = [one for one in candidates if leader is None or one.number in leader.members] or list(candidates)
    sets = [shingles(one.answer) for one in pool]

    def closeness(place: int) -> float:
        own = sets[place]
        return sum(len(own & other) / (len(own | other) or 1) for other in sets)

    return pool[max(range(len(pool)), key=lambda place: (closeness(place), place))]
