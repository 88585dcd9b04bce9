"""Conversations of five to ten turns: keep a state, obey corrections, keep a rule, recall the beginning.

Each turn is graded on its own; the case is right only if every turn is. A reference is a JSON array with one answer a turn,
which is also the form in which ``bench grade`` takes the answers of such a case.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from .case import MULTI_TURN, Draft, Templates

CONVERSATIONS = Templates(MULTI_TURN)
template = CONVERSATIONS.template

NUMBER = "Finish your reply with one line of the form “Answer: <an integer>”."
Check = Mapping[str, Any]


def _draft(turns: Sequence[tuple[str, Sequence[Check], str]]) -> Draft:
    """From message, checks and reference of each turn."""
    messages = tuple(message for message, _, _ in turns)
    gold = {"turns": [[dict(one) for one in checks] for _, checks, _ in turns]}
    reference = json.dumps([answer for _, _, answer in turns], ensure_ascii=False)
    return Draft(messages[0], gold, reference, messages)


def _number(value: int) -> Check:
    return {"grader": "number", "gold": {"value": str(value)}}


def _names(values: Sequence[str], among: Sequence[str]) -> Check:
    return {"grader": "names", "gold": {"values": list(values), "ordered": True, "among": list(among)}}


def _constraints(*rules: Mapping[str, Any]) -> Check:
    return {"grader": "constraints", "gold": {"constraints": [dict(rule) for rule in rules]}}


@template("turns")
def stock(rng: random.Random, k: int) -> Draft:
    """A stock that changes with every message."""
    things = rng.sample(["apples", "pears", "plums", "lemons", "walnuts", "figs"], 3)
    have = {thing: rng.randint(10, 40) for thing in things}
    listed = ", ".join(f"{n} {thing}" for thing, n in have.items())
    asked = rng.choice(things)
    start = f"I keep a shop. At the beginning I have {listed}. Keep track of my stock from now on. How many {asked} do I have? {NUMBER}"
    turns = [(start, [_number(have[asked])], f"Answer: {have[asked]}")]
    for _ in range(4 + 2 * k):
        a, b = rng.sample(things, 2)
        n = rng.randint(1, 9)
        if have[a] > 2 * n and rng.random() < 0.5:
            have[a] -= n
            message = f"I sell {n} {a}."
        elif have[a] > 2 * n and rng.random() < 0.6:
            have[a] -= n
            have[b] += 2 * n
            message = f"I swap {n} {a} for twice as many {b}."
        else:
            have[a] += n
            message = f"{n} more {a} are delivered."
        asked = rng.choice([*things, "all"])
        value = sum(have.values()) if asked == "all" else have[asked]
        question = (
            "How many pieces of fruit do I have in total?" if asked == "all" else f"How many {asked} do I have now?"
        )
        turns.append((f"{message} {question}", [_number(value)], f"Answer: {value}"))
    return _draft(turns)


@template("turns")
def corrections(rng: random.Random, k: int) -> Draft:
    """A list that is ordered, and then ordered otherwise, as the person changes their mind."""
    pool = ["Ada", "Bruno", "Clara", "Dario", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Karla", "Luis"]
    names = rng.sample(pool, 5 + k)
    form = "Finish your reply with one line of the form “Answer: <the names in order, separated by commas>”."
    now = sorted(names)
    turns = [
        (
            f"Put these names in alphabetical order: {', '.join(names)}. {form}",
            [_names(now, pool)],
            "Answer: " + ", ".join(now),
        )
    ]
    new = [name for name in pool if name not in names]
    changes = ["reverse", "drop", "add", "replace", "first"]
    rng.shuffle(changes)
    for change in [*changes, *rng.sample(["drop", "add", "replace"], k)]:
        name = rng.choice(now)
        if change == "reverse":
            now = now[::-1]
            message = "Sorry, I meant the other way round: reverse the order of your last list."
        elif change == "drop":
            now = [one for one in now if one != name]
            message = f"{name} must not be on it. The order of the others stays."
        elif change == "add":
            extra = new.pop()
            now = [*now, extra]
            message = f"I forgot {extra}. Put that name at the end; the rest stays."
        elif change == "replace":
            extra = new.pop()
            now = [extra if one == name else one for one in now]
            message = f"I got one wrong: it is {extra} instead of {name}, in the same place."
        else:
            now = [name, *(one for one in now if one != name)]
            message = f"No, {name} has to come first. The order of the others stays."
        turns.append((message, [_names(now, pool)], "Answer: " + ", ".join(now)))
    return _draft(turns)


@template("turns")
def lasting_rules(rng: random.Random, k: int) -> Draft:
    """A rule given once that holds for every reply."""
    word = rng.choice(["lantern", "walnut", "zephyr", "harbour"])
    rules: list[tuple[str, Mapping[str, Any]]] = [
        (f"contains the word “{word}” exactly once", {"rule": "word_occurs", "word": word, "n": 1}),
        ("is in lower case throughout", {"rule": "lower_case"}),
        ("contains no comma", {"rule": "no_comma"}),
    ]
    chosen = [rules[0], *rng.sample(rules[1:], min(k, 2))]
    told = " and ".join(text for text, _ in chosen)
    check = _constraints(*(rule for _, rule in chosen))
    line = "answer: " if any(rule["rule"] == "lower_case" for _, rule in chosen) else "Answer: "
    turns: list[tuple[str, Sequence[Check], str]] = []
    for at in range(5 + k):
        a, b = rng.randint(11, 49), rng.randint(3, 9)
        sign, value = rng.choice([("plus", a + b), ("minus", a - b), ("times", a * b)])
        message = f"What is {a} {sign} {b}?"
        if at == 0:
            message = f"From now on, each of your replies {told}, and finishes with one line of the form “{line}<an integer>”. {message}"
        turns.append((message, [_number(value), check], f"the {word} says it.\n{line}{value}"))
    return _draft(turns)


@template("turns")
def recall(rng: random.Random, k: int) -> Draft:
    """Something said at the beginning, asked for at the end."""
    people = rng.sample(["Ada", "Bruno", "Clara", "Dario", "Elena", "Felix"], 3 + k)
    numbers = rng.sample(range(100, 999), len(people))
    told = ", ".join(f"{name} has number {n}" for name, n in zip(people, numbers, strict=True))
    first = rng.randint(12, 40)
    turns: list[tuple[str, Sequence[Check], str]] = [
        (
            f"Remember these lockers: {told}. I shall ask later. First, what is {first} times 7? {NUMBER}",
            [_number(7 * first)],
            f"Answer: {7 * first}",
        )
    ]
    value = 7 * first
    for _ in range(3 + 2 * k):
        n = rng.randint(5, 60)
        value += n
        turns.append((f"Add {n} to your last answer. What do you get?", [_number(value)], f"Answer: {value}"))
    who = rng.randrange(len(people))
    turns.append((f"Which number has {people[who]}'s locker?", [_number(numbers[who])], f"Answer: {numbers[who]}"))
    a, b = rng.sample(range(len(people)), 2)
    total = numbers[a] + numbers[b]
    turns.append(
        (
            f"What is the sum of the numbers of {people[a]}'s and {people[b]}'s lockers?",
            [_number(total)],
            f"Answer: {total}",
        )
    )
    return _draft(turns)
