"""The guard and the login over real HTTP: refused requests, closed routes, headers of every response."""

from __future__ import annotations

import asyncio
import contextlib
import html
import http.client
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.sessions import LASTS, READ_AGAIN, WINDOW, SessionLog, SignInTries
from kimi_ui.ui.environment import SET, harden_environment
from kimi_ui.web.accounts import Accounts
from kimi_ui.web.guard import Guard, broken, host_name, is_closed, known_hosts
from kimi_ui.web.login import address_of
from kimi_ui.web.passwords import TRIES, OnePassword
from tests.support.engine_run import turns_at
from tests.support.waiting import until

CROSS = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}


async def echo(request: Request) -> Response:
    body = await request.body()
    headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true"}
    kind = request.query_params.get("kind")
    return JSONResponse({"path": request.url.path, "n": len(body)}, headers=headers, media_type=kind)


first_was_read = threading.Event()


async def slow_events(request: Request) -> Response:
    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.to_thread(first_was_read.wait, 60)
        yield b"data: 2\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def fails(request: Request) -> Response:
    raise RuntimeError("secret")


@contextlib.contextmanager
def served(*middleware: Middleware) -> Iterator[int]:
    routes = [
        Route("/kimi/turns/1/events", slow_events),
        Route("/broken", fails),
        Route("/{rest:path}", echo, methods=["GET", "POST", "PUT", "DELETE"]),
    ]
    app = Starlette(routes=routes, middleware=list(middleware), exception_handlers={Exception: broken})
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(Middleware(Guard, hosts=known_hosts("127.0.0.1", ["kimi.example"]), max_body_bytes=1000)) as port:
        yield port


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read().decode()


def ask(port: int, path: str = "/", method: str = "GET", body: Any = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        chunked = "Transfer-Encoding" in named
        connection.request(method, path, body, {"Host": f"127.0.0.1:{port}", **named}, encode_chunked=chunked)
        return Answer(connection.getresponse())
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:7860", "127.0.0.1:1", "kimi.example:443"])
def test_known_host_names_are_answered(port: int, host: str) -> None:
    assert ask(port, Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "x.localhost",
        "localhost.evil.example:7860",
        "[::1]",
        "[::1]:7860",
        "192.168.1.7",
        "10.0.0.1:7860",
        "0.0.0.0",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "",
        "127.0.0.1:x",
        "[127.0.0.1",
    ],
)
def test_other_host_names_are_refused_with_the_remedy(port: int, host: str) -> None:
    answer = ask(port, Host=host)
    assert answer.status == 400
    assert "KIMI_UI_HOSTS" in answer.body


def test_a_server_others_can_reach_takes_addresses_but_not_foreign_names() -> None:
    hosts = known_hosts("0.0.0.0")
    assert hosts.allow("192.168.1.7:7860")
    assert hosts.allow("[fe80::1]:7860")
    assert hosts.allow("localhost")
    assert not hosts.allow("evil.example")
    assert known_hosts("::1").allow("[::1]:7860")
    assert (host_name("[::1]:80"), host_name("A:1"), host_name("[::1]x")) == ("::1", "a", "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},  # another port is another origin
        {"Origin": "http://localhost:7860"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},  # a form on another site
        CROSS,
    ],
)
def test_writes_from_elsewhere_are_refused(port: int, method: str, headers: dict[str, str]) -> None:
    for path in ("/gradio_api/queue/join", "/kimi/turns", "/kimi/turns/1/stop"):
        assert ask(port, path, method, b"{}", **headers).status == 403


def test_requests_of_our_page_of_programs_and_followed_links_are_allowed(port: int) -> None:
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert ask(port, "/x", "POST", b"{}", **own).status == 200
    assert ask(port, "/x", "POST", b"{}").status == 200
    assert ask(port, "/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status == 200


def test_reads_by_other_sites_are_refused(port: int) -> None:
    for mode in ("no-cors", "cors"):
        assert ask(port, "/config", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://127.0.0.1/",
        "/gradio_api/file=HTTPS://evil.example/a.png",
        "/gradio_api/file=%68ttp://evil.example/",
        "//gradio_api/file=http://evil.example/",
        "/./gradio_api/proxy=https://evil.example/",
        "/gradio_api/upload",
        "/gradio_api/runs",
        "/gradio_api/run/predict",
        "/gradio_api/api/predict",
        "/gradio_api/run-history",
        "/gradio_api/component_server",
        "/gradio_api/monitoring",
        "/gradio_api/process_recording",
        "/gradio_api/vibe-edit",
        "/gradio_api/dev/reload",
        "/login",
        "/monitoring/summary",
        "/proxy=https://evil.example/",
    ],
)
def test_routes_the_page_does_not_use_are_closed(port: int, path: str) -> None:
    for method in ("GET", "POST"):
        assert ask(port, path, method).status == 403
    assert not is_closed("/gradio_api/file=/tmp/x.csv")
    assert not is_closed("/gradio_api/queue/join")


def test_bodies_are_limited_whatever_their_content_length(port: int) -> None:
    assert ask(port, "/x", "POST", b"x" * 1000).status == 200
    assert ask(port, "/x", "POST", b"x" * 1001).status == 413
    chunks = iter([b"x" * 600, b"x" * 600])
    assert ask(port, "/x", "POST", chunks, **{"Transfer-Encoding": "chunked"}).status == 413


def test_every_response_carries_the_headers_and_no_cors(port: int) -> None:
    failed = ask(port, "/broken")
    assert failed.status == 500
    assert "secret" not in failed.body
    for answer in (ask(port, "/"), ask(port, "/", Host="evil.example"), ask(port, "/gradio_api/upload"), failed):
        headers = {name.lower(): value for name, value in answer.headers.items()}
        assert not [name for name in headers if name.startswith("access-control-")]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
        policy = headers["content-security-policy"]
        assert "connect-src 'self'" in policy
        assert "img-src 'self' data: blob:" in policy
        assert "form-action 'none'" in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert (
            headers["x-dns-prefetch-control"] == "off"
        )  # else the browser looks up the host names of an answer's links before a click


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml; charset=utf-8"])
def test_other_documents_are_sandboxed(port: int, kind: str) -> None:
    for path in ("/kimi/turns/1/export", "/gradio_api/file=/tmp/x.svg"):
        policy = ask(port, f"{path}?kind={quote(kind)}").headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "sandbox" in policy
        assert "script-src" not in policy
    assert "script-src" in ask(port, f"/?kind={quote(kind)}").headers["content-security-policy"]


def test_event_streams_are_not_buffered(port: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/kimi/turns/1/events")
        with connection.getresponse() as response:
            assert response.read1(100) == b"data: 1\n\n"
            first_was_read.set()
            assert response.read() == b"data: 2\n\n"


class Clock:
    now = datetime(2026, 11, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@contextlib.contextmanager
def behind_password(clock: Clock, place: Place | None = None, password: str = "open sesame") -> Iterator[int]:
    """One of the servers that share the log at ``place``."""
    guard = Middleware(Guard, hosts=known_hosts("127.0.0.1"))
    with turns_at(place) as turns:
        sign_in = OnePassword(password, SignInTries(turns.writer, turns.reader, clock))
        sessions = SessionLog(turns.writer, turns.reader, clock)
        with served(guard, Middleware(Accounts, sign_in=sign_in, sessions=sessions)) as port:
            yield port
            turns.writer.flush().result()


@pytest.fixture(scope="module")
def with_password() -> Iterator[tuple[int, Clock]]:
    clock = Clock()
    with behind_password(clock) as port:
        yield port, clock


@pytest.fixture
def locked(with_password: tuple[int, Clock]) -> tuple[int, Clock]:
    """A server that requires the password, long after the tries of the test before."""
    with_password[1].now += WINDOW
    return with_password


def log_in(port: int, password: str, **more: str) -> Answer:
    form = urlencode({"password": password, **more})
    return ask(port, "/kimi/login", "POST", form, **{"Content-Type": "application/x-www-form-urlencoded"})


def test_nothing_is_served_without_the_password(locked: tuple[int, Clock]) -> None:
    port, _ = locked
    for path in ("/config", "/kimi/turns/1/events", "/gradio_api/info", "/kimi/page/0.js", "/kimi/logout"):
        answer = ask(port, path)
        assert answer.status == 401
        assert "password" in answer.body
    visit = ask(port, "/", Accept="text/html")
    assert visit.status == 303
    assert visit.headers["location"] == "/kimi/login"
    assert 'type="password"' in ask(port, "/kimi/login").body


def test_the_login_leads_to_the_requested_page(locked: tuple[int, Clock]) -> None:
    port, _ = locked
    visit = ask(port, "/?turn=a%26b&x=1", Accept="text/html")
    form = ask(port, visit.headers["location"])
    wanted = re.search(r'name="next" type="hidden" value="([^"]*)"', form.body)
    assert wanted
    assert html.unescape(wanted[1]) == "/?turn=a%26b&x=1"
    answer = log_in(port, "open sesame", next=html.unescape(wanted[1]))
    assert answer.headers["location"] == "/?turn=a%26b&x=1"
    session = {"Cookie": answer.headers["set-cookie"].split(";")[0]}
    assert ask(port, visit.headers["location"], **session).headers["location"] == "/?turn=a%26b&x=1"


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "x", "/a\r\nSet-Cookie: a=b", ""]
)
def test_the_login_never_leads_to_another_site(locked: tuple[int, Clock], path: str) -> None:
    port, _ = locked
    assert log_in(port, "open sesame", next=path).headers["location"] == "/"


def test_a_link_on_another_site_is_reloaded_from_our_own_origin(locked: tuple[int, Clock]) -> None:
    port, _ = locked
    visit = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    again = ask(port, '/?turn=1"><script>', **visit)
    assert again.status == 200
    assert 'content="0; url=/"' in again.body
    assert 'content="0; url=/?turn=1"' in ask(port, "/?turn=1", **visit).body
    assert "script-src" not in again.headers["content-security-policy"]


def test_login_session_and_logout(locked: tuple[int, Clock]) -> None:
    port, clock = locked
    answer = log_in(port, "open sesame")
    cookie = answer.headers["set-cookie"]
    assert answer.status == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    session = {"Cookie": cookie.split(";")[0]}
    assert json.loads(ask(port, "/config", **session).body)["path"] == "/config"
    assert ask(port, "/config", Cookie="kimi_session=made-up").status == 401
    assert 'action="/kimi/logout"' in ask(port, "/kimi/logout", **session).body
    assert ask(port, "/kimi/logout", "POST", **session).status == 303
    assert ask(port, "/config", **session).status == 401
    again = {"Cookie": log_in(port, "open sesame").headers["set-cookie"].split(";")[0]}
    clock.now += LASTS
    assert ask(port, "/config", **again).status == 401


def test_after_too_many_wrong_passwords_even_the_right_one_must_wait(locked: tuple[int, Clock]) -> None:
    port, clock = locked
    for _ in range(TRIES["here"]):
        assert log_in(port, "guess").status == 401
    answer = log_in(port, "open sesame")
    assert answer.status == 429
    assert "Wait" in answer.body
    assert ask(port, "/config", Authorization="Bearer open sesame").status == 401
    clock.now += WINDOW
    assert log_in(port, "open sesame").status == 303


def test_servers_that_share_a_log_share_sessions_and_limits_of_the_password(tmp_path: Path) -> None:
    clock, place = Clock(), tmp_path / "log.sqlite3"
    with behind_password(clock, place) as one, behind_password(clock, place) as other:
        cookie = {"Cookie": log_in(one, "open sesame").headers["set-cookie"].split(";")[0]}
        assert ask(other, "/config", **cookie).status == 200
        assert [log_in(port, "guess").status for port in (one, one, other)] == [401] * 3
        statuses = [ask(other, "/config", Authorization="Bearer guess").status for _ in range(2)]
        assert statuses == [401, 401]
        until(lambda: LogReader(place).rows("SELECT count(*) FROM sign_in_tries") == [(5,)])
        assert log_in(one, "open sesame").status == 429
        assert ask(other, "/kimi/logout", "POST", **cookie).status == 303
        clock.now += READ_AGAIN
        assert ask(one, "/config", **cookie).status == 401
        clock.now += WINDOW
        cookie = {"Cookie": log_in(one, "open sesame").headers["set-cookie"].split(";")[0]}
    with behind_password(clock, place) as restarted:
        assert ask(restarted, "/config", **cookie).status == 200
    with behind_password(clock, place, "another") as changed:
        assert ask(changed, "/config", **cookie).status == 401


def test_an_ipv6_network_counts_as_one_address() -> None:
    def address(host: str) -> str:
        return address_of(Request({"type": "http", "headers": [], "client": (host, 1)}))

    assert address("2001:db8::1") == address("2001:db8::ffff:1") != address("2001:db8:0:1::1")
    assert address("192.168.1.7") == "192.168.1.7"


def test_a_program_sends_the_password_as_a_bearer_token(locked: tuple[int, Clock]) -> None:
    port, _ = locked
    assert ask(port, "/config", Authorization="Bearer open sesame").status == 200
    assert ask(port, "/config", Authorization="Bearer guess").status == 401


def test_the_login_form_does_not_repeat_its_input(locked: tuple[int, Clock]) -> None:
    port, _ = locked
    answer = log_in(port, "<img src=x onerror=alert(1)>")
    assert "onerror" not in answer.body
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_no_environment_variable_opens_gradio() -> None:
    """Every variable that Gradio reads, in this version or a later one."""
    environment = dict.fromkeys(
        ("GRADIO_SHARE", "GRADIO_ALLOWED_PATHS", "GRADIO_SERVER_NAME", "GRADIO_ANALYTICS_ENABLED", "GRADIO_NEW"), "True"
    )
    environment |= {"GRADIO_TEMP_DIR": "/somewhere", "PATH": "/bin"}
    harden_environment(environment)
    assert environment == {"GRADIO_TEMP_DIR": "/somewhere", "PATH": "/bin", **SET}
    assert "True" not in environment.values()
