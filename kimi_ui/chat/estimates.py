"""The composer's estimate: each lane's tokens of the next prompt, including the history, and the cost.

All methods may read the log and count long texts, so call them on a thread, not on an event loop.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from ..core.conversation_settings import ConversationSettings, LaneSettings
from ..core.estimate import Estimate, PresetEstimate, Runs, Total, Typical, by_preset, estimate, total
from ..core.heavy.options import CHAT_PRESET
from ..core.lane import LaneSpec
from ..core.turn import Exchange, TurnLog
from ..engine import Engine
from ..log.costs import heavy_runs, typical
from ..stats.heavy_worth import heavy_worth
from ..tokenizers import counter
from ..turns import Turns

TYPICAL_FOR_S = 60.0  # time for which a model's typical output is cached
HINTS_FOR_S = 600.0  # comparing hundreds of answers takes half a second
PER_MESSAGE = 4  # approximate number of tokens that a chat template adds to a message


class Planned(NamedTuple):
    """A prompt that is to be estimated, before it is sent or again.

    ``conversation_id`` empty: a new conversation. ``before_seq``: the number of the edited turn, or infinity.
    ``basis``: see ``TurnLog``.
    """

    conversation_id: str
    before_seq: float
    prompt: str
    settings: ConversationSettings
    has_images: bool = False
    basis: str = ""


class Estimates:
    """Estimates for the engine's lanes, based on earlier turns."""

    def __init__(self, engine: Engine, turns: Turns) -> None:
        self._engine = engine
        self._turns = turns
        self._typical: dict[str, tuple[float, Typical | None]] = {}
        self._runs: dict[tuple[str, int], tuple[float, dict[str, Runs]]] = {}  # by heavy lane and width
        self._hints: tuple[float, dict[str, str]] | None = None  # by heavy lane

    def of(self, planned: Planned) -> dict[str, Any]:
        """As JSON: ``lanes`` (id, label, prompt_tokens, requests, usd, is_floor, output_tokens; of heavy also
        ``presets``, ``preset``, the one it will run with, and ``hint``, where the log shows that it did not pay) and
        the total.
        """
        lanes, chosen = self._lanes(planned), planned.settings.lanes
        described = [
            {
                "id": spec.id,
                "label": spec.label,
                **one._asdict(),
                "output_tokens": usual.output_tokens if usual else None,
                **(self._heavy(spec, chosen.get(spec.id, LaneSettings()), one, usual) if spec.of else {}),
            }
            for spec, one, usual in lanes
        ]
        return {"lanes": described, **total(one for _, one, _ in lanes)._asdict()}

    def total(self, planned: Planned) -> Total:
        """The total of ``of`` over all lanes."""
        return total(one for _, one, _ in self._lanes(planned))

    def total_of_turn(self, turn: TurnLog, lanes: Collection[str]) -> Total:
        """The estimated cost of sending a turn to these lanes, whether for the first time or again."""
        off = {spec.id: LaneSettings(on=False) for spec in self._engine.specs}
        on = {
            info.id: LaneSettings(model=info.chosen_model, send_reasoning=info.send_reasoning, heavy=info.heavy)
            for info in turn.lanes
            if info.id in lanes
        }
        settings = ConversationSettings(turn.system, {**off, **on})
        return self.total(Planned(turn.conversation_id, turn.seq, turn.prompt, settings, bool(turn.images), turn.basis))

    def expected(self, turn: TurnLog, lane: str, preset: str) -> PresetEstimate | None:
        """What the log before the turn made one expect of its heavy lane; None without enough answers."""
        specs = {spec.id: spec for spec in self._engine.specs}
        spec, info = specs.get(lane), next((info for info in turn.lanes if info.id == lane), None)
        if spec is None or info is None or not spec.width:
            return None
        before = turn.started_at_utc
        usual = typical(self._turns.reader, info.model, before)
        asked = specs.get(spec.of, spec)
        tokens = counter(asked.tokenizer).count(turn.prompt) + PER_MESSAGE
        runs = heavy_runs(self._turns.reader, lane, info.width, before)
        found = by_preset(tokens, asked.price, usual, info.width, runs)
        return next((one for one in found if one.preset == preset), None) if usual else None

    def _lanes(self, planned: Planned) -> list[tuple[LaneSpec, Estimate, Typical | None]]:
        """Each participating lane, its estimate, and the typical output behind it."""
        specs = {spec.id: spec for spec in self._engine.specs}
        settings = planned.settings
        lanes = []
        for lane in settings.lanes_on(specs):
            spec = specs[lane]
            chosen = settings.lanes.get(lane, LaneSettings())
            target = specs.get(spec.of, spec).with_model(chosen.model)
            texts = [settings.system or spec.system, planned.prompt]
            images = planned.has_images
            if planned.conversation_id:
                earlier = self._turns.history(planned.conversation_id, spec.id, planned.before_seq, planned.basis)
                texts += _texts(earlier, spec, chosen)
                images = images or any(one.images for one in earlier)
            tokens = sum(counter(target.tokenizer).count(text) + PER_MESSAGE for text in texts if text)
            usual = self._usual(target.model)
            width = chosen.heavy.get("width", spec.width)
            lanes.append((spec, estimate(tokens, target.price, usual, width, images), usual))
        return lanes

    def _heavy(self, spec: LaneSpec, chosen: LaneSettings, one: Estimate, usual: Typical | None) -> dict[str, Any]:
        """What ``of`` says of a heavy lane beside what it says of every lane."""
        specs = {one.id: one for one in self._engine.specs}
        price = specs.get(spec.of, spec).with_model(chosen.model).price
        width = chosen.heavy.get("width", spec.width)
        presets = by_preset(one.prompt_tokens, price, usual, width, self._runs_of(spec.id, width))
        preset = chosen.heavy.get("preset") or getattr(spec, "preset", None) or CHAT_PRESET
        hint = self._hint(spec.id)
        return {"presets": [found._asdict() for found in presets], "preset": preset, "hint": hint}

    def _runs_of(self, lane: str, width: int) -> dict[str, Runs]:
        now = time.monotonic()
        known = self._runs.get((lane, width))
        if known is None or now - known[0] > TYPICAL_FOR_S:
            known = self._runs[lane, width] = (now, heavy_runs(self._turns.reader, lane, width))
        return known[1]

    def _hint(self, lane: str) -> str:
        now = time.monotonic()
        if self._hints is None or now - self._hints[0] > HINTS_FOR_S:
            self._hints = (now, {found.heavy: found.hint for found in heavy_worth(self._turns.reader) if found.hint})
        return self._hints[1].get(lane, "")

    def _usual(self, model: str) -> Typical | None:
        now = time.monotonic()
        known = self._typical.get(model)
        if known is None or now - known[0] > TYPICAL_FOR_S:
            known = self._typical[model] = (now, typical(self._turns.reader, model))
        return known[1]


def _texts(earlier: Iterable[Exchange], spec: LaneSpec, chosen: LaneSettings) -> list[str]:
    """The texts of earlier turns that are sent to the lane again."""
    sends_reasoning = spec.send_reasoning if chosen.send_reasoning is None else chosen.send_reasoning
    return [text for one in earlier for text in (one.prompt, one.answer, one.reasoning if sends_reasoning else "")]
