"""When Python looks for garbage: between turns. A full collection stops every thread, and no token is stamped in it."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine import Engine

LOOK_EVERY_S = 5.0
DUE = 10  # collections of the middle generation since the last full one; Python's own threshold
OVERDUE = 1000  # as many again, and it is done whatever runs


def collect_between_turns(engine: Engine) -> None:
    """Leave what the libraries have made out of all later collections, and make full ones while no turn runs.

    There are a million objects of the libraries' and looking through them takes a third of a second; through the recent
    turns it still takes 20 to 50 ms.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OVERDUE)
    threading.Thread(target=_collect, args=(engine,), name="garbage", daemon=True).start()


def _collect(engine: Engine) -> None:
    while True:
        time.sleep(LOOK_EVERY_S)
        if gc.get_count()[2] >= DUE and not engine.live_turns():
            gc.collect()
