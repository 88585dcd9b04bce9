"""``log copy``: takes a whole log to another place, a file or a PostgreSQL database, and compares the two."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from ..config import read_place
from .common import CommandError, settings_of


def add(commands: Any) -> None:
    command = commands.add_parser("log", help="copy the log to another file or database")
    inner = command.add_subparsers(metavar="COMMAND", required=True)
    copy = inner.add_parser(
        "copy",
        help="copy a log to another place, and compare the two",
        description="Copies a log table by table and compares counts and checksums. Cut short, it goes on when it is "
        "begun again. End what writes to either log first.",
    )
    for name, help_text in (("source", "the log to copy"), ("target", "where to; an empty place, or a copy begun")):
        copy.add_argument(
            name, metavar=name.upper(), help=f"{help_text}: a file, or postgresql://user:password@host:port/name"
        )
    copy.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..log.copying import copy_tables, strangers, sums
    from ..log.places import store_at
    from ..log.reader import LogReader
    from ..log.store import CannotWrite
    from .open_app import log_reader

    settings = settings_of(options)
    source, target = map(read_place, (options.source, options.target))
    if source == target:
        raise CommandError("Both places are the same; name another one to copy to.")
    reader = log_reader(replace(settings, db=source), must_exist=True)
    store = store_at(target, "log-copy", replaces_unusable=False)
    store.open()
    try:
        there = LogReader(target)
        with reader.snapshot() as log:
            with there.snapshot() as copy:
                if n := strangers(log, copy):
                    raise CommandError(f"{target} holds {n} conversations of another log; choose an empty place.")
            for one in copy_tables(log, there.rows, store.change):
                if one.n_written or one.n_equal:
                    print(f"{one.name}: {one.n_written:,} written, {one.n_equal:,} were there")
            store.rebuild()
            with there.snapshot() as copy:
                expected, found = sums(log), sums(copy)
    except CannotWrite as error:
        raise CommandError(f"{target} cannot be written ({error}). Begin again: it goes on from here.") from None
    finally:
        store.close()
    different = [name for name in expected if expected[name] != found[name]]
    for name in different:
        print(
            f"{name}: {expected[name].n:,} rows, {found[name].n:,} in the copy, which are not the same", file=sys.stderr
        )
    if different:
        return 1
    rows = sum(one.n for one in expected.values())
    print(f"The copy is equal: {rows:,} rows in {len(expected)} tables, by counts and checksums.")
    return 0
