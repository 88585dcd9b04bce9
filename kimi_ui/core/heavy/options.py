"""The options of a heavy run: what a lanes file, the settings of a conversation and ``compare --heavy`` may set.

``HEAVY_OPTIONS`` declares each key with its rule once. A ``Plan`` is what a run does after all of them are applied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, StrictBool, TypeAdapter, ValidationError

from ..lane import Seconds, whole
from .strategies import DEFAULT, STRATEGIES

PRESETS = ("full", "thrifty", "fast")
MAX_WIDTH = 32
CHAT_PRESET = "thrifty"
FIRST_WAVES = (3, 5)  # of thrifty; then the width
PROMPT_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")  # of a shipped prompt; anything else is a file's path

Preset = Literal["full", "thrifty", "fast"]


def _strategy(name: str) -> str:
    if name and name not in STRATEGIES:
        raise ValueError(f"must be one of {', '.join(STRATEGIES)}")
    return name


StrategyName = Annotated[str, AfterValidator(_strategy)]
Width = Annotated[int, whole(2, MAX_WIDTH)]
Quorum = Annotated[int, whole(1, MAX_WIDTH)]
Concurrency = Annotated[int, whole(1, MAX_WIDTH)]

HEAVY_OPTIONS: dict[str, Any] = {
    "strategy": StrategyName,
    "preset": Preset,
    "width": Width,
    "quorum": Quorum,
    "budget_s": Seconds,
    "concurrency": Concurrency,
    "skip_unanimous": StrictBool,
    "prompt": str,
}


class OptionError(ValueError):
    """An option that heavy does not have or cannot take; the text is one sentence with the remedy."""


@dataclass(frozen=True)
class Plan:
    """A heavy run: ``width`` trajectories at most, in ``waves`` (how many have been sent after each).

    ``quorum``: once so many answers are usable, the others get a grace and are stopped. ``budget_s``: after it the
    answers in hand are aggregated; None: no limit. ``concurrency``: trajectories at a time. ``stops``: the stop rule
    applies. ``prompt``: the name of a shipped prompt or the path of a file; empty: the strategy's own.
    """

    strategy: str
    preset: str
    width: int
    quorum: int
    budget_s: float | None
    concurrency: int
    skip_unanimous: bool
    prompt: str

    @property
    def stops(self) -> bool:
        return self.preset != "full"

    @property
    def waves(self) -> tuple[int, ...]:
        """thrifty 3 → 5 → 8; full and fast: all at once."""
        first = FIRST_WAVES if self.preset == "thrifty" else ()
        return (*(n for n in first if n < self.width), self.width)


def read_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options in ``values``, checked; None and "" mean "as the lane is configured" and are left out.

    Raises ``OptionError``.
    """
    read = {}
    for name, value in values.items():
        if name not in HEAVY_OPTIONS:
            raise OptionError(f"Heavy has no option {name}: it has {', '.join(HEAVY_OPTIONS)}.")
        if value is None or value == "":
            continue
        try:
            read[name] = TypeAdapter(HEAVY_OPTIONS[name]).validate_python(value)
        except ValidationError as error:
            raise OptionError(f"Heavy's {name} {_words(error)}.") from None
    return read


def _words(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    context = first.get("ctx", {})
    if first["type"] == "literal_error":
        return f"must be one of {str(context['expected']).replace(chr(39), '')}"
    if first["type"] == "value_error":
        return str(context["error"])
    return "must be true or false" if first["type"].startswith("bool") else "must be text"


def plan_of(lane: Mapping[str, Any], chosen: Mapping[str, Any], kind: str) -> Plan:
    """The plan of a run: ``chosen`` for this turn over what the ``lane`` configures; its preset by the turn's ``kind``.

    Without a preset a benchmark runs full, so that its results can be compared, and a chat thrifty. The lane's prompt
    is for the lane's strategy: another strategy has its own.
    """
    chosen = {name: value for name, value in chosen.items() if value not in (None, "")}
    option = {**lane, **chosen}
    if option.get("strategy") != lane.get("strategy") and "prompt" not in chosen:
        option["prompt"] = ""
    width = option["width"]
    quorum = option.get("quorum")
    return Plan(
        strategy=option.get("strategy") or DEFAULT,
        preset=option.get("preset") or ("full" if kind == "bench" else CHAT_PRESET),
        width=width,
        quorum=min(width, width * 3 // 4 if quorum is None else quorum),
        budget_s=option.get("budget_s"),
        concurrency=option.get("concurrency") or width,
        skip_unanimous=option["skip_unanimous"] is not False,
        prompt=option.get("prompt") or "",
    )
