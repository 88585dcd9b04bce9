"""The plots of the Stats tab as Vega-Lite specifications of plain values, which ``stats`` computes.

Gradio's page includes Vega-Lite and accepts specifications directly; building them with Altair added 0.5 s to the first
opening of the tab. Charts are SVG and use the page's CSS variables as colours, so they follow light and dark mode. A
lane has its usual accent, and all plots share one legend. A dot links to its turn if the turn is the visitor's. All
times are UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import orjson

from ..stats.reported import REPORTED, reported_value
from ..stats.sample import Key, Point, Sample
from ..stats.statistics import ecdf, known
from ..stats.summary import Metric, Split
from ..view.lane_colours import lane_accent
from .gradio_internals import PlotData

HEIGHT = 250  # px of the plotting area, without title and axes
LOG_FROM = 50  # values that span more than this factor get a logarithmic axis
DOTS = 300  # per series in the distribution
DAYS = 7  # minimum length of the cost axis, and maximum number of its labels
DASHES = ([1, 0], [6, 3], [2, 3], [8, 3, 2, 3])  # a lane's second, third … model: same accent, other dash
REPORTED_DASH = [1, 4]
LINK = {"condition": {"test": "datum.href", "field": "href"}}  # for a dot
CURSOR = {"expr": "datum.href ? 'pointer' : 'default'"}
TIMES = {  # maximum length of a time axis -> its time format
    timedelta(minutes=15): "%H:%M:%S",
    timedelta(days=1): "%H:%M",
    timedelta(days=7): "%b %d, %H:%M",
    timedelta(days=300): "%b %d",
    timedelta.max: "%b %Y",
}
INK, FAINT, LINE = "var(--body-text-color)", "var(--body-text-color-subdued)", "var(--border-color-primary)"
FONT = "IBM Plex Sans, system-ui, sans-serif"  # by name, since Vega measures text and cannot resolve CSS variables
PARTS = {  # of an attempt's time, in order; mid tones visible on light and dark
    "connect": ("connect", "#8d99ae"),
    "load": ("load model", "#c58b3b"),
    "wait": ("read prompt", "#5b8fd6"),
    "think": ("think", "#9a6fd0"),
    "answer": ("answer", "#3a9d78"),
}

Spec = dict[str, Any]  # a part of a Vega-Lite specification


class Look(NamedTuple):
    """The appearance of a sample's series: names in order, with a colour and a dash for each.

    ``accents``: every lane's colour by its id.
    """

    names: dict[Key, str]
    colours: list[str]
    dashes: list[list[int]]
    accents: dict[str, str]

    @classmethod
    def of(cls, sample: Sample, lanes: Sequence[str]) -> Look:
        """``lanes``: ids in the page's order, which is the order of the accents; other lanes follow."""
        order = dict.fromkeys([*lanes, *(series.key.lane for series in sample.series)])
        accents = {lane: lane_accent(place) for place, lane in enumerate(order)}
        seen: dict[str, int] = {}
        dashes = []
        for series in sample.series:
            lane = series.key.lane
            dashes.append(list(DASHES[seen.get(lane, 0) % len(DASHES)]))
            seen[lane] = seen.get(lane, 0) + 1
        colours = [accents[series.key.lane] for series in sample.series]
        return cls({series.key: series.name for series in sample.series}, colours, dashes, accents)


class ReportedLine(NamedTuple):
    """A published figure as a line in the distribution, and as an entry of the legend."""

    text: str
    value: float
    colour: str


def reported_rules(metric: Metric, look: Look) -> list[ReportedLine]:
    """The published figures of a metric, each in the colour of its lane; empty if there are none."""
    found = []
    for figure in REPORTED:
        value = reported_value(figure, metric.column)
        if value is not None:
            colour = next((look.accents[lane] for lane in figure.lanes if lane in look.accents), FAINT)
            found.append(ReportedLine(f"{figure.name}, reported {value / metric.scale:g} {metric.unit}", value, colour))
    return found


def distribution(
    sample: Sample, points: Sequence[Point], metric: Metric, look: Look, rules: Sequence[ReportedLine] = ()
) -> PlotData | None:
    """The share of attempts at or below x: a line per series, dots for its newest attempts, ``rules`` across."""
    steps, dots, numbers = [], [], []
    for series in sample.series:
        ordered = known(series.numbers[metric.column])
        if not len(ordered):
            continue
        numbers.append(ordered)
        steps.append({"name": series.name, "x": _scaled(ordered[0], metric), "share": 0})
        steps += [{"name": series.name, "x": _scaled(value, metric), "share": share} for value, share in ecdf(ordered)]
        own = ((point, _value(point, metric)) for point in points if point.key == series.key)
        for point, value in [(point, value) for point, value in own if value is not None][-DOTS:]:
            share = int(np.searchsorted(ordered, value, side="right")) / len(ordered)
            dots.append(_dot(point, look) | {"x": _scaled(value, metric), "share": share})
    if not numbers:
        return None
    x = {"field": "x", "type": "quantitative", "scale": _scale(np.concatenate(numbers)), "title": _title(metric)}
    y = {"field": "share", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": {"format": "%"}}
    place = {"x": x, "y": y | {"title": "share of attempts"}, "color": _colour(look)}
    layers = [
        {
            "data": {"values": steps},
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.5},
            "encoding": place | {"strokeDash": _nominal("name", list(look.names.values()), look.dashes)},
        },
        *(
            {
                "data": {"values": [{"x": _scaled(rule.value, metric), "text": rule.text}]},
                "mark": {"type": "rule", "strokeDash": REPORTED_DASH, "strokeWidth": 2, "color": rule.colour},
                "encoding": {"x": x, "tooltip": {"field": "text", "title": "published"}},
            }
            for rule in rules
        ),
        {
            "data": {"values": dots},
            "mark": {"type": "circle", "size": 36, "opacity": 0.75, "cursor": CURSOR},
            "encoding": place | {"href": LINK, "tooltip": _tooltips(metric, "x")},
        },
    ]
    return _plot("Share of attempts at or below; a dot opens its turn", {"layer": layers})


def timeline(points: Sequence[Point], metric: Metric, look: Look) -> PlotData | None:
    """Every attempt at its start time."""
    rows = [
        _dot(point, look) | {"at": point.started_at_utc, "y": _scaled(value, metric)}
        for point in points
        if (value := _value(point, metric)) is not None
    ]
    if not rows:
        return None
    first, last = (datetime.fromisoformat(pick(row["at"] for row in rows)) for pick in (min, max))
    at = {
        "field": "at",
        "type": "temporal",
        "title": "sent (UTC)",
        "scale": {"type": "utc", "nice": "minute"},
        "axis": {"format": next(form for longest, form in TIMES.items() if last - first <= longest), "tickCount": 5},
    }
    y = {"field": "y", "type": "quantitative", "scale": _scale([row["y"] for row in rows]), "title": _title(metric)}
    return _dots(f"Timeline: {metric.name.lower()}", rows, {"x": at, "y": y, "tooltip": _tooltips(metric, "y")}, look)


def tokens_against_time(points: Sequence[Point], look: Look) -> PlotData | None:
    """Output tokens against total time: the slope is the end-to-end speed."""
    rows = [
        _dot(point, look) | {"tokens": point.output_tokens, "seconds": point.e2e_ms / 1000}
        for point in points
        if point.output_tokens is not None and point.e2e_ms is not None
    ]
    encoding = {
        "x": {"field": "seconds", "type": "quantitative", "title": "total time (s)"},
        "y": {"field": "tokens", "type": "quantitative", "title": "output tokens"},
        "tooltip": [
            {"field": "name", "title": "lane"},
            {"field": "tokens", "type": "quantitative", "format": ","},
            {"field": "seconds", "type": "quantitative", "format": ",.1f"},
        ],
    }
    return _dots("Tokens against time", rows, encoding, look)


def time_split(splits: Sequence[Split]) -> PlotData | None:
    """Mean seconds per part of an attempt, one bar per series."""
    if not splits:
        return None
    rows = [
        {"name": split.name, "part": title, "order": order, "seconds": getattr(split, part) / 1000, "n": split.n}
        for split in splits
        for order, (part, (title, _)) in enumerate(PARTS.items())
    ]
    titles, colours = zip(*PARTS.values(), strict=True)
    legend = {"title": None, "orient": "bottom", "symbolType": "square", "columns": 2}
    height = max(HEIGHT - 58, 36 * len(splits))  # minus the legend's three lines
    spec = {
        "data": {"values": rows},
        "mark": {"type": "bar", "size": min(34, 0.62 * height / len(splits))},
        "encoding": {
            "x": {"field": "seconds", "type": "quantitative", "title": "mean time (s)"},
            "y": {
                "field": "name",
                "type": "nominal",
                "title": None,
                "sort": [split.name for split in splits],
                "axis": {"labelLimit": 130},
            },
            "color": _nominal("part", titles, colours) | {"legend": legend},
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [
                {"field": "name", "title": "lane"},
                {"field": "part"},
                {"field": "seconds", "type": "quantitative", "format": ",.2f"},
                {"field": "n", "type": "quantitative", "format": ","},
            ],
        },
    }
    return _plot("Where the time goes", spec, height)


def cost_over_days(days: Sequence[tuple[str, Key, float]], look: Look) -> PlotData | None:
    """USD per day and series; ``days`` in order."""
    rows = [{"day": day, "name": look.names[key], "usd": usd} for day, key, usd in days if key in look.names]
    if not rows:
        return None
    first, last = (datetime.fromisoformat(days[place][0]).replace(tzinfo=UTC) for place in (0, -1))
    first = min(first, last - timedelta(days=DAYS - 1))
    span = (last - first).days + 1
    noons = [last + timedelta(days=-back, hours=12) for back in range(0, span, -(-span // DAYS))]
    spec = {
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {
                "timeUnit": "utcyearmonthdate",
                "field": "day",
                "type": "temporal",
                "title": "day (UTC)",
                "scale": {"type": "utc", "domain": [_epoch_ms(first), _epoch_ms(last + timedelta(days=1))]},
                "axis": {"format": "%b %d", "values": [_epoch_ms(noon) for noon in noons], "grid": False},
            },
            "y": {"field": "usd", "type": "quantitative", "title": "cost ($)"},
            "color": _colour(look),
            "tooltip": [
                {"field": "day", "title": "day (UTC)"},
                {"field": "name", "title": "lane"},
                {"field": "usd", "type": "quantitative", "title": "cost", "format": "$,.4f"},
            ],
        },
    }
    return _plot("Cost per day", spec)


def turn_link(turn_id: str) -> str:
    """The URL that opens a turn for reading and replay."""
    return f"/?turn={quote(turn_id, safe='')}"


def _value(point: Point, metric: Metric) -> float | None:
    value: float | None = getattr(point, metric.column)
    return value


def _scaled(value: Any, metric: Metric) -> float:
    return float(value) / metric.scale


def _title(metric: Metric) -> str:
    return f"{metric.name.lower()} ({metric.unit})"


def _epoch_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _dot(point: Point, look: Look) -> dict[str, Any]:
    return {
        "name": look.names.get(point.key, point.key.lane),
        "href": turn_link(point.turn_id) if point.is_readable else None,
        "status": point.status,
        "when": point.started_at_utc[:16].replace("T", " "),
    }


def _dots(title: str, rows: list[dict[str, Any]], encoding: Spec, look: Look) -> PlotData | None:
    """A plot of attempts as dots that open their turns; None without attempts."""
    if not rows:
        return None
    mark = {"type": "circle", "size": 34, "opacity": 0.7, "cursor": CURSOR}
    encoding = encoding | {"color": _colour(look), "href": LINK}
    return _plot(title, {"data": {"values": rows}, "mark": mark, "encoding": encoding})


def _tooltips(metric: Metric, field: str) -> list[Spec]:
    return [
        {"field": "name", "title": "lane"},
        {"field": field, "type": "quantitative", "title": _title(metric), "format": ",.4~f"},
        {"field": "status"},
        {"field": "when", "title": "sent (UTC)"},
    ]


def _colour(look: Look) -> Spec:
    return _nominal("name", list(look.names.values()), look.colours)


def _nominal(field: str, domain: Sequence[str], values: Sequence[Any]) -> Spec:
    """The encoding of a nominal field with a fixed value for each name, without a legend."""
    return {"field": field, "type": "nominal", "scale": {"domain": domain, "range": values}, "legend": None}


def _scale(values: Any) -> Spec:
    """Linear from 0, or logarithmic if the values span more than ``LOG_FROM``."""
    low, high = float(np.min(values)), float(np.max(values))
    return {"type": "log", "nice": True} if low > 0 and high / low > LOG_FROM else {"zero": True, "nice": True}


def _plot(title: str, spec: Spec, height: int = HEIGHT) -> PlotData:
    """Add the title, size, fonts and colours shared by all charts, in the form that Gradio expects."""
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": title, "anchor": "start", "offset": 10},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": "transparent",
        "usermeta": {"embedOptions": {"renderer": "svg", "actions": False}},
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "title": {"color": INK, "fontSize": 13, "fontWeight": "bold"},
            "axis": {
                "labelColor": FAINT,
                "titleColor": FAINT,
                "gridColor": LINE,
                "domainColor": LINE,
                "tickColor": LINE,
                "labelFontSize": 11,
                "labelSeparation": 6,
                "titleFontSize": 12,
                "titleFontWeight": "normal",
            },
            "legend": {"labelColor": FAINT, "labelFontSize": 11},
        },
    }
    return PlotData(type="altair", plot=orjson.dumps(whole | spec).decode())
