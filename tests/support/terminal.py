"""Commands as processes: on a pseudo-terminal with everything shown there, or with their output in pipes."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def program(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """``python`` with these arguments and its output in pipes; killed if it still runs when a test fails."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, **pipes, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def shown_on_terminal(
    *arguments: str, rows: int = 24, columns: int = 80, watch: Callable[[bytes], object] = lambda shown: None
) -> tuple[int, str]:
    """Run ``python -m kimi_ui`` with these arguments to its end; its exit code and its output with escapes.

    ``watch`` is called with the output so far, whenever there is more.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    command = [sys.executable, "-m", "kimi_ui", *arguments]
    shown = b""
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            while data := os.read(ours, 65536):
                shown += data
                watch(shown)
        except OSError:
            pass  # how Linux reports that the other end was closed
        os.close(ours)
    return process.returncode, shown.decode()
