"""Statistics over a real log: included and excluded attempts, filters, pairs, sentences, export, terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kimi_ui.core.attachments import Attachment, fold
from kimi_ui.core.events import Answer, Bounds, End, Flag, Meta, Tally, Usage
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.core.vote import Vote
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.votes import vote_op
from kimi_ui.log.writer import LogWriter
from kimi_ui.stats.export import csv_lines, json_lines
from kimi_ui.stats.reported import REPORTED, reported_value
from kimi_ui.stats.sample import Filters, Key, choices, cost_by_day, load, points, turns
from kimi_ui.stats.statistics import Difference, Interval, known
from kimi_ui.stats.summary import (
    BY_COLUMN,
    Comparison,
    as_dict,
    bare,
    bound_words,
    comparisons,
    figures,
    left_out,
    lines,
    not_compared,
    outweighed,
    percentiles_from,
    splits,
)
from kimi_ui.stats.terminal import EMPTY, NO_MATCH, Report
from tests.support.log import store, writing
from tests.support.turns import MS, Timed, attempt, ended, tokens, turn

PRICE = (1.0, None, 2.0, "2026-07-01")


@pytest.fixture
def log(place: Place) -> Iterator[tuple[LogWriter, LogReader]]:
    with writing(place) as writer:
        yield writer, LogReader(place)


def stream(ttft_ms: float = 100, gap_ms: float = 10, n: int = 60) -> list[Timed]:
    return [*tokens(n, start_ms=ttft_ms, gap_ms=gap_ms), (ttft_ms + n * gap_ms, Usage(1000, output_tokens=n))]


def race(*, kimi_ms: float = 100, heavy_ms: float = 500, minute: int = 0, **fields: Any) -> TurnLog:
    """A turn of two lanes that differ in their time to the first token."""
    fields = {"started_at_utc": f"2026-11-21T12:{minute:02}:00.000+00:00"} | fields
    at = {"started_at_utc": fields["started_at_utc"]}
    return turn(
        (attempt("kimi", label="Kimi", price=PRICE, **at), ended(stream(kimi_ms))),
        (attempt("heavy", label="Heavy", provider="heavy", **at), ended(stream(heavy_ms))),
        **fields,
    )


def by_name(sample: Any) -> dict[str, Any]:
    return {series.name: series for series in sample.series}


def test_an_empty_log_has_no_series(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "none.sqlite3")
    sample = load(reader)
    assert (sample.series, sample.n, left_out(sample)) == ([], 0, "")
    assert (points(reader), cost_by_day(reader), turns(reader)) == ([], [], [])
    assert choices(reader) == ([], [], [], [])


def test_series_carry_the_numbers_of_the_view(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    logs = [race(kimi_ms=100 + i, heavy_ms=500 + 3 * i, minute=i) for i in range(8)]
    store(writer, *logs)
    sample = load(reader)
    assert [series.key for series in sample.series] == [Key("kimi", "model-kimi", ""), Key("heavy", "model-heavy", "")]
    kimi = by_name(sample)["Kimi"]
    rows = reader.attempt_metrics([log.entries[0].attempt_id for log in logs])
    for column in ("ttft_ms", "e2e_ms", "decode_tps", "cost_usd"):
        assert kimi.numbers[column].tolist() == [row[column] for row in rows]
    ttft = lines(kimi)[0]
    assert (ttft.estimate.n, ttft.estimate.value, ttft.estimate.interval) == (8, 103.5, Interval(100, 107))
    assert ttft.p95 is None
    assert figures(ttft) == ["0.10", "[0.10, 0.11]", "n = 8"]
    assert percentiles_from(sample) == "p95 needs 59 values, p99 299."
    each = (1000 * 1.0 + 60 * 2.0) / 1e6
    assert kimi.usd == pytest.approx(8 * each)
    assert (kimi.n_unpriced, kimi.n_estimated) == (0, 0)
    heavy = by_name(sample)["Heavy"]
    assert (heavy.usd, heavy.n_unpriced) == (0.0, 8)


def test_differences_are_paired_by_prompt_and_stated_in_a_sentence(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(writer, *(race(kimi_ms=100 + 40 * i, heavy_ms=12_500 + 40 * i + i % 3, minute=i) for i in range(41)))
    alone = turn((attempt("kimi", label="Kimi"), ended(stream(1))))
    store(writer, alone)
    (found,) = comparisons(load(reader), BY_COLUMN["ttft_ms"])
    assert found.difference.n == 41
    assert found.difference.value == pytest.approx(12_401)
    assert found.sentence == "Heavy is +12.4 s [12.4, 12.4] against Kimi on 41 prompts: later."


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (Difference(0, None, None), "B and A have no prompt in common."),
        (Difference(1, 2500, None), "B − A: +2.5 s on 1 prompt, not enough for an interval (6 are)."),
        (
            Difference(41, 12_400, Interval(9_800, 15_100)),
            "B is +12.4 s [9.8, 15.1] against A on 41 prompts: slower.",
        ),
        (
            Difference(1234, -400, Interval(-900, -100)),
            "B is −0.40 s [−0.90, −0.10] against A on 1,234 prompts: faster.",
        ),
        (Difference(8, 300, Interval(-200, 800)), "B − A: +0.30 s [−0.20, 0.80] on 8 prompts; no difference shown."),
    ],
)
def test_sentences(difference: Difference, sentence: str) -> None:
    assert Comparison(BY_COLUMN["e2e_ms"], "A", "B", difference).sentence == sentence


def test_a_lane_with_two_models_is_two_series_and_is_not_paired_with_itself(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    models = ["org/k2", "org/k3"]
    store(writer, *(turn((attempt("kimi", label="Kimi", request_model=model), ended(stream()))) for model in models))
    store(
        writer,
        turn((attempt("qwen", label="Qwen", request_model="smol", stand_in_for="qwen3"), ended(stream()))),
    )
    sample = load(reader)
    assert [series.name for series in sample.series] == ["Kimi · k3", "Kimi · k2", "Qwen (stand-in)"]
    assert not list(comparisons(sample, BY_COLUMN["e2e_ms"]))


def test_no_two_series_have_the_same_name(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    runs: list[dict[str, Any]] = [
        {"lane": "x", "request_model": "a/llama"},
        {"lane": "x", "request_model": "b/llama"},
        {"lane": "y", "request_model": "tiny", "stand_in_for": "k2"},
        {"lane": "y", "request_model": "tiny", "stand_in_for": "k3"},
        {"lane": "y", "request_model": "small", "stand_in_for": "k3"},
        {"lane": "z", "request_model": "llama"},
        {"lane": "w", "request_model": "llama", "label": "Other"},
    ]
    store(writer, *(turn((attempt(**{"label": "Llama"} | run), ended(stream()))) for run in runs))
    sample = load(reader)
    assert sorted(series.name for series in sample.series) == [
        "Llama (stand-in) · small",
        "Llama (stand-in) · tiny · k2",
        "Llama (stand-in) · tiny · k3",
        "Llama · x · a/llama",
        "Llama · x · b/llama",
        "Llama · z",
        "Other",
    ]
    assert sample.lanes() == {"x": "Llama · x", "y": "Llama · y", "z": "Llama · z", "w": "Other"}


def test_a_lane_has_its_newest_label(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    labels = ("Kimi", "Kimi K2", "Kimi K2.6")
    store(writer, *(turn((attempt("kimi", label=label), ended(stream()))) for label in labels))
    assert [series.name for series in load(reader).series] == ["Kimi K2.6"]
    assert choices(reader).lanes == [("Kimi K2.6", "kimi")]
    store(writer, turn((attempt("other", label="Kimi K2.6"), ended(stream()))))
    assert choices(reader).lanes == [("Kimi K2.6 · kimi", "kimi"), ("Kimi K2.6 · other", "other")]


def test_the_reason_for_a_missing_comparison_is_stated(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log

    def sentence_for(column: str) -> str:
        return not_compared(load(reader), BY_COLUMN[column])

    heavy = attempt("heavy", label="Heavy", role="heavy", provider="heavy")
    short = (attempt("kimi", label="Kimi"), ended(stream(n=9), "stopped"))
    store(writer, turn((attempt("qwen", label="Qwen", price=PRICE), ended(stream())), (heavy, ended(stream())), short))
    assert sentence_for("decode_tps") == (
        "No prompt has a known decode speed from two of these lanes. "
        "Heavy has no decode speed of its own; Kimi has no finished attempt."
    )
    assert sentence_for("cost_usd").endswith(" Heavy has no known cost; Kimi has no price.")
    store(writer, turn((attempt("none", label="None"), [(5, End("error"))])))
    nothing = load(reader, Filters(lanes=("none", "kimi")))
    assert not_compared(nothing, BY_COLUMN["e2e_ms"]) == (
        "No total time is known here, so there is nothing to draw. "
        "Kimi has no finished attempt; None has no finished attempt."
    )
    assert not_compared(load(reader, Filters(lanes=("none",))), BY_COLUMN["ttft_ms"]) == (
        "No first token is known here, so there is nothing to draw. None has no text."
    )


def test_heavy_attempts_of_two_models_are_two_series(
    log: tuple[LogWriter, LogReader],
) -> None:
    writer, reader = log
    for model, logged in (("k2", ""), ("k3", ""), ("k3", "k3")):
        heavy = LaneInfo("h", "Heavy", "heavy", model, of="kimi", width=8)
        run = attempt("h", label="Heavy", role="heavy", provider="heavy", request_model=logged)
        store(writer, turn((run, ended(stream())), lanes=[heavy]))
    assert [(series.name, series.n) for series in load(reader).series] == [("Heavy · k3", 2), ("Heavy · k2", 1)]
    assert choices(reader).models == [("k2", "k2"), ("k3", "k3")]


def test_unsuitable_attempts_are_left_out_counted_and_can_be_included(
    log: tuple[LogWriter, LogReader],
) -> None:
    writer, reader = log
    cold = Usage(output_tokens=60, load_ns=9 * 10**9)
    store(
        writer,
        race(),
        turn((attempt("kimi"), ended([*stream(9000), (9900, Flag("clock_jump", "9 s"))]))),
        turn((attempt("kimi"), ended([*stream(9000), (9900, cold)]))),
        turn(
            (attempt("kimi"), ended(stream(7000), "error")),
            (attempt("kimi", attempt_no=2, sent_ms=9000), ended(stream(120))),
        ),
    )
    sample = load(reader)
    kimi = next(series for series in sample.series if series.key.lane == "kimi")
    assert sorted(kimi.numbers["ttft_ms"]) == [100, 120]
    assert sample.excluded == {"suspect": 1, "cold": 1, "superseded": 1}
    assert left_out(sample) == (
        "Left out: 1 that were retried in the same turn, 1 with counts or a clock that contradict themselves, "
        "1 that had to load the model first."
    )
    assert outweighed(sample) == ""
    assert kimi.statuses == {"ok": 4}, "outcomes are not filtered by what spoils a time"
    named = [point.left_out for row in turns(reader) for point in row.points]
    assert sorted(filter(None, named)) == ["cold", "superseded", "suspect"]
    assert named.count(None) == len(points(reader))
    cold_only, warm = (load(reader, Filters(start=start)) for start in ("cold", "warm"))
    assert (cold_only.n, warm.n) == (1, sample.n - 1)
    assert not cold_only.excluded
    assert not warm.excluded["cold"]
    everything = load(reader, Filters(include=frozenset({"suspect", "cold", "superseded"})))
    assert everything.n == sample.n + 1
    assert not everything.excluded
    assert kimi.usd == next(s for s in everything.series if s.key.lane == "kimi").usd, "money is spent either way"


def test_an_answer_aggregated_again_counts_neither_as_a_heavy_run_nor_as_its_retry(
    log: tuple[LogWriter, LogReader],
) -> None:
    writer, reader = log
    first = attempt("h", role="heavy", provider="heavy")
    again = attempt("h", role="heavy", provider="heavy", attempt_no=2, sent_ms=9000)
    tally = Tally("majority", "full", 3, answers_of=first.attempt_id)
    store(writer, turn((first, ended(stream(500))), (again, ended([(1, tally), *stream(20)]))))
    sample = load(reader)
    (heavy,) = sample.series
    assert heavy.numbers["ttft_ms"].tolist() == [500]
    assert heavy.statuses == {"ok": 1}
    assert sample.excluded == {"reaggregated": 1}
    assert load(reader, Filters(include=frozenset({"reaggregated"}))).n == 2


def bounded(ttft_ms: float, early_ms: float, last_early_ms: float = 0) -> TurnLog:
    """A turn of one lane with these error bounds of its stamps."""
    bounds = Bounds(0, round(early_ms * MS), round(early_ms * MS), round(last_early_ms * MS))
    return turn((attempt("kimi", label="Kimi"), ended([*stream(ttft_ms), (9000, bounds)])))


def test_each_value_is_left_out_by_its_own_bound_only(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(
        writer,
        bounded(100, 1),
        bounded(1000, 49.9),  # 5 % of the value
        bounded(1001, 60),  # more than that
        bounded(20, 1.8),  # 9 %, but less than 2 ms
        bounded(110, 0, 50),  # in the total time of 700 ms
        bounded(120, 0, 22),
    )
    sample = load(reader)
    (kimi,) = sample.series
    assert sorted(known(kimi.numbers["ttft_ms"])) == [20, 100, 110, 120, 1000]
    assert 1001 + 590 in kimi.numbers["e2e_ms"]
    assert len(known(kimi.numbers["e2e_ms"])) == 5
    assert len(known(kimi.numbers["decode_tps"])) == 3, "5 % of 590 ms are 29.5"
    assert sample.wide == {"ttft_ms": 1, "ttfo_ms": 1, "e2e_ms": 1, "decode_tps": 3}
    assert not sample.excluded
    assert left_out(sample) == (
        "Left out for an error bound above 5 %: first token of 1, first answer word of 1, total time of 1, "
        "decode speed of 3."
    )
    assert [point.ttft_ms for point in points(reader)] == [100, 1000, None, 20, 110, 120]
    assert [point.e2e_ms is None for point in points(reader)] == [False] * 4 + [True, False]
    wide = Filters(include=frozenset({"wide"}))
    assert len(known(load(reader, wide).series[0].numbers["ttft_ms"])) == 6
    assert [point.ttft_ms for point in points(reader, wide)] == [100, 1000, 1001, 20, 110, 120]


def test_the_bound_of_a_median_is_the_median_of_the_bounds(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(writer, bounded(100, 0.9), bounded(100, 2.9), bounded(100, 4.9))
    ttft, _, e2e, *_ = lines(load(reader).series[0])
    assert ttft.bound == (3.0, 3.0, "ms")
    assert (figures(ttft)[0], bound_words(ttft)) == ("~0.10", "each ±3.0 ms")
    assert (figures(e2e)[0], bound_words(e2e)) == ("0.69", "each ±0.10 ms")


def test_leaving_attempts_out_never_empties_a_series(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    jump: list[Timed] = [(9900.0, Flag("clock_jump", "9 s"))]
    store(
        writer,
        *(turn((attempt("kimi", label="Kimi"), ended([*stream(), *jump]))) for _ in range(2)),
        *(turn((attempt("late", label="Late"), ended([*stream(), (9000, Bounds(0, 9 * MS, 0, 0))]))) for _ in range(2)),
    )
    sample = load(reader)
    assert [len(known(series.numbers["ttft_ms"])) for series in sample.series] == [2, 2]
    assert (sample.excluded, sample.wide) == ({}, {}), "nothing is left out"
    assert outweighed(sample) == (
        "Kimi has only attempts with counts or a clock that contradict themselves: they are included. "
        "Late has only wide error bounds (first token): they are included."
    )
    assert len(points(reader)) == 4
    store(
        writer,
        turn((attempt("kimi", label="Kimi"), ended(stream()))),
        turn((attempt("late", label="Late"), ended([*stream(), (9000, Bounds(0, 0, 0, 0))]))),
    )
    sample = load(reader)
    assert [len(known(series.numbers["ttft_ms"])) for series in sample.series] == [1, 1]
    assert (sample.excluded, sample.wide) == ({"suspect": 2}, {"ttft_ms": 2})
    expected = "Kimi: 2 of 3 attempts are left out. Late: most values are left out (first token)."
    assert outweighed(sample) == expected


def test_blind_turns_are_left_out_until_the_vote(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    blind = race(slots=("heavy", "kimi"))
    store(writer, blind)
    wanting = Filters(include=frozenset({"blind"}))
    assert load(reader, wanting).n == 0
    assert load(reader).excluded == {"blind": 2}
    assert points(reader) == []
    assert turns(reader) == []
    assert cost_by_day(reader) == []
    assert len("".join(csv_lines(reader, Filters())).splitlines()) == 1
    writer.write([vote_op(blind.turn_id, Vote("tie", "", ("kimi", "heavy"), True, False, "2026"))]).result(10)
    assert load(reader).n == 2
    assert len(points(reader)) == 2


def test_cut_attempts_keep_their_first_token_and_are_counted_as_censored(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(writer, race(), turn((attempt("kimi", label="Kimi"), ended(stream(300), "stopped"))))
    kimi = by_name(load(reader))["Kimi"]
    assert kimi.statuses == {"ok": 1, "stopped": 1}
    assert kimi.n_censored == 1
    assert sorted(kimi.numbers["ttft_ms"]) == [100, 300]
    assert np.isnan(kimi.numbers["e2e_ms"]).sum() == 1


FILTERED = [
    (Filters(), 6),
    (Filters(lanes=("kimi",)), 3),
    (Filters(lanes=("kimi", "heavy")), 6),
    (Filters(models=("model-heavy",)), 3),
    (Filters(providers=("heavy",)), 3),
    (Filters(since_utc="2026-11-21T12:01"), 4),
    (Filters(prompt_chars_from=100), 2),
    (Filters(prompt_chars_to=100), 4),
    (Filters(kind="bench"), 2),
    (Filters(owner="me"), 2),
    (Filters(owner=""), 4),
    (Filters(conversation_id="c"), 2),
    (Filters(lanes=("kimi",), kind="bench", owner="nobody"), 0),
    (Filters(lanes=("'; DROP TABLE measured; --",)), 0),
]


def test_filters(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(
        writer,
        race(minute=0, owner="me"),
        race(minute=1, prompt="x" * 100, conversation_id="c"),
        race(minute=2, kind="bench"),
    )
    for filters, n in FILTERED:
        assert load(reader, filters).n == n == len(points(reader, filters)), filters


def test_points_are_the_newest_and_carry_their_turn(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    logs = [race(minute=i) for i in range(4)]
    store(writer, *logs)
    assert [point.turn_id for point in points(reader, limit=4)] == [logs[i].turn_id for i in (2, 2, 3, 3)]
    assert points(reader)[0].key == Key("kimi", "model-kimi", "")
    assert points(reader)[0].output_tokens == 60


def test_choices_of_the_filters(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(
        writer, race(owner="me"), turn((attempt("z", label="Zed"), ended(stream())), owner="you", prompt="Mine only.")
    )
    assert choices(reader).lanes == [("Kimi", "kimi"), ("Heavy", "heavy"), ("Zed", "z")]
    assert choices(reader, "you").models == [("model-z", "model-z")]
    assert [title for title, _ in choices(reader, "you", "you").conversations] == ["Mine only."]
    assert [title for title, _ in choices(reader, viewer="me").conversations] == ["How many?"], "a title is a prompt"


def test_recent_turns_show_only_prompts_the_viewer_may_read(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(
        writer,
        race(minute=0, owner="me", prompt="My  secret\nquestion"),
        race(minute=1, owner="you", prompt="Your secret"),
        race(minute=2, prompt="From the terminal"),
    )
    assert [point.is_readable for point in points(reader, viewer="me")] == [True, True, False, False, True, True]
    found = turns(reader, viewer="me")
    assert [row.prompt for row in found] == ["From the terminal", None, "My secret question"]
    assert [point.key.lane for point in found[0].points] == ["kimi", "heavy"]


def test_the_time_split_adds_up(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(writer, race(), race(kimi_ms=300))
    kimi = splits(load(reader))[0]
    assert kimi.n == 2
    assert kimi.connect == 0
    assert kimi.load == 0
    assert kimi.wait == 200
    assert kimi.think == 0
    assert kimi.answer == 590


def test_cost_by_day(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    days = ["2026-11-20T23:59:59.000+00:00", "2026-11-21T00:00:00.000+00:00", "2026-11-21T09:00:00.000+00:00"]
    store(writer, *(race(started_at_utc=day) for day in days))
    each = (1000 * 1.0 + 60 * 2.0) / 1e6
    assert [(day, key.lane, round(usd / each)) for day, key, usd in cost_by_day(reader)] == [
        ("2026-11-20", "kimi", 1),
        ("2026-11-21", "kimi", 2),
    ]


def test_the_summary_is_plain_json(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    store(writer, *(race(minute=i) for i in range(7)))
    summary = json.loads(json.dumps(as_dict(load(reader))))
    assert summary["n_attempts"] == 14
    assert [series["lane"] for series in summary["series"]] == ["kimi", "heavy"]
    ttft = summary["series"][1]["ttft_ms"]
    assert ttft == {"n": 7, "median": 500, "low": 500, "high": 500, "p95": None, "p99": None, "error": None}
    paired = {row["metric"]: row for row in summary["paired"]}
    assert paired["ttft_ms"]["median"] == 400
    assert paired["ttft_ms"]["shown"]
    assert "cost_usd" not in paired, "one of the two has no price"


def test_export_has_every_column_and_says_what_was_left_out(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    lag: list[Timed] = [(900.0, Flag("clock_jump", "9 s")), (901.0, Meta(response_model='=HYPERLINK("http://x")'))]
    prompt = fold("=1+1, or why?", [Attachment("notes.txt", "a long text")])
    store(writer, race(prompt=prompt, owner="me"), turn((attempt("kimi"), ended([*stream(), *lag])), owner="you"))
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(reader, Filters(), viewer="me")))))
    assert [row["prompt"] for row in rows] == ["'=1+1, or why?\n[notes.txt]"] * 2 + [""], "another's prompt is private"
    assert [row["conversation_title"] for row in rows] == ["'=1+1, or why?"] * 2 + [""]
    assert [row["left_out"] for row in rows] == ["", "", "suspect"]
    assert float(rows[0]["ttft_ms"]) == 100
    assert rows[2]["response_model"] == '\'=HYPERLINK("http://x")', "no formula for a spreadsheet to run"
    objects = [json.loads(line) for line in b"".join(json_lines(reader, Filters(lanes=("kimi",)))).splitlines()]
    assert [row["left_out"] for row in objects] == [None, "suspect"]
    hidden = {"conversation_title": None, "prompt": None}
    assert objects[0] == {"left_out": None} | hidden | reader.attempt_metrics([objects[0]["attempt_id"]])[0]
    assert b"".join(json_lines(reader, Filters(lanes=("none",)))) == b""


def printed(report: Report, width: int = 160) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(report)
    return console.export_text()


def test_the_terminal_table(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    assert printed(Report(load(reader))).strip() == EMPTY
    store(writer, *(race(minute=i, heavy_ms=500 + i) for i in range(60)), race(minute=59))
    store(writer, turn((attempt("kimi", label="Kimi"), [(5, Answer("x")), (6, End("stopped"))])))
    text = printed(Report(load(reader)))
    assert "Kimi" in text
    assert "1 stopped" in text
    assert "p95 0.56" in text
    assert "61 without a price" in text
    assert "First token: Heavy is +0.43 s [0.42, 0.44] against Kimi on 61 prompts: later." in text
    narrow = printed(Report(load(reader)), width=72)
    assert "Kimi" in narrow.splitlines()[0]
    assert "Heavy" in narrow.splitlines()[0]
    assert "[0.52, 0.54]" in narrow
    assert NO_MATCH in printed(Report(load(reader, Filters(lanes=("none",))), filtered=True))


def test_many_lanes_keep_their_order_and_no_figure_is_shortened(log: tuple[LogWriter, LogReader]) -> None:
    writer, reader = log
    names = [f"Lane number {n}" for n in (3, 1, 2, 6, 4, 5)]
    lanes = tuple(LaneInfo(name, name, "openai", f"model-{name}") for name in names)
    attempts = [(attempt(name, label=name, price=PRICE), ended(stream(100))) for name in reversed(names)]
    store(writer, turn(*attempts, lanes=lanes))
    sample = load(reader)
    assert [series.name for series in sample.series] == names
    text = printed(Report(sample), width=60)
    assert "…" not in text
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)
    assert text.count("First token (s)") > 1
    assert text.count("0.10") >= 6


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0, "e2e_ms", "0"),
        (42, "ttft_ms", "0.042"),
        (-940, "e2e_ms", "−0.94"),
        (12_400, "e2e_ms", "12.4"),
        (123_400, "e2e_ms", "123"),
        (1_234_000, "e2e_ms", "1,234"),
        (82.84, "decode_tps", "82.8"),
        (0.000031, "cost_usd", "0.000031"),
        (0.00123, "cost_usd", "0.0012"),
        (12.345, "cost_usd", "12.35"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, column: str, text: str) -> None:
    assert bare(value, BY_COLUMN[column]) == text


def test_published_figures_of_the_report() -> None:
    assert [(figure.latency_s, figure.tokens_per_s) for figure in REPORTED] == [
        (22.66, 82.8),
        (28.22, 92.2),
        (6.21, 117.7),
    ]
    assert reported_value(REPORTED[0], "e2e_ms") == 22_660
    assert reported_value(REPORTED[0], "ttft_ms") is None
