"""A lane that is to be answered, from the moment someone asks until its last try has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..providers.base import Provider
from .attempts import Tries


@dataclass(eq=False)
class Asked:
    """What serves the lane, whatever the lanes file says later; the first try's number; when the person asked (ns
    since the turn's start); and the request's own parameters.

    ``tries`` is what runs. Before that the turn's row is written and the history read; a stop that comes then is kept.
    """

    provider: Provider
    first_no: int
    asked_ns: int
    params: Mapping[str, Any]
    tries: Tries | None = None
    stop_reason: str = ""

    def run(self, tries: Tries) -> None:
        self.tries = tries
        if self.stop_reason:
            tries.stop(self.stop_reason)

    def stop(self, reason: str) -> None:
        """A second call changes nothing."""
        if not self.stop_reason:
            self.stop_reason = reason
            if self.tries:
                self.tries.stop(reason)
