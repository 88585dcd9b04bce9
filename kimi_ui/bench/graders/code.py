"""Graders of code. The sandbox returns what the answer's code computes; expected values and the comparison stay
here."""

from __future__ import annotations

import ast
import itertools
import math
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..sandbox import Sandbox
from ..sandbox.backends import CALLS, QUERIES, Frame, Outcome
from ..sandbox.box.calls import decode, encode
from .verdict import REFUSED, TIME_LIMIT, Verdict, right, unparsed, wrong

LEAST_S = 5.0
TIMES_REFERENCE = 20
SQL_STEPS = 20_000  # thousands of instructions of SQLite's virtual machine: seconds
MANY_COLUMNS = 6  # more are compared in the order given
_BLOCK = re.compile(
    r"^ {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^ {0,3}\1[`~]*[ \t]*$", re.DOTALL | re.MULTILINE
)
_REFUSALS = ("PermissionError", "MemoryError", "BlockingIOError")
_REFUSED_TEXTS = ("can't start new thread", "not-permitted", "does not support processes", "Operation not permitted")

GetSandbox = Callable[[], Sandbox]


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return [(language.lower(), body) for _, language, body in _BLOCK.findall(text)]


def python(text: str, gold: Mapping[str, Any], sandbox: GetSandbox) -> Verdict:
    """``gold``: ``source``, the reference, and ``calls`` with encoded arguments (``sandbox/box/calls.py``)."""
    calls: Sequence[Mapping[str, Any]] = gold["calls"]
    entry = calls[0]["entry"]
    code = _defining(text, entry)
    if code is None:
        return unparsed(f"No code block defines {entry}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return wrong(code, f"The code cannot be compiled: {error}.")
    box = sandbox()
    if box.backend is None:
        return Verdict(REFUSED, code[:200], box.sentence, sandbox=box.stamp)
    request: Frame = {"code": code, "calls": list(calls)}
    outcome = box.backend.run(CALLS, request, LEAST_S)
    if (
        outcome.end == "time_limit"
    ):  # perhaps this machine is slow, or busy: measure the reference now, and try once more
        started = time.monotonic()
        box.backend.run(CALLS, {**request, "code": gold["source"]}, 10 * LEAST_S)
        outcome = box.backend.run(CALLS, request, max(LEAST_S, TIMES_REFERENCE * (time.monotonic() - started)))
    return compared(code, calls, results(gold["source"], calls), outcome)._replace(sandbox=box.stamp)


def _defining(text: str, entry: str) -> str | None:
    """The last block that defines the entry, or the whole text if it is code without a fence."""
    pattern = re.compile(rf"^\s*(?:async\s+def|def|class)\s+{re.escape(entry)}\b|^{re.escape(entry)}\s*=", re.MULTILINE)
    found = [
        body for language, body in blocks(text) if language in ("", "python", "py", "python3") and pattern.search(body)
    ]
    if found:
        return found[-1]
    if not blocks(text) and pattern.search(text):
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        return text
    return None


def results(source: str, calls: Sequence[Mapping[str, Any]]) -> list[Frame]:
    """What our own reference gives for each call: ``value`` or ``error``, encoded as in the sandbox."""
    frames: list[Frame] = []
    scope: dict[str, Any] = {"__name__": "reference"}
    exec(compile(source, "<reference>", "exec"), scope)
    for call in calls:
        try:
            result = scope[call["entry"]](*decode(call["args"]))
            if "then" in call:
                result = [getattr(result, method)(*decode(arguments)) for method, arguments in call["then"]]
            frames.append({"value": encode(result)})
        except ValueError as error:
            frames.append({"error": type(error).__name__})
    return frames


def compared(code: str, calls: Sequence[Mapping[str, Any]], expected: Sequence[Frame], outcome: Outcome) -> Verdict:
    if outcome.defined is None or "error" in outcome.defined:
        return _failed(code, outcome, outcome.defined, "The code fails before any call")
    for i, (call, frame) in enumerate(zip(calls, expected, strict=True)):
        told = f"{call['entry']}({', '.join(repr(decode(argument)) for argument in call['args'])})"
        told = told if len(told) <= 80 else told[:79] + "…"
        got = outcome.results.get(i)
        if got is None or ("error" in got and frame.get("error") not in got.get("kinds", ())):
            return _failed(code, outcome, got, f"{told} fails")
        if "error" in frame:
            if "error" not in got:
                return wrong(code, f"{told} must raise {frame['error']}.")
        elif "value" not in got or not same(frame["value"], got["value"]):
            return wrong(code, f"{told} returns {_brief(got.get('value'))}, expected was {_brief(frame['value'])}.")
    return right(code, f"All {len(calls)} hidden inputs give the expected output.")


def _failed(code: str, outcome: Outcome, frame: Frame | None, what: str) -> Verdict:
    """The verdict where there is an error, or no result."""
    if frame is not None:
        said = f"{frame.get('error')}: {frame.get('text')}".strip(": ")
        refused = frame.get("error") in _REFUSALS or any(text in said for text in _REFUSED_TEXTS)
        if refused:
            return Verdict(REFUSED, code[:200], f"{what}: the sandbox refused it ({said}).")
        return wrong(code, f"{what}: {said}.")
    if outcome.end == "time_limit":
        return Verdict(TIME_LIMIT, code[:200], f"{what}: no result within the time limit.")
    if outcome.end == "output":
        return Verdict(REFUSED, code[:200], f"{what}: the results exceed 1 MB.")
    return wrong(code, f"{what}: the program ended without a result.")


def _brief(value: Any) -> str:
    try:
        text = repr(decode(value))
    except (TypeError, ValueError, KeyError):
        text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def same(expected: Any, got: Any) -> bool:
    """Whether two encoded values are equal: same types, but an integer may be a float; floats to 1e-9; sets in any
    order."""
    number = _number(expected)
    if number is not None:
        other = _number(got)
        if other is None:
            return False
        return number == other or math.isclose(number, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(same, expected, got))
    if isinstance(expected, dict):
        if not isinstance(got, dict) or set(expected) != set(got):
            return False
        tag = next(iter(expected))
        first, second = expected[tag], got[tag]
        if tag == "d" and isinstance(second, list):  # the order of the keys does not count
            first, second = sorted(first, key=repr), sorted(second, key=repr)
        if tag == "s" and isinstance(second, list):
            first, second = sorted(first, key=repr), sorted(second, key=repr)
        return same(first, second) if isinstance(first, list) else bool(first == second)
    return type(expected) is type(got) and bool(expected == got)


def _number(value: Any) -> float | int | None:
    if type(value) in (int, float):
        return value  # type: ignore[no-any-return]
    if isinstance(value, dict) and len(value) == 1:
        try:
            if "f" in value:
                return float(value["f"])
            if "i" in value:
                return int(value["i"], 16)
        except (TypeError, ValueError):
            return None
    return None


def sql(text: str, gold: Mapping[str, Any], sandbox: GetSandbox) -> Verdict:
    """``gold``: ``scripts`` that make the databases, the expected ``rows`` of each, and whether they are
    ``ordered``."""
    query = _query(text)
    if query is None:
        return unparsed("There is no SQL query in the answer.")
    box = sandbox()
    if box.backend is None:
        return Verdict(REFUSED, query[:200], box.sentence, sandbox=box.stamp)
    request = {"query": query, "scripts": gold["scripts"], "steps": SQL_STEPS}
    outcome = box.backend.run(QUERIES, request, 4 * LEAST_S)
    if outcome.end == "time_limit":  # the limit of steps should have come first, so the machine stalled
        outcome = box.backend.run(QUERIES, request, 4 * LEAST_S)
    return _rows_compared(query, gold, outcome)._replace(sandbox=box.stamp)


def _query(text: str) -> str | None:
    found = [body.strip() for language, body in blocks(text) if language in ("", "sql", "sqlite", "sqlite3")]
    found = [body for body in found if re.search(r"\bselect\b", body, re.IGNORECASE)]
    if found:
        return found[-1]
    bare = text.strip()
    return bare if re.match(r"(?:select|with)\b", bare, re.IGNORECASE) and not blocks(text) else None


def _rows_compared(query: str, gold: Mapping[str, Any], outcome: Outcome) -> Verdict:
    tables = []
    for i, rows in enumerate(gold["rows"]):
        frame = outcome.results.get(i)
        if frame is None or "error" in frame:
            return _query_failed(query, outcome, frame)
        tables.append(([tuple(row) for row in rows], [tuple(map(_cell, row)) for row in frame["rows"]]))
    width = max((len(row) for expected, _ in tables for row in expected), default=0)
    found = max((len(row) for _, rows in tables for row in rows), default=width)
    if found != width:
        return wrong(query, f"The query returns {found} columns, expected were {width}.")
    orders = itertools.permutations(range(width)) if width <= MANY_COLUMNS else [tuple(range(width))]
    key: Callable[[list[Any]], list[Any]] = (
        (lambda rows: rows) if gold["ordered"] else (lambda rows: sorted(rows, key=_sortable))
    )
    for order in orders:
        if all(
            _equal_rows(key(expected), key([tuple(row[c] for c in order) for row in rows])) for expected, rows in tables
        ):
            return right(query, f"It returns the expected rows on {len(tables)} hidden databases.")
    for i, (expected, rows) in enumerate(tables, 1):
        if not _equal_rows(key(expected), key(rows)):
            return wrong(query, f"On database {i} it returns {_rows(rows)}, expected was {_rows(expected)}.")
    return wrong(query, "The columns are in a different order on different databases.")


def _query_failed(query: str, outcome: Outcome, frame: Frame | None) -> Verdict:
    if frame is None:
        if outcome.end == "time_limit":
            return Verdict(TIME_LIMIT, query[:200], "The query has no result within the time limit.")
        return Verdict(REFUSED, query[:200], "The query returns too much, or ends the process.")
    if frame.get("refused"):
        return Verdict(REFUSED, query[:200], f"The query does more than read the tables ({frame.get('text')}).")
    if frame.get("text") == "interrupted":
        return Verdict(TIME_LIMIT, query[:200], "The query takes too many steps.")
    return wrong(query, f"The query fails: {frame.get('text')}.")


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["f"]) if "f" in value else bytes.fromhex(value["b"])
    return value


def _sortable(row: tuple[Any, ...]) -> list[tuple[str, Any]]:
    return [
        ("number", round(cell, 6))
        if isinstance(cell, int | float)
        else (type(cell).__name__, "" if cell is None else cell)
        for cell in row
    ]


def _equal_rows(expected: Sequence[Sequence[Any]], got: Sequence[Sequence[Any]]) -> bool:
    return len(expected) == len(got) and all(
        len(a) == len(b) and all(map(_equal_cells, a, b)) for a, b in zip(expected, got, strict=True)
    )


def _equal_cells(expected: Any, got: Any) -> bool:
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return expected == got or math.isclose(expected, got, rel_tol=1e-9, abs_tol=1e-9)
    return type(expected) is type(got) and bool(expected == got)


def _rows(rows: Sequence[Any]) -> str:
    text = ", ".join(map(str, rows)) or "no rows"
    return text if len(text) <= 80 else text[:79] + "…"
