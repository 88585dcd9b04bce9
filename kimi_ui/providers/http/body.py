"""From an HTTP response to events: the body as bounded pieces of plain bytes, read until it wants no more.

We ask for no compression; a server that compresses all the same is decoded here, piece by piece, so that a bomb of
50 MB in 50 KB is noticed before it is in memory.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

import httpx

from ...core.events import CONNECTED, Event, Flag, Phase
from ..base import Host, ProviderError
from ..errors import Target, from_exception, simple
from .network import Stream
from .stream_body import StreamBody
from .transport import CHUNKS, Chunks

MOST_INFLATED = 64 * 1024 * 1024  # bytes of a compressed body, decoded
MOST_PLAIN = 1024 * 1024 * 1024  # bytes of a plain one: text has its own, lower limits
AFTER_LAST_S = 0.25  # how long to wait for more after the end of the stream
AFTER_FINISH_S = 3.0  # how long to wait for more after the finish: usage may follow, or nothing at all
_PIECE = 256 * 1024
_LINE_ENDS = b"\r\n"

HTTP_ERRORS = (httpx.HTTPError, httpx.StreamError, OSError)


async def events_of(
    response: httpx.Response, body: StreamBody, target: Target, host: Host
) -> AsyncGenerator[Event, None]:
    """The events of a response, from its headers on. Raises the ``ProviderError`` it ended with, after all its text.

    Until the server says that it is finished, a host that takes events (``Host.take``) has them where the event loop
    reads. When cancelled, it yields what the body still held back and lets the ``CancelledError`` go on.
    """
    cut: ProviderError | None = None
    stream = response.extensions["network_stream"]
    assert isinstance(stream, Stream)
    host.arrived(*stream.arrival)
    yield Phase(CONNECTED)
    reading = _Reading(body, host)
    try:
        if host.take is not None and (chunks := response.extensions.get(CHUNKS)) and not _coding(response):
            assert isinstance(chunks, Chunks)
            await _hand_over(chunks, reading, host.take, target)
        async with aclosing(_until_over(plain(response, target), body)) as pieces:
            async for data in pieces:
                for event in reading.events(data, stream.arrival):
                    yield event
        host.arrived(stream.arrival[0], reading.after_ns, not reading.holds)
    except asyncio.CancelledError:
        for event in body.held():
            if not isinstance(event, Flag):  # those judge a whole body
                yield event
        raise
    except HTTP_ERRORS as error:
        cut = from_exception(error, target)
    except ProviderError as error:
        cut = error
    for event in body.finish(cut):
        yield event
    host.arrived(0)
    if stream.clock_stepped:
        yield Flag("clock_step")
    if body.error:
        raise body.error


@dataclass(slots=True)
class _Reading:
    """The events of a body's pieces.

    ``host`` learns when the bytes arrived that the next events are made of, and whether they ended their read: the last
    message of a piece is decoded apart. Text that was held back came with an earlier read.
    """

    body: StreamBody
    host: Host
    after_ns: int = 0
    holds: bool = False

    def events(self, data: bytes, arrival: tuple[int, int]) -> Iterable[Event]:
        """The events of the next piece; each is to be taken before the next. ``arrival``: see ``Stream``."""
        at_ns, after_ns = arrival
        if self.holds:
            after_ns = min(self.after_ns, after_ns)
        self.after_ns = after_ns
        if start := data.rstrip(_LINE_ENDS).rfind(b"\n") + 1:
            return self._events_of_several(data[:start], data[start:], arrival)
        host, body = self.host, self.body
        host.arrived(at_ns, after_ns, not self.holds)
        events = body.feed(data)
        if not events:  # what came before did not end the read
            host.arrived(at_ns, after_ns)
        self.holds = body.texts.holds
        return events

    def _events_of_several(self, before: bytes, last: bytes, arrival: tuple[int, int]) -> Iterator[Event]:
        """The events of several messages, whose last one is decoded apart."""
        self.host.arrived(arrival[0], self.after_ns, False)
        yield from self.body.feed(before)
        yield from self.events(b"" if self.body.over else last, arrival)


async def _hand_over(chunks: Chunks, reading: _Reading, take: Callable[[Event], None], target: Target) -> None:
    """Let ``take`` have the events where the bytes are read, up to the server's finish. Raises ``ProviderError``."""
    body, size = reading.body, 0

    def took(data: bytes, arrival: tuple[int, int]) -> bool:
        nonlocal size
        size += len(data)
        if size > MOST_PLAIN:
            raise simple("too_large", target)
        for event in reading.events(data, arrival):
            take(event)
        return not (body.finished or body.closing or body.error or body.texts.full)  # the last two: ``over``

    await chunks.hand_over(took)


async def _until_over(pieces: AsyncGenerator[bytes, None], body: StreamBody) -> AsyncGenerator[bytes, None]:
    """The pieces until the body wants no more; after its last word only what comes at once, or nearly so."""
    async with aclosing(pieces):
        while not body.over:
            wait_s = AFTER_LAST_S if body.closing else AFTER_FINISH_S if body.finished else None
            try:
                data = await (asyncio.wait_for(anext(pieces), wait_s) if wait_s else anext(pieces))
            except StopAsyncIteration:
                return
            except HTTP_ERRORS as error:
                if body.closing or (body.finished and isinstance(error, TimeoutError)):
                    return
                raise
            yield data


async def plain(response: httpx.Response, target: Target) -> AsyncGenerator[bytes, None]:
    """The body without its content coding. Raises ``ProviderError``: too large, cut inside a coding, or unknown."""
    encoding = _coding(response)
    if encoding in ("gzip", "x-gzip", "deflate"):
        async with aclosing(_inflated(response.aiter_raw(), target)) as inflated:
            async for data in inflated:
                yield data
        return
    if encoding:
        raise simple("protocol", target, f"Content-Encoding {encoding} was not requested")
    size = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for data in response.stream:  # ``aiter_raw`` would cost a third of a microsecond for each piece
        size += len(data)
        if size > MOST_PLAIN:
            raise simple("too_large", target)
        yield data


def _coding(response: httpx.Response) -> str:
    """The body's content coding; empty if it has none."""
    coding: str = response.headers.get("content-encoding", "").strip().lower()
    return "" if coding == "identity" else coding


async def _inflated(raw: AsyncIterator[bytes], target: Target) -> AsyncGenerator[bytes, None]:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    size = 0
    try:
        async for data in raw:
            while data:
                piece = inflater.decompress(data, _PIECE)
                data = inflater.unconsumed_tail
                size += len(piece)
                if size > MOST_INFLATED:
                    raise simple("too_large", target)
                if piece:
                    yield piece
                await asyncio.sleep(0)  # the loop has other streams to read
    except zlib.error as error:
        raise simple("protocol", target, str(error)) from None
    if not inflater.eof:
        raise simple("cut", target, "the compressed body ends early", retryable=True)


async def read_bounded(pieces: AsyncGenerator[bytes, None], most: int) -> bytes:
    """At most ``most`` bytes, for error messages and small documents."""
    parts: list[bytes] = []
    size = 0
    async with aclosing(pieces):
        async for data in pieces:
            parts.append(data)
            size += len(data)
            if size >= most:
                break
    return b"".join(parts)[:most]
