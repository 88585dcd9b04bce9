"""Runs a model in a child process: gets its file, starts the child and restarts it once if it dies.

One backend per model, shared by all lanes of it (``backends``). The start runs on its own thread: any thread may call
``warm_up``, any event loop may await ``endpoint``, and all wait for the same start. The backend only keeps the child
alive; ``embedded.provider`` talks to it.

Settings of the stand-in, measured on 2 cores that other programs kept at a load of 10 to 16 (SmolLM2-135M, Q4_1; tokens
per second of the child's CPU time, so that the load matters less, and in brackets per second of time):

- OpenMP's threads wait for one another by spinning. Beside busy programs two such threads wrote 8 to 15 tokens/s in all
  where one wrote 42 to 121. With ``OMP_WAIT_POLICY=passive`` they sleep instead: prompt 338 (151), one answer
  108 (108), four answers 151 (138); one thread 341 (84), 154 (36) and 174 (32). Both with the weights as Q4_0.
- A quantised KV cache slows long prompts down: 1,300 tokens at 117, with F16 at 205; Q4_0 weights: 147 and 313. Without
  flash attention: 265, and slower answers.
- The weights as Q4_0, which llama.cpp repacks for AVX2: short prompt 356 (Q4_1: 214), one answer 154 (121), four 167
  (107). As Q8_0: eight answers 192 (142). Not done: the weights are used as they are published.
- A lower priority (nice 5): beside seven busy programs the child gets a third of its share. Not done.
- More requests at a time write little more in total, so four are enough, and the first of them write sooner.
- Heavy of eight in a conversation of 1,600 tokens took 88 s after its first prompt and 67 s after the next, at a load
  of 4 to 5. Most of it is writing behind so long a prompt, 24 tokens/s in all: the trajectories find the prompt in
  the slots' caches (3,308 of the 3,396 tokens of one's two requests), and only the first time each slot reads it, for
  some 40 s. One trajectory at a time: 91 s and 98 s, 24 tokens/s too. Not done.
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
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from ...core.events import PREPARING, Failure, Phase, Reporter
from ..base import ProviderError

UNSTABLE_S = 60.0
START_TIMEOUT_S = 60.0
POLL_S = 0.05
LEAST_READ = 50e6  # bytes per second of a slow disk, from which a large model is read
DEATH_POLLS = 20  # on a busy machine a killed process takes a while to end
MOST_WORDS, MOST_DETAIL = 8000, 500  # characters of the child's last output: how many are read, how many are shown
PACKAGE_PARENT = Path(__file__).resolve().parents[3]

Progress = Callable[[int, int], None]
"""Called with the bytes so far and the total bytes."""


class Cancelled(Exception):
    """The app is ending; a partial download has been removed."""


@dataclass(frozen=True)
class ServerSetup:
    """How the child serves a model. ``context_tokens``: of all ``slots`` together; ``is_shared``: one request may use
    all of it, otherwise each has its part. ``needs_bytes``: of memory at least, 0 where that is not checked."""

    alias: str
    slots: int
    context_tokens: int
    is_shared: bool
    threads: int
    needs_bytes: int = 0


class Model(Protocol):
    """A model that a backend can serve. ``name`` is for sentences. Setting ``cancelled`` ends a running ``ensure``."""

    @property
    def name(self) -> str: ...

    @property
    def cancelled(self) -> threading.Event: ...

    def ensure(self, progress: Progress) -> Path:
        """The path of its file, which is fetched if need be. Raises ``ProviderError`` and ``Cancelled``."""

    def setup(self) -> ServerSetup:
        """How it is served, once its file is there."""

    def explained(self, words: str, exit_code: int | None, free_bytes: int | None) -> Failure | None:
        """Why its process did not start or has ended; None if that is not known. ``words``: the process's last ones;
        ``exit_code``: negative for a signal; ``free_bytes``: the memory there was, if that was too little."""


class Endpoint(NamedTuple):
    """The child's address, API key and process id. ``base_url`` ends in ``/v1``."""

    base_url: str
    api_key: str
    pid: int


class EmbeddedBackend:
    """Gets the model's file, starts the child and keeps it running until ``close`` or the end of this process.

    While no lane has the model (``keep``), the child ends as soon as no request uses it; a request starts it again.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.phase: Phase | None = None  # the progress of a running start
        self._lock = threading.Lock()
        self._starting: Future[Endpoint] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None  # of the last start, and then of its child
        self._stderr: IO[bytes] | None = None
        self._deaths: list[float] = []  # time.monotonic() of each unexpected end
        self._exit_code: int | None = None  # of the last one
        self._uses = 0
        self.is_kept = True  # whether a lane has the model
        self._closed = False

    @property
    def is_ready(self) -> bool:
        """True while the child answers requests."""
        child, starting = self._child, self._starting
        return bool(child and child.poll() is None and starting and starting.done() and not starting.exception())

    @property
    def is_starting(self) -> bool:
        """True while the file is fetched or the child is starting."""
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

    def keep(self, wanted: bool) -> None:
        """Say whether a lane has the model."""
        self.is_kept = wanted
        self._rest()

    @contextmanager
    def used(self) -> Iterator[None]:
        """The child is not ended for want of a lane inside the block."""
        with self._lock:
            self._uses += 1
        try:
            yield
        finally:
            with self._lock:
                self._uses -= 1
            self._rest()

    def _rest(self) -> None:
        """End the child if nothing needs it; does not wait for its end."""
        with self._lock:
            if self.is_kept or self._uses or self._child is None:
                return
            child, self._child, self._starting = self._child, None, None
        threading.Thread(target=_end, args=(child,), name="embedded-end", daemon=True).start()

    def ended(self) -> Failure:
        """The failure of a request whose child has ended in the middle."""
        message = f"{_capital(self.model.name)}'s process ended in the middle of this request."
        known = self.model.explained("", self._exit_code, None)
        remedy = known.remedy if known else "Send again: it restarts automatically."
        return Failure("backend_died", message, remedy)

    def close(self) -> None:
        """End the child and any running fetch. The backend cannot be used afterwards."""
        with self._lock:
            self._closed = True
            self.model.cancelled.set()
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
                message = f"{_capital(self.model.name)} has been shut down."
                future.set_exception(_failed(message, "Start Kimi UI again."))
                return future
            self._starting = future
            self._thread = threading.Thread(target=self._run_start, args=(future,), name="embedded", daemon=True)
            self._thread.start()
            return future

    def _bury(self, child: subprocess.Popen[bytes]) -> None:
        """Record the unexpected end of a child. A second call for the same child has no effect."""
        with self._lock:
            if self._child is child:
                self._child, self._exit_code = None, child.returncode
                self._deaths = [*self._deaths[-1:], time.monotonic()]
                _close_pipes(child)

    def _run_start(self, future: Future[Endpoint]) -> None:
        """The thread of one child: it starts the child and stays, since the child ends with it (``child.die_with``)."""
        child = None
        try:
            path = self.model.ensure(self._fetching)
            self.phase = Phase(PREPARING, f"Starting {self.model.name}")
            endpoint, child = self._spawn(str(path))
            future.set_result(endpoint)
        except ProviderError as error:
            future.set_exception(error)
        except Cancelled:
            future.set_exception(_failed(f"Fetching {self.model.name} was interrupted.", "Start Kimi UI again."))
        except Exception as error:
            future.set_exception(_failed(f"{_capital(self.model.name)} could not be started ({error}).", "Try again."))
        finally:
            self.phase = None
        if child:
            self._rest()
            child.wait()

    def _fetching(self, done: int, total: int) -> None:
        self.phase = Phase(PREPARING, f"Fetching {self.model.name} ({total / 1e6:.0f} MB, once)", done, total)

    def _spawn(self, model: str) -> tuple[Endpoint, subprocess.Popen[bytes]]:
        key = secrets.token_urlsafe(24)
        setup = self.model.setup()
        config = {"model": model, "api_key": key, **asdict(setup)}
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
        too_late = threading.Event()
        watchdog = threading.Timer(START_TIMEOUT_S + setup.needs_bytes / LEAST_READ, _give_up, (child, too_late))
        watchdog.start()
        try:
            child.stdin.write(json.dumps(config).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            watchdog.cancel()
        reply = json.loads(line) if line else {}
        if "url" not in reply:
            _end(child)
            words = self._last_words()
            exit_code = None if too_late.is_set() else child.returncode
            if known := self.model.explained(words, exit_code, reply.get("free_bytes")):
                raise ProviderError(known)
            raise _failed(f"{_capital(self.model.name)}'s process did not start.", "Try again.", words[-MOST_DETAIL:])
        with self._lock:
            if self._closed:
                _end(child)
                raise Cancelled
            self._child = child
        return Endpoint(reply["url"] + "/v1", key, child.pid), child

    def _last_words(self) -> str:
        """The end of the child's stderr, with the reason why a model could not be loaded."""
        if not self._stderr or self._stderr.closed:
            return ""
        self._stderr.seek(0)
        return self._stderr.read()[-MOST_WORDS:].decode(errors="replace").strip()


def threads(most: int = 4) -> int:
    """Threads for the child: the cores that this process may use, at most ``most``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(most, cores or 1)


def _capital(name: str) -> str:
    """A model's name at the beginning of a sentence; a file's name stays as it is."""
    return f"T{name[1:]}" if name.startswith("the ") else name


def _give_up(child: subprocess.Popen[bytes], too_late: threading.Event) -> None:
    too_late.set()
    child.kill()


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
