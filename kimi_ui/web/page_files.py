"""The page's scripts and style sheets as one file each, named by a hash of the content so that browsers cache them.

This replaces sixty requests by two. The files are compressed once, at start.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..assets import ASSETS, math_font
from ..view.bundle import bundle_scripts, bundle_styles
from ..view.lane_colours import accent_css

STYLES = (
    *(
        "page",
        "base/model_search",
        "lane/lane",
        "heavy/heavy",
        "composer/composer",
        "turn/turn",
        "turn/race",
        "turn/verdict",
        "compare/compare",
        "lane/markdown",
    ),
    *("lane/highlight", "lanes_tab/lanes_tab", "benchmark_tab/benchmark_tab", "bench/report", "stats/stats"),
    *("sidebar/sidebar", "turn/replay", "appearance/appearance", "base/thumbnail", "base/share", "base/targets"),
    *("lane/math_font", "base/print"),
)
# The modules that fill Gradio's elements.
SCRIPTS = ("page.js", "lanes_tab/lanes_tab.js", "benchmark_tab/benchmark_tab.js")
FOR_EVER = "public, max-age=31536000, immutable"


class _File:
    def __init__(self, text: str, suffix: str, media_type: str) -> None:
        self.data = text.encode()
        self.zipped = gzip.compress(self.data, mtime=0)
        self.name = f"{hashlib.sha256(self.data).hexdigest()[:16]}.{suffix}"
        self.media_type = media_type


class PageFiles:
    """Both files, built by the constructor. The script exports ``modules``: each module's exports by its path."""

    def __init__(self) -> None:
        script = f"{bundle_scripts(ASSETS, SCRIPTS)}export {{ modules }};\n"
        style = f"{accent_css()}\n{bundle_styles(ASSETS, STYLES)}"
        self._script = _File(script, "js", "text/javascript")
        self._style = _File(style, "css", "text/css")
        self._files = {file.name: file for file in (self._script, self._style)}

    @property
    def script_url(self) -> str:
        return f"/kimi/page/{self._script.name}"

    @property
    def urls(self) -> list[str]:
        return [f"/kimi/page/{name}" for name in self._files]

    @property
    def head(self) -> str:
        """HTML for the document's head. The script sets the colours before the page is drawn."""
        style = f'<link rel="stylesheet" crossorigin href="./kimi/page/{self._style.name}">'
        return f'{style}<script type="module" src=".{self.script_url}"></script>'

    def mount(self, module: str) -> str:
        """JavaScript for a component's ``js_on_load``: lets the module fill the component's ``element``."""
        load = f'import(new URL(".{self.script_url}", document.baseURI))'
        return f'{load}.then(({{ modules }}) => modules["{module}"].mount(element));'

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/kimi/page/{name}", self.file),
            Route("/kimi/fonts/math.ttf", self.font),  # the URL in lane/markdown.css
        ]

    async def file(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
        if not accepts_gzip(request.headers.getlist("accept-encoding")):
            return Response(file.data, media_type=file.media_type, headers=headers)
        return Response(file.zipped, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})

    async def font(self, request: Request) -> Response:
        """The font for formulas. Browsers fetch it only for a page with formulas."""
        return FileResponse(math_font(), media_type="font/ttf", headers={"Cache-Control": FOR_EVER})


def accepts_gzip(headers: Iterable[str]) -> bool:
    return any(word.strip().split(";")[0] == "gzip" for header in headers for word in header.split(","))


class Preload:
    """ASGI middleware: adds a Link header to the document, so that the browser preloads these URLs."""

    def __init__(self, app: ASGIApp, urls: Iterable[str]) -> None:
        self._app = app
        self._link = ", ".join(
            f"<{url}>; rel=modulepreload" if url.endswith(".js") else f"<{url}>; rel=preload; as=style; crossorigin"
            for url in urls
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return

        async def with_link(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Link"] = self._link
            await send(message)

        await self._app(scope, receive, with_link)
