"""The connections under the HTTP stack, against real sockets."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from typing import Any

import httpcore
import httpx
import pytest

from kimi_ui.providers.http.arrival_socket import STAMP_OPTION
from kimi_ui.providers.http.network import MOST_WAITING, Network, Stream
from kimi_ui.providers.http.proxies import certificates
from kimi_ui.providers.http.transport import CHUNKS, Transport

from .support import wire
from .support.upstream import Upstream


@contextmanager
def peer() -> Iterator[tuple[socket.socket, int]]:
    """A listening socket and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener, listener.getsockname()[1]


async def connected(listener: socket.socket, port: int) -> tuple[Stream, socket.socket]:
    """A stream and the socket at its other end."""
    stream = await Network().connect_tcp("127.0.0.1", port, 5)
    return stream, listener.accept()[0]


async def rest(stream: Stream) -> bytes:
    """All bytes until the end; raises if the connection is lost."""
    parts = []
    while data := await stream.read(65536):
        parts.append(data)
    return b"".join(parts)


async def test_bytes_go_both_ways_and_the_end_is_empty() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with other:
            await stream.write(b"question", 5)
            assert other.recv(100) == b"question"
            assert not stream.get_extra_info("is_readable")
            other.sendall(b"answer")
            assert await stream.read(3, 5) == b"ans"
            assert stream.get_extra_info("is_readable")
            assert await stream.read(100) == b"wer"
            assert stream.get_extra_info("server_addr") == ("127.0.0.1", port)
        assert await stream.read(100) == b""
        assert await stream.read(100) == b""
        assert stream.get_extra_info("is_readable")
        await stream.aclose()


async def test_bytes_received_before_a_reset_are_read_first() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        other.sendall(b"the text so far")
        await asyncio.sleep(0.05)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()
        await asyncio.sleep(0.05)
        assert await stream.read(65536) == b"the text so far"
        with pytest.raises(httpcore.ReadError):
            await stream.read(65536)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"more")
        await stream.aclose()


async def test_unread_bytes_stay_with_the_sender() -> None:
    body = bytes(range(256)) * 4 * 16 * 1024  # 16 MB
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        sender = threading.Thread(target=lambda: (other.sendall(body), other.close()))
        sender.start()
        await asyncio.sleep(0.5)
        assert stream._wire._size <= MOST_WAITING + 256 * 1024, "one read of asyncio beyond the limit"
        assert await rest(stream) == body
        sender.join()
        await stream.aclose()


async def test_a_writer_waits_for_the_reader_and_notices_a_lost_connection() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(bytes(64 * 1024 * 1024), 0.3)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"more", 5)
        await stream.aclose()


async def test_read_and_connect_timeouts() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with other:
            with pytest.raises(httpcore.ReadTimeout):
                await stream.read(100, 0.05)
            other.sendall(b"late")
            assert await stream.read(100, 5) == b"late"
            with pytest.raises(httpcore.ConnectTimeout):
                await stream.start_tls(certificates(), "127.0.0.1", 0.05)
            other.settimeout(5)
            while other.recv(4096):  # the start of the handshake, then the close
                pass


async def test_a_refusal_by_every_address_of_a_name_raises_one_error() -> None:
    with closing(socket.socket()) as taken:  # so that nobody else listens there, and neither does it
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(httpcore.ConnectError) as refused:
            await Network().connect_tcp("localhost", taken.getsockname()[1], 5)
    assert isinstance(refused.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(("host", "port"), [("a..b", 80), ("127.0.0.1", 99999)])
async def test_an_invalid_address_raises_a_resolution_error(host: str, port: int) -> None:
    with pytest.raises(httpcore.ConnectError) as failed:
        await Network().connect_tcp(host, port, 5)
    assert isinstance(failed.value.__cause__, socket.gaierror)


async def test_the_transport_uses_these_connections(upstream: Upstream) -> None:
    transport = Transport(upstream.base_url, httpx.Limits())
    async with (
        httpx.AsyncClient(transport=transport) as client,
        client.stream("GET", f"{upstream.base_url}/models") as response,
    ):
        assert isinstance(response.extensions["network_stream"], Stream)


async def stamped(stream: Stream, other: socket.socket) -> None:
    """Return once the kernel stamps packets: it starts in the background when the first socket requests stamps."""
    for _ in range(10_000):
        other.sendall(b"?")
        select.select([stream.get_extra_info("socket")], [], [], 10)
        there_ns = time.perf_counter_ns()
        await stream.read(100)
        if not STAMP_OPTION or stream.arrival[0] <= there_ns:
            return
    raise AssertionError("no stamp")


async def test_bytes_are_stamped_when_they_arrive_however_late_they_are_read() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with other:
            await stamped(stream, other)
            for data in (b"first", b"second"):
                began_ns = time.perf_counter_ns()
                other.sendall(data)
                select.select([stream.get_extra_info("socket")], [], [], 10)  # block the loop, so that it is late
                there_ns = time.perf_counter_ns()
                assert await stream.read(100) == data
                assert began_ns <= stream.arrival[0]
                if STAMP_OPTION:
                    assert stream.arrival[0] <= there_ns
            assert not stream.clock_stepped
        await stream.aclose()


async def test_bytes_read_together_arrived_after_the_socket_was_empty() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with other:
            await stamped(stream, other)
            empty_ns = time.perf_counter_ns()
            for data in (b"one", b"two"):
                other.sendall(data)
            await asyncio.sleep(0)
            sent_ns = time.perf_counter_ns()
            assert await stream.read(100) == b"onetwo"
            at_ns, after_ns = stream.arrival
            if STAMP_OPTION:
                assert 0 < after_ns <= empty_ns <= at_ns <= sent_ns
            else:
                assert after_ns == 0
        await stream.aclose()


async def test_network_delay_does_not_count_as_our_own_lateness() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with other:
            await stream.write(b"hello")
            began_ns, before_ns = time.perf_counter_ns(), stream.late_ns
            assert other.recv(100) == b"hello"
            await asyncio.sleep(0.2)  # a handshake's wait
            other.sendall(b"hello yourself")
            await stream.read(100)
            late_ns = stream.late_ns
            passed_ns = time.perf_counter_ns() - began_ns
            assert late_ns - before_ns < passed_ns - (150_000_000 if STAMP_OPTION else 0)
            select.select([], [], [], 0.05)  # the loop stands still
            assert stream.late_ns >= late_ns + 40_000_000
        await stream.aclose()


async def test_bytes_read_in_pieces_keep_their_stamp() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with other:
            other.sendall(b"answer")
            await stream.read(3)
            arrived_ns = stream.arrival[0]
            other.sendall(b"more")
            assert (await stream.read(100), stream.arrival[0]) == (b"wer", arrived_ns)
            assert await stream.read(100) == b"more"
            assert stream.arrival[0] > arrived_ns
        await stream.aclose()


async def test_a_stamp_is_dropped_where_the_wall_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time_ns
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with other:
            other.sendall(b"x")
            select.select([stream.get_extra_info("socket")], [], [], 10)
            there_ns = time.perf_counter_ns()
            monkeypatch.setattr(time, "time_ns", lambda: real() + 3_600_000_000_000)
            await stream.read(100)
            assert there_ns < stream.arrival[0] <= time.perf_counter_ns(), "the read's own time"
            assert stream.clock_stepped
        await stream.aclose()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
async def test_a_body_in_chunks_is_whole_however_it_is_cut_and_its_connection_is_used_again(
    upstream: Upstream, size: int
) -> None:
    body = [b"data: one\n\n", b"\r\n\r\n", b"data: two\n\n" * 50]
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"  # a head before the head

    async def answer(_request: wire.Request) -> wire.Stream:
        yield hints + wire.head(200, wire.SSE, "Transfer-Encoding: chunked") + wire.chunked(body[0])
        for data in body[1:]:
            yield wire.chunked(data)
        yield b"0;last\r\nTrailer: x\r\n\r\n"

    upstream.script("sliced", wire.toxic(answer, wire.slicer(size)))
    asked = len(upstream.requests)
    transport = Transport(upstream.base_url, httpx.Limits())
    async with httpx.AsyncClient(transport=transport) as client:
        for _ in range(3):
            answered = await client.post(f"{upstream.base_url}/chat/completions", json={"model": "sliced"})
            assert answered.content == b"".join(body)
    assert [request.nth for request in upstream.requests[asked:]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("limits", "numbers"),
    [
        (httpx.Limits(), [1, 1, 1, 2, 2]),
        (httpx.Limits(max_keepalive_connections=1), [1, 1, 1, 1, 2]),
        (httpx.Limits(max_keepalive_connections=0), [1] * 5),
        (httpx.Limits(keepalive_expiry=-1), [1] * 5),
    ],
)
async def test_idle_connections_are_used_again_as_far_as_they_are_kept(
    upstream: Upstream, limits: httpx.Limits, numbers: list[int]
) -> None:
    """``numbers``: each request's place among those of its connection, two at once and then three."""
    asked, url = len(upstream.requests), f"{upstream.base_url}/models"
    transport = Transport(upstream.base_url, limits)
    async with httpx.AsyncClient(transport=transport) as client:
        for n in (2, 3):
            async with AsyncExitStack() as open_ones:
                responses = [await open_ones.enter_async_context(client.stream("GET", url)) for _ in range(n)]
                for response in responses:
                    await response.aread()
    assert sorted(request.nth for request in upstream.requests[asked:]) == numbers


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_body_in_chunks_is_handed_over_as_it_comes_as_far_as_it_is_wanted(
    upstream: Upstream, size: int
) -> None:
    events = [b"data: %d\n\n" % n for n in range(9)]

    async def answer(_request: wire.Request) -> wire.Stream:
        yield wire.head(200, wire.SSE, "Transfer-Encoding: chunked")
        for event in events:
            yield wire.chunked(event)
        yield wire.LAST_CHUNK

    upstream.script("handed", wire.toxic(answer, wire.slicer(size)))
    asked = len(upstream.requests)
    request = {"method": "POST", "url": f"{upstream.base_url}/chat/completions", "json": {"model": "handed"}}
    async with httpx.AsyncClient(transport=Transport(upstream.base_url, httpx.Limits())) as client:
        for n_wanted in (3, 1000):
            taken: list[bytes] = []

            def take(data: bytes, _arrival: Any, most: int = n_wanted, taken: list[bytes] = taken) -> bool:
                taken.append(data)
                return len(taken) < most

            async with client.stream(**request) as answered:  # type: ignore[arg-type]
                await answered.extensions[CHUNKS].hand_over(take)
                rest = [data async for data in answered.aiter_raw()]
            assert b"".join([*taken, *rest]) == b"".join(events)
            assert len(taken) <= n_wanted

        def refuse(data: bytes, _arrival: Any) -> bool:
            raise ValueError(data)

        async with client.stream(**request) as answered:  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="d"):
                await answered.extensions[CHUNKS].hand_over(refuse)
    assert [request.nth for request in upstream.requests[asked:]] == [1, 2, 3], "a whole body's connection is kept"


@pytest.mark.parametrize("handed_over", [False, True])
@pytest.mark.parametrize(
    ("end", "wrong"), [(b"", "peer closed"), (b"5\r\nab", "peer closed"), (b"zz\r\n", "chunk size")]
)
async def test_a_body_in_chunks_that_ends_wrongly_keeps_what_came(
    upstream: Upstream, end: bytes, wrong: str, handed_over: bool
) -> None:
    head = wire.head(200, wire.SSE, "Transfer-Encoding: chunked")
    upstream.script("broken", wire.raw(head + wire.chunked(b"so far"), 0.01, end))
    request = {"method": "POST", "url": f"{upstream.base_url}/chat/completions", "json": {"model": "broken"}}
    async with httpx.AsyncClient(transport=Transport(upstream.base_url, httpx.Limits())) as client:
        came = bytearray()

        def take(data: bytes, _arrival: Any) -> bool:
            came.extend(data)
            return True

        with pytest.raises(httpx.RemoteProtocolError, match=wrong):
            async with client.stream(**request) as answer:  # type: ignore[arg-type]
                if handed_over:
                    await answer.extensions[CHUNKS].hand_over(take)
                async for data in answer.aiter_raw():
                    came += data
    assert came.startswith(b"so far")


async def test_a_connection_with_bytes_behind_the_end_of_a_body_is_not_used_again(upstream: Upstream) -> None:
    async def answer(_request: wire.Request) -> wire.Stream:
        yield wire.head(200, wire.SSE, "Transfer-Encoding: chunked") + wire.chunked(b"all") + b"0\r\n\r\nHTTP/1.1 "

    upstream.script("more", answer)
    asked = len(upstream.requests)
    async with httpx.AsyncClient(transport=Transport(upstream.base_url, httpx.Limits())) as client:
        for _ in range(2):
            answered = await client.post(f"{upstream.base_url}/chat/completions", json={"model": "more"})
            assert answered.content == b"all"
    assert [request.nth for request in upstream.requests[asked:]] == [1, 1]
