"""The summary for a terminal: one table of series, the paired comparisons as sentences, what was left out."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from .sample import Sample, Series
from .summary import METRICS, TIMED, Line, amount, bare, comparisons, left_out, lines

EMPTY = "Nothing has been measured yet: send a prompt, then look again."
NO_MATCH = "No attempt fits these filters."
INTERVALS = "Medians with 95 % intervals; differences are paired by prompt."


class Report:
    """A sample as something rich can print. ``filtered``: other attempts than these may have been measured."""

    def __init__(self, sample: Sample, filtered: bool = False) -> None:
        self._sample = sample
        self._filtered = filtered

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sample = self._sample
        if not sample.series:
            yield Text(NO_MATCH if self._filtered else EMPTY)
            return
        yield self._table()
        yield Text(INTERVALS, style="dim")
        sentences = [
            Text(f"{metric.name}: {comparison.sentence}")
            for metric in METRICS
            for comparison in comparisons(sample, metric)
        ]
        if sentences:
            yield Group(Text(), *sentences)
        if out := left_out(sample):
            yield Text(out, style="dim")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("Lane")
        table.add_column("n", justify="right")
        for metric in METRICS:
            table.add_column(f"{metric.name} ({metric.unit})", justify="right")
        table.add_column("Total ($)", justify="right")
        for series in self._sample.series:
            cells = [_cell(line) for line in lines(series)]
            table.add_row(Text(series.name), _n(series), *cells, _total(series))
        return table


def _cell(line: Line) -> Text:
    """``12.4 [9.8, 15.1]``, with n where it is not the series' own, and p95 in the second line where there is one."""
    estimate = line.estimate
    if estimate.value is None:
        return Text("–", style="dim")
    text = Text(bare(estimate.value, line.metric))
    if estimate.interval:
        low, high = (bare(limit, line.metric) for limit in estimate.interval)
        text.append(f" [{low}, {high}]", style="dim")
    else:
        text.append(f" n={estimate.n}", style="dim")
    if line.metric in TIMED and line.p95 is not None:
        text.append(f"\np95 {bare(line.p95, line.metric)}", style="dim")
    return text


def _n(series: Series) -> Text:
    text = Text(f"{series.n:,}")
    others = {status: n for status, n in series.statuses.items() if status != "ok"}
    for status, n in sorted(others.items(), key=lambda item: -item[1]):
        text.append(f"\n{n:,} {status}", style="dim")
    return text


def _total(series: Series) -> str:
    """What the series cost: ``~`` where part of it is an estimate, ``+ n ?`` for attempts at an unknown price."""
    estimated = "~" if series.n_estimated else ""
    unpriced = f" + {series.n_unpriced:,} ?" if series.n_unpriced else ""
    return f"{estimated}{amount(series.usd, METRICS[-1]).removeprefix('$')}{unpriced}"
