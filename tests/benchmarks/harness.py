"""Shared by the benchmarks: the app, a paced model server and a peer as separate processes, a browser, quantiles.

Everything runs on this machine and ends automatically. Figures of different runs are not comparable: quote the peer's
figure of the same run beside ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def quantile(values: Sequence[float], p: float) -> float | None:
    """The order statistic at ``p`` (0–1); None for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p))] if ordered else None


def wait_for_http(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> float:
    """Seconds until ``url`` answers 200. Raises if the process ends or time runs out."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        if process.poll() is not None:
            raise RuntimeError(f"the process ended with {process.returncode} before {url} answered")
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.status == 200:
                    return time.perf_counter() - started
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{url} did not answer within {seconds} s")


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Return when something listens there. Raises if the process ends or time runs out."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


@contextlib.contextmanager
def process(
    arguments: Sequence[str], stdout: int | None = None, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """``stdout`` is a pipe or nothing, and ``stdin`` likewise."""
    command = [sys.executable, *arguments]
    child = subprocess.Popen(command, cwd=ROOT, stdin=stdout, stdout=stdout, env={**os.environ, **environment})
    try:
        yield child
    finally:
        child.terminate()
        for pipe in filter(None, (child.stdin, child.stdout)):
            pipe.close()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def model_server() -> Iterator[str]:
    """The paced model server of the tests as a separate process; yields its OpenAI base URL.

    It represents another machine, so if allowed it gets priority over everything else on this machine's cores.
    """
    port = free_port()
    with process(["-m", "tests.support.upstream", "--port", str(port)]) as child:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, child.pid, -15)
        wait_for_http(f"http://127.0.0.1:{port}/v1/models", child)
        yield f"http://127.0.0.1:{port}/v1"


SLEEPER = """
import json, sys, time
late = []
print(flush=True)
while True:
    began = time.perf_counter()
    time.sleep(0.002)
    late.append((time.perf_counter() - began) * 1000 - 2)
    if len(late) % 50 == 0:
        print(json.dumps(late), flush=True)
        late = []
"""


@contextlib.contextmanager
def lateness() -> Iterator[dict[str, float]]:
    """How late a process that only sleeps wakes up meanwhile, in ms: the machine's own share in any measurement.

    At the end it fills the dictionary that it yields: p99, p99.9 and the maximum over wake-ups every 2 ms.
    """
    figures: dict[str, float] = {}
    with process(["-c", SLEEPER], subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        late: list[float] = []
        reader = threading.Thread(target=lambda: [late.extend(json.loads(line)) for line in child.stdout or ()])
        reader.start()
        yield figures
        child.terminate()
        reader.join()
    for name, p in (("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
        figures[name] = round(quantile(late, p) or 0, 2)


class App:
    """A running app: its URL, process and log."""

    def __init__(self, url: str, child: subprocess.Popen[bytes], db: Path, ready_s: float) -> None:
        self.url, self.pid, self.db, self.ready_s = url, child.pid, db, ready_s
        self._child = child

    def clocks(self) -> dict[str, float]:
        """CPU seconds by thread (see ``clocked_app``) of an app that was started ``clocked``."""
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(b"\n")
        self._child.stdin.flush()
        line = next(line for line in self._child.stdout if line.startswith(b"{"))  # behind the welcome
        return dict(json.loads(line))


@contextlib.contextmanager
def app(
    base_url: str, models: Sequence[str], heavy_width: int = 0, db: Path | None = None, clocked: bool = False
) -> Iterator[App]:
    """``app.py`` with one lane per model (and heavy of the first, if asked), on ``db`` or a new database."""
    with tempfile.TemporaryDirectory() as folder:
        lanes = Path(folder) / "lanes.toml"
        tables = [
            f'[[lane]]\nid = "lane{k}"\nlabel = "Lane {k}"\nprovider = "openai"\nbase_url = "{base_url}"\n'
            f'model = "{model}"\nprice = {{ input = 0.6, output = 2.5, as_of = 2026-07-01 }}\n'
            for k, model in enumerate(models)
        ]
        if heavy_width:
            tables.append(
                f'[[lane]]\nid = "heavy"\nlabel = "Heavy"\nprovider = "heavy"\nof = "lane0"\n'
                f'width = {heavy_width}\nquorum = {heavy_width}\npreset = "full"\n'
            )
        lanes.write_text("\n".join(tables))
        db, port = db or Path(folder) / "log.sqlite3", free_port()
        started = time.perf_counter()
        program = ["-m", "tests.benchmarks.clocked_app"] if clocked else ["app.py"]
        arguments = [*program, "--port", str(port), "--db", str(db), "--lanes", str(lanes), "--no-browser"]
        pipe = subprocess.PIPE if clocked else None
        with process(arguments, pipe, PYTHONWARNINGS="ignore") as child:
            url = f"http://127.0.0.1:{port}"
            wait_for_http(url, child)
            yield App(url, child, db, time.perf_counter() - started)


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for one in processes:
        with contextlib.suppress(psutil.Error):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def report(name: str, **figures: Any) -> None:
    """One benchmark figure as a JSON line on stdout."""
    print(json.dumps({"benchmark": name, **figures}), flush=True)
