"""When Python looks for garbage: between turns. A full collection stops every thread, and no token is stamped in it.

What is found goes back to the system then too: glibc keeps what many threads have freed, 20 MB after a few hundred
turns (``tests/benchmarks/soak.py``).
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine

LOOK_EVERY_S = 5.0
DUE = 10  # collections of the middle generation since the last full one; Python's own threshold
AT_LATEST_S = 60.0  # where turns always run, one a minute: a turn leaves some 0.1 MB that only a full one finds
NEVER = 1_000_000


def collect_between_turns(engine: Engine) -> None:
    """Leave what the libraries have made out of all later collections, and make full ones between turns if it can be.

    There are a million objects of the libraries' and looking through them takes a third of a second; through the recent
    turns it still takes 20 to 50 ms.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, NEVER)
    threading.Thread(target=_collect, args=(engine,), name="garbage", daemon=True).start()


def _collect(engine: Engine) -> None:
    last = time.monotonic()
    collected = False
    while True:
        time.sleep(LOOK_EVERY_S)
        is_quiet = not engine.live_turns()
        if gc.get_count()[2] >= DUE and (is_quiet or time.monotonic() - last >= AT_LATEST_S):
            gc.collect()
            last = time.monotonic()
            collected = True
        if collected and is_quiet:
            hand_back()
            collected = False


def hand_back() -> None:
    """Give memory that was freed back to the system, where the C library has a call for that (glibc)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; TypeError: Windows
        return
    trim(0)
