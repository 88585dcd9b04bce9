"""``stats``: the figures of the Stats tab in the terminal, per lane and with confidence intervals."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from .common import CommandError, add_common, settings_of

if TYPE_CHECKING:
    from ..stats.sample import Filters


def add(commands: Any) -> None:
    command = commands.add_parser(
        "stats",
        help="show statistics of each lane from the log",
        description="Medians with 95 % intervals over the log's attempts; differences are paired by prompt.",
    )
    add_common(command)
    for one, metavar in (("lane", "ID"), ("model", "NAME"), ("provider", "NAME")):
        help_text = f"only this {one}; may be given several times"
        command.add_argument(f"--{one}", metavar=metavar, action="append", default=[], help=help_text)
    command.add_argument("--days", metavar="N", type=float, help="only the last N days")
    command.add_argument("--conversation", metavar="ID", default="", help="only this conversation")
    command.add_argument("--chars-from", metavar="N", type=int, help="only prompts of N characters and more")
    command.add_argument("--chars-to", metavar="N", type=int, help="only prompts of fewer than N characters")
    command.add_argument("--kind", choices=("chat", "bench"), default="", help="only chats, or only benchmark runs")
    command.add_argument("--start", choices=("cold", "warm"), default="", help="only where the model was (not) loaded")
    command.add_argument(
        "--include",
        choices=("superseded", "reaggregated", "suspect", "cold", "wide"),
        action="append",
        default=[],
        help="include retried lanes, heavy answers that were aggregated again, suspect attempts, cold starts"
        " or values with a wide error bound;"
        " may be given several times",
    )
    command.add_argument("--json", action="store_true", help="one JSON object; times in ms, rates in tokens/s")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..stats import sample, summary
    from ..stats.terminal import Report
    from .open_app import log_reader

    settings = settings_of(options)
    filters = _filters(options)
    found = sample.load(log_reader(settings, must_exist=bool(options.db)), filters)
    if options.json:
        print(json.dumps(summary.as_dict(found)))
    else:
        Console(file=sys.stdout, highlight=False).print(Report(found, filtered=filters != sample.Filters()))
    return 0


def _filters(options: argparse.Namespace) -> Filters:
    from ..stats.sample import Filters, since

    try:
        since_utc = since(options.days)
    except ValueError as error:
        raise CommandError(f"--days is {error}.") from None
    return Filters(
        lanes=tuple(options.lane),
        models=tuple(options.model),
        providers=tuple(options.provider),
        since_utc=since_utc,
        prompt_chars_from=options.chars_from,
        prompt_chars_to=options.chars_to,
        conversation_id=options.conversation,
        kind=options.kind,
        start=options.start,
        include=frozenset(options.include),
    )
