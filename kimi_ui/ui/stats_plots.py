"""The plots of the Stats tab, as Altair charts over plain values. What they show is decided in ``stats``.

Charts are drawn as SVG and their colours are the page's CSS variables, so they follow light and dark by themselves; a
lane has the accent it has everywhere else, and one legend for all stands above them. Every dot is a link to its turn.
Altair is imported when the first chart is made: it takes half a second that the start of the app should not pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import numpy as np
import orjson
from gradio.components.plot import PlotData

from ..stats.reported import REPORTED, reported_value
from ..stats.sample import Key, Point, Sample
from ..stats.statistics import ecdf, known
from ..stats.summary import Metric, Split

if TYPE_CHECKING:
    import altair as alt

HEIGHT = 260
LOG_FROM = 50  # a metric whose values span more than this factor is drawn on a logarithmic axis
DOTS = 300  # per series in the distribution
DASHES = ([1, 0], [6, 3], [2, 3], [8, 3, 2, 3])  # a lane's second, third … model: same accent, other dash
PARTS = {  # of an attempt's time, in order; mid tones that stand out on light and dark
    "connect": ("connect", "#8d99ae"),
    "load": ("load model", "#c58b3b"),
    "wait": ("read prompt", "#5b8fd6"),
    "think": ("think", "#9a6fd0"),
    "answer": ("answer", "#3a9d78"),
}


class Look(NamedTuple):
    """How the series of a sample are told apart: names in order, a colour and a dash for each."""

    names: dict[Key, str]
    colours: list[str]
    dashes: list[list[int]]

    @classmethod
    def of(cls, sample: Sample, lanes: Sequence[str]) -> Look:
        """``lanes``: ids in the order of the page, which is the order of the accents; others come after them."""
        order = list(dict.fromkeys([*lanes, *(series.key.lane for series in sample.series)]))
        seen: dict[str, int] = {}
        colours, dashes = [], []
        for series in sample.series:
            lane = series.key.lane
            colours.append(f"var(--kimi-lane-{order.index(lane) % 6})")
            dashes.append(list(DASHES[seen.get(lane, 0) % len(DASHES)]))
            seen[lane] = seen.get(lane, 0) + 1
        return cls({series.key: series.name for series in sample.series}, colours, dashes)


class Rows:
    """The data of one chart, kept out of Altair's hands: it would check every value against its schema (seconds)."""

    def __init__(self) -> None:
        self.datasets: dict[str, list[dict[str, Any]]] = {}

    def chart(self, rows: list[dict[str, Any]]) -> alt.Chart:
        """A chart over ``rows``."""
        import altair as alt

        name = f"rows{len(self.datasets)}"
        self.datasets[name] = rows
        return alt.Chart(alt.NamedData(name=name))


def distribution(
    sample: Sample, points: Sequence[Point], metric: Metric, look: Look, with_reported: bool
) -> PlotData | None:
    """The share of attempts at or below x, one line per series, its newest attempts as dots on it."""
    import altair as alt

    steps, dots, numbers = [], [], []
    for series in sample.series:
        ordered = known(series.numbers[metric.column])
        if not len(ordered):
            continue
        numbers.append(ordered)
        steps.append({"name": series.name, "x": _scaled(ordered[0], metric), "share": 0})
        for x, share in ecdf(ordered):
            steps.append({"name": series.name, "x": _scaled(x, metric), "share": share})
        own = ((point, _value(point, metric)) for point in points if point.key == series.key)
        for point, value in [(point, value) for point, value in own if value is not None][-DOTS:]:
            share = int(np.searchsorted(ordered, value, side="right")) / len(ordered)
            dots.append(_dot(point, look) | {"x": _scaled(value, metric), "share": share})
    if not numbers:
        return None
    axis = alt.X("x:Q", title=f"{metric.name} ({metric.unit})", scale=_scale(np.concatenate(numbers)))
    share_axis = alt.Y("share:Q", title="share of attempts", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    rows = Rows()
    layers: list[Any] = [
        rows.chart(steps)
        .mark_line(interpolate="step-after", strokeWidth=1.5)
        .encode(x=axis, y=share_axis, color=_colour(look), strokeDash=_dash(look)),
        rows.chart(dots)
        .mark_circle(size=36, opacity=0.75, cursor="pointer")
        .encode(x=axis, y=share_axis, color=_colour(look), href="href:N", tooltip=_tooltips(metric)),
    ]
    if with_reported:
        layers += _reported_rules(metric, rows)
    return _finish(alt.layer(*layers), rows, "Share of attempts at or below; every dot opens its turn")


def _reported_rules(metric: Metric, rows: Rows) -> list[Any]:
    """Published figures as dashed rules, each with its name on a line of its own."""
    import altair as alt

    ink = "var(--body-text-color-subdued)"
    layers: list[Any] = []
    for line, figure in enumerate(REPORTED):
        value = reported_value(figure, metric.column)
        if value is not None:
            x = _scaled(value, metric)
            chart = rows.chart([{"x": x, "text": f"{figure.name}, reported {x:g} {metric.unit}"}])
            layers.append(chart.mark_rule(strokeDash=[2, 3], color=ink).encode(x="x:Q"))
            text = chart.mark_text(align="left", dx=4, fontSize=11, color=ink)
            layers.append(text.encode(x="x:Q", y=alt.value(HEIGHT - 46 + 14 * line), text="text:N"))
    return layers


def timeline(points: Sequence[Point], metric: Metric, look: Look) -> PlotData | None:
    """Every attempt at its time."""
    import altair as alt

    data = [
        _dot(point, look) | {"at": point.started_at_utc, "y": _scaled(_value(point, metric), metric)}
        for point in points
        if _value(point, metric) is not None
    ]
    if not data:
        return None
    values = np.array([row["y"] for row in data])
    rows = Rows()
    chart = (
        rows.chart(data)
        .mark_circle(size=34, opacity=0.7, cursor="pointer")
        .encode(
            x=alt.X("at:T", title=None),
            y=alt.Y("y:Q", title=f"{metric.name} ({metric.unit})", scale=_scale(values)),
            color=_colour(look),
            href="href:N",
            tooltip=_tooltips(metric, "y"),
        )
    )
    return _finish(chart, rows, f"{metric.name} over time")


def tokens_against_time(points: Sequence[Point], look: Look) -> PlotData | None:
    """Output tokens against total time: the slope is the end-to-end speed."""
    import altair as alt

    data = [
        _dot(point, look) | {"tokens": point.output_tokens, "seconds": point.e2e_ms / 1000}
        for point in points
        if point.output_tokens is not None and point.e2e_ms is not None
    ]
    if not data:
        return None
    rows = Rows()
    chart = (
        rows.chart(data)
        .mark_circle(size=34, opacity=0.7, cursor="pointer")
        .encode(
            x=alt.X("seconds:Q", title="Total time (s)"),
            y=alt.Y("tokens:Q", title="output tokens"),
            color=_colour(look),
            href="href:N",
            tooltip=[
                alt.Tooltip("name:N", title="lane"),
                alt.Tooltip("tokens:Q", format=","),
                alt.Tooltip("seconds:Q", format=",.1f"),
            ],
        )
    )
    return _finish(chart, rows, "Tokens against time")


def time_split(splits: Sequence[Split]) -> PlotData | None:
    """Where the time goes, mean seconds per part, one bar per series."""
    import altair as alt

    if not splits:
        return None
    data = [
        {"name": split.name, "part": title, "order": order, "seconds": getattr(split, part) / 1000, "n": split.n}
        for split in splits
        for order, (part, (title, _)) in enumerate(PARTS.items())
    ]
    titles, colours = zip(*PARTS.values(), strict=True)
    legend = alt.Legend(title=None, orient="bottom", symbolType="square", columns=2)
    rows = Rows()
    chart = (
        rows.chart(data)
        .mark_bar(height={"band": 0.62})
        .encode(
            x=alt.X("seconds:Q", title="mean time (s)"),
            y=alt.Y("name:N", title=None, sort=[split.name for split in splits], axis=alt.Axis(labelLimit=150)),
            color=alt.Color("part:N", scale=alt.Scale(domain=titles, range=colours), legend=legend),
            order="order:Q",
            tooltip=[
                alt.Tooltip("name:N", title="lane"),
                alt.Tooltip("part:N"),
                alt.Tooltip("seconds:Q", format=",.2f"),
                alt.Tooltip("n:Q", format=","),
            ],
        )
    )
    return _finish(chart, rows, "Where the time goes", 44 * len(splits) + 8)


def cost_over_days(days: Sequence[tuple[str, Key, float]], look: Look) -> PlotData | None:
    """USD per day and series."""
    import altair as alt

    data = [{"day": day, "name": look.names[key], "usd": usd} for day, key, usd in days if key in look.names]
    if not data:
        return None
    rows = Rows()
    chart = (
        rows.chart(data)
        .mark_bar()
        .encode(
            x=alt.X("utcyearmonthdate(day):T", title=None, axis=alt.Axis(format="%b %d")),
            y=alt.Y("usd:Q", title="cost ($)"),
            color=_colour(look),
            tooltip=["day:N", alt.Tooltip("name:N", title="lane"), alt.Tooltip("usd:Q", format="$,.4f")],
        )
    )
    return _finish(chart, rows, "Cost per day (UTC)")


def turn_link(turn_id: str) -> str:
    """Where a turn opens for reading and replay."""
    return f"/?turn={quote(turn_id, safe='')}"


def _value(point: Point, metric: Metric) -> float | None:
    value: float | None = getattr(point, metric.column)
    return value


def _scaled(value: Any, metric: Metric) -> float:
    return float(value) / metric.scale


def _dot(point: Point, look: Look) -> dict[str, Any]:
    return {
        "name": look.names.get(point.key, point.key.lane),
        "href": turn_link(point.turn_id),
        "status": point.status,
        "when": point.started_at_utc[:16].replace("T", " "),
    }


def _tooltips(metric: Metric, field: str = "x") -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip("name:N", title="lane"),
        alt.Tooltip(f"{field}:Q", title=f"{metric.name} ({metric.unit})", format=",.4~f"),
        alt.Tooltip("status:N"),
        alt.Tooltip("when:N", title="sent (UTC)"),
    ]


def _colour(look: Look) -> alt.Color:
    import altair as alt

    names = list(look.names.values())
    return alt.Color("name:N", scale=alt.Scale(domain=names, range=look.colours), legend=None)


def _dash(look: Look) -> alt.StrokeDash:
    import altair as alt

    scale = alt.Scale(domain=list(look.names.values()), range=look.dashes)
    return alt.StrokeDash("name:N", scale=scale, legend=None)


def _scale(values: Any) -> alt.Scale:
    """Linear from 0, or logarithmic where the values span more than ``LOG_FROM``."""
    import altair as alt

    low, high = float(np.min(values)), float(np.max(values))
    if low > 0 and high / low > LOG_FROM:
        return alt.Scale(type="log", nice=True)
    return alt.Scale(zero=True, nice=True)


def _finish(chart: Any, rows: Rows, title: str, height: int = HEIGHT) -> PlotData:
    """Title, size, type and colours that every chart shares, and the form in which the page takes it."""
    import altair as alt

    ink, faint, line = "var(--body-text-color)", "var(--body-text-color-subdued)", "var(--border-color-primary)"
    font = "IBM Plex Sans, system-ui, sans-serif"  # by name: Vega measures text, and cannot measure a variable
    chart = (
        chart.properties(
            title=alt.TitleParams(
                title, anchor="start", color=ink, font=font, fontSize=13, fontWeight="bold", offset=10
            ),
            width="container",
            height=height,
            background="transparent",
            autosize={"type": "fit", "contains": "padding"},
            usermeta={"embedOptions": {"renderer": "svg", "actions": False}},
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=faint,
            titleColor=faint,
            gridColor=line,
            domainColor=line,
            tickColor=line,
            labelFont=font,
            titleFont=font,
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(labelColor=faint, labelFont=font, labelFontSize=11)
        .configure_text(font=font)
    )
    # Gradio's page has Vega-Lite 5, which takes these charts as they are but would complain of the newer schema's name.
    schema = "https://vega.github.io/schema/vega-lite/v5.json"
    spec = chart.to_dict(validate=False) | {"$schema": schema, "datasets": rows.datasets}
    return PlotData(type="altair", plot=orjson.dumps(spec).decode())
