"""The report as one HTML file that opens from a disk and fetches nothing, and its body for the app's page.

No script is needed to read it. Model text is shown as text, escaped; the file's Content-Security-Policy allows nothing
but its own style sheet.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ...assets import ASSETS
from ...core.markdown.safe import clean_text
from ...core.metric_words import usd
from ...view.bundle import bundle_styles
from ...view.jinja import render
from ...view.lane_colours import LANE_ACCENTS
from ..preferences import Preferences
from ..results import Sample
from ..summary import Summary
from ..summary.grid import Row, mark
from ..summary.words import category_name, counted, duration, leaf_reason, percent, percents
from .chart import HEIGHT, WIDTH, charts
from .tables import heavy_tables, tables
from .texts import NO_TEXTS, Text, Texts

PREFERRED = "Which answer is better"
PREFERRED_NOTE = (
    "On pairs of whole answers to the creative cases, by blind votes of a person and by a model as the judge in both "
    "orders. This is beside the verdicts and in no figure above."
)
STYLES = ("bench/report", "bench/standalone")
OUTCOME_WORDS = {
    "right": "right",
    "wrong": "wrong",
    "unparsed": "no readable result",
    "truncated": "cut at the token limit",
    "time_limit": "over the time limit",
    "refused-by-sandbox": "refused by the sandbox",
    "endpoint": "the server failed",
    "context": "not sent: the context is too small",
    "not-run": "not run",
}


class _Part(NamedTuple):
    """One text with a heading; ``hidden``: a note about what is not shown."""

    title: str
    text: str
    hidden: str
    folded: bool


class _Epoch(NamedTuple):
    turn: str
    outcome: str
    words: str
    extracted: str | None
    reason: str
    facts: str
    parts: list[_Part]
    trajectories: list[dict[str, Any]]


def page(summary: Summary, texts: Texts = NO_TEXTS, preferred: Preferences | None = None) -> str:
    """The file."""
    styles = f"{_accents()}\n{bundle_styles(ASSETS, STYLES)}"
    digest = base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return render(
        "bench_page", policy=policy, title=title(summary), styles=styles, body=body(summary, texts, preferred)
    )


def body(summary: Summary, texts: Texts = NO_TEXTS, preferred: Preferences | None = None) -> str:
    """The report as an HTML fragment: one element of the class ``bench-report``, styled by ``assets/bench/report.css``.

    Colours are the variables of the app's theme and of ``lane_colours.accent_css``.
    """
    lanes = [
        {"place": place % len(LANE_ACCENTS), "label": one.lane.label, "model": one.lane.model}
        for place, one in enumerate(summary.lanes)
    ]
    return render(
        "bench_body",
        title=title(summary),
        head=head_facts(summary),
        lines=summary.verdicts,
        tables=tables(summary),
        charts=charts(summary),
        size=(WIDTH, HEIGHT),
        heavy=[(_label(summary, one.lane), heavy_tables(summary, one)) for one in summary.heavy],
        tree=_tree(summary),
        lanes=lanes,
        preferred=preferred_lines(summary, preferred),
        preferred_words=(PREFERRED, PREFERRED_NOTE),
        rows=[_row(row, summary, texts) for row in summary.grid],
        with_texts=texts is not NO_TEXTS,
        checks=checks(summary),
        accents=len(LANE_ACCENTS),
    )


def preferred_lines(summary: Summary, preferred: Preferences | None) -> list[str]:
    """What votes and judges say; empty without any."""
    return preferred.sentences(one.lane for one in summary.lanes) if preferred else []


def title(summary: Summary) -> str:
    day = datetime.fromisoformat(summary.run.started_at_utc)
    return f"Benchmark of {day.day} {day:%B %Y}"


def head_facts(summary: Summary) -> list[str]:
    run = summary.run
    epochs = "" if run.epochs == 1 else f", each asked {run.epochs} times"
    facts = [
        f"{counted(run.n_cases, 'case')}{epochs}",
        f"{run.n_reached:,} of {run.n_planned:,} answers",
        f"suite version {run.suite_version}, seed {run.seed}",
        f"run {run.id}",
    ]
    if run.budget_usd is not None:
        facts.append(f"budget {usd(run.budget_usd)}")
    return facts


def checks(summary: Summary) -> list[tuple[str, str]]:
    """How far the measurement itself can be trusted: a heading and a sentence each."""
    found = [("Graders", summary.golden.sentence)]
    chances = [pair.by_chance for pair in summary.pairs if pair.category is None and pair.by_chance is not None]
    if chances:
        found.append(
            (
                "Shuffled labels",
                f"With the two lanes' names swapped at random in each case, a difference would be called shown in "
                f"{100 * max(chances):.1f} % of all ways to swap them; at most 5 % may be.",
            )
        )
    for one in summary.noise:
        share = f"{percent(one.share.value)}, {percents(one.share.interval)}"
        words = f"{one.changed} of {counted(one.n, 'case')} ({share})"
        found.append(("Noise", f"{_label(summary, one.first)} ran twice: on {words} the two verdicts differ."))
    boxes: dict[tuple[str, str], int] = {}
    for lane in summary.lanes:
        for backend, level, n in lane.sandboxes:
            boxes[backend, level] = boxes.get((backend, level), 0) + n
    if boxes:
        said = ", ".join(f"{backend} ({level}) for {counted(n, 'answer')}" for (backend, level), n in boxes.items())
        found.append(("Sandbox", f"Code ran in {said}. Time-outs of different sandboxes cannot be compared."))
    again = f"python -m kimi_ui bench --{summary.run.size} --seed {summary.run.seed} --epochs {summary.run.epochs}"
    if summary.run.size in ("quick", "full"):
        found.append(("Again", again))
    return found


def _label(summary: Summary, lane: str) -> str:
    return next(one.lane.label for one in summary.lanes if one.lane.id == lane)


def _accents() -> str:
    """The lanes' colours for both modes, which follow the browser's setting."""
    colours = " ".join(
        f"--kimi-lane-{i}: light-dark({accent.light}, {accent.dark});" for i, accent in enumerate(LANE_ACCENTS)
    )
    return f":root {{ {colours} }}"


def _tree(summary: Summary) -> list[dict[str, Any]]:
    labels = {one.lane.id: one.lane.label for one in summary.lanes}
    return [
        {
            "question": branch.question,
            "leaves": [
                {
                    "priority": category_name(leaf.priority),
                    "state": leaf.state,
                    "answer": " or ".join(labels[lane] for lane in leaf.lanes) if leaf.lanes else "nothing to say",
                    "reason": leaf_reason(leaf, labels),
                }
                for leaf in branch.leaves
            ],
        }
        for branch in summary.tree
    ]


def _row(row: Row, summary: Summary, texts: Texts) -> dict[str, Any]:
    samples = [one for cell in row.cells.values() for one in cell]
    prompt = next((found for one in samples if (found := texts.prompts.get(one.turn_id or ""))), None)
    return {
        "case": row.case,
        "category": category_name(row.category),
        "disagree": row.spread > 0,
        "prompt": _part("Prompt", prompt, "", folded=False) if prompt else None,
        "cells": [_cell(row.cells[one.lane.id], one.lane.label, texts) for one in summary.lanes],
    }


def _cell(samples: Sequence[Sample], label: str, texts: Texts) -> dict[str, Any]:
    return {
        "label": label,
        "marks": "".join(map(mark, samples)),
        "words": ", ".join(OUTCOME_WORDS[one.outcome] for one in samples) or "not in the plan",
        "epochs": [_epoch(one, texts) for one in samples],
    }


def _epoch(sample: Sample, texts: Texts) -> _Epoch:
    parts = []
    attempt, turn = sample.attempt_id or "", sample.turn_id or ""
    if attempt in texts.answers:
        parts.append(_part("Answer", texts.answers[attempt], turn, folded=False))
    if attempt in texts.reasoning:
        parts.append(_part("Reasoning", texts.reasoning[attempt], turn, folded=True))
    trajectories = [
        {
            "number": one.number,
            "outcome": one.outcome,
            "words": OUTCOME_WORDS[one.outcome],
            "extracted": _clean(one.extracted),
            "part": _part("Answer", texts.answers[one.attempt_id], turn, folded=False)
            if one.attempt_id in texts.answers
            else None,
        }
        for one in sample.trajectories
    ]
    return _Epoch(
        turn,
        sample.outcome,
        OUTCOME_WORDS[sample.outcome],
        _clean(sample.extracted),
        clean_text(sample.reason),
        _facts(sample),
        parts,
        trajectories,
    )


def _clean(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def _facts(sample: Sample) -> str:
    """What is known of the answer's time, tokens and cost."""
    facts = []
    if sample.ttft_ms is not None:
        facts.append(f"first token {duration(sample.ttft_ms / 1000)}")
    if sample.e2e_ms is not None:
        facts.append(f"in all {duration(sample.e2e_ms / 1000)}")
    if sample.output_tokens is not None:
        facts.append(f"{sample.output_tokens:,} tokens")
    if sample.cost_usd is not None:
        facts.append(usd(sample.cost_usd))
    if sample.grader:
        facts.append(f"grader {sample.grader} {sample.grader_version}".strip())
    if sample.backend is not None:
        facts.append(f"sandbox {sample.backend}, {sample.level}")
    return " · ".join(facts)


def _part(name: str, text: Text, turn_id: str, *, folded: bool) -> _Part:
    hidden = ""
    if text.n_hidden:
        where = f"; all of it: python -m kimi_ui export {turn_id}" if turn_id else ""
        hidden = f"{text.n_hidden:,} more characters are not shown here{where}"
    return _Part(name, text.text, hidden, folded)
