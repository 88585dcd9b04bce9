"""The command line against a local model server and the real log: results, exit codes, one sentence per mistake."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from kimi_ui import __main__, __version__, config
from kimi_ui.cli import main
from kimi_ui.cli.common import printable
from kimi_ui.cli.interrupt import interruptible
from kimi_ui.cli.json_logs import JsonLines
from kimi_ui.providers import roster
from kimi_ui.web.server import PortInUse, listening, serve
from tests.support.folding import STOP, answer, chunk, sse, thought
from tests.support.terminal import program, shown_on_terminal
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import SSE, Stream, stream_of

ROOT = Path(__file__).resolve().parent.parent

LANES = """
[[lane]]
id = "fast"
label = "Fast"
provider = "openai"
base_url = "{base_url}"
model = "m-2000-3-5"
price = {{ input = 1, output = 2 }}
[[lane]]
id = "second"
provider = "openai"
base_url = "{base_url}"
model = "{second}"
"""


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the user's keys, .env, lanes file and log."""
    for name in ("CHUTES_API_KEY", "OPENROUTER_API_KEY", "MOONSHOT_API_KEY", "KIMI_UI_PASSWORD", "KIMI_UI_LANES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KIMI_UI_DB", str(tmp_path / "log.sqlite3"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setattr(config, "APP_DIRECTORY", tmp_path)
    monkeypatch.setattr(roster, "default_lanes_path", lambda: tmp_path / "no-lanes.toml")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def lanes(upstream: Upstream, tmp_path: Path) -> str:
    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url=upstream.base_url, second="m-2000-0-4"))
    return str(path)


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def logged(db: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(query).fetchall()


def columns_of_attempt_metrics(db: Path) -> list[str]:
    return [row[1] for row in logged(db, "PRAGMA table_info(attempt_metrics)")]


def test_compare_json_gives_one_object_per_lane_with_every_column(
    lanes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "What is six times seven?", "--lanes", lanes, "--json"]) == 0
    fast, second = objects(capsys.readouterr().out)
    assert (fast["lane"], fast["status"], fast["error"], second["lane"]) == ("fast", "ok", None, "second")
    assert fast["reasoning"]
    assert fast["answer"]
    assert second["reasoning"] == ""
    assert (fast["output_tokens"], fast["reasoning_tokens"], fast["input_tokens"]) == (8, 3, 10)
    assert fast["token_source"] == "usage"
    assert fast["cost_usd"] == pytest.approx((10 * 1 + 8 * 2) / 1e6)
    assert second["cost_usd"] is None
    columns = columns_of_attempt_metrics(tmp_path / "log.sqlite3")
    assert set(columns) <= set(fast)
    assert {"ttft_ms", "ttfo_ms", "decode_tps", "suspect"} <= set(columns)
    rows = logged(tmp_path / "log.sqlite3", "SELECT attempt_id, status, answer FROM attempts ORDER BY lane")
    assert rows == [(row["attempt_id"], "ok", row["answer"]) for row in (fast, second)]


def test_compare_passes_heavys_options_on_and_summarises_its_answers(
    lanes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path(lanes).open("a", encoding="utf-8") as file:
        file.write('[[lane]]\nid = "h"\nprovider = "heavy"\nof = "fast"\nwidth = 8\n')
    options = ["--heavy", "width=3", "--heavy", "preset=full", "--heavy", "strategy=majority"]
    assert main(["compare", "What is six times seven?", "--lanes", lanes, "--lane", "h", "--json", *options]) == 0
    (row,) = objects(capsys.readouterr().out)
    heavy = row["heavy"]
    assert (heavy["strategy"], heavy["preset"], heavy["launched"], heavy["usable"]) == ("majority", "full", 3, 3)
    assert [one["members"] for one in heavy["clusters"]] == [[1, 2, 3]]
    assert set(heavy["clusters"][0]) == {"label", "type", "members"}
    assert {"text", "kind", "members"} == set(heavy["attribution"][0])
    assert "".join(part["text"] for part in heavy["attribution"]).split() == row["answer"].split()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("depth=3", "no option depth"),
        ("width=99", "from 2 to 32"),
        ("preset", "has no value"),
        ("strategy=best", "one of"),
    ],
)
def test_an_invalid_heavy_option_gives_one_sentence(
    option: str, words: str, lanes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "Hi", "--lanes", lanes, "--heavy", option]) == 2
    assert words in capsys.readouterr().err


def test_compare_off_a_terminal_is_compact_plain_text(lanes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "Hi", "--lanes", lanes, "--lane", "fast"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("== Fast\n   ok · first token ")
    assert "8 tokens (usage) · <$0.0001" in out
    assert "\n  | " in out
    assert "\x1b" not in out
    assert "second" not in out


def test_compare_without_reasoning_and_quiet(
    lanes: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # off a terminal nothing has control codes whatever this says
    assert main(["compare", "Hi", "--lanes", lanes, "--no-reasoning"]) == 0
    out, err = capsys.readouterr()
    assert "8 tokens (usage)" in out
    assert "\n  | " not in out
    assert main(["compare", "Hi", "--lanes", lanes, "--no-reasoning", "--quiet", "--json"]) == 0
    rows = objects(capsys.readouterr().out)
    assert [row["reasoning"] for row in rows] == [None, None]
    answers = [row["answer"].strip() for row in rows]
    assert main(["ask", "Hi", "--lanes", lanes, "--quiet"]) == 0
    both = capsys.readouterr()
    assert both == (f"== Fast\n{answers[0]}\n\n== second\n{answers[1]}\n\n", "")
    assert main(["ask", "Hi", "--lanes", lanes, "--quiet", "--lane", "fast"]) == 0
    alone = capsys.readouterr()
    assert alone == (f"{answers[0]}\n", "")
    assert "\x1b" not in out + err


def test_compare_reads_the_prompt_from_standard_input(
    lanes: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("from the pipe\n"))
    assert main(["compare", "-", "--lanes", lanes, "--lane", "fast", "--system", "Be brief."]) == 0
    messages = upstream.requests[-1].body["messages"]
    assert [message["content"] for message in messages] == ["Be brief.", "from the pipe\n"]
    capsys.readouterr()


def test_one_failing_lane_makes_compare_fail_and_leaves_the_other_alone(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url=upstream.base_url, second="gone"))
    assert main(["compare", "Hi", "--lanes", str(path), "--json"]) == 1
    fast, gone = objects(capsys.readouterr().out)
    assert fast["status"] == "ok"
    assert gone["status"] == "error"
    assert gone["error_type"] == "model_missing"
    assert gone["error"].endswith(".") or "doctor" in gone["error"]
    assert main(["compare", "Hi", "--lanes", str(path)]) == 1
    said = capsys.readouterr().out
    assert f"   {gone['error']}\n" in said
    assert gone["error_detail"]
    assert f"   The server's own words: {gone['error_detail']}\n" in said
    assert main(["compare", "Hi", "--lanes", str(path), "--quiet", "--lane", "second"]) == 1
    assert capsys.readouterr() == ("", f"kimi_ui: second: {gone['error']}\n")


MISTAKES = {
    "no such lane": (["compare", "Hi", "--lane", "fats"], "--lane"),
    "empty prompt": (["compare", "  "], "The prompt is empty"),
    "not UTF-8": (["compare", "caf\udce9"], "not UTF-8"),
    "lanes file gone": (["doctor", "--lanes", "nowhere.toml"], "no lanes file at nowhere.toml"),
    "wrong lanes file": (["compare", "Hi", "--lanes", "wrong.toml"], "wrong.toml line 1"),
    "bad port": (["serve", "--port", "eighty"], "give --port"),
    "open door": (["serve", "--host", "0.0.0.0", "--no-browser"], "KIMI_UI_PASSWORD"),
    "log is a folder": (["compare", "Hi", "--db", "."], "is a directory"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_on_stderr_and_exit_code_2(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.toml").write_text("[[lane]]\n")
    arguments, expected = MISTAKES[mistake]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert expected in captured.err
    assert captured.err.startswith("kimi_ui: ")
    assert captured.err.count("\n") == 1


def test_a_port_in_use_gives_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--no-browser", "--port", str(taken.getsockname()[1])]) == 2
    assert "give another with --port" in capsys.readouterr().err


def test_a_server_that_starts_refuses_connections_and_of_two_on_one_port_the_later_one_ends() -> None:
    with listening("127.0.0.1", 0) as first, listening("127.0.0.1", first.getsockname()[1]) as second:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(first.getsockname())
        first.listen()
        with pytest.raises(PortInUse, match="give another with --port"):
            serve(Starlette(), second)


def test_an_unknown_host_name_gives_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KIMI_UI_PASSWORD", "a password")
    assert main(["serve", "--no-browser", "--host", "nobody.invalid"]) == 2
    assert "nobody.invalid is not an address of this machine (" in capsys.readouterr().err


def test_doctor_lists_routes_and_findings(lanes: str, upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    upstream.models += ["m-2000-3-5", "m-2000-0-4"]
    assert main(["doctor", "--lanes", lanes, "--probe"]) == 0
    out = capsys.readouterr().out
    assert "✓ Fast  fast" in out
    assert "reachable · model there · shows its thinking" in out
    assert "thinking arrives as reasoning_content" in out
    assert "$1 in, $2 out per million tokens" in out
    assert main(["doctor", "--lanes", lanes, "--json"]) == 0
    fast, second = objects(capsys.readouterr().out)
    assert fast["ok"]
    assert fast["reachable"]
    assert fast["via"].endswith("/v1")
    assert second["lane"] == "second"


def test_doctor_names_the_problem_of_a_lane_and_fails(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.key = "right"
    monkeypatch.setenv("TEST_KEY", "canary-wrong")
    path = tmp_path / "lanes.toml"
    text = LANES.format(base_url=upstream.base_url, second="gone")
    path.write_text(text.replace('label = "Fast"', 'api_key_env = "TEST_KEY"'))
    assert main(["doctor", "--lanes", str(path), "--json", "--probe"]) == 1
    captured = capsys.readouterr()
    wrong_key, missing = objects(captured.out)
    assert not wrong_key["ok"]
    assert wrong_key["key_valid"] is False
    assert wrong_key["remedy"]
    assert not missing["ok"]
    assert main(["doctor", "--lanes", str(path)]) == 1
    captured_text = capsys.readouterr()
    assert "✗" in captured_text.out
    assert wrong_key["problem"] in captured_text.out
    assert "canary" not in captured.out + captured.err + captured_text.out + captured_text.err


def test_doctor_names_a_database_and_a_bus_that_do_not_answer_and_fails(
    lanes: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.models += ["m-2000-3-5", "m-2000-0-4"]
    monkeypatch.setenv("KIMI_UI_BUS", "redis://:canary@127.0.0.1:1")
    doctor = ["doctor", "--lanes", lanes, "--json", "--db", "postgresql://kimi:canary@127.0.0.1:1/kimi"]
    assert main(doctor) == 1
    captured = capsys.readouterr()
    assert all(lane["ok"] for lane in objects(captured.out))
    database, bus = captured.err.splitlines()
    assert "The log postgresql://kimi@127.0.0.1:1/kimi cannot be read" in database
    assert "The bus of KIMI_UI_BUS cannot be reached" in bus
    assert "canary" not in captured.err


def test_doctor_without_keys_says_which_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "For the real one: CHUTES_API_KEY=your-chutes-key" in out
    assert "No Ollama answers at http://127.0.0.1:9" in out
    assert "the shipped ones" in out


def test_doctor_on_ollama_names_the_model_and_says_that_it_does_not_think(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.alias("qwen3-coder:30b", "m-1000-0-5")
    monkeypatch.setenv("OLLAMA_HOST", upstream.ollama_url)
    monkeypatch.setenv("CHUTES_API_KEY", "x")
    main(["doctor", "--json"])
    qwen = objects(capsys.readouterr().out)[2]
    assert (qwen["via"], qwen["ok"], qwen["model_present"], qwen["thinking"]) == ("Ollama", True, True, False)


def test_terminal_controls_in_model_text_are_made_visible() -> None:
    assert printable("a\x1b[2Jb\x07\x9bc\u202ed\r\te\n") == "a\ufffd[2Jb\ufffd\ufffdc\ufffdd\ufffd\te\n"


def test_no_control_sequence_in_model_text_reaches_a_terminal(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    delta = {"choices": [{"index": 0, "delta": {"content": "\x1b]0;owned\x07\u202eok"}, "finish_reason": "stop"}]}
    upstream.script("hostile", [b"data: " + json.dumps(delta).encode() + b"\n\n", b"data: [DONE]\n\n"])
    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url=upstream.base_url, second="hostile"))
    assert main(["compare", "Hi", "--lanes", str(path), "--lane", "second"]) == 0
    captured = capsys.readouterr()
    assert "owned" in captured.out
    assert not set("\x1b\x07\u202e") & set(captured.out + captured.err)


# -- as separate processes


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False, **options
    )


def test_both_entry_points_show_help_and_version() -> None:
    assert run("-m", "kimi_ui", "--version").stdout == f"Kimi UI {__version__}\n"
    helped = run("app.py", "--help")
    assert helped.returncode == 0
    assert all(option in helped.stdout for option in ("--host", "--port", "--db", "--lanes", "--no-browser"))
    nothing = run("-m", "kimi_ui")
    assert nothing.returncode == 2
    assert "COMMAND" in nothing.stderr
    assert "Traceback" not in nothing.stderr


def test_an_old_python_or_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(__main__, "OLDEST", (99, 1))
    assert __main__.start([]) == 2
    assert "needs Python 99.1 or later" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "rich.console", None)  # importing it fails as if it were not installed
    for name in [name for name in sys.modules if name.startswith("kimi_ui.cli")]:
        monkeypatch.delitem(sys.modules, name)
    assert __main__.start([]) == 2
    assert "rich.console is not installed; run: " in capsys.readouterr().err


def test_ctrl_c_during_imports_prints_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name == "kimi_ui.cli.main":
                raise KeyboardInterrupt

    for name in [name for name in sys.modules if name.startswith("kimi_ui.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Interrupted, *sys.meta_path])
    assert __main__.start(["--version"]) == 130


def test_an_interrupt_inside_a_destructor_is_not_lost() -> None:
    class Closing:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)  # an exception raised here would be printed and dropped

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interruptible() as interrupt:
        assert not interrupt.noted
        Closing()
        assert interrupt.noted
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.slow
def test_ctrl_c_stops_the_lanes_keeps_their_text_and_exits_with_130(upstream: Upstream, tmp_path: Path) -> None:
    path, db = tmp_path / "lanes.toml", tmp_path / "log.sqlite3"
    path.write_text(LANES.format(base_url=upstream.base_url, second="m-50-2000-2000"))
    with program("-m", "kimi_ui", "compare", "Hi", "--json", "--lanes", str(path), "--lane", "second") as process:
        until(lambda: upstream.requests and logged(db, "SELECT 1 FROM events WHERE n_events > 5"))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=200)
    (row,) = objects(out)
    assert process.returncode == 130
    assert row["status"] == "stopped"
    assert row["reasoning"]
    assert "Traceback" not in err
    until(lambda: upstream.closed)


@pytest.mark.slow
def test_on_a_terminal_lanes_stream_in_panels_and_answers_are_printed_at_the_end(
    upstream: Upstream, tmp_path: Path
) -> None:
    path, is_thinking = tmp_path / "lanes.toml", threading.Event()
    path.write_text(LANES.format(base_url=upstream.base_url, second="held"))

    async def held() -> Stream:
        yield sse(thought("Let me see."), done=False)
        while not is_thinking.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.005)
        yield sse(answer("It is 42."), STOP, chunk(usage={"prompt_tokens": 10, "completion_tokens": 9}))

    upstream.script("held", lambda request: stream_of(held(), SSE))
    code, text = shown_on_terminal(
        "compare", "Hi", "--lanes", str(path), watch=lambda shown: b"thinking" in shown and is_thinking.set()
    )
    assert code == 0
    assert "╭─" in text  # panels during the stream …
    assert "thinking" in text
    end = text[text.rindex("╰") :]
    assert "== Fast" in end  # … and plain text at the end
    assert "== second" in end
    assert "9 tokens (usage)" in end


@pytest.mark.slow
def test_compare_with_the_real_embedded_model(tmp_path: Path) -> None:
    """No key, no Ollama: from the command line through the child process to the row in SQLite."""
    path = tmp_path / "lanes.toml"
    path.write_text(
        '[[lane]]\nid = "small"\nprovider = "embedded"\nparams = { max_tokens = 24 }\n'
        '[[lane]]\nid = "h"\nprovider = "heavy"\nof = "small"\nwidth = 2\nquorum = 2\n'
    )
    db = tmp_path / "whole.sqlite3"
    done = run("-m", "kimi_ui", "compare", "Why is the sky blue?", "--json", "--lanes", str(path), "--db", str(db))
    rows = {row["lane"]: row for row in objects(done.stdout)}
    small = rows["small"]
    assert small["status"] in ("ok", "length")
    assert small["reasoning"].strip()
    assert small["answer"].strip()
    assert small["token_source"] == "usage"
    assert 0 < small["reasoning_tokens"] < small["output_tokens"]
    assert small["ttft_ms"] < small["ttfo_ms"] < small["e2e_ms"]
    assert small["cost_usd"] == 0
    stored = logged(db, "SELECT status, reasoning, answer FROM attempts WHERE lane = 'small'")
    assert stored == [(small["status"], small["reasoning"], small["answer"])]
    assert logged(db, "SELECT role FROM attempts WHERE lane = 'h' ORDER BY role")[-2:] == [("trajectory",)] * 2
    assert done.returncode == (0 if rows["h"]["status"] in ("ok", "length") else 1)


UNREADABLE = {
    "all_proxy": "socks://127.0.0.1:7891/",
    "http_proxy": "http://proxy:port",
    "no_proxy": "localhost,::1,[::1]",
    "OLLAMA_HOST": "host:abc",
    "SSL_CERT_FILE": "/nowhere/certificates.pem",
}


@pytest.mark.slow
def test_serve_prints_its_address_and_each_lanes_provider_and_ends_on_sigterm(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Also with settings of proxies and of Ollama that cannot be read."""
    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url=upstream.base_url, second="m-50-20-20"))
    arguments = ("--no-browser", "--port", "0", "--lanes", str(path), "--db", str(tmp_path / "s.db"))
    with program("app.py", *arguments, env=os.environ | UNREADABLE | {"COLUMNS": "80"}) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(5)]
        process.terminate()
        _, err = process.communicate(timeout=200)
    assert lines[0].startswith("Kimi UI is at http://127.0.0.1:")
    assert str(tmp_path / "s.db") in lines[1]
    assert str(path) in lines[2]
    assert lines[3].startswith("  Fast: ")
    assert process.returncode == 0
    assert err == ""


@pytest.mark.parametrize("settings", [UNREADABLE, {"OLLAMA_HOST": "::1"}])
@pytest.mark.slow
def test_unreadable_proxy_and_ollama_settings_do_not_prevent_a_check(lanes: str, settings: dict[str, str]) -> None:
    doctor = run("-m", "kimi_ui", "doctor", "--lanes", lanes, env=os.environ | settings)
    assert doctor.stderr == ""
    assert doctor.stdout.count("\n  reachable") == 2


def test_a_line_of_the_json_log_has_no_text_of_an_exception_or_of_another_librarys_arguments() -> None:
    def record(name: str, message: str, *values: object, **more: Any) -> dict[str, Any]:
        made = logging.getLogger(name).makeRecord(name, logging.ERROR, __file__, 1, message, values, None)
        made.__dict__ |= more
        return json.loads(JsonLines().format(made))

    try:
        int("PRIVATE")
    except ValueError:
        failed = record("kimi_ui.engine.attempts", "lane %s: internal error", "kimi", exc_info=sys.exc_info())
    assert failed["message"] == "lane kimi: internal error"
    assert failed["error"]["type"] == "ValueError"
    assert failed["error"]["where"][-1].startswith(f"{__name__}:")
    assert "PRIVATE" not in json.dumps(failed)
    assert (
        record("httpx", "HTTP Request: %s %s", "POST", "http://user:PRIVATE@host")["message"] == "HTTP Request: %s %s"
    )
    assert record("kimi_ui_other", "of %s", "PRIVATE")["message"] == "of %s"
    assert record("asyncio", "Task failed\nfuture: <Task exception=ValueError('PRIVATE')>")["message"] == "Task failed"
    ended = record(
        "kimi_ui.web.exporter", "An attempt has ended.", fields={"lane": "kimi", "ttft_ms": None, "\ud800": 1}
    )
    assert (ended["lane"], ended["ttft_ms"]) == ("kimi", None)
