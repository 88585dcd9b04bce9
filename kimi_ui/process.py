"""Settings for the whole Python process that keep the engine thread's timestamps accurate.

- **Shorter GIL switch interval** (``stamp_promptly``): a thread that wakes up next to a busy one waits 5.2 ms (median)
  with Python's default interval of 5 ms, 0.65 ms with 0.5 ms.
- **No garbage collection during the start** (``start_without_collecting``): the libraries create a million permanent
  objects, and scanning these repeatedly takes a sixth of the start.
- **Full collections between turns** (``collect_between_turns``): a full collection stops all threads, so no token is
  stamped meanwhile. It takes a third of a second for the objects of the libraries, which are therefore excluded, and 20
  to 50 ms for the recent turns.
- **Many open files** (``open_many_files``): a hundred people with heavy's eight trajectories need more connections
  than the 1,024 files that systems usually allow at first.
- **Freed memory is returned to the system** (``hand_back``) after a collection: glibc keeps memory freed by many
  threads, 20 MB after a few hundred turns (``tests/benchmarks/soak.py``).
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable

SWITCH_S = 0.0005
LOOK_EVERY_S = 5.0
DUE = 10  # collections of the middle generation since the last full one; Python's default threshold
AT_LATEST_S = 60.0  # interval if turns always run; a turn leaves about 0.1 MB that only a full collection frees
NEVER = 1_000_000
MOST_FILES = 10_240  # more than macOS allows would be an error


def stamp_promptly() -> None:
    """Set the GIL switch interval to ``SWITCH_S``."""
    sys.setswitchinterval(SWITCH_S)


def open_many_files() -> None:
    """Raise the limit of open files as far as the system lets the process, to at most ``MOST_FILES``."""
    if sys.platform == "win32":  # has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def start_without_collecting() -> None:
    """Disable garbage collection until ``collect_between_turns``. The garbage of the start, 2 MB, is never freed."""
    gc.disable()


def collect_between_turns(is_quiet: Callable[[], bool]) -> None:
    """Exclude all existing objects from later collections, and run full collections only while ``is_quiet()``.

    If it never is, one runs every ``AT_LATEST_S``.
    """
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, NEVER)
    gc.enable()
    threading.Thread(target=_collect, args=(is_quiet,), name="garbage", daemon=True).start()


def _collect(is_quiet: Callable[[], bool]) -> None:
    last = time.monotonic()
    collected = False
    while True:
        time.sleep(LOOK_EVERY_S)
        quiet = is_quiet()
        if gc.get_count()[2] >= DUE and (quiet or time.monotonic() - last >= AT_LATEST_S):
            gc.collect()
            last = time.monotonic()
            collected = True
        if collected and quiet:
            hand_back()
            collected = False


def hand_back() -> None:
    """Return freed memory to the system, if the C library has a call for that (glibc)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; TypeError: Windows
        return
    trim(0)
