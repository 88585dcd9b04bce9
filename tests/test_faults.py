"""Every fault of the list, end to end: a misbehaving server, the real clients, the engine, the row in SQLite.

One table (``tests/support/faults_*.py``) has the expected outcome of each; this file runs all of it at once, as lanes
of one turn, in a hostile environment: a proxy that would take local requests, and keys of other services.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.providers.base import Provider
from kimi_ui.providers.http import body
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible, OpenAILane
from tests import test_fault_situations as situations
from tests.support.engine_run import running
from tests.support.scenarios import FAULTS
from tests.support.telling import PATIENT, Fault, tell
from tests.support.upstream import Upstream
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # the fixture runs some 230 lanes

CANARY = "cpk_canary-7f3a9c51e2d84b06"
OTHER_KEYS = ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OLLAMA_API_KEY")
GOOD = tell()
UNREACHABLE = (
    Fault(1, "refused", GOOD, "error:connect"),
    Fault(2, "no-such-name", GOOD, "error:dns"),
    Fault(2, "resolver-busy", GOOD, "error:dns"),
    Fault(9, "path-twice", GOOD, "error:bad_url"),
)
ALL = (*FAULTS, *UNREACHABLE)
CASES = [(fault, ollama) for fault in ALL for ollama in (False, True) if fault.expected(ollama) is not None]
# Rows that are a situation rather than an answer of a server: each has its own test.
SITUATIONS = {
    3: situations.test_tls,
    45: situations.test_a_jump_of_the_wall_clock_is_flagged_and_changes_no_duration,
    51: situations.test_floods_are_read_in_bounded_memory,
    52: situations.test_stop_closes_the_upstream,
    53: situations.test_lanes_do_not_touch_each_other,
    54: situations.test_a_killed_process_leaves_an_interrupted_turn_with_its_text,
    56: situations.test_a_cold_load_is_not_an_error,
    58: situations.test_proxies_of_the_environment_are_for_other_hosts_only,
}


@dataclass
class Result:
    fold: AttemptFold
    row: dict[str, Any]

    @property
    def ended_as(self) -> str:
        kind = self.fold.failure.kind if self.fold.failure else ""
        return f"{self.fold.status}:{kind}" if kind else self.fold.status


def lane_id(fault: Fault, ollama: bool) -> str:
    return f"{fault.name}-{'ndjson' if ollama else 'sse'}"


def provider(fault: Fault, ollama: bool, upstream: Upstream, refusing: socket.socket) -> Provider:
    origin = {
        "refused": "http://{}:{}".format(*refusing.getsockname()),
        "no-such-name": "http://no-such-name.invalid",
        "resolver-busy": "http://resolver-busy.invalid",
        "path-twice": f"{upstream.origin}/v1",
    }.get(fault.name, upstream.origin)
    fields: dict[str, Any] = {
        "id": lane_id(fault, ollama),
        "label": fault.name,
        "model": f"scenario-{fault.name}",
        "params": fault.params,
        "limits": fault.limits,
    }
    if ollama:
        think = True if fault.name == "think-refused" else None
        return Ollama(OllamaLane(**fields, base_url=origin, think=think), CANARY)
    return OpenAICompatible(OpenAILane(**fields, base_url=f"{origin}/v1"), CANARY)


def _resolve(host: Any, *rest: Any, **more: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name.endswith(".invalid"):
        raise socket.gaierror(socket.EAI_AGAIN if "busy" in name else socket.EAI_NONAME, "no answer")
    return _real_getaddrinfo(host, *rest, **more)


_real_getaddrinfo = socket.getaddrinfo


@dataclass
class Matrix:
    results: dict[str, Result]
    upstream: Upstream
    database: Path
    stored: str  # every event of the log, read back


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """Run all faults once: first those that wait for a limit, then the cheap ones together, then the expensive ones."""
    database = tmp_path_factory.mktemp("faults") / "log.sqlite3"
    with pytest.MonkeyPatch.context() as patch, Upstream() as upstream, socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # it does not listen, and no other process gets its port
        patch.setattr(socket, "getaddrinfo", _resolve)
        patch.setattr(body, "AFTER_FINISH_S", 1.5)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, ".invalid")
        for name in OTHER_KEYS:
            patch.setenv(name, f"other-{CANARY}")
        lanes = {lane_id(*case): provider(*case, upstream, refusing) for case in CASES}
        heavy = [lane_id(fault, ollama) for fault, ollama in CASES if fault.heavy]
        timed = [lane_id(fault, ollama) for fault, ollama in CASES if fault.limits != PATIENT]
        light = [lane for lane in lanes if lane not in heavy and lane not in timed]
        again = [lane_id(fault, False) for fault in ALL if fault.row == 48]
        with running(database, *lanes.values(), max_retries=0) as run:
            results: dict[str, Result] = {}
            stored = ""
            for batch in (timed, light, again, *([lane] for lane in heavy)):
                turn = run.engine.send("hello", lanes=batch)
                rows = run.rows(turn)
                for lane, fold in run.folds(turn).items():
                    results[lane] = Result(fold, rows[lane][-1])
                read_back = run.reader.turn(turn.turn_id)
                assert read_back is not None
                stored += repr(read_back.entries) if batch is light else ""
        yield Matrix(results, upstream, database, stored)


@pytest.mark.parametrize(("fault", "ollama"), CASES, ids=[lane_id(*case) for case in CASES])
def test_fault(matrix: Matrix, fault: Fault, ollama: bool) -> None:
    """The attempt and its row in the log have the expected status, text and flag."""
    result = matrix.results[lane_id(fault, ollama)]
    fold, row = result.fold, result.row
    assert result.ended_as == fault.expected(ollama), (fold.failure, fold.flags)
    if fault.reasoning is not None:
        assert fold.reasoning == fault.reasoning
    if fault.answer is not None:
        assert fold.answer == fault.answer
    if fault.flag:
        assert fault.flag in fold.flags
    assert row["status"] == fold.status
    assert row["error_type"] == (fold.failure.kind if fold.failure else None)
    if fold.failure:
        assert fold.failure.message.endswith(".")
        assert fold.failure.remedy, "one plain sentence and a remedy"
    for number in ("ttft_ms", "e2e_ms", "decode_tps", "output_tokens"):
        assert row[number] is None or row[number] > 0, "what is not known is NULL, never 0"


def test_every_row_is_there(matrix: Matrix, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the table of all faults and their outcomes."""
    lines = []
    for fault in sorted(ALL, key=lambda fault: fault.row):
        got = [
            matrix.results[lane_id(fault, ollama)].ended_as if fault.expected(ollama) is not None else "–"
            for ollama in (False, True)
        ]
        lines.append((fault.row, f"{fault.row:3} {fault.name:26} {got[0]:30} {got[1]}"))
    lines += [(row, f"{row:3} {test.__name__.removeprefix('test_'):26} (own test)") for row, test in SITUATIONS.items()]
    with capsys.disabled():
        print(f"\n{'':3} {'fault':26} {'SSE':30} NDJSON")
        print("\n".join(text for row, text in sorted(lines) if row))
    rows = {row for row, _ in lines if row}
    assert rows == set(range(1, 59))
    assert len(rows) == 58


def test_only_an_explicit_finish_is_ok(matrix: Matrix) -> None:
    """No fault of the list ends as ``ok`` without a finish: no silent truncation."""
    for result in matrix.results.values():
        if result.fold.status in ("ok", "length", "no_answer"):
            assert result.fold.finish_reason


def test_the_key_is_sent_only_in_its_header(matrix: Matrix) -> None:
    received = [request for request in matrix.upstream.requests if request.path != "/elsewhere"]
    assert len(received) > len(CASES)
    assert all(request.headers["authorization"] == f"Bearer {CANARY}" for request in received)
    for request in matrix.upstream.requests:
        elsewhere = {name: value for name, value in request.headers.items() if name != "authorization"}
        assert CANARY not in repr((elsewhere, request.body, request.path))
    assert CANARY not in matrix.stored
    for path in matrix.database.parent.iterdir():
        assert CANARY.encode() not in path.read_bytes(), path.name
    assert not [request for request in matrix.upstream.requests if request.path == "/elsewhere"]


def test_a_stream_given_up_early_is_closed(matrix: Matrix) -> None:
    """If reading stops before the server ends, the connection is closed."""
    expected = ("no-headers", "headers-only", "stall", "drip", "after-done", "endless-answer", "endless-reasoning")
    models = {f"scenario-{name}" for name in (*expected, "line-endless", "comments-only", "held-open")}
    until(lambda: models <= {request.model for request in matrix.upstream.closed})


def test_a_burst_has_no_rate(matrix: Matrix) -> None:
    row = matrix.results["burst-sse"].row
    assert row["decode_tps"] is None
    assert row["ttft_ms"] is not None


def test_a_request_on_a_dead_connection_is_sent_again_and_flagged(matrix: Matrix) -> None:
    assert matrix.results["idle-connection-closed-sse"].fold.flags.keys() >= {"reconnected"}
    sent = [request for request in matrix.upstream.requests if request.model == "scenario-idle-connection-closed"]
    assert [request.nth for request in sent if not request.is_ollama] == [1, 2, 1]
