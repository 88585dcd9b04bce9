"""The log's records: turns, attempts and events as rows, and events as bytes.

An ``Op`` is one write: it inserts a row or deletes rows, updates an attempt's row until it has ended, or promotes it.
Ops are idempotent (an existing row stays unchanged, or is replaced: ``REPLACED``), so a batch may be repeated after a
failure, from memory or the spill file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from .. import __version__
from ..core.attempt import Attempt, AttemptFold
from ..core.events import Event, decode, encode
from ..core.images import Image
from ..core.metrics import burst_flags, loop_lag_ms, p99_gap_ns
from ..core.title import title_of
from ..core.tokens import count_text
from ..core.turn import LaneInfo, TurnLog
from ..tokenizers import counter

MAX_SQL_INTEGER = 2**63 - 1
REPLACED = {"pulls": ("server", "model"), "benchmarks": ("id",), "queued_prompts": ("prompt_id",)}
"""Tables that keep the newest state: a row replaces the one with the same values of these columns."""
_PRICE = ("price_input", "price_cached_input", "price_output", "price_as_of")
IDENTITY = (*(name for name in Attempt.__dataclass_fields__ if name not in ("price", "tokenizer")), *_PRICE)
"""The columns of ``attempts`` that ``read_attempt`` needs; the others hold what came of it, its texts too."""
NEXT_SEQ = "SELECT max(seq) + 1 FROM turns WHERE conversation_id = :conversation_id"
"""The number of a turn whose own another process took."""


class Op(NamedTuple):
    """One write. ``table`` is the table to insert ``row`` into; or ``delete`` and a table, to delete the rows with its
    values; or an operation on the attempt that it names: ``update attempts`` until it has ended, or ``promote`` after
    it ended without an answer.
    """

    table: str
    row: dict[str, Any]

    @property
    def sql(self) -> str:
        """The statement, with named parameters. Raises ``ValueError`` for invalid names (a damaged spill)."""
        return _sql(self.table, tuple(self.row))


@lru_cache(maxsize=64)
def _sql(table: str, names: tuple[str, ...]) -> str:
    if not all(name.isidentifier() for name in (*names, table.removeprefix("update ").removeprefix("delete "))):
        raise ValueError(f"not a write of this log: {table}")
    if table == "promote":
        return "UPDATE attempts SET answer = reasoning WHERE attempt_id = :attempt_id AND status = 'no_answer'"
    if table == "update attempts":
        unfinished = "status IN ('open', 'interrupted')"  # its own process knows better than one that took it for dead
        changes = ", ".join(f"{name} = :{name}" for name in names if name != "attempt_id")
        return f"UPDATE attempts SET {changes} WHERE attempt_id = :attempt_id AND {unfinished}"
    if table.startswith("delete "):
        named = " AND ".join(f"{name} = :{name}" for name in names)
        return f"DELETE FROM {table.removeprefix('delete ')} WHERE {named}"
    values = ", ".join(f":{name}" for name in names)
    insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"
    if key := REPLACED.get(table):
        changes = ", ".join(f"{name} = excluded.{name}" for name in names)
        return f"{insert} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
    return f"{insert} ON CONFLICT {'(turn_id) ' if table == 'turns' else ''}DO NOTHING"  # its number: ``NEXT_SEQ``


def clean(text: str) -> str:
    """Text that SQLite and UTF-8 can store: lone surrogates become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def op_of(table: str, row: dict[str, Any]) -> Op:
    """The write of a row, with values that SQLite accepts."""
    return Op(table, {name: _storable(value) for name, value in row.items()})


def _storable(value: Any) -> Any:
    """A value that SQLite accepts: clean text, and integers limited to 64 bits."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return max(-MAX_SQL_INTEGER, min(value, MAX_SQL_INTEGER))
    return value


def to_json(value: Any) -> str:
    """JSON of an external value; anything that JSON cannot represent is written as text."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # lone surrogates, integers beyond 64 bits, keys that are not strings
        return orjson.dumps(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {clean(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _storable(value) if value is None or isinstance(value, str | int | float) else clean(str(value))


def conversation_op(turn: TurnLog) -> Op:
    """The row of a conversation, for its first turn."""
    return op_of(
        "conversations",
        {
            "conversation_id": turn.conversation_id,
            "owner": turn.owner,
            "title": title_of(turn.prompt, turn.images),
            "created_at_utc": turn.started_at_utc,
            "forked_from": turn.forked_from,
            "forked_at": turn.forked_at,
        },
    )


def turn_op(turn: TurnLog) -> Op:
    return op_of(
        "turns",
        {
            "turn_id": turn.turn_id,
            "conversation_id": turn.conversation_id,
            "seq": turn.seq,
            "owner": turn.owner,
            "kind": turn.kind,
            "prompt": turn.prompt,
            "system": turn.system,
            "lanes": to_json([info.as_dict() for info in turn.lanes]),
            "slots": to_json(turn.slots) if turn.slots else "",
            "basis": turn.basis,
            "prompt_chars": len(turn.prompt),
            "started_at_utc": turn.started_at_utc,
        },
    )


def turn_ops(turn: TurnLog) -> list[Op]:
    """The rows of a turn: its conversation's, its own, and those of its images."""
    return [conversation_op(turn), turn_op(turn), *image_ops("turn_images", {"turn_id": turn.turn_id}, turn.images)]


def image_ops(table: str, of: dict[str, str], images: Iterable[Image]) -> list[Op]:
    """The rows of a prompt's images, and those of ``table`` that name them as this prompt's (``of``)."""
    ops = []
    for place, image in enumerate(images):
        if not image.data:
            continue  # it came from the log
        facts = {name: getattr(image, name) for name in ("sha256", "media_type", "width", "height")}
        ops.append(op_of("images", {**facts, "payload": image.data}))
        ops.append(op_of(table, {**of, "place": place, "sha256": image.sha256, "name": image.name}))
    return ops


def read_lanes(lanes: str) -> tuple[LaneInfo, ...]:
    """Lanes from the column written by ``turn_op``; fields of other versions are ignored."""
    known = LaneInfo.__dataclass_fields__
    return tuple(
        LaneInfo(**{name: value for name, value in lane.items() if name in known}) for lane in orjson.loads(lanes)
    )


def attempt_op(attempt: Attempt, boot_id: str) -> Op:
    """The row of an attempt before it is sent."""
    row = attempt.as_dict()
    del row["tokenizer"]  # a path of this machine must not reach the log
    row["params"], row["settings"] = to_json(row["params"]), to_json(row["settings"])
    price = row.pop("price") or (None, None, None, None)
    row |= dict(zip(_PRICE, price, strict=True))
    return op_of("attempts", row | {"boot_id": boot_id, "app_version": __version__})


def read_attempt(row: dict[str, Any]) -> Attempt:
    """The inverse of ``attempt_op``, from a row of ``attempts``."""
    known = {name: row[name] for name in Attempt.__dataclass_fields__ if name in row}
    price = None
    if row["price_input"] is not None and row["price_output"] is not None:
        price = (row["price_input"], row["price_cached_input"], row["price_output"], row["price_as_of"] or "")
    settings = orjson.loads(row["settings"] or "{}")
    return Attempt(**(known | {"params": orjson.loads(row["params"]), "settings": settings, "price": price}))


def sent_op(attempt: Attempt) -> Op:
    """Updates the time of sending and the server, which may not be known when the row is inserted."""
    names = ("attempt_id", "sent_ns", "started_at_utc", "queue_ns", "base_url")
    return op_of("update attempts", {name: getattr(attempt, name) for name in names})


def events_op(turn_id: str, lane: str, attempt_id: str | None, seq: int, items: list[tuple[int, Event]]) -> Op:
    """One segment of an attempt's events; without an attempt, of a lane's preparation."""
    return op_of(
        "events",
        {
            "turn_id": turn_id,
            "lane": lane,
            "attempt_id": attempt_id,
            "seq": seq,
            "n_events": len(items),
            "payload": pack(items),
        },
    )


def pack(items: Iterable[tuple[int, Event]]) -> bytes:
    """Events as one compressed block of JSON lines. Keeps lone surrogates, since two may join to a pair later."""
    return zlib.compress(b"\n".join([exact_json(encode(t_ns, event)) for t_ns, event in items]))


def exact_json(value: Any) -> bytes:
    """JSON of encoded events, which keeps what a model wrote as it is (``to_json`` does not)."""
    try:
        return orjson.dumps(value, default=str)
    except TypeError:  # lone surrogates and big integers, which the standard library can write
        return json.dumps(value, default=str).encode()


def read_exact_json(data: bytes) -> Any:
    """The inverse of ``exact_json``. Raises ``ValueError``."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


def whole_events(payload: bytes) -> Iterator[tuple[int, Event]]:
    """The inverse of ``pack``. Stops at the first event that cannot be read (damaged, or of another version)."""
    try:
        for line in zlib.decompress(payload).split(b"\n"):
            yield decode(read_exact_json(line))
    except (zlib.error, ValueError, KeyError, TypeError):
        return


def promote_op(attempt_id: str) -> Op:
    """Makes the attempt's reasoning its answer (see ``core.events.Promoted``)."""
    return op_of("promote", {"attempt_id": attempt_id})


def heavy_ops(attempt_id: str, fold: AttemptFold) -> list[Op]:
    """The row of a heavy run, for an attempt that was one."""
    if fold.tally is None:
        return []
    names = (
        *("strategy", "preset", "width", "launched", "usable", "failed", "n_clusters", "agreement"),
        *("effective_answers", "similarity", "stopped_at", "stop_risk", "verdict"),
    )
    row = {name: getattr(fold.tally, name) for name in names}
    return [op_of("heavy_runs", {"attempt_id": attempt_id, **row, "answers_of": fold.tally.answers_of or None})]


def final_ops(attempt_id: str, fold: AttemptFold, tokenizer: str = "", status: str | None = None) -> list[Op]:
    """What completes an attempt: its row (see ``final_op``), and that of a heavy run."""
    return [final_op(attempt_id, fold, tokenizer, status), *heavy_ops(attempt_id, fold)]


def final_op(attempt_id: str, fold: AttemptFold, tokenizer: str = "", status: str | None = None) -> Op:
    """The update that completes an attempt's row. ``status`` overrides the fold's for an attempt that was cut off.

    Counts tokens with the lane's vocabulary, which takes a few ms for a long answer.
    """
    usage, failure, end, has_text = fold.usage, fold.failure, fold.end, fold.n_chunks > 0
    tokens = counter(tokenizer)
    local = count_text(tokens, fold.reasoning, fold.written_answer)
    burst, answer_burst = burst_flags(fold)
    stamps = {name: getattr(fold, name) for name in AttemptFold.__dataclass_fields__ if name.endswith("_ns")}
    del stamps["text_ns"]
    return op_of(
        "update attempts",
        stamps
        | {
            "attempt_id": attempt_id,
            "status": status or fold.status,
            "end_reason": end.reason or None if end else None,
            "retry_in_s": end.retry_in_s if end else None,
            "finish_reason": fold.finish_reason,
            "error_type": failure.kind if failure else None,
            "error_message": failure.message if failure else None,
            "error_remedy": failure.remedy if failure else None,
            "error_command": failure.command if failure else None,
            "error_detail": failure.detail if failure else None,
            "http_status": failure.http_status if failure else None,
            "response_model": fold.meta.response_model,
            "response_id": fold.meta.response_id,
            "upstream": fold.meta.upstream,
            "n_chunks": fold.n_chunks,
            "p99_gap_ns": p99_gap_ns(fold),
            "n_stalls": fold.n_stalls,
            "first_event_chars": fold.text_sum[0] if has_text else None,
            "text_chars": fold.text_sum[-1] if has_text else None,
            "burst": int(burst) if has_text else None,
            "answer_burst": int(answer_burst) if has_text else None,
            "usage_source": usage.source if fold.has_usage else None,
            "usage_input_tokens": usage.input_tokens,
            "usage_cached_input_tokens": usage.cached_input_tokens,
            "usage_output_tokens": usage.output_tokens,
            "usage_reasoning_tokens": usage.reasoning_tokens,
            "usage_cost_usd": usage.cost_usd,
            "usage_raw": to_json(dict(usage.raw)) if usage.raw else None,
            "load_ns": usage.load_ns,
            "prompt_ns": usage.prompt_ns,
            "eval_ns": usage.eval_ns,
            "server_queue_ns": usage.queue_ns,
            "load_or_wait_ns": usage.load_or_wait_ns,
            "local_reasoning_tokens": local.reasoning_tokens if local else None,
            "local_answer_tokens": local.answer_tokens if local else None,
            "local_source": local.source if local else None,
            "local_exact": int(tokens.exact) if local else None,
            "loop_lag_ms": loop_lag_ms(fold),
            "flags": to_json(fold.flags),
            "reasoning": fold.reasoning,
            "answer": fold.answer,
        },
    )
