"""How close together the requests of one turn are sent, by the kernel's stamps at the server.

    python -m tests.benchmarks.departures [--lanes N] [--rounds N]

One turn of N lanes, through the real engine and log. One JSON line per scenario, over all rounds, in ms. ``spread_ms``:
the last request's arrival minus the first's. ``late_ms``: a request's arrival minus the stamp its TTFT counts from, the
connect time taken off. Scenarios: a server on loopback, and one over TLS whose handshake takes ``CONNECT_S``, as with a
server far away; ``new``: every request opens a connection; ``kept``: on the connections of the turn before.
The goal: ten requests to the far server arrive within 15 ms of each other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kimi_ui.core.events import Opened
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from tests.support.engine_run import Run, running

from .harness import free_port, model_server, process, report, wait_for_port

MODEL = "m-100-5-5-stamps150"
CONNECT_S = 0.12
GOAL_MS = 15
STAMP = re.compile(r"(\d{6,}):\d{6,}")


@contextlib.contextmanager
def far_server() -> Iterator[str]:
    """The model server over TLS with a slow handshake, as a separate process whose certificate is trusted here."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        authority = Path(folder) / "ca.pem"
        arguments = ["--port", str(port), "--connect-s", str(CONNECT_S), "--ca", str(authority)]
        with process(["-m", "tests.support.upstream", *arguments]) as child:
            with contextlib.suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, child.pid, -15)
            wait_for_port(port, child)
            os.environ["SSL_CERT_FILE"] = str(authority)
            yield f"https://127.0.0.1:{port}/v1"
            del os.environ["SSL_CERT_FILE"]


def one_turn(run: Run, connect_ms: float) -> tuple[float, list[float]]:
    """Spread and lateness of a turn's requests, in ms."""
    turn = run.engine.send("hello")
    arrived = {lane: int(STAMP.findall(fold.reasoning)[0]) for lane, fold in run.folds(turn).items()}
    opened = [entry.event.identity for entry in turn.entries if isinstance(entry.event, Opened)]
    sent = {identity["lane"]: turn.t0_ns + identity["sent_ns"] for identity in opened}
    late_ms = [(arrived[lane] - sent[lane]) / 1e6 - connect_ms for lane in arrived]
    return (max(arrived.values()) - min(arrived.values())) / 1e6, late_ms


def measure(base_url: str, n_lanes: int, rounds: int, connect_ms: float) -> dict[str, list[tuple[float, list[float]]]]:
    found: dict[str, list[tuple[float, list[float]]]] = {"new": [], "kept": []}
    for _ in range(rounds):
        specs = [LaneSpec(str(n), str(n), "openai", model=MODEL, base_url=base_url) for n in range(n_lanes)]
        lanes = [OpenAICompatible(spec) for spec in specs]
        for lane in lanes:
            asyncio.run(lane.prepare(print))  # creating the clients is not part of a request
        with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "log", *lanes) as run:
            found["new"].append(one_turn(run, connect_ms))
            found["kept"].append(one_turn(run, 0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--lanes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    for server, serving, connect_s in (("loopback", model_server, 0.0), ("far", far_server, CONNECT_S)):
        with serving() as base_url:
            measure(base_url, options.lanes, 1, 0)  # so that imports are not measured
            for connection, turns in measure(base_url, options.lanes, options.rounds, connect_s * 1000).items():
                spreads = [spread for spread, _ in turns]
                late = [ms for _, late_ms in turns for ms in late_ms]
                report(
                    "departures",
                    server=server,
                    connection=connection,
                    lanes=options.lanes,
                    goal_ms=GOAL_MS,
                    spread_ms={"median": round(statistics.median(spreads), 1), "max": round(max(spreads), 1)},
                    late_ms={"median": round(statistics.median(late), 2), "max": round(max(late), 2)},
                )


if __name__ == "__main__":
    main()
