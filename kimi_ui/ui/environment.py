"""Gradio's own environment variables, which could open what this app closes: shares, paths, hosts, telemetry.

All of them are dropped, so one that a later Gradio adds is no way in either; what this app wants is then set.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

KEPT = ("GRADIO_TEMP_DIR",)  # a place to write, which opens nothing
SET = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # it would ask its servers for its newest version
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000",  # no pandas summary of past events on every event
    "GRADIO_RUN_HISTORY": "False",  # it keeps prompts in the browser in clear
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
}


def harden_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Call before Gradio is imported: some of its variables are read then, others when an app is built."""
    for name in [name for name in environment if name.startswith("GRADIO_") and name not in KEPT]:
        del environment[name]
    environment.update(SET)
