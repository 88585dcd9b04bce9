"""HTTP/1.1 written by hand: the parts of a misbehaving server.

A ``Behaviour`` takes a request and yields the raw bytes of the answer, head included, one socket write each. A toxic
(Toxiproxy's term) damages or delays such a byte stream; they compose: ``toxic(behaviour, slicer(1),
latency(0.01))``. Times are in seconds, sizes in bytes. Raising ``Close`` ends the connection cleanly (FIN), ``Reset``
abruptly (RST); a stream that just ends leaves the connection open for the next request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
JSON = "application/json"


@dataclass(eq=False)
class Request:
    """A request as the server saw it. ``t``/``closed_t`` are ``time.monotonic`` seconds.

    ``closed_t`` is set when the client closed the socket before the answer was complete; None otherwise. ``nth`` counts
    the requests of this connection from 1.
    """

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: Any  # decoded JSON, None if there is none
    t: float
    nth: int = 1
    closed_t: float | None = None

    @property
    def model(self) -> str:
        body = self.body if isinstance(self.body, dict) else {}
        return str(body.get("model") or body.get("name") or "")

    @property
    def is_ollama(self) -> bool:
        return self.path.startswith("/api/")


Stream = AsyncIterator[bytes]
Behaviour = Callable[[Request], Stream]
Toxic = Callable[[Stream], Stream]
Piece = bytes | float  # a body piece, or seconds to wait before the next one


class Close(Exception):
    """End the connection now with FIN."""


class Reset(Exception):
    """End the connection now with RST."""


def head(status: int, content_type: str, *fields: str) -> bytes:
    """A response head. ``fields`` are whole header lines such as ``Content-Length: 3``."""
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Status"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Type: {content_type}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunked(data: bytes) -> bytes:
    """``data`` as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def plain(status: int, body: Any, *fields: str, content_type: str = JSON) -> Behaviour:
    """A complete answer: bytes or str unchanged, anything else as JSON."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else orjson.dumps(body)

    async def behave(_request: Request) -> Stream:
        yield head(status, content_type, f"Content-Length: {len(data)}", *fields) + data

    return behave


async def pieces(items: Iterable[Piece]) -> Stream:
    """The byte items in order; a number waits that many seconds."""
    for item in items:
        if isinstance(item, bytes):
            yield item
        else:
            await asyncio.sleep(item)


async def stream_of(body: Stream, content_type: str, *fields: str, status: int = 200) -> Stream:
    """``body`` as a chunked answer, each item one chunk and one write; the head is sent first."""
    yield head(status, content_type, "Transfer-Encoding: chunked", *fields)
    async for data in body:
        if data:
            yield chunked(data)
    yield LAST_CHUNK


def streamed(items: Sequence[Piece], *fields: str, content_type: str = "", status: int = 200) -> Behaviour:
    """A chunked answer of these pieces; the content type is the dialect's own unless one is given."""

    def behave(request: Request) -> Stream:
        kind = content_type or (NDJSON if request.is_ollama else SSE)
        return stream_of(pieces(items), kind, *fields, status=status)

    return behave


def raw(*items: Piece, then: type[Exception] = Close) -> Behaviour:
    """Exactly these bytes, including the head, then the end of the connection."""

    async def behave(_request: Request) -> Stream:
        async for data in pieces(items):
            yield data
        await asyncio.sleep(0.02)
        raise then

    return behave


def toxic(behaviour: Behaviour, *toxics: Toxic) -> Behaviour:
    """The behaviour with each toxic applied, in this order."""

    def behave(request: Request) -> Stream:
        stream = behaviour(request)
        for apply in toxics:
            stream = apply(stream)
        return stream

    return behave


def latency(seconds: float) -> Toxic:
    """Delay every write by this many seconds."""

    async def apply(stream: Stream) -> Stream:
        async for data in stream:
            await asyncio.sleep(seconds)
            yield data

    return apply


def stall(after_bytes: int, seconds: float = 3600) -> Toxic:
    """After so many bytes nothing for ``seconds`` (Toxiproxy: timeout), then the rest."""

    async def apply(stream: Stream) -> Stream:
        sent = 0
        async for data in _cut(stream, after_bytes):
            if sent == after_bytes:
                await asyncio.sleep(seconds)
            sent += len(data)
            yield data

    return apply


def limit_data(count: int) -> Toxic:
    """Close the connection after so many bytes."""
    return _end_after(count, Close)


def reset_peer(after_bytes: int = 0) -> Toxic:
    """Reset the connection after so many bytes."""
    return _end_after(after_bytes, Reset)


def slow_close(seconds: float) -> Toxic:
    """Everything is sent, but the connection stays open for ``seconds`` before it is closed."""

    async def apply(stream: Stream) -> Stream:
        async for data in stream:
            yield data
        await asyncio.sleep(seconds)
        raise Close

    return apply


def slicer(size: int, delay: float = 0.0) -> Toxic:
    """Writes of at most ``size`` bytes."""

    async def apply(stream: Stream) -> Stream:
        async for data in stream:
            for start in range(0, len(data), size):
                yield data[start : start + size]
                await asyncio.sleep(delay)

    return apply


def bandwidth(bytes_per_s: float) -> Toxic:
    """At most so many bytes a second."""

    async def apply(stream: Stream) -> Stream:
        async for data in stream:
            yield data
            await asyncio.sleep(len(data) / bytes_per_s)

    return apply


def _end_after(count: int, how: type[Exception]) -> Toxic:
    async def apply(stream: Stream) -> Stream:
        left = count
        async for data in _cut(stream, count):
            if left <= 0:
                break
            left -= len(data)
            yield data
        await asyncio.sleep(0.02)  # let the written bytes reach the client before the connection is closed
        raise how

    return apply


async def _cut(stream: Stream, at: int) -> Stream:
    """The same bytes with a write boundary at offset ``at``."""
    offset = 0
    async for data in stream:
        split = at - offset
        offset += len(data)
        if 0 < split < len(data):
            yield data[:split]
            yield data[split:]
        else:
            yield data
