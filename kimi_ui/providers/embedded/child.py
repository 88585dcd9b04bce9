"""The embedded model's own process: llama.cpp's OpenAI-compatible server on loopback (``python -m … embedded_child``).

A process of its own, so that a crash or a stall in native code harms nothing else. It is told what to serve by one
JSON line on stdin (``model``, ``alias``, ``api_key``, ``slots``, ``context_tokens``, ``threads``), answers with one
JSON line on stdout (``url``), and ends when stdin does: however its parent dies, the pipe closes.

Only loopback, an ephemeral port and a random key: without the key nothing but ``/health`` answers. Web page, slot
listing and the 8 GB prompt cache of the server's defaults are off, and no page's origin is allowed by CORS (the
default reflects any).
"""

from __future__ import annotations

import json
import os
import sys

import xllamacpp


def serve(config: dict[str, str | int]) -> xllamacpp.Server:
    """Load the model and serve it; requests are answered on return. ``RuntimeError`` if it cannot be loaded."""
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
    params.kv_unified = True  # the slots share one cache, so a lone request may be long
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
    params.cache_ram_mib = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    params.verbosity = 1
    return xllamacpp.Server(params)


def main() -> None:
    server = serve(json.loads(sys.stdin.readline()))
    print(json.dumps({"url": server.listening_address}), flush=True)
    sys.stdin.read()
    # Requests still running would be waited for by an orderly destructor; their reader is gone.
    os._exit(0)


if __name__ == "__main__":
    main()
