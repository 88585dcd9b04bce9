"""The summary for a terminal: a table of series, the paired comparisons as sentences, the excluded attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from .sample import Sample
from .summary import (
    METRICS,
    comparisons,
    counted,
    figures,
    left_out,
    lines,
    outweighed,
    percentiles_from,
    served_by,
    total,
)

EMPTY = "Nothing has been measured yet: send a prompt, then look again."
NO_MATCH = "No attempt fits these filters."
COUNT_IN = "Include all with --include suspect --include cold --include wide."
INTERVALS = "Medians with 95 % intervals; differences are paired by prompt."


class Report:
    """A sample as a Rich renderable. ``filtered``: filters may have excluded other attempts."""

    def __init__(self, sample: Sample, filtered: bool = False) -> None:
        self._sample = sample
        self._filtered = filtered

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sample = self._sample
        wide = options.update(max_width=10_000)
        if not sample.series:
            yield Text(NO_MATCH if self._filtered else EMPTY)
            return
        if warning := outweighed(sample):
            yield Text(f"{warning} {COUNT_IN}", style="yellow")
        yield from self._tables(lambda table: console.measure(table, options=wide).maximum <= options.max_width)
        yield Text(" ".join(filter(None, [INTERVALS, percentiles_from(sample)])), style="dim")
        sentences = [
            Text(f"{metric.name}: {comparison.sentence}")
            for metric in METRICS
            for comparison in comparisons(sample, metric)
        ]
        if sentences:
            yield Group(Text(), *sentences)
        if out := left_out(sample):
            yield Text(out, style="dim")

    def _tables(self, fits: Callable[[Table], bool]) -> list[Table]:
        """One table; if it is too wide, several tables with a column per series, so that no figure is cut."""
        heads, *series = self._cells()
        tables = [_table([heads, *series])]
        for size in range(len(series), 0, -1):
            if all(map(fits, tables)):
                break
            parts = [series[start : start + size] for start in range(0, len(series), size)]
            tables = [_table(zip(heads, *part, strict=True)) for part in parts]
        return tables

    def _cells(self) -> list[list[Text]]:
        """The heads, then a row per series."""
        heads = ["Lane", "n", *(f"{metric.name} ({metric.unit})" for metric in METRICS), "All cost"]
        rows = [[Text(head, style="bold") for head in heads]]
        for series in self._sample.series:
            texts = [[series.name, served_by(series)], counted(series), *map(figures, lines(series)), total(series)]
            rows.append([_cell(text) for text in texts])
        return rows


def _table(rows: Iterable[Iterable[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(*row)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _cell(texts: list[str]) -> Text:
    """The first text, with the others dimmed below it."""
    first, *others = texts
    return Text(first).append("".join(f"\n{text}" for text in others if text), style="dim")
