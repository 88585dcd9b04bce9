"""Heavy's board as the page shows it: which answer each trajectory's text states so far, what all state together, and
which trajectories each part of the final answer matches. See ``frames`` for the keys.

A trajectory's provisional answer is read from the end of its text at most every ``LOOK_NS`` of its own clock and only
where a word announces a result, so that a stored turn shows the same as the live one. Letters are given in the order in
which results appear and stay: A is the first, not the commonest.

Parts of the final answer are attributed as soon as their block is finished. Reading results, clusters and attribution
takes up to 150 ms for eight long answers: ``analyse`` does it, which a server calls on a thread; ``take`` does what is
left.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ..core.attempt import AttemptFold
from ..core.events import Answer, End, Event, Reasoning, Relabel, Tally
from ..core.heavy.answers import Result, offered, read
from ..core.heavy.attribution import Attributed, Attributor, finished_blocks, without_mark
from ..core.heavy.candidates import Candidate
from ..core.heavy.clusters import Clusters, cluster, letter_of
from ..core.heavy.fence import received
from ..core.heavy.pool import equal_of, reason_of
from ..core.heavy.verdict import Verdict, verdict_of
from ..core.markdown.maths import text_with_formulas
from ..core.markdown.safe import clean_text
from .heavy_words import cells_of, is_usable, lines_of, part_label, parts_say, says_of, strategies_beside

LOOK_NS = 250_000_000
TAIL = 2_000  # characters at the end of a text that are searched for a provisional answer
MAX_CHANGES = 40  # of one trajectory's provisional answer; later ones only replace the last

_ANNOUNCES = re.compile(
    r"boxed|answer|result|solution|\bans\b|option|choice|答案|答え|réponse|antwort|respuesta", re.IGNORECASE
)


class Watch:
    """One trajectory's text as it is written: ``changes`` are ``(t_ns, result or None)``."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._has_options = bool(offered(prompt))
        self._reasoning = self._answer = ""  # their ends
        self._looked_ns = -LOOK_NS
        self._announced = False
        self.changes: list[tuple[int, Result | None]] = []

    def apply(self, t_ns: int, event: Event, fold: AttemptFold) -> None:
        match event:
            case Reasoning(text):
                self._reasoning = self._grown(self._reasoning, text)
            case Answer(text):
                self._answer = self._grown(self._answer, text)
            case Relabel():
                self._reasoning, self._answer = self._grown(self._reasoning, self._answer), ""
            case End():
                usable = not reason_of(fold)
                self._change(t_ns, read(fold.answer, self._prompt) if usable else None, final=usable)
                return
            case _:
                return
        if self._announced and t_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = t_ns
            found = read(self._answer, self._prompt, finished=False) if self._answer else None
            found = found or read(self._reasoning, self._prompt, finished=False)
            if found is not None:
                self._change(t_ns, found)

    def _grown(self, tail: str, text: str) -> str:
        self._announced |= self._has_options or bool(_ANNOUNCES.search(tail[-12:] + text))
        return (tail + text)[-TAIL:]

    def _change(self, t_ns: int, result: Result | None, final: bool = False) -> None:
        before = self.changes[-1][1] if self.changes else None
        if result is None and not final:
            return
        if result != before:
            del self.changes[MAX_CHANGES:]
            self.changes.append((t_ns, result))


class HeavyBoard:
    """The board of one heavy attempt. ``due``: ``analyse`` has work to do."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._watches: dict[int, Watch] = {}
        self._folds: dict[int, AttemptFold] = {}
        self._examples: list[tuple[Result, str]] = []  # a result of each letter, in the order of appearance
        self._letters: dict[Result, str] = {}  # of each result that was seen
        self._clusters = Clusters()
        self._tally: Tally | None = None
        self._final: AttemptFold | None = None
        self._verdict: Verdict | None = None
        self._aggregation: AttemptFold | None = None  # while its answer is written
        self._written = ""  # as far as its parts were attributed
        self._parts: list[Attributed] = []
        self._sent: list[Attributed] = []  # the parts that the page has
        self._known: dict[str, Any] = {}
        self._changed = False
        self._clusters_due = False
        self._parts_due = False

    def opened(self, k: int, fold: AttemptFold) -> None:
        """A trajectory was sent, or sent again."""
        self._watches[k], self._folds[k] = Watch(self._prompt), fold
        self._changed = True

    def known(self, k: int, fold: AttemptFold) -> None:
        """A trajectory that has ended before this attempt began: its answers are aggregated again."""
        self.opened(k, fold)
        if fold.end is not None:
            self.apply(k, fold.end_ns or 0, fold.end)

    def apply(self, k: int, t_ns: int, event: Event) -> None:
        """Apply an event of trajectory ``k`` that its fold has just applied."""
        watch = self._watches[k]
        n_changes = len(watch.changes)
        watch.apply(t_ns, event, self._folds[k])
        self._clusters_due |= isinstance(event, End)
        self._changed |= self._clusters_due or len(watch.changes) != n_changes

    def counted(self, tally: Tally) -> None:
        """The run's tally has changed: its stop, what is left out, what a computer algebra found equal."""
        self._tally = tally
        self._clusters_due = self._changed = True

    def aggregating(self, fold: AttemptFold) -> None:
        """The heavy attempt sends its answers to be aggregated."""
        self._aggregation = fold
        self._changed = True

    def wrote(self, event: Event) -> None:
        """The heavy attempt's fold has just applied an event of its answer."""
        ends_line = isinstance(event, Answer) and "\n" in event.text
        if self._aggregation is not None and (ends_line or isinstance(event, Relabel)):
            self._parts_due = self._changed = True

    def ended(self, fold: AttemptFold) -> None:
        """The heavy attempt has ended."""
        self._final = fold
        self._parts_due = self._changed = True

    def show_as(self, other: HeavyBoard) -> None:
        """Take over what another board of the same entries has found: letters depend on when it looked."""
        self._examples, self._letters = other._examples[:], dict(other._letters)
        self._clusters, self._verdict = other._clusters, other._verdict
        self._written, self._parts = other._written, other._parts
        self._clusters_due = self._parts_due = False

    @property
    def due(self) -> bool:
        return self._clusters_due or self._parts_due

    def analyse(self) -> None:
        """Read the clusters and the attribution, and after the end the verdict. Takes CPU, see above."""
        if self._clusters_due:
            self._clusters_due = False
            self._clusters = cluster(self._results(), equal_of(self._tally))
        if self._parts_due:
            self._parts_due = False
            if self._final is not None:
                self._conclude(self._final)
            elif self._aggregation is not None:
                self._attribute(self._aggregation.answer)

    def letters(self, k: int) -> list[list[Any]] | None:
        """The changes of a trajectory's provisional answer as ``[ms, letter]``; None if the page has them."""
        changes = self._watches[k].changes
        newest = (len(changes), changes[-1:])
        if newest == self._known.get(f"letters{k}", (0, [])):
            return None
        self._known[f"letters{k}"] = newest
        return [[t_ns / 1e6, self._letter(result)] for t_ns, result in changes]

    def take(self) -> dict[str, Any] | None:
        """The board's values for the page; None if unchanged since the last call."""
        if not self._changed:
            return None
        self._changed = False
        self.analyse()
        letters = {k: self._letter(watch.changes[-1][1]) if watch.changes else "" for k, watch in self._watches.items()}
        width = self._tally.width if self._tally else len(self._folds)
        part: dict[str, Any] = {
            "labels": {letter: clean_text(result.label) for result, letter in self._examples},
            "cells": cells_of(self._folds, letters, self._clusters, width),
            "says": says_of(self._folds, self._clusters, width, ended=self._final is not None),
            "lines": lines_of(self._clusters, self._verdict, self._final, self._tally),
        }
        if self._final is not None and self._clusters.n_usable:
            part["strategies"] = strategies_beside(self._tally)
        if self._aggregation is not None:
            part["aggregating"] = True
        if self._parts:
            part["parts_say"] = parts_say(self._parts, whole=self._final is not None)
        new = self._new_parts()
        if part == self._known.get("board") and not new:
            return None
        self._known["board"] = part
        return part | new

    def _results(self) -> dict[int, Result | None]:
        """The results of usable answers, by trajectory number from 1."""
        return {k + 1: self._watches[k].changes[-1][1] for k in sorted(self._usable())}

    def _usable(self) -> dict[int, str]:
        return {k: fold.answer for k, fold in self._folds.items() if is_usable(fold)}

    def _letter(self, result: Result | None) -> str:
        """The letter of a result; empty for open text and for none."""
        if result is None or not result.stated:
            return ""
        if result not in self._letters:
            equals = (letter for known, letter in self._examples if len(cluster({1: known, 2: result}).clusters) == 1)
            letter = next(equals, "")
            if not letter:
                letter = letter_of(len(self._examples))
                self._examples.append((result, letter))
            self._letters[result] = letter
        return self._letters[result]

    def _new_parts(self) -> dict[str, Any]:
        """The parts that the page has not got, from the place ``parts_at`` on; what it has from there on is old."""
        at = next((i for i, (old, new) in enumerate(zip(self._sent, self._parts, strict=False)) if old != new), None)
        at = min(len(self._sent), len(self._parts)) if at is None else at
        if at == len(self._sent) == len(self._parts):
            return {}
        self._sent = self._parts
        n = len(self._usable())
        return {"parts_at": at, "parts": [_part(part, n) for part in self._parts[at:]]}

    def _conclude(self, final: AttemptFold) -> None:
        if not final.answer.strip() or not self._usable():
            return
        if final.status == "ok":
            result = read(final.answer, self._prompt)
            self._verdict = verdict_of(self._results(), result, equal_of(self._tally))
        self._parts = self._attributor().parts(final.answer)

    def _attribute(self, answer: str) -> None:
        """Attribute the blocks of the growing answer that are finished and new."""
        if not answer.startswith(self._written):  # what was written so far was reasoning
            self._written, self._parts = "", []
        blocks = finished_blocks(answer[len(self._written) :])
        if blocks and self._usable():
            attributor = self._attributor()
            self._written += "".join(blocks)
            self._parts = [*self._parts, *(part for block in blocks for part in attributor.parts(block))]

    def _attributor(self) -> Attributor:
        return _attributor(tuple(Candidate(k + 1, answer) for k, answer in sorted(self._usable().items())))


def _part(part: Attributed, n: int) -> dict[str, Any]:
    text = clean_text(without_mark(part.text))
    shown = {"text": text, "kind": part.kind, "label": part_label(part, n), "members": list(part.members)}
    if not text.startswith(("$$", "\\[")):  # elsewhere a dollar may be code's
        return shown
    html = text_with_formulas(" ".join(text.split()).replace("$$", "$"))
    return {**shown, "html": html} if html else shown


@lru_cache(maxsize=4)
def _attributor(candidates: tuple[Candidate, ...]) -> Attributor:
    """To the answers as the aggregation received them, once for all who look at the same turn."""
    return Attributor({one.number: one.answer for one in received(candidates)})
