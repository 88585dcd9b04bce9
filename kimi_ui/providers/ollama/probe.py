"""Is Ollama there, and which models does it have? One quick question, asked before any lane is made of it.

Standard library only and blocking, for use in a thread; everything else about Ollama is ``ollama``'s.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...core.loopback import is_loopback


@dataclass(frozen=True)
class OllamaState:
    """Ollama as last seen at ``url``. ``running`` None: not asked yet. ``models``: names as Ollama lists them."""

    url: str
    running: bool | None = None
    models: frozenset[str] = frozenset()


def probe(url: str, timeout_s: float) -> OllamaState:
    """Ask ``/api/tags``. Any failure means that Ollama is not there."""
    try:
        handlers = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(url).hostname or "") else []
        with urllib.request.build_opener(*handlers).open(f"{url}/api/tags", timeout=timeout_s) as response:
            listed = json.loads(response.read(4_000_000))["models"]
            return OllamaState(url, True, frozenset(str(item["name"]) for item in listed))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return OllamaState(url, False)
