"""The embedded provider: models that this app serves itself, each in a child process.

With ``gguf`` it is the person's own file (``own_file``), without it the small model that stands in if there is no key
and no Ollama (``stand_in``).
"""

from __future__ import annotations

from ...core.lane import LaneSpec
from ..base import Parts, Provider
from .lane import EmbeddedLane
from .own_file import OwnFile
from .stand_in import StandIn


class EmbeddedProvider(Provider):
    """Makes the provider of an embedded lane."""

    lane = EmbeddedLane

    @classmethod
    def make(cls, spec: LaneSpec, parts: Parts) -> Provider:
        assert isinstance(spec, EmbeddedLane)
        assert parts.backends is not None
        return (OwnFile if spec.gguf else StandIn)(spec, parts.backends.of(spec.own))
