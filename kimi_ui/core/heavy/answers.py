"""The result that an answer states, normalised, so that answers can be compared: ``read(answer, prompt)``.

A result has one of five types, which never mix: a choice among options that the prompt offers, a number, an expression,
code, or text. The places are searched in this order: the last ``\\boxed{}``, the last line like "The answer is …", the
option that the answer names, the fenced code block, the end of a short or concluding sentence. What states no result is
open text (``stated`` is False): such answers can only be compared by similarity.

Model output is hostile text: every rule is linear in its length, and long input is refused, never computed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ..compare.units import blocks
from . import expressions, programs
from .numbers import NUMBER, plain, read_number, trim, value_of

CHOICE, NUMBER_TYPE, EXPRESSION, CODE, TEXT = "choice", "number", "expression", "code", "text"

LOOK_BACK = 20_000  # characters at the end of an answer that are searched for its result
ASKED_CHARS = 1_000  # at each end of a prompt that are searched for what it asks
MAX_RESULT = 400  # characters of a stated result that is not code
CONCLUSION_CHARS = 300  # at the end of a line that are searched for a number
STATED_WORDS = 6  # more words after "the answer is" are prose
LABEL_CHARS = 40


@dataclass(frozen=True)
class Result:
    """What an answer states.

    ``type``: choice | number | expression | code | text. ``key``: normalised; equal types and keys are equal results
    (numbers and expressions may be equal with different keys, see ``clusters``). ``label``: as it is shown, at most
    ``LABEL_CHARS``. ``found``: the place it was read from: boxed | answer line | option | code block | yes or no |
    emphasis | conclusion | whole | open text. ``stated``: False for open text, whose key is the whole text.
    ``number``, ``unit``: of a number. ``approximate``: the answer says "about".
    """

    type: str
    key: str
    label: str
    found: str
    stated: bool = True
    number: Fraction | None = None
    unit: str = ""
    approximate: bool = False


def read(answer: str, prompt: str = "", *, finished: bool = True) -> Result | None:
    """The result of ``answer`` to ``prompt``; None if it is empty.

    ``finished=False`` is for text that is still being written, thinking included: only results that are stated outright
    count, and None means "none so far".
    """
    text = answer.strip()
    if not text:
        return None
    options = offered(prompt)
    if len(prompt) > 2 * ASKED_CHARS:
        prompt = f"{prompt[:ASKED_CHARS]}\n{prompt[-ASKED_CHARS:]}"
    tail = text[-LOOK_BACK:]
    if (inside := _boxed(tail)) is not None and (result := _classified(inside, options, "boxed")):
        return result
    prose = "".join(piece for piece, is_code in blocks(tail) if not is_code)
    if (line := _answer_line(prose, finished)) and (result := _classified(line, options, "answer line")):
        return result
    if options and (result := _named_option(prose, options)):
        return result
    if not finished:
        return None
    return _code(text, prompt) or _concluded(prose.strip(), prompt, options) or _whole(text, options)


def offered(prompt: str) -> dict[str, str]:
    """The options a prompt offers, by letter: ``A) Paris`` on lines of their own or in one line; empty below two."""
    found: dict[str, str] = {}
    for match in _OPTION.finditer(prompt[-LOOK_BACK:]):
        letter = (match["bracketed"] or match["letter"]).upper()
        if letter == "A":
            found = {}
        if letter == chr(ord("A") + len(found)):
            found[letter] = folded(match["text"])
    return found if len(found) >= 2 else {}


def folded(text: str) -> str:
    """``text`` without case, differences of Unicode form, white space and outer punctuation."""
    return " ".join(trim(unicodedata.normalize("NFKC", text)).casefold().split()).rstrip(".!?。 ")


# -- where a result is stated

_OPTION = re.compile(
    r"(?:(?<=\s)|^|(?<=[;,]))(?:\((?P<bracketed>[A-Ja-j])\)|(?P<letter>[A-J])[).:])\s*"
    r"(?P<text>[^\n]{1,200}?)(?=\s*(?:$|\n|[;,]?\s+\(?[A-Ja-j][).:]\s))"
)
_ANSWER_LINE = re.compile(
    r"(?:\b(?:final|correct|right|best|short)\s+(?:answer|result|option|choice)|\banswer|\bans\b|\bfinal result|"
    r"\bresult\s*(?=[:=])|\bsolution\s*(?=[:=])|(?:最终)?答案|答え|\bréponse(?: finale)?|\bantwort|\brespuesta)"
    r"(?:\s+(?:to|for|of)\s[^\n.:]{1,80}?)?[*_\s]*"
    r"(?:(?:\b(?:is|was|are|est|ist|es)\b|是|为|は)(?:\s+therefore|\s+then|\s+simply)?\s*[:：]?|[:：=]|\*\*\s*\n|\n)[*_\s]*"
    r"(?P<result>[^\n]{1,400})(?P<end>\n?)",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\s+(?:because|since|as\s+(?:it|the|they|we)|which|so that|for which|where)\s"
    r"|(?<=[^\d\s][.!?])\s+(?=\S)|(?<=\d\.)\s+(?=[A-Z])|[。；]"
)
_ASKS_CODE = re.compile(
    r"\b(?:code|function|program|script|implement|class|method|query|sql|regex|regular expression|snippet|algorithm in|"
    r"in (?:python|java|javascript|typescript|rust|go|c\+\+|bash))\b|写(?:一个|个)?(?:函数|程序|代码)",
    re.IGNORECASE,
)
_ASKS_NUMBER = re.compile(
    r"\bhow\s+(?:many|much|long|far|old|tall|deep|wide|large|big|heavy|fast|often)\b|\b(?:calculate|compute|evaluate)\b|"
    r"\b(?:what|find|determine|give)\b[^.?!\n]{0,40}\b(?:value|sum|product|number|total|probability|area|volume|"
    r"percentage|average|mean|remainder|price|cost|distance|speed|year|ratio|age|count|digit)\b|"
    r"\bsolve\b|\d\s*[-+*/×÷^−]\s*\d|多少|几[个只天年]|计算|求",
    re.IGNORECASE,
)
_ASKS_FORMULA = re.compile(
    r"\b(?:simplify|factor(?:i[sz]e)?|expand|derivative|differentiate|integrals?|integrate|antiderivative|closed form|"
    r"in terms of|expression|formula|polynomial)\b",
    re.IGNORECASE,
)
_ASKS_WHETHER = re.compile(
    r"(?:^|[.!?\n])[ \t]*(?:is|are|was|were|does|do|did|can|could|will|would|should|has|have|must|may)\b[^.!\n]*\?",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(r"[*_\"“]*(?P<word>yes|no|true|false)\b", re.IGNORECASE)
_CONCLUDES = re.compile(
    r"\b(?:therefore|thus|hence|so|altogether|total|finally|conclusion|equals)\b|=|≈|因此|所以|共", re.IGNORECASE
)
_BOLD = re.compile(r"(?:\*\*|__)(?P<text>[^*_\n]{1,120})(?:\*\*|__)")
_FORMULA = re.compile(r"\$\$([^$]{1,400})\$\$|\$([^$\n]{1,400})\$|\\\[(.{1,400}?)\\\]|\\\((.{1,400}?)\\\)", re.DOTALL)
_ENDS_IN = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|gives?|get|have|has|makes?|of|to)|[=:≈])\s+(?P<result>[^=:≈]{1,60})$",
    re.IGNORECASE,
)


def _boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{…}`` with balanced braces."""
    at = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if at < 0:
        return None
    start = text.index("{", at) + 1
    depth = 1
    for end in range(start, min(len(text), start + 2 * MAX_RESULT)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if not depth:
            return text[start:end]
    return None


def _answer_line(prose: str, finished: bool) -> str | None:
    """What the last line like "The answer is …" gives, up to the reason that may follow. Without ``finished`` the line
    must have ended, since "4" may become "42"."""
    result = None
    for match in _ANSWER_LINE.finditer(prose):
        first = _AFTER.split(match["result"], maxsplit=1)
        if finished or match["end"] or len(first) > 1:
            result = first[0]
    return result


def _named_option(prose: str, options: Mapping[str, str]) -> Result | None:
    """The one option that the answer begins with or sets in bold, or that a word like "option" points to last."""
    lead = re.match(r"[*_\s]*\(?([A-J])(?:[).:](?!\w)|[*_]{2}|\s*[–—-]\s|\s*$)", prose)
    if lead and lead[1] in options:
        return _choice(lead[1], options, "option")
    named = re.findall(r"\b(?:option|choice|answer)\s*[*_]*\(?([A-J])\b", prose, re.IGNORECASE)
    bold = [m[1] for text in _BOLD.findall(prose) if (m := re.match(r"\(?([A-J])(?:[).:]|$)", text.strip()))]
    for letters in (named, bold):
        if letters and letters[-1].upper() in options and len({letter.upper() for letter in letters}) == 1:
            return _choice(letters[-1].upper(), options, "option")
    return None


def _code(text: str, prompt: str) -> Result | None:
    """The longest fenced block, where the prompt asks for code or code is most of the answer."""
    fenced = [piece for piece, is_code in blocks(text) if is_code]
    if not fenced or not (_ASKS_CODE.search(prompt) or 2 * sum(map(len, fenced)) > len(text)):
        return None
    block = max(fenced, key=len)
    head, _, body = block.partition("\n")
    body = re.sub(r"\n {0,3}(?:`{3,}|~{3,})\s*$", "\n", "\n" + body)
    language = (re.sub(r"^\s*[`~]+", "", head).split() or [""])[0]
    key = programs.structure(body, language) or "code:" + " ".join(body.split())
    first = next((line.strip() for line in body.splitlines() if line.strip()), "")
    return Result(CODE, key, _short(first), "code block") if first else None


def _concluded(prose: str, prompt: str, options: Mapping[str, str]) -> Result | None:
    """A result at the end: of a question for yes or no, a number or a formula, or of one short sentence."""
    whether = _ASKS_WHETHER.search(prompt) and not options
    if whether and (match := _YES_OR_NO.match(prose)):
        word = {"true": "yes", "false": "no"}.get(match["word"].lower(), match["word"].lower())
        return Result(TEXT, word, word, "yes or no")
    lines = [line for line in prose.splitlines() if line.strip()]
    if not lines:
        return None
    last = lines[-1].strip()
    if _ASKS_FORMULA.search(prompt):
        formulas = [next(filter(None, found)) for found in _FORMULA.findall(prose)]
        if formulas and (result := _classified(formulas[-1].split("=")[-1], options, "conclusion")):
            return result if result.type in (NUMBER_TYPE, EXPRESSION) else None
    bold = _BOLD.findall(prose)
    if len(bold) == 1 and len(prose) <= 300 and len(bold[0].split()) <= 6:
        return _classified(bold[0], options, "emphasis")
    if len(lines) == 1 and len(last) <= 60 and (result := _classified(last, options, "whole")) and result.type != TEXT:
        return result
    if len(lines) == 1 and len(last) <= 120 and (result := _ending_number(trim(last))):
        return result
    if _ASKS_NUMBER.search(prompt):
        for text in ([bold[-1]] if bold else []) + ([last] if _CONCLUDES.search(last) or len(lines) == 1 else []):
            if (result := _last_number(text)) is not None:
                return result
    return None


def _ending_number(text: str) -> Result | None:
    """The number after the last "is", "equals", "=" and the like, if it ends the text."""
    match = _ENDS_IN.search(text)
    number = read_number(match["result"]) if match else None
    if match is None or number is None:
        return None
    return _number(number.value, number.unit, number.approximate, match["result"], "conclusion")


def _last_number(text: str) -> Result | None:
    """The number that ends the text, or the only one in it."""
    text = plain(text[-CONCLUSION_CHARS:])
    if result := _ending_number(text):
        return result
    matches = [found for found in NUMBER.finditer(text) if not re.match(r"\w", text[found.end() : found.end() + 1])]
    values = {value_of(found) for found in matches}
    if matches and (len(values) == 1 or matches[-1].end() == len(text)):
        value = value_of(matches[-1])
        if value is not None:
            return _number(value, "", False, matches[-1].group().strip(), "conclusion")
    return None


def _whole(text: str, options: Mapping[str, str]) -> Result:
    """The answer as it is: a result if it is one in itself or at most three words, else open text."""
    if len(text) <= MAX_RESULT and "\n" not in text:
        result = _classified(text, options, "whole")
        if result and (result.type != TEXT or len(text.split()) <= 3):
            return result
    return Result(TEXT, folded(text), _short(text), "open text", stated=False)


# -- what a stated result is


def _classified(text: str, options: Mapping[str, str], found: str) -> Result | None:
    """The stated result ``text`` by type; None if nothing is left of it or it is too long to be one."""
    if len(text) > MAX_RESULT:
        return None
    stated = plain(text)
    if not stated:
        return None
    if options:
        letter = re.match(r"(?:option|choice)?\s*\(?([A-Ja-j])(?:[).:]|\s*[–—-]\s|$)", stated, re.IGNORECASE)
        if letter and letter[1].upper() in options:
            return _choice(letter[1].upper(), options, found)
        same = [name for name, words in options.items() if words and words == folded(stated)]
        if len(same) == 1:
            return _choice(same[0], options, found)
    right = re.sub(r"^[^\W\d_]\s*(?:=|≈|\\approx)\s*", "", stated)  # x = 5 states 5
    number = read_number(right)
    if number is not None:
        return _number(number.value, number.unit, number.approximate or "≈" in stated, stated, found)
    if expression := _expression(right, stated, found):
        return expression
    is_prose = found == "answer line" and len(stated.split()) > STATED_WORDS  # "The answer is that …"
    return None if is_prose else Result(TEXT, folded(stated), _short(stated), found)


def _choice(letter: str, options: Mapping[str, str], found: str) -> Result:
    return Result(CHOICE, letter, letter, found)


def _number(value: Fraction, unit: str, approximate: bool, label: str, found: str) -> Result:
    key = str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
    label = trim(label)
    if label.endswith(")") and "(" not in label:  # of a bracket that began before the result
        label = label[:-1]
    return Result(NUMBER_TYPE, key, _short(label), found, number=value, unit=unit, approximate=approximate)


def _expression(text: str, label: str, found: str) -> Result | None:
    """An expression, an equation, or a list of them; None for words."""
    words = re.sub(r"\\[A-Za-z]+", " ", re.sub(r"\b(?:arc)?(?:sin|cos|tan|log|exp|sqrt)\b|\b(?:and|or)\b", " ", text))
    if re.search(r"[^\W\d_]{4,}", words) or not re.search(r"[\d=^\\+*/√π]|\b[a-z]\b", text):
        return None
    if re.search(r"[^\W\d_]{2,}\s+\w|\w\s+[^\W\d_]{2,}", words):
        return None
    parts = [part.strip() for part in re.split(r",|;|\bor\b|\band\b|\\text\{\s*(?:or|and)\s*\}", _inner(text))]
    keys = [_part_key(part) for part in parts if part]
    if not keys:
        return None
    ordered = len(keys) > 1 and text.lstrip().startswith(("(", "\\left("))
    key = f"({', '.join(keys)})" if ordered else " | ".join(sorted(keys))
    value = Fraction(keys[0]) if len(keys) == 1 and re.fullmatch(r"-?\d+(?:/\d+)?", keys[0]) else None
    if value is not None:
        return _number(value, "", False, label, found)
    return Result(EXPRESSION, key, _short(label), found)


def _inner(text: str) -> str:
    """A list's text without its brackets; unchanged if it is not one bracketed list."""
    text = text.replace("\\left", "").replace("\\right", "").strip()
    for left, right in (("(", ")"), ("\\{", "\\}"), ("{", "}"), ("[", "]")):
        if "," in text and text.startswith(left) and text.endswith(right):
            return text[len(left) : -len(right)]
    return text


def _part_key(part: str) -> str:
    """An exact number as a fraction, else the fingerprint, else the text without white space, marked as such."""
    part = re.sub(r"^[^\W\d_]\s*=\s*", "", part)
    number = read_number(part)
    if number is not None:
        return str(number.value)
    try:
        value = expressions.evaluate(part) if "=" not in part else None
        if value is not None and value.exact is not None:
            return str(value.exact)
        return "#" + expressions.fingerprint(part)
    except expressions.NotReadable:
        return "?" + re.sub(r"\s+", "", part)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1].rstrip() + "…"
