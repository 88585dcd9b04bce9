"""Hybrid answers whose parts are labelled with the trajectories they were composed from; one file per subject.

A file has facts, then the hybrid. A fact is its number and for each of eight candidates the letter of the phrasing that
it uses (``.``: it leaves the fact out), then the phrasings: candidates differ as samples of one model do. ``⏎`` is a
line break. Each line of the hybrid is a part, written by hand from phrasings and labelled by what it was written from:

    = 0a          phrasing a of fact 0, word for word
    ~ 0a text     the same with small changes that keep its meaning
    r 0a text     said in other words
    + 0a 3b text  composed of two facts
    ! 0a text     a number or a negation changed: it matches nothing
    n text        said by none
    - text        too short, or a heading
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

KINDS = {"=": "match", "~": "match", "r": "reworded", "+": "pair", "!": "new", "n": "new", "-": "none"}
_FACT = re.compile(r"(?P<number>\d) (?P<who>[a-z.]{8})\n(?P<phrasings>(?:[a-z] .+\n)+)")
_LABEL = re.compile(r"(?P<mark>.) (?P<facts>(?:\d[a-z](?: |$))*)(?P<text>.*)")


class Labelled(NamedTuple):
    """``kind``: as ``core.heavy.attribution.Attributed`` has it."""

    text: str
    kind: str
    members: frozenset[int]


class Subject(NamedTuple):
    """``answers``: the candidates by number, from 1."""

    answers: dict[int, str]
    hybrid: tuple[Labelled, ...]


def read(name: str) -> Subject:
    facts_text, _, hybrid = Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8").partition("\n---\n")
    answers: dict[int, list[str]] = {number: [] for number in range(1, 9)}
    users: dict[str, frozenset[int]] = {}  # who says it, by fact and phrasing: "0a"
    phrasings: dict[str, str] = {}
    for fact in _FACT.finditer(facts_text + "\n"):
        for line in fact["phrasings"].splitlines():
            letter, text = line[0], line[2:].replace("⏎", "\n")
            users[fact["number"] + letter] = frozenset(i for i, used in enumerate(fact["who"], 1) if used == letter)
            phrasings[fact["number"] + letter] = text
            for number in users[fact["number"] + letter]:
                answers[number].append(text)
    labelled = []
    for line in hybrid.strip().splitlines():
        label = _LABEL.fullmatch(line)
        assert label, line
        named = label["facts"].split()
        text = label["text"].replace("⏎", "\n") or phrasings[named[0]]
        kind = KINDS[label["mark"]]
        members = frozenset().union(*(users[one] for one in named)) if kind not in ("new", "none") else frozenset()
        labelled.append(Labelled(text, "common" if kind == "match" and len(members) > 1 else kind, members))
    return Subject({number: "\n\n".join(texts) for number, texts in answers.items()}, tuple(labelled))


TUNED = tuple(map(read, ("sky", "duplicates", "sleep")))
HELD_OUT = tuple(map(read, ("trains", "inflation", "bridge")))
