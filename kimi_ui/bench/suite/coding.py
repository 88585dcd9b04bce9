"""Coding: functions to write in Python, each with parameters that the seed draws, a reference, and hidden inputs.

The reference is source text; the grader runs it in this process and the answer's in the sandbox, on the same inputs. The
inputs must tell the reference from its mutants (``tests/test_bench_mutants.py``), so they hold the edges of each task.
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Sequence
from typing import Any

from .case import CODING, Draft, Templates

CODE = Templates(CODING)
template = CODE.template

RULES = (
    "Write the complete code in one ```python block. It runs under Python 3.11 or newer with the standard library only, "
    "without threads, processes, files and network, and is tested on hidden inputs, edge cases included."
)
Call = dict[str, Any]


def _draft(task: str, source: str, calls: Sequence[Call]) -> Draft:
    source = textwrap.dedent(source).strip() + "\n"
    gold = {"source": source, "calls": list(calls)}
    return Draft(f"{textwrap.dedent(task).strip()}\n\n{RULES}", gold, f"```python\n{source}```")


def _calls(entry: str, inputs: Sequence[Sequence[Any]]) -> list[Call]:
    return [{"entry": entry, "args": list(one)} for one in inputs]


@template("code", cases=2)
def run_lengths(rng: random.Random, k: int) -> Draft:
    """Run-length encoding with a shortest run, and its inverse."""
    least = rng.randint(2, 4)
    words = ["", "a", "aa", "aaa", "aaaa", "aaaaa", "abab", "aabbccdd", "aaabbbbc", "zzzzzzzzzzzz", "abbbbbbbbbbbbba"]
    words += ["".join(rng.choice("ab") * rng.randint(1, 6) for _ in range(rng.randint(1, 6))) for _ in range(12)]
    if k == 0:
        return _draft(
            f"""
            Write a function `squeeze(text)` that shortens runs of equal letters. A run of {least} or more equal letters
            becomes its length in decimal followed by the letter; a shorter run stays as it is. `text` holds only letters.
            Example: `squeeze("{"a" * least}bc")` returns `"{least}abc"`.
            """,
            f"""
            def squeeze(text):
                out = []
                start = 0
                while start < len(text):
                    end = start
                    while end < len(text) and text[end] == text[start]:
                        end += 1
                    length = end - start
                    out.append(str(length) + text[start] if length >= {least} else text[start:end])
                    start = end
                return "".join(out)
            """,
            _calls("squeeze", [[word] for word in words]),
        )
    packed = ["", "a", "3a", "12b", "a3bc", "2a2b", "10xy11z", "abc", "0a1b", "100q", "1a", "a0b", "5Q5q"]
    packed += [
        "".join(rng.choice(["", str(rng.randint(0, 13))]) + rng.choice("xyz") for _ in range(5)) for _ in range(12)
    ]
    broken = ["3", "a3", "12", "2a7", "a 2b", "-1a", "2!"]
    return _draft(
        """
        Write a function `unsqueeze(text)` that undoes a run-length encoding: each letter a-z or A-Z may be preceded by a
        decimal number, which says how often the letter occurs; a letter without a number occurs once, and `0a` stands for
        nothing. Raise `ValueError` if the text ends with a number, or contains anything but the letters a-z, A-Z and the
        digits 0-9. Example: `unsqueeze("3ab2c")` returns `"aaabcc"`.
        """,
        """
        def unsqueeze(text):
            out = []
            number = ""
            for letter in text:
                if letter in "0123456789":
                    number += letter
                elif letter.isascii() and letter.isalpha():
                    out.append(letter * (int(number) if number else 1))
                    number = ""
                else:
                    raise ValueError("not a letter")
            if number:
                raise ValueError("a number without a letter")
            return "".join(out)
        """,
        _calls("unsqueeze", [[word] for word in [*packed, *broken]]),
    )


@template("code", cases=2)
def intervals(rng: random.Random, k: int) -> Draft:
    """Merge intervals, or find the free time between them."""
    gap = rng.randint(1, 3)

    def drawn(n: int) -> list[list[int]]:
        starts = [rng.randint(0, 40) for _ in range(n)]
        return [[a, a + rng.randint(0, 7)] for a in starts]

    fixed = [[], [[1, 1]], [[1, 3], [3 + gap, 6]], [[1, 3], [4 + gap, 6]], [[5, 9], [1, 9]], [[1, 9], [3, 4]], [[2, 2], [2, 2]],
             [[0, 1], [1 + gap, 2 + gap], [2 + 2 * gap, 9]], [[10, 12], [1, 2], [5, 6]]]  # fmt: skip
    if k == 0:
        return _draft(
            f"""
            Write a function `merge(intervals)` for a list of closed integer intervals `[start, end]` with start <= end, in any
            order. Two intervals belong together if they overlap, touch, or the distance from the end of one to the start of
            the other is at most {gap}. Return the merged intervals as a list of `[start, end]` lists, sorted by start. The
            argument must not be changed.
            Example: `merge([[5, 6], [1, 2]])` returns `{[[1, 6]] if gap >= 3 else [[1, 2], [5, 6]]}`.
            """,
            f"""
            def merge(intervals):
                merged = []
                for start, end in sorted(intervals):
                    if merged and start - merged[-1][1] <= {gap}:
                        merged[-1][1] = max(merged[-1][1], end)
                    else:
                        merged.append([start, end])
                return merged
            """,
            _calls("merge", [[one] for one in [*fixed, *(drawn(rng.randint(2, 9)) for _ in range(20))]]),
        )
    least = rng.randint(2, 4)
    inputs: list[list[Any]] = [[one, 0, 24] for one in fixed]
    inputs += [
        [[], 3, 3 + least],
        [[], 3, 2 + least],
        [[[0, 24]], 0, 24],
        [[[-5, 30]], 0, 24],
        [[[-5, 2], [20, 30]], 0, 24],
    ]
    inputs += [[[[0, 4], [4 + least, 9]], 0, 9], [[[0, 4], [3 + least, 9]], 0, 9], [[[2, 5], [3, 4], [8, 9]], 0, 20]]
    inputs += [[drawn(rng.randint(1, 6)), rng.randint(0, 9), rng.randint(15, 45)] for _ in range(16)]
    return _draft(
        f"""
        Write a function `free_slots(busy, opening, closing)`. `busy` is a list of half-open intervals `[start, end)` of whole
        hours as `[start, end]` lists, in any order, which may overlap, be empty (start == end), or reach beyond the working
        hours, which go from `opening` to `closing`. Return the list of all maximal free intervals `[start, end]` within
        the working hours that are at least {least} hours long, in order. An empty busy interval takes no time and splits nothing.
        Example: `free_slots([[9, 10]], 8, 17)` returns `[[10, 17]]`.
        """,
        f"""
        def free_slots(busy, opening, closing):
            free = []
            at = opening
            for start, end in sorted(busy):
                if start == end:
                    continue
                start = min(start, closing)
                if start - at >= {least}:
                    free.append([at, start])
                at = max(at, end)
            if closing - at >= {least}:
                free.append([at, closing])
            return free
        """,
        _calls("free_slots", inputs),
    )


@template("code", cases=2)
def odd_bases(rng: random.Random, k: int) -> Draft:
    """Numbers in a negative base, or in a base with balanced digits."""
    numbers = [0, 1, -1, 2, -2, 3, -3, 4, 5, -5, 6, 7, 8, 9, 10, 13, 14, -13, -14, 40, 41, -40, 121, 122, 1000, -1000]
    numbers += [rng.randint(-5000, 5000) for _ in range(14)]
    if k == 0:
        base = rng.randint(2, 7)
        return _draft(
            f"""
            Write a function `to_base(n)` that writes the integer `n`, positive, negative or 0, in base -{base} (minus {base}),
            with the digits 0 to {base - 1} and without a sign or leading zeros; 0 is "0". The digit at position i counts
            (-{base}) to the power i.
            """,
            f"""
            def to_base(n):
                digits = ""
                while n:
                    n, digit = divmod(n, -{base})
                    if digit < 0:
                        n, digit = n + 1, digit + {base}
                    digits = str(digit) + digits
                return digits or "0"
            """,
            _calls("to_base", [[n] for n in numbers]),
        )
    letters = rng.choice(["-0+", "N0P", "_o^"])
    return _draft(
        f"""
        Write a function `balanced(n)` that writes the integer `n`, positive, negative or 0, in balanced ternary: base 3 with
        the digits -1, 0 and 1, written as `{letters[0]}`, `{letters[1]}` and `{letters[2]}`, most significant digit first, without leading zeros; 0 is
        "{letters[1]}". Example: `balanced(2)` returns `"{letters[2]}{letters[0]}"` (3 - 1).
        """,
        f"""
        def balanced(n):
            digits = ""
            while n:
                rest = (n + 1) % 3 - 1
                digits = "{letters}"[rest + 1] + digits
                n = (n - rest) // 3
            return digits or "{letters[1]}"
        """,
        _calls("balanced", [[n] for n in numbers]),
    )


@template("code", cases=2)
def caches(rng: random.Random, k: int) -> Draft:
    """A class with state: a cache that forgets by use or by age and use."""

    def script(n: int) -> list[list[Any]]:
        steps: list[list[Any]] = []
        for at in range(n):
            key = rng.choice("abcde")
            time = [] if k == 0 else [at * rng.choice([1, 1, 2])]
            steps.append(["put", [key, at, *time]] if rng.random() < 0.5 else ["get", [key, *time]])
        if k:
            clock = 0
            for step in steps:
                clock += rng.randint(0, 3)
                step[1][-1] = clock
        return steps

    calls: list[Call] = []
    for size in (1, 2, 3, 2, 3, 4):
        for length in (6, 14, 30):
            calls.append({"entry": "Cache", "args": [size], "then": [*script(length), ["keys", []]]})
    default = rng.choice([-1, 0, None])
    if k == 0:
        return _draft(
            f"""
            Write a class `Cache` with these methods. `Cache(size)`: an empty cache for at most `size` (at least 1) entries.
            `put(key, value)`: store the value and return `None`; if the key is new and the cache is full, first drop the entry
            that was used least recently. `get(key)`: the value, or `{default}` if the key is absent. Both a `put` and a
            successful `get` use an entry. `keys()`: the list of keys from the least to the most recently used.
            """,
            f"""
            class Cache:
                def __init__(self, size):
                    self.size = size
                    self.data = {{}}

                def put(self, key, value):
                    if key in self.data:
                        del self.data[key]
                    elif len(self.data) >= self.size:
                        del self.data[next(iter(self.data))]
                    self.data[key] = value

                def get(self, key):
                    if key not in self.data:
                        return {default}
                    value = self.data.pop(key)
                    self.data[key] = value
                    return value

                def keys(self):
                    return list(self.data)
            """,
            calls,
        )
    life = rng.randint(4, 8)
    return _draft(
        f"""
        Write a class `Cache` with these methods; `now` is a time in seconds that never decreases from call to call.
        `Cache(size)`: an empty cache for at most `size` (at least 1) entries. `put(key, value, now)`: store the value and
        return `None`; first all expired entries are dropped, then, if the key is new and the cache is full, the entry whose
        last `put` is oldest. `get(key, now)`: the value, or `{default}` if the key is absent or expired; a `get` does not
        prolong anything. An entry is expired from {life} seconds after its last `put` on (exactly {life} seconds later it is
        expired). `keys()`: the sorted list of the keys still stored, including expired ones that no `put` has dropped yet.
        """,
        f"""
        class Cache:
            def __init__(self, size):
                self.size = size
                self.data = {{}}

            def put(self, key, value, now):
                self.data = {{k: v for k, v in self.data.items() if now - v[1] < {life}}}
                if key in self.data:
                    del self.data[key]
                elif len(self.data) >= self.size:
                    del self.data[next(iter(self.data))]
                self.data[key] = (value, now)

            def get(self, key, now):
                value, then = self.data.get(key, ({default}, now))
                return value if now - then < {life} else {default}

            def keys(self):
                return sorted(self.data)
        """,
        calls,
    )


@template("code", cases=2)
def calculators(rng: random.Random, k: int) -> Draft:
    """Evaluate expressions with unusual rules of precedence."""
    first, second = rng.sample(["+", "-", "*"], 2)

    def expression(depth: int) -> str:
        if depth == 0 or rng.random() < 0.2:
            return str(rng.randint(0, 12))
        parts = [expression(depth - 1)]
        for _ in range(rng.randint(1, 3)):
            parts += [rng.choice("+-*"), expression(depth - 1)]
        text = rng.choice([" ", ""]).join(parts)
        return f"({text})" if rng.random() < 0.5 else text

    inputs = [
        "7",
        " 42 ",
        "1+2*3",
        "2*3+1",
        "8-3-2",
        "8 - (3 - 2)",
        "((5))",
        "2*(3+4)*5",
        "10-2*3+4",
        "1-1+1",
        "3*2-2*3",
        "0*5-5",
    ]
    inputs += ["9-4+2*3-1", "(1+2)*(3-4)", "2-3*4-5*6+7", "12*12"]
    inputs += [expression(2) for _ in range(16)]
    if k == 0:
        return _draft(
            """
            Write a function `evaluate(text)` for expressions of non-negative integers, the operators `+`, `-` and `*`,
            parentheses and spaces. All three operators have the same precedence and are evaluated strictly from left to right;
            only parentheses change the order. The input is always well formed. Example: `evaluate("1 + 2 * 3")` returns `9`.
            """,
            """
            def evaluate(text):
                text = text.replace(" ", "")
                at = 0

                def value():
                    nonlocal at
                    if text[at] == "(":
                        at += 1
                        inner = chain()
                        at += 1
                        return inner
                    start = at
                    while at < len(text) and text[at].isdigit():
                        at += 1
                    return int(text[start:at])

                def chain():
                    nonlocal at
                    total = value()
                    while at < len(text) and text[at] in "+-*":
                        sign = text[at]
                        at += 1
                        other = value()
                        total = total + other if sign == "+" else total - other if sign == "-" else total * other
                    return total

                return chain()
            """,
            _calls("evaluate", [[text] for text in inputs]),
        )
    third = next(sign for sign in "+-*" if sign not in (first, second))
    inputs += ["", "  ", "1+", "*2", "(1", "1)", "()", "1 2", "a+1", "2**3", "-1", "1++2"]
    return _draft(
        f"""
        Write a function `evaluate(text)` for expressions of non-negative integers, the binary operators `+`, `-` and `*`,
        parentheses and spaces. The precedence is unusual: `{first}` binds most tightly, then `{second}`, and `{third}` least.
        All operators group from left to right. Raise `ValueError` for anything that is not well formed, such as an empty
        text, a missing operand, unbalanced parentheses, two numbers without an operator, a sign before a number or another
        character.
        """,
        f"""
        import re

        LEVELS = ["{third}", "{second}", "{first}"]


        def evaluate(text):
            tokens = re.findall(r"[0-9]+|\\S", text)
            at = 0

            def peek():
                return tokens[at] if at < len(tokens) else ""

            def parse(level):
                nonlocal at
                if level == len(LEVELS):
                    token = peek()
                    at += 1
                    if token == "(":
                        inner = parse(0)
                        if peek() != ")":
                            raise ValueError("a parenthesis is missing")
                        at += 1
                        return inner
                    if not re.fullmatch("[0-9]+", token):
                        raise ValueError("an operand is missing")
                    return int(token)
                total = parse(level + 1)
                while peek() == LEVELS[level]:
                    at += 1
                    other = parse(level + 1)
                    sign = LEVELS[level]
                    total = total + other if sign == "+" else total - other if sign == "-" else total * other
                return total

            result = parse(0)
            if at != len(tokens):
                raise ValueError("something is left over")
            return result
        """,
        _calls("evaluate", [[text] for text in inputs]),
    )


@template("code", cases=2)
def windows(rng: random.Random, k: int) -> Draft:
    """The longest stretch with a bounded number of kinds, or the smallest with all of them."""
    texts = [
        "",
        "a",
        "aa",
        "ab",
        "abc",
        "aabbcc",
        "abcabc",
        "aaabaaa",
        "abaccc",
        "abcdabcd",
        "ccbba",
        "xyzzyx",
        "abacabadabacaba",
    ]
    texts += ["".join(rng.choice("abcd") for _ in range(rng.randint(3, 18))) for _ in range(14)]
    if k == 0:
        inputs = [[text, kinds] for text in texts for kinds in (1, 2)] + [
            ["abcabc", 3],
            ["aabb", 0],
            ["abcd", 9],
            ["", 0],
        ]
        return _draft(
            """
            Write a function `longest(text, kinds)` that returns the longest substring of `text` with at most `kinds` (0 or
            more) different characters. If several substrings are equally long, return the one that starts first.
            Example: `longest("abaccc", 2)` returns `"accc"`.
            """,
            """
            def longest(text, kinds):
                best = ""
                start = 0
                for end in range(len(text)):
                    while len(set(text[start:end + 1])) > kinds:
                        start += 1
                    if end + 1 - start > len(best):
                        best = text[start:end + 1]
                return best
            """,
            _calls("longest", inputs),
        )
    needs = ["a", "ab", "abc", "aa", "aab", "", "d"]
    inputs = [[text, need] for text in texts for need in rng.sample(needs, 3)]
    inputs += [["abcabc", "ca"], ["aaabbb", "aab"], ["bab", "ab"], ["xaxbxax", "aba"]]
    return _draft(
        """
        Write a function `cover(text, needed)` that returns the shortest substring of `text` that contains every character of
        `needed` at least as often as `needed` does, in any order. If several are equally short, return the one that starts
        last. If there is none, return `None`; if `needed` is empty, return `""`.
        Example: `cover("bab", "ab")` returns `"ab"`.
        """,
        """
        from collections import Counter


        def cover(text, needed):
            if not needed:
                return ""
            missing = Counter(needed)
            left = len(needed)
            best = None
            start = 0
            for end, letter in enumerate(text):
                if missing[letter] > 0:
                    left -= 1
                missing[letter] -= 1
                while left == 0:
                    if best is None or end + 1 - start <= len(best):
                        best = text[start:end + 1]
                    missing[text[start]] += 1
                    if missing[text[start]] > 0:
                        left += 1
                    start += 1
            return best
        """,
        _calls("cover", inputs),
    )
