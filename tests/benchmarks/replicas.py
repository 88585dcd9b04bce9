"""How far a replica is behind the one that runs a turn, what the bus costs, and how soon a killed one's turn ends.

PEOPLE turns of three lanes at 30 tokens/s run in another process; this one mirrors all of them, as if each was
watched here. Printed: the lag from an event's stamp there to its entry here, CPU ms per 1,000 tokens of both processes
and of the server between them, and whether every token came, once and in order. Then a replica is killed in mid-stream,
KILLS times: seconds until its turn is interrupted here and in the log.

    python -m tests.benchmarks.replicas
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from kimi_ui.bus.bus import Bus
from kimi_ui.core.events import CONNECTED, Answer, Entry, Finish, Opened, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnLog
from kimi_ui.turns import Turns
from tests.support.bus_server import BusServer
from tests.support.engine_run import running
from tests.support.scripted import ScriptedProvider
from tests.support.waiting import until

from .harness import report

PEOPLE, KILLS = 20, 5
LANES = ("a", "b", "c")
RATE, N_TOKENS = 30, 450  # tokens/s and tokens of a lane


PROCESSES = ("running", "mirroring", "server")


class Follower:
    """The turns of another process as they come in: how late each text event is, in ms."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._sent_ns: dict[str, int] = {}

    def follow(self, turn: TurnLog) -> None:
        plain = turn.append

        def append(entry: Entry) -> None:
            if isinstance(entry.event, Opened):
                self._sent_ns[entry.attempt_id] = entry.event.identity["sent_ns"]
            elif isinstance(entry.event, Reasoning) and entry.attempt_id in self._sent_ns:
                at_ns = turn.t0_ns + self._sent_ns[entry.attempt_id] + entry.t_ns
                self.late_ms.append((time.perf_counter_ns() - at_ns) / 1e6)
            plain(entry)

        turn.append = append  # type: ignore[method-assign]


def all_live(turns: Turns) -> list[TurnLog] | None:
    found = turns.live()
    return found if len(found) == PEOPLE else None


def cpu_s(pid: int) -> float:
    return sum(psutil.Process(pid).cpu_times()[:2])


def runs_turns(database: str, url: str, people: int) -> None:
    """The other process. With one person it waits to be killed."""
    words = [step for i in range(N_TOKENS) for step in (Reasoning(f"word{i} "), 1 / RATE)]
    script = [Phase(CONNECTED), *words, Answer("42"), Finish("stop")]
    lanes = [ScriptedProvider(LaneSpec(id, id, "openai", model="m"), [script]) for id in LANES]
    with running(Path(database), *lanes) as run:
        bus = Bus(url, run.turns)
        bus.start()
        before = time.process_time()
        turns = [run.engine.send("Why?", owner=f"person{i}") for i in range(people)]
        print("sent", flush=True)
        until(lambda: all(turn.closed for turn in turns))
        print(time.process_time() - before, flush=True)
        bus.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server, log = BusServer(Path(folder)), Path(folder) / "log.sqlite3"
        server.start()
        try:
            with running(log, ScriptedProvider(LaneSpec("a", "A", "openai", model="m"), [[]])) as run:
                bus = Bus(server.url, run.turns)
                bus.start()
                command = [sys.executable, "-m", "tests.benchmarks.replicas", str(log), server.url]
                with subprocess.Popen([*command, str(PEOPLE)], stdout=subprocess.PIPE, text=True) as other:
                    assert other.stdout is not None
                    other.stdout.readline()
                    before = (time.process_time(), cpu_s(server.pid))
                    mirrors = until(lambda: all_live(run.turns))
                    follower = Follower()
                    for mirror in mirrors:
                        follower.follow(mirror)
                        run.turns.get(mirror.turn_id)
                    until(lambda: all(mirror.closed for mirror in mirrors))
                    here, between = time.process_time() - before[0], cpu_s(server.pid) - before[1]
                    there = float(other.stdout.readline())
                p50, p95, worst = np.percentile(follower.late_ms[len(mirrors) * len(LANES) :], [50, 95, 100])
                whole = "".join(f"word{i} " for i in range(N_TOKENS))
                exact = all(mirror.fold().newest(lane).reasoning == whole for mirror in mirrors for lane in LANES)
                k_tokens = PEOPLE * len(LANES) * N_TOKENS / 1000
                ms = {"p50_ms": round(p50), "p95_ms": round(p95), "max_ms": round(worst)}
                costs = {
                    name: round(1000 * s / k_tokens) for name, s in zip(PROCESSES, (there, here, between), strict=True)
                }
                report(
                    "replicas",
                    turns=PEOPLE,
                    lanes=len(LANES),
                    rate=RATE,
                    **ms,
                    exact=exact,
                    cpu_ms_per_1000_tokens=costs,
                )
                killed = []
                for _ in range(KILLS):
                    with subprocess.Popen([*command, "1"], stdout=subprocess.PIPE, text=True) as other:
                        mirror = until(lambda: next(iter(run.turns.live()), None))
                        run.turns.get(mirror.turn_id)
                        until(lambda mirror=mirror: len(mirror.entries) > RATE)  # type: ignore[misc]
                        other.kill()
                    started = time.perf_counter()
                    until(lambda mirror=mirror: mirror.closed)  # type: ignore[misc]
                    killed.append(time.perf_counter() - started)
                report("kill -9 to interrupted", seconds=[round(s, 1) for s in killed])
                bus.close()
        finally:
            server.stop()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        runs_turns(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main()
