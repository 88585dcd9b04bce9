"""What is written to the log: turns, attempts and events as SQL statements with their values.

An ``Op`` is one statement by name and its parameters. Ops are idempotent (inserts that may meet their own row, updates
of rows that are still open), so that a batch may be repeated after a failure, from memory or from the spill file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from .. import __version__
from ..core.attempt import Attempt, AttemptFold
from ..core.events import Event, decode, encode
from ..core.metrics import burst_flags, loop_lag_ms, p99_gap_ns
from ..core.tokens import count_text, counter
from ..core.turn import LaneInfo, TurnLog

MAX_SQL_INTEGER = 2**63 - 1
IDENTITY = (
    "attempt_id turn_id parent_id lane label role k_index attempt_no provider base_url request_model params stand_in_for "
    "input_chars price_input price_cached_input price_output price_as_of started_at_utc asked_ns sent_ns boot_id app_version"
).split()
STAMPS = (
    "headers_ns first_chunk_ns first_token_ns first_reasoning_ns last_reasoning_ns first_answer_ns last_token_ns end_ns"
).split()
OUTCOME = (
    "status end_reason retry_in_s finish_reason error_type error_message error_remedy error_command error_detail "
    "http_status response_model response_id upstream n_chunks max_gap_ns p99_gap_ns n_stalls first_event_chars text_chars "
    "burst answer_burst usage_source usage_input_tokens usage_cached_input_tokens usage_output_tokens "
    "usage_reasoning_tokens usage_cost_usd usage_raw load_ns prompt_ns eval_ns local_reasoning_tokens local_answer_tokens "
    "local_source local_exact loop_lag_ms flags reasoning answer"
).split()

STATEMENTS = {
    "conversation": "INSERT INTO conversations (conversation_id, owner, created_at_utc, forked_from,"
    " forked_at) VALUES (:conversation_id, :owner, :created_at_utc, :forked_from, :forked_at) ON CONFLICT DO NOTHING",
    "turn": "INSERT INTO turns (turn_id, conversation_id, seq, owner, kind, prompt, system, lanes, prompt_chars,"
    " started_at_utc) VALUES (:turn_id, :conversation_id, :seq, :owner, :kind, :prompt, :system, :lanes, :prompt_chars,"
    " :started_at_utc) ON CONFLICT DO NOTHING",
    "attempt": f"INSERT INTO attempts ({', '.join(IDENTITY)}) VALUES ({', '.join(f':{name}' for name in IDENTITY)})"
    " ON CONFLICT DO NOTHING",
    "sent": "UPDATE attempts SET sent_ns = :sent_ns, started_at_utc = :started_at_utc"
    " WHERE attempt_id = :attempt_id AND status = 'open'",
    "events": "INSERT INTO events (turn_id, lane, attempt_id, seq, n_events, payload)"
    " VALUES (:turn_id, :lane, :attempt_id, :seq, :n_events, :payload) ON CONFLICT DO NOTHING",
    "final": f"UPDATE attempts SET {', '.join(f'{name} = :{name}' for name in [*STAMPS, *OUTCOME])}"
    " WHERE attempt_id = :attempt_id AND status = 'open'",
}


class Op(NamedTuple):
    """One write: the name of a statement and its parameters."""

    kind: str
    params: dict[str, Any]


def clean(text: str) -> str:
    """Text that SQLite and UTF-8 can hold: a lone surrogate becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _storable(value: Any) -> Any:
    """A parameter as SQLite takes it: clean text, and no integer beyond 64 bits (an absurd count is not a count)."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and abs(value) > MAX_SQL_INTEGER:
        return None
    return value


def _op(kind: str, **params: Any) -> Op:
    return Op(kind, {name: _storable(value) for name, value in params.items()})


def to_json(value: Any) -> str:
    """JSON of a value that came from outside: whatever JSON has no form for is written as text."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # lone surrogates, integers beyond 64 bits, keys that are no strings
        return orjson.dumps(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) <= MAX_SQL_INTEGER:
        return value
    return clean(str(value))


def conversation_op(turn: TurnLog) -> Op:
    return _op(
        "conversation",
        conversation_id=turn.conversation_id,
        owner=turn.owner,
        created_at_utc=turn.started_at_utc,
        forked_from=turn.forked_from,
        forked_at=turn.forked_at,
    )


def turn_op(turn: TurnLog) -> Op:
    return _op(
        "turn",
        turn_id=turn.turn_id,
        conversation_id=turn.conversation_id,
        seq=turn.seq,
        owner=turn.owner,
        kind=turn.kind,
        prompt=turn.prompt,
        system=turn.system,
        lanes=to_json([asdict(info) for info in turn.lanes]),
        prompt_chars=len(turn.prompt),
        started_at_utc=turn.started_at_utc,
    )


def read_lanes(lanes: str) -> tuple[LaneInfo, ...]:
    """The inverse of what ``turn_op`` does to ``lanes``; fields of other versions are left out."""
    known = LaneInfo.__dataclass_fields__
    return tuple(
        LaneInfo(**{name: value for name, value in lane.items() if name in known}) for lane in orjson.loads(lanes)
    )


def attempt_op(attempt: Attempt, boot_id: str) -> Op:
    """The row of an attempt that is about to be sent."""
    price = attempt.price or (None, None, None, None)
    values = {name: getattr(attempt, name) for name in IDENTITY if hasattr(attempt, name)}
    values |= dict(zip(("price_input", "price_cached_input", "price_output", "price_as_of"), price, strict=True))
    values |= {"params": to_json(dict(attempt.params)), "boot_id": boot_id, "app_version": __version__}
    return _op("attempt", **values)


def sent_op(attempt: Attempt) -> Op:
    """The moment the request left, known only after the row had to exist."""
    return _op("sent", attempt_id=attempt.attempt_id, sent_ns=attempt.sent_ns, started_at_utc=attempt.started_at_utc)


def events_op(turn_id: str, lane: str, attempt_id: str | None, seq: int, items: list[tuple[int, Event]]) -> Op:
    """One segment of an attempt's events (of a lane's preparation, without an attempt)."""
    return _op(
        "events",
        turn_id=turn_id,
        lane=lane,
        attempt_id=attempt_id,
        seq=seq,
        n_events=len(items),
        payload=pack(items),
    )


def pack(items: Iterable[tuple[int, Event]]) -> bytes:
    return zlib.compress("\n".join(to_json(encode(t_ns, event)) for t_ns, event in items).encode())


def unpack(payload: bytes) -> Iterator[tuple[int, Event]]:
    """The inverse of ``pack``. Raises ``zlib.error``, ``ValueError`` or ``KeyError`` for a damaged or foreign payload."""
    for line in zlib.decompress(payload).split(b"\n"):
        yield decode(orjson.loads(line))


def final_op(attempt_id: str, fold: AttemptFold, tokenizer: str = "", status: str | None = None) -> Op:
    """The one update that ends an attempt's row. ``status`` overrides the fold's for an attempt that was cut off.

    Counts the text with the lane's vocabulary, which takes a few ms for a long answer.
    """
    usage, failure, end = fold.usage, fold.failure, fold.end
    tokens = counter(tokenizer)
    local = count_text(tokens, fold.reasoning, fold.answer)
    burst, answer_burst = burst_flags(fold)
    has_text = fold.n_chunks > 0
    return _op(
        "final",
        attempt_id=attempt_id,
        **{name: getattr(fold, name) for name in STAMPS},
        status=status or fold.status,
        end_reason=end.reason if end else None,
        retry_in_s=end.retry_in_s if end else None,
        finish_reason=fold.finish_reason,
        error_type=failure.kind if failure else None,
        error_message=failure.message if failure else None,
        error_remedy=failure.remedy if failure else None,
        error_command=failure.command if failure else None,
        error_detail=failure.detail if failure else None,
        http_status=failure.http_status if failure else None,
        response_model=fold.meta.response_model,
        response_id=fold.meta.response_id,
        upstream=fold.meta.upstream,
        n_chunks=fold.n_chunks,
        max_gap_ns=fold.max_gap_ns,
        p99_gap_ns=p99_gap_ns(fold),
        n_stalls=fold.n_stalls,
        first_event_chars=fold.text_chars[0] if has_text else None,
        text_chars=sum(fold.text_chars) if has_text else None,
        burst=int(burst) if has_text else None,
        answer_burst=int(answer_burst) if has_text else None,
        usage_source=usage.source if fold.has_usage else None,
        usage_input_tokens=usage.input_tokens,
        usage_cached_input_tokens=usage.cached_input_tokens,
        usage_output_tokens=usage.output_tokens,
        usage_reasoning_tokens=usage.reasoning_tokens,
        usage_cost_usd=usage.cost_usd,
        usage_raw=to_json(dict(usage.raw)) if usage.raw else None,
        load_ns=usage.load_ns,
        prompt_ns=usage.prompt_ns,
        eval_ns=usage.eval_ns,
        local_reasoning_tokens=local.reasoning_tokens if local else None,
        local_answer_tokens=local.answer_tokens if local else None,
        local_source=local.source if local else None,
        local_exact=int(tokens.exact) if local else None,
        loop_lag_ms=loop_lag_ms(fold),
        flags=to_json(fold.flags),
        reasoning=fold.reasoning,
        answer=fold.answer,
    )
