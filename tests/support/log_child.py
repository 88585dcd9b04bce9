"""A process that writes to a log until it is killed. Lines on stdout report its progress.

log_child.py DB until turn|attempt|stored|ended   write one turn up to that moment, say "reached", wait
log_child.py DB stream                            write numbers for ever; "stored N": the first N are acknowledged
log_child.py DB full                              write long answers where no file may grow beyond 400 kB
"""

from __future__ import annotations

import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kimi_ui.config import read_place
from kimi_ui.core.attempt import Attempt
from kimi_ui.core.events import Answer, End, Entry, Event, Finish, Opened, Reasoning
from kimi_ui.core.turn import TurnLog
from kimi_ui.log.places import Place
from kimi_ui.log.writer import LogWriter
from tests.support.log import store
from tests.support.turns import MS, attempt, ended, turn

FILE_LIMIT = 400_000


def say(word: str, value: Any = "") -> None:
    print(word, value, flush=True)


def begin(writer: LogWriter) -> tuple[TurnLog, Attempt]:
    log = turn(prompt="Count.", lanes=[*turn((attempt(), [])).lanes], closed=False)
    writer.open_turn(log).result()
    say("turn", log.turn_id)
    return log, replace(attempt(), turn_id=log.turn_id)


def until(writer: LogWriter, moment: str) -> None:
    log, who = begin(writer)
    if moment != "turn":
        writer.open_attempt(who).result()
    if moment in ("stored", "ended"):
        writer.follow(log)
        numbers: list[Event] = [Answer(f" {i}") for i in range(10)]
        end: list[Event] = [Finish("stop"), End("ok")] if moment == "ended" else []
        for i, event in enumerate([Opened(who.as_dict()), Reasoning("hm hm"), *numbers, *end]):
            log.append(Entry("a", who.attempt_id, i * MS, event))
        writer.flush().result()
    say("reached", moment)
    time.sleep(600)


def stream(writer: LogWriter) -> None:
    log, who = begin(writer)
    writer.follow(log)
    log.append(Entry("a", who.attempt_id, 0, Opened(who.as_dict())))
    for i in range(10**6):
        log.append(Entry("a", who.attempt_id, i * MS, Answer(f" {i}")))
        if i % 5 == 4:
            writer.flush().result()
            say("stored", i + 1)


def full(writer: LogWriter) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    rng = random.Random(1)
    for _ in range(8):
        text = rng.randbytes(13_000).hex(" ", 4)
        store(writer, turn((attempt(), ended([(1, Answer(text))]))))
    say("problem", writer.problem)


def run(place: Place, work: Callable[..., None], *arguments: str) -> None:
    writer = LogWriter(place)
    writer.start()
    work(writer, *arguments)
    writer.close()


def main() -> None:
    place, what, *arguments = sys.argv[1:]
    works: dict[str, Callable[..., None]] = {"until": until, "stream": stream, "full": full}
    run(read_place(place), works[what], *arguments)


main()
