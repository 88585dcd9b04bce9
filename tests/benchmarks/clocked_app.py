"""The app with clocks: as ``app.py``, and each line on stdin is answered with the CPU seconds spent so far, as JSON.

By thread: ``engine`` reads the models and stamps, ``web`` makes frames and sends them, ``log`` writes SQLite, ``other``
is the rest of the process.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from kimi_ui.__main__ import start

THREADS = {"engine": "engine", "MainThread": "web", "log-writer": "log"}


def cpu_by_thread() -> dict[str, float]:
    spent = {
        THREADS[thread.name]: time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))
        for thread in threading.enumerate()
        if thread.name in THREADS
    }
    return {**spent, "other": time.process_time() - sum(spent.values())}


def answer() -> None:
    for _ in sys.stdin:
        print(json.dumps(cpu_by_thread()), flush=True)


if __name__ == "__main__":
    threading.Thread(target=answer, name="clocks", daemon=True).start()
    sys.exit(start(["serve", *sys.argv[1:]]))
