"""Whether two answers end in the same result, as far as this can be decided without a model.

The first kind of result that both answers contain decides: a ``\\boxed{}`` formula, a sentence that names the answer
("the answer is …", "Answer: …"), the last code block, the last number of the last sentence. A ``Conclusion`` states its
basis, because the last number of a text need not be its result. Results are equal if they agree after removal of white
space, emphasis and digit grouping; 0.5 and 1/2 are not recognised as equal.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .units import blocks, units

MAX_SHOWN = 80  # characters of a result quoted in a sentence

STATED = re.compile(
    r"\b(?:final\s+answer|answer|result)\b[*_]*\s*(?:is|:|=)[*_]*:?\s*(?P<result>[^\n]+?)[*_\s]*(?:[.!](?=\s|$)|\n|$)",
    re.IGNORECASE,
)
NUMBER = re.compile(r"(?<![\w.,])[-−+]?\d+(?:[.,]\d+)*(?:\s*/\s*\d+)?\s?%?(?![\w])")


class Conclusion(NamedTuple):
    """``basis``: boxed | stated | code | number. ``left`` and ``right`` are the results as written."""

    basis: str
    left: str
    right: str
    same: bool

    def sentence(self, left_name: str, right_name: str) -> str:
        """The finding in one sentence, which claims no more than its basis supports."""
        if self.basis == "code":
            return f"The last code block is {'the same in both' if self.same else 'different'}."
        left, right = shortened(self.left), shortened(self.right)
        if self.basis == "number":
            if self.same:
                return f"The last number of both is {left}."
            return f"The last number differs: {left} in {left_name}, {right} in {right_name}."
        if self.same:
            return f"Both conclude {left.rstrip('.')}."
        return f"The conclusions differ: {left} in {left_name}, {right} in {right_name}."


def conclusion(left: str, right: str) -> Conclusion | None:
    """The comparison of the two answers' results; None if they share no kind of result."""
    for basis, find in (("boxed", last_boxed), ("stated", last_stated), ("code", last_code), ("number", last_number)):
        a, b = find(left), find(right)
        if a is not None and b is not None:
            return Conclusion(basis, a, b, _folded(a, basis) == _folded(b, basis))
    return None


def last_boxed(text: str) -> str | None:
    r"""The contents of the last ``\boxed{…}`` with balanced braces."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for i in range(begin - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0) if text[i - 1] != "\\" else 0
        if depth == 0:
            return text[begin:i].strip() or None
    return None


def last_stated(text: str) -> str | None:
    """The result named by the last sentence like "the answer is …" outside code."""
    found = [match["result"].strip(" *_") for match in STATED.finditer(_prose(text))]
    return next((result for result in reversed(found) if result), None)


def last_code(text: str) -> str | None:
    """The last fenced code block without its fence lines."""
    code = [block for block, is_code in blocks(text) if is_code]
    if not code:
        return None
    lines = code[-1].splitlines()
    closed = len(lines) > 1 and lines[-1].strip() and not lines[-1].strip().strip("`~")
    body = "\n".join(lines[1 : -1 if closed else None])
    return body if body.strip() else None


def last_number(text: str) -> str | None:
    """The last number of the last sentence, ignoring list numbers; None if the answer ends in code."""
    last = units(text.rstrip())[-1:]
    if not last or last[0].code:
        return None
    numbers = NUMBER.findall(re.sub(r"^\s*\d{1,9}[.)]\s", "", last[0].text))
    return numbers[-1].strip() if numbers else None


def shortened(text: str) -> str:
    """One line of at most ``MAX_SHOWN`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 1]}…"


def _prose(text: str) -> str:
    return "\n".join(block for block, is_code in blocks(text) if not is_code)


def _folded(result: str, basis: str) -> str:
    if basis == "code":
        return "\n".join(line.rstrip() for line in result.strip("\n").splitlines())
    result = re.sub(r"\\[dt]frac", r"\\frac", result)
    result = re.sub(r"\\[,;:! ]|\\(?:left|right|displaystyle)\b|[*_$`]|\\[()\[\]]", "", result)
    result = re.sub(r"\\(?:text|mathrm|mathbf)\{([^{}]*)\}", r"\1", result)
    result = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", result).replace("−", "-")
    return re.sub(r"\s+", "", result).rstrip(".").casefold()
