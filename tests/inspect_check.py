"""Reads the exported logs of Inspect back with inspect-ai itself, in a virtual environment of its own (80 packages).

    bash tests/run.sh --inspect

Not part of the default run, because of what it installs. Prints each log as Inspect sees it; the exit code is 0 if
samples, scores and usage are ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from kimi_ui.bench.inspect_log import VALUES, write_logs

from .support.exported_run import make

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-inspect"
WANTED = "inspect-ai==0.3.285"
READ = """
import json, sys
from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries
found = []
for path in sys.argv[1:]:
    log = read_eval_log(path)
    header = read_eval_log(path, header_only=True)
    found.append({
        "status": log.status, "model": log.eval.model, "metadata": log.eval.metadata,
        "accuracy": {name: one.value for score in header.results.scores for name, one in score.metrics.items()},
        "usage": {name: one.output_tokens for name, one in header.stats.model_usage.items()},
        "summaries": len(read_eval_log_sample_summaries(path)),
        "samples": [{
            "id": one.id, "epoch": one.epoch, "messages": len(one.messages), "answer": one.output.completion,
            "score": {name: score.value for name, score in (one.scores or {}).items()},
            "limit": one.limit.type if one.limit else None, "error": one.error.message if one.error else None,
            "usage": {name: usage.output_tokens for name, usage in one.model_usage.items()},
            "trajectories": len(one.metadata["trajectories"]),
        } for one in log.samples],
    })
print(json.dumps(found))
"""


def python() -> Path:
    """The interpreter that has inspect-ai."""
    program = VENV / "bin" / "python"
    if not program.exists():
        venv.create(VENV, with_pip=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", WANTED]
    subprocess.run([program, *install], check=True)
    return program


def main() -> int:
    program = python()
    with tempfile.TemporaryDirectory() as folder:
        run, reader = make(Path(folder) / "log.sqlite3")
        paths = write_logs(run, reader, Path(folder) / "logs")
        done = subprocess.run([program, "-c", READ, *paths], check=True, capture_output=True, text=True)
    wrong = 0
    for lane, log in zip(run.lanes, json.loads(done.stdout), strict=True):
        print(json.dumps(log, indent=1))
        ours: list[dict[str, Any]] = [
            {
                "id": one.case,
                "epoch": one.epoch,
                "score": VALUES.get(one.outcome),
                "output": one.output_tokens if one.input_tokens is not None else None,
            }
            for one in run.samples
            if one.lane == lane.id and one.outcome != "not-run"
        ]
        theirs = [
            {
                "id": one["id"],
                "epoch": one["epoch"],
                "score": next(iter(one["score"].values()), None),
                "output": next(iter(one["usage"].values()), None),
            }
            for one in log["samples"]
        ]
        same = sorted(ours, key=str) == sorted(theirs, key=str) and log["summaries"] == len(ours)
        print(f"{lane.id}: {'read back as written' if same else f'NOT as written: {ours}'}")
        wrong += not same
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
