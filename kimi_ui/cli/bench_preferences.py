"""``bench vote`` and ``bench judge``: which of two answers of a run is better, by a person or by a model."""

from __future__ import annotations

import argparse
import json
import random
import sys
from typing import TYPE_CHECKING, Any

from ..core.vote import ALL_BAD, LANE, TIE
from .bench_export import RUN, run_of
from .common import CommandError, add_common, complain, price_words, printable, settings_of
from .interrupt import INTERRUPTED, interruptible

if TYPE_CHECKING:
    from ..bench.judge import Progress
    from ..bench.preferences import Pair, Preferences
    from ..bench.results import Run
    from ..log.reader import LogReader
    from ..log.records import Op

KEYS = "a, b, t (tie), n (neither is good), s (skip), q (quit)"


def add(parts: Any) -> None:
    vote = parts.add_parser(
        "vote",
        help="vote blind on pairs of a run's creative answers",
        description="Show two answers to the same case in random order, without names, and ask which is better.",
    )
    vote.add_argument("id", metavar="RUN", help=RUN)
    add_common(vote)
    vote.set_defaults(run=run_vote)

    judge = parts.add_parser(
        "judge",
        help="let a model judge pairs of a run's creative answers",
        description="A model compares the answers, each pair in both orders; what it says stays apart from verdicts.",
    )
    judge.add_argument("id", metavar="RUN", help=RUN)
    judge.add_argument("--judge", metavar="LANE", required=True, help="the lane that judges")
    judge.add_argument("--budget", type=float, metavar="USD", help="send nothing that might cost more than this in all")
    judge.add_argument("--json", action="store_true", help="print the run's preferences as one JSON object")
    add_common(judge)
    judge.set_defaults(run=run_judge)


def run_vote(options: argparse.Namespace) -> int:
    from ..bench.preferences import without_vote
    from ..log.writer import LogWriter

    reader, run = run_of(options, options.id)
    pairs = without_vote(reader, run)
    if not pairs:
        print("No pair of answers waits for a vote.")
        return 0
    random.SystemRandom().shuffle(pairs)
    writer = LogWriter(settings_of(options).db)
    writer.start()
    try:
        for number, pair in enumerate(pairs, 1):
            print(f"\nPair {number} of {len(pairs)}")
            choice = ask(pair, reader)
            if choice == "q":
                break
            if choice == "s":
                continue
            writer.write([vote_for(pair, choice)]).result()
    finally:
        writer.close()
    _print_votes(reader, run)
    return 0


def ask(pair: Pair, reader: LogReader) -> str:
    """Show the pair in random order and read the choice: "first", "second", t, n, s or q."""
    from ..bench.texts import texts_of

    order = random.SystemRandom().sample(["first", "second"], 2)
    texts = {"first": texts_of(reader, pair.first).last, "second": texts_of(reader, pair.second).last}
    one = texts["first"]
    print(f"\n{printable(one.prompt) if one else ''}")
    for letter, place in zip("AB", order, strict=True):
        said = texts[place]
        print(f"\n── {letter} {'─' * 60}\n{printable(said.answer) if said else ''}")
    while True:
        try:
            key = input(f"\nWhich is better? {KEYS}: ").strip().lower()
        except EOFError:
            return "q"
        if key in ("a", "b"):
            return order["ab".index(key)]
        if key in ("t", "n", "s", "q"):
            return key
        print(f"Answer with one of: {KEYS}.")


def vote_for(pair: Pair, choice: str) -> Op:
    """The vote for what ``ask`` returned, as a row."""
    from ..bench.preferences import blind_vote

    lane = {"first": pair.first.lane, "second": pair.second.lane}.get(choice, "")
    return blind_vote(pair, {"t": TIE, "n": ALL_BAD}.get(choice, LANE), lane)


def run_judge(options: argparse.Namespace) -> int:
    from ..bench import judge as judging
    from .open_app import session

    reader, run = run_of(options, options.id)
    with interruptible() as interrupt, session(settings_of(options)) as opened:
        opened.roster.settle()
        spec = next((spec for spec in opened.engine.specs if spec.id == options.judge), None)
        if spec is None or spec.of:
            plain = ", ".join(one.id for one in opened.engine.specs if not one.of)
            raise CommandError(f"{printable(options.judge)} is not a plain lane; choose one of {plain} with --judge.")
        if options.budget is not None and spec.price is None:
            raise CommandError(
                f"The price of {spec.id} is not known; give it in the lanes file, or leave out --budget."
            )
        todo = judging.tasks(run, reader, spec)
        if todo:
            most, tokens = sum(task.usd or 0.0 for task in todo), sum(task.tokens for task in todo)
            cost = f"{price_words(spec.price)}{f': ${most:.4f} at most' if most else ''}"
            complain(f"{spec.label} judges in {len(todo)} requests with {tokens:,} tokens in all, {cost}.")
        done = judging.judge(
            run,
            todo,
            spec,
            opened.engine,
            opened.turns,
            budget_usd=options.budget,
            is_stopped=lambda: interrupt.noted,
            tell=_tell,
        )
    _print_judges(reader, run, as_json=options.json)
    if interrupt.noted:
        return INTERRUPTED
    if done.stopped == "budget":
        complain(f"The budget allows no further request: {done.done} of {done.n} are judged. Raise --budget to go on.")
    elif done.failed:
        complain(f"{done.failed} requests failed; run the command again to repeat them.")
    return 0 if done.done == done.n else 1


def _tell(progress: Progress) -> None:
    if sys.stderr.isatty():
        spent = "" if progress.usd is None else f", ${progress.usd:.4f}"
        print(f"\r{progress.done + progress.failed} of {progress.n}{spent}  ", end="", file=sys.stderr, flush=True)


def _print_votes(reader: LogReader, run: Run) -> None:
    from ..bench.preferences import read_preferences

    found = read_preferences(reader, run)
    print(f"\n{found.voted} of {found.pairs} pairs have a vote.")
    for sentence in found.sentences(run.lanes):
        print(printable(sentence))


def _print_judges(reader: LogReader, run: Run, as_json: bool) -> None:
    from ..bench.preferences import read_preferences

    found: Preferences = read_preferences(reader, run)
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
        return
    for sentence in found.sentences(run.lanes):
        print(printable(sentence))
