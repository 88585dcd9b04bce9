"""The Stats tab's tables as HTML. Every text in them is escaped: names come from configuration, prompts from people."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..stats.sample import Point, Sample, Series, TurnRow
from ..stats.summary import (
    METRICS,
    TIMED,
    Line,
    Metric,
    amount,
    comparisons,
    counted,
    figures,
    left_out,
    lines,
    not_compared,
    not_enough,
    served_by,
    total,
)
from ..stats.terminal import EMPTY, NO_MATCH
from .stats_plots import REPORTED_DASH, Look, Rule, turn_link

LEFT_OUT = {"suspect": "suspect", "cold": "cold start", "superseded": "asked again"}
TOTAL_TIME = next(metric for metric in METRICS if metric.column == "e2e_ms")


def overview(sample: Sample, look: Look, filtered: bool) -> str:
    """The sentence on what is counted, and the table of series."""
    out = left_out(sample)
    if not sample.series:
        return f'<p class="st-empty">{escape(NO_MATCH if filtered else EMPTY)}</p>'
    head = "".join(
        f'<th scope="col">{escape(metric.name)} <span class="st-unit">{metric.unit}</span></th>' for metric in METRICS
    )
    body = "".join(_series_row(series, colour) for series, colour in zip(sample.series, look.colours, strict=True))
    attempts = "1 attempt" if sample.n == 1 else f"{sample.n:,} attempts"
    return f"""
        <p class="st-note"><b>{attempts}.</b> {escape(out)} Medians with their 95 % intervals.</p>
        <div class="st-scroll"><table class="st-table st-series">
        <thead><tr><th scope="col">Lane</th><th scope="col">n</th>{head}<th scope="col">All cost</th></tr></thead>
        <tbody>{body}</tbody></table></div>
    """


def _series_row(series: Series, colour: str) -> str:
    cells = "".join(_cell(line) for line in lines(series))
    n, *others = counted(series)
    cost, *notes = total(series)
    return f"""<tr style="--lane: {colour}">
        <th scope="row"><span class="st-name">{escape(series.name)}</span>{_below(served_by(series))}</th>
        <td class="st-n" data-label="n">{n}{_below(", ".join(others))}</td>{cells}
        <td data-label="All cost">{cost}{_below(", ".join(notes))}</td></tr>"""


def _cell(line: Line) -> str:
    value, *more = figures(line)
    below = "".join(_below(text) for text in more)
    attributes = f'data-label="{line.metric.name}, {line.metric.unit}"'
    if line.estimate.value is None:
        attributes += ' class="st-none"'
    elif line.metric in TIMED:
        attributes += f' title="{not_enough(line)}"'
    return f"<td {attributes}>{value}{below}</td>"


def _below(text: str) -> str:
    return f'<span class="st-sub">{escape(text)}</span>' if text else ""


def paired(sample: Sample, metric: Metric) -> str:
    """The comparisons of one metric as sentences; those that show a difference stand out. Without any: why."""
    found = comparisons(sample, metric)
    if not found:
        return f'<p class="st-note">{escape(not_compared(sample, metric))}</p>'
    items = "".join(
        f'<li data-shown="{str(comparison.difference.shown).lower()}">{escape(comparison.sentence)}</li>'
        for comparison in found
    )
    return f"""
        <p class="st-note">{escape(metric.name)}, <b>paired by prompt</b>: median difference with its 95 % interval.</p>
        <ul class="st-pairs">{items}</ul>
    """


def recent(rows: Sequence[TurnRow], lanes: Sequence[tuple[str, str]]) -> str:
    """The newest turns, the viewer's with a link, and every lane's total time. ``lanes``: ids and names."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for _, name in lanes)
    body = "".join(_turn_row(row, lanes) for row in rows)
    return f"""
        <p class="st-note"><b>Newest turns</b>, total time of each lane; what the figures leave out is named.
        A prompt is shown to whom it belongs.</p>
        <div class="st-scroll"><table class="st-table st-turns">
        <thead><tr><th scope="col">Sent (UTC)</th><th scope="col">Prompt</th>{head}</tr></thead>
        <tbody>{body}</tbody></table></div>
    """


def legend(look: Look, metric: Metric, rules: Sequence[Rule] | None) -> str:
    """One legend for all plots: a lane's colour, and the dash of its second and third model.

    ``rules``: published figures that are shown beside them, empty if there are none of this metric; None: not wanted.
    """
    items = "".join(
        f"""<li><svg width="26" height="10" aria-hidden="true"><line x1="1" y1="5" x2="25" y2="5" stroke="{colour}"
            stroke-width="2" stroke-dasharray="{" ".join(map(str, dash))}"/><circle cx="13" cy="5" r="3.5"
            fill="{colour}"/></svg>{escape(name)}</li>"""
        for name, colour, dash in zip(look.names.values(), look.colours, look.dashes, strict=True)
    )
    for rule in rules or ():
        items += f"""<li><svg width="26" height="10" aria-hidden="true"><line x1="1" y1="5" x2="25" y2="5"
            stroke="{rule.colour}" stroke-width="2" stroke-dasharray="{" ".join(map(str, REPORTED_DASH))}"/></svg>
            {escape(rule.text)}</li>"""
    if rules == []:
        items += f'<li class="st-none">The published report has no figure for: {escape(metric.name.lower())}.</li>'
    return f'<ul class="st-legend">{items}</ul>'


def _turn_row(row: TurnRow, lanes: Sequence[tuple[str, str]]) -> str:
    when = escape(row.started_at_utc[:16].replace("T", " "))
    prompt = escape(row.prompt) if row.prompt is not None else '<span class="st-none">another person’s</span>'
    cells = []
    for lane, name in lanes:
        point = next((point for point in reversed(row.points) if point.key.lane == lane), None)
        cells.append(_turn_cell(point, escape(name)))
    if row.prompt is not None:
        when = f'<a href="{escape(turn_link(row.turn_id))}">{when}</a>'
    return f'<tr><td>{when}</td><td class="st-prompt">{prompt}</td>{"".join(cells)}</tr>'


def _turn_cell(point: Point | None, label: str) -> str:
    """A lane's total time, or how it ended without one; and why the figures do without it."""
    if point is None:
        return f'<td class="st-none" data-label="{label}">–</td>'
    time = escape(point.status) if point.e2e_ms is None else amount(point.e2e_ms, TOTAL_TIME)
    if point.left_out:
        time += f" · {LEFT_OUT[point.left_out]}"
    muted = "st-none" if point.e2e_ms is None or point.left_out else ""
    return f'<td class="{muted}" data-label="{label}">{time}</td>'


def downloads(query: str) -> str:
    """Links to the attempts behind the figures, and to the log itself."""
    suffix = escape(f"?{query}" if query else "")
    return f"""
        <p class="st-downloads">Download:
        <a href="/kimi/stats/attempts.csv{suffix}" download>these attempts as CSV</a> ·
        <a href="/kimi/stats/attempts.jsonl{suffix}" download>as JSON lines</a> ·
        <a href="/kimi/stats/log.sqlite3" download>the whole log as SQLite</a></p>
    """
