"""``compare``: send one prompt to all lanes and stream the turn to the terminal. It is logged like any other turn."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.heavy.options import OptionError, read_options
from ..core.heavy.pool import report
from ..core.lane import LaneChoice
from ..core.portable import metrics_of
from ..core.turn import TurnFold, TurnLog
from ..tokenizers import counter
from .common import CommandError, add_common, complain, printable, sentence_of, settings_of
from .interrupt import INTERRUPTED, Interrupt, interruptible

if TYPE_CHECKING:
    from ..engine import Engine
    from ..log.reader import LogReader
    from .compare_view import CompareView

POLL_S = 0.08  # refresh interval of the terminal; independent of all measurements
STOP_WAIT_S = 2.0
DONE = ("ok", "length")  # an answer cut at max_tokens is an answer


def add(commands: Any) -> None:
    command = commands.add_parser(
        "compare",
        help="send a prompt to all lanes and show them side by side in the terminal",
        description="Exit code 0 if every lane gave an answer, 1 if any did not.",
    )
    command.add_argument("prompt", metavar="PROMPT", help="the prompt; - reads it from standard input")
    add_common(command)
    command.add_argument("--lane", metavar="ID", action="append", help="only this lane; may be given several times")
    command.add_argument("--system", metavar="TEXT", default="", help="a system prompt for all lanes")
    command.add_argument(
        "--heavy",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of all heavy lanes for this prompt, such as strategy=pick, preset=fast or width=4; "
        "may be given several times",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object per lane, nothing else, to stdout")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..engine import UnknownLane
    from ..log.reader import LogReader
    from .compare_view import CompareView
    from .open_app import session

    prompt = prompt_of(options.prompt)
    if not prompt.strip():
        raise CommandError("The prompt is empty; give one in quotes, or - and pipe it in.")
    heavy = heavy_options(options.heavy)
    settings = settings_of(options)
    with interruptible() as interrupt, session(settings) as opened:
        if opened.turns.writer.problem:
            complain(opened.turns.writer.problem)
        opened.roster.settle()
        if interrupt.noted:
            return INTERRUPTED
        choices = {spec.id: LaneChoice(heavy=heavy) for spec in opened.engine.specs if spec.of}
        try:
            turn = opened.engine.send(prompt, lanes=options.lane, system=options.system, choices=choices)
        except UnknownLane as error:
            raise CommandError(f"{error} Choose one of these with --lane.") from None
        live = sys.stdout if sys.stdout.isatty() and not options.json else sys.stderr
        with CompareView(turn, live) as view:
            follow(turn, opened.engine, view, interrupt)
    rows = print_result(turn, LogReader(settings.db), as_json=options.json)
    if interrupt.noted:
        return INTERRUPTED
    return 0 if all(row["status"] in DONE for row in rows) else 1


def heavy_options(given: list[str]) -> dict[str, Any]:
    """The options of ``--heavy KEY=VALUE``; a value is JSON where that reads it, else text. Raises ``CommandError``."""
    values: dict[str, Any] = {}
    for one in given:
        key, is_there, value = one.partition("=")
        if not is_there or not value.strip():
            raise CommandError(f"--heavy {one} has no value; write it like --heavy strategy=pick.")
        try:
            values[key.strip()] = json.loads(value)
        except ValueError:
            values[key.strip()] = value.strip()
    try:
        return read_options(values)
    except OptionError as error:
        raise CommandError(f"{error}") from None


def prompt_of(given: str) -> str:
    """The prompt, from standard input for ``-``. Raises ``CommandError`` for one that is not UTF-8."""
    try:
        prompt = sys.stdin.read() if given == "-" else given
        prompt.encode()  # invalid UTF-8 was read as lone surrogates, which no model's server accepts
    except UnicodeError:
        raise CommandError("The prompt is not UTF-8; convert it first, for example with iconv.") from None
    return prompt


def print_result(turn: TurnLog, reader: LogReader, as_json: bool = False) -> list[dict[str, Any]]:
    """Print every lane's result in order and return the rows. A turn that is not in the log is measured here."""
    from ..log.store import LogError
    from .compare_view import block

    fold = turn.fold()
    newest = [attempt_id for info in turn.lanes if (attempt_id := fold.current(info.id))]
    try:
        metrics = {row["attempt_id"]: row for row in reader.attempt_metrics(newest)} or metrics_of(turn, counter)
    except LogError as error:
        complain(f"{error.message} The figures below were computed without it.")
        metrics = metrics_of(turn, counter)
    rows = [as_row(fold, info.id, metrics) for info in turn.lanes]
    for row in rows:
        if row["attempt_id"] and fold.attempts[row["attempt_id"]].role == "heavy":
            row["heavy"] = report(fold, row["attempt_id"], turn.prompt)
    for info, row in zip(turn.lanes, rows, strict=True):
        print(json.dumps(row) if as_json else block(info, row))
    return rows


def follow(turn: TurnLog, engine: Engine, view: CompareView, interrupt: Interrupt) -> None:
    """Show the turn until it is closed. An interrupt stops it and keeps the text so far."""
    while not turn.closed and not interrupt.noted:
        view.update()
        time.sleep(POLL_S)
    if not interrupt.noted:
        return
    engine.stop(turn.turn_id)
    deadline = time.monotonic() + STOP_WAIT_S
    while not turn.closed and time.monotonic() < deadline:
        time.sleep(POLL_S)


def as_row(fold: TurnFold, lane: str, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A lane's result: its texts, its error in a sentence, and every column of ``attempt_metrics``.

    A lane interrupted before its request was sent has no attempt: status ``interrupted``, the rest None.
    """
    attempt_id = fold.current(lane)
    if attempt_id is None:
        return {"lane": lane, "status": "interrupted", "answer": "", "reasoning": "", "error": None, "attempt_id": None}
    state = fold.folds[attempt_id]
    own = {
        "lane": lane,
        "status": state.status,
        "answer": state.answer,
        "reasoning": state.reasoning,
        "error": printable(sentence_of(state.failure)) if state.failure else None,
        "error_detail": printable(state.failure.detail) if state.failure else "",
        "attempt_id": attempt_id,
    }
    return {**own, **metrics.get(attempt_id, {}), **own}
