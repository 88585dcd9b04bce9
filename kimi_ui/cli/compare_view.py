"""The output of ``compare``: live panels on a terminal, plain lines elsewhere, all passed through ``printable``.

The panels are side by side where each gets ``PANEL_COLUMNS``, else in as many rows as they need. Heavy's shows its
trajectories while they think. After the turn the results are printed as plain text, to be scrolled, copied and piped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..core.attempt import AttemptFold, live_phase
from ..core.events import CONNECTED, FIRST_CHUNK, PREPARING, Phase
from ..core.metric_words import figures
from ..core.turn import LaneInfo, TurnFold, TurnLog
from .common import printable

TAIL_CHARS = 4000  # more than fits a panel
PANEL_COLUMNS = 44  # fewer break most lines of prose and code
PHASE_COLUMNS = 11
STYLES = {"done": "green", "error": "red", "timeout": "red", "incomplete": "red"}


class CompareView:
    """Follows a turn. ``update`` reads new entries and, on a terminal, redraws the panels.

    ``clock_ns``: the clock of the turn's ``t0_ns``; ``reasoning``: whether the panels show it. Without a terminal only
    long preparations are printed, one line per tenth.
    """

    def __init__(
        self,
        turn: TurnLog,
        out: TextIO,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        reasoning: bool = True,
    ) -> None:
        self._turn = turn
        self._clock_ns = clock_ns
        self._reasoning = reasoning
        self._fold = turn.fold()
        self._preparation = ""
        self._console = Console(file=out, highlight=False, force_terminal=out.isatty())  # whatever FORCE_COLOR says
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> CompareView:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self) -> None:
        self._fold = self._turn.fold()
        if self._live:
            self._live.update(self._panels(), refresh=True)
        else:
            self._print_preparation()

    def _print_preparation(self) -> None:
        for state in self._fold.lanes.values():
            event = state.preparing.event if state.preparing else None
            if isinstance(event, Phase) and event.name == PREPARING and (words := tenths(event)) != self._preparation:
                self._preparation = words
                self._console.print(words, markup=False)

    def _panels(self) -> RenderableType:
        lanes, columns = self._turn.lanes, self._console.width
        per_row = max(1, min(len(lanes), columns // PANEL_COLUMNS))
        n_rows = -(-len(lanes) // per_row)
        lines = max(3, (self._console.height - 1) // n_rows - 2)
        elapsed_s = (self._clock_ns() - self._turn.t0_ns) / 1e9
        grid = Table.grid(expand=True)
        for _ in range(per_row):
            grid.add_column(ratio=1)
        panels = [self._panel(info, columns // per_row - 4, lines, elapsed_s) for info in lanes]
        for start in range(0, len(panels), per_row):
            grid.add_row(*panels[start : start + per_row])
        return grid

    def _panel(self, info: LaneInfo, width: int, lines: int, elapsed_s: float) -> Panel:
        attempt_id = self._fold.current(info.id)
        if attempt_id is None:
            preparing = self._fold.lanes[info.id].preparing
            event = preparing.event if preparing else None
            words = percent(event) if isinstance(event, Phase) else "connecting"
            return Panel(
                Text(words, style="dim"), title=title(info, "", elapsed_s), title_align="left", height=lines + 2
            )
        fold = self._fold.folds[attempt_id]
        running = trajectories(self._fold, attempt_id)
        body = tail(fold, width, lines - bool(running), self._reasoning)
        if running and body:
            body = Text("\n").join([strip(running), body])
        elif running:
            body = board(running, info.width, width, lines, self._reasoning)
        body = body or Text(progress(fold.phase), style="dim")
        end_s = (fold.end_ns + self._fold.attempts[attempt_id].sent_ns) / 1e9 if fold.end_ns is not None else elapsed_s
        border = STYLES.get(live_phase(fold), "dim")
        name = title(info, live_phase(fold), end_s)
        return Panel(body, title=name, title_align="left", height=lines + 2, border_style=border)


def trajectories(fold: TurnFold, attempt_id: str) -> dict[int, AttemptFold]:
    """The trajectories of a heavy attempt by number from 1, of each the last try; empty for another attempt."""
    children = (fold.attempts[child] for child in fold.children.get(attempt_id, ()))
    return {
        (one.k_index or 0) + 1: fold.folds[one.attempt_id]
        for one in sorted(children, key=lambda one: one.k_index or 0)
        if one.role == "trajectory"
    }


def board(running: Mapping[int, AttemptFold], n: int, width: int, lines: int, reasoning: bool) -> Text:
    """Of each of ``n`` trajectories the number, the phase and the last words; only the first two if lines are few."""
    phases = {k: words_of(running[k]) if k in running else "not sent" for k in range(1, max([n, *running]) + 1)}
    if len(phases) > lines:
        return Text(" · ").join(Text(f"{k} {phase}", style=STYLES.get(phase, "dim")) for k, phase in phases.items())
    found = Text()
    for k, phase in phases.items():
        one = running.get(k)
        text = (one.answer or (one.reasoning if reasoning else "")) if one else ""
        head = Text(f"{k:>2} {phase:<{PHASE_COLUMNS}}", style=STYLES.get(phase, ""))
        space, most = max(1, width - head.cell_len), lines // len(phases)
        said = last_cells(" ".join(printable(text[-TAIL_CHARS:]).split()), space * most)
        style = "dim" if one and one.answer else "dim italic"
        rows = Text(said, style=style).wrap(Console(width=space, file=None), space)[-most:]
        found.append(head).append(Text("\n" + " " * head.cell_len).join(rows)).append("\n")
    found.rstrip()
    return found


def words_of(fold: AttemptFold) -> str:
    return live_phase(fold).replace("_", " ")


def strip(running: Mapping[int, AttemptFold]) -> Text:
    """How many trajectories are in which phase, as one line above heavy's own text."""
    counts = Counter(words_of(one) for one in running.values())
    return Text("Trajectories: " + ", ".join(f"{n} {phase}" for phase, n in counts.items()), style="dim")


def last_cells(text: str, width: int) -> str:
    """The end of a line that fits so many columns of a terminal."""
    if cell_len(text) <= width:
        return text
    while (excess := cell_len(text) + 1 - width) > 0 and text:
        text = text[(excess + 1) // 2 :]  # a character takes two columns at most
    return f"…{text}" if width > 0 else ""


def title(info: LaneInfo, phase: str, elapsed_s: float) -> Text:
    text = Text(info.label, style="bold")
    if info.stand_in_for:
        text.append(" (stand-in)", style="yellow")
    return text.append(f" · {phase} · {elapsed_s:.1f} s" if phase else f" · {elapsed_s:.1f} s", style="not bold dim")


def tail(fold: AttemptFold, width: int, lines: int, reasoning: bool = True) -> Text:
    """The last lines of the answer, or of the reasoning (dim) before there is an answer; empty if there is no text."""
    text = Text()
    answer = printable(fold.answer[-TAIL_CHARS:])
    if not answer and reasoning:
        text.append(printable(fold.reasoning[-TAIL_CHARS:]), style="dim italic")
    text.append(answer)
    if fold.failure:
        text.append(f"\n{printable(fold.failure.message)}", style="red")
        if fold.failure.detail:
            text.append(f"\n{printable(fold.failure.detail)}", style="dim red")
    wrapped = text.wrap(Console(width=width, file=None), width)
    return Text("\n").join(wrapped[-lines:])


def progress(phase: Phase | None) -> str:
    """The progress of an attempt without text: heavy waiting for trajectories, a server loading its model."""
    if phase is None or phase.name in (CONNECTED, FIRST_CHUNK):
        return ""
    words = phase.detail or phase.name.replace("_", " ")
    return f"{words}: {phase.done} of {phase.total}" if phase.done is not None and phase.total else words


def percent(phase: Phase) -> str:
    """A preparation and its progress."""
    if phase.done is None or not phase.total:
        return phase.detail
    return f"{phase.detail}: {phase.done / 1e6:.0f} of {phase.total / 1e6:.0f} MB"


def tenths(phase: Phase) -> str:
    """Like ``percent``, but in steps of a tenth, for output that cannot be overwritten."""
    if phase.done is None or not phase.total:
        return phase.detail
    return f"{phase.detail}: {phase.done * 10 // phase.total * 10} %"


def block(info: LaneInfo, row: Mapping[str, Any]) -> str:
    """A lane's result as plain text: a line of figures, the reasoning if the row has it, the answer."""
    head = " · ".join(
        part for part in (info.label, f"stands in for {info.stand_in_for}" * bool(info.stand_in_for)) if part
    )
    parts = [f"== {printable(head)}", f"   {' · '.join(figures(row['status'], row))}"]
    if row["error"]:
        parts.append(f"   {row['error']}")
    if row.get("error_detail"):
        parts.append(f"   The server's own words: {printable(row['error_detail'])}")
    if row["reasoning"] and row["reasoning"].strip():
        parts.append("\n".join(f"  | {line}" for line in printable(row["reasoning"]).strip().splitlines()))
    if row["answer"].strip():
        parts.append(printable(row["answer"]).strip())
    return "\n".join(parts) + "\n"
