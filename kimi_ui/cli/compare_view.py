"""The output of ``compare``: live panels on a terminal, plain lines elsewhere, all passed through ``printable``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from ..core.attempt import AttemptFold, live_phase
from ..core.events import CONNECTED, FIRST_CHUNK, PREPARING, Phase
from ..core.metric_words import figures
from ..core.turn import LaneInfo, TurnLog
from .common import printable

TAIL_CHARS = 4000  # more than fits a panel


class CompareView:
    """Follows a turn. ``update`` reads new entries and, on a terminal, redraws the panels.

    ``clock_ns``: the clock of the turn's ``t0_ns``. Without a terminal only long preparations are printed, one line per
    tenth.
    """

    def __init__(self, turn: TurnLog, out: TextIO, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._turn = turn
        self._clock_ns = clock_ns
        self._fold = turn.fold()
        self._preparation = ""
        self._console = Console(file=out, highlight=False)
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
        lines = max(3, (self._console.height - 1) // len(self._turn.lanes) - 2)
        elapsed_s = (self._clock_ns() - self._turn.t0_ns) / 1e9
        return Group(*(self._panel(info, lines, elapsed_s) for info in self._turn.lanes))

    def _panel(self, info: LaneInfo, lines: int, elapsed_s: float) -> Panel:
        attempt_id = self._fold.current(info.id)
        if attempt_id is None:
            preparing = self._fold.lanes[info.id].preparing
            event = preparing.event if preparing else None
            words = percent(event) if isinstance(event, Phase) else "connecting"
            return Panel(
                Text(words, style="dim"), title=title(info, "", elapsed_s), title_align="left", height=lines + 2
            )
        fold = self._fold.folds[attempt_id]
        width = max(10, self._console.width - 4)
        body = tail(fold, width, lines) or Text(progress(fold.phase), style="dim")
        end_s = (fold.end_ns + self._fold.attempts[attempt_id].sent_ns) / 1e9 if fold.end_ns is not None else elapsed_s
        border = {"done": "green", "error": "red", "timeout": "red", "incomplete": "red"}.get(live_phase(fold), "dim")
        name = title(info, live_phase(fold), end_s)
        return Panel(body, title=name, title_align="left", height=lines + 2, border_style=border)


def title(info: LaneInfo, phase: str, elapsed_s: float) -> Text:
    text = Text(info.label, style="bold")
    if info.stand_in_for:
        text.append(" (stand-in)", style="yellow")
    return text.append(f" · {phase} · {elapsed_s:.1f} s" if phase else f" · {elapsed_s:.1f} s", style="not bold dim")


def tail(fold: AttemptFold, width: int, lines: int) -> Text:
    """The last lines of the answer, or of the reasoning (dim) before there is an answer."""
    text = Text()
    answer = printable(fold.answer[-TAIL_CHARS:])
    if not answer:
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
    """A lane's result as plain text: a line of figures, the reasoning, the answer."""
    head = " · ".join(
        part for part in (info.label, f"stands in for {info.stand_in_for}" * bool(info.stand_in_for)) if part
    )
    parts = [f"== {printable(head)}", f"   {' · '.join(figures(row['status'], row))}"]
    if row["error"]:
        parts.append(f"   {row['error']}")
    if row.get("error_detail"):
        parts.append(f"   The server's own words: {printable(row['error_detail'])}")
    if row["reasoning"].strip():
        parts.append("\n".join(f"  | {line}" for line in printable(row["reasoning"]).strip().splitlines()))
    if row["answer"].strip():
        parts.append(printable(row["answer"]).strip())
    return "\n".join(parts) + "\n"
