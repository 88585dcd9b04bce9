"""How a request says to each gateway whether, or how much, a model thinks. Every one has a field of its own.

OpenRouter: ``reasoning`` ({enabled} or {effort}; its guide "Reasoning Tokens"). Moonshot: ``thinking`` ({type:
enabled | disabled}; "Use the Kimi K2 thinking model"). Chutes serves Kimi by SGLang, whose chat template reads
``thinking`` in ``chat_template_kwargs``. Others: ``reasoning_effort``, as OpenAI's API names it (Groq, vLLM and LM
Studio know it too); a server that refuses it is asked again without it, and the attempt says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ...core.lane import AS_IT_DOES, OFF, ON, Thinking

EFFORTS = ("low", "medium", "high")

_BODIES: dict[str, dict[str, Any]] = {
    "openrouter.ai": {
        OFF: {"reasoning": {"enabled": False}},
        ON: {"reasoning": {"enabled": True}},
        **{effort.capitalize(): {"reasoning": {"effort": effort}} for effort in EFFORTS},
    },
    "moonshot.ai": {OFF: {"thinking": {"type": "disabled"}}, ON: {"thinking": {"type": "enabled"}}},
    "moonshot.cn": {OFF: {"thinking": {"type": "disabled"}}, ON: {"thinking": {"type": "enabled"}}},
    "chutes.ai": {
        OFF: {"chat_template_kwargs": {"thinking": False}},
        ON: {"chat_template_kwargs": {"thinking": True}},
    },
}
"""By a gateway's domain, for each choice what is sent beside the parameters."""


def choices_at(base_url: str, params: Mapping[str, Any], extra_body: Mapping[str, Any]) -> tuple[Thinking, ...]:
    """The choices of a lane at ``base_url``; its other parameters stay as they are."""
    host = urlsplit(base_url).hostname or ""
    bodies = next((found for domain, found in _BODIES.items() if f".{host}".endswith(f".{domain}")), None)
    if bodies is None:
        efforts = {AS_IT_DOES: {}, **{effort.capitalize(): {"reasoning_effort": effort} for effort in EFFORTS}}
        kept = {name: value for name, value in params.items() if name != "reasoning_effort"}
        return tuple(Thinking(label, {"params": kept | more or None}) for label, more in efforts.items())
    names = {name for body in bodies.values() for name in body}
    kept = {name: value for name, value in extra_body.items() if name not in names}
    return tuple(
        Thinking(label, {"extra_body": kept | body or None}) for label, body in {AS_IT_DOES: {}, **bodies}.items()
    )
