"""An honest early stop: a run may end once every difference between its lanes is shown, at whatever look. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from .results import Sample
from .statistics import STOP_AT, e_value


class EarlyStop:
    """Collects samples as they come. Only the first epoch counts, since repeats of a case are not independent, and only
    answers that were judged right or wrong. ``samples``: those that there are when it begins."""

    def __init__(self, lanes: Iterable[str], samples: Iterable[Sample] = ()) -> None:
        self._right: dict[str, dict[str, bool]] = {lane: {} for lane in lanes}
        for sample in samples:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        if sample.epoch == 1 and sample.outcome in ("right", "wrong"):
            self._right[sample.lane][sample.case] = sample.outcome == "right"

    @property
    def is_decided(self) -> bool:
        """Whether the e-process of each pair of lanes has reached ``STOP_AT``, times the number of pairs."""
        pairs = list(combinations(self._right.values(), 2))
        return bool(pairs) and all(self._evidence(one, other) >= STOP_AT * len(pairs) for one, other in pairs)

    @staticmethod
    def _evidence(one: dict[str, bool], other: dict[str, bool]) -> float:
        both = one.keys() & other.keys()
        return e_value(
            sum(one[case] and not other[case] for case in both), sum(other[case] and not one[case] for case in both)
        )
