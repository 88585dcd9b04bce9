"""Reasoning: closed puzzles. Where a puzzle is drawn at random, its solution is shown to be unique by trying everything."""

from __future__ import annotations

import datetime
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence

from .case import REASONING, Draft, Templates, answered, closed

PUZZLES = Templates(REASONING)
template = PUZZLES.template

PEOPLE = ["Ada", "Bruno", "Clara", "Dario", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Karla", "Luis"]
Test = Callable[[Sequence[str]], bool]
Clue = tuple[str, Test]


def _text(question: str, value: str, among: Sequence[str], how: str, form: str) -> Draft:
    return Draft(closed(question, form), {"value": value, "among": list(among)}, answered(how, value))


def _fewest_clues(
    rng: random.Random, worlds: list[tuple[str, ...]], clues: list[Clue], truth: tuple[str, ...]
) -> list[str]:
    """Clues that hold in ``truth`` and together in no other world; none is superfluous, unless the search would take long."""
    true_ones = [clue for clue in clues if clue[1](truth)]
    rng.shuffle(true_ones)
    chosen: list[Clue] = []
    left = worlds
    for clue in true_ones:
        fewer = [world for world in left if clue[1](world)]
        if len(fewer) < len(left):
            chosen, left = [*chosen, clue], fewer
        if len(left) == 1:
            break
    for clue in list(chosen) if len(worlds) < 5000 else ():
        others = [one for one in chosen if one is not clue]
        if sum(all(one[1](world) for one in others) for world in worlds) == 1:
            chosen = others
    rng.shuffle(chosen)
    return [text for text, _ in chosen]


def _order_clues(names: Sequence[str], before: str, directly: str, place: str, apart: str) -> list[Clue]:
    """Clues about an order of names; the texts have {a}, {b} and {n}."""
    clues: list[Clue] = []
    for a, b in itertools.permutations(names, 2):
        clues.append((before.format(a=a, b=b), _comes_before(a, b)))
        clues.append((directly.format(a=a, b=b), _apart(a, b, 1)))
        if a < b:
            clues.append((apart.format(a=a, b=b), _apart(a, b, 2, -2)))
    for i, a in itertools.product(range(len(names)), names):
        clues.append((place.format(a=a, n=i + 1), _not_at(a, i)))
    return clues


def _comes_before(a: str, b: str) -> Test:
    return lambda w: w.index(a) < w.index(b)


def _apart(a: str, b: str, *distances: int) -> Test:
    return lambda w: w.index(b) - w.index(a) in distances


def _not_at(a: str, i: int) -> Test:
    return lambda w: w[i] != a


def _keeps(person: str, pet: str, n: int) -> Test:
    """In a world of ``n`` people from left to right, then their pets."""
    return lambda w: w.index(pet) - w.index(person) == n


def _seats_apart(a: str, b: str, n: int, *distances: int) -> Test:
    return lambda w: (w.index(b) - w.index(a)) % n in distances


def _not(test: Test) -> Test:
    return lambda w: not test(w)


@template("text")
def houses(rng: random.Random, k: int) -> Draft:
    """A small zebra puzzle: people, drinks and pets along a street."""
    n = 3 + k
    people = rng.sample(PEOPLE, n)
    pets = rng.sample(["cat", "dog", "parrot", "rabbit", "turtle", "goldfish", "hamster"], n)
    # A world: the people from left to right, then their pets.
    worlds = [(*a, *b) for a in itertools.permutations(people) for b in itertools.permutations(pets)]
    truth = rng.choice(worlds)
    clues: list[Clue] = _order_clues(
        people,
        "{a} lives somewhere to the left of {b}.",
        "{a} lives directly to the left of {b}.",
        "{a} does not live in house {n}.",
        "Exactly one house stands between those of {a} and {b}.",
    )
    for a, pet in itertools.product(people, pets):
        clues.append((f"{a} does not keep the {pet}.", _not(_keeps(a, pet, n))))
        if k == 0:
            clues.append((f"{a} keeps the {pet}.", _keeps(a, pet, n)))
    for i, pet in itertools.product(range(n), pets):
        clues.append((f"The {pet} does not live in house {i + 1}.", _not_at(pet, n + i)))
    for first, second in itertools.permutations(pets, 2):
        clues.append((f"The {first} lives next door to the {second}, on its left.", _apart(first, second, 1)))
    told = _fewest_clues(rng, worlds, clues, truth)
    asked = rng.choice(pets)
    owner = truth[truth.index(asked) - n]
    return _text(
        f"{n} people live in a row of {n} houses, numbered 1 to {n} from left to right: {', '.join(people)}. Each keeps "
        f"a different pet: {', '.join(pets)}.\n\n"
        + "\n".join(f"- {clue}" for clue in told)
        + f"\n\nWho keeps the {asked}?",
        owner,
        people,
        f"From left to right: {', '.join(f'{a} ({b})' for a, b in zip(truth[:n], truth[n:], strict=True))}.",
        "<a name>",
    )


@template("names")
def knights(rng: random.Random, k: int) -> Draft:
    """Knights tell the truth, knaves lie; the statements have one consistent reading."""
    n = 3 + k
    people = rng.sample(PEOPLE, n)
    worlds = list(itertools.product([True, False], repeat=n))
    while True:
        statements = [_statement(rng, people, i) for i in range(n)]
        fits = [w for w in worlds if all(claim(w) == w[i] for i, (_, claim) in enumerate(statements))]
        if len(fits) == 1 and 0 < sum(fits[0]) < n:
            break
    knights_found = [name for name, honest in zip(people, fits[0], strict=True) if honest]
    told = "\n".join(f"{name}: “{text}”" for name, (text, _) in zip(people, statements, strict=True))
    return Draft(
        closed(
            "On an island, every knight always tells the truth and every knave always lies. Each of these people is one or "
            f"the other:\n\n{told}\n\nWho are the knights?",
            "<the names of all knights, separated by commas>",
        ),
        {"values": knights_found, "ordered": False, "among": people},
        answered("Every other assignment contradicts a statement.", ", ".join(knights_found)),
    )


def _statement(rng: random.Random, people: Sequence[str], i: int) -> tuple[str, Callable[[Sequence[bool]], bool]]:
    a, b = rng.sample([j for j in range(len(people)) if j != i], 2)
    first, second = people[a], people[b]
    return rng.choice(
        [
            (f"{first} is a knave.", lambda w: not w[a]),
            (f"{first} and {second} are of the same kind.", lambda w: w[a] == w[b]),
            (f"{first} and I are of different kinds.", lambda w: w[a] != w[i]),
            (f"At least one of {first} and {second} is a knave.", lambda w: not (w[a] and w[b])),
            (f"If {first} is a knight, then so is {second}.", lambda w: not w[a] or w[b]),
            ("An odd number of us are knights.", lambda w: sum(w) % 2 == 1),
        ]
    )


@template("names")
def schedule(rng: random.Random, k: int) -> Draft:
    """An order of tasks that the conditions leave only one of."""
    n = 4 + k
    tasks = rng.sample(["painting", "wiring", "plumbing", "tiling", "roofing", "glazing", "fencing", "planting"], n)
    worlds = list(itertools.permutations(tasks))
    truth = rng.choice(worlds)
    clues = _order_clues(
        tasks,
        "The {a} is done at some time before the {b}.",
        "The {a} is done immediately before the {b}.",
        "The {a} is not done on day {n}.",
        "Exactly one day lies between the {a} and the {b}.",
    )
    told = _fewest_clues(rng, worlds, clues, truth)
    return Draft(
        closed(
            f"{n} jobs are done on {n} days, one a day: {', '.join(sorted(tasks))}.\n\n"
            + "\n".join(f"- {clue}" for clue in told)
            + "\n\nIn which order are they done, from day 1 on?",
            "<all jobs in order, separated by commas>",
        ),
        {"values": list(truth), "ordered": True, "among": tasks},
        answered("Only one order meets all conditions.", ", ".join(truth)),
    )


@template("text")
def swaps(rng: random.Random, k: int) -> Draft:
    """Follow objects that change hands."""
    people = rng.sample(PEOPLE, 4 + k)
    things = rng.sample(["lantern", "compass", "violin", "kettle", "umbrella", "telescope", "notebook", "scarf"], 4 + k)
    has = dict(zip(people, things, strict=True))
    lines = [f"{name} has the {thing}." for name, thing in has.items()]
    for _ in range(5 + 4 * k):
        a, b = rng.sample(people, 2)
        if rng.random() < 0.5 or k == 0:
            lines.append(f"{a} and {b} swap what they have.")
        else:
            thing = has[a]
            lines.append(f"Whoever has the {thing} swaps with {b}.")
        has[a], has[b] = has[b], has[a]
    who = rng.choice(people)
    return _text(
        f"{' '.join(lines)}\n\nWhat does {who} have at the end?",
        has[who],
        things,
        "At the end: " + ", ".join(f"{name} has the {thing}" for name, thing in has.items()) + ".",
        "<one object>",
    )


DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


@template("text")
def weekdays(rng: random.Random, k: int) -> Draft:
    """A weekday some days, months or working days away."""
    start = datetime.date(rng.randint(1990, 2035), rng.randint(1, 12), rng.randint(1, 28))
    written = f"{start.day} {start:%B} {start.year}"
    if k == 0:
        days = rng.randint(60, 400)
        end = start + datetime.timedelta(days=days)
        question = f"{written} is a {start:%A}. Which day of the week is it {days} days later?"
    elif k == 1:
        years = rng.randint(3, 11)
        end = start.replace(year=start.year + years)
        question = f"{written} is a {start:%A}. Which day of the week is the same date {years} years later?"
    else:
        working, end = rng.randint(30, 90), start
        for _ in range(working):
            end += datetime.timedelta(days=1)
            while end.weekday() > 4 or end.day == 1:
                end += datetime.timedelta(days=1)
        question = (
            f"{written} is a {start:%A}. An office works from Monday to Friday, but never on the first day of a month. "
            f"Which day of the week is the {working}th day of work after that date?"
        )
    return _text(question, f"{end:%A}", DAYS, f"It is {end.day} {end:%B} {end.year}.", "<a day of the week>")


@template("names")
def pipes(rng: random.Random, k: int) -> Draft:
    """Cause and effect: which tanks fill when valves are open or shut."""
    tanks = [chr(65 + i) for i in range(5 + k)]
    while True:
        rules, full = [], {tanks[0]: True}
        for i, tank in enumerate(tanks[1:], 1):
            sources = rng.sample(tanks[:i], min(i, rng.randint(1, 2)))
            joint = "and" if len(sources) == 2 and rng.random() < 0.5 else "or"
            blocked = rng.random() < 0.3
            levels = [full[s] for s in sources]
            full[tank] = (all(levels) if joint == "and" else any(levels)) != blocked
            told = f" {joint} ".join(sources)
            rules.append(
                f"Tank {tank} stays empty if {told} fills, and fills otherwise."
                if blocked
                else f"Tank {tank} fills if {told} fills, and stays empty otherwise."
            )
        found = [tank for tank in tanks if full[tank]]
        if 2 <= len(found) < len(tanks):
            break
    return Draft(
        closed(
            f"Tanks {', '.join(tanks)} are joined by valves. “Fills” is decided by these rules alone (“X and Y fills” means "
            f"that both fill, “X or Y fills” that at least one does):\nTank A fills.\n"
            + "\n".join(rules)
            + "\n\nWhich tanks fill?",
            "<all their letters, separated by commas>",
        ),
        {"values": found, "ordered": False, "among": tanks},
        answered("Follow the rules from A on.", ", ".join(found)),
    )


@template("text")
def round_table(rng: random.Random, k: int) -> Draft:
    """Seats around a table, seen from its centre."""
    n = 4 + k
    people = rng.sample(PEOPLE, n)
    first = people[0]
    worlds = [(first, *rest) for rest in itertools.permutations(people[1:])]
    truth = rng.choice(worlds)
    clues: list[Clue] = []
    for a, b in itertools.permutations(people, 2):
        text = f"{a} sits directly to the left of {b} (the next seat clockwise from {a} is {b}'s)."
        clues.append((text, _seats_apart(a, b, n, 1)))
        if a < b:
            beside = _seats_apart(a, b, n, 1, n - 1)
            clues.append((f"{a} and {b} are not neighbours.", _not(beside)))
            clues.append((f"{a} and {b} are neighbours.", beside))
            between = f"Exactly one person sits between {a} and {b} on one of the two sides."
            clues.append((between, _seats_apart(a, b, n, 2, n - 2)))
    told = _fewest_clues(rng, worlds, clues, truth)
    steps = rng.randint(1, n - 1)
    start = rng.choice(people)
    answer = truth[(truth.index(start) + steps) % n]
    return _text(
        f"{n} people sit around a round table with {n} seats: {', '.join(people)}.\n\n"
        + "\n".join(f"- {clue}" for clue in told)
        + f"\n\nStart at {start} and go {steps} seat{'s' if steps > 1 else ''} clockwise. Who sits there?",
        answer,
        people,
        "Clockwise: " + ", ".join(truth) + ".",
        "<a name>",
    )


@template("choice")
def must_be_true(rng: random.Random, k: int) -> Draft:
    """Which statement follows from some comparisons: one of five, in a drawn order."""
    n = 5 + k
    people = rng.sample(PEOPLE, n)
    worlds = list(itertools.permutations(people))
    truth = rng.choice(worlds)
    pairs = [(truth[i], truth[j]) for i in range(n) for j in range(i + 1, min(n, i + 3))]
    told = rng.sample(pairs, n - 1)
    left = [w for w in worlds if all(w.index(a) < w.index(b) for a, b in told)]
    follows: list[str] = []
    open_: list[str] = []
    wrong: list[str] = []
    for a, b in itertools.permutations(people, 2):
        share = sum(w.index(a) < w.index(b) for w in left)
        if (a, b) not in told:
            (follows if share == len(left) else wrong if share == 0 else open_).append(f"{a} is taller than {b}.")
    if not follows or len(open_) + len(wrong) < 4:
        return must_be_true(rng, k)
    others = rng.sample(open_, min(len(open_), 3))
    others += rng.sample(wrong, 4 - len(others))
    options = [rng.choice(follows), *others]
    right = options[0]
    rng.shuffle(options)
    letter = "ABCDE"[options.index(right)]
    facts = "\n".join(f"- {a} is taller than {b}." for a, b in told)
    listed = "\n".join(f"{name}) {text}" for name, text in zip("ABCDE", options, strict=True))
    return Draft(
        closed(
            f"No two of {', '.join(sorted(people))} are equally tall.\n\n{facts}\n\nWhich of these statements must be "
            f"true?\n{listed}",
            "<one letter>",
        ),
        {"letter": letter, "options": dict(zip("ABCDE", options, strict=True))},
        answered("It follows from the facts; each of the others may be false.", letter),
    )


@template("numbers")
def robot(rng: random.Random, k: int) -> Draft:
    """Where a robot ends that turns and walks, with a loop and a condition for the harder ones."""
    x = y = 0
    heading = 0  # north, east, south, west
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    lines = []
    rounds = 1 if k == 0 else rng.randint(3, 5)
    body: list[tuple[str, int]] = []
    for _ in range(5 + 2 * k):
        body.append((rng.choice(["left", "right", "forward", "forward", "back"]), rng.randint(1, 6)))
    for word, size in body:
        if word in ("left", "right"):
            lines.append(f"turn {word} by 90 degrees")
        else:
            lines.append(f"go {size} {'step' if size == 1 else 'steps'} {word}")
    for turn in range(rounds):
        for word, size in body:
            if word in ("left", "right"):
                heading = (heading + (1 if word == "right" else -1)) % 4
            else:
                way = size if word == "forward" else -size
                x, y = x + way * steps[heading][0], y + way * steps[heading][1]
        if k == 2 and turn % 2 == 0:
            heading = (heading + 1) % 4
    again = "" if rounds == 1 else f" It carries out the whole list {rounds} times, one after the other."
    twist = (
        ""
        if k < 2
        else " After the 1st, 3rd and 5th time through the list, as far as these occur, it also turns right."
    )
    return Draft(
        closed(
            "A robot stands at (0, 0) and faces north (the direction of growing y; east is the direction of growing x). Going "
            f"back does not turn it. Its list of commands: {'; '.join(lines)}.{again}{twist}\n\nWhere does it stand at the end?",
            "(x, y)",
        ),
        {"values": [str(x), str(y)], "ordered": True},
        answered("Follow the commands one by one.", f"({x}, {y})"),
    )


@template("number")
def jugs(rng: random.Random, k: int) -> Draft:
    """The fewest moves with jugs, by breadth-first search."""
    while True:
        sizes = sorted(rng.sample(range(3, 10 + 2 * k), 2 if k < 2 else 3))
        goal = rng.randint(1, sizes[-1] - 1)
        moves = _fewest_moves(tuple(sizes), goal)
        if moves is not None and moves >= (4, 6, 5)[k]:
            break
    listed = ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}"
    return Draft(
        closed(
            f"You have jugs that hold {listed} litres, all empty, and a tap. A move is one of: fill a jug to its rim, empty a "
            "jug into the drain, or pour from one jug into another until the first is empty or the second is full. What "
            f"is the smallest number of moves after which some jug holds exactly {goal} litres?",
            "<an integer>",
        ),
        {"value": str(moves)},
        answered("Search all states in order of the number of moves.", moves),
    )


def _fewest_moves(sizes: tuple[int, ...], goal: int) -> int | None:
    start = (0,) * len(sizes)
    seen, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        if goal in state:
            return seen[state]
        for i in range(len(sizes)):
            following = [(*state[:i], level, *state[i + 1 :]) for level in (0, sizes[i])]
            for j in range(len(sizes)):
                if i != j:
                    poured = min(state[i], sizes[j] - state[j])
                    levels = list(state)
                    levels[i], levels[j] = state[i] - poured, state[j] + poured
                    following.append(tuple(levels))
            for one in following:
                if one not in seen:
                    seen[one] = seen[state] + 1
                    queue.append(one)
    return None
