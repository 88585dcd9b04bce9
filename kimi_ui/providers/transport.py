"""The HTTP transport under the openai client: two things it does not do by itself.

A pooled connection that the server closed while it lay idle is replaced once, without the caller seeing a failure: not
a byte of an answer had come. And the body of an error is cut at ``MOST_ERROR_BODY``, because the client reads such
bodies whole. The response's ``reconnected`` extension says when the first has happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2

MOST_ERROR_BODY = 64 * 1024  # bytes


class _CutShort(httpx2.AsyncByteStream):
    """At most ``MOST_ERROR_BODY`` bytes of a stream."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_ERROR_BODY
        async for data in self._stream:
            yield data[:left]
            left -= len(data)
            if left <= 0:
                break

    async def aclose(self) -> None:
        await self._stream.aclose()


class Transport(httpx2.AsyncHTTPTransport):
    """HTTP/1.1 with connection reuse, as the module says."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        connected = False

        async def trace(event: str, _info: dict[str, Any]) -> None:
            nonlocal connected
            connected = connected or event == "connection.connect_tcp.started"

        request.extensions = {**request.extensions, "trace": trace}
        try:
            response = await super().handle_async_request(request)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            if connected:
                raise
            response = await super().handle_async_request(request)
            response.extensions["reconnected"] = True
        if not response.is_success:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _CutShort(response.stream)
        return response
