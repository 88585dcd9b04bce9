"""The panels of ``compare`` on terminals of several widths, drawn from handmade turns."""

from __future__ import annotations

import io
import re

import pytest

from kimi_ui.cli.compare_view import CompareView, last_cells
from kimi_ui.core.events import Answer, Reasoning
from kimi_ui.core.turn import LaneInfo, TurnLog
from tests.support.turns import attempt, ended, turn

LANES = [
    LaneInfo("kimi", "Kimi K2", "openai", "k"),
    LaneInfo("heavy", "Kimi K2 heavy", "heavy", "k", of="kimi", width=4),
    LaneInfo("qwen", "Qwen3-Coder", "ollama", "q", stand_in_for="qwen3-coder:30b"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def running(*, aggregating: bool = False) -> TurnLog:
    """A turn: ``kimi`` answers, ``qwen`` has ended, two of heavy's four trajectories were sent."""
    heavy = attempt("heavy", role="heavy")
    children = [attempt("heavy", role="trajectory", parent_id=heavy.attempt_id, k_index=k) for k in range(2)]
    own = [(50, Answer("Together they say 160."))] if aggregating else []
    return turn(
        (attempt("kimi"), [(1, Reasoning("a secret thought ")), (2, Answer("blue " * 300))]),
        (heavy, own),
        (children[0], [(1, Reasoning("Let me add up the speeds. \x1b[31mThe sum is 200. " * 3))]),
        (children[1], ended([(1, Reasoning("Hm.")), (2, Answer("It is 160 km."))])),
        (attempt("qwen"), ended([(1, Answer("Done here."))])),
        lanes=LANES,
        closed=False,
    )


def drawn(shown: TurnLog, columns: int, rows: int, monkeypatch: pytest.MonkeyPatch, reasoning: bool = True) -> str:
    """The panels as lines of text; their colours are left out."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Terminal()
    with CompareView(shown, out, clock_ns=lambda: 2_000_000_000, reasoning=reasoning) as view:
        view.update()
        text = out.getvalue()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)


def test_panels_are_side_by_side_where_each_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, per_row in ((200, 3), (132, 3), (100, 2), (80, 1), (60, 1)):
        text = drawn(running(), columns, 40, monkeypatch)
        lines = text.splitlines()
        heads = [line.count("╭") for line in lines if "╭" in line]
        assert heads == [per_row] * (3 // per_row) + [3 % per_row] * bool(3 % per_row), columns
        assert max(map(len, lines)) <= columns
        assert len(lines) <= 40
        assert {"Kimi K2 · answering · 2.0 s", "Qwen3-Coder (stand-in) · done"} <= {
            name for name in ("Kimi K2 · answering · 2.0 s", "Qwen3-Coder (stand-in) · done") if name in text
        }


def test_heavys_trajectories_are_seen_while_they_think(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(running(), 200, 30, monkeypatch)
    assert re.search(r"1 thinking +…?\S.*The sum is 200\. +│", text)
    assert re.search(r"2 done +It is 160 km\.", text)
    assert re.search(r"3 not sent +│", text)
    assert "\x1b" not in text  # a model's own escape is made visible
    packed = drawn(running(), 60, 14, monkeypatch)  # too low for a line each
    assert "1 thinking · 2 done · 3 not sent · 4 not sent" in packed
    later = drawn(running(aggregating=True), 200, 30, monkeypatch)
    assert "Trajectories: 1 thinking, 1 done" in later
    assert "Together they say 160." in later


def test_without_reasoning_only_phases_and_answers_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(running(), 200, 30, monkeypatch, reasoning=False)
    assert re.search(r"1 thinking +│", text)
    assert "It is 160 km." in text
    assert "sum is" not in text
    assert "secret" not in text


def test_the_end_of_a_line_fits_its_columns() -> None:
    assert last_cells("short", 10) == "short"
    assert last_cells("one two three", 6) == "…three"
    assert last_cells("我喜欢喝绿茶", 5) == "…绿茶"
    assert last_cells("anything", 0) == ""
