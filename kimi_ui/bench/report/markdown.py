"""The report as Markdown, without what the models wrote."""

from __future__ import annotations

from collections.abc import Iterator

from ..preferences import Preferences
from ..summary import Summary
from ..summary.grid import mark
from ..summary.words import category_name, leaf_reason
from .chart import charts
from .page import PREFERRED, PREFERRED_NOTE, checks, head_facts, preferred_lines, title
from .tables import Cell, Table, heavy_tables, tables

MOST_CASES = 60  # that are listed


def markdown(summary: Summary, preferred: Preferences | None = None) -> str:
    return "\n".join(_lines(summary, preferred)).rstrip() + "\n"


def _lines(summary: Summary, preferred: Preferences | None) -> Iterator[str]:
    labels = {one.lane.id: one.lane.label for one in summary.lanes}
    yield f"# {title(summary)}"
    yield ""
    yield " · ".join(head_facts(summary))
    yield ""
    yield "## What it shows"
    yield ""
    for line in summary.verdicts:
        yield f"- **{plain(line.title)}** {plain(line.text)}"
    yield ""
    found = tables(summary)
    for name in ("accuracy", "takes", "outcomes", "differences", "by_category"):
        if name in found:
            yield from _table(found[name])
    for chart in charts(summary):
        yield f"{plain(chart.text)} {plain(chart.missing)}".rstrip()
        yield ""
    for one in summary.heavy:
        yield f"## Inside {plain(labels[one.lane])}"
        yield ""
        for table in heavy_tables(summary, one):
            yield from _table(table, level=3)
    yield "## Which lane to take"
    yield ""
    for branch in summary.tree:
        yield f"- {branch.question}"
        for leaf in branch.leaves:
            lanes = " or ".join(plain(labels[lane]) for lane in leaf.lanes) or "nothing to say"
            yield f"  - {category_name(leaf.priority)} → {lanes} (*{leaf.state}*): {plain(leaf_reason(leaf, labels))}"
    yield ""
    if sentences := preferred_lines(summary, preferred):
        yield f"## {PREFERRED}"
        yield ""
        yield PREFERRED_NOTE
        yield ""
        for sentence in sentences:
            yield f"- {plain(sentence)}"
        yield ""
    if "first_report" in found:
        yield from _table(found["first_report"])
    yield from _grid(summary)
    yield "## How far to trust it"
    yield ""
    for name, sentence in checks(summary):
        yield f"- **{name}.** {plain(sentence)}"


def _grid(summary: Summary) -> Iterator[str]:
    lanes = [one.lane for one in summary.lanes]
    disagree = [row for row in summary.grid if row.spread > 0]
    shown = disagree[:MOST_CASES]
    yield "## Cases on which the lanes disagree"
    yield ""
    if not shown:
        yield "None."
        yield ""
        return
    yield "● right, ○ wrong, – no verdict, · not run; one mark for each time it was asked."
    yield ""
    yield from _rows(
        ("Case", "Category", *(lane.label for lane in lanes)),
        [
            (row.case, category_name(row.category), *("".join(map(mark, row.cells[lane.id])) for lane in lanes))
            for row in shown
        ],
    )
    if len(disagree) > len(shown):
        yield f"{len(disagree) - len(shown)} more are in the HTML report."
        yield ""


def _table(table: Table, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {table.title}"
    yield ""
    yield plain(table.note)
    yield ""
    yield from _rows(
        ("", *table.columns),
        [(f"{row.name}{f' ({row.more})' if row.more else ''}", *map(_cell, row.cells)) for row in table.rows],
    )


def _rows(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(map(plain, head))} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(plain, row))} |"
    yield ""


def _cell(cell: Cell) -> str:
    return f"{cell.text} ({cell.more})" if cell.more else cell.text


def plain(text: str) -> str:
    """Text that cannot end a table's cell or begin a mark; labels come from a file of the user."""
    for mark_ in "\\`*_[]<|":
        text = text.replace(mark_, f"\\{mark_}")
    return " ".join(text.split())
