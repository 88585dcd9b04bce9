"""A command on a terminal of its own (a pseudo-terminal), and all that it showed there."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def shown_on_terminal(*arguments: str, rows: int = 24, columns: int = 80) -> tuple[int, str]:
    """Run ``python -m kimi_ui`` with these arguments to its end; its exit code and what it wrote, escapes and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    command = [sys.executable, "-m", "kimi_ui", *arguments]
    shown = b""
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:
            pass  # how Linux tells that the other end was closed
        os.close(ours)
    return process.returncode, shown.decode()
