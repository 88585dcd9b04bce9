"""Graders of closed answers: a number, several numbers, an expression, a letter, a word, a list of names.

Each takes the stated result, the case's gold and its prompt, and is exact: numbers are fractions, never floats, so
0.333 is not 1/3. What says more than one thing, or hedges, is unparsed and never right. Numbers are read by
``core/heavy/numbers``, expressions by ``core/heavy/expressions`` and, if that cannot decide, by a computer algebra in
a process of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ... import algebra
from ...core.heavy import expressions
from ...core.heavy.answers import folded
from ...core.heavy.numbers import plain, read_number, trim
from .verdict import Verdict, right, unparsed, wrong

Gold = Mapping[str, Any]

_NAMED = re.compile(r"^\(?[A-Za-zπ](?:_\{?\w+\}?|')?(?:\([a-z]\))?\)?\s*(?:=|≡|:=|\\equiv)\s*")
_MODULO = re.compile(r"\s*\(?\s*\\?(?:p?mod|bmod|modulo)\b\s*\{?\s*\d+\s*\}?\s*\)?\s*$", re.IGNORECASE)
_SCALES = {
    "hundred",
    "thousand",
    "million",
    "billion",
    "dozen",
    "squared",
    "cubed",
    "factorial",
    "percent",
    "half",
    "or",
    "and",
}
_HEDGES = re.compile(
    r"\b(?:or|not|n't|either|neither|maybe|perhaps|possibly|unless|except|cannot|can't|unknown|unclear|if)\b|\?",
    re.IGNORECASE,
)


def fraction(text: str, prompt: str = "") -> Fraction | None:
    """The number that a result is; a unit is accepted if the prompt uses its word. None if it is anything else."""
    if re.search(r"\d\s*!", text):
        return None  # a factorial is another number
    text = _bare(text)
    if re.match(r"0[xob]\d*[a-f\d]", text, re.IGNORECASE):
        return None
    parts = text.split("=")
    if len(parts) > 1 and not any(re.search(r"[,;]|\bor\b|\band\b|[<>≤≥≠]", part) for part in parts):
        text = parts[-1].strip()
    if text.count("/") > 1:
        return None
    match = re.fullmatch(r"(.*\d)\s*\(([^()\d]*)\)", text)
    if match and not _HEDGES.search(match[2]):
        text = match[1]
    found = read_number(text)
    if found is not None:
        said = set(re.findall(r"[^\W\d_]+", prompt.casefold()))
        for word in re.findall(r"[^\W\d_]+", found.unit.casefold()):
            if word in _SCALES or not any(one == word or one.rstrip("s") == word.rstrip("s") for one in said):
                return None
        return found.value
    if re.search(r"[+*×·]|(?<=[\d)}])\s*[-−]", text):
        return None  # not worked out
    try:
        return expressions.evaluate(text).exact
    except expressions.NotReadable:
        return None


def _bare(text: str) -> str:
    """A result without formula marks, a leading “x =” and a trailing “(mod n)”."""
    text = plain(_MODULO.sub("", plain(text)))
    text = re.sub(r"^\\[(\[]|\\[)\]]$", "", text).strip()
    return plain(_NAMED.sub("", text, count=1))


def number(text: str, gold: Gold, prompt: str) -> Verdict:
    """``gold``: ``value``, a fraction as text."""
    found = fraction(text, prompt)
    if found is None:
        return unparsed("The answer is not one number.", text)
    if found == Fraction(gold["value"]):
        return right(text)
    return wrong(text, f"The expected answer is {gold['value']}.")


def numbers(text: str, gold: Gold, prompt: str) -> Verdict:
    """``gold``: ``values``, fractions as text, and ``ordered``: a tuple, not a set."""
    text = plain(text)
    expected = [Fraction(value) for value in gold["values"]]
    said = "(" + ", ".join(gold["values"]) + ")" if gold["ordered"] else ", ".join(gold["values"])
    if re.search(r"\bor\b|\?|\bnot\b", text, re.IGNORECASE):
        return unparsed("The answer says more than one thing.", text)
    inner = _unbracketed(text)
    if inner is None:
        return unparsed("The brackets are not closed.", text)
    if gold["ordered"] and re.match(r"(?:[A-Za-z,()\s]*=\s*)?\\?\{", text):
        return wrong(text, f"A set has no order; the expected answer is {said}.")
    found = _split(inner, len(expected), prompt)
    if found is None:
        return unparsed("The answer is not a list of numbers.", text)
    same = found == expected if gold["ordered"] else Counter(found) == Counter(expected)
    return right(text) if same else wrong(text, f"The expected answer is {said}.")


def _unbracketed(text: str) -> str | None:
    text = re.sub(r"^\(?(?:[a-z]\s*,\s*)+[a-z]\)?\s*=\s*", "", text.strip())
    text = text.replace("\\{", "{").replace("\\}", "}").replace("\\langle", "(").replace("\\rangle", ")")
    pairs = {"(": ")", "[": "]", "{": "}"}
    if text[:1] in pairs:
        return text[1:-1].strip() if text.endswith(pairs[text[0]]) else None
    return text if text[-1:] not in pairs.values() or "(" in text or "{" in text else None


def _split(text: str, n: int, prompt: str) -> list[Fraction] | None:
    """The numbers of a list. A comma before a space separates; only if that gives too few does every comma."""
    for separator in (
        r",\s+(?:and\s+)?|\s*;\s*|\s+and\s+|\n+|\s*\\quad\s*",
        r"\s*[,;]\s*(?:and\s+)?|\s+and\s+|\n+",
        r"\s+",
    ):
        parts = [re.sub(r"^[-*•]\s+(?=\S)", "", part.strip()) for part in re.split(separator, text) if part.strip()]
        parts = _in_order(parts)
        found = [fraction(part, prompt) for part in parts]
        if len(found) == n and None not in found:
            return [value for value in found if value is not None]
    parts = [part for part in re.split(r",\s+(?:and\s+)?|\s*;\s*|\s+and\s+|\n+", text) if part.strip()]
    found = [fraction(part, prompt) for part in parts]
    return [value for value in found if value is not None] if parts and None not in found else None


def _in_order(parts: list[str]) -> list[str]:
    """``z = 3, x = 1, y = 2`` in the order of the names, if each part has a different name."""
    names = [match[1] if (match := re.match(r"\$?([a-z])\s*=", part)) else "" for part in parts]
    if "" in names or len(set(names)) != len(names):
        return parts
    return [part for _, part in sorted(zip(names, parts, strict=True))]


def expression(text: str, gold: Gold, prompt: str) -> Verdict:
    """``gold``: ``value``; with ``simple``, at most one root, none in a denominator, and no power."""
    written = plain(text)
    if len(written) > expressions.MAX_CHARS:
        return unparsed("The answer is too long for an expression.", written)
    if re.search(r"[,;?]|\bor\b|[≈<>≤≥]|\\approx", written):
        return unparsed("The answer is not one expression.", written)
    if re.search(r"(?<!\\)\b(?!sqrt\b)[A-Za-z]{4,}\b(?!\s*\{)", written):
        return unparsed("The answer is prose, not an expression.", written)
    written = re.sub(
        r"^(?:f\s*'?\s*\(x\)|f'|y'|dy\s*/\s*dx|\\frac\{d[yf]\}\{dx\}|f\^\{?\\prime\}?\s*\(x\))\s*=\s*", "", written
    )
    written = plain(written.split("=")[-1])
    if gold.get("simple") and (flaw := _not_simple(written)):
        return wrong(written, f"{flaw} The expected answer is {gold['value']}.")
    try:
        if expressions.fingerprint(written) == expressions.fingerprint(gold["value"]):
            return right(written)
    except expressions.NotReadable:
        pass
    equal = algebra.equal(gold["value"], written)
    if equal is None:
        return unparsed("The answer cannot be read as an expression.", written)
    return right(written) if equal else wrong(written, f"The expected answer is {gold['value']}.")


def _not_simple(text: str) -> str:
    roots = len(re.findall(r"√|\\sqrt|\bsqrt", text))
    if roots > 1 or re.search(r"\^|²|\*\*", text):
        return "It is not simplified."
    if re.search(r"/\s*\(?[^()+]*(?:√|sqrt)", text) or re.search(
        r"\\[dt]?frac\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\s*\{[^}]*\\?sqrt", text
    ):
        return "There is a root in the denominator."
    return ""


def choice(text: str, gold: Gold, prompt: str) -> Verdict:
    """``gold``: ``letter`` and ``options`` by letter."""
    options: Mapping[str, str] = gold["options"]
    written = plain(text)
    if _HEDGES.search(re.sub(r"^.*?[).:]\s", "", written)) or re.search(r"\b[A-E]\s*(?:,|and|&|/)\s*[A-E]\b", written):
        return unparsed("The answer names more than one option.", written)
    match = re.match(
        r"(?:option|choice|statement|letter)?\s*[(\[*]*([A-Za-z])[)\]*]*(?:\s*[.):–—-]+\s*(?P<rest>.*))?$",
        written,
        re.IGNORECASE | re.DOTALL,
    )
    if match and match[1].upper() in options:
        letter, rest = match[1].upper(), folded(match["rest"] or "")
        if rest and rest != folded(options[letter]):
            return unparsed("The letter and the text that follows it are not the same option.", written)
    else:
        named = [name for name, option in options.items() if folded(written) == folded(option)]
        if not named:
            return unparsed("The answer names no option.", written)
        letter = named[0]
    if letter == gold["letter"]:
        return right(letter)
    return wrong(letter, f"The expected answer is {gold['letter']}.")


def text(written: str, gold: Gold, prompt: str) -> Verdict:
    """``gold``: ``value``, one of the words ``among``."""
    if _HEDGES.search(written):
        return unparsed("The answer says more than one thing.", written)
    found = _named(written, gold["among"])
    if len(found) != 1 or len(written.split()) > 12:
        return unparsed("The answer does not name exactly one of the possibilities.", written)
    return right(found[0]) if found[0] == gold["value"] else wrong(found[0], f"The expected answer is {gold['value']}.")


def _named(written: str, among: Sequence[str]) -> list[str]:
    words = set(re.findall(r"[^\W_]+", folded(written)))
    return [one for one in among if one.casefold() in words]


def names(written: str, gold: Gold, prompt: str) -> Verdict:
    """``gold``: ``values`` out of ``among``, and whether they are ``ordered``."""
    among: Sequence[str] = gold["among"]
    if _HEDGES.search(written):
        return unparsed("The answer says more than one thing.", written)
    inner = trim(re.sub(r"^[\[({]|[\])}]\.?$", "", trim(written)))
    parts = [part for part in re.split(r"[,;\n]|→|->|⇒|>|\s&\s|\band\b|\bthen\b", inner) if re.search(r"[^\W_]", part)]
    found = []
    for part in parts:
        bare = re.sub(r"^\s*(?:[-*•]|\(?\d+[.):]|day\s+\d+\s*[:–-])\s*", "", part, flags=re.IGNORECASE)
        one = _named(bare, among)
        if len(one) != 1 or len(bare.split()) > 3:
            return unparsed(f"“{part.strip()[:40]}” is not one of the possibilities.", written)
        found += one
    if not found:
        return unparsed("The answer names nothing.", written)
    said = ", ".join(gold["values"])
    same = found == list(gold["values"]) if gold["ordered"] else sorted(found) == sorted(gold["values"])
    return right(", ".join(found)) if same else wrong(", ".join(found), f"The expected answer is {said}.")
