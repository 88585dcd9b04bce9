"""Long context: questions about documents of 4,000 to 100,000 tokens, with what matters at drawn depths.

A nonce at the front keeps a server from using a cached prefix. The filler is made of plain English sentences, so its length
in tokens is known within a few percent for common vocabularies (``CHARS_PER_TOKEN``; a test measures it); the run checks the
tokens that the model reports, because a server may cut the context silently.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from .case import LONG_CONTEXT, Draft, Templates, answered, closed

DOCUMENTS = Templates(LONG_CONTEXT)
template = DOCUMENTS.template

SHORTER, LONGER = (4_000, 16_000, 64_000), (8_000, 32_000, 100_000)
CHARS_PER_TOKEN = 4.65
PEOPLE = ["Ada", "Bruno", "Clara", "Dario", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Karla", "Luis"]
PLACES = [
    "mill",
    "chapel",
    "harbour",
    "quarry",
    "brewery",
    "library",
    "tannery",
    "orchard",
    "ferry",
    "tower",
    "foundry",
    "granary",
    "bakery",
    "customs",
    "school",
    "station",
]


def _filler() -> list[str]:
    subjects = [
        "the miller",
        "a clerk",
        "the old gardener",
        "a group of pupils",
        "the postman",
        "the baker's daughter",
        "a travelling doctor",
        "the night watch",
    ]
    verbs = [
        "looked after",
        "talked about",
        "walked past",
        "wrote a note on",
        "asked for news of",
        "drew a picture of",
        "forgot",
        "admired",
    ]
    things = [
        "the wooden bridge",
        "a pile of blankets",
        "the lower meadow",
        "an empty cart",
        "the new well",
        "a row of apple trees",
        "the stone wall",
        "the big oven",
    ]
    ends = [
        "before breakfast",
        "without much haste",
        "as on most days",
        "while the rain went on",
        "and then went home",
        "in the late afternoon",
        "for a short while",
        "with a friendly nod",
    ]
    return [
        f"{s[0].upper()}{s[1:]} {v} {t} {e}. "
        for s in subjects
        for v in verbs
        for t in things
        for e in ends
        if (len(s) + len(v) * 3 + len(t) + len(e)) % 5 == 0
    ]


FILLER = _filler()


def _document(
    rng: random.Random, tokens: int, facts: Sequence[str], question: str, form: str, in_order: bool = False
) -> str:
    """The nonce, filler with the facts at drawn depths between 5 % and 95 %, and the question."""
    chars = tokens * CHARS_PER_TOKEN - sum(map(len, facts)) - len(question)
    sentences = rng.choices(FILLER, k=int(chars * len(FILLER) / sum(map(len, FILLER))))
    depths = [rng.uniform(0.05, 0.95) for _ in facts]
    places = [(depth, fact) for depth, fact in zip(sorted(depths) if in_order else depths, facts, strict=True)]
    for depth, fact in sorted(places, reverse=True):
        sentences.insert(int(depth * len(sentences)), fact + " ")
    paragraphs = ["".join(sentences[i : i + 12]).strip() for i in range(0, len(sentences), 12)]
    head = f"Document {rng.getrandbits(64):016x}. Read it and answer the question at its end.\n\n"
    return head + closed("\n\n".join(paragraphs) + f"\n\nEnd of the document.\n\n{question}", form)


def _number(
    rng: random.Random, tokens: int, facts: Sequence[str], question: str, value: int, in_order: bool = False
) -> Draft:
    prompt = _document(rng, tokens, facts, question, "<an integer>", in_order)
    return Draft(prompt, {"value": str(value)}, answered("The document says so.", value), context_tokens=tokens)


def _name(
    rng: random.Random,
    tokens: int,
    facts: Sequence[str],
    question: str,
    value: str,
    among: Sequence[str],
    in_order: bool = False,
) -> Draft:
    prompt = _document(rng, tokens, facts, question, "<one word>", in_order)
    return Draft(
        prompt, {"value": value, "among": list(among)}, answered("The document says so.", value), context_tokens=tokens
    )


@template("number")
def one_needle(rng: random.Random, k: int) -> Draft:
    """One fact."""
    place, code = rng.choice(PLACES), rng.randint(10_000, 99_999)
    fact = f"The number painted on the door of the {place} is {code}."
    return _number(rng, SHORTER[k], [fact], f"Which number is painted on the door of the {place}?", code)


@template("number")
def needle_among_needles(rng: random.Random, k: int) -> Draft:
    """One fact among many of its kind."""
    places = rng.sample(PLACES, 14)
    codes = rng.sample(range(10_000, 99_999), 14)
    facts = [f"The number painted on the door of the {p} is {c}." for p, c in zip(places, codes, strict=True)]
    return _number(rng, LONGER[k], facts, f"Which number is painted on the door of the {places[0]}?", codes[0])


@template("numbers")
def every_value(rng: random.Random, k: int) -> Draft:
    """All of several facts about the same thing."""
    place, other = rng.sample(PLACES, 2)
    found = rng.sample(range(1_000, 9_999), 4 + k)
    facts = [f"A crate with the number {n} was brought to the {place}." for n in found]
    facts += [f"A crate with the number {n} was brought to the {other}." for n in rng.sample(range(10_000, 19_999), 4)]
    form = "<all numbers, separated by commas>"
    question = f"Which numbers do the crates have that were brought to the {place}?"
    prompt = _document(rng, SHORTER[k], facts, question, form)
    values = [str(n) for n in found]
    gold = {"values": values, "ordered": False}
    return Draft(prompt, gold, answered("They are scattered.", ", ".join(values)), context_tokens=SHORTER[k])


@template("names")
def chains_of_names(rng: random.Random, k: int) -> Draft:
    """Follow assignments from name to name."""
    letters = rng.sample("ABCDEFGHJKLMNPQRSTUVWXYZ", 12)
    names = [f"{letter}{rng.randint(10, 99)}" for letter in letters]
    chain, others = names[: 4 + k], names[4 + k :]
    value, wrong = rng.sample(range(100, 999), 2)
    facts = [f"Box {chain[0]} holds {value} coins."]
    facts += [f"Box {b} holds as many coins as box {a}." for a, b in pairwise(chain)]
    facts += [f"Box {others[0]} holds {wrong} coins."]
    facts += [f"Box {b} holds as many coins as box {a}." for a, b in pairwise(others)]
    question = f"Which boxes hold exactly {value} coins?"
    prompt = _document(rng, LONGER[k], facts, question, "<all names of boxes, separated by commas>")
    gold = {"values": chain, "ordered": False, "among": names}
    return Draft(prompt, gold, answered("Each refers to another one.", ", ".join(chain)), context_tokens=LONGER[k])


@template("text")
def most_frequent(rng: random.Random, k: int) -> Draft:
    """Aggregate: what occurs most often."""
    colours = rng.sample(["red", "green", "blue", "yellow", "white", "black", "brown", "grey"], 6)
    most = 14 + 6 * k
    counts = [most, most - 3, most - 4, *(rng.randint(3, most - 5) for _ in range(3))]
    facts = [
        f"A {colour} flag was seen at the {rng.choice(PLACES)}."
        for colour, n in zip(colours, counts, strict=True)
        for _ in range(n)
    ]
    rng.shuffle(facts)
    return _name(rng, SHORTER[k], facts, "Flags of which colour were seen most often?", colours[0], colours)


@template("text")
def last_word(rng: random.Random, k: int) -> Draft:
    """The latest of several announcements counts."""
    place, other = rng.sample(PLACES, 2)
    chosen = [rng.choice(PEOPLE)]
    while len(chosen) < 5 + k:
        chosen.append(rng.choice([name for name in PEOPLE if name != chosen[-1]]))
    facts = [f"From this day on, {name} is the keeper of the {place}." for name in chosen]
    facts += [f"From this day on, {name} is the keeper of the {other}." for name in rng.sample(PEOPLE, 4)]
    # The order among the facts of one place is the order in the document.
    rng.shuffle(facts)
    ordered = iter([f"From this day on, {name} is the keeper of the {place}." for name in chosen])
    facts = [next(ordered) if fact.endswith(f" {place}.") else fact for fact in facts]
    question = f"Who is the keeper of the {place} at the end of the document?"
    return _name(rng, LONGER[k], facts, question, chosen[-1], PEOPLE, in_order=True)


@template("number")
def sums(rng: random.Random, k: int) -> Draft:
    """Add up what one person paid, among the payments of others."""
    payer, *others = rng.sample(PEOPLE, 6)
    amounts = [rng.randint(2, 60) for _ in range(4 + k)]
    facts = [f"{payer} paid {n} crowns for a place at the {rng.choice(PLACES)}." for n in amounts]
    facts += [
        f"{name} paid {rng.randint(2, 60)} crowns for a place at the {rng.choice(PLACES)}."
        for name in others
        for _ in range(3)
    ]
    rng.shuffle(facts)
    return _number(rng, SHORTER[k], facts, f"How many crowns did {payer} pay in total?", sum(amounts))


HINTS = (
    ("{name} cannot digest anything made of milk.", "Who would have to refuse a plate of cheese?"),
    ("{name} has never learnt to stay above water.", "Who should not jump off a boat in the middle of a lake?"),
    ("{name} sees red and green as the same shade.", "Who would have trouble telling ripe cherries from unripe ones?"),
    ("{name} grew up within sight of the Eiffel Tower.", "Who spent a childhood in the capital of France?"),
    ("{name} faints when a needle comes near.", "Who would dread being vaccinated?"),
    ("{name} trembles on every ladder.", "Who is afraid of heights?"),
    ("{name} has not eaten meat or fish for years.", "Who is a vegetarian?"),
    ("{name} sleeps through the day and works until dawn.", "Who has a night shift?"),
)


@template("text")
def hints(rng: random.Random, k: int) -> Draft:
    """A fact that shares no word with the question."""
    people = rng.sample(PEOPLE, 5)
    chosen = rng.sample(HINTS, 5)
    facts = [hint.format(name=name) for name, (hint, _) in zip(people, chosen, strict=True)]
    return _name(rng, LONGER[k], facts, chosen[0][1], people[0], people)
