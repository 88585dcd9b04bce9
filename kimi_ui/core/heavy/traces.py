"""Traces of an order in the final answer: what one candidate alone demanded of its reader, and the answer did.

A fact for a badge, not a proof: the answer may say the same for its own reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..compare.units import SENTENCE_END

MIN_WORDS = 4  # of an order that is repeated word for word
MAX_ORDERS = 40  # of one candidate that are looked at

_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override|overrule)\b.{0,80}"
    r"\b(?:previous|other|above|all|instruction|candidate|answer|attempt|rule)"
    r"|\b(?:you (?:must|should|have to|are required)|as the (?:aggregator|judge|editor)|do not mention)\b"
    r"|\binstead of answering\b"
    r"|\b(?:reply|respond|answer|output|write|print|say|begin|start|end|finish|append|add|include|insert|repeat)\b"
    r".{0,60}(?:[\"“'`:]|\bonly\b|\bwith\b|\bexactly\b|\bthe (?:word|phrase|text|code|link|sentence)\b)"
    r"|\b(?:choose|pick|select|vote for|prefer|copy)\b.{0,40}\b(?:this|candidate|attempt|answer|number)"
    r"|\ball (?:the )?other(?:s| candidates| answers| attempts)\b.{0,40}\b(?:wrong|incorrect|invalid|false)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“`']([^\"”`'\n]{3,200})[\"”`']")
_LOUD = re.compile(r"\b[A-Z][A-Z0-9_-]{3,}\b|https?://\S+")
_MENTIONS = re.compile(r"\b(?:candidate|attempt|trajectory)\s*(?:#|no\.?|number)?\s*\d+\b", re.IGNORECASE)


class Trace(NamedTuple):
    """``member``: the trajectory whose order it was, 0 if the answer only speaks of the candidates. ``text``: what the
    answer has of it."""

    member: int
    text: str


def traces(answer: str, candidates: Mapping[int, str], question: str, nonce: str = "") -> list[Trace]:
    """The traces in ``answer``; ``candidates`` by trajectory number as they were received.

    What the question or a second candidate says too is nobody's own order.
    """
    folded = _folded(answer)
    found = [Trace(0, nonce)] if nonce and nonce in answer else []
    if (mention := _MENTIONS.search(answer)) and not _MENTIONS.search(question):
        found.append(Trace(0, mention[0]))
    texts = {number: _folded(text) for number, text in candidates.items()}
    for number, text in candidates.items():
        elsewhere = [_folded(question), *(other for one, other in texts.items() if one != number)]
        for order in _orders(text):
            for wanted in _demands(order):
                part = _folded(wanted)
                if part and part in folded and not any(part in other for other in elsewhere):
                    found.append(Trace(number, wanted.strip()[:200]))
                    break
    return list(dict.fromkeys(found))


def _orders(text: str) -> list[str]:
    sentences = [
        part for line in text.splitlines() for part in SENTENCE_END.split(line) if part and _ORDER.search(part)
    ]
    return sentences[:MAX_ORDERS]


def _demands(order: str) -> Sequence[str]:
    """What the answer would contain if it obeyed: what the order quotes or shouts, or the order itself."""
    quoted = [*_QUOTED.findall(order), *_LOUD.findall(order)]
    after = order.rpartition(":")[2].strip() if ":" in order else ""
    whole = [order] if len(order.split()) >= MIN_WORDS else []
    return [*quoted, *([after] if len(after) > 2 else []), *whole]


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
