"""``compare`` or ``ask``: send one prompt to all lanes and stream the turn to the terminal. It is logged like any."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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

POLL_S = 0.08  # refresh interval of the terminal; independent of all measurements
STOP_WAIT_S = 2.0
DONE = ("ok", "length")  # an answer cut at max_tokens is an answer


def add(commands: Any) -> None:
    command = commands.add_parser(
        "compare",
        aliases=["ask"],
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
    command.add_argument("--no-reasoning", dest="reasoning", action="store_false", help="leave the reasoning out")
    command.add_argument(
        "--quiet",
        action="store_true",
        help="print the answers alone: no panels, figures, reasoning or, for a single lane, name; errors go to stderr",
    )
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
        if options.quiet:
            follow(turn, opened.engine, lambda: None, interrupt)
        else:
            live = sys.stdout if sys.stdout.isatty() and not options.json else sys.stderr
            with CompareView(turn, live, reasoning=options.reasoning) as view:
                follow(turn, opened.engine, view.update, interrupt)
    rows = rows_of(turn, LogReader(settings.db), reasoning=options.reasoning)
    print_rows(turn, rows, as_json=options.json, quiet=options.quiet)
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


def rows_of(turn: TurnLog, reader: LogReader, reasoning: bool = True) -> list[dict[str, Any]]:
    """Every lane's result in order; the reasoning is None if unwanted. Measures a turn that is not in the log."""
    from ..log.store import LogError

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
        if not reasoning:
            row["reasoning"] = None
    return rows


def print_rows(turn: TurnLog, rows: Sequence[Mapping[str, Any]], as_json: bool = False, quiet: bool = False) -> None:
    """Print every lane's result. ``quiet``: the answers alone, headed by their lanes if there are several."""
    from .compare_view import block

    for info, row in zip(turn.lanes, rows, strict=True):
        if as_json:
            print(json.dumps(row))
        elif not quiet:
            print(block(info, row))
        else:
            answer = printable(row["answer"]).strip()
            if len(rows) > 1:
                print(f"== {printable(info.label)}\n{answer}\n")
            elif answer:
                print(answer)
            if row["error"]:
                complain(f"{info.label}: {row['error']}")


def follow(turn: TurnLog, engine: Engine, update: Callable[[], None], interrupt: Interrupt) -> None:
    """Call ``update`` until the turn is closed. An interrupt stops the turn and keeps the text so far."""
    while not turn.closed and not interrupt.noted:
        update()
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
