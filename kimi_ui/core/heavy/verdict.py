"""What became of heavy's majority in the final answer, and whether heavy was worth it.

``verdict`` folds the clusters of the trajectories' results. It says nothing about who is right: a minority is sometimes
right, and all may be wrong. Where a checker or a person says what is right, ``worth`` and ``reason`` give the two axes:
whether heavy was better than the same model's single answer, and what the trajectories and the aggregation did. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from .answers import Result
from .clusters import Equal, cluster

FOLLOWED, MINORITY, OWN, NONE, UNKNOWN = "followed", "minority", "own", "none", "unknown"

NOTHING_TO_GAIN, HELPED, HURT, DID_NOT_HELP = "nothing_to_gain", "helped", "hurt", "did_not_help"
NO_RIGHT_ANSWER, LOST, BEYOND, FOUND = "no_right_answer", "aggregator_lost_it", "beyond_the_pool", "found"


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


def worth(single_right: bool, heavy_right: bool) -> str:
    """The first axis: heavy against the same model's single answer to the same prompt."""
    if single_right:
        return NOTHING_TO_GAIN if heavy_right else HURT
    return HELPED if heavy_right else DID_NOT_HELP


def reason(trajectories_right: Sequence[bool], heavy_right: bool) -> str:
    """The second axis: what was among the trajectories, and what the aggregation made of it."""
    if any(trajectories_right):
        return FOUND if heavy_right else LOST
    return BEYOND if heavy_right else NO_RIGHT_ANSWER
