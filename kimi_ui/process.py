"""What is tuned for the whole Python process, so that the thread that stamps tokens is not held up.

- **The interpreter is handed over sooner** (``stamp_promptly``): a thread that wakes up beside a busy one waits for it,
  5.2 ms at the median with Python's own switch interval of 5 ms, 0.65 ms with 0.5 ms.
- **Garbage is not looked for while the app starts** (``start_without_collecting``): the libraries make a million
  objects that stay, and going through them again and again takes a sixth of the start.
- **Later it is looked for between turns** (``collect_between_turns``): a full collection stops every thread, and no
  token is stamped in it. It takes a third of a second over the objects of the libraries, which are left out, and still
  20 to 50 ms over the recent turns.
- **Freed memory goes back to the system** (``hand_back``) after that: glibc keeps what many threads have freed, 20 MB
  after a few hundred turns (``tests/benchmarks/soak.py``).
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
DUE = 10  # collections of the middle generation since the last full one; Python's own threshold
AT_LATEST_S = 60.0  # where turns always run, one a minute: a turn leaves some 0.1 MB that only a full one finds
NEVER = 1_000_000


def stamp_promptly() -> None:
    """Let a waiting thread have the interpreter after ``SWITCH_S``."""
    sys.setswitchinterval(SWITCH_S)


def start_without_collecting() -> None:
    """Collect nothing until ``collect_between_turns``. The little garbage of the start, 2 MB, stays."""
    gc.disable()


def collect_between_turns(is_quiet: Callable[[], bool]) -> None:
    """Leave what the libraries have made out of all later collections, and make full ones while ``is_quiet()``.

    If it never is, there is one a minute.
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
    """Give memory that was freed back to the system, where the C library has a call for that (glibc)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; TypeError: Windows
        return
    trim(0)
