"""The time to compute the Stats tab's figures over a log of 100,000 attempts. Prints one JSON line; asserts nothing.

    python -m tests.benchmarks.stats_scale [N_ATTEMPTS]

``…_s`` are seconds: of the functions alone, and in ``in_chromium`` from a click in the page of the app that runs over
this log until its table shows: on the tab by a visitor who has just come, then on another metric; the median of five.

The log is real (schema, views, indexes as the app makes them), its rows are drawn from a seeded generator: three lanes,
two models in one of them, 3 % failed or stopped, 2 % suspect, answers of about 4,000 characters.
"""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from playwright.sync_api import Page, sync_playwright

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.log.measured import measure
from kimi_ui.log.reader import LogReader
from kimi_ui.log.records import attempt_op, final_op
from kimi_ui.log.writer import LogWriter
from kimi_ui.stats.sample import load
from kimi_ui.stats.summary import as_dict
from kimi_ui.ui.stats_tab import StatsView
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.turns import attempt, unique

from .harness import app

LANES = (("kimi", 9.0, 83, 0.6, 2.5), ("heavy", 12.0, 92, 0.6, 2.5), ("qwen", 2.0, 118, 0.0, 0.0))
N_TURNS_PER_CONVERSATION = 5


def fill(path: Path, n_attempts: int, seed: int = 1) -> None:
    """A log of ``n_attempts`` in turns of three lanes."""
    writer = LogWriter(path)
    writer.start()
    writer.close()
    rng = random.Random(seed)
    with closing(sqlite3.connect(path)) as db:
        template = _template()
        names = list(template)
        insert = f"INSERT INTO attempts ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        for number in range(n_attempts // len(LANES)):
            conversation = f"conversation-{number // N_TURNS_PER_CONVERSATION}"
            seq = number % N_TURNS_PER_CONVERSATION
            at = time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime(1_790_000_000 + number * 60))
            if seq == 0:
                db.execute(
                    "INSERT INTO conversations (conversation_id, owner, created_at_utc, forked_from, forked_at)"
                    " VALUES (?, 'me', ?, '', 0)",
                    (conversation, at),
                )
            turn_id, chars = unique("turn"), rng.randrange(20, 4000)
            db.execute(
                "INSERT INTO turns (turn_id, conversation_id, seq, owner, kind, prompt, system, lanes, prompt_chars,"
                " started_at_utc) VALUES (?, ?, ?, 'me', 'chat', ?, '', '[]', ?, ?)",
                (turn_id, conversation, seq, "x" * chars, chars, at),
            )
            for lane in LANES:
                row = template | _draw(rng, lane) | {"turn_id": turn_id, "started_at_utc": at}
                db.execute(insert, [row[name] for name in names])
        db.commit()


def _template() -> dict[str, Any]:
    final = final_op("", AttemptFold())
    return attempt_op(attempt(), "boot").row | final.row | {"status": "ok"}


def _draw(rng: random.Random, lane: tuple[str, float, int, float, float]) -> dict[str, Any]:
    name, thinking_s, tps, price_input, price_output = lane
    n = rng.randrange(200, 2400)
    first_ns = int(rng.lognormvariate(0, 0.4) * 0.4e9)
    answer_ns = first_ns + int(rng.lognormvariate(0, 0.5) * thinking_s * 1e9)
    last_ns = answer_ns + int(n / tps * 1e9)
    status = rng.choices(("ok", "stopped", "error", "length"), (96, 1, 1, 2))[0]
    return {
        "attempt_id": unique("attempt"),
        "lane": name,
        "label": name.title(),
        "request_model": "k2.6" if name == "kimi" and rng.random() < 0.2 else f"model-{name}",
        "price_input": price_input,
        "price_output": price_output,
        "sent_ns": 1_000_000,
        "status": status,
        "headers_ns": first_ns // 2,
        "first_chunk_ns": first_ns,
        "first_token_ns": first_ns,
        "first_reasoning_ns": first_ns,
        "first_answer_ns": answer_ns,
        "last_token_ns": last_ns,
        "end_ns": last_ns + 10**6,
        "n_chunks": n,
        "max_gap_ns": 10**7,
        "first_event_chars": 4,
        "text_chars": 4 * n,
        "burst": 0,
        "answer_burst": 0,
        "usage_source": "usage",
        "usage_input_tokens": rng.randrange(20, 3000),
        "usage_output_tokens": n,
        "local_reasoning_tokens": n // 2,
        "local_answer_tokens": n - n // 2,
        "local_source": "tokenizer",
        "loop_lag_ms": 30.0 if rng.random() < 0.02 else 3.0,
        "reasoning": "r" * (2 * n),
        "answer": "a" * (2 * n),
    }


def measured(work: Callable[[], Any], rounds: int = 3) -> dict[str, float]:
    """The best of some rounds, in seconds: wall time, and CPU time (which a busy machine distorts less)."""
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall_s": round(min(walls), 3), "cpu_s": round(min(cpus), 3)}


def main() -> None:
    n_attempts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.sqlite3"
        fill(path, n_attempts)
        remeasured = _remeasure(path)
        reader = LogReader(path)
        lanes = [lane for lane, *_ in LANES]
        view = StatsView(reader, lambda: lanes, private=False)
        visitor: Any = SimpleNamespace(cookies={})
        controls: list[Any] = [None, None, None, "All time", "Any length", "", "All", "All", None]
        week = [*controls[:3], "Last 7 days", *controls[4:]]
        figures = {
            "n_attempts": n_attempts,
            "log_mb": round(path.stat().st_size / 1e6),
            "measuring_all_s": remeasured,
            "summary": measured(lambda: load(reader)),
            "summary_and_comparisons": measured(lambda: as_dict(load(reader))),
            "whole_tab": measured(
                lambda: StatsView(reader, lambda: lanes, private=False).show(visitor, "e2e_ms", False, *controls)
            ),
            "whole_tab_other_metric": measured(lambda: view.show(visitor, "ttft_ms", False, *controls)),
            "whole_tab_last_week": measured(lambda: view.show(visitor, "e2e_ms", False, *week)),
            "turns_of_a_page": measured(lambda: reader.turns("me")),
            "metrics_of_one_attempt": measured(lambda: reader.attempt_metrics(["x"])),
        }
        figures["in_chromium"] = in_chromium(path)
    print(json.dumps(figures))


def in_chromium(path: Path, visits: int = 5) -> dict[str, float]:
    """Seconds from a click to its table in the page: opening the tab, and choosing another metric."""
    tab: list[float] = []
    metric: list[float] = []
    with app("http://127.0.0.1:9/v1", ["none"], db=path) as running, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for _ in range(visits):
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            page.goto(running.url)
            page.locator("[data-lane]").first.wait_for()
            page.wait_for_timeout(1000)  # for background loading
            tab.append(_until(page, lambda page: page.get_by_role("tab", name="Stats").click(), "table.st-series"))
            page.wait_for_timeout(1000)
            changed = "#stats-paired .st-note:has-text('First token')"
            metric.append(_until(page, lambda page: page.locator("#stats-metric label").first.click(), changed))
            page.close()
        browser.close()
    return {"tab_s": round(statistics.median(tab), 3), "other_metric_s": round(statistics.median(metric), 3)}


def _until(page: Page, act: Callable[[Page], None], shown: str) -> float:
    started = time.perf_counter()
    act(page)
    page.locator(shown).first.wait_for()
    return time.perf_counter() - started


def _remeasure(path: Path) -> float:
    """Seconds to make the copy that statistics read from the views: what a new version does once."""
    with closing(sqlite3.connect(path)) as db:
        started = time.perf_counter()
        db.execute("DELETE FROM measured")
        db.execute(measure())
        db.commit()
        return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
