"""Turns as one portable JSON document with every event and its stamp; it can be imported again.

    {"format": "kimi-ui", "version": 1, "title": "…", "reasoning": true,
     "turns": [{"turn_id", "conversation_id", "seq", "prompt", "system", "kind", "started_at_utc", "forked_from",
                "forked_at", "basis", "images": [{name, media_type, width, height, "data": <base64>, …}],
                "lanes": [{id, label, provider, model, …}],
                "attempts": ["<attempt id>", …],
                "metrics": {"<attempt id>": {"ttft_ms": …}},
                "events": [[<number of the lane>, <number of the attempt, -1: none>, t_ns, code, fields…], …]}]}

An event is encoded by ``core.events.encode``; ``t_ns`` counts from the moment its attempt was sent. ``metrics`` are for
other readers; an import computes them again. Data of one machine or person is omitted: the owner, user info in a base
URL, the path of a vocabulary. If ``reasoning`` is false, the text of the reasoning is omitted but every stamp is kept.
Pure: the caller reads and writes the file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit, urlunsplit

from .attachments import clean_name
from .attempt import Attempt
from .events import Answer, Entry, Event, Opened, Promoted, Reasoning, Relabel, decode, encode
from .images import Image, image_of
from .metrics import measure_turn
from .tokens import CounterFor, count_text
from .turn import LaneInfo, TurnLog

FORMAT = "kimi-ui"
VERSION = 1
_PLACE = ("turn_id", "conversation_id", "seq", "prompt", "system", "kind", "started_at_utc", "forked_from", "forked_at")


class NotAnExport(ValueError):
    """The document cannot be imported; the message is one sentence with the reason."""


def export_turns(
    turns: Sequence[TurnLog], title: str, counter: CounterFor, *, reasoning: bool = True
) -> dict[str, Any]:
    """The document of these turns, JSON-ready except for lone surrogates, which are kept."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "title": title,
        "reasoning": reasoning,
        "turns": [_export_turn(turn, counter, reasoning) for turn in turns],
    }


def read_document(data: bytes) -> Any:
    """The JSON of a file, whatever it holds. Raises ``NotAnExport``."""
    try:
        return json.loads(data)
    except UnicodeDecodeError:
        raise NotAnExport("This is not a JSON file: it is not text in UTF-8.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotAnExport(f"This is not a JSON file, or a part of it is missing ({place}).") from None
    except RecursionError:
        raise NotAnExport("This is not an export of Kimi UI.") from None


def import_turns(document: Any) -> list[TurnLog]:
    """The turns of a document, closed and without an owner. Raises ``NotAnExport``."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise NotAnExport("This is not an export of Kimi UI.")
    if document.get("version") != VERSION:
        raise NotAnExport(f"This export has version {document.get('version')}, this Kimi UI reads version {VERSION}.")
    try:
        turns = [_import_turn(turn) for turn in document["turns"]]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NotAnExport(f"The export is damaged ({type(error).__name__}: {error}).") from error
    if not turns:
        raise NotAnExport("The export holds no turn.")
    return turns


def metrics_of(turn: TurnLog, counter: CounterFor) -> dict[str, dict[str, Any]]:
    """The metrics of every attempt of a turn by attempt id, by the columns of ``attempt_metrics``."""
    fold = turn.fold()
    local = {
        attempt_id: count_text(counter(fold.attempts[attempt_id].tokenizer), one.reasoning, one.written_answer)
        for attempt_id, one in fold.folds.items()
    }
    return {attempt_id: metrics.as_dict() for attempt_id, metrics in measure_turn(fold, local).items()}


def without_reasoning(entries: Iterable[Entry]) -> list[Entry]:
    """The entries without the text of reasoning, including answer text that was relabelled as reasoning.

    Promoted reasoning is an answer and is kept.
    """
    entries = list(entries)
    promoted = {entry.attempt_id for entry in entries if isinstance(entry.event, Promoted)}
    relabelled = {entry.attempt_id: place for place, entry in enumerate(entries) if isinstance(entry.event, Relabel)}

    def strip(place: int, entry: Entry) -> Entry:
        match entry.event:
            case Reasoning() if entry.attempt_id not in promoted:
                return entry._replace(event=Reasoning(""))
            case Answer() if place < relabelled.get(entry.attempt_id, 0):
                return entry._replace(event=Answer(""))
        return entry

    return [strip(place, entry) for place, entry in enumerate(entries)]


def public_url(url: str) -> str:
    """A base URL without user info, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return ""


def _export_turn(turn: TurnLog, counter: CounterFor, reasoning: bool) -> dict[str, Any]:
    entries = list(turn.entries)
    lanes = [info.id for info in turn.lanes]
    attempts = list(dict.fromkeys(entry.attempt_id for entry in entries if entry.attempt_id))
    lane_number = {lane: number for number, lane in enumerate(lanes)}
    attempt_number = {attempt_id: number for number, attempt_id in enumerate(attempts)} | {"": -1}
    return {
        **{name: getattr(turn, name) for name in _PLACE},
        "images": [{**image.described(), "data": image.base64} for image in turn.images if image.data],
        "basis": turn.basis,
        "lanes": [info.as_dict() for info in turn.lanes],
        "attempts": attempts,
        "metrics": metrics_of(turn, counter),
        "events": [
            [lane_number[entry.lane], attempt_number[entry.attempt_id], *encode(entry.t_ns, _public(entry.event))]
            for entry in (entries if reasoning else without_reasoning(entries))
        ],
    }


def _public(event: Event) -> Event:
    """The event without data of this machine."""
    if not isinstance(event, Opened):
        return event
    identity = {**event.identity, "base_url": public_url(str(event.identity.get("base_url", "")))}
    for name in ("tokenizer", "settings"):
        identity.pop(name, None)
    return replace(event, identity=identity)


def _import_turn(data: dict[str, Any]) -> TurnLog:
    lanes = tuple(_typed(LaneInfo, lane) for lane in data["lanes"])
    images = tuple(_import_image(image) for image in data.get("images", ()))  # exports before 0.2.0 have none
    later = {"lanes": lanes, "images": images, "basis": data.get("basis", "")}
    turn: TurnLog = _typed(TurnLog, {name: data[name] for name in _PLACE} | later)
    turn.entries += _entries(data, lanes)
    turn.closed = True
    turn.fold()  # an event of an attempt that was never opened raises here
    return turn


def _import_image(data: dict[str, Any]) -> Image:
    """An image by its bytes; what the document says of them is checked as far as a page or a model relies on it."""
    name, media_type, width, height = (data[key] for key in ("name", "media_type", "width", "height"))
    if (
        not all(isinstance(text, str) for text in (name, media_type))
        or type(width) is not int
        or type(height) is not int
    ):
        raise TypeError("an image has a name, a type and a size")
    return image_of(clean_name(name), media_type, width, height, base64.b64decode(data["data"], validate=True))


def _entries(data: dict[str, Any], lanes: Sequence[LaneInfo]) -> Iterator[Entry]:
    attempts = [*data["attempts"], ""]
    for lane, attempt, *item in data["events"]:
        t_ns, event = decode(item)
        if not isinstance(t_ns, int) or min(t_ns, lane, attempt + 1) < 0:
            raise ValueError(f"{t_ns}, {lane}, {attempt} are not a stamp, a lane and an attempt")
        if isinstance(event, Opened):
            opened: Attempt = _typed(Attempt, {**event.identity, "attempt_id": attempts[attempt]})
            event = Opened(opened.as_dict())
        _check(event)
        yield Entry(lanes[lane].id, attempts[attempt], t_ns, event)


def _typed(cls: type, values: Mapping[str, Any]) -> Any:
    """Build a dataclass from the fields known to this version; others are ignored. Raises ``TypeError``."""
    made = cls(**{name: value for name, value in values.items() if name in cls.__dataclass_fields__})  # type: ignore[attr-defined]
    _check(made)
    return made


def _check(value: Any) -> None:
    """Raise ``TypeError`` if a field's value does not match its annotation."""
    for name, allowed in _field_types(value.__class__):
        if not isinstance(getattr(value, name), allowed):
            raise TypeError(f"{name} of {type(value).__name__} is a {type(getattr(value, name)).__name__}")


@cache
def _field_types(cls: type) -> list[tuple[str, tuple[type, ...]]]:
    """Each field's classes as JSON represents them: a list for a tuple, an integer for a float."""
    also: dict[type, tuple[type, ...]] = {tuple: (tuple, list), float: (float, int)}

    def classes(hint: Any) -> tuple[type, ...]:
        if isinstance(hint, UnionType):
            return tuple(one for part in get_args(hint) for one in classes(part))
        plain = get_origin(hint) or hint
        return also.get(plain, (plain,))

    return [(name, classes(hint)) for name, hint in get_type_hints(cls).items()]
