"""Does the embedded model's process ever outlive the app? Kills the app at random moments on a busy machine.

The app is ``kimi_ui compare`` with the embedded model in all lanes, killed with SIGKILL between the start of its child
and the middle of its answers, the moments spread evenly. A busy loop runs on each core. Prints how many children were
there and how many were left five seconds later; exits 1 if any was.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil

from .harness import ROOT, process

AT_ONCE = 6
SPAN_S = 12
LEFT_AFTER_S = 5
NO_SERVERS = {"OLLAMA_HOST": "127.0.0.1:9", "CHUTES_API_KEY": "", "OPENROUTER_API_KEY": "", "MOONSHOT_API_KEY": ""}


@contextlib.contextmanager
def app() -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """The app as it answers, and its child as soon as there is one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "kimi_ui", "compare", "Why is the sky blue?", "--db", f"{folder}/log.sqlite3"]
        parent = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **NO_SERVERS}
        )
        try:
            yield parent, child_of(parent)
        finally:
            parent.kill()
            parent.wait()


def child_of(parent: subprocess.Popen[bytes]) -> psutil.Process:
    seen = psutil.Process(parent.pid)
    while parent.poll() is None:
        for child in seen.children():
            with contextlib.suppress(psutil.Error):
                if "kimi_ui.providers.embedded.child" in child.cmdline():
                    return child
        time.sleep(0.01)
    raise RuntimeError("the app ended before it started its child")


def lives(child: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    return False


def kill_after(seconds: float) -> psutil.Process:
    with app() as (parent, child):
        time.sleep(seconds)
        parent.kill()
        return child


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    n = parser.parse_args().kills
    with contextlib.ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            stack.enter_context(process(["-c", "while True: pass"]))
        moments = [SPAN_S * (i + random.random()) / n for i in range(n)]
        random.shuffle(moments)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            children = list(pool.map(kill_after, moments))
        time.sleep(LEFT_AFTER_S)
        left = [child for child in children if lives(child)]
    print(f"{n} kills, 0 to {SPAN_S} s after the child's start: {len(left)} of {len(children)} children left")
    for child in left:
        child.kill()
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
