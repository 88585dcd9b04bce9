"""The report's tables as words, for HTML and for Markdown. An unknown figure is the word unknown or n/a, never 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ...core.heavy.worth import Gain, Reason
from ...stats.reported import REPORTED
from ...stats.statistics import Interval, Median, wilson
from ..statistics import Paired, Share, whole_points
from ..summary import LaneSummary, Summary
from ..summary.accuracy import CONTEXT, CUT, ENDPOINT, LIMIT, NOT_RUN, RIGHT, UNREADABLE, WRONG, Accuracy, Pair
from ..summary.heavy import Explained
from ..summary.words import (
    UNKNOWN_WORD,
    at_least,
    category_name,
    counted,
    duration,
    money,
    percent,
    percents,
    points,
    span,
    speed,
    until_right,
)

NOTHING = "n/a"
KIND_NAMES = {
    RIGHT: "right",
    WRONG: "wrong",
    CUT: "cut",
    UNREADABLE: "unreadable",
    LIMIT: "sandbox or time limit",
    ENDPOINT: "server failed",
    CONTEXT: "context too small",
    NOT_RUN: "not run",
}
WORTH_WORDS = {
    Gain.NOTHING_TO_GAIN: "both right: nothing to gain",
    Gain.HELPED: "only heavy right: it helped",
    Gain.HURT: "only the single answer right: it hurt",
    Gain.DID_NOT_HELP: "both wrong: it did not help",
}
REASON_WORDS = {
    Reason.KEPT: "a trajectory was right, and so is the answer",
    Reason.LOST: "a trajectory was right, the answer is wrong: lost",
    Reason.BEYOND: "no trajectory was right, the answer is: beyond its trajectories",
    Reason.NONE_RIGHT: "no trajectory was right: nothing to find",
}


class Cell(NamedTuple):
    """``text`` and what stands small below it. ``bar``: a share with its interval, to be drawn on 0..1."""

    text: str
    more: str = ""
    bar: tuple[float, Interval] | None = None


class Row(NamedTuple):
    """``place``: of the lane, for its colour; None for a row that is not a lane's."""

    place: int | None
    name: str
    more: str
    cells: tuple[Cell, ...]


class Table(NamedTuple):
    """``note`` says how to read it."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def tables(summary: Summary) -> dict[str, Table]:
    """The tables that have rows, by name."""
    found = {
        "accuracy": accuracy_table(summary),
        "takes": takes_table(summary),
        "outcomes": outcomes_table(summary),
        "differences": differences_table(summary, by_category=False),
        "by_category": differences_table(summary, by_category=True),
        "first_report": first_report_table(summary),
    }
    return {name: table for name, table in found.items() if table.rows}


def lane_row(summary: Summary, place: int, cells: Sequence[Cell]) -> Row:
    lane = summary.lanes[place].lane
    model = f"{lane.model}{', stand-in' if lane.stand_in else ''}"
    return Row(place, lane.label, model, tuple(cells))


def share_cell(found: Share, unit: str = "case") -> Cell:
    if found.value is None or found.interval is None:
        return Cell(NOTHING, "no verdict")
    more = f"{percents(found.interval)}, {counted(found.n, unit)}"
    return Cell(percent(found.value), more, (found.value, found.interval))


def accuracy_table(summary: Summary) -> Table:
    def cells(one: LaneSummary) -> list[Cell]:
        by_category: list[Accuracy] = [one.by_category[category] for category in summary.categories]
        return [share_cell(each.graded) for each in (one.overall, *by_category)] + [share_cell(one.overall.delivered)]

    note = (
        "Share of right answers among those with a verdict, with the range that holds the true value in 95 of 100 such "
        "runs, and the number of cases. Delivered: of all answers that were sent, whatever became of them."
    )
    columns = ("All cases", *(category_name(one).capitalize() for one in summary.categories), "Delivered")
    rows = [lane_row(summary, place, cells(one)) for place, one in enumerate(summary.lanes)]
    return Table("Right answers", note, columns, tuple(rows))


def takes_table(summary: Summary) -> Table:
    def cells(one: LaneSummary) -> list[Cell]:
        found = one.figures
        cost = money(found.cost_usd)
        return [
            *(_estimate(each, duration) for each in (found.ttft_s, found.ttfo_s, found.total_s)),
            _estimate(found.decode_tps, speed),
            _split(cost),
            _split(until_right(found.time_to_correct_s)),
            _split(money(found.cost_per_correct_usd)),
            _tokens(one),
        ]

    note = (
        "Medians over the cases, each with its range. Cost is the mean. A right answer takes all that was spent, "
        "failures included, divided by the number of right answers."
    )
    columns = (
        *("First token", "First word of the answer", "Whole answer", "Speed while writing"),
        *("Cost of an answer", "Time to a right answer", "Cost of a right answer", "Output tokens"),
    )
    rows = [lane_row(summary, place, cells(one)) for place, one in enumerate(summary.lanes)]
    return Table("What an answer takes", note, columns, tuple(rows))


def _estimate(found: Median, words: Callable[[float], str]) -> Cell:
    if found.value is None:
        return Cell(UNKNOWN_WORD)
    if found.interval is None:
        return Cell(words(found.value), f"{counted(found.n, 'case')}, too few for a range")
    return Cell(words(found.value), span(found.interval, words))


def _split(text: str) -> Cell:
    """ "31 s (26 to 38 s)" as a cell: what is in brackets stands below."""
    first, _, more = text.partition(" (")
    return Cell(first, more.removesuffix(")"))


def _tokens(one: LaneSummary) -> Cell:
    found = one.figures
    if found.output_tokens is None:
        return Cell(UNKNOWN_WORD)
    thinking = "" if found.reasoning_tokens is None else f"{found.reasoning_tokens:,} of them reasoning"
    return Cell(f"{found.output_tokens:,}", thinking)


def outcomes_table(summary: Summary) -> Table:
    """Only kinds that occur have a column; right and wrong always have one."""
    kinds = [
        name for name in KIND_NAMES if name in (RIGHT, WRONG) or any(one.overall.counts[name] for one in summary.lanes)
    ]
    rows = [
        lane_row(
            summary,
            place,
            [Cell(f"{one.overall.counts[name]:,}") for name in kinds] + [_flips(one)],
        )
        for place, one in enumerate(summary.lanes)
    ]
    note = (
        "Every answer is counted once. Only right and wrong enter the accuracy. Flips: cases asked several times whose "
        "verdicts are not all the same."
    )
    return Table(
        "What became of the answers", note, (*(KIND_NAMES[name].capitalize() for name in kinds), "Flips"), tuple(rows)
    )


def _flips(one: LaneSummary) -> Cell:
    if one.flips.share is None:
        return Cell(NOTHING, "asked once")
    return Cell(percent(one.flips.share), f"of {counted(one.flips.n, 'case')}")


def differences_table(summary: Summary, *, by_category: bool) -> Table:
    labels = {one.lane.id: one.lane.label for one in summary.lanes}
    rows = []
    for pair in summary.pairs:
        if (pair.category is not None) != by_category or (by_category and len(summary.categories) < 2):
            continue
        name = f"{labels[pair.second]} − {labels[pair.first]}"
        more = category_name(pair.category) if pair.category else ""
        rows.append(Row(None, name, more, (*_difference(pair.graded, pair), difference_cell(pair.delivered))))
    note = (
        "In percentage points, on the same cases: above 0 the lane that is named first is right more often. A "
        "difference is called shown if chance is ruled out, corrected for the number of comparisons, and it is not "
        "smaller than what this run could have shown."
    )
    columns = ("Difference", "Could have shown", "Verdict", "Only one is right", "p", "Delivered")
    return Table("Differences by category" if by_category else "Differences", note, columns, tuple(rows))


def _difference(found: Paired, pair: Pair) -> list[Cell]:
    if found.difference is None or found.could_have_shown is None or pair.p_corrected is None:
        return [Cell(NOTHING, "no common case"), Cell(NOTHING), Cell("not shown"), Cell(NOTHING), Cell(NOTHING)]
    return [
        difference_cell(found),
        Cell(f"≥ {at_least(found.could_have_shown)}" if whole_points(found.could_have_shown) < 100 else NOTHING),
        Cell("shown" if pair.shown else "not shown"),
        Cell(f"{found.c} : {found.b}", "in this order"),
        Cell(p_words(pair.p_corrected), "corrected"),
    ]


def difference_cell(found: Paired) -> Cell:
    if found.difference is None or found.interval is None:
        return Cell(NOTHING)
    low, high = found.interval
    more = f"{signed_points(low)} to {signed_points(high)}, {counted(found.n, 'case')}"
    return Cell(signed_points(found.difference), more)


def signed_points(value: float) -> str:
    n = round(100 * value)
    return "0" if n == 0 else f"{'+' if n > 0 else '−'}{abs(n)}"


def p_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def first_report_table(summary: Summary) -> Table:
    """The published figures beside this run's, for the lanes that both have."""
    rows = []
    for figure in REPORTED:
        place = next((i for i, one in enumerate(summary.lanes) if one.lane.id in figure.lanes), None)
        if place is None:
            continue
        ours = summary.lanes[place]
        interval = wilson(figure.n_right, figure.n)
        rows.append(
            lane_row(
                summary,
                place,
                [
                    Cell(percent(figure.n_right / figure.n), f"{percents(interval)}, {counted(figure.n, 'case')}"),
                    share_cell(ours.overall.graded),
                    Cell(f"{figure.latency_s:.1f} s", "mean, no range given"),
                    _estimate(ours.figures.total_s, duration),
                    Cell(f"{figure.tokens_per_s:g} tok/s", "how counted is not said"),
                    _estimate(ours.figures.decode_tps, speed),
                    Cell(figure.cost, "a guess"),
                    _split(money(ours.figures.cost_usd)),
                ],
            )
        )
    note = (
        "The report of 16 November 2025 on 5 cases, and this run. The ranges of the published shares are computed "
        "here: with 5 cases, 80 % may be anything from 38 to 96 %."
    )
    columns = tuple(
        f"{what}, {whose}"
        for what in ("Right", "Whole answer", "Speed", "Cost of an answer")
        for whose in ("published", "here")
    )
    return Table("Beside the first report", note, columns, tuple(rows))


def heavy_tables(summary: Summary, one: Explained) -> tuple[Table, ...]:
    """What was found; the two axes, each answer counted once on each; the explanations."""
    label = {each.lane.id: each.lane.label for each in summary.lanes}
    k = one.width
    single = f"{label[one.of]}, one answer" if one.of in label else "the single answer"
    shares = [
        (single, "on the same cases", one.single),
        (f"oracle@{k}", "at least one trajectory right", one.oracle),
        (f"majority@{k}", "what most trajectories say, where that can be counted", one.majority),
        ("hybrid", "heavy's own answer", one.hybrid),
    ]
    found = Table(
        "What its trajectories had",
        f"Selection loss, found and not chosen: {points(one.totals.selection_loss or 0)}. Against a plain vote, the "
        f"aggregation gained {counted(one.totals.gained, 'answer')} and lost {one.totals.lost}.",
        ("Right",),
        tuple(Row(None, name, more, (share_cell(each),)) for name, more, each in shares),
    )

    def axis(title: str, note: str, words: Mapping[Any, str], counts: Mapping[str, int], n: int) -> Table:
        rows = tuple(Row(None, words[name], "", (Cell(f"{k:,}", f"of {n:,}"),)) for name, k in counts.items())
        return Table(title, note, ("Answers",), rows)

    why = [
        Row(None, each.claim, f"among {each.among}", (Cell(each.state), share_cell(each.share)))
        for each in one.explanations
    ]
    return (
        found,
        axis("Was it worth it?", f"Heavy's answers beside those of {single}.", WORTH_WORDS, one.worth, one.n_beside),
        axis("Why?", "What the trajectories had, and what became of it.", REASON_WORDS, one.reasons, one.totals.n),
        Table(
            "Which explanation the data support",
            "Supported: it holds in most of the cases. Not supported: in a minority. Unknown: fewer than 20 cases.",
            ("Data", "Holds in"),
            tuple(why),
        ),
    )
