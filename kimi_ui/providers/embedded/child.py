"""The embedded model's process: llama.cpp's OpenAI-compatible server (``python -m kimi_ui.providers.embedded.child``).

A separate process, so that a crash or a stall in native code harms nothing else. It reads its configuration as one JSON
line from stdin (``model``, ``alias``, ``api_key``, ``slots``, ``context_tokens``, ``threads``), writes one JSON line to
stdout (``url``), and ends when stdin closes, which happens whenever its parent ends.

It listens on loopback only, on an ephemeral port and with a random key; without the key only ``/health`` answers. The
server's web page, slot listing and default 8 GB prompt cache are off, and CORS allows no origin of a page (by default
it reflects any).
"""

from __future__ import annotations

import json
import os
import sys

import xllamacpp


def serve(config: dict[str, str | int]) -> xllamacpp.Server:
    """Load the model and return the running server. Raises ``RuntimeError`` if it cannot be loaded."""
    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["api_key"]]
    params.cors_origins = "http://127.0.0.1"
    params.cors_credentials = False
    params.ui = False
    params.endpoint_slots = False
    params.n_parallel = config["slots"]
    params.n_ctx = config["context_tokens"]
    params.kv_unified = True  # slots share one cache, so that a single request may be long
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
    params.cache_ram_mib = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    params.verbosity = 1
    return xllamacpp.Server(params)


def main() -> None:
    server = serve(json.loads(sys.stdin.readline()))
    print(json.dumps({"url": server.listening_address}), flush=True)
    sys.stdin.read()
    # The server's destructor would wait for running requests, whose reader has gone.
    os._exit(0)


if __name__ == "__main__":
    main()
