"""The shipped lanes: who serves Kimi K2 and Qwen3-Coder, with model ids, prices and the day they were read.

Ids and prices drift: every entry is dated, ``doctor`` says when an id has gone, and a lanes file overrides all of it.
The first gateway with a key in the environment serves the Kimi lane, in the order of ``GATEWAYS``. Pure: no network, no
environment of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv6Address
from typing import Annotated, Any

from pydantic import AfterValidator

from ..core.lane import FREE, LaneSpec, Needed, Price
from .embedded.lane import EmbeddedLane
from .heavy import HeavyLane
from .ollama.model_state import is_cloud
from .ollama.provider import OllamaLane
from .openai_compatible.provider import OpenAILane


@dataclass(frozen=True)
class Gateway:
    """A service with an OpenAI-compatible API that serves Kimi. The date of its price is also that of its model id."""

    name: str
    base_url: str
    key_name: str
    model: str
    price: Price
    params: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line_to_set(self) -> str:
        """The line for ``.env`` that makes this gateway serve the lane."""
        return f"{self.key_name}=your-{self.name.lower()}-key"


# Kimi K2.6 is the one Kimi K2 model that all three gateways sold when this was written, so the numbers are comparable
# whichever key is set. No temperature: K2.5 and later answer 400 to any but 1 on Moonshot's own API.
GATEWAYS = (
    Gateway(
        name="Chutes",
        base_url="https://llm.chutes.ai/v1",
        key_name="CHUTES_API_KEY",
        model="moonshotai/Kimi-K2.6-TEE",
        price=Price(input=0.66, cached_input=0.33, output=3.50, as_of="2026-07-01"),
        params={"max_tokens": 32768},
        extra_body={"chat_template_kwargs": {"thinking": True}},
    ),
    Gateway(
        name="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        key_name="OPENROUTER_API_KEY",
        model="moonshotai/kimi-k2.6",
        price=Price(input=0.55, output=3.20, as_of="2026-07-01"),
        params={"max_tokens": 32768},
        extra_body={"reasoning": {"enabled": True}},
    ),
    Gateway(
        name="Moonshot",
        base_url="https://api.moonshot.ai/v1",
        key_name="MOONSHOT_API_KEY",
        model="kimi-k2.6",
        price=Price(input=0.95, cached_input=0.16, output=4.00, as_of="2026-11-21"),
        params={"max_tokens": 32768},
        extra_body={"thinking": {"type": "enabled"}},
    ),
)

KIMI = "kimi"
HEAVY = "kimi-heavy"
QWEN = "qwen"

QWEN_MODEL = "qwen3-coder:30b"
QWEN_NUM_CTX = 16_384  # Ollama's own default of 4k cuts longer prompts silently
OLLAMA_PORT = 11434

KIMI_NAME = "Kimi K2.6"
QWEN_NAME = "Qwen3-Coder:30B"
SHIPPED = {KIMI: "Kimi K2", HEAVY: "Kimi K2 heavy", QWEN: QWEN_NAME}  # the lanes' names, in the order of the page


def _shipped(lane: str) -> str:
    if lane not in SHIPPED:
        raise ValueError(f"must be one of {', '.join(SHIPPED)} for a shipped lane")
    return lane


@dataclass(frozen=True)
class ShippedLane(LaneSpec):
    """A shipped lane in a lanes file: the best route available serves it, as it does without a file."""

    no_keys = tuple(item.name for item in fields(LaneSpec) if item.name not in ("id", "provider"))
    is_shipped = True

    id: Annotated[Needed, AfterValidator(_shipped)]
    provider: str = "shipped"

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", SHIPPED.get(self.id, self.id))
        object.__setattr__(self, "of", KIMI if self.id == HEAVY else "")


def first_gateway(env: Mapping[str, str]) -> Gateway | None:
    """The first gateway with a key; None if none has one."""
    return next((gateway for gateway in GATEWAYS if env.get(gateway.key_name, "").strip()), None)


def kimi_at(gateway: Gateway) -> LaneSpec:
    return OpenAILane(
        id=KIMI,
        label=SHIPPED[KIMI],
        model=gateway.model,
        base_url=gateway.base_url,
        api_key_env=gateway.key_name,
        params=gateway.params,
        extra_body=gateway.extra_body,
        price=gateway.price,
    )


def kimi_in_cloud(models: Iterable[str]) -> str:
    """The newest Kimi that an Ollama server lists of Ollama's cloud, by its version; empty if it lists none."""
    listed = [model for model in models if model.lower().startswith("kimi") and is_cloud(model)]
    return max(listed, key=lambda model: ([int(number) for number in re.findall(r"\d+", model)], model), default="")


def kimi_on_ollama(url: str, model: str) -> LaneSpec:
    """Kimi through an Ollama server's account: it runs at ollama.com, and what it costs is not known here."""
    return OllamaLane(id=KIMI, label=SHIPPED[KIMI], model=model, base_url=url)


def kimi_stand_in() -> LaneSpec:
    return EmbeddedLane(
        id=KIMI,
        label=SHIPPED[KIMI],
        stand_in_for=KIMI_NAME,
        how_to_get_real=GATEWAYS[0].line_to_set,
    )


def kimi_heavy(kimi: LaneSpec) -> LaneSpec:
    """Heavy of ``kimi``; of the stand-in as many trajectories at a time as there are cores, since they share them."""
    return HeavyLane(
        id=HEAVY,
        label=SHIPPED[HEAVY],
        of=KIMI,
        width=8,
        quorum=6,
        concurrency=min(8, os.cpu_count() or 1) if kimi.stand_in_for else None,
        stand_in_for=f"{kimi.stand_in_for} heavy" if kimi.stand_in_for else "",
        how_to_get_real=kimi.how_to_get_real,
    )


def qwen_on_ollama(url: str) -> LaneSpec:
    return OllamaLane(
        id=QWEN,
        label=SHIPPED[QWEN],
        model=QWEN_MODEL,
        base_url=url,
        num_ctx=QWEN_NUM_CTX,
        price=FREE,
    )


def qwen_stand_in(how_to_get_real: str) -> LaneSpec:
    """Qwen3-Coder does not think, so its stand-in does not either."""
    return EmbeddedLane(
        id=QWEN,
        label=SHIPPED[QWEN],
        think=False,
        stand_in_for=QWEN_NAME,
        how_to_get_real=how_to_get_real,
    )


def ollama_url(env: Mapping[str, str]) -> str:
    """Ollama's address: ``OLLAMA_HOST`` in any form that Ollama accepts (``host``, ``host:port``, a URL, in quotes).

    0.0.0.0 is an address to listen on, not one to call: it becomes 127.0.0.1. An invalid port becomes Ollama's own.
    """
    value = env.get("OLLAMA_HOST", "").strip(" \t\r\n\"'")
    scheme, _, rest = value.rpartition("://")
    usual_port = {"http": 80, "https": 443}.get(scheme, OLLAMA_PORT)
    place, _, path = rest.partition("/")
    name, port = place, ""
    if _is_ipv6(place.strip("[]")):
        name = f"[{place.strip('[]')}]"
    elif ":" in place:
        name, _, port = place.rpartition(":")
    if name in ("", "0.0.0.0", "[::]"):
        name = "127.0.0.1"
    if not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= 65535):
        port = str(usual_port)
    return f"{scheme or 'http'}://{name}:{port}/{path}".rstrip("/")


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
