"""A lane as a turn remembers it: what it was called and which model it asked, at the moment of sending."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.lane import LaneChoice, LaneSpec
from ..core.turn import LaneInfo


def lane_info(spec: LaneSpec, specs: Mapping[str, LaneSpec], choice: LaneChoice | None = None) -> LaneInfo:
    """The lane's header as of now."""
    inner = specs.get(spec.of, spec)
    choice = choice or LaneChoice()
    model = inner.asking(choice.model).model
    return LaneInfo(
        id=spec.id,
        label=spec.label,
        provider=spec.provider,
        model=model,
        stand_in_for=spec.stand_in_for or inner.stand_in_for,
        how_to_get_real=spec.how_to_get_real or inner.how_to_get_real,
        of=spec.of,
        width=spec.width,
        chosen_model=model if model != spec.model else "",
        send_reasoning=spec.send_reasoning if choice.send_reasoning is None else choice.send_reasoning,
    )
