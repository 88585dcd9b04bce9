"""Serving below a path: a proxy publishes the app at ``https://name/chat/ui/`` instead of at the root.

The prefix is configured (``--root-path``, ``KIMI_UI_ROOT_PATH``), or the proxy names it with each request
(``X-Forwarded-Prefix``). Proxies that remove it from the path and proxies that leave it there both work. ``SubPath`` is
the outermost middleware and takes the prefix off, so that the guard, the login and the routes see the app's own paths;
``Rooted`` is the innermost one and tells Starlette and Gradio, which write it into the page.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..config import clean_prefix

PREFIX = "kimi_prefix"  # in the scope of a request: the prefix, empty at the root
_OWN_TARGET = re.compile(r"<(?=/)")


class SubPath:
    """ASGI middleware; ``root_path`` as from ``clean_prefix``: the configured prefix, which goes before the proxy's."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix = self._root_path or clean_prefix(Headers(scope=scope).get("x-forwarded-prefix", "")) or ""
        if not prefix:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path == prefix or path.startswith(f"{prefix}/"):
            path = path[len(prefix) :] or "/"

        async def prefixed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("location", "").startswith("/"):
                    headers["location"] = prefix + headers["location"]
                if "link" in headers:
                    headers["link"] = _OWN_TARGET.sub(f"<{prefix}", headers["link"])
            await send(message)

        await self._app({**scope, "path": path, "raw_path": path.encode(), PREFIX: prefix}, receive, prefixed)


class Rooted:
    """ASGI middleware: puts the prefix back as ASGI's ``root_path``, for what comes after it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if prefix := scope.get(PREFIX, ""):
            scope = {**scope, "root_path": prefix, "path": prefix + scope["path"]}
        await self._app(scope, receive, send)
