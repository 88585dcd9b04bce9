"""The race line: few points, no important one missing, the same however often it is read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.events import AGGREGATING, CONNECTED, Answer, End, Event, Phase, Reasoning, Usage
from kimi_ui.core.race import STEP_MS, STEP_SHARE, RaceLine

MS = 1_000_000


def line_of(events: list[tuple[int, Event]], every: int = 1) -> tuple[list[tuple[float, int]], dict[str, float]]:
    """The points and moments of a reader who reads after each ``every`` events and at the end."""
    fold, line = AttemptFold(), RaceLine()
    points: list[float] = []
    moments: dict[str, float] = {}

    def look() -> None:
        part = line.take(fold)
        points.extend(part.pop("points", []))
        moments.update(part)

    for i, (t_ms, event) in enumerate(events, 1):
        fold.apply(t_ms * MS, event)
        line.apply(t_ms * MS, event)
        if i % every == 0:
            look()
    look()
    look()
    return list(zip(points[::2], map(int, points[1::2]), strict=True)), moments


def stream(n_reasoning: int, n_answer: int, gap_ms: int) -> list[tuple[int, Event]]:
    texts: list[Event] = [*(Reasoning("word") for _ in range(n_reasoning)), *(Answer("word") for _ in range(n_answer))]
    events: list[tuple[int, Event]] = [(500 + i * gap_ms, event) for i, event in enumerate(texts)]
    return [*events, (500 + len(texts) * gap_ms, End("ok"))]


def test_a_long_stream_becomes_a_few_hundred_points() -> None:
    points, _ = line_of(stream(25_000, 5_000, 10), every=3)
    assert 200 < len(points) < 500
    assert points[0] == (500, 0)
    assert points[-1] == (500 + 29_999 * 10, 120_000)


def test_the_start_of_the_answer_is_a_point() -> None:
    points, _ = line_of(stream(333, 200, 7))
    assert (500 + 332 * 7, 333 * 4) in points


def test_both_ends_of_a_stall_are_points() -> None:
    events = [(0, Reasoning("aa")), (10, Reasoning("bb")), (20, Reasoning("cc")), (9_000, Reasoning("dd"))]
    points, _ = line_of([*events, (9_001, End("ok"))])
    assert points == [(0, 0), (20, 6), (9_000, 8)]


def test_each_moment_is_returned_once_when_it_is_known() -> None:
    fold, line = AttemptFold(), RaceLine()
    for t_ms, event in [(3, Phase(CONNECTED)), (7, Phase(AGGREGATING, done=6, total=8)), (9, Phase(AGGREGATING))]:
        fold.apply(t_ms * MS, event)
        line.apply(t_ms * MS, event)
    assert line.take(fold) == {"connect_ms": 3.0, "aggregating_ms": 7.0}
    assert line.take(fold) == {}
    usage = Usage(load_ns=2 * MS, prompt_ns=MS)
    fold.apply(10 * MS, usage)
    line.apply(10 * MS, usage)
    assert line.take(fold) == {"load_ms": 2.0, "prompt_ms": 1.0}


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 9)), max_size=60), st.integers(1, 7))
def test_the_line_is_the_same_however_often_it_is_read(gaps: list[tuple[int, int]], every: int) -> None:
    t_ms = 0
    events: list[tuple[int, Event]] = []
    for gap_ms, length in gaps:
        t_ms += gap_ms
        events.append((t_ms, Reasoning("x" * length)))
    events.append((t_ms + 1, End("ok")))
    points, _ = line_of(events, every)
    assert points == line_of(events, 1)[0]
    assert points == sorted(points)
    if gaps:
        assert points[-1] == (t_ms, sum(length for _, length in gaps))


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 9)), min_size=1, max_size=60))
def test_every_text_event_has_a_point_within_one_step(gaps: list[tuple[int, int]]) -> None:
    t_ms = 0
    events: list[tuple[int, Event]] = []
    for gap_ms, length in gaps:
        t_ms += gap_ms
        events.append((t_ms, Reasoning("x" * length)))
    points, _ = line_of([*events, (t_ms + 1, End("ok"))])
    times = [point_ms for point_ms, _ in points]
    for event_ms, _ in events:
        assert min(abs(event_ms - point_ms) for point_ms in times) < max(STEP_MS, STEP_SHARE * event_ms) + 0.1
