"""``bench`` without a part: run the suite over the lanes, or go on with a run; and ``bench runs``, the list of runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .common import CommandError, add_common, complain, printable, settings_of
from .interrupt import INTERRUPTED, interruptible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..bench.plan import Chosen
    from ..bench.records import Head, RunHead
    from ..bench.results import Sample
    from ..bench.runner import Progress
    from ..bench.sharing import Run
    from .open_app import OpenApp


def add_options(bench: argparse.ArgumentParser) -> None:
    """The options of a run. Not ``--seed``, which the parts have too."""
    size = bench.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", dest="size", action="store_const", const="quick", default="",
        help="20 cases, each once (unless --category or --case says which)",
    )  # fmt: skip
    size.add_argument("--full", dest="size", action="store_const", const="full", help="all 156 cases, three times each")
    bench.add_argument("--lane", metavar="ID", action="append", default=[], help="only this lane; may be repeated")
    bench.add_argument(
        "--category", metavar="C", action="append", default=[], help="only this category; may be repeated"
    )
    bench.add_argument("--case", metavar="ID", action="append", default=[], help="only this case; may be repeated")
    bench.add_argument("--epochs", metavar="N", type=int, help="how often each case is sent to each lane")
    bench.add_argument("--seed", type=int, metavar="S", help="seed of names and numbers instead of the suite's own")
    bench.add_argument("--budget", metavar="USD", help="send nothing that could make the run cost more")
    bench.add_argument(
        "--resume", metavar="RUN", help="go on with a run (the beginning of its id, or last) where it ended"
    )
    add_worker_options(bench)
    bench.add_argument(
        "--no-work", action="store_true",
        help="with KIMI_UI_BUS: leave all cases to other processes (`bench work`), and only show what they do",
    )  # fmt: skip
    bench.add_argument(
        "--stop-early",
        action="store_true",
        help="end as soon as every difference between the lanes is shown, by a test that holds at every look",
    )
    bench.add_argument("--json", action="store_true", help="one JSON object per sample, and one at the end")
    add_common(bench)
    bench.set_defaults(run=run)


def add_worker_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--at-a-time",
        metavar="N",
        type=int,
        default=1,
        help="items that this process sends at a time to each server (1, so that times compare)",
    )
    command.add_argument(
        "--unsandboxed", action="store_true",
        help="where there is no sandbox, run code that a model wrote with all your rights; each result says so",
    )  # fmt: skip


def add_runs(parts: Any) -> None:
    command = parts.add_parser(
        "runs", help="list the runs in the log", description="The runs in the log, newest first."
    )
    command.add_argument("--json", action="store_true", help="one JSON object per line")
    add_common(command)
    command.set_defaults(run=run_runs)


def run(options: argparse.Namespace) -> int:
    from .. import algebra
    from ..bench import sandbox
    from ..bench.plan import PlanError
    from ..bench.records import NoSuchRun, RunIsRunning
    from ..bench.start import CannotRun
    from .open_app import session

    _check(options)
    settings = settings_of(options)
    with interruptible() as interrupt, session(settings) as opened:
        opened.roster.settle()
        if interrupt.noted:
            return INTERRUPTED
        try:
            runner = _runner(options, opened)
            interrupt.then = runner.stop
            if interrupt.noted:
                runner.stop()
            head = _follow(runner, options, opened)
        except (PlanError, CannotRun, NoSuchRun, RunIsRunning) as error:
            raise CommandError(str(error)) from None
        finally:
            sandbox.close()
            algebra.close()
    if interrupt.noted and head.state == "stopped":
        return INTERRUPTED
    return 0 if head.state in ("done", "decided") else 1


def _check(options: argparse.Namespace) -> None:
    if options.epochs is not None and options.epochs < 1:
        raise CommandError("--epochs is a whole number from 1.")
    check_worker_options(options)
    fixed = [name for name in ("size", "lane", "category", "case", "epochs", "seed") if getattr(options, name)]
    if options.resume and fixed:
        name = options.size if fixed[0] == "size" else fixed[0]
        raise CommandError(f"A run is resumed as it was planned: leave --{name} out, or start a new run.")


def check_worker_options(options: argparse.Namespace) -> None:
    if options.at_a_time < 1:
        raise CommandError("--at-a-time is a whole number from 1.")


def _runner(options: argparse.Namespace, opened: OpenApp) -> Run:
    """A new run, or the one to go on with."""
    from ..bench import plan, records, sharing, suite
    from ..bench.start import Wanted
    from ..core.budget import BudgetError, read_usd

    try:
        budget = read_usd(options.budget)
    except BudgetError as error:
        raise CommandError(f"--budget: {error}") from None
    engine, turns, url, works = opened.engine, opened.turns, opened.settings.bus_url, not options.no_work
    if not (works or (url and budget is None)):
        raise CommandError("--no-work leaves the work to others: set KIMI_UI_BUS, and leave --budget out.")
    if options.resume:
        run_id = records.find(turns.reader, options.resume)
        return sharing.resume(engine, turns, run_id, url, budget_usd=budget, works=works)
    seed = suite.SEED if options.seed is None else options.seed
    chosen = plan.choose(seed, options.size, options.category, options.case)
    if works:
        chosen = _runnable(chosen, options.unsandboxed)
    lanes = tuple(options.lane or (spec.id for spec in engine.specs))
    return sharing.begin(engine, turns, Wanted(chosen, seed, lanes, options.epochs, budget), url, works=works)


def _runnable(chosen: Chosen, unsandboxed: bool) -> Chosen:
    """The cases without those that need a sandbox where there is none; says so."""
    from ..bench import sandbox
    from ..bench.start import CODE, without_code

    if not any(case.grader in CODE for case in chosen.cases):
        return chosen
    box = sandbox.choose(unsandboxed)
    if box.stamp.level != sandbox.ISOLATED:
        complain(box.sentence)
    return chosen if box.backend is not None else without_code(chosen)


def _follow(runner: Run, options: argparse.Namespace, opened: OpenApp) -> Head:
    """Run to the end and show it: samples on standard output, progress on standard error."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    labels = {spec.id: spec.label for spec in opened.engine.specs}
    console = Console(stderr=True, highlight=False)
    outcomes: dict[str, Counter[str]] = {}
    latest = runner.progress
    if not options.json:
        _announce(runner, opened)

    with Live(console=console, transient=True, auto_refresh=False) as live:

        def report(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            if console.is_terminal:
                live.update(Text(_line(progress, labels)), refresh=True)

        def on_sample(sample: Sample) -> None:
            outcomes.setdefault(sample.lane, Counter())[sample.outcome] += 1
            if options.json:
                print(json.dumps({"run": runner.head.id, **asdict(sample)}), flush=True)
            else:
                print(printable(sample_line(sample, labels)), flush=True)

        head = runner.run(
            report,
            on_sample,
            at_a_time=options.at_a_time,
            unsandboxed=options.unsandboxed,
            stop_early=options.stop_early,
        )
    _conclude(head, latest, outcomes, labels, options.json)
    return head


def _announce(runner: Run, opened: OpenApp) -> None:
    stand_ins = [serving.label for serving in opened.roster.servings if serving.is_stand_in]
    planned = runner.progress.planned
    print(f"Run {runner.head.id}: {planned} items; Ctrl+C stops it, `bench --resume {runner.head.id}` goes on.")
    if opened.settings.bus_url and runner.head.budget_usd is None:
        print("Others can work on it too: `python -m kimi_ui bench work` there, with the same KIMI_UI_BUS and log.")
    elif opened.settings.bus_url:
        print("A run with a budget is not shared: this process checks what each request may cost.")
    if stand_ins:
        print(
            f"A small local model stands in for: {', '.join(stand_ins)}. Its results say nothing about the real ones."
        )


def sample_line(sample: Sample, labels: Mapping[str, str]) -> str:
    seconds = "" if sample.e2e_ms is None else f"{sample.e2e_ms / 1000:.1f} s"
    right = sum(one.outcome == "right" for one in sample.trajectories)
    of = f"{right} of {len(sample.trajectories)} trajectories right" if sample.trajectories else ""
    details = "  ".join(part for part in (seconds, of) if part)
    return f"{sample.outcome:18} {sample.case:24} {labels.get(sample.lane, sample.lane):20} {details}".rstrip()


def _line(progress: Progress, labels: Mapping[str, str]) -> str:
    running = ", ".join(f"{labels.get(lane, lane)}: {case}" for case, lane in progress.running)
    parts = [f"{progress.done} of {progress.planned}", *_money(progress)]
    if progress.left_s is not None:
        parts.append(f"about {_duration(progress.left_s)} left")
    return " · ".join([*parts, running] if running else parts)


def _money(progress: Progress) -> list[str]:
    from ..core.budget import dollars

    found = [] if progress.spent_usd is None else [f"{dollars(progress.spent_usd)} spent"]
    if progress.n_unpriced:
        found.append(f"cost of {progress.n_unpriced} answers not known")
    return found


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _conclude(
    head: Head, progress: Progress, outcomes: Mapping[str, Counter[str]], labels: Mapping[str, str], as_json: bool
) -> None:
    if as_json:
        found = {
            "run": head.id,
            "state": head.state,
            "state_reason": head.state_reason,
            "planned": progress.planned,
            "done": progress.done,
            "spent_usd": progress.spent_usd,
            "n_unpriced": progress.n_unpriced,
            "outcomes": {lane: dict(counts) for lane, counts in outcomes.items()},
        }
        print(json.dumps(found))
        return
    for lane, counts in outcomes.items():
        print(f"{labels.get(lane, lane):20} " + ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common()))
    ended = (
        f"Run {head.id} is {head.state}: {', '.join([f'{progress.done} of {progress.planned}', *_money(progress)])}."
    )
    print(f"{ended} {head.state_reason}".rstrip())
    if head.state == "done":
        print(f"`python -m kimi_ui bench report {head.id}` says what it shows.")
    else:
        print(f"`python -m kimi_ui bench --resume {head.id}` goes on with it.")


def run_runs(options: argparse.Namespace) -> int:
    from ..bench import records
    from .open_app import log_reader

    settings = settings_of(options)
    found = records.runs(log_reader(settings, must_exist=bool(options.db)))
    if not found and not options.json:
        print("There are no runs yet: python -m kimi_ui bench --quick", file=sys.stderr)
    for one in found:
        print(json.dumps(one._asdict()) if options.json else printable(_run_line(one)))
    return 0


def _run_line(one: RunHead) -> str:
    from ..core.budget import dollars

    at = one.started_at_utc[:16].replace("T", " ")
    cost = "cost not known" if one.cost_usd is None else dollars(one.cost_usd)
    counts = f"{one.n_done} of {one.n_planned}, {one.n_right} right"
    return f"{one.id}  {at}  {one.size:6} {one.state:11} {counts}  {cost}  {', '.join(one.lanes)}"
