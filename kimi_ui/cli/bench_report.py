"""``bench report``: what a run shows, as a file; ``bench compare``: two runs beside each other."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .bench_export import RUN, run_of
from .common import CommandError, add_common, printable

FORMATS = ("html", "md", "json")


def add(parts: Any) -> None:
    report = parts.add_parser(
        "report",
        help="write what a run shows as HTML, Markdown or JSON",
        description="The report of a run: verdicts in plain words, every figure with its range, and each case.",
    )
    report.add_argument("id", metavar="RUN", help=RUN)
    report.add_argument("--format", choices=FORMATS, default="html", help="html is one file (the default)")
    report.add_argument("-o", "--output", metavar="FILE", default="-", help="the file; - is standard output")
    add_common(report)
    report.set_defaults(run=run_report)

    compared = parts.add_parser(
        "compare",
        help="compare two runs",
        description="Lane by lane: case by case where suite version and seed are the same, otherwise by shares.",
    )
    compared.add_argument("first", metavar="RUN", help=RUN)
    compared.add_argument("second", metavar="RUN", help="the run to compare with it")
    compared.add_argument("--json", action="store_true", help="one JSON object")
    add_common(compared)
    compared.set_defaults(run=run_compare)


def run_report(options: argparse.Namespace) -> int:
    from ..bench.report import report_of

    to_terminal = options.output == "-" and sys.stdout.isatty()
    if to_terminal and options.format == "html":
        raise CommandError("HTML is not for the terminal; name a file with -o, or choose --format md.")
    text = report_of(*run_of(options, options.id), options.format)
    if options.output == "-":
        sys.stdout.write(printable(text) if to_terminal else text)
        return 0
    path = Path(options.output)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); choose another place with -o.") from None
    print(path)
    return 0


def run_compare(options: argparse.Namespace) -> int:
    from ..bench.comparison import compare

    found = compare(*(run_of(options, name)[1] for name in (options.first, options.second)))
    if options.json:
        print(json.dumps(found.as_dict(), ensure_ascii=False, allow_nan=False))
    else:
        print(printable("\n".join(found.lines())))
    return 0
