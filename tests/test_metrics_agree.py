"""Three computations of the same metrics agree to 1e-9: the SQL views, ``core.metrics``, a fold of the stored events.

The turns are random: any order of events, absurd usage, odd flags, retries, heavy with its children. Stamps are a
virtual clock's, so nothing depends on the speed of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_ui.core.attempt import STATUSES, Attempt
from kimi_ui.core.events import (
    CONNECTED,
    FIRST_CHUNK,
    FIRST_TRAJECTORY_TOKEN,
    Answer,
    Bounds,
    End,
    Failure,
    Finish,
    Flag,
    Phase,
    Reasoning,
    Relabel,
    Usage,
)
from kimi_ui.core.metrics import Metrics, measure_turn
from kimi_ui.core.tokens import count_text
from kimi_ui.core.turn import LaneInfo, TurnFold, TurnLog
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter
from kimi_ui.tokenizers import counter
from tests.support.turns import Timed, attempt, turn

count = st.none() | st.integers(-5, 3) | st.integers(0, 900) | st.sampled_from([10**12, 2**63, -(10**20)])
ns = st.none() | st.integers(0, 3 * 10**9)
usage = st.builds(
    Usage,
    input_tokens=count,
    cached_input_tokens=count,
    output_tokens=count,
    reasoning_tokens=count,
    cost_usd=st.none() | st.floats(-1, 5),
    source=st.sampled_from(["usage", "server"]),
    load_ns=ns,
    prompt_ns=ns,
    eval_ns=ns,
    raw=st.just({"completion_tokens": 3}),
)
text = st.sampled_from(["", " word", " w", "漢字", " a longer piece of text" * 3, " word" * 60, "\ud83d", "\ude00 ok"])
early = st.none() | st.integers(0, 5 * 10**8)
event = st.one_of(
    st.builds(Reasoning, text),
    st.builds(Answer, text),
    st.builds(Answer, text),
    st.builds(Relabel),
    usage,
    st.builds(Phase, st.sampled_from([CONNECTED, FIRST_CHUNK, FIRST_TRAJECTORY_TOKEN, "reading_prompt"])),
    st.builds(
        Flag,
        st.sampled_from(["loop_lag_ms", "clock_jump", "non_streaming", "late"]),
        st.sampled_from(["3", "21.5", "x"]),
    ),
    st.builds(Bounds, early, early, early, early),
    st.builds(Finish, st.sampled_from(["stop", "length"])),
    st.builds(Failure, st.just("upstream"), st.just("Broken \udc00.")),
)
gap_ms = st.sampled_from([0, 0.000001, 0.3, 5, 10, 45, 250, 1500])
price = st.none() | st.tuples(
    st.sampled_from([0, 0.6]), st.none() | st.just(0.15), st.sampled_from([0, 2.5]), st.just("2026")
)


@st.composite
def stream(draw: Any) -> list[Timed]:
    """One attempt's events, sometimes with a long even run, with any end."""
    events: list[Timed] = []
    now_ms = 0.0
    for what in draw(st.lists(event, max_size=14)):
        now_ms += draw(gap_ms)
        events.append((now_ms, what))
    if draw(st.booleans()):
        pace_ms, kind = draw(gap_ms), draw(st.sampled_from([Reasoning, Answer]))
        for _ in range(draw(st.integers(2, 130))):
            now_ms += pace_ms
            events.append((now_ms, kind(" word")))
    events.append((now_ms + draw(gap_ms), End(draw(st.sampled_from(STATUSES[1:])))))
    return events


@st.composite
def whole_turn(draw: Any) -> TurnLog:
    """A plain lane with retries and a heavy lane made of it, with failed and retried children."""
    runs: list[tuple[Attempt, list[Timed]]] = []
    for number in range(1, draw(st.integers(1, 2)) + 1):
        who = attempt(
            "kimi",
            attempt_no=number,
            sent_ms=number * 10_000.0,
            asked_ns=draw(st.sampled_from([0, 9 * 10**9])),
            price=draw(price),
            input_chars=draw(st.none() | st.integers(0, 4000)),
        )
        runs.append((who, draw(stream())))
    heavy = attempt("heavy", role="heavy", sent_ms=3)
    runs.append((heavy, draw(stream())))
    for k in range(draw(st.integers(0, 3))):
        role = draw(st.sampled_from(["trajectory", "trajectory", "aggregator"]))
        child = attempt(
            "heavy",
            role=role,
            parent_id=heavy.attempt_id,
            k_index=k,
            sent_ms=4.0 + k,
            price=draw(price),
            input_chars=90,
        )
        runs.append((child, draw(stream())))
    lanes = (
        LaneInfo("kimi", "Kimi", "openai", "k2"),
        LaneInfo("heavy", "Kimi heavy", "heavy", "k2", of=draw(st.sampled_from(["kimi", "other"]))),
    )
    return turn(*runs, lanes=lanes)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LogWriter, LogReader]]:
    path: Path = tmp_path_factory.mktemp("log") / "log.sqlite3"
    writer = LogWriter(path)
    writer.start()
    yield writer, LogReader(path)
    writer.close()
    assert writer.problem == ""


def in_python(log: TurnLog) -> dict[str, Metrics]:
    fold = TurnFold.of(log).apply_all(log.entries)
    counts = {id: count_text(counter(), f.reasoning, f.answer) for id, f in fold.folds.items()}
    return measure_turn(fold, counts)


def assert_same(expected: Metrics, row: dict[str, Any], how: str) -> None:
    for name, value in expected.as_dict().items():
        got = row[name]
        if isinstance(value, float) and isinstance(got, float | int):
            assert math.isclose(value, got, rel_tol=1e-9, abs_tol=1e-12), f"{how}: {name} is {got}, not {value}"
        else:
            assert value == got, f"{how}: {name} is {got!r}, not {value!r}"


def write(writer: LogWriter, log: TurnLog) -> None:
    """Write as the engine does: the row, then ``follow``, then the entries."""
    entries, log.entries = log.entries, []
    writer.open_turn(log).result()
    writer.follow(log)
    log.entries += entries
    writer.flush().result()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(live=whole_turn())
@pytest.mark.slow
def test_sql_python_and_the_stored_events_agree(log: tuple[LogWriter, LogReader], live: TurnLog) -> None:
    writer, reader = log
    write(writer, live)
    expected = in_python(live)
    stored = reader.turn(live.turn_id)
    assert stored is not None
    recomputed = in_python(stored)
    rows = {row["attempt_id"]: row for row in reader.attempt_metrics(expected)}
    assert rows.keys() == expected.keys() == recomputed.keys()
    for attempt_id, metrics in expected.items():
        assert_same(metrics, rows[attempt_id], "the view")
        assert_same(metrics, recomputed[attempt_id].as_dict(), "the stored events")
