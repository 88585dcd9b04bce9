"""How requests are sent: at the same time, each in one piece, and with the stamp that its times count from."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from kimi_ui.core.events import Answer, Event, Finish, Opened, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.engine import attempts
from kimi_ui.providers.http.arrival_socket import STAMP_OPTION
from kimi_ui.providers.http.body import events_of
from kimi_ui.providers.http.network import Stream
from kimi_ui.providers.openai_compatible.body import ChatBody
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from kimi_ui.turns import Turns
from tests.support.engine_run import running
from tests.support.folding import HELLO, TARGET, NoEngine, run_provider
from tests.support.scripted import ScriptedProvider
from tests.support.telling import delta
from tests.support.turns import MS
from tests.support.upstream import Upstream, server_context
from tests.support.waiting import until
from tests.support.wire import Request, streamed
from tests.support.wire import Stream as Bytes


def lane_at(base_url: str, id: str) -> OpenAICompatible:
    return OpenAICompatible(LaneSpec(id, id, "openai", model="m-2000-5-5", base_url=base_url))


async def test_no_other_request_is_prepared_between_a_stamp_and_its_bytes(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, closed_after: Callable[[Any], Any]
) -> None:
    lanes = [closed_after(lane_at(upstream.base_url, str(k))) for k in range(5)]
    acts: list[tuple[str, str]] = []  # which request, and what happened to it

    def note(act: str) -> None:
        task = asyncio.current_task()
        assert task
        acts.append((task.get_name(), act))

    class Noting(NoEngine):
        def sent(self) -> None:
            note("sent")

    async def noted(stream: Stream, data: bytes, **options: Any) -> None:
        note("written")
        await write(stream, data, **options)

    write = Stream.write
    monkeypatch.setattr(Stream, "write", noted)

    async def ask(lane: OpenAICompatible) -> None:
        async for _ in lane.stream(HELLO, Noting()):
            pass

    for connections in ("new", "kept"):
        acts.clear()
        await asyncio.gather(*(asyncio.create_task(ask(lane), name=lane.spec.id) for lane in lanes))
        for lane in lanes:
            name = lane.spec.id
            first = acts.index((name, "written"))
            assert acts[first : first + 3] == [(name, "written"), (name, "sent"), (name, "written")], connections


async def test_requests_connect_side_by_side(closed_after: Callable[[Any], Any]) -> None:
    n_shaking, all_there = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_shaking
        await reader.readexactly(5)  # of a TLS handshake, which is answered only after all handshakes have begun
        n_shaking += 1
        if n_shaking == 10:
            all_there.set()
        await all_there.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        lanes = [closed_after(lane_at(url, str(k))) for k in range(10)]
        async with asyncio.timeout(20):
            await asyncio.gather(*(run_provider(lane) for lane in lanes))
    assert n_shaking == 10


class SentTwice(ScriptedProvider):
    """Reports twice that its request was sent, the second time later; keeps the turn's entries at the first report."""

    turns: Turns
    entries_then: Sequence[Event] = (Reasoning("never asked"),)

    async def stream(self, request: Any, host: Any) -> Any:
        host.sent()
        self.entries_then = [entry.event for turn in self.turns.live() for entry in turn.entries]
        await asyncio.sleep(5 * attempts.OUT_BY_S)
        host.sent()
        yield Reasoning("word")


def test_stamps_count_from_sending_though_readers_are_notified_later(tmp_path: Path) -> None:
    provider = SentTwice(LaneSpec("a", "A", "openai", model="m"), [[]])
    with running(tmp_path / "log.sqlite3", provider) as run:
        provider.turns = run.turns
        turn = run.engine.send("hi")
        until(lambda: turn.closed)
    first, word, *_ = turn.entries
    assert provider.entries_then == []
    assert isinstance(first.event, Opened)
    assert first.t_ns == 0
    assert word.t_ns >= 5 * attempts.OUT_BY_S * 1e9, "the second call has moved nothing"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_events_have_the_time_their_bytes_arrived_though_the_loop_is_late(
    tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_after: Callable[[Any], Any]
) -> None:
    is_late, all_sent, stamps = threading.Event(), threading.Event(), []

    class Noting(NoEngine):
        def arrived(self, at_ns: int, after_ns: int = 0, is_last: bool = True) -> None:
            stamps.append(at_ns)

    async def read_late(request: Request) -> Bytes:
        words = [delta({"content": "yes"}), delta({"content": "no"}), delta({}, "stop")]
        async for data in streamed(words)(request):
            yield data
            await asyncio.to_thread(is_late.wait, 20)  # only the headers are read before
        all_sent.set()

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with Upstream(tls=server_context(tmp_path / "ca.pem") if tls else None) as upstream:
        upstream.script("m-2000-5-5", read_late)
        lane = closed_after(lane_at(upstream.base_url, "a"))
        there_ns = 0
        async for event in lane.stream(HELLO, Noting()):
            if isinstance(event, Phase) and not is_late.is_set():
                is_late.set()
                assert all_sent.wait(20)  # block the loop meanwhile
                there_ns = time.perf_counter_ns()
    *arrived, last = stamps
    assert last == 0
    assert arrived == sorted(arrived)
    if STAMP_OPTION:
        assert arrived[-1] <= there_ns


async def test_a_host_that_takes_events_has_the_text_before_the_stream_yields_it(
    upstream: Upstream, closed_after: Callable[[Any], Any]
) -> None:
    lane, taken = closed_after(lane_at(upstream.base_url, "a")), list[Event]()

    class Taking(NoEngine):
        take = taken.append

    def texts(events: Sequence[Event]) -> list[str]:
        return [event.text for event in events if isinstance(event, Reasoning | Answer)]

    plain = [event async for event in lane.stream(HELLO, NoEngine())]
    yielded = [event async for event in lane.stream(HELLO, Taking())]
    assert [len(texts(events)) for events in (plain, taken, yielded)] == [10, 10, 0]
    assert [type(event) for event in (yielded[0], *taken, *yielded[1:])] == [type(event) for event in plain]


ROLE, WORD, LESS = delta({"role": "assistant", "content": ""}), delta({"content": "yes"}), delta({"content": "<"})
DONE, PING = b"data: [DONE]\n\n", b": ping\n\n"


class Reading(ScriptedProvider):
    """Reads a body whose reads arrive every 10 ms, each after a socket that had been empty 4 ms before."""

    reads: Sequence[Sequence[bytes]] = ()  # the pieces of each

    async def stream(self, request: Any, host: Any) -> Any:
        host.sent()
        began_ns = time.perf_counter_ns()
        stream = Stream.__new__(Stream)
        stream._wire = wire = SimpleNamespace(arrival=(0, 0), connection=SimpleNamespace(clock_stepped=False))  # type: ignore[assignment]

        class Body(httpx.AsyncByteStream):
            async def __aiter__(body) -> Any:
                for n, read in enumerate(self.reads, 1):
                    at_ns = began_ns + n * 10 * MS
                    wire.arrival = (at_ns, at_ns - 4 * MS)
                    for piece in read:
                        yield piece

        response = httpx.Response(200, stream=Body(), extensions={"network_stream": stream})
        async for event in events_of(response, ChatBody(TARGET, "text/event-stream"), TARGET, host):
            yield event


@pytest.mark.parametrize(
    ("reads", "early_ms"),
    [
        ([[WORD]], 0),
        ([[ROLE + WORD]], 0),
        ([[ROLE, WORD]], 0),
        ([[ROLE], [WORD]], 0),
        ([[WORD + ROLE]], 4),
        ([[WORD, ROLE]], 4),
        ([[WORD + WORD]], 4),
        ([[WORD + PING]], 4),
        ([[WORD + WORD[:9], WORD[9:]]], 4),
        ([[WORD[:9]], [WORD[9:]]], 0),
        ([[LESS], [WORD]], 14),  # "<" is held back, because it could become a tag
    ],
)
def test_only_the_last_bytes_of_a_read_have_an_exact_stamp(
    reads: Sequence[Sequence[bytes]], early_ms: int, tmp_path: Path
) -> None:
    provider = Reading(LaneSpec("a", "A", "openai", model="m"), [[]])
    provider.reads = [*reads, [WORD + delta({}, "stop") + DONE]]
    with running(tmp_path / "log.sqlite3", provider) as run:
        fold = run.folds(run.engine.send("hi"))["a"]
    assert fold.status == "ok"
    assert fold.first_token_early_ns == fold.first_answer_early_ns == early_ms * MS
    assert fold.last_token_early_ns == 4 * MS


class Stamping(ScriptedProvider):
    """Reports when its first words arrived, but not the last."""

    async def stream(self, request: Any, host: Any) -> Any:
        host.sent()
        host.written(0)
        written_ns = time.perf_counter_ns()
        for after_ns in (1_000, 5_000, 2_000):
            host.arrived(written_ns + after_ns)
            yield Reasoning("word")
        host.arrived(0)
        yield Answer("yes")
        yield Finish("stop")


def test_stamps_of_arrival_never_decrease(tmp_path: Path) -> None:
    with running(tmp_path / "log.sqlite3", Stamping(LaneSpec("a", "A", "openai", model="m"), [[]])) as run:
        turn = run.engine.send("hi")
        fold = run.folds(turn)["a"]
    first, second, third = (entry.t_ns for entry in turn.entries if isinstance(entry.event, Reasoning))
    assert second - first == 4_000
    assert third == second
    assert fold.first_answer_ns is not None
    assert fold.first_answer_ns > third, "its own time"
    assert 0 <= float(fold.flags["written_ms"]) <= first / 1e6
    assert fold.sent_late_ns == 0
    assert (fold.first_token_early_ns, fold.first_answer_early_ns) == (None, None), "not stamped by the kernel"
