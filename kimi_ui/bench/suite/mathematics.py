"""Mathematics: closed answers computed by code, from school arithmetic to competition level."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

from .case import MATH, Draft, Templates, answered, closed

MATHEMATICS = Templates(MATH)
template = MATHEMATICS.template


def _number(question: str, value: int | Fraction, how: str, form: str = "<an integer>") -> Draft:
    return Draft(closed(question, form), {"value": str(value)}, answered(how, value))


@template("number")
def congruences(rng: random.Random, k: int) -> Draft:
    """The smallest number with given remainders (Chinese remainder theorem)."""
    moduli = rng.sample([3, 5, 7, 11, 13, 17, 19, 23], k + 2)
    value = rng.randrange(max(moduli), math.prod(moduli))  # below the product of the primes, so it is the smallest
    conditions = [(m, value % m) for m in sorted(moduli)]
    told = ", ".join(f"{r} when divided by {m}" for m, r in conditions)
    return _number(
        f"Find the smallest non-negative integer that leaves these remainders: {told}.",
        value,
        f"It is determined modulo {math.prod(moduli)}.",
    )


@template("number")
def divisors(rng: random.Random, k: int) -> Draft:
    """A sum over the divisors of a number that have a property."""
    primes = rng.sample([2, 3, 5, 7], k + 2)
    n = math.prod(p ** rng.randint(1, 3 if p < 5 else 2) for p in primes)
    found = [d for d in range(1, n + 1) if n % d == 0]
    what, chosen = [
        ("all positive divisors of {n} that are even", [d for d in found if d % 2 == 0]),
        ("all positive divisors of {n} that are perfect squares", [d for d in found if math.isqrt(d) ** 2 == d]),
        ("all positive divisors of {n}, other than {n} itself, that are not divisible by 3", [
            d for d in found if d % 3 and d != n]),
    ][(k + rng.randrange(3)) % 3]  # fmt: skip
    return _number(
        f"What is the sum of {what.format(n=n)}? (A sum of no numbers is 0.)",
        sum(chosen),
        f"There are {len(chosen)} such divisors.",
    )


@template("number")
def grid_paths(rng: random.Random, k: int) -> Draft:
    """Monotone lattice paths that avoid some points."""
    width, height = rng.randint(3, 4) + 2 * k, rng.randint(3, 4) + k
    points = [(x, y) for x in range(width + 1) for y in range(height + 1)][1:-1]
    blocked = set(rng.sample(points, k + 1))
    ways: dict[tuple[int, int], int] = {(0, 0): 1}
    for x, y in itertools.product(range(width + 1), range(height + 1)):
        if (x, y) != (0, 0):
            ways[x, y] = 0 if (x, y) in blocked else ways.get((x - 1, y), 0) + ways.get((x, y - 1), 0)
    told = ", ".join(f"({x}, {y})" for x, y in sorted(blocked))
    return _number(
        f"A path leads from (0, 0) to ({width}, {height}) on the integer grid. Each step goes 1 to the right or 1 up. "
        f"How many such paths do not pass through any of these points: {told}?",
        ways[width, height],
        "Count the ways to reach each point from its left and lower neighbours, with 0 at the blocked points.",
    )


@template("number")
def power_remainder(rng: random.Random, k: int) -> Draft:
    """The remainder of a large power, or of a tower of powers."""
    base, exponent = rng.randint(3, 29), rng.randint(40, 400) * 10**k + rng.randint(1, 9)
    modulus = rng.choice([100, 1000, 97, 101, 143, 1001][k : k + 4])
    if k < 2:
        text, value = f"{base}^{exponent}", pow(base, exponent, modulus)
    else:
        inner = rng.randint(3, 9)
        text, value = f"{base}^({inner}^{exponent % 90 + 10})", pow(base, inner ** (exponent % 90 + 10), modulus)
    return _number(
        f"What is the remainder of {text} when it is divided by {modulus}?",
        value,
        "Reduce by repeated squaring, or by the period of the powers.",
    )


@template("number")
def drawing_balls(rng: random.Random, k: int) -> Draft:
    """An exact probability without replacement."""
    red, blue, green = (rng.randint(3, 7) + k for _ in range(3))
    drawn = 2 + k
    total = math.comb(red + blue + green, drawn)
    if k == 0:
        what, ways = "both balls have the same colour", sum(math.comb(n, 2) for n in (red, blue, green))
    elif k == 1:
        what, ways = "exactly two of the three balls are red", math.comb(red, 2) * (blue + green)
    else:
        what = "all three colours occur among the four balls"
        ways = sum(
            math.comb(red, a) * math.comb(blue, b) * math.comb(green, 4 - a - b)
            for a in range(1, 3)
            for b in range(1, 4 - a)
        )
    names = ("two", "three", "four")
    return _number(
        f"A bag holds {red} red, {blue} blue and {green} green balls. {names[k].capitalize()} balls are drawn at random "
        f"without replacement. What is the probability that {what}? Give an exact fraction.",
        Fraction(ways, total),
        f"{ways} of {total} equally likely draws.",
        "<a fraction>",
    )


@template("number")
def roots_of_a_polynomial(rng: random.Random, k: int) -> Draft:
    """A symmetric function of roots that are not rational (Vieta)."""
    while True:
        a, b, c, d = rng.randint(1, 2 + k), rng.randint(-7, 7), rng.randint(-9, 9), rng.randint(1, 9)
        if b and c:
            break
    if k == 0:
        equation = f"{_term(a, 'x²', first=True)}{_term(b, 'x')}{_term(-d, '')} = 0"
        s, p = Fraction(-b, a), Fraction(-d, a)
        what, value = "r² + s², where r and s are its two roots", s * s - 2 * p
    else:
        equation = f"{_term(a, 'x³', first=True)}{_term(b, 'x²')}{_term(c, 'x')}{_term(d, '')} = 0"
        s, q, p = Fraction(-b, a), Fraction(c, a), Fraction(-d, a)
        square = s * s - 2 * q
        if k == 1:
            what, value = "r² + s² + t², where r, s and t are its three complex roots", square
        else:
            what = "r³ + s³ + t³ + rst, where r, s and t are its three complex roots"
            value = s * square - s * q + 3 * p + p
    return _number(
        f"Consider the equation {equation}. What is {what}? Give an exact value.",
        value,
        "Express it by the elementary symmetric functions, which are the coefficients.",
        "<an integer or a fraction>",
    )


def _term(factor: int, symbol: str, first: bool = False) -> str:
    """``factor·symbol`` with its sign, as one writes it within a sum."""
    if not factor:
        return ""
    sign = ("-" if factor < 0 else "") if first else (" - " if factor < 0 else " + ")
    size = "" if abs(factor) == 1 and symbol else str(abs(factor))
    return f"{sign}{size}{symbol}"


@template("number")
def definite_integral(rng: random.Random, k: int) -> Draft:
    """The integral of a polynomial, or an area between a parabola and a line."""
    low = rng.randint(-2, 1)
    high = low + rng.randint(2, 3) + k
    if k < 2:
        factors = [rng.choice([-5, -4, -3, -2, 2, 3, 4, 5]) for _ in range(3 + k)]
        value = sum(
            Fraction(f, n + 1) * (Fraction(high) ** (n + 1) - Fraction(low) ** (n + 1)) for n, f in enumerate(factors)
        )
        written = _polynomial(factors)
        return _number(
            f"Compute the definite integral of {written} from x = {low} to x = {high}. Give an exact value.",
            value,
            "Integrate term by term.",
            "<an integer or a fraction>",
        )
    shift = rng.randint(-4, 4)
    line = _polynomial([shift - low * high, low + high])
    return _number(
        f"What is the area enclosed between the parabola y = {_polynomial([shift, 0, 1])} and the line y = {line}? "
        "Give an exact value.",
        Fraction((high - low) ** 3, 6),
        f"They meet at x = {low} and x = {high}; the area is the sixth of the cube of the distance.",
        "<an integer or a fraction>",
    )


def _polynomial(factors: list[int]) -> str:
    """A polynomial with its highest power first. ``factors``: constant first."""
    symbols = ["", "x", "x²", "x³", "x⁴", "x⁵"]
    text = ""
    for n in reversed(range(len(factors))):
        text += _term(factors[n], symbols[n], first=not text)
    return text or "0"


@template("numbers")
def linear_system(rng: random.Random, k: int) -> Draft:
    """A system with a unique rational solution, as an ordered tuple."""
    size = 2 if k == 0 else 3
    while True:
        matrix = [[rng.randint(-5, 5) for _ in range(size)] for _ in range(size)]
        divisor = 1 if k < 2 else rng.randint(2, 4)
        solution = [Fraction(rng.randint(-9, 9), divisor) for _ in range(size)]
        right = [sum((m * v for m, v in zip(row, solution, strict=True)), Fraction(0)) for row in matrix]
        if _determinant(matrix) and all(r.denominator == 1 for r in right) and all(any(row) for row in matrix):
            break
    names = "xyz"[:size]
    lines = []
    for row, r in zip(matrix, right, strict=True):
        text = ""
        for factor, name in zip(row, names, strict=True):
            text += _term(factor, name, first=not text)
        lines.append(f"{text} = {r}")
    values = [str(v) for v in solution]
    form = f"({', '.join(names)}), with integers or fractions, for example ({', '.join('1' * size)})"
    return Draft(
        closed("Solve this system of equations:\n" + "\n".join(lines), form),
        {"values": values, "ordered": True},
        answered("Eliminate one unknown after the other.", f"({', '.join(values)})"),
    )


def _determinant(m: list[list[int]]) -> int:
    if len(m) == 1:
        return m[0][0]
    return sum(
        (-1) ** i * m[0][i] * _determinant([row[:i] + row[i + 1 :] for row in m[1:]]) for i in range(len(m)) if m[0][i]
    )


@template("expression")
def surds(rng: random.Random, k: int) -> Draft:
    """Simplify a root or a quotient of roots exactly."""
    a, b, c = rng.randint(2, 6), rng.choice([2, 3, 5, 6, 7, 10]), rng.randint(2, 6)
    if k == 0:
        question = f"√{a * a * b} + √{c * c * b}"
        exact, written = f"{a + c}*sqrt({b})", f"{a + c}√{b}"
    elif k == 1:
        question = f"({a} + {c}√{b})²"
        exact, written = f"{a * a + c * c * b}+{2 * a * c}*sqrt({b})", f"{a * a + c * c * b} + {2 * a * c}√{b}"
    else:
        c = c if a * a != c * c * b else c + 1
        norm = a * a - c * c * b
        # (a + c√b) / (a − c√b)
        first, second = Fraction(a * a + c * c * b, norm), Fraction(2 * a * c, norm)
        question = f"({a} + {c}√{b}) / ({a} - {c}√{b})"
        exact = f"({first})+({second})*sqrt({b})"
        written = f"({first}) + ({second})√{b}"
    return Draft(
        closed(f"Simplify {question}, without a root in a denominator. Give an exact expression.", "<an expression>"),
        {"value": exact, "simple": True},
        answered("Collect the rational and the irrational part.", written),
    )


@template("expression")
def derivative(rng: random.Random, k: int) -> Draft:
    """The derivative of a product or a quotient, as an expression in x."""
    a, b, c, d = (rng.choice([-4, -3, -2, 2, 3, 4, 5]) for _ in range(4))
    if k == 0:
        text = f"({_polynomial([b, a])})({_polynomial([d, c, 1])})"
        # (ax + b)(x² + cx + d) = ax³ + (ac + b)x² + (ad + bc)x + bd
        value = f"{3 * a}*x^2+({2 * (a * c + b)})*x+({a * d + b * c})"
    elif k == 1:
        text = f"({_polynomial([b, a])})³"
        value = f"{3 * a}*({a}*x+({b}))^2"
    else:
        d = d if a * d != b * c else d + 7
        text = f"({_polynomial([b, a])}) / ({_polynomial([d, c])})"
        value = f"({a * d - b * c})/({c}*x+({d}))^2"
    return Draft(
        closed(f"Differentiate f(x) = {text} with respect to x.", "<an expression in x>"),
        {"value": value},
        answered("By the product, chain or quotient rule.", value.replace("*", " * ")),
    )
