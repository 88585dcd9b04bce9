"""The lanes file: TOML to ``LaneSpec`` values and back, every mistake named in a sentence with place and remedy.

The format is the README's "Lanes file". A value that could be a key is never repeated in an error message. Checks are
of form only: whether a server answers or a model exists is found out by ``doctor``.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from .core.lane import PROVIDERS, LaneSpec, Limits, Price

MAX_LANES = 6
MAX_WIDTH = 32
MOST_LEVELS = 50  # of tables and lists in each other: a JSON schema has fewer, and a program's stack has an end
MOST = 1e12  # of any number: what is larger is a slip, and may be too large for a float

_COMMON = ("id", "label", "provider", "limits", "system", "send_reasoning")
_MODEL = ("params", "extra_body", "price", "tokenizer")
KEYS = {
    "openai": (*_COMMON, *_MODEL, "model", "base_url", "api_key_env"),
    "ollama": (*_COMMON, *_MODEL, "model", "base_url", "api_key_env", "num_ctx", "keep_alive", "think"),
    "embedded": (*_COMMON, "params", "extra_body", "think"),
    "heavy": (*_COMMON, "params", "of", "width", "quorum"),
}
"""The keys a ``[[lane]]`` table may have, by provider."""

_NOT_PARAMS = (
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
)  # the request is built from these by the app itself
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_OLLAMA_LEVELS = ("low", "medium", "high", "max")


class ConfigError(Exception):
    """A mistake of configuration: one sentence that says where it is and what to do about it."""


def read_lanes_file(path: str | Path) -> list[LaneSpec]:
    """The lanes of a TOML file, in its order. Raises ``ConfigError``, one sentence, for the first mistake found."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no lanes file at {path}; check the path given by --lanes or KIMI_UI_LANES."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The lanes file {path} cannot be read ({error}); it must be a UTF-8 text file.") from None
    return parse_lanes(text, path.name)


def parse_lanes(text: str, name: str = "lanes.toml") -> list[LaneSpec]:
    """``read_lanes_file`` for text already read; ``name`` is what errors call the file."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {_lower_first(str(error))}; correct that line.") from None
    except RecursionError:
        raise ConfigError(f"{name} nests tables or lists too deeply; flatten it.") from None
    tables = document.pop("lane", [])
    if isinstance(tables, dict):
        line = _line(text, r"\[lane\]")
        raise ConfigError(f"{name} line {line}: each lane starts with [[lane]] in double brackets.")
    if document:
        key = next(iter(document))
        line = _line(text, rf"\[*\s*{re.escape(key)}\b")
        raise ConfigError(f"{name} line {line}: unknown table or key {key!r}; put everything under [[lane]] tables.")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{name}: lanes are tables; start each one with [[lane]].")
    if not 1 <= len(tables) <= MAX_LANES:
        raise ConfigError(f"{name} has {len(tables)} lanes; give 1 to {MAX_LANES} [[lane]] tables.")
    places = [_Place(name, text, index, table) for index, table in enumerate(tables)]
    specs = [_lane(place) for place in places]
    _check_together(specs, places)
    return specs


@dataclass(frozen=True)
class _Place:
    """One ``[[lane]]`` table and where it stands, so that a mistake can be named with its line."""

    name: str
    text: str
    index: int
    table: Mapping[str, Any]

    def fail(self, problem: str, key: str = "") -> NoReturn:
        """Raise ``ConfigError`` for this table, with the line of ``key`` if it can be found there."""
        lane = self.table.get("id")
        title = f'lane "{lane}"' if isinstance(lane, str) and _ID.fullmatch(lane) else f"lane {self.index + 1}"
        raise ConfigError(f"{self.name} line {self._line_of(key)}, {title}: {problem}")

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

    def string(self, key: str, required_for: str = "") -> str:
        value = self.table.get(key, "")
        if not isinstance(value, str):
            self.fail(f'{key} must be text in quotes, like {key} = "…".', key)
        if required_for and not value.strip():
            self.fail(f'{required_for} needs {key} = "…".', key)
        return value.strip()

    def whole(self, key: str, low: int, high: int, default: int) -> int:
        value = self.table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(f"{key} must be a whole number from {low} to {high}.", key)
        return value

    def boolean(self, key: str) -> bool:
        value = self.table.get(key, False)
        if not isinstance(value, bool):
            self.fail(f"{key} must be true or false.", key)
        return value

    def subtable(self, key: str, allowed: Iterable[str] = ()) -> dict[str, Any]:
        """A table inside the lane; with ``allowed``, any other key in it is a mistake."""
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            self.fail(f"{key} must be a table, like {key} = {{ … }}.", key)
        for inner in value:
            if allowed and inner not in allowed:
                self.fail(f"unknown key {inner!r} in {key}; {_nearest(inner, allowed)}.", inner)
        return value


def _lane(place: _Place) -> LaneSpec:
    provider = place.string("provider", required_for="every lane")
    if provider not in PROVIDERS:
        place.fail(f"unknown provider; {_nearest(provider, PROVIDERS)}.", "provider")
    _check_keys(place, provider)
    lane_id = place.string("id", required_for="every lane")
    if not _ID.fullmatch(lane_id):
        place.fail("id must be 1 to 40 letters, digits, '.', '_' or '-', starting with a letter or digit.", "id")
    has_model = provider in ("openai", "ollama")
    width = place.whole("width", 2, MAX_WIDTH, 8)
    return LaneSpec(
        id=lane_id,
        label=place.string("label") or lane_id,
        provider=provider,
        model=place.string("model", required_for=f"an {provider} lane" if has_model else ""),
        base_url=_base_url(place, provider),
        api_key_env=_variable(place),
        params=_params(place, "params"),
        extra_body=_params(place, "extra_body"),
        price=_price(place),
        limits=_limits(place),
        of=place.string("of", required_for="a heavy lane" if provider == "heavy" else ""),
        width=width,
        quorum=place.whole("quorum", 1, width, max(1, width * 3 // 4)),
        num_ctx=place.whole("num_ctx", 256, 10_000_000, 4096) if "num_ctx" in place.table else None,
        keep_alive=place.string("keep_alive"),
        think=_think(place, provider),
        tokenizer=_tokenizer(place),
        system=place.string("system"),
        send_reasoning=place.boolean("send_reasoning"),
    )


def _check_keys(place: _Place, provider: str) -> None:
    for key in place.table:
        if key in KEYS[provider]:
            continue
        if key in ("api_key", "key", "token", "apikey"):
            place.fail(
                f'keys do not belong in this file; put it in .env and write api_key_env = "ITS_NAME" instead of {key}.',
                key,
            )
        owners = [other for other in PROVIDERS if key in KEYS[other]]
        if owners:
            place.fail(f"{key} belongs to {' and '.join(owners)} lanes, not to {provider}; remove it.", key)
        place.fail(f"unknown key {key!r}; {_nearest(key, KEYS[provider])}.", key)


def _base_url(place: _Place, provider: str) -> str:
    url = place.string("base_url", required_for="an openai lane" if provider == "openai" else "")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError:
        place.fail("base_url is not a URL; write it like https://host/v1.", "base_url")
    if parts.scheme not in ("http", "https") or not has_host:
        place.fail("base_url must start with http:// or https:// and name a host.", "base_url")
    if parts.username is not None or parts.password is not None:
        place.fail("base_url must not contain a user name or password; use api_key_env for the key.", "base_url")
    if "?" in url or "#" in url:
        place.fail("base_url must end with the path, without '?' or '#'.", "base_url")
    if not url.isprintable() or " " in url:
        place.fail("base_url must not hold blanks or line ends.", "base_url")
    return url.rstrip("/")


def _variable(place: _Place) -> str:
    name = place.string("api_key_env")
    if name and not _VARIABLE.fullmatch(name):
        place.fail(
            "api_key_env is the name of a variable in capitals (like CHUTES_API_KEY), never the key itself; "
            "put the key in .env under that name.",
            "api_key_env",
        )
    return name


def _params(place: _Place, key: str) -> dict[str, Any]:
    params = place.subtable(key)
    for inner in params:
        if inner in _NOT_PARAMS:
            place.fail(f"{inner} cannot be set in {key}, the app sends it itself; remove it.", inner)
    if _is_deeper(params, MOST_LEVELS):
        place.fail(f"{key} is nested more than {MOST_LEVELS} levels deep; flatten it.", key)
    try:
        json.dumps(params, allow_nan=False)
    except (TypeError, ValueError):
        place.fail(
            f"{key} holds a value JSON cannot carry (a date, nan or inf); use numbers, text, lists and tables.", key
        )
    return params


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _price(place: _Place) -> Price | None:
    if "price" not in place.table:
        return None
    table = place.subtable("price", ("input", "cached_input", "output", "as_of"))
    for key in ("input", "output"):
        if key not in table:
            place.fail(f"price needs {key} = …, in USD per million tokens.", "price")
    for key in ("input", "cached_input", "output"):
        _number(place, table, key, minimum=0, unit="USD per million tokens")
    cached = table.get("cached_input")
    return Price(
        input=float(table["input"]),
        output=float(table["output"]),
        cached_input=None if cached is None else float(cached),
        as_of=_day(place, table.get("as_of", "")),
    )


def _day(place: _Place, value: Any) -> str:
    """A date, or the text of one, as text."""
    text = value.isoformat()[:10] if isinstance(value, date) else value
    try:
        if text == "" or date.fromisoformat(text).isoformat() == text:  # fromisoformat reads weeks, too
            return str(text)
    except (TypeError, ValueError):
        pass
    place.fail("price's as_of must be a date like 2026-07-01.", "as_of")


def _limits(place: _Place) -> Limits:
    names = tuple(item.name for item in fields(Limits))
    table = place.subtable("limits", names)
    for key in names:
        _number(place, table, key, minimum=0.001, unit="seconds above 0")
    return Limits(**{key: float(value) for key, value in table.items()})


def _number(place: _Place, table: Mapping[str, Any], key: str, minimum: float, unit: str) -> None:
    if key not in table:
        return
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= MOST:
        place.fail(f"{key} must be a number of {unit}, not negative.", key)


def _think(place: _Place, provider: str) -> bool | str | None:
    value = place.table.get("think")
    if value is None or isinstance(value, bool) or (provider == "ollama" and value in _OLLAMA_LEVELS):
        return value
    levels = f" or one of {', '.join(_OLLAMA_LEVELS)}" if provider == "ollama" else ""
    place.fail(f"think must be true, false{levels}.", "think")


def _tokenizer(place: _Place) -> str:
    text = place.string("tokenizer")
    if not text:
        return ""
    try:
        path = Path(text).expanduser()
        is_there = path.is_file()
    except (RuntimeError, ValueError):  # ~somebody who has no home
        is_there = False
    if not is_there:
        place.fail(
            "tokenizer names a file that does not exist; give the path of the model's tiktoken.model.", "tokenizer"
        )
    return str(path)


def _check_together(specs: list[LaneSpec], places: list[_Place]) -> None:
    """Mistakes that only show between lanes: ids used twice, heavy made of what it cannot be made of."""
    by_id: dict[str, LaneSpec] = {}
    for spec, place in zip(specs, places, strict=True):
        if spec.id in by_id:
            place.fail(f'the id "{spec.id}" is used twice; give each lane its own.', "id")
        by_id[spec.id] = spec
    for spec, place in zip(specs, places, strict=True):
        if spec.provider != "heavy":
            continue
        others = [other.id for other in specs if other.provider != "heavy"]
        if spec.of not in by_id:
            hint = _nearest(spec.of, others) if others else "add the lane it is to be made of"
            place.fail(f"of names a lane that is not in this file; {hint}.", "of")
        if by_id[spec.of].provider == "heavy":
            place.fail("of must name a lane that is not heavy itself.", "of")


def _nearest(word: str, choices: Iterable[str]) -> str:
    """A remedy: the nearest valid word if one is near, otherwise all of them."""
    choices = list(choices)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"' if near else f"use one of {', '.join(choices)}"


def _line(text: str, pattern: str) -> int:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*{pattern}", line):
            return number
    return 1


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def write_lanes(specs: Iterable[LaneSpec]) -> str:
    """The text of a lanes file with these lanes; ``parse_lanes`` reads it back into the same ones.

    What a stand-in stands in for is not written: a lanes file names what really answers.
    """
    return "\n".join(_table(spec) for spec in specs)


def _table(spec: LaneSpec) -> str:
    values: dict[str, Any] = {}
    for item in fields(LaneSpec):
        value = getattr(spec, item.name)
        is_default = item.default == value or (item.default_factory is not MISSING and item.default_factory() == value)
        if item.name in KEYS[spec.provider] and (not is_default or item.name in ("width", "quorum")):
            values[item.name] = value
    values.pop("limits", None)
    if spec.price and "price" in values:
        values["price"] = {key: value for key, value in asdict(spec.price).items() if value not in (None, "")}
    lines = ["[[lane]]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    if spec.limits != Limits():
        lines += ["[lane.limits]", *(f"{key} = {_toml(value)}" for key, value in asdict(spec.limits).items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value as TOML writes it; JSON's strings are TOML's, but for the one control character JSON leaves as it is."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            return "{ " + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            return repr(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)
