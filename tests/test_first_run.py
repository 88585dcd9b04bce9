"""The README's first run for real: the embedded stand-ins, one prompt, and what Stats say of it on a busy machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from kimi_ui.log.reader import LogReader
from tests.support.browser import Visitor, WarmContext, lane, send
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parent.parent
LANES = ("kimi", "kimi-heavy", "qwen")
MODEL_MS = 1_500_000  # how long a lane may take on a machine with a load of 20
TIMES = ("First token, s", "First answer word, s", "Total time, s")


@contextmanager
def first_run(folder: Path) -> Iterator[str]:
    """``app.py`` with the shipped lanes, without a key and without Ollama; yields its URL."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environment |= {"PYTHONUNBUFFERED": "1", "OLLAMA_HOST": "127.0.0.1:9"}
    options = ["--port", "0", "--no-browser", "--db", str(folder / "log.sqlite3")]
    arguments = [sys.executable, str(ROOT / "app.py"), *options]
    with subprocess.Popen(arguments, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if "http://" in line), "")
            assert line, "it ended before it was ready"
            yield "http://" + line.split("http://")[1].split()[0]
        finally:
            process.terminate()


@contextmanager
def busy_loop() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.timeout(2 * MODEL_MS / 1000)
def test_stats_show_every_lane_with_figures_and_bounds_beside_a_busy_loop(warm: WarmContext, tmp_path: Path) -> None:
    with first_run(tmp_path) as url, busy_loop():
        visitor = Visitor(warm, url)
        page = visitor.open()
        send(page, "Name a colour.")
        for lane_id in LANES:
            ended = re.compile("^(done|length|no_answer)$")
            expect(lane(page, lane_id)).to_have_attribute("data-phase", ended, timeout=MODEL_MS)
            first_token = lane(page, lane_id, "metrics").locator("[data-metric=ttft]")
            expect(first_token).to_have_attribute("title", re.compile("^±"))
        written = LogReader(tmp_path / "log.sqlite3")
        until(lambda: not written.rows("select attempt_id from attempts where status = 'open'"))
        page.get_by_role("tab", name="Stats").click()
        rows = page.locator("#stats-overview tbody tr")
        expect(rows).to_have_count(len(LANES))
        for k in range(len(LANES)):
            for name in TIMES:
                figure = rows.nth(k).locator(f"[data-label='{name}'] .st-figure")
                expect(figure).to_have_text(re.compile(r"^~?[\d.,]+\s+±[\d.,]+ ms$"))
        visitor.close()
        assert visitor.problems == []
