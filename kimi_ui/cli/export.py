"""``export``: write a turn or a conversation to a file: HTML with the replay, Markdown or JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..core.blind import is_blind
from ..core.title import title_of
from .common import CommandError, add_common, settings_of

FORMATS = ("html", "md", "json")


def add(commands: Any) -> None:
    command = commands.add_parser("export", help="write a turn or a conversation to a file")
    command.add_argument("id", metavar="ID", help="a turn's or a conversation's id")
    command.add_argument("--format", choices=FORMATS, default="html", help="html includes the replay (the default)")
    command.add_argument("--no-reasoning", dest="reasoning", action="store_false", help="omit the reasoning")
    command.add_argument("-o", "--output", metavar="FILE", help="the file to write; - is standard output")
    add_common(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..log.conversations import head_of
    from ..view.export import export
    from .open_app import log_reader

    settings = settings_of(options)
    reader = log_reader(settings)
    turn = reader.turn(options.id)
    turns = [turn] if turn else reader.conversation(options.id)
    if not turns:
        raise CommandError(f"There is no turn or conversation {options.id} in {settings.db}; check the id, or --db.")
    if any(is_blind(each) for each in turns):
        raise CommandError("One of its turns is blind and not voted on yet; vote on the page first.")
    head = None if turn else head_of(reader, options.id)
    made = export(turns, head.title if head else title_of(turns[0].prompt), options.format, reasoning=options.reasoning)
    if options.output == "-":
        sys.stdout.buffer.write(made.data)
        return 0
    path = Path(options.output or made.name)
    try:
        path.write_bytes(made.data)
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); choose another place with -o.") from None
    print(path)
    return 0
