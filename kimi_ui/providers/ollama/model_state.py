"""What an Ollama server says of a model, and of what it has in memory. Pure: answers in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelState:
    """What Ollama says of a model. None: not known (an older server, or it did not answer). ``sees``: takes images.

    ``contexts``: what is in memory, by name, with the context it was loaded with (None: the server does not say).
    ``switchable``: ``think`` takes true and false, not only levels. ``trained_tokens``: the largest context it was
    trained for. ``is_remote``: it runs at ollama.com, so nothing is loaded here and no context is asked for.
    ``version``: the server's.
    """

    contexts: Mapping[str, int | None] | None = None
    thinks: bool | None = None
    sees: bool | None = None
    switchable: bool = True
    trained_tokens: int | None = None
    is_remote: bool = False
    version: tuple[int, ...] | None = None

    def window(self, num_ctx: int | None) -> int | None:
        """The context in use where ``num_ctx`` is asked for: no more than the model was trained for."""
        return min(num_ctx, self.trained_tokens or num_ctx) if num_ctx else None


def is_cloud(model: str) -> bool:
    """Whether a name says that the model runs at ollama.com."""
    return model.endswith((":cloud", "-cloud"))


def contexts_of(running: Mapping[str, Any]) -> dict[str, int | None] | None:
    """What ``/api/ps`` lists, each with the context it was loaded with; None if it is no such list."""
    models = running.get("models")
    if not isinstance(models, list):
        return None
    return {
        str(item.get("name") or item.get("model")): _tokens(item.get("context_length"))
        for item in models
        if isinstance(item, dict)
    }


def state_of(model: str, shown: Mapping[str, Any]) -> ModelState:
    """What ``/api/show`` says of a model; gpt-oss takes levels of thinking only."""
    abilities, info = shown.get("capabilities"), dict_of(shown.get("model_info"))
    trained = _tokens(info.get(f"{info.get('general.architecture')}.context_length"))
    return ModelState(
        thinks="thinking" in abilities if isinstance(abilities, list) else None,
        sees="vision" in abilities if isinstance(abilities, list) else None,
        switchable=dict_of(shown.get("details")).get("family") != "gptoss",
        trained_tokens=trained,
        is_remote=is_cloud(model) or bool(shown.get("remote_host")),
    )


def _tokens(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def in_memory(contexts: Mapping[str, int | None]) -> frozenset[tuple[str, int | None]]:
    return frozenset((full_name(name), context) for name, context in contexts.items())


def full_name(model: str) -> str:
    """A name as Ollama lists it."""
    return model if ":" in model else f"{model}:latest"


def is_same(model: str, name: str) -> bool:
    """Ollama's names have a tag, ``latest`` where none is given."""
    return name in (model, f"{model}:latest")


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
