"""Process-wide settings, each in a separate process: switch interval, garbage collection, freed memory."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import gc, time
from kimi_ui import process

live = ["a turn"]

class Node:
    pass

full = []
gc.callbacks.append(lambda phase, info: phase == "stop" and info["generation"] == 2 and full.append(list(live)))
process.LOOK_EVERY_S = 0.005
process.collect_between_turns(lambda: not live)
full.clear()
kept = []
while gc.get_count()[2] < 2 * process.DUE:  # lasting objects: Python's own threshold would have collected by now
    kept.append(Node())
time.sleep(0.1)
assert full == [], full
live.clear()
deadline = time.monotonic() + 20
while not full:
    assert time.monotonic() < deadline
    time.sleep(0.005)
assert full[0] == []

process.AT_LATEST_S = 0.0
live.append("a turn without end")
full.clear()
while gc.get_count()[2] < process.DUE:
    kept.append(Node())
deadline = time.monotonic() + 20
while not full:
    assert time.monotonic() < deadline
    time.sleep(0.005)
print("collected once nothing ran, and at the latest after a time")
"""


def test_full_garbage_collections_wait_until_no_turn_runs() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr) == ("collected once nothing ran, and at the latest after a time\n", "")


HAND_BACK = """
import psutil
from kimi_ui.process import hand_back

rss_mb = lambda: psutil.Process().memory_info().rss / 1e6
kept = [bytes(4000) for _ in range(40_000)]
last = bytes(4000)  # lies behind them, so that the C library cannot simply shorten its heap
full = rss_mb()
kept.clear()
hand_back()
print("handed back" if full - rss_mb() > 100 else f"{full} MB, then {rss_mb()}")
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such call")
def test_freed_memory_is_returned_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", HAND_BACK], capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr) == ("handed back\n", "")


SESSION = """
import sys
from kimi_ui.cli.open_app import session
from kimi_ui.config import read_settings

with session(read_settings(db=sys.argv[1], env={})):
    print(f"{sys.getswitchinterval():g}")
"""


def test_a_running_engine_shortens_the_switch_interval(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SESSION, str(tmp_path / "log.sqlite3")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr) == ("0.0005\n", "")


FILES = """
import resource
from kimi_ui.process import open_many_files

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
open_many_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256, resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_server_may_open_as_many_files_as_the_system_lets_it() -> None:
    done = subprocess.run([sys.executable, "-c", FILES], capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr) == ("True True\n", "")
