"""CPU time a token takes of each part of the app, with as many tokens a read and a frame as under load.

    python -m tests.benchmarks.token_cost [--streams 50] [--tokens 300] [--together 50] [--frame 10]
        [--profile engine|view]

A thread sends one token on every connection, waits until all of them are in their turns' logs, and sends the next. So
each token is a read of its own, as with a server that paces its answer, however busy the machine is, and the CPU time
of a thread hardly depends on what else runs: use this to compare two versions, and ``load`` for lag. With
``--together`` it waits for so many connections at a time: that many tokens share the engine's waking up.

One JSON line, µs of CPU a token: ``engine`` from the socket to the turn's log, ``log`` to the row in SQLite (the end of
every attempt included), ``view`` folding and making a frame of every ``--frame`` tokens (10: a hundred people; 3: one).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import socket
import threading
import time
from collections.abc import Iterator, Sequence

from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnLog
from kimi_ui.process import stamp_promptly
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from kimi_ui.view.frames import TurnView, dumps
from tests.support.engine_run import running
from tests.support.paced import sse, token
from tests.support.waiting import until
from tests.support.wire import LAST_CHUNK, SSE, chunked, head

from .harness import report

MODEL = "m"
TOKEN_MS = 33  # between the frames' clocks, so that figures come as often as they would
VIEWED = 20  # turns


def accepted(listening: socket.socket, n: int) -> list[socket.socket]:
    """``n`` connections whose requests have been read and whose answers have begun."""
    connections = []
    for _ in range(n):
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        while not received.endswith(b"}"):
            received += connection.recv(65536)
        connection.sendall(head(200, SSE, "Transfer-Encoding: chunked"))
        connections.append(connection)
    return connections


def chunks(n_tokens: int) -> Iterator[bytes]:
    """The tokens of an answer, two thirds of them reasoning."""
    n_reasoning = n_tokens * 2 // 3
    for i in range(n_tokens):
        is_answer = i >= n_reasoning
        text = token(i - n_reasoning if is_answer else i, is_answer)
        delta = {"content" if is_answer else "reasoning_content": text}
        yield sse(MODEL, [{"index": 0, "delta": delta, "finish_reason": None}])


def cpu_of(name: str) -> float:
    (thread,) = (thread for thread in threading.enumerate() if thread.name == name)
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))


def watch(turns: Sequence[TurnLog], a_frame: int) -> float:
    """The CPU seconds of following the turns, with a frame of so many entries at a time."""
    began = time.thread_time()
    for turn in turns:
        view = TurnView(turn)
        for at in range(0, len(turn.entries), a_frame):
            view.catch_up(at + a_frame)
            dumps(view.frame(at * TOKEN_MS * 1_000_000))
    return time.thread_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--together", type=int, help="tokens that are sent at once; a stream each if not given")
    parser.add_argument("--frame", type=int, default=10, help="tokens of a stream in a frame")
    parser.add_argument("--profile", choices=["engine", "view"], help="where it goes; the figures are then too large")
    options = parser.parse_args()
    n, n_tokens = options.streams, options.tokens
    profile = cProfile.Profile(time.thread_time)
    stamp_promptly()
    listening = socket.create_server(("127.0.0.1", 0), backlog=n)
    base_url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    provider = OpenAICompatible(LaneSpec("a", "A", "openai", model=MODEL, base_url=base_url))
    with listening, running(None, provider) as run:
        turns = [run.engine.send("hello") for _ in range(n)]
        connections = accepted(listening, n)

        def send(data: bytes, start: int = 0, n_streams: int = n) -> None:
            for connection in connections[start : start + n_streams]:
                connection.sendall(chunked(data))

        send(sse(MODEL, [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]))
        time.sleep(0.5)  # until the rows of the attempts are written
        n_entries = sum(len(turn.entries) for turn in turns)
        if options.profile == "engine":
            run.engine.loop.call_soon_threadsafe(profile.enable)
        engine_s, log_s = cpu_of("engine"), cpu_of("log-writer")
        together = options.together or n
        for data in chunks(n_tokens):
            for start in range(0, n, together):
                send(data, start, together)
                n_entries += len(turns[start : start + together])
                while sum(len(turn.entries) for turn in turns) < n_entries:
                    time.sleep(0.0003)
        engine_s = cpu_of("engine") - engine_s
        if options.profile == "engine":
            run.engine.loop.call_soon_threadsafe(profile.disable)
        send(sse(MODEL, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        send(sse(MODEL, [], usage={"prompt_tokens": 10, "completion_tokens": n_tokens}))
        for connection in connections:
            connection.sendall(chunked(b"data: [DONE]\n\n") + LAST_CHUNK)
        until(lambda: all(turn.closed for turn in turns))
        run.writer.flush().result()
        log_s = cpu_of("log-writer") - log_s
        watch(turns[:1], options.frame)  # the vocabulary is loaded, code is compiled
        if options.profile == "view":
            profile.enable()
        view_s = watch(turns[:VIEWED], options.frame)
        profile.disable()
        for connection in connections:
            connection.close()
    report(
        "token_cost",
        streams=n,
        together=together,
        tokens_a_frame=options.frame,
        us_a_token={
            "engine": round(engine_s * 1e6 / n / n_tokens, 1),
            "log": round(log_s * 1e6 / n / n_tokens, 1),
            "view": round(view_s * 1e6 / min(n, VIEWED) / n_tokens, 1),
        },
    )
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
