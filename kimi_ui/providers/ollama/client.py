"""The client of an Ollama server; the only file that imports ``ollama``.

The library knows the host and asks the small questions (``/api/show``, ``/api/ps``, ``/api/tags``). ``OllamaBody``
reads the answer's body, because the library tears lines at U+0085 and takes a missing end for success. Every request
has a timeout, none follows a redirect, and a loopback address is never reached through a proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx

from ...config import hidden_from_clients
from ..errors import Target, from_exception, from_status
from ..http.body import HTTP_ERRORS, plain, read_bounded
from ..http.transport import MOST_ERROR_BODY, Transport

with hidden_from_clients():
    import ollama

CONNECT_S = 5.0

ResponseError = ollama.ResponseError


class Client(ollama.AsyncClient):
    """The library's client with our limits, and with access to a response as it comes.

    ``silence_s``: how long the server may say nothing, where neither the engine nor the caller has a limit.
    """

    def __init__(self, base_url: str, key: str, silence_s: float | None = None) -> None:
        super().__init__(
            base_url,
            timeout=httpx.Timeout(silence_s, connect=CONNECT_S),
            follow_redirects=False,
            # A new connection costs nothing here, a stale one does.
            transport=Transport(base_url, httpx.Limits(max_keepalive_connections=0)),
            trust_env=False,
            headers={"accept-encoding": "identity", **({"authorization": f"Bearer {key}"} if key else {})},
        )
        if not key:  # the library would send OLLAMA_API_KEY to whatever host this is
            self._client.headers.pop("authorization", None)

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object that answers a small question. Raises what httpx raises, ``ValueError`` for anything else.

        The library drops what it does not know, such as ``remote_host``.
        """
        response: httpx.Response = await self._client.request(method, path, json=body)
        answer = response.raise_for_status().json()
        if not isinstance(answer, dict):
            raise ValueError(f"{path} answered with no object")
        return answer

    async def open(self, path: str, body: Mapping[str, Any], stack: AsyncExitStack, target: Target) -> httpx.Response:
        """POST and return once the headers are in. Raises ``ProviderError``."""
        try:
            response: httpx.Response = await stack.enter_async_context(self._client.stream("POST", path, json=body))
            if response.is_success:
                return response
            content = await read_bounded(plain(response, target), MOST_ERROR_BODY)
        except (*HTTP_ERRORS, httpx.InvalidURL) as error:
            raise from_exception(error, target) from None
        raise from_status(response.status_code, response.headers, content, target)
