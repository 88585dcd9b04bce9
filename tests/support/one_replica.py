"""Run one endless turn as a replica without a page: a process to be killed.

python -m tests.support.one_replica DATABASE BUS   prints the turn's id and the number of its published entries
"""

from __future__ import annotations

import sys
import threading

from redis import Redis

from kimi_ui.bus import bus as bus_module
from kimi_ui.bus.bus import Bus
from kimi_ui.bus.wire import stream_of
from kimi_ui.config import read_place
from kimi_ui.core.events import Reasoning
from kimi_ui.core.lane import LaneSpec

from .engine_run import running
from .scripted import ScriptedProvider
from .waiting import until

N_WORDS = 200


def main() -> None:
    database, url = sys.argv[1:]
    bus_module.LEASE_S = 1.5  # so that its death is noticed sooner
    words = [Reasoning(f"word{i} ") for i in range(N_WORDS)]
    lane = ScriptedProvider(LaneSpec("kimi", "Kimi K2", "openai", model="m"), [[*words, threading.Event()]])
    with running(read_place(database), lane) as run:
        bus = Bus(url, run.turns)
        bus.start()
        turn = run.engine.send("Why?", owner="local")
        until(lambda: len(turn.entries) > N_WORDS)
        with Redis.from_url(url) as redis:
            until(lambda: redis.xlen(stream_of(turn.turn_id)))
        print(turn.turn_id, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
