"""Start-up with a warm cache: seconds from ``app.py`` to a page that answers, and from there to the embedded model.

    python -m tests.benchmarks.start_up [--rounds 5]

Goal: the page within 1.25 times the bare import of Gradio, most of the time, which is measured in turn with it; the
embedded model within 4 s more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .harness import ROOT, free_port, process, report, wait_for_http

NO_KEYS = {"CHUTES_API_KEY": "", "OPENROUTER_API_KEY": "", "MOONSHOT_API_KEY": "", "OLLAMA_HOST": "127.0.0.1:1"}


def import_gradio_s() -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import gradio"], check=True, env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    )
    return time.perf_counter() - started


def start_s() -> tuple[float, float]:
    """Seconds to the page, and from there until the embedded model's process accepts requests."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        arguments = ["app.py", "--port", str(port), "--db", str(Path(folder) / "log.sqlite3"), "--no-browser"]
        started = time.perf_counter()
        with process(arguments, subprocess.DEVNULL, **NO_KEYS) as child:
            wait_for_http(f"http://127.0.0.1:{port}", child)
            page_s = time.perf_counter() - started
            answer = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.first_word", f"http://127.0.0.1:{port}"],
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
            )
            return page_s, float(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    figures, imports = [], []
    for _ in range(rounds):
        imports.append(import_gradio_s())
        figures.append(start_s())
    page_s, import_s = statistics.median(page for page, _ in figures), statistics.median(imports)
    report(
        "start_up",
        goal="page <= 1.25 x import, embedded model <= 4 s more",
        page_s=round(page_s, 2),
        to_import=round(page_s / import_s, 2),
        embedded_s=round(statistics.median(word for _, word in figures), 2),
        import_gradio_s=round(import_s, 2),
        rounds=rounds,
    )


if __name__ == "__main__":
    main()
