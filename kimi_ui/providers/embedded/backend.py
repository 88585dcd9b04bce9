"""Runs the embedded model: fetches the weights, starts the child process and restarts it once if it dies.

One backend per process, shared by all embedded lanes. The start runs on its own thread: any thread may call
``warm_up``, any event loop may await ``endpoint``, and all wait for the same start. The backend only keeps the child
alive; ``embedded.provider`` talks to it.

Settings, measured on 2 cores that other programs kept at a load of 10 to 16 (SmolLM2-135M, Q4_1; tokens per second of
the child's CPU time, so that the load matters less, and in brackets per second of time):

- OpenMP's threads wait for one another by spinning. Beside busy programs two such threads wrote 8 to 15 tokens/s in all
  where one wrote 42 to 121. With ``OMP_WAIT_POLICY=passive`` they sleep instead: prompt 338 (151), one answer
  108 (108), four answers 151 (138); one thread 341 (84), 154 (36) and 174 (32). Both with the weights as Q4_0.
- A quantised KV cache slows long prompts down: 1,300 tokens at 117, with F16 at 205; Q4_0 weights: 147 and 313. Without
  flash attention: 265, and slower answers.
- The weights as Q4_0, which llama.cpp repacks for AVX2: short prompt 356 (Q4_1: 214), one answer 154 (121), four 167
  (107). As Q8_0: eight answers 192 (142). Not done: the weights are used as they are published.
- A lower priority (nice 5): beside seven busy programs the child gets a third of its share. Not done.
- More requests at a time write little more in total, so four are enough, and the first of them write sooner.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import IO, NamedTuple

from ...core.events import PREPARING, Failure, Phase, Reporter
from ..base import ProviderError
from .weights import Cancelled, WeightsStore

PARALLEL = 4  # requests at a time; the engine holds back the others
SLOTS = PARALLEL + 1  # one spare for a probe
CONTEXT_TOKENS = 12_288  # shared by all slots
REQUEST_TOKENS = 8_192  # at most of one request: the model's training length
UNSTABLE_S = 60.0
START_TIMEOUT_S = 60.0
POLL_S = 0.05
DEATH_POLLS = 20  # on a busy machine a killed process takes a while to end
PACKAGE_PARENT = Path(__file__).resolve().parents[3]

ALIAS = "SmolLM2-135M-Instruct"


class Endpoint(NamedTuple):
    """The child's address, API key and process id. ``base_url`` ends in ``/v1``."""

    base_url: str
    api_key: str
    pid: int


class EmbeddedBackend:
    """Fetches the weights, starts the child and keeps it running until ``close`` or the end of this process."""

    def __init__(self, store: WeightsStore | None = None) -> None:
        self.store = store or WeightsStore()
        self.phase: Phase | None = None  # the progress of a running start
        self._lock = threading.Lock()
        self._starting: Future[Endpoint] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None  # of the last start, and then of its child
        self._stderr: IO[bytes] | None = None
        self._deaths: list[float] = []  # time.monotonic() of each unexpected end
        self._closed = False

    @property
    def is_ready(self) -> bool:
        """True while the child answers requests."""
        child, starting = self._child, self._starting
        return bool(child and child.poll() is None and starting and starting.done() and not starting.exception())

    @property
    def is_starting(self) -> bool:
        """True while weights are fetched or the child is starting."""
        return self._starting is not None and not self._starting.done()

    @property
    def failure(self) -> Failure | None:
        """The failure of the last start, or None."""
        starting = self._starting
        error = starting.exception() if starting and starting.done() else None
        return error.failure if isinstance(error, ProviderError) else None

    def warm_up(self) -> None:
        """Start in the background, so that the first prompt need not wait."""
        self._start()

    async def endpoint(self, report: Reporter) -> Endpoint:
        """Wait for the child and return its endpoint. Reports each phase of the start; raises ``ProviderError``.

        Starts again after a failed start or the death of the child.
        """
        starting, reported = self._start(), None
        while not starting.done():
            phase = self.phase
            if phase is not None and phase != reported:
                report(phase)
                reported = phase
            await asyncio.sleep(POLL_S)
        return starting.result()

    async def has_died(self, endpoint: Endpoint) -> bool:
        """Whether the child at ``endpoint`` has ended unexpectedly, as opposed to a failed request.

        Restarts the child unless the backend ``is_unstable``. Waits a moment, because a connection breaks before the
        process can be reaped.
        """
        for _ in range(DEATH_POLLS):
            if self._closed:
                return False
            child = self._child
            if child is None or child.pid != endpoint.pid:
                return True
            if child.poll() is not None:
                self._bury(child)
                if not self.is_unstable:
                    self._start()
                return True
            await asyncio.sleep(POLL_S)
        return False

    @property
    def is_unstable(self) -> bool:
        """True after two deaths within ``UNSTABLE_S``; then only the user's next prompt restarts the child."""
        now = time.monotonic()
        return sum(now - death < UNSTABLE_S for death in self._deaths) >= 2

    def close(self) -> None:
        """End the child and any running fetch. The backend cannot be used afterwards."""
        with self._lock:
            self._closed = True
            self.store.cancelled.set()
            child, self._child = self._child, None
        if child and self._thread:
            _end(child)
            self._thread.join()
        if self._stderr:
            self._stderr.close()

    def _start(self) -> Future[Endpoint]:
        """The running or finished start; a new one if the last failed or its child died."""
        child = self._child
        if child and child.poll() is not None:
            self._bury(child)
        with self._lock:
            starting = self._starting
            if starting and not starting.done():
                return starting
            if starting and self._child:
                return starting
            future: Future[Endpoint] = Future()
            if self._closed:
                future.set_exception(_failed("The embedded model has been shut down.", "Start Kimi UI again."))
                return future
            self._starting = future
            self._thread = threading.Thread(target=self._run_start, args=(future,), name="embedded", daemon=True)
            self._thread.start()
            return future

    def _bury(self, child: subprocess.Popen[bytes]) -> None:
        """Record the unexpected end of a child. A second call for the same child has no effect."""
        with self._lock:
            if self._child is child:
                self._child = None
                self._deaths = [*self._deaths[-1:], time.monotonic()]
                _close_pipes(child)

    def _run_start(self, future: Future[Endpoint]) -> None:
        """The thread of one child: it starts the child and stays, since the child ends with it (``child.die_with``)."""
        child = None
        try:
            path = self.store.ensure(self._fetching)
            self.phase = Phase(PREPARING, "Starting the embedded model")
            endpoint, child = self._spawn(str(path))
            future.set_result(endpoint)
        except ProviderError as error:
            future.set_exception(error)
        except Cancelled:
            future.set_exception(_failed("Fetching the embedded model was interrupted.", "Start Kimi UI again."))
        except Exception as error:
            future.set_exception(_failed(f"The embedded model could not be started ({error}).", "Try again."))
        finally:
            self.phase = None
        if child:
            child.wait()

    def _fetching(self, done: int, total: int) -> None:
        self.phase = Phase(PREPARING, f"Fetching the embedded model ({total / 1e6:.0f} MB, once)", done, total)

    def _spawn(self, model: str) -> tuple[Endpoint, subprocess.Popen[bytes]]:
        key = secrets.token_urlsafe(24)
        config = {
            "model": model,
            "alias": ALIAS,
            "api_key": key,
            "slots": SLOTS,
            "context_tokens": CONTEXT_TOKENS,
            "threads": threads(),
        }
        if self._stderr:
            self._stderr.close()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the child)
        child = subprocess.Popen(
            [sys.executable, "-m", "kimi_ui.providers.embedded.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            cwd=PACKAGE_PARENT,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            start_new_session=True,  # so that Ctrl-C in the terminal reaches the parent only
        )
        assert child.stdin
        assert child.stdout
        watchdog = threading.Timer(START_TIMEOUT_S, child.kill)
        watchdog.start()
        try:
            child.stdin.write(json.dumps(config).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            watchdog.cancel()
        if not line:
            _end(child)
            raise _failed("The embedded model's process did not start.", "Try again.", self._last_words())
        with self._lock:
            if self._closed:
                _end(child)
                raise Cancelled
            self._child = child
        return Endpoint(json.loads(line)["url"] + "/v1", key, child.pid), child

    def _last_words(self) -> str:
        """The end of the child's stderr."""
        if not self._stderr or self._stderr.closed:
            return ""
        self._stderr.seek(0)
        return self._stderr.read()[-500:].decode(errors="replace").strip()


def threads() -> int:
    """Threads for the child: the cores that this process may use, at most four."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, cores or 1)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Close the child's stdin, which ends it; kill it after a second."""
    _close_pipes(child)
    try:
        child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _close_pipes(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe:
            pipe.close()


def _failed(message: str, remedy: str, detail: str = "") -> ProviderError:
    return ProviderError(Failure("backend_died", message, remedy, detail=detail))
