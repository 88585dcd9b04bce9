"""The keys of an embedded lane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import StrictBool

from ...core.conversation_settings import MAX_NUM_CTX, MIN_NUM_CTX
from ...core.lane import FREE, LaneSpec, Misplaced, Price, Thinking, by_think, whole
from . import own_model
from .backends import Own
from .weights import ALIAS, REQUEST_TOKENS


@dataclass(frozen=True)
class EmbeddedLane(LaneSpec):
    """A lane of an embedded model. ``gguf``: the path of the person's own file; empty: the stand-in's model.

    ``num_ctx``: tokens of context of a request, and ``parallel``: requests at a time, None: as in ``own_model``; both
    for an own file only. ``think``: for an own file what its chat template gets, None: nothing; of the stand-in
    false means that there is no plan before the answer.
    """

    no_keys = (*LaneSpec.no_keys, "model", "base_url", "api_key_env", "price", "tokenizer")
    lists_models = False
    needs_key = False

    provider: str = "embedded"
    model: str = ALIAS
    price: Price | None = FREE
    gguf: str = ""
    num_ctx: Annotated[int, whole(MIN_NUM_CTX, MAX_NUM_CTX)] | None = None
    parallel: Annotated[int, whole(1, 64)] | None = None
    think: StrictBool | Literal["low", "medium", "high"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gguf:
            object.__setattr__(self, "model", Path(self.gguf).stem)
            return
        for name in ("num_ctx", "parallel"):
            if getattr(self, name) is not None:
                raise Misplaced('is for a file of your own; add gguf = "…" or remove it', at=name)
        if isinstance(self.think, str):
            raise Misplaced('must be true or false without gguf = "…"', at="think")

    @property
    def via(self) -> str:
        return "this machine (GGUF)" if self.gguf else "embedded model"

    @property
    def context_tokens(self) -> int:
        return (self.num_ctx or own_model.NUM_CTX) if self.gguf else REQUEST_TOKENS

    @property
    def thinking_choices(self) -> tuple[Thinking, ...]:
        return by_think("low", "medium", "high") if self.gguf else by_think()

    @property
    def own(self) -> Own | None:
        """The own file and how it is served; None for the stand-in's model."""
        if not self.gguf:
            return None
        path = str(Path(self.gguf).expanduser().absolute())
        return Own(path, self.context_tokens, self.parallel or own_model.PARALLEL)

    def with_model(self, model: str) -> LaneSpec:
        """The lane itself: there is only one model."""
        return self
