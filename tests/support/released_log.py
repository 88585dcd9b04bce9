"""Write a small log with some of everything in it, by the version of Kimi UI that runs this.

    python -m tests.support.released_log FOLDER     # writes FOLDER/kimi-ui-VERSION.sqlite3.gz

Run it in a checkout of a released version and keep the file in ``tests/logs``: ``tests/test_migrations.py`` brings
every log there up to date and compares the figures with those of the views that are stored in it.
"""

from __future__ import annotations

import gzip
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from kimi_ui import __version__
from kimi_ui.core.budget import Budget
from kimi_ui.core.conversation_settings import ConversationSettings, LaneSettings
from kimi_ui.core.events import CONNECTED, FIRST_CHUNK, Failure, Flag, Phase, Promoted, Reasoning, Usage
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.core.vote import ALL_BAD, LANE, NONE, TIE, Vote
from kimi_ui.log.budgets import BudgetLog
from kimi_ui.log.conversation_settings import SettingsLog
from kimi_ui.log.reader import LogReader
from kimi_ui.log.votes import vote_op
from kimi_ui.log.writer import LogWriter
from tests.support.log import store
from tests.support.turns import MS, Timed, attempt, ended, tokens, turn

ME, YOU = "owner-me", "owner-you"
PRICE = (0.6, 0.15, 2.5, "2026-07-01")
LANES = (
    LaneInfo("kimi", "Kimi K2", "openai", "kimi-k2"),
    LaneInfo("kimi-heavy", "Kimi K2 heavy", "heavy", "kimi-k2", of="kimi", width=3),
    LaneInfo("qwen", "Qwen3-Coder", "ollama", "qwen3-coder:30b", stand_in_for="Qwen3-Coder:480B"),
)


def written(n: int, usage: Usage | None = None, start_ms: float = 300, gap_ms: float = 12) -> list[Timed]:
    """Headers, ``n`` tokens, a third of them reasoning, and the server's usage."""
    thinking = tokens(n // 3, start_ms=start_ms, gap_ms=gap_ms, kind=Reasoning, word=" hm")
    answer = tokens(n - n // 3, start_ms=start_ms + gap_ms * (n // 3), gap_ms=gap_ms)
    head: list[Timed] = [(40, Phase(CONNECTED)), (90, Phase(FIRST_CHUNK))]
    return [*head, *thinking, *answer, *([(answer[-1][0] + 1, usage)] if usage else [])]


def compared(day: str, **fields: Any) -> TurnLog:
    """A turn of all three lanes: heavy with a failed trajectory, the last lane answering in its second attempt."""
    at = f"{day}T09:30:00.000+00:00"
    usage = Usage(input_tokens=700, cached_input_tokens=256, output_tokens=95, reasoning_tokens=30, raw={"total": 795})
    common = {"started_at_utc": at, "input_chars": 2600, "price": PRICE, "request_model": "kimi-k2"}
    kimi = attempt("kimi", label="Kimi K2", sent_ms=2, **common)
    heavy = attempt("kimi-heavy", label="Kimi K2 heavy", role="heavy", sent_ms=3, provider="heavy", started_at_utc=at)
    inner = {**common, "label": "Kimi K2 heavy", "parent_id": heavy.attempt_id}
    drafts = [attempt("kimi-heavy", role="trajectory", k_index=k, sent_ms=4 + k, **inner) for k in range(3)]
    final = attempt("kimi-heavy", role="aggregator", sent_ms=2600, **inner)
    local = {"label": "Qwen3-Coder", "provider": "ollama", "request_model": "qwen3-coder:30b", "input_chars": 2600}
    local |= {"stand_in_for": "Qwen3-Coder:480B", "started_at_utc": at}
    failed = attempt("qwen", sent_ms=3, **local)
    again = attempt("qwen", sent_ms=1500, attempt_no=2, **local)
    counted = Usage(input_tokens=650, output_tokens=64, source="server", load_ns=900 * MS, eval_ns=640 * MS)
    broken = [(30.0, Failure("network", "The connection broke.", "Try again."))]
    odd = [*written(80), (1500.0, Flag("clock_jump", "3")), (1501.0, Flag("loop_lag_ms", "31.5"))]
    return turn(
        (kimi, ended(written(96, usage))),
        (heavy, ended([(310.0, Phase("first_trajectory_token")), *tokens(50, start_ms=2900, gap_ms=9)])),
        (drafts[0], ended(written(90, usage))),
        (drafts[1], ended(odd)),
        (drafts[2], ended(broken, "error")),
        (final, ended(written(50, Usage(input_tokens=2000, output_tokens=50, cost_usd=0.0042)))),
        (failed, ended(broken, "error")),
        (again, ended(written(64, counted))),
        lanes=LANES,
        started_at_utc=at,
        **fields,
    )


def small(status: str = "ok", events: Sequence[Timed] = (), **fields: Any) -> TurnLog:
    """A turn of two lanes; ``status`` and further ``events`` are the first one's."""
    first = attempt("kimi", label="Kimi K2", price=PRICE, input_chars=90)
    second = attempt("qwen", label="Qwen3-Coder", price=(0, None, 0, "2026-07-01"), input_chars=90)
    runs = (first, [*ended(written(60), status), *events]), (second, ended(written(45, gap_ms=0.1)))
    return turn(*runs, lanes=(LANES[0], LANES[2]), **fields)


def write(path: Path) -> None:
    """The log: conversations with a fork, votes, blind turns, settings, budgets, and one that was deleted."""
    first = compared("2026-11-20", owner=ME, conversation_id="main", prompt="How many primes are there below 100?")
    second = compared("2026-11-21", owner=ME, conversation_id="main", seq=1, prompt="And below 1,000?")
    cut = small("stopped", owner=ME, conversation_id="main", seq=2)
    silent = small(
        "no_answer", [(900.0, Promoted())], owner=ME, conversation_id="fork", seq=1, forked_from="main", forked_at=1
    )
    blind = small(owner=ME, conversation_id="blind", slots=("qwen", "kimi"))
    unseen = small("length", owner=ME, conversation_id="unseen", slots=("kimi", "qwen"))
    yours = small("timeout", owner=YOU, conversation_id="yours", prompt="Sieve of Eratosthenes, please.")
    gone = compared("2026-11-19", owner=ME, conversation_id="gone")
    writer, reader = LogWriter(path), LogReader(path)
    writer.start()
    store(writer, first, second, cut, silent, blind, unseen, yours, gone)
    lanes = tuple(lane.id for lane in LANES)
    for voted, vote in (
        (first, Vote(TIE, field=lanes, voted_at_utc="2026-11-20T10:00:00.000+00:00")),
        (first, Vote(LANE, "kimi-heavy", lanes, voted_at_utc="2026-11-20T10:01:00.000+00:00")),
        (second, Vote(ALL_BAD, field=lanes[:2], voted_at_utc="2026-11-21T10:00:00.000+00:00")),
        (blind, Vote(LANE, "qwen", ("kimi", "qwen"), True, False, "2026-11-21T11:00:00.000+00:00")),
        (yours, Vote(NONE, voted_at_utc="2026-11-21T12:00:00.000+00:00")),
    ):
        writer.write([vote_op(voted.turn_id, vote)]).result()
    settings, budgets = SettingsLog(writer, reader), BudgetLog(writer, reader)
    settings.keep("main", ConversationSettings("Be brief."))
    settings.keep("main", ConversationSettings("Be exact.", {"qwen": LaneSettings(on=False, temperature=0.2)}))
    settings.keep("gone", ConversationSettings("Never mind."))
    budgets.keep(ME, Budget(5.0, None))
    budgets.keep(YOU, Budget(None, 1.0))
    budgets.keep(ME, Budget(2.5, 0.5))
    writer.rename_conversation("fork", ME, "Primes, another way").result()
    writer.delete_conversation("gone", ME).result()
    writer.close()
    with closing(sqlite3.connect(path)) as db, db:  # early versions wrote heavy's rows without a model
        db.execute("UPDATE attempts SET request_model = '' WHERE role = 'heavy'")


def main() -> None:
    name = f"kimi-ui-{__version__}.sqlite3"
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        packed = gzip.compress((Path(folder) / name).read_bytes(), mtime=0)
    (Path(sys.argv[1]) / f"{name}.gz").write_bytes(packed)


if __name__ == "__main__":
    main()
