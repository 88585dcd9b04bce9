"""What became of heavy's majority in the final answer.

``verdict`` folds the clusters of the trajectories' results. It says nothing about who is right: a minority is sometimes
right, and all may be wrong. Where a checker or a person says what is right, see ``worth``. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from .answers import Result
from .clusters import Equal, cluster

FOLLOWED, MINORITY, OWN, NONE, UNKNOWN = "followed", "minority", "own", "none", "unknown"


class Verdict(NamedTuple):
    """``kind``: followed (the majority) | minority (``members`` say who) | own (a result that no trajectory has) | none
    (there is no majority) | unknown (a result could not be read).

    A majority is the one largest cluster if it has at least half of the usable trajectories.
    """

    kind: str
    members: tuple[int, ...] = ()

    @property
    def overruled(self) -> int | None:
        """1 if there was a majority and the answer says otherwise, 0 if it follows it; None if neither can be said."""
        return {FOLLOWED: 0, MINORITY: 1, OWN: 1}.get(self.kind)


def verdict(clusters: Sequence[Collection[int]], n_usable: int, chosen: int | None, *, stated: bool = True) -> Verdict:
    """``clusters``: the trajectory numbers of each result that could be read. ``chosen``: the place of the cluster with
    the final answer's result, None if none has it. ``stated``: whether the final answer states a result at all."""
    if not stated or not clusters:
        return Verdict(UNKNOWN)
    sizes = sorted(map(len, clusters), reverse=True)
    unique = len(sizes) == 1 or sizes[0] > sizes[1]
    if not unique or 2 * sizes[0] < n_usable:
        return Verdict(NONE, tuple(sorted(clusters[chosen])) if chosen is not None else ())
    if chosen is None:
        return Verdict(OWN)
    members = tuple(sorted(clusters[chosen]))
    return Verdict(FOLLOWED if len(members) == sizes[0] else MINORITY, members)


def verdict_of(results: Mapping[int, Result | None], final: Result | None, equal: Equal | None = None) -> Verdict:
    """The verdict by what the usable answers (``results`` by trajectory number) and the final answer state."""
    found = cluster(results, equal)
    if final is None or not final.stated or found.open_text:
        return Verdict(UNKNOWN)
    with_final = cluster({**results, 0: final}, equal).by_member[0].members
    chosen = next((i for i, one in enumerate(found.clusters) if one.members == with_final[1:]), None)
    return verdict([one.members for one in found.clusters], found.n_usable, chosen)
