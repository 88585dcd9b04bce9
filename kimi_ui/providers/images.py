"""Which models take images, and what is sent to those that do not: a note in an image's place, which the log keeps.

A provider's own list says it, where it says anything: an Ollama server by ``capabilities``, OpenAI-compatible ones by
one of several fields. Where it does not, the images are sent, and a server that refuses them is asked again at once
without. What was refused is known for the rest of this process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.events import Event, Failure, Flag
from ..core.images import in_place_of
from .base import ProviderError

if TYPE_CHECKING:
    from ..core.attempt import AttemptFold
    from .base import ChatRequest, Host, Message, Provider

TAKES_NONE = "this model takes no images"
REFUSED = "the model's server refused it"

_refused: set[tuple[str, str]] = set()  # base URL and model

# Words of servers that refuse images, in lower case. OpenRouter (404), Ollama ("Multimodal data provided, but model
# does not support multimodal requests"), vLLM ("X is not a multimodal model"), llama.cpp ("image input is not
# supported … mmproj"), DeepSeek and others that take text only ("unknown variant `image_url`, expected `text`").
_REFUSALS = (
    "support image input",
    "not support image",
    "not support multimodal",
    "not support vision",
    "not a multimodal model",
    "image input is not supported",
    "unknown variant `image_url`",
)
_STATUSES = (400, 404, 415, 422, 500)  # llama.cpp says 500


def images_of(request: ChatRequest) -> int:
    """How many images a request has."""
    return sum(len(message.images) for message in request.messages)


def events_for(provider: Provider, request: ChatRequest, host: Host, fold: AttemptFold) -> AsyncGenerator[Event, None]:
    """``provider.stream`` with the request as its model can take it. ``fold``: what has come so far; after text nothing
    is sent again."""
    return _fitting(provider, request, host, fold) if images_of(request) else provider.stream(request, host)


async def _fitting(
    provider: Provider, request: ChatRequest, host: Host, fold: AttemptFold
) -> AsyncGenerator[Event, None]:
    """``events_for`` of a request with images. What is logged of them follows the first event, since that begins the
    attempt."""
    fits, said = await fitted(provider, request)
    while True:
        try:
            async with aclosing(provider.stream(fits, host)) as events:
                async for event in events:
                    yield event
                    while said:
                        yield said.pop()
            return
        except ProviderError as error:
            if fold.n_chunks or not images_of(fits) or not is_refusal(error.failure):
                raise
        fits, said = refused(provider, fits)


async def fitted(provider: Provider, request: ChatRequest) -> tuple[ChatRequest, list[Flag]]:
    """The request as this model can take it, and what is logged of its images, of which it has some."""
    takes = await takes_images(provider, request.model)
    if takes is False:
        return left_out(request, REFUSED if _target(provider, request.model) in _refused else TAKES_NONE)
    return request, [Flag("images_sent", str(images_of(request)))]


async def takes_images(provider: Provider, model: str = "") -> bool | None:
    """Whether the model (empty: the lane's) takes images: what was refused is known, else as the provider says."""
    return False if _target(provider, model) in _refused else await provider.takes_images(model)


def _target(provider: Provider, model: str) -> tuple[str, str]:
    return provider.asked.server, model or provider.asked.model


def left_out(request: ChatRequest, why: str) -> tuple[ChatRequest, list[Flag]]:
    """The request with notes in the place of its images, and the flag that says so."""
    flag = Flag("images_left_out", f"{images_of(request)}, because {why}")
    return replace(request, messages=tuple(_noted(message, why) for message in request.messages)), [flag]


def _noted(message: Message, why: str) -> Message:
    if not message.images:
        return message
    return message._replace(content=in_place_of(message.images, message.content, why), images=())


def is_refusal(failure: Failure) -> bool:
    """Whether a server refuses a request because of its images."""
    words = f"{failure.message} {failure.detail}".lower()
    return failure.http_status in _STATUSES and any(refusal in words for refusal in _REFUSALS)


def refused(provider: Provider, request: ChatRequest) -> tuple[ChatRequest, list[Flag]]:
    """What is sent after the server has refused the images. Remembers it."""
    _refused.add(_target(provider, request.model))
    return left_out(request, REFUSED)


def modalities(item: Mapping[str, Any]) -> bool | None:
    """Whether an entry of a model list says that the model takes images; None: it says nothing of it.

    ``supports_image_in``: Moonshot. ``architecture.input_modalities`` and, older, ``architecture.modality``
    ("text+image->text"): OpenRouter. ``input_modalities``: Chutes and others. ``supports_image_input``: Fireworks.
    ``capabilities.vision``: Mistral. ``capabilities`` as a list: llama.cpp ("multimodal") and Ollama ("vision").
    """
    architecture, capabilities = item.get("architecture"), item.get("capabilities")
    inner = architecture if isinstance(architecture, dict) else {}
    for flag in ("supports_image_in", "supports_image_input"):
        if isinstance(item.get(flag), bool):
            return bool(item[flag])
    for listed in (item.get("input_modalities"), inner.get("input_modalities")):
        if isinstance(listed, list) and listed:
            return _has(listed, "image")
    if isinstance(kind := inner.get("modality"), str) and "->" in kind:
        return "image" in kind.partition("->")[0]
    if isinstance(capabilities, dict) and isinstance(capabilities.get("vision"), bool):
        return bool(capabilities["vision"])
    if isinstance(capabilities, list) and capabilities:
        return _has(capabilities, "vision", "multimodal")
    return None


def _has(listed: Iterable[Any], *names: str) -> bool:
    return any(str(name).lower() in names for name in listed)
