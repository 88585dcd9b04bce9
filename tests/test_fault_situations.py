"""Faults that are situations rather than answers: broken TLS, a stop, a kill, a flood, a clock that jumps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from kimi_ui.core.attempt import live_phase
from kimi_ui.core.events import LOADING_MODEL, Phase
from kimi_ui.core.lane import LaneSpec, Limits
from kimi_ui.core.turn import TurnLog
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter
from kimi_ui.providers.base import Provider
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from tests.support.engine_run import running
from tests.support.folding import run_provider
from tests.support.scenarios import redirect_to
from tests.support.telling import END, FOREVER, SSE_BODY, A, D, R, delta, endless, refuse, tell
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import SSE, Stream, stream_of


def openai_lane(base_url: str, model: str, id: str = "a", key: str = "", **fields: Any) -> OpenAICompatible:
    return OpenAICompatible(LaneSpec(id, id.upper(), "openai", model=model, base_url=base_url, **fields), key)


def ollama_lane(base_url: str, model: str, id: str = "a", **fields: Any) -> Ollama:
    return Ollama(OllamaLane(id, id.upper(), "ollama", model=model, base_url=base_url, **fields))


# -- 3: TLS


def server_context(authority: trustme.CA, name: str = "127.0.0.1", expired: bool = False) -> ssl.SSLContext:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    issued = authority.issue_cert(
        name, not_before=past, not_after=datetime(2021, 1, 1, tzinfo=UTC) if expired else None
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


@pytest.mark.parametrize("ollama", [False, True], ids=["sse", "ndjson"])
async def test_tls(ollama: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted, other = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    cases = {
        "": server_context(trusted),
        "self-signed|unable to get local issuer": server_context(other),
        "expired": server_context(trusted, expired=True),
        "mismatch|not valid for": server_context(trusted, "other.example"),
    }

    async def ask(url: str) -> Any:
        lane = ollama_lane(url, "m-2000-3-3") if ollama else openai_lane(f"{url}/v1", "m-2000-3-3")
        async with contextlib.aclosing(lane):
            return await run_provider(lane)

    for words, context in cases.items():
        with Upstream(tls=context) as upstream:
            got = await ask(upstream.origin)
        if words:
            assert got.error
            assert (got.kind, got.error.retryable) == ("tls", False)
            assert any(word in got.error.failure.message.lower() for word in words.split("|")), got.error.failure
        else:
            assert got.status == "ok"
    with Upstream() as plain_http, Upstream(tls=server_context(trusted)) as https:
        mixed = await ask(plain_http.origin.replace("http:", "https:"))
        assert mixed.kind == "tls"
        assert "http://" in mixed.error.failure.remedy
        mixed = await ask(https.origin.replace("https:", "http:"))
        assert mixed.kind in ("tls", "network"), "a TLS server may only hang up"


# -- 13: Retry-After, seen by the engine


def test_retries_follow_retry_after_and_are_new_attempts(upstream: Upstream, tmp_path: Path) -> None:
    n_requests = 0
    busy, good = refuse(429, {"detail": "slow down"}, "Retry-After: 0.05"), tell(R("plan"), A("yes"), *END)

    def behave(request: Any) -> Any:
        nonlocal n_requests
        n_requests += 1
        return (busy if n_requests < 3 else good)(request)

    upstream.script("busy", behave)
    upstream.script("broke", refuse(402, {"detail": "pay"}))
    with running(
        tmp_path / "log", openai_lane(upstream.base_url, "busy"), openai_lane(upstream.base_url, "broke", "b")
    ) as run:
        turn = run.engine.send("hello")
        rows = run.rows(turn)
        fold = turn.fold()
    assert [row["status"] for row in rows["a"]] == ["error", "error", "ok"]
    ends = [fold.folds[attempt].end for attempt in fold.lanes["a"].attempts]
    assert [end.retry_in_s for end in ends if end] == [0.05, 0.05, None]
    assert [row["status"] for row in rows["b"]] == ["error"], "asking again for money is of no use"


def test_nothing_is_retried_once_text_has_arrived(upstream: Upstream, tmp_path: Path) -> None:
    with running(tmp_path / "log", openai_lane(upstream.base_url, "scenario-reset-midway")) as run:
        assert [row["status"] for row in run.rows(run.engine.send("hello"))["a"]] == ["incomplete"]


# -- 45: clocks


def test_a_jump_of_the_wall_clock_is_flagged_and_changes_no_duration(upstream: Upstream, tmp_path: Path) -> None:
    """An hour's step of the wall clock during a stream: it is flagged, and no duration changes."""

    def wall_ns() -> int:
        return time.time_ns() + (3600_000_000_000 if upstream.requests else 0)

    with running(tmp_path / "log", openai_lane(upstream.base_url, "m-500-10-10"), wall_ns=wall_ns) as run:
        turn = run.engine.send("hello")
        row, fold = run.rows(turn)["a"][0], run.folds(turn)["a"]
    assert "clock_jump" in fold.flags
    assert fold.status == "ok"
    assert 0 < row["ttft_ms"] < row["e2e_ms"] < 60_000


# -- 47: redirects


async def test_a_redirect_forwards_no_key(upstream: Upstream) -> None:
    key = "cpk_canary-redirect-0123456789"
    with Upstream() as elsewhere:
        upstream.script("moved", redirect_to(f"{elsewhere.base_url}/chat/completions"))
        for lane in (
            openai_lane(upstream.base_url, "moved", key=key),
            Ollama(OllamaLane("b", "B", "ollama", model="moved", base_url=upstream.origin), key),
        ):
            async with contextlib.aclosing(lane):
                got = await run_provider(lane)
            assert got.kind == "redirect"
            assert got.error
            assert str(elsewhere._port) in got.error.failure.message
        assert elsewhere.requests == []


# -- 51: floods


def flooded(upstream: Upstream, path: Path, **expected: str) -> dict[str, int]:
    """The growth of a process in bytes after each of these scenarios, which must end as expected; the first is 0."""
    command = [sys.executable, "-m", "tests.support.flood", str(path / "log"), upstream.base_url, *expected]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=350).stdout)
    assert report["status"] == expected
    grown: dict[str, int] = report["grown_bytes"]
    return grown


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_floods_are_read_in_bounded_memory(upstream: Upstream, tmp_path: Path) -> None:
    """Endless reasoning, endless answer, a 64 MB line, a line without end, a gzip bomb: less than 150 MB more each."""
    texts = {"good": "ok", "endless-reasoning": "length", "endless-answer": "length"}
    grown = flooded(upstream, tmp_path, **texts, **dict.fromkeys(("line-64mb", "line-endless", "gzip-bomb"), "error"))
    assert max(grown.values()) < 150_000_000, grown


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_floods_without_text_are_read_in_bounded_memory(upstream: Upstream, tmp_path: Path) -> None:
    """Endless lines without data, and half a million tool-call markers and progress reports: less than 150 MB more."""
    marker = D({"choices": [{"index": 0, "delta": {"content": "<|tool_calls_section_end|>" * 1000}}]})
    progress = D(b'data: {"prompt_progress":{"total":9,"processed":5}}\n\n' * 1000)
    upstream.script("scenario-data-lines", endless(D(b"data:\n" * 8000)))
    upstream.script("scenario-markers", tell(*[marker] * 500, A("a"), *END))
    upstream.script("scenario-progress", tell(*[progress] * 500, A("a"), *END))
    expected = {"good": "ok", "data-lines": "error", "markers": "ok", "progress": "ok"}
    grown = flooded(upstream, tmp_path, **expected)
    assert max(grown.values()) < 150_000_000, grown


# -- 52: stop in every state


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never sends a byte: a TLS handshake hangs there. Every client must close."""
    connections: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(server.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert connections
    for connection in connections:
        with connection:
            connection.settimeout(5)
            while connection.recv(65536):
                pass


@pytest.mark.slow
def test_stop_closes_the_upstream(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while resolving, shaking hands, waiting for headers or a token, thinking, answering, before a retry."""
    resolver = threading.Event()
    real = socket.getaddrinfo

    def slow(host: Any, *rest: Any, **more: Any) -> Any:
        if host in ("slow.invalid", b"slow.invalid"):
            resolver.wait(20)
            raise socket.gaierror(socket.EAI_NONAME, "stopped waiting")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr("kimi_ui.providers.ollama.provider.ASK_S", 3)  # one server never answers a small question
    upstream.script("later", refuse(429, {"detail": "slow down"}, "Retry-After: 50"))
    upstream.ollama.unload_all()
    upstream.ollama.habits.load_s = 30
    with silent_port() as port, silent_port() as other:
        lanes: dict[str, tuple[Provider, str, bool]] = {
            "resolving": (openai_lane("http://slow.invalid/v1", "m", "resolving"), "connecting", False),
            "handshake": (openai_lane(f"https://127.0.0.1:{port}/v1", "m", "handshake"), "connecting", False),
            "headers": (openai_lane(upstream.base_url, "scenario-no-headers", "headers"), "connecting", True),
            "token": (openai_lane(upstream.base_url, "scenario-headers-only", "token"), "waiting", True),
            "thinking": (openai_lane(upstream.base_url, "m-50-1000-1", "thinking"), "thinking", True),
            "answering": (openai_lane(upstream.base_url, "m-50-0-1000", "answering"), "answering", True),
            "shaking": (ollama_lane(f"https://127.0.0.1:{other}", "m", "shaking"), "connecting", False),
            "ollama": (ollama_lane(upstream.origin, "m-50-1000-2", "ollama", think=True), "waiting", True),
            "retry": (openai_lane(upstream.base_url, "later", "retry"), "error", False),
        }
        with running(tmp_path / "log", *(lane for lane, _, _ in lanes.values())) as run:
            turn = run.engine.send("hello")

            def phases() -> dict[str, str]:
                fold = turn.fold()
                return {lane: live_phase(fold.folds[fold.current(lane) or ""]) for lane in lanes if fold.current(lane)}

            until(lambda: phases() == {name: phase for name, (_, phase, _) in lanes.items()})
            stopped_at = time.monotonic()
            run.engine.stop(turn.turn_id)
            until(lambda: turn.closed)
            resolver.set()
            rows = run.rows(turn)
            streaming = {name for name, (_, _, seen) in lanes.items() if seen}
            until(lambda: len(upstream.closed) == len(streaming))
    assert {rows[name][-1]["status"] for name in lanes} == {"stopped"}
    assert [request.model for request in upstream.requests].count("later") == 1, "the announced try never left"
    slowest = max(request.closed_t or 0 for request in upstream.closed) - stopped_at
    print(f"slowest close seen by the upstream {slowest * 1000:.0f} ms after the stop")


def test_a_stop_keeps_the_newest_usage_and_held_back_text(upstream: Upstream, tmp_path: Path) -> None:
    """The newest usage, though only every eighth token is reported, and held-back text that might have become a tag."""
    counted = [D(delta({"content": "word "}, usage={"completion_tokens": n})) for n in range(1, 16)]
    upstream.script("counting", tell(*counted, A("if a <"), FOREVER))
    upstream.script("limited", tell(*counted, A("if a <"), FOREVER))
    lanes = [
        openai_lane(upstream.base_url, "counting"),
        openai_lane(upstream.base_url, "limited", "b", limits=Limits(30, 1, 60)),
    ]
    with running(tmp_path / "log", *lanes) as run:
        stopped = run.engine.send("hello", lanes=["a"])
        until(lambda: (fold := stopped.fold().newest("a")) and fold.answer.endswith("if a "))
        timed_out = run.engine.send("hello", lanes=["b"])  # takes a second, so the stop comes long after the last token
        until(lambda: timed_out.closed)
        run.engine.stop(stopped.turn_id)
        rows = run.rows(stopped) | run.rows(timed_out)
        folds = run.folds(stopped) | run.folds(timed_out)
    for lane, status in (("a", "stopped"), ("b", "timeout")):
        fold, (row,) = folds[lane], rows[lane]
        assert (row["status"], row["output_tokens"], row["token_source"]) == (status, 15, "usage")
        assert fold.answer == "word " * 15 + "if a <"
        assert fold.last_token_ns < fold.end_ns - 100_000_000, "it is stamped when it came, not when it was let go"


# -- 53: isolation


def test_lanes_do_not_touch_each_other(upstream: Upstream, tmp_path: Path) -> None:
    """While one lane streams, another ends, fails at once or stalls: each lane has its own end."""
    go_on = threading.Event()

    async def held() -> Stream:
        yield delta({"content": "so far"})
        while not go_on.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.005)
        yield SSE_BODY

    upstream.script("held", lambda request: stream_of(held(), SSE))
    lanes: list[Provider] = [
        openai_lane(upstream.base_url, "m-2000-20-20", "fast"),
        openai_lane(upstream.base_url, "held", "slow"),
        openai_lane(upstream.base_url, "scenario-status-401", "failing"),
        openai_lane(upstream.base_url, "scenario-stall", "stalled", limits=Limits(30, 0.9, 60)),
        ollama_lane(upstream.origin, "m-200-20-20", "local"),
    ]
    with running(tmp_path / "log", *lanes) as run:
        turn = run.engine.send("hello")
        until(lambda: all(turn.fold().lane_ended(lane) for lane in ("fast", "failing", "stalled", "local")))
        assert not turn.fold().lane_ended("slow")
        go_on.set()
        folds = run.folds(turn)
    assert {lane: fold.status for lane, fold in folds.items()} == {
        "fast": "ok",
        "slow": "ok",
        "failing": "error",
        "stalled": "timeout",
        "local": "ok",
    }


# -- 54: kill -9


@pytest.mark.slow
def test_a_killed_process_leaves_an_interrupted_turn_with_its_text(upstream: Upstream, tmp_path: Path) -> None:
    """After kill -9 the log has the turn once, with its text, as ``interrupted``, never as complete."""
    command = [
        sys.executable,
        "-m",
        "tests.support.one_turn",
        str(tmp_path / "log"),
        upstream.base_url,
        "m-100-300-300",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        turn_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
        process.wait()
    writer = LogWriter(tmp_path / "log")
    writer.start()
    writer.close()
    turn = LogReader(tmp_path / "log").turn(turn_id)
    assert isinstance(turn, TurnLog)
    fold = turn.fold()
    (attempt_id,) = fold.attempts
    (row,) = LogReader(tmp_path / "log").attempt_metrics([attempt_id])
    assert row["status"] == "interrupted"
    assert fold.folds[attempt_id].reasoning.startswith(" Let me")
    until(lambda: upstream.closed)


# -- 56: cold load


async def test_a_cold_load_is_not_an_error(upstream: Upstream) -> None:
    upstream.ollama.unload_all()
    upstream.ollama.habits.load_s = 0.2
    async with contextlib.aclosing(ollama_lane(upstream.origin, "m-2000-5-5")) as lane:
        cold, warm = await run_provider(lane), await run_provider(lane)
    assert cold.events[0] == Phase(LOADING_MODEL, "m-2000-5-5")
    assert cold.status == warm.status == "ok"
    assert LOADING_MODEL not in [event.name for event in warm.events if isinstance(event, Phase)]
    assert (cold.fold.usage.load_ns or 0) >= 200_000_000


# -- 58: proxies


@pytest.mark.parametrize("ollama", [False, True], ids=["sse", "ndjson"])
async def test_proxies_of_the_environment_are_for_other_hosts_only(
    ollama: bool, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They apply to other hosts only: requests to a loopback address are sent directly."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, upstream.origin)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    local = ollama_lane(upstream.origin, "m-2000-3-3") if ollama else openai_lane(upstream.base_url, "m-2000-3-3")
    remote = ollama_lane("http://far.invalid", "m") if ollama else openai_lane("http://far.invalid/v1", "m")
    async with contextlib.aclosing(local), contextlib.aclosing(remote):
        assert (await run_provider(local)).status == "ok"
        n_before = len(upstream.requests)
        assert (await run_provider(remote)).kind == "bad_url", "the proxy, our test server, knows no such address"
    assert len(upstream.requests) > n_before
