"""A made-up run with every kind of outcome in a real log, for what reads runs: a plain lane, heavy, and one that
fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kimi_ui import __version__
from kimi_ui.bench import records, suite
from kimi_ui.bench.plan import Item
from kimi_ui.bench.records import Head
from kimi_ui.bench.results import Run
from kimi_ui.core.attempt import Attempt
from kimi_ui.core.events import Answer, End, Failure, Reasoning, Usage
from kimi_ui.core.lane import FREE, LaneSpec
from kimi_ui.core.turn import TurnLog
from kimi_ui.log.reader import LogReader

from .log import store, writing
from .turns import Timed, attempt, ended, turn

RUN_ID = "run012345678"
STARTED = "2026-11-21T12:00:00.000+00:00"
FORMULA = '=HYPERLINK("http://example.org")'
LANES = (
    LaneSpec("kimi", "Kimi K2", "openai", model="kimi/k2", price=FREE),
    LaneSpec("kimi-heavy", "Kimi K2 heavy", "heavy", of="kimi", width=2),
    LaneSpec("silent", "Silent", "openai", model="none"),
)


def answered(prompt: str, lane: str, answer: str, reasoning: str = "", **fields: Any) -> tuple[TurnLog, Attempt]:
    """A turn of one lane with this answer, and its attempt."""
    one = attempt(lane, price=(0, None, 0, "") if lane == "kimi" else None, **fields.pop("attempt", {}))
    events: list[Timed] = [
        (10, Reasoning(reasoning)),
        (20, Answer(answer)),
        (30, Usage(input_tokens=7, output_tokens=5)),
    ]
    return turn((one, ended(events, fields.pop("status", "ok"))), prompt=prompt, kind="bench", **fields), one


def heavy(prompt: str, answer: str, texts: list[str]) -> tuple[TurnLog, Attempt, list[Attempt]]:
    """A turn of heavy: its attempt, and those of its trajectories."""
    parent = attempt("kimi-heavy", role="heavy", provider="heavy")
    of_it = {"role": "trajectory", "parent_id": parent.attempt_id}
    children = [attempt("kimi-heavy", k_index=k, sent_ms=k, **of_it) for k in range(len(texts))]
    runs = [(child, ended([(10, Answer(text))])) for child, text in zip(children, texts, strict=True)]
    return turn((parent, ended([(50, Answer(answer))])), *runs, prompt=prompt, kind="bench"), parent, children


def make(path: Path) -> tuple[Run, LogReader]:
    """Write the run to a log at ``path`` and read it back."""
    right, one = answered("How many litres?", "kimi", "I count.\n\nAnswer: 5", "Let me count.")
    cut, two = answered(
        "How many litres?", "kimi", "It begins", status="length", attempt={"params": {"max_tokens": 64}}
    )
    first, _ = answered("Store three.", "kimi", "Stored.", conversation_id="talk")
    second, three = answered("How many?", "kimi", "Answer: 3", conversation_id="talk", seq=1)
    both, four, children = heavy("How many litres?", "Answer: 5", ["Answer: 5", "Answer: 6"])
    written, five = answered("Write about rain.", "kimi", "It rains.")
    formula, six = answered("Write about rain.", "silent", FORMULA)
    seven = attempt("silent")
    failed = turn((seven, [(5, Failure("upstream", "Broken.")), (6, End("error"))]), prompt="How many?", kind="bench")
    verdicts = [
        records.verdict_op(who.attempt_id, verdict, "It says so.", extracted=text, grader="number", grader_version="1")
        for who, verdict, text in (
            *((one, "right", "5"), (two, "truncated", None), (three, "wrong", "3"), (four, "right", "5")),
            *((children[0], "right", "5"), (children[1], "wrong", "6"), (five, "right", "It rains.")),
            (six, "unparsed", FORMULA),
        )
    ]
    with writing(path) as writer:
        store(writer, right, cut, first, second, both, written, formula, failed)
        head = (
            RUN_ID,
            "",
            writer.boot_id,
            STARTED,
            STARTED,
            "done",
            "",
            "chosen",
            suite.VERSION,
            suite.SEED,
            2,
            1,
            None,
        )
        ops = [records.head_op(Head(*head, __version__))]
        specs = {spec.id: spec for spec in LANES}
        ops += [records.lane_op(RUN_ID, at, spec, specs) for at, spec in enumerate(LANES)]
        planned = (
            *(("jugs-1", "kimi", 1, right.turn_id), ("jugs-1", "kimi", 2, cut.turn_id)),
            *(("stock-1", "kimi", 1, first.turn_id), ("jugs-2", "kimi", 1, "never-sent")),
            *(("jugs-1", "kimi-heavy", 1, both.turn_id), ("keywords-1", "kimi", 1, written.turn_id)),
            *(("keywords-1", "silent", 1, formula.turn_id), ("jugs-1", "silent", 1, failed.turn_id)),
        )
        for at, (case_id, lane, epoch, turn_id) in enumerate(planned):
            case = suite.case(case_id)
            assert case is not None
            ops.append(
                records.item_op(RUN_ID, Item(at, case_id, case.category, case.template, lane, epoch, 0, turn_id, None))
            )
        writer.write([*ops, *verdicts, records.verdict_op(seven.attempt_id, "endpoint", "The server failed.")]).result()
    reader = LogReader(path)
    return records.load(reader, RUN_ID), reader
