"""How long the first prompt takes where nothing is set up: the embedded model stands in for all three lanes.

Starts the app with its shipped lanes, waits until the model is ready, sends the prompt and prints for each lane, in
seconds since the click: first token and end; its output tokens and tokens per second, and the time in the queue. Beside
them, in the same run and with the same weights: a bare llama.cpp server that writes one answer after the other. Of both
also what they write per second of the model's CPU time, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from kimi_ui.providers.embedded.backend import threads
from kimi_ui.providers.embedded.weights import WeightsStore

from .harness import ROOT, cpu_seconds, free_port, process, report, wait_for_http
from .visitors import Visitor

PROMPT = "Why is the sky blue?"
NO_SERVERS = {"OLLAMA_HOST": "127.0.0.1:9", "CHUTES_API_KEY": "", "OPENROUTER_API_KEY": "", "MOONSHOT_API_KEY": ""}
ROWS = """
    SELECT m.lane, m.role, m.status, m.output_tokens, m.queue_ms, m.decode_tps, m.aggregate_tps,
           (a.sent_ns - a.asked_ns) / 1e9 + m.ttft_ms / 1e3 AS first_token_s, m.user_latency_ms / 1e3 AS end_s
    FROM attempt_metrics m JOIN attempts a ON a.attempt_id = m.attempt_id
    WHERE m.parent_id IS NULL ORDER BY m.started_at_utc
"""


async def ask(url: str) -> None:
    visitor = Visitor(url)
    try:
        await visitor.open()
        turn_id = await visitor.send(PROMPT)
        async for _ in visitor.follow(turn_id):
            pass
    finally:
        await visitor.close()


def model_of(app: subprocess.Popen[bytes]) -> psutil.Process:
    """The app's child with the model, once it listens."""
    while app.poll() is None:
        for child in psutil.Process(app.pid).children():
            with contextlib.suppress(psutil.Error):
                if child.net_connections("tcp"):
                    return child
        time.sleep(0.05)
    raise RuntimeError("the app ended before the model was ready")


def first_turn() -> list[dict[str, Any]]:
    """The lanes' rows after the first turn of an app of its own, and last what the turn took of the child's time."""
    with tempfile.TemporaryDirectory() as folder:
        port, db = free_port(), Path(folder) / "log.sqlite3"
        arguments = ["app.py", "--port", str(port), "--db", str(db), "--no-browser"]
        with process(arguments, subprocess.DEVNULL, PYTHONWARNINGS="ignore", **NO_SERVERS) as child:
            url = f"http://127.0.0.1:{port}"
            wait_for_http(url, child)
            model = model_of(child)
            before = cpu_seconds([model])
            asyncio.run(ask(url))
            used_s = cpu_seconds([model]) - before
        with contextlib.closing(sqlite3.connect(db)) as log:
            log.row_factory = sqlite3.Row
            rows = [dict(row) for row in log.execute(ROWS)]
    tokens = sum(row["output_tokens"] or 0 for row in rows)
    return [*rows, {"lane": "all", "output_tokens": tokens, "child_cpu_s": used_s, "tokens_per_cpu_s": tokens / used_s}]


def bare_loop(seconds: float) -> tuple[float, float]:
    """Tokens per second and per CPU second of a bare llama.cpp server with these weights, one answer at a time."""
    key = secrets.token_urlsafe(8)
    config: dict[str, str | int] = {"model": str(WeightsStore().ensure(lambda done, total: None)), "alias": "bare"}
    config |= {"api_key": key, "slots": 1, "context_tokens": 2048, "threads": threads()}
    command = [sys.executable, "-m", "kimi_ui.providers.embedded.child", str(os.getpid())]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
    assert child.stdin
    assert child.stdout
    try:
        child.stdin.write(json.dumps(config).encode() + b"\n")
        child.stdin.flush()
        url = json.loads(child.stdout.readline())["url"]
        body = json.dumps({"prompt": PROMPT, "n_predict": 64, "ignore_eos": True}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        before, began, tokens = cpu_seconds([psutil.Process(child.pid)]), time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            with opener.open(urllib.request.Request(f"{url}/completion", body, headers)) as answer:
                tokens += json.load(answer)["tokens_predicted"]
        used_s = cpu_seconds([psutil.Process(child.pid)]) - before
        return tokens / (time.perf_counter() - began), tokens / used_s
    finally:
        child.kill()
        child.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    for _ in range(parser.parse_args().runs):
        per_s, per_cpu_s = bare_loop(8)
        rows = [{"peer": "bare llama.cpp loop", "tokens_per_s": per_s, "tokens_per_cpu_s": per_cpu_s}, *first_turn()]
        for row in rows:
            rounded = {name: round(value, 2) if isinstance(value, float) else value for name, value in row.items()}
            report("first_run", **rounded, load=round(os.getloadavg()[0], 1))


if __name__ == "__main__":
    main()
