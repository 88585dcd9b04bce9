"""The Stats tab's HTML: values from ``stats`` in ``view/templates/stats.html.jinja``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from ..stats.heavy_worth import HeavyWorth
from ..stats.sample import Point, Sample, Series, TurnRow
from ..stats.summary import (
    METRICS,
    Line,
    Metric,
    amount,
    bound_words,
    comparisons,
    counted,
    figures,
    left_out,
    lines,
    not_compared,
    outweighed,
    percentiles_from,
    served_by,
    total,
)
from ..stats.terminal import EMPTY, NO_MATCH
from ..stats.votes import LaneVotes, Votes, percent, sentence
from ..view.jinja import render_part
from ..view.lane_colours import lane_accent
from .stats_plots import REPORTED_DASH, Look, ReportedLine, turn_link

LEFT_OUT = {"suspect": "suspect", "cold": "cold start", "superseded": "retried", "reaggregated": "aggregated again"}
TOTAL_TIME = next(metric for metric in METRICS if metric.column == "e2e_ms")
VOTE_KINDS = {True: "Blind", False: "With names and pace in sight"}
VOTE_COLUMNS = ("Voted best", "Votes", "Tie", "Another was best", "All bad")

_part = partial(render_part, "stats")


class _Cell(NamedTuple):
    """One metric of one series."""

    label: str
    value: str
    more: list[str]
    is_none: bool
    bound: str  # in words, empty if it is not known


class _Pair(NamedTuple):
    """A comparison as a sentence. ``shown``: the data show a difference."""

    sentence: str
    shown: bool


class _TurnCell(NamedTuple):
    """A lane's total time in one turn. ``muted``: there is no time, or the figures exclude it."""

    label: str
    text: str
    muted: bool


def overview(sample: Sample, look: Look, filtered: bool) -> str:
    """The sentence about the sample, and the table of series."""
    if not sample.series:
        return _part("nothing", NO_MATCH if filtered else EMPTY)
    attempts = "1 attempt" if sample.n == 1 else f"{sample.n:,} attempts"
    rows = [_series_row(series, colour) for series, colour in zip(sample.series, look.colours, strict=True)]
    notes = (outweighed(sample), left_out(sample), percentiles_from(sample))
    return _part("overview", attempts, *notes, METRICS, rows)


def _series_row(series: Series, colour: str) -> dict[str, Any]:
    n, *not_counted = counted(series)
    cost, *notes = total(series)
    return {
        "name": series.name,
        "colour": colour,
        "served_by": served_by(series),
        "n": n,
        "not_counted": ", ".join(not_counted),
        "cells": [_cell(line) for line in lines(series)],
        "cost": cost,
        "cost_notes": ", ".join(notes),
    }


def _cell(line: Line) -> _Cell:
    value, *more = figures(line)
    label = f"{line.metric.name}, {line.metric.unit}"
    return _Cell(label, value, more, line.estimate.value is None, bound_words(line))


def paired(sample: Sample, metric: Metric) -> str:
    """The comparisons of one metric as sentences, differences highlighted; without comparisons, the reason."""
    found = comparisons(sample, metric)
    if not found:
        return _part("not_compared", not_compared(sample, metric))
    return _part("paired", metric, [_Pair(one.sentence, one.difference.shown) for one in found])


def legend(look: Look, metric: Metric, rules: Sequence[ReportedLine] | None) -> str:
    """One legend for all plots: a lane's colour, and the dash of its second and third model.

    ``rules``: the published figures shown, empty if this metric has none; None if they are switched off.
    """
    series = zip(look.names.values(), look.colours, look.dashes, strict=True)
    missing = metric.name.lower() if rules == [] else ""
    return _part("legend", list(series), [(rule.text, rule.colour, REPORTED_DASH) for rule in rules or ()], missing)


def voted(votes: Votes, lanes: Sequence[str]) -> str:
    """The section on votes. ``lanes``: ids in the page's order, which determines the colours. Empty without votes."""
    if not votes.lanes:
        return ""
    order = list(dict.fromkeys([*lanes, *(one.lane for one in votes.lanes)]))
    kinds = []
    for blind, title in VOTE_KINDS.items():
        rows = [_vote_row(one, lane_accent(order.index(one.lane))) for one in votes.lanes if one.blind == blind]
        pairs = [_Pair(sentence(pair), pair.shown) for pair in votes.pairs if pair.blind == blind]
        if rows:
            kinds.append({"title": title, "rows": rows, "pairs": pairs})
    turns = "1 turn" if votes.n_turns == 1 else f"{votes.n_turns:,} turns"
    return _part("votes", turns, VOTE_COLUMNS, kinds)


def _vote_row(one: LaneVotes, colour: str) -> dict[str, Any]:
    low, high = one.interval
    return {
        "name": one.name,
        "colour": colour,
        "share": f"{one.wins:,} · {percent(one.share)}",
        "interval": f"[{percent(low)}, {percent(high)}]",
        "counts": [f"{count:,}" for count in (one.n, one.ties, one.losses, one.all_bad)],
    }


def heavy_worth(found: Sequence[HeavyWorth]) -> str:
    """The section on heavy beside the single answers of its model. Empty without such turns."""
    return _part("heavy_worth", [one.sentences() for one in found]) if found else ""


def recent(rows: Sequence[TurnRow], lanes: Sequence[tuple[str, str]]) -> str:
    """The newest turns with every lane's total time; the visitor's own have links. ``lanes``: ids and names."""
    if not rows:
        return ""
    return _part("recent", [name for _, name in lanes], [_turn_row(row, lanes) for row in rows])


def _turn_row(row: TurnRow, lanes: Sequence[tuple[str, str]]) -> dict[str, Any]:
    newest = {point.key.lane: point for point in row.points}  # for a lane with two models, the later one
    return {
        "when": row.started_at_utc[:16].replace("T", " "),
        "link": turn_link(row.turn_id),
        "prompt": row.prompt,
        "cells": [_turn_cell(newest.get(lane), name) for lane, name in lanes],
    }


def _turn_cell(point: Point | None, label: str) -> _TurnCell:
    """A lane's total time, or how it ended without one, and why the figures exclude it."""
    if point is None:
        return _TurnCell(label, "–", True)
    text = point.status if point.e2e_ms is None else amount(point.e2e_ms, TOTAL_TIME)
    if point.left_out:
        text += f" · {LEFT_OUT[point.left_out]}"
    return _TurnCell(label, text, point.e2e_ms is None or bool(point.left_out))


def downloads(query: str) -> str:
    """Links to the attempts behind the figures, and to the log itself."""
    return _part("downloads", f"?{query}" if query else "")
