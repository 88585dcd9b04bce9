"""The plane of accuracy and of what an answer takes, as coordinates of an SVG. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ...core.metric_words import usd
from ...stats.statistics import Interval
from ..summary import LaneSummary, Summary
from ..summary.figures import Edge
from ..summary.words import duration, names, percent

WIDTH, HEIGHT = 560, 330
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 16, 46
LOG_FROM = 8  # costs that span more than this factor get a logarithmic axis
LABEL_GAP = 15
CHAR_WIDTH = 8.2  # of a label, generous


class Mark(NamedTuple):
    """A lane: its place on the plane, and the ends of its intervals (equal to it where there is none)."""

    place: int
    label: str
    x: float
    y: float
    left: float
    right: float
    low: float
    high: float
    label_x: float
    label_y: float
    anchor: str
    on_edge: bool


class Chart(NamedTuple):
    """``edge``: the path of the Pareto edge, empty with fewer than two lanes on it. ``missing``: who is not drawn, and
    why. ``text``: the same in words."""

    title: str
    x_title: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]
    edge: str
    missing: str
    text: str


def charts(summary: Summary) -> list[Chart]:
    """One for each axis on which at least one lane is known."""
    found = (_chart(edge, summary) for edge in summary.edges)
    return [chart for chart in found if chart is not None]


def _chart(edge: Edge, summary: Summary) -> Chart | None:
    in_seconds = edge.axis == "seconds"
    title = "Accuracy and total time" if in_seconds else "Accuracy and cost"
    x_title = "median time of a whole answer" if in_seconds else "mean cost of an answer"
    words: Callable[[float], str] = duration if in_seconds else usd
    tick: Callable[[float], str] = (lambda value: f"{value:g} s") if in_seconds else (lambda value: f"${value:g}")
    known = {
        point.name: (point.cost, point.quality)
        for point in edge.points
        if point.cost is not None and point.quality is not None
    }
    if not known:
        return None
    lanes = {one.lane.id: (place, one) for place, one in enumerate(summary.lanes)}
    limits = {id: _interval(lanes[id][1], in_seconds) or Interval(cost, cost) for id, (cost, _) in known.items()}
    highest = max([*(limit.high for limit in limits.values() if math.isfinite(limit.high)), 1e-9])
    scale, x_ticks = _x_axis(min(limit.low for limit in limits.values()), highest, tick)
    lowest = min(interval.low for id in known if (interval := lanes[id][1].overall.graded.interval) is not None)
    bottom = math.floor(10 * max(0.0, lowest - 0.02)) / 10
    step = 0.1 if bottom > 0.5 else 0.2
    bottom = max(0.0, 1 - step * math.ceil(round((1 - bottom) / step, 6)))

    def up(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (share - bottom) / (1 - bottom))

    marks = []
    for id, (cost, quality) in known.items():
        place, one = lanes[id]
        interval = one.overall.graded.interval or Interval(quality, quality)
        x = scale(cost)
        far_right = x + 9 + CHAR_WIDTH * len(one.lane.label) > WIDTH
        marks.append(
            Mark(
                *(place, one.lane.label, x, up(quality)),
                *(scale(limits[id].low), scale(min(limits[id].high, highest)), up(interval.low), up(interval.high)),
                *(x - 9 if far_right else x + 9, up(quality) - 7, "end" if far_right else "start"),
                id in edge.best,
            )
        )
    missing = [one.lane.label for one in summary.lanes if one.lane.id not in known]
    what = "time" if in_seconds else "cost"
    said = ", ".join(
        f"{one.lane.label} {percent(known[one.lane.id][1])} right at {words(known[one.lane.id][0])}"
        for one in summary.lanes
        if one.lane.id in known
    )
    return Chart(
        title,
        x_title + (", logarithmic" if _is_log(limits, highest) else ""),
        tuple(x_ticks),
        tuple((up(bottom + i * step), percent(bottom + i * step)) for i in range(round((1 - bottom) / step) + 1)),
        tuple(_apart(marks)),
        _edge_path(sorted((mark.x, mark.y) for mark in marks if mark.on_edge)),
        f"Not drawn, since accuracy or {what} is unknown: {names(missing)}." if missing else "",
        f"{title}: {said}.",
    )


def _interval(one: LaneSummary, in_seconds: bool) -> Interval | None:
    return one.figures.total_s.interval if in_seconds else one.figures.cost_usd.interval


def _is_log(limits: Mapping[str, Interval], highest: float) -> bool:
    lowest = min(limit.low for limit in limits.values())
    return lowest > 0 and highest / lowest > LOG_FROM


def _x_axis(
    lowest: float, highest: float, words: Callable[[float], str]
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """The scale, from 0 or logarithmic, and up to six ticks at round numbers."""
    width = WIDTH - LEFT - RIGHT
    if lowest > 0 and highest / lowest > LOG_FROM:
        low, high = math.log10(lowest / 1.3), math.log10(highest * 1.3)
        exponents = range(math.floor(low), math.ceil(high) + 1)
        round_ = [m * 10.0**e for e in exponents for m in (1, 3) if low <= math.log10(m * 10.0**e) <= high]

        def log_scale(value: float) -> float:
            return LEFT + width * (math.log10(value) - low) / (high - low)

        return log_scale, [(log_scale(value), words(value)) for value in round_]
    top = highest * 1.12
    step = next(m * 10.0**e for e in range(-7, 7) for m in (1, 2, 5) if top / (m * 10.0**e) <= 6)

    def linear(value: float) -> float:
        return LEFT + width * value / top

    return linear, [(linear(i * step), words(i * step) if i else "0") for i in range(int(top / step) + 1)]


def _apart(marks: list[Mark]) -> list[Mark]:
    """Labels moved down until none covers another one, or another lane's dot."""
    found: list[Mark] = []
    for mark in sorted(marks, key=lambda one: one.label_y):
        left, right = _ends(mark)
        taken = [one.label_y for one in found if _ends(one)[0] < right and left < _ends(one)[1]]
        taken += [one.y + 4 for one in marks if one is not mark and left - 6 < one.x < right + 6]
        y = mark.label_y
        while any(abs(y - other) < LABEL_GAP for other in taken):
            y += 1
        found.append(mark._replace(label_y=y))
    return sorted(found, key=lambda one: one.place)


def _ends(mark: Mark) -> tuple[float, float]:
    """Where a mark's label begins and ends."""
    width = CHAR_WIDTH * len(mark.label)
    return (mark.label_x, mark.label_x + width) if mark.anchor == "start" else (mark.label_x - width, mark.label_x)


def _edge_path(corners: list[tuple[float, float]]) -> str:
    """A staircase: up at each lane on the edge, as nothing between two of them is known to exist."""
    if len(corners) < 2:
        return ""
    path = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}"
    for x, y in corners[1:]:
        path += f"H{x:.1f}V{y:.1f}"
    return path
