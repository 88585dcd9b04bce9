"""Answers of a model server made of parts, each in the dialect of the request: SSE on ``/v1``, NDJSON on Ollama.

``tell(R("plan"), A("yes"), *END)`` is a complete, correct answer; omit parts or add odd ones to make a fault.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict

import orjson

from kimi_ui.core.lane import Limits

from .wire import JSON, NDJSON, SSE, Behaviour, Close, Piece, Request, Stream, head, plain, raw, stream_of, streamed

FOREVER = 3600.0


class R(NamedTuple):
    """Reasoning text."""

    text: str


class A(NamedTuple):
    """Answer text."""

    text: str


class D(NamedTuple):
    """Other data, by dialect: bytes unchanged, other values as JSON in an event or a line, None for nothing."""

    sse: Any
    ndjson: Any = None


Part = R | A | D | Piece


def event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def delta(fields: Any, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more})


def line(message: Any = None, done: bool = False, **more: Any) -> bytes:
    said = {"role": "assistant", "content": "", **(message or {})}
    return orjson.dumps({"model": "m", "message": said, "done": done, **more}) + b"\n"


def finish(reason: str = "stop", **counters: Any) -> D:
    """The last line of NDJSON, with these counters; for SSE the finish reason."""
    return D(delta({}, reason), line(done=True, done_reason=reason, **counters))


def escaped(text: str) -> D:
    """Answer text written into the JSON unescaped, e.g. ``\\ud83d``."""
    return D(
        f'data: {{"choices":[{{"delta":{{"content":"{text}"}}}}]}}\n\n'.encode(),
        f'{{"message":{{"content":"{text}"}}}}\n'.encode(),
    )


def alike(value: Any) -> D:
    """The same JSON in both dialects."""
    return D(value, value)


USAGE = {"prompt_tokens": 9, "completion_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 3}}
COUNTERS: dict[str, Any] = {
    "prompt_eval_count": 9,
    "prompt_eval_duration": 9_000_000,
    "eval_count": 6,
    "eval_duration": 60_000_000,
}
FINISH = finish(**COUNTERS)
TALLY = D({"id": "c", "choices": [], "usage": USAGE})
DONE = D(b"data: [DONE]\n\n")
END: tuple[D, ...] = (FINISH, TALLY, DONE)
PLAN, HALF = R("plan"), A("so far")
GOOD: tuple[Part, ...] = (PLAN, HALF, *END)
SSE_BODY = delta({"content": "so far"}) + delta({}, "stop") + b"data: [DONE]\n\n"
NDJSON_BODY = line({"content": "so far"}) + line(done=True, done_reason="stop", **COUNTERS)


def piece(part: Part, ollama: bool) -> Piece:
    """The bytes of a part."""
    match part:
        case R(text):
            return line({"thinking": text}) if ollama else delta({"reasoning_content": text})
        case A(text):
            return line({"content": text}) if ollama else delta({"content": text})
        case D(sse, ndjson):
            value = ndjson if ollama else sse
            if value is None or isinstance(value, bytes):
                return value or b""
            return orjson.dumps(value) + b"\n" if ollama else event(value)
        case _:
            return part


def tell(*parts: Part) -> Behaviour:
    """A streamed answer of these parts; nothing is added to them."""
    return lambda request: streamed([piece(part, request.is_ollama) for part in parts])(request)


def endless(part: Part) -> Behaviour:
    """The same part repeatedly, as fast as it is read."""

    async def again(data: bytes) -> Stream:
        while True:
            yield data

    def behave(request: Request) -> Stream:
        data = piece(part, request.is_ollama)
        assert isinstance(data, bytes)
        return stream_of(again(data), NDJSON if request.is_ollama else SSE)

    return behave


def by_dialect(sse: Behaviour, ndjson: Behaviour) -> Behaviour:
    return lambda request: (ndjson if request.is_ollama else sse)(request)


def bodies(change: Callable[[bytes], bytes]) -> Behaviour:
    """The correct body of either dialect with its bytes changed."""
    return by_dialect(streamed([change(SSE_BODY)]), streamed([change(NDJSON_BODY)]))


def framed(make: Callable[[bytes, str], bytes]) -> Behaviour:
    """A handmade response around the correct body of either dialect, then the end of the connection."""
    return by_dialect(raw(make(SSE_BODY, SSE)), raw(make(NDJSON_BODY, NDJSON)))


def measured(body: bytes, kind: str, length: int | None = None) -> bytes:
    """A response with a Content-Length, true or not."""
    return head(200, kind, f"Content-Length: {len(body) if length is None else length}") + body


def refuse(status: int, body: Any = b"", *fields: str, ollama: Any = None, content_type: str = JSON) -> Behaviour:
    """A plain refusal; ``ollama``: its own body for that dialect."""

    def behave(request: Request) -> Stream:
        said = ollama if ollama is not None and request.is_ollama else body
        return plain(status, said, *fields, content_type=content_type)(request)

    return behave


def error(message: str, **more: Any) -> dict[str, Any]:
    """An error body in OpenAI's shape."""
    return {"error": {"message": message, **more}}


def compressed(data: bytes, cut: int = 0, coding: str = "gzip") -> Behaviour:
    packed = gzip.compress(data)
    return streamed([packed[: len(packed) - cut]], f"Content-Encoding: {coding}")


def bomb(size: int) -> Behaviour:
    """``size`` line feeds compressed to a thousandth, produced on demand."""

    async def packed() -> Stream:
        packer = zlib.compressobj(9, wbits=31)
        for _ in range(size // 1_000_000):
            if data := packer.compress(b"\n" * 1_000_000):
                yield data
        yield packer.flush()

    def behave(request: Request) -> Stream:
        return stream_of(packed(), NDJSON if request.is_ollama else SSE, "Content-Encoding: gzip")

    return behave


def unless(name: str, refusal: Behaviour, then: Behaviour) -> Behaviour:
    """Refuse requests whose body has this field."""
    return lambda request: (refusal if name in request.body else then)(request)


def dead_when_reused(first: Behaviour) -> Behaviour:
    """Answer a connection's first request; close the connection without an answer at the next."""

    async def dead(_request: Request) -> Stream:
        raise Close
        yield b""

    return lambda request: (first if request.nth == 1 else dead)(request)


SAME = "same"
PATIENT = Limits(30, 30, 60)


class Kept(TypedDict):
    """The texts that must survive a fault."""

    reasoning: str
    answer: str


GOOD_TEXT: Kept = {"reasoning": "plan", "answer": "so far"}


@dataclass(frozen=True)
class Fault:
    """One way a stream may fail, and the attempt's expected outcome: ``status`` or ``status:kind``.

    ``row`` is the number of the fault, which its variants share. ``ndjson`` None: the fault does not exist there.
    ``reasoning``/``answer``: the text that must be kept; ``flag``: one that must be set. ``heavy``: expensive.
    """

    row: int
    name: str
    behaviour: Behaviour
    sse: str | None
    ndjson: str | None = SAME
    reasoning: str | None = None
    answer: str | None = None
    flag: str = ""
    limits: Limits = PATIENT
    params: dict[str, Any] = field(default_factory=dict)
    heavy: bool = False

    def expected(self, ollama: bool) -> str | None:
        return self.ndjson if ollama and self.ndjson != SAME else self.sse
