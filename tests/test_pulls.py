"""Pulls: their figures, their state on the engine's loop, in the log and in ``doctor``, and the retries after them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.cli import main
from kimi_ui.core.pull import CANCELLED, DONE, FAILED, INTERRUPTED, RUNNING, Pull, Speed
from kimi_ui.engine.pulls import Question
from kimi_ui.log.pulls import pull_op, stored_pulls
from kimi_ui.providers.base import Provider
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from tests.support.engine_run import Run, running, turns_at
from tests.support.ollama_server import NO_SPACE, NO_SUCH_MODEL, NO_WAY_OUT, TOO_OLD
from tests.support.upstream import Upstream
from tests.support.waiting import until
from tests.support.wire import streamed

MODEL = "qwen3-coder:30b"
S = 1_000_000_000


def lane_of(upstream: Upstream, lane: str = "qwen", model: str = MODEL) -> Provider:
    return Ollama(OllamaLane(lane, lane, "ollama", model=model, base_url=upstream.ollama_url))


@pytest.fixture
def run(upstream: Upstream, tmp_path: Path) -> Iterator[Run]:
    with running(tmp_path / "log.sqlite3", lane_of(upstream), lane_of(upstream, "twin")) as run:
        yield run


def state(run: Run) -> Pull:
    (pull,) = run.engine.pulls.states()
    return pull


def reached(run: Run, completed: int) -> None:
    until(lambda: bool(run.engine.pulls.states()) and state(run).completed == completed)


def ended(run: Run) -> Pull:
    until(lambda: state(run).state != RUNNING)
    return state(run)


# -- figures


def test_the_speed_is_that_of_the_last_ten_seconds() -> None:
    speed = Speed()
    assert speed.at(0) is None
    for second in range(21):
        speed.feed(second * S, second * 100 if second <= 10 else 1000 + (second - 10) * 40, 9_000)
    assert speed.at(20 * S) == 40
    assert speed.at(30 * S) == 20, "it falls while nothing comes"


def test_bytes_that_were_there_before_do_not_count_as_speed() -> None:
    speed = Speed()
    speed.feed(0, 5_000, 9_000)
    assert speed.at(S // 2) is None
    speed.feed(2 * S, 5_200, 9_000)
    assert speed.at(2 * S) == 100
    speed.feed(3 * S, 8_000, 12_000)  # another layer, which was there already
    assert speed.at(3 * S) is None
    speed.feed(5 * S, 8_100, 12_000)
    assert speed.at(5 * S) == 50


@pytest.mark.parametrize(
    ("pull", "figures"),
    [
        (Pull("s", "m"), ""),
        (Pull("s", "m", completed=0, total=18_600_000_000), "0 B of 18.6 GB · 0 %"),
        (
            Pull("s", "m", completed=4_200_000_000, total=18_600_000_000, bytes_per_s=41e6),
            "4.2 GB of 18.6 GB · 22 % · 41.0 MB/s · 5 min 51 s left",
        ),
        (
            Pull("s", "m", completed=1, total=10**12, bytes_per_s=1e8),
            "1 B of 1.0 TB · 0 % · 100.0 MB/s · 2 h 46 min left",
        ),
        (Pull("s", "m", completed=5, total=10, bytes_per_s=0.0), "5 B of 10 B · 50 % · 0 B/s"),
        (Pull("s", "m", CANCELLED, completed=5, total=10, bytes_per_s=9.0), "5 B of 10 B · 50 %"),
        (Pull("s", "m", completed=10, total=10, bytes_per_s=5.0), "10 B of 10 B · 100 % · 5 B/s"),
    ],
)
def test_figures_in_words(pull: Pull, figures: str) -> None:
    assert pull.figures == figures


# -- running a pull


def test_one_pull_for_all_lanes_of_a_server(run: Run, upstream: Upstream) -> None:
    upstream.ollama.pulling.held_at = 400
    run.engine.pulls.start("qwen")
    reached(run, 400)
    run.engine.pulls.start("twin")
    assert len(run.engine.pulls.states()) == 1
    upstream.ollama.pulling.held_at = None
    done = ended(run)
    assert (done.state, done.completed, done.total) == (DONE, 1000, 1000)
    assert [request.path for request in upstream.requests].count("/api/pull") == 1
    assert MODEL in upstream.models


def test_a_cancelled_pull_continues_from_where_it_was(run: Run, upstream: Upstream) -> None:
    pulls, pulling = run.engine.pulls, upstream.ollama.pulling
    pulling.held_at = 400
    started = pulls.start("qwen")
    assert started
    reached(run, 400)
    pulls.cancel(started.key)
    cancelled = ended(run)
    assert (cancelled.state, cancelled.completed, cancelled.bytes_per_s) == (CANCELLED, 400, None)
    until(lambda: [request.path for request in upstream.closed] == ["/api/pull"])
    pulling.held_at = None
    again = pulls.start("qwen")
    assert again
    assert (again.state, again.completed) == (RUNNING, 400)
    assert ended(run).state == DONE


def test_a_pull_cancelled_before_it_began(run: Run, upstream: Upstream) -> None:
    upstream.ollama.pulling.held_at = 0
    started = run.engine.pulls.start("qwen")
    assert started
    run.engine.pulls.cancel(started.key)
    assert ended(run).state == CANCELLED


@pytest.mark.parametrize(
    ("words", "problem", "remedy"),
    [
        (NO_SPACE, "The disk of the machine at {host} is full.", "Free space there"),
        (f"max retries exceeded: {NO_SPACE}", "The disk of the machine at {host} is full.", "what was fetched is kept"),
        (
            "write C:\\models\\blobs\\sha256-4c27-partial: There is not enough space on the disk.",
            "The disk of the machine at {host} is full.",
            "Free space there",
        ),
        (NO_WAY_OUT, "Ollama at {host} cannot reach its library.", "network connection"),
        (
            'max retries exceeded: Get "https://cdn.invalid/blob": dial tcp 10.0.0.1:443: i/o timeout',
            "Ollama at {host} cannot reach its library.",
            "HTTPS_PROXY",
        ),
        (
            'pull model manifest: Get "https://registry.invalid/v2/x": net/http: TLS handshake timeout',
            "Ollama at {host} cannot reach its library.",
            "network connection",
        ),
        (TOO_OLD, f"This Ollama is too old for {MODEL}.", "Update Ollama"),
        (NO_SUCH_MODEL, f"Ollama's library has no model named {MODEL}.", "spelling"),
        ("pull model manifest: 401: access denied", f"Ollama may not fetch {MODEL}: it is private or gated.", "page"),
        ("pull model manifest: 500: internal error", f"Ollama could not fetch {MODEL}.", "Pull again"),
        ("digest mismatch, file must be downloaded again", f"Ollama could not fetch {MODEL}.", "Pull again"),
    ],
)
def test_each_failure_has_its_sentence_and_remedy(
    run: Run, upstream: Upstream, words: str, problem: str, remedy: str
) -> None:
    upstream.ollama.pulling.error, upstream.ollama.pulling.error_at = words, 400
    run.engine.pulls.start("qwen")
    failed = ended(run)
    said = problem.format(host=upstream.ollama_url.removeprefix("http://"))
    assert (failed.state, failed.problem, failed.completed) == (FAILED, said, 0)
    assert remedy in failed.remedy
    assert failed.detail == " ".join(words.split())
    upstream.ollama.pulling.error = ""
    again = run.engine.pulls.start("qwen")
    assert again
    assert (again.state, again.problem) == (RUNNING, "")
    assert ended(run).state == DONE


def test_a_server_that_breaks_the_connection(run: Run, upstream: Upstream) -> None:
    upstream.script(f"pull {MODEL}", streamed([b'{"status":"pulling manifest"}\n']))
    run.engine.pulls.start("qwen")
    assert "closed the stream" in ended(run).problem


def test_a_missing_server(tmp_path: Path) -> None:
    lane = Ollama(OllamaLane("qwen", "qwen", "ollama", model=MODEL, base_url="http://127.0.0.1:9"))
    with running(tmp_path / "log.sqlite3", lane) as run:
        run.engine.pulls.start("qwen")
        assert (ended(run).state, ended(run).command) == (FAILED, "ollama serve")


def test_which_models_a_lane_can_pull(run: Run, upstream: Upstream) -> None:
    assert run.engine.pulls.offer("qwen") == (upstream.ollama_url, MODEL)
    assert run.engine.pulls.offer("qwen", "other") == (upstream.ollama_url, "other")


def test_ending_the_app_interrupts_a_pull(upstream: Upstream, tmp_path: Path) -> None:
    upstream.ollama.pulling.held_at = 400
    path = tmp_path / "log.sqlite3"
    with running(path, lane_of(upstream)) as run:
        run.engine.pulls.start("qwen")
        reached(run, 400)
    upstream.ollama.pulling.held_at = None
    with running(path, lane_of(upstream)) as run:
        before = state(run)
        assert (before.state, before.completed, before.total) == (INTERRUPTED, 400, 1000)
        again = run.engine.pulls.start("qwen")
        assert again
        assert again.completed == 400
        assert ended(run).state == DONE


# -- the log, and doctor


def test_the_log_has_the_newest_state_of_a_pull(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    pull = Pull("http://h", "m", status="pulling \ud800", completed=1, total=9, updated_at_utc=now.isoformat())
    with turns_at(tmp_path / "log.sqlite3") as turns:
        turns.writer.write([pull_op(pull), pull_op(replace(pull, completed=5)), pull_op(replace(pull, model="n"))])
        turns.writer.flush().result()
        stored = stored_pulls(turns.reader, now)
        assert [(each.model, each.state, each.completed) for each in stored] == [("m", RUNNING, 5), ("n", RUNNING, 1)]
        later = stored_pulls(turns.reader, now + timedelta(seconds=60))
        assert {each.state for each in later} == {INTERRUPTED}, "its process is gone"


def test_doctor_reports_a_pull_of_the_running_app(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lanes, path = tmp_path / "lanes.toml", tmp_path / "log.sqlite3"
    lanes.write_text(
        f'[[lane]]\nid = "qwen"\nprovider = "ollama"\nmodel = "{MODEL}"\nbase_url = "{upstream.ollama_url}"\n'
    )
    doctor = ["doctor", "--lanes", str(lanes), "--db", str(path)]
    upstream.ollama.pulling.held_at = 400
    with running(path, lane_of(upstream)) as run:
        run.engine.pulls.start("qwen")
        reached(run, 400)
        until(lambda: [pull.completed for pull in stored_pulls(run.reader)] == [400])
        assert main(doctor) == 1
        assert f"Pulling {MODEL}: 400 B of 1.0 kB · 40 %" in capsys.readouterr().out
        assert main([*doctor, "--json"]) == 1
        row = json.loads(capsys.readouterr().out)
        assert (row["pull"]["state"], row["pull"]["completed"]) == ("running", 400)
    assert main(doctor) == 1
    assert f"The pull of {MODEL} was interrupted at 400 B of 1.0 kB · 40 %" in capsys.readouterr().out
    upstream.ollama.pulling.held_at = None
    with running(path, lane_of(upstream)) as run:
        run.engine.pulls.start("qwen")
        assert ended(run).state == DONE
    assert main([*doctor, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pull"] is None


def test_doctor_without_a_log(upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upstream.alias(MODEL, "m-2000-0-3")
    lanes, path = tmp_path / "lanes.toml", tmp_path / "none" / "log.sqlite3"
    lanes.write_text(
        f'[[lane]]\nid = "qwen"\nprovider = "ollama"\nmodel = "{MODEL}"\nbase_url = "{upstream.ollama_url}"\n'
    )
    assert main(["doctor", "--lanes", str(lanes), "--db", str(path)]) == 0
    assert not path.parent.exists()
    (tmp_path / "other.txt").write_text("no log")
    assert main(["doctor", "--lanes", str(lanes), "--db", str(tmp_path / "other.txt")]) == 0


# -- retries after a pull


def statuses(run: Run, turn: Any) -> dict[str, list[str]]:
    return {lane: [row["status"] for row in rows] for lane, rows in run.rows(turn).items()}


def test_lanes_that_lacked_the_model_are_retried_once_it_is_pulled(run: Run, upstream: Upstream) -> None:
    turn = run.engine.send("Why is the sky blue?")
    assert statuses(run, turn) == {"qwen": ["error"], "twin": ["error"]}
    run.engine.pulls.start("qwen")
    until(lambda: statuses(run, turn) == {"qwen": ["error", "ok"], "twin": ["error", "ok"]})


def test_a_prompt_sent_during_the_pull_is_retried_after_it(run: Run, upstream: Upstream) -> None:
    upstream.ollama.pulling.held_at = 400
    run.engine.pulls.start("qwen")
    turn = run.engine.send("Why?", lanes=["twin"])
    assert statuses(run, turn) == {"twin": ["error"]}
    assert [asked.turn_id for asked in run.engine.pulls.waiting(state(run).key)] == [turn.turn_id]
    upstream.ollama.pulling.held_at = None
    until(lambda: len(statuses(run, turn)["twin"]) == 2)


def test_only_the_newest_prompt_of_a_lane_is_retried_and_none_after_a_failed_pull(run: Run, upstream: Upstream) -> None:
    first = run.engine.send("One?", lanes=["qwen"])
    run.rows(first)
    second = run.engine.send("Two?", lanes=["qwen"])
    run.rows(second)
    upstream.ollama.pulling.error = NO_SPACE
    run.engine.pulls.start("qwen")
    assert ended(run).state == FAILED
    assert len(run.engine.pulls.waiting(state(run).key)) == 1, "it is asked when the pull has gone on"
    upstream.ollama.pulling.error = ""
    run.engine.pulls.start("qwen")
    until(lambda: len(statuses(run, second)["qwen"]) == 2)
    assert len(statuses(run, first)["qwen"]) == 1


def test_a_prompt_of_an_earlier_process_is_retried_if_its_pull_is_started_from_it(
    upstream: Upstream, tmp_path: Path
) -> None:
    path = tmp_path / "log.sqlite3"
    with running(path, lane_of(upstream)) as run:
        turn = run.engine.send("Why?")
        run.rows(turn)
    with running(path, lane_of(upstream)) as run:
        run.engine.pulls.start("qwen", question=Question(turn.turn_id, "qwen", turn.owner))
        count = "SELECT count(*) FROM attempts WHERE turn_id = :turn_id"
        until(lambda: run.reader.rows(count, turn_id=turn.turn_id) == [(2,)])


def test_a_prompt_that_cannot_be_retried_any_more_is_ignored(run: Run) -> None:
    run.engine.pulls.start("qwen", question=Question("gone", "qwen", ""))
    assert ended(run).state == DONE
