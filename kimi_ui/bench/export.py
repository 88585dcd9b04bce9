"""A run as files for other programs: a table (CSV) and JSON lines; ``inspect_log`` writes the logs of Inspect.

Rows and lines are samples in the run's order; an unknown value is empty in CSV and null in JSON, never 0. Names end
with their unit: ``_ms`` milliseconds, ``_tps`` tokens per second, ``_usd``, ``_tokens``. The figures are those of the
view ``attempt_metrics``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

import orjson

from ..log.reader import LogReader
from ..stats.export import harmless
from .results import Run, RunLane, Sample
from .texts import texts_of

_OF_RUN = ("run_id", "suite_version", "seed", "lane_label", "model", "provider", "config_sha", "stand_in")
_OF_SAMPLE = tuple(field.name for field in fields(Sample) if field.name != "trajectories")
_OF_HEAVY = ("trajectories", "trajectories_right")
COLUMNS = (*_OF_RUN, *_OF_SAMPLE, *_OF_HEAVY)


def csv_text(run: Run) -> str:
    """A header and a row for each sample. Text that a spreadsheet reads as a formula is escaped.

    ``trajectories``: how many of heavy's were graded, ``trajectories_right``: how many of them are right; both empty
    for other lanes.
    """
    lanes = {lane.id: lane for lane in run.lanes}
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    for sample in run.samples:
        row = _of_run(run, lanes[sample.lane]) | {name: getattr(sample, name) for name in _OF_SAMPLE}
        if sample.trajectories:
            right = sum(one.outcome == "right" for one in sample.trajectories)
            row |= {"trajectories": len(sample.trajectories), "trajectories_right": right}
        writer.writerow({name: harmless(value) for name, value in row.items()})
    return buffer.getvalue()


def json_lines(run: Run, reader: LogReader) -> Iterator[bytes]:
    """One JSON object a sample, with its texts: ``prompt``, ``reasoning`` and ``answer``, of a conversation those of
    its last turn beside ``turns`` with all; each of ``trajectories`` has its own ``reasoning`` and ``answer``.
    """
    lanes = {lane.id: lane for lane in run.lanes}
    for sample in run.samples:
        texts = texts_of(reader, sample)
        row = _of_run(run, lanes[sample.lane]) | asdict(sample)
        last = texts.last
        row |= {"prompt": None, "reasoning": None, "answer": None} if last is None else last._asdict()
        if len(texts.exchanges) > 1:
            row["turns"] = [one._asdict() for one in texts.exchanges]
        for one in row["trajectories"]:
            said = texts.trajectories.get(one["attempt_id"])
            one |= {"reasoning": said.reasoning if said else None, "answer": said.answer if said else None}
        yield orjson.dumps(row) + b"\n"


def _of_run(run: Run, lane: RunLane) -> dict[str, Any]:
    values = (
        run.id,
        run.suite_version,
        run.seed,
        lane.label,
        lane.model,
        lane.provider,
        lane.config_sha,
        lane.stand_in,
    )
    return dict(zip(_OF_RUN, values, strict=True))
