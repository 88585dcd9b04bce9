"""The connections under the HTTP stack, against real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpcore
import httpx
import pytest

from kimi_ui.providers.http.network import MOST_WAITING, Network, Stream
from kimi_ui.providers.http.transport import Transport, certificates

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
    """What is read until the end; a loss is raised."""
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
        assert await stream.read(100) == b"" and await stream.read(100) == b""
        assert stream.get_extra_info("is_readable")
        await stream.aclose()


async def test_what_came_before_a_reset_is_read_first() -> None:
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


async def test_what_nobody_reads_stays_with_the_sender() -> None:
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


async def test_a_writer_waits_for_the_reader_and_learns_of_a_loss() -> None:
    with peer() as (listener, port):
        stream, other = await connected(listener, port)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(bytes(64 * 1024 * 1024), 0.3)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"more", 5)
        await stream.aclose()


async def test_limits_of_time() -> None:
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
            while other.recv(4096):  # the handshake's beginning, then the close
                pass


async def test_a_refusal_by_every_address_of_a_name_is_told_as_one() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(httpcore.ConnectError) as refused:
        await Network().connect_tcp("localhost", port, 5)
    assert isinstance(refused.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(("host", "port"), [("a..b", 80), ("127.0.0.1", 99999)])
async def test_what_is_no_address_is_one_that_cannot_be_resolved(host: str, port: int) -> None:
    with pytest.raises(httpcore.ConnectError) as failed:
        await Network().connect_tcp(host, port, 5)
    assert isinstance(failed.value.__cause__, socket.gaierror)


async def test_the_transport_connects_this_way(upstream: Upstream) -> None:
    transport = Transport(upstream.base_url, httpx.Limits())
    async with (
        httpx.AsyncClient(transport=transport) as client,
        client.stream("GET", f"{upstream.base_url}/models") as response,
    ):
        assert isinstance(response.extensions["network_stream"], Stream)
