"""The files of the page: one script and one sheet of ours, and Gradio's files, all announced with the document."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, Page

from kimi_ui.web.page_files import accepts_gzip
from tests.support.browser import Visitor
from tests.support.chat_site import ChatSite

MOST_REQUESTS = 60


def announced(site: ChatSite) -> list[str]:
    """The paths in the document's Link header."""
    return re.findall(r"<([^>]+)>; rel=", httpx.get(site.url, trust_env=False).headers["link"])


def test_our_files_are_named_by_their_content_and_cached_forever(site: ChatSite) -> None:
    ours = [path for path in announced(site) if path.startswith("/kimi/")]
    assert [path.rpartition(".")[2] for path in ours] == ["js", "css"]
    for path in ours:
        zipped = httpx.get(site.url + path, trust_env=False, headers={"Accept-Encoding": "br, gzip"})
        plain = httpx.get(site.url + path, trust_env=False, headers={"Accept-Encoding": "identity"})
        assert "immutable" in zipped.headers["cache-control"]
        assert zipped.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert plain.text == zipped.text
    assert httpx.get(f"{site.url}/kimi/page/0.js", trust_env=False).status_code == 404


def test_gzip_is_sent_only_where_it_is_accepted() -> None:
    assert accepts_gzip(["br", "deflate, gzip;q=0.8"])
    assert not accepts_gzip(["br, identity"])
    assert not accepts_gzip([])


def test_opening_the_page_loads_what_was_announced_and_little_else(site: ChatSite, browser: Browser) -> None:
    visitor = Visitor(browser, site.url)
    page = visitor.tab()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(urlsplit(request.url).path))
    page.goto(site.url)
    page.locator("[data-lane]").first.wait_for()
    visitor.close()
    assert visitor.problems == []
    assert len(requests) <= MOST_REQUESTS
    files = sorted(path for path in requests if path.startswith(("/assets/", "/kimi/page/")))
    assert files == sorted(announced(site))


def test_the_stats_controls_are_loaded_when_the_tab_is_opened(page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(urlsplit(request.url).path))
    page.get_by_role("tab", name="Stats").click()
    page.locator("#stats-filters").wait_for()
    assert [path for path in requests if path.startswith("/assets/")]
