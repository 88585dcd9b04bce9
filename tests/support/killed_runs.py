"""Runs of the benchmark that are killed at random points, and what their log holds at the end."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tests.support.bench_model"]

LOST = """
    SELECT count(*) FROM benchmark_items i WHERE i.warm_up = 0 AND NOT EXISTS (
        SELECT 1 FROM turns f
        JOIN turns t ON t.conversation_id = f.conversation_id
        JOIN attempts a ON a.turn_id = t.turn_id
        JOIN benchmark_verdicts v ON v.attempt_id = a.attempt_id
        WHERE f.turn_id = i.turn_id AND a.parent_id IS NULL AND a.status = 'ok')
"""
TWICE = """
    SELECT count(*) FROM (
        SELECT t.turn_id FROM benchmark_items i JOIN turns f ON f.turn_id = i.turn_id
        JOIN turns t ON t.conversation_id = f.conversation_id
        JOIN attempts a ON a.turn_id = t.turn_id AND a.parent_id IS NULL AND a.status = 'ok'
        WHERE i.warm_up = 0 GROUP BY t.turn_id HAVING count(*) > 1
        UNION ALL
        SELECT v.attempt_id FROM benchmark_verdicts v GROUP BY v.attempt_id HAVING count(*) > 1
        UNION ALL  -- a message of a conversation that was sent in two turns
        SELECT t.conversation_id FROM turns t WHERE t.kind = 'bench'
        GROUP BY t.conversation_id, t.prompt HAVING count(*) > 1)
"""


class Found(NamedTuple):
    """``lost``: items without a finished attempt and its verdict; ``twice``: what was finished or judged twice."""

    items: int
    lost: int
    twice: int
    cut: int
    """attempts that a kill cut off"""


def killed_run(log: Path, kills: int, rng: random.Random, epochs: int = 2, longest_s: float = 1.5) -> int:
    """Start a run, kill it with SIGKILL after a random time, go on with it, and so on; then let it end.

    The time begins once the run goes on, so that the start of Python is not what is killed. Returns the kills that hit
    a running process.
    """
    run_id, n = "", 0
    while n < kills:
        process = subprocess.Popen(
            [*COMMAND, str(log), str(epochs), *([run_id] if run_id else [])],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout
            run_id = process.stdout.readline().strip() or run_id
            time.sleep(rng.uniform(0, longest_s))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                n += 1
            process.wait()
            if process.returncode == 0:
                return n
            assert process.returncode == -signal.SIGKILL
    subprocess.run([*COMMAND, str(log), str(epochs), run_id], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return n


def found_in(log: Path) -> Found:
    with closing(sqlite3.connect(log)) as db:
        counts = (
            "SELECT count(*) FROM benchmark_items WHERE warm_up = 0",
            LOST,
            TWICE,
            "SELECT count(*) FROM attempts WHERE status = 'interrupted'",
        )
        return Found(*(int(db.execute(query).fetchone()[0]) for query in counts))
