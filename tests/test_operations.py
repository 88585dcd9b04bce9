"""What supervises the process: its probes and figures, over real HTTP."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from kimi_ui.core.events import Answer, Finish
from kimi_ui.log import writer as writer_module
from kimi_ui.log.sqlite import store as store_module
from kimi_ui.web import health
from tests.support.chat_site import ChatSite, open_site
from tests.support.waiting import ended, until

PASSWORD = "a password of a team"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSite]:
    with pytest.MonkeyPatch.context() as patch:  # give up on locks, retry and look again at once
        patch.setattr(store_module, "LOCK_WAIT_S", 0.05)
        patch.setattr(writer_module, "RETRY_S", 0.0)
        patch.setattr(health, "FRESH_S", 0.0)
        with open_site(tmp_path_factory.mktemp("operations"), password=PASSWORD) as opened:
            yield opened


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
    site: ChatSite, http: httpx.Client
) -> None:
    with closing(sqlite3.connect(site.writer.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert ready(http)[:2] == (503, ["log_unwritable"])
        turn = site.engine.send("Why?", lanes=["kimi"])
        ended(turn)
        site.writer.flush().result(60)
        status, codes, n_spilled = ready(http)
        assert (status, codes) == (503, ["log_unwritable"])
        assert n_spilled >= 3, "the rows of the conversation, the turn and the attempt"
        assert http.get("/healthz").status_code == 200, "a restart would not help"
        assert site.writer.path.name not in http.get("/readyz").text
        other.execute("ROLLBACK")
    until(lambda: ready(http) == (200, [], 0))
    assert site.reader.turn(turn.turn_id) is not None


def test_a_log_whose_file_was_removed_is_begun_again_by_the_probe(site: ChatSite, http: httpx.Client) -> None:
    for path in site.writer.path.parent.glob(f"{site.writer.path.name}*"):
        if path.suffix in (".sqlite3", ".sqlite3-wal", ".sqlite3-shm"):
            path.unlink()
    until(lambda: ready(http) == (200, [], 0))
    assert site.writer.path.exists()


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
    turn = site.engine.send("Count.", lanes=["kimi"])
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
