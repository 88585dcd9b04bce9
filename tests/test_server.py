"""The server as a process, with the real command, log and network: programs that use it, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client

from tests.support.paced import Plan, openai_body
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import SSE, Behaviour, Request, Stream, stream_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
LANE = """
[[lane]]
id = "{id}"
label = "Lane {id}"
provider = "openai"
base_url = "{base_url}"
model = "{model}"
"""


DRAINS_AT_ONCE = {"KIMI_UI_DRAIN_SECONDS": "0"}


class Served:
    """A running ``app.py``: its process, URL and log."""

    def __init__(self, process: subprocess.Popen[str], url: str, db: Path) -> None:
        self.process, self.url, self.db = process, url, db

    def statuses(self) -> list[tuple[str, str, str]]:
        """``(lane, status, reasoning)`` of every attempt in the log."""
        if not self.db.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10)) as log:
            return log.execute("SELECT lane, status, reasoning FROM attempts ORDER BY lane").fetchall()


@contextmanager
def app(
    folder: Path, upstream: Upstream, environment: Mapping[str, str] = DRAINS_AT_ONCE, **models: str
) -> Iterator[Served]:
    """``app.py`` with one lane per model; stopped at the end."""
    lanes, db = folder / "lanes.toml", folder / "log.sqlite3"
    lanes.write_text(
        "".join(LANE.format(id=id, base_url=upstream.base_url, model=model) for id, model in models.items())
    )
    arguments = [sys.executable, "app.py", "--port", "0", "--no-browser", "--db", str(db), "--lanes", str(lanes)]
    environment = {**os.environ, "HOME": str(folder), "PYTHONUNBUFFERED": "1", **environment}
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, **output) as process:
        try:
            assert process.stdout is not None
            url = next((found[0] for line in process.stdout if (found := re.search(r"http://[\w.:]+", line))), "")
            assert url, "it ended before it was ready"
            yield Served(process, url, db)
        finally:
            process.kill()


def test_a_program_compares_lanes_and_reads_the_turn_back(tmp_path: Path, upstream: Upstream) -> None:
    go_on = threading.Event()

    async def gated(request: Request) -> Stream:
        await asyncio.to_thread(go_on.wait, 200)
        async for data in stream_of(openai_body(request, Plan(2000, 0, 30, "")), SSE):
            yield data

    upstream.script("gated", gated)
    with app(tmp_path, upstream, fast="m-2000-40-60", plain="gated") as served:
        client = Client(served.url, verbose=False)
        states: list[dict[str, Any]] = []
        for state in client.submit("Why?", None, api_name="/compare"):
            states.append(state)
            go_on.set()
        last = states[-1]
        assert last["done"]
        assert not states[0]["done"]
        fast, plain = last["lanes"]
        assert (fast["lane"], fast["status"], fast["error"]) == ("fast", "ok", None)
        assert fast["reasoning"].count("@")
        assert fast["answer"].count("@")
        assert plain["reasoning"] == ""
        assert (fast["output_tokens"], fast["reasoning_tokens"], fast["token_source"]) == (100, 40, "usage")
        assert fast["ttft_ms"] > 0
        assert fast["attempt_id"]
        again = client.predict(last["turn_id"], api_name="/turn")
        assert [lane["answer"] for lane in again["lanes"]] == [fast["answer"], plain["answer"]]
        only = list(client.submit("Why?", ["plain"], api_name="/compare"))[-1]
        assert [lane["lane"] for lane in only["lanes"]] == ["plain"]
        for arguments, name in ((("  ", None), "/compare"), (("Why?", ["none"]), "/compare"), (("no",), "/turn")):
            with pytest.raises(Exception, match=r"prompt|No lane named|no such turn|error"):
                client.predict(*arguments, api_name=name)
        client.close()
        endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
        assert {"/compare", "/turn"} <= set(endpoints) <= {"/compare", "/turn", "/stats"}
        served.process.terminate()
        assert served.process.stdout
        assert "Traceback" not in served.process.stdout.read(), "a refusal is no crash"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_running_turns_and_then_the_process(
    tmp_path: Path, upstream: Upstream, how: signal.Signals
) -> None:
    with app(tmp_path, upstream, slow="m-100-5000-10") as served:
        client = Client(served.url, verbose=False)
        job = client.submit("Why?", ["slow"], api_name="/compare")
        until(lambda: job.outputs() and job.outputs()[-1]["lanes"][0]["reasoning"])
        turn_id = job.outputs()[-1]["turn_id"]
        told: list[bytes] = []

        def follow() -> None:
            with (
                httpx.Client(trust_env=False, timeout=60) as browser,
                browser.stream("GET", f"{served.url}/kimi/turns/{turn_id}/events") as stream,
            ):
                told.extend(stream.iter_raw())

        follower = threading.Thread(target=follow)
        follower.start()
        until(lambda: any(b"reasoning" in piece for piece in told))
        served.process.send_signal(how)
        assert served.process.wait() == 0
        follower.join()
        ((lane, status, reasoning),) = served.statuses()
        assert (lane, status) == ("slow", "interrupted")
        assert "Let me weigh" in reasoning
        until(lambda: upstream.closed)
        client.close()


def held(go_on: threading.Event) -> Behaviour:
    """Reasons, waits for the event, then answers."""

    async def body() -> Stream:
        yield b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"Let me weigh it."}}]}\n\n'
        await asyncio.to_thread(go_on.wait, 200)
        yield b'data: {"choices":[{"index":0,"delta":{"content":"Two."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

    def behave(_request: Request) -> Stream:
        return stream_of(body(), SSE)

    return behave


def test_sigterm_lets_a_running_turn_end_and_a_second_one_does_not(tmp_path: Path, upstream: Upstream) -> None:
    go_on = threading.Event()
    upstream.script("held", held(go_on))
    environment = {"KIMI_UI_DRAIN_SECONDS": "600", "KIMI_UI_LOG_FORMAT": "json"}
    with app(tmp_path, upstream, environment, held="held", endless="m-100-5000-10") as served:
        with httpx.Client(base_url=served.url, trust_env=False, timeout=60) as http:
            client = Client(served.url, verbose=False)
            first, second = (client.submit("Why?", [lane], api_name="/compare") for lane in ("held", "endless"))
            until(lambda: all(job.outputs() and job.outputs()[-1]["lanes"][0]["reasoning"] for job in (first, second)))
            served.process.terminate()
            until(lambda: http.get("/readyz").status_code == 503)
            refused = http.post("/kimi/turns", json={"text": "And now?"})
            assert (refused.status_code, refused.json()["code"]) == (503, "draining")
            assert served.process.stdout
            lines = [json.loads(next(line for line in served.process.stdout if "Shutting down" in line))]
            assert "running turns (2) may go on for at most 600 s" in lines[0]["message"]
            go_on.set()
            assert first.result(60)["lanes"][0]["status"] == "ok"
            assert served.process.poll() is None, "the other turn is running"
            served.process.terminate()
            assert served.process.wait() == 0
            client.close()
        assert [(lane, status) for lane, status, _ in served.statuses()] == [
            ("endless", "interrupted"),
            ("held", "ok"),
        ]
        lines += [json.loads(line) for line in served.process.stdout]
        assert {(line["lane"], line["status"]) for line in lines if "status" in line} == {
            ("held", "ok"),
            ("endless", "interrupted"),
        }
        assert all(line["time"].endswith("+00:00") and line["level"] and line["logger"] for line in lines)
        assert not [line for line in lines if re.search(r"Why\?|weigh it|Two", json.dumps(line["message"]))]
