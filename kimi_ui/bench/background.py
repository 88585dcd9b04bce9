"""The benchmark of this process: at most one run at a time, in a thread of its own.

Pages only look at it: a run goes on whoever watches, and ends with the process, after which it can be resumed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .records import Head
from .runner import Progress
from .sharing import Run

log = logging.getLogger(__name__)
CLOSE_S = 2.0


class Busy(Exception):
    """A run is running in this process. The text is a sentence with the remedy."""


class Background:
    """Starts a run and knows how far it is. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runner: Run | None = None
        self._progress: Progress | None = None
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self, make: Callable[[], Run]) -> str:
        """Make a run and run it; return its id. Raises ``Busy`` and whatever ``make`` raises; nothing runs then."""
        with self._lock:
            if self._runner is not None:
                raise Busy("A benchmark is running already: wait for its end, or stop it.")
            runner = self._runner = make()
            self._progress, self._is_stopping = runner.progress, False
        self._thread = threading.Thread(target=self._run, args=(runner,), name="benchmark", daemon=True)
        self._thread.start()
        return runner.head.id

    def close(self) -> None:
        """The process ends: wait a moment for the run, which the engine's end ends too. It can be resumed."""
        thread = self._thread
        if thread is not None:
            thread.join(CLOSE_S)

    def stop(self) -> None:
        """Stop the run, if there is one; it ends soon."""
        with self._lock:
            if self._runner is not None:
                self._is_stopping = True
                self._runner.stop()

    @property
    def current(self) -> tuple[Head, Progress, bool] | None:
        """The running run, how far it is, and whether it was stopped and has not ended yet; None: nothing runs."""
        with self._lock:
            if self._runner is None or self._progress is None:
                return None
            return self._runner.head, self._progress, self._is_stopping

    def _run(self, runner: Run) -> None:
        try:
            runner.run(self._report)
        except Exception:
            log.exception("the benchmark %s ended with an error", runner.head.id)
        finally:
            with self._lock:
                self._runner = self._progress = None

    def _report(self, progress: Progress) -> None:
        self._progress = progress
