"""``stats``: what the log says of each lane, with intervals; the Stats tab's figures in the terminal."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from .common import CommandError, add_common, settings_of


def add(commands: Any) -> None:
    command = commands.add_parser(
        "stats",
        help="what the log says of each lane",
        description="Medians with 95 % intervals over the log's attempts; differences are paired by prompt.",
    )
    add_common(command)
    command.add_argument("--lane", metavar="ID", action="append", default=[], help="only this lane; several times")
    command.add_argument("--days", metavar="N", type=float, help="only the last N days")
    command.add_argument("--json", action="store_true", help="one JSON object; times in ms, rates in tokens/s")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..stats import sample, summary
    from ..stats.terminal import Report
    from .session import log_reader

    if options.days is not None and not 0 < options.days <= sample.MAX_DAYS:
        raise CommandError(f"--days is a number of days above 0, at most {sample.MAX_DAYS}.")
    settings = settings_of(options)
    if options.db and not settings.db.exists():  # without --db there may be none yet, and that is no mistake
        raise CommandError(f"There is no log at {settings.db}; check --db.")
    since = datetime.now(UTC) - timedelta(days=options.days) if options.days else None
    filters = sample.Filters(
        lanes=tuple(options.lane), since_utc=since.isoformat(timespec="milliseconds") if since else ""
    )
    found = sample.load(log_reader(settings), filters)
    if options.json:
        print(json.dumps(summary.as_dict(found)))
    else:
        Console(file=sys.stdout, highlight=False).print(Report(found, filtered=filters != sample.Filters()))
    return 0
