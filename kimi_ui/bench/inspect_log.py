"""A run as logs of Inspect (inspect.aisi.org.uk), which ``inspect view`` and its Python API open: one ``.eval`` a lane.

The format (version 2, read back with inspect-ai 0.3.285 by ``tests/inspect_check.py``) is a zip of JSON:
``header.json``, ``summaries.json``, ``_journal/start.json`` and ``samples/<case>_epoch_<n>.json``. Only right and
wrong answers have a score (C, I). An answer that was cut has the limit it met, every other one without a score an
error with the reason. What Inspect has no place for (first token, pace, heavy's trajectories, the grader's version) is
the sample's metadata. A number that is not known is null there, and usage without both counts is left out, because
Inspect reads a missing count as 0. Cases that were not run are not in a log.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .. import __version__
from ..log.reader import LogReader
from . import suite
from .results import Run, RunLane, Sample
from .texts import Texts, texts_of

TASK = "kimi-ui-bench"
SCORER = "kimi_ui"
VALUES = {"right": "C", "wrong": "I"}
NOT_RUN = "not-run"
STATUS = {"running": "started", "done": "success", "decided": "success"}  # every other state: cancelled
_IN_OTHER_PLACES = ("case", "epoch", "started_at_utc")
_SUMMARISED = ("scores", "model_usage", "started_at", "completed_at", "total_time")
SHORT = 1000  # characters of a text in a summary


def write_logs(run: Run, reader: LogReader, folder: Path) -> list[Path]:
    """Write a log for each lane into ``folder``, which is made if it is missing; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for lane in run.lanes:
        at = re.sub(r"[^0-9T]+", "-", run.started_at_utc[:19])
        path = folder / f"{at}_{TASK}_{run.id[:8]}-{re.sub(r'[^A-Za-z0-9.-]+', '-', lane.id)}.eval"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as log:
            for name, value in _entries(run, lane, reader):
                log.writestr(name, json.dumps(value, ensure_ascii=False, allow_nan=False))
        written.append(path)
    return written


def _entries(run: Run, lane: RunLane, reader: LogReader) -> Iterator[tuple[str, Any]]:
    """The files of a lane's log; samples one by one, because their texts are long."""
    header = _header(run, lane)
    yield "_journal/start.json", {name: header[name] for name in ("version", "eval", "plan")}
    summaries = []
    for sample in run.samples:
        if sample.lane == lane.id and sample.outcome != NOT_RUN:
            found = _sample(run, lane, sample, texts_of(reader, sample))
            yield f"samples/{sample.case}_epoch_{sample.epoch}.json", found
            summaries.append(_summary(found))
    yield "summaries.json", summaries
    yield "header.json", header


def _header(run: Run, lane: RunLane) -> dict[str, Any]:
    """The log without its samples."""
    samples = [one for one in run.samples if one.lane == lane.id]
    ran = [one for one in samples if one.outcome != NOT_RUN]
    scored = [one for one in ran if one.outcome in VALUES]
    metrics = {}
    if scored:  # no answer with a score: no accuracy, neither 0 nor NaN
        accuracy = sum(one.outcome == "right" for one in scored) / len(scored)
        metrics["accuracy"] = {"name": "accuracy", "value": accuracy, "params": {}}
    spec = {
        "eval_id": f"{run.id}-{lane.id}",
        "run_id": run.id,
        "created": run.started_at_utc,
        "task": TASK,
        "task_id": TASK,
        "task_version": run.suite_version,
        "task_args": {"seed": run.seed, "size": run.size},
        "dataset": {
            "name": TASK,
            "samples": len({one.case for one in samples}),
            "sample_ids": list(dict.fromkeys(one.case for one in samples)),
            "shuffled": False,
        },
        "model": _model(lane),
        "config": {"epochs": run.epochs, "fail_on_error": False, "continue_on_fail": True},
        "packages": {"kimi-ui": __version__},
        "metadata": {**asdict(lane), "state": run.state, "state_reason": run.state_reason},
    }
    score = {
        "name": SCORER,
        "scorer": SCORER,
        "params": {},
        "scored_samples": len(scored),
        "unscored_samples": len(ran) - len(scored),
        "metrics": metrics,
    }
    usage = [one for one in (_usage(sample) for sample in ran) if one]
    return {
        "version": 2,
        "status": STATUS.get(run.state, "cancelled"),
        "eval": spec,
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}], "config": {}},
        "results": {"total_samples": len(samples), "completed_samples": len(ran), "scores": [score]},
        "stats": {
            "started_at": run.started_at_utc,
            "completed_at": run.ended_at_utc or "",
            "model_usage": {_model(lane): _added(usage)} if usage else {},
        },
    }


def _sample(run: Run, lane: RunLane, sample: Sample, texts: Texts) -> dict[str, Any]:
    case = suite.case(sample.case, run.seed) if run.suite_version == suite.VERSION else None
    said = texts.last
    usage = _usage(sample)
    metadata = {name: value for name, value in asdict(sample).items() if name not in _IN_OTHER_PLACES}
    for one in metadata["trajectories"]:
        child = texts.trajectories.get(one["attempt_id"])
        one |= {"reasoning": child.reasoning if child else None, "answer": child.answer if child else None}
    found: dict[str, Any] = {
        "id": sample.case,
        "epoch": sample.epoch,
        "input": texts.exchanges[0].prompt if texts.exchanges else "",
        "target": case.reference if case else "",
        "messages": list(_messages(lane, texts)),
        "metadata": metadata,
        "uuid": sample.attempt_id or f"{run.id}-{lane.id}-{sample.case}-{sample.epoch}",
    }
    if said is not None:
        stop = {"length": "max_tokens", "content_filter": "content_filter"}.get(texts.finish_reason or "", "stop")
        choice = {"message": _answer(lane, said.reasoning, said.answer), "stop_reason": stop}
        found["output"] = {"model": lane.model, "choices": [choice], "completion": said.answer}
        if sample.e2e_ms is not None:
            found["output"]["time"] = sample.e2e_ms / 1000
    if usage:
        found["model_usage"] = {_model(lane): usage}
        if said is not None:
            found["output"]["usage"] = usage
    if sample.started_at_utc:
        found["started_at"] = sample.started_at_utc
        if sample.e2e_ms is not None:
            ended = datetime.fromisoformat(sample.started_at_utc) + timedelta(milliseconds=sample.e2e_ms)
            found |= {"completed_at": ended.isoformat(), "total_time": sample.e2e_ms / 1000}
    if sample.outcome in VALUES:
        found["scores"] = {
            SCORER: {
                "value": VALUES[sample.outcome],
                "answer": sample.extracted,
                "explanation": sample.reason,
                "metadata": {"grader": sample.grader, "version": sample.grader_version},
            }
        }
    elif sample.outcome == "truncated" and (limit := texts.max_tokens or sample.output_tokens):
        found["limit"] = {"type": "token", "limit": limit}
    else:
        found["error"] = {"message": f"{sample.outcome}: {sample.reason}", "traceback": "", "traceback_ansi": ""}
    return found


def _messages(lane: RunLane, texts: Texts) -> Iterator[dict[str, Any]]:
    if texts.system:
        yield {"role": "system", "content": texts.system}
    for one in texts.exchanges:
        yield {"role": "user", "content": one.prompt, "source": "input"}
        if one.reasoning or one.answer:
            yield _answer(lane, one.reasoning, one.answer)


def _answer(lane: RunLane, reasoning: str, answer: str) -> dict[str, Any]:
    content: str | list[dict[str, Any]] = answer
    if reasoning:
        content = [{"type": "reasoning", "reasoning": reasoning}, {"type": "text", "text": answer}]
    return {"role": "assistant", "content": content, "source": "generate", "model": lane.model}


def _model(lane: RunLane) -> str:
    """Inspect's name of a model: its provider, then its own name."""
    return f"{lane.provider}/{lane.model}"


def _usage(sample: Sample) -> dict[str, Any] | None:
    if sample.input_tokens is None or sample.output_tokens is None:
        return None
    return {
        "input_tokens": sample.input_tokens,
        "output_tokens": sample.output_tokens,
        "total_tokens": sample.input_tokens + sample.output_tokens,
        "reasoning_tokens": sample.reasoning_tokens,
        "total_cost": sample.cost_usd,
    }


def _added(usage: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum; of a figure that one of them does not know, None."""
    return {
        name: None if any(one[name] is None for one in usage) else sum(one[name] for one in usage) for name in usage[0]
    }


def _summary(sample: dict[str, Any]) -> dict[str, Any]:
    """What the list of samples shows: without messages and long texts."""
    metadata = {name: value for name, value in sample["metadata"].items() if name != "trajectories"}
    found = {
        **{name: sample[name] for name in ("id", "epoch", "uuid")},
        **{name: sample[name][:SHORT] for name in ("input", "target")},
        "metadata": metadata,
        **{name: sample[name] for name in _SUMMARISED if name in sample},
        "completed": True,
        "message_count": len(sample["messages"]),
    }
    if "error" in sample:
        found["error"] = sample["error"]["message"]
    if "limit" in sample:
        found["limit"] = sample["limit"]["type"]
    return found
