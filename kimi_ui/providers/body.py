"""Response bodies as bounded pieces of identity-coded bytes.

We ask for no compression; a server that compresses all the same is decoded here, piece by piece, so that a bomb of
50 MB in 50 KB is noticed before it is in memory.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from .errors import Asked, simple

MOST_INFLATED = 64 * 1024 * 1024  # bytes of a compressed body, decoded
MOST_PLAIN = 1024 * 1024 * 1024  # bytes of a plain one: text has its own, lower limits
_PIECE = 256 * 1024


async def bounded(raw: AsyncIterator[bytes], encoding: str, asked: Asked) -> AsyncGenerator[bytes, None]:
    """``raw`` decoded. Raises ``ProviderError``: too large, cut off inside the compression, an unknown coding."""
    encoding = encoding.strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        async with aclosing(_inflated(raw, asked)) as inflated:
            async for data in inflated:
                yield data
        return
    if encoding not in ("", "identity"):
        raise simple("protocol", asked, f"Content-Encoding {encoding} was not asked for")
    size = 0
    async for data in raw:
        size += len(data)
        if size > MOST_PLAIN:
            raise simple("too_large", asked)
        yield data


async def _inflated(raw: AsyncIterator[bytes], asked: Asked) -> AsyncGenerator[bytes, None]:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    size = 0
    try:
        async for data in raw:
            while data:
                piece = inflater.decompress(data, _PIECE)
                data = inflater.unconsumed_tail
                size += len(piece)
                if size > MOST_INFLATED:
                    raise simple("too_large", asked)
                if piece:
                    yield piece
                await asyncio.sleep(0)  # the loop has other streams to read
    except zlib.error as error:
        raise simple("protocol", asked, str(error)) from None
    if not inflater.eof:
        raise simple("cut", asked, "the compressed body ends early", retryable=True)


async def read_bounded(raw: AsyncIterator[bytes], most: int) -> bytes:
    """At most ``most`` bytes of a body, for error messages and small documents."""
    parts: list[bytes] = []
    size = 0
    async for data in raw:
        parts.append(data)
        size += len(data)
        if size >= most:
            break
    return b"".join(parts)[:most]
