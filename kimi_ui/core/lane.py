"""Lanes as values: what a lane is configured to be. Reading the lanes file is ``config``'s job, not this module's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PROVIDERS = ("openai", "ollama", "embedded", "heavy")


@dataclass(frozen=True)
class Limits:
    """Wall-clock limits of one attempt, seconds. Only text moves ``idle_s``: comments and empty deltas do not."""

    first_token_s: float = 300
    idle_s: float = 120
    total_s: float = 1800


@dataclass(frozen=True)
class Price:
    """USD per million tokens, as published on ``as_of`` (ISO date). ``cached_input`` None: billed like input."""

    input: float
    output: float
    cached_input: float | None = None
    as_of: str = ""


@dataclass(frozen=True)
class LaneSpec:
    """One configured lane. ``params`` go into the request body as they are, ``extra_body`` beside them.

    ``api_key_env`` names a variable; no key is ever a value here. ``of``, ``width`` and ``quorum`` belong to heavy,
    whose ``model`` is filled in: that of the lane it is made of. ``num_ctx``, ``keep_alive`` and ``think`` belong to
    Ollama. ``tokenizer`` is a path to the model's own ``tiktoken.model``.
    ``send_reasoning`` returns earlier reasoning to the model in the next turn (off: plain chat does not need it).
    ``stand_in_for`` names the model this lane's provider stands in for (the embedded model), empty when real;
    ``how_to_get_real`` is then the exact line to set.
    """

    id: str
    label: str
    provider: str
    model: str = ""
    base_url: str = ""
    api_key_env: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    price: Price | None = None
    limits: Limits = Limits()
    of: str = ""
    width: int = 8
    quorum: int = 6
    num_ctx: int | None = None
    keep_alive: str = ""
    think: bool | str | None = None
    tokenizer: str = ""
    system: str = ""
    send_reasoning: bool = False
    stand_in_for: str = ""
    how_to_get_real: str = ""

    def asking(self, model: str) -> LaneSpec:
        """This lane with another model of its provider; the same for an empty ``model``.

        A price and a vocabulary belong to a model, so they go with it; what Ollama runs on this machine stays free.
        """
        if not model or model == self.model or self.provider == "embedded":
            return self
        return replace(self, model=model, price=self.price if self.provider == "ollama" else None, tokenizer="")


@dataclass(frozen=True)
class LaneChoice:
    """What a person chose for a lane in a conversation; empty or None: as the lane is configured.

    ``model`` is another one of the lane's provider, ``params`` go over the lane's own, ``send_reasoning`` as in
    ``LaneSpec``.
    """

    model: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    send_reasoning: bool | None = None
