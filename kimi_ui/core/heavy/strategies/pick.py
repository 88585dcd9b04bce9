"""Pick: the model names the answer most consistent with the others, which is shown as it is (USC, arXiv 2311.17311)."""

from __future__ import annotations

import re

from .base import Strategy

_VERDICT = re.compile(r"^[\s*_`#>]*best candidate[\s*_`]*:[\s*_`]*(\d{1,3})[\s*_`.]*$", re.IGNORECASE | re.MULTILINE)


def chosen(text: str, n: int) -> int | None:
    """The place in ``BEST CANDIDATE: 3``, a line of its own; None if there is none, if two differ, or it is out of
    range."""
    places = {int(found) for found in _VERDICT.findall(text)}
    place = places.pop() if len(places) == 1 else 0
    return place if 1 <= place <= n else None


PICK = Strategy("pick", "Pick the most consistent one", chosen=chosen)
