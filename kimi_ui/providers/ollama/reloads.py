"""Lanes that make an Ollama server load a model again and again: known from the lanes file, and from what happened."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import combinations

from ...core.lane import LaneSpec
from .model_state import full_name, is_cloud
from .provider import OllamaLane


def reloads(specs: Iterable[LaneSpec], unloaded: Collection[tuple[str, str]] = ()) -> dict[str, list[str]]:
    """Sentences by lane. ``unloaded``: models (as Ollama lists them) that were unloaded to load another, in pairs."""
    local = [spec for spec in specs if isinstance(spec, OllamaLane) and not is_cloud(spec.model)]
    found: dict[str, list[str]] = {}
    for one, other in combinations(local, 2):
        if set(one.servers).isdisjoint(other.servers):
            continue
        names, contexts = (full_name(one.model), full_name(other.model)), (one.context_tokens, other.context_tokens)
        if names[0] == names[1] and contexts[0] != contexts[1]:
            words = (
                f"{one.label} and {other.label} ask for the same model with different contexts ("
                f"num_ctx {contexts[0]:,} and {contexts[1]:,}): Ollama loads it again whenever they alternate. "
                "Give them the same num_ctx."
            )
        elif names[0] != names[1] and (names in unloaded or names[::-1] in unloaded):
            words = (
                f"The models of {one.label} and {other.label} did not fit into the server's memory together: one is "
                "loaded again whenever they alternate. Lower num_ctx, or choose a smaller model."
            )
        else:
            continue
        for lane in (one.id, other.id):
            found.setdefault(lane, []).append(words)
    return found
