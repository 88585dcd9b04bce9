"""The providers there are, by the word that a lanes file names them with.

To add one, write a module with a subclass of ``core.lane.LaneSpec`` (its lanes' keys, what it can do) and a subclass of
``base.Provider`` (how it answers), and add the provider's class here. Nothing else compares a provider's name.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.lane import LaneSpec
from .base import Parts, Provider
from .embedded.provider import EmbeddedProvider
from .heavy import HeavyProvider
from .ollama.provider import Ollama
from .openai_compatible.provider import OpenAICompatible
from .presets import ShippedLane
from .several import SeveralServers

PROVIDERS: dict[str, type[Provider]] = {
    cls.lane.provider: cls
    for cls in (
        OpenAICompatible,
        Ollama,
        EmbeddedProvider,
        HeavyProvider,
    )
}


def lane_classes() -> dict[str, type[LaneSpec]]:
    """The class of each provider's lanes, for reading a lanes file; and that of the shipped lanes, which the roster
    replaces by lanes of these."""
    return {name: cls.lane for name, cls in PROVIDERS.items()} | {ShippedLane.provider: ShippedLane}


def make(spec: LaneSpec, parts: Parts) -> Provider:
    """The provider of a lane; of one with several servers, a provider for each of them."""
    if len(spec.servers) > 1:
        return SeveralServers(spec, [make(replace(spec, base_url=url), parts) for url in spec.servers])
    return PROVIDERS[spec.provider].make(spec, parts)
