"""Gradio's environment variables, which could enable shares, paths, hosts or telemetry that this app disables.

All of them are removed, including those of later Gradio versions; then this app's values are set.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

KEPT = ("GRADIO_TEMP_DIR",)  # only a folder to write to
SET = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # telemetry and version check
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000",  # avoids a pandas summary of past events on every event
    "GRADIO_RUN_HISTORY": "False",  # it would store prompts in the browser unencrypted
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
}


def harden_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Call this before importing Gradio, which reads some variables at import and others when it builds an app."""
    for name in [name for name in environment if name.startswith("GRADIO_") and name not in KEPT]:
        del environment[name]
    environment.update(SET)
