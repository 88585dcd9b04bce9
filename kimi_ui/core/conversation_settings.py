"""Settings of one conversation: the system prompt and, per lane, whether it takes part, its model and its parameters.

Values only: ``read`` parses values from a page or the log and rejects invalid ones with a sentence for the user. Empty
or None always means "as the lane is configured". Independent of storage and pages.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeGuard

from .heavy.options import HEAVY_OPTIONS, PROMPT_NAME, OptionError, read_options
from .lane import LaneChoice, LaneSpec

MAX_SYSTEM_CHARS = 100_000
MAX_MODEL_CHARS = 200
MAX_OUTPUT_TOKENS = 1_000_000
MIN_NUM_CTX, MAX_NUM_CTX = 256, 10_000_000
MAX_TEMPERATURE = 2.0

# Kimi K2.5 and later answer 400 "invalid temperature: only 1 is allowed for this model" (seen from Moonshot's API).
_ONE_TEMPERATURE = re.compile(r"kimi[-_ ]?k(?:2[.p-][5-9](?!\d)|[3-9])", re.IGNORECASE)
ONE_TEMPERATURE_NOTE = "Kimi K2.5 and later accept only temperature 1, which is their default."


_PARAMS = ("max_tokens", "temperature", "num_ctx")  # settings of a lane that are parameters of its requests


class SettingsError(ValueError):
    """The settings are invalid. The text is one sentence for the user, with the remedy."""


@dataclass(frozen=True)
class LaneSettings:
    """A lane in this conversation. ``max_tokens`` limits reasoning and answer together; ``num_ctx``: the context to ask
    for, in tokens, where the lane's server takes one. ``heavy``: options of a heavy lane (``core.heavy.options``); its
    prompt is a shipped one's name, since a page may not name files."""

    on: bool = True
    model: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    send_reasoning: bool | None = None
    num_ctx: int | None = None
    heavy: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ConversationSettings:
    """Empty ``system``: each lane keeps its own system prompt. A lane that is not listed is on, as configured."""

    system: str = ""
    lanes: Mapping[str, LaneSettings] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; only the differences from the lanes' configuration."""
        lanes = {
            lane: {name: value for name, value in asdict(one).items() if value != getattr(LaneSettings(), name)}
            for lane, one in self.lanes.items()
        }
        said = {"system": self.system, "lanes": {lane: values for lane, values in lanes.items() if values}}
        return {name: value for name, value in said.items() if value}

    def with_lane(self, lane: str, params: Mapping[str, Any]) -> ConversationSettings:
        """These settings with such of ``params`` in a lane as are settings."""
        known = {name: value for name, value in params.items() if name in _PARAMS}
        return replace(self, lanes={**self.lanes, lane: replace(self.lanes.get(lane, LaneSettings()), **known)})

    def lanes_on(self, configured: Iterable[str]) -> list[str]:
        """The configured lanes that take part, in order."""
        return [lane for lane in configured if self.lanes.get(lane, LaneSettings()).on]

    def only(self, lanes: Collection[str], specs: Iterable[LaneSpec]) -> ConversationSettings:
        """These settings with every configured lane off that is not one of ``lanes``."""
        others = [spec.id for spec in specs if spec.id not in lanes]
        off = {lane: replace(self.lanes.get(lane, LaneSettings()), on=False) for lane in others}
        return replace(self, lanes={**self.lanes, **off})

    def choices(self, specs: Iterable[LaneSpec]) -> dict[str, LaneChoice]:
        """Each lane's deviations, for the engine; a temperature that the model would refuse is omitted."""
        configured = {spec.id: spec for spec in specs}
        chosen = {}
        for lane, one in self.lanes.items():
            spec = configured.get(lane)
            if spec is None:
                continue
            model = one.model or spec.model
            params = {name: value for name in _PARAMS if (value := getattr(one, name)) is not None}
            if has_one_temperature(model):
                params.pop("temperature", None)
            if not configured.get(spec.of, spec).takes_num_ctx:
                params.pop("num_ctx", None)
            chosen[lane] = LaneChoice(one.model, params, one.send_reasoning, one.heavy if spec.of else {})
        return chosen


def is_model_id(value: Any) -> TypeGuard[str]:
    """Whether the value can be a model id: text of reasonable length without control, bidi or broken characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_MODEL_CHARS and value.isprintable()


def has_one_temperature(model: str) -> bool:
    """Whether the model accepts only one temperature."""
    return bool(_ONE_TEMPERATURE.search(model))


def read(value: Any) -> ConversationSettings:
    """Parse settings from JSON values; keys unknown to this version are ignored. Raises ``SettingsError``."""
    if not isinstance(value, Mapping):
        raise SettingsError("The settings are invalid: reload the page.")
    system = value.get("system") or ""
    lanes = value.get("lanes") or {}
    if not isinstance(system, str) or not isinstance(lanes, Mapping):
        raise SettingsError("The settings are invalid: reload the page.")
    if len(system) > MAX_SYSTEM_CHARS:
        raise SettingsError(
            f"The system prompt has {len(system):,} characters; at most {MAX_SYSTEM_CHARS:,} are sent with every turn. "
            "Shorten it, or attach the text to a prompt."
        )
    made = {str(lane): _read_lane(one) for lane, one in lanes.items() if isinstance(one, Mapping)}
    return ConversationSettings(system, {lane: one for lane, one in made.items() if one != LaneSettings()})


def _read_lane(value: Mapping[str, Any]) -> LaneSettings:
    model = value.get("model") or ""
    if model and not is_model_id(model):
        raise SettingsError("This is not a model id: choose one from the list.")
    max_tokens = _number(value.get("max_tokens"), "max_tokens")
    if max_tokens is not None and not (1 <= max_tokens <= MAX_OUTPUT_TOKENS and max_tokens == int(max_tokens)):
        raise SettingsError(f"max_tokens is a whole number from 1 to {MAX_OUTPUT_TOKENS:,}; empty leaves it as it is.")
    temperature = _number(value.get("temperature"), "temperature")
    if temperature is not None and not 0 <= temperature <= MAX_TEMPERATURE:
        raise SettingsError(f"The temperature is a number from 0 to {MAX_TEMPERATURE:g}; empty leaves it as it is.")
    num_ctx = _number(value.get("num_ctx"), "num_ctx")
    if num_ctx is not None and not (MIN_NUM_CTX <= num_ctx <= MAX_NUM_CTX and num_ctx == int(num_ctx)):
        raise SettingsError(
            f"num_ctx is a whole number from {MIN_NUM_CTX:,} to {MAX_NUM_CTX:,}; empty leaves it as it is."
        )
    send_reasoning = value.get("send_reasoning")
    return LaneSettings(
        on=value.get("on") is not False,
        model=model.strip(),
        max_tokens=None if max_tokens is None else int(max_tokens),
        temperature=temperature,
        send_reasoning=send_reasoning if isinstance(send_reasoning, bool) else None,
        num_ctx=None if num_ctx is None else int(num_ctx),
        heavy=_read_heavy(value.get("heavy")),
    )


def _read_heavy(value: Any) -> dict[str, Any]:
    given = value if isinstance(value, Mapping) else {}
    try:
        options = read_options({name: given.get(name) for name in HEAVY_OPTIONS})
    except OptionError as error:
        raise SettingsError(f"{error} Empty leaves it as it is.") from None
    if not PROMPT_NAME.fullmatch(options.get("prompt", "own")):
        raise SettingsError("Heavy's prompt is one of the list; a file of your own belongs in the lanes file.")
    return options


def _number(value: Any, name: str) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{name} is a number; empty leaves it as it is.")
    return value
