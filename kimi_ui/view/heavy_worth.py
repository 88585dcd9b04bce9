""" "Was heavy worth it?": heavy's answer to one prompt beside the single answer of the same model, in words.

What is the same or has changed is the stated result (``core.heavy.answers``). Which answer is right is known only where
the user has voted; then two axes are shown: whether heavy was better than the single answer, and what was among the
trajectories (``core.heavy.verdict``). Times are those of the answers (``e2e_ms``), tokens include reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..core.attachments import split
from ..core.blind import is_blind
from ..core.estimate import PresetEstimate
from ..core.heavy.answers import Result, read
from ..core.heavy.clusters import cluster
from ..core.heavy.verdict import (
    BEYOND,
    DID_NOT_HELP,
    HELPED,
    HURT,
    LOST,
    NO_RIGHT_ANSWER,
    NOTHING_TO_GAIN,
    reason,
    worth,
)
from ..core.markdown.safe import clean_text
from ..core.metric_words import usd
from ..core.metrics import Metrics, measure_turn
from ..core.tokens import count_text
from ..core.turn import LaneInfo, TurnFold, TurnLog
from ..core.vote import ALL_BAD, LANE, TIE, Vote
from ..tokenizers import counter
from .heavy_words import is_usable, names


class Worth(NamedTuple):
    """``facts``: the answer, seconds, tokens and cost beside the single answer's. ``judged``: sentences by the vote.

    ``preset``: of the run, empty if unknown. ``took``: what the run took, in words like those of ``expectation``.
    """

    lane: str
    facts: list[str]
    judged: list[str]
    preset: str
    took: list[str]


def expectation(expected: PresetEstimate, took: list[str]) -> str:
    """What was expected of a run and what it took, in one sentence."""
    parts = []
    if expected.tokens:
        parts.append(_span(expected.tokens, lambda n: f"{n:,}") + " tokens")
    if expected.usd:
        parts.append(_span(expected.usd, usd))
    if expected.seconds is not None:
        parts.append(f"{expected.seconds:.1f} s")
    return f"Expected from the log: {', '.join(parts)}. It took {', '.join(took)}." if parts and took else ""


def _span(ends: tuple[float, float], words: Callable[[float], str]) -> str:
    low, high = map(words, ends)
    return high if low == high else f"{low} to {high}"


def worth_of(turn: TurnLog) -> list[Worth]:
    """For each heavy lane beside a lane of the same model, both ended; nothing of a turn that is still blind."""
    if is_blind(turn):
        return []
    fold = turn.fold()
    pairs = [(info, single) for info in turn.lanes for single in turn.lanes if single.id == info.of and single.id]
    pairs = [(info, single) for info, single in pairs if fold.lane_ended(info.id) and fold.lane_ended(single.id)]
    measured = _measured(fold) if pairs else {}
    return [_worth(turn, fold, info, single, measured) for info, single in pairs]


def _measured(fold: TurnFold) -> dict[str, Metrics]:
    counts = {
        attempt_id: count_text(
            counter(attempt.tokenizer), fold.folds[attempt_id].reasoning, fold.folds[attempt_id].answer
        )
        for attempt_id, attempt in fold.attempts.items()
    }
    return measure_turn(fold, counts)


def _worth(turn: TurnLog, fold: TurnFold, info: LaneInfo, single: LaneInfo, measured: Mapping[str, Metrics]) -> Worth:
    prompt = split(turn.prompt).text
    ids = {one.id: fold.current(one.id) or "" for one in (info, single)}
    results = {
        one.id: read(fold.folds[ids[one.id]].answer, prompt) if is_usable(fold.folds[ids[one.id]]) else None
        for one in (info, single)
    }
    heavy, plain = results[info.id], results[single.id]
    extra = _extra(measured[ids[info.id]], measured[ids[single.id]])
    facts = [_answers(heavy, plain, single.label), *extra]
    pool = {
        (fold.attempts[child].k_index or 0) + 1: read(fold.folds[child].answer, prompt)
        for child in fold.children.get(ids[info.id], ())
        if fold.attempts[child].role == "trajectory" and is_usable(fold.folds[child])
    }
    judged = _judged(turn.vote, info, single, heavy, plain, pool, ", ".join(extra))
    tally = fold.folds[ids[info.id]].tally
    return Worth(info.id, facts, judged, tally.preset if tally else "", _took(measured[ids[info.id]]))


def _took(heavy: Metrics) -> list[str]:
    """Output tokens, cost and seconds of a run; what is not known is left out."""
    took = []
    if heavy.output_tokens is not None:
        took.append(f"{heavy.output_tokens:,} tokens")
    if heavy.cost_usd is not None:
        took.append(usd(heavy.cost_usd))
    if heavy.e2e_ms is not None:
        took.append(f"{heavy.e2e_ms / 1000:.1f} s")
    return took


def _answers(heavy: Result | None, plain: Result | None, label: str) -> str:
    if heavy is None or plain is None:
        return f"{'Heavy' if heavy is None else label} has no whole answer"
    if not heavy.stated or not plain.stated:
        return "Open text: no result to compare"
    if same(heavy, plain):
        return f"Same answer as {label}"
    return f"Another answer than {label}: {clean_text(heavy.label)}, not {clean_text(plain.label)}"


def same(one: Result, other: Result) -> bool:
    return len(cluster({1: one, 2: other}).clusters) == 1


def _extra(heavy: Metrics, plain: Metrics) -> list[str]:
    """What heavy took beyond the single answer; what is not known is left out."""
    parts = []
    if heavy.e2e_ms is not None and plain.e2e_ms is not None:
        parts.append(f"{(heavy.e2e_ms - plain.e2e_ms) / 1000:+.1f} s".replace("-", "−"))
    if heavy.output_tokens and plain.output_tokens:
        parts.append(f"{heavy.output_tokens / plain.output_tokens:.1f} × tokens")
    if heavy.cost_usd and plain.cost_usd:
        parts.append(f"{heavy.cost_usd / plain.cost_usd:.1f} × cost")
    return parts


def _judged(
    vote: Vote | None,
    info: LaneInfo,
    single: LaneInfo,
    heavy: Result | None,
    plain: Result | None,
    pool: Mapping[int, Result | None],
    extra: str,
) -> list[str]:
    """The two axes by the user's vote; empty without one, or if it was for another lane."""
    right = _right(vote, info.id, single.id)
    if right is None:
        return []
    single_right, heavy_right = right
    kind = worth(single_right, heavy_right)
    sentences = [_WORTH[kind].format(single=single.label, extra=f"; heavy took {extra}" if extra else "")]
    wanted = heavy if heavy_right else plain if single_right else None
    if wanted is None or not wanted.stated or not pool or kind == NOTHING_TO_GAIN:
        return sentences
    having = [k for k, result in sorted(pool.items()) if result is not None and result.stated and same(result, wanted)]
    why = reason([k in having for k in pool], heavy_right)
    who = names(having) if having else ""
    share = f"{len(having)} of {len(pool)} trajectories" if len(having) > 2 else who
    sentences.append(_REASONS.get(why, "That result was among its trajectories: {who} had it.").format(who=share))
    return sentences


def _right(vote: Vote | None, heavy: str, single: str) -> tuple[bool, bool] | None:
    """Whether the single and heavy's answer are right by the vote: the best is, of a tie both are, of all bad none."""
    if vote is None or not {heavy, single} <= set(vote.field):
        return None
    if vote.choice == LANE:
        return {heavy: (False, True), single: (True, False)}.get(vote.lane)
    return {TIE: (True, True), ALL_BAD: (False, False)}.get(vote.choice)


_WORTH = {
    NOTHING_TO_GAIN: "There was nothing to gain here: {single} alone was as good{extra}.",
    HELPED: "Heavy helped: you preferred its answer to that of {single}.",
    HURT: "Heavy hurt: you preferred the single answer of {single}.",
    DID_NOT_HELP: "Heavy did not help: you found all answers bad.",
}
_REASONS = {
    NO_RIGHT_ANSWER: "That result was not among its trajectories: none of them states it.",
    LOST: "The aggregation lost it: {who} had that result.",
    BEYOND: "It went beyond its trajectories: none of them states that result.",
}
