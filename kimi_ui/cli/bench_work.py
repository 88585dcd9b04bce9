"""``bench work``: work on runs of the benchmark that other processes lead."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from .bench_run import add_worker_options, check_worker_options, sample_line
from .common import CommandError, add_common, complain, printable, settings_of
from .interrupt import INTERRUPTED, Interrupt, interruptible

if TYPE_CHECKING:
    from ..bench.results import Sample
    from ..bench.worker import Worker
    from ..bus.wire import Redis
    from .open_app import OpenApp

LOOK_S = 1.0
NEEDS_A_BUS = (
    "Workers meet at a Valkey or Redis server: set KIMI_UI_BUS to its address, here and where `python -m kimi_ui "
    "bench` runs."
)
ASKED = "It was asked to leave."


def add(parts: Any) -> None:
    command = parts.add_parser(
        "work",
        help="work on runs that other processes lead (with KIMI_UI_BUS)",
        description="Claim cases of runs that other processes lead, with the same KIMI_UI_BUS and the same log, until "
        "Ctrl+C or SIGTERM: then what is sent is finished (for at most KIMI_UI_DRAIN_SECONDS), and the rest given "
        "back.",
    )
    command.add_argument("run_id", metavar="RUN", nargs="?", help="only this run, and end with it; its id or last")
    add_worker_options(command)
    add_common(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from .. import algebra
    from ..bench import records, sandbox
    from .open_app import reached_bus, session

    check_worker_options(options)
    settings = settings_of(options)
    if not settings.bus_url:
        raise CommandError(NEEDS_A_BUS)
    with interruptible() as interrupt, reached_bus(settings.bus_url) as redis, session(settings) as opened:
        opened.roster.settle()
        try:
            if options.run_id:
                run_id = records.find(opened.turns.reader, options.run_id)
                return _work_on(run_id, options, opened, redis, interrupt)
            _work_on_any(options, opened, redis, interrupt)
            return 0
        except records.NoSuchRun as error:
            raise CommandError(str(error)) from None
        finally:
            sandbox.close()
            algebra.close()


def _work_on(run_id: str, options: argparse.Namespace, opened: OpenApp, redis: Redis, interrupt: Interrupt) -> int:
    """Work on one run to its end."""
    from ..bench.start import CannotRun
    from ..bus.claims import led_runs

    try:
        agreed = led_runs(redis).get(run_id)
        if agreed is None:
            raise CommandError(
                f"Nobody leads the run {run_id} now; `python -m kimi_ui bench --resume {run_id}` with KIMI_UI_BUS does."
            )
        worker = _joined(run_id, agreed, options, opened, redis)
    except CannotRun as error:
        raise CommandError(str(error)) from None
    _follow(worker, options, opened, interrupt)
    return INTERRUPTED if interrupt.noted else 0 if worker.is_over else 1


def _work_on_any(options: argparse.Namespace, opened: OpenApp, redis: Redis, interrupt: Interrupt) -> None:
    """Work on whatever run is led, one after the other; what this process cannot work on is left to others."""
    from ..bench.start import CannotRun
    from ..bus.claims import BusAway, led_runs
    from ..log.store import LogError

    left: set[str] = set()
    trouble = ""
    print("Waiting for runs; Ctrl+C ends this worker.", flush=True)
    while not interrupt.noted:
        try:
            led = led_runs(redis)
        except BusAway:  # it was there at the start
            led = {}
        left &= set(led)  # so that a run that is resumed is looked at again
        for run_id, agreed in led.items():
            if run_id in left or interrupt.noted:
                continue
            try:
                worker = _joined(run_id, agreed, options, opened, redis)
                _follow(worker, options, opened, interrupt)
            except CannotRun as error:
                complain(f"{error} Other workers do it.")
                left.add(run_id)
            except LogError as error:  # until it is back, which is tried again and again
                if trouble != str(error):
                    trouble = str(error)
                    complain(f"{error} The cases in hand are given back.")
            else:
                trouble = ""
                if not worker.is_over:
                    left.add(run_id)
        time.sleep(LOOK_S)


def _joined(run_id: str, agreed: str, options: argparse.Namespace, opened: OpenApp, redis: Redis) -> Worker:
    from ..bench.worker import join

    return join(opened.engine, opened.turns, redis, run_id, agreed, unsandboxed=options.unsandboxed)


def _follow(worker: Worker, options: argparse.Namespace, opened: OpenApp, interrupt: Interrupt) -> None:
    """Work until the worker ends; show the samples that it graded, and why it ended."""
    labels = {spec.id: spec.label for spec in opened.engine.specs}

    def leave() -> None:
        worker.leave(ASKED, opened.settings.drain_s)

    def on_sample(sample: Sample) -> None:
        print(printable(sample_line(sample, labels)), flush=True)

    interrupt.then = leave
    if interrupt.noted:
        leave()
    print(f"Working on run {worker.head.id}.", flush=True)
    worker.run(on_sample=on_sample, at_a_time=options.at_a_time, unsandboxed=options.unsandboxed)
    interrupt.then = None
    n = worker.progress.done
    print(printable(f"This worker did {n} items of run {worker.head.id}. {worker.why}"), flush=True)
