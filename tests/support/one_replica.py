"""Run one endless turn as a replica without a page: a process to be killed.

python -m tests.support.one_replica DATABASE BUS   prints the turn's id once all its entries are published
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from redis import Redis

from kimi_ui.bus import bus as bus_module
from kimi_ui.bus.bus import Bus
from kimi_ui.bus.wire import stream_of, unpack_entries
from kimi_ui.config import read_place
from kimi_ui.core.events import Reasoning
from kimi_ui.core.lane import LaneSpec

from .engine_run import running
from .scripted import ScriptedProvider
from .waiting import until

N_WORDS = 200


def n_published(redis: Any, turn_id: str) -> int:
    return sum(len(unpack_entries(fields[b"entries"])) for _, fields in redis.xrange(stream_of(turn_id)))


def main() -> None:
    database, url = sys.argv[1:]
    bus_module.LEASE_S = 60.0  # the test ends it, so that a pause of this process is not taken for its death
    words = [Reasoning(f"word{i} ") for i in range(N_WORDS)]
    lane = ScriptedProvider(LaneSpec("kimi", "Kimi K2", "openai", model="m"), [[*words, threading.Event()]])
    with running(read_place(database), lane) as run:
        bus = Bus(url, run.turns)
        bus.start()
        turn = run.engine.send("Why?", owner="local")
        until(lambda: len(turn.entries) > N_WORDS)
        with Redis.from_url(url) as redis:
            until(lambda: n_published(redis, turn.turn_id) == len(turn.entries))
        print(turn.turn_id, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
