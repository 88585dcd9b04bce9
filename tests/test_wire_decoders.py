"""Bytes to lines to events: the WHATWG event-stream format by the cases of the public web-platform tests, NDJSON, JSON.

The event-stream cases follow web-platform-tests ``eventsource/format-*.any.js``, except one on purpose: there an event
without its final blank line is dropped.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.providers.http.wire import JsonLines, Lines, RawLine, ServerEvent, ServerEvents, loads
from tests.support.folding import cut

LONG = b"x" * 2000

WPT: dict[str, tuple[bytes, list[tuple[bytes, str]]]] = {  # stream → (data, event)
    "bom": (b"\xef\xbb\xbfdata:1\n\n\xef\xbb\xbfdata:2\n\ndata:3\n\n", [(b"1", "message"), (b"3", "message")]),
    "bom-2": (b"\xef\xbb\xbf\xef\xbb\xbfdata:1\n\ndata:2\n\ndata:3\n\n", [(b"2", "message"), (b"3", "message")]),
    "comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + LONG + b"\rdata:3\n:data:fail\r:" + LONG + b"\ndata:4\n\n",
        [(b"1\n2\n3\n4", "message")],
    ),
    "field-data": (
        b"data:\n\ndata\ndata\n\ndata:test\n\n",
        [(b"", "message"), (b"\n", "message"), (b"test", "message")],
    ),
    "field-event": (b"event:test\ndata:x\n\ndata:x\n\n", [(b"x", "test"), (b"x", "message")]),
    "field-event-empty": (b"event: \ndata:data\n\n", [(b"data", "message")]),
    "field-id": (b"id: 1\r\ndata: 1\r\n\r\ndata: 2\n\n", [(b"1", "message"), (b"2", "message")]),
    "field-parsing": (
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\n"
        b"data:4\n\n",
        [(b"\0\n 2\n1\n3\n\n4", "message")],
    ),
    "field-retry": (b"retry:03000\ndata:x\n\n", [(b"x", "message")]),
    "field-retry-bogus": (b"retry:3000\nretry:1000x\ndata:x\n\n", [(b"x", "message")]),
    "field-retry-empty": (b"retry\ndata:test\n\n", [(b"test", "message")]),
    "field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [(b"test\n\ntest", "message")],
    ),
    "leading-space": (b"data:\ttest\rdata: \ndata:test\n\n", [(b"\ttest\n\ntest", "message")]),
    "newlines": (b"data:test\r\ndata\ndata:test\r\n\r", [(b"test\n\ntest", "message")]),
    "null-character": (b"data:\0\n\n\n\n", [(b"\0", "message")]),
    "utf-8": ("data:ok…\n\n".encode(), [("ok…".encode(), "message")]),
}


def decode(pieces: list[bytes]) -> list[ServerEvent | RawLine]:
    stream = ServerEvents()
    out = [item for piece in pieces for item in stream.feed(piece)]
    return out + stream.finish()


@pytest.mark.parametrize("name", WPT)
def test_web_platform_format_cases(name: str) -> None:
    data, expected = WPT[name]
    whole = decode([data])
    assert [tuple(item) for item in whole if isinstance(item, ServerEvent)] == expected
    assert decode([bytes([byte]) for byte in data]) == whole, "byte by byte"


def test_web_platform_cases_of_ids_and_retry() -> None:
    stream = ServerEvents()
    stream.feed(b"id: one\nretry: 5000\ndata: x\n\n")
    assert (stream.last_id, stream.retry_ms) == ("one", 5000)
    stream.feed(b"id: tw\0o\nretry: soon\ndata: x\n\n")
    assert (stream.last_id, stream.retry_ms) == ("one", 5000), "NUL in an id, words in a retry: ignored"
    stream.feed(b"id\ndata: x\n\n")
    assert stream.last_id == ""


def test_the_last_event_without_its_blank_line_is_delivered() -> None:
    assert decode([b"retry:1000\ndata:test1\n\nid:test\ndata:test2"]) == [ServerEvent(b"test1"), ServerEvent(b"test2")]


def test_a_carriage_return_ends_the_line_at_once() -> None:
    stream = ServerEvents()
    assert stream.feed(b"data: x\r\r") == [ServerEvent(b"x")], "not held back for a line feed that may follow"
    assert stream.feed(b"\ndata: y\r\n\r\n") == [ServerEvent(b"y")]


def test_a_raw_error_line_is_recognised_and_keeps_the_event_before_it() -> None:
    error = b'{"error": "Unhandled exception during response stream: boom"}'
    assert decode([b'data: {"a":1}\n\n' + error]) == [ServerEvent(b'{"a":1}'), RawLine(error)]
    assert decode([b'data: {"a":1}\n' + error]) == [ServerEvent(b'{"a":1}'), RawLine(error)]


def test_reading_stops_at_a_line_that_is_too_long() -> None:
    stream = ServerEvents(max_line=1000)
    assert stream.feed(b"data: a\n\n") == [ServerEvent(b"a")]
    for _ in range(10):
        stream.feed(b"x" * 300)
    assert stream.overflowed
    assert stream.feed(b"\n\ndata: b\n\n") == []
    assert stream.finish() == []
    many = ServerEvents(max_line=1000)
    many.feed((b"data: " + b"y" * 100 + b"\n") * 11)
    assert many.overflowed, "an event of many lines counts as a whole"


@pytest.mark.parametrize("line", [b"data:\n", b"data\n"])
def test_endless_lines_without_data_are_too_long_as_well(line: bytes) -> None:
    stream = ServerEvents(max_line=1000)
    assert stream.feed(line * 5 + b"\n") == [ServerEvent(b"\n\n\n\n")]
    stream.feed(line * 1000)
    assert stream.overflowed


sse_bytes = st.lists(
    st.sampled_from(
        [
            b"data: ",
            b"data",
            b":",
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b"event: e",
            b"{",
            "é".encode(),
            b"\xef\xbb\xbf",
            b"\xff",
        ]
    ),
    max_size=25,
).map(b"".join)


@given(data=sse_bytes, places=st.lists(st.integers(0, 500), max_size=10))
def test_any_chunking_of_an_event_stream_gives_the_same_events(data: bytes, places: list[int]) -> None:
    assert decode(cut(data, places)) == decode([data])
    assert decode([bytes([byte]) for byte in data]) == decode([data])


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_decoders_accept_any_bytes_and_return_whole_lines(pieces: list[bytes]) -> None:
    decode(pieces)
    lines = JsonLines(max_line=50)
    found = [line for piece in pieces for line in lines.feed(piece)] + lines.finish()
    for line in found:
        assert line == line.strip()
        assert b"\n" not in line
        loads(line)


@given(data=st.binary(max_size=200), places=st.lists(st.integers(0, 500), max_size=10), returns=st.booleans())
def test_lines_keep_every_byte(data: bytes, places: list[int], returns: bool) -> None:
    lines = Lines(carriage_return=returns)
    found = [line for piece in cut(data, places) for line in lines.feed(piece)]
    plain = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if returns else data
    assert b"\n".join([*found, lines.finish()]) == plain


def test_ndjson_splits_at_line_feeds_only() -> None:
    lines = JsonLines()
    raw = '{"a":"x\u0085y\u2028z"}\n\n  \r\n{"b":1}\r\n{"c":2}'.encode()
    out = [line for piece in cut(raw, range(len(raw))) for line in lines.feed(piece)] + lines.finish()
    assert [loads(line).value for line in out] == [{"a": "x\u0085y\u2028z"}, {"b": 1}, {"c": 2}]


def test_ndjson_bom_and_overflow() -> None:
    lines = JsonLines(max_line=10)
    assert lines.feed(b"\xef\xbb\xbf{}\n") == [b"{}"]
    assert lines.feed(b"x" * 11) == []
    assert lines.overflowed


def test_repairable_json_is_repaired_and_flagged() -> None:
    assert loads(b'{"a":"\xff"}') == ({"a": "\ufffd"}, True, True, False)
    assert loads('{"a":"\ufffd"}'.encode()).repaired is False
    half = loads(b'{"a":"\\ud83d"}')
    assert half.ok
    assert half.surrogates
    assert half.value == {"a": "\ud83d"}
    for broken in (b"", b"{", b"{} {}", b"[" * 100_000, b"9" * 5000, b"nul"):
        assert not loads(broken).ok
