"""Creative and style: texts under constraints that code can verify. Whether a text is good is for a person to say.

The references meet the constraints and nothing more: they are made of listed words, so that each seed has one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from ..graders.constraints import state
from .case import CREATIVE, Draft, Templates

CONSTRAINED = Templates(CREATIVE)
template = CONSTRAINED.template

WORDS = [
    "river",
    "lantern",
    "winter",
    "harbour",
    "silent",
    "copper",
    "orchard",
    "wandering",
    "morning",
    "shadow",
    "window",
    "garden",
    "distant",
    "golden",
    "fiddle",
    "thunder",
    "paper",
    "candle",
    "meadow",
    "velvet",
    "anchor",
    "pepper",
    "island",
    "marble",
    "ribbon",
    "walnut",
    "bottle",
    "summer",
    "barrel",
    "kettle",
    "falcon",
    "ginger",
    "hollow",
    "jacket",
    "kitten",
    "lemon",
    "mirror",
    "needle",
    "oyster",
    "pocket",
    "quarry",
    "rabbit",
    "saddle",
    "timber",
    "umbrella",
    "violin",
    "wagon",
    "yellow",
    "zephyr",
    "echo",
    "ivory",
    "noble",
    "under",
    "over",
    "into",
    "upon",
    "soft",
    "loud",
    "slow",
    "quick",
    "warm",
    "cold",
    "bright",
    "dark",
    "deep",
    "high",
    "low",
    "old",
    "new",
    "small",
    "grand",
    "calm",
    "sing",
    "run",
    "drift",
    "glow",
    "hum",
    "fall",
    "rise",
    "turn",
    "wait",
    "bend",
    "carry",
    "follow",
    "gather",
    "linger",
    "vanish",
    "whisper",
    "wonder",
    "tumble",
]
SUBJECTS = (
    "a lighthouse keeper in a storm", "the last train of the night", "a market at dawn", "an old bridge", "the first snow",
    "a broken clock", "a letter that arrives late", "a garden in autumn", "a violin maker", "a journey by canal boat",
)  # fmt: skip


def _draft(task: str, constraints: Sequence[Mapping[str, Any]], reference: str) -> Draft:
    prompt = (
        f"{task}\n\nYour reply must meet all of these conditions:\n{state(constraints)}\n\n"
        "Reply with the text alone, without an introduction, a comment or a heading that is not asked for."
    )
    return Draft(prompt, {"constraints": [dict(one) for one in constraints]}, reference)


def _sentence(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text[0].upper() + text[1:] + "."


def _picked(rng: random.Random, pool: Sequence[str], n: int) -> list[str]:
    """``n`` words, different as long as there are enough."""
    found: list[str] = []
    while len(found) < n:
        found += rng.sample(pool, min(len(pool), n - len(found)))
    return found


@template("constraints")
def keywords(rng: random.Random, k: int) -> Draft:
    """A paragraph of a given length with words that must and must not occur."""
    low = 60 + 20 * k
    high = low + 15 - 5 * k
    wanted = rng.sample(WORDS[:48], 2 + k)
    counts = [rng.randint(1, 2 + k) for _ in wanted]
    banned = rng.sample(
        ["very", "really", "suddenly", "beautiful", "heart", "like", "seemed", "something", "just", "time"], 3 + 2 * k
    )
    total = (low + high) // 2
    required = [word for word, n in zip(wanted, counts, strict=True) for _ in range(n)]
    others = [word for word in WORDS if word not in wanted]
    mixed = required + _picked(rng, others, total - len(required))
    rng.shuffle(mixed)
    text = " ".join(_sentence(mixed[i : i + 10]) for i in range(0, total, 10))
    return _draft(
        f"Write one paragraph about {rng.choice(SUBJECTS)}.",
        [
            {"rule": "word_count", "low": low, "high": high},
            {"rule": "paragraph_count", "n": 1},
            *({"rule": "word_occurs", "word": word, "n": n} for word, n in zip(wanted, counts, strict=True)),
            {"rule": "words_absent", "listed": banned},
        ],
        text,
    )


@template("constraints")
def acrostics(rng: random.Random, k: int) -> Draft:
    """A poem whose lines begin with given letters."""
    word = rng.choice(
        [
            ["river", "stone", "ember", "cloud"],
            ["lantern", "harvest", "whisper"],
            ["nightfall", "dandelion", "blacksmith"],
        ][k]
    )
    high = 8 - k
    by_letter = {letter: [w for w in WORDS if w[0] == letter] or [letter] for letter in "abcdefghijklmnopqrstuvwxyz"}
    rows = [_sentence([rng.choice(by_letter[letter]), *_picked(rng, WORDS, 4)])[:-1] for letter in word]
    rules: list[dict[str, Any]] = [
        {"rule": "line_count", "n": len(word)},
        {"rule": "acrostic", "word": word},
        {"rule": "line_words", "low": 4, "high": high},
    ]
    if k == 2:
        rules.append({"rule": "no_comma"})
    return _draft(f"Write a poem about {rng.choice(SUBJECTS)}.", rules, "\n".join(rows))


@template("constraints")
def lipograms(rng: random.Random, k: int) -> Draft:
    """A text without a letter."""
    absent = rng.choice([["g", "w", "b"], ["s", "i", "o"], ["e", "t", "a"]][k])
    n, low = 3 + k, 30 + 10 * k
    pool = [word for word in WORDS if absent not in word]
    size = (low + 8) // n
    text = " ".join(_sentence(_picked(rng, pool, size)) for _ in range(n))
    return _draft(
        f"Write a short text about {rng.choice(SUBJECTS)}.",
        [
            {"rule": "letters_absent", "absent": absent},
            {"rule": "sentence_count", "n": n},
            {"rule": "word_count", "low": low, "high": low + 20},
        ],
        text,
    )


@template("constraints")
def bullet_lists(rng: random.Random, k: int) -> Draft:
    """A list with a form of its own."""
    n, size = 4 + k, rng.randint(5, 7)
    low = size if k else size - 2
    initials = sorted(rng.sample("bcdfghlmoprstw", n))
    rows = [
        _sentence([rng.choice([w for w in WORDS if w[0] == i]), *_picked(rng, WORDS, size - 1)])[:-1] for i in initials
    ]
    rules: list[dict[str, Any]] = [{"rule": "bullets", "n": n, "low": low, "high": size}, {"rule": "no_comma"}]
    if k:
        rules.append({"rule": "bullets_alphabetical"})
    if k == 2:
        rules.append({"rule": "lower_case"})
        rows = [row.lower() for row in rows]
    return _draft(
        f"Give {n} pieces of advice to somebody who writes about {rng.choice(SUBJECTS)}.",
        rules,
        "\n".join(f"- {row}" for row in rows),
    )


@template("constraints")
def json_cards(rng: random.Random, k: int) -> Draft:
    """A description as JSON under constraints."""
    keys = ["name", "slogan", "year"] + (["colours"] if k else []) + (["warning"] if k == 2 else [])
    low, high = 6, 9 - k
    step = rng.choice([3, 7, 9])
    n = rng.randint(3, 5)
    card: dict[str, Any] = {
        "name": " ".join(_picked(rng, WORDS, 2)),
        "slogan": _sentence(_picked(rng, WORDS, low)),
        "year": step * (1900 // step + 2),
    }
    rules: list[dict[str, Any]] = [
        {"rule": "json_keys", "keys": keys},
        {"rule": "json_text", "key": "name", "low": 2, "high": 2},
        {"rule": "json_text", "key": "slogan", "low": low, "high": high},
        {"rule": "json_number", "key": "year", "low": 1900, "high": 1999, "step": step},
    ]
    if k:
        card["colours"] = rng.sample(WORDS[:30], n)
        rules.append({"rule": "json_strings", "key": "colours", "n": n, "words_each": 1})
    if k == 2:
        card["warning"] = " ".join(_picked(rng, WORDS, 12))
        rules += [
            {"rule": "json_text", "key": "warning", "low": 12, "high": 12},
            {"rule": "word_occurs", "word": "warning", "n": 1},
        ]
    return _draft("Invent a product that nobody needs and describe it as JSON.", rules, json.dumps(card))


STRESSES = {
    "moon": "1", "star": "1", "light": "1", "night": "1", "stone": "1", "sea": "1", "wind": "1", "snow": "1", "bird": "1", "tree": "1",
    "sleeps": "1", "sings": "1", "falls": "1", "waits": "1", "burns": "1", "grows": "1",
    "river": "10", "silver": "10", "lantern": "10", "shadow": "10", "valley": "10", "mountain": "10", "winter": "10", "morning": "10",
    "garden": "10", "whispers": "10", "wanders": "10", "golden": "10", "silent": "10", "hidden": "10",
    "alone": "01", "away": "01", "again": "01", "below": "01", "return": "01", "beneath": "01", "upon": "01", "awake": "01",
    "forever": "010", "remember": "010", "tomorrow": "010",
    "the": "x", "a": "x", "and": "x", "in": "x", "of": "x", "to": "x", "my": "x", "we": "x", "is": "x", "by": "x",
}  # fmt: skip
RHYMES = {"A": ["night", "light", "bright", "white", "sight", "flight"], "B": ["sea", "tree", "free", "be", "me", "three"],
          "C": ["stone", "alone", "bone", "grown", "flown", "unknown"]}  # fmt: skip
RHYME_STRESSES = {
    **{word: "1" for group in RHYMES.values() for word in group}, "alone": "01", "unknown": "01",
}  # fmt: skip


def _line(rng: random.Random, stresses: Mapping[str, str], pattern: str, last: str = "") -> str:
    """Words whose stresses fit the pattern (“?” fits any), in a drawn order; ``last`` ends the line."""

    def fill(at: int) -> list[str] | None:
        if at == len(pattern):
            return []
        names = list(stresses)
        rng.shuffle(names)
        for word in names:
            stress = stresses[word]
            ends = at + len(stress) == len(pattern)
            if at + len(stress) > len(pattern) or (last and ends and word != last):
                continue
            if all(a in (b, "x") or b == "?" for a, b in zip(stress, pattern[at:], strict=False)):
                rest = fill(at + len(stress))
                if rest is not None:
                    return [word, *rest]
        return None

    found = fill(0)
    assert found is not None
    return " ".join(found)


@template("constraints")
def verse(rng: random.Random, k: int) -> Draft:
    """Verse from a closed list of words: syllables, then metre, then rhyme."""
    if k < 2:
        ones = [word for word, stress in STRESSES.items() if len(stress) == 1]
        more = [word for word, stress in STRESSES.items() if len(stress) > 1]
        names = sorted(rng.sample(ones, 16) + rng.sample(more, 18))
        stresses = {name: STRESSES[name] for name in [*names, *(w for w in ("the", "moon", "alone") if w not in names)]}
    if k == 0:
        counts = rng.choice([[5, 7, 5], [7, 5, 7], [5, 7, 5, 7]])
        return _draft(
            f"Write a poem of {len(counts)} lines.",
            [
                {"rule": "line_count", "n": len(counts)},
                {"rule": "listed_words", "stresses": stresses},
                {"rule": "line_syllables", "stresses": stresses, "counts": counts},
            ],
            "\n".join(_line(rng, stresses, "?" * n) for n in counts),
        )
    if k == 1:
        pattern = rng.choice(["01010101", "010101", "10101010"])
        if pattern[0] == "1":
            stresses = {**stresses, "river": "10"}
        return _draft(
            "Write a poem of 4 lines.",
            [
                {"rule": "line_count", "n": 4},
                {"rule": "listed_words", "stresses": stresses},
                {"rule": "line_metre", "stresses": stresses, "pattern": pattern},
            ],
            "\n".join(_line(rng, stresses, pattern) for _ in range(4)),
        )
    names = sorted(rng.sample([word for word in STRESSES if word not in RHYME_STRESSES], 24))
    stresses = {**{name: STRESSES[name] for name in names}, "the": "x", "moon": "1", **RHYME_STRESSES}
    scheme = rng.choice(["ABAB", "AABB", "ABBA", "ABCABC"])
    size = rng.randint(6, 8)
    ends: list[str] = []
    for name in scheme:
        ends.append(rng.choice([word for word in RHYMES[name] if word not in ends]))
    return _draft(
        f"Write a rhymed poem of {len(scheme)} lines.",
        [
            {"rule": "line_count", "n": len(scheme)},
            {"rule": "listed_words", "stresses": stresses},
            {"rule": "line_syllables", "stresses": stresses, "counts": [size] * len(scheme)},
            {"rule": "line_rhymes", "groups": {name: RHYMES[name] for name in sorted(set(scheme))}, "scheme": scheme},
        ],
        "\n".join(_line(rng, stresses, "?" * size, end) for end in ends),
    )


@template("constraints")
def refrains(rng: random.Random, k: int) -> Draft:
    """Sentences that end alike or grow."""
    word = rng.choice(["again", "tomorrow", "home", "rain", "nothing"])
    n, first = 4 + k, rng.randint(3, 5)
    rules: list[dict[str, Any]] = [{"rule": "sentence_count", "n": n}, {"rule": "sentences_end", "word": word}]
    sizes = [6] * n
    if k:
        rules.append({"rule": "sentences_grow", "first": first})
        sizes = list(range(first, first + n))
    if k == 2:
        rules += [{"rule": "no_comma"}, {"rule": "letters_absent", "absent": "z"}]
    pool = [one for one in WORDS if "z" not in one]
    return _draft(
        f"Write a small prose poem about {rng.choice(SUBJECTS)}.",
        rules,
        " ".join(_sentence([*_picked(rng, pool, size - 1), word]) for size in sizes),
    )


@template("constraints")
def formal_letters(rng: random.Random, k: int) -> Draft:
    """A letter with a prescribed build."""
    n = 4 + k
    place = rng.randint(2, n - 1)
    opening = rng.choice(["meanwhile", "yesterday", "nobody", "once"])
    phrase = rng.choice(["Yours until the tide turns.", "That is all I know.", "The kettle is still warm."])
    parts = ["<<" + " ".join(_picked(rng, WORDS, 3)).title() + ">>"]
    parts += [_sentence(_picked(rng, WORDS, 9)) for _ in range(n - 2)]
    parts.append("P.S. " + _sentence(_picked(rng, WORDS, 5)) + " " + phrase)
    parts[place - 1] = _sentence([opening, *_picked(rng, WORDS, 8)])
    rules: list[dict[str, Any]] = [
        {"rule": "title"},
        {"rule": "paragraph_count", "n": n},
        {"rule": "paragraph_begins", "n": place, "word": opening},
        {"rule": "postscript"},
        {"rule": "ends_with", "phrase": phrase},
    ]
    if k:
        rules.append({"rule": "placeholders", "n": 2 + k})
        parts[place - 1] += " " + " ".join(f"[{word}]" for word in rng.sample(WORDS, 2 + k)) + "."
    if k == 2:
        rules.append({"rule": "word_count", "low": 50, "high": 90})
    return _draft(f"Write a letter to an old friend about {rng.choice(SUBJECTS)}.", rules, "\n\n".join(parts))


@template("constraints")
def tautograms(rng: random.Random, k: int) -> Draft:
    """A text whose words begin with few letters."""
    initials = "".join(sorted(rng.sample("bcghlprstw", [4, 2, 1][k]))) if k < 2 else rng.choice("swc")
    low = [12, 10, 8][k]
    pool = [word for word in WORDS if word[0] in initials]
    rules: list[dict[str, Any]] = [
        {"rule": "word_initials", "initials": initials},
        {"rule": "word_count", "low": low, "high": low + 6},
    ]
    if len(pool) < low:
        pool = [*pool, *(f"{a}-{b}" for a in pool for b in pool if a != b)][: low + 20]
    if k < 2:
        text = _sentence(_picked(rng, pool, low))
    else:
        rules.append({"rule": "words_differ"})
        text = _sentence(rng.sample(pool, low))
    return _draft(f"Write a sentence or two about {rng.choice(SUBJECTS)}.", rules, text)


@template("constraints")
def univocals(rng: random.Random, k: int) -> Draft:
    """A text with one vowel only, or rich in a letter."""
    univocal = {
        "a": [
            "a",
            "at",
            "and",
            "as",
            "that",
            "ran",
            "sat",
            "all",
            "can",
            "hard",
            "glass",
            "grass",
            "black",
            "small",
            "tall",
            "calm",
            "harp",
            "man",
            "scarab",
            "palm",
            "salt",
            "sand",
            "mast",
            "dawn",
            "last",
        ],
        "e": [
            "the",
            "been",
            "never",
            "ever",
            "leg",
            "bed",
            "tree",
            "green",
            "sleep",
            "every",
            "steep",
            "deer",
            "keep",
            "we",
            "seven",
            "bells",
            "were",
            "then",
            "where",
            "eleven",
            "yet",
            "here",
            "gentle",
        ],
        "o": [
            "of",
            "on",
            "go",
            "look",
            "soon",
            "moon",
            "storm",
            "frost",
            "cold",
            "old",
            "words",
            "flow",
            "down",
            "town",
            "crows",
            "fool",
            "school",
            "slow",
            "brown",
            "north",
            "not",
            "for",
            "robot",
            "oh",
        ],
    }
    if k == 0:
        letter, n = rng.choice("mtlr"), 15
        pool = [word for word in WORDS if letter in word]
        return _draft(
            f"Write two sentences about {rng.choice(SUBJECTS)}.",
            [
                {"rule": "letter_occurs", "letter": letter, "n": n},
                {"rule": "sentence_count", "n": 2},
                {"rule": "word_count", "low": 15, "high": 30},
            ],
            " ".join(_sentence(_picked(rng, pool, 10)) for _ in range(2)),
        )
    vowel = rng.choice("aeo")
    low = 8 if k == 1 else 14
    rules: list[dict[str, Any]] = [
        {"rule": "one_vowel", "vowel": vowel},
        {"rule": "word_count", "low": low, "high": low + 10},
    ]
    if k == 2:
        rules += [{"rule": "words_differ"}, {"rule": "lower_case"}]
    text = _sentence(_picked(rng, univocal[vowel], low))
    return _draft(f"Write a line about {rng.choice(SUBJECTS)}.", rules, text.lower() if k == 2 else text)
