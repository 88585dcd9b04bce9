"""The lanes file: TOML to lanes and back. Every mistake is reported in one sentence with its line and the remedy.

``providers/README.md`` describes the format. The fields of ``core.lane.LaneSpec`` and its subclasses declare all keys
and their values; the caller passes these classes by provider name, and the key ``provider`` selects one. pydantic
applies the declarations, and this module words the errors. An error message never repeats a value that could be an API
key. Only the form is checked; ``doctor`` checks whether a server answers and a model exists.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from .config import ConfigError
from .core.lane import LaneSpec

MAX_LANES = 6  # in use
MOST_IN_FILE = 40
MOST_SET_NAME = 40  # characters
_SET_HEADER = r"\[\[\s*set\s*\]\]"

LaneClasses = Mapping[str, type[LaneSpec]]
"""The class of a provider's lanes, by the provider's name."""


class LaneMistake(ConfigError):
    """A mistake in a lane: its id or "", the key if it is known, and the sentence without its place in the file."""

    def __init__(self, words: str, lane: str, key: str, problem: str) -> None:
        super().__init__(words)
        self.lane = lane
        self.key = key
        self.problem = problem


@dataclass(frozen=True)
class LanesFile:
    """What a lanes file says. ``sets``: the ids of each set's lanes, by its name; ``use``: the set in use, empty: all
    lanes."""

    lanes: tuple[LaneSpec, ...]
    sets: Mapping[str, tuple[str, ...]]
    use: str

    @property
    def in_use(self) -> list[LaneSpec]:
        """The lanes in use, in the order of the page."""
        by_id = {spec.id: spec for spec in self.lanes}
        return [by_id[lane] for lane in self.sets[self.use]] if self.use else [*self.lanes]


# -- reading


def read_lanes_file(path: str | Path, classes: LaneClasses) -> list[LaneSpec]:
    """The lanes in use of a TOML file. Raises ``ConfigError``, one sentence, for the first mistake found."""
    path = Path(path)
    return parse_lanes(read_text(path), classes, path.name)


def read_text(path: Path) -> str:
    """The text of a lanes file. Raises ``ConfigError``."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no lanes file at {path}; check the path given by --lanes or KIMI_UI_LANES."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The lanes file {path} cannot be read ({error}); it must be a UTF-8 text file.") from None


def parse_lanes(text: str, classes: LaneClasses, name: str = "lanes.toml") -> list[LaneSpec]:
    """``read_lanes_file`` for text that is already read; ``name`` is the file's name in errors."""
    return parse_file(text, classes, name).in_use


def parse_file(text: str, classes: LaneClasses, name: str = "lanes.toml") -> LanesFile:
    """All that a lanes file's text says. Raises ``ConfigError`` for the first mistake found."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {_lower_first(str(error))}; correct that line.") from None
    except RecursionError:
        raise ConfigError(f"{name} nests tables or lists too deeply; flatten it.") from None
    tables, sets, use = document.pop("lane", []), document.pop("set", []), document.pop("use", "")
    if isinstance(tables, dict):
        line = _line(text, r"\[lane\]")
        raise ConfigError(f"{name} line {line}: each lane starts with [[lane]] in double brackets.")
    if document:
        key = next(iter(document))
        line = _line(text, rf"\[*\s*{re.escape(key)}\b")
        raise ConfigError(f"{name} line {line}: unknown table or key {key!r}; put everything under [[lane]] tables.")
    if not isinstance(use, str):
        raise ConfigError(f"{name} line {_line(text, 'use')}: use must be the name of a set in quotes.")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{name}: lanes are tables; start each one with [[lane]].")
    most = MOST_IN_FILE if use else MAX_LANES
    if not 1 <= len(tables) <= most:
        rest = "" if use else f", or up to {MOST_IN_FILE} and the name of a set of them in use"
        raise ConfigError(f"{name} has {len(tables)} lanes; give 1 to {most} [[lane]] tables{rest}.")
    places = [_Place(name, text, index, table) for index, table in enumerate(tables)]
    specs = [_lane(place, classes) for place in places]
    _check_together(specs, places)
    return LanesFile(tuple(specs), _sets(text, name, sets, use, specs), use)


def _sets(text: str, name: str, tables: Any, use: str, specs: Sequence[LaneSpec]) -> dict[str, tuple[str, ...]]:
    """The lanes' ids of each set; ``use`` must be one of them, or empty."""
    of = {spec.id: spec.of for spec in specs}
    sets: dict[str, tuple[str, ...]] = {}
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{name} line {_line(text, '.*set')}: sets are tables; start each one with [[set]].")
    for index, table in enumerate(tables):
        title, lanes = table.get("name"), table.get("lanes")
        place = f"{name} line {_line(text, _SET_HEADER, index)}, "
        if not isinstance(title, str) or not 0 < len(title.strip()) <= MOST_SET_NAME or not title.isprintable():
            raise ConfigError(f"{place}set {index + 1}: name must be text of 1 to {MOST_SET_NAME} characters.")
        place += f'set "{title}": '
        if unknown := table.keys() - {"name", "lanes"}:
            raise ConfigError(f"{place}unknown key {min(unknown)!r}; a set has a name and lanes.")
        if title in sets:
            raise ConfigError(f"{place}the name is used twice; give each set its own.")
        if not (isinstance(lanes, list) and 1 <= len(lanes) <= MAX_LANES and all(isinstance(x, str) for x in lanes)):
            raise ConfigError(f"{place}lanes must be a list of 1 to {MAX_LANES} ids of lanes.")
        if wrong := [lane for lane in lanes if lane not in of]:
            raise ConfigError(f'{place}no lane has the id "{wrong[0]}"; {_nearest(wrong[0], of)}.')
        if len(set(lanes)) < len(lanes):
            raise ConfigError(f"{place}a lane is in it twice; name each once.")
        if wrong := [lane for lane in lanes if of[lane] and of[lane] not in lanes]:
            raise ConfigError(f'{place}{wrong[0]} is made of {of[wrong[0]]}, which is not in it; add "{of[wrong[0]]}".')
        sets[title] = tuple(lanes)
    if use and use not in sets:
        remedy = _nearest(use, sets) if sets else "add it as a [[set]] table, or remove use"
        line = _line(text, "use")
        raise ConfigError(f'{name} line {line}: there is no set "{use}"; {remedy}.')
    return sets


@dataclass(frozen=True)
class _Place:
    """One ``[[lane]]`` table and its lines, to report a mistake with its line."""

    name: str
    text: str
    index: int
    table: Mapping[str, Any]

    def fail(self, problem: str, key: str = "") -> NoReturn:
        """Raise ``ConfigError`` for this table, with the line of ``key`` if it is found."""
        lane = self.table.get("id")
        titled = isinstance(lane, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,40}", lane)
        title = f'lane "{lane}"' if titled else f"lane {self.index + 1}"
        words = f"{self.name} line {self._line_of(key)}, {title}: {problem}"
        raise LaneMistake(words, str(lane) if titled else "", key, problem)

    def _line_of(self, key: str) -> int:
        lines = self.text.splitlines()
        headers = [number for number, line in enumerate(lines, 1) if re.match(r"\s*\[\[\s*lane\s*\]\]", line)]
        if self.index >= len(headers):
            return 1
        start = headers[self.index]
        end = headers[self.index + 1] - 1 if self.index + 1 < len(headers) else len(lines)
        for number in range(start, end + 1):
            if key and re.search(rf"(^|[\s{{,.\[])[\"']?{re.escape(key)}[\"']?\s*(=|\])", lines[number - 1]):
                return number
        return start


def _lane(place: _Place, classes: LaneClasses) -> LaneSpec:
    name = place.table.get("provider", "")
    if not isinstance(name, str):
        place.fail(f"provider {_TYPES['string_type'].format(key='provider')}.", "provider")
    if not name.strip():
        place.fail('every lane needs provider = "…".', "provider")
    cls = classes.get(name.strip())
    if cls is None:
        place.fail(f"unknown provider; {_nearest(name, classes)}.", "provider")
    for key in place.table:
        if key not in cls.file_keys():
            place.fail(_unknown(key, cls, classes), key)
    try:
        spec = TypeAdapter(cls).validate_python(place.table)
    except ValidationError as error:
        place.fail(*_explained(error.errors(include_url=False), cls, place.table))
    return _with_tokenizer(spec, place)


def _unknown(key: str, cls: type[LaneSpec], classes: LaneClasses) -> str:
    if key in ("api_key", "key", "token", "apikey"):
        return f'keys do not belong in this file; put it in .env and write api_key_env = "ITS_NAME" instead of {key}.'
    owners = [name for name, other in classes.items() if key in other.file_keys()]
    if owners:
        return f"{key} belongs to {' and '.join(owners)} lanes, not to {cls.provider}; remove it."
    return f"unknown key {key!r}; {_nearest(key, cls.file_keys())}."


_TYPES = {
    "string_type": 'must be text in quotes, like {key} = "…"',
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be a table, like {key} = {{ … }}",
    "mapping_type": "must be a table, like {key} = {{ … }}",
    "dataclass_type": "must be a table, like {key} = {{ … }}",
}
"""Sentences for pydantic's errors about a value's type."""


def _explained(errors: Sequence[ErrorDetails], cls: type[LaneSpec], table: Mapping[str, Any]) -> tuple[str, str]:
    """A sentence for the first mistake, and the key that locates its line."""
    # A misspelt key comes first, because it explains a missing one.
    first = min(errors, key=lambda error: error["type"] != "unexpected_keyword_argument")
    path = _path(first["loc"], table)
    at = getattr(first.get("ctx", {}).get("error"), "at", "")  # set by core.lane.Misplaced
    key = path[-1] if path else at
    match first["type"]:
        case "missing" | "string_too_short" if len(path) == 1:
            article = "an" if cls.provider[:1] in "aeiou" else "a"
            who = "every lane" if key in _REQUIRED else f"{article} {cls.provider} lane"
            return f'{who} needs {key} = "…".', key
        case "missing":
            return f"{path[0]} needs {key} = …; add it.", path[0]
        case "unexpected_keyword_argument":
            return f"unknown key {key!r} in {path[0]}; {_nearest(key, _keys_inside(cls, path[0]))}.", key
    alternatives = [error for error in errors if _path(error["loc"], table) == path]
    words = dict.fromkeys(_words(error, key) for error in alternatives)  # pydantic has one error per type of a union
    return f"{key} {' or '.join(words).replace(' or must be ', ' or ')}.", at or key


_REQUIRED = {item.name for item in fields(LaneSpec) if item.default is item.default_factory is MISSING}


def _path(loc: Sequence[int | str], table: Mapping[str, Any]) -> list[str]:
    """The keys of ``loc``, from the lane's table inwards, without the union branches that pydantic adds."""
    value: Any = table
    path = []
    for part in loc:
        if not isinstance(value, Mapping):
            break
        path.append(str(part))
        value = value.get(part)
    return path


def _keys_inside(cls: type[LaneSpec], key: str) -> list[str]:
    hint = get_type_hints(cls)[key]
    return [item.name for kind in (hint, *get_args(hint)) if is_dataclass(kind) for item in fields(kind)]


def _words(error: ErrorDetails, key: str) -> str:
    """What is wrong with a value, as the end of a sentence that begins with its key."""
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be one of {str(context['expected']).replace(chr(39), '')}"
        case known if known in _TYPES:
            return _TYPES[known].format(key=key)
    return f"is wrong: {_lower_first(error['msg'])}"


def _with_tokenizer(spec: LaneSpec, place: _Place) -> LaneSpec:
    """The lane with an absolute path of its vocabulary file."""
    if not spec.tokenizer:
        return spec
    try:
        path = Path(spec.tokenizer).expanduser()
        is_there = path.is_file()
    except (RuntimeError, ValueError):  # an unknown user in "~user"
        is_there = False
    if not is_there:
        place.fail(
            "tokenizer names a file that does not exist; give the path of the model's tiktoken.model.", "tokenizer"
        )
    return replace(spec, tokenizer=str(path))


def _check_together(specs: list[LaneSpec], places: list[_Place]) -> None:
    """Check across lanes: duplicate ids, and ``of`` naming a lane that cannot be used."""
    by_id: dict[str, LaneSpec] = {}
    for spec, place in zip(specs, places, strict=True):
        if spec.id in by_id:
            place.fail(f'the id "{spec.id}" is used twice; give each lane its own.', "id")
        by_id[spec.id] = spec
    for spec, place in zip(specs, places, strict=True):
        if not spec.of:
            continue
        others = [other.id for other in specs if not other.of]
        if spec.of not in by_id:
            hint = _nearest(spec.of, others) if others else "add the lane it is built from"
            place.fail(f"of names a lane that is not in this file; {hint}.", "of")
        if by_id[spec.of].of:
            place.fail(f"of must name a lane that is not {by_id[spec.of].provider} itself.", "of")


def _nearest(word: str, choices: Iterable[str]) -> str:
    """A remedy: the most similar valid word if there is one, otherwise all of them."""
    choices = list(choices)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"' if near else f"use one of {', '.join(choices)}"


def _line(text: str, pattern: str, n: int = 0) -> int:
    """The line of the match number ``n``, from 0; 1 if there is none."""
    found = (number for number, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*{pattern}", line))
    return next(itertools.islice(found, n, None), 1)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


# -- writing


def write_lanes(specs: Iterable[LaneSpec]) -> str:
    """The text of a lanes file with these lanes; ``parse_lanes`` reads the same lanes back.

    ``stand_in_for`` is not written: a lanes file names the model that really answers.
    """
    return "\n".join(write_table(table_of(spec)) for spec in specs)


def table_of(spec: LaneSpec) -> dict[str, Any]:
    """A lane's keys in a lanes file: those that differ from the defaults, and all of its provider's own."""
    own = type(spec).__annotations__
    return {
        item.name: value
        for item in fields(spec)
        if item.name in spec.file_keys() and (value := getattr(spec, item.name)) not in (None, "")
        if item.name in own or not _is_default(item, value)
    }


def write_table(values: Mapping[str, Any]) -> str:
    """A lane's keys as TOML."""
    return "\n".join(["[[lane]]", *(f"{key} = {write_value(value)}" for key, value in values.items())]) + "\n"


def _is_default(item: Field[Any], value: Any) -> bool:
    default = item.default if item.default_factory is MISSING else item.default_factory()
    return bool(value == default)


def write_value(value: Any) -> str:
    """A value in TOML. JSON strings are valid TOML, except for the one control character that JSON does not escape."""
    if is_dataclass(value):
        value = {item.name: inner for item in fields(value) if (inner := getattr(value, item.name)) not in (None, "")}
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            return "{ " + ", ".join(f"{_key(key)} = {write_value(inner)}" for key, inner in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(write_value, value)) + "]"
        case _:
            return repr(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else write_value(name)
