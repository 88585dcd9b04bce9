"""What heavy's board says, in words: counts, agreement, the verdict on the majority, the label of a part.

Agreement is never called confidence: the trajectories may agree on a mistake, and a minority may be right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.attempt import AttemptFold, live_phase
from ..core.events import QUEUED, Tally
from ..core.heavy.answers import CODE
from ..core.heavy.attribution import Attributed
from ..core.heavy.candidates import EMPTY, FAILED, PREAMBLE, REFUSED, STOPPED, TRUNCATED
from ..core.heavy.clusters import Cluster, Clusters
from ..core.heavy.pool import reason_of
from ..core.heavy.strategies import STRATEGIES
from ..core.heavy.verdict import FOLLOWED, MINORITY, NONE, OWN, UNKNOWN, Verdict
from ..core.markdown.safe import clean_text

RUNNING = "running"
MAX_NAMED = 4  # results in the count; a model that guesses has eight
ORDER_TRACE = "order_trace"  # the flag of an order found in the final answer, see ``core.heavy.traces``

_STATES = {
    FAILED: "failed",
    STOPPED: "stopped",
    EMPTY: "without an answer",
    TRUNCATED: "cut off",
    PREAMBLE: "with only an opening line",
    REFUSED: "declined",
    RUNNING: "running",
    QUEUED: "queued",
}
"""What became of a trajectory whose answer is not used."""


def state_of(fold: AttemptFold) -> str:
    """A key of ``_STATES``; empty if the trajectory's answer is used."""
    if fold.status != "open":
        return reason_of(fold)
    return QUEUED if live_phase(fold) == QUEUED else RUNNING


def is_usable(fold: AttemptFold) -> bool:
    return not state_of(fold)


def cells_of(
    folds: Mapping[int, AttemptFold], letters: Mapping[int, str], found: Clusters, width: int
) -> list[dict[str, Any]]:
    """A cell for each of ``width`` trajectories: the largest cluster first, then answers without a result, those that
    are still out, those that failed, and those that were not sent."""
    place = {member - 1: i for i, one in enumerate(found.clusters) for member in one.members}

    def order(k: int) -> tuple[int, int, int]:
        fold = folds[k]
        rank = 0 if is_usable(fold) else 1 if fold.status == "open" else 2
        return rank, place.get(k, len(place)), k

    sent = [_cell(k, folds[k], letters.get(k, ""), found.by_member.get(k + 1)) for k in sorted(folds, key=order)]
    unsent = sorted(set(range(width)) - set(folds))
    return [*sent, *({"k": k, "letter": "", "state": "unsent", "says": f"T{k + 1} not sent"} for k in unsent)]


def _cell(k: int, fold: AttemptFold, letter: str, one: Cluster | None) -> dict[str, Any]:
    if is_usable(fold):
        state = "answer" if letter else "none"
        says = f"says {clean_text(one.label)}" if letter and one else "states no result that can be compared"
    else:
        state = "open" if fold.status == "open" else "failed"
        says = _STATES[state_of(fold)]
        letter = letter if state == "open" else ""
    return {"k": k, "letter": letter, "state": state, "says": f"T{k + 1} {says}"}


def says_of(folds: Mapping[int, AttemptFold], found: Clusters, width: int, ended: bool) -> str:
    """ "6 say 42 · 1 says 41 · 1 failed"; ``width``: how many trajectories there can be."""
    said: list[str] = []
    if found.open_text:
        n = found.n_usable
        said.append(f"{n} answer{'s' if n > 1 else ''} in open text")
    else:
        said += [_group(one) for one in found.clusters[:MAX_NAMED]]
        if rest := found.clusters[MAX_NAMED:]:
            n = sum(len(one.members) for one in rest)
            said.append(f"{n} say{'s' if n == 1 else ''} {len(rest)} other result{'s' if len(rest) > 1 else ''}")
        if found.unread:
            n = len(found.unread)
            said.append(f"{n} state{'s' if n == 1 else ''} no result that can be compared")
    states = Counter(filter(None, map(state_of, folds.values())))
    said += [f"{states[state]} {words}" for state, words in _STATES.items() if states[state]]
    if folds and width > len(folds):
        said.append(f"{width - len(folds)} not sent{'' if ended else ' yet'}")
    return " · ".join(said)


def _group(one: Cluster) -> str:
    n = len(one.members)
    if one.type == CODE:
        return f"{n} {'has' if n == 1 else 'have'} the code structure of T{one.members[0]}"
    return f"{n} say{'s' if n == 1 else ''} {clean_text(one.label)}"


def lines_of(
    found: Clusters, judged: Verdict | None, final: AttemptFold | None, tally: Tally | None
) -> list[dict[str, str]]:
    """Sentences below the count: ``kind`` is fact, flag (neutral: neither good nor bad) or warning."""
    lines: list[dict[str, str]] = []
    if found.open_text and found.similarity is not None:
        means = "of 1: share of three-word phrases that two answers have in common; open text states no result to count"
        lines.append(_line("fact", f"Mean pairwise similarity {found.similarity:.2f}", means))
    elif found.n_usable > 1 and found.agreement is not None and found.effective is not None and not found.open_text:
        means = f"1/Σp², p the share of each result: 1 if all are the same, {found.n_stated} if all differ"
        share = f"Agreement {100 * found.agreement:.0f} % · {found.effective:.1f} effective answers"
        lines.append(_line("fact", share, means))
    if tally is not None and tally.stopped_at:
        means = "estimated from the answers so far (beta-binomial); it says nothing about which result is right"
        lines.append(_line("fact", _stop_sentence(tally), means))
    if judged is not None and (line := _verdict_line(found, judged)):
        lines.append(line)
    if final is not None and (trace := final.flags.get(ORDER_TRACE)):
        lines.append(_line("warning", _trace_sentence(trace)))
    return lines


def _stop_sentence(tally: Tally) -> str:
    """ "Stopped at 4–1: chance that the other 3 change the majority 2.4 %." """
    n_out = tally.width - tally.usable - tally.failed
    score = (tally.stopped_at or "").replace("-", "–")
    others = "the other one changes" if n_out == 1 else f"the other {n_out} change"
    if not tally.stop_risk:
        return f"Stopped at {score}: the others could not change the majority any more."
    return f"Stopped at {score}: chance that {others} the majority {100 * tally.stop_risk:.1f} %."


def _trace_sentence(detail: str) -> str:
    """From the flag's ``member: text``; member 0: the answer speaks of the candidates themselves."""
    member, _, text = detail.partition(": ")
    shown = clean_text(text)
    if member == "0":
        return f"The final answer mentions the answers that it was made from: “{shown}”."
    return f"The final answer may follow an order that only T{member} contains: “{shown}”. Read it with care."


def strategies_beside(tally: Tally | None) -> list[dict[str, str]]:
    """The strategies by which the same answers can be aggregated again."""
    return [
        {"id": one.name, "label": one.label} for one in STRATEGIES.values() if not tally or one.name != tally.strategy
    ]


def _line(kind: str, text: str, means: str = "") -> dict[str, str]:
    return {"kind": kind, "text": text, "means": means}


def _verdict_line(found: Clusters, judged: Verdict) -> dict[str, str] | None:
    majority = found.plurality
    if judged.kind == FOLLOWED:
        return _line("fact", "The final answer follows the majority.") if found.n_usable > 1 else None
    if judged.kind == MINORITY:
        label = clean_text(found.by_member[judged.members[0]].label)
        text = f"The final answer overrules the majority: it sides with {names(judged.members)} ({label})."
        return _line("flag", text, "A minority is sometimes right.")
    if judged.kind == OWN and majority is not None:
        text = f"The final answer overrules the majority ({clean_text(majority.label)}) with a result of its own."
        return _line("flag", text, "No trajectory states it.")
    if judged.kind == NONE:
        side = f"; the final answer sides with {names(judged.members)}" if judged.members else ""
        return _line("fact", f"There is no majority{side}.")
    if judged.kind == UNKNOWN and not found.open_text:
        return _line(
            "fact", "Whether the final answer follows the majority is not known: no result could be read from it."
        )
    return None


def names(members: Sequence[int]) -> str:
    """ "T3", "T2 and T5", "T1, T2 and T5" """
    named = [f"T{member}" for member in members]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def part_label(part: Attributed, n: int) -> str:
    """What a part of the final answer matches, of ``n`` trajectories."""
    members = part.members
    match part.kind:
        case "match":
            return f"Matches {names(members)}"
        case "pair":
            return "Matches " + " + ".join(f"T{member}" for member in members)
        case "common":
            return f"Common to {len(members)} of {n}"
        case "reworded":
            return (
                f"Reworded, {f'common to {len(members)} of {n}' if len(members) > 2 else f'probably {names(members)}'}"
            )
        case "new" if part.altered:
            return f"New in hybrid: a number or a negation differs from {names(part.altered)}"
        case "new":
            return "New in hybrid"
        case _:
            return "Not attributable"


def parts_say(parts: Iterable[Attributed], whole: bool = True) -> str:
    """ "4 of 6 parts match trajectories · 2 new in hybrid"; not ``whole``: the answer is still being written."""
    kinds = Counter("matched" if part.members else part.kind for part in parts)
    n = kinds["matched"] + kinds["new"]
    so_far = "" if whole else " so far"
    if not n:
        return f"Nothing in the answer can be attributed{so_far}"
    new = f" · {kinds['new']} new in hybrid" if kinds["new"] else ""
    return f"{kinds['matched']} of {n} parts{so_far} match trajectories{new}"
