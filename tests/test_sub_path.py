"""The app below a path, behind a proxy: the page, its streams, Gradio's own files, exports, Stats, the login.

The kind: a proxy publishes the app at ``/chat/ui/``. Some proxies remove that prefix from the path, some do
not; some send it in ``X-Forwarded-Prefix``, for others it is configured.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from kimi_ui.config import ConfigError, clean_prefix, read_settings
from tests.support.browser import Visitor, WarmContext, lane, listening
from tests.support.chat_site import ask, open_site

PREFIX = "/chat/ui"


class Proxy(NamedTuple):
    """How a proxy passes requests on."""

    strips: bool
    names_prefix: bool
    root_path: str


PROXIES = {
    "strips, prefix configured": Proxy(True, False, PREFIX),
    "strips and names the prefix": Proxy(True, True, ""),
    "keeps the path, prefix configured": Proxy(False, False, PREFIX),
    "keeps the path and names the prefix": Proxy(False, True, ""),
}


@contextmanager
def proxied(url: str, proxy: Proxy) -> Iterator[str]:
    """A reverse proxy that publishes the app below ``PREFIX`` and nothing else; yields the published URL."""
    idle = httpx.Limits(keepalive_expiry=1)  # long before the app closes an idle connection, after 5 s
    client = httpx.AsyncClient(base_url=url, timeout=None, limits=idle)

    async def forward(request: Request) -> Response:
        path = request.url.path
        if not path.startswith(f"{PREFIX}/"):
            return Response("not published", 404)
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "accept-encoding")}
        headers["host"] = request.headers["host"]
        if proxy.names_prefix:
            headers["x-forwarded-prefix"] = PREFIX
        target = path.removeprefix(PREFIX) if proxy.strips else path
        upstream = client.build_request(
            request.method,
            httpx.URL(target, query=request.url.query.encode()),
            headers=headers,
            content=await request.body(),
        )
        answer = await client.send(upstream, stream=True)
        kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "connection")}
        response = StreamingResponse(pieces(answer), answer.status_code)
        response.raw_headers = [(name.encode(), value.encode()) for name, value in kept.items()]
        return response

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with client:
            yield

    app: Any = Starlette(
        lifespan=lifespan, routes=[Route("/{path:path}", forward, methods=["GET", "POST", "PUT", "DELETE"])]
    )
    app.state.streams = Namespace()
    with listening(app) as published:
        yield published + PREFIX


async def pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.HTTPError:  # the app was stopped while a stream was open
        pass
    finally:
        await answer.aclose()


class Namespace:
    closing = False


@pytest.mark.parametrize("name", PROXIES)
def test_the_page_works_below_a_path(warm: WarmContext, tmp_path: Path, name: str) -> None:
    proxy = PROXIES[name]
    with open_site(tmp_path, root_path=proxy.root_path) as site, proxied(site.url, proxy) as url:
        visitor = Visitor(warm, url)
        refused: list[str] = []
        page = visitor.tab()
        page.on("response", lambda response: refused.append(response.url) if response.status >= 400 else None)
        page.goto(f"{url}/")
        page.locator("[data-lane]").first.wait_for()
        turn = ask(page)
        expect(lane(page, "kimi", "answer").locator("strong")).to_have_text("Rayleigh")
        page.reload()
        expect(lane(page, "kimi", "answer").locator("strong")).to_have_text("Rayleigh")
        page.get_by_role("tab", name="Stats").click()
        page.get_by_text("Medians with").first.wait_for()
        exported = page.evaluate("(id) => fetch(`./kimi/turns/${id}/export?format=md`).then((r) => r.text())", turn)
        assert "Rayleigh" in exported
        assert refused == []
        visitor.close()
        not_found = "the server responded with a status of 404"  # /favicon.ico of the host, which is not the app's
        assert [problem for problem in visitor.problems if not_found not in problem] == []


def test_the_login_stays_below_the_path(warm: WarmContext, tmp_path: Path) -> None:
    proxy = PROXIES["strips and names the prefix"]
    with open_site(tmp_path, password="open sesame") as site, proxied(site.url, proxy) as url:
        visitor = Visitor(warm, url)
        page = visitor.tab()
        page.goto(f"{url}/")
        page.get_by_label("Password").fill("open sesame")
        page.get_by_role("button", name="Enter").click()
        page.locator("[data-lane]").first.wait_for()
        assert page.url == f"{url}/"
        page.get_by_role("link", name="Log out").click()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Password").wait_for()
        visitor.close()


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        *(("", ""), ("/", ""), ("chat", "/chat"), ("/chat/", "/chat"), ("/chat/ui", "/chat/ui"), (" /a ", "/a")),
        *(
            ("/a b", None),
            ("/../x", None),
            ("//evil.example", "/evil.example"),
            ('/"><script>', None),
            ("/a\r\nb", None),
        ),
    ],
)
def test_only_a_plain_path_is_accepted_as_a_prefix(value: str, prefix: str | None) -> None:
    assert clean_prefix(value) == prefix


def test_a_prefix_in_a_header_never_leads_elsewhere(tmp_path: Path) -> None:
    with open_site(tmp_path, password="x") as site:
        for header in ("//evil.example", "/\\evil.example", "https://evil.example", '/"x'):
            answer = httpx.get(site.url, headers={"X-Forwarded-Prefix": header, "Accept": "text/html"})
            assert answer.headers["location"].startswith("/")
            assert not answer.headers["location"].startswith("//")
            assert '"x' not in answer.text


@pytest.mark.parametrize(
    ("options", "env", "root_path"),
    [
        ({"root_path": "/a"}, {"KIMI_UI_ROOT_PATH": "/b"}, "/a"),
        ({}, {"KIMI_UI_ROOT_PATH": "/b/"}, "/b"),
        ({}, {"GRADIO_ROOT_PATH": "/c"}, "/c"),
        ({}, {"GRADIO_ROOT_PATH": "https://name.example/c"}, "/c"),
        ({}, {}, ""),
    ],
)
def test_the_root_path_is_an_option_or_a_variable(options: dict[str, Any], env: dict[str, str], root_path: str) -> None:
    assert read_settings(**options, env=env).root_path == root_path


def test_an_invalid_root_path_is_refused_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="--root-path"):
        read_settings(root_path="/a b", env={})
