"""``bench export``: a run as a table, as JSON lines, or as logs of Inspect."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import CommandError, add_common, settings_of

if TYPE_CHECKING:
    from ..bench.results import Run
    from ..log.reader import LogReader


RUN = "a run of `bench runs`, the beginning of its id, or last"


def add(parts: Any) -> None:
    command = parts.add_parser(
        "export",
        help="write a run as CSV, JSON lines or Inspect logs",
        description="Write a run for other programs. Several formats at once are possible; - is standard output.",
    )
    command.add_argument("id", metavar="RUN", help=RUN)
    command.add_argument("--csv", metavar="FILE", help="a row a sample, with every figure")
    command.add_argument("--jsonl", metavar="FILE", help="a JSON object a sample, with prompt, reasoning and answer")
    command.add_argument("--inspect", metavar="DIR", help="a log a lane, for `inspect view DIR`")
    add_common(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..bench.export import csv_text, json_lines
    from ..bench.inspect_log import write_logs

    if not (options.csv or options.jsonl or options.inspect):
        raise CommandError("Say what to write: --csv FILE, --jsonl FILE or --inspect DIR.")
    reader, found = run_of(options, options.id)
    if options.csv:
        _write(options.csv, [csv_text(found).encode()])
    if options.jsonl:
        _write(options.jsonl, json_lines(found, reader))
    if options.inspect:
        for path in write_logs(found, reader, Path(options.inspect)):
            print(path)
    return 0


def run_of(options: argparse.Namespace, name: str) -> tuple[LogReader, Run]:
    """The log, and the run of this ``name`` (see ``RUN``). Raises ``CommandError``."""
    from ..bench import records
    from .open_app import log_reader

    reader = log_reader(settings_of(options))
    try:
        return reader, records.load(reader, records.find(reader, name))
    except records.NoSuchRun as error:
        raise CommandError(str(error)) from None


def _write(name: str, pieces: Iterable[bytes]) -> None:
    if name == "-":
        sys.stdout.buffer.writelines(pieces)
        return
    with Path(name).open("wb") as file:
        file.writelines(pieces)
    print(name)
