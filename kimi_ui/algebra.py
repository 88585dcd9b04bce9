"""Whether two expressions are equal, by a computer algebra (math-verify on SymPy) in a process that can be killed.

Nothing of it runs in this process: SymPy parses with ``eval``, may hang on nested powers, and math-verify's own time
limit is a signal that works in a main thread only, so it is switched off. The child has a deadline, limits of memory
and CPU time, reads one pair after the other, and is started at the first question.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from pathlib import Path

from .limited import command

LONGEST = 400  # characters of an expression
START_S = 30.0  # importing SymPy takes half a second, much more on a loaded machine
DEADLINE_S = 5.0
MEMORY = 1 << 30
CPU_S = 60  # in all; another child is started after that

COMMAND = command(Path(__file__).with_name("algebra_child.py"), CPU_S, MEMORY)
"""Starts the child: it writes ``ready``, then reads a pair as JSON per line and writes true, false or null."""


class Algebra:
    """One child process, started when needed and again after it was killed. Calls from several threads wait in line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def equal(self, gold: str, answer: str) -> bool | None:
        """Whether ``answer`` equals ``gold`` (plain text or LaTeX, at most ``LONGEST`` characters each).

        None: one of them cannot be read, or the deadline passed. Not symmetric in general: the gold answer comes first.
        """
        if not answer.strip() or max(len(gold), len(answer)) > LONGEST:
            return None
        with self._lock:
            if self._process is None and not self._start():
                return None
            assert self._process is not None
            assert self._process.stdin
            try:
                self._process.stdin.write(json.dumps([gold, answer]) + "\n")
                self._process.stdin.flush()
                verdict = json.loads(self._lines.get(timeout=DEADLINE_S) or "null")
            except (OSError, ValueError, queue.Empty):
                verdict = None
                self._stop()
            return verdict if isinstance(verdict, bool) else None

    def _start(self) -> bool:
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()
        try:
            if self._lines.get(timeout=START_S) == "ready\n":
                return True
        except queue.Empty:
            pass
        self._stop()
        return False

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        assert process.stdout
        with process.stdout as stdout:
            for line in stdout:
                lines.put(line)
        lines.put("")  # ended

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        assert process.stdin
        try:
            process.stdin.close()
        except OSError:
            pass  # what could not be written any more

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()


_shared = Algebra()


def equal(gold: str, answer: str) -> bool | None:
    """``Algebra.equal`` of the one that this process shares."""
    return _shared.equal(gold, answer)


def close() -> None:
    """End the shared child; the next question starts another one."""
    _shared.close()
