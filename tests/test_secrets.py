"""A key in the environment appears nowhere else: not in responses, the log, an export or the terminal."""

from __future__ import annotations

import http.client
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kimi_ui.cli.open_app import OpenApp, session
from kimi_ui.config import read_settings
from tests.support.browser import listening
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import Request, Stream, head

KEY = "sk-canary-1f8c0a77d2"
PASSWORD = "canary-pass-9a31"

LANES = """
[[lane]]
id = "fine"
label = "Fine"
provider = "openai"
base_url = "{url}"
api_key_env = "SOME_KEY"
model = "m-1000-5-5"

[[lane]]
id = "leaky"
label = "Leaky"
provider = "openai"
base_url = "{url}"
api_key_env = "SOME_KEY"
model = "leaky"
"""


async def leaky(request: Request) -> Stream:
    """A gateway that repeats the credentials it received, plain, quoted and in two parts of its sentence."""
    body = (
        f'{{"error": {{"message": "Incorrect API key provided: {KEY} (Authorization: Bearer {KEY})", "key": "{KEY}"}}}}'
    )
    yield head(401, "application/json", f"Content-Length: {len(body)}", f"x-echo: {KEY}") + body.encode()


class Site(NamedTuple):
    url: str
    opened: OpenApp
    folder: Path


@pytest.fixture
def site(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    upstream.key = KEY
    upstream.script("leaky", leaky)
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setenv("KIMI_UI_PASSWORD", PASSWORD)
    lanes = tmp_path / "lanes.toml"
    lanes.write_text(LANES.format(url=upstream.base_url))
    settings = read_settings(db=str(tmp_path / "log.sqlite3"), lanes=str(lanes))
    from kimi_ui.ui.site import create_app

    with session(settings) as opened:
        app = create_app(opened.engine, opened.turns, opened.roster, password=settings.password)
        with listening(app) as url:
            yield Site(url, opened, tmp_path)


def ask(url: str, path: str, **headers: str) -> str:
    """The whole response to a request, headers included."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {PASSWORD}", **headers})
        response = connection.getresponse()
        return f"{response.status}\n{response.headers}\n{response.read().decode(errors='replace')}"
    finally:
        connection.close()


def test_the_key_appears_nowhere(
    site: Site, upstream: Upstream, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    engine = site.opened.engine
    turn = engine.send("Why?")
    until(lambda: turn.closed)
    statuses = {entry.lane: entry.event.status for entry in turn.entries if type(entry.event).__name__ == "End"}
    assert statuses == {"fine": "ok", "leaky": "error"}
    assert any(request.headers.get("authorization") == f"Bearer {KEY}" for request in upstream.requests)

    front = ask(site.url, "/")
    assert front.startswith("200")
    scripts = re.findall(r'(?:src|href)="(/[^"]+)"', front)[:6]
    heard = [front]
    for path in (
        *("/config", "/gradio_api/info", "/gradio_api/openapi.json", "/kimi/state", f"/kimi/state?turn={turn.turn_id}"),
        *(f"/kimi/turns/{turn.turn_id}/{part}" for part in ("events", "frame", "replay", "prompt", "nothing")),
        *(f"/kimi/turns/{turn.turn_id}/export?format={kind}" for kind in ("html", "md", "json")),
        *("/kimi/lanes", "/kimi/lanes/fine/models", "/kimi/lanes/leaky/models", "/kimi/conversations", "/kimi/nothing"),
        *(f"/kimi/turns/{turn.turn_id}/lanes/leaky/{part}" for part in ("answer", "attempts/1")),
        *scripts,
    ):
        heard.append(ask(site.url, path))
    heard.append(ask(site.url, "/kimi/login"))
    heard.append(repr(site.opened.settings) + repr(site.opened.roster.servings) + repr(engine.specs) + repr(turn))
    assert sum("Incorrect API key" in text for text in heard) >= 3  # the failure itself is reported

    written = [path.read_bytes() for path in site.folder.rglob("*") if path.is_file()]
    assert len(written) >= 2
    out, err = capfd.readouterr()
    heard += [caplog.text, out, err]
    for text in heard:
        assert KEY not in text, text[:2000]
        assert PASSWORD not in text, text[:2000]
        assert KEY[3:] not in text, text[:2000]
    for data in written:
        assert KEY.encode() not in data
        assert PASSWORD.encode() not in data
