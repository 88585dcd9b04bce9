"""Cheap exact rules for expressions: the same fingerprint for equal rational expressions, without a computer algebra.

An expression is evaluated modulo a prime at a few fixed points (Schwartz-Zippel: two different expressions of degree d
agree at a point with a chance of at most d / 2^61). So (x² − 1)/(x + 1) = x − 1 is found in microseconds, and no input
makes it slow. Roots and functions are unknowns of their own, named after their argument's fingerprint: sin(x + x) =
sin(2x) is found, sin²x + cos²x = 1 is not. What differs here is not proved different: a computer algebra may still find
it equal (``providers/heavy/algebra.py``, in a process of its own).
"""

from __future__ import annotations

import re
import zlib
from fractions import Fraction
from math import isqrt
from typing import NamedTuple

PRIME = 2**61 - 1
POINTS = 3
MAX_CHARS = 400
MAX_DEPTH = 40
MAX_POWER = 1_000
MAX_BITS = 2_048  # of an exact value

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<frac>\\[dtc]?frac)|(?P<sqrt>\\sqrt|sqrt|√)"
    r"|\\(?P<macro>[A-Za-z]+)|(?P<function>(?:arc)?(?:sin|cos|tan)h?|log|ln|exp)(?![A-Za-z])"
    r"|(?P<letter>pi(?![A-Za-z])|[^\W\d_](?:_(?:\{\w+\}|\w))?)|(?P<operator>\*\*|[-+*/^(){}\[\]!|=]))"
)
_TIMES = {"cdot", "times"}
_FUNCTIONS = {"sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "log", "ln", "exp"}
_SIGNS = {ord("×"): "*", ord("·"): "*", ord("⋅"): "*", ord("÷"): "/", ord("−"): "-"}
_GREEK = {"π": "pi", "θ": "theta", "α": "alpha", "β": "beta", "λ": "lambda", "φ": "phi", "ω": "omega", "μ": "mu"}


class NotReadable(ValueError):
    """The text is not an expression of the small grammar read here, or too long or too deeply nested."""


class Value(NamedTuple):
    """An expression at the points, modulo ``PRIME``; ``exact`` if it is a rational number."""

    at: tuple[int, ...]
    exact: Fraction | None = None


def evaluate(text: str) -> Value:
    """The value of an expression (plain or LaTeX). Raises ``NotReadable``."""
    if len(text) > MAX_CHARS:
        raise NotReadable("too long")
    reader = _Reader(_tokens(text.translate(_SIGNS)))
    value = reader.sum(0)
    if reader.kind:
        raise NotReadable(f"unexpected {reader.text!r}")
    return value


def fingerprint(text: str) -> str:
    """Equal for expressions with equal values, and for equations with equal solutions up to a constant factor.

    Raises ``NotReadable``.
    """
    sides = text.split("=")
    if len(sides) == 1:
        return "=".join(map(str, evaluate(text).at))
    if len(sides) > 2:
        raise NotReadable("a chain of equations")
    left, right = map(evaluate, sides)
    apart = [(a - b) % PRIME for a, b in zip(left.at, right.at, strict=True)]
    if not apart[0]:
        raise NotReadable("always true")
    return "0=" + ":".join(str(value * pow(apart[0], -1, PRIME) % PRIME) for value in apart[1:])


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotReadable(f"unexpected {text[at]!r}")
        tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
        at = match.end()
    return tokens


def _unknown(name: str) -> Value:
    """A number for each name and point, fixed for ever, so that a fingerprint can be stored."""
    one = zlib.crc32(name.encode())
    return Value(
        tuple((one * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03 * point) % PRIME for point in range(1, POINTS + 1))
    )


def _number(value: Fraction) -> Value:
    if value.denominator % PRIME == 0 or value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise NotReadable("too large")
    return Value((value.numerator * pow(value.denominator, -1, PRIME) % PRIME,) * POINTS, value)


def _join(left: Value, right: Value, times: bool, sign: int = 1) -> Value:
    """left · right, or left ± right."""
    if left.exact is not None and right.exact is not None:
        return _number(left.exact * right.exact if times else left.exact + sign * right.exact)
    if times:
        return Value(tuple(a * b % PRIME for a, b in zip(left.at, right.at, strict=True)))
    return Value(tuple((a + sign * b) % PRIME for a, b in zip(left.at, right.at, strict=True)))


def _inverse(value: Value) -> Value:
    if 0 in value.at:
        raise NotReadable("division by zero")
    if value.exact is not None:
        return _number(1 / value.exact)
    return Value(tuple(pow(a, -1, PRIME) for a in value.at))


def _power(base: Value, exponent: Value) -> Value:
    n = exponent.exact
    if n is None or n.denominator != 1:
        if n is not None and n.denominator == 2 and abs(n.numerator) <= MAX_POWER:  # a^(n/2) = √a^n
            return _power(_applied("sqrt", base), Value((n.numerator % PRIME,) * POINTS, Fraction(n.numerator)))
        return _applied("power", base, exponent)
    if abs(n) > MAX_POWER:
        raise NotReadable("too large a power")
    if n < 0:
        base, n = _inverse(base), -n
    if base.exact is not None:
        if max(base.exact.numerator.bit_length(), base.exact.denominator.bit_length()) * n > MAX_BITS:
            raise NotReadable("too large")
        return _number(base.exact**n.numerator)
    return Value(tuple(pow(a, n.numerator, PRIME) for a in base.at))


def _applied(function: str, *arguments: Value) -> Value:
    """A function of its arguments, as an unknown named after them; a root of a square is exact."""
    exact = arguments[0].exact
    if function == "sqrt" and exact is not None and exact >= 0:
        roots = [_root(exact.numerator), _root(exact.denominator)]
        if None not in roots:
            return _number(Fraction(roots[0] or 0, roots[1] or 1))
    return _unknown(f"{function}({';'.join(','.join(map(str, argument.at)) for argument in arguments)})")


def _root(n: int) -> int | None:
    return isqrt(n) if isqrt(n) ** 2 == n else None


class _Reader:
    """Recursive descent over the tokens; every step checks the depth."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    @property
    def text(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _expect(self, text: str) -> None:
        if self.text != text or self.kind != "operator":
            raise NotReadable(f"{text!r} is missing")
        self._at += 1

    def sum(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise NotReadable("nested too deeply")
        sign = -1 if self.text == "-" else 1
        if self.text in ("-", "+"):
            self._take()
        value = self._product(depth)
        if sign < 0:
            value = _join(_number(Fraction(-1)), value, times=True)
        while self.kind == "operator" and self.text in ("+", "-"):
            sign = -1 if self._take() == "-" else 1
            value = _join(value, self._product(depth), times=False, sign=sign)
        return value

    def _product(self, depth: int) -> Value:
        value = self._factor(depth)
        while True:
            if (self.kind == "operator" and self.text == "*") or (self.kind == "macro" and self.text in _TIMES):
                self._take()
                value = _join(value, self._factor(depth), times=True)
            elif (self.kind == "operator" and self.text == "/") or (self.kind, self.text) == ("macro", "div"):
                self._take()
                value = _join(value, _inverse(self._factor(depth)), times=True)
            elif self.kind and (self.kind != "operator" or self.text in ("(", "{", "[")):
                value = _join(value, self._factor(depth), times=True)  # 2x, 2(x + 1)
            else:
                return value

    def _factor(self, depth: int) -> Value:
        if self.kind == "operator" and self.text in ("-", "+"):
            negative = self._take() == "-"
            value = self._factor(depth + 1) if depth <= MAX_DEPTH else self._deep()
            return _join(_number(Fraction(-1)), value, times=True) if negative else value
        base = self._atom(depth + 1)
        if self.kind == "operator" and self.text in ("^", "**"):
            self._take()
            if depth > MAX_DEPTH:
                self._deep()
            exponent = self._factor(depth + 1)
            base = _power(base, exponent)
        return base

    def _deep(self) -> Value:
        raise NotReadable("nested too deeply")

    def _atom(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            self._deep()
        kind = self.kind
        if kind == "number":
            return _number(Fraction(self._take()))
        if kind == "letter":
            name = self._take().replace("{", "").replace("}", "")
            return _unknown(_GREEK.get(name, name))
        if kind == "frac":
            self._take()
            over = self._argument(depth)
            return _join(over, _inverse(self._argument(depth)), times=True)
        if kind == "sqrt":
            latex = self._take() == "\\sqrt"
            return _applied("sqrt", self._argument(depth) if latex else self._atom(depth))
        if kind == "function" or (kind == "macro" and self.text in _FUNCTIONS):
            return self._function(depth)
        if kind == "macro" and self.text not in _TIMES:
            return _unknown(self._take())
        if kind == "operator" and self.text in ("(", "{", "["):
            closing = {"(": ")", "{": "}", "[": "]"}[self._take()]
            value = self.sum(depth + 1)
            self._expect(closing)
            return value
        raise NotReadable(f"unexpected {self.text!r}" if kind else "something is missing")

    def _argument(self, depth: int) -> Value:
        """A group, or a single digit or letter: \\frac12."""
        if self.kind == "number" and len(self.text) > 1 and self.text.isdigit():
            first, rest = self.text[0], self.text[1:]
            self._tokens[self._at] = ("number", rest)
            return _number(Fraction(first))
        return self._atom(depth)

    def _function(self, depth: int) -> Value:
        name = self._take()
        power = None
        if self.kind == "operator" and self.text == "^":
            self._take()
            power = self._atom(depth)
        argument = self._factor(depth + 1)
        while not self._closes():  # sin 2x
            argument = _join(argument, self._factor(depth + 1), times=True)
        value = _power(_unknown("e"), argument) if name == "exp" else _applied(name, argument)
        return _power(value, power) if power else value

    def _closes(self) -> bool:
        return self.kind not in ("number", "letter") or self._tokens[self._at - 1][1] in (")", "}", "]")
