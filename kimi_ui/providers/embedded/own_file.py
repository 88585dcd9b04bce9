"""A lane of a person's own GGUF file.

Requests are sent as the lane says. The file's chat template makes them a prompt, and llama.cpp reads the reasoning out
of the answer as that template writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.admission import Line
from ...core.events import Failure
from ...core.lane import LaneSpec
from ..base import ChatRequest, Check, ProviderError
from .child_provider import ChildProvider, failed_check, unheard
from .gguf import read

PROGRESS = {"return_progress": True}  # how much of the prompt is read: a long one takes minutes on a processor
NO_TEMPLATE = (
    "The file has no chat template, so messages are written as ChatML: a model that does not know it answers poorly."
)
NO_SWITCH = "The file's chat template has no switch for thinking, so think has no effect."


class OwnFile(ChildProvider):
    """A person's own GGUF file."""

    def line(self, request: ChatRequest) -> Line:
        own = self.spec.own
        assert own is not None
        return Line("embedded", repr(own), own.parallel)

    def _client_spec(self) -> LaneSpec:
        extra_body = {**PROGRESS, **self.spec.extra_body}
        if kwargs := {**thinking_kwargs(self.spec.think), **_dict(extra_body.get("chat_template_kwargs"))}:
            extra_body["chat_template_kwargs"] = kwargs
        return replace(self.spec, extra_body=extra_body)

    def _explained(self, error: ProviderError) -> ProviderError:
        if error.failure.kind != "context":
            return error
        remedy = "Raise num_ctx in this lane, as far as the model was trained for it, or start a new conversation."
        return ProviderError(replace(error.failure, remedy=remedy))

    async def check(self, probe: bool = False) -> Check:
        """What the file's header says; ``probe`` loads the model, which may take long, and sends one small request."""
        own = self.spec.own
        assert own is not None
        try:
            header = read(Path(own.path))
            known = Check(
                ok=True,
                model_present=True,
                remedy="It is loaded at its first use.",
                context_tokens=min(own.num_ctx, header.trained_tokens or own.num_ctx),
                trained_tokens=header.trained_tokens,
                warnings=tuple(warnings_of(header.template, self.spec.think)),
            )
            if not probe and not self._backend.is_ready:
                failure = self._backend.failure
                return _unusable(failure) if failure else known
            with self._backend.used():
                found = await (await self._client_at(await self._backend.endpoint(unheard))).check(probe)
            return replace(
                found,
                key_valid=None,
                context_tokens=known.context_tokens,
                trained_tokens=known.trained_tokens,
                warnings=known.warnings,
            )
        except ProviderError as error:
            return _unusable(error.failure)


def _unusable(failure: Failure) -> Check:
    return replace(failed_check(failure, present=failure.kind != "model_missing"), reachable=None)


def thinking_kwargs(think: bool | str | None) -> dict[str, Any]:
    """What the chat templates of models with a switch for thinking read: ``enable_thinking`` (Qwen3, GLM, SmolLM3 and
    others), ``thinking`` (DeepSeek V3.1, Kimi), ``reasoning_effort`` (gpt-oss)."""
    if think is None:
        return {}
    switch = {"enable_thinking": bool(think), "thinking": bool(think)}
    return switch | ({"reasoning_effort": think} if isinstance(think, str) else {})


def warnings_of(template: str, think: bool | str | None) -> Iterator[str]:
    if not template:
        yield NO_TEMPLATE
    elif think is not None and not any(name in template for name in thinking_kwargs("low")):
        yield NO_SWITCH


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
