"""The verdict lines: what the run shows, in words for a person who knows no statistics. Each claims only what is shown.

A range in brackets holds the true value in 95 of 100 such runs. Names are the lanes' labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...core.metric_words import usd
from ...stats.statistics import Interval, Median
from ..statistics import SUPPORTED, UNKNOWN, Leaf, Paired, Ratio, whole_points
from .accuracy import FAILURES, Noise, Pair
from .figures import Spent
from .heavy import NOT_SUPPORTED, Explained

if TYPE_CHECKING:
    from . import Head, LaneSummary, Summary

SHOWN, NOT_SHOWN, NOTE, WARNING = "shown", "not shown", "note", "warning"
CATEGORY_NAMES = {"long_context": "long context", "multi_turn": "conversations"}
ENDED = {
    "running": "This run is still going on",
    "stopped": "A person stopped this run",
    "budget": "This run stopped because its budget was spent",
    "interrupted": "This run was interrupted",
    "decided": "This run stopped early because the evidence was strong enough",
}
UNKNOWN_WORD = "unknown"
MANY_LOST = 0.1  # share of a lane's answers without a verdict from which its accuracy needs a warning


class Line(NamedTuple):
    """``kind``: shown | not shown | note | warning. ``title``: the question, or what the note is about."""

    kind: str
    title: str
    text: str


def category_name(category: str) -> str:
    return CATEGORY_NAMES.get(category, category)


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.0f} %"


def percents(interval: Interval | None) -> str:
    """ "72 to 86 %" """
    return "" if interval is None else f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"


def points(value: float) -> str:
    """An amount of percentage points, without a sign."""
    n = f"{100 * abs(value):.0f}"
    return f"{n} point{'' if n == '1' else 's'}"


def at_least(value: float) -> str:
    """Percentage points rounded up, for what could have been shown."""
    return points(whole_points(value) / 100)


def duration(seconds: float) -> str:
    if seconds >= 600:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def speed(value: float) -> str:
    return f"{value:.0f} tok/s" if value >= 100 else f"{value:.1f} tok/s"


def times(value: float) -> str:
    """A factor."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def names(labels: Sequence[str]) -> str:
    """ "A", "A and B", "A, B and C" """
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}" if labels else ""


def counted(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def could_have_shown(found: Paired) -> str:
    """ "could have shown ≥ 9 points", "is too small to show any difference" """
    if found.could_have_shown is None or whole_points(found.could_have_shown) >= 100:
        return "is too small to show any difference"
    return f"could have shown ≥ {at_least(found.could_have_shown)}"


def leaf_reason(leaf: Leaf, label: Mapping[str, str]) -> str:
    """The leaf's reason, with the names of the lanes whose figure is not known."""
    return (
        f"{leaf.reason} Not known for {names([label[lane] for lane in leaf.missing])}." if leaf.missing else leaf.reason
    )


def verdict_lines(summary: Summary) -> tuple[Line, ...]:
    """Warnings about the run as a whole first, then a line per question."""
    label = {one.lane.id: one.lane.label for one in summary.lanes}
    lines = [*_ended(summary.run), *_stand_ins(summary.lanes)]
    overall = [pair for pair in summary.pairs if pair.category is None]
    spent = {(one.first, one.second): one for one in summary.spent}
    heavy_first = sorted(overall, key=lambda pair: _heavy_of(pair, summary) is None)
    for pair in heavy_first:
        lines.append(_pair_line(pair, spent[pair.first, pair.second], summary, label))
    lines += _category_line([pair for pair in summary.pairs if pair.category is not None], label)
    leaves = {(branch.question, leaf.priority): leaf for branch in summary.tree for leaf in branch.leaves}
    if len(summary.lanes) > 1:
        lines.append(_fastest(leaves["Least waiting", "whole answer"], summary.lanes, label))
    lines += _costs(summary.lanes)
    lines += _right_answer(summary.lanes)
    lines += [line for one in summary.heavy if (line := _heavy_line(one, label))]
    lines += _failures(summary)
    lines += [_noise_line(one, label) for one in summary.noise]
    return tuple(lines)


def _ended(run: Head) -> list[Line]:
    if run.state == "done":
        return []
    after = f"{ENDED.get(run.state, 'This run ended early')} after {run.n_reached:,} of {run.n_planned:,} answers."
    if run.state == "decided":
        text = f"{after} That rule holds whenever one looks; the verdicts below also allow for cases that are alike."
        return [Line(NOTE, "Stopped early, honestly", text)]
    text = (
        f"{after} Whoever stops when the figures look good finds differences that do not exist. So a difference is "
        "called shown below only if the evidence would be enough whenever the run had ended."
    )
    return [Line(WARNING, "Exploratory", text)]


def _stand_ins(lanes: Sequence[LaneSummary]) -> list[Line]:
    found = [one.lane.label for one in lanes if one.lane.stand_in]
    if not found:
        return []
    verb, real = ("was", "the real one") if len(found) == 1 else ("were", "the real ones")
    text = f"{names(found)} {verb} served by the small embedded model, so the figures say nothing about {real}."
    return [Line(WARNING, "Stand-in", text)]


def _heavy_of(pair: Pair, summary: Summary) -> tuple[str, str] | None:
    """The pair as (heavy, its single lane), if it is one."""
    of = {one.lane.id: one.lane.of for one in summary.lanes}
    if of[pair.first] == pair.second:
        return pair.first, pair.second
    return (pair.second, pair.first) if of[pair.second] == pair.first else None


def _pair_line(pair: Pair, spent: Spent, summary: Summary, label: Mapping[str, str]) -> Line:
    first, second = label[pair.first], label[pair.second]
    heavy = _heavy_of(pair, summary)
    title = f"Is {label[heavy[0]]} worth it?" if heavy else f"{first} or {second}: which is right more often?"
    found = pair.graded
    if found.difference is None or found.interval is None:
        return Line(NOT_SHOWN, title, f"No case has a verdict for both {first} and {second}.")
    a, b = ((found.both + one) / found.n for one in (found.b, found.c))
    cases = f"on the same {counted(found.n, 'case')}"
    if summary.run.epochs > 1:
        cases += f" (right in most of {summary.run.epochs} tries)"
    least = f"This run {could_have_shown(found)}"
    if pair.shown:
        low, high = sorted(abs(end) for end in found.interval)
        better, worse = (second, first) if found.difference > 0 else (first, second)
        text = (
            f"{better}: {percent(max(a, b))} right against {percent(min(a, b))} of {worse}, {cases}. That is "
            f"{points(found.difference)} more, in truth probably {100 * low:.0f} to {points(high)}. {least}."
        )
        if heavy:
            text = f"{'Yes' if better == label[heavy[0]] else 'No'}, by right answers. {text}"
    else:
        smaller = "; a smaller difference may exist" if (found.could_have_shown or 1) < 1 else ""
        text = f"No difference shown. {first} has {percent(a)} right, {second} {percent(b)}, {cases}. {least}{smaller}."
    return Line(SHOWN if pair.shown else NOT_SHOWN, title, f"{text}{_takes(spent, first, second)}")


def _takes(spent: Spent, first: str, second: str) -> str:
    """Who takes longer and who costs more, by what factor; nothing that is not shown."""
    said: dict[str, list[str]] = {}
    for found, verb, more in ((spent.times, "takes", "as long"), (spent.cost, "costs", "as much")):
        if found.value is None or found.interval is None or found.interval.low <= 1 <= found.interval.high:
            continue
        low, high = found.interval
        value = found.value
        subject = second
        if value == 0:
            said.setdefault(second, []).append("costs nothing")
            continue
        if value < 1:
            subject, value, low, high = first, 1 / value, 1 / high, 1 / low if low else math.inf
        said.setdefault(subject, []).append(f"{verb} {times(value)} times {more} ({times(low)} to {times(high)})")
    return "".join(f" An answer of {subject} {' and '.join(parts)}." for subject, parts in said.items())


def _category_line(pairs: Sequence[Pair], label: Mapping[str, str]) -> list[Line]:
    if len({pair.category for pair in pairs}) < 2:
        return []
    title = "And by category?"
    shown = [pair for pair in pairs if pair.shown]
    said = []
    for pair in shown:
        difference = pair.graded.difference or 0.0
        better, worse = (pair.second, pair.first) if difference > 0 else (pair.first, pair.second)
        said.append(f"{category_name(pair.category or '')}: {label[better]} over {label[worse]}, {points(difference)}")
    least = [
        pair.graded.could_have_shown for pair in pairs if not pair.shown and pair.graded.could_have_shown is not None
    ]
    could = ""
    if least:
        low, high = at_least(min(least)), at_least(max(least))
        could = f"could have shown ≥ {high if low == high else f'{low.split()[0]} to {high}'}"
        if whole_points(min(least)) >= 100:
            could = "have too few cases to show any"
    if said:
        rest = f" The other comparisons show nothing; they {could}." if could else ""
        return [Line(SHOWN, title, f"Shown in {'; '.join(said)}.{rest}")]
    if not could:
        return []
    return [Line(NOT_SHOWN, title, f"In no category is a difference shown; these comparisons {could}.")]


def _fastest(leaf: Leaf, lanes: Sequence[LaneSummary], label: Mapping[str, str]) -> Line:
    known = sorted(
        ((one.figures.total_s.value, one) for one in lanes if one.figures.total_s.value is not None),
        key=lambda pair: pair[0],
    )
    title = "Which is fastest to the end?"
    if not known:
        return Line(NOT_SHOWN, title, "No total time is known.")
    said = ", ".join(f"{one.lane.label} {duration(value)}{_range(one.figures.total_s)}" for value, one in known)
    text = f"Half of the answers end within this time: {said}."
    if leaf.state == SUPPORTED:
        return Line(SHOWN, title, f"{label[leaf.lanes[0]]}. {text}")
    if leaf.state == UNKNOWN or len(leaf.lanes) < 2:
        return Line(NOT_SHOWN, title, f"Not shown. {text}")
    return Line(NOT_SHOWN, title, f"{names([label[lane] for lane in leaf.lanes])} are not told apart. {text}")


def _range(found: Median) -> str:
    return " (too few for a range)" if found.interval is None else f" ({span(found.interval, duration)})"


def span(interval: Interval, words: Callable[[float], str]) -> str:
    """ "5.7 to 6.3 s", "$0.004 to 0.005", "800 ms to 1.2 s": the unit once where it is the same."""
    low, high = words(interval.low), words(interval.high) if math.isfinite(interval.high) else ""
    if not high:
        return f"at least {low}"
    number, _, unit = low.partition(" ")
    if unit and high.endswith(f" {unit}"):
        low = number
    elif high.startswith("$"):
        high = high.removeprefix("$")
    return f"{low} to {high}"


def _costs(lanes: Sequence[LaneSummary]) -> list[Line]:
    said = [f"{one.lane.label} {money(one.figures.cost_usd)}" for one in lanes]
    unknown = [one for one in lanes if one.figures.cost_usd.value is None]
    why = " Unknown: the lane has no price, or its answers report no tokens." if unknown else ""
    return [Line(NOTE, "What does an answer cost?", f"On average {', '.join(said)}.{why}")] if said else []


def money(found: Ratio) -> str:
    """ "$0.0047 ($0.0041 to 0.0055)", "unknown", or "none right in 12, after $0.31" """
    return _amount(found, usd)


def until_right(found: Ratio) -> str:
    """ "31.0 s (26.1 to 38.0 s)", "unknown", or "none right in 12, after 9 min" """
    return _amount(found, duration)


def _amount(found: Ratio, words: Callable[[float], str]) -> str:
    if found.value is None:
        if found.interval is None:
            return UNKNOWN_WORD
        return f"none right in {found.n:,}, after {words(found.interval.low)}"
    if found.interval is None or found.interval.low == found.interval.high:
        return words(found.value)
    return f"{words(found.value)} ({span(found.interval, words)})"


def _right_answer(lanes: Sequence[LaneSummary]) -> list[Line]:
    said = []
    for one in lanes:
        time, cost = one.figures.time_to_correct_s, one.figures.cost_per_correct_usd
        if time.n or cost.n:
            said.append(f"{one.lane.label}: {until_right(time)}, {money(cost)}")
    text = "Asking again after each failure, until an answer is right, takes on average: "
    return [Line(NOTE, "What does a right answer take?", f"{text}{'; '.join(said)}.")] if said else []


def _heavy_line(one: Explained, label: Mapping[str, str]) -> Line | None:
    n = one.totals.n
    k = one.width
    vote = f"a majority of them in {percent(one.totals.majority)}, " if one.totals.n_voted == n else ""
    shares = (
        f"Of {counted(n, 'answer')}, at least one of {k} trajectories is right in {percent(one.totals.oracle)}, {vote}"
        f"the final answer in {percent(one.totals.hybrid)}: {points(one.totals.selection_loss or 0)} below what was "
        "found."
    )
    supported = [each.claim for each in one.explanations if each.state == SUPPORTED]
    refuted = sum(each.state == NOT_SUPPORTED for each in one.explanations)
    if supported:
        why = f" The data support: {' '.join(supported)}"
    elif refuted:
        why = " The data support none of the usual explanations."
    else:
        why = " There are too few answers to say why."
    return Line(NOTE, f"What happened inside {label[one.lane]}?", shares + why)


def _failures(summary: Summary) -> list[Line]:
    said = []
    for name, words in FAILURES.items():
        if total := sum(one.overall.counts[name] for one in summary.lanes):
            said.append(f"{total} {words}")
    if not said:
        return []
    n = sum(one.overall.n for one in summary.lanes)
    text = (
        f"Of {counted(n, 'answer')}, {', '.join(said)}. They are neither right nor wrong in the accuracy; “delivered” "
        "counts them as not right."
    )
    lines = [Line(NOTE, "What has no verdict?", text)]
    many = [
        f"{lost} of {counted(one.overall.n, 'answer')} of {one.lane.label}"
        for one in summary.lanes
        if (lost := sum(one.overall.counts[name] for name in FAILURES)) > MANY_LOST * one.overall.n
    ]
    if many:
        text = f"{names(many)} have no verdict. The accuracy is that of the others only; read “delivered” beside it."
        lines.append(Line(WARNING, "Many without a verdict", text))
    return lines


def _noise_line(one: Noise, label: Mapping[str, str]) -> Line:
    title = f"How much is chance? {label[one.first]} twice"
    if not one.n:
        return Line(NOTE, title, "No case has a verdict in both places.")
    text = (
        f"The same configuration ran in two lanes, and on {one.changed} of {counted(one.n, 'case')} "
        f"({percent(one.share.value)}, {percents(one.share.interval)}) its two verdicts differ. That much is chance."
    )
    return Line(NOTE, title, text)
