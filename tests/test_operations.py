"""What supervises the process: its probes and figures, over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kimi_ui.core.events import Answer, Failure, Finish, Reasoning, Usage
from kimi_ui.core.turn import TurnLog
from kimi_ui.log import writer as writer_module
from kimi_ui.log.sqlite import store as store_module
from kimi_ui.providers.base import ProviderError
from kimi_ui.web import health
from kimi_ui.web.exporter import MAX_LANES, OTHER, Exporter
from kimi_ui.web.spans import Spans, to_collector
from kimi_ui.web.stream import TurnStreams
from tests.support.browser import made
from tests.support.chat_site import ChatSite, open_site
from tests.support.engine_run import Run
from tests.support.waiting import ended, until

PASSWORD = "a password of a team"
TOKEN = "a-token-for-the-metrics"
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSite]:
    with pytest.MonkeyPatch.context() as patch:  # give up on locks, retry and look again at once
        patch.setattr(store_module, "LOCK_WAIT_S", 0.05)
        patch.setattr(writer_module, "RETRY_S", 0.0)
        patch.setattr(health, "FRESH_S", 0.0)
        patch.setattr(health, "ANSWER_S", 60.0)  # the machine may be busy
        with open_site(tmp_path_factory.mktemp("operations"), password=PASSWORD, metrics_token=TOKEN) as opened:
            yield opened


_sent: list[TurnLog] = []  # to ``site``


def send(site: ChatSite, prompt: str, **options: Any) -> TurnLog:
    _sent.append(site.engine.send(prompt, **options))
    return _sent[-1]


@pytest.fixture(scope="module")
def http(site: ChatSite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, trust_env=False, timeout=60) as client:
        yield client


def ready(http: httpx.Client) -> tuple[int, list[str], int]:
    """Status, the codes of the problems, the spilled rows."""
    response = http.get("/readyz")
    state: dict[str, Any] = response.json()
    assert state["ready"] == (response.status_code == 200) == (not state["problems"])
    assert all(problem["sentence"] for problem in state["problems"])
    return response.status_code, [problem["code"] for problem in state["problems"]], state["spilled_rows"]


def test_the_probes_need_no_password_and_everything_else_does(http: httpx.Client) -> None:
    assert (http.get("/healthz").status_code, http.get("/healthz").json()) == (200, {"alive": True})
    assert ready(http) == (200, [], 0)
    assert http.get("/kimi/state").status_code == 401


def test_a_log_that_cannot_be_written_makes_it_unready_until_its_rows_are_written(
    site: ChatSite, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(Path(str(site.writer.place)), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert ready(http)[:2] == (503, ["log_unwritable"])
        assert "The log cannot be written (" in caplog.text, "the terminal says why, also before there are rows to keep"
        turn = send(site, "Why?", lanes=["kimi"])
        ended(turn)
        site.writer.flush().result(60)
        status, codes, n_spilled = ready(http)
        assert (status, codes) == (503, ["log_unwritable"])
        assert n_spilled >= 3, "the rows of the conversation, the turn and the attempt"
        assert http.get("/healthz").status_code == 200, "a restart would not help"
        assert Path(str(site.writer.place)).name not in http.get("/readyz").text
        other.execute("ROLLBACK")
    until(lambda: ready(http) == (200, [], 0))
    assert site.reader.turn(turn.turn_id) is not None


def test_a_log_whose_file_was_removed_is_begun_again_by_the_probe(site: ChatSite, http: httpx.Client) -> None:
    log = Path(str(site.writer.place))
    for path in log.parent.glob(f"{log.name}*"):
        if path.suffix in (".sqlite3", ".sqlite3-wal", ".sqlite3-shm"):
            path.unlink()
    until(lambda: ready(http) == (200, [], 0))
    assert log.exists()


def test_an_engine_that_does_not_answer_makes_it_unready(
    site: ChatSite, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ANSWER_S", 0.05)
    release = threading.Event()
    site.engine.loop.call_soon_threadsafe(release.wait)
    try:
        until(lambda: "engine" in ready(http)[1])
        assert http.get("/healthz").status_code == 200
    finally:
        release.set()
    monkeypatch.undo()
    until(lambda: ready(http)[0] == 200)


def test_while_it_drains_running_turns_go_on_and_new_ones_are_refused(site: ChatSite, http: httpx.Client) -> None:
    go_on = threading.Event()
    site.say([Answer("One"), go_on, Answer(" two."), Finish("stop")])
    turn = send(site, "Count.", lanes=["kimi"])
    until(lambda: any(isinstance(entry.event, Answer) for entry in list(turn.entries)))
    site.engine.drain()
    try:
        assert ready(http)[:2] == (503, ["draining"])
        bearer = {"Authorization": f"Bearer {PASSWORD}"}
        refused = http.post("/kimi/turns", json={"text": "Why?"}, headers=bearer)
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        assert "send it again" in refused.json()["error"]
        go_on.set()
        fold = ended(turn)
        assert [(one.status, one.answer) for one in fold.folds.values()] == [("ok", "One two.")]
    finally:
        go_on.set()
        site.engine.draining = False
    assert ready(http)[0] == 200


def scraped(http: httpx.Client) -> Samples:
    """The samples of ``/metrics`` by name and values of labels, in the order of their names."""
    response = http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def all_counted(http: httpx.Client) -> Samples:
    """The samples once all turns that were sent so far are in them."""
    key = ("kimi_ui_turns_total", ("chat",))
    return until(lambda: found if (found := scraped(http)).get(key, 0) == len(_sent) else None)


def test_the_metrics_are_the_sums_of_the_attempts_own_figures(site: ChatSite, http: httpx.Client) -> None:
    before = all_counted(http)
    steady = [part for i in range(60) for part in (Reasoning(f"word{i} "), 0.006)]
    site.say(
        [
            *steady,
            Answer("PRIVATE answer"),
            Finish("stop"),
            Usage(input_tokens=9, output_tokens=70, reasoning_tokens=66),
        ],
        [ProviderError(Failure("rate_limit", "PRIVATE words.", http_status=429))],
    )
    turn = send(site, "PRIVATE prompt")
    ended(turn)
    site.engine.retry(turn.turn_id, "qwen")
    fold = ended(turn)
    site.writer.flush().result(60)
    rows = site.reader.attempt_metrics(list(fold.attempts))
    assert Counter(row["role"] for row in rows) == {"single": 3, "heavy": 1, "trajectory": 3}
    expected: Counter[tuple[str, tuple[str, ...]]] = Counter({("kimi_ui_turns_total", ("chat",)): 1})
    for row in rows:
        lane, role = row["lane"], row["role"]
        expected["kimi_ui_attempts_total", (lane, role, row["status"])] += 1
        expected["kimi_ui_errors_total", (row["error_type"] or "", lane)] += row["error_type"] is not None
        for name, value in (
            ("ttft_seconds", row["ttft_ms"] and row["ttft_ms"] / 1e3),
            ("decode_tokens_per_second", row["decode_tps"]),
            ("loop_lag_seconds", row["loop_lag_ms"] and row["loop_lag_ms"] / 1e3),
        ):
            if value is not None:
                expected[f"kimi_ui_{name}_count", (lane, role)] += 1
                expected[f"kimi_ui_{name}_sum", (lane, role)] += value
        if row["parent_id"] is None:
            expected["kimi_ui_lane_turns_total", ("chat", lane, row["status"])] += 1
            expected["kimi_ui_tokens_total", ("input", lane)] += row["input_tokens"] or 0
            expected["kimi_ui_tokens_total", ("output", lane)] += row["output_tokens"] or 0
            unpriced = row["cost_usd"] is None
            expected["kimi_ui_attempts_of_unknown_cost_total", (lane,)] += unpriced
            expected["kimi_ui_cost_usd_total", (lane,)] += row["cost_usd"] or 0
    assert expected["kimi_ui_errors_total", ("rate_limit", "qwen")] == 2
    assert expected["kimi_ui_decode_tokens_per_second_count", ("kimi", "single")] == 1
    assert expected["kimi_ui_cost_usd_total", ("heavy",)] > 0

    def counted() -> Samples:
        after = scraped(http)
        return {key: value - before.get(key, 0) for key, value in after.items() if "_loop_answer_" not in key[0]}

    attempts = {key: n for key, n in expected.items() if key[0] == "kimi_ui_attempts_total"}
    until(lambda: {key: counted().get(key) for key in attempts} == attempts)
    found = counted()
    for key, value in expected.items():
        assert found.get(key, 0) == pytest.approx(value, rel=1e-9), key
    text = http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert not [word for word in ("PRIVATE", "max_tokens", "http", turn.turn_id, PASSWORD, TOKEN) if word in text]


def test_the_metrics_say_what_is_true_now(site: ChatSite, http: httpx.Client) -> None:
    go_on = threading.Event()
    site.say([Answer("One"), go_on, Finish("stop")])
    turn = send(site, "Count.", lanes=["kimi"])
    try:
        now = scraped(http)
        assert now["kimi_ui_turns_running", ()] == 1
        assert now["kimi_ui_streams_open", ()] == now["kimi_ui_log_spilled_rows", ()] == 0
        assert now["kimi_ui_log_rows_spilled_total", ()] >= 3, "by the test of the log"
        assert {loop for name, (loop, *_) in (k for k in now if k[1]) if name == "kimi_ui_loop_answer_seconds"} == {
            "engine",
            "server",
        }
        bearer = {"Authorization": f"Bearer {PASSWORD}"}
        with http.stream("GET", f"/kimi/turns/{turn.turn_id}/events", headers=bearer):
            until(lambda: scraped(http)["kimi_ui_streams_open", ()] == 1)
    finally:
        go_on.set()
    ended(turn)


def test_only_who_has_the_token_or_without_one_the_password_reads_the_metrics(
    site: ChatSite, http: httpx.Client
) -> None:
    for given in ("", f"Bearer {PASSWORD}", "Bearer é"):
        assert http.get("/metrics", headers={b"Authorization": given.encode()}).status_code == 401
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert http.get("/kimi/state", headers=token).status_code == 401, "it opens nothing else"
    app = made(Run(site.engine, site.turns), site.engine._roster, password=PASSWORD)

    async def status(**headers: str) -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get("/metrics", headers=headers)).status_code

    assert asyncio.run(status()) == 401
    assert asyncio.run(status(Authorization=f"Bearer {PASSWORD}")) == 200


def test_the_number_of_lanes_is_bounded(site: ChatSite) -> None:
    exporter = Exporter(site.engine, site.turns, TurnStreams())
    exporter.close()
    labels = {exporter._lane(f"lane{i}") for i in range(2 * MAX_LANES)}
    assert len(labels) == MAX_LANES + 1
    assert OTHER in labels


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OpenTelemetry collector: its address, and the bodies that it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()


def test_attempts_are_sent_to_a_collector_as_spans_with_genai_names(
    site: ChatSite, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_counted(http)  # and so are not sent to the collector
    site.say(
        [Reasoning("PRIVATE"), Answer("PRIVATE"), Finish("stop"), Usage(input_tokens=9, output_tokens=5)],
        [ProviderError(Failure("rate_limit", "PRIVATE words."))],
    )
    with collector() as (address, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        exporter = Exporter(site.engine, site.turns, TurnStreams(), spans=Spans(to_collector()))
        turn = send(site, "PRIVATE")
        fold = ended(turn)
        until(lambda: "kimi_ui_turns_total{" in generate_latest(exporter._registry).decode())
        exporter.close()
    sent = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    resources = [resource for one in sent for resource in one.resource_spans]
    assert any(("service.name", "kimi-ui") in names_of(one.resource.attributes).items() for one in resources)
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    by_attempt = {names_of(span.attributes)["kimi_ui.attempt.id"]: span for span in spans}
    assert by_attempt.keys() == fold.attempts.keys()
    for attempt_id, attempt in fold.attempts.items():
        span, names = by_attempt[attempt_id], names_of(by_attempt[attempt_id].attributes)
        one = fold.folds[attempt_id]
        assert span.end_time_unix_nano - span.start_time_unix_nano == one.end_ns
        assert span.parent_span_id == (by_attempt[attempt.parent_id].span_id if attempt.parent_id else b"")
        assert names["gen_ai.conversation.id"] == turn.conversation_id
        assert names["gen_ai.request.model"] == attempt.request_model == span.name.removeprefix("chat ")
        assert names.get("error.type") == ("rate_limit" if attempt.lane == "qwen" else None)
        if attempt.lane == "kimi":
            assert (names["gen_ai.usage.input_tokens"], names["gen_ai.usage.output_tokens"]) == (9, 5)
            assert names["gen_ai.response.finish_reasons"] == ["stop"]
            assert names["gen_ai.request.max_tokens"] == 32768
    assert not [body for body in bodies if b"PRIVATE" in body]


def names_of(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """A span's attributes as plain values."""

    def plain(value: AnyValue) -> Any:
        kind = value.WhichOneof("value")
        return [plain(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind or "")

    return {attribute.key: plain(attribute.value) for attribute in attributes}
