"""A lane as a form: the fields of its class, read from the same declarations as the lanes file's keys.

A field holds text: of a text its characters, of one or several texts a line for each, of anything else its value as a
lanes file writes it (``8``, ``true``, ``{ max_tokens = 500 }``). An empty field is a key that is left out. Values are
checked where the file is read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .core.lane import LaneSpec
from .lanes_file import LaneMistake, write_value

TEXT, LINES, CHOICE, NUMBER, TABLE = "text", "lines", "choice", "number", "table"
_LONG = ("system",)  # texts of several lines
_ROW = re.compile(r"^\| `(\w+)` \| [^|]* \| (.+) \|$", re.MULTILINE)


class Field(NamedTuple):
    """``choices``: the values of a choice, as a lanes file writes them. ``needed``: it cannot be left out. ``default``:
    what is used if it is, empty where that depends. ``meaning``: the words of ``providers/README.md``."""

    key: str
    kind: str
    choices: tuple[str, ...]
    needed: bool
    is_long: bool
    default: str
    meaning: str


def fields_of(cls: type[LaneSpec]) -> list[Field]:
    """The fields of a lane of this class, in the order in which its file should have them."""
    hints, rules = get_type_hints(cls), get_type_hints(cls, include_extras=True)
    found = []
    for item in fields(cls):
        if item.name not in cls.file_keys():
            continue
        kind, choices = _kind(hints[item.name])
        default = item.default if item.default_factory is MISSING else item.default_factory()
        needed = default is MISSING or (default == "" and not _may_be_empty(rules[item.name]))
        shown = "" if default in (MISSING, None, "", {}) or item.name == "provider" else written(default)
        found.append(Field(item.name, kind, choices, needed, item.name in _LONG, shown, _meanings().get(item.name, "")))
    return found


def shown(values: Mapping[str, Any]) -> dict[str, str]:
    """A lane's keys as the fields hold them."""
    return {key: written(value) for key, value in values.items()}


def written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(map(written, value))
    return value if isinstance(value, str) else write_value(value)


def values_of(cls: type[LaneSpec], texts: Mapping[str, Any], lane: str) -> dict[str, Any]:
    """What fields hold, as values; None for an empty one. Raises ``LaneMistake``."""
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise _mistake(lane, key, f"{key} must be text.")
        if not text.strip():
            values[key] = None
        elif key not in hints or _kind(hints[key])[0] == TEXT:
            values[key] = text
        elif _kind(hints[key])[0] == LINES:
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            values[key] = lines[0] if len(lines) == 1 else lines
        else:
            values[key] = _parsed(lane, key, text, is_choice=_kind(hints[key])[0] == CHOICE)
    return values


def _parsed(lane: str, key: str, text: str, is_choice: bool) -> Any:
    if is_choice and re.fullmatch(r"[a-z_]+", text) and text not in ("true", "false"):
        return text  # a word needs no quotes here
    try:
        document = tomllib.loads(f"value = {text.strip()}")
    except (tomllib.TOMLDecodeError, RecursionError):
        document = {}
    if document.keys() != {"value"}:
        raise _mistake(lane, key, f"{key} is not written as TOML; write it like {_example(key)}.")
    return document["value"]


def _example(key: str) -> str:
    return {"price": "{ input = 0.66, output = 3.5, as_of = 2026-07-01 }", "limits": "{ total_s = 900 }"}.get(
        key, "{ max_tokens = 500 }"
    )


def _mistake(lane: str, key: str, problem: str) -> LaneMistake:
    return LaneMistake(problem, lane, key, problem)


def _kind(hint: Any) -> tuple[str, tuple[str, ...]]:
    """A field's kind by its type, and the choices it has."""
    alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [each for each in alternatives if each is not NoneType]
    if any(each is bool or get_origin(each) is Literal for each in kinds):
        return CHOICE, tuple(
            choice for each in kinds for choice in (("true", "false") if each is bool else map(str, get_args(each)))
        )
    if kinds == [str]:
        return TEXT, ()
    if kinds == [str, tuple[str, ...]]:
        return LINES, ()
    return (NUMBER if {int, float}.issuperset(kinds) else TABLE), ()


def _may_be_empty(annotated: Any) -> bool:
    """Whether a text may be empty."""
    try:
        TypeAdapter(annotated).validate_python("")
    except ValidationError:
        return False
    return True


@cache
def _meanings() -> dict[str, str]:
    """What each key means, by the table of keys that describes the lanes file."""
    text = (Path(__file__).parent / "providers" / "README.md").read_text(encoding="utf-8")
    return {key: re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", words) for key, words in _ROW.findall(text)}
