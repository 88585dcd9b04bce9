"""The keys of a heavy lane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import StrictBool

from ...core.heavy.options import HEAVY_OPTIONS, Concurrency, Preset, Quorum, StrategyName, Width
from ...core.heavy.strategies import DEFAULT
from ...core.lane import FILLED_IN, LaneSpec, Misplaced, Needed, Seconds


@dataclass(frozen=True)
class HeavyLane(LaneSpec):
    """``width`` trajectories of the lane ``of``; the other keys are those of ``core.heavy.options.Plan``.

    ``quorum`` None: three quarters of the width. ``preset`` None: thrifty for chat, full for a benchmark.
    ``concurrency`` None: the width.
    """

    no_keys = (*FILLED_IN, "model", "base_url", "api_key_env", "extra_body", "price", "tokenizer")
    lists_models = False

    provider: str = "heavy"
    of: Needed = ""
    width: Width = 8
    quorum: Quorum | None = None
    strategy: StrategyName = DEFAULT
    preset: Preset | None = None
    budget_s: Seconds | None = None
    concurrency: Concurrency | None = None
    skip_unanimous: StrictBool = True
    prompt: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.enough <= self.width:
            raise Misplaced(f"must be a whole number from 1 to {self.width}", at="quorum")

    @property
    def enough(self) -> int:
        return self.width * 3 // 4 if self.quorum is None else self.quorum

    @property
    def options(self) -> dict[str, Any]:
        """The lane's values of ``HEAVY_OPTIONS``."""
        return {name: getattr(self, name) for name in HEAVY_OPTIONS}

    @property
    def via(self) -> str:
        return f"heavy of {self.of}"
