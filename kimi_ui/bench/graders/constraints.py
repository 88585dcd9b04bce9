"""Verifiable constraints on a text: each one states itself for the prompt and checks itself, from the same parameters.

A constraint is a mapping with ``rule`` and the rule's parameters, so that it can be stored with a case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .tokens import folded_words, letters, lines, paragraphs, sentences, words

Constraint = Mapping[str, Any]


class Rule(NamedTuple):
    """``sentence`` states the rule for a prompt; ``check`` returns what is wrong with a text, or ""."""

    sentence: Callable[..., str]
    check: Callable[..., str]


RULES: dict[str, Rule] = {}
TOKENS = {
    "word": "A word is a run of letters or digits; a hyphen or apostrophe inside it belongs to it.",
    "sentence": "A sentence ends with a full stop, question mark or exclamation mark; avoid abbreviations.",
    "line": "Blank lines do not count.",
    "paragraph": "Paragraphs are separated by one blank line.",
}


def _rule(sentence: Callable[..., str]) -> Callable[[Callable[..., str]], Callable[..., str]]:
    def register(check: Callable[..., str]) -> Callable[..., str]:
        RULES[check.__name__] = Rule(sentence, check)
        return check

    return register


def state(constraints: Sequence[Constraint]) -> str:
    """The constraints as a list for the prompt, and the rules of counting that they need."""
    told = [_call(RULES[one["rule"]].sentence, one) for one in constraints]
    text = " ".join(told).lower()
    counting = [rule for token, rule in TOKENS.items() if token in text]
    return "\n".join(f"- {one}" for one in told) + "\n\n" + " ".join(counting)


def check(constraint: Constraint, text: str) -> str:
    """What is wrong with the text, or ""."""
    return _call(RULES[constraint["rule"]].check, constraint, text)


def _call(function: Callable[..., str], constraint: Constraint, *first: Any) -> str:
    return function(*first, **{key: value for key, value in constraint.items() if key != "rule"})


def _listed(values: Sequence[str]) -> str:
    quoted = [f"“{value}”" for value in values]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]


def _span(low: int, high: int, noun: str = "word") -> str:
    return _exactly(low, noun) if low == high else f"{low} to {high} {noun}s"


def _exactly(n: int, noun: str) -> str:
    return f"exactly {n} {noun}{'' if n == 1 else 's'}"


@_rule(lambda low, high: f"The text has {_span(low, high)}.")
def word_count(text: str, low: int, high: int) -> str:
    n = len(words(text))
    return "" if low <= n <= high else f"it has {n} words"


@_rule(lambda n: f"The text has {_exactly(n, 'sentence')}.")
def sentence_count(text: str, n: int) -> str:
    found = len(sentences(text))
    return "" if found == n else f"it has {found} sentences"


@_rule(lambda n: f"The text has {_exactly(n, 'line')}.")
def line_count(text: str, n: int) -> str:
    found = len(lines(text))
    return "" if found == n else f"it has {found} lines"


@_rule(lambda n: f"The text has {_exactly(n, 'paragraph')}.")
def paragraph_count(text: str, n: int) -> str:
    found = len(paragraphs(text))
    return "" if found == n else f"it has {found} paragraphs"


@_rule(lambda word, n: f"The word “{word}” occurs {_exactly(n, 'time')}, in this form (upper or lower case).")
def word_occurs(text: str, word: str, n: int) -> str:
    found = folded_words(text).count(word)
    return "" if found == n else f"“{word}” occurs {found} times"


@_rule(lambda listed: f"None of these words occurs: {', '.join(listed)}.")
def words_absent(text: str, listed: Sequence[str]) -> str:
    found = sorted(set(listed) & set(folded_words(text)))
    return f"“{found[0]}” occurs" if found else ""


@_rule(
    lambda absent: (
        f"The {'letters' if len(absent) > 1 else 'letter'} {_listed(absent)} {'do' if len(absent) > 1 else 'does'} not occur anywhere, in upper or lower case."
    )
)
def letters_absent(text: str, absent: str) -> str:
    found = sorted(set(absent) & set(letters(text)))
    return f"the letter “{found[0]}” occurs" if found else ""


@_rule(
    lambda vowel: (
        f"The only vowel letter is “{vowel}”: none of the other letters of a, e, i, o, u occurs (y is not counted as a vowel)."
    )
)
def one_vowel(text: str, vowel: str) -> str:
    return letters_absent(text, "".join(v for v in "aeiou" if v != vowel))


@_rule(lambda word: f"The first letters of the lines, from top to bottom, spell “{word.upper()}”.")
def acrostic(text: str, word: str) -> str:
    found = "".join((letters(line) or "?")[0] for line in lines(text))
    return "" if found == word else f"the first letters spell “{found}”"


@_rule(lambda low, high: f"Each line has {_span(low, high)}.")
def line_words(text: str, low: int, high: int) -> str:
    wrong = [line for line in lines(text) if not low <= len(words(line)) <= high]
    return f"the line “{wrong[0][:40]}” has {len(words(wrong[0]))} words" if wrong else ""


@_rule(
    lambda initials: (
        f"Every word begins with {'the letter' if len(initials) == 1 else 'one of the letters'} {' or '.join(_listed(i) for i in initials)}."
    )
)
def word_initials(text: str, initials: str) -> str:
    wrong = [word for word in words(text) if (letters(word) or "?")[0] not in initials]
    return f"“{wrong[0]}” does not" if wrong else ""


@_rule(lambda: "No word occurs twice.")
def words_differ(text: str) -> str:
    found = folded_words(text)
    twice = [word for word in found if found.count(word) > 1]
    return f"“{twice[0]}” occurs twice" if twice else ""


@_rule(lambda: "Everything is in lower case.")
def lower_case(text: str) -> str:
    found = [letter for letter in text if letter.isupper()]
    return f"“{found[0]}” is in upper case" if found else ""


@_rule(lambda: "There is no comma.")
def no_comma(text: str) -> str:
    return "there is a comma" if any(mark in text for mark in ",，、") else ""


@_rule(
    lambda n, low, high: (
        f"The text is a list of exactly {n} bullets, each on one line that begins with “- ”, and nothing else; each bullet has {_span(low, high)}."
    )
)
def bullets(text: str, n: int, low: int, high: int) -> str:
    found = lines(text)
    marked = [line for line in found if re.match(r"[-*•] +\S", line)]
    if len(marked) != len(found):
        return "a line is no bullet"
    if len(marked) != n:
        return f"there are {len(marked)} bullets"
    wrong = [line for line in marked if not low <= len(words(line)) <= high]
    return f"“{wrong[0][:40]}” has {len(words(wrong[0]))} words" if wrong else ""


@_rule(lambda: "All bullets begin with different letters, in alphabetical order.")
def bullets_alphabetical(text: str) -> str:
    found = [(letters(line) or "?")[0] for line in lines(text)]
    return "" if found == sorted(set(found)) else f"they begin with {', '.join(found)}"


@_rule(lambda word: f"Every sentence ends with the word “{word}”.")
def sentences_end(text: str, word: str) -> str:
    wrong = [one for one in sentences(text) if folded_words(one)[-1] != word]
    return f"“…{wrong[0][-30:]}” does not" if wrong else ""


@_rule(
    lambda first: f"The first sentence has {first} words, and each further one has one word more than the one before."
)
def sentences_grow(text: str, first: int) -> str:
    found = [len(words(one)) for one in sentences(text)]
    return (
        ""
        if found == list(range(first, first + len(found)))
        else f"the sentences have {', '.join(map(str, found))} words"
    )


@_rule(
    lambda: (
        "The first line is a title in double angle brackets, such as <<The Title>>, followed by a blank line; it counts as the first paragraph."
    )
)
def title(text: str) -> str:
    found = paragraphs(text)
    return (
        ""
        if found and re.fullmatch(r"[*_# ]*<<[^<>\n]*\w[^<>\n]*>>[*_ ]*", found[0])
        else "the first paragraph is no such title"
    )


@_rule(lambda n, word: f"Paragraph {n} begins with the word “{word}”.")
def paragraph_begins(text: str, n: int, word: str) -> str:
    found = paragraphs(text)
    if len(found) < n:
        return f"there is no paragraph {n}"
    first = (folded_words(found[n - 1]) or [""])[0]
    return "" if first == word else f"it begins with “{first}”"


@_rule(lambda: "The last paragraph is a postscript that begins with “P.S.”.")
def postscript(text: str) -> str:
    found = paragraphs(text)
    return "" if found and re.match(r"[*_]*P\.\s?S\.", found[-1]) else "the last paragraph does not"


@_rule(lambda phrase: f"The text ends with exactly these words and nothing after them: “{phrase}”")
def ends_with(text: str, phrase: str) -> str:
    return "" if text.rstrip().rstrip('*_"”').endswith(phrase) else "it ends otherwise"


@_rule(lambda n: f"There are at least {n} placeholders in square brackets, such as [name], all different.")
def placeholders(text: str, n: int) -> str:
    found = set(re.findall(r"\[[^\[\]\n]*\w[^\[\]\n]*\]", text))
    return "" if len(found) >= n else f"there are {len(found)}"


@_rule(lambda letter, n: f"The letter “{letter}” occurs at least {n} times, in upper or lower case.")
def letter_occurs(text: str, letter: str, n: int) -> str:
    found = letters(text).count(letter)
    return "" if found >= n else f"it occurs {found} times"


@_rule(
    lambda keys: (
        f"The reply is one JSON object and nothing else (a ```json fence around it is fine) with exactly these keys: {_listed(list(keys))}."
    )
)
def json_keys(text: str, keys: Sequence[str]) -> str:
    value = _json(text)
    if not isinstance(value, dict):
        return "it is not a JSON object"
    return "" if set(value) == set(keys) else f"its keys are {', '.join(sorted(value))}"


@_rule(
    lambda key, n, words_each: (
        f"“{key}” is an array of exactly {n} different strings, each of {words_each} {'word' if words_each == 1 else 'words'}."
    )
)
def json_strings(text: str, key: str, n: int, words_each: int) -> str:
    value = _json(text)
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list) or len(found) != n or not all(isinstance(one, str) for one in found):
        return f"“{key}” is no array of {n} strings"
    if len({one.casefold() for one in found}) != n:
        return "two strings are equal"
    wrong = [one for one in found if len(words(one)) != words_each]
    return f"“{wrong[0][:40]}” has {len(words(wrong[0]))} words" if wrong else ""


@_rule(lambda key, low, high: f"“{key}” is a string of {_span(low, high)}.")
def json_text(text: str, key: str, low: int, high: int) -> str:
    value = _json(text)
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, str):
        return f"“{key}” is no string"
    return word_count(found, low, high)


@_rule(
    lambda key, low, high, step: (
        f"“{key}” is a whole number from {low} to {high} that is divisible by {step}, without quotes."
    )
)
def json_number(text: str, key: str, low: int, high: int, step: int) -> str:
    value = _json(text)
    found = value.get(key) if isinstance(value, dict) else None
    good = type(found) is int and low <= found <= high and found % step == 0
    return "" if good else f"“{key}” is {json.dumps(found)[:40]}"


def _json(text: str) -> Any:
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", text, re.DOTALL)
    try:
        return json.loads(fenced[1] if fenced else text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


# -- verse from a closed list of words, so that no pronunciation is disputed. Stress: 1 stressed, 0 unstressed, x either.


@_rule(
    lambda stresses: (
        "Only these words are used, as often as you like, in any capitals and with any punctuation: "
        + _spelled(stresses)
        + "."
    )
)
def listed_words(text: str, stresses: Mapping[str, str]) -> str:
    wrong = [word for word in folded_words(text) if word not in stresses]
    return f"“{wrong[0]}” is not on the list" if wrong else ""


def _spelled(stresses: Mapping[str, str]) -> str:
    return ", ".join(f"{word} ({len(stress)})" for word, stress in stresses.items())


@_rule(
    lambda stresses, counts: (
        "The number in brackets is the number of syllables of the word. The lines have "
        + ", ".join(map(str, counts))
        + " syllables, in this order."
    )
)
def line_syllables(text: str, stresses: Mapping[str, str], counts: Sequence[int]) -> str:
    found = [sum(len(stresses.get(word, "")) for word in folded_words(line)) for line in lines(text)]
    return "" if found == list(counts) else f"the lines have {', '.join(map(str, found))} syllables"


@_rule(
    lambda stresses, pattern: (
        "The stress of each word is marked here (capitals: stressed; small: unstressed; a word of one syllable in brackets may be either): "
        + ", ".join(_stressed(w, s) for w, s in stresses.items())
        + ". Each line is "
        + " ".join("DUM" if p == "1" else "da" for p in pattern)
        + "."
    )
)
def line_metre(text: str, stresses: Mapping[str, str], pattern: str) -> str:
    for line in lines(text):
        found = "".join(stresses.get(word, "?") for word in folded_words(line))
        if len(found) != len(pattern) or any(a not in (b, "x") for a, b in zip(found, pattern, strict=True)):
            return f"“{line[:50]}” is not in this metre"
    return ""


def _stressed(word: str, stress: str) -> str:
    if stress == "x":
        return f"({word})"
    return f"{word} = " + "-".join("DUM" if s == "1" else "da" for s in stress)


@_rule(
    lambda groups, scheme: (
        "The lines end with words of these groups: "
        + "; ".join(f"{name} = {', '.join(group)}" for name, group in groups.items())
        + f". The groups of the line ends are, in order, {scheme}, and no two lines end with the same word."
    )
)
def line_rhymes(text: str, groups: Mapping[str, Sequence[str]], scheme: str) -> str:
    ends = [(folded_words(line) or [""])[-1] for line in lines(text)]
    if len(ends) != len(scheme):
        return f"there are {len(ends)} lines"
    wrong = [end for end, name in zip(ends, scheme, strict=True) if end not in groups[name]]
    if wrong:
        return f"“{wrong[0]}” is not in the group asked for"
    return "" if len(set(ends)) == len(ends) else "two lines end with the same word"
