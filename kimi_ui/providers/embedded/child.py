"""The embedded model's process: llama.cpp's OpenAI-compatible server (``python -m kimi_ui.providers.embedded.child``).

A separate process, so that a crash or a stall in native code harms nothing else. It reads its configuration as one JSON
line from stdin (``model``, ``alias``, ``api_key``, ``slots``, ``context_tokens``, ``is_shared``, ``threads``,
``needs_bytes``), writes one JSON line to stdout (``url``; ``free_bytes`` where that is less than it needs), and ends
when stdin closes, which happens whenever its parent ends. Its argument is the process id of its parent.

Every way out is ``os._exit``: the server's destructor waits for requests whose reader has gone, and where the parent
died before it read the url, it joined a thread that did not end (an orphan of 350 MB, for ever). On Linux the kernel
kills the child with its parent as well, whatever it is doing.

It listens on loopback only, on an ephemeral port and with a random key; without the key only ``/health`` answers. The
server's web page, slot listing and default 8 GB prompt cache are off, and CORS allows no origin of a page (by default
it reflects any).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xllamacpp

PR_SET_PDEATHSIG = 1  # prctl(2)
MEMORY_POLLS, MEMORY_POLL_S = 8, 0.25
LOG_S = 1.0  # for llama.cpp's own thread to write why a model cannot be loaded; it cannot be waited for


def die_with(parent: int) -> None:
    """On Linux: end this process when the thread of ``parent`` that started it ends, now if that is over already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


def free_bytes(needed: int) -> int:
    """Memory for a model: what this machine can give without swapping, and what graphics cards have.

    Waits a moment for ``needed``, since another model's process may be ending.
    """
    if not needed:
        return 0
    import psutil
    import xllamacpp

    processor = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    for _ in range(MEMORY_POLLS):
        cards = (each["memory_free"] for each in xllamacpp.get_device_info() if each["type"] != processor)
        free = int(psutil.virtual_memory().available + sum(cards))
        if free >= needed:
            break
        time.sleep(MEMORY_POLL_S)
    return free


def serve(config: dict[str, Any]) -> xllamacpp.Server:
    """Load the model and return the running server. Raises ``RuntimeError`` if it cannot be loaded."""
    import xllamacpp  # takes long, and the ways out are safe by now

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
    params.kv_unified = config["is_shared"]  # slots share one cache, so that a single request may be long
    params.cache_ram_mib = 0
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = config["threads"]
        threads.poll = 0  # sleep while they wait; OpenMP's threads do so by OMP_WAIT_POLICY
    params.verbosity = 1
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until stdin closes. Never returns."""
    try:
        die_with(int(sys.argv[1]))
        config = json.loads(sys.stdin.readline())
        watch = threading.Thread(target=end_with_stdin)
        watch.start()
        if (free := free_bytes(config["needs_bytes"])) < config["needs_bytes"]:
            print(json.dumps({"free_bytes": free}), flush=True)
            watch.join()
        try:
            server = serve(config)
        except RuntimeError:
            time.sleep(LOG_S)
            raise
        print(json.dumps({"url": server.listening_address}), flush=True)
        watch.join()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
