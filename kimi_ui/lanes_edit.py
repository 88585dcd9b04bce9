"""Changes of a lanes file's text, which keep everything else in it: comments, order, blank lines.

The text is cut into blocks, one for each ``[[lane]]`` and ``[[set]]`` with the comments above it, so that a lane that
moves or goes takes its comments along, and all other blocks keep their bytes. Inside a block tomlkit changes single
keys. The result is read by ``lanes_file`` like any file, so a mistake has the sentence that the file's reader has.

Pure: texts in, texts out. A change is a table, as the page sends it:

    {op: "set", lane, values}         keys of a lane; null removes a key
    {op: "add", values}               a new lane, at the end
    {op: "duplicate", lane}           a copy below it, with an id of its own
    {op: "remove", lane}              out of the set in use; without one, out of the file
    {op: "include", lane}             a lane of the file into the set in use
    {op: "move", lane, to}            to this place among the lanes in use, from 0
    {op: "use", set}                  the set in use; empty: all lanes
    {op: "save_set", set}             the lanes in use as a set of this name, which is then in use
    {op: "remove_set", set}           its lanes stay in the file
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tomlkit

from .config import ConfigError
from .lanes_file import LaneClasses, parse_file, write_table, write_value

_HEADER = re.compile(r"\s*\[\[\s*(lane|set)\s*\]\]")
UNKNOWN = "The page asks for a change that this version of Kimi UI does not know. Reload the page."

Explicit = Callable[[str], Mapping[str, Any]]
"""The keys of a shipped lane as it is served now, by its id. Raises ``ConfigError`` where it has none of its own."""


def edited(text: str, changes: Iterable[Mapping[str, Any]], classes: LaneClasses, name: str, explicit: Explicit) -> str:
    """The text with these changes, one after the other. Raises ``ConfigError`` for the first that cannot be made, or
    that makes a mistake; ``name`` is the file's in sentences."""
    for change in changes:
        text = _changed(_Draft.of(text, name), change, classes, explicit)
        parse_file(text, classes, name)
    return text


@dataclass
class _Block:
    """A ``[[lane]]`` or ``[[set]]``: ``above`` are the comments over it, ``below`` the blank lines under it."""

    kind: str
    above: str
    body: str
    below: str

    @property
    def table(self) -> dict[str, Any]:
        table: dict[str, Any] = tomllib.loads(self.body)[self.kind][0]
        return table

    @property
    def name(self) -> Any:
        return self.table.get("id" if self.kind == "lane" else "name")

    def put(self, values: Mapping[str, Any]) -> None:
        """Set keys, and remove those that are None; the others keep their line and its comment."""
        document = tomlkit.parse(self.body)
        table: Any = document[self.kind]
        _put(table[0], {**self.table, **values})
        self.body = document.as_string()


@dataclass
class _Draft:
    """A file's text in blocks; ``head`` is what stands before the first one."""

    name: str
    head: str
    blocks: list[_Block] = field(default_factory=list)

    @classmethod
    def of(cls, text: str, name: str) -> _Draft:
        """Raises ``ConfigError`` for a form that is valid TOML but not made of such blocks."""
        lines = text.splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
        starts = [_start(lines, headers[i], headers[i - 1] if i else -1) for i in range(len(headers))]
        draft = cls(name, "".join(lines[: starts[0]] if starts else lines))
        for start, header, end in zip(starts, headers, [*starts, len(lines)][1:], strict=False):
            match = _HEADER.match(lines[header])
            assert match
            body, below = _without_blank_end(lines[header:end])
            draft.blocks.append(_Block(match[1], "".join(lines[start:header]), body, below))
        try:
            document = tomllib.loads(text)
            whole = [[block.table for block in draft.blocks if block.kind == kind] for kind in ("lane", "set")]
            heads = tomllib.loads(draft.head)
        except (tomllib.TOMLDecodeError, KeyError):
            whole, heads = [], {}
        if whole != [document.get("lane", []), document.get("set", [])] or heads.keys() - {"use"}:
            raise ConfigError(
                f"{name} is written in a way that this page cannot change; change it in an editor, or write each lane "
                "under a line [[lane]]."
            )
        return draft

    @property
    def text(self) -> str:
        return self.head + "".join(block.above + block.body + block.below for block in self.blocks)

    @property
    def use(self) -> str:
        return str(tomllib.loads(self.head).get("use", ""))

    @use.setter
    def use(self, name: str) -> None:
        if name == self.use:
            return
        document = tomlkit.parse(self.head)
        if name and "use" in document:
            document["use"] = name
            self.head = document.as_string()
        elif name:
            line = f"use = {write_value(name)}  # the set in use; without this line, all lanes\n"
            self.head = f"{self.head.rstrip()}\n\n{line}\n".lstrip()
        else:
            document.remove("use")
            self.head = document.as_string()

    def named(self, kind: str, name: Any) -> _Block:
        for block in self.blocks:
            if block.kind == kind and block.name == name:
                return block
        raise ConfigError(f'There is no {kind} "{name}" in {self.name} any more; look again.')

    def of_kind(self, kind: str) -> list[_Block]:
        return [block for block in self.blocks if block.kind == kind]

    @property
    def in_use(self) -> list[str]:
        """The ids of the lanes in use, in order."""
        if self.use:
            return list(self.named("set", self.use).table["lanes"])
        return [str(block.name) for block in self.of_kind("lane")]

    def insert(self, place: int, block: _Block) -> None:
        """Put a block there, with a blank line before and after it."""
        self.blocks.insert(place, block)
        for each in self.blocks[max(place - 1, 0) : place + 1]:
            if each is not self.blocks[-1]:
                each.below = each.below or "\n"
        if place == 0 and self.head and not self.head.endswith("\n\n"):
            self.head += "\n"


def _start(lines: list[str], header: int, before: int) -> int:
    """Where the block of the header at ``header`` begins: with the comments above it that a blank line sets apart from
    what stands before. ``before``: the header before it, -1 if it is the first one."""
    start = header
    while start > before + 1 and (not lines[start - 1].strip() or lines[start - 1].lstrip().startswith("#")):
        start -= 1
    while start < header and lines[start].strip():  # directly below a key, or at the file's beginning: about that
        start += 1
    while start < header and not lines[start].strip():
        start += 1
    return start


def _without_blank_end(lines: list[str]) -> tuple[str, str]:
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return "".join(lines[:end]), "".join(lines[end:])


# -- the changes


def _changed(draft: _Draft, change: Mapping[str, Any], classes: LaneClasses, explicit: Explicit) -> str:
    match change:
        case {"op": "set", "lane": str(lane), "values": dict(values)}:
            _set(draft, lane, values, classes, explicit)
        case {"op": "add", "values": dict(values)}:
            body = write_table({key: value for key, value in values.items() if value is not None})
            _add(draft, _end_of_lanes(draft), _Block("lane", "", body, "\n"))
        case {"op": "duplicate", "lane": str(lane)}:
            _duplicate(draft, lane)
        case {"op": "remove", "lane": str(lane)}:
            _remove(draft, lane)
        case {"op": "include", "lane": str(lane)}:
            _list(draft, [*draft.in_use, lane])
        case {"op": "move", "lane": str(lane), "to": int(to)}:
            _move(draft, lane, to)
        case {"op": "use", "set": str(name)}:
            draft.use = name
        case {"op": "save_set", "set": str(name)}:
            _save_set(draft, name.strip())
        case {"op": "remove_set", "set": str(name)}:
            draft.blocks.remove(draft.named("set", name))
            draft.use = "" if draft.use == name else draft.use
        case _:
            raise ConfigError(UNKNOWN)
    return draft.text


def _set(draft: _Draft, lane: str, values: Mapping[str, Any], classes: LaneClasses, explicit: Explicit) -> None:
    block = draft.named("lane", lane)
    provider = block.table.get("provider", "")
    cls = classes.get(values.get("provider", provider))
    if cls and cls.is_shipped and values.keys() - cls.file_keys():
        block.body = write_table(explicit(lane))
        provider, cls = block.table["provider"], None
    old = block.table
    unfit = {key for key in old if cls and cls.provider != provider and key not in cls.file_keys()}
    if "model" in values and values["model"] != old.get("model"):
        unfit |= {"price", "tokenizer"}  # of the old model
    block.put({**dict.fromkeys(unfit), **values})
    new = values.get("id")
    if isinstance(new, str) and new != lane:
        for other in draft.of_kind("lane"):
            if other.table.get("of") == lane:
                other.put({"of": new})
        for one in draft.of_kind("set"):
            one.put({"lanes": [new if name == lane else name for name in one.table["lanes"]]})


def _add(draft: _Draft, place: int, block: _Block, at: int | None = None) -> None:
    """Insert a lane, and into the set in use too, there at ``at``; None: at its end."""
    draft.insert(place, block)
    if draft.use:
        lanes = draft.in_use
        lanes.insert(len(lanes) if at is None else at, str(block.name))
        _list(draft, lanes)


def _end_of_lanes(draft: _Draft) -> int:
    """Behind the last lane; sets come after it."""
    return max((place + 1 for place, block in enumerate(draft.blocks) if block.kind == "lane"), default=0)


def _duplicate(draft: _Draft, lane: str) -> None:
    block = draft.named("lane", lane)
    taken = {other.name for other in draft.of_kind("lane")}
    stem = re.sub(r"-\d+\Z", "", lane)[:36]
    number = next(n for n in range(2, 1000) if f"{stem}-{n}" not in taken)
    copy = _Block("lane", "", block.body, block.below)
    label = re.sub(r" \d+\Z", "", str(block.table.get("label", "")))
    copy.put({"id": f"{stem}-{number}"} | ({"label": f"{label} {number}"} if label else {}))
    _add(draft, draft.blocks.index(block) + 1, copy, draft.in_use.index(lane) + 1 if lane in draft.in_use else None)


def _remove(draft: _Draft, lane: str) -> None:
    if draft.use:
        _list(draft, [name for name in draft.in_use if name != lane])
        return
    draft.blocks.remove(draft.named("lane", lane))
    for one in draft.of_kind("set"):
        if lane in one.table["lanes"]:
            one.put({"lanes": [name for name in one.table["lanes"] if name != lane]})


def _move(draft: _Draft, lane: str, to: int) -> None:
    others = [name for name in draft.in_use if name != lane]
    to = max(0, min(to, len(others)))
    if draft.use:
        _list(draft, [*others[:to], lane, *others[to:]])
        return
    block = draft.named("lane", lane)
    draft.blocks.remove(block)
    place = draft.blocks.index(draft.named("lane", others[to])) if to < len(others) else _end_of_lanes(draft)
    draft.insert(place, block)


def _list(draft: _Draft, lanes: list[str]) -> None:
    """Make these the lanes of the set in use."""
    draft.named("set", draft.use).put({"lanes": lanes})


def _save_set(draft: _Draft, name: str) -> None:
    lanes = draft.in_use
    if any(block.name == name for block in draft.of_kind("set")):
        draft.named("set", name).put({"lanes": lanes})
    else:
        body = f"[[set]]\nname = {write_value(name)}\nlanes = {write_value(lanes)}\n"
        draft.insert(len(draft.blocks), _Block("set", "", body, ""))
    draft.use = name


# -- one key


def _put(table: Any, wanted: Mapping[str, Any]) -> None:
    """Make a tomlkit table equal to ``wanted``, without None; what is equal already is not touched."""
    for key, value in wanted.items():
        if value is None:
            table.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(table.get(key), Mapping):
            _put(table[key], {**dict.fromkeys(table[key]), **value})
        elif isinstance(value, list) and key in table and "\n" in table[key].as_string():
            _put_list(table[key], value)
        elif key not in table or table[key] != value or isinstance(table[key], bool) != isinstance(value, bool):
            table[key] = _item(value)


def _put_list(array: Any, wanted: list[Any]) -> None:
    """Make a tomlkit array over several lines equal to ``wanted``; entries that stay keep their line and comment."""
    for place in reversed(range(len(array))):
        if array[place] not in wanted:
            del array[place]
    for place, value in enumerate(wanted):
        if place == len(array) or array[place] != value:
            array.insert(place, value)
    del array[len(wanted) :]


def _item(value: Any) -> Any:
    """A value as a person would write it: tables on one line, long texts on several."""
    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        for key, inner in value.items():
            if inner is not None:
                inline[key] = _item(inner)
        return inline
    if isinstance(value, str) and "\n" in value and '"""' not in value and "\\" not in value:
        return tomlkit.string(value, multiline=True)
    return tomlkit.item(value)
