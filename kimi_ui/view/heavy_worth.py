""" "Was heavy worth it?": heavy's answer to one prompt beside the single answer of the same model, in words.

What is the same or has changed is the stated result (``core.heavy.answers``). Which answer is right is known only where
the user has voted; then two axes are shown: whether heavy was better than the single answer, and what was among the
trajectories (``core.heavy.worth``). Times are those of the answers (``e2e_ms``), tokens include reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..core.attachments import split
from ..core.blind import is_blind
from ..core.estimate import PresetEstimate
from ..core.heavy.answers import Result, read
from ..core.heavy.clusters import Equal, cluster
from ..core.heavy.pool import answers_of, equal_of, source_of
from ..core.heavy.worth import Gain, Reason, axes
from ..core.markdown.safe import clean_text
from ..core.metric_words import usd
from ..core.metrics import Metrics, measure_turn
from ..core.tokens import count_text
from ..core.turn import LaneInfo, TurnFold, TurnLog
from ..core.vote import ALL_BAD, LOSS, TIE, WIN, Vote
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
    heavy, plain = (
        read(found.answer, prompt) if is_usable(found := fold.folds[ids[one.id]]) else None for one in (info, single)
    )
    source = source_of(fold, ids[info.id])
    pool = {one.number: read(one.answer, prompt) for one in answers_of(fold, source).usable}
    tally = fold.folds[ids[info.id]].tally
    took, plain_took = _together(measured, {source, ids[info.id]}), measured[ids[single.id]]
    right = _right(turn.vote, info.id, single.id)
    equal = equal_of(tally)
    facts = [_answers(heavy, plain, single.label, equal), *_extra(took, plain_took)]
    judged = _judged(right, single.label, heavy, plain, pool, equal, _saved(took, plain_took)) if right else []
    return Worth(info.id, facts, judged, tally.preset if tally else "", _took(took))


def _together(measured: Mapping[str, Metrics], attempts: Collection[str]) -> Metrics:
    """A heavy run; with the further aggregation of its answers, if the answer shown is that one's."""
    runs = [measured[one] for one in attempts]

    def total(name: str) -> Any:
        parts = [getattr(run, name) for run in runs]
        return None if None in parts else sum(parts)

    return Metrics(**{name: total(name) for name in ("e2e_ms", "output_tokens", "cost_usd")})


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


def _answers(heavy: Result | None, plain: Result | None, label: str, equal: Equal | None) -> str:
    if heavy is None or plain is None:
        return f"{'Heavy' if heavy is None else label} has no whole answer"
    if not heavy.stated or not plain.stated:
        return "Open text: no result to compare"
    if _same(heavy, plain, equal):
        return f"Same answer as {label}"
    return f"Another answer than {label}: {clean_text(heavy.label)}, not {clean_text(plain.label)}"


def _same(one: Result, other: Result, equal: Equal | None) -> bool:
    return len(cluster({1: one, 2: other}, equal).clusters) == 1


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


def _saved(heavy: Metrics, plain: Metrics) -> str:
    """What the single answer alone would have saved, as the end of a sentence; empty if nothing of it is known."""
    parts = []
    if heavy.e2e_ms is not None and plain.e2e_ms is not None and heavy.e2e_ms > plain.e2e_ms:
        parts.append(f"{(heavy.e2e_ms - plain.e2e_ms) / 1000:.1f} s sooner")
    for what, more, less in (
        ("cost", heavy.cost_usd, plain.cost_usd),
        ("tokens", heavy.output_tokens, plain.output_tokens),
    ):
        if more and less and less < more:
            parts.append(f"for {100 * less / more:.0f} % of the {what}")
            break
    return f", {' and '.join(parts)}" if parts else ""


def _judged(
    right: tuple[bool, bool],
    single: str,
    heavy: Result | None,
    plain: Result | None,
    pool: Mapping[int, Result | None],
    equal: Equal | None,
    saved: str,
) -> list[str]:
    """The two axes in words. ``right``: whether the single and heavy's answer are; ``saved``: by the single answer."""
    single_right, heavy_right = right
    wanted = heavy if heavy_right else plain if single_right else None
    known = wanted if wanted is not None and wanted.stated else None
    having = [k for k, one in sorted(pool.items()) if known and one and one.stated and _same(one, known, equal)]
    gain, reason = axes(single_right, [k in having for k in pool] if known else (), heavy_right)
    sentences = [_GAIN[gain].format(single=single, saved=saved)] if gain else []
    if reason and gain is not Gain.NOTHING_TO_GAIN:
        who = f"{len(having)} of {len(pool)} trajectories" if len(having) > 2 else names(having) if having else ""
        sentences.append(_REASONS[reason].format(who=who))
    return sentences


def _right(vote: Vote | None, heavy: str, single: str) -> tuple[bool, bool] | None:
    """Whether the single and heavy's answer are right by the vote: the best is, of a tie both are, of all bad none."""
    return _RIGHT.get((vote.outcome(single), vote.outcome(heavy))) if vote else None


_RIGHT: dict[tuple[str | None, str | None], tuple[bool, bool]] = {
    (WIN, LOSS): (True, False),
    (LOSS, WIN): (False, True),
    (TIE, TIE): (True, True),
    (ALL_BAD, ALL_BAD): (False, False),
}

_GAIN = {
    Gain.NOTHING_TO_GAIN: "There was nothing to gain here: {single} alone was as good{saved}.",
    Gain.HELPED: "Heavy helped: you preferred its answer to that of {single}.",
    Gain.HURT: "Heavy hurt: you preferred the single answer of {single}.",
    Gain.DID_NOT_HELP: "Heavy did not help: you found all answers bad.",
}
_REASONS = {
    Reason.KEPT: "That result was among its trajectories: {who} had it.",
    Reason.LOST: "The aggregation lost it: {who} had that result.",
    Reason.BEYOND: "It went beyond its trajectories: none of them states that result.",
    Reason.NONE_RIGHT: "That result was not among its trajectories: none of them states it.",
}
