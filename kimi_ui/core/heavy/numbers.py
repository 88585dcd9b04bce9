"""A number as people and models write it, as an exact fraction: 1/2 = 0.5 = 50 %, 1,234 = 1234.

Units and currencies are read apart from the value. Separators: 1,234.5 · 1.234,5 · 1 234,5 · 1'234 · 1_234; a lone
comma that cannot separate thousands is a decimal comma, so 1,5 is 1.5 and 1,500 is 1500.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 400  # longer ones are not results that people compare
MAX_EXPONENT = 400

_DIGITS = (
    r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?"  # 1,234.5
    r"|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+"  # 1.234.567 · 1.234,5
    r"|\d{1,3}(?:[ '_]\d{3})+(?:[.,]\d+)?"  # 1 234,5
    r"|\d+(?:[.,]\d+)?|\.\d+)"
)
_POWER = (
    r"(?:\s*(?:[x×*·]|\\times|\\cdot)\s*10\s*\^\s*\{?\s*(?P<power>[-+]?\d{1,4})\s*\}?|e(?P<exp>[-+]?\d{1,4})(?![\w]))"
)
NUMBER = re.compile(
    r"(?P<currency>(?:US|A|C)?\$|€|£|¥|₹)?\s*(?P<sign>[-+]?)\s*(?P<currency2>\$|€|£|¥|₹)?\s*"
    rf"(?:(?P<mixed>\d{{1,6}})\s+(?=\d+\s*/))?(?P<number>{_DIGITS}){_POWER}?"
    rf"(?:\s*/\s*(?P<over>\d+(?:\.\d+)?)(?![\w/]))?"
    r"(?P<percent>\s*(?:%|percent\b|per cent\b))?",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"^(?:about|approximately|approx\.?|roughly|around|nearly|almost|circa|ca\.|[~≈≃])\s*", re.IGNORECASE
)

_LOW = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(_LOW)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9}

_UNITS = {
    "$": "usd", "us$": "usd", "dollar": "usd", "€": "eur", "euro": "eur", "£": "gbp", "¥": "jpy", "₹": "inr",
    "metre": "m", "meter": "m", "kilometre": "km", "kilometer": "km", "centimetre": "cm", "centimeter": "cm",
    "millimetre": "mm", "millimeter": "mm", "mile": "mi", "foot": "ft", "feet": "ft", "inch": "in", "inche": "in",
    "gram": "g", "kilogram": "kg", "kilo": "kg", "pound": "lb", "lb": "lb", "tonne": "t", "second": "s", "sec": "s",
    "minute": "min", "hour": "h", "hr": "h", "litre": "l", "liter": "l", "millilitre": "ml", "milliliter": "ml",
    "degree": "°", "deg": "°", "mph": "mi/h", "km/h": "km/h", "kmh": "km/h", "kph": "km/h", "meters per second": "m/s",
    "metres per second": "m/s", "miles per hour": "mi/h", "kilometers per hour": "km/h", "kilometres per hour": "km/h",
}  # fmt: skip
_NOT_UNITS = {"or", "and", "to", "not", "but", "if", "plus", "minus", "times", "mod", "than"}


class Number(NamedTuple):
    """``unit`` is empty if none was written; ``approximate``: the text says "about"."""

    value: Fraction
    unit: str = ""
    approximate: bool = False


def read_number(text: str) -> Number | None:
    """The number that ``text`` is, with its unit in at most three words; None if it is anything else."""
    text, approximate = plain(text), False
    while about := _ABOUT.match(text):
        text, approximate = text[about.end() :], True
    if not text or len(text) > MAX_DIGITS:
        return None
    match = NUMBER.match(text)
    if match is None:
        value = _in_words(text)
        return None if value is None else Number(value, "", approximate)
    unit = _unit(text[match.end() :], bool(match["percent"]))
    value = value_of(match)
    if unit is None or value is None:
        return None
    currency = match["currency"] or match["currency2"] or ""
    return Number(value, _UNITS.get(currency.lower(), currency) or unit, approximate)


def value_of(match: re.Match[str]) -> Fraction | None:
    """The value of a match of ``NUMBER``; None if it divides by zero or is too large to hold."""
    if len(match["number"]) > MAX_DIGITS or len(match["over"] or "") > MAX_DIGITS:
        return None
    value = Fraction(_decimal(match["number"]))
    exponent = int(match["power"] or match["exp"] or 0)
    if abs(exponent) > MAX_EXPONENT:
        return None
    value *= Fraction(10) ** exponent
    if match["over"]:
        over = Fraction(match["over"])
        if not over:
            return None
        value /= over
    if match["mixed"]:
        value += int(match["mixed"])
    if match["percent"]:
        value /= 100
    return -value if match["sign"] == "-" else value


def plain(text: str) -> str:
    """``text`` in one form of Unicode, with plain minus signs and spaces, fractions like ½ and powers like 10⁶ opened,
    without the outer marks of Markdown and formulas."""
    text = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", text)
    text = re.sub(r"[⁻⁰¹²³⁴-⁹]+", lambda power: "^" + unicodedata.normalize("NFKC", power[0]).replace("−", "-"), text)
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    text = re.sub(r"\\(?:text|mathrm|mathbf|operatorname|textbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[dtc]?frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))", _fraction, text)
    text = re.sub(r"\\(?:[,;:!> ]|quad|qquad|left|right|displaystyle)", " ", text.replace("{,}", ","))
    text = text.replace("\\%", "%").replace("\\$", "$").replace("^\\circ", "°").replace("^{\\circ}", "°")
    return trim(text)


def trim(text: str) -> str:
    """``text`` without outer space, emphasis, quotes, formula marks and closing punctuation."""
    for _ in range(4):  # marks within marks; more are no result
        text = text.strip().strip('*_`"“”‘’').strip().rstrip(".,;:!。").strip()
        for left, right in (("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]"), ("$", "$")):
            if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
                text = text[len(left) : -len(right)]
    return text


_PLAIN = {
    **dict.fromkeys(map(ord, "−–‐‑"), "-"),
    **dict.fromkeys(map(ord, "\u00a0\u2009\u202f\u2007"), " "),
    ord("⁄"): "/",
    ord("’"): "'",
}


def _fraction(match: re.Match[str]) -> str:
    return f" {match[1] or match[2]}/{match[3] or match[4]}"


def _decimal(digits: str) -> str:
    """The digits with a point for decimals and no other separator."""
    digits = re.sub(r"[ '_]", "", digits)
    if "," in digits and "." in digits:
        point = max(digits.rfind(","), digits.rfind("."))
        return re.sub(r"[.,]", "", digits[:point]) + "." + digits[point + 1 :]
    if re.fullmatch(r"\d{1,3}(,\d{3})+|\d{1,3}(\.\d{3}){2,}", digits):
        return re.sub(r"[.,]", "", digits)
    return digits.replace(",", ".")


def _unit(rest: str, percent: bool) -> str | None:
    """The unit that follows a number, normalised; None if more than a unit follows."""
    rest = trim(rest).strip("()").strip()
    if not rest:
        return ""
    if (
        percent
        or len(rest.split()) > 3
        or _NOT_UNITS & {*rest.lower().split()}
        or not re.fullmatch(r"[A-Za-z°µΩ€£¥₹$][A-Za-z°µΩ/^²³\d\s.-]*", rest)
    ):
        return None
    known = _UNITS.get(rest.lower()) or _UNITS.get(rest.lower().rstrip("s"))
    if known:
        return known
    if len(rest) == 1 and rest not in "mgstlhKCFJNWVA°":
        return None  # 2x is an expression, not 2 of the unit x
    return rest.lower().rstrip("s") or rest


def _in_words(text: str) -> Fraction | None:
    """An English number word up to the billions, such as "forty-two"."""
    words = [word for word in re.split(r"[\s-]+", text.lower()) if word != "and"]
    if not words or len(words) > 12 or not all(word in _WORDS or word in _SCALES for word in words):
        return None
    total, part = 0, 0
    for word in words:
        if word in _WORDS:
            part += _WORDS[word]
        elif word == "hundred":
            part = max(part, 1) * 100
        else:
            total, part = total + max(part, 1) * _SCALES[word], 0
    return Fraction(total + part)
