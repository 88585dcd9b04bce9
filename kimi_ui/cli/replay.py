"""``replay``: replay a logged turn in the terminal, in real time or faster, with the view of ``compare``."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.blind import is_blind
from ..core.portable import NotAnExport, import_turns, read_document
from ..core.turn import TurnLog
from .common import CommandError, add_common, printable, settings_of
from .compare import print_rows, rows_of
from .interrupt import INTERRUPTED, Interrupt, interruptible

if TYPE_CHECKING:
    from ..log.reader import LogReader

FRAME_S = 0.08


def add(commands: Any) -> None:
    command = commands.add_parser("replay", help="watch a logged turn again in the terminal")
    command.add_argument(
        "turn", metavar="TURN_ID", nargs="?", help="the turn's id, or a JSON export; the newest turn if left out"
    )
    command.add_argument("--speed", type=float, default=1.0, help="times the original speed; 0 shows the end at once")
    add_common(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from .open_app import log_reader

    if not 0 <= options.speed <= 1000:
        raise CommandError("--speed must be between 0 (show the end at once) and 1000.")
    reader = log_reader(settings_of(options))
    is_file = options.turn is not None and Path(options.turn).is_file()
    for turn in exported_turns(Path(options.turn)) if is_file else [found_turn(reader, options.turn)]:
        if options.speed and sys.stdout.isatty():
            with interruptible() as interrupt:
                play(turn, options.speed, interrupt)
            if interrupt.noted:
                return INTERRUPTED
        print(f"> {printable(' '.join(turn.prompt.split())[:500])}\n")
        print_rows(turn, rows_of(turn, reader))
    return 0


def exported_turns(path: Path) -> list[TurnLog]:
    """The turns of a JSON export, in order. Raises ``CommandError``."""
    try:
        return import_turns(read_document(path.read_bytes()))
    except NotAnExport as error:
        raise CommandError(f"{path} cannot be replayed: {error} Make one with export --format json.") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}). Check the path.") from error


def found_turn(reader: LogReader, turn_id: str | None) -> TurnLog:
    """The turn with this id, or the newest one. Raises ``CommandError``, also for a blind turn without a vote."""
    if turn_id is None:
        heads = reader.turns(limit=1)
        if not heads:
            raise CommandError("The log holds no turn yet; send one with compare or on the page.")
        turn_id = heads[0].turn_id
    turn = reader.turn(turn_id)
    if turn is None:
        raise CommandError(f"There is no turn {turn_id} in this log; compare --json and the page's address name them.")
    if is_blind(turn):
        raise CommandError("This turn is blind and not voted on yet; vote on the page first.")
    return turn


def play(turn: TurnLog, speed: float, interrupt: Interrupt) -> None:
    """Show the turn's entries at their play times, ``speed`` times as fast. An interrupt ends it."""
    from ..core.replay import moments
    from .compare_view import CompareView

    played = replace(turn, entries=[], closed=False, t0_ns=0)
    started = time.perf_counter()

    def play_ns() -> int:
        return int((time.perf_counter() - started) * speed * 1e9)

    with CompareView(played, sys.stdout, clock_ns=play_ns) as view:
        for moment in moments(turn):
            while not interrupt.noted and (left_s := (moment.play_ns - play_ns()) / 1e9 / speed) > 0:
                time.sleep(min(left_s, FRAME_S))
                view.update()
            if interrupt.noted:
                return
            played.entries.extend(turn.entries[len(played.entries) : moment.until])
        view.update()
